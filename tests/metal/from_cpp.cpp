// What Python's functions do not reach, on the simulated GPU against the CPU: gather and scatter of boxes
// that are longer than one element along indexed axes, random bits of any width.
#include <cstdio>
#include <random>
#include <vector>

#include "mlx/mlx.h"

using namespace mlx::core;

namespace {

int failures = 0;

template <class F>
void compare(const char* what, F&& f) {
  const array got = f(Device::gpu), want = f(Device::cpu);
  if (!array_equal(got, want, true, Device::cpu).item<bool>()) {
    std::printf("%s: the GPU's result is not the CPU's\n", what);
    ++failures;
  }
}

}  // namespace

int main() {
  if (!is_available(Device::gpu)) {
    std::printf("there is no GPU, expected the simulated one\n");
    return 1;
  }
  std::vector<int> values(7 * 9 * 4);
  std::mt19937 random(3);
  for (int& v : values) v = static_cast<int>(random() % 100);
  const array x(values.data(), {7, 9, 4});
  const array i({0, 4, -1, 2, -5, 3}, {2, 3}), j({1, 2, 3, -1, 0, -3}, {2, 3});
  compare("gather", [&](Device d) { return gather(x, {i, j}, {0, 1}, {3, 5, 2}, d); });
  compare("gather of a strided array",
          [&](Device d) { return gather(transpose(x, {2, 1, 0}, d), {i}, {1}, {3, 4, 7}, d); });
  compare("gather without indices",
          [&](Device d) { return gather(x, std::vector<array>{}, {}, {2, 3, 4}, d); });

  const array updates = reshape(arange(0, 2 * 3 * 3 * 5 * 2, Device::cpu), {2, 3, 3, 5, 2}, Device::cpu);
  const array ints = astype(updates, int32, Device::cpu);
  compare("scatter", [&](Device d) { return scatter(x, {i, j}, ints, {0, 1}, d); });
  compare("scatter_add", [&](Device d) { return scatter_add(x, {i, j}, ints, {0, 1}, d); });
  compare("scatter_max", [&](Device d) { return scatter_max(x, {i, j}, ints, {0, 1}, d); });
  compare("scatter of one box",
          [&](Device d) { return scatter_add(x, {array({2}, {1})}, ones({1, 3, 9, 4}, int32, d), {0}, d); });

  for (const int width : {1, 2, 4})
    for (const int n : {0, 1, 2, 3, 5, 35}) {
      const auto drawn = [&](const array& key, Device d) { return random::bits({n}, width, key, d); };
      const array key = random::key(3), keys = random::split(key, 5, Device::cpu);
      compare("random bits", [&](Device d) { return drawn(key, d); });
      compare("random bits of several keys",
              [&](Device d) { return vmap([&](const array& k) { return drawn(k, d); })(keys); });
    }
  for (const auto& [name, n] : metal::hand_overs()) {
    std::printf("%s ran on the CPU\n", name.c_str());
    ++failures;
  }
  std::printf("%d failures\n", failures);
  return failures > 0;
}
