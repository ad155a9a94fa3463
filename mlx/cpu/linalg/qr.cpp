// QR by Householder reflections. The matrix is worked on column by column, so that a reflection is dot
// products and sums of consecutive elements. A panel of reflections is found first; then groups of the
// columns right of it take the whole panel's, one after the other, while they lie in the cache.
#include <algorithm>
#include <cmath>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/householder.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/kernels.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kPanel = 32;
constexpr int64_t kGroup = 8;  // columns

template <class T>
class Factorization {
 public:
  // `in` is row-major, m x n.
  Factorization(const T* in, int64_t m, int64_t n)
      : m_(m), n_(n), k_(std::min(m, n)), a_(m * n), tau_(k_), diagonal_(k_) {
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) a_[j * m + i] = in[i * n + j];
    for (int64_t p = 0; p < k_; p += kPanel) {
      const int64_t end = std::min(p + kPanel, k_);
      for (int64_t j = p; j < end; ++j) {
        find(j);
        apply(j, &a_[(j + 1) * m], end - j - 1);
      }
      groups(n - end, [&](int64_t first, int64_t count) {
        for (int64_t j = p; j < end; ++j) apply(j, &a_[(end + first) * m], count);
      });
    }
  }

  // The first k columns of the product of the reflections, row-major.
  void q(T* out) const {
    std::vector<T> q(m_ * k_);
    groups(k_, [&](int64_t first, int64_t count) {
      for (int64_t j = first; j < first + count; ++j) q[j * m_ + j] = 1;
      // Reflections further down leave these unit vectors alone.
      for (int64_t j = first + count - 1; j >= 0; --j) apply(j, &q[first * m_], count);
    });
    for (int64_t i = 0; i < m_; ++i)
      for (int64_t j = 0; j < k_; ++j) out[i * k_ + j] = q[j * m_ + i];
  }

  void r(T* out) const {
    for (int64_t i = 0; i < k_; ++i)
      for (int64_t j = 0; j < n_; ++j)
        out[i * n_ + j] = j < i ? T{0} : j == i ? diagonal_[i] : a_[j * m_ + i];
  }

 private:
  // The reflection that maps what column j has from row j on to a multiple of the first unit vector. Its
  // vector takes that part's place, scaled so that it starts with 1; the multiple goes to the diagonal.
  void find(int64_t j) {
    T* x = &a_[j * m_ + j];
    const int64_t n = m_ - j;
    T largest = 0;
    for (int64_t i = 1; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
    double squares = 0;
    for (int64_t i = 1; i < n; ++i) {
      const double ratio = static_cast<double>(x[i]) / static_cast<double>(largest);
      if (x[i] != 0) squares += ratio * ratio;
    }
    const double alpha = x[0], below = std::sqrt(squares) * static_cast<double>(largest);
    if (below == 0) {
      tau_[j] = 0;
      diagonal_[j] = x[0];
    } else {
      const double beta = -std::copysign(std::hypot(alpha, below), alpha);
      tau_[j] = static_cast<T>((beta - alpha) / beta);
      diagonal_[j] = static_cast<T>(beta);
      for (int64_t i = 1; i < n; ++i) x[i] = static_cast<T>(static_cast<double>(x[i]) / (alpha - beta));
    }
    x[0] = 1;
  }

  // Reflection j of columns with m elements.
  void apply(int64_t j, T* columns, int64_t count) const {
    if (tau_[j] != 0 && count > 0) reflect(&a_[j * m_ + j], m_ - j, tau_[j], columns + j, m_, count);
  }

  template <class F>
  void groups(int64_t columns, F&& f) const {
    // At least 20 us of work for an item.
    const int64_t grain = std::max<int64_t>(1, (1 << 14) / (m_ * kGroup)) * kGroup;
    parallel_ranges(columns, grain, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += kGroup) f(j, std::min(kGroup, end - j));
    });
  }

  int64_t m_, n_, k_;
  std::vector<T> a_, tau_, diagonal_;
};

void qr(const linalg::QR&, const Arrays& inputs, Arrays& outputs) {
  for (array& out : outputs) out.set_data(allocator::malloc(out.nbytes()));
  const array a = row_contiguous(inputs[0]);
  const int64_t m = a.shape(-2), n = a.shape(-1), k = std::min(m, n);
  if (a.size() == 0) return;
  parallel_for(static_cast<int64_t>(a.size()) / (m * n), [&](int64_t i) {
    const auto one = [&]<class T>(T) {
      const Factorization<T> f(a.data<T>() + i * m * n, m, n);
      f.q(outputs[0].data<T>() + i * m * k);
      f.r(outputs[1].data<T>() + i * k * n);
    };
    a.dtype() == float64 ? one(double{}) : one(float{});
  });
}

const bool registered = kernels(Device::cpu).add<linalg::QR>(qr);

}  // namespace
}  // namespace mlx::core::cpu
