// mlx.core.linalg: what factors, inverts and solves.
#include "mlx/linalg.h"

#include "python/src/args.h"
#include "python/src/named.h"

namespace mlx::python {

void init_factorizations(Module& linalg) {
  linalg.def(
      "cholesky",
      [](nb::handle a, bool upper, StreamOrDevice s) {
        return wrap(core::linalg::cholesky(to_array(a, {"cholesky", "a", 1}), upper, s));
      },
      "a"_a, "upper"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cholesky(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array"),
      R"(The triangle ``L`` with ``a = L L^H`` of positive definite matrices; ``L^H`` is ``conj(L)^T``.

Args:
  a: symmetric matrices (..., n, n) in float32 or float64, or Hermitian ones in complex64. One triangle is looked at.
  upper: give ``U`` with ``a = U^H U`` instead, and look at the upper triangle rather than the lower one.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape and dtype of ``a``, with zeros in the other triangle.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a matrix is not positive definite.)");
  linalg.def(
      "cholesky_inv",
      [](nb::handle a, bool upper, StreamOrDevice s) {
        return wrap(core::linalg::cholesky_inv(to_array(a, {"cholesky_inv", "a", 1}), upper, s));
      },
      "a"_a, "upper"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cholesky_inv(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array"),
      R"(The inverse of matrices of which ``cholesky`` gave the triangle: of ``a a^H``.

Args:
  a: lower triangles, matrices (..., n, n) in float32, float64 or complex64.
  upper: they are upper ones: the inverse of ``a^H a``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a diagonal has a zero.)");
  linalg.def(
      "tri_inv",
      [](nb::handle a, bool upper, StreamOrDevice s) {
        return wrap(core::linalg::tri_inv(to_array(a, {"tri_inv", "a", 1}), upper, s));
      },
      "a"_a, "upper"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def tri_inv(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array"),
      R"(The inverse of triangular matrices.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64. The other triangle is not looked at.
  upper: whether they are upper triangles.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a diagonal has a zero.)");
  linalg.def(
      "inv",
      [](nb::handle a, StreamOrDevice s) { return wrap(core::linalg::inv(to_array(a, {"inv", "a", 1}), s)); },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def inv(a: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The inverse of matrices.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a matrix is singular.)");
  linalg.def(
      "pinv",
      [](nb::handle a, StreamOrDevice s) {
        return wrap(core::linalg::pinv(to_array(a, {"pinv", "a", 1}), s));
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def pinv(a: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The pseudoinverse of matrices: the inverse as far as there is one.

Singular values up to ``10 max(m, n) eps`` times the largest are taken for zeros.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  (..., n, m)
Raises:
  ValueError: there are fewer than two dimensions, or another dtype.)");
  linalg.def(
      "det",
      [](nb::handle a, StreamOrDevice s) { return wrap(core::linalg::det(to_array(a, {"det", "a", 1}), s)); },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def det(a: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The determinant of matrices.

Args:
  a: matrices (..., n, n); other dtypes than float64 and complex64 are computed in float32.
  stream: where to run; ``None`` is the default stream.
Returns:
  (...), in the dtype of ``a``; float32 for integers.
Raises:
  ValueError: the matrices are not square.)");
  linalg.def(
      "slogdet",
      [](nb::handle a, StreamOrDevice s) {
        auto [x, y] = core::linalg::slogdet(to_array(a, {"slogdet", "a", 1}), s);
        return named_tuple("SlogdetResult", {"sign", "logabsdet"}, {x, y});
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def slogdet(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      R"(Sign and logarithm of the modulus of the determinant of matrices.

Args:
  a: matrices (..., n, n); other dtypes than float64 and complex64 are computed in float32.
  stream: where to run; ``None`` is the default stream.
Returns:
  The sign (...): 1, -1 or, of complex matrices, another number of modulus 1, and 0 where a matrix is singular; and the
  real logarithm (...).
Raises:
  ValueError: the matrices are not square.)");
  linalg.def(
      "lu",
      [](nb::handle a, StreamOrDevice s) {
        return wrap_tuple(core::linalg::lu(to_array(a, {"lu", "a", 1}), s));
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def lu(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array, array]"),
      R"(The factors of matrices ``a = L[p] U``, found with exchanges of rows.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  The rows ``p`` (..., m) in uint32, ``L`` (..., m, k) with ones on its diagonal, and ``U`` (..., k, n), with
  k = min(m, n).
Raises:
  ValueError: there are fewer than two dimensions, or another dtype.)");
  linalg.def(
      "lu_factor",
      [](nb::handle a, StreamOrDevice s) {
        auto [x, y] = core::linalg::lu_factor(to_array(a, {"lu_factor", "a", 1}), s);
        return nb::make_tuple(wrap(x), wrap(y));
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def lu_factor(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      R"(The factors of ``lu`` in one matrix, and the exchanges of rows.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  (..., m, n) with ``L`` below the diagonal and ``U`` from there on; and (..., k) in uint32: which row the j-th was
  exchanged with, one after the other.
Raises:
  ValueError: there are fewer than two dimensions, or another dtype.)");
  linalg.def(
      "solve",
      [](nb::handle a, nb::handle b, StreamOrDevice s) {
        return wrap(core::linalg::solve(to_array(a, {"solve", "a", 1}), to_array(b, {"solve", "b", 2}), s));
      },
      "a"_a, "b"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def solve(a: array, b: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The solution ``x`` of ``a x = b``.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64.
  b: (..., n, k), or one vector (n).
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``b``, with the leading axes of both broadcast.
Raises:
  ValueError: shapes or dtypes do not go together, or, when evaluated, a matrix is singular.)");
  linalg.def(
      "svd",
      [](nb::handle a, bool compute_uv, StreamOrDevice s) -> nb::object {
        const Arrays out = core::linalg::svd(to_array(a, {"svd", "a", 1}), compute_uv, s);
        return compute_uv ? named_tuple("SVDResult", {"U", "S", "Vh"}, out) : wrap(out[0]);
      },
      "a"_a, "compute_uv"_a = true, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def svd(a: array, compute_uv: bool = True, *, stream: StreamOrDevice = None) "
              "-> tuple[array, array, array] | array"),
      R"(The singular value decomposition of matrices: ``a = U[:, :k] diag(s) Vt[:k]``.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  compute_uv: whether the vectors are wanted.
  stream: where to run; ``None`` is the default stream.
Returns:
  Orthogonal (unitary) ``U`` (..., m, m), the singular values ``s`` (..., k), descending, with k = min(m, n), and ``Vt``
  (..., n, n); or only ``s``.
Raises:
  ValueError: there are fewer than two dimensions, another dtype, or, when evaluated, a number is not finite.)");
  linalg.def(
      "eig",
      [](nb::handle a, StreamOrDevice s) {
        auto [x, y] = core::linalg::eig(to_array(a, {"eig", "a", 1}), s);
        return nb::make_tuple(wrap(x), wrap(y));
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def eig(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      R"(Eigenvalues and right eigenvectors of matrices that need not be symmetric.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  The values (..., n), in no particular order, and the vectors (..., n, n), one a column, of length 1; complex64.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a number is not finite.)");
  linalg.def(
      "eigvals",
      [](nb::handle a, StreamOrDevice s) {
        return wrap(core::linalg::eigvals(to_array(a, {"eigvals", "a", 1}), s));
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def eigvals(a: array, *, stream: StreamOrDevice = None) -> array"),
      R"(Eigenvalues of matrices that need not be symmetric.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  The values (..., n), in no particular order, in complex64.
Raises:
  ValueError: the matrices are not square, or have another dtype; or, when evaluated, a number is not finite.)");
}

}  // namespace mlx::python
