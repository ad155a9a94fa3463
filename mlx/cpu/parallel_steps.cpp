#include "mlx/cpu/parallel_steps.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#ifdef MLX_X86
#include <immintrin.h>
#endif

namespace mlx::core::cpu {
namespace {

constexpr int kSpins = 1 << 12;

struct Team {
  struct alignas(64) Block {
    std::atomic<int64_t> next{0};  // the step that it is to be taken for
  };
  Team(int64_t steps, int64_t blocks, ItemFunction f)
      : steps(steps), blocks(blocks), f(f), block(static_cast<size_t>(blocks)) {}
  const int64_t steps, blocks;
  const ItemFunction f;
  std::vector<Block> block;
  alignas(64) std::atomic<int64_t> done{0};  // blocks of all steps

  // Whoever has taken a block is about to finish it, so nobody waits for a thread that does not come: one
  // that comes late goes on where the others are, or finds nothing left.
  void work(int64_t first) {
    for (int64_t step = done.load(std::memory_order_acquire) / blocks; step < steps; ++step) {
      wait(step * blocks);
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t b = (first + i) % blocks;
        int64_t expected = step;
        if (block[b].next.load(std::memory_order_relaxed) != step ||
            !block[b].next.compare_exchange_strong(expected, step + 1, std::memory_order_acquire))
          continue;
        f(step * blocks + b);
        done.fetch_add(1, std::memory_order_acq_rel);
      }
    }
    wait(steps * blocks);
  }
  void wait(int64_t count) const {
    for (int spins = 0; done.load(std::memory_order_acquire) < count;) {
      if (++spins > kSpins) {  // the other's thread does not run
        std::this_thread::yield();
        continue;
      }
#ifdef MLX_X86
      _mm_pause();
#endif
    }
  }
};

}  // namespace

void parallel_steps(int64_t steps, int64_t blocks, ItemFunction f) {
  if (steps <= 0 || blocks <= 0) return;
  const int64_t threads = std::min<int64_t>(num_threads(), blocks);
  if (threads == 1) {
    for (int64_t i = 0; i < steps * blocks; ++i) f(i);
    return;
  }
  Team team(steps, blocks, f);
  parallel_for(threads, [&](int64_t thread) { team.work(thread * blocks / threads); });
}

}  // namespace mlx::core::cpu
