// The error of every float32 function, in units in the last place, against long double references: all bit
// patterns with --all (minutes), every 3989th and the special values without. Each bound is the row's own
// max_ulp.
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "tiles_test.h"

namespace el = mlx::core::elementwise;
using namespace tiles_test;

namespace {

using Real = long double;
constexpr Real pi = 3.14159265358979323846264338327950288L;
constexpr Real inf = std::numeric_limits<Real>::infinity();
constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();

// --- references that libm does not have ---

Real reference_digamma(Real x) {
  if (x == 0) return std::signbit(x) ? inf : -inf;
  if (x == inf) return inf;
  if (x < 0) {
    const Real fraction = x - std::rint(x);
    if (fraction == 0 || x == -inf) return nan;
    return reference_digamma(1 - x) - pi / std::tan(pi * fraction);
  }
  Real sum = 0;
  for (; x < 60; x += 1) sum -= 1 / x;
  const Real z = 1 / (x * x);
  return sum + std::log(x) - 0.5L / x - z * (1 / 12.0L - z * (1 / 120.0L - z * (1 / 252.0L - z / 240.0L)));
}
Real reference_erfinv(Real x) {
  const Real a = std::fabs(x);
  if (!(a < 1)) return a == 1 ? x * inf : nan;
  // Bisection, then Newton's method: slow and simple.
  Real lo = 0, hi = 12;
  for (int i = 0; i < 20; ++i) {
    const Real middle = (lo + hi) / 2;
    (std::erfc(middle) > 1 - a ? lo : hi) = middle;
  }
  Real y = (lo + hi) / 2;
  if (a < 1e-4L) y = a * std::sqrt(pi) / 2;
  for (int i = 0; i < 4; ++i) {
    const Real error = a > 0.5L ? (1 - a) - std::erfc(y) : std::erf(y) - a;
    y -= error * std::sqrt(pi) / 2 * std::exp(y * y);
  }
  return std::copysign(y, x);
}
Real reference_sigmoid(Real x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
Real reference_sign(Real x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

struct Unary {
  uint8_t op;
  Real (*reference)(Real);
  uint32_t step;        // every so many bit patterns
  double absolute = 0;  // allowed on top of the bound: roots of functions that are computed by sums
};
#define F(name) [](Real x) -> Real { return std::name(x); }
const Unary unary[] = {
    {el::op_of<el::Abs>, F(fabs), 3989},
    {el::op_of<el::Negative>, [](Real x) { return -x; }, 3989},
    {el::op_of<el::Sign>, reference_sign, 3989},
    {el::op_of<el::Square>, [](Real x) { return x * x; }, 3989},
    {el::op_of<el::Sqrt>, F(sqrt), 3989},
    {el::op_of<el::Rsqrt>, [](Real x) { return 1 / std::sqrt(x); }, 3989},
    {el::op_of<el::Reciprocal>, [](Real x) { return 1 / x; }, 3989},
    {el::op_of<el::Exp>, F(exp), 3989},
    {el::op_of<el::Expm1>, F(expm1), 3989},
    {el::op_of<el::Log>, F(log), 3989},
    {el::op_of<el::Log2>, F(log2), 3989},
    {el::op_of<el::Log10>, F(log10), 3989},
    {el::op_of<el::Log1p>, F(log1p), 3989},
    {el::op_of<el::Sin>, F(sin), 3989},
    {el::op_of<el::Cos>, F(cos), 3989},
    {el::op_of<el::Tan>, F(tan), 3989},
    {el::op_of<el::Sinh>, F(sinh), 3989},
    {el::op_of<el::Cosh>, F(cosh), 3989},
    {el::op_of<el::Tanh>, F(tanh), 3989},
    {el::op_of<el::Arcsin>, F(asin), 3989},
    {el::op_of<el::Arccos>, F(acos), 3989},
    {el::op_of<el::Arctan>, F(atan), 3989},
    {el::op_of<el::Arcsinh>, F(asinh), 3989},
    {el::op_of<el::Arccosh>, F(acosh), 3989},
    {el::op_of<el::Arctanh>, F(atanh), 3989},
    {el::op_of<el::Sigmoid>, reference_sigmoid, 3989},
    {el::op_of<el::Erf>, F(erf), 3989},
    {el::op_of<el::Erfc>, F(erfc), 3989},
    {el::op_of<el::Erfinv>, reference_erfinv, 39989},
    {el::op_of<el::Lgamma>, F(lgamma), 39989},
    {el::op_of<el::Digamma>, reference_digamma, 39989, 2e-14},
    {el::op_of<el::Floor>, F(floor), 3989},
    {el::op_of<el::Ceil>, F(ceil), 3989},
    {el::op_of<el::Round>, F(rint), 3989},
    {el::op_of<el::Trunc>, F(trunc), 3989},
};

struct Binary {
  uint8_t op;
  Real (*reference)(Real, Real);
};
Real reference_logaddexp(Real a, Real b) {
  if (a == b) return a + std::log(2.0L);
  if (std::isnan(a) || std::isnan(b)) return nan;
  return std::fmax(a, b) + std::log1p(std::exp(-std::fabs(a - b)));
}
Real reference_remainder(Real a, Real b) {
  const Real r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? static_cast<float>(r) + static_cast<float>(b) : r;
}
Real reference_maximum(Real a, Real b) { return std::isnan(a) ? a : std::isnan(b) ? b : a > b ? a : b; }
Real reference_minimum(Real a, Real b) { return std::isnan(a) ? a : std::isnan(b) ? b : a < b ? a : b; }
const Binary binary[] = {
    {el::op_of<el::Add>, [](Real a, Real b) { return a + b; }},
    {el::op_of<el::Subtract>, [](Real a, Real b) { return a - b; }},
    {el::op_of<el::Multiply>, [](Real a, Real b) { return a * b; }},
    {el::op_of<el::Divide>, [](Real a, Real b) { return a / b; }},
    {el::op_of<el::FloorDivide>,
     [](Real a, Real b) -> Real { return std::floor(static_cast<float>(a) / static_cast<float>(b)); }},
    {el::op_of<el::Remainder>, reference_remainder},
    {el::op_of<el::Power>, [](Real a, Real b) -> Real { return std::pow(a, b); }},
    {el::op_of<el::Maximum>, reference_maximum},
    {el::op_of<el::Minimum>, reference_minimum},
    {el::op_of<el::LogAddExp>, reference_logaddexp},
    {el::op_of<el::Arctan2>, [](Real a, Real b) -> Real { return std::atan2(a, b); }},
    {el::op_of<el::Hypot>, [](Real a, Real b) -> Real { return std::hypot(a, b); }},
    {el::op_of<el::Copysign>, [](Real a, Real b) -> Real { return std::copysign(a, b); }},
    {el::op_of<el::Nextafter>,
     [](Real a, Real b) -> Real { return std::nextafter(static_cast<float>(a), static_cast<float>(b)); }},
};

// The distance from the exact value in units of float32's last place there; infinite for a wrong kind of
// result.
double ulp_error(float got, Real exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : inf;
  if (std::isnan(got)) return inf;
  if (std::isinf(exact)) return got == static_cast<float>(exact) ? 0 : inf;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : inf;
  int exponent = 0;
  std::frexp(exact, &exponent);
  if (exponent > 128) exponent = 128;
  if (exponent < -125) exponent = -125;
  const Real unit = std::ldexp(1.0L, exponent - 24);
  const Real value =
      std::isinf(got) ? std::copysign(0x1p128L, static_cast<Real>(got)) : static_cast<Real>(got);
  if (std::fabs(exact) >= 0x1p128L && std::isinf(got) && std::signbit(exact) == std::signbit(got)) return 0;
  return static_cast<double>(std::fabs(value - exact) / unit);
}

const float specials[] = {
    0.0f,     -0.0f,      FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN,     -FLT_MIN,    1e-30f,     -1e-30f,
    1e-4f,    -1e-4f,     0.5f,         -0.5f,         1.0f,        -1.0f,       1.5f,       -1.5f,
    2.0f,     -2.0f,      3.0f,         -3.0f,         2.5f,        -2.5f,       10.0f,      -10.0f,
    88.7228f, 88.73f,     -87.3f,       -103.9f,       -104.1f,     71476.0f,    71477.0f,   -71477.0f,
    1e10f,    -1e10f,     1e20f,        -1e20f,        FLT_MAX,     -FLT_MAX,    INFINITY,   -INFINITY,
    NAN,      0.9999999f, -0.9999999f,  1.0000001f,    16777216.0f, 16777217.0f, 8388607.5f, -8388607.5f};

constexpr int64_t tile_size = 4096;

void check_unary(const std::vector<std::pair<const char*, const Tiles*>>& tables, bool all) {
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  for (const Unary& f : unary) {
    const el::OpInfo& info = el::op_info[f.op];
    std::vector<double> worst(tables.size(), 0.0);
    std::vector<float> at(tables.size(), 0.0f);
    std::vector<float> x(tile_size), y(tile_size);
    std::vector<Real> exact(tile_size);
    auto run = [&](int64_t n) {
      for (int64_t i = 0; i < n; ++i) exact[i] = f.reference(x[i]);
      for (size_t t = 0; t < tables.size(); ++t) {
        tables[t].second->op[f.op][f32](y.data(), x.data(), nullptr, nullptr, n);
        for (int64_t i = 0; i < n; ++i) {
          double e = ulp_error(y[i], exact[i]);
          if (f.absolute > 0 && std::fabs(y[i] - exact[i]) <= f.absolute) e = 0;
          if (e > worst[t]) worst[t] = e, at[t] = x[i];
        }
      }
    };
    std::copy(std::begin(specials), std::end(specials), x.begin());
    run(std::size(specials));
    const uint64_t step = all ? (f.step > 3989 ? 97 : 1) : f.step;
    int64_t n = 0;
    for (uint64_t u = 0; u < (uint64_t{1} << 32); u += step) {
      x[n++] = std::bit_cast<float>(static_cast<uint32_t>(u));
      if (n == tile_size) run(n), n = 0;
    }
    run(n);
    std::printf("%-12s bound %4.1f ulp", info.name.data(), info.max_ulp);
    for (size_t t = 0; t < tables.size(); ++t) {
      std::printf("  %s %.3f at %a", tables[t].first, worst[t], static_cast<double>(at[t]));
      if (!(worst[t] <= info.max_ulp + 1e-6))
        fail("%s float32 %s: %.3f ulp at %.9g (%a)", info.name.data(), tables[t].first, worst[t],
             static_cast<double>(at[t]), static_cast<double>(at[t]));
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

void check_binary(const std::vector<std::pair<const char*, const Tiles*>>& tables, int64_t samples) {
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  std::vector<float> a, b;
  for (float x : specials)
    for (float y : specials) a.push_back(x), b.push_back(y);
  Random random(7);
  for (int64_t i = 0; i < samples; ++i) {
    // A third each: any bits, everyday numbers, and pairs near one another.
    float x = std::bit_cast<float>(static_cast<uint32_t>(random.bits() >> 32));
    float y = std::bit_cast<float>(static_cast<uint32_t>(random.bits() >> 32));
    if (i % 3 != 0)
      x = static_cast<float>(random.uniform(-20, 20)), y = static_cast<float>(random.uniform(-20, 20));
    if (i % 3 == 2)
      x = std::fabs(x), y = i % 2 ? x * static_cast<float>(random.uniform(0.9, 1.1)) : std::rint(y);
    a.push_back(x), b.push_back(y);
  }
  const int64_t n = static_cast<int64_t>(a.size());
  std::vector<float> y(n);
  for (const Binary& f : binary) {
    const el::OpInfo& info = el::op_info[f.op];
    std::printf("%-12s bound %4.1f ulp", info.name.data(), info.max_ulp);
    for (const auto& [name, tiles] : tables) {
      tiles->op[f.op][f32](y.data(), a.data(), b.data(), nullptr, n);
      double worst = 0;
      int64_t at = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double e = ulp_error(y[i], f.reference(a[i], b[i]));
        if (e > worst) worst = e, at = i;
      }
      std::printf("  %s %.3f at (%a, %a)", name, worst, static_cast<double>(a[at]),
                  static_cast<double>(b[at]));
      if (!(worst <= info.max_ulp + 1e-6))
        fail("%s float32 %s: %.3f ulp at (%.9g, %.9g): got %.9g, expected %.9Lg", info.name.data(), name,
             worst, static_cast<double>(a[at]), static_cast<double>(b[at]), static_cast<double>(y[at]),
             f.reference(a[at], b[at]));
    }
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool all = argc > 1 && std::strcmp(argv[1], "--all") == 0;
  std::vector<std::pair<const char*, const Tiles*>> tables;
  for (Isa isa : isas_here())
    tables.emplace_back(mlx::core::cpu::isa_name(isa), &mlx::core::cpu::tiles_for(isa));
  check_binary(tables, all ? 3'000'000 : 200'000);
  check_unary(tables, all);
  return finish("tiles_accuracy");
}
