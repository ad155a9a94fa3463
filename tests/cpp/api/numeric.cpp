// Special functions, statistics, functions of matrices, kernels in source: through the C++ functions.
#include "check.h"

using namespace api_test;

namespace {

void special() {
  check_equal(mx::erfc(array({0.0f})), array({1.0f}));
  check_equal(mx::lgamma(array({3.0f})), array({0.69314718f}), 1e-6);
  check_equal(mx::polygamma(array(1.0f), array({1.0f})), array({1.6449341f}), 1e-6);
  check_equal(mx::sinc(array({0.0f, 0.5f, 3.0f})), array({1.0f, 0.63661977f, 0.0f}), 1e-6);
  check_equal(mx::hypot(array({3.0f}), array({4.0f})), array({5.0f}));
  check_equal(mx::copysign(array({1.0f, -2.0f}), array(-0.0f)), array({-1.0f, -2.0f}));
  check_throws<std::invalid_argument>([] { mx::sinc(array(mx::complex64_t(1, 1))); });
}

void statistics() {
  const array a({4.0f, 1.0f, 3.0f, 2.0f}, {2, 2});
  check_equal(mx::quantile(a, array(0.5)), array(2.5f));
  check_equal(mx::percentile(a, array({0.0f, 100.0f}), {0}, true),
              array({3.0f, 1.0f, 4.0f, 2.0f}, {2, 1, 2}));
  const auto [counts, edges] = mx::histogram(a, 3);
  check_equal(counts, array({1, 1, 2}));
  check_equal(edges, array({1.0f, 2.0f, 3.0f, 4.0f}));
  check_equal(mx::bincount(array({1, 1, 3})), array({0, 2, 0, 1}));
  check_equal(mx::isin(array({1, 2}), array({2, 5})), array({false, true}));
  check_equal(mx::nonzero(array({0, 7, 0, 7}))[0], array({1, 3}));
  check_equal(mx::argwhere(array({0, 7, 0, 7}), 3, -1), array({1, 3, -1}, {3, 1}));
  check_equal(mx::cov(array({1.0f, 2.0f, 3.0f})), array(1.0f));
  check_equal(mx::trapezoid(array({1.0f, 2.0f, 3.0f})), array(4.0f));
  check_equal(mx::gradient(array({1.0f, 2.0f, 4.0f}), {}, {0})[0], array({1.0f, 1.5f, 2.0f}));
  check_throws<std::invalid_argument>([&] { mx::quantile(a, array(2.0)); });
  check_throws<std::out_of_range>([&] { mx::nansum(a, {2}); });
}

void matrices() {
  const array a({2.0f, 0.0f, 0.0f, 4.0f}, {2, 2});
  check_equal(mx::linalg::matrix_rank(a), array(2));
  check_equal(mx::linalg::cond(a), array(2.0f));
  check_equal(mx::linalg::matrix_power(a, -1), array({0.5f, 0.0f, 0.0f, 0.25f}, {2, 2}));
  check_equal(mx::linalg::expm(mx::zeros({2, 2})), mx::eye(2), 1e-6);
  check_equal(mx::linalg::lstsq(a, array({2.0f, 2.0f}))[0], array({1.0f, 0.5f}), 1e-6);
  check_equal(mx::linalg::multi_dot({a, a, array({1.0f, 1.0f})}), array({4.0f, 16.0f}));
}

void kernels() {
  const auto out = mx::fast::gated_delta_update(
      mx::ones({1, 2, 1, 1}), mx::ones({1, 2, 1, 1}), array({2.0f, 4.0f}, {1, 2, 1, 1}),
      array({0.5f, 0.5f}, {1, 2, 1}), array({1.0f, 0.5f}, {1, 2, 1}));
  // 0 -> 2, then 1 + (4 - 1) / 2
  check_equal(out[0], array({2.0f, 2.5f}, {1, 2, 1, 1}));
  check_equal(out[1], array({2.5f}, {1, 1, 1, 1}));
  const auto kernel = mx::fast::metal_kernel("twice", {"x"}, {"y"}, "y[0] = 2 * x[0];");
  const auto run = [&](int inputs) {
    return kernel(std::vector<array>(inputs, array(1.0f)), {{1}}, {mx::float32}, {1, 1, 1}, {1, 1, 1}, {},
                  std::nullopt, false, {});
  };
  check_throws<std::invalid_argument>([&] { run(2); });
  if (!mx::is_available(mx::Device::gpu)) check_throws<std::runtime_error>([&] { run(1); });
}

}  // namespace

int main() {
  special();
  statistics();
  matrices();
  kernels();
  return report("numeric");
}
