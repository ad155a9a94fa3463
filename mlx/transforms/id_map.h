// A hash map from the identity of a node to a value: open addressing, never shrinks. The transforms look
// every node of a graph up a few times, so it has to be lean.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mlx::core {

template <class V>
class IdMap {
 public:
  IdMap() : slots_(32) {}

  V* find(std::uintptr_t id) {
    for (size_t i = index(id);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].id == id) return &*slots_[i].value;
      if (slots_[i].id == 0) return nullptr;
    }
  }
  // Inserts, or replaces what is there.
  V& set(std::uintptr_t id, V value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = place(id);
    if (slot.id == 0) {
      slot.id = id;
      ++size_;
    }
    slot.value.emplace(std::move(value));
    return *slot.value;
  }

 private:
  struct Slot {
    std::uintptr_t id = 0;
    std::optional<V> value;
  };
  size_t index(std::uintptr_t id) const {
    return static_cast<size_t>((id * 0x9e3779b97f4a7c15ull) >> 20) & (slots_.size() - 1);
  }
  Slot& place(std::uintptr_t id) {
    size_t i = index(id);
    while (slots_[i].id != 0 && slots_[i].id != id) i = (i + 1) & (slots_.size() - 1);
    return slots_[i];
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (Slot& slot : old) {
      if (slot.id == 0) continue;
      Slot& to = place(slot.id);
      to.id = slot.id;
      to.value.emplace(std::move(*slot.value));
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace mlx::core
