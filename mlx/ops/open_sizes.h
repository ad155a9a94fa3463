// Tracing for all sizes: compile(shapeless=True) replays a graph on arrays of other sizes. Operations whose
// rules name axes follow the sizes by themselves. Where a size becomes a parameter or a constant of the
// graph, the array that it was read from is noted, and a replay with another size there is an error instead
// of a wrong result.
#pragma once

#include <string>
#include <vector>

#include "mlx/array.h"

namespace mlx::core {

// A slice's stop or start beyond every array: to the end, whatever the size.
constexpr ShapeElem kToEnd = 0x7fffffff;
// To the front, for negative strides.
constexpr ShapeElem kToFront = -0x7fffffff - 1;

class OpenSizes {
 public:
  struct Use {
    std::string op;
    array a;
    bool ones_only;  // what matters is which sizes are 0 and 1: these broadcast
    int axis;        // or the size of one axis; -1: of all
  };
  OpenSizes() : outer_(current()) { current() = this; }
  ~OpenSizes() { current() = outer_; }
  OpenSizes(const OpenSizes&) = delete;
  OpenSizes& operator=(const OpenSizes&) = delete;

  static bool of(const array& a) { return current() && a.is_tracer(); }
  std::vector<Use> uses;

 private:
  friend void fix_sizes(std::string_view op, const array& a, bool ones_only);
  friend void fix_size(std::string_view op, const array& a, int axis);
  static OpenSizes*& current() {
    thread_local OpenSizes* now = nullptr;
    return now;
  }
  OpenSizes* outer_;
};

// The graph from here on holds for the sizes of `a` only. Costs nothing outside such a trace.
inline void fix_sizes(std::string_view op, const array& a, bool ones_only = false) {
  if (OpenSizes::of(a)) OpenSizes::current()->uses.push_back({std::string(op), a, ones_only, -1});
}
// Of one axis, counted from the front.
inline void fix_size(std::string_view op, const array& a, int axis) {
  if (OpenSizes::of(a)) OpenSizes::current()->uses.push_back({std::string(op), a, false, axis});
}
inline void fix_sizes(std::string_view op, const std::vector<array>& arrays, bool ones_only = false) {
  for (const array& a : arrays) fix_sizes(op, a, ones_only);
}

}  // namespace mlx::core
