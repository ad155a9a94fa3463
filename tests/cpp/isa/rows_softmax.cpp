// Softmax, its gradient and log-sum-exp; layer and RMS norm with gradients; rotary embedding: against double
// references for every floating dtype and instruction set, tails, long rows and special values.
#include "mlx/cpu/isa/softmax.h"

#include <algorithm>

#include "mlx/cpu/isa/norms.h"
#include "mlx/cpu/isa/rope.h"
#include "mlx/cpu/rows/rows.h"
#include "tests/cpp/isa/rows_check.h"

using namespace rows_test;
using namespace mlx::core::cpu;

namespace {

constexpr int kFloats[] = {9, 10, 11, 12};
// Room for a result near 1: half a unit of the stored type and a few of the computation.
double room(int dtype) { return epsilon(dtype) + (dtype == 11 ? 1e-14 : 1e-6); }

struct Softmaxed {
  double log_sum;
  std::vector<double> y;
};
Softmaxed reference(const Data& x, int64_t n) {
  double m = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; ++i) m = std::max(m, x[i].real());
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i].real() - m);
  Softmaxed s{m + std::log(sum), {}};
  for (int64_t i = 0; i < n; ++i) s.y.push_back(std::exp(x[i].real() - m) / sum);
  return s;
}

void softmax_kernels_of(Isa isa) {
  for (int dtype : kFloats) {
    const SoftmaxKernel& k = softmax_kernels_for(isa).at[dtype];
    for (int64_t n : {1, 2, 7, 16, 17, 31, 64, 65, 200, 5000, 9000, 70000}) {
      const Data x(dtype, n, 2, 4);
      const Softmaxed want = reference(x, n);
      Data y = x;
      char log[8];
      k.softmax(y.data(), 1, n, y.data());
      k.logsumexp(x.data(), 1, n, n, log);
      for (int64_t i = 0; i < n; ++i)
        check(close(y[i].real(), want.y[i], room(dtype) * want.y[i] + (dtype == 9 ? 0x1p-24 : 1e-38)),
              label("softmax", isa, dtype, n, i));
      check(close(value_at(dtype, log, 0).real(), want.log_sum, room(dtype) * (1 + std::abs(want.log_sum))),
            label("logsumexp", isa, dtype, n));
      const Data g(dtype, n, 8, 1);
      Data dx = g;
      k.softmax_vjp(y.data(), dx.data(), 1, n, dx.data());
      double dot = 0, size = 0;
      for (int64_t i = 0; i < n; ++i)
        dot += y[i].real() * g[i].real(), size += std::abs(y[i].real() * g[i].real());
      for (int64_t i = 0; i < n; ++i) {
        const double dx_want = y[i].real() * (g[i].real() - dot);
        check(close(dx[i].real(), dx_want,
                    2 * epsilon(dtype) * std::abs(dx_want) + 1e-6 * y[i].real() * (1 + size) + 0x1p-24),
              label("softmax vjp", isa, dtype, n, i));
      }
    }
  }
  const SoftmaxKernel& k = softmax_kernels_for(isa).at[10];
  const auto run = [&](std::vector<float> x) {
    std::vector<float> y(x.size() + 1);
    k.softmax(x.data(), 1, static_cast<int64_t>(x.size()), y.data());
    k.logsumexp(x.data(), 1, 0, static_cast<int64_t>(x.size()), &y[x.size()]);
    return y;
  };
  const float inf = INFINITY, nan = NAN;
  for (int64_t pad : {0, 20, 5000}) {
    const auto with = [&](std::vector<float> x, float fill) {
      x.resize(x.size() + pad, fill);
      return run(x);
    };
    auto y = with({-inf, -inf}, -inf);
    check(std::isnan(y[0]) && y.back() == -inf, label("all -inf", isa, 10, pad));
    y = with({inf, 1}, 0);
    check(std::isnan(y[0]) && std::isnan(y[1]) && y.back() == inf, label("inf", isa, 10, pad));
    y = with({-inf, 1}, -inf);
    check(y[0] == 0 && y[1] == 1 && y.back() == 1, label("one", isa, 10, pad));
    y = with({nan, 1}, 0);
    check(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y.back()), label("nan", isa, 10, pad));
    y = with({3e38f, 3e38f}, -inf);
    check(y[0] == 0.5f && y[1] == 0.5f && y.back() == 3e38f, label("large", isa, 10, pad));
  }
}

void norms(Isa isa) {
  for (int dtype : kFloats)
    for (bool centre : {true, false}) {
      const NormKernel& k = centre ? norm_kernels_for(isa).layer[dtype] : norm_kernels_for(isa).rms[dtype];
      for (int64_t n : {1, 3, 16, 17, 40, 129, 1024}) {
        const int64_t rows = 5;
        const int wide = dtype == 11 ? 11 : 10;
        const Data x(dtype, rows * n, 4, 2), g(dtype, rows * n, 5, 1), w(wide, n, 6, 1), b(wide, n, 7, 1);
        const double eps = 1e-3;
        Data y = x, dx = g, dw = w, db = w;
        k.forward(y.data(), w.data(), b.data(), eps, rows, n, y.data());
        k.backward(x.data(), w.data(), dx.data(), eps, rows, n, dx.data(), dw.data(), db.data());
        std::vector<double> dw_want(n), db_want(n);
        const double size = static_cast<double>(n);
        for (int64_t r = 0; r < rows; ++r) {
          double mean = 0, var = 0;
          for (int64_t i = 0; i < n; ++i) mean += centre ? x[r * n + i].real() / size : 0;
          for (int64_t i = 0; i < n; ++i) var += std::pow(x[r * n + i].real() - mean, 2) / size;
          const double scale = 1 / std::sqrt(var + eps);
          double mg = 0, mgx = 0;
          for (int64_t i = 0; i < n; ++i) {
            const double xn = (x[r * n + i].real() - mean) * scale, gi = g[r * n + i].real();
            const double want = xn * w[i].real() + b[i].real();
            check(close(y[r * n + i].real(), want, room(dtype) * (4 + std::abs(want))),
                  label("norm", isa, dtype, n, i));
            mg += centre ? gi * w[i].real() / size : 0;
            mgx += gi * w[i].real() * xn / size;
            dw_want[i] += gi * xn, db_want[i] += gi;
          }
          for (int64_t i = 0; i < n; ++i) {
            const double xn = (x[r * n + i].real() - mean) * scale;
            const double want = (g[r * n + i].real() * w[i].real() - mg - xn * mgx) * scale;
            check(close(dx[r * n + i].real(), want, room(dtype) * (4 * scale + std::abs(want))),
                  label("norm vjp", isa, dtype, n, i));
          }
        }
        for (int64_t i = 0; i < n; ++i) {
          check(close(dw[i].real(), dw_want[i], 2e-5), label("norm dw", isa, dtype, n, i));
          check(close(db[i].real(), db_want[i], 2e-5), label("norm db", isa, dtype, n, i));
        }
      }
    }
}

void rotations(Isa isa) {
  for (int dtype : kFloats)
    for (int64_t half : {1, 2, 8, 15, 16, 17, 40})
      for (int variant = 0; variant < 4; ++variant) {
        const bool traditional = variant & 1, inverse = variant & 2;
        const int64_t n = 2 * half + 3, rows = 3;
        const int wide = dtype == 11 ? 11 : 10;
        const Data x(dtype, rows * n, 1, 1), angle(wide, rows * half, 2, 3);
        Data c = angle, s = angle, y = x;
        for (int64_t i = 0; i < rows * half; ++i) {
          c.set(i, std::cos(angle[i].real()));
          s.set(i, std::sin(angle[i].real()));
        }
        rope_kernels_for(isa).at[dtype].rotate(y.data(), rows, n, n, half, traditional, inverse, c.data(),
                                               s.data(), n, y.data());
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t p = 0; p < half; ++p) {
            const int64_t i = r * n + (traditional ? 2 * p : p),
                          j = r * n + (traditional ? 2 * p + 1 : half + p);
            const Value turned = Value(x[i].real(), x[j].real()) *
                                 Value(c[r * half + p].real(), s[r * half + p].real() * (inverse ? -1 : 1));
            const double tolerance = room(dtype) * (1 + std::abs(turned));
            check(
                close(y[i].real(), turned.real(), tolerance) && close(y[j].real(), turned.imag(), tolerance),
                label("rope", isa, dtype, half, variant));
          }
          for (int64_t i = 2 * half; i < n; ++i)
            check(y[r * n + i] == x[r * n + i], label("rope rest", isa, dtype, half));
        }
      }
}

void drivers() {
  // A row long enough to be shared, and angles by rotation against direct ones.
  const int64_t n = 700'001;
  const Data x(10, n, 3, 3);
  const Softmaxed want = reference(x, n);
  Data y = x;
  float log;
  softmax(10, x.data(), 1, n, y.data());
  logsumexp(10, x.data(), 1, n, &log);
  check(close(log, want.log_sum, 3e-6), "long logsumexp");
  for (int64_t i = 0; i < n; ++i)
    check(close(y[i].real(), want.y[i], 4e-6 * want.y[i] + 1e-30), "long softmax");

  std::vector<double> rates(16);
  for (int i = 0; i < 16; ++i) rates[i] = std::pow(10000.0, -i / 16.0);
  const int64_t offsets[2] = {7, 100'000};
  Rope p{
      2, 3, 100, 32, 16, false, false, 0.5, offsets, false, rates.data(), {9600, 3200, 32}, {9600, 3200, 32}};
  const Data in(10, 2 * 9600, 9, 1);
  Data out = in;
  rope(10, p, in.data(), out.data());
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t row = 0; row < 300; ++row)
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t at = b * 9600 + row * 32 + i;
        const double angle = 0.5 * static_cast<double>(offsets[b] + row % 100) * rates[i];
        const Value turned = Value(in[at].real(), in[at + 16].real()) * std::polar(1.0, angle);
        check(close(out[at].real(), turned.real(), 1e-6) && close(out[at + 16].real(), turned.imag(), 1e-6),
              "rope angles");
      }
  // Gradients of weights over many rows add up parts.
  const int64_t rows = 1000, width = 70;
  const Data a(10, rows * width, 1, 1), g(10, rows * width, 2, 1), w(10, width, 3, 1);
  Data dx = a, dw = w, db = w;
  norm_vjp(true, 10, a.data(), w.data(), g.data(), 1e-5, rows, width, dx.data(), dw.data(), db.data());
  for (int64_t i = 0; i < width; ++i) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += g[r * width + i].real();
    check(close(db[i].real(), sum, 1e-4), "db of 1000 rows");
  }
}

}  // namespace

int main() {
  for (Isa isa : isas()) {
    softmax_kernels_of(isa);
    norms(isa);
    rotations(isa);
  }
  drivers();
  return report("rows_softmax");
}
