// What the rows of the element-wise table compute (mlx/graph/elementwise*.h), beyond what the language has:
// for float, integers and complex64_t. 16-bit floats are computed as float.
#pragma once
#include "metal/kernels/types.h"

namespace vmath {

// --- arithmetic: integers wrap ---

template <class T>
struct Wrapping {
  typedef uint type;
};
template <>
struct Wrapping<long> {
  typedef ulong type;
};
template <>
struct Wrapping<ulong> {
  typedef ulong type;
};

template <class T>
METAL_FUNC T add(T a, T b) {
  typedef typename Wrapping<T>::type W;
  return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
}
template <class T>
METAL_FUNC T subtract(T a, T b) {
  typedef typename Wrapping<T>::type W;
  return static_cast<T>(static_cast<W>(a) - static_cast<W>(b));
}
template <class T>
METAL_FUNC T multiply(T a, T b) {
  typedef typename Wrapping<T>::type W;
  return static_cast<T>(static_cast<W>(a) * static_cast<W>(b));
}
METAL_FUNC float add(float a, float b) { return a + b; }
METAL_FUNC float subtract(float a, float b) { return a - b; }
METAL_FUNC float multiply(float a, float b) { return a * b; }
METAL_FUNC complex64_t add(complex64_t a, complex64_t b) { return a + b; }
METAL_FUNC complex64_t subtract(complex64_t a, complex64_t b) { return a - b; }
METAL_FUNC complex64_t multiply(complex64_t a, complex64_t b) { return a * b; }
METAL_FUNC bool add(bool a, bool b) { return a || b; }
METAL_FUNC bool subtract(bool a, bool b) { return a != b; }
METAL_FUNC bool multiply(bool a, bool b) { return a && b; }

template <class T>
METAL_FUNC T negate(T x) {
  return subtract(static_cast<T>(0), x);
}
METAL_FUNC float negate(float x) { return -x; }
METAL_FUNC complex64_t negate(complex64_t z) { return {-z.re, -z.im}; }

// Scaled by a power of two near the larger part, so that squares neither overflow nor vanish.
METAL_FUNC float scale_of(float a, float b) {
  const float m = metal::max(metal::fabs(a), metal::fabs(b));
  return as_type<float>(metal::clamp(254u - ((as_type<uint>(m) >> 23) & 255u), 1u, 253u) << 23);
}
METAL_FUNC float hypot(float a, float b) {
  if (metal::fabs(a) == INFINITY || metal::fabs(b) == INFINITY) return INFINITY;
  const float s = scale_of(a, b), x = a * s, y = b * s;
  return metal::sqrt(x * x + y * y) / s;
}
METAL_FUNC float divide(float a, float b) { return a / b; }
METAL_FUNC float reciprocal(float x) { return 1.0f / x; }

template <class T>
METAL_FUNC T abs(T x) {
  return x < static_cast<T>(0) ? negate(x) : x;
}
METAL_FUNC float abs(float x) { return metal::fabs(x); }
METAL_FUNC bool abs(bool x) { return x; }
METAL_FUNC float abs(complex64_t z) { return hypot(z.re, z.im); }

template <class T>
METAL_FUNC T sign(T x) {
  return static_cast<T>((x > static_cast<T>(0) ? 1 : 0) - (x < static_cast<T>(0) ? 1 : 0));
}
METAL_FUNC bool sign(bool x) { return x; }
METAL_FUNC complex64_t sign(complex64_t z) {
  const float s = scale_of(z.re, z.im), re = z.re * s, im = z.im * s;
  const float size = metal::sqrt(re * re + im * im);
  return size == 0 ? complex64_t{z.re, z.im} : complex64_t{re / size, im / size};
}

// --- quotients of integers: nothing traps; by zero gives 0, and the remainder is the dividend ---

template <class T>
METAL_FUNC T truncated_quotient(T a, T b) {
  if (b == static_cast<T>(0)) return static_cast<T>(0);
  if (static_cast<T>(-1) < static_cast<T>(0) && b == static_cast<T>(-1)) return negate(a);
  return static_cast<T>(a / b);
}
template <class T>
METAL_FUNC bool goes_below(T r, T b) {
  return r != static_cast<T>(0) && b != static_cast<T>(0) &&
         (r < static_cast<T>(0)) != (b < static_cast<T>(0));
}
template <class T>
METAL_FUNC T remainder(T a, T b) {
  const T r = subtract(a, multiply(truncated_quotient(a, b), b));
  return goes_below(r, b) ? add(r, b) : r;
}
template <class T>
METAL_FUNC T floor_divide(T a, T b) {
  const T q = truncated_quotient(a, b);
  return goes_below(subtract(a, multiply(q, b)), b) ? subtract(q, static_cast<T>(1)) : q;
}
METAL_FUNC bool floor_divide(bool a, bool b) { return a && b; }
METAL_FUNC bool remainder(bool a, bool b) { return a && !b; }
METAL_FUNC float floor_divide(float a, float b) { return metal::floor(a / b); }
METAL_FUNC float remainder(float a, float b) {
  const float r = metal::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

template <class T>
METAL_FUNC T power(T a, T b) {
  typedef typename Wrapping<T>::type W;
  if (b < static_cast<T>(0)) return static_cast<T>(0);
  W result = 1, factor = static_cast<W>(a);
  for (W e = static_cast<W>(b); e != 0; e >>= 1) {
    if (e & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}
METAL_FUNC bool power(bool a, bool b) { return a || !b; }
METAL_FUNC float power(float a, float b) { return metal::pow(a, b); }

// --- extremes: a nan wins ---

template <class T>
METAL_FUNC T maximum(T a, T b) {
  const T larger = a > b ? a : b;
  return a != a ? a : larger;
}
template <class T>
METAL_FUNC T minimum(T a, T b) {
  const T smaller = a < b ? a : b;
  return a != a ? a : smaller;
}
METAL_FUNC bool is_nan(complex64_t z) { return z.re != z.re || z.im != z.im; }
METAL_FUNC complex64_t maximum(complex64_t a, complex64_t b) {
  return is_nan(a) || (!is_nan(b) && b < a) ? a : b;
}
METAL_FUNC complex64_t minimum(complex64_t a, complex64_t b) {
  return is_nan(a) || (!is_nan(b) && a < b) ? a : b;
}
METAL_FUNC bool maximum(bool a, bool b) { return a || b; }
METAL_FUNC bool minimum(bool a, bool b) { return a && b; }

// --- questions ---

template <class T>
METAL_FUNC bool isnan(T) {
  return false;
}
template <class T>
METAL_FUNC bool isinf(T) {
  return false;
}
template <class T>
METAL_FUNC bool isfinite(T) {
  return true;
}
template <class T>
METAL_FUNC bool isposinf(T) {
  return false;
}
template <class T>
METAL_FUNC bool isneginf(T) {
  return false;
}
METAL_FUNC bool isnan(float x) { return x != x; }
METAL_FUNC bool isinf(float x) { return metal::fabs(x) == INFINITY; }
METAL_FUNC bool isfinite(float x) { return metal::fabs(x) < INFINITY; }
METAL_FUNC bool isposinf(float x) { return x == INFINITY; }
METAL_FUNC bool isneginf(float x) { return x == -INFINITY; }
METAL_FUNC bool isnan(complex64_t z) { return is_nan(z); }
METAL_FUNC bool isinf(complex64_t z) { return isinf(z.re) || isinf(z.im); }
METAL_FUNC bool isfinite(complex64_t z) { return isfinite(z.re) && isfinite(z.im); }
METAL_FUNC bool isposinf(complex64_t z) { return z.re == INFINITY && z.im == 0; }
METAL_FUNC bool isneginf(complex64_t z) { return z.re == -INFINITY && z.im == 0; }
template <class T>
METAL_FUNC bool nan_equal(T a, T b) {
  return a == b || (isnan(a) && isnan(b));
}

// --- bits ---

template <class T>
METAL_FUNC T bit_not(T x) {
  return static_cast<T>(~x);
}
METAL_FUNC bool bit_not(bool x) { return !x; }
template <class T>
METAL_FUNC T left_shift(T a, T b) {
  typedef typename Wrapping<T>::type W;
  return static_cast<T>(static_cast<W>(a) << (static_cast<W>(b) & (8 * sizeof(W) - 1)));
}
template <class T>
METAL_FUNC T right_shift(T a, T b) {
  typedef typename Wrapping<T>::type W;
  return static_cast<T>(a >> (static_cast<W>(b) & (8 * sizeof(W) - 1)));
}
template <class U>
METAL_FUNC U next_bits(U a, U b, bool equal, bool a_is_less, bool a_is_zero) {
  const U sign = static_cast<U>(U(1) << (8 * sizeof(U) - 1));
  const bool negative = (a & sign) != 0;
  const U step = a_is_less != negative ? static_cast<U>(a + 1) : static_cast<U>(a - 1);
  return equal ? b : a_is_zero ? static_cast<U>((b & sign) | 1) : step;
}
METAL_FUNC float nextafter(float a, float b) {
  return a != a || b != b
             ? a + b
             : as_type<float>(next_bits(as_type<uint>(a), as_type<uint>(b), a == b, a < b, a == 0));
}
template <class T>
METAL_FUNC T next_half(T a, T b) {
  const float x = static_cast<float>(a), y = static_cast<float>(b);
  return x != x || y != y
             ? static_cast<T>(x + y)
             : as_type<T>(next_bits(as_type<ushort>(a), as_type<ushort>(b), x == y, x < y, x == 0));
}
METAL_FUNC half nextafter(half a, half b) { return next_half(a, b); }
METAL_FUNC bfloat nextafter(bfloat a, bfloat b) { return next_half(a, b); }

// --- complex numbers ---

METAL_FUNC complex64_t conj(complex64_t z) { return {z.re, -z.im}; }
METAL_FUNC float real(complex64_t z) { return z.re; }
METAL_FUNC float imag(complex64_t z) { return z.im; }
template <class T>
METAL_FUNC T conj(T x) {
  return x;
}
template <class T>
METAL_FUNC T real(T x) {
  return x;
}
template <class T>
METAL_FUNC T imag(T) {
  return static_cast<T>(0);
}
METAL_FUNC complex64_t rint(complex64_t z) { return {metal::rint(z.re), metal::rint(z.im)}; }
METAL_FUNC complex64_t direction(complex64_t z) {
  return {metal::copysign(metal::fabs(z.re) == INFINITY ? 1.0f : 0.0f, z.re),
          metal::copysign(metal::fabs(z.im) == INFINITY ? 1.0f : 0.0f, z.im)};
}
// As C's Annex G has it: where the quotient is nan in both parts, a divisor of zero, an infinite dividend and
// an infinite divisor count by their direction.
METAL_FUNC complex64_t divide(complex64_t a, complex64_t b) {
  const float s = scale_of(b.re, b.im), re = b.re * s, im = b.im * s;
  const float d = re * re + im * im;
  const complex64_t q = {((a.re * re + a.im * im) / d) * s, ((a.im * re - a.re * im) / d) * s};
  if (q.re == q.re || q.im == q.im) return q;
  if (d == 0) return a * metal::copysign(INFINITY, b.re);
  if (isinf(a) && isfinite(b)) return direction(a) * conj(b) * INFINITY;
  if (isfinite(a) && isinf(b)) return a * conj(direction(b)) * 0.0f;
  return q;
}
METAL_FUNC complex64_t reciprocal(complex64_t z) { return divide(complex64_t{1, 0}, z); }

// --- functions of float ---

// Polynomials fitted to the functions (least squares of the relative error at Chebyshev nodes).
template <int n>
METAL_FUNC float polynomial(thread const float (&c)[n], float x) {
  float y = c[n - 1];
  for (int i = n - 2; i >= 0; --i) y = metal::fma(y, x, c[i]);
  return y;
}

METAL_FUNC float sqrt(float x) { return metal::sqrt(x); }
METAL_FUNC float rsqrt(float x) { return 1.0f / metal::sqrt(x); }
METAL_FUNC float exp(float x) { return metal::exp(x); }
METAL_FUNC complex64_t exp(complex64_t z) {
  const float size = metal::exp(z.re);
  if (z.im == 0) return {size, z.im};
  return {size * metal::cos(z.im), size * metal::sin(z.im)};
}
METAL_FUNC float log(float x) { return metal::log(x); }
METAL_FUNC float log2(float x) { return metal::log2(x); }
METAL_FUNC float log10(float x) { return metal::log10(x); }
METAL_FUNC float sin(float x) { return metal::sin(x); }
METAL_FUNC float cos(float x) { return metal::cos(x); }
METAL_FUNC float tan(float x) { return metal::tan(x); }
METAL_FUNC float sinh(float x) { return metal::sinh(x); }
METAL_FUNC float cosh(float x) { return metal::cosh(x); }
METAL_FUNC float tanh(float x) {
  const float c[] = {-0.333332819f, 0.133314422f, -0.0537397156f, 0.0206390888f, -0.00570498873f};
  const float a = metal::fabs(x), square = x * x;
  if (a < 0.625f) return metal::fma(x, square * polynomial(c, square), x);
  return metal::copysign(1.0f - 2.0f / (metal::exp(2.0f * a) + 1.0f), x);
}
METAL_FUNC float asin(float x) { return metal::asin(x); }
METAL_FUNC float acos(float x) { return metal::acos(x); }
METAL_FUNC float atan(float x) { return metal::atan(x); }
METAL_FUNC float asinh(float x) { return metal::asinh(x); }
METAL_FUNC float acosh(float x) { return metal::acosh(x); }
METAL_FUNC float atanh(float x) { return metal::atanh(x); }
METAL_FUNC float atan2(float y, float x) { return metal::atan2(y, x); }
METAL_FUNC float floor(float x) { return metal::floor(x); }
METAL_FUNC float ceil(float x) { return metal::ceil(x); }
METAL_FUNC float rint(float x) { return metal::rint(x); }
METAL_FUNC float trunc(float x) { return metal::trunc(x); }
METAL_FUNC float copysign(float x, float y) { return metal::copysign(x, y); }

// What rounding 1 + x has lost is put back by the derivative.
METAL_FUNC float log1p(float x) {
  const float u = 1.0f + x;
  if (u == 1.0f) return x;
  const float rest = x - (u - 1.0f);
  return rest == 0 || u == INFINITY ? metal::log(u) : metal::log(u) + rest / u;
}
METAL_FUNC float expm1(float x) {
  const float c[] = {0.5f,          0.1666667f,     0.041666657f,  0.008332758f,
                     0.0013889202f, 0.00020077576f, 2.4907209e-05f};
  return metal::fabs(x) < 0.7f ? metal::fma(x * x, polynomial(c, x), x) : metal::exp(x) - 1.0f;
}
METAL_FUNC float sigmoid(float x) {
  const float e = metal::exp(-metal::fabs(x)), sum = 1.0f + e, lost = (1.0f - sum) + e;
  const float y = (x < 0 ? e : 1.0f) / sum;
  return metal::fma(-y, lost / sum, y);
}
METAL_FUNC float logaddexp(float a, float b) {
  if (a == b) return a + 0.693147182f;
  if (a != a || b != b) return a + b;
  return metal::max(a, b) + log1p(metal::exp(-metal::fabs(a - b)));
}

// erf(x) / x - 1 for |x| < 1: what is added to x is small, and so is its error.
METAL_FUNC float erf_part(float x) {
  const float c[] = {0.12837917f,  -0.37612635f,    0.112837434f,   -0.02686355f,
                     0.005216406f, -0.00084232324f, 0.00010858782f, -8.577988e-06f};
  return polynomial(c, x * x);
}
// erfc(x) for x >= 0.8: exp(-x^2) times a polynomial in x - 3/2 or, beyond 2, in 1 / x^2 over x. The rounding
// errors of x^2, of the polynomial's last sum and of the product are put back.
METAL_FUNC float erfc_tail(float x) {
  const float near[] = {-0.16362293f,  0.07615103f,     -0.03293046f,   0.013377527f,    -0.005150802f,
                        0.0018839577f, -0.00064051856f, 0.00023556764f, -0.000107903994f};
  const float far[] = {-0.282088f,  0.42260855f, -1.0374092f, 3.2514188f,
                       -10.229031f, 25.645424f,  -41.246277f, 30.48106f};
  if (x > 10.5f) return 0.0f;
  const float square = x * x, rest = metal::fma(x, x, -square), e = metal::exp(-square);
  const float u = x - 1.5f, i = 1.0f / x, w = i * i;
  const float c0 = x < 2.0f ? 0.32158542f : 0.56418955f;
  const float t = x < 2.0f ? u * polynomial(near, u) : w * polynomial(far, w);
  float sum = c0 + t, low = (c0 - sum) + t;
  if (x >= 2.0f) {
    const float quotient = sum / x;
    low = (metal::fma(-quotient, x, sum) + low) / x;
    sum = quotient;
  }
  const float product = e * sum;
  return product + (metal::fma(e, low, metal::fma(e, sum, -product)) - rest * product);
}
METAL_FUNC float erf(float x) {
  const float a = metal::fabs(x);
  return a < 1.0f ? metal::fma(x, erf_part(x), x) : x != x ? x : metal::copysign(1.0f - erfc_tail(a), x);
}
METAL_FUNC float erfc(float x) {
  if (x != x) return x;
  if (metal::fabs(x) < 0.8f) return metal::fma(-x, erf_part(x), 1.0f - x);
  return x < 0 ? 2.0f - erfc_tail(-x) : erfc_tail(x);
}
// x times 1 and a polynomial: of x^2 near 0, else of w = -log(1 - x^2), in two parts (M. Giles, Approximating
// the erfinv function).
METAL_FUNC float erfinv(float x) {
  const float small[] = {-0.11377307f,  0.23201287f, 0.12759429f,  0.085783586f, 0.072943106f,
                         0.0050901677f, 0.19959302f, -0.25361562f, 0.27778274f};
  const float centre[] = {0.80124277f,     0.23191923f,     -0.0070210136f, -0.00033266045f,
                          0.00013860391f,  -1.5990716e-05f, 1.1851923e-07f, 2.5037218e-07f,
                          -3.6739422e-08f, 4.11442e-10f,    5.1875143e-10f, -4.8274818e-11f};
  const float tails[] = {1.8329768f,    1.0016754f,    0.00944568f,     -0.007646607f, 0.0056778896f,
                         -0.003517803f, 0.0014842303f, -0.00033284837f, 2.1074708e-05f};
  const float a = metal::fabs(x);
  if (a >= 1.0f || x != x) return a == 1.0f ? metal::copysign(INFINITY, x) : NAN;
  if (x * x < 0.44f) return metal::fma(x, polynomial(small, x * x), x);
  const float v = -metal::log(metal::fma(-x, x, 1.0f));
  return metal::fma(x, v < 7.0f ? polynomial(centre, v - 3.75f) : polynomial(tails, metal::sqrt(v) - 3.0f),
                    x);
}

}  // namespace vmath
