// Tells AddressSanitizer which part of a block of memory is in use. It knows the blocks of malloc, but ours
// are larger than asked for and are kept for the next user.
#pragma once

#include <cstddef>

#ifdef MLX_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace mlx::core::detail {

#ifdef MLX_ADDRESS_SANITIZER
inline void forbid_access(const void* begin, size_t size) { __asan_poison_memory_region(begin, size); }
inline void permit_access(const void* begin, size_t size) { __asan_unpoison_memory_region(begin, size); }
#else
inline void forbid_access(const void*, size_t) {}
inline void permit_access(const void*, size_t) {}
#endif

}  // namespace mlx::core::detail
