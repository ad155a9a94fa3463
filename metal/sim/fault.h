// What a kernel did wrong, and where.
#pragma once

#include <cstdint>
#include <string>

namespace mlx::core::metal::sim {

// The place is a code address or, where that is 0, a file and a line.
struct Place {
  uintptr_t code = 0;
  const char* file = nullptr;
  int line = 0;
};

// Ends the dispatch that runs: called by a thread of a kernel, does not return.
// "{}" in the text stands for " at file:line" of `other`.
[[noreturn]] void fault(std::string what, const Place& place, const Place& other = {});

}  // namespace mlx::core::metal::sim
