#include "mlx/cpu/indexing.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "mlx/cpu/isa/copy_index.h"
#include "mlx/cpu/isa/tiles.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/indexing.h"

namespace mlx::core::cpu {
namespace {

// f<T>(): an index array's type.
template <class F>
void dispatch_integer(Dtype dtype, F&& f) {
  dispatch_all(dtype, [&]<class T>() {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) f.template operator()<T>();
  });
}

[[noreturn]] void throw_out_of_range(std::string_view op, const std::string& index, int64_t axis,
                                     int64_t limit) {
  throw std::out_of_range(
      text("[", op, "] index ", index, " is out of range for axis ", axis, " with size ", limit));
}

}  // namespace

int64_t integer_at(const array& a, int64_t offset) {
  int64_t value = 0;
  dispatch_integer(a.dtype(), [&]<class T>() { value = static_cast<int64_t>(a.data<T>()[offset]); });
  return value;
}

void add_offsets(std::string_view op, const array& index, int64_t start, int64_t step, int64_t n,
                 int64_t axis, int64_t limit, int64_t stride, bool first, int64_t* offsets) {
  const void* p = index.data<char>() + start * static_cast<int64_t>(index.itemsize());
  if (!index_kernels().offsets[static_cast<int>(index.dtype().val())](p, step, n, limit, stride, first,
                                                                      offsets))
    return;
  dispatch_integer(index.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < n; ++i) {
      const T value = static_cast<const T*>(p)[i * step];
      int64_t j = static_cast<int64_t>(value);
      if constexpr (std::is_signed_v<T>) j += (j >> 63) & limit;
      if (static_cast<uint64_t>(j) >= static_cast<uint64_t>(limit))
        throw_out_of_range(op, std::to_string(value), axis, limit);
    }
  });
}

IndexReader::IndexReader(std::string_view op, const array& target, const std::vector<array>& indices,
                         const std::vector<int>& axes, const Shape& shape)
    : op_(op), size_(static_cast<int64_t>(elements(shape))) {
  for (size_t i = 0; i < indices.size(); ++i)
    sources_.push_back({indices[i], collapse_dims(shape, {indices[i].strides()}), axes[i],
                        target.shape(axes[i]), target.strides(axes[i])});
}

void IndexReader::read(int64_t begin, int64_t n, int64_t* offsets) const {
  if (sources_.empty()) std::fill(offsets, offsets + n, 0);
  bool first = true;
  for (const Source& s : sources_) {
    const Strides& shape = s.layout.shape;
    const Strides& strides = s.layout.strides[0];
    const int64_t row = shape.empty() ? 1 : shape.back(), step = shape.empty() ? 1 : strides.back();
    for (int64_t done = 0; done < n;) {
      int64_t position = begin + done, start = 0;
      const int64_t column = position % row;
      position /= row;
      for (size_t d = shape.empty() ? 0 : shape.size() - 1; d-- > 0;) {
        start += position % shape[d] * strides[d];
        position /= shape[d];
      }
      const int64_t count = std::min(n - done, row - column);
      add_offsets(op_, s.index, start + column * step, step, count, s.axis, s.limit, s.stride, first,
                  offsets + done);
      done += count;
    }
    first = false;
  }
}

namespace {

constexpr int64_t kItemBytes = 128 << 10;
constexpr int64_t kBlock = 1024;  // offsets that one item holds

int log2_of(size_t itemsize) { return itemsize == 1 ? 0 : itemsize == 2 ? 1 : itemsize == 4 ? 2 : 3; }

// Boxes of `in` at the places that `reader` reads go to `out`, box i at i * out_step, inside as `out_box`
// says.
void gather_boxes(const array& in, const IndexReader& reader, const Shape& box, array& out,
                  const Strides& out_box, int64_t out_step) {
  if (out.size() == 0) return;
  Collapsed c = collapse_dims(box, {in.strides(), out_box});
  // Columns of a matrix, say: neighbours in the output are of different boxes.
  if (out_step == 1 && !c.shape.empty() && c.strides[1].back() != 1) {
    c.shape.push_back(1);
    for (Strides& strides : c.strides) strides.push_back(1);
  }
  int64_t n = 1, si = 1, so = 1;
  if (!c.shape.empty()) {
    n = c.shape.back();
    si = c.strides[0].back();
    so = c.strides[1].back();
  }
  const size_t outer_dims = c.shape.empty() ? 0 : c.shape.size() - 1;
  int64_t outer = 1;
  for (size_t d = 0; d < outer_dims; ++d) outer *= c.shape[d];
  const int64_t itemsize = static_cast<int64_t>(in.itemsize()), run = n * itemsize;
  const int64_t block = std::clamp<int64_t>(kItemBytes / run, 1, kBlock);
  const int64_t outer_step = std::clamp<int64_t>(kItemBytes / (run * block), 1, outer);
  const int64_t blocks = (reader.size() + block - 1) / block,
                outer_blocks = (outer + outer_step - 1) / outer_step;
  const auto gather = index_kernels().gather[log2_of(in.itemsize())];
  const auto run_item = [&](int64_t item) {
    int64_t offsets[kBlock];
    const int64_t begin = item % blocks * block, count = std::min(block, reader.size() - begin);
    reader.read(begin, count, offsets);
    const int64_t first = item / blocks * outer_step;
    for (int64_t o = first; o < std::min(first + outer_step, outer); ++o) {
      int64_t rest = o, from = 0, to = begin * out_step;
      for (size_t d = outer_dims; d-- > 0;) {
        const int64_t k = rest % c.shape[d];
        rest /= c.shape[d];
        from += k * c.strides[0][d];
        to += k * c.strides[1][d];
      }
      gather(in.data<char>() + from * itemsize, offsets, si, out.data<char>() + to * itemsize, out_step, so,
             count, n);
    }
  };
  const int64_t grain = std::max<int64_t>(1, kItemBytes / (run * block * outer_step));
  parallel_ranges(blocks * outer_blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) run_item(item);
  });
}

void take(const Take& p, const Arrays& inputs, Arrays& outputs) {
  const array &in = inputs[0], &index = inputs[1];
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const size_t axis = static_cast<size_t>(p.axis), k = index.ndim();
  Shape box = in.shape();
  box[axis] = 1;
  // The strides of out for the axes of `in`; those of the indices lie together.
  Strides strides(out.strides().begin(), out.strides().begin() + p.axis);
  strides.push_back(0);
  strides.insert(strides.end(), out.strides().begin() + static_cast<std::ptrdiff_t>(axis + k),
                 out.strides().end());
  int64_t step = 1;
  for (size_t i = axis + 1; i < in.ndim(); ++i) step *= in.shape()[i];
  const IndexReader reader(p.name(), in, {index}, {p.axis}, index.shape());
  gather_boxes(in, reader, box, out, strides, step);
}

void gather(const Gather& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array& in = inputs[0];
  const Arrays indices(inputs.begin() + 1, inputs.end());
  const size_t k = out.ndim() - in.ndim();
  const Shape lead(out.shape().begin(), out.shape().begin() + static_cast<std::ptrdiff_t>(k));
  const Strides strides(out.strides().begin() + static_cast<std::ptrdiff_t>(k), out.strides().end());
  // A box longer than one element of an indexed axis must end inside the array: indices stop earlier.
  // Such an array is looked at as one that is shorter.
  Shape limited = in.shape();
  for (int axis : p.axes) limited[static_cast<size_t>(axis)] -= p.sizes[static_cast<size_t>(axis)] - 1;
  array window(limited, in.dtype(), nullptr, {});
  window.copy_shared_buffer(in, in.strides(), {}, in.data_size());
  gather_boxes(in, IndexReader(p.name(), window, indices, p.axes, lead), p.sizes, out, strides,
               static_cast<int64_t>(elements(p.sizes)));
}

// --- along an axis ---

// An array as (outer, axis, inner): strides of the three.
struct Three {
  int64_t outer, axis, inner;
};
std::optional<Three> three_strides(const array& a, int axis) {
  Three out{0, a.strides(axis), 0};
  const auto merged = [&](int from, int to, int64_t& stride) {
    bool some = false;
    for (int i = to; i-- > from;) {
      if (a.shape(i) == 1) continue;
      if (!some) {
        stride = a.strides(i);
        some = true;
      } else {
        int64_t below = stride;
        for (int k = i + 1; k < to; ++k) below *= a.shape(k);
        if (a.strides(i) != below) return false;
      }
    }
    return true;
  };
  if (!merged(0, axis, out.outer) || !merged(axis + 1, static_cast<int>(a.ndim()), out.inner))
    return std::nullopt;
  return out;
}

void take_along_axis(const TakeAlongAxis& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  if (out.size() == 0) return;
  array in = inputs[0], index = inputs[1];
  auto from = three_strides(in, p.axis), by = three_strides(index, p.axis);
  if (!from) from = three_strides(in = row_contiguous(in), p.axis);
  if (!by) by = three_strides(index = row_contiguous(index), p.axis);
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < static_cast<int>(out.ndim()); ++i)
    (i < p.axis ? outer : inner) *= i == p.axis ? 1 : out.shape(i);
  const int64_t n = out.shape(p.axis), limit = in.shape(p.axis),
                itemsize = static_cast<int64_t>(in.itemsize());
  // Rows of indices that lie together: along the axis itself, or along what is inside it.
  const bool along = inner == 1;
  const auto gather = index_kernels().gather[log2_of(in.itemsize())];
  if (along && n < kBlock / 8 &&
      (outer == 1 || by->outer == n * by->axis)) {  // many short rows: as one of indices
    parallel_ranges(outer * n, 8 * kBlock, [&](int64_t begin, int64_t end) {
      int64_t offsets[kBlock];
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t count = std::min(kBlock, end - at);
        add_offsets(p.name(), index, at * by->axis, by->axis, count, p.axis, limit, from->axis, true,
                    offsets);
        for (int64_t k = 0, row = at / n, column = at % n; k < count; ++k) {
          offsets[k] += row * from->outer;
          if (++column == n) column = 0, ++row;
        }
        gather(in.data<char>(), offsets, 1, out.data<char>() + at * itemsize, 1, 1, count, 1);
      }
    });
    return;
  }
  const int64_t rows = along ? outer : outer * n, length = along ? n : inner;
  const int64_t step = along ? by->axis : by->inner;
  const int64_t pieces = (length + kBlock - 1) / kBlock, group = std::max<int64_t>(1, 8 * kBlock / length);
  parallel_ranges(rows * pieces, group, [&](int64_t begin, int64_t end) {
    int64_t offsets[kBlock];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / pieces, first = item % pieces * kBlock,
                    count = std::min(kBlock, length - first);
      const int64_t o = along ? row : row / n, j = along ? 0 : row % n;
      add_offsets(p.name(), index, o * by->outer + j * by->axis + first * step, step, count, p.axis, limit,
                  from->axis, true, offsets);
      if (!along)
        for (int64_t k = 0; k < count; ++k) offsets[k] += (first + k) * from->inner;
      gather(in.data<char>() + o * from->outer * itemsize, offsets, 1,
             out.data<char>() + (row * length + first) * itemsize, 1, 1, count, 1);
    }
  });
}

// --- by mask ---

// The first `size` of the selected numbers, and how many there were. Each is written and only kept where it
// is selected: no branch to guess.
template <class T>
size_t select_numbers(const void* from, const bool* selected, size_t n, void* out, size_t size) {
  const T* in = static_cast<const T*>(from);
  T* to = static_cast<T*>(out);
  size_t k = 0;
  for (size_t i = 0; i < n && k < size; ++i) {
    to[k] = in[i];
    k += selected[i];
  }
  return k;
}
constexpr decltype(&select_numbers<uint8_t>) kSelectNumbers[4] = {
    select_numbers<uint8_t>, select_numbers<uint16_t>, select_numbers<uint32_t>, select_numbers<uint64_t>};

void masked_select(const MaskedSelect& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  const array in = row_contiguous(inputs[0]), mask = row_contiguous(inputs[1]);
  const bool* selected = mask.data<bool>();
  const size_t bytes = out.itemsize(), part = mask.size() == 0 ? 0 : in.size() / mask.size() * bytes;
  char* to = out.data<char>();
  char* end = to + static_cast<size_t>(p.size) * bytes;
  if (part == bytes) {
    const auto select = kSelectNumbers[size_index(static_cast<int>(bytes))];
    to += select(in.data<char>(), selected, mask.size(), to, static_cast<size_t>(p.size)) * bytes;
    std::memset(to, 0, static_cast<size_t>(end - to));
    return;
  }
  for (size_t i = 0; i < mask.size() && to < end; ++i) {
    if (!selected[i]) continue;
    const size_t n = std::min(part, static_cast<size_t>(end - to));
    std::memcpy(to, in.data<char>() + i * part, n);
    to += n;
  }
  std::memset(to, 0, static_cast<size_t>(end - to));
}

const bool registered = kernels(Device::cpu).add<Take>(take) && kernels(Device::cpu).add<Gather>(gather) &&
                        kernels(Device::cpu).add<TakeAlongAxis>(take_along_axis) &&
                        kernels(Device::cpu).add<MaskedSelect>(masked_select);

}  // namespace
}  // namespace mlx::core::cpu
