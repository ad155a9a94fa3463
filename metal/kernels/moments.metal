// Mean and variance of arrays with any strides; T, a float, is defined in front of this text. Each thread joins the moments
// of four elements at a time to its own (T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise algorithm
// for computing sample variances, 1979); lanes, SIMD-groups and parts are joined in the same way, so that nothing
// cancels that is not small itself.
//
// Bytes moved: each element is read once for both results, the least there is; some ten operations per element, so memory
// decides. Long arrays with one result are read in parts, whose moments (16 bytes per 8192 elements) are joined in a second pass.
#include "metal/kernels/strided.h"
#include "metal/kernels/types.h"

constant bool joins [[function_constant(0)]];  // the input is the moments of parts
constant bool parts [[function_constant(1)]];  // and so is the output

struct Reduction {  // as in reduce.metal
  ulong n, total;
  long first;
  uint kept, reduced, results;
  float divisor;
};
struct Moments {
  // Of n elements: their mean as the sum of two floats (far from zero, one alone would be off by more than the elements are
  // from each other), and the sum of squares of what they differ from it.
  float n, mean, low, m2;
};

METAL_FUNC Moments joined(Moments a, Moments b) {
  if (b.n == 0) return a;
  if (a.n == 0) return b;
  const float n = a.n + b.n, delta = (b.mean - a.mean) + (b.low - a.low), share = b.n / n;
  const float step = delta * share + a.low;
  const float mean = a.mean + step, part = mean - a.mean;  // and what is lost in it
  return {n, mean, (a.mean - (mean - part)) + (step - part), a.m2 + b.m2 + delta * delta * (a.n * share)};
}
METAL_FUNC Moments simd_joined(Moments m) {
  for (ushort mask = 16; mask > 0; mask /= 2) {
    const Moments other = {simd_shuffle_xor(m.n, mask), simd_shuffle_xor(m.mean, mask), simd_shuffle_xor(m.low, mask),
                           simd_shuffle_xor(m.m2, mask)};
    m = joined(m, other);
  }
  return m;
}

// Elements first, first + step, ... of row `row`.
METAL_FUNC Moments part_of_row(device const T* in, constant Reduction& p, constant uint* shape, constant long* strides,
                               uint row, uint first, uint step) {
  const long base = p.first + offset_of(row, p.kept, shape, strides);
  const ulong n = p.total == 0 ? p.n : min(p.n, p.total - row * p.n);
  constant uint* inner_shape = shape + p.kept;
  constant long* inner_strides = strides + p.kept;
  Moments all = {0, 0, 0, 0};
  if (joins) {
    device const float* moments = reinterpret_cast<device const float*>(in);
    for (ulong i = first; i < n; i += step) {
      const Moments next = {moments[4 * i], moments[4 * i + 1], moments[4 * i + 2], moments[4 * i + 3]};
      all = joined(all, next);
    }
    return all;
  }
  for (ulong i = first; i < n; i += 4 * static_cast<ulong>(step)) {
    float x[4], sum = 0, count = 0;
    for (uint k = 0; k < 4; ++k) {
      const ulong at = i + k * static_cast<ulong>(step);
      const bool inside = at < n;
      x[k] = inside ? static_cast<float>(in[base + offset_of(at, p.reduced, inner_shape, inner_strides)]) : 0.0f;
      sum += x[k];
      count += inside ? 1.0f : 0.0f;
    }
    const float centre = sum / count;  // rounded: what the differences sum up to is taken out again
    float off = 0, squares = 0;
    for (uint k = 0; k < 4; ++k) {
      const float d = k < count ? x[k] - centre : 0.0f;
      off += d, squares += d * d;
    }
    const Moments four = {count, centre, off / count, squares - off * off / count};
    all = joined(all, four);
  }
  return all;
}

METAL_FUNC void write(Moments m, uint row, device T* mean, device T* variance, constant Reduction& p) {
  if (parts) {
    device float* out = reinterpret_cast<device float*>(mean) + 4 * static_cast<ulong>(row);
    out[0] = m.n, out[1] = m.mean, out[2] = m.low, out[3] = m.m2;
  } else {
    mean[row] = cast_to<T>(m.mean + m.low);
    variance[row] = cast_to<T>((m.m2 < 0 ? 0 : m.m2) / p.divisor);
  }
}

// The forms of reduce.metal: a SIMD-group per result, a threadgroup per result, a lane per result.
kernel void short_rows_moments(device const T* in [[buffer(0)]], device T* mean [[buffer(1)]], device T* variance [[buffer(2)]],
                               constant Reduction& p [[buffer(3)]], constant uint* shape [[buffer(4)]],
                               constant long* strides [[buffer(5)]], uint2 group [[threadgroup_position_in_grid]],
                               uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
                               uint lane [[thread_index_in_simdgroup]]) {
  const uint row = group.x * simds + simd;
  if (row >= p.results) return;
  const Moments m = simd_joined(part_of_row(in, p, shape, strides, row, lane, 32));
  if (lane == 0) write(m, row, mean, variance, p);
}

kernel void long_rows_moments(device const T* in [[buffer(0)]], device T* mean [[buffer(1)]], device T* variance [[buffer(2)]],
                              constant Reduction& p [[buffer(3)]], constant uint* shape [[buffer(4)]],
                              constant long* strides [[buffer(5)]], uint row [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                              uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float counts[32], means[32], lows[32], squares[32];
  Moments m = simd_joined(part_of_row(in, p, shape, strides, row, thread_index, threads));
  if (lane == 0) counts[simd] = m.n, means[simd] = m.mean, lows[simd] = m.low, squares[simd] = m.m2;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simd != 0) return;
  m = {0, 0, 0, 0};
  if (lane < simds) m = {counts[lane], means[lane], lows[lane], squares[lane]};
  m = simd_joined(m);
  if (lane == 0) write(m, row, mean, variance, p);
}

kernel void columns_moments(device const T* in [[buffer(0)]], device T* mean [[buffer(1)]], device T* variance [[buffer(2)]],
                            constant Reduction& p [[buffer(3)]], constant uint* shape [[buffer(4)]],
                            constant long* strides [[buffer(5)]], uint2 group [[threadgroup_position_in_grid]],
                            uint2 at [[thread_position_in_threadgroup]], uint2 size [[threads_per_threadgroup]]) {
  threadgroup float counts[32 * 8], means[32 * 8], lows[32 * 8], squares[32 * 8];
  const uint column = group.x * 32 + at.x, place = at.y * 32 + at.x;
  Moments m = {0, 0, 0, 0};
  if (column < p.results) m = part_of_row(in, p, shape, strides, column, at.y, size.y);
  counts[place] = m.n, means[place] = m.mean, lows[place] = m.low, squares[place] = m.m2;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (at.y != 0 || column >= p.results) return;
  for (uint y = 1; y < size.y; ++y) {
    const uint from = y * 32 + at.x;
    const Moments next = {counts[from], means[from], lows[from], squares[from]};
    m = joined(m, next);
  }
  write(m, column, mean, variance, p);
}
