// Functions that pick elements by position.
#include <string>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

array take(nb::handle a, nb::handle indices, nb::handle axis, StreamOrDevice s) {
  ArrayArg x = to_array(a, {"take", "a", 1});
  const std::optional<int> at = to_axis(axis, "take", 3);
  if (is_int(indices)) {
    const int i = to_int(indices, {"take", "indices", 2});
    return at ? core::take(x, i, *at, s) : core::take(x, i, s);
  }
  array index = PyList_Check(indices.ptr()) ? make_array(indices, std::nullopt, "take")
                                            : to_array(indices, {"take", "indices", 2}).get();
  return at ? core::take(x, index, *at, s) : core::take(x, index, s);
}

}  // namespace

void init_gathering(Module& m) {
  m.def(
      "take",
      [](nb::handle a, nb::handle indices, nb::handle axis, StreamOrDevice s) {
        return wrap(take(a, indices, axis, s));
      },
      nb::arg(), "indices"_a, "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def take(a: array, /, indices: int | array, axis: int | None = None, *, stream: "
              "StreamOrDevice = None) "
              "-> array"),
      R"(Elements or slices at given positions.

Args:
  a: any shape.
  indices: positions, negative ones counting from the end; their shape replaces the axis.
  axis: the axis; ``None`` takes from the flattened array.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: the axis or a position is out of range.)");
  m.def(
      "take_along_axis",
      [](nb::handle a, nb::handle indices, nb::handle axis, StreamOrDevice s) {
        array x = to_array(a, {"take_along_axis", "a", 1});
        array i = to_array(indices, {"take_along_axis", "indices", 2});
        const std::optional<int> at = to_axis(axis, "take_along_axis", 3);
        if (at) return wrap(core::take_along_axis(x, i, *at, s));
        return wrap(core::take_along_axis(core::flatten(x, s), core::flatten(i, s), 0, s));
      },
      nb::arg(), "indices"_a, "axis"_a.none() = -1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def take_along_axis(a: array, /, indices: array, axis: int | None = -1, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(One element per index, along an axis: ``out[i, j] = a[indices[i, j], j]`` for axis 0.

Args:
  a: any shape.
  indices: as many dimensions as ``a``; the other axes broadcast.
  axis: the axis; ``None`` works on the flattened arrays.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the dimensions differ in number.   IndexError: the axis is out of range.)");
  m.def(
      "put_along_axis",
      [](nb::handle a, nb::handle indices, nb::handle values, nb::handle axis, StreamOrDevice s) {
        array x = to_array(a, {"put_along_axis", "a", 1});
        array i = to_array(indices, {"put_along_axis", "indices", 2});
        array v = to_operands(a, values, "put_along_axis").second;
        const std::optional<int> at = to_axis(axis, "put_along_axis", 4);
        if (at) return wrap(core::put_along_axis(x, i, v, *at, s));
        array flat = core::put_along_axis(core::flatten(x, s), core::flatten(i, s),
                                          v.ndim() == 0 ? v : core::flatten(v, s), 0, s);
        return wrap(core::reshape(flat, x.shape(), s));
      },
      nb::arg(), "indices"_a, "values"_a, "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def put_along_axis(a: array, /, indices: array, values: array, axis: int | None = None, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(The array with one element per index replaced, along an axis.

Args:
  a: any shape.
  indices: as many dimensions as ``a``; the other axes broadcast.
  values: what is put there; it broadcasts to the indices.
  axis: the axis; ``None`` works on the flattened arrays.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the dimensions differ in number.   IndexError: the axis is out of range.)");
  m.def(
      "slice",
      [](nb::handle a, nb::handle start, nb::handle axes, nb::handle size, StreamOrDevice s) {
        return wrap(
            core::slice(to_array(a, {"slice", "a", 1}), to_array(start, {"slice", "start_indices", 2}),
                        to_ints(axes, {"slice", "axes", 3}), to_shape(size, {"slice", "slice_size", 4}), s));
      },
      "a"_a, "start_indices"_a, "axes"_a, "slice_size"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def slice(a: array, start_indices: array, axes: Sequence[int], slice_size: Sequence[int], *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(A block of fixed size whose place is an array, so that it may depend on a computation.

Args:
  a: any shape.
  start_indices: where the block begins, one integer per axis in ``axes``; the block is moved to lie inside.
  axes: the axes that ``start_indices`` speaks of; the block begins at 0 in the others.
  slice_size: the size of the block in every dimension.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the sizes do not go together.)");
  m.def(
      "slice_update",
      [](nb::handle a, nb::handle update, nb::handle start, nb::handle axes, StreamOrDevice s) {
        return wrap(core::slice_update(to_array(a, {"slice_update", "a", 1}),
                                       to_operands(a, update, "slice_update").second,
                                       to_array(start, {"slice_update", "start_indices", 3}),
                                       to_ints(axes, {"slice_update", "axes", 4}), s));
      },
      "a"_a, "update"_a, "start_indices"_a, "axes"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def slice_update(a: array, update: array, start_indices: array, axes: Sequence[int], *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(The array with a block replaced whose place is an array; see slice.

Args:
  a: any shape.
  update: the block, with as many dimensions.
  start_indices: where it begins, one integer per axis in ``axes``.
  axes: the axes that ``start_indices`` speaks of.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the sizes do not go together.)");

  auto diagonal = [](nb::handle a, int offset, int axis1, int axis2, StreamOrDevice s) {
    return wrap(core::diagonal(to_array(a, {"diagonal", "a", 1}), offset, axis1, axis2, s));
  };
  m.def("diagonal", diagonal, "a"_a, "offset"_a = 0, "axis1"_a = 0, "axis2"_a = 1, "stream"_a = nb::none(),
        nb::sig("def diagonal(a: array, offset: int = 0, axis1: int = 0, axis2: int = 1, stream: "
                "StreamOrDevice = None) "
                "-> array"),
        R"(The diagonals of the matrices in two axes.

Args:
  a: at least two dimensions.
  offset: which diagonal: 0 is the main one, positive ones lie above.
  axis1, axis2: rows and columns; the diagonal becomes the last axis.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: fewer than two dimensions, or the axes are the same.)");
  array_class().def(
      "diagonal", diagonal, "offset"_a = 0, "axis1"_a = 0, "axis2"_a = 1, "stream"_a = nb::none(),
      nb::sig("def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1, stream: Stream | "
              "ThreadLocalStream | Device | DeviceType | None = None) -> array"),
      "See mlx.core.diagonal.");
  auto diag = [](nb::handle a, int k, StreamOrDevice s) {
    return wrap(core::diag(to_array(a, {"diag", "a", 1}), k, s));
  };
  m.def("diag", diag, nb::arg(), "k"_a = 0, nb::kw_only(), "stream"_a = nb::none(),
        nb::sig("def diag(a: array, /, k: int = 0, *, stream: StreamOrDevice = None) -> array"),
        R"(A matrix with a vector on its diagonal, or the diagonal of a matrix.

Args:
  a: a vector or a matrix.
  k: which diagonal: 0 is the main one, positive ones lie above.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``a`` is neither.)");
  array_class().def(
      "diag", diag, "k"_a = 0, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def diag(self, k: int = 0, *, stream: Stream | ThreadLocalStream | Device | DeviceType | "
              "None = None) -> array"),
      "See mlx.core.diag.");
  m.def(
      "trace",
      [](nb::handle a, int offset, int axis1, int axis2, std::optional<Dtype> dtype, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"trace", "a", 1});
        return wrap(dtype ? core::trace(x, offset, axis1, axis2, *dtype, s)
                          : core::trace(x, offset, axis1, axis2, s));
      },
      nb::arg(), "offset"_a = 0, "axis1"_a = 0, "axis2"_a = 1, "dtype"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def trace(a: array, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Dtype | None = "
              "None, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(The sum of a diagonal; see diagonal.

Args:
  a: at least two dimensions.
  offset, axis1, axis2: which diagonal.
  dtype: the type to sum in; ``None`` as for sum.
  stream: where to run; ``None`` is the default stream.)");
  m.def(
      "diff",
      [](nb::handle a, int n, int axis, StreamOrDevice s) {
        return wrap(core::diff(to_array(a, {"diff", "a", 1}), n, axis, s));
      },
      nb::arg(), "n"_a = 1, "axis"_a = -1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def diff(a: array, /, n: int = 1, axis: int = -1, *, stream: StreamOrDevice = None) -> array"),
      R"(Differences of neighbours, ``a[i + 1] - a[i]``.

Args:
  a: at least one dimension.
  n: how many times differences are taken.
  axis: the axis, which shrinks by ``n``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``n`` is negative.   IndexError: the axis is out of range.)");
}

}  // namespace mlx::python
