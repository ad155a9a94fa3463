// Layer norm and RMS norm of row-contiguous rows, and their gradients; T is defined in front of this text, weights and
// biases are floats. A threadgroup per row.
//   layer: y = (x - mean) / sqrt(var + eps) * w + b        rms: y = x / sqrt(mean(x^2) + eps) * w
//
// Bytes moved: rows of up to per_thread elements for each of 1024 threads stay in registers: x is read once and y
// written once, the least there is (w and b stay in the cache). Longer rows are read once more per pass. Arithmetic
// intensity: some ten operations per element, so memory decides.
#include "metal/kernels/reduce.h"

constant bool centre [[function_constant(0)]];
constant bool weighted [[function_constant(1)]];
constant bool biased [[function_constant(2)]];
constant bool in_registers [[function_constant(3)]];
constant constexpr uint per_thread = 8;

#define GROUP_ARGUMENTS                                                                                          \
  uint row [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],                  \
      uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],                         \
      uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]]

struct Norm {
  uint n, rows;
  float eps;
};

// The elements of a row that a thread has: from registers, or read again.
struct Row {
  device const T* x;
  uint n, first, step;
  thread float* kept;
  METAL_FUNC uint at(uint k) const { return k * step + first; }
  METAL_FUNC uint count() const { return first < n ? (n - first + step - 1) / step : 0; }
  METAL_FUNC float operator[](uint k) const { return in_registers ? kept[k] : static_cast<float>(x[at(k)]); }
};
METAL_FUNC Row row_of(device const T* x, uint n, uint first, uint step, thread float* kept) {
  const Row r = {x, n, first, step, kept};
  if (in_registers)
    for (uint k = 0, count = r.count(); k < count; ++k) kept[k] = static_cast<float>(x[r.at(k)]);
  return r;
}

// Mean (0 for rms) and 1 / sqrt(mean squared deviation + eps).
METAL_FUNC float2 moments(thread const Row& x, float eps, uint lane, uint simd, uint simds, threadgroup float* a,
                          threadgroup float* b) {
  const float n = static_cast<float>(x.n);
  const uint count = x.count();
  float mean = 0;
  if (centre) {
    float sum = 0;
    for (uint k = 0; k < count; ++k) sum += x[k];
    mean = group_combine(sum_kind, sum, a, lane, simd, simds) / n;
  }
  float squares = 0;
  for (uint k = 0; k < count; ++k) squares += (x[k] - mean) * (x[k] - mean);
  return float2(mean, 1.0f / sqrt(group_combine(sum_kind, squares, b, lane, simd, simds) / n + eps));
}

kernel void forward(device const T* in [[buffer(0)]],
                    device const float* w [[buffer(1), function_constant(weighted)]],
                    device const float* b [[buffer(2), function_constant(biased)]], device T* out [[buffer(3)]],
                    constant Norm& p [[buffer(4)]], GROUP_ARGUMENTS) {
  threadgroup float first[32], second[32];
  float kept[per_thread];
  const Row x = row_of(in + static_cast<ulong>(row) * p.n, p.n, thread_index, threads, kept);
  device T* y = out + static_cast<ulong>(row) * p.n;
  const float2 m = moments(x, p.eps, lane, simd, simds, first, second);
  for (uint k = 0, count = x.count(); k < count; ++k) {
    float v = (x[k] - m.x) * m.y;
    if (weighted) v *= w[x.at(k)];
    if (biased) v += b[x.at(k)];
    y[x.at(k)] = static_cast<T>(v);
  }
}

// dx = (h - mean(h) - z mean(h z)) / sigma with h = g w and the normalised z (rms: without mean(h)). The moments are
// written, two floats per row, for the gradient of the weights. out may be the memory of in or g.
kernel void backward(device const T* in [[buffer(0)]],
                     device const float* w [[buffer(1), function_constant(weighted)]],
                     device const T* g_in [[buffer(2)]], device T* out [[buffer(3)]], device float2* found [[buffer(4)]],
                     constant Norm& p [[buffer(5)]], GROUP_ARGUMENTS) {
  threadgroup float first[32], second[32], third[32], fourth[32];
  float kept[per_thread], kept_g[per_thread];
  const ulong base = static_cast<ulong>(row) * p.n;
  const Row x = row_of(in + base, p.n, thread_index, threads, kept);
  const Row g = row_of(g_in + base, p.n, thread_index, threads, kept_g);
  const float2 m = moments(x, p.eps, lane, simd, simds, first, second);
  if (thread_index == 0) found[row] = m;
  float sum = 0, product = 0;
  for (uint k = 0, count = x.count(); k < count; ++k) {
    const float h = weighted ? g[k] * w[x.at(k)] : g[k];
    sum += h;
    product += h * (x[k] - m.x) * m.y;
  }
  const float n = static_cast<float>(p.n);
  const float mean_h = centre ? group_combine(sum_kind, sum, third, lane, simd, simds) / n : 0.0f;
  const float mean_hz = group_combine(sum_kind, product, fourth, lane, simd, simds) / n;
  for (uint k = 0, count = x.count(); k < count; ++k) {
    const float h = weighted ? g[k] * w[x.at(k)] : g[k];
    const float z = (x[k] - m.x) * m.y;
    out[base + x.at(k)] = static_cast<T>((h - mean_h - z * mean_hz) * m.y);
  }
}

// dw = sum of g z and db = sum of g over the rows: a threadgroup of 32 columns by 8 parts, which walk down the rows.
kernel void parameters(device const T* in [[buffer(0)]], device const T* g [[buffer(1)]],
                       device const float2* found [[buffer(2)]], device float* dw [[buffer(3)]],
                       device float* db [[buffer(4)]], constant Norm& p [[buffer(5)]],
                       uint2 group [[threadgroup_position_in_grid]], uint2 at [[thread_position_in_threadgroup]],
                       uint2 size [[threads_per_threadgroup]]) {
  threadgroup float parts[2][32 * 8];
  const uint column = group.x * 32 + at.x;
  float w = 0, b = 0;
  if (column < p.n)
    for (uint row = at.y; row < p.rows; row += size.y) {
      const ulong i = static_cast<ulong>(row) * p.n + column;
      const float2 m = found[row];
      const float v = static_cast<float>(g[i]);
      w += v * (static_cast<float>(in[i]) - m.x) * m.y;
      b += v;
    }
  parts[0][at.y * 32 + at.x] = w;
  parts[1][at.y * 32 + at.x] = b;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (at.y != 0 || column >= p.n) return;
  for (uint y = 1; y < size.y; ++y) {
    w += parts[0][y * 32 + at.x];
    b += parts[1][y * 32 + at.x];
  }
  dw[column] = w;
  db[column] = b;
}
