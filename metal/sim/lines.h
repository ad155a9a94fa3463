// From code addresses to lines of source.
#pragma once

#include <cstdint>
#include <string>

namespace mlx::core::metal::sim {

// "file:line" of an address in the object that is loaded at `low`, of the innermost function that is no part
// of metal_stdlib; "" where the object or the machine (addr2line, llvm-symbolizer) does not tell.
std::string line_of(const std::string& object, uintptr_t low, uintptr_t address);

}  // namespace mlx::core::metal::sim
