#include "mlx/ops/concatenate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/copy.h"
#include "mlx/cpu/parallel.h"
#include "mlx/cpu/slice.h"
#include "mlx/graph/kernels.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kPiece = 64;           // bytes that are worth a copy of their own
constexpr int64_t kLongest = 1 << 20;    // a row: longer ones are shared among threads each
constexpr int64_t kPerItem = 256 << 10;  // bytes, before another thread is worth waking
constexpr int64_t kPerTurn = 64 << 10;   // the same, of elements taken by turns
constexpr size_t kMostTurns = 4;         // inputs

// Row by row of the result, which is then written from front to back: one input after the other would write
// parts of its lines again and again. Not for inputs with gaps, nor with rows of a few bytes.
bool concatenate_rows(const Arrays& inputs, size_t axis, array& out) {
  const int64_t row = out.shape()[axis] * out.strides()[axis] * static_cast<int64_t>(out.itemsize());
  if (row == 0 || row > kLongest) return false;
  struct Part {
    const char* data;
    int64_t bytes;
  };
  std::vector<Part> parts;
  for (const array& in : inputs) {
    const int64_t bytes = in.shape()[axis] * out.strides()[axis] * static_cast<int64_t>(in.itemsize());
    if (bytes == 0) continue;
    if (bytes < kPiece || !in.flags().row_contiguous) return false;
    parts.push_back({in.data<char>(), bytes});
  }
  const int64_t rows = static_cast<int64_t>(out.nbytes()) / row;
  if (rows == 1) return false;
  char* const first = out.data<char>();
  const bool stream = is_streamed(static_cast<int64_t>(out.nbytes()));
  parallel_ranges(rows, std::max<int64_t>(1, kPerItem / row), [&](int64_t begin, int64_t end) {
    char* to = first + begin * row;
    for (int64_t r = begin; r < end; ++r)
      for (const Part& part : parts) {
        if (stream) {
          copy_kernels().stream(part.data + r * part.bytes, to, part.bytes);
        } else {
          std::memcpy(to, part.data + r * part.bytes, static_cast<size_t>(part.bytes));
        }
        to += part.bytes;
      }
  });
  return true;
}

// An element of each input by turns, as where arrays are stacked along a new last axis.
template <int count, class T>
void take_turns(const std::array<const char*, kMostTurns>& inputs, char* out, int64_t begin, int64_t end) {
  const T* in[count];
  for (int k = 0; k < count; ++k) in[k] = reinterpret_cast<const T*>(inputs[static_cast<size_t>(k)]);
  T* __restrict to = reinterpret_cast<T*>(out);
  for (int64_t i = begin; i < end; ++i)
    for (int k = 0; k < count; ++k) to[i * count + k] = in[k][i];
}
template <class T>
void take_turns_of(size_t count, const std::array<const char*, kMostTurns>& inputs, char* out, int64_t begin,
                   int64_t end) {
  switch (count) {
    case 2:
      return take_turns<2, T>(inputs, out, begin, end);
    case 3:
      return take_turns<3, T>(inputs, out, begin, end);
    default:
      return take_turns<4, T>(inputs, out, begin, end);
  }
}
bool interleave(const Arrays& inputs, size_t axis, array& out) {
  if (inputs.size() < 2 || inputs.size() > kMostTurns || out.strides()[axis] != 1 || out.itemsize() < 4)
    return false;
  std::array<const char*, kMostTurns> from{};
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].shape()[axis] != 1 || !inputs[k].flags().row_contiguous) return false;
    from[k] = inputs[k].data<char>();
  }
  const int64_t grain = std::max<int64_t>(1, kPerTurn / static_cast<int64_t>(out.itemsize() * inputs.size()));
  parallel_ranges(static_cast<int64_t>(inputs[0].size()), grain, [&](int64_t begin, int64_t end) {
    (out.itemsize() == 4 ? take_turns_of<uint32_t> : take_turns_of<uint64_t>)(inputs.size(), from,
                                                                              out.data<char>(), begin, end);
  });
  return true;
}

void concatenate(const Concatenate& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  char* to = out.data<char>();
  const size_t axis = static_cast<size_t>(p.axis);
  if (interleave(inputs, axis, out) || concatenate_rows(inputs, axis, out)) return;
  for (const array& in : inputs) {
    copy_strided(in, to, out.strides());
    to += in.shape()[axis] * out.strides()[axis] * static_cast<int64_t>(in.itemsize());
  }
}

void pad(const Pad& p, const Arrays& inputs, Arrays& outputs) {
  array& out = outputs[0];
  const array& in = inputs[0];
  out.set_data(allocator::malloc(out.nbytes()));
  char* to = out.data<char>();
  const int64_t bytes = static_cast<int64_t>(out.itemsize());
  Shape stop = p.low;
  for (size_t i = 0; i < stop.size(); ++i) stop[i] += in.shape()[i];
  const Strides still(out.ndim(), 0);
  for_each_border(out.shape(), p.low, stop, [&](const Shape& start, const Shape& shape) {
    copy_strided(out.itemsize(), shape, inputs[1].data<char>(), still,
                 to + offset_of(start, out.strides()) * bytes, out.strides());
  });
  copy_strided(in, to + offset_of(p.low, out.strides()) * bytes, out.strides());
}

const bool registered =
    kernels(Device::cpu).add<Concatenate>(concatenate) && kernels(Device::cpu).add<Pad>(pad);

}  // namespace
}  // namespace mlx::core::cpu
