// sinc. The other functions of mlx/special.h are rows of the element-wise table.
#include "mlx/special.h"

#include <numbers>

#include "mlx/ops.h"
#include "mlx/ops/rules.h"

namespace mlx::core {

// In float64, since the argument of the sine, pi times what is left of a after whole periods, must be better
// than the result. Near 0 the series: sin(t) / t by itself is as accurate, its derivatives are differences of
// numbers near 1 / t.
array sinc(const array& a, StreamOrDevice s) {
  const Dtype dtype = promote_to_float(a.dtype());
  if (dtype == complex64) throw invalid("sinc", "got complex64, expected a real dtype");
  StreamContext context(s);
  const array x = astype(a, float64), one = like(x, 1.0), two = like(x, 2.0);
  const auto times_pi = [](const array& y) { return y * like(y, std::numbers::pi); };
  const array small = less(abs(x), like(x, 0.05));

  // t^2 - ... of sin(t) / t = 1 - t^2/3! + t^4/5! - ...; the next term is 4e-20 at |a| = 0.05.
  const array t = square(times_pi(where(small, x, zeros_of(x))));
  array series = like(x, 1.0 / 39916800);
  for (const double c : {362880.0, 5040.0, 120.0, 6.0}) series = like(x, 1.0 / c) - t * series;
  series = one - t * series;

  // The sine has period 2 in a, and the same values at r and at 1 - r.
  const array safe = where(small, one, x);
  const array r = safe - two * round(safe / two);
  const array folded = where(greater(abs(r), like(x, 0.5)), sign(r) - r, r);
  const array far = sin(times_pi(folded)) / times_pi(safe);
  return astype(where(small, series, far), dtype);
}

}  // namespace mlx::core
