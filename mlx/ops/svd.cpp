// linalg::svd, pinv. Derivatives of the singular value decomposition A = U S V^T: with P = U^T dA V, the
// rotations U^T dU and V^T dV follow from P S + S P^T and S P + P^T S; J. Townsend, "Differentiating the
// singular value decomposition", 2016. Of the pseudoinverse: G. Golub and V. Pereyra, 1973.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {
namespace {

Arrays decomposed(const array& a, StreamOrDevice s) {
  auto primitive = std::make_shared<SVD>(to_stream(s), true);
  const auto shapes = primitive->output_shapes({a});
  return array::make_arrays(shapes, {a.dtype(), type_of_values(a), a.dtype()}, primitive, {a});
}
array values_of(const array& a, StreamOrDevice s) {
  Shape shape(a.shape().begin(), a.shape().end() - 1);
  shape.back() = std::min(a.shape(-1), a.shape(-2));
  return make<SVD>(std::move(shape), type_of_values(a), s, {a}, false);
}

// 1 / (s_j^2 - s_i^2) at (i, j). Vectors of equal values can turn freely: what depends on that has no
// derivative.
array inverse_gaps(const array& w, StreamOrDevice s) {
  const array row = expand_dims(w, -2, s), column = expand_dims(w, -1, s);
  const array gap = multiply(subtract(row, column, s), add(row, column, s), s);
  const array none = equal(gap, zeros_of(gap), s);
  return where(none, zeros_of(gap), reciprocal(where(none, ones_of(gap), gap, s), s), s);
}
array reciprocals(const array& w, StreamOrDevice s) {
  const array none = equal(w, zeros_of(w), s);
  return where(none, zeros_of(w), reciprocal(where(none, ones_of(w), w, s), s), s);
}
array rotation_part(const array& g, StreamOrDevice s) { return subtract(g, adjoint(g, s), s); }

}  // namespace

Arrays SVD::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const Arrays parts = vectors ? outputs : decomposed(primals[0], s);
  const array &u = parts[0], &w = parts[1], &vt = parts[2];
  const int m = u.shape(-1), n = vt.shape(-1), k = std::min(m, n);
  const array dw = vectors ? cotangents[1] : cotangents[0];
  array p = multiply(eye(k, w.dtype(), s), expand_dims(dw, -1, s), s);
  if (vectors) {
    const array gaps = inverse_gaps(w, s), row = expand_dims(w, -2, s), column = expand_dims(w, -1, s);
    const array gu = rotation_part(matmul(adjoint(u, s), cotangents[0], s), s);
    const array gv = rotation_part(matmul(vt, adjoint(cotangents[2], s), s), s);
    const auto corner = [&](const array& g) { return rows_of(columns_of(g, 0, k, s), 0, k, s); };
    p = add(p, multiply(multiply(corner(gu), gaps, s), row, s), s);
    p = add(p, multiply(multiply(corner(gv), gaps, s), column, s), s);
    const array inverse = expand_dims(reciprocals(w, s), -2, s);
    const auto rest = [&](const array& g, int size) {
      return multiply(rows_of(columns_of(g, 0, k, s), k, size, s), inverse, s);
    };
    if (p.dtype() == complex64) {  // the vectors' phases: the change of those of U
      const array half = multiply(multiply(corner(gu), inverse, s), array(0.5f), s);
      p = add(p, multiply(eye(k, float32, s), half, s), s);
    }
    if (m > k) p = concatenate({p, rest(gu, m)}, -2, s);
    if (n > k) p = concatenate({p, adjoint(rest(gv, n), s)}, -1, s);
    return {matmul(u, matmul(p, vt, s), s)};
  }
  return {matmul(columns_of(u, 0, k, s), matmul(astype(p, u.dtype(), s), rows_of(vt, 0, k, s), s), s)};
}
Arrays SVD::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const Arrays parts = decomposed(primals[0], s);
  const array &u = parts[0], &w = parts[1], &vt = parts[2];
  const int m = u.shape(-1), n = vt.shape(-1), k = std::min(m, n);
  const array p = matmul(adjoint(u, s), matmul(tangents[0], adjoint(vt, s), s), s);
  const array corner = rows_of(columns_of(p, 0, k, s), 0, k, s);
  const array along = diagonal(corner, 0, -2, -1, s), dw = u.dtype() == complex64 ? real(along, s) : along;
  if (!vectors) return {dw};
  const array gaps = inverse_gaps(w, s), row = expand_dims(w, -2, s), column = expand_dims(w, -1, s);
  const array ct = adjoint(corner, s);
  array turn_u = multiply(gaps, add(multiply(corner, row, s), multiply(ct, column, s), s), s);
  array turn_v = multiply(gaps, add(multiply(corner, column, s), multiply(ct, row, s), s), s);
  const array inverse = expand_dims(reciprocals(w, s), -2, s);
  if (u.dtype() == complex64) {
    const array phases = multiply(expand_dims(subtract(along, dw, s), -2, s), inverse, s);
    turn_u = add(turn_u, multiply(eye(k, float32, s), phases, s), s);
  }
  // Rows `rest` below, its negative transpose beside, zeros in the corner.
  const auto bordered = [&](const array& turn, const array& rest) {
    const array below = multiply(rest, inverse, s);
    Shape corner_shape = below.shape();
    corner_shape.back() = below.shape(-2);
    const array right =
        concatenate({negative(adjoint(below, s), s), zeros(corner_shape, below.dtype(), s)}, -2, s);
    return concatenate({concatenate({turn, below}, -2, s), right}, -1, s);
  };
  if (m > k) turn_u = bordered(turn_u, rows_of(p, k, m, s));
  if (n > k) turn_v = bordered(turn_v, adjoint(columns_of(p, k, n, s), s));
  return {matmul(u, turn_u, s), dw, matmul(adjoint(turn_v, s), vt, s)};
}
Batched SVD::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    return vectors ? decomposed(in[0], stream()) : Arrays{values_of(in[0], stream())};
  });
}
std::vector<Shape> SVD::output_shapes(const Arrays& inputs) {
  const Shape& shape = inputs[0].shape();
  const int m = shape[shape.size() - 2], n = shape.back();
  Shape values(shape.begin(), shape.end() - 1), u = shape, vt = shape;
  values.back() = std::min(m, n);
  u.back() = m;
  vt[vt.size() - 2] = n;
  return vectors ? std::vector<Shape>{u, values, vt} : std::vector<Shape>{values};
}

std::vector<array> svd(const array& a, bool compute_uv, StreamOrDevice s) {
  check_matrices("linalg.svd", a);
  return compute_uv ? decomposed(a, s) : Arrays{values_of(a, s)};
}
std::vector<array> svd(const array& a, StreamOrDevice s) { return svd(a, true, s); }

// --- pinv ---

namespace {

array pseudoinverse(const array& a, StreamOrDevice s) {
  Shape shape = a.shape();
  std::swap(shape[a.ndim() - 1], shape[a.ndim() - 2]);
  return make<PseudoInverse>(std::move(shape), a.dtype(), s, {a});
}
}  // namespace

// dY = -Y dA Y + Y Y^H dA^H (1 - A Y) + (1 - Y A) dA^H Y^H Y
Arrays PseudoInverse::vjp(const Arrays& primals, const Arrays& cotangents, const Axes&,
                          const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array &a = primals[0], &y = outputs[0], &g = cotangents[0], yt = adjoint(y, s), gt = adjoint(g, s);
  const array left = subtract(eye(a.shape(-2), a.dtype(), s), matmul(a, y, s), s);
  const array right = subtract(eye(a.shape(-1), a.dtype(), s), matmul(y, a, s), s);
  const array main = matmul(yt, matmul(g, yt, s), s);
  const array first = matmul(left, matmul(gt, matmul(y, yt, s), s), s);
  const array second = matmul(matmul(yt, y, s), matmul(gt, right, s), s);
  return {subtract(add(first, second, s), main, s)};
}
Arrays PseudoInverse::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const array &a = primals[0], y = pseudoinverse(a, s), yt = adjoint(y, s);
  const array &d = tangents[0], dt = adjoint(d, s);
  const array left = subtract(eye(a.shape(-2), a.dtype(), s), matmul(a, y, s), s);
  const array right = subtract(eye(a.shape(-1), a.dtype(), s), matmul(y, a, s), s);
  const array main = matmul(y, matmul(d, y, s), s);
  const array first = matmul(matmul(y, yt, s), matmul(dt, left, s), s);
  const array second = matmul(right, matmul(dt, matmul(yt, y, s), s), s);
  return {subtract(add(first, second, s), main, s)};
}
Batched PseudoInverse::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) { return Arrays{pseudoinverse(in[0], stream())}; });
}
std::vector<Shape> PseudoInverse::output_shapes(const Arrays& inputs) {
  Shape shape = inputs[0].shape();
  std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  return {shape};
}
array pinv(const array& a, StreamOrDevice s) {
  fix_sizes("pinv", a);
  check_matrices("linalg.pinv", a);
  return pseudoinverse(a, s);
}

namespace {
const bool kept_svd = primitive_table().add<SVD>("SVD", 1, [](const SVD& p, const Arrays& in) {
  return svd(in[0], p.vectors, p.stream());
}) && primitive_table().add<PseudoInverse>("PseudoInverse", 1, [](const PseudoInverse& p, const Arrays& in) {
  return Arrays{pinv(in[0], p.stream())};
});
}  // namespace

}  // namespace mlx::core::linalg
