#include "mlx/ops/windows.h"

#include <algorithm>

#include "mlx/graph/kernels.h"
#include "mlx/graph/primitive_table.h"
#include "mlx/ops.h"
#include "mlx/ops/reduce.h"

namespace mlx::core {

bool has_extreme_share(const array& x, const Axes& axes, Stream s) {
  const int last = static_cast<int>(x.ndim()) - 1;
  if (OpenSizes::of(x)) return false;  // for these sizes, but not for all
  if (!issubdtype(x.dtype(), floating) || std::binary_search(axes.begin(), axes.end(), last)) return false;
  int64_t elements = 1;
  for (int axis : axes) elements *= x.shape(axis);
  return is_small_window(elements, x.shape(last)) && kernels(s.device.type).find(typeid(ExtremeShare));
}

array extreme_share(const array& x, const array& y, const array& g, const Axes& axes, Stream s) {
  return make<ExtremeShare>(x.shape(), x.dtype(), s, {x, y, g}, axes);
}

// Linear in g. Where the extremes lie does not change with x and y.
Arrays ExtremeShare::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                         const Arrays&) {
  Arrays out;
  for (int arg : argnums) {
    if (arg != 2) {
      out.push_back(zeros_of(primals[static_cast<size_t>(arg)]));
      continue;
    }
    const array shares = extreme_share(primals[0], primals[1], ones_of(primals[2]), axes, stream());
    out.push_back(sum(multiply(cotangents[0], shares, stream()), axes, true, stream()));
  }
  return out;
}

Arrays ExtremeShare::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  for (size_t i = 0; i < argnums.size(); ++i)
    if (argnums[i] == 2) return {extreme_share(primals[0], primals[1], tangents[i], axes, stream())};
  return {zeros_of(primals[0])};
}

Batched ExtremeShare::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    Axes moved = axes;
    for (int& axis : moved) ++axis;
    return Arrays{extreme_share(in[0], in[1], in[2], moved, stream())};
  });
}

namespace {
const bool kept_windows =
    primitive_table().add<ExtremeShare>("ExtremeShare", 3, [](const ExtremeShare& p, const Arrays& in) {
      const array& x = in[0];
      const Axes axes = checked_axes(p.name(), p.axes, x.shape());
      check_inputs(p,
                   x.ndim() > 0 && alike(in[1], in[2]) && in[1].dtype() == x.dtype() &&
                       in[1].shape() == reduced_shape(x.shape(), axes, true),
                   in);
      const Stream s = p.stream();
      if (has_extreme_share(x, axes, s)) return Arrays{extreme_share(x, in[1], in[2], axes, s)};
      return Arrays{multiply(in[2], share_of_extreme(x, in[1], axes, s), s)};  // windows of another size
    });
}  // namespace

}  // namespace mlx::core
