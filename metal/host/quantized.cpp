// Quantized matrices in the kernels of metal/kernels/quantize.metal and quantized_matmul.metal: all modes,
// and products in float32, float16 and bfloat16.
#include "mlx/ops/quantized.h"

#include <algorithm>

#include "metal/host/elementwise.h"
#include "metal/host/layout.h"
#include "metal/host/matmul.h"
#include "mlx/ops/gather_matmul.h"

namespace mlx::core::metal {
namespace {

// As in quantized_matmul.metal.
struct QuantizedParams {
  int32_t m, n, k, dims, x_count, w_count;
};
constexpr int64_t kFewVectors = 4;

std::vector<FunctionConstant> constants_of(const QuantizedLayout& l) {
  return {{0, static_cast<int32_t>(l.mode)}, {1, int32_t{l.bits}}, {2, int32_t{l.group_size}}};
}
// The dtypes of the floats and of the scales.
std::string types(Dtype dtype, Dtype scales) {
  return std::string(type_name(dtype)) + ", " + type_name(scales);
}

// Words, scales and, if affine, biases, dense.
Arrays operands(const QuantizedLayout& l, const Arrays& inputs, size_t first, const Stream& s) {
  Arrays out;
  for (size_t i = first; i < first + (l.affine() ? 3 : 2); ++i) out.push_back(row_contiguous(inputs[i], s));
  return out;
}

struct Product {
  QuantizedLayout layout;
  bool transpose;
  array x;
  Arrays w;
  int64_t m, n, k, products;
  std::vector<int64_t> table;  // of the batch: which matrix of x and of w
  int32_t dims = 0;
  std::optional<array> lhs{}, rhs{};
};

void run(const Product& p, const array& out, const Stream& s) {
  const QuantizedParams params{static_cast<int32_t>(p.m), static_cast<int32_t>(p.n),
                               static_cast<int32_t>(p.k), p.dims,
                               p.lhs ? p.x.shape(0) : 1,  p.rhs ? p.w[0].shape(0) : 1};
  const bool vectors = p.m <= kFewVectors;
  const array x = row_contiguous(p.x, s);
  auto constants = constants_of(p.layout);
  constants.push_back({3, static_cast<int32_t>(vectors ? p.m : 1)});
  constants.push_back({4, p.lhs.has_value()});
  constants.push_back({5, p.transpose});
  constants.push_back({6, p.k % 4 == 0 && operand_of(x, s).aligned});
  constants.push_back({7, p.k > kLongSum});
  std::string arguments = types(out.dtype(), p.w[1].dtype());
  const char* kernel = p.transpose ? "qmv_rows" : "qmv_columns";
  int64_t tile = p.transpose ? 32 : 512;
  if (!vectors) {
    kernel = "qmm";
    tile = p.m <= 32 || ceil_div(p.m, 64) * ceil_div(p.n, 64) * p.products < 64 ? 32 : 64;
    const std::string size = std::to_string(tile);
    arguments += ", " + size + ", " + size + ", " + (out.dtype() == float32 ? "16" : "32");
  }
  Dispatch d(s, instantiated("quantized_matmul", kernel, arguments, constants));
  d.in(x).in(p.w[0]).in(p.w[1]);
  p.layout.affine() ? d.in(p.w[2]) : d.skip();
  d.out(out).value(params).values(p.table);
  if (p.lhs) d.in(*p.lhs).in(*p.rhs);
  if (vectors) d.threadgroup_memory(static_cast<size_t>(p.m) * 1024 * sizeof(float));
  d.groups({ceil_div(p.n, tile), vectors ? 1 : ceil_div(p.m, tile), static_cast<uint32_t>(p.products)},
           {vectors ? 256u : 128u, 1, 1});
}

void quantized_matmul(const QuantizedMatmul& q, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = q.stream();
  if (inputs[0].shape(-1) == 0) return fill(array(0.0f), out, s);
  const array x = row_contiguous(inputs[0], s);
  Product p{q.layout,      q.transpose,   x,           operands(q.layout, inputs, 1, s),
            out.shape(-2), out.shape(-1), x.shape(-1), 1,
            {1, 0, 0, 0}};
  const int64_t products = static_cast<int64_t>(out.size()) / (p.m * p.n);
  const array& words = p.w[0];
  int64_t matrices = 1;
  for (size_t i = 0; i + 2 < words.ndim(); ++i) matrices *= words.shape()[i];
  if (matrices == 1 && static_cast<int64_t>(x.size()) == products * p.m * p.k) {
    p.m *= products;  // the rows of all products are rows of one
  } else {
    const Shape shape(out.shape().begin(), out.shape().end() - 2);
    // Dense leading axes: in units of matrices.
    const auto strides = [&](const array& a) {
      Strides to(shape.size(), 0);
      int64_t step = 1;
      for (size_t i = a.ndim() - 2; i-- > 0; step *= a.shape()[i])
        if (a.shape()[i] != 1) to[shape.size() - (a.ndim() - 2) + i] = step;
      return to;
    };
    const Layout layout = collapsed(shape, {strides(x), strides(words)});
    p.products = products;
    p.dims = static_cast<int32_t>(layout.shape.size());
    if (p.dims > 0) p.table.clear();
    for (size_t i = 0; i < layout.shape.size(); ++i)
      p.table.insert(p.table.end(), {layout.shape[i], layout.strides[0][i], layout.strides[1][i], 0});
  }
  run(p, out, s);
}

void gather_qmm(const GatherQMM& q, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const Stream s = q.stream();
  const size_t last = inputs.size() - 2;
  check_indices("gather_qmm", inputs[last], 0, inputs[0].shape(0), s);
  check_indices("gather_qmm", inputs[last + 1], 0, inputs[1].shape(0), s);
  if (inputs[0].shape(-1) == 0) return fill(array(0.0f), out, s);
  Product p{q.layout,      q.transpose,   inputs[0],           operands(q.layout, inputs, 1, s),
            out.shape(-2), out.shape(-1), inputs[0].shape(-1), static_cast<int64_t>(inputs[last].size()),
            {1, 0, 0, 0}};
  p.lhs = indices_for_kernel(inputs[last], s), p.rhs = indices_for_kernel(inputs[last + 1], s);
  run(p, out, s);
}

void quantize_into(const QuantizedLayout& l, const array& w, const std::optional<array>& global,
                   const Arrays& outputs, const Stream& s) {
  auto constants = constants_of(l);
  constants.push_back({3, global.has_value()});
  const uint64_t groups = w.size() / static_cast<size_t>(l.group_size);
  const array dense = row_contiguous(w, s);  // before the dispatch that reads it begins
  Dispatch d(s, instantiated("quantize", "quantize", types(w.dtype(), outputs[1].dtype()), constants));
  d.in(dense).out(outputs[0]).out(outputs[1]);
  l.affine() ? d.out(outputs[2]) : d.skip();
  d.value(groups);
  if (global) d.in(*global);
  const Line all = line(groups);
  d.threads(all.threads, all.per_group);
}

void dequantize_into(const QuantizedLayout& l, const Arrays& w, const std::optional<array>& global,
                     const array& out, const Stream& s) {
  auto constants = constants_of(l);
  constants.push_back({3, global.has_value()});
  const uint64_t packs = out.size() / 16;
  Dispatch d(s, instantiated("quantize", "dequantize", types(out.dtype(), w[1].dtype()), constants));
  d.in(w[0]).in(w[1]);
  l.affine() ? d.in(w[2]) : d.skip();
  d.out(out).value(packs);
  if (global) d.in(*global);
  const Line all = line(packs);
  d.threads(all.threads, all.per_group);
}

std::optional<array> global_of(const Arrays& inputs, size_t i, const Stream& s) {
  return inputs.size() > i ? std::optional(row_contiguous(inputs[i], s)) : std::nullopt;
}

void quantize(const Quantize& q, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) allocate(out);
  if (inputs[0].size() == 0) return;
  quantize_into(q.layout, inputs[0], global_of(inputs, 1, q.stream()), outputs, q.stream());
}

void dequantize(const Dequantize& q, const Arrays& inputs, Arrays& outputs) {
  allocate(outputs[0]);
  if (outputs[0].size() == 0) return;
  const Stream s = q.stream();
  dequantize_into(q.layout, operands(q.layout, inputs, 0, s), global_of(inputs, q.layout.affine() ? 3 : 2, s),
                  outputs[0], s);
}

void rounding(const QuantizedRounding& q, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  allocate(out);
  if (out.size() == 0) return;
  const QuantizedLayout& l = q.layout;
  const auto size = static_cast<int64_t>(out.size());
  const Dtype of_scales = l.affine() ? out.dtype() : uint8;
  const Shape scales{static_cast<ShapeElem>(l.groups(size))};
  Arrays parts{array({static_cast<ShapeElem>(l.words(size))}, uint32, nullptr, {}),
               array(scales, of_scales, nullptr, {})};
  if (l.affine()) parts.push_back(array(scales, of_scales, nullptr, {}));
  for (array& part : parts) allocate(part);
  const std::optional<array> global = global_of(inputs, 1, q.stream());
  quantize_into(l, inputs[0], global, parts, q.stream());
  dequantize_into(l, parts, global, out, q.stream());
}

void each(const char* kernel, Dtype dtype, const array& in, array& out, const Stream& s) {
  allocate(out);
  if (out.size() == 0) return;
  // These kernels are specialised for no layout; the constants are there for the others of their file.
  auto constants = constants_of(default_layout(QuantizationMode::mxfp8));
  constants.push_back({3, false});
  const array dense = row_contiguous(in, s);
  Dispatch d(s, instantiated("quantize", kernel, type_name(dtype), constants));
  d.in(dense).out(out);
  d.threads({static_cast<uint32_t>(out.size()), 1, 1}, {256, 1, 1});
}
void to_fp8(const ToFp8& q, const Arrays& inputs, Arrays& outputs) {
  each("to_fp8", inputs[0].dtype(), inputs[0], outputs[0], q.stream());
}
void from_fp8(const FromFp8& q, const Arrays& inputs, Arrays& outputs) {
  each("from_fp8", q.dtype, inputs[0], outputs[0], q.stream());
}

bool short_line(const Primitive&, const Arrays&, const Arrays& outputs) {
  return outputs[0].size() < (size_t{1} << 31);
}

const bool registered = add_kernel<QuantizedMatmul>(quantized_matmul) && add_kernel<GatherQMM>(gather_qmm) &&
                        add_kernel<Quantize>(quantize) && add_kernel<Dequantize>(dequantize) &&
                        add_kernel<QuantizedRounding>(rounding) && add_kernel<ToFp8>(to_fp8, short_line) &&
                        add_kernel<FromFp8>(from_fp8, short_line);

}  // namespace
}  // namespace mlx::core::metal
