#include "mlx/cpu/fft/plan.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <list>
#include <mutex>
#include <unordered_map>

namespace mlx::core::cpu {
namespace {

using Double = std::complex<double>;

// exp(-2 pi i k / n)
Double turn(int64_t k, int64_t n) {
  const double angle = -2 * M_PI * static_cast<double>(k % n) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

// The radices in the order of passes: empty where a prime factor is too large. Rows of the first passes are
// shorter than vectors, which costs least with radix 4; then 8 reads memory least often.
std::vector<int64_t> radices_of(int64_t n) {
  std::vector<int64_t> out;
  int twos = 0;
  for (; n % 2 == 0; n /= 2) ++twos;
  for (int k = 0; k < 2 && twos >= 2; ++k, twos -= 2) out.push_back(4);
  while (twos > 0) {
    const int take = twos % 3 == 0 ? 3 : twos == 1 ? 1 : 2;
    out.push_back(int64_t{1} << take);
    twos -= take;
  }
  for (int64_t r : {13, 11, 7, 5, 3})
    for (; n % r == 0; n /= r) out.push_back(r);
  return n == 1 ? out : std::vector<int64_t>{};
}

// In double, for what a plan keeps: radix 2 while it is even, then by definition.
void transform(std::vector<Double>& x) {
  const auto n = static_cast<int64_t>(x.size());
  if (n % 2 != 0) {
    std::vector<Double> roots(n), out(n);
    for (int64_t k = 0; k < n; ++k) roots[k] = turn(k, n);
    for (int64_t k = 0; k < n; ++k)
      for (int64_t j = 0; j < n; ++j) out[k] += x[j] * roots[j * k % n];
    x = std::move(out);
    return;
  }
  std::vector<Double> even(n / 2), odd(n / 2);
  for (int64_t i = 0; i < n / 2; ++i) even[i] = x[2 * i], odd[i] = x[2 * i + 1];
  transform(even);
  transform(odd);
  for (int64_t k = 0; k < n / 2; ++k) {
    const Double t = turn(k, n) * odd[k];
    x[k] = even[k] + t;
    x[k + n / 2] = even[k] - t;
  }
}

// The smallest length of 2^a times 1, 3, 5, 9 or 15 that is large enough and has the short first passes.
int64_t convolution_length(int64_t least) {
  int64_t best = 0;
  for (int64_t odd : {1, 3, 5, 9, 15}) {
    int64_t length = odd * 16;
    while (length < least) length *= 2;
    if (best == 0 || length < best) best = length;
  }
  return best;
}

}  // namespace

FftPlan::FftPlan(int64_t n) : n_(n) {
  const std::vector<int64_t> radices = radices_of(n);
  if (n > 1 && radices.empty())
    convolution();
  else
    smooth(radices);
  for (int64_t k = 0; k <= n / 2; ++k) {
    const Double w = turn(k, 2 * n);
    half_re_.push_back(static_cast<float>(w.real()));
    half_im_.push_back(static_cast<float>(w.imag()));
  }
}

void FftPlan::smooth(const std::vector<int64_t>& radices) {
  int64_t s = 1;
  for (int64_t r : radices) {
    Pass pass{r, s, n_ / (s * r), {}, {}};
    for (int64_t p = 0; p < pass.m; ++p)
      for (int64_t j = 1; j < r; ++j) {
        const Double w = turn(j * p, r * pass.m);
        pass.twiddles.push_back(static_cast<float>(w.real()));
        pass.twiddles.push_back(static_cast<float>(w.imag()));
      }
    if (s < kFftWide)
      for (int64_t j = 1; j < r; ++j)
        for (int64_t part = 0; part < 2; ++part)
          for (int64_t i = 0; i < pass.m * s; ++i)
            pass.expanded.push_back(pass.twiddles[2 * ((i / s) * (r - 1) + j - 1) + part]);
    passes_.push_back(std::move(pass));
    s *= r;
  }
}

void FftPlan::convolution() {
  const int64_t length = convolution_length(2 * n_ - 1);
  inner_ = get(length);
  std::vector<Double> kernel(length);
  for (int64_t k = 0; k < n_; ++k) {
    const Double w = turn(k * k % (2 * n_), 2 * n_);
    chirp_re_.push_back(static_cast<float>(w.real()));
    chirp_im_.push_back(static_cast<float>(w.imag()));
    kernel[k] = std::conj(w) / static_cast<double>(length);
    if (k > 0) kernel[length - k] = kernel[k];
  }
  transform(kernel);
  for (const Double& x : kernel) {
    spectrum_re_.push_back(static_cast<float>(x.real()));
    spectrum_im_.push_back(static_cast<float>(x.imag()));
  }
}

int64_t FftPlan::rows() const { return inner_ ? inner_->rows() : n_ + 1; }

SplitComplex FftPlan::forward(SplitComplex x, SplitComplex other, int64_t columns) const {
  if (inner_) return convolve(x, other, columns);
  for (const Pass& pass : passes_) {
    const FftPass f{pass.radix, pass.s * columns, pass.m, pass.twiddles.data(), pass.expanded.data()};
    fft_kernels().pass(f, x.re, x.im, other.re, other.im);
    std::swap(x, other);
  }
  return x;
}

SplitComplex FftPlan::convolve(SplitComplex x, SplitComplex other, int64_t columns) const {
  const FftTable& kernels = fft_kernels();
  const int64_t length = inner_->size();
  kernels.multiply(x.re, x.im, chirp_re_.data(), chirp_im_.data(), n_, columns);
  std::fill(x.re + n_ * columns, x.re + length * columns, 0.0f);
  std::fill(x.im + n_ * columns, x.im + length * columns, 0.0f);
  SplitComplex y = inner_->forward(x, other, columns);
  kernels.multiply(y.re, y.im, spectrum_re_.data(), spectrum_im_.data(), length, columns);
  y = inner_->forward(y.swapped(), (y.re == x.re ? other : x).swapped(), columns).swapped();
  kernels.multiply(y.re, y.im, chirp_re_.data(), chirp_im_.data(), n_, columns);
  return y;
}

size_t FftPlan::bytes() const {
  size_t floats = half_re_.size() + half_im_.size() + chirp_re_.size() * 2 + spectrum_re_.size() * 2;
  for (const Pass& pass : passes_) floats += pass.twiddles.size() + pass.expanded.size();
  return floats * sizeof(float);
}

std::shared_ptr<const FftPlan> FftPlan::get(int64_t n) {
  constexpr size_t kBudget = size_t{64} << 20;
  using Entry = std::shared_ptr<const FftPlan>;
  static auto& mutex = *new std::mutex;
  static auto& recent = *new std::list<Entry>;
  static size_t held = 0;
  const auto find = [&] {
    return std::find_if(recent.begin(), recent.end(), [&](const Entry& e) { return e->size() == n; });
  };
  {
    std::lock_guard lock(mutex);
    if (auto it = find(); it != recent.end()) {
      recent.splice(recent.begin(), recent, it);
      return recent.front();
    }
  }
  auto made = std::make_shared<const FftPlan>(n);  // outside the lock: it may want a plan itself
  std::lock_guard lock(mutex);
  if (auto it = find(); it != recent.end()) return *it;
  recent.push_front(made);
  held += made->bytes();
  while (recent.size() > 1 && held > kBudget) {
    held -= recent.back()->bytes();
    recent.pop_back();
  }
  return made;
}

}  // namespace mlx::core::cpu
