// Uses the operation of charbonnier.h under every transform and compares with what plain operations give.
#include <cstdio>
#include <vector>

#include "charbonnier.h"

namespace mx = mlx::core;

namespace {

constexpr float kEps = 0.1f;

mx::array plain(const mx::array& a, const mx::array& b) {
  return mx::sqrt(mx::square(a - b) + mx::array(kEps * kEps));
}
mx::array custom(const mx::array& a, const mx::array& b) { return examples::charbonnier(a, b, kEps); }

int failures = 0;
void compare(const char* what, const mx::array& got, const mx::array& expected) {
  const bool good = got.shape() == expected.shape() && mx::allclose(got, expected, 1e-5, 1e-6).item<bool>();
  std::printf("%-28s %s\n", what, good ? "agrees" : "DIFFERS");
  failures += !good;
}

}  // namespace

int main() {
  mx::random::seed(1);
  const mx::array a = mx::random::normal({4, 3});
  const mx::array b = mx::random::normal({4, 3});
  compare("value", custom(a, b), plain(a, b));
  compare("broadcast, transposed", custom(mx::transpose(a), mx::array(0.5f)),
          plain(mx::transpose(a), mx::array(0.5f)));

  const auto total = [](auto function) {
    return [function](const std::vector<mx::array>& in) { return mx::sum(function(in[0], in[1])); };
  };
  const auto gradients = mx::grad(total(custom), std::vector<int>{0, 1})({a, b});
  const auto expected = mx::grad(total(plain), std::vector<int>{0, 1})({a, b});
  compare("gradient of a", gradients[0], expected[0]);
  compare("gradient of b", gradients[1], expected[1]);

  const auto listed = [](auto function) {
    return mx::ArrayFunction(
        [function](const std::vector<mx::array>& in) { return std::vector{function(in[0], in[1])}; });
  };
  const std::vector<mx::array> tangents = {mx::ones({4, 3}), mx::full({4, 3}, 2.0f)};
  compare("jvp", mx::jvp(listed(custom), {a, b}, tangents).second[0],
          mx::jvp(listed(plain), {a, b}, tangents).second[0]);

  // Rows of `a` against columns of the transposed `b`; then rows of `a` against one shared row.
  const auto rows = mx::vmap(listed(custom), {0, 1}, {0});
  compare("vmap over both", rows({a, mx::transpose(b)})[0], plain(a, b));
  const auto shared = mx::vmap(listed(custom), {0, -1}, {0});
  compare("vmap over one", shared({a, mx::take(b, 0, 0)})[0], plain(a, mx::take(b, 0, 0)));

  compare("compiled", mx::compile(listed(custom))({a, b})[0], plain(a, b));
  return failures;
}
