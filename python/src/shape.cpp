// Functions that change an array's shape, order or dtype; most of their results are views.
#include <string>

#include "python/src/args.h"
#include "python/src/convert.h"

namespace mlx::python {
namespace {

constexpr const char* kMethodStream =
    "stream: Stream | ThreadLocalStream | Device | DeviceType | None = None";

// The shape of reshape(2, 3) and reshape((2, 3)) alike.
nb::handle unpacked(const nb::args& args) {
  return args.size() == 1 && !PyLong_Check(args[0].ptr()) ? nb::handle(args[0]) : nb::handle(args);
}

array transpose(const array& a, nb::handle axes, const char* function, StreamOrDevice s) {
  if (axes.is_none()) return core::transpose(a, s);
  return core::transpose(a, to_ints(axes, {function, "axes", 2}), s);
}

nb::object split(nb::handle a, nb::handle parts, int axis, StreamOrDevice s) {
  ArrayArg x = to_array(a, {"split", "a", 1});
  if (is_int(parts))
    return wrap_list(core::split(x, to_int(parts, {"split", "indices_or_sections", 2}), axis, s));
  return wrap_list(core::split(x, to_shape(parts, {"split", "indices_or_sections", 2}), axis, s));
}

array joined(nb::handle arrays, nb::handle axis, const char* function, StreamOrDevice s) {
  Arrays parts = to_arrays(arrays, {function, "arrays", 1});
  const std::optional<int> at = to_axis(axis, function);
  return at ? core::concatenate(std::move(parts), *at, s) : core::concatenate(std::move(parts), s);
}

void define_shape_and_axes(Module& m) {
  m.def(
      "reshape",
      [](nb::handle a, nb::handle shape, StreamOrDevice s) {
        return wrap(
            core::reshape(to_array(a, {"reshape", "a", 1}), to_shape(shape, {"reshape", "shape", 2}), s));
      },
      nb::arg(), "shape"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def reshape(a: array, /, shape: Sequence[int], *, stream: StreamOrDevice = None) -> array"),
      R"(The elements in row-major order with another shape.

Args:
  a: any shape.
  shape: the new shape; one size may be -1 and follows from the others.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the sizes do not go together.)");
  array_class().def(
      "reshape",
      [](const array& a, nb::args shape, StreamOrDevice s) {
        return wrap(core::reshape(a, to_shape(unpacked(shape), {"reshape", "shape", 1}), s));
      },
      "shape"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((std::string("def reshape(self, *shape: int | Sequence[int], ") + kMethodStream + ") -> array")
                  .c_str()),
      "The same elements with another shape, given as a sequence or as several ints. See mlx.core.reshape.");

  auto flatten = [](nb::handle a, int start, int end, StreamOrDevice s) {
    return wrap(core::flatten(to_array(a, {"flatten", "a", 1}), start, end, s));
  };
  m.def("flatten", flatten, nb::arg(), "start_axis"_a = 0, "end_axis"_a = -1, nb::kw_only(),
        "stream"_a = nb::none(),
        nb::sig("def flatten(a: array, /, start_axis: int = 0, end_axis: int = -1, *, stream: StreamOrDevice "
                "= None) "
                "-> array"),
        R"(Several neighbouring axes made one.

Args:
  a: any shape; without dimensions it gets one.
  start_axis: the first axis.
  end_axis: the last axis, included.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis is out of range.   ValueError: the last lies before the first.)");
  array_class().def("flatten", flatten, "start_axis"_a = 0, "end_axis"_a = -1, nb::kw_only(),
                    "stream"_a = nb::none(),
                    nb::sig((std::string("def flatten(self, start_axis: int = 0, end_axis: int = -1, *, ") +
                             kMethodStream + ") -> array")
                                .c_str()),
                    "See mlx.core.flatten.");
  m.def(
      "unflatten",
      [](nb::handle a, int axis, nb::handle shape, StreamOrDevice s) {
        return wrap(core::unflatten(to_array(a, {"unflatten", "a", 1}), axis,
                                    to_shape(shape, {"unflatten", "shape", 3}), s));
      },
      nb::arg(), "axis"_a, "shape"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def unflatten(a: array, /, axis: int, shape: Sequence[int], *, stream: StreamOrDevice = None) "
              "-> array"),
      R"(One axis taken apart into several.

Args:
  a: at least one dimension.
  axis: the axis.
  shape: what replaces it; one size may be -1.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: the axis is out of range.   ValueError: the sizes do not multiply to that of the axis.)");

  auto squeeze = [](nb::handle a, nb::handle axis, StreamOrDevice s) {
    ArrayArg x = to_array(a, {"squeeze", "a", 1});
    return wrap(axis.is_none() ? core::squeeze(x, s) : core::squeeze(x, *to_axes(axis, "squeeze"), s));
  };
  m.def("squeeze", squeeze, nb::arg(), "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
        nb::sig("def squeeze(a: array, /, axis: None | int | Sequence[int] = None, *, stream: StreamOrDevice "
                "= None) "
                "-> array"),
        R"(Axes of size 1 removed.

Args:
  a: any shape.
  axis: the axis or axes; ``None`` is all of size 1.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: an axis has another size.   IndexError: an axis is out of range.)");
  array_class().def("squeeze", squeeze, "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
                    nb::sig((std::string("def squeeze(self, axis: int | Sequence[int] | None = None, *, ") +
                             kMethodStream + ") -> array")
                                .c_str()),
                    "See mlx.core.squeeze.");
  m.def(
      "expand_dims",
      [](nb::handle a, nb::handle axis, StreamOrDevice s) {
        return wrap(core::expand_dims(to_array(a, {"expand_dims", "a", 1}),
                                      to_ints(axis, {"expand_dims", "axis", 2}), s));
      },
      nb::arg(), "axis"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def expand_dims(a: array, /, axis: int | Sequence[int], *, stream: StreamOrDevice = None) -> "
              "array"),
      R"(New axes of size 1.

Args:
  a: any shape.
  axis: where the new axes lie in the result.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis is out of range.   ValueError: one is given twice.)");
}

void define_order(Module& m) {
  for (const char* name : {"transpose", "permute_dims"}) {
    const std::string sig =
        std::string("def ") + name +
        "(a: array, /, axes: Sequence[int] | None = None, *, stream: StreamOrDevice = None) -> array";
    m.def(
        name,
        [name](nb::handle a, nb::handle axes, StreamOrDevice s) {
          return wrap(transpose(to_array(a, {name, "a", 1}), axes, name, s));
        },
        nb::arg(), "axes"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
        R"(The axes in another order.

Args:
  a: any shape.
  axes: for each axis of the result the axis of ``a``; ``None`` reverses them.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the axes are no permutation.)");
  }
  array_class().def(
      "transpose",
      [](const array& a, nb::args axes, StreamOrDevice s) {
        if (axes.size() == 0) return wrap(core::transpose(a, s));
        return wrap(transpose(a, unpacked(axes), "transpose", s));
      },
      "axes"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((std::string("def transpose(self, *axes: int | Sequence[int] | None, ") + kMethodStream +
               ") -> array")
                  .c_str()),
      "The axes in another order, given as a sequence or as several ints. See mlx.core.transpose.");
  m.def(
      "matrix_transpose",
      [](nb::handle a, StreamOrDevice s) {
        return wrap(core::matrix_transpose(to_array(a, {"matrix_transpose", "a", 1}), s));
      },
      nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def matrix_transpose(a: array, /, *, stream: StreamOrDevice = None) -> array"),
      "The last two axes exchanged. Raises ValueError where there are fewer than two.");
  auto swapaxes = [](nb::handle a, int i, int j, StreamOrDevice s) {
    return wrap(core::swapaxes(to_array(a, {"swapaxes", "a", 1}), i, j, s));
  };
  m.def(
      "swapaxes", swapaxes, nb::arg(), "axis1"_a, "axis2"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def swapaxes(a: array, /, axis1: int, axis2: int, *, stream: StreamOrDevice = None) -> array"),
      "Two axes exchanged. Raises IndexError where one is out of range.");
  array_class().def(
      "swapaxes", swapaxes, "axis1"_a, "axis2"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((std::string("def swapaxes(self, axis1: int, axis2: int, *, ") + kMethodStream + ") -> array")
                  .c_str()),
      "See mlx.core.swapaxes.");
  auto moveaxis = [](nb::handle a, int from, int to, StreamOrDevice s) {
    return wrap(core::moveaxis(to_array(a, {"moveaxis", "a", 1}), from, to, s));
  };
  m.def("moveaxis", moveaxis, nb::arg(), "source"_a, "destination"_a, nb::kw_only(), "stream"_a = nb::none(),
        nb::sig("def moveaxis(a: array, /, source: int, destination: int, *, stream: StreamOrDevice = None) "
                "-> array"),
        "One axis moved to another place, the others keeping their order. Raises IndexError where one is out "
        "of range.");
  array_class().def("moveaxis", moveaxis, "source"_a, "destination"_a, nb::kw_only(), "stream"_a = nb::none(),
                    nb::sig((std::string("def moveaxis(self, source: int, destination: int, *, ") +
                             kMethodStream + ") -> array")
                                .c_str()),
                    "See mlx.core.moveaxis.");
  m.def(
      "flip",
      [](nb::handle a, nb::handle axis, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"flip", "a", 1});
        return wrap(axis.is_none() ? core::flip(x, s) : core::flip(x, *to_axes(axis, "flip"), s));
      },
      nb::arg(), "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def flip(a: array, /, axis: None | int | Sequence[int] = None, *, stream: StreamOrDevice = "
              "None) -> array"),
      R"(The elements in reverse order along axes.

Args:
  a: any shape.
  axis: the axis or axes; ``None`` is all.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis is out of range.)");
  m.def(
      "roll",
      [](nb::handle a, nb::handle shift, nb::handle axis, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"roll", "a", 1});
        const Where where{"roll", "shift", 2};
        if (axis.is_none())
          return wrap(is_int(shift) ? core::roll(x, to_int(shift, where), s)
                                    : core::roll(x, to_shape(shift, where), s));
        const std::vector<int> axes = *to_axes(axis, "roll", 3);
        if (is_int(shift)) return wrap(core::roll(x, to_int(shift, where), axes, s));
        return wrap(core::roll(x, to_shape(shift, where), axes, s));
      },
      nb::arg(), nb::arg(), nb::arg() = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def roll(a: array, shift: int | tuple[int], axis: None | int | tuple[int] = None, /, *, "
              "stream: StreamOrDevice = None) -> array"),
      R"(The elements moved along axes; what leaves at one end comes in at the other.

Args:
  a: any shape.
  shift: by how many places, one number for each axis or one for all.
  axis: the axis or axes; ``None`` rolls the flattened array and keeps the shape.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis is out of range.   ValueError: shifts and axes differ in number.)");
}

void define_joining(Module& m) {
  for (const char* name : {"concatenate", "concat"}) {
    const std::string sig =
        std::string("def ") + name +
        "(arrays: list[array], axis: int | None = 0, *, stream: StreamOrDevice = None) -> array";
    m.def(
        name,
        [name](nb::handle arrays, nb::handle axis, StreamOrDevice s) {
          return wrap(joined(arrays, axis, name, s));
        },
        "arrays"_a, "axis"_a.none() = 0, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
        R"(Arrays joined along an axis that they have.

Args:
  arrays: at least one, of the same shape but for the axis.
  axis: the axis; ``None`` joins the flattened arrays.
  stream: where to run; ``None`` is the default stream.
Returns:
  The promoted dtype of all.
Raises:
  ValueError: there is no array, or the shapes do not go together.   IndexError: the axis is out of range.)");
  }
  m.def(
      "stack",
      [](nb::handle arrays, nb::handle axis, StreamOrDevice s) {
        Arrays parts = to_arrays(arrays, {"stack", "arrays", 1});
        const std::optional<int> at = to_axis(axis, "stack");
        if (at) return wrap(core::stack(parts, *at, s));
        for (array& p : parts) p = core::flatten(p, s);
        return wrap(core::concatenate(std::move(parts), 0, s));
      },
      "arrays"_a, "axis"_a.none() = 0, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig(
          "def stack(arrays: list[array], axis: int | None = 0, *, stream: StreamOrDevice = None) -> array"),
      R"(Arrays of one shape joined along a new axis.

Args:
  arrays: at least one.
  axis: where the new axis lies in the result; ``None`` flattens the arrays and joins them.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: there is no array, or the shapes differ.   IndexError: the axis is out of range.)");
  m.def("split", &split, nb::arg(), "indices_or_sections"_a, "axis"_a = 0, nb::kw_only(),
        "stream"_a = nb::none(),
        nb::sig("def split(a: array, /, indices_or_sections: int | Sequence[int], axis: int = 0, *, "
                "stream: StreamOrDevice = None) -> array"),
        R"(An array cut along an axis.

Args:
  a: at least one dimension.
  indices_or_sections: into how many equal parts, or the positions of the cuts.
  axis: the axis.
  stream: where to run; ``None`` is the default stream.
Returns:
  A list of arrays.
Raises:
  ValueError: the axis cannot be cut into that many equal parts.   IndexError: the axis is out of range.)");
  array_class().def(
      "split", &split, "indices_or_sections"_a, "axis"_a = 0, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((std::string("def split(self, indices_or_sections: int | tuple[int, ...], axis: int = 0, *, ") +
               kMethodStream + ") -> list[array]")
                  .c_str()),
      "See mlx.core.split.");
  m.def(
      "unstack",
      [](nb::handle x, int axis, StreamOrDevice s) {
        return wrap_tuple(core::unstack(to_array(x, {"unstack", "x", 1}), axis, s));
      },
      nb::arg(), nb::kw_only(), "axis"_a = 0, "stream"_a = nb::none(),
      nb::sig(
          "def unstack(x: array, /, *, axis: int = 0, stream: StreamOrDevice = None) -> tuple[array, ...]"),
      "The slices along an axis, as a tuple of arrays without it. Raises IndexError where it is out of "
      "range.");
  m.def(
      "repeat",
      [](nb::handle a, int repeats, nb::handle axis, StreamOrDevice s) {
        ArrayArg x = to_array(a, {"repeat", "array", 1});
        const std::optional<int> at = to_axis(axis, "repeat", 3);
        return wrap(at ? core::repeat(x, repeats, *at, s) : core::repeat(x, repeats, s));
      },
      "array"_a, "repeats"_a, "axis"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def repeat(array: array, repeats: int, axis: int | None = None, *, stream: StreamOrDevice = "
              "None) -> array"),
      R"(Each element several times in a row.

Args:
  array: any shape.
  repeats: how many times.
  axis: the axis to repeat along; ``None`` repeats the elements of the flattened array.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``repeats`` is negative.   IndexError: the axis is out of range.)");
  m.def(
      "tile",
      [](nb::handle a, nb::handle reps, StreamOrDevice s) {
        return wrap(core::tile(to_array(a, {"tile", "a", 1}), to_ints(reps, {"tile", "reps", 2}), s));
      },
      nb::arg(), nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def tile(a: array, reps: int | Sequence[int], /, *, stream: StreamOrDevice = None) -> array"),
      R"(Copies of an array laid side by side.

Args:
  a: any shape.
  reps: how many along each of the last axes.
  stream: where to run; ``None`` is the default stream.)");
  m.def(
      "broadcast_to",
      [](nb::handle a, nb::handle shape, StreamOrDevice s) {
        return wrap(core::broadcast_to(to_array(a, {"broadcast_to", "a", 1}),
                                       to_shape(shape, {"broadcast_to", "shape", 2}), s));
      },
      nb::arg(), "shape"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def broadcast_to(a: scalar | array, /, shape: Sequence[int], *, stream: StreamOrDevice = "
              "None) -> array"),
      R"(The array repeated along axes of size 1, without a copy.

Args:
  a: any shape that broadcasts to the new one.
  shape: the new shape.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the shape does not broadcast.)");
  m.def(
      "broadcast_arrays",
      [](nb::args arrays, StreamOrDevice s) {
        return wrap_tuple(core::broadcast_arrays(to_arrays(arrays, {"broadcast_arrays", "arrays", 1}), s));
      },
      "arrays"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def broadcast_arrays(*arrays: array, stream: StreamOrDevice = None) -> tuple[array, ...]"),
      "The arrays broadcast to the shape that they have in common. Raises ValueError where there is none.");
  m.def(
      "broadcast_shapes",
      [](nb::args shapes) {
        Shape out;
        for (nb::handle h : shapes)
          out = core::broadcast_shapes(out, to_shape(h, {"broadcast_shapes", "shapes", 0}));
        return shape_tuple(out);
      },
      nb::sig("def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int]"),
      "The shape that arrays of the given shapes broadcast to. Raises ValueError where there is none.");
}

struct AtLeast {
  const char* name;
  array (*one)(const array&, StreamOrDevice);
  const char* text;
};
const AtLeast kAtLeast[] = {
    {"atleast_1d", core::atleast_1d, "at least one dimension"},
    {"atleast_2d", core::atleast_2d, "at least two dimensions; a vector becomes a row"},
    {"atleast_3d", core::atleast_3d, "at least three dimensions; a matrix gets a third axis at the end"},
};

void define_types(Module& m) {
  for (const AtLeast& r : kAtLeast) {
    const std::string sig =
        std::string("def ") + r.name + "(*arys: array, stream: StreamOrDevice = None) -> array | list[array]";
    m.def(
        r.name,
        [row = &r](nb::args arys, StreamOrDevice s) -> nb::object {
          Arrays in = to_arrays(arys, {row->name, "arys", 1});
          if (in.size() == 1) return wrap(row->one(in[0], s));
          for (array& a : in) a = row->one(a, s);
          return wrap_list(in);
        },
        "arys"_a, nb::kw_only(), "stream"_a = nb::none(), nb::sig(sig.c_str()),
        (std::string("The arrays with ") + r.text + ". One array gives an array, several give a list.")
            .c_str());
  }
  m.def(
      "astype",
      [](nb::handle a, Dtype dtype, StreamOrDevice s) {
        return wrap(core::astype(to_array(a, {"astype", "a", 1}).get(), dtype, s));
      },
      nb::arg(), nb::arg(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def astype(a: array, dtype: Dtype, /, *, stream: StreamOrDevice = None) -> array"),
      R"(The elements converted to a dtype.

Args:
  a: any shape.
  dtype: the new type. Floats lose their fraction on the way to integers, integers wrap around, complex numbers lose
    their imaginary part.
  stream: where to run; ``None`` is the default stream.)");
  array_class().def(
      "astype", [](const array& a, Dtype dtype, StreamOrDevice s) { return wrap(core::astype(a, dtype, s)); },
      "dtype"_a, "stream"_a = nb::none(),
      nb::sig((std::string("def astype(self, dtype: Dtype, ") + kMethodStream + ") -> array").c_str()),
      "See mlx.core.astype.");
  auto view = [](nb::handle a, Dtype dtype, StreamOrDevice s) {
    return wrap(core::view(to_array(a, {"view", "a", 1}), dtype, s));
  };
  m.def("view", view, "a"_a, "dtype"_a, "stream"_a = nb::none(),
        nb::sig("def view(a: scalar | array, dtype: Dtype, stream: StreamOrDevice = None) -> array"),
        R"(The bits of the elements read as another dtype.

Args:
  a: any shape; the last axis grows or shrinks where the sizes differ.
  dtype: the type to read.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the last axis does not hold a whole number of the new elements.)");
  array_class().def(
      "view", view, "dtype"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig((std::string("def view(self, dtype: Dtype, *, ") + kMethodStream + ") -> array").c_str()),
      "See mlx.core.view.");
  m.def(
      "as_strided",
      [](nb::handle a, nb::handle shape, nb::handle strides, int64_t offset, StreamOrDevice s) {
        const array x = to_array(a, {"as_strided", "a", 1});
        if (offset < 0)
          throw std::invalid_argument("[as_strided] the offset must not be negative, it is " +
                                      std::to_string(offset));
        const Shape new_shape = shape.is_none() ? x.shape() : to_shape(shape, {"as_strided", "shape", 2});
        core::Strides steps = core::row_major_strides(new_shape);
        if (!strides.is_none()) {
          const Shape given = to_shape(strides, {"as_strided", "strides", 3});
          steps = core::Strides(given.begin(), given.end());
        }
        return wrap(core::as_strided(x, new_shape, steps, static_cast<size_t>(offset), s));
      },
      nb::arg(), "shape"_a = nb::none(), "strides"_a = nb::none(), "offset"_a = 0, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def as_strided(a: array, /, shape: Sequence[int] | None = None, strides: Sequence[int] | None "
              "= None, "
              "offset: int = 0, *, stream: StreamOrDevice = None) -> array"),
      R"(A view of the row-major elements with any strides.

Args:
  a: any shape; it is taken as flat, row-major memory.
  shape: the shape of the view; ``None`` is that of ``a``.
  strides: for each axis the distance of neighbours, in elements; ``None`` is row-major.
  offset: where the view begins, in elements.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the view would reach outside of the memory.)");
  m.def(
      "contiguous",
      [](nb::handle a, bool col, StreamOrDevice s) {
        return wrap(core::contiguous(to_array(a, {"contiguous", "a", 1}), col, s));
      },
      nb::arg(), "allow_col_major"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def contiguous(a: array, /, allow_col_major: bool = False, *, stream: StreamOrDevice = None) "
              "-> array"),
      R"(The array with its elements one after the other in memory, copied where they are not.

Args:
  a: any shape.
  allow_col_major: column-major order will do as well.
  stream: where to run; ``None`` is the default stream.)");
  m.def(
      "pad",
      [](nb::handle a, nb::handle width, const std::string& mode, nb::handle value, StreamOrDevice s) {
        auto [x, v] = to_operands(a, value, "pad");
        const Where where{"pad", "pad_width", 2};
        if (is_int(width)) return wrap(core::pad(x, to_int(width, where), v, mode, s));
        if (!PySequence_Check(width.ptr())) bad_type(where, "int, a pair of ints or a list of pairs", width);
        const size_t n = nb::len(width);
        const bool flat = n > 0 && is_int(nb::handle(width)[0]);
        if (flat) {
          const std::vector<int> w = to_ints(width, where);
          if (w.size() == 1) return wrap(core::pad(x, w[0], v, mode, s));
          if (w.size() == 2) return wrap(core::pad(x, std::pair(w[0], w[1]), v, mode, s));
          throw std::invalid_argument("[pad] pad_width takes one int, a pair or a list of pairs; " +
                                      std::to_string(w.size()) + " ints were given");
        }
        std::vector<std::pair<int, int>> pairs;
        for (size_t i = 0; i < n; ++i) {
          const std::vector<int> w = to_ints(nb::object(nb::handle(width)[i]), where);
          if (w.size() != 2) throw std::invalid_argument("[pad] pad_width must be a list of pairs of ints");
          pairs.emplace_back(w[0], w[1]);
        }
        if (pairs.size() == 1 && x.get().ndim() > 1) return wrap(core::pad(x, pairs[0], v, mode, s));
        return wrap(core::pad(x, pairs, v, mode, s));
      },
      "a"_a, "pad_width"_a, "mode"_a = "constant", "constant_values"_a = 0, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def pad(a: array, pad_width: int | tuple[int] | tuple[int, int] | list[tuple[int, int]], "
              "mode: Literal['constant', 'edge', 'reflect', 'symmetric'] = 'constant', "
              "constant_values: scalar | array = 0, *, stream: StreamOrDevice = None) -> array"),
      R"(The array with a margin.

Args:
  a: any shape.
  pad_width: elements before and after, for each axis a pair, or one pair or number for all.
  mode: ``constant`` fills with a value, ``edge`` repeats the outermost elements, ``reflect`` mirrors without them,
    ``symmetric`` mirrors with them.
  constant_values: the value for ``constant``.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: a width is negative, or the pairs are not as many as the axes.)");
}

}  // namespace

void init_shape(Module& m) {
  define_shape_and_axes(m);
  define_order(m);
  define_joining(m);
  define_types(m);
}

}  // namespace mlx::python
