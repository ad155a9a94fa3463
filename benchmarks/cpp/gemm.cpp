// GFLOP/s of the GEMM by shape and type, with the fraction of the machine's multiply-add peak.
//   bench_gemm [float32 | float64 | float16 | bfloat16 | complex64]...
#include "mlx/cpu/gemm/gemm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "mlx/cpu/parallel.h"

namespace {

using namespace mlx::core;
// Wall time; with one thread the thread's own processor time, which a busy machine disturbs less.
double now() {
  timespec t;
  clock_gettime(cpu::num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The best of several repetitions of about 20 ms.
template <class F>
double best_time(F&& f) {
  f();
  double start = now();
  f();
  const double once = (now() - start);
  const int inner = std::max(1, static_cast<int>(2e-2 / std::max(once, 1e-9)));
  double best = once;
  for (int r = 0; r < 7; ++r) {
    start = now();
    for (int i = 0; i < inner; ++i) f();
    best = std::min(best, (now() - start) / inner);
  }
  return best;
}

// Independent chains of 512-bit (or what the build has) multiply-adds on every thread: the peak for float32.
__attribute__((target("avx512f"))) double peak_chains(int64_t rounds) {
  typedef float v16 __attribute__((vector_size(64)));
  v16 acc[12];
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) acc[i] = v16{} + static_cast<float>(i);
  v16 x = v16{} + 0.999f, y = v16{} + 0.001f;
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) asm("vfmadd213ps %2, %1, %0" : "+v"(acc[i]) : "v"(x), "v"(y));
  }
  float total = 0;
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) total += acc[i][0];
  return total;
}

double measure_peak() {
  if (!__builtin_cpu_supports("avx512f")) return 0;
  const int threads = cpu::num_threads();
  constexpr int64_t rounds = 1000000;
  volatile double keep = 0;
  const double t =
      best_time([&] { cpu::parallel_for(threads, [&](int64_t) { keep = peak_chains(rounds); }); });
  return threads * 12.0 * 32 * rounds / t;
}

struct Shape {
  int64_t batch, m, n, k;
  bool at, bt;
};
const Shape kShapes[] = {
    {1, 64, 64, 64, false, false},       {1, 128, 128, 128, false, false},
    {1, 256, 256, 256, false, false},    {1, 512, 512, 512, false, false},
    {1, 1024, 1024, 1024, false, false}, {1, 2048, 2048, 2048, false, false},
    {1, 1024, 1024, 1024, false, true},  {1, 1024, 1024, 1024, true, false},
    {64, 128, 128, 64, false, false},    {64, 128, 64, 128, false, true},
    {1, 100, 100, 100, false, false},    {1, 1000, 1000, 1000, false, false},
    {1, 64, 64, 25088, true, false},     {1, 32, 2048, 2048, false, true},
    {1, 1, 4096, 4096, false, false},    {1, 1, 4096, 4096, false, true},
    {1, 8, 4096, 4096, false, true},     {1, 8, 4096, 4096, false, false},
    {1, 4096, 1, 4096, false, false},    {1, 4, 11008, 4096, false, true},
};

void bench(Dtype t, double peak) {
  for (const Shape& s : kShapes) {
    const int64_t size = size_of(t);
    std::vector<char> a(static_cast<size_t>(s.batch * s.m * s.k * size)),
        b(static_cast<size_t>(s.batch * s.k * s.n * size)),
        c(static_cast<size_t>(s.batch * s.m * s.n * size));
    cpu::GemmCall g;
    g.dtype = t;
    g.m = s.m, g.n = s.n, g.k = s.k, g.batch = s.batch;
    g.a = a.data(), g.b = b.data(), g.c = c.data();
    g.a_row = s.at ? 1 : s.k, g.a_col = s.at ? s.m : 1;
    g.b_row = s.bt ? 1 : s.n, g.b_col = s.bt ? s.k : 1;
    g.ldc = s.n;
    g.a_batch = s.m * s.k, g.b_batch = s.k * s.n, g.c_batch = s.m * s.n;
    const double time = best_time([&] { cpu::gemm(g); });
    const double flops = cpu::gemm_flops(g);
    std::printf(
        "%-9s batch %3ld  %5ld x %5ld x %5ld %s%s  %10.1f us  %7.1f GFLOP/s  %5.2f of peak  %6.1f GB/s\n",
        dtype_name(t), static_cast<long>(s.batch), static_cast<long>(s.m), static_cast<long>(s.n),
        static_cast<long>(s.k), s.at ? "T" : "N", s.bt ? "T" : "N", time * 1e6, flops / time / 1e9,
        peak > 0 ? flops / time / peak : 0.0,
        static_cast<double>(a.size() + b.size() + c.size()) / time / 1e9);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const double peak = measure_peak();
  std::printf("threads %d, set %s, float32 multiply-add peak %.1f GFLOP/s\n", cpu::num_threads(),
              cpu::isa_name(cpu::isa()), peak / 1e9);
  for (const Dtype t : {float32, float64, float16, bfloat16, complex64}) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted |= std::strcmp(argv[i], dtype_name(t)) == 0;
    if (wanted) bench(t, peak);
  }
}
