// What the tiles of integers, bool and complex numbers compute, casts, and float64: against plain scalar
// definitions.
#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <functional>
#include <limits>
#include <map>

#include "mlx/types/complex.h"
#include "mlx/types/half_types.h"
#include "tiles_test.h"

namespace el = mlx::core::elementwise;
using namespace tiles_test;
using mlx::core::bfloat16_t;
using mlx::core::complex64_t;
using mlx::core::float16_t;
using mlx::core::kDtypes;

namespace {

// --- integers: arithmetic in 128 bits, then wrapped ---

using Wide = __int128;

template <class T>
std::map<uint8_t, std::function<T(T, T)>> integer_rows() {
  constexpr int width = sizeof(T) == 8 ? 64 : 32;  // shifts count modulo this
  auto floor_divide = [](Wide a, Wide b) -> Wide {
    if (b == 0) return 0;
    const Wide q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
  };
  std::map<uint8_t, std::function<T(T, T)>> rows;
  rows[el::op_of<el::Add>] = [](T a, T b) { return static_cast<T>(Wide(a) + b); };
  rows[el::op_of<el::Subtract>] = [](T a, T b) { return static_cast<T>(Wide(a) - b); };
  rows[el::op_of<el::Multiply>] = [](T a, T b) { return static_cast<T>(Wide(a) * b); };
  rows[el::op_of<el::FloorDivide>] = [=](T a, T b) { return static_cast<T>(floor_divide(a, b)); };
  rows[el::op_of<el::Remainder>] = [=](T a, T b) {
    return static_cast<T>(Wide(a) - floor_divide(a, b) * Wide(b));
  };
  rows[el::op_of<el::Power>] = [](T a, T b) {
    if (b < 0) return T(0);
    uint64_t y = 1, x = static_cast<uint64_t>(a);
    for (auto e = static_cast<uint64_t>(b); e != 0; e /= 2, x *= x)
      if (e % 2) y *= x;
    return static_cast<T>(y);
  };
  rows[el::op_of<el::Maximum>] = [](T a, T b) { return std::max(a, b); };
  rows[el::op_of<el::Minimum>] = [](T a, T b) { return std::min(a, b); };
  rows[el::op_of<el::BitwiseAnd>] = [](T a, T b) { return static_cast<T>(a & b); };
  rows[el::op_of<el::BitwiseOr>] = [](T a, T b) { return static_cast<T>(a | b); };
  rows[el::op_of<el::BitwiseXor>] = [](T a, T b) { return static_cast<T>(a ^ b); };
  rows[el::op_of<el::LeftShift>] = [](T a, T b) {
    return static_cast<T>(static_cast<uint64_t>(a) << (static_cast<uint64_t>(b) % width));
  };
  rows[el::op_of<el::RightShift>] = [](T a, T b) {
    return static_cast<T>(Wide(a) >> (static_cast<uint64_t>(b) % width));
  };
  // Unary rows look at the first operand only.
  rows[el::op_of<el::Negative>] = [](T a, T) { return static_cast<T>(-Wide(a)); };
  rows[el::op_of<el::Abs>] = [](T a, T) { return static_cast<T>(a < 0 ? -Wide(a) : Wide(a)); };
  rows[el::op_of<el::Sign>] = [](T a, T) { return static_cast<T>((a > 0) - (a < 0)); };
  rows[el::op_of<el::Square>] = [](T a, T) {
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(a));
  };
  rows[el::op_of<el::BitwiseInvert>] = [](T a, T) { return static_cast<T>(~a); };
  for (uint8_t op : {el::op_of<el::Floor>, el::op_of<el::Ceil>, el::op_of<el::Round>, el::op_of<el::Trunc>,
                     el::op_of<el::Conjugate>, el::op_of<el::Real>})
    rows[op] = [](T a, T) { return a; };
  rows[el::op_of<el::Imag>] = [](T, T) { return T(0); };
  return rows;
}
template <class T>
std::map<uint8_t, std::function<bool(T, T)>> question_rows() {
  std::map<uint8_t, std::function<bool(T, T)>> rows;
  rows[el::op_of<el::Equal>] = [](T a, T b) { return a == b; };
  rows[el::op_of<el::NotEqual>] = [](T a, T b) { return !(a == b); };
  rows[el::op_of<el::NanEqual>] = [](T a, T b) { return a == b || (a != a && b != b); };
  rows[el::op_of<el::Less>] = [](T a, T b) { return a < b; };
  rows[el::op_of<el::LessEqual>] = [](T a, T b) { return a <= b; };
  rows[el::op_of<el::Greater>] = [](T a, T b) { return a > b; };
  rows[el::op_of<el::GreaterEqual>] = [](T a, T b) { return a >= b; };
  rows[el::op_of<el::LogicalAnd>] = [](T a, T b) { return a != T(0) && b != T(0); };
  rows[el::op_of<el::LogicalOr>] = [](T a, T b) { return a != T(0) || b != T(0); };
  rows[el::op_of<el::LogicalXor>] = [](T a, T b) { return (a != T(0)) != (b != T(0)); };
  rows[el::op_of<el::LogicalNot>] = [](T a, T) { return a == T(0); };
  const T inf = std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : T(0);
  constexpr bool has = std::numeric_limits<T>::has_infinity;
  rows[el::op_of<el::IsNan>] = [](T a, T) { return a != a; };
  rows[el::op_of<el::IsInf>] = [=](T a, T) { return has && (a == inf || a == -inf); };
  rows[el::op_of<el::IsFinite>] = [=](T a, T) { return !has || (a == a && a != inf && a != -inf); };
  rows[el::op_of<el::IsPosInf>] = [=](T a, T) { return has && a == inf; };
  rows[el::op_of<el::IsNegInf>] = [=](T a, T) { return has && a == -inf; };
  return rows;
}

template <class T>
void compare(const char* isa, const Tiles& tiles, const std::vector<T>& a, const std::vector<T>& b,
             bool arithmetic) {
  const int dtype = index_of(mlx::core::Dtype(mlx::core::TypeToDtype<T>{}).val());
  const int64_t n = static_cast<int64_t>(a.size());
  std::vector<T> y(a.size());
  if constexpr (std::numeric_limits<T>::is_integer)
    if (arithmetic)
      for (const auto& [op, reference] : integer_rows<T>()) {
        tiles.op[op][dtype](y.data(), a.data(), b.data(), nullptr, n);
        for (int64_t i = 0; i < n; ++i)
          if (y[i] != reference(a[i], b[i])) {
            fail("%s %s dtype %d of %s, %s: got %s, expected %s", isa, el::op_info[op].name.data(), dtype,
                 std::to_string(a[i]).c_str(), std::to_string(b[i]).c_str(), std::to_string(y[i]).c_str(),
                 std::to_string(reference(a[i], b[i])).c_str());
            break;
          }
      }
  std::vector<unsigned char> answer(a.size());
  for (const auto& [op, reference] : question_rows<T>()) {
    tiles.op[op][dtype](answer.data(), a.data(), b.data(), nullptr, n);
    for (int64_t i = 0; i < n; ++i)
      if (answer[i] != static_cast<unsigned char>(reference(a[i], b[i]))) {
        fail("%s %s dtype %d of %s, %s: got %d", isa, el::op_info[op].name.data(), dtype,
             std::to_string(a[i]).c_str(), std::to_string(b[i]).c_str(), answer[i]);
        break;
      }
  }
}

template <class T>
void check_integers(const char* isa, const Tiles& tiles) {
  std::vector<T> a, b;
  if constexpr (sizeof(T) == 1) {
    for (int i = 0; i < 256; ++i)
      for (int j = 0; j < 256; ++j) a.push_back(static_cast<T>(i)), b.push_back(static_cast<T>(j));
  } else {
    const T most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::min();
    const T special[] = {0,  1,  T(-1), 2,  T(-2), 3,    T(-3), 7,           T(-7),       31,
                         32, 33, 63,    64, 65,    most, least, T(most - 1), T(least + 1)};
    for (T x : special)
      for (T y : special) a.push_back(x), b.push_back(y);
    Random random(1);
    for (int i = 0; i < 50000; ++i) {
      a.push_back(static_cast<T>(random.bits() >> (random.bits() % 64)));
      b.push_back(static_cast<T>(random.bits() >> (random.bits() % 64)));
    }
  }
  compare<T>(isa, tiles, a, b, true);
}

template <class T>
void check_real_questions(const char* isa, const Tiles& tiles) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> a, b;
  for (T x : {T(0), T(-0.0), T(1), T(-1), T(1.5), inf, -inf, nan, std::numeric_limits<T>::denorm_min()})
    for (T y : {T(0), T(-0.0), T(1), T(-1), T(1.5), inf, -inf, nan, std::numeric_limits<T>::max()})
      a.push_back(x), b.push_back(y);
  compare<T>(isa, tiles, a, b, false);
}

void check_bool(const char* isa, const Tiles& tiles) {
  const unsigned char a[] = {0, 0, 1, 1}, b[] = {0, 1, 0, 1};
  // Results for (a, b) = 00, 01, 10, 11.
  const std::map<uint8_t, std::array<int, 4>> truth = {
      {el::op_of<el::Add>, {0, 1, 1, 1}},           {el::op_of<el::Subtract>, {0, 1, 1, 0}},
      {el::op_of<el::Multiply>, {0, 0, 0, 1}},      {el::op_of<el::Maximum>, {0, 1, 1, 1}},
      {el::op_of<el::Minimum>, {0, 0, 0, 1}},       {el::op_of<el::Power>, {1, 0, 1, 1}},
      {el::op_of<el::FloorDivide>, {0, 0, 0, 1}},   {el::op_of<el::Remainder>, {0, 0, 1, 0}},
      {el::op_of<el::BitwiseAnd>, {0, 0, 0, 1}},    {el::op_of<el::BitwiseOr>, {0, 1, 1, 1}},
      {el::op_of<el::BitwiseXor>, {0, 1, 1, 0}},    {el::op_of<el::LogicalAnd>, {0, 0, 0, 1}},
      {el::op_of<el::LogicalOr>, {0, 1, 1, 1}},     {el::op_of<el::LogicalXor>, {0, 1, 1, 0}},
      {el::op_of<el::Equal>, {1, 0, 0, 1}},         {el::op_of<el::NotEqual>, {0, 1, 1, 0}},
      {el::op_of<el::NanEqual>, {1, 0, 0, 1}},      {el::op_of<el::Less>, {0, 1, 0, 0}},
      {el::op_of<el::LessEqual>, {1, 1, 0, 1}},     {el::op_of<el::Greater>, {0, 0, 1, 0}},
      {el::op_of<el::GreaterEqual>, {1, 0, 1, 1}},  {el::op_of<el::LogicalNot>, {1, 1, 0, 0}},
      {el::op_of<el::BitwiseInvert>, {1, 1, 0, 0}}, {el::op_of<el::Abs>, {0, 0, 1, 1}},
      {el::op_of<el::Sign>, {0, 0, 1, 1}},          {el::op_of<el::Square>, {0, 0, 1, 1}},
      {el::op_of<el::Floor>, {0, 0, 1, 1}},         {el::op_of<el::Ceil>, {0, 0, 1, 1}},
      {el::op_of<el::Round>, {0, 0, 1, 1}},         {el::op_of<el::Trunc>, {0, 0, 1, 1}},
      {el::op_of<el::Conjugate>, {0, 0, 1, 1}},     {el::op_of<el::Real>, {0, 0, 1, 1}},
      {el::op_of<el::Imag>, {0, 0, 0, 0}},          {el::op_of<el::IsNan>, {0, 0, 0, 0}},
      {el::op_of<el::IsFinite>, {1, 1, 1, 1}},      {el::op_of<el::IsInf>, {0, 0, 0, 0}},
      {el::op_of<el::IsPosInf>, {0, 0, 0, 0}},      {el::op_of<el::IsNegInf>, {0, 0, 0, 0}},
  };
  for (int op = 0; op < el::kOps; ++op) {
    if (tiles.op[op][0] == nullptr || el::op_info[op].arity == 3) continue;
    const auto row = truth.find(static_cast<uint8_t>(op));
    unsigned char y[4];
    tiles.op[op][0](y, a, b, nullptr, 4);
    for (int i = 0; i < 4; ++i)
      if (row == truth.end() || y[i] != row->second[i])
        fail("%s %s of bool %d, %d: got %d", isa, el::op_info[op].name.data(), a[i], b[i], y[i]);
  }
}

// --- three operands ---

void check_ternary(const char* isa, const Tiles& tiles) {
  const unsigned char condition[] = {1, 0, 1, 0};
  const float a[] = {1, 2, NAN, 4}, b[] = {5, 6, 7, NAN};
  float y[4];
  constexpr int f32 = static_cast<int>(Dtype::Val::float32);
  tiles.op[el::op_of<el::Select>][f32](y, condition, a, b, 4);
  if (y[0] != 1 || y[1] != 6 || !std::isnan(y[2]) || !std::isnan(y[3])) fail("%s select float32", isa);
  const float x[] = {-1, 2, 9, NAN, 5, 2}, lo[] = {0, 0, 0, 0, 6, NAN}, hi[] = {3, 3, 3, 3, 4, 3};
  float z[6];
  tiles.op[el::op_of<el::Clip>][f32](z, x, lo, hi, 6);
  if (z[0] != 0 || z[1] != 2 || z[2] != 3 || !std::isnan(z[3]) || z[4] != 4 || !std::isnan(z[5]))
    fail("%s clip float32", isa);
  const int16_t i[] = {-5, 5, 50}, low[] = {0, 0, 0}, high[] = {9, 9, 9};
  int16_t r[3];
  tiles.op[el::op_of<el::Clip>][index_of(Dtype::Val::int16)](r, i, low, high, 3);
  if (r[0] != 0 || r[1] != 5 || r[2] != 9) fail("%s clip int16", isa);
}

// --- casts ---

template <class To, class From>
To cast_reference(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<To, bool>) {
    if constexpr (std::is_same_v<From, complex64_t>)
      return x.real() != 0 || x.imag() != 0;
    else if constexpr (std::is_same_v<From, float16_t> || std::is_same_v<From, bfloat16_t>)
      return float(x) != 0;
    else
      return x != From(0);
  } else if constexpr (std::is_same_v<From, complex64_t>) {
    return cast_reference<To>(x.real());
  } else if constexpr (std::is_same_v<To, complex64_t>) {
    return complex64_t(cast_reference<float>(x), 0.0f);
  } else if constexpr (std::is_same_v<From, float16_t> || std::is_same_v<From, bfloat16_t>) {
    return cast_reference<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, float16_t> || std::is_same_v<To, bfloat16_t>) {
    return To(static_cast<float>(x));
  } else if constexpr (std::is_floating_point_v<From> && std::numeric_limits<To>::is_integer) {
    const long double v = x != x ? 0.0L : std::trunc(static_cast<long double>(x));
    // As tiles.h says.
    if constexpr (sizeof(To) < 4)
      return static_cast<To>(static_cast<int32_t>(std::clamp<long double>(v, INT32_MIN, INT32_MAX)));
    if constexpr (std::is_same_v<To, int32_t>)
      return static_cast<To>(std::clamp<long double>(v, INT32_MIN, INT32_MAX));
    if constexpr (std::is_same_v<To, int64_t>)
      return static_cast<To>(std::clamp<long double>(v, INT64_MIN, INT64_MAX));
    if constexpr (std::is_same_v<To, uint32_t>)
      return static_cast<To>(static_cast<int64_t>(std::clamp<long double>(v, INT32_MIN, UINT32_MAX)));
    if constexpr (std::is_same_v<To, uint64_t>)
      return v < 0 ? static_cast<To>(static_cast<int64_t>(std::max<long double>(v, INT64_MIN)))
                   : static_cast<To>(std::min<long double>(v, UINT64_MAX));
    return 0;
  } else {
    return static_cast<To>(x);
  }
}

template <class T>
std::vector<T> cast_samples() {
  std::vector<T> x;
  const double values[] = {0,
                           1,
                           -1,
                           2.5,
                           -2.5,
                           0.5,
                           -0.5,
                           127,
                           128,
                           -128,
                           -129,
                           255,
                           256,
                           300.7,
                           32767,
                           32768,
                           65504,
                           65519.9,
                           65520,
                           65535,
                           65536,
                           2147483520,
                           2147483647,
                           2147483648.,
                           -2147483648.,
                           -2147483904.,
                           4294967040.,
                           4294967295.,
                           4294967296.,
                           9.2233720368547748e18,
                           9223372036854775808.,
                           -9.3e18,
                           1.8446744073709550e19,
                           18446744073709551616.,
                           1e30,
                           -1e30,
                           1e-45,
                           6e-8,
                           3.5e-46,
                           1e300,
                           INFINITY,
                           -INFINITY,
                           NAN,
                           -0.0,
                           0.1,
                           1.0009765625,
                           1.00390625,
                           1.01171875};
  for (double v : values) {
    if constexpr (std::is_same_v<T, complex64_t>) {
      x.push_back({static_cast<float>(v), 1.5f}), x.push_back({0.0f, static_cast<float>(v)});
    } else if constexpr (std::numeric_limits<T>::is_integer) {
      if (v >= static_cast<double>(std::numeric_limits<T>::min()) &&
          v <= static_cast<double>(std::numeric_limits<T>::max()) && std::abs(v) < 9e18)
        x.push_back(static_cast<T>(v));
    } else {
      x.push_back(static_cast<T>(v));
    }
  }
  if constexpr (std::numeric_limits<T>::is_integer && !std::is_same_v<T, bool>) {
    x.push_back(std::numeric_limits<T>::max()), x.push_back(std::numeric_limits<T>::min());
    Random random(2);
    for (int i = 0; i < 200; ++i) x.push_back(static_cast<T>(random.bits()));
  }
  return x;
}

template <class From, class To>
void check_cast(const char* isa, const Tiles& tiles) {
  const int from = index_of(mlx::core::Dtype(mlx::core::TypeToDtype<From>{}).val());
  const int to = index_of(mlx::core::Dtype(mlx::core::TypeToDtype<To>{}).val());
  // A vector<bool> has no data: bytes serve.
  const auto samples = cast_samples<From>();
  std::vector<unsigned char> in(samples.size() * sizeof(From)), out(samples.size() * sizeof(To));
  for (size_t i = 0; i < samples.size(); ++i) {
    const From x = samples[i];
    std::memcpy(&in[i * sizeof(From)], &x, sizeof(From));
  }
  tiles.cast[from][to](out.data(), in.data(), static_cast<int64_t>(samples.size()));
  for (size_t i = 0; i < samples.size(); ++i) {
    const To expected = cast_reference<To, From>(samples[i]);
    To got;
    std::memcpy(static_cast<void*>(&got), &out[i * sizeof(To)], sizeof(To));
    const auto real = [](To v) -> double {
      if constexpr (std::is_same_v<To, complex64_t>)
        return v.real();
      else
        return static_cast<double>(v);
    };
    const bool both_nan = real(got) != real(got) && real(expected) != real(expected);
    if (std::memcmp(static_cast<const void*>(&got), static_cast<const void*>(&expected), sizeof(To)) != 0 &&
        !both_nan)
      fail("%s cast %d to %d: sample %zu gives %.17g, expected %.17g", isa, from, to, i, real(got),
           real(expected));
  }
}

template <class... T>
struct Types {};
using All = Types<bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, float16_t,
                  float, bfloat16_t, complex64_t>;
template <class From, class... To>
void check_casts_from(const char* isa, const Tiles& tiles, Types<To...>) {
  (check_cast<From, To>(isa, tiles), ...);
}
template <class... From>
void check_casts(const char* isa, const Tiles& tiles, Types<From...> all) {
  (check_casts_from<From>(isa, tiles, all), ...);
}
// float64 apart: TypeToDtype<double> is float32.
void check_float64_casts(const char* isa, const Tiles& tiles) {
  constexpr int f64 = static_cast<int>(Dtype::Val::float64);
  const auto x = cast_samples<double>();
  const auto n = static_cast<int64_t>(x.size());
  auto check = [&]<class To>(To) {
    const int to = index_of(mlx::core::Dtype(mlx::core::TypeToDtype<To>{}).val());
    std::vector<To> y(x.size());
    tiles.cast[f64][to](y.data(), x.data(), n);
    for (size_t i = 0; i < x.size(); ++i) {
      const To expected = cast_reference<To>(x[i]);
      if (y[i] != expected && y[i] == y[i]) fail("%s cast of float64 %.17g to dtype %d", isa, x[i], to);
    }
    std::vector<double> back(x.size());
    tiles.cast[to][f64](back.data(), y.data(), n);
    for (size_t i = 0; i < x.size(); ++i)
      if (back[i] != static_cast<double>(y[i]) && y[i] == y[i])
        fail("%s cast of dtype %d to float64", isa, to);
  };
  check(uint8_t{}), check(uint16_t{}), check(uint32_t{}), check(uint64_t{}), check(int8_t{}),
      check(int16_t{}), check(int32_t{}), check(int64_t{}), check(float{});
}

}  // namespace

int main() {
  for (Isa isa : isas_here()) {
    const char* name = mlx::core::cpu::isa_name(isa);
    const Tiles& tiles = mlx::core::cpu::tiles_for(isa);
    check_integers<uint8_t>(name, tiles), check_integers<int8_t>(name, tiles);
    check_integers<uint16_t>(name, tiles), check_integers<int16_t>(name, tiles);
    check_integers<uint32_t>(name, tiles), check_integers<int32_t>(name, tiles);
    check_integers<uint64_t>(name, tiles), check_integers<int64_t>(name, tiles);
    check_real_questions<float>(name, tiles);
    check_bool(name, tiles);
    check_ternary(name, tiles);
    check_casts(name, tiles, All{});
    check_float64_casts(name, tiles);
  }
  return finish("tiles_semantics");
}
