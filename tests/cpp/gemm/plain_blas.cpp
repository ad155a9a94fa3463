// cblas_sgemm and cblas_dgemm by their definition, for row-major matrices, and how often they were called.
#include <cstdint>

namespace {

int calls = 0;

template <class T>
void gemm(int a_form, int b_form, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb,
          T beta, T* c, int ldc) {
  ++calls;
  constexpr int kTransposed = 112;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += double{a_form == kTransposed ? a[p * lda + i] : a[i * lda + p]} *
               double{b_form == kTransposed ? b[j * ldb + p] : b[p * ldb + j]};
      T& out = c[i * ldc + j];
      out = static_cast<T>(alpha * sum + (beta == 0 ? 0.0 : double{beta} * double{out}));
    }
}

}  // namespace

extern "C" {
void cblas_sgemm(int, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda,
                 const float* b, int ldb, float beta, float* c, int ldc) {
  gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void cblas_dgemm(int, int ta, int tb, int m, int n, int k, double alpha, const double* a, int lda,
                 const double* b, int ldb, double beta, double* c, int ldc) {
  gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
int plain_blas_calls() { return calls; }
}
