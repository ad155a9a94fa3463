// The Python module charbonnier._ext: the operation of ../cpp/charbonnier.h for arrays of mlx.core. Both
// modules are built with NB_DOMAIN mlx, so the array type of mlx.core is known here.
#include <nanobind/nanobind.h>

#include "charbonnier.h"

namespace nb = nanobind;
using namespace nb::literals;

NB_MODULE(_ext, m) {
  m.def(
      "charbonnier",
      [](const mlx::core::array& a, const mlx::core::array& b, float eps) {
        return examples::charbonnier(a, b, eps);
      },
      "a"_a, "b"_a, "eps"_a = 1e-3f, "sqrt((a - b)^2 + eps^2), element by element.");
}
