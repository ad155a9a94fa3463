// mlx.core.fft: discrete Fourier transforms.
#include "mlx/fft.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>

#include "python/src/args.h"

namespace mlx::python {
namespace {

using core::fft::FFTNorm;
using Axes = std::vector<int>;

FFTNorm to_norm(const char* name, const std::string& norm) {
  if (norm == "backward") return FFTNorm::Backward;
  if (norm == "ortho") return FFTNorm::Ortho;
  if (norm == "forward") return FFTNorm::Forward;
  throw std::invalid_argument("[fft." + std::string(name) +
                              "] norm must be \"backward\", \"ortho\" or \"forward\", got \"" + norm + "\"");
}

std::string transform_doc(const std::string& what, const std::string& arguments, const std::string& returns) {
  return what + "\n\nArgs:\n  a: any shape; converted to " + arguments +
         R"(
  norm: where the factor 1 over the number of elements goes: "backward", on the inverse transform; "forward", on the
    forward one; "ortho", its square root on both.
  stream: where to run; ``None`` is the default stream.
Returns:
  )" + returns +
         R"(
Raises:
  ValueError: a length that is not positive, or another norm.
  IndexError: an axis that the array does not have.)";
}

struct Names {
  const char *name, *formula, *dtype, *length, *result;
};
constexpr const char* kComplexSum = "``out[k] = sum_j a[j] exp(-2 pi i j k / n)``";
constexpr const char* kInverseSum = "``out[k] = 1 / n sum_j a[j] exp(2 pi i j k / n)``";
constexpr const char* kComplexLength = "The elements to take; zeros follow where there are fewer.";
constexpr const char* kHalfLength =
    "The length of the result, of which n / 2 + 1 elements are taken; the default makes it even.";

constexpr Names kFft{"fft", kComplexSum, "complex64", kComplexLength, "complex64."};
constexpr Names kIfft{"ifft", kInverseSum, "complex64", kComplexLength, "complex64."};
constexpr Names kRfft{
    "rfft", kComplexSum, "float32", kComplexLength,
    "complex64, with n / 2 + 1 elements along the (last) axis: the others are their conjugates."};
constexpr Names kIrfft{"irfft", kInverseSum, "complex64", kHalfLength, "float32."};

constexpr Names kHfft{"hfft", "``out[k] = sum_j a[j] exp(-2 pi i j k / n)`` with ``a[n - j] = conj(a[j])``",
                      "complex64", kHalfLength, "float32."};
constexpr Names kIhfft{"ihfft", kInverseSum, "float32", kComplexLength,
                       "complex64, with n / 2 + 1 elements along the axis: the others are their conjugates."};

using OneLength = array (*)(const array&, int, int, FFTNorm, StreamOrDevice);
using OneAxis = array (*)(const array&, int, FFTNorm, StreamOrDevice);
using ManyLengths = array (*)(const array&, const Shape&, const Axes&, FFTNorm, StreamOrDevice);
using ManyAxes = array (*)(const array&, const Axes&, FFTNorm, StreamOrDevice);
using AllAxes = array (*)(const array&, FFTNorm, StreamOrDevice);

std::string described(const Names& n, const char* kind) {
  const std::string real = n.name[0] == 'r' ? " of reals" : n.name[1] == 'r' ? " to reals" : "";
  const bool inverse = n.name[0] == 'i';
  return std::string(inverse ? "The inverse" : "The") + " discrete Fourier transform" + real + " over " +
         kind + ".\n\n" + n.formula + ", computed in float32.";
}

void def_one(Module& m, const Names& n, OneLength sized, OneAxis plain) {
  const std::string doc =
      transform_doc(described(n, "one axis"),
                    std::string(n.dtype) + ".\n  n: " + n.length + "\n  axis: the axis.", n.result);
  const std::string sig = std::string("def ") + n.name +
                          "(a: array, n: int | None = None, axis: int = -1, norm: str = 'backward', "
                          "stream: StreamOrDevice = None) -> array";
  m.def(
      n.name,
      [name = n.name, sized, plain](nb::handle a, std::optional<int> length, int axis,
                                    const std::string& norm, StreamOrDevice s) {
        const ArrayArg x = to_array(a, {name, "a", 1});
        const FFTNorm where = to_norm(name, norm);
        return wrap(length ? sized(x, *length, axis, where, s) : plain(x, axis, where, s));
      },
      "a"_a, "n"_a = nb::none(), "axis"_a = -1, "norm"_a = "backward", "stream"_a = nb::none(),
      nb::sig(sig.c_str()), doc.c_str());
}

// All axes where none are given.
void def_many(Module& m, const Names& n, const char* name, bool two, ManyLengths sized, ManyAxes plain,
              AllAxes all) {
  const std::string axes =
      two ? "the two axes; ``None`` is all there are." : "the axes; ``None`` is all there are.";
  const std::string doc = transform_doc(
      described(n, two ? "two axes" : "several axes"),
      std::string(n.dtype) + ".\n  s: for each axis, n: " + n.length + "\n  axes: " + axes, n.result);
  const std::string sig = std::string("def ") + name + "(a: array, s: tuple[int, ...] | None = None, axes: " +
                          "Sequence[int] | None = " + (two ? "[-2, -1]" : "None") +
                          ", norm: str = 'backward', stream: StreamOrDevice = None) -> array";
  const auto call = [name, sized, plain, all](nb::handle a, nb::handle lengths, nb::handle axes,
                                              const std::string& norm, StreamOrDevice s) {
    const ArrayArg x = to_array(a, {name, "a", 1});
    const FFTNorm where = to_norm(name, norm);
    if (axes.is_none()) {
      if (!lengths.is_none())
        throw std::invalid_argument("[fft." + std::string(name) +
                                    "] lengths `s` need `axes` that they belong to");
      return wrap(all(x, where, s));
    }
    const Axes along = to_ints(axes, {name, "axes", 3});
    if (lengths.is_none()) return wrap(plain(x, along, where, s));
    return wrap(sized(x, to_shape(lengths, {name, "s", 2}), along, where, s));
  };
  const auto def = [&](auto standard) {
    m.def(name, call, "a"_a, "s"_a = nb::none(), standard, "norm"_a = "backward", "stream"_a = nb::none(),
          nb::sig(sig.c_str()), doc.c_str());
  };
  if (two) {
    nb::list last;
    last.append(-2);
    last.append(-1);
    def("axes"_a = last);
  } else {
    def("axes"_a = nb::none());
  }
}

void def_shift(Module& m, const char* name, const char* doc,
               array (*some)(const array&, const Axes&, StreamOrDevice),
               array (*all)(const array&, StreamOrDevice)) {
  const std::string sig =
      std::string("def ") + name +
      "(a: array, axes: int | Sequence[int] | None = None, stream: StreamOrDevice = None) "
      "-> array";
  m.def(
      name,
      [name, some, all](nb::handle a, nb::handle axes, StreamOrDevice s) {
        const ArrayArg x = to_array(a, {name, "a", 1});
        const auto along = to_axes(axes, name, 2);
        return wrap(along ? some(x, *along, s) : all(x, s));
      },
      "a"_a, "axes"_a = nb::none(), "stream"_a = nb::none(), nb::sig(sig.c_str()), doc);
}

void def_spectrograms(Module& m) {
  m.def(
      "stft",
      [](nb::handle x, int n_fft, std::optional<int> hop, std::optional<int> length, nb::handle window,
         bool center, const std::string& pad_mode, const std::string& norm, std::optional<bool> onesided,
         StreamOrDevice s) {
        return wrap(core::fft::stft(to_array(x, {"stft", "x", 1}), n_fft, hop, length,
                                    to_optional_array(window, {"stft", "window", 5}), center, pad_mode,
                                    to_norm("stft", norm), onesided, s));
      },
      "x"_a, "n_fft"_a = 2048, "hop_length"_a = nb::none(), "win_length"_a = nb::none(),
      "window"_a = nb::none(), "center"_a = true, "pad_mode"_a = "reflect", "norm"_a = "backward",
      "onesided"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def stft(x: array, n_fft: int = 2048, hop_length: int | None = None, win_length: int | None = "
              "None, "
              "window: array | None = None, center: bool = True, pad_mode: str = 'reflect', norm: str = "
              "'backward', onesided: bool | None = None, stream: StreamOrDevice = None) -> array"),
      R"(The transforms of overlapping frames of signals.

Frame t is ``n_fft`` samples from ``t * hop_length`` on, times the window.

Args:
  x: signals (..., samples); all dtypes but complex64 are converted to float32.
  n_fft: samples of a frame.
  hop_length: from frame to frame; ``None`` is a quarter of n_fft.
  win_length: where no window is given, the length of one of ones; ``None`` is n_fft.
  window: up to n_fft weights, for the middle of a frame.
  center: add n_fft / 2 samples on both sides first, so that frame t is about sample ``t * hop_length``.
  pad_mode: what they are: "reflect", "edge" or "constant" (zeros).
  norm: as for ``fft``.
  onesided: only the first n_fft / 2 + 1 frequencies; ``None`` is True for reals and False for complex numbers.
  stream: where to run; ``None`` is the default stream.
Returns:
  complex64 (..., frequencies, frames).
Raises:
  ValueError: a length that is not positive, a window longer than n_fft, too few samples.)");
  m.def(
      "istft",
      [](nb::handle x, std::optional<int> n_fft, std::optional<int> hop, std::optional<int> win_length,
         nb::handle window, bool center, const std::string& norm, std::optional<bool> onesided,
         std::optional<int> length, StreamOrDevice s) {
        return wrap(core::fft::istft(to_array(x, {"istft", "stft_matrix", 1}), n_fft, hop, win_length,
                                     to_optional_array(window, {"istft", "window", 5}), center,
                                     to_norm("istft", norm), onesided, length, s));
      },
      "stft_matrix"_a, "n_fft"_a = nb::none(), "hop_length"_a = nb::none(), "win_length"_a = nb::none(),
      "window"_a = nb::none(), "center"_a = true, "norm"_a = "backward", "onesided"_a = nb::none(),
      "length"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig(
          "def istft(stft_matrix: array, n_fft: int | None = None, hop_length: int | None = None, "
          "win_length: "
          "int | None = None, window: array | None = None, center: bool = True, norm: str = 'backward', "
          "onesided: bool | None = None, length: int | None = None, stream: StreamOrDevice = None) -> array"),
      R"(The signals of which ``stft`` gives these transforms.

Frames are transformed back, multiplied by the window, added up where they overlap, and divided by the sum of the squared
windows there.

Args:
  stft_matrix: (..., frequencies, frames).
  n_fft: samples of a frame; ``None`` is what belongs to the number of frequencies, taken to be even.
  hop_length, win_length, window, center, norm: as given to ``stft``.
  onesided: whether the frequencies are the first n_fft / 2 + 1; ``None`` is True.
  length: samples of the result; ``None`` is all but the n_fft / 2 that ``center`` added at both ends.
  stream: where to run; ``None`` is the default stream.
Returns:
  float32 (..., samples).
Raises:
  ValueError: there are fewer than two dimensions, a length is not positive, the window is longer than n_fft.)");
}

}  // namespace

void init_fft(Module& parent) {
  namespace fft = core::fft;
  Module m = parent.def_submodule("fft", "Discrete Fourier transforms.");
  def_one(m, kFft, fft::fft, fft::fft);
  def_one(m, kIfft, fft::ifft, fft::ifft);
  def_one(m, kRfft, fft::rfft, fft::rfft);
  def_one(m, kIrfft, fft::irfft, fft::irfft);
  def_one(m, kHfft, fft::hfft, fft::hfft);
  def_one(m, kIhfft, fft::ihfft, fft::ihfft);
  def_many(m, kFft, "fft2", true, fft::fft2, fft::fft2, fft::fftn);
  def_many(m, kIfft, "ifft2", true, fft::ifft2, fft::ifft2, fft::ifftn);
  def_many(m, kRfft, "rfft2", true, fft::rfft2, fft::rfft2, fft::rfftn);
  def_many(m, kIrfft, "irfft2", true, fft::irfft2, fft::irfft2, fft::irfftn);
  def_many(m, kFft, "fftn", false, fft::fftn, fft::fftn, fft::fftn);
  def_many(m, kIfft, "ifftn", false, fft::ifftn, fft::ifftn, fft::ifftn);
  def_many(m, kRfft, "rfftn", false, fft::rfftn, fft::rfftn, fft::rfftn);
  def_many(m, kIrfft, "irfftn", false, fft::irfftn, fft::irfftn, fft::irfftn);
  def_shift(m, "fftshift", R"(The zero frequency moved to the middle: a roll by n / 2.

Args:
  a: any shape and dtype.
  axes: one axis or several; ``None`` is all.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis that the array does not have.)",
            fft::fftshift, fft::fftshift);
  def_shift(m, "ifftshift", R"(What ``fftshift`` moved, moved back: a roll by -(n / 2).

Args:
  a: any shape and dtype.
  axes: one axis or several; ``None`` is all.
  stream: where to run; ``None`` is the default stream.
Raises:
  IndexError: an axis that the array does not have.)",
            fft::ifftshift, fft::ifftshift);
  m.def(
      "fftfreq", [](int n, double d, StreamOrDevice s) { return wrap(fft::fftfreq(n, d, s)); }, "n"_a,
      "d"_a = 1.0, "stream"_a = nb::none(),
      nb::sig("def fftfreq(n: int, d: float = 1.0, stream: StreamOrDevice = None) -> array"),
      R"(The frequencies that the elements of a transform belong to: ``k / (n d)``, from the middle on ``(k - n) / (n d)``.

Args:
  n: the length of the transform.
  d: the distance of samples.
  stream: where to run; ``None`` is the default stream.
Returns:
  float32 (n).
Raises:
  ValueError: n is not positive, or d is 0.)");
  m.def(
      "rfftfreq", [](int n, double d, StreamOrDevice s) { return wrap(fft::rfftfreq(n, d, s)); }, "n"_a,
      "d"_a = 1.0, "stream"_a = nb::none(),
      nb::sig("def rfftfreq(n: int, d: float = 1.0, stream: StreamOrDevice = None) -> array"),
      R"(The frequencies that the elements of a transform of reals belong to: ``k / (n d)``.

Args:
  n: the number of reals.
  d: the distance of samples.
  stream: where to run; ``None`` is the default stream.
Returns:
  float32 (n / 2 + 1).
Raises:
  ValueError: n is not positive, or d is 0.)");
  def_spectrograms(m);
}

}  // namespace mlx::python
