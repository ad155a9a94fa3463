// float64 functions against long double and complex64 functions against complex long double, on random and
// special arguments.
#include <bit>
#include <cfloat>
#include <cmath>
#include <complex>
#include <limits>

#include "tiles_test.h"

namespace el = mlx::core::elementwise;
using namespace tiles_test;

namespace {

using Real = long double;
using Complex = std::complex<Real>;
using Tables = std::vector<std::pair<const char*, const Tiles*>>;

// --- float64 ---

double ulp_error(double got, Real exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  if (std::isinf(got) || std::isinf(exact)) return got == static_cast<double>(exact) ? 0 : INFINITY;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : INFINITY;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return static_cast<double>(std::fabs(got - exact) / std::ldexp(1.0L, std::max(exponent, -1021) - 53));
}

struct Unary {
  uint8_t op;
  Real (*reference)(Real);
  double bound;  // ulp
};
#define F(name) [](Real x) -> Real { return std::name(x); }
const Unary unary64[] = {
    {el::op_of<el::Sqrt>, F(sqrt), 0.51},
    {el::op_of<el::Rsqrt>, [](Real x) { return 1 / std::sqrt(x); }, 1.5},
    {el::op_of<el::Reciprocal>, [](Real x) { return 1 / x; }, 0.51},
    {el::op_of<el::Exp>, F(exp), 1},
    {el::op_of<el::Expm1>, F(expm1), 2},
    {el::op_of<el::Log>, F(log), 1},
    {el::op_of<el::Log2>, F(log2), 1},
    {el::op_of<el::Log10>, F(log10), 2},
    {el::op_of<el::Log1p>, F(log1p), 1},
    {el::op_of<el::Sin>, F(sin), 2},
    {el::op_of<el::Cos>, F(cos), 2},
    {el::op_of<el::Tan>, F(tan), 1},
    {el::op_of<el::Sinh>, F(sinh), 2},
    {el::op_of<el::Cosh>, F(cosh), 2},
    {el::op_of<el::Tanh>, F(tanh), 2.5},
    {el::op_of<el::Arcsin>, F(asin), 1},
    {el::op_of<el::Arccos>, F(acos), 1},
    {el::op_of<el::Arctan>, F(atan), 1},
    {el::op_of<el::Arcsinh>, F(asinh), 2},
    {el::op_of<el::Arccosh>, F(acosh), 2.5},
    {el::op_of<el::Arctanh>, F(atanh), 2},
    {el::op_of<el::Sigmoid>,
     [](Real x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }, 2},
    {el::op_of<el::Erf>, F(erf), 1},
    {el::op_of<el::Erfc>, F(erfc), 5},
    {el::op_of<el::Round>, F(rint), 0},
};

void check_float64(const Tables& tables) {
  constexpr int f64 = static_cast<int>(Dtype::Val::float64);
  std::vector<double> x = {0.0,        -0.0,      1,         -1,     0.5,          -0.5,         2,
                           1e-320,     -1e-320,   DBL_MIN,   1e-200, -1e-20,       1e-9,         709.7,
                           709.79,     -745.1,    -745.2,    -708.4, 36.7,         37.5,         -40,
                           1e5,        1048575.9, 1048577,   -3e6,   1e22,         1e300,        DBL_MAX,
                           -DBL_MAX,   INFINITY,  -INFINITY, NAN,    0.9999999999, 1.0000000001, M_PI,
                           3 * M_PI_2, 20.5,      22.1};
  Random random(5);
  for (int i = 0; i < 100000; ++i) {
    x.push_back(random.uniform(-3, 3));
    x.push_back(random.uniform(-750, 750));
    x.push_back(std::bit_cast<double>(random.bits()));
    x.push_back(std::rint(random.uniform(-600000, 600000)) * M_PI_2);  // close to roots of sin and cos
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<double> y(x.size());
  std::vector<Real> exact(x.size());
  for (const Unary& f : unary64) {
    for (int64_t i = 0; i < n; ++i) exact[i] = f.reference(x[i]);
    std::printf("%-12s float64 bound %4.1f ulp", el::op_info[f.op].name.data(), f.bound);
    for (const auto& [name, tiles] : tables) {
      tiles->op[f.op][f64](y.data(), x.data(), nullptr, nullptr, n);
      double worst = 0, at = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double e = ulp_error(y[i], exact[i]);
        if (e > worst) worst = e, at = x[i];
      }
      std::printf("  %s %.3f", name, worst);
      if (!(worst <= f.bound))
        fail("%s float64 %s: %.3f ulp at %.17g", el::op_info[f.op].name.data(), name, worst, at);
    }
    std::printf("\n");
  }
  // erfinv is the inverse of erf.
  for (const auto& [name, tiles] : tables)
    for (double a : {1e-300, 1e-10, 0.01, 0.3, 0.5, 0.7, 0.95, 0.999, 1 - 1e-9, 1 - 1e-15}) {
      double inverse;
      tiles->op[el::op_of<el::Erfinv>][f64](&inverse, &a, nullptr, nullptr, 1);
      const Real back =
          a > 0.5 ? std::erfc(static_cast<Real>(inverse)) : std::erf(static_cast<Real>(inverse));
      const Real target = a > 0.5 ? 1 - static_cast<Real>(a) : static_cast<Real>(a);
      // An error e of the inverse shows as e * inverse * slope.
      const Real slope = 2 / std::sqrt(std::acos(-1.0L)) * std::exp(-static_cast<Real>(inverse) * inverse);
      if (!(std::fabs(back - target) <= 4e-16L * slope * inverse))
        fail("%s float64 erfinv of %.17g", name, a);
    }
}

// digamma and polygamma against closed forms: psi(1) = -gamma, psi_1(1) = pi^2 / 6, psi_2(1) = -2 zeta(3),
// recurrence and reflection.
void check_gammas(const Tables& tables) {
  constexpr int f64 = static_cast<int>(Dtype::Val::float64);
  struct Case {
    double n, x, value;
  };
  const double pi2 = M_PI * M_PI, zeta3 = 1.2020569031595942;
  const Case cases[] = {{0, 1, -0.57721566490153286},
                        {0, 0.5, -1.9635100260214235},
                        {0, -0.5, 0.036489973978576520},
                        {0, 100, 4.6001618527380874},
                        {1, 1, pi2 / 6},
                        {1, 0.5, pi2 / 2},
                        {1, -0.5, pi2 / 2 + 4},
                        {1, 2, pi2 / 6 - 1},
                        {2, 1, -2 * zeta3},
                        {2, 0.5, -14 * zeta3},
                        {2, -0.5, -14 * zeta3 + 16},
                        {3, 1, pi2 * pi2 / 15},
                        {1, 1e6, 1.0000005000001667e-06},
                        {1, INFINITY, 0},
                        {1, -2, INFINITY}};
  for (const auto& [name, tiles] : tables)
    for (const Case& c : cases) {
      double y;
      tiles->op[el::op_of<el::Polygamma>][f64](&y, &c.n, &c.x, nullptr, 1);
      if (!(y == c.value || std::fabs(y - c.value) <= 1e-14 * std::fabs(c.value) + 1e-15))
        fail("%s polygamma(%g, %g): got %.17g, expected %.17g", name, c.n, c.x, y, c.value);
    }
}

// --- complex64 ---

struct Float2 {
  float re, im;
};
// The distance, in units of the last place of the larger part.
double ulp_error(Float2 got, Complex exact) {
  const Real size = std::max(std::fabs(exact.real()), std::fabs(exact.imag()));
  if (size >= 0x1p128L || std::isnan(size)) return 0;  // special values are checked apart
  int exponent = 0;
  std::frexp(size, &exponent);
  const Complex difference(got.re - exact.real(), got.im - exact.imag());
  if (std::isnan(got.re) || std::isnan(got.im)) return INFINITY;
  return static_cast<double>(std::abs(difference) / std::ldexp(1.0L, std::max(exponent, -125) - 24));
}
// The larger distance of a part, in units of its own last place.
double ulp_error_of_parts(Float2 got, Complex exact) {
  return std::max(ulp_error(Float2{got.re, 0}, Complex(exact.real())),
                  ulp_error(Float2{got.im, 0}, Complex(exact.imag())));
}

struct ComplexUnary {
  uint8_t op;
  Complex (*reference)(const Complex&);
};
#define C(name) [](const Complex& z) -> Complex { return std::name(z); }
const ComplexUnary unary_complex[] = {
    {el::op_of<el::Square>, [](const Complex& z) { return z * z; }},
    {el::op_of<el::Sqrt>, C(sqrt)},
    {el::op_of<el::Rsqrt>, [](const Complex& z) { return Complex(1) / std::sqrt(z); }},
    {el::op_of<el::Reciprocal>, [](const Complex& z) { return Complex(1) / z; }},
    {el::op_of<el::Exp>, C(exp)},
    {el::op_of<el::Log>, C(log)},
    {el::op_of<el::Log2>, [](const Complex& z) { return std::log(z) / std::log(2.0L); }},
    {el::op_of<el::Log10>, [](const Complex& z) { return std::log(z) / std::log(10.0L); }},
    {el::op_of<el::Log1p>, [](const Complex& z) { return std::log(Real(1) + z); }},
    {el::op_of<el::Sin>, C(sin)},
    {el::op_of<el::Cos>, C(cos)},
    {el::op_of<el::Tan>, C(tan)},
    {el::op_of<el::Sinh>, C(sinh)},
    {el::op_of<el::Cosh>, C(cosh)},
    {el::op_of<el::Tanh>, C(tanh)},
    {el::op_of<el::Arcsin>, C(asin)},
    {el::op_of<el::Arccos>, C(acos)},
    {el::op_of<el::Arctan>, C(atan)},
    {el::op_of<el::Arcsinh>, C(asinh)},
    {el::op_of<el::Arccosh>, C(acosh)},
    {el::op_of<el::Arctanh>, C(atanh)},
    {el::op_of<el::Sign>, [](const Complex& z) { return z == Complex(0) ? Complex(0) : z / std::abs(z); }},
    {el::op_of<el::Conjugate>, C(conj)},
    {el::op_of<el::Negative>, [](const Complex& z) { return -z; }},
};
struct ComplexBinary {
  uint8_t op;
  Complex (*reference)(const Complex&, const Complex&);
};
const ComplexBinary binary_complex[] = {
    {el::op_of<el::Add>, [](const Complex& a, const Complex& b) { return a + b; }},
    {el::op_of<el::Subtract>, [](const Complex& a, const Complex& b) { return a - b; }},
    {el::op_of<el::Multiply>, [](const Complex& a, const Complex& b) { return a * b; }},
    {el::op_of<el::Divide>, [](const Complex& a, const Complex& b) { return a / b; }},
    {el::op_of<el::FloorDivide>, [](const Complex& a, const Complex& b) { return a / b; }},
    {el::op_of<el::Power>, [](const Complex& a, const Complex& b) { return std::exp(b * std::log(a)); }},
    // Not the principal logarithm of the sum: the imaginary part continues that of the larger operand.
    {el::op_of<el::LogAddExp>,
     [](const Complex& a, const Complex& b) {
       return a.real() < b.real() ? b + std::log(Real(1) + std::exp(a - b))
                                  : a + std::log(Real(1) + std::exp(b - a));
     }},
};

void check_complex(const Tables& tables) {
  constexpr int c64 = static_cast<int>(Dtype::Val::complex64);
  Random random(6);
  std::vector<Float2> a, b;
  for (int i = 0; i < 20000; ++i) {
    const double size = i % 4 == 0 ? 1e-6 : i % 4 == 1 ? 20 : 2;
    a.push_back(
        {static_cast<float>(random.uniform(-size, size)), static_cast<float>(random.uniform(-size, size))});
    b.push_back({static_cast<float>(random.uniform(-2, 2)), static_cast<float>(random.uniform(-2, 2))});
  }
  const auto n = static_cast<int64_t>(a.size());
  std::vector<Float2> y(a.size());
  std::vector<float> size(a.size());
  auto wide = [](Float2 z) { return Complex(z.re, z.im); };
  for (const auto& [name, tiles] : tables) {
    auto check = [&](uint8_t op, auto exact) {
      tiles->op[op][c64](y.data(), a.data(), b.data(), nullptr, n);
      double worst = 0;
      int64_t at = 0;
      // Products by W. Kahan's method: C. Jeannerod et al., doi:10.1090/S0025-5718-2013-02679-8.
      const bool by_parts = op == el::op_of<el::Multiply> || op == el::op_of<el::Square>;
      for (int64_t i = 0; i < n; ++i) {
        const double e = by_parts ? ulp_error_of_parts(y[i], exact(i)) : ulp_error(y[i], exact(i));
        if (e > worst) worst = e, at = i;
      }
      if (!(worst <= (by_parts ? 1.5 : 1)))
        fail("%s complex64 %s: %.3f ulp at (%g%+gj), (%g%+gj): got %g%+gj", name, el::op_info[op].name.data(),
             worst, a[at].re, a[at].im, b[at].re, b[at].im, y[at].re, y[at].im);
    };
    for (const ComplexUnary& f : unary_complex)
      check(f.op, [&](int64_t i) { return f.reference(wide(a[i])); });
    for (const ComplexBinary& f : binary_complex)
      check(f.op, [&](int64_t i) { return f.reference(wide(a[i]), wide(b[i])); });
    tiles->op[el::op_of<el::Abs>][c64](size.data(), a.data(), nullptr, nullptr, n);
    for (int64_t i = 0; i < n; ++i)
      if (std::fabs(size[i] - std::abs(wide(a[i]))) >
          0.51L * std::nextafter(size[i], INFINITY) - 0.51L * size[i])
        fail("%s complex64 abs of %g%+gj", name, a[i].re, a[i].im);
  }
}

// Ordering, questions, overflow and the values at infinity, zero and nan.
void check_complex_specials(const Tables& tables) {
  constexpr int c64 = static_cast<int>(Dtype::Val::complex64);
  struct Case {
    uint8_t op;
    Float2 a, b;
    float re, im;
  };
  const float inf = INFINITY, nan = NAN;
  const Case values[] = {
      {el::op_of<el::Square>, {1e30f, 1e30f}, {}, 0, inf},
      {el::op_of<el::Divide>, {1e30f, 1e30f}, {1e30f, 1e30f}, 1, 0},
      {el::op_of<el::Divide>, {1e-40f, 0}, {1e-40f, 0}, 1, 0},
      {el::op_of<el::Sqrt>, {-4, 0}, {}, 0, 2},
      {el::op_of<el::Sqrt>, {-4, -0.0f}, {}, 0, -2},
      {el::op_of<el::Log>, {0, 0}, {}, -inf, 0},
      {el::op_of<el::Sign>, {0, 0}, {}, 0, 0},
      {el::op_of<el::Sign>, {3e38f, 0}, {}, 1, 0},
      {el::op_of<el::Power>, {0, 0}, {0, 0}, 1, 0},
      {el::op_of<el::Power>, {0, 0}, {2, 0}, 0, 0},
      {el::op_of<el::Power>, {0, 0}, {-1, 0}, inf, nan},
      {el::op_of<el::Maximum>, {1, 2}, {1, 3}, 1, 3},
      {el::op_of<el::Minimum>, {1, 2}, {1, 3}, 1, 2},
      {el::op_of<el::Maximum>, {2, 0}, {0, nan}, 0, nan},
      {el::op_of<el::Maximum>, {nan, 1}, {5, 5}, nan, 1},
      {el::op_of<el::Minimum>, {2, 0}, {nan, 3}, nan, 3},
      {el::op_of<el::Round>, {0.5f, 1.5f}, {}, 0, 2},
      {el::op_of<el::Log1p>, {1e-20f, 1e-20f}, {}, 1e-20f, 1e-20f},
      {el::op_of<el::Log1p>, {-1, 2}, {}, 0.693147181f, 1.57079633f},
  };
  struct Question {
    uint8_t op;
    Float2 a, b;
    int answer;
  };
  const Question questions[] = {
      {el::op_of<el::Less>, {1, 2}, {1, 3}, 1},         {el::op_of<el::Less>, {2, 0}, {1, 9}, 0},
      {el::op_of<el::Less>, {nan, 0}, {1, 9}, 0},       {el::op_of<el::LessEqual>, {1, 2}, {1, 2}, 1},
      {el::op_of<el::Greater>, {1, 3}, {1, 2}, 1},      {el::op_of<el::GreaterEqual>, {1, 2}, {1, 3}, 0},
      {el::op_of<el::Equal>, {1, 2}, {1, 2}, 1},        {el::op_of<el::Equal>, {nan, 0}, {nan, 0}, 0},
      {el::op_of<el::NotEqual>, {nan, 0}, {nan, 0}, 1}, {el::op_of<el::NanEqual>, {nan, 0}, {3, nan}, 1},
      {el::op_of<el::NanEqual>, {1, 0}, {3, nan}, 0},   {el::op_of<el::IsNan>, {0, nan}, {}, 1},
      {el::op_of<el::IsInf>, {0, -inf}, {}, 1},         {el::op_of<el::IsFinite>, {1, inf}, {}, 0},
      {el::op_of<el::IsPosInf>, {inf, 0}, {}, 1},       {el::op_of<el::IsPosInf>, {inf, 1}, {}, 0},
      {el::op_of<el::IsNegInf>, {-inf, 0}, {}, 1},      {el::op_of<el::LogicalNot>, {0, 1}, {}, 0},
      {el::op_of<el::LogicalAnd>, {0, 1}, {0, 0}, 0},   {el::op_of<el::LogicalOr>, {0, 1}, {0, 0}, 1},
      {el::op_of<el::LogicalXor>, {0, 1}, {2, 0}, 0}};
  auto same = [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  for (const auto& [name, tiles] : tables) {
    for (const Case& c : values) {
      Float2 y;
      tiles->op[c.op][c64](&y, &c.a, &c.b, nullptr, 1);
      if (!same(y.re, c.re) || !same(y.im, c.im))
        fail("%s complex64 %s of (%g%+gj), (%g%+gj): got %g%+gj", name, el::op_info[c.op].name.data(), c.a.re,
             c.a.im, c.b.re, c.b.im, y.re, y.im);
    }
    for (const Question& q : questions) {
      unsigned char y;
      tiles->op[q.op][c64](&y, &q.a, &q.b, nullptr, 1);
      if (y != q.answer)
        fail("%s complex64 %s of (%g%+gj), (%g%+gj): got %d", name, el::op_info[q.op].name.data(), q.a.re,
             q.a.im, q.b.re, q.b.im, y);
    }
    const Float2 z = {3, inf};
    float part;
    tiles->op[el::op_of<el::Imag>][c64](&part, &z, nullptr, nullptr, 1);
    if (part != inf) fail("%s imag", name);
    tiles->op[el::op_of<el::Real>][c64](&part, &z, nullptr, nullptr, 1);
    if (part != 3) fail("%s real", name);
    const Float2 w = {nan, -inf};
    tiles->op[el::op_of<el::Abs>][c64](&part, &w, nullptr, nullptr, 1);
    if (part != inf) fail("%s abs of an infinity with a nan", name);
  }
}

}  // namespace

int main() {
  Tables tables;
  for (Isa isa : isas_here())
    tables.emplace_back(mlx::core::cpu::isa_name(isa), &mlx::core::cpu::tiles_for(isa));
  check_float64(tables);
  check_gammas(tables);
  check_complex(tables);
  check_complex_specials(tables);
  return finish("tiles_wide");
}
