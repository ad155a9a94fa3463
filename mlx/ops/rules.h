// Checks and rules that operations share: an op names itself, these word the error or state the rule once.
#pragma once

#include <functional>
#include <sstream>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "mlx/ops/open_sizes.h"
#include "mlx/primitives.h"
#include "mlx/utils.h"

namespace mlx::core {

using Arrays = std::vector<array>;
using Axes = std::vector<int>;
using Batched = std::pair<Arrays, Axes>;  // outputs of a vmap rule and their batch axes

// text("got ", shape, ", expected ", n): anything that prints.
template <class... T>
std::string text(const T&... parts) {
  std::ostringstream os;
  (os << ... << parts);
  return os.str();
}
// throw invalid("matmul", "got ", a.shape(), ", expected ...") gives `[matmul] got (3,4), expected ...`.
template <class... T>
std::invalid_argument invalid(std::string_view op, const T&... parts) {
  return std::invalid_argument(text("[", op, "] ", parts...));
}

// An axis counted from the front. IndexError: `[softmax] axis 5 is outside [-2, 2) of an array of shape
// (3,4)`.
int checked_axis(std::string_view op, int axis, const Shape& shape);
// Sorted, each once; ValueError where one is given twice.
Axes checked_axes(std::string_view op, const Axes& axes, const Shape& shape);
Axes all_axes(const array& a);
void check_dtype(std::string_view op, const array& a, Dtype::Category category);

// For nodes that no public function makes, as those of derivatives, where their inputs come from a file:
// ValueError with the inputs' shapes and dtypes unless `fit`.
void check_inputs(const Primitive& p, bool fit, const Arrays& inputs);
// Of one shape and dtype.
bool alike(const array& a, const array& b);

// A 0-d array of x's dtype: constants in rules keep the dtype of what they are combined with.
array like(const array& x, double value);
array like(const array& x, double real, double imag);
array zeros_of(const array& x);
array ones_of(const array& x);
// `a` with the shape of `x`, whatever that will be.
array broadcast_like(const array& a, const array& x, StreamOrDevice s);

// --- derivatives by those of a composition ---

using Composition = std::function<Arrays(const Arrays&)>;
Arrays chosen(const Arrays& all, const Axes& which);
// `f` as a function of the chosen inputs, the others being constants.
Composition with_only(const Arrays& all, const Axes& which, const Composition& f);
Arrays vjp_of(const Composition& f, const Arrays& primals, const Arrays& cotangents, const Axes& argnums);
Arrays jvp_of(const Composition& f, const Arrays& primals, const Arrays& tangents, const Axes& argnums);

// --- vmap rules ---

// The primitive works on trailing axes and treats leading ones as a batch: every input's batch axis is moved
// to the front (inputs without one get one by broadcasting), the function is called, and the outputs have it
// at the front.
template <class F>
Batched batch_leading(const Arrays& inputs, const Axes& axes, F&& function);
array batch_to_front(const array& a, int axis, int batch_size);
int batch_size(const Arrays& inputs, const Axes& axes);

template <class F>
Batched batch_leading(const Arrays& inputs, const Axes& axes, F&& function) {
  const int size = batch_size(inputs, axes);
  Arrays front;
  front.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) front.push_back(batch_to_front(inputs[i], axes[i], size));
  Arrays out = function(front);
  return {out, Axes(out.size(), 0)};
}

// For a primitive that cannot take a batch: one call per batch element, the outputs stacked at the front.
Batched one_by_one(const Arrays& inputs, const Axes& axes, StreamOrDevice s,
                   const std::function<Arrays(const Arrays&)>& call);

// --- building nodes ---

// One node with one output.
template <class P, class... Args>
array make(Shape shape, Dtype dtype, StreamOrDevice s, Arrays inputs, Args&&... args) {
  return array(std::move(shape), dtype, std::make_shared<P>(to_stream(s), std::forward<Args>(args)...),
               std::move(inputs));
}

// For is_equivalent: the other one, where it is of the same class, else null.
template <class P>
const P* same_kind(const P&, const Primitive& other) {
  return typeid(other) == typeid(P) ? static_cast<const P*>(&other) : nullptr;
}

}  // namespace mlx::core
