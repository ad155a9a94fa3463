#include "mlx/cpu/copy.h"

#include <algorithm>
#include <cstring>

#include "mlx/allocator.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {
namespace {

// Bytes that one item of parallel work writes.
constexpr int64_t kItemBytes = 256 << 10;
// Outputs from this size on would push everything else out of the caches before they are read again: they
// are written past them, which also saves reading the lines first.
constexpr int64_t kStreamBytes = 16 << 20;

struct Dim {
  int64_t n, si, so;
};
using Dims = SmallVector<Dim, 8>;

int log2_of(size_t itemsize) { return itemsize == 1 ? 0 : itemsize == 2 ? 1 : itemsize == 4 ? 2 : 3; }

// Dimensions in the order of the output's strides, merged where both sides allow. Moves the pointers to
// where the output's strides are positive.
Dims simplify(size_t itemsize, const Shape& shape, const char*& in, const Strides& in_strides, char*& out,
              const Strides& out_strides) {
  Dims dims;
  for (size_t i = 0; i < shape.size(); ++i) {
    Dim d{shape[i], in_strides[i], out_strides[i]};
    if (d.n == 1) continue;
    if (d.so < 0) {
      in += d.si * (d.n - 1) * static_cast<int64_t>(itemsize);
      out += d.so * (d.n - 1) * static_cast<int64_t>(itemsize);
      d.si = -d.si;
      d.so = -d.so;
    }
    dims.push_back(d);
  }
  const auto outer_first = [](const Dim& a, const Dim& b) { return a.so > b.so; };
  if (!std::is_sorted(dims.begin(), dims.end(), outer_first))
    std::stable_sort(dims.begin(), dims.end(), outer_first);
  Dims merged;
  for (const Dim& d : dims) {
    if (!merged.empty() && merged.back().so == d.so * d.n && merged.back().si == d.si * d.n) {
      merged.back() = {merged.back().n * d.n, d.si, d.so};
    } else {
      merged.push_back(d);
    }
  }
  return merged;
}

void copy_bytes(const char* in, char* out, int64_t bytes) {
  const bool stream = is_streamed(bytes);
  parallel_ranges(bytes, kItemBytes, [&](int64_t begin, int64_t end) {
    if (stream) {
      copy_kernels().stream(in + begin, out + begin, end - begin);
    } else {
      std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
    }
  });
}

// The two inner dimensions run in a kernel over rows x columns; `outer` are the others.
struct Plan {
  Dims outer;
  Dim rows, columns;
  bool transposes = false;
  // Pieces of work: so many outer indices, or one of them and a rectangle of rows x columns.
  int64_t outer_step = 1, row_step, column_step;
  int64_t outer_count = 1;
};

Plan make_plan(Dims dims, int64_t itemsize) {
  Plan plan;
  plan.columns = dims.back();
  dims.pop_back();
  plan.rows = {1, 0, 0};
  if (!dims.empty()) {
    // Where another dimension is closer together in the input than the columns are, squares of the two use
    // whole cache lines on both sides.
    size_t nearest = dims.size() - 1;
    const auto distance = [](const Dim& d) { return d.si == 0 ? INT64_MAX : std::abs(d.si); };
    for (size_t i = 0; i < dims.size(); ++i)
      if (distance(dims[i]) < distance(dims[nearest])) nearest = i;
    const bool cross = distance(dims[nearest]) < distance(plan.columns) && plan.columns.si != 0;
    if (!cross) nearest = dims.size() - 1;
    plan.rows = dims[nearest];
    dims.erase(dims.begin() + nearest);
    // A few rows, such as the channels of an image, are written one after the other: what they read is in the
    // first cache.
    const bool few = cross && plan.rows.n * itemsize < 32;
    plan.transposes = cross && !few && plan.rows.si == 1 && plan.columns.so == 1;
    const int64_t step = few ? (16 << 10) / plan.rows.n : cross ? 256 : kItemBytes;
    plan.column_step = std::min<int64_t>(plan.columns.n, step / itemsize);
  } else {
    plan.column_step = std::min<int64_t>(plan.columns.n, kItemBytes / itemsize);
  }
  const int64_t elements = kItemBytes / itemsize;
  plan.row_step = std::max<int64_t>(1, elements / plan.column_step);
  // whole cache lines of the input in each piece
  if (plan.row_step < plan.rows.n) plan.row_step = std::max<int64_t>(64, plan.row_step / 64 * 64);
  plan.row_step = std::min(plan.row_step, plan.rows.n);
  plan.outer = dims;
  for (const Dim& d : dims) plan.outer_count *= d.n;
  if (plan.row_step == plan.rows.n && plan.column_step == plan.columns.n)
    plan.outer_step = std::max<int64_t>(1, elements / (plan.row_step * plan.column_step));
  return plan;
}

// Walks the outer indices [begin, end), handing out offsets in elements.
template <class F>
void for_each_outer(const Dims& dims, int64_t begin, int64_t end, F&& f) {
  SmallVector<int64_t, 8> index(dims.size());
  int64_t in = 0, out = 0, rest = begin;
  for (size_t d = dims.size(); d-- > 0;) {
    index[d] = rest % dims[d].n;
    rest /= dims[d].n;
    in += index[d] * dims[d].si;
    out += index[d] * dims[d].so;
  }
  for (int64_t i = begin; i < end; ++i) {
    f(in, out);
    for (size_t d = dims.size(); d-- > 0;) {
      in += dims[d].si;
      out += dims[d].so;
      if (++index[d] < dims[d].n) break;
      in -= index[d] * dims[d].si;
      out -= index[d] * dims[d].so;
      index[d] = 0;
    }
  }
}

void run(const Plan& p, int64_t itemsize, const char* in, char* out) {
  const CopyTable& kernels = copy_kernels();
  const auto grid = kernels.grid[log2_of(static_cast<size_t>(itemsize))];
  const auto transpose = kernels.transpose[log2_of(static_cast<size_t>(itemsize))];
  const int64_t row_pieces = (p.rows.n + p.row_step - 1) / p.row_step;
  const int64_t column_pieces = (p.columns.n + p.column_step - 1) / p.column_step;
  const int64_t outer_pieces = (p.outer_count + p.outer_step - 1) / p.outer_step;
  const bool stream = is_streamed(p.outer_count * p.rows.n * p.columns.n * itemsize);
  parallel_for(outer_pieces * row_pieces * column_pieces, [&](int64_t piece) {
    const int64_t column = piece % column_pieces * p.column_step;
    const int64_t row = piece / column_pieces % row_pieces * p.row_step;
    const int64_t first = piece / column_pieces / row_pieces * p.outer_step;
    const int64_t rows = std::min(p.row_step, p.rows.n - row);
    const int64_t columns = std::min(p.column_step, p.columns.n - column);
    const int64_t in0 = row * p.rows.si + column * p.columns.si;
    const int64_t out0 = row * p.rows.so + column * p.columns.so;
    for_each_outer(p.outer, first, std::min(first + p.outer_step, p.outer_count), [&](int64_t i, int64_t o) {
      const char* from = in + (in0 + i) * itemsize;
      char* to = out + (out0 + o) * itemsize;
      if (p.transposes) {
        transpose(from, p.columns.si, to, p.rows.so, rows, columns, stream);
      } else {
        grid(from, p.rows.si, p.columns.si, to, p.rows.so, p.columns.so, rows, columns);
      }
    });
  });
}

}  // namespace

bool is_streamed(int64_t bytes) { return bytes >= kStreamBytes; }

Collapsed collapse_dims(const Shape& shape, const std::vector<Strides>& strides) {
  Collapsed out;
  out.strides.resize(strides.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) {
      out.shape = {0};
      for (Strides& s : out.strides) s = {1};
      return out;
    }
    if (shape[i] == 1) continue;
    bool joins = !out.shape.empty();
    for (size_t k = 0; joins && k < strides.size(); ++k)
      joins = out.strides[k].back() == strides[k][i] * shape[i];
    if (joins) {
      out.shape.back() *= shape[i];
      for (size_t k = 0; k < strides.size(); ++k) out.strides[k].back() = strides[k][i];
    } else {
      out.shape.push_back(shape[i]);
      for (size_t k = 0; k < strides.size(); ++k) out.strides[k].push_back(strides[k][i]);
    }
  }
  return out;
}

void copy_strided(size_t itemsize, const Shape& shape, const void* in, const Strides& in_strides, void* out,
                  const Strides& out_strides) {
  for (ShapeElem n : shape)
    if (n == 0) return;
  const char* from = static_cast<const char*>(in);
  char* to = static_cast<char*>(out);
  const Dims dims = simplify(itemsize, shape, from, in_strides, to, out_strides);
  if (dims.empty()) {
    std::memcpy(to, from, itemsize);
  } else if (dims.size() == 1 && dims[0].si == 1 && dims[0].so == 1) {
    copy_bytes(from, to, dims[0].n * static_cast<int64_t>(itemsize));
  } else if (dims.size() == 1 && dims[0].si == 0 && dims[0].so == 1) {
    fill(to, from, itemsize, dims[0].n);
  } else {
    run(make_plan(dims, static_cast<int64_t>(itemsize)), static_cast<int64_t>(itemsize), from, to);
  }
}

void copy_strided(const array& in, void* out_data, const Strides& out_strides) {
  copy_strided(in.itemsize(), in.shape(), in.data<char>(), in.strides(), out_data, out_strides);
}

void copy_to(const array& in, void* out) {
  if (in.flags().row_contiguous) {
    if (in.size() != 0)
      copy_bytes(in.data<char>(), static_cast<char*>(out), static_cast<int64_t>(in.nbytes()));
  } else {
    copy_strided(in, out, row_major_strides(in.shape()));
  }
}

bool may_take(const array& in, const array& out) {
  return in.is_donatable() && in.flags().row_contiguous && in.nbytes() == out.nbytes();
}
void take_or_allocate(array& out, std::span<const array> inputs) {
  for (const array& in : inputs)
    if (may_take(in, out)) return out.copy_shared_buffer(in);
  out.set_data(allocator::malloc(out.nbytes()));
}

array row_contiguous(const array& a) {
  if (a.flags().row_contiguous) return a;
  array out(a.shape(), a.dtype(), nullptr, {});
  allocator::Data data = allocator::malloc(a.nbytes());
  copy_to(a, data.buffer().raw_ptr());
  out.set_data(std::move(data));
  return out;
}

void fill(void* out, const void* value, size_t itemsize, int64_t size) {
  const auto grid = copy_kernels().grid[log2_of(itemsize)];
  const int64_t bytes = static_cast<int64_t>(itemsize);
  const char* element = static_cast<const char*>(value);
  bool uniform = true;  // memset knows best how to write bytes
  for (int64_t k = 1; k < bytes; ++k) uniform = uniform && element[k] == element[0];
  parallel_ranges(size, kItemBytes / bytes, [&](int64_t begin, int64_t end) {
    char* to = static_cast<char*>(out) + begin * bytes;
    if (uniform) {
      std::memset(to, element[0], static_cast<size_t>((end - begin) * bytes));
    } else {
      grid(element, 0, 0, to, 0, 1, 1, end - begin);
    }
  });
}

}  // namespace mlx::core::cpu
