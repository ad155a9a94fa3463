// Kernels that do nothing wrong: arguments, positions, threadgroup memory, barriers, SIMD operations,
// templates, function constants.
#include "check.h"

#include <numeric>

using namespace test;

namespace {

void copies_and_positions() {
  const std::string source = R"(
    #include <metal_stdlib>
    using namespace metal;
    kernel void scale(device const float* in [[buffer(0)]], device float* out [[buffer(1)]],
                      constant float& factor [[buffer(2)]], uint i [[thread_position_in_grid]]) {
      out[i] = in[i] * factor;
    }
    kernel void where(device uint* out, uint3 p [[thread_position_in_grid]], uint3 n [[threads_per_grid]],
                      ushort lane [[thread_index_in_simdgroup]], uint2 g [[threadgroup_position_in_grid]],
                      uint t [[thread_index_in_threadgroup]]) {
      out[p.x + n.x * (p.y + n.y * p.z)] = lane + 100 * t + 10000 * g.x + 1000000 * g.y;
    }
  )";
  std::vector<float> x(1000);
  std::iota(x.begin(), x.end(), 0.0f);
  const auto in = buffer(x), out = buffer(x), factor = buffer(std::vector<float>{3});
  CHECK(run({source, "scale", {in, out, factor}, {1000}, {256}}) == "");
  bool equal = true;
  for (size_t i = 0; i < x.size(); ++i) equal &= values<float>(out)[i] == 3 * x[i];
  CHECK(equal);
  const auto places = buffer(std::vector<uint32_t>(10 * 6 * 2));
  CHECK(run({source, "where", {places}, {10, 6, 2}, {4, 4, 2}}) == "");
  const auto got = values<uint32_t>(places);
  // (9, 5, 1): the last group in x and y has 2 by 2 by 2 threads.
  CHECK(got.back() == 7 + 100 * 7 + 10000 * 2 + 1000000 * 1);
  CHECK(got[4 + 10 * 4] == 0 + 10000 * 1 + 1000000 * 1);
}

void threadgroup_memory() {
  const std::string source = R"(
    #include <metal_stdlib>
    using namespace metal;
    template <typename T, int N>
    [[kernel]] void reverse(const device T* in [[buffer(0)]], device T* out [[buffer(1)]],
                            uint i [[thread_position_in_threadgroup]]) {
      threadgroup T held[N];
      held[i] = in[i];
      threadgroup_barrier(mem_flags::mem_threadgroup);
      out[i] = held[N - 1 - i];
    }
    template [[host_name("reverse_float")]] [[kernel]] decltype(reverse<float, 64>) reverse<float, 64>;
    template [[host_name("reverse_half")]] [[kernel]] void reverse<half, 64>(const device half* in [[buffer(0)]],
        device half* out [[buffer(1)]], uint i [[thread_position_in_threadgroup]]);
    kernel void total(device const float* in, device float* out, threadgroup float* part [[threadgroup(0)]],
                      uint t [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                      uint s [[simdgroup_index_in_threadgroup]], uint n [[simdgroups_per_threadgroup]]) {
      float sum = simd_sum(in[t]);
      if (lane == 0) part[s] = sum;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (s == 0) {
        sum = simd_sum(lane < n ? part[lane] : 0.0);
        if (t == 0) out[0] = sum;
      }
    }
  )";
  std::vector<float> x(64);
  std::iota(x.begin(), x.end(), 0.0f);
  const auto in = buffer(x), out = buffer(x);
  CHECK(run({source, "reverse_float", {in, out}, {64}, {64}}) == "");
  CHECK(values<float>(out)[0] == 63 && values<float>(out)[63] == 0);
  CHECK(device()->compile(source, "test.metal")->pipeline("reverse_float")->static_threadgroup_memory() ==
        256);
  CHECK(device()->compile(source, "test.metal")->pipeline("reverse_half")->static_threadgroup_memory() ==
        128);
  CHECK(device()->compile(source, "test.metal")->pipeline("total")->static_threadgroup_memory() == 0);
  std::vector<float> y(300, 1.5f);
  const auto result = buffer(std::vector<float>{0});
  CHECK(run({source, "total", {buffer(y), result}, {300}, {300}, {}, {64}}) == "");
  CHECK(values<float>(result)[0] == 450);
}

void function_constants() {
  const std::string source = R"(
    constant bool doubled [[function_constant(0)]];
    constant int offset [[function_constant(1)]];
    constant bool with_offset = is_function_constant_defined(offset);
    constant float table[3] = {1.5, 2.5, 3.5};
    constant constexpr int three = 3;
    kernel void f(device float* out, uint i [[thread_position_in_grid]]) {
      float x = table[i % three];
      if (doubled) x *= 2;
      if (with_offset) x += offset;
      out[i] = x;
    }
  )";
  const auto out = buffer(std::vector<float>(4));
  CHECK(run({source, "f", {out}, {4}, {4}, {{0, true}}}) == "");
  CHECK(values<float>(out) == (std::vector<float>{3, 5, 7, 3}));
  CHECK(run({source, "f", {out}, {4}, {4}, {{0, false}, {1, int32_t{-1}}}}) == "");
  CHECK(values<float>(out) == (std::vector<float>{0.5, 1.5, 2.5, 0.5}));
}

}  // namespace

int main() {
  copies_and_positions();
  threadgroup_memory();
  function_constants();
  return report();
}
