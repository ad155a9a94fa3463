#include "metal/sim/memory.h"

#include <cstring>

#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

namespace {

std::string name(const Segment& s) {
  const std::string index = std::to_string(s.index);
  switch (s.kind) {
    case Segment::Device:
      return "buffer " + index;
    case Segment::Constant:
      return "constant buffer " + index;
    case Segment::Threadgroup:
      return s.index < 0 ? "threadgroup variables" : "threadgroup memory " + index;
    default:
      return "private memory";
  }
}

}  // namespace

void Memory::clear() {
  segments_.clear();
  std::memset(recent_, 0, sizeof(recent_));
}

Segment* Memory::find(uintptr_t address, size_t size, bool write, uintptr_t code) {
  for (Segment& s : segments_)
    if (address - s.low < s.size && s.size - (address - s.low) >= size)
      return recent_[address >> 12 & 63] = &s;
  // What an object does while it is loaded concerns nobody.
  static Segment loading;
  if (!executor().running()) return &loading;
  outside(address, size, write, code);
}

void Memory::outside(uintptr_t address, size_t size, bool write, uintptr_t code) {
  // The nearest memory is what the kernel meant.
  const Segment* nearest = nullptr;
  uintptr_t distance = ~uintptr_t{0};
  for (const Segment& s : segments_) {
    if (s.kind == Segment::Private) continue;
    const uintptr_t d = address < s.low ? s.low - address : address + size - (s.low + s.size);
    if (d < distance) distance = d, nearest = &s;
  }
  std::string text =
      std::string(write ? "write" : "read") + " of " + std::to_string(size) + " bytes out of bounds";
  if (nearest && distance < (uintptr_t{1} << 32)) {
    const auto at = static_cast<intptr_t>(address - nearest->low);
    text += ": at byte " + std::to_string(at) + " of " + name(*nearest) + ", which has " +
            std::to_string(nearest->size);
  } else {
    text += ": no memory of this kernel is near";
  }
  fault(std::move(text), place(code));
}

void Memory::constant_written(const Segment& s, uintptr_t address, uintptr_t code) {
  fault("write to constant memory: byte " + std::to_string(address - s.low) + " of " + name(s), place(code));
}

}  // namespace mlx::core::metal::sim
