// The Metal Shading Language as C++ for OpenCL, for checking only: nothing of this is ever executed. Address
// spaces are OpenCL's, so that a pointer of the wrong one is an error; functions are declared with the
// overloads that Metal has, so that calls are ambiguous here where they are ambiguous there. lint.py rewrites
// what the two languages write in different ways (attributes, function constants, threadgroup variables,
// conversions of vectors).
// clang-format off: macros in front of declarations, on which it does not settle
#pragma once
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION __cl_clang_bitfields : enable

// Names that the compiler knows without a namespace.
#define atomic_int lint_atomic_int
#define atomic_uint lint_atomic_uint
#define atomic_long lint_atomic_long
#define atomic_ulong lint_atomic_ulong
#define atomic_float lint_atomic_float

#define device __global
#define threadgroup __local
#define constant __constant
#define thread __private
#define METAL_FUNC inline
#define METAL_CONST
#define __METAL__ 1
#define __METAL_VERSION__ 310
#define __HAVE_BFLOAT__ 1

#define FLT_MAX 0x1.fffffep127f
#define FLT_MIN 0x1.0p-126f
#define FLT_EPSILON 0x1.0p-23f
#define HALF_MAX 0x1.ffcp15h
#define HALF_MIN 0x1.0p-14h
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define CHAR_BIT 8
#define INT_MAX 2147483647
#define INT_MIN (-2147483647 - 1)
#define UINT_MAX 0xffffffffu
#define LONG_MAX 0x7fffffffffffffffl
#define LONG_MIN (-0x7fffffffffffffffl - 1)
#define ULONG_MAX 0xfffffffffffffffful
#define M_E_F 2.71828182845904523536f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.693147180559945309417f
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_SQRT2_F 1.41421356237309504880f

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
typedef ulong size_t;
typedef long ptrdiff_t;
typedef _Float16 bfloat;  // a floating type of its own beside half

#define LINT_VECTOR(T)                                \
  typedef T T##2 __attribute__((ext_vector_type(2))); \
  typedef T T##3 __attribute__((ext_vector_type(3))); \
  typedef T T##4 __attribute__((ext_vector_type(4)));
#define LINT_FLOATS(F) F(float) F(half) F(bfloat)
#define LINT_FLOAT_VECTORS(F) \
  F(float2) F(float3) F(float4) F(half2) F(half3) F(half4) F(bfloat2) F(bfloat3) F(bfloat4)
#define LINT_INTS(F) F(char) F(uchar) F(short) F(ushort) F(int) F(uint) F(long) F(ulong)
#define LINT_INT_VECTORS(F)                                                                             \
  F(char2)                                                                                              \
  F(char3)                                                                                              \
  F(char4) F(uchar2) F(uchar3) F(uchar4) F(short2) F(short3) F(short4) F(ushort2) F(ushort3) F(ushort4) \
      F(int2) F(int3) F(int4) F(uint2) F(uint3) F(uint4) F(long2) F(long3) F(long4) F(ulong2) F(ulong3) \
          F(ulong4)
LINT_FLOATS(LINT_VECTOR)
LINT_INTS(LINT_VECTOR)

namespace metal {

template <class T, int n>
using vec = T __attribute__((ext_vector_type(n)));

// --- conversions of vectors, by lint.py: the elements' count stays ---

template <class To>
struct lint_vector {
  template <class From>
  static To of(From x) {
    return __builtin_convertvector(x, To);
  }
  static To of(To x) { return x; }
};
template <class To, class From>
To lint_convert(From x) {
  return lint_vector<To>::of(x);
}
template <class T>
struct lint_scalar {
  static constant constexpr bool value = false;
};
#define LINT_SCALAR(T)                           \
  template <>                                    \
  struct lint_scalar<T> {                        \
    static constant constexpr bool value = true; \
  };
LINT_FLOATS(LINT_SCALAR)
LINT_INTS(LINT_SCALAR)
LINT_SCALAR(bool)
// float4(x), float4(half4), float4(a, b, c, d) with vectors among them.
template <class V, class A>
V lint_make(A a) {
  if constexpr (lint_scalar<A>::value)
    return (V)(a);
  else
    return lint_vector<V>::of(a);
}
template <class V, class A, class B>
V lint_make(A a, B b) {
  V all = {a, b};
  return all;
}
template <class V, class A, class B, class C>
V lint_make(A a, B b, C c) {
  V all = {a, b, c};
  return all;
}
template <class V, class A, class B, class C, class D>
V lint_make(A a, B b, C c, D d) {
  V all = {a, b, c, d};
  return all;
}

threadgroup void* lint_memory();
template <class To, class From>
To as_type(From x) {
  static_assert(sizeof(To) == sizeof(From), "as_type between types of different sizes");
  return To();
}

template <class T>
struct numeric_limits {
  static T lowest();
  static T max();
  static T min();
  static T infinity();
  static T quiet_NaN();
  static T epsilon();
};

// --- functions of floats, with all overloads ---

#define LINT_1(name, T) T name(T);
#define LINT_2(name, T) T name(T, T);
#define LINT_3(name, T) T name(T, T, T);
#define LINT_MATH(T)                                                                                        \
  LINT_1(acos, T)                                                                                           \
  LINT_1(acosh, T)                                                                                          \
  LINT_1(asin, T) LINT_1(asinh, T) LINT_1(atan, T) LINT_1(atanh, T) LINT_1(ceil, T) LINT_1(cos, T)          \
      LINT_1(cosh, T) LINT_1(cospi, T) LINT_1(exp, T) LINT_1(exp10, T) LINT_1(exp2, T) LINT_1(fabs, T)      \
          LINT_1(abs, T) LINT_1(floor, T) LINT_1(fract, T) LINT_1(log, T) LINT_1(log10, T) LINT_1(log2, T)  \
              LINT_1(rint, T) LINT_1(round, T) LINT_1(rsqrt, T) LINT_1(sin, T) LINT_1(sinh, T)              \
                  LINT_1(sinpi, T) LINT_1(sqrt, T) LINT_1(tan, T) LINT_1(tanh, T) LINT_1(tanpi, T)          \
                      LINT_1(trunc, T) LINT_1(saturate, T) LINT_1(sign, T) LINT_2(atan2, T)                 \
                          LINT_2(copysign, T) LINT_2(divide, T) LINT_2(fdim, T) LINT_2(fmax, T)             \
                              LINT_2(fmin, T) LINT_2(fmod, T) LINT_2(max, T) LINT_2(min, T)                 \
                                  LINT_2(nextafter, T) LINT_2(pow, T) LINT_2(powr, T) LINT_2(step, T)       \
                                      LINT_3(clamp, T) LINT_3(fma, T) LINT_3(mix, T) LINT_3(smoothstep, T)  \
                                          LINT_3(fmax3, T) LINT_3(fmin3, T) LINT_3(max3, T) LINT_3(min3, T) \
                                              LINT_3(median3, T) T                                          \
                                              modf(T, thread T&);                                           \
  T sincos(T, thread T&);
#define LINT_TESTS(T)      \
  bool isnan(T);           \
  bool isinf(T);           \
  bool isfinite(T);        \
  bool isnormal(T);        \
  bool signbit(T);         \
  T ldexp(T, int);         \
  T frexp(T, thread int&); \
  int ilogb(T);
#define LINT_DOT(V)          \
  decltype(V().x) dot(V, V); \
  decltype(V().x) length(V); \
  V normalize(V);

LINT_FLOATS(LINT_MATH)
LINT_FLOAT_VECTORS(LINT_MATH)
LINT_FLOATS(LINT_TESTS)
LINT_FLOAT_VECTORS(LINT_DOT)

namespace fast {
LINT_MATH(float)
}
namespace precise {
LINT_MATH(float)
}

// --- functions of integers ---

#define LINT_INTEGER(T)                                                                       \
  LINT_1(clz, T)                                                                              \
  LINT_1(ctz, T)                                                                              \
  LINT_1(popcount, T) LINT_1(reverse_bits, T) LINT_2(max, T) LINT_2(min, T) LINT_2(mulhi, T)  \
      LINT_2(addsat, T) LINT_2(subsat, T) LINT_2(hadd, T) LINT_2(rhadd, T) LINT_2(rotate, T)  \
          LINT_3(clamp, T) LINT_3(madhi, T) LINT_3(madsat, T) LINT_3(max3, T) LINT_3(min3, T) \
              LINT_3(median3, T) LINT_1(abs, T) T extract_bits(T, uint, uint);                \
  T insert_bits(T, T, uint, uint);
LINT_INTS(LINT_INTEGER)
LINT_INT_VECTORS(LINT_INTEGER)
LINT_3(mad24, int)
LINT_3(mad24, uint)
LINT_2(mul24, int) LINT_2(mul24, uint)

    template <class T>
    T select(T, T, bool);
bool any(bool);
bool all(bool);

// --- threads together ---

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);

// What SIMD functions exchange: no 64-bit integers, no structs, and no bool.
template <class T>
struct lint_lane;
#define LINT_LANE(T)    \
  template <>           \
  struct lint_lane<T> { \
    typedef T type;     \
  };
#define LINT_LANES(T) LINT_LANE(T) LINT_LANE(T##2) LINT_LANE(T##3) LINT_LANE(T##4)
LINT_LANES(char)
LINT_LANES(uchar)
LINT_LANES(short) LINT_LANES(ushort) LINT_LANES(int) LINT_LANES(uint) LINT_LANES(float) LINT_LANES(half)
    LINT_LANES(bfloat)

#define LINT_SIMD_1(name) \
  template <class T>      \
  typename lint_lane<T>::type name(T);
#define LINT_SIMD_2(name) \
  template <class T>      \
  typename lint_lane<T>::type name(T, ushort);
        LINT_SIMD_1(simd_sum) LINT_SIMD_1(simd_product) LINT_SIMD_1(simd_min) LINT_SIMD_1(simd_max)
            LINT_SIMD_1(simd_and) LINT_SIMD_1(simd_or) LINT_SIMD_1(simd_xor) LINT_SIMD_1(simd_broadcast_first)
                LINT_SIMD_1(simd_prefix_inclusive_sum) LINT_SIMD_1(simd_prefix_exclusive_sum)
                    LINT_SIMD_1(simd_prefix_inclusive_product) LINT_SIMD_1(simd_prefix_exclusive_product)
                        LINT_SIMD_1(quad_sum) LINT_SIMD_1(quad_min) LINT_SIMD_1(quad_max)
                            LINT_SIMD_2(simd_shuffle) LINT_SIMD_2(simd_shuffle_xor)
                                LINT_SIMD_2(simd_shuffle_up) LINT_SIMD_2(simd_shuffle_down)
                                    LINT_SIMD_2(simd_shuffle_rotate_up) LINT_SIMD_2(simd_shuffle_rotate_down)
                                        LINT_SIMD_2(simd_broadcast) LINT_SIMD_2(quad_shuffle)
                                            LINT_SIMD_2(quad_shuffle_xor)
                                                LINT_SIMD_2(quad_broadcast) template <class T>
                                                typename lint_lane<T>::type
    simd_shuffle_and_fill_up(T, T, ushort, ushort = 32);
template <class T>
typename lint_lane<T>::type simd_shuffle_and_fill_down(T, T, ushort, ushort = 32);
bool simd_is_first();
bool simd_any(bool);
bool simd_all(bool);
class simd_vote {
 public:
  typedef ulong vote_t;
  simd_vote(vote_t = 0);
  explicit operator vote_t() const;
  bool all() const;
  bool any() const;
};
simd_vote simd_ballot(bool);
simd_vote simd_active_threads_mask();

// --- matrices of a SIMD-group ---

template <class T, int columns, int rows>
struct simdgroup_matrix {
  static_assert(columns == 8 && rows == 8, "matrices of a SIMD-group are 8 by 8");
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T);
  thread vec<T, 2>& thread_elements();
  vec<T, 2> thread_elements() const;
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
template <class T, int columns, int rows>
simdgroup_matrix<T, columns, rows> make_filled_simdgroup_matrix(T);
#define LINT_MATRIX(space)                                                                                \
  template <class T>                                                                                      \
  void simdgroup_load(thread simdgroup_matrix<T, 8, 8>&, const space T*, ulong = 8, ulong2 = (ulong2)(0), \
                      bool = false);                                                                      \
  template <class T>                                                                                      \
  void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T*, ulong = 8, ulong2 = (ulong2)(0), bool = false);
LINT_MATRIX(device)
LINT_MATRIX(threadgroup)
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>,
                                   simdgroup_matrix<B, 8, 8>, simdgroup_matrix<C, 8, 8>);
template <class D, class A, class B>
void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>,
                        simdgroup_matrix<B, 8, 8>);

// --- atomics: objects are only reached through these ---

enum memory_order { memory_order_relaxed };
template <class T>
struct atomic {
  T lint_value;
};
template <class T>
using _atomic = atomic<T>;
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;
typedef atomic<ulong> atomic_ulong;
template <class T>
struct lint_plain {
  typedef T type;
};
#define LINT_MODIFY(name, space) \
  template <class T>             \
  T name(volatile space atomic<T>*, typename lint_plain<T>::type, memory_order);
#define LINT_ATOMIC(space)                                                                              \
  template <class T>                                                                                    \
  void atomic_store_explicit(volatile space atomic<T>*, typename lint_plain<T>::type, memory_order);    \
  template <class T>                                                                                    \
  T atomic_load_explicit(const volatile space atomic<T>*, memory_order);                                \
  template <class T>                                                                                    \
  bool atomic_compare_exchange_weak_explicit(volatile space atomic<T>*, thread T*,                      \
                                             typename lint_plain<T>::type, memory_order, memory_order); \
  LINT_MODIFY(atomic_exchange_explicit, space)                                                          \
  LINT_MODIFY(atomic_fetch_add_explicit, space)                                                         \
  LINT_MODIFY(atomic_fetch_sub_explicit, space) LINT_MODIFY(atomic_fetch_and_explicit, space)           \
      LINT_MODIFY(atomic_fetch_or_explicit, space) LINT_MODIFY(atomic_fetch_xor_explicit, space)        \
          LINT_MODIFY(atomic_fetch_min_explicit, space) LINT_MODIFY(atomic_fetch_max_explicit, space)   \
              LINT_MODIFY(atomic_min_explicit, space) LINT_MODIFY(atomic_max_explicit, space)
LINT_ATOMIC(device)
LINT_ATOMIC(threadgroup)

// --- type traits ---

template <class T, T v>
struct integral_constant {
  static constant constexpr T value = v;
  typedef T value_type;
};
typedef integral_constant<bool, true> true_type;
typedef integral_constant<bool, false> false_type;
template <bool b>
using bool_constant = integral_constant<bool, b>;
template <bool b, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool b, class T = void>
using enable_if_t = typename enable_if<b, T>::type;
template <bool b, class T, class F>
struct conditional {
  typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
  typedef F type;
};
template <bool b, class T, class F>
using conditional_t = typename conditional<b, T, F>::type;
template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <class A, class B>
constant constexpr bool is_same_v = is_same<A, B>::value;

template <class T, int n>
struct array {
  T lint_elements[n];
  thread T& operator[](size_t);
};

}  // namespace metal
