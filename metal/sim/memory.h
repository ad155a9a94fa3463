// The memory that a kernel may touch: every access that it makes is looked up here before it happens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "metal/sim/fault.h"
#include "metal/sim/shadow.h"

namespace mlx::core::metal::sim {

// How many bytes: all of them, and each byte once.
struct Traffic {
  uint64_t read = 0, written = 0, unique_read = 0, unique_written = 0;
};

// What an argument or a variable gives a kernel.
struct Segment {
  enum Kind { Private, Device, Constant, Threadgroup };
  uintptr_t low = 0;
  size_t size = 0;
  Kind kind = Private;
  std::string name;
  Shadow* shadow = nullptr;  // null: not written by kernels
  uintptr_t shadow_low = 0;  // the address of the shadow's first cell
};

enum class AccessKind { Read, Write, AtomicRead, AtomicWrite };

class Memory {
 public:
  void clear();
  // From a handler of signals: the next access ends the dispatch.
  void stop_soon() {
    stop = true;
    for (Segment*& s : recent_) s = nullptr;
  }
  void add(Segment segment) { segments_.push_back(std::move(segment)); }

  __attribute__((always_inline)) void access(uintptr_t address, size_t size, AccessKind kind,
                                             uintptr_t code) {
    Segment* s = recent_[address >> Page::bits & 63];
    if (__builtin_expect(!s || address - s->low >= s->size || s->size - (address - s->low) < size, 0))
      s = find(address, size, kind, code);
    if (s->kind == Segment::Private) return;
    if (!plain(*s, address, size, kind, code)) shared(*s, address, size, kind, code);
  }
  // Of a type of this alignment.
  void aligned_access(uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
    if (address & (size - 1)) misaligned(address, size, kind, code);
    access(address, size, kind, code);
  }

  Clock clock;
  Traffic device;          // of device and constant memory, in this dispatch
  uintptr_t code_low = 0;  // of the object that runs
  Place hint;              // the place of an access whose code is 0
  bool stop = false;       // the next access that is looked up ends the dispatch

 private:
  // The common case: one cell, and all that was done to it is before a barrier. False where it is not.
  __attribute__((always_inline)) bool plain(Segment& s, uintptr_t address, size_t size, AccessKind kind,
                                            uintptr_t code) {
    if (s.kind == Segment::Constant || !s.shadow || !code) return false;
    const uintptr_t offset = address - s.shadow_low;
    Page& page = s.shadow->page(offset);
    if (page.empty() || size >> page.shift() != 1 || (offset & (size - 1)) || !clock.tracking) return false;
    Cell& c = *page.at(offset & (Page::bytes - 1));
    const bool device_memory = s.kind == Segment::Device;
    const Id w = c.write & id_bits, r = c.read & id_bits;
    const Id floor = device_memory ? clock.barrier_base : clock.group_base;
    const Id since = clock.since_base[device_memory ? DeviceSpace : ThreadgroupSpace];
    const bool write_before = w >= clock.group_base ? w < since && !(c.write & Cell::others) : w < floor;
    if (!write_before) return false;
    if (kind == AccessKind::Read) {
      if (!device_memory && w < floor) return false;
      if (r < floor) {
        if (device_memory && r < clock.dispatch_base) device.unique_read += size;
        c.read = clock.id;
      } else if (r < clock.group_base) {
        if (device_memory && r < clock.dispatch_base) device.unique_read += size;
        c.read = clock.id | Cell::others;
      } else if (r == clock.id || (r >= clock.tick_base && (c.read & Cell::many))) {
        if (device_memory) device.read += size;
        return true;
      } else {
        return false;
      }
      if (device_memory) device.read += size;
      c.read_at = static_cast<uint32_t>(code - code_low);
      return true;
    }
    const bool read_before = r >= clock.group_base ? r < since && !(c.read & Cell::others) : r < floor;
    if (kind != AccessKind::Write || !(read_before || c.read == clock.id)) return false;
    if (device_memory) {
      device.written += size;
      if (w < clock.dispatch_base) device.unique_written += size;
    }
    c.write = clock.id;
    c.write_at = static_cast<uint32_t>(code - code_low);
    return true;
  }
  void shared(Segment& s, uintptr_t address, size_t size, AccessKind kind, uintptr_t code);
  void track(Segment& s, uintptr_t address, size_t size, AccessKind kind, uintptr_t code);
  void check_read(Segment& s, Cell& c, size_t size, uint32_t at);
  void check_write(Segment& s, Cell& c, size_t size, uint32_t at, bool atomic);

  Segment* find(uintptr_t address, size_t size, AccessKind kind, uintptr_t code);
  Place place(uintptr_t code) const { return code ? Place{code, nullptr, 0} : hint; }
  Place place_of(uint32_t at) const;
  [[noreturn]] void outside(uintptr_t address, size_t size, AccessKind kind, uintptr_t code);
  void misaligned(uintptr_t address, size_t size, AccessKind kind, uintptr_t code);
  [[noreturn]] void race(const Segment& s, const char* what, const char* before, Id other, uint32_t at,
                         uint32_t other_at);

  struct {
    uintptr_t address = 0;
    size_t size = 0;
  } access_;  // that is being checked
  std::vector<Segment> segments_;
  Segment* recent_[64] = {};
};

}  // namespace mlx::core::metal::sim
