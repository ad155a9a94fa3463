// Every public function of distributed/*.h: alone, and in a group of two, which a child process joins.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "check.h"

using namespace api_test;
namespace dist = mx::distributed;

namespace {

void alone() {
  check(dist::is_available() && dist::is_available("ring") && dist::is_available("any"));
  check(!dist::is_available("nccl") && !dist::is_available("other"));
  const dist::Group g = dist::init();
  check(g.rank() == 0 && g.size() == 1 && g.raw_group() != nullptr);
  check_throws<std::runtime_error>([&] { g.split(0); });
  check_throws<std::runtime_error>([] { dist::init(true); });
  check_throws<std::runtime_error>([] { dist::init(true, "nccl"); });
  check_throws<std::invalid_argument>([] { dist::init(false, "other"); });
  const dist::AllGatherFactory factory = [](int, int) -> dist::AllGatherFn {
    return [](std::string_view mine, size_t) { return std::string(mine); };
  };
  check(dist::init(false, "any", factory).size() == 1);
  const array x({1.0f, 2.0f});
  for (const auto f : {dist::all_sum, dist::all_max, dist::all_min, dist::all_gather, dist::sum_scatter})
    check_equal(f(x, std::nullopt, {}), x);
  check_throws<std::invalid_argument>([&] { dist::send(x, 1); });
  check_throws<std::invalid_argument>([&] { dist::recv({2}, mx::float32, 1); });
  check_throws<std::invalid_argument>([&] { dist::recv_like(x, 1); });
}

// Short arrays take another way than long ones.
void of_every_dtype_and_length(int rank) {
  for (const mx::Dtype dtype :
       {mx::bool_, mx::int8, mx::uint64, mx::float16, mx::bfloat16, mx::float32, mx::float64, mx::complex64})
    for (const int n : {0, 1, 7, 50'001}) {
      const auto filled = [&](int value) { return mx::astype(mx::full({n}, value), dtype); };
      const array x = filled(rank + 1);
      check_equal(dist::all_sum(x), filled(3));
      check_equal(dist::all_max(x), filled(2));
      check_equal(dist::all_min(x), filled(1));
      check_equal(dist::all_gather(x), mx::concatenate({filled(1), filled(2)}));
      if (n % 2 == 0) check_equal(dist::sum_scatter(x), mx::split(filled(3), 2)[static_cast<size_t>(rank)]);
    }
}

void together() {
  const dist::Group g = dist::init(true, "ring");
  const int rank = g.rank(), other = 1 - rank;
  check(g.size() == 2);
  const array x = mx::array({1.0f, 2.0f}) * static_cast<float>(rank + 1);
  check_equal(dist::all_sum(x), array({3.0f, 6.0f}));
  check_equal(dist::all_max(x, g), array({2.0f, 4.0f}));
  check_equal(dist::all_min(x, g, mx::Device(mx::Device::cpu)), array({1.0f, 2.0f}));
  check_equal(dist::all_gather(x), array({1.0f, 2.0f, 2.0f, 4.0f}));
  check_equal(dist::sum_scatter(x), array({rank == 0 ? 3.0f : 6.0f}));
  mx::eval(dist::send(x, other));
  check_equal(dist::recv_like(x, other), array({1.0f, 2.0f}) * static_cast<float>(other + 1));
  mx::eval(dist::send(x, other));
  check_equal(dist::recv({2}, mx::float32, other), array({1.0f, 2.0f}) * static_cast<float>(other + 1));
  of_every_dtype_and_length(rank);
  // Both send first, more than the system keeps.
  mx::eval(dist::send(mx::full({2'000'000}, rank), other));
  check_equal(dist::recv({2'000'000}, mx::int32, other), mx::full({2'000'000}, other));
  check(g.split(rank).size() == 1 && g.split(0, other).rank() == other);
  const auto gradient = mx::grad([](const array& a) { return mx::sum(dist::all_sum(a * a)); })(x);
  check_equal(gradient, 2.0f * x);
  dist::clear_backends();
}

}  // namespace

// The processes part before either has threads.
int main() {
  const std::string file =
      (std::filesystem::temp_directory_path() / ("mlx-hosts-" + std::to_string(getpid()))).string();
  const int port = 20000 + getpid() % 10000 * 2;
  std::ofstream(file) << "[[\"127.0.0.1:" << port << "\"], [\"127.0.0.1:" << port + 1 << "\"]]";
  const pid_t child = fork();
  alone();
  setenv("MLX_HOSTFILE", file.c_str(), 1);
  setenv("MLX_RANK", child == 0 ? "1" : "0", 1);
  together();
  if (child == 0) return report("distributed, rank 1");
  int status = 1;
  check(waitpid(child, &status, 0) == child && status == 0);
  std::filesystem::remove(file);
  return report("distributed, rank 0");
}
