// linalg.cross: a kernel of the CPU for vectors of three real elements that lie together, elsewhere products
// of parts.
#include "mlx/ops/cross.h"

#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"

namespace mlx::core::linalg {
namespace {

bool is_crossed(const array& a) {
  return a.ndim() > 0 && a.shape(-1) == 3 && (a.dtype() == float32 || a.dtype() == float64);
}
array crossed(const array& a, const array& b, StreamOrDevice s) {
  return make<Cross>(a.shape(), a.dtype(), s, {a, b});
}

}  // namespace

// g . (a x t) = t . (g x a)
Arrays Cross::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums, const Arrays&) {
  Arrays out;
  for (int i : argnums)
    out.push_back(i == 0 ? crossed(primals[1], cotangents[0], stream())
                         : crossed(cotangents[0], primals[0], stream()));
  return out;
}
Arrays Cross::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  Arrays parts;
  for (size_t i = 0; i < argnums.size(); ++i)
    parts.push_back(argnums[i] == 0 ? crossed(tangents[i], primals[1], stream())
                                    : crossed(primals[0], tangents[i], stream()));
  return {parts.size() == 2 ? add(parts[0], parts[1], stream()) : parts[0]};
}
Batched Cross::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) { return Arrays{crossed(in[0], in[1], stream())}; });
}

array cross(const array& a, const array& b, int axis, StreamOrDevice s) {
  fix_sizes("cross", {a, b});
  const int i = checked_axis("linalg.cross", axis, a.shape());
  const int j = checked_axis("linalg.cross", axis, b.shape());
  const int n = a.shape(i), m = b.shape(j);
  if ((n != 2 && n != 3) || (m != 2 && m != 3))
    throw invalid("linalg.cross", "vectors must have 2 or 3 elements, got ", n, " and ", m);
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  const int last_a = static_cast<int>(a.ndim()) - 1, last_b = static_cast<int>(b.ndim()) - 1;
  if (n == 3 && m == 3 && i == last_a && j == last_b && (dtype == float32 || dtype == float64) &&
      to_stream(s).device == Device::cpu) {
    const Arrays both = broadcast_arrays({astype(a, dtype, s), astype(b, dtype, s)}, s);
    return crossed(both[0], both[1], s);
  }
  auto part = [&](const array& x, int at, int k) { return astype(take(x, k, at, s), dtype, s); };
  auto product = [&](int p, int q) { return multiply(part(a, i, p), part(b, j, q), s); };
  auto minor = [&](int p, int q) { return subtract(product(p, q), product(q, p), s); };
  if (n == 2 && m == 2) return minor(0, 1);
  // A vector of two elements lies in the plane of the first two.
  const array z = minor(0, 1);
  array x = n == 3 && m == 3 ? minor(1, 2) : (m == 3 ? product(1, 2) : negative(product(2, 1), s));
  array y = n == 3 && m == 3 ? minor(2, 0) : (m == 3 ? negative(product(0, 2), s) : product(2, 0));
  return stack({x, y, z}, axis < 0 ? axis : std::max(i, j), s);
}

namespace {
const bool kept_cross = primitive_table().add<Cross>("Cross", 2, [](const Cross& p, const Arrays& in) {
  check_inputs(p, alike(in[0], in[1]) && is_crossed(in[0]), in);
  return Arrays{crossed(in[0], in[1], p.stream())};
});
}  // namespace

}  // namespace mlx::core::linalg
