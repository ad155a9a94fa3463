// matmul, addmm and the products whose matrices indices or segments choose, in the kernels of
// metal/kernels/gemm.metal and gemv.metal: float32, float16 and bfloat16. matmul and addmm of complex
// numbers have a kernel of their own; float64 is left to the CPU.
#include "metal/host/matmul.h"

#include <algorithm>

#include "metal/host/elementwise.h"
#include "metal/host/layout.h"
#include "mlx/ops/gather_matmul.h"
#include "mlx/ops/matmul.h"

namespace mlx::core::metal {
namespace {

// As in gemm.metal.
struct GemmParams {
  int32_t m = 0, n = 0, k = 0, dims = 0;
  int32_t a_count = 0, b_count = 0, part = 0;
  float alpha = 1, beta = 0;
  int32_t unused = 0;
  int64_t a_pitch = 0, b_pitch = 0, a_first = 0, b_first = 0, d_first = 0, d_row = 0, d_column = 0;
};
// As in gemv.metal.
struct GemvParams {
  int32_t rows = 0, k = 0, dims = 0, unused = 0;
  float alpha = 1, beta = 0;
  int64_t w_pitch = 0, w_first = 0, x_first = 0, x_step = 0, x_pitch = 0, out_step = 0, out_pitch = 0,
          d_first = 0, d_step = 0, d_pitch = 0, w_swapped = 0;
};
enum GemmConstant : uint16_t {
  kATransposed,
  kBTransposed,
  kAVectors,
  kBVectors,
  kHasD,
  kGathered,
  kSegmented,
  kSplit,
  kFolded
};

constexpr int64_t kFewVectors = 4;     // gemv.metal holds so many
constexpr int64_t kLongVector = 8192;  // whose products' sums are folded there
constexpr int64_t kLeastSplit = 512;   // of the inner dimension
constexpr int64_t kLeastPart = 256;

struct Product {
  Operand a, b;
  int64_t m, n, k;
  Layout batch;  // strides of a, b, d
  std::optional<array> d;
  int64_t d_row = 0, d_column = 0;
  float alpha = 1, beta = 0;
  int64_t products() const {
    int64_t count = 1;
    for (const int64_t n : batch.shape) count *= n;
    return count;
  }
  // Length and strides of each axis, as kernels read them.
  std::vector<int64_t> table() const {
    std::vector<int64_t> out;
    for (size_t i = 0; i < batch.shape.size(); ++i)
      out.insert(out.end(), {batch.shape[i], batch.strides[0][i], batch.strides[1][i], batch.strides[2][i]});
    if (out.empty()) out = {1, 0, 0, 0};
    return out;
  }
};

Shape leading(const array& a) { return Shape(a.shape().begin(), a.shape().end() - 2); }
// Of the leading axes of `a`, as broadcast to `shape`.
Strides leading_strides(const array& a, const Shape& shape) {
  Strides out(shape.size(), 0);
  const size_t own = a.ndim() > 2 ? a.ndim() - 2 : 0;
  for (size_t i = 0; i < own; ++i)
    if (a.shape()[i] != 1) out[shape.size() - own + i] = a.strides()[i];
  return out;
}

Product product_of(const array& a, const array& b, const std::optional<array>& d, const array& out,
                   const Stream& s) {
  Product p{operand_of(a, s), operand_of(b, s), out.shape(-2), out.shape(-1), a.shape(-1), {}, d};
  const Shape shape = leading(out);
  p.batch = collapsed(shape, {leading_strides(p.a.held, shape), leading_strides(p.b.held, shape),
                              d ? leading_strides(*d, shape) : Strides(shape.size(), 0)});
  if (d) {
    if (d->ndim() >= 1 && d->shape(-1) != 1) p.d_column = d->strides(-1);
    if (d->ndim() >= 2 && d->shape(-2) != 1) p.d_row = d->strides(-2);
  }
  // One matrix b for all: the rows of all products are rows of one.
  if (p.batch.shape.size() == 1 && p.batch.strides[1][0] == 0 && !p.a.transposed &&
      (p.m == 1 || p.batch.strides[0][0] == p.m * p.a.pitch) &&
      (!d || p.m == 1 || p.batch.strides[2][0] == p.m * p.d_row)) {
    if (p.m == 1) p.a.pitch = p.batch.strides[0][0], p.d_row = p.batch.strides[2][0];
    p.m *= p.batch.shape[0];
    p.batch = {{}, {{}, {}, {}}};
    p.a.aligned = p.a.aligned && p.a.pitch % 4 == 0;
  }
  p.a.aligned = p.a.aligned && multiple_of_four(p.batch.strides[0]);
  p.b.aligned = p.b.aligned && multiple_of_four(p.batch.strides[1]);
  return p;
}

GemmParams params_of(const Product& p) {
  GemmParams g;
  g.m = static_cast<int32_t>(p.m), g.n = static_cast<int32_t>(p.n), g.k = static_cast<int32_t>(p.k);
  g.dims = static_cast<int32_t>(p.batch.shape.size());
  g.alpha = p.alpha, g.beta = p.beta;
  g.a_pitch = p.a.pitch, g.b_pitch = p.b.pitch;
  g.a_first = extent_of(p.a.held).first, g.b_first = extent_of(p.b.held).first;
  if (p.d) g.d_first = extent_of(*p.d).first;
  g.d_row = p.d_row, g.d_column = p.d_column;
  return g;
}

struct Choice {
  std::optional<array> lhs, rhs, segments;
};

void gemm(const Product& p, const Choice& choice, const array& out, const Stream& s) {
  const int64_t products = choice.lhs        ? static_cast<int64_t>(choice.lhs->size())
                           : choice.segments ? static_cast<int64_t>(choice.segments->size() / 2)
                                             : p.products();
  const Tile tile = tile_for(p.m, p.n, products, out.dtype());
  const int64_t groups = int64_t{ceil_div(p.m, tile.m)} * ceil_div(p.n, tile.n) * products;
  GemmParams g = params_of(p);
  g.a_count = p.a.held.ndim() > 2 ? p.a.held.shape(0) : 1,
  g.b_count = p.b.held.ndim() > 2 ? p.b.held.shape(0) : 1;
  const Parts cut = choice.lhs || choice.segments ? Parts{} : parts_for(p.k, groups, tile);
  const int64_t parts = cut.count;
  g.part = static_cast<int32_t>(cut.length);
  const bool split = parts > 1;
  std::vector<FunctionConstant> constants = {{kATransposed, p.a.transposed},
                                             {kBTransposed, p.b.transposed},
                                             {kAVectors, p.a.aligned},
                                             {kBVectors, p.b.aligned},
                                             {kHasD, p.d && !split},
                                             {kGathered, choice.lhs.has_value()},
                                             {kSegmented, choice.segments.has_value()},
                                             {kSplit, split},
                                             {kFolded, (split ? cut.length : p.k) > kLongSum}};
  std::optional<array> partial;
  if (split) {
    partial = array(
        {static_cast<ShapeElem>(parts * products), static_cast<ShapeElem>(p.m), static_cast<ShapeElem>(p.n)},
        float32, nullptr, {});
    allocate(*partial);
  }
  {
    Dispatch d(s, instantiated("gemm", "gemm", tile.arguments(out.dtype()), constants));
    d.in(p.a.held).in(p.b.held);
    split ? d.skip() : d.out(out);
    d.value(g).values(p.table());
    p.d && !split ? d.in(*p.d) : d.skip();
    choice.lhs ? d.in(*choice.lhs).in(*choice.rhs) : d.skip().skip();
    choice.segments ? d.in(*choice.segments) : d.skip();
    if (split) d.out(*partial);
    d.groups({ceil_div(p.n, tile.n), ceil_div(p.m, tile.m), static_cast<uint32_t>(products * parts)},
             {128, 1, 1});
  }
  if (!split) return;
  constants[kHasD].value = p.d.has_value();
  Dispatch d(s, instantiated("gemm", "gemm_sum", type_name(out.dtype()), constants));
  d.in(*partial).out(out).value(g).values(p.table());
  if (p.d) d.in(*p.d);
  d.threads({static_cast<uint32_t>(p.n), static_cast<uint32_t>(p.m), static_cast<uint32_t>(products)},
            {32, 8, 1});
}

// The matrix with one to four rows of `a`, or columns of `b`.
void gemv(const Product& p, const array& out, const Stream& s) {
  const bool rows_of_a = p.m <= p.n;  // vectors are rows of a, the matrix is b
  const Operand &w = rows_of_a ? p.b : p.a, &x = rows_of_a ? p.a : p.b;
  GemvParams g;
  g.rows = static_cast<int32_t>(rows_of_a ? p.n : p.m), g.k = static_cast<int32_t>(p.k);
  const auto count = static_cast<int32_t>(rows_of_a ? p.m : p.n);
  g.dims = static_cast<int32_t>(p.batch.shape.size());
  g.alpha = p.alpha, g.beta = p.beta;
  g.w_pitch = w.pitch, g.w_first = extent_of(w.held).first, g.x_first = extent_of(x.held).first;
  g.w_swapped = rows_of_a;
  // Where a vector of x is a line.
  const bool lines = rows_of_a != x.transposed;
  g.x_step = lines ? 1 : x.pitch, g.x_pitch = lines ? x.pitch : 1;
  g.out_step = rows_of_a ? 1 : p.n, g.out_pitch = rows_of_a ? p.n : 1;
  if (p.d) g.d_first = extent_of(*p.d).first;
  g.d_step = rows_of_a ? p.d_column : p.d_row, g.d_pitch = rows_of_a ? p.d_row : p.d_column;
  const bool by_rows = rows_of_a == w.transposed;  // a row of the matrix is a line
  const int64_t products = p.products();
  // Sharing rows, every four of them read the vectors again: for few rows and few vectors.
  const bool shared = by_rows && count <= 2 && p.k >= 1024 &&
                      ceil_div(static_cast<size_t>(g.rows), 32) * products < kFewGroups / 8;
  Dispatch d(s, instantiated(
                    "gemv", by_rows ? "gemv_rows" : "gemv_columns", type_name(out.dtype()),
                    {{0, w.aligned}, {1, p.d.has_value()}, {2, count}, {3, shared}, {4, p.k > kLongVector}}));
  d.in(w.held).in(x.held).out(out).value(g).values(p.table());
  if (p.d) d.in(*p.d);
  d.threadgroup_memory(static_cast<size_t>(count) * 1024 * sizeof(float));
  const size_t per_group = by_rows ? (shared ? 4 : 32) : 128;
  d.groups({ceil_div(static_cast<size_t>(g.rows), per_group), 1, static_cast<uint32_t>(products)},
           {256, 1, 1});
}

void run(const Product& p, const array& out, const Stream& s) {
  if (std::min(p.m, p.n) <= kFewVectors) return gemv(p, out, s);
  gemm(p, {}, out, s);
}

void matmul(const Matmul& m, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  if (inputs[0].shape(-1) == 0) return fill(array(0.0f), out, m.stream());
  if (out.dtype() == complex64)
    return complex_product(inputs[0], inputs[1], std::nullopt, 1, 0, out, m.stream());
  run(product_of(inputs[0], inputs[1], std::nullopt, out, m.stream()), out, m.stream());
}

void addmm(const AddMM& m, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  if (out.dtype() == complex64)
    return complex_product(inputs[0], inputs[1], inputs[2], m.alpha, m.beta, out, m.stream());
  Product p = product_of(inputs[0], inputs[1], inputs[2], out, m.stream());
  p.alpha = m.alpha, p.beta = m.beta;
  run(p, out, m.stream());
}

// Operands with one leading axis, by which indices choose.
Product chosen(const array& a, const array& b, const array& out, const Stream& s) {
  Product p{operand_of(a, s), operand_of(b, s), out.shape(-2), out.shape(-1), a.shape(-1), {}, std::nullopt};
  const auto step = [](const array& x) { return x.ndim() > 2 ? x.strides(0) : int64_t{0}; };
  p.batch = {{1}, {{step(p.a.held)}, {step(p.b.held)}, {0}}};
  p.a.aligned = p.a.aligned && multiple_of_four(p.batch.strides[0]);
  p.b.aligned = p.b.aligned && multiple_of_four(p.batch.strides[1]);
  return p;
}

void gather_mm(const GatherMM& m, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = m.stream();
  check_indices("gather_mm", inputs[2], 0, inputs[0].shape(0), s);
  check_indices("gather_mm", inputs[3], 0, inputs[1].shape(0), s);
  if (inputs[0].shape(-1) == 0) return fill(array(0.0f), out, s);
  gemm(chosen(inputs[0], inputs[1], out, s),
       {indices_for_kernel(inputs[2], s), indices_for_kernel(inputs[3], s), std::nullopt}, out, s);
}

void segmented_mm(const SegmentedMM& m, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = m.stream();
  if (inputs[0].shape(-1) == 0) return fill(array(0.0f), out, s);
  check_segments(inputs[2], inputs[0].shape(1), s);
  Product p = chosen(inputs[0], inputs[1], out, s);
  // Segments begin anywhere.
  p.a.aligned = p.a.aligned && p.a.transposed;
  p.b.aligned = p.b.aligned && !p.b.transposed;
  gemm(p, {std::nullopt, std::nullopt, indices_for_kernel(inputs[2], s)}, out, s);
}

bool same_dtypes(const Arrays& inputs, size_t count, Dtype dtype) {
  return std::all_of(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(count),
                     [&](const array& a) { return a.dtype() == dtype; });
}
bool real_floats(const Primitive&, const Arrays& inputs, const Arrays& outputs) {
  const Dtype dtype = outputs[0].dtype();
  return (dtype == float32 || dtype == float16 || dtype == bfloat16) && same_dtypes(inputs, 2, dtype);
}
bool any_floats(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return real_floats(p, inputs, outputs) ||
         (outputs[0].dtype() == complex64 && same_dtypes(inputs, 2, complex64));
}
// Without products there is only beta * c.
bool some_products(const Primitive& p, const Arrays& inputs, const Arrays& outputs) {
  return any_floats(p, inputs, outputs) && inputs[2].dtype() == outputs[0].dtype() && inputs[0].shape(-1) > 0;
}

const bool registered = add_kernel<Matmul>(matmul, any_floats) && add_kernel<AddMM>(addmm, some_products) &&
                        add_kernel<GatherMM>(gather_mm, real_floats) &&
                        add_kernel<SegmentedMM>(segmented_mm, real_floats);

}  // namespace

std::string Tile::arguments(Dtype dtype) const {
  return std::string(type_name(dtype)) + ", " + std::to_string(m) + ", " + std::to_string(n) + ", " +
         std::to_string(k) + ", 2, 2";
}
Tile tile_for(int64_t m, int64_t n, int64_t batch, Dtype dtype) {
  const int64_t k = dtype == float32 ? 16 : 32;
  const bool small = m <= 32 || n <= 32 || ceil_div(m, 64) * ceil_div(n, 64) * batch < kFewGroups;
  return small ? Tile{32, 32, k} : Tile{64, 64, k};
}
Parts parts_for(int64_t k, int64_t groups, const Tile& tile) {
  if (k < kLeastSplit || groups >= kFewGroups / 2) return {};
  const int64_t wanted = std::min(kFewGroups / groups, k / kLeastPart);
  const int64_t length = int64_t{ceil_div(ceil_div(k, wanted), tile.k)} * tile.k;
  return {ceil_div(k, length), length};
}

void multiply(const array& a, const array& b, const array& out, const Stream& s) {
  run(product_of(a, b, std::nullopt, out, s), out, s);
}

std::shared_ptr<Pipeline> instantiated(const std::string& file, const std::string& kernel,
                                       const std::string& arguments,
                                       const std::vector<FunctionConstant>& constants) {
  const std::string name = kernel + "<" + arguments + ">";
  return pipeline_of(file + " " + name, kernel, constants, [&] {
    return "#include \"metal/kernels/" + file + ".metal\"\ntemplate [[host_name(\"" + kernel +
           "\")]] [[kernel]] decltype(" + name + ") " + name + ";\n";
  });
}

Operand operand_of(const array& a, const Stream& s) {
  const int64_t row = a.strides(-2), column = a.strides(-1);
  const bool one_row = a.shape(-2) == 1, one_column = a.shape(-1) == 1;
  std::optional<Operand> o;
  if (column == 1 || one_column) {
    o = Operand{a, false, one_row ? a.shape(-1) : row, false};
    // A line of one element: what the columns are does not matter.
    if (one_column && row == 1) o = Operand{a, true, a.shape(-2), false};
  } else if (row == 1 || one_row) {
    o = Operand{a, true, column, false};
  } else {
    const array copy = row_contiguous(a, s);
    o = Operand{copy, false, copy.strides(-2), false};
  }
  // What lies outside of the device's memory is copied to the begin of a buffer.
  const auto item = static_cast<int64_t>(o->held.itemsize());
  const int64_t at = on_device(o->held)
                         ? static_cast<int64_t>(reinterpret_cast<uintptr_t>(o->held.data<char>()))
                         : extent_of(o->held).first * item;
  o->aligned = at % (4 * item) == 0 && o->pitch % 4 == 0;
  return *o;
}

array indices_for_kernel(const array& indices, const Stream& s) {
  if (indices.itemsize() == 4) return row_contiguous(indices, s);
  array out(indices.shape(), int32, nullptr, {});
  allocate(out);
  copy_to(indices, out, s);
  return out;
}

}  // namespace mlx::core::metal
