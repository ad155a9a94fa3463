// Attention, forward and backward, against a direct computation in double: layouts, masks, sinks, grouped
// heads, ragged sizes, decoding, all half types and instruction sets. Prints a digest of all results' bits,
// which must not depend on MLX_NUM_THREADS.
#include "mlx/cpu/gemm/attention.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace {

using namespace mlx::core;
using namespace mlx::core::cpu;

int failures = 0, checks = 0;
uint64_t digest = 1469598103934665603ull;
std::mt19937 rng(3);

// (B, H, L, D) in row-major order, or with heads inside rows: (B, L, H, D).
template <class T>
struct Tensor {
  Tensor(int64_t b, int64_t h, int64_t l, int64_t d, bool heads_inside = false)
      : data(static_cast<size_t>(b * h * l * d)) {
    x.data = data.data();
    x.batch = h * l * d;
    x.head = heads_inside ? d : l * d;
    x.row = heads_inside ? h * d : d;
    x.col = 1;
    std::normal_distribution<float> normal;
    for (auto& v : data) v = static_cast<T>(normal(rng));
  }
  double at(int64_t b, int64_t h, int64_t l, int64_t d) const {
    return static_cast<double>(data[static_cast<size_t>(b * x.batch + h * x.head + l * x.row + d * x.col)]);
  }
  std::vector<T> data;
  AttentionOperand x;
};

struct Case {
  int64_t b = 1, h = 2, kv = 2, lq = 10, lk = 10, d = 16, dv = 16;
  bool causal = false;
  int mask = 0;  // 1: boolean, broadcast over heads; 2: additive; 3: additive with all of a row -inf
  bool sinks = false;
  bool heads_inside = false;
};

template <class T>
double tolerance() {
  return std::is_same_v<T, float> ? 2e-5 : std::is_same_v<T, float16_t> ? 4e-3 : 3e-2;
}

template <class T>
void hash(const std::vector<T>& v) {
  for (const T& y : v) {
    uint32_t bits = 0;
    std::memcpy(&bits, &y, sizeof(T));
    digest = (digest ^ bits) * 1099511628211ull;
  }
}

template <class T>
void report(Isa isa, const Case& c, const char* what, double worst) {
  ++checks;
  if (worst <= 1) return;
  if (++failures <= 30)
    std::printf(
        "FAILED %s %s: b %ld h %ld kv %ld lq %ld lk %ld d %ld dv %ld causal %d mask %d sinks %d inside %d "
        "size %zu: %g of the bound\n",
        what, isa_name(isa), static_cast<long>(c.b), static_cast<long>(c.h), static_cast<long>(c.kv),
        static_cast<long>(c.lq), static_cast<long>(c.lk), static_cast<long>(c.d), static_cast<long>(c.dv),
        c.causal, c.mask, c.sinks, c.heads_inside, sizeof(T), worst);
}

template <class T>
void check(Isa isa, const Case& c) {
  Tensor<T> q(c.b, c.h, c.lq, c.d, c.heads_inside), k(c.b, c.kv, c.lk, c.d, c.heads_inside),
      v(c.b, c.kv, c.lk, c.dv, c.heads_inside), out(c.b, c.h, c.lq, c.dv, c.heads_inside),
      dout(c.b, c.h, c.lq, c.dv), dq(c.b, c.h, c.lq, c.d), dk(c.b, c.kv, c.lk, c.d),
      dv(c.b, c.kv, c.lk, c.dv);
  Tensor<T> additive(1, c.h, c.lq, c.lk);
  std::vector<uint8_t> boolean(static_cast<size_t>(c.b * c.lq * c.lk));
  for (auto& x : boolean) x = rng() % 3 != 0;
  if (c.mask == 1 && c.lq > 1)  // a row without keys
    for (int64_t j = 0; j < c.lk; ++j) boolean[static_cast<size_t>(c.lk + j)] = 0;
  if (c.mask == 3)
    for (int64_t j = 0; j < c.lk; ++j)
      additive.data[static_cast<size_t>(j)] = T(-std::numeric_limits<float>::infinity());
  std::vector<float> sinks(static_cast<size_t>(c.h)), stats(static_cast<size_t>(c.b * c.h * c.lq * 2));
  for (auto& s : sinks) s = static_cast<float>(rng() % 5) - 2;
  AttentionCall a;
  a.dtype = TypeToDtype<T>();
  a.batch = c.b, a.heads = c.h, a.kv_heads = c.kv, a.lq = c.lq, a.lk = c.lk, a.d = c.d, a.dv = c.dv;
  a.q = q.x, a.k = k.x, a.v = v.x, a.out = out.x;
  a.scale = 0.3f, a.causal = c.causal;
  if (c.mask == 1) {
    a.mask_kind = AttentionMask::boolean;
    a.mask = {boolean.data(), c.lq * c.lk, 0, c.lk, 1};
  } else if (c.mask > 1) {
    a.mask_kind = AttentionMask::additive;
    a.mask = {additive.data.data(), 0, c.lq * c.lk, c.lk, 1};
  }
  if (c.sinks) a.sinks = sinks.data();
  a.stats = stats.data();
  attention_for(isa, a);
  hash(out.data);
  const bool gradients = c.mask != 3 && !c.sinks;
  if (gradients) {
    AttentionGradients g{dout.x, dq.x, dk.x, dv.x};
    attention_backward_for(isa, a, g);
    hash(dq.data), hash(dk.data), hash(dv.data);
  }

  const size_t keys = static_cast<size_t>(c.lk);
  double worst = 0, worst_q = 0;
  std::vector<double> want_dk(dk.data.size()), want_dv(dv.data.size());
  const auto miss = [](double got, double want, double bound) {
    if (std::isnan(got) || std::isnan(want)) return std::isnan(got) == std::isnan(want) ? 0.0 : 1e30;
    return std::abs(got - want) / bound;
  };
  const int64_t group = c.h / c.kv;
  for (int64_t b = 0; b < c.b; ++b)
    for (int64_t h = 0; h < c.h; ++h)
      for (int64_t i = 0; i < c.lq; ++i) {
        std::vector<double> p(keys), dp(keys);
        std::vector<bool> masked(keys);
        double m = -std::numeric_limits<double>::infinity(), l = 0;
        for (int64_t j = 0; j < c.lk; ++j) {
          double s = 0;
          for (int64_t x = 0; x < c.d; ++x) s += q.at(b, h, i, x) * k.at(b, h / group, j, x);
          s *= static_cast<double>(a.scale);
          const size_t u = static_cast<size_t>(j);
          masked[u] = (c.causal && j > i + c.lk - c.lq) ||
                      (c.mask == 1 && !boolean[static_cast<size_t>((b * c.lq + i) * c.lk + j)]);
          if (c.mask > 1) s += additive.at(0, h, i, j);
          if (masked[u]) s = -3e38;
          p[u] = s;
          m = std::max(m, s);
        }
        if (c.sinks) m = std::max(m, static_cast<double>(sinks[static_cast<size_t>(h)]));
        for (auto& x : p) l += x = std::exp(x - m);
        if (c.sinks) l += std::exp(sinks[static_cast<size_t>(h)] - m);
        double delta = 0;
        for (int64_t x = 0; x < c.dv; ++x) {
          double o = 0;
          for (int64_t j = 0; j < c.lk; ++j) o += p[static_cast<size_t>(j)] / l * v.at(b, h / group, j, x);
          worst = std::max(worst, miss(out.at(b, h, i, x), o, tolerance<T>()));
          delta += o * dout.at(b, h, i, x);
        }
        if (!gradients) continue;
        for (int64_t j = 0; j < c.lk; ++j) {
          const size_t u = static_cast<size_t>(j);
          p[u] /= l;
          for (int64_t x = 0; x < c.dv; ++x) {
            dp[u] += dout.at(b, h, i, x) * v.at(b, h / group, j, x);
            want_dv[static_cast<size_t>(((b * c.kv + h / group) * c.lk + j) * c.dv + x)] +=
                p[u] * dout.at(b, h, i, x);
          }
          dp[u] = masked[u] ? 0 : p[u] * (dp[u] - delta) * static_cast<double>(a.scale);
          for (int64_t x = 0; x < c.d; ++x)
            want_dk[static_cast<size_t>(((b * c.kv + h / group) * c.lk + j) * c.d + x)] +=
                dp[u] * q.at(b, h, i, x);
        }
        for (int64_t x = 0; x < c.d; ++x) {
          double want = 0;
          for (int64_t j = 0; j < c.lk; ++j) want += dp[static_cast<size_t>(j)] * k.at(b, h / group, j, x);
          worst_q = std::max(worst_q, miss(dq.at(b, h, i, x), want, 3 * tolerance<T>()));
        }
      }
  report<T>(isa, c, "forward", worst);
  if (!gradients) return;
  report<T>(isa, c, "dq", worst_q);
  double worst_k = 0, worst_v = 0;
  const double bound = 3 * tolerance<T>() * std::sqrt(static_cast<double>(group));
  for (size_t i = 0; i < want_dk.size(); ++i)
    worst_k = std::max(
        worst_k, miss(static_cast<double>(dk.data[i]), want_dk[i], bound * (1 + std::abs(want_dk[i]) / 4)));
  for (size_t i = 0; i < want_dv.size(); ++i)
    worst_v = std::max(
        worst_v, miss(static_cast<double>(dv.data[i]), want_dv[i], bound * (1 + std::abs(want_dv[i]) / 4)));
  report<T>(isa, c, "dk", worst_k);
  report<T>(isa, c, "dv", worst_v);
}

template <class T>
void all(Isa isa) {
  const std::vector<std::vector<int64_t>> shapes = {{1, 1, 1, 1, 1, 1, 1},      {2, 4, 2, 10, 10, 16, 16},
                                                    {1, 2, 2, 33, 97, 20, 7},   {1, 2, 1, 130, 130, 64, 64},
                                                    {1, 3, 3, 40, 20, 8, 12},   {2, 8, 2, 1, 300, 64, 64},
                                                    {1, 4, 4, 5, 1100, 40, 24}, {1, 2, 2, 65, 200, 33, 80},
                                                    {2, 16, 8, 13, 40, 10, 7},  {1, 16, 16, 100, 40, 8, 12}};
  for (const auto& s : shapes)
    for (int mask = 0; mask < 4; ++mask)
      for (int flags = 0; flags < 8; ++flags) {
        Case c;
        c.b = s[0], c.h = s[1], c.kv = s[2], c.lq = s[3], c.lk = s[4], c.d = s[5], c.dv = s[6];
        c.mask = mask, c.causal = flags & 1, c.sinks = flags & 2, c.heads_inside = flags & 4;
        if (c.causal && mask > 1) continue;
        check<T>(isa, c);
      }
}

}  // namespace

int main() {
  for (const Isa isa : {Isa::generic, Isa::v2, Isa::v3, Isa::v4, Isa::v4bf16, Isa::v4amx}) {
    if (!isa_supported(isa)) continue;
    const int before = checks;
    all<float>(isa);
    all<float16_t>(isa);
    all<bfloat16_t>(isa);
    std::printf("%s: %d checks\n", isa_name(isa), checks - before);
  }
  std::printf("digest %016llx\n%s\n", static_cast<unsigned long long>(digest), failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}
