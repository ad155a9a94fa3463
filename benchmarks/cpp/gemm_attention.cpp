// Time and GFLOP/s of attention: prefill (causal or not), decoding, backward.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

#include "mlx/cpu/gemm/attention.h"
#include "mlx/cpu/parallel.h"

namespace {

using namespace mlx::core;
using namespace mlx::core::cpu;

// Wall time; with one thread the thread's own processor time, which a busy machine disturbs less.
double now() {
  timespec t;
  clock_gettime(num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Shape {
  int64_t b, h, kv, lq, lk, d;
  bool causal;
};

void bench(Dtype t, const Shape& s) {
  const auto elements = [](int64_t n) { return static_cast<size_t>(n); };
  const auto bytes = [&](int64_t h, int64_t l) { return elements(s.b * h * l * s.d * t.size()); };
  std::vector<char> q(bytes(s.h, s.lq)), k(bytes(s.kv, s.lk)), v(k.size()), o(q.size()), dq(q.size()),
      dk(k.size()), dv(k.size());
  std::vector<float> stats(elements(s.b * s.h * s.lq * 2));
  const auto operand = [&](std::vector<char>& x, int64_t h, int64_t l) {
    return AttentionOperand{x.data(), h * l * s.d, l * s.d, s.d, 1};
  };
  AttentionCall c;
  c.dtype = t;
  c.batch = s.b, c.heads = s.h, c.kv_heads = s.kv, c.lq = s.lq, c.lk = s.lk, c.d = c.dv = s.d;
  c.q = operand(q, s.h, s.lq), c.k = operand(k, s.kv, s.lk), c.v = operand(v, s.kv, s.lk);
  c.out = operand(o, s.h, s.lq);
  c.scale = 0.125f, c.causal = s.causal, c.stats = stats.data();
  const AttentionGradients g{c.out, operand(dq, s.h, s.lq), operand(dk, s.kv, s.lk), operand(dv, s.kv, s.lk)};
  const auto best = [](auto&& f) {
    double least = 1e9;
    for (int i = 0; i < 7; ++i) {
      const double start = now();
      f();
      least = std::min(least, now() - start);
    }
    return least;
  };
  const double forward = best([&] { attention(c); });
  const double backward = s.lq > 16 ? best([&] { attention_backward(c, g); }) : 0;
  const double flops =
      4.0 * static_cast<double>(s.b * s.h * s.lq * s.lk * s.d) * (s.causal && s.lq > 1 ? 0.5 : 1.0);
  std::printf(
      "%-8s b %ld h %2ld/%2ld lq %4ld lk %5ld d %3ld %-6s forward %9.1f us %6.1f GFLOP/s %6.1f GB/s of K, V",
      dtype_name(t), static_cast<long>(s.b), static_cast<long>(s.h), static_cast<long>(s.kv),
      static_cast<long>(s.lq), static_cast<long>(s.lk), static_cast<long>(s.d), s.causal ? "causal" : "",
      forward * 1e6, flops / forward / 1e9, static_cast<double>(k.size() + v.size()) / forward / 1e9);
  if (backward > 0) std::printf("  backward %9.1f us", backward * 1e6);
  std::printf("\n");
}

}  // namespace

int main() {
  for (const Dtype t : {float32, float16, bfloat16})
    for (const Shape& s : {Shape{1, 8, 8, 1024, 1024, 64, true},
                           {1, 8, 8, 1024, 1024, 64, false},
                           {8, 8, 8, 128, 128, 64, true},
                           {1, 32, 8, 1, 4096, 128, false},
                           {1, 32, 32, 1, 2048, 64, false},
                           {1, 8, 8, 8, 4096, 64, false}})
      bench(t, s);
}
