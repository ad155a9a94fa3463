// Are all elements finite? For mx.debug.nan_check, which asks this of everything that is computed.
#include <atomic>
#include <cstring>

#include "mlx/cpu/copy.h"
#include "mlx/cpu/isa/tiles.h"
#include "mlx/cpu/parallel.h"
#include "mlx/graph/observe.h"

namespace mlx::core::cpu {
namespace {

constexpr int64_t kTile = 4096;
constexpr int64_t kElementsPerItem = 1 << 18;

bool all_finite(const array& a) {
  const array dense = a.flags().contiguous ? a : row_contiguous(a);
  const auto fn = tiles().op[elementwise::op_of<elementwise::IsFinite>][static_cast<size_t>(a.dtype().val())];
  const char* data = dense.data<char>();
  const auto itemsize = static_cast<int64_t>(a.itemsize());
  std::atomic<bool> finite{true};
  parallel_ranges(static_cast<int64_t>(dense.data_size()), kElementsPerItem, [&](int64_t begin, int64_t end) {
    alignas(64) char answers[kTile];
    for (int64_t i = begin; i < end && finite.load(std::memory_order_relaxed); i += kTile) {
      const int64_t n = std::min(kTile, end - i);
      const char* at = data + i * itemsize;
      fn(answers, at, at, at, n);
      if (std::memchr(answers, 0, static_cast<size_t>(n))) finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite;
}

const bool registered = [] {
  // What a GPU has computed lies in the same memory.
  detail::set_finite_check(Device::cpu, all_finite);
  detail::set_finite_check(Device::gpu, all_finite);
  return true;
}();

}  // namespace
}  // namespace mlx::core::cpu
