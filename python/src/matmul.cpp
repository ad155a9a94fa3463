// Products of arrays.
#include <string>

#include "mlx/einsum.h"
#include "python/src/args.h"

namespace mlx::python {
namespace {

using Product = array (*)(const array&, const array&, StreamOrDevice);

void define_product(Module& m, const char* name, Product f, bool named, const char* doc) {
  auto call = [f, name](nb::handle a, nb::handle b, StreamOrDevice s) {
    return wrap(f(to_array(a, {name, "a", 1}), to_array(b, {name, "b", 2}), s));
  };
  const std::string sig = std::string("def ") + name +
                          (named ? "(a: array, b: array, *, " : "(a: array, b: array, /, *, ") +
                          "stream: StreamOrDevice = None) -> array";
  if (named) {
    m.def(name, call, "a"_a, "b"_a, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()), doc);
  } else {
    m.def(name, call, nb::arg(), nb::arg(), nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
          doc);
  }
}

// Axes of tensordot: a number, or a pair of lists (or of ints).
array tensordot(nb::handle a, nb::handle b, nb::handle axes, StreamOrDevice s) {
  ArrayArg x = to_array(a, {"tensordot", "a", 1});
  ArrayArg y = to_array(b, {"tensordot", "b", 2});
  const Where where{"tensordot", "axes", 3};
  if (is_int(axes)) return core::tensordot(x, y, to_int(axes, where), s);
  if (!PySequence_Check(axes.ptr()) || nb::len(axes) != 2)
    bad_type(where, "int or a pair of sequences of ints", axes);
  return core::tensordot(x, y, to_ints(nb::object(axes[0]), where), to_ints(nb::object(axes[1]), where), s);
}

}  // namespace

void init_matmul(Module& m) {
  define_product(m, "matmul", core::matmul, false, R"(The matrix product, ``a @ b``.

Args:
  a, b: a vector on the left counts as a row, one on the right as a column; axes before the last two broadcast.
  stream: where to run; ``None`` is the default stream.
Returns:
  The promoted dtype of both; products of float16 and bfloat16 are summed in float32.
Raises:
  ValueError: the inner sizes differ, an operand has no dimensions, or the dtype is an integer.)");
  define_product(m, "inner", core::inner, false,
                 R"(Sums of products over the last axis of both, ``out[i, j] = sum(a[i, :] * b[j, :])``.

Args:
  a, b: last axes of one size.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the sizes differ.)");
  define_product(m, "outer", core::outer, false,
                 R"(Products of all pairs of elements, ``out[i, j] = a[i] * b[j]``.

Args:
  a, b: any shape; they are flattened.
  stream: where to run; ``None`` is the default stream.)");
  define_product(m, "kron", core::kron, true,
                 R"(The Kronecker product: ``b`` scaled by each element of ``a``, laid side by side.

Args:
  a, b: any shape; the one with fewer dimensions gets leading ones.
  stream: where to run; ``None`` is the default stream.)");
  m.def(
      "vecdot",
      [](nb::handle a, nb::handle b, int axis, StreamOrDevice s) {
        return wrap(core::vecdot(to_array(a, {"vecdot", "a", 1}), to_array(b, {"vecdot", "b", 2}), axis, s));
      },
      nb::arg(), nb::arg(), nb::kw_only(), "axis"_a = -1, "stream"_a = nb::none(),
      nb::sig("def vecdot(a: array, b: array, /, *, axis: int = -1, stream: StreamOrDevice = None) -> array"),
      R"(Scalar products along an axis, ``sum(conj(a) * b)``.

Args:
  a, b: shapes that broadcast.
  axis: the axis to sum over.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the sizes of the axis differ.   IndexError: it is out of range.)");
  m.def(
      "addmm",
      [](nb::handle c, nb::handle a, nb::handle b, float alpha, float beta, StreamOrDevice s) {
        return wrap(core::addmm(to_array(c, {"addmm", "c", 1}).get(), to_array(a, {"addmm", "a", 2}).get(),
                                to_array(b, {"addmm", "b", 3}).get(), alpha, beta, s));
      },
      nb::arg(), nb::arg(), nb::arg(), "alpha"_a = 1.0f, "beta"_a = 1.0f, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def addmm(c: array, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(A matrix product added to an array in one go, ``alpha * (a @ b) + beta * c``.

Args:
  c: broadcasts to the product.
  a, b: as for matmul.
  alpha, beta: the factors.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the shapes do not go together.)");
  m.def(
      "tensordot",
      [](nb::handle a, nb::handle b, nb::handle axes, StreamOrDevice s) {
        return wrap(tensordot(a, b, axes, s));
      },
      nb::arg(), nb::arg(), "axes"_a = 2, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def tensordot(a: array, b: array, /, axes: int | list[Sequence[int]] = 2, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(Sums of products over chosen axes.

Args:
  a, b: any shape.
  axes: how many of the last axes of ``a`` and the first of ``b``, or a list of axes for each.
  stream: where to run; ``None`` is the default stream.
Returns:
  The remaining axes of ``a``, then those of ``b``.
Raises:
  ValueError: the sizes differ.)");
  m.def(
      "einsum",
      [](const std::string& subscripts, nb::args operands, StreamOrDevice s) {
        return wrap(core::einsum(subscripts, to_arrays(operands, {"einsum", "operands", 2}), s));
      },
      "subscripts"_a, "operands"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def einsum(subscripts: str, *operands: array, stream: StreamOrDevice = None) -> array"),
      R"(Einstein summation: products of the operands, summed over the letters that the output lacks.

Args:
  subscripts: a letter per axis, as in ``"bij,bjk->bik"``; without an arrow the output has the letters that occur once,
    in alphabetical order. ``...`` stands for axes that broadcast.
  *operands: the arrays.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the subscripts are malformed or do not fit the operands.)");
  m.def(
      "einsum_path",
      [](const std::string& subscripts, nb::args operands) {
        auto [path, text] =
            core::einsum_path(subscripts, to_arrays(operands, {"einsum_path", "operands", 2}));
        nb::list steps;
        for (const std::vector<int>& step : path) {
          nb::list pair;
          for (int i : step) pair.append(i);
          steps.append(nb::tuple(pair));
        }
        return nb::make_tuple(steps, text);
      },
      "subscripts"_a, "operands"_a,
      nb::sig("def einsum_path(subscripts: str, *operands: array) -> tuple[list[tuple[int, ...]], str]"),
      R"(The order in which einsum contracts its operands.

Args:
  subscripts, *operands: as for einsum.
Returns:
  A list of pairs of positions, and a text that describes the costs.)");
  m.def(
      "hadamard_transform",
      [](nb::handle a, std::optional<float> scale, StreamOrDevice s) {
        return wrap(core::hadamard_transform(to_array(a, {"hadamard_transform", "a", 1}), scale, s));
      },
      "a"_a, "scale"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def hadamard_transform(a: array, scale: float | None = None, stream: StreamOrDevice = None) "
              "-> array"),
      R"(The Walsh-Hadamard transform along the last axis: the product with a matrix of ones and minus ones.

Args:
  a: the last axis has size m * 2^k with m = 1, 12, 20 or 28. What is no real float becomes float32.
  scale: what the product is multiplied by; ``None`` is ``1 / sqrt(size)``, which keeps lengths.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: there is no such transform for the size.)");
}

}  // namespace mlx::python
