// Softmax, its Jacobian, log sum exp, and cross entropy over the last axis of row-contiguous memory; T is defined in front of this
// text. A threadgroup per row.
//
// Bytes moved: short rows (up to per_thread elements for each of 1024 threads) stay in registers: every operand is
// read once and the result written once, the least there is. Longer rows are read once more to be written.
// Arithmetic intensity: about one exponential per element, so memory decides.
#include "metal/kernels/reduce.h"

constant constexpr uint per_thread = 8;

#define GROUP_ARGUMENTS                                                                                          \
  uint row [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],                  \
      uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],                         \
      uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]]

METAL_FUNC float max_of(float a, float b) { return a != a || a > b ? a : b; }

kernel void softmax_short(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                          GROUP_ARGUMENTS) {
  threadgroup float maxima[32], sums[32];
  device const T* x = in + static_cast<ulong>(row) * n;
  device T* y = out + static_cast<ulong>(row) * n;
  float v[per_thread], m = -INFINITY, sum = 0;
  for (uint k = 0; k < per_thread; ++k) {
    const uint i = k * threads + thread_index;
    v[k] = i < n ? static_cast<float>(x[i]) : -INFINITY;
    m = max_of(m, v[k]);
  }
  m = group_combine(max_kind, m, maxima, lane, simd, simds);
  for (uint k = 0; k < per_thread; ++k) {
    if (k * threads + thread_index >= n) break;
    v[k] = exp(v[k] - m);
    sum += v[k];
  }
  sum = group_combine(sum_kind, sum, sums, lane, simd, simds);
  for (uint k = 0; k < per_thread; ++k) {
    const uint i = k * threads + thread_index;
    if (i < n) y[i] = static_cast<T>(v[k] / sum);
  }
}

// The largest element and the sum of exp(x - largest) of a row, in one pass. What each addition rounds away is kept:
// a thread adds thousands of numbers where rows are long.
METAL_FUNC float2 largest_and_sum(device const T* x, uint n, uint thread_index, uint threads, uint lane, uint simd,
                                  uint simds, threadgroup float* maxima, threadgroup float* sums) {
  float m = -INFINITY, sum = 0, rest = 0;
  for (uint i = thread_index; i < n; i += threads) {
    const float v = static_cast<float>(x[i]);
    const float larger = max_of(m, v);
    if (larger != -INFINITY) {
      const float scale = exp(m - larger), term = exp(v - larger), before = sum * scale;
      sum = before + term;
      rest = rest * scale + (before < term ? (term - sum) + before : (before - sum) + term);
    }
    m = larger;
  }
  sum += rest;
  const float all = group_combine(max_kind, m, maxima, lane, simd, simds);
  sum = m == all ? sum : m == -INFINITY ? 0.0f : sum * exp(m - all);
  return float2(all, group_combine(sum_kind, sum, sums, lane, simd, simds));
}

kernel void softmax_long(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                         GROUP_ARGUMENTS) {
  threadgroup float maxima[32], sums[32];
  device const T* x = in + static_cast<ulong>(row) * n;
  device T* y = out + static_cast<ulong>(row) * n;
  const float2 found = largest_and_sum(x, n, thread_index, threads, lane, simd, simds, maxima, sums);
  for (uint i = thread_index; i < n; i += threads)
    y[i] = static_cast<T>(exp(static_cast<float>(x[i]) - found.x) / found.y);
}

kernel void log_sum_exp(device const T* in [[buffer(0)]], device T* out [[buffer(1)]], constant uint& n [[buffer(2)]],
                        GROUP_ARGUMENTS) {
  threadgroup float maxima[32], sums[32];
  device const T* x = in + static_cast<ulong>(row) * n;
  const float2 found = largest_and_sum(x, n, thread_index, threads, lane, simd, simds, maxima, sums);
  if (thread_index == 0)
    out[row] = static_cast<T>(found.x == INFINITY || found.x == -INFINITY ? found.x : found.x + log(found.y));
}

// y * (v - sum(y * v)); out may be y or v. Long rows are read twice.
kernel void jacobian(device const T* y_in [[buffer(0)]], device const T* v_in [[buffer(1)]], device T* out [[buffer(2)]],
                     constant uint& n [[buffer(3)]], GROUP_ARGUMENTS) {
  threadgroup float sums[32];
  const ulong base = static_cast<ulong>(row) * n;
  const bool keeps = n <= per_thread * threads;
  float y[per_thread], v[per_thread], sum = 0;
  if (keeps) {
    for (uint k = 0; k < per_thread; ++k) {
      const uint i = k * threads + thread_index;
      y[k] = i < n ? static_cast<float>(y_in[base + i]) : 0.0f;
      v[k] = i < n ? static_cast<float>(v_in[base + i]) : 0.0f;
      sum += y[k] * v[k];
    }
  } else {
    for (uint i = thread_index; i < n; i += threads)
      sum += static_cast<float>(y_in[base + i]) * static_cast<float>(v_in[base + i]);
  }
  sum = group_combine(sum_kind, sum, sums, lane, simd, simds);
  if (keeps) {
    for (uint k = 0; k < per_thread; ++k) {
      const uint i = k * threads + thread_index;
      if (i < n) out[base + i] = static_cast<T>(y[k] * (v[k] - sum));
    }
  } else {
    for (uint i = thread_index; i < n; i += threads)
      out[base + i] = static_cast<T>(static_cast<float>(y_in[base + i]) * (static_cast<float>(v_in[base + i]) - sum));
  }
}

// --- cross entropy: log sum exp - the logit of the target ---

// Targets below 0 count from the end. That of one which is no class does not matter: it is an error by then.
METAL_FUNC uint class_of(long target, uint n) {
  const long at = target < 0 ? target + n : target;
  return at >= 0 && at < n ? static_cast<uint>(at) : 0;
}

// Each logit is read once, the target's once more.
kernel void cross_entropy(device const T* in [[buffer(0)]], device const long* targets [[buffer(1)]],
                          device float* loss [[buffer(2)]], device float* lse [[buffer(3)]], constant uint& n [[buffer(4)]],
                          GROUP_ARGUMENTS) {
  threadgroup float maxima[32], sums[32];
  device const T* x = in + static_cast<ulong>(row) * n;
  const float2 found = largest_and_sum(x, n, thread_index, threads, lane, simd, simds, maxima, sums);
  if (thread_index != 0) return;
  const bool infinite = found.x == INFINITY || found.x == -INFINITY;
  const float chosen = static_cast<float>(x[class_of(targets[row], n)]);
  const float logarithm = infinite ? 0.0f : log(found.y);
  lse[row] = found.x + logarithm;
  loss[row] = (found.x - chosen) + logarithm;
}

// a * exp(x - lse), and -b at the target; out may be x. Each logit is read once, each gradient written once.
kernel void cross_entropy_gradient(device const T* x [[buffer(0)]], device const long* targets [[buffer(1)]],
                                   device const float* lse [[buffer(2)]], device const float* a [[buffer(3)]],
                                   device const float* b [[buffer(4)]], device T* out [[buffer(5)]],
                                   constant uint& n [[buffer(6)]], uint row [[threadgroup_position_in_grid]],
                                   uint thread_index [[thread_index_in_threadgroup]],
                                   uint threads [[threads_per_threadgroup]]) {
  const ulong base = static_cast<ulong>(row) * n;
  const uint target = class_of(targets[row], n);
  // With an infinite logit all of them are nan.
  const float logarithm = lse[row] == INFINITY ? NAN : lse[row], scale = a[row], taken = b[row];
  for (uint i = thread_index; i < n; i += threads) {
    const float p = scale * exp(static_cast<float>(x[base + i]) - logarithm);
    out[base + i] = static_cast<T>(i == target ? p - taken : p);
  }
}
