// Evaluation and the function transforms.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "mlx/array.h"

namespace mlx::core {

// Runs what is pending on a worker thread and returns at once; reading an array waits for it.
void async_eval(std::vector<array> outputs);
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void async_eval(Arrays&&... outputs) {
  async_eval(std::vector<array>{std::forward<Arrays>(outputs)...});
}
// Computes the arrays, on this thread with the help of the pool.
void eval(std::vector<array> outputs);
template <class... Arrays, class = enable_for_arrays_t<Arrays...>>
void eval(Arrays&&... outputs) {
  eval(std::vector<array>{std::forward<Arrays>(outputs)...});
}

using ArrayFunction = std::function<std::vector<array>(const std::vector<array>&)>;

// Outputs of `fun` at the primals, and the product of its cotangents with the Jacobian, one per primal.
std::pair<std::vector<array>, std::vector<array>> vjp(const ArrayFunction& fun,
                                                      const std::vector<array>& primals,
                                                      const std::vector<array>& cotangents);
std::pair<array, array> vjp(const std::function<array(const array&)>& fun, const array& primal,
                            const array& cotangent);
// Outputs of `fun` at the primals, and the product of the Jacobian with the tangents, one per output.
std::pair<std::vector<array>, std::vector<array>> jvp(const ArrayFunction& fun,
                                                      const std::vector<array>& primals,
                                                      const std::vector<array>& tangents);
std::pair<array, array> jvp(const std::function<array(const array&)>& fun, const array& primal,
                            const array& tangent);

using ValueAndGradFn =
    std::function<std::pair<std::vector<array>, std::vector<array>>(const std::vector<array>&)>;
using SimpleValueAndGradFn = std::function<std::pair<array, std::vector<array>>(const std::vector<array>&)>;

// The first output must have one element: it is what gets differentiated; the others are passed through.
ValueAndGradFn value_and_grad(const ArrayFunction& fun, const std::vector<int>& argnums);
ValueAndGradFn inline value_and_grad(const ArrayFunction& fun, int argnum = 0) {
  return value_and_grad(fun, std::vector<int>{argnum});
}
std::function<std::pair<array, array>(const array&)> inline value_and_grad(
    const std::function<array(const array&)>& fun) {
  return [fun](const array& x) {
    auto [value, grads] =
        value_and_grad([fun](const std::vector<array>& in) { return std::vector<array>{fun(in[0])}; },
                       std::vector<int>{0})({x});
    return std::make_pair(value[0], grads[0]);
  };
}
SimpleValueAndGradFn inline value_and_grad(const std::function<array(const std::vector<array>&)>& fun,
                                           const std::vector<int>& argnums) {
  return [fun, argnums](const std::vector<array>& inputs) {
    auto [value, grads] = value_and_grad(
        ArrayFunction([fun](const std::vector<array>& in) { return std::vector<array>{fun(in)}; }),
        argnums)(inputs);
    return std::make_pair(value[0], grads);
  };
}
SimpleValueAndGradFn inline value_and_grad(const std::function<array(const std::vector<array>&)>& fun,
                                           int argnum = 0) {
  return value_and_grad(fun, std::vector<int>{argnum});
}
std::function<std::vector<array>(const std::vector<array>&)> inline grad(
    const std::function<array(const std::vector<array>&)>& fun, const std::vector<int>& argnums) {
  auto both = value_and_grad(fun, argnums);
  return [both](const std::vector<array>& inputs) { return both(inputs).second; };
}
std::function<std::vector<array>(const std::vector<array>&)> inline grad(
    const std::function<array(const std::vector<array>&)>& fun, int argnum = 0) {
  return grad(fun, std::vector<int>{argnum});
}
std::function<array(const array&)> inline grad(const std::function<array(const array&)>& fun) {
  auto both = value_and_grad(fun);
  return [both](const array& x) { return both(x).second; };
}

// `fun` mapped over an axis of its arguments; -1 in in_axes: the argument is shared.
std::function<array(const array&)> vmap(const std::function<array(const array&)>& fun, int in_axis = 0,
                                        int out_axis = 0);
std::function<array(const array&, const array&)> vmap(
    const std::function<array(const array&, const array&)>& fun, int in_axis_a = 0, int in_axis_b = 0,
    int out_axis = 0);
ArrayFunction vmap(const ArrayFunction& fun, const std::vector<int>& in_axes = {},
                   const std::vector<int>& out_axes = {});

using CustomVjp =
    std::function<std::vector<array>(const std::vector<array>& primals, const std::vector<array>& cotangents,
                                     const std::vector<array>& outputs)>;
using CustomJvp = std::function<std::vector<array>(
    const std::vector<array>& primals, const std::vector<array>& tangents, const std::vector<int>& argnums)>;
using CustomVmap = std::function<std::pair<std::vector<array>, std::vector<int>>(
    const std::vector<array>& inputs, const std::vector<int>& axes)>;
// `fun` with rules of one's own; a rule not given is derived from `fun`.
ArrayFunction custom_function(ArrayFunction fun, std::optional<CustomVjp> fun_vjp = std::nullopt,
                              std::optional<CustomJvp> fun_jvp = std::nullopt,
                              std::optional<CustomVmap> fun_vmap = std::nullopt);
ArrayFunction custom_vjp(ArrayFunction fun, CustomVjp fun_vjp);
// `fun` whose intermediates are computed again for its gradient instead of being kept.
ArrayFunction checkpoint(ArrayFunction fun);

}  // namespace mlx::core
