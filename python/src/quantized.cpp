// Quantized matrices: packing, unpacking and products.
#include <string>

#include "python/src/args.h"

namespace mlx::python {
namespace {

using Bits = std::optional<int>;

array required(nb::handle h, Where where) { return to_array(h, where).get(); }

// (words, scales, biases), without biases in modes that have none.
nb::tuple as_tuple(const std::vector<array>& arrays) {
  nb::list out;
  for (const array& a : arrays) out.append(wrap(a));
  return nb::tuple(out);
}

void define_packing(nb::module_& m) {
  m.def(
      "quantize",
      [](nb::handle w, Bits group_size, Bits bits, const std::string& mode, nb::handle global_scale,
         StreamOrDevice s) {
        return as_tuple(core::quantize(to_array(w, {"quantize", "w", 1}), group_size, bits, mode,
                                       to_optional_array(global_scale, {"quantize", "global_scale", 5}), s));
      },
      nb::arg(), "group_size"_a = nb::none(), "bits"_a = nb::none(), "mode"_a = "affine", nb::kw_only(),
      "global_scale"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def quantize(w: array, /, group_size: int | None = None, bits: int | None = None, mode: str = 'affine', "
              "*, global_scale: array | None = None, stream: StreamOrDevice = None) -> tuple[array, array, array]"),
      R"(Packs a matrix into codes of a few bits; neighbours in a row share a scale.

Modes, and what ``None`` stands for:

``"affine"``: ``group_size`` 64 (or 32, 128), ``bits`` 4 (or 1, 2, 3, 5, 6, 8). ``w`` is about
``code * scale + bias`` with codes ``0 ... 2 ** bits - 1``; scales and biases have the dtype of ``w``.
``"mxfp4"``, ``"mxfp8"``: groups of 32 floats of 4 or 8 bits (e2m1, e4m3), ``code * 2 ** (scale - 127)``.
``"nvfp4"``: groups of 16 floats of 4 bits (e2m1) with a scale that is an 8-bit float (e4m3).

Args:
  w: two dimensions or more, a real float; ``group_size`` divides its last dimension.
  group_size, bits: as above.
  mode: as above.
  global_scale: for ``"nvfp4"``: one float32, the largest magnitude of ``w``; scales are relative to it.
  stream: where to run; ``None`` is the default stream.
Returns:
  The codes in words of uint32, the lowest bits first; the scales, one for each group; and, in the mode ``"affine"``,
  the biases. Other modes return two arrays, and scales of uint8.
Raises:
  ValueError: the mode, group size, bits, dtype or shape is none of these.)");
  m.def(
      "dequantize",
      [](nb::handle w, nb::handle scales, nb::handle biases, Bits group_size, Bits bits, const std::string& mode,
         nb::handle global_scale, std::optional<Dtype> dtype, StreamOrDevice s) {
        return wrap(core::dequantize(to_array(w, {"dequantize", "w", 1}), to_array(scales, {"dequantize", "scales", 2}),
                                     to_optional_array(biases, {"dequantize", "biases", 3}), group_size, bits, mode,
                                     to_optional_array(global_scale, {"dequantize", "global_scale", 7}), dtype, s));
      },
      nb::arg(), "scales"_a, "biases"_a = nb::none(), "group_size"_a = nb::none(), "bits"_a = nb::none(),
      "mode"_a = "affine", "global_scale"_a = nb::none(), "dtype"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def dequantize(w: array, /, scales: array, biases: array | None = None, group_size: int | None = None, "
              "bits: int | None = None, mode: str = 'affine', global_scale: array | None = None, "
              "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array"),
      R"(The matrix that quantize packed, as closely as its codes say: ``code * scale + bias``.

Args:
  w, scales, biases: what quantize returned.
  group_size, bits, mode, global_scale: what quantize was given.
  dtype: of the result. ``None``: that of the scales (``"affine"``), float32 with a global scale, else bfloat16.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: the arrays do not belong together, or the dtype is no real float.)");
  m.def(
      "to_fp8", [](nb::handle x, StreamOrDevice s) { return wrap(core::to_fp8(required(x, {"to_fp8", "x", 1}), s)); },
      "x"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def to_fp8(x: array, *, stream: StreamOrDevice = None) -> array"),
      R"(The nearest 8-bit floats (e4m3): sign, four bits of exponent, three of mantissa.

Args:
  x: real floats. Magnitudes above 448, and nan, become 448; ties go to the even code.
  stream: where to run; ``None`` is the default stream.
Returns:
  The codes, uint8.
Raises:
  ValueError: ``x`` is no real float.)");
  m.def(
      "from_fp8",
      [](nb::handle x, Dtype dtype, StreamOrDevice s) {
        return wrap(core::from_fp8(required(x, {"from_fp8", "x", 1}), dtype, s));
      },
      "x"_a, "dtype"_a = core::bfloat16, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def from_fp8(x: array, dtype: Dtype = bfloat16, *, stream: StreamOrDevice = None) -> array"),
      R"(The values of 8-bit floats (e4m3).

Args:
  x: codes, uint8.
  dtype: of the result, a real float; all of them hold these values exactly.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: ``x`` is not uint8, or the dtype is no real float.)");
}

void define_products(nb::module_& m) {
  m.def(
      "quantized_matmul",
      [](nb::handle x, nb::handle w, nb::handle scales, nb::handle biases, bool transpose, Bits group_size, Bits bits,
         const std::string& mode, StreamOrDevice s) {
        constexpr const char* name = "quantized_matmul";
        return wrap(core::quantized_matmul(to_array(x, {name, "x", 1}), to_array(w, {name, "w", 2}),
                                           to_array(scales, {name, "scales", 3}),
                                           to_optional_array(biases, {name, "biases", 4}), transpose, group_size, bits,
                                           mode, s));
      },
      nb::arg(), nb::arg(), "scales"_a, "biases"_a = nb::none(), "transpose"_a = true, "group_size"_a = nb::none(),
      "bits"_a = nb::none(), "mode"_a = "affine", nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def quantized_matmul(x: array, w: array, /, scales: array, biases: array | None = None, "
              "transpose: bool = True, group_size: int | None = None, bits: int | None = None, mode: str = 'affine', "
              "*, stream: StreamOrDevice = None) -> array"),
      R"(The product with a quantized matrix, ``x @ dequantize(w, ...).T``, without unpacking it in memory.

Args:
  x: (..., M, K), or a vector of K; leading axes broadcast with those of ``w``.
  w, scales, biases: what quantize returned for a matrix (..., N, K), or (..., K, N) with ``transpose=False``.
  transpose: whether the matrix is transposed.
  group_size, bits, mode: what quantize was given.
  stream: where to run; ``None`` is the default stream.
Returns:
  (..., M, N) in the promoted dtype of ``x``, scales and biases (``"affine"``), else in that of ``x``. Sums are float32.
  There are gradients for ``x``, scales and biases, not for the packed integers.
Raises:
  ValueError: the arrays do not belong together, or their sizes do not suit ``x``.)");
}

}  // namespace

void init_quantized(nb::module_& m) {
  define_packing(m);
  define_products(m);
}

}  // namespace mlx::python
