// What Linux and macOS call by different names, or what only one of them has.
#pragma once

#include <cstddef>

namespace mlx::core::system {

// Asks for huge pages under memory that was just allocated; a wish, which may come to nothing.
void prefer_huge_pages(void* memory, size_t size);
// How many processors this process may run on: fewer than there are where its affinity or the quota of its
// control group says so. At least 1.
int usable_cpus();
// Bytes of memory of the machine.
size_t physical_memory();
// Bytes of the cache that lies before memory, as this process's processors see it; 0 where the system does
// not say.
size_t last_level_cache();
// How many buffers the system lets a GPU have; 0 where it does not say.
size_t gpu_resources();

}  // namespace mlx::core::system
