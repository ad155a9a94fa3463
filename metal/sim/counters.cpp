#include "metal/sim/counters.h"

#include <sstream>

#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>

namespace mlx::core::metal::sim {

namespace {

struct Counters {
  std::mutex mutex;
  std::map<std::string, KernelCounters> kernels;
};
Counters& all() {
  static auto* const c = new Counters;
  return *c;
}

std::array<std::atomic<uint64_t>, 3> remaining;

void inject(Injection what, uint64_t n) { remaining[static_cast<size_t>(what)] = n; }

// MLX_METAL_SIMULATOR_INJECT=what:n
void inject_from_environment() {
  const char* text = std::getenv("MLX_METAL_SIMULATOR_INJECT");
  if (!text || !*text) return;
  const std::string asked = text;
  const size_t colon = asked.find(':');
  const std::string what = asked.substr(0, colon);
  char* end = nullptr;
  const uint64_t n = colon == std::string::npos ? 1 : std::strtoull(asked.c_str() + colon + 1, &end, 10);
  const char* const names[] = {"memory", "timeout", "queue"};
  for (size_t i = 0; i < 3; ++i)
    if (what == names[i] && n > 0 && (!end || !*end)) return inject(static_cast<Injection>(i), n);
  throw std::invalid_argument(
      "[metal simulator] MLX_METAL_SIMULATOR_INJECT must be memory:n, timeout:n or queue:n, not " + asked);
}

std::vector<KernelCounters> counters() {
  const std::lock_guard lock(all().mutex);
  std::vector<KernelCounters> out;
  for (const auto& [name, c] : all().kernels) out.push_back(c);
  return out;
}

void reset_counters() {
  const std::lock_guard lock(all().mutex);
  all().kernels.clear();
}

}  // namespace

size_t (*allocated_bytes)() = nullptr;

void count(const KernelCounters& d) {
  const std::lock_guard lock(all().mutex);
  KernelCounters& c = all().kernels[d.kernel];
  c.kernel = d.kernel;
  c.dispatches += d.dispatches;
  c.threads += d.threads;
  c.threadgroups += d.threadgroups;
  c.barriers += d.barriers;
  c.simd_operations += d.simd_operations;
  c.read += d.read;
  c.constant_read += d.constant_read;
  c.written += d.written;
  c.unique_read += d.unique_read;
  c.unique_written += d.unique_written;
}

bool injected(Injection what) {
  static const bool asked = (inject_from_environment(), true);
  auto& left = remaining[static_cast<size_t>(what)];
  return asked && left.load() && left.fetch_sub(1) == 1;
}

extern "C" __attribute__((visibility("default"))) const TestApi* mlx_metal_simulator_test_api() {
  static const TestApi api{&counters, &reset_counters, &inject, allocated_bytes};
  return &api;
}

// The same as text, for tests in other languages: a line per kernel, its name last. Valid until the next
// call.
extern "C" __attribute__((visibility("default"))) const char* mlx_metal_simulator_counters_text() {
  static std::string text;
  std::ostringstream os;
  for (const KernelCounters& c : counters())
    os << c.dispatches << ' ' << c.threads << ' ' << c.barriers << ' ' << c.read << ' ' << c.written << ' '
       << c.unique_read << ' ' << c.unique_written << ' ' << c.kernel << '\n';
  text = os.str();
  return text.c_str();
}
extern "C" __attribute__((visibility("default"))) void mlx_metal_simulator_reset_counters() {
  reset_counters();
}

}  // namespace mlx::core::metal::sim
