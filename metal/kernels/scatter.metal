// Updates at places that offsets name; T is defined in front of this text. No atomics: the updates of one place are applied
// in their order by one thread, so that results are the same in every run. The host sorts the offsets (sort.metal); equal
// ones form a run, and the thread at the beginning of a run owns its place. Runs are cut at every `run_length`th offset:
// what is behind a cut is combined apart and joined afterwards, so that a place where all updates meet has many threads.
//
// Bytes moved: each update and each offset with its place in the order once (offsets twice, of neighbours), each place that is
// named once read (not to assign) and once written: the least there is but for the order. One operation per update.
#include "metal/kernels/reduce.h"
#include "metal/kernels/strided.h"

constant int reduction [[function_constant(0)]];
constant constexpr int assign = -1;
constant bool ordered [[function_constant(1)]];  // else the offsets came in ascending order: update i is the i-th
constant constexpr uint run_length = 64;

template <class X>
struct Wide : Accumulator<X> {};
template <>
struct Wide<complex64_t> {
  typedef complex64_t type;
};
typedef Wide<T>::type W;

METAL_FUNC W wide(T x) { return static_cast<W>(x); }
// As the CPU combines them: of equal ones the first, a nan from either side.
template <class X>
METAL_FUNC X joined(X before, X next) {
  return reduction == assign ? next : combine(reduction, next, before);
}
METAL_FUNC complex64_t joined(complex64_t before, complex64_t next) {
  const bool nan = next.re != next.re || next.im != next.im;
  if (reduction == sum_kind) return before + next;
  if (reduction == prod_kind) return before * next;
  if (reduction == max_kind) return nan || next > before ? next : before;
  if (reduction == min_kind) return nan || next < before ? next : before;
  return next;
}

struct Scatter {
  uint count, elements;  // updates, elements of each
  uint dims;             // of the box that an update goes to
};

METAL_FUNC T update_at(device const T* updates, device const uint* order, uint i, uint elements, uint element) {
  return updates[static_cast<ulong>(ordered ? order[i] : i) * elements + element];
}

// x counts the elements of an update, y the updates.
kernel void scatter(device T* out [[buffer(0)]], device const T* updates [[buffer(1)]], device const uint* offsets [[buffer(2)]],
                    device const uint* order [[buffer(3), function_constant(ordered)]], device W* partial [[buffer(4)]],
                    constant Scatter& p [[buffer(5)]], constant uint* shape [[buffer(6)]],
                    constant long* strides [[buffer(7)]], uint2 at [[thread_position_in_grid]]) {
  uint i = at.y;
  const uint offset = offsets[i];
  const ulong to = offset + static_cast<ulong>(offset_of(at.x, p.dims, shape, strides));
  if (reduction == assign) {
    if (i + 1 == p.count || offsets[i + 1] != offset) out[to] = update_at(updates, order, i, p.elements, at.x);
    return;
  }
  const bool first = i == 0 || offsets[i - 1] != offset;
  if (!first && i % run_length != 0) return;
  W all = wide(update_at(updates, order, i, p.elements, at.x));
  if (first) all = joined(wide(out[to]), all);
  const uint end = min(p.count, (i / run_length + 1) * run_length), part = i / run_length;
  for (++i; i < end && offsets[i] == offset; ++i)
    all = joined(all, wide(update_at(updates, order, i, p.elements, at.x)));
  if (first) {
    out[to] = cast_to<T>(all);
  } else {
    partial[static_cast<ulong>(part) * p.elements + at.x] = all;
  }
}

// Whether the run that begins at this cut began before it.
METAL_FUNC bool continues(device const uint* offsets, uint part) {
  return part > 0 && offsets[part * run_length - 1] == offsets[part * run_length];
}
// What is behind cuts to where it belongs: y counts the cuts.
kernel void join_runs(device T* out [[buffer(0)]], device const uint* offsets [[buffer(1)]], device const W* partial [[buffer(2)]],
                      constant Scatter& p [[buffer(3)]], constant uint* shape [[buffer(4)]],
                      constant long* strides [[buffer(5)]], uint2 at [[thread_position_in_grid]]) {
  uint part = at.y + 1;
  const uint offset = offsets[part * run_length];
  if (!continues(offsets, part) || (continues(offsets, part - 1) && offsets[(part - 1) * run_length] == offset)) return;
  const ulong to = offset + static_cast<ulong>(offset_of(at.x, p.dims, shape, strides));
  W all = wide(out[to]);
  for (; part * run_length < p.count && offsets[part * run_length] == offset; ++part)
    all = joined(all, partial[static_cast<ulong>(part) * p.elements + at.x]);
  out[to] = cast_to<T>(all);
}

// A thread per line of (outer, n, inner), where lines are many and short: offsets need no order.
struct Lines {
  uint n, inner;
};
kernel void scatter_lines(device T* out [[buffer(0)]], device const T* updates [[buffer(1)]],
                          device const uint* offsets [[buffer(2)]], constant Lines& p [[buffer(3)]],
                          uint line [[thread_position_in_grid]]) {
  ulong at = static_cast<ulong>(line / p.inner) * p.n * p.inner + line % p.inner;
  for (uint j = 0; j < p.n; ++j, at += p.inner) {
    const uint to = offsets[at];
    T value = updates[at];
    if (reduction != assign) value = cast_to<T>(joined(wide(out[to]), wide(value)));
    out[to] = value;
  }
}

// Boxes that may overlap are taken apart: an offset for each element of each box.
kernel void expand(device const int* offsets [[buffer(0)]], device uint* out [[buffer(1)]], constant Scatter& p [[buffer(2)]],
                   constant uint* shape [[buffer(3)]], constant long* strides [[buffer(4)]],
                   uint2 at [[thread_position_in_grid]]) {
  out[static_cast<ulong>(at.y) * p.elements + at.x] =
      static_cast<uint>(offsets[at.y] + offset_of(at.x, p.dims, shape, strides));
}
