// metal_stdlib: results of its functions, computed by kernels, against the definitions.
#include "check.h"

#include <cmath>

using namespace test;

namespace {

// Runs `body`, which writes to out[0..], with in[0..] = x, one thread.
std::vector<float> evaluate(const std::string& body, size_t n, std::vector<float> x = {0}) {
  const std::string source =
      "#include <metal_stdlib>\nusing namespace metal;\nkernel void f(device const float* in, device float* "
      "out) {\n" +
      body + "\n}\n";
  const auto out = buffer(std::vector<float>(n));
  const std::string error = run({source, "f", {buffer(x), out}, {1}, {1}});
  check(error.empty(), body + ": " + error);
  if (!error.empty()) return {};
  return values<float>(out);
}
void expect(const std::string& body, const std::vector<float>& want, std::vector<float> x = {0}) {
  const auto got = evaluate(body, want.size(), std::move(x));
  for (size_t i = 0; i < got.size(); ++i)
    check(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])),
          body + " [" + std::to_string(i) + "] is " + std::to_string(got[i]) + ", not " +
              std::to_string(want[i]));
}

void vectors() {
  expect(
      "float4 v(1, 2, 3, 4); v.xy = v.zw; out[0] = v.x; out[1] = v.y; float3 s = v.wzy * 2; out[2] = s.x; "
      "out[3] = dot(v, v);"
      "float2 p = v.xz + v.yw; out[4] = p.x; out[5] = p[1];",
      {3, 4, 8, 50, 7, 7});
  expect(
      "int4 a(1, -2, 3, -4); a = select(a, -a, a < 0); out[0] = a.x + a.y + a.z + a.w; out[1] = any(a == 4); "
      "out[2] = all(a > 1);"
      "uchar4 c(250, 1, 2, 3); c += uchar4(10); out[3] = c.x; a %= 3; out[4] = a.w; out[5] = (a << 2).x; "
      "out[6] = float3(a.xyz).y;",
      {10, 1, 0, 4, 1, 4, 2});
  expect(
      "packed_float3 p = float3(1, 2, 3); out[0] = sizeof(packed_float3); out[1] = sizeof(float3); out[2] = "
      "sizeof(half4); out[3] = p[2];"
      "float3 q = p; out[4] = q.z; out[5] = alignof(float4) + sizeof(bool4); out[6] = float4(float2(5), "
      "q.yz).w;",
      {12, 16, 8, 3, 3, 20, 3});
}

void sixteen_bits() {
  expect(
      "half h = in[0]; out[0] = h; h = in[1]; out[1] = h; h *= half(2); out[2] = h; out[3] = half(in[2]); "
      "out[4] = half(in[3]);"
      "out[5] = 1.0h / 3.0h; out[6] = half(in[4]); out[7] = h < 3; out[8] = fma(half(in[5]), half(in[6]), "
      "half(in[7]));",
      {1.0f + 0x1p-10f, 1, 2, 65504, INFINITY, 0x1.554p-2f, 0x1p-24f, 1, -0x1p-20f},
      {1.0f + 0x1.8p-11f, 1.0f + 0x1p-11f, 65519, 65520, 0x1.8p-25f, 1 + 0x1p-10f, 1 - 0x1p-10f, -1});
  expect(
      "bfloat b = in[0]; out[0] = b; out[1] = b + bfloat(1); out[2] = bfloat(in[1]); out[3] = "
      "isnan(bfloat(in[2])); out[4] = 3.0bf;"
      "out[5] = as_type<ushort>(bfloat(1.0)); out[6] = as_type<half>(ushort(0x3c00)); out[7] = "
      "numeric_limits<bfloat>::max() == bfloat(0x1.fep127);",
      {1 + 0x1p-7f, 2, 1 + 0x1p-6f, 1, 3, 0x3f80, 1, 1}, {1 + 0x1.8p-8f, 1 + 0x1.8p-7f, NAN});
}

void numbers() {
  expect(
      "out[0] = popcount(0xf0u); out[1] = clz(1); out[2] = ctz(8u); out[3] = reverse_bits(1u) == "
      "0x80000000u; out[4] = mulhi(0x80000000u, 6u);"
      "out[5] = extract_bits(0xabcdu, 4u, 8u); out[6] = addsat(uchar(250), uchar(10)); out[7] = subsat(3u, "
      "5u); out[8] = abs(-3);"
      "out[9] = rotate(0x80000001u, 1u); out[10] = mulhi(-1, 5); out[11] = insert_bits(0u, 0xfu, 4u, 4u); "
      "out[12] = clz(short(1)); out[13] = extract_bits(-1, 0u, 3u);"
      "out[14] = hadd(255u, 0xffffffffu) == 0x8000007fu; out[15] = absdiff(-5, 7);",
      {4, 31, 3, 1, 3, 0xbc, 255, 0, 3, 3, -1, 0xf0, 15, -1, 1, 12});
  expect(
      "out[0] = max(1.0, NAN); out[1] = clamp(5, 0, 3); out[2] = sign(-2.0); out[3] = fract(-0.25); out[4] = "
      "mix(1.0, 3.0, 0.25); out[5] = smoothstep(0.0, 1.0, 0.5);"
      "out[6] = round(2.5); out[7] = rint(2.5); out[8] = precise::sqrt(2.25); out[9] = sinpi(1.0); out[10] = "
      "cospi(0.5); out[11] = exp2(10.0); out[12] = rsqrt(4.0);"
      "out[13] = fmod(-7.0, 3.0); out[14] = saturate(1.5); out[15] = step(1.0, 0.5); out[16] = "
      "isinf(INFINITY); out[17] = ldexp(1.0, 3); out[18] = fast::log2(8.0);",
      {1, 3, -1, 0.75, 1.5, 0.5, 3, 2, 1.5, 0, 0, 1024, 0.5, -1, 1, 0, 1, 8, 3});
  expect("out[0] = 1e10 == 1e10f; out[1] = 0.1 == 0.1f; out[2] = sizeof(1.0); out[3] = 1 / 2 + 7 % 4;",
         {1, 1, 4, 3});
}

void lanes() {
  const std::string source = R"(
    #include <metal_stdlib>
    using namespace metal;
    kernel void f(device float* out, uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
      const float x = lane;
      device float* o = out + i;
      const uint n = 64;
      *o = simd_sum(x), o += n;
      *o = simd_max(x), o += n;
      *o = simd_shuffle_xor(x, 1), o += n;
      *o = simd_shuffle_up(x, 2), o += n;
      *o = simd_shuffle_down(x, 2), o += n;
      *o = simd_shuffle_and_fill_down(x, x + 100, 2), o += n;
      *o = simd_shuffle_and_fill_up(x, -x, 1, 8), o += n;
      *o = simd_prefix_inclusive_sum(x), o += n;
      *o = simd_prefix_exclusive_product(half(2)), o += n;
      *o = simd_broadcast(x, 7), o += n;
      *o = simd_broadcast_first(i), o += n;
      *o = ulong(simd_ballot(lane % 2)) == 0xaaaaaaaa, o += n;
      *o = simd_all(lane < 32) && !simd_all(lane < 31) && simd_any(lane == 5) && !simd_any(lane > 40), o += n;
      *o = quad_sum(x), o += n;
      *o = quad_broadcast(x, 2), o += n;
      *o = simd_sum(float2(x, 1)).y, o += n;
      *o = simd_xor(lane), o += n;
      *o = simd_shuffle_rotate_down(x, 3), o += n;
    }
  )";
  const auto out = buffer(std::vector<float>(64 * 18));
  CHECK(run({source, "f", {out}, {64}, {64}}) == "");
  const auto v = values<float>(out);
  const auto at = [&](int row, int thread) { return v[row * 64 + thread]; };
  for (int t = 0; t < 64; ++t) {
    const int l = t % 32;
    const float want[] = {496,
                          31,
                          float(l ^ 1),
                          float(l < 2 ? l : l - 2),
                          float(l > 29 ? l : l + 2),
                          float(l > 29 ? l - 30 + 100 : l + 2),
                          float(l % 8 ? l - 1 : -(l + 7)),
                          l * (l + 1) / 2.0f,
                          l < 16 ? std::ldexp(1.0f, l) : INFINITY,
                          7,
                          float(t / 32 * 32),
                          1,
                          1,
                          float(l / 4 * 16 + 6),
                          float(l / 4 * 4 + 2),
                          32,
                          0,
                          float((l + 3) % 32)};
    for (int r = 0; r < 18; ++r)
      check(at(r, t) == want[r], "lanes, row " + std::to_string(r) + ", thread " + std::to_string(t) + ": " +
                                     std::to_string(at(r, t)) + ", not " + std::to_string(want[r]));
  }
}

void matrices() {
  const std::string source = R"(
    #include <metal_stdlib>
    using namespace metal;
    kernel void f(device const float* a, device const float* b, device float* c, uint lane [[thread_index_in_simdgroup]]) {
      simdgroup_matrix<float, 8, 8> x, y, z(2);
      simdgroup_load(x, a, 8);
      simdgroup_load(y, b, 16, ulong2(8, 1), true);
      simdgroup_multiply_accumulate(z, x, y, z);
      simdgroup_store(z, c, 8);
      simdgroup_matrix<half, 8, 8> h = make_filled_simdgroup_matrix<half, 8, 8>(0.5h);
      simdgroup_multiply(h, h, h);
      c[64 + lane] = h.thread_elements()[1];
    }
  )";
  std::vector<float> a(64), b(16 * 9);
  for (size_t i = 0; i < a.size(); ++i) a[i] = float(i % 7) - 3;
  for (size_t i = 0; i < b.size(); ++i) b[i] = float(i % 5) - 2;
  const auto c = buffer(std::vector<float>(96));
  CHECK(run({source, "f", {buffer(a), buffer(b), c}, {32}, {32}}) == "");
  const auto got = values<float>(c);
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) {
      float want = i == j ? 2 : 0;
      for (int k = 0; k < 8; ++k) want += a[i * 8 + k] * b[(j + 1) * 16 + k + 8];
      check(got[i * 8 + j] == want, "matrix element " + std::to_string(i) + ", " + std::to_string(j));
    }
  for (int l = 0; l < 32; ++l) CHECK(got[64 + l] == 2);
}

void atomics() {
  const std::string source = R"(
    #include <metal_stdlib>
    using namespace metal;
    kernel void f(device atomic_int* a, device atomic<float>* b, uint i [[thread_position_in_grid]]) {
      threadgroup atomic_uint held;
      if (i % 64 == 0) atomic_store_explicit(&held, 0, memory_order_relaxed);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      atomic_fetch_add_explicit(&held, i, memory_order_relaxed);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (i == 0) atomic_store_explicit(&a[3], int(atomic_load_explicit(&held, memory_order_relaxed)), memory_order_relaxed);
      atomic_fetch_add_explicit(&a[0], 1, memory_order_relaxed);
      atomic_fetch_max_explicit(&a[1], int(i), memory_order_relaxed);
      int old = atomic_load_explicit(&a[2], memory_order_relaxed);
      while (!atomic_compare_exchange_weak_explicit(&a[2], &old, old + 2, memory_order_relaxed, memory_order_relaxed)) {}
      atomic_fetch_add_explicit(b, 0.5, memory_order_relaxed);
    }
  )";
  const auto a = buffer(std::vector<int>(4)), b = buffer(std::vector<float>{1});
  CHECK(run({source, "f", {a, b}, {256}, {64}}) == "");
  CHECK(values<int>(a) == (std::vector<int>{256, 255, 512, 2016}));
  CHECK(values<float>(b)[0] == 129);
}

}  // namespace

int main() {
  vectors();
  sixteen_bits();
  numbers();
  lanes();
  matrices();
  atomics();
  return report();
}
