// The GEMM against references: element by element in double for small shapes, and C t = A (B t) for a random
// vector t where a reference product would take too long. Every instruction set of the machine, every type,
// transposed, strided and broadcast operands, batches, tails of up to two vectors. Prints a digest of all
// results' bits, which must not depend on MLX_NUM_THREADS (same_digest.cmake compares).
#include "mlx/cpu/gemm/gemm.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace mlx::core;
using cpu::GemmCall;
using cpu::Isa;
using Complex = std::complex<double>;

// Under ThreadSanitizer everything takes thirty times as long. Threads share work in the same way whatever
// the type and the layout, so one of each will do there.
#ifdef __SANITIZE_THREAD__
constexpr bool kBrief = true;
#else
constexpr bool kBrief = false;
#endif

int failures = 0;
int checks = 0;
uint64_t digest = 1469598103934665603ull;
std::mt19937 rng(7);

template <class T>
Complex wide(T x) {
  if constexpr (std::is_same_v<T, complex64_t>) {
    return {x.real(), x.imag()};
  } else {
    return static_cast<double>(x);
  }
}
template <class T>
T sample() {
  std::uniform_real_distribution<float> u(-1, 1);
  if constexpr (std::is_same_v<T, complex64_t>) {
    const float re = u(rng);
    return {re, u(rng)};
  } else {
    return static_cast<T>(u(rng));
  }
}
// Rounding unit of the result and of the sums.
template <class T>
double unit() {
  if constexpr (std::is_same_v<T, double>) return 0x1p-53;
  if constexpr (std::is_same_v<T, float16_t>) return 0x1p-11;
  if constexpr (std::is_same_v<T, bfloat16_t>) return 0x1p-8;
  return 0x1p-24;
}
// Half the spacing of subnormal results.
template <class T>
double smallest() {
  return std::is_same_v<T, float16_t> ? 0x1p-25 : 1e-37;
}
template <class T>
double sum_unit() {
  return std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
}

// A strided matrix inside a larger buffer filled with nan, so that reads of foreign elements show.
template <class T>
struct Matrix {
  enum Kind {
    rows_contiguous,
    columns_contiguous,
    padded,
    strided,
    reversed,
    broadcast_rows,
    broadcast_columns,
    one
  };
  Matrix(int64_t rows, int64_t cols, int64_t batch, Kind kind, bool shared) : batch(shared ? 0 : 1) {
    switch (kind) {
      case rows_contiguous:
        row = cols, col = 1;
        break;
      case columns_contiguous:
        row = 1, col = rows;
        break;
      case padded:
        row = cols + 3, col = 1;
        break;
      case strided:
        row = 2 * cols * 3, col = 3;
        break;
      case reversed:
        row = -cols, col = 1;
        break;
      case broadcast_rows:
        row = 0, col = 1;
        break;
      case broadcast_columns:
        row = 1, col = 0;
        break;
      case one:
        row = 0, col = 0;
        break;
    }
    const int64_t low = std::min<int64_t>(0, (rows - 1) * row);
    const int64_t span =
        std::abs(row) * std::max<int64_t>(0, rows - 1) + col * std::max<int64_t>(0, cols - 1) + 1;
    this->batch *= span + 1;
    start = -low;
    data.resize(static_cast<size_t>(span + this->batch * (batch - 1) + 2),
                T(std::numeric_limits<float>::quiet_NaN()));
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j) at(b, i, j) = sample<T>();
  }
  T& at(int64_t b, int64_t i, int64_t j) {
    return data[static_cast<size_t>(start + b * batch + i * row + j * col)];
  }
  const T* pointer() const { return data.data() + start; }
  std::vector<T> data;
  int64_t row, col, batch, start;
};

struct Case {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  int a = 0, b = 0, d = -1;  // kinds; d < 0: none
  bool share_a = false, share_b = false;
  double alpha = 1, beta = 0;
  bool in_place_d = false;
  bool vector_check = false;
};

template <class T>
void check(Isa isa, const Case& c) {
  using M = Matrix<T>;
  M a(c.m, c.k, c.batch, static_cast<typename M::Kind>(c.a), c.share_a);
  M b(c.k, c.n, c.batch, static_cast<typename M::Kind>(c.b), c.share_b);
  M d(c.m, c.n, c.batch, c.d < 0 ? M::one : static_cast<typename M::Kind>(c.d), false);
  const int64_t ldc = c.n + 2;
  const T guard = static_cast<T>(77.0f);
  std::vector<T> out(static_cast<size_t>(c.batch * c.m * ldc), guard);
  GemmCall g;
  g.dtype = TypeToDtype<T>();
  if (std::is_same_v<T, double>) g.dtype = float64;
  g.m = c.m, g.n = c.n, g.k = c.k, g.batch = c.batch;
  g.a = a.pointer(), g.a_row = a.row, g.a_col = a.col, g.a_batch = a.batch;
  g.b = b.pointer(), g.b_row = b.row, g.b_col = b.col, g.b_batch = b.batch;
  g.c = out.data(), g.ldc = ldc, g.c_batch = c.m * ldc;
  g.alpha = c.alpha, g.beta = c.beta;
  if (c.in_place_d) {
    for (int64_t x = 0; x < c.batch; ++x)
      for (int64_t i = 0; i < c.m; ++i)
        for (int64_t j = 0; j < c.n; ++j) out[static_cast<size_t>((x * c.m + i) * ldc + j)] = d.at(x, i, j);
    g.d = out.data(), g.d_row = ldc, g.d_col = 1, g.d_batch = c.m * ldc;
  } else if (c.d >= 0) {
    g.d = d.pointer(), g.d_row = d.row, g.d_col = d.col, g.d_batch = d.batch;
  }
  cpu::gemm_for(isa, g);
  ++checks;
  for (const T& x : out) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, static_cast<const void*>(&x), sizeof(T));
    for (unsigned char y : bytes) digest = (digest ^ y) * 1099511628211ull;
  }
  const bool has_d = c.beta != 0 && c.d >= 0;
  double worst = 0;
  const auto result = [&](int64_t x, int64_t i, int64_t j) {
    return wide(out[static_cast<size_t>((x * c.m + i) * ldc + j)]);
  };
  for (int64_t x = 0; x < c.batch; ++x) {
    if (c.vector_check) {
      std::vector<Complex> t(static_cast<size_t>(c.n)), bt(static_cast<size_t>(c.k));
      std::vector<double> babs(static_cast<size_t>(c.k));
      for (auto& v : t) v = wide(sample<float>());
      for (int64_t p = 0; p < c.k; ++p)
        for (int64_t j = 0; j < c.n; ++j) {
          const Complex v = wide(b.at(x, p, j)) * t[static_cast<size_t>(j)];
          bt[static_cast<size_t>(p)] += v;
          babs[static_cast<size_t>(p)] += std::norm(v);
        }
      for (int64_t i = 0; i < c.m; ++i) {
        Complex want = 0, got = 0;
        double squares = 0, size = 0;
        for (int64_t p = 0; p < c.k; ++p) {
          want += c.alpha * wide(a.at(x, i, p)) * bt[static_cast<size_t>(p)];
          squares += std::norm(c.alpha * wide(a.at(x, i, p))) * babs[static_cast<size_t>(p)];
        }
        for (int64_t j = 0; j < c.n; ++j) {
          if (has_d) want += c.beta * wide(d.at(x, i, j)) * t[static_cast<size_t>(j)];
          got += result(x, i, j) * t[static_cast<size_t>(j)];
          size += std::norm(result(x, i, j));
        }
        // Independent errors add like a random walk; 10 of its deviations.
        const double bound = 10 * (unit<T>() * std::sqrt(size) +
                                   sum_unit<T>() * std::sqrt(squares * static_cast<double>(c.k)));
        worst = std::max(worst, std::abs(got - want) / (bound + 1e-300));
      }
      continue;
    }
    for (int64_t i = 0; i < c.m; ++i)
      for (int64_t j = 0; j < c.n; ++j) {
        Complex want = 0;
        double size = 0;
        for (int64_t p = 0; p < c.k; ++p) {
          const Complex v = wide(a.at(x, i, p)) * wide(b.at(x, p, j));
          want += v;
          size += std::abs(v);
        }
        want *= c.alpha;
        size *= std::abs(c.alpha);
        if (has_d) want += c.beta * wide(d.at(x, i, j)), size += std::abs(c.beta * wide(d.at(x, i, j)));
        const double bound = 2 * unit<T>() * std::abs(want) +
                             (static_cast<double>(c.k) + 4) * sum_unit<T>() * size + smallest<T>();
        const double error = std::abs(result(x, i, j) - want);
        worst = std::max(worst, std::isnan(error) ? 1e30 : error / bound);
      }
  }
  bool foreign = false;
  for (int64_t r = 0; r < c.batch * c.m; ++r)
    for (int64_t j = c.n; j < ldc; ++j)
      foreign |= std::memcmp(static_cast<const void*>(&out[static_cast<size_t>(r * ldc + j)]),
                             static_cast<const void*>(&guard), sizeof(T)) != 0;
  if (!(worst <= 1) || foreign) {
    if (++failures <= 30)
      std::printf(
          "FAILED %s %s batch %ld m %ld n %ld k %ld a %d b %d d %d shared %d%d alpha %g beta %g in place %d: "
          "%.3g of the bound%s\n",
          cpu::isa_name(isa), dtype_name(g.dtype), static_cast<long>(c.batch), static_cast<long>(c.m),
          static_cast<long>(c.n), static_cast<long>(c.k), c.a, c.b, c.d, c.share_a, c.share_b, c.alpha,
          c.beta, c.in_place_d, worst, foreign ? ", wrote outside C" : "");
  }
}

template <class T>
void all_cases(Isa isa) {
  // Tails: 0 to 2 vectors and around the tile's rows.
  for (int64_t m : {1, 2, 5, 8, 9, 11, 12, 13, 25})
    for (int64_t n : {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64, 65}) {
      Case c;
      c.m = m, c.n = n, c.k = 1 + (m * 7 + n) % 37;
      c.a = static_cast<int>((m + n) % 5), c.b = static_cast<int>((m + 2 * n) % 5);
      check<T>(isa, c);
    }
  // Every layout against every layout, in each path (skinny left, skinny right, blocked).
  for (int a = 0; a < 8; ++a)
    for (int b = 0; b < 8; ++b)
      for (auto [m, n] : {std::pair<int64_t, int64_t>{3, 37}, {37, 3}, {30, 41}}) {
        Case c;
        c.m = m, c.n = n, c.k = 19, c.a = a, c.b = b;
        check<T>(isa, c);
      }
  // k in several blocks, and empty.
  for (int64_t k : {0, 1, 2, 383, 384, 385, 769, 1537})
    for (int64_t m : {2, 17})
      for (int64_t n : {6, 19}) {
        Case c;
        c.m = m, c.n = n, c.k = k, c.a = k % 2, c.b = m % 2;
        check<T>(isa, c);
        c.d = Matrix<T>::rows_contiguous, c.alpha = 0.5, c.beta = -1.5;
        check<T>(isa, c);
        c.in_place_d = true;
        check<T>(isa, c);
      }
  // D of every layout, alpha, beta.
  for (int d = 0; d < 8; ++d)
    for (int64_t m : {4, 21})
      for (int64_t batch : {1, 3}) {
        Case c;
        c.batch = batch, c.m = m, c.n = 35, c.k = 10, c.d = d, c.alpha = 2, c.beta = 0.25;
        check<T>(isa, c);
        c.beta = 0;
        check<T>(isa, c);
      }
  // Batches: own, shared (folded where B is), broadcast both.
  for (int64_t batch : {2, 7, 40})
    for (int shared = 0; shared < 4; ++shared)
      for (int64_t m : {1, 10, 33}) {
        Case c;
        c.batch = batch, c.m = m, c.n = 20, c.k = 9, c.share_a = shared & 1, c.share_b = shared & 2;
        c.a = Matrix<T>::rows_contiguous, c.b = batch % 2;
        check<T>(isa, c);
      }
}

template <class T>
void large_cases(Isa isa) {
  struct Shape {
    int64_t batch, m, n, k;
  };
  for (const Shape& s : {Shape{1, 257, 263, 521},
                         {1, 64, 64, 20000},
                         {1, 1500, 37, 40},
                         {1, 31, 2100, 300},
                         {1, 30'011, 8, 7},
                         {1, 20'003, 33, 61},
                         {300, 5, 31, 3},
                         {1, 3, 3000, 700},
                         {1, 2999, 2, 701},
                         {1, 5, 9, 60000},
                         {5, 130, 70, 90},
                         {1, 600, 700, 800}})
    for (int kinds = kBrief ? 3 : 0; kinds < 4; ++kinds) {
      Case c;
      c.batch = s.batch, c.m = s.m, c.n = s.n, c.k = s.k, c.a = kinds & 1, c.b = kinds >> 1;
      c.vector_check = true;
      if (kinds == 3) c.d = 0, c.beta = 0.5, c.alpha = -1;
      check<T>(isa, c);
    }
}

// A nan or inf reaches exactly the rows and columns it belongs to.
void check_non_finite(Isa isa) {
  for (int64_t m : {3, 40}) {
    const int64_t n = 50, k = 30;
    std::vector<float> a(static_cast<size_t>(m * k), 1), b(static_cast<size_t>(k * n), 1),
        c(static_cast<size_t>(m * n));
    a[static_cast<size_t>(2 * k + 5)] = std::numeric_limits<float>::quiet_NaN();
    b[static_cast<size_t>(7 * n + 4)] = std::numeric_limits<float>::infinity();
    GemmCall g;
    g.m = m, g.n = n, g.k = k, g.a = a.data(), g.a_row = k, g.a_col = 1, g.b = b.data(), g.b_row = n,
    g.b_col = 1;
    g.c = c.data(), g.ldc = n;
    cpu::gemm_for(isa, g);
    ++checks;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const float x = c[static_cast<size_t>(i * n + j)];
        const bool right = i == 2 ? std::isnan(x) : j == 4 ? std::isinf(x) : x == 30.0f;
        if (!right && ++failures <= 30)
          std::printf("FAILED non-finite %s m %ld at %ld, %ld: %g\n", cpu::isa_name(isa),
                      static_cast<long>(m), static_cast<long>(i), static_cast<long>(j), x);
      }
  }
}

// The epilogue sees every element of every product exactly once, finished.
void check_epilogue(Isa isa) {
  struct Context {
    const float* bias;
  };
  for (int64_t m : {2, 50, 300}) {
    const int64_t n = 130, k = 20, batch = 3;
    std::vector<float> a(static_cast<size_t>(batch * m * k), 1), b(static_cast<size_t>(k * n), 1),
        bias(static_cast<size_t>(n)), c(static_cast<size_t>(batch * m * n));
    for (int64_t j = 0; j < n; ++j) bias[static_cast<size_t>(j)] = static_cast<float>(j);
    Context context{bias.data()};
    GemmCall g;
    g.m = m, g.n = n, g.k = k, g.a = a.data(), g.a_row = k, g.a_col = 1, g.b = b.data(), g.b_row = n,
    g.b_col = 1;
    g.c = c.data(), g.ldc = n, g.batch = batch, g.a_batch = m * k, g.c_batch = m * n;
    g.epilogue.context = &context;
    g.epilogue.run = [](void* ctx, void* tile, int64_t ldc, int64_t x, int64_t, int64_t rows, int64_t col,
                        int64_t cols) {
      const float* bias = static_cast<Context*>(ctx)->bias;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
          static_cast<float*>(tile)[i * ldc + j] += bias[col + j] + 1000.0f * static_cast<float>(x);
    };
    cpu::gemm_for(isa, g);
    ++checks;
    for (size_t i = 0; i < c.size(); ++i) {
      const int64_t j = static_cast<int64_t>(i) % n, x = static_cast<int64_t>(i) / (m * n);
      if (c[i] != 20.0f + static_cast<float>(j) + 1000.0f * static_cast<float>(x) && ++failures <= 30)
        std::printf("FAILED epilogue %s m %ld at %zu: %g\n", cpu::isa_name(isa), static_cast<long>(m), i,
                    c[i]);
    }
  }
}

// A matrix times its own transpose, of which half is computed: symmetric to the bit, and within rounding what
// the product of the matrix and a copy is.
template <class T>
void check_symmetric(Isa isa) {
  for (const int64_t n : {191, 200, 401})
    for (const int64_t k : {40, 500})
      for (const bool columns : {false, true}) {
        const int64_t ldc = n + 3;
        std::vector<T> a(static_cast<size_t>(n * k)), c(static_cast<size_t>(n * ldc), T(77.0f)), want = c;
        for (auto& x : a) x = sample<T>();
        const auto copy = a;
        GemmCall g;
        g.dtype = std::is_same_v<T, double> ? float64 : Dtype(TypeToDtype<T>());
        g.m = g.n = n, g.k = k, g.a = g.b = a.data(), g.c = c.data(), g.ldc = ldc;
        g.a_row = g.b_col = columns ? 1 : k, g.a_col = g.b_row = columns ? n : 1;
        cpu::gemm_for(isa, g);
        g.b = copy.data(), g.c = want.data();
        cpu::gemm_for(isa, g);
        ++checks;
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j < ldc; ++j) {
            const auto at = [&](const std::vector<T>& m, int64_t row, int64_t column) {
              return static_cast<double>(m[static_cast<size_t>(row * ldc + column)]);
            };
            const double error = std::abs(at(c, i, j) - at(want, i, j));
            const double bound =
                2 * unit<T>() * std::abs(at(want, i, j)) + sum_unit<T>() * static_cast<double>(k);
            const bool mirrored = j >= n || at(c, i, j) == at(c, j, i);
            if (!(error <= bound && mirrored) && ++failures <= 30)
              std::printf("FAILED symmetric %s %s n %ld k %ld at %ld, %ld: off by %g\n", cpu::isa_name(isa),
                          dtype_name(g.dtype), static_cast<long>(n), static_cast<long>(k),
                          static_cast<long>(i), static_cast<long>(j), error);
          }
      }
}

// Batches given by offset arrays: product i reads the operands that the arrays name.
void check_offsets(Isa isa) {
  const int64_t m = 9, n = 20, k = 5;
  std::vector<float> a(static_cast<size_t>(3 * m * k)), b(static_cast<size_t>(2 * k * n)),
      c(static_cast<size_t>(4 * m * n));
  for (auto& x : a) x = sample<float>();
  for (auto& x : b) x = sample<float>();
  const int64_t ao[] = {2 * m * k, 0, m * k, m * k}, bo[] = {0, k * n, 0, k * n},
                co[] = {0, m * n, 2 * m * n, 3 * m * n};
  GemmCall g;
  g.m = m, g.n = n, g.k = k, g.a = a.data(), g.a_row = k, g.a_col = 1, g.b = b.data(), g.b_row = n,
  g.b_col = 1;
  g.c = c.data(), g.ldc = n, g.batch = 4, g.a_offsets = ao, g.b_offsets = bo, g.c_offsets = co;
  cpu::gemm_for(isa, g);
  ++checks;
  for (int64_t x = 0; x < 4; ++x)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double want = 0;
        for (int64_t p = 0; p < k; ++p)
          want += static_cast<double>(a[static_cast<size_t>(ao[x] + i * k + p)]) *
                  b[static_cast<size_t>(bo[x] + p * n + j)];
        if (std::abs(c[static_cast<size_t>((x * m + i) * n + j)] - want) > 1e-5 && ++failures <= 30)
          std::printf("FAILED offsets %s\n", cpu::isa_name(isa));
      }
}

}  // namespace

int main() {
  for (const Isa isa : {Isa::generic, Isa::v2, Isa::v3, Isa::v4, Isa::v4bf16, Isa::v4amx}) {
    if (!cpu::isa_supported(isa)) continue;
    const int before = checks;
    all_cases<float>(isa);
    large_cases<float>(isa);
    large_cases<bfloat16_t>(isa);
    if (!kBrief) {
      all_cases<double>(isa);
      all_cases<float16_t>(isa);
      all_cases<bfloat16_t>(isa);
      all_cases<complex64_t>(isa);
      large_cases<double>(isa);
      large_cases<float16_t>(isa);
      large_cases<complex64_t>(isa);
    }
    check_symmetric<float>(isa);
    check_symmetric<double>(isa);
    check_symmetric<bfloat16_t>(isa);
    check_non_finite(isa);
    check_epilogue(isa);
    check_offsets(isa);
    std::printf("%s: %d checks\n", cpu::isa_name(isa), checks - before);
  }
  bool refused = false;
  try {
    GemmCall g;
    g.dtype = int32;
    cpu::gemm(g);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  if (!refused) ++failures, std::printf("FAILED int32 was accepted\n");
  std::printf("digest %016llx\n%s\n", static_cast<unsigned long long>(digest), failures ? "FAILED" : "ok");
  return failures ? 1 : 0;
}
