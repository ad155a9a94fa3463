// linalg::cholesky, lu, lu_factor, solve, inv, and what is made of them. Derivatives of Cholesky: I. Murray,
// "Differentiation of the Cholesky decomposition", arXiv:1602.07527. Those of LU follow from
// L^-1 (P dA) U^-1 = L^-1 dL + dU U^-1, whose terms are a lower and an upper triangle.
#include <algorithm>

#include "mlx/graph/primitive_table.h"
#include "mlx/linalg.h"
#include "mlx/ops.h"
#include "mlx/ops/linalg.h"

namespace mlx::core::linalg {
namespace {

array lower_solve(const array& l, const array& b, StreamOrDevice s) {  // L^-1 b
  return make<TriangularSolve>(b.shape(), b.dtype(), s, {l, b}, false);
}
array upper_solve(const array& u, const array& b, StreamOrDevice s) {
  return make<TriangularSolve>(b.shape(), b.dtype(), s, {u, b}, true);
}
// The lower triangle, with half of the diagonal.
array lower_half(const array& a, StreamOrDevice s) {
  return multiply(add(tril(a, 0, s), tril(a, -1, s), s), like(a, 0.5), s);
}
array identity(const array& a, StreamOrDevice s) { return eye(a.shape(-1), a.dtype(), s); }

array factor(const array& a, bool upper, StreamOrDevice s) {
  return make<Cholesky>(a.shape(), a.dtype(), s, {a}, upper);
}

}  // namespace

Arrays Cholesky::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array l = upper ? adjoint(outputs[0], s) : outputs[0];
  const array dl = upper ? adjoint(cotangents[0], s) : cotangents[0], lt = adjoint(l, s);
  const array middle = upper_solve(lt, lower_half(matmul(lt, tril(dl, 0, s), s), s), s);
  const array one = adjoint(upper_solve(lt, adjoint(middle, s), s), s);
  // Each element off the diagonal stands for two.
  const array da = lower_half(add(one, adjoint(one, s), s), s);
  return {upper ? adjoint(da, s) : da};
}
Arrays Cholesky::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const array out = factor(primals[0], upper, s), l = upper ? adjoint(out, s) : out;
  const array da = hermitian_of(upper ? adjoint(tangents[0], s) : tangents[0], s);
  const array left = lower_solve(l, da, s);
  const array dl = matmul(l, lower_half(lower_solve(l, adjoint(left, s), s), s), s);
  return {upper ? adjoint(dl, s) : dl};
}
Batched Cholesky::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) { return Arrays{factor(in[0], upper, stream())}; });
}

array cholesky(const array& a, bool upper, StreamOrDevice s) {
  check_square("linalg.cholesky", a);
  return factor(a, upper, s);
}

// --- LU ---

namespace {

Arrays factored(const array& a, StreamOrDevice s) {
  auto primitive = std::make_shared<LU>(to_stream(s));
  const auto shapes = primitive->output_shapes({a});
  return array::make_arrays(shapes, {a.dtype(), uint32, uint32}, primitive, {a});
}
// x[rows]
array taken_rows(const array& x, const array& rows, StreamOrDevice s) {
  Shape shape = x.shape();
  shape[x.ndim() - 2] = rows.shape(-1);
  return take_along_axis(x, broadcast_to(expand_dims(rows, -1, s), shape, s), -2, s);
}

struct Triangles {
  array l, u;  // of the first min(m, n) rows and columns
};
Triangles triangles(const array& lu, StreamOrDevice s) {
  const int k = std::min(lu.shape(-2), lu.shape(-1));
  const array square = rows_of(columns_of(lu, 0, k, s), 0, k, s);
  return {add(tril(square, -1, s), identity(square, s), s), triu(square, 0, s)};
}
array right_upper_solve(const array& b, const array& u, StreamOrDevice s) {  // b U^-1
  return flipped(lower_solve(flipped(u, s), flipped(b, s), s), s);
}

}  // namespace

Arrays LU::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array &packed = outputs[0], &d = cotangents[0];
  const int m = packed.shape(-2), n = packed.shape(-1), k = std::min(m, n);
  const auto [l, u] = triangles(packed, s);
  const array lt = adjoint(l, s), ut = adjoint(u, s), square = rows_of(columns_of(d, 0, k, s), 0, k, s);
  array dl = tril(square, -1, s), du = triu(square, 0, s);
  array below = d, right = d;
  if (m > k) {  // L2 = A2 U^-1
    below = adjoint(upper_solve(u, adjoint(rows_of(d, k, m, s), s), s), s);
    du = subtract(du, matmul(adjoint(rows_of(packed, k, m, s), s), below, s), s);
  }
  if (n > k) {  // U2 = L^-1 A2
    right = upper_solve(lt, columns_of(d, k, n, s), s);
    dl = subtract(dl, matmul(right, adjoint(columns_of(packed, k, n, s), s), s), s);
  }
  const array middle = add(tril(matmul(lt, dl, s), -1, s), triu(matmul(du, ut, s), 0, s), s);
  array da = upper_solve(lt, adjoint(upper_solve(u, adjoint(middle, s), s), s), s);
  if (m > k) da = concatenate({da, below}, -2, s);
  if (n > k) da = concatenate({da, right}, -1, s);
  return {taken_rows(da, outputs[2], s)};
}
Arrays LU::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const Arrays out = factored(primals[0], s);
  const array &packed = out[0], da = taken_rows(tangents[0], argsort(out[2], -1, s), s);
  const int m = packed.shape(-2), n = packed.shape(-1), k = std::min(m, n);
  const auto [l, u] = triangles(packed, s);
  const array x = right_upper_solve(lower_solve(l, rows_of(columns_of(da, 0, k, s), 0, k, s), s), u, s);
  const array dl = matmul(l, tril(x, -1, s), s), du = matmul(triu(x, 0, s), u, s);
  array d = add(tril(dl, -1, s), triu(du, 0, s), s);
  if (m > k) {
    const array change = subtract(rows_of(da, k, m, s), matmul(rows_of(packed, k, m, s), du, s), s);
    d = concatenate({d, right_upper_solve(change, u, s)}, -2, s);
  }
  if (n > k) {
    const array change = subtract(columns_of(da, k, n, s), matmul(dl, columns_of(packed, k, n, s), s), s);
    d = concatenate({d, lower_solve(l, change, s)}, -1, s);
  }
  return {d, zeros_of(out[1]), zeros_of(out[2])};
}
Batched LU::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) { return factored(in[0], stream()); });
}
std::vector<Shape> LU::output_shapes(const Arrays& inputs) {
  const Shape& shape = inputs[0].shape();
  Shape exchanges(shape.begin(), shape.end() - 1), rows = exchanges;
  exchanges.back() = std::min(shape[shape.size() - 2], shape.back());
  return {shape, exchanges, rows};
}

std::pair<array, array> lu_factor(const array& a, StreamOrDevice s) {
  check_matrices("linalg.lu_factor", a);
  const Arrays out = factored(a, s);
  return {out[0], out[1]};
}
std::vector<array> lu(const array& a, StreamOrDevice s) {
  check_matrices("linalg.lu", a);
  const Arrays out = factored(a, s);
  const int m = a.shape(-2), n = a.shape(-1), k = std::min(m, n);
  const array lower = columns_of(out[0], 0, k, s);
  const array l = add(tril(lower, -1, s), eye(m, k, 0, a.dtype(), s), s);
  return {out[2], l, triu(rows_of(out[0], 0, k, s), 0, s)};
}

// --- solve, inv ---

namespace {

array solution(const array& a, const array& b, StreamOrDevice s) {
  return make<Solve>(b.shape(), b.dtype(), s, {a, b});
}
array inverse(const array& a, StreamOrDevice s) { return make<Inverse>(a.shape(), a.dtype(), s, {a}); }

}  // namespace

Arrays Solve::vjp(const Arrays& primals, const Arrays& cotangents, const Axes& argnums,
                  const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array db = solution(adjoint(primals[0], s), cotangents[0], s);
  Arrays out;
  for (int i : argnums) out.push_back(i == 1 ? db : negative(matmul(db, adjoint(outputs[0], s), s), s));
  return out;
}
Arrays Solve::jvp(const Arrays& primals, const Arrays& tangents, const Axes& argnums) {
  const StreamOrDevice s = stream();
  array change = zeros_of(primals[1]);
  for (size_t i = 0; i < argnums.size(); ++i)
    change = argnums[i] == 1
                 ? add(change, tangents[i], s)
                 : subtract(change, matmul(tangents[i], solution(primals[0], primals[1], s), s), s);
  return {solution(primals[0], change, s)};
}
Batched Solve::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at,
                       [&](const Arrays& in) { return Arrays{solution(in[0], in[1], stream())}; });
}

Arrays Inverse::vjp(const Arrays&, const Arrays& cotangents, const Axes&, const Arrays& outputs) {
  const StreamOrDevice s = stream();
  const array yt = adjoint(outputs[0], s);
  return {negative(matmul(yt, matmul(cotangents[0], yt, s), s), s)};
}
Arrays Inverse::jvp(const Arrays& primals, const Arrays& tangents, const Axes&) {
  const StreamOrDevice s = stream();
  const array y = inverse(primals[0], s);
  return {negative(matmul(y, matmul(tangents[0], y, s), s), s)};
}
Batched Inverse::vmap(const Arrays& inputs, const Axes& at) {
  return batch_leading(inputs, at, [&](const Arrays& in) { return Arrays{inverse(in[0], stream())}; });
}

array solve(const array& a, const array& b, StreamOrDevice s) {
  const System system = system_of("linalg.solve", a, b, s);
  const array x = solution(system.a, system.b, s);
  return system.vector ? squeeze(x, -1, s) : x;
}
array inv(const array& a, StreamOrDevice s) {
  fix_sizes("inv", a);
  check_square("linalg.inv", a);
  return inverse(a, s);
}
array tri_inv(const array& a, bool upper, StreamOrDevice s) {
  check_square("linalg.tri_inv", a);
  const array ones = broadcast_to(identity(a, s), a.shape(), s);
  return upper ? upper_solve(a, ones, s) : lower_solve(a, ones, s);
}
array cholesky_inv(const array& a, bool upper, StreamOrDevice s) {
  check_square("linalg.cholesky_inv", a);
  const array y = tri_inv(a, upper, s);
  return upper ? matmul(y, adjoint(y, s), s) : matmul(adjoint(y, s), y, s);
}

// --- determinants ---

namespace {

// U's diagonal, with another sign where a row was exchanged: the determinant's factors.
array factors_of(const char* op, const array& a, StreamOrDevice s) {
  const array x = a.dtype() == float64 || a.dtype() == complex64 ? a : astype(a, float32, s);
  check_square(op, x);
  const Arrays out = factored(x, s);
  const array stayed = equal(out[1], arange(0, a.shape(-1), uint32, s), s),
              d = diagonal(out[0], 0, -2, -1, s);
  return where(stayed, d, negative(d, s), s);
}
Dtype result_type(const array& a) { return issubdtype(a.dtype(), inexact) ? a.dtype() : float32; }

}  // namespace

array det(const array& a, StreamOrDevice s) {
  return astype(prod(factors_of("linalg.det", a, s), -1, false, s), result_type(a), s);
}
std::pair<array, array> slogdet(const array& a, StreamOrDevice s) {
  const array d = factors_of("linalg.slogdet", a, s);
  const array modulus = abs(d, s), size = sum(log(modulus, s), -1, false, s);
  if (d.dtype() == complex64) {
    const array none = equal(modulus, zeros_of(modulus), s);
    const array direction =
        where(none, zeros_of(d), divide(d, where(none, ones_of(modulus), modulus, s), s), s);
    return {prod(direction, -1, false, s), size};
  }
  return {astype(prod(sign(d, s), -1, false, s), result_type(a), s), astype(size, result_type(a), s)};
}

namespace {

const bool kept_factorizations =
    primitive_table().add<Cholesky>(
        "Cholesky", 1,
        [](const Cholesky& p, const Arrays& in) { return Arrays{cholesky(in[0], p.upper, p.stream())}; }) &&
    primitive_table().add<LU>("LU", 1,
                              [](const LU& p, const Arrays& in) {
                                check_matrices("linalg.lu", in[0]);
                                return factored(in[0], p.stream());
                              }) &&
    primitive_table().add<Solve>("Solve", 2,
                                 [](const Solve& p, const Arrays& in) {
                                   const array &a = in[0], &b = in[1];
                                   const Dtype t = a.dtype();
                                   bool fit = (t == float32 || t == float64 || t == complex64) &&
                                              b.dtype() == t && a.ndim() >= 2 && b.ndim() == a.ndim() &&
                                              a.shape(-1) == a.shape(-2);
                                   for (size_t i = 0; fit && i + 1 < a.ndim(); ++i)
                                     fit = a.shape()[i] == b.shape()[i];
                                   check_inputs(p, fit, in);
                                   return Arrays{solution(a, b, p.stream())};
                                 }) &&
    primitive_table().add<Inverse>(
        "Inverse", 1, [](const Inverse& p, const Arrays& in) { return Arrays{inv(in[0], p.stream())}; });

}  // namespace

}  // namespace mlx::core::linalg
