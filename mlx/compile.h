// compile: trace a function once per signature of its inputs, simplify the graph, and replay it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mlx/array.h"

namespace mlx::core {

enum class CompileMode { disabled, no_simplify, no_fuse, enabled };

// shapeless: one trace serves all shapes; only operations whose output shapes follow from their inputs' may
// occur.
std::function<std::vector<array>(const std::vector<array>&)> compile(
    std::function<std::vector<array>(const std::vector<array>&)> fun, bool shapeless = false);
std::function<std::vector<array>(const std::vector<array>&)> compile(
    std::vector<array> (*fun)(const std::vector<array>&), bool shapeless = false);
template <class F>
  requires(!std::is_convertible_v<F, std::function<std::vector<array>(const std::vector<array>&)>> &&
           std::is_invocable_r_v<array, F, const array&>)
std::function<array(const array&)> compile(F&& f, bool shapeless = false) {
  auto many = compile([f](const std::vector<array>& in) { return std::vector<array>{f(in[0])}; }, shapeless);
  return [many](const array& x) { return many({x})[0]; };
}

void disable_compile();
void enable_compile();
void set_compile_mode(CompileMode mode);

namespace detail {

// For the bindings: a cache of its own per function, and values that are not arrays as part of the key. What
// the function returns besides arrays is kept in `extra`, per trace.
using TracedFunction =
    std::function<std::pair<std::vector<array>, std::shared_ptr<void>>(const std::vector<array>&)>;
std::function<std::pair<std::vector<array>, std::shared_ptr<void>>(const std::vector<array>&,
                                                                   const std::vector<uint64_t>& constants)>
compile_keyed(TracedFunction fun, bool shapeless);
bool compile_enabled();
// Is the array a placeholder in a trace that is to serve all sizes?
bool sizes_open(const array& a);

}  // namespace detail

}  // namespace mlx::core
