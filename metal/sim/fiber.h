// Stacks that take turns on one thread of the machine: the threads of a threadgroup.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mlx::core::metal::sim {

// Saves the running stack in *save and goes on with the one that was saved as `resume`.
extern "C" void mlx_sim_switch(void** save, void* resume);

// Many stacks side by side in one piece of memory, each with a page below it that nobody may touch.
class Stacks {
 public:
  static constexpr size_t size = 256 * 1024;  // with the guard

  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks();

  // At least `count` stacks. Throws std::bad_alloc.
  void reserve(size_t count);
  // A saved stack on which `entry` starts; it must not return.
  void* prepare(size_t index, void (*entry)());
  uintptr_t low() const { return low_; }
  size_t bytes() const { return count_ * size; }
  // The lowest address that may be used of the stack that holds `address`.
  static uintptr_t limit(uintptr_t low, uintptr_t address);

 private:
  uintptr_t low_ = 0;
  size_t count_ = 0, ready_ = 0;
};

}  // namespace mlx::core::metal::sim
