// Special functions and what the representation of a floating-point number allows, element by element.
// Integers and booleans are computed in float32; float32 results are within 2 units in the last place.
#pragma once

#include "mlx/array.h"
#include "mlx/utils.h"

namespace mlx::core {

array erfc(const array& a, StreamOrDevice s = {});
// log |gamma(a)|
array lgamma(const array& a, StreamOrDevice s = {});
// The derivative of lgamma.
array digamma(const array& a, StreamOrDevice s = {});
// The derivative of order n of digamma at x; n holds whole numbers that are not negative.
array polygamma(const array& n, const array& x, StreamOrDevice s = {});
// sin(pi a) / (pi a), 1 at 0.
array sinc(const array& a, StreamOrDevice s = {});
// sqrt(a^2 + b^2), without overflow.
array hypot(const array& a, const array& b, StreamOrDevice s = {});
// The magnitude of a, the sign of b.
array copysign(const array& a, const array& b, StreamOrDevice s = {});
// The number next to a towards b.
array nextafter(const array& a, const array& b, StreamOrDevice s = {});

}  // namespace mlx::core
