// mlx.core.linalg: norms, products of vectors, factorizations.
#include "mlx/linalg.h"

#include <string>

#include "python/src/args.h"
#include "python/src/named.h"

namespace mlx::python {
namespace {

array norm(nb::handle a, nb::handle ord, nb::handle axis, bool keepdims, StreamOrDevice s) {
  ArrayArg x = to_array(a, {"norm", "a", 1});
  const std::optional<std::vector<int>> axes = to_axes(axis, "norm", 3);
  if (ord.is_none()) return core::linalg::norm(x, axes, keepdims, s);
  if (PyUnicode_Check(ord.ptr())) return core::linalg::norm(x, nb::cast<std::string>(ord), axes, keepdims, s);
  if (!PyFloat_Check(ord.ptr()) && !is_int(ord)) bad_type({"norm", "ord", 2}, "None, int, float or str", ord);
  return core::linalg::norm(x, nb::cast<double>(ord), axes, keepdims, s);
}

}  // namespace

void init_factorizations(Module& linalg);
void init_matrix_functions(Module& m, Module& linalg);

void init_linalg(Module& m) {
  Module linalg = m.def_submodule("linalg", "Linear algebra.");
  linalg.def(
      "norm",
      [](nb::handle a, nb::handle ord, nb::handle axis, bool keepdims, StreamOrDevice s) {
        return wrap(norm(a, ord, axis, keepdims, s));
      },
      nb::arg(), "ord"_a = nb::none(), "axis"_a = nb::none(), "keepdims"_a = false, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def norm(a: array, /, ord: None | int | float | str = None, axis: None | int | Sequence[int] "
              "= None, "
              "keepdims: bool = False, *, stream: StreamOrDevice = None) -> array"),
      R"(The norm of vectors or matrices.

Args:
  a: any shape.
  ord: which norm. For vectors ``sum(|a|^ord)^(1/ord)``, with ``inf`` the largest modulus, ``-inf`` the smallest, 0 the
    number of elements different from zero. For matrices ``"fro"`` (root of the sum of squares), ``"nuc"`` (sum of the
    singular values), 1 and -1 (largest, smallest column sum), ``inf`` and ``-inf`` (row sums), 2 and -2 (largest,
    smallest singular value). ``None`` is the root of the sum of squares.
  axis: one axis of vectors, two of matrices; ``None`` is all axes.
  keepdims: keep the reduced axes, with size 1.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: no such norm for that many axes.)");
  linalg.def(
      "cross",
      [](nb::handle a, nb::handle b, int axis, StreamOrDevice s) {
        return wrap(
            core::linalg::cross(to_array(a, {"cross", "a", 1}), to_array(b, {"cross", "b", 2}), axis, s));
      },
      "a"_a, "b"_a, "axis"_a = -1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def cross(a: array, b: array, axis: int = -1, *, stream: StreamOrDevice = None) -> array"),
      R"(The cross product of vectors of 3 (or 2) elements.

Args:
  a, b: shapes that broadcast but for the axis, which has size 2 or 3.
  axis: the axis of the vectors.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the axis has another size.)");
  linalg.def(
      "qr",
      [](nb::handle a, StreamOrDevice s) {
        auto [q, r] = core::linalg::qr(to_array(a, {"qr", "a", 1}), s);
        return named_tuple("QRResult", {"Q", "R"}, {q, r});
      },
      "a"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def qr(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      R"(The factors of matrices ``a = Q R``: orthonormal columns and an upper triangle.

Args:
  a: matrices (..., m, n) in float32, float64 or complex64.
  stream: where to run; ``None`` is the default stream.
Returns:
  Q (..., m, k) and R (..., k, n) with k = min(m, n). The diagonal of R is real.
Raises:
  ValueError: there are fewer than two dimensions, or another dtype.)");
  const char* symmetric_arguments = R"(

Args:
  a: matrices (..., n, n) in float32 or float64, or Hermitian ones in complex64.
  UPLO: the triangle that is looked at, "L" or "U"; the other one is taken to be its mirror image.
  stream: where to run; ``None`` is the default stream.
)";
  linalg.def(
      "eigh",
      [](nb::handle a, const std::string& uplo, StreamOrDevice s) {
        auto [w, v] = core::linalg::eigh(to_array(a, {"eigh", "a", 1}), uplo, s);
        return named_tuple("EighResult", {"eigenvalues", "eigenvectors"}, {w, v});
      },
      "a"_a, "UPLO"_a = "L", nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def eigh(a: array, UPLO: str = 'L', *, stream: StreamOrDevice = None) -> tuple[array, array]"),
      (std::string("Eigenvalues and eigenvectors of symmetric or Hermitian matrices.") + symmetric_arguments +
       R"(Returns:
  The values (..., n), ascending, and the vectors (..., n, n), one a column.
Raises:
  ValueError: the matrices are not square, or have another dtype.)")
          .c_str());
  linalg.def(
      "eigvalsh",
      [](nb::handle a, const std::string& uplo, StreamOrDevice s) {
        return wrap(core::linalg::eigvalsh(to_array(a, {"eigvalsh", "a", 1}), uplo, s));
      },
      "a"_a, "UPLO"_a = "L", nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def eigvalsh(a: array, UPLO: str = 'L', *, stream: StreamOrDevice = None) -> array"),
      (std::string("Eigenvalues of symmetric or Hermitian matrices.") + symmetric_arguments + R"(Returns:
  The values (..., n), ascending.
Raises:
  ValueError: the matrices are not square, or have another dtype.)")
          .c_str());
  linalg.def(
      "solve_triangular",
      [](nb::handle a, nb::handle b, bool upper, StreamOrDevice s) {
        return wrap(core::linalg::solve_triangular(to_array(a, {"solve_triangular", "a", 1}),
                                                   to_array(b, {"solve_triangular", "b", 2}), upper, s));
      },
      "a"_a, "b"_a, nb::kw_only(), "upper"_a = false, "stream"_a = nb::none(),
      nb::sig(
          "def solve_triangular(a: array, b: array, *, upper: bool = False, stream: StreamOrDevice = None) "
          "-> array"),
      R"(The solution ``x`` of ``a x = b`` with a triangular ``a``.

Args:
  a: matrices (..., n, n) in float32, float64 or complex64. The other triangle is not looked at.
  b: (..., n, k), or one vector (n).
  upper: whether ``a`` is an upper triangle.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of ``b``, with the leading axes of both broadcast.
Raises:
  ValueError: shapes or dtypes do not go together, or, when evaluated, a diagonal has a zero.)");
  init_factorizations(linalg);
  init_matrix_functions(m, linalg);
  m.attr("matrix_norm") = linalg.attr("norm");
}

}  // namespace mlx::python
