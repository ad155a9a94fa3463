// Counters and limits of array memory, in bytes.
#pragma once

#include <cstddef>
#include <vector>

namespace mlx::core {

class array;

// Held by arrays now; cached buffers are not counted.
size_t get_active_memory();
// The sum of the buffers that `arrays` hold, each distinct buffer once.
size_t get_array_buffer_size(const std::vector<array>& arrays);
// The largest active memory since the start or the last reset.
size_t get_peak_memory();
void reset_peak_memory();
// Freed buffers kept for reuse.
size_t get_cache_memory();
// Active memory beyond the limit raises MemoryError. Returns the previous limit.
size_t set_memory_limit(size_t limit);
size_t get_memory_limit();
// Freed buffers beyond the limit go back to the system; 0 turns caching off. Returns the previous limit.
size_t set_cache_limit(size_t limit);
void clear_cache();
// Wired memory is a notion of Apple's GPUs; elsewhere the limit stays 0. Returns the previous limit.
size_t set_wired_limit(size_t limit);

}  // namespace mlx::core
