// linalg::qr, linalg::solve_triangular. Their derivatives: M. Seeger et al., "Auto-differentiating linear
// algebra", arXiv:1710.08717; for wide matrices, D. Roberts and L. Roberts, arXiv:2009.10071.
#include "mlx/ops/linalg.h"

#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"

namespace mlx::core::linalg {

void check_matrices(const char* op, const array& a) {
  if (a.dtype() != float32 && a.dtype() != float64 && a.dtype() != complex64)
    throw invalid(op, "got ", a.dtype(), ", expected float32, float64 or complex64");
  if (a.ndim() < 2) throw invalid(op, "got an array with ", a.ndim(), " dimensions, expected at least 2");
}
void check_square(const char* op, const array& a) {
  check_matrices(op, a);
  if (a.shape(-1) != a.shape(-2))
    throw invalid(op, "got the shape ", a.shape(), ", expected square matrices");
}

array hermitian_of(const array& lower, StreamOrDevice s) {
  const array below = tril(lower, -1, s);
  if (lower.dtype() != complex64) return add(tril(lower, 0, s), flipped(below, s), s);
  const array middle = multiply(eye(lower.shape(-1), float32, s), real(lower, s), s);
  return add(add(below, adjoint(below, s), s), middle, s);
}

array columns_of(const array& a, int begin, int end, StreamOrDevice s) {
  Shape start(a.ndim(), 0), stop = a.shape();
  start.back() = begin;
  stop.back() = end;
  return slice(a, std::move(start), std::move(stop), s);
}
array rows_of(const array& a, int begin, int end, StreamOrDevice s) {
  Shape start(a.ndim(), 0), stop = a.shape();
  start[a.ndim() - 2] = begin;
  stop[a.ndim() - 2] = end;
  return slice(a, std::move(start), std::move(stop), s);
}

System system_of(const char* op, const array& a, const array& b, StreamOrDevice s) {
  const Dtype dtype = promote_types(a.dtype(), b.dtype());
  check_square(op, astype(a, dtype, s));
  if (b.ndim() == 0) throw invalid(op, "got a right-hand side without dimensions, expected at least one");
  const bool vector = b.ndim() == 1;
  const array columns = vector ? expand_dims(b, -1, s) : b;
  if (columns.shape(-2) != a.shape(-1))
    throw invalid(op, "got matrices of shape ", a.shape(), " and a right-hand side of shape ", b.shape());
  const auto leading = [](const array& x) { return Shape(x.shape().begin(), x.shape().end() - 2); };
  const Shape batch = broadcast_shapes(leading(a), leading(columns));
  const auto spread = [&](const array& x) {
    Shape shape = batch;
    shape.insert(shape.end(), x.shape().end() - 2, x.shape().end());
    return broadcast_to(astype(x, dtype, s), shape, s);
  };
  return {spread(a), spread(columns), vector};
}

namespace {

// x with x R = b.
array right_solve(const array& b, const array& r, StreamOrDevice s) {
  return flipped(solve_triangular(flipped(r, s), flipped(b, s), false, s), s);
}
array right_solve_adjoint(const array& b, const array& r, StreamOrDevice s) {  // x R^H = b
  return adjoint(solve_triangular(r, adjoint(b, s), true, s), s);
}

// dA of A = QR with m >= n, given those of Q and R.
array tall_vjp(const array& q, const array& r, const array& dq, const array& dr, StreamOrDevice s) {
  const array m = subtract(matmul(r, adjoint(dr, s), s), matmul(adjoint(dq, s), q, s), s);
  return right_solve_adjoint(add(dq, matmul(q, hermitian_of(m, s), s), s), r, s);
}

}  // namespace

Arrays QR::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array &q = outputs[0], &r = outputs[1], &dq = cotangents[0], &dr = cotangents[1];
  const int k = r.shape(-2), n = r.shape(-1);
  if (n <= k) return {tall_vjp(q, r, dq, dr, s)};
  // Wide: A = [A1 A2] with A1 = Q R1 and A2 = Q R2.
  const array r1 = columns_of(r, 0, k, s), r2 = columns_of(r, k, n, s);
  const array dr1 = columns_of(dr, 0, k, s), dr2 = columns_of(dr, k, n, s);
  const array through = matmul(matmul(q, r2, s), adjoint(dr2, s), s);  // R2 = Q^H A2
  return {concatenate({tall_vjp(q, r1, add(dq, through, s), dr1, s), matmul(q, dr2, s)}, -1, s)};
}

Arrays QR::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const array &a = primals[0], &da = tangents[0];
  const auto [q, r] = qr(a, s);
  const int k = r.shape(-2), n = r.shape(-1);
  const bool wide = n > k;
  const array r1 = wide ? columns_of(r, 0, k, s) : r, da1 = wide ? columns_of(da, 0, k, s) : da;
  const array x = right_solve(da1, r1, s), qt = adjoint(q, s);
  const array c = matmul(qt, x, s), below = tril(c, -1, s);
  array turn = subtract(below, adjoint(below, s), s);
  if (c.dtype() == complex64) {  // what is left is a triangle with a real diagonal
    const array middle = multiply(eye(k, complex64, s), subtract(c, real(c, s), s), s);
    turn = add(turn, middle, s);
  }
  const array dq = add(x, matmul(q, subtract(turn, c, s), s), s);
  const array dr1 = triu(matmul(subtract(c, turn, s), r1, s), 0, s);
  if (!wide) return {dq, dr1};
  const array a2 = columns_of(a, k, n, s), da2 = columns_of(da, k, n, s);
  const array dr2 = add(matmul(adjoint(dq, s), a2, s), matmul(qt, da2, s), s);
  return {dq, concatenate({dr1, dr2}, -1, s)};
}

Batched QR::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) {
    auto [q, r] = qr(in[0], stream());
    return Arrays{q, r};
  });
}

std::vector<Shape> QR::output_shapes(const Arrays& inputs) {
  Shape q = inputs[0].shape(), r = q;
  q.back() = r[r.size() - 2] = std::min(q[q.size() - 2], q.back());
  return {q, r};
}

std::pair<array, array> qr(const array& a, StreamOrDevice s) {
  check_matrices("linalg.qr", a);
  auto primitive = std::make_shared<QR>(to_stream(s));
  const auto shapes = primitive->output_shapes({a});
  auto out = array::make_arrays(shapes, {a.dtype(), a.dtype()}, primitive, {a});
  return {out[0], out[1]};
}

// --- solve_triangular ---

namespace {

array solved(const array& a, const array& b, bool upper, StreamOrDevice s) {
  return make<TriangularSolve>(b.shape(), b.dtype(), s, {a, b}, upper);
}
array triangle(const array& a, bool upper, StreamOrDevice s) { return upper ? triu(a, 0, s) : tril(a, 0, s); }

}  // namespace

Arrays TriangularSolve::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                            const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array db = solved(adjoint(primals[0], s), cotangents[0], !upper, s);
  Arrays out;
  for (int i : argnums)
    out.push_back(i == 1 ? db : negative(triangle(matmul(db, adjoint(outputs[0], s), s), upper, s), s));
  return out;
}
Arrays TriangularSolve::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const StreamOrDevice s = stream();
  array change = zeros_of(primals[1]);
  for (size_t i = 0; i < argnums.size(); ++i) {
    if (argnums[i] == 1) {
      change = add(change, tangents[i], s);
    } else {
      const array x = solved(primals[0], primals[1], upper, s);
      change = subtract(change, matmul(triangle(tangents[i], upper, s), x, s), s);
    }
  }
  return {solved(primals[0], change, upper, s)};
}
Batched TriangularSolve::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{solved(in[0], in[1], upper, stream())}; });
}

array solve_triangular(const array& a, const array& b, bool upper, StreamOrDevice s) {
  const System system = system_of("linalg.solve_triangular", a, b, s);
  const array x = solved(system.a, system.b, upper, s);
  return system.vector ? squeeze(x, -1, s) : x;
}

namespace {
const bool kept_linalg =
    primitive_table().add<QR>(
        "QR", 1, [](const QR& p, const Arrays& in) { return qr(in[0], p.stream()).first.outputs(); }) &&
    primitive_table().add<TriangularSolve>(
        "TriangularSolve", 2, [](const TriangularSolve& p, const Arrays& in) {
          check_inputs(p, in[1].ndim() >= 2, in);
          return Arrays{solve_triangular(in[0], in[1], p.upper, p.stream())};
        });
}  // namespace

}  // namespace mlx::core::linalg
