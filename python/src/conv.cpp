// Convolutions. Channels are the last axis of inputs, (N, ..., C_in), and weights are (C_out, ..., C_in /
// groups).
#include <string>
#include <tuple>

#include "python/src/args.h"

namespace mlx::python {
namespace {

using Pair = std::pair<int, int>;
using Triple = std::tuple<int, int, int>;

Pair pair_of(nb::handle h, Where where) {
  const std::vector<int> v = to_ints_n(h, 2, where);
  return {v[0], v[1]};
}

Triple triple_of(nb::handle h, Where where) {
  const std::vector<int> v = to_ints_n(h, 3, where);
  return {v[0], v[1], v[2]};
}

std::string document(int n, bool transposed) {
  const char* spatial[] = {"", "L", "H, W", "D, H, W"};
  std::string doc = std::string(transposed ? "Transposed convolution" : "Convolution") + " over " +
                    std::to_string(n) + (n == 1 ? " axis" : " axes") +
                    " (cross-correlation: the kernel is not flipped).\n\nArgs:\n  input: shape (N, " +
                    spatial[n] + ", C_in).\n  weight: shape (C_out, k" + (n == 1 ? "" : ", ...") +
                    ", C_in / groups).\n";
  doc += transposed
             ? "  stride: by how much the output grows per step.\n  padding: what is cut off at each end.\n"
             : "  stride: the step of the kernel.\n  padding: zeros at each end.\n";
  doc += "  dilation: the distance of the kernel's elements.\n";
  if (transposed)
    doc += "  output_padding: rows added at the end of the output, which the kernel's shape leaves open.\n";
  doc += R"(  groups: input and output channels are split into that many independent convolutions.
  stream: where to run; ``None`` is the default stream.
Returns:
  )";
  doc += transposed
             ? "Size ``(n - 1) * stride - 2 * padding + dilation * (k - 1) + 1 + output_padding`` per axis."
             : "Size ``floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1`` per axis.";
  return doc + "\nRaises:\n  ValueError: the shapes do not go together, or the dtype is not floating.";
}

void define_forward(Module& m) {
  m.def(
      "conv1d",
      [](nb::handle x, nb::handle w, int stride, int padding, int dilation, int groups, StreamOrDevice s) {
        return wrap(core::conv1d(to_array(x, {"conv1d", "input", 1}), to_array(w, {"conv1d", "weight", 2}),
                                 stride, padding, dilation, groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig(
          "def conv1d(input: array, weight: array, /, stride: int = 1, padding: int = 0, dilation: int = 1, "
          "groups: int = 1, *, stream: StreamOrDevice = None) -> array"),
      document(1, false).c_str());
  m.def(
      "conv2d",
      [](nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle dilation, int groups,
         StreamOrDevice s) {
        return wrap(core::conv2d(to_array(x, {"conv2d", "input", 1}), to_array(w, {"conv2d", "weight", 2}),
                                 pair_of(stride, {"conv2d", "stride", 3}),
                                 pair_of(padding, {"conv2d", "padding", 4}),
                                 pair_of(dilation, {"conv2d", "dilation", 5}), groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def conv2d(input: array, weight: array, /, stride: int | tuple[int, int] = 1, "
              "padding: int | tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, groups: int = 1, *, "
              "stream: StreamOrDevice = None) -> array"),
      document(2, false).c_str());
  m.def(
      "conv3d",
      [](nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle dilation, int groups,
         StreamOrDevice s) {
        return wrap(core::conv3d(to_array(x, {"conv3d", "input", 1}), to_array(w, {"conv3d", "weight", 2}),
                                 triple_of(stride, {"conv3d", "stride", 3}),
                                 triple_of(padding, {"conv3d", "padding", 4}),
                                 triple_of(dilation, {"conv3d", "dilation", 5}), groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "groups"_a = 1, nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def conv3d(input: array, weight: array, /, stride: int | tuple[int, int, int] = 1, "
              "padding: int | tuple[int, int, int] = 0, dilation: int | tuple[int, int, int] = 1, groups: "
              "int = 1, *, "
              "stream: StreamOrDevice = None) -> array"),
      document(3, false).c_str());
}

void define_transposed(Module& m) {
  m.def(
      "conv_transpose1d",
      [](nb::handle x, nb::handle w, int stride, int padding, int dilation, int out, int groups,
         StreamOrDevice s) {
        return wrap(core::conv_transpose1d(to_array(x, {"conv_transpose1d", "input", 1}),
                                           to_array(w, {"conv_transpose1d", "weight", 2}), stride, padding,
                                           dilation, out, groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "output_padding"_a = 0,
      "groups"_a = 1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def conv_transpose1d(input: array, weight: array, /, stride: int = 1, padding: int = 0, "
              "dilation: int = 1, output_padding: int = 0, groups: int = 1, *, stream: StreamOrDevice = "
              "None) -> array"),
      document(1, true).c_str());
  m.def(
      "conv_transpose2d",
      [](nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle dilation,
         nb::handle out, int groups, StreamOrDevice s) {
        const char* f = "conv_transpose2d";
        return wrap(core::conv_transpose2d(
            to_array(x, {f, "input", 1}), to_array(w, {f, "weight", 2}), pair_of(stride, {f, "stride", 3}),
            pair_of(padding, {f, "padding", 4}), pair_of(dilation, {f, "dilation", 5}),
            pair_of(out, {f, "output_padding", 6}), groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "output_padding"_a = 0,
      "groups"_a = 1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def conv_transpose2d(input: array, weight: array, /, stride: int | tuple[int, int] = 1, "
              "padding: int | tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, "
              "output_padding: int | tuple[int, int] = 0, groups: int = 1, *, stream: StreamOrDevice = None) "
              "-> array"),
      document(2, true).c_str());
  m.def(
      "conv_transpose3d",
      [](nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle dilation,
         nb::handle out, int groups, StreamOrDevice s) {
        const char* f = "conv_transpose3d";
        return wrap(core::conv_transpose3d(
            to_array(x, {f, "input", 1}), to_array(w, {f, "weight", 2}), triple_of(stride, {f, "stride", 3}),
            triple_of(padding, {f, "padding", 4}), triple_of(dilation, {f, "dilation", 5}),
            triple_of(out, {f, "output_padding", 6}), groups, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "dilation"_a = 1, "output_padding"_a = 0,
      "groups"_a = 1, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def conv_transpose3d(input: array, weight: array, /, stride: int | tuple[int, int, int] = 1, "
              "padding: int | tuple[int, int, int] = 0, dilation: int | tuple[int, int, int] = 1, "
              "output_padding: int | tuple[int, int, int] = 0, groups: int = 1, *, stream: StreamOrDevice = "
              "None) "
              "-> array"),
      document(3, true).c_str());
}

array general(nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle kernel_dilation,
              nb::handle input_dilation, int groups, bool flip, StreamOrDevice s) {
  const char* f = "conv_general";
  ArrayArg in = to_array(x, {f, "input", 1});
  const size_t n = in.get().ndim() < 2 ? 0 : in.get().ndim() - 2;
  std::vector<int> low, high;
  // A pair of sequences gives the padding before and after.
  const bool sided = PySequence_Check(padding.ptr()) && nb::len(padding) == 2 &&
                     PySequence_Check(nb::object(padding[0]).ptr());
  if (sided) {
    low = to_ints_n(nb::object(padding[0]), n, {f, "padding", 4});
    high = to_ints_n(nb::object(padding[1]), n, {f, "padding", 4});
  } else {
    low = high = to_ints_n(padding, n, {f, "padding", 4});
  }
  return core::conv_general(in.get(), to_array(w, {f, "weight", 2}).get(),
                            to_ints_n(stride, n, {f, "stride", 3}), low, high,
                            to_ints_n(kernel_dilation, n, {f, "kernel_dilation", 5}),
                            to_ints_n(input_dilation, n, {f, "input_dilation", 6}), groups, flip, s);
}

// NumPy's convolve: the kernel is flipped, the shorter of both is the kernel.
array convolve(nb::handle a, nb::handle v, const std::string& mode, StreamOrDevice s) {
  array x = to_array(a, {"convolve", "a", 1});
  array w = to_array(v, {"convolve", "v", 2});
  if (x.ndim() != 1 || w.ndim() != 1)
    throw std::invalid_argument("[convolve] both inputs must have one dimension, they have " +
                                std::to_string(x.ndim()) + " and " + std::to_string(w.ndim()));
  if (x.size() == 0 || w.size() == 0) throw std::invalid_argument("[convolve] the inputs must not be empty");
  if (x.size() < w.size()) std::swap(x, w);
  const int k = w.shape(0);
  int low = 0, high = 0;
  if (mode == "full") {
    low = high = k - 1;
  } else if (mode == "same") {
    // The middle of the full result: the longer part of an odd remainder lies at the end, as in NumPy.
    low = k / 2;
    high = (k - 1) / 2;
  } else if (mode != "valid") {
    throw std::invalid_argument("[convolve] mode must be 'full', 'same' or 'valid', not '" + mode + "'");
  }
  array y =
      core::conv_general(core::reshape(x, {1, -1, 1}, s), core::reshape(core::flip(w, 0, s), {1, -1, 1}, s),
                         {1}, {low}, {high}, {1}, {1}, 1, false, s);
  return core::reshape(y, {-1}, s);
}

}  // namespace

void init_conv(Module& m) {
  define_forward(m);
  define_transposed(m);
  m.def(
      "conv_general",
      [](nb::handle x, nb::handle w, nb::handle stride, nb::handle padding, nb::handle kernel_dilation,
         nb::handle input_dilation, int groups, bool flip, StreamOrDevice s) {
        return wrap(general(x, w, stride, padding, kernel_dilation, input_dilation, groups, flip, s));
      },
      nb::arg(), nb::arg(), "stride"_a = 1, "padding"_a = 0, "kernel_dilation"_a = 1, "input_dilation"_a = 1,
      "groups"_a = 1, "flip"_a = false, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def conv_general(input: array, weight: array, /, stride: int | Sequence[int] = 1, "
              "padding: int | Sequence[int] | tuple[Sequence[int], Sequence[int]] = 0, "
              "kernel_dilation: int | Sequence[int] = 1, input_dilation: int | Sequence[int] = 1, groups: "
              "int = 1, "
              "flip: bool = False, *, stream: StreamOrDevice = None) -> array"),
      R"(Convolution over any number of axes with every parameter.

Args:
  input: shape (N, ..., C_in).
  weight: shape (C_out, ..., C_in / groups).
  stride: the step of the kernel, for each axis or one for all.
  padding: zeros at each end, or a pair of sequences for those before and after.
  kernel_dilation: the distance of the kernel's elements.
  input_dilation: the distance of the input's elements; zeros lie between.
  groups: input and output channels are split into that many independent convolutions.
  flip: flip the kernel, which makes it a convolution in the mathematical sense.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the shapes do not go together.)");
  m.def(
      "convolve",
      [](nb::handle a, nb::handle v, const std::string& mode, StreamOrDevice s) {
        return wrap(convolve(a, v, mode, s));
      },
      nb::arg(), nb::arg(), "mode"_a = "full", nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def convolve(a: array, v: array, /, mode: str = 'full', *, stream: StreamOrDevice = None) -> "
              "array"),
      R"(The convolution of two vectors, ``out[n] = sum(a[i] * v[n - i])``.

Args:
  a, v: vectors of a floating dtype.
  mode: ``full`` gives all ``n + m - 1`` values, ``same`` the middle ``max(n, m)``, ``valid`` those where both overlap
    fully.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: an input is empty or no vector, or the mode is another one.)");
}

}  // namespace mlx::python
