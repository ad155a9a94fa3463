// linalg::eig, eigvals of matrices that need not be symmetric. Derivatives: V^-1 dA V has dw on its diagonal,
// and beside it, over the gaps, what the vectors change by; their lengths stay 1 and their phases as they
// are.
#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {
namespace {

array solution(const array& a, const array& b, StreamOrDevice s) {
  return make<Solve>(b.shape(), b.dtype(), s, {a, b});
}
array inverse_gaps(const array& w, StreamOrDevice s) {  // 1 / (w_j - w_i) at (i, j)
  const array gap = subtract(expand_dims(w, -2, s), expand_dims(w, -1, s), s);
  const array none = equal(gap, zeros_of(gap), s);
  return where(none, zeros_of(gap), divide(ones_of(gap), where(none, ones_of(gap), gap, s), s), s);
}
// v_j^H x_j of every pair of columns, as a row.
array column_products(const array& v, const array& x, StreamOrDevice s) {
  return sum(multiply(conjugate(v, s), x, s), -2, true, s);
}

Arrays decomposed(const array& a, StreamOrDevice s) {
  auto primitive = std::make_shared<Eig>(to_stream(s), true);
  const auto shapes = primitive->output_shapes({a});
  return array::make_arrays(shapes, {complex64, complex64}, primitive, {a});
}
array values_of(const array& a, StreamOrDevice s) {
  Shape shape = a.shape();
  shape.pop_back();
  return make<Eig>(std::move(shape), complex64, s, {a}, false);
}
}  // namespace

Arrays Eig::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const Arrays parts = vectors ? outputs : decomposed(primals[0], s);
  const array &w = parts[0], &v = parts[1];
  array middle = multiply(eye(w.shape(-1), complex64, s), expand_dims(cotangents[0], -1, s), s);
  if (vectors) {
    const array& g = cotangents[1];
    const array free = subtract(g, multiply(v, column_products(v, g, s), s), s);
    middle = add(middle, multiply(conjugate(inverse_gaps(w, s), s), matmul(adjoint(v, s), free, s), s), s);
  }
  const array da = solution(adjoint(v, s), matmul(middle, adjoint(v, s), s), s);
  const Dtype dtype = primals[0].dtype();
  return {dtype == complex64 ? da : astype(real(da, s), dtype, s)};
}
Arrays Eig::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const Arrays parts = decomposed(primals[0], s);
  const array &w = parts[0], &v = parts[1];
  const array turned = solution(v, matmul(astype(tangents[0], complex64, s), v, s), s);
  Arrays out{diagonal(turned, 0, -2, -1, s)};
  if (!vectors) return out;
  const array du = matmul(v, multiply(inverse_gaps(w, s), turned, s), s);
  out.push_back(subtract(du, multiply(v, column_products(v, du, s), s), s));
  return out;
}
Batched Eig::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return vectors ? decomposed(in[0], stream()) : Arrays{values_of(in[0], stream())};
  });
}
std::vector<Shape> Eig::output_shapes(const Arrays& inputs) {
  Shape values = inputs[0].shape();
  values.pop_back();
  return vectors ? std::vector<Shape>{values, inputs[0].shape()} : std::vector<Shape>{values};
}

std::pair<array, array> eig(const array& a, StreamOrDevice s) {
  check_square("linalg.eig", a);
  const Arrays out = decomposed(a, s);
  return {out[0], out[1]};
}
array eigvals(const array& a, StreamOrDevice s) {
  check_square("linalg.eigvals", a);
  return values_of(a, s);
}

namespace {
const bool kept_eig = primitive_table().add<Eig>("Eig", 1, [](const Eig& p, const Arrays& in) {
  return p.vectors ? eig(in[0], p.stream()).first.outputs() : Arrays{eigvals(in[0], p.stream())};
});
}  // namespace

}  // namespace mlx::core::linalg
