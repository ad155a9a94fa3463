#include "metal/sim/memory.h"

#include <algorithm>
#include <cstring>

#include "metal/sim/executor.h"

namespace mlx::core::metal::sim {

namespace {

bool writes(AccessKind kind) { return kind == AccessKind::Write || kind == AccessKind::AtomicWrite; }
const char* name_of(AccessKind kind) {
  return kind == AccessKind::Read ? "read" : kind == AccessKind::Write ? "write" : "atomic access";
}
std::string bytes(size_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

}  // namespace

void Memory::clear() {
  segments_.clear();
  std::memset(recent_, 0, sizeof(recent_));
  device = {};
  stop = false;
}

Segment* Memory::find(uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
  // What an object does while it is loaded concerns nobody.
  static Segment loading;
  if (!executor().running()) return &loading;
  if (stop) executor().timed_out(place(code));
  for (Segment& s : segments_)
    if (address - s.low < s.size && s.size - (address - s.low) >= size)
      return recent_[address >> Page::bits & 63] = &s;
  outside(address, size, kind, code);
}

void Memory::shared(Segment& s, uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
  const bool write = writes(kind);
  if (s.kind == Segment::Constant && write) {
    // Metal binds buffers without a length: what lies behind the constants may be somebody's to write.
    for (Segment& other : segments_) {
      const uintptr_t inside = address - other.low;
      if (other.kind == Segment::Device && inside < other.size && other.size - inside >= size)
        return shared(other, address, size, kind, code);
    }
    fault("write to constant memory: byte " + std::to_string(address - s.low) + " of " + s.name, place(code));
  }
  if (s.kind == Segment::Constant) device.constant_read += size;
  if (s.kind == Segment::Device) (write ? device.written : device.read) += size;
  if (s.shadow && clock.tracking) track(s, address, size, kind, code);
}

void Memory::track(Segment& s, uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
  access_ = {address, size};
  const uint32_t at =
      code ? static_cast<uint32_t>(code - code_low) : Cell::line_bit | static_cast<uint32_t>(hint.line);
  uintptr_t offset = address - s.shadow_low;
  for (size_t left = size; left;) {
    Page& page = s.shadow->page(offset);
    const uintptr_t inside = offset & (Page::bytes - 1);
    const size_t here = std::min(left, Page::bytes - inside);
    if (page.empty() || (inside | here) & ((uintptr_t{1} << page.shift()) - 1))
      page.refine(static_cast<unsigned>(__builtin_ctzl(inside | here | 16)));
    Cell *c = page.at(inside), *const end = page.at(inside + here);
    const size_t step = size_t{1} << page.shift();
    for (; c != end; ++c) {
      if (kind == AccessKind::Read)
        check_read(s, *c, step, at);
      else if (kind == AccessKind::AtomicRead) {
        const Id floor = s.kind == Segment::Threadgroup ? clock.group_base : clock.barrier_base,
                 w = c->write & id_bits;
        if (s.kind == Segment::Threadgroup && w < floor) check_read(s, *c, step, at);
        if (w >= floor && !(c->write & Cell::atomic) &&
            !clock.ordered(w, s.kind == Segment::Threadgroup ? ThreadgroupSpace : DeviceSpace))
          race(s, "atomic read", "wrote", w, at, c->write_at);
        device.unique_read += s.kind != Segment::Threadgroup && w < clock.dispatch_base &&
                                      (c->read & id_bits) < clock.dispatch_base
                                  ? step
                                  : 0;
      } else
        check_write(s, *c, step, at, kind == AccessKind::AtomicWrite);
    }
    left -= here;
    offset += here;
  }
}

inline void Memory::check_read(Segment& s, Cell& c, size_t size, uint32_t at) {
  const bool group_memory = s.kind == Segment::Threadgroup;
  const Space space = group_memory ? ThreadgroupSpace : DeviceSpace;
  const Id floor = group_memory ? clock.group_base : clock.barrier_base;
  const Id w = c.write & id_bits, r = c.read & id_bits;
  if (w >= floor) {
    if (!clock.ordered(w, space) || (c.write & Cell::others)) race(s, "read", "wrote", w, at, c.write_at);
  } else if (group_memory) {
    fault("read of uninitialised threadgroup memory: " + bytes(access_.size) + " at byte " +
              std::to_string(access_.address - s.low) + " of " + s.name + ", where nobody wrote yet",
          place_of(at));
  }
  Id flags = 0;
  if (r >= floor) {
    if (r == clock.id) return;
    if (r < clock.group_base) {
      flags = Cell::others;
    } else {
      flags = c.read & Cell::others;
      // Those who read before stay in question until a barrier orders them.
      if (!clock.ordered(r, space) || ((c.read & Cell::many) && !clock.synchronised_since(r, space)))
        flags |= Cell::many;
    }
  }
  if (!group_memory && r < clock.dispatch_base) device.unique_read += size;
  c.read = clock.id | flags;
  c.read_at = at;
}

inline void Memory::check_write(Segment& s, Cell& c, size_t size, uint32_t at, bool atomic) {
  const bool group_memory = s.kind == Segment::Threadgroup;
  const Space space = group_memory ? ThreadgroupSpace : DeviceSpace;
  const Id floor = group_memory ? clock.group_base : clock.barrier_base;
  const Id w = c.write & id_bits, r = c.read & id_bits;
  const char* what = atomic ? "atomic write" : "write";
  Id flags = atomic ? Cell::atomic : 0;
  if (w >= floor) {
    const bool both = atomic && (c.write & Cell::atomic);
    if (!both && (!clock.ordered(w, space) || (c.write & Cell::others)))
      race(s, what, "wrote", w, at, c.write_at);
    if (both && (w < clock.group_base || (c.write & Cell::others))) flags |= Cell::others;
  }
  if (r >= floor && ((c.read & Cell::others) || !clock.ordered(r, space) ||
                     ((c.read & Cell::many) && !clock.synchronised_since(r, space))))
    race(s, what, "read", r, at, c.read_at);
  if (!group_memory && w < clock.dispatch_base) device.unique_written += size;
  c.write = clock.id | flags;
  c.write_at = at;
}

Place Memory::place_of(uint32_t at) const {
  if (at & Cell::line_bit) return {0, hint.file, static_cast<int>(at & ~Cell::line_bit)};
  return {code_low + at, nullptr, 0};
}

void Memory::race(const Segment& s, const char* what, const char* before, Id other, uint32_t at,
                  uint32_t other_at) {
  std::string text = other < clock.dispatch_base ? "hazard between dispatches: " : "race: ";
  text += std::string(what) + " of " + bytes(access_.size) + " at byte " +
          std::to_string(access_.address - s.low) + " of " + s.name + ", which ";
  // The last one may be in order, such as the thread's own; then it is one before it that is not.
  const bool in_order = clock.ordered(other, s.kind == Segment::Threadgroup ? ThreadgroupSpace : DeviceSpace);
  text += (in_order ? "several threads" : executor().describe(other)) + " " + before;
  if (other >= clock.dispatch_base) text += "{}";
  text += other < clock.dispatch_base ? ", and no barrier() between them" : ", and no barrier orders them";
  fault(std::move(text), place_of(at), place_of(other_at));
}

void Memory::misaligned(uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
  const Segment* s = find(address, size, kind, code);
  if (!executor().running()) return;
  fault(std::string("misaligned ") + name_of(kind) + " of " + bytes(size) + ": byte " +
            std::to_string(address - s->low) + " of " + s->name +
            " is at an address that is no multiple of " + std::to_string(size),
        place(code));
}

void Memory::outside(uintptr_t address, size_t size, AccessKind kind, uintptr_t code) {
  // The nearest memory is what the kernel meant.
  const Segment* nearest = nullptr;
  uintptr_t distance = ~uintptr_t{0};
  for (const Segment& s : segments_) {
    if (s.kind == Segment::Private) continue;
    const uintptr_t d = address < s.low ? s.low - address : address + size - (s.low + s.size);
    if (d < distance) distance = d, nearest = &s;
  }
  std::string text = std::string(name_of(kind)) + " of " + bytes(size) + " out of bounds";
  if (nearest && distance < (uintptr_t{1} << 32))
    text += ": at byte " + std::to_string(static_cast<intptr_t>(address - nearest->low)) + " of " +
            nearest->name + ", which has " + std::to_string(nearest->size);
  else
    text += ": no memory of this kernel is near";
  fault(std::move(text), place(code));
}

}  // namespace mlx::core::metal::sim
