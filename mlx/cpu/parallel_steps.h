// Steps of which each needs all of the one before, on the threads of the pool (mlx/cpu/parallel.h).
#pragma once

#include <cstdint>

#include "mlx/cpu/parallel.h"

namespace mlx::core::cpu {

// Calls f(step * blocks + block) for every block of every step, those of a step when all of the one before
// are done. f does not throw. A thread keeps to the same blocks from step to step as long as the others keep
// up, so that what a block reads in every step stays in its cache. Threads wait for each other without
// sleeping: steps should be of some microseconds. How work is cut into blocks depends on shapes alone, as for
// parallel_for.
void parallel_steps(int64_t steps, int64_t blocks, ItemFunction f);

}  // namespace mlx::core::cpu
