// Multiply-adds per second of all threads together, for the limits in mx.profile.
#include "mlx/cpu/isa/peak.h"

#include <algorithm>
#include <atomic>

#include "mlx/cpu/parallel.h"
#include "mlx/graph/observe.h"

namespace mlx::core::cpu {
namespace {

double measure() {
  constexpr int64_t kRounds = 400000;  // some milliseconds
  const PeakKernel& kernel = peak_kernel();
  const int threads = num_threads();
  std::atomic<float> keep{0};
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const int64_t begin = detail::now_ns();
    parallel_for(threads, [&](int64_t) { keep = kernel.run(kRounds, 0.999f, 0.001f); });
    const auto ns = static_cast<double>(std::max<int64_t>(detail::now_ns() - begin, 1));
    const auto done =
        static_cast<double>(threads) * static_cast<double>(kernel.operations_per_round * kRounds);
    best = std::max(best, done / ns * 1e9);
  }
  return best;
}

const bool registered = [] {
  detail::set_peak_measure(measure);
  return true;
}();

}  // namespace
}  // namespace mlx::core::cpu
