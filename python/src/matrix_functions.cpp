// mlx.core.linalg: rank, least squares, functions and products of matrices.
#include <array>
#include <string>

#include "mlx/linalg.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

void define_rank(Module& linalg) {
  linalg.def(
      "svdvals",
      [](nb::handle a, StreamOrDevice s) {
        return wrap(core::linalg::svdvals(to_array(a, {"svdvals", "a", 1}), s));
      },
      nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def svdvals(a: array, /, *, stream: StreamOrDevice = None) -> array"),
      R"(The singular values of matrices.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  Shape (..., min(m, n)), descending, real.
Raises:
  ValueError: there are fewer than two dimensions, or another dtype.)");
  linalg.def(
      "matrix_rank",
      [](nb::handle a, nb::handle tol, bool hermitian, std::optional<double> rtol, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"matrix_rank", "A", 1});
        if (tol.is_none()) return wrap(core::linalg::matrix_rank(x, rtol, hermitian, s));
        if (rtol) throw std::invalid_argument("[linalg.matrix_rank] got tol and rtol, expected one of them");
        return wrap(core::linalg::matrix_rank(x, to_array(tol, {"matrix_rank", "tol", 2}), hermitian, s));
      },
      "A"_a, "tol"_a = nb::none(), "hermitian"_a = false, nb::kw_only(), "rtol"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def matrix_rank(A: array, tol: scalar | array | None = None, hermitian: bool = False, *, "
              "rtol: float | "
              "None = None, stream: StreamOrDevice = None) -> array"),
      R"(How many singular values are not zero but for rounding.

Args:
  A: matrices (..., m, n).
  tol: values up to this are zeros; a number, or one for each matrix.
  hermitian: the matrices are symmetric or Hermitian: eigenvalues are looked at, which is faster.
  rtol: the same relative to the largest value; ``None`` is ``max(m, n) eps``.
  stream: where to run; ``None`` is the default stream.
Returns:
  Shape (...), int32.
Raises:
  ValueError: there are fewer than two dimensions, or both bounds are given.)");
  linalg.def(
      "cond",
      [](nb::handle a, nb::handle p, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"cond", "x", 1});
        if (p.is_none()) return wrap(core::linalg::cond(x, 2.0, s));
        if (PyUnicode_Check(p.ptr())) return wrap(core::linalg::cond(x, nb::cast<std::string>(p), s));
        if (!PyFloat_Check(p.ptr()) && !is_int(p)) bad_type({"cond", "p", 2}, "None, int, float or str", p);
        return wrap(core::linalg::cond(x, nb::cast<double>(p), s));
      },
      "x"_a, "p"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cond(x: array, p: None | int | float | str = None, *, stream: StreamOrDevice = None) -> "
              "array"),
      R"(The condition number of matrices, ``norm(x, p) norm(inv(x), p)``.

Args:
  x: matrices (..., m, n); square ones for norms other than 2 and -2.
  p: which norm, see norm; ``None`` is 2: the quotient of the largest and the smallest singular value.
  stream: where to run; ``None`` is the default stream.
Returns:
  Shape (...); ``inf`` for singular matrices.
Raises:
  ValueError: the matrices have no elements, are not square, or there is no such norm.)");
  linalg.def(
      "lstsq",
      [](nb::handle a, nb::handle b, std::optional<double> rcond, StreamOrDevice s) {
        return wrap_tuple(
            core::linalg::lstsq(to_array(a, {"lstsq", "a", 1}), to_array(b, {"lstsq", "b", 2}), rcond, s));
      },
      "a"_a, "b"_a, "rcond"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig(
          "def lstsq(a: array, b: array, rcond: float | None = None, *, stream: StreamOrDevice = None) -> "
          "tuple[array, array, array, array]"),
      R"(The least squares solution ``x`` of ``a x = b``: the shortest of those that make ``|a x - b|`` smallest.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  b: (..., m, k), or a vector (m,).
  rcond: singular values up to so much times the largest count as zeros; ``None`` is ``10 max(m, n) eps``, as for pinv.
  stream: where to run; ``None`` is the default stream.
Returns:
  ``x`` (..., n, k) or (n,); the sums of squares of the columns of ``a x - b``, (..., k) or (1,), whatever the rank; the
  rank, int32; the singular values of ``a``, descending. Derivatives are those at constant rank.
Raises:
  ValueError: the shapes do not fit, or another dtype.)");
}

void define_functions(Module& linalg) {
  linalg.def(
      "matrix_power",
      [](nb::handle a, int n, StreamOrDevice s) {
        return wrap(core::linalg::matrix_power(to_array(a, {"matrix_power", "a", 1}), n, s));
      },
      "a"_a, "n"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def matrix_power(a: array, n: int, *, stream: StreamOrDevice = None) -> array"),
      R"(The product of ``n`` equal matrices, in about ``log2(n)`` steps.

Args:
  a: square matrices (..., n, n).
  n: how many; 0 gives the identity, a negative number the power of the inverse.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape and dtype of ``a``.
Raises:
  ValueError: the matrices are not square, or, with a negative ``n``, when evaluated, singular.)");
  linalg.def(
      "expm",
      [](nb::handle a, StreamOrDevice s) {
        return wrap(core::linalg::expm(to_array(a, {"expm", "A", 1}), s));
      },
      "A"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def expm(A: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The exponential of matrices, ``1 + A + A^2 / 2! + A^3 / 3! + ...``.

A rational approximation of ``exp(A / 2^k)``, squared k times.

Args:
  A: square matrices (..., n, n).
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``A``; floating dtypes are kept, others give float32. ``nan`` where the largest column sum of moduli is above
  250,000 (float64: 350,000).
Raises:
  ValueError: the matrices are not square.
Source: N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.)");
  linalg.def(
      "multi_dot",
      [](nb::handle arrays, StreamOrDevice s) {
        return wrap(core::linalg::multi_dot(to_arrays(arrays, {"multi_dot", "arrays", 1}), s));
      },
      "arrays"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def multi_dot(arrays: Sequence[array], *, stream: StreamOrDevice = None) -> array"),
      R"(The product of several matrices, in the order that takes the fewest multiplications.

Args:
  arrays: two or more matrices; the first may be a vector, a row, and the last one, a column.
  stream: where to run; ``None`` is the default stream.
Returns:
  A matrix, a vector where one of the ends is a vector, a number where both are.
Raises:
  ValueError: there are fewer than two, or the shapes do not fit.)");
}

// Forms of functions of mlx.core, and of norm, for arrays of matrices or vectors.
void define_forms(Module& linalg) {
  linalg.def(
      "trace",
      [](nb::handle a, int offset, std::optional<Dtype> dtype, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"trace", "x", 1});
        return wrap(dtype ? core::trace(x, offset, -2, -1, *dtype, s) : core::trace(x, offset, -2, -1, s));
      },
      nb::arg(), nb::kw_only(), "offset"_a = 0, "dtype"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def trace(x: array, /, *, offset: int = 0, dtype: Dtype | None = None, stream: StreamOrDevice "
              "= None) -> "
              "array"),
      R"(The sum of the diagonal of matrices.

Args:
  x: matrices (..., m, n).
  offset: which diagonal: 0 the main one, positive ones above, negative ones below.
  dtype: of the sum; ``None`` is that of ``sum``.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: there are fewer than two dimensions.)");
  linalg.def(
      "diagonal",
      [](nb::handle a, int offset, StreamOrDevice s) {
        return wrap(core::diagonal(to_array(a, {"diagonal", "x", 1}), offset, -2, -1, s));
      },
      nb::arg(), nb::kw_only(), "offset"_a = 0, "stream"_a = nb::none(),
      nb::sig("def diagonal(x: array, /, *, offset: int = 0, stream: StreamOrDevice = None) -> array"),
      R"(The diagonal of matrices.

Args:
  x: matrices (..., m, n).
  offset: which diagonal: 0 the main one, positive ones above, negative ones below.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: there are fewer than two dimensions.)");
  linalg.def(
      "vector_norm",
      [](nb::handle a, nb::handle axis, bool keepdims, double ord, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"vector_norm", "x", 1});
        std::vector<int> axes(x.get().ndim());
        for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
        return wrap(
            core::linalg::vector_norm(x, ord, to_axes(axis, "vector_norm", 0).value_or(axes), keepdims, s));
      },
      nb::arg(), nb::kw_only(), "axis"_a = nb::none(), "keepdims"_a = false, "ord"_a = 2,
      "stream"_a = nb::none(),
      nb::sig("def vector_norm(x: array, /, *, axis: None | int | Sequence[int] = None, keepdims: bool = "
              "False, ord: "
              "int | float = 2, stream: StreamOrDevice = None) -> array"),
      R"(The norm of vectors, ``sum(|x|^ord)^(1/ord)``.

Args:
  x: any shape.
  axis: the axis or axes of a vector's elements; ``None`` is all.
  keepdims: keep the axes, with size 1.
  ord: ``inf`` is the largest modulus, ``-inf`` the smallest, 0 the number of elements different from zero.
  stream: where to run; ``None`` is the default stream.)");
  linalg.def(
      "matrix_norm",
      [](nb::handle a, bool keepdims, nb::handle ord, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"matrix_norm", "x", 1});
        const std::vector<int> axes{-2, -1};
        if (x.get().ndim() < 2)
          throw std::invalid_argument("[linalg.matrix_norm] got an array with " +
                                      std::to_string(x.get().ndim()) + " dimensions, expected at least 2");
        if (ord.is_none()) return wrap(core::linalg::norm(x, axes, keepdims, s));
        if (PyUnicode_Check(ord.ptr()))
          return wrap(core::linalg::norm(x, nb::cast<std::string>(ord), axes, keepdims, s));
        if (!PyFloat_Check(ord.ptr()) && !is_int(ord))
          bad_type({"matrix_norm", "ord", 0}, "None, int, float or str", ord);
        return wrap(core::linalg::norm(x, nb::cast<double>(ord), axes, keepdims, s));
      },
      nb::arg(), nb::kw_only(), "keepdims"_a = false, "ord"_a = "fro", "stream"_a = nb::none(),
      nb::sig("def matrix_norm(x: array, /, *, keepdims: bool = False, ord: None | int | float | str = "
              "'fro', stream: "
              "StreamOrDevice = None) -> array"),
      R"(The norm of matrices along the last two axes; see norm.

Args:
  x: matrices (..., m, n).
  keepdims: keep the axes, with size 1.
  ord: ``"fro"``, ``"nuc"``, 1, -1, 2, -2, ``inf`` or ``-inf``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: there are fewer than two dimensions, or there is no such norm.)");
}

}  // namespace

void init_matrix_functions(Module& m, Module& linalg) {
  define_rank(linalg);
  define_functions(linalg);
  define_forms(linalg);
  for (const char* name : {"matmul", "matrix_transpose", "outer", "tensordot", "vecdot"})
    linalg.attr(name) = m.attr(name);
}

}  // namespace mlx::python
