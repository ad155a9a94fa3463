#include "mlx/cpu/accelerate.h"

#include <dlfcn.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <optional>
#include <string>

namespace mlx::core::cpu {
namespace {

#ifdef __APPLE__
constexpr const char* kSystemBlas = "/System/Library/Frameworks/Accelerate.framework/Accelerate";
#else
constexpr const char* kSystemBlas = nullptr;
#endif

constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;  // of CBLAS
constexpr double kSmallest = 32.0 * 32 * 32;                     // multiplications: below, a call costs more

template <class T>
using Gemm = void (*)(int, int, int, int, int, int, T, const T*, int, const T*, int, T, T*, int);

struct Blas {
  Gemm<float> sgemm = nullptr;
  Gemm<double> dgemm = nullptr;
};

Blas open_blas() {
  const char* file = std::getenv("MLX_ACCELERATE");
  if (!file || !*file) file = kSystemBlas;
  if (!file || std::string(file) == "0") return {};
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) return {};
  return {reinterpret_cast<Gemm<float>>(dlsym(library, "cblas_sgemm")),
          reinterpret_cast<Gemm<double>>(dlsym(library, "cblas_dgemm"))};
}
const Blas& blas() {
  static const Blas opened = open_blas();
  return opened;
}

// How CBLAS is told of a matrix with these strides; nothing where neither rows nor columns are contiguous.
struct Operand {
  int transposed;
  int leading;
};
std::optional<Operand> operand(int64_t rows, int64_t cols, int64_t row, int64_t col) {
  if (col == 1 && row >= cols && row <= INT_MAX) return Operand{kPlain, static_cast<int>(row)};
  if (row == 1 && col >= rows && col <= INT_MAX) return Operand{kTransposed, static_cast<int>(col)};
  return std::nullopt;
}

template <class T>
void run(Gemm<T> gemm, const GemmCall& g, Operand a, Operand b) {
  for (int64_t i = 0; i < g.batch; ++i) {
    const auto at = [&](const int64_t* offsets, int64_t stride) { return offsets ? offsets[i] : i * stride; };
    gemm(kRowMajor, a.transposed, b.transposed, static_cast<int>(g.m), static_cast<int>(g.n),
         static_cast<int>(g.k), static_cast<T>(g.alpha),
         static_cast<const T*>(g.a) + at(g.a_offsets, g.a_batch), a.leading,
         static_cast<const T*>(g.b) + at(g.b_offsets, g.b_batch), b.leading, T{0},
         static_cast<T*>(g.c) + at(g.c_offsets, g.c_batch), static_cast<int>(g.ldc));
  }
}

}  // namespace

bool accelerate_gemm(const GemmCall& g) {
  const bool f32 = g.dtype == float32;
  if (!f32 && g.dtype != float64) return false;
  if (f32 ? !blas().sgemm : !blas().dgemm) return false;
  if (g.beta != 0 || g.epilogue.run || g.k == 0) return false;
  if (static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) < kSmallest)
    return false;
  if (std::max({g.m, g.n, g.k, g.ldc}) > INT_MAX) return false;
  const auto a = operand(g.m, g.k, g.a_row, g.a_col), b = operand(g.k, g.n, g.b_row, g.b_col);
  if (!a || !b) return false;
  if (f32) {
    run(blas().sgemm, g, *a, *b);
  } else {
    run(blas().dgemm, g, *a, *b);
  }
  return true;
}

}  // namespace mlx::core::cpu
