// A few lines of test harness: failures are counted and printed, the exit status says whether there were any.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "mlx/cpu/isa/tiles.h"

namespace tiles_test {

using mlx::core::Dtype;
using mlx::core::cpu::Isa;
using mlx::core::cpu::Tiles;

inline int failures = 0;

[[gnu::format(printf, 1, 2)]] inline void fail(const char* format, ...) {
  if (++failures > 200) return;
  va_list args;
  va_start(args, format);
  std::printf("FAILED ");
  std::vprintf(format, args);
  std::printf("\n");
  va_end(args);
}
inline int finish(const char* name) {
  std::printf("%s: %d failures\n", name, failures);
  return failures == 0 ? 0 : 1;
}

inline std::vector<Isa> isas_here() {
  std::vector<Isa> found;
  for (Isa isa : {Isa::generic, Isa::v2, Isa::v3, Isa::v4, Isa::v4bf16, Isa::v4amx})
    if (mlx::core::cpu::isa_supported(isa)) found.push_back(isa);
  return found;
}

inline int index_of(Dtype::Val v) { return static_cast<int>(v); }

// xorshift64*: the same numbers everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t bits() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  // In [lo, hi).
  double uniform(double lo, double hi) {
    return lo + (hi - lo) * (static_cast<double>(bits() >> 11) * 0x1p-53);
  }

 private:
  uint64_t state_;
};

}  // namespace tiles_test
