// linalg::eigh, linalg::eigvalsh. Derivatives: M. Seeger et al., "Auto-differentiating linear algebra",
// arXiv:1710.08717.
#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {
namespace {

// 1 / (w[j] - w[i]) at (i, j). Between equal eigenvalues vectors can turn freely: what depends on the
// direction has no derivative, and for the rest it does not matter what stands here.
array inverse_gaps(const array& w, StreamOrDevice s) {
  const array gap = subtract(expand_dims(w, -2, s), expand_dims(w, -1, s), s);
  const array none = equal(gap, zeros_of(gap), s);
  return where(none, zeros_of(gap), reciprocal(where(none, ones_of(gap), gap, s), s), s);
}

Arrays decomposed(const array& a, StreamOrDevice s) {
  auto primitive = std::make_shared<Eigh>(to_stream(s), true);
  const auto shapes = primitive->output_shapes({a});
  return array::make_arrays(shapes, {type_of_values(a), a.dtype()}, primitive, {a});
}
array values_of(const array& a, StreamOrDevice s) {
  Shape shape = a.shape();
  shape.pop_back();
  return make<Eigh>(std::move(shape), type_of_values(a), s, {a}, false);
}

// The whole of a symmetric or Hermitian matrix of which one triangle is given.
array symmetric(const char* op, const array& a, const std::string& triangle, StreamOrDevice s) {
  check_square(op, a);
  if (triangle != "L" && triangle != "U" && triangle != "l" && triangle != "u")
    throw invalid(op, "UPLO must be \"L\" or \"U\", got \"", triangle, "\"");
  const bool upper = triangle == "U" || triangle == "u";
  return hermitian_of(upper ? adjoint(a, s) : a, s);
}

}  // namespace

Arrays Eigh::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const Arrays parts = vectors ? outputs : decomposed(primals[0], s);
  const array &w = parts[0], &v = parts[1], vt = adjoint(v, s);
  array middle = multiply(eye(w.shape(-1), w.dtype(), s), expand_dims(cotangents[0], -1, s), s);
  if (vectors) middle = add(middle, multiply(inverse_gaps(w, s), matmul(vt, cotangents[1], s), s), s);
  return {matmul(v, matmul(astype(middle, v.dtype(), s), vt, s), s)};
}
Arrays Eigh::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const Arrays parts = decomposed(primals[0], s);
  const array &w = parts[0], &v = parts[1];
  const array turned = matmul(adjoint(v, s), matmul(tangents[0], v, s), s);
  const array change = diagonal(turned, 0, -2, -1, s);
  Arrays out{turned.dtype() == complex64 ? real(change, s) : change};
  if (vectors) out.push_back(matmul(v, multiply(inverse_gaps(w, s), turned, s), s));
  return out;
}
Batched Eigh::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return vectors ? decomposed(in[0], stream()) : Arrays{values_of(in[0], stream())};
  });
}
std::vector<Shape> Eigh::output_shapes(const Arrays& inputs) {
  Shape values = inputs[0].shape();
  values.pop_back();
  return vectors ? std::vector<Shape>{values, inputs[0].shape()} : std::vector<Shape>{values};
}

std::pair<array, array> eigh(const array& a, std::string UPLO, StreamOrDevice s) {
  const Arrays out = decomposed(symmetric("linalg.eigh", a, UPLO, s), s);
  return {out[0], out[1]};
}
array eigvalsh(const array& a, std::string UPLO, StreamOrDevice s) {
  return values_of(symmetric("linalg.eigvalsh", a, UPLO, s), s);
}

namespace {
// The node's matrices are whole already.
const bool kept_eigh = primitive_table().add<Eigh>("Eigh", 1, [](const Eigh& p, const Arrays& in) {
  symmetric("linalg.eigh", in[0], "L", p.stream());
  return p.vectors ? decomposed(in[0], p.stream()) : Arrays{values_of(in[0], p.stream())};
});
}  // namespace

}  // namespace mlx::core::linalg
