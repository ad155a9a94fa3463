// The memory that a kernel may touch: every access that it makes is looked up here before it happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "metal/sim/fault.h"

namespace mlx::core::metal::sim {

struct Segment {
  enum Kind { Private, Device, Constant, Threadgroup };
  uintptr_t low = 0;
  size_t size = 0;
  Kind kind = Private;
  int index = -1;                  // of the argument
  uint64_t read = 0, written = 0;  // bytes
};

class Memory {
 public:
  void clear();
  void add(const Segment& segment) { segments_.push_back(segment); }
  std::vector<Segment>& segments() { return segments_; }

  void access(uintptr_t address, size_t size, bool write, uintptr_t code) {
    Segment* s = recent_[address >> 12 & 63];
    if (!s || address - s->low >= s->size || s->size - (address - s->low) < size)
      s = find(address, size, write, code);
    if (s->kind == Segment::Private) return;
    (write ? s->written : s->read) += size;
    if (write && s->kind == Segment::Constant) constant_written(*s, address, code);
  }

  // The place of an access whose code is 0.
  Place hint;

 private:
  Place place(uintptr_t code) const { return code ? Place{code, nullptr, 0} : hint; }
  Segment* find(uintptr_t address, size_t size, bool write, uintptr_t code);
  [[noreturn]] void outside(uintptr_t address, size_t size, bool write, uintptr_t code);
  [[noreturn]] void constant_written(const Segment& s, uintptr_t address, uintptr_t code);

  std::vector<Segment> segments_;
  Segment* recent_[64] = {};
};

}  // namespace mlx::core::metal::sim
