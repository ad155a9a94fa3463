// The one thread pool of the CPU backend. Work is given as a fixed number of independent items that is
// derived from shapes alone, never from the thread count, so that results have the same bits for any number
// of threads.
#pragma once

#include <cstdint>
#include <type_traits>

#include "mlx/graph/interrupt.h"

namespace mlx::core::cpu {

// A reference to a callable `void(int64_t)`; the callable outlives the call it is passed to.
class ItemFunction {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, ItemFunction>)
  ItemFunction(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, int64_t item) { (*static_cast<std::remove_reference_t<F>*>(object))(item); }) {
  }
  void operator()(int64_t item) const { call_(object_, item); }

 private:
  void* object_;
  void (*call_)(void*, int64_t);
};

// Threads that parallel_for uses, the caller included: MLX_NUM_THREADS, or what affinity and the cgroup quota
// allow.
int num_threads();

// Calls f(0) ... f(items - 1), each once, on the pool and the calling thread; returns when all are done.
// Items are handed out one at a time, by their number or, as Order::shares, to each thread from its own share
// of them as long as that lasts: the same part of an array then stays in the same core's cache over the
// operations on it. Make them big enough (20 us or more of work). Runs inline where there
// is one item or one thread, and when called from inside an item. The first exception thrown by an item is
// rethrown here; items not yet begun are then skipped. The interrupt check (mlx/graph/interrupt.h) is asked
// between items.
enum class Order { one_queue, shares };
enum class Interrupts { answered, held };  // held: not asked before all items are done
void parallel_for(int64_t items, ItemFunction f, Order order = Order::one_queue,
                  Interrupts interrupts = Interrupts::answered);

// Calls f(begin, end) over [0, n) cut into pieces of `grain`: the usual loop over elements or rows.
template <class F>
void parallel_ranges(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t pieces = (n + grain - 1) / grain;
  if (pieces == 1) return f(int64_t{0}, n);
  parallel_for(
      pieces, [&](int64_t i) { f(i * grain, i + 1 == pieces ? n : (i + 1) * grain); }, Order::shares);
}

using mlx::core::check_interrupt;
using mlx::core::set_interrupt_check;

}  // namespace mlx::core::cpu
