// Memory for what a thread computes piece by piece: aligned to lines of the cache, kept for the next time.
#pragma once

#include <cstddef>
#include <vector>

namespace mlx::core::cpu {

// What asks has one of its own for each thread (thread_local), and uses it for one thing at a time.
class LineMemory {
 public:
  char* get(size_t bytes) {
    const size_t needed = (bytes + sizeof(Line) - 1) / sizeof(Line);
    if (lines_.size() < needed) lines_ = std::vector<Line>(needed);
    return reinterpret_cast<char*>(lines_.data());
  }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> lines_;
};

}  // namespace mlx::core::cpu
