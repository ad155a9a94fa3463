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

void define_packing(Module& m) {
  m.def(
      "quantize",
      [](nb::handle w, Bits group_size, Bits bits, const std::string& mode, nb::handle global_scale,
         StreamOrDevice s) {
        return as_tuple(core::quantize(to_array(w, {"quantize", "w", 1}), group_size, bits, mode,
                                       to_optional_array(global_scale, {"quantize", "global_scale", 5}), s));
      },
      nb::arg(), "group_size"_a = nb::none(), "bits"_a = nb::none(), "mode"_a = "affine", nb::kw_only(),
      "global_scale"_a = nb::none(), "stream"_a = nb::none(),
      nb::sig("def quantize(w: array, /, group_size: int | None = None, bits: int | None = None, mode: str = "
              "'affine', "
              "*, global_scale: array | None = None, stream: StreamOrDevice = None) -> tuple[array, array, "
              "array]"),
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
      [](nb::handle w, nb::handle scales, nb::handle biases, Bits group_size, Bits bits,
         const std::string& mode, nb::handle global_scale, std::optional<Dtype> dtype, StreamOrDevice s) {
        return wrap(core::dequantize(
            to_array(w, {"dequantize", "w", 1}), to_array(scales, {"dequantize", "scales", 2}),
            to_optional_array(biases, {"dequantize", "biases", 3}), group_size, bits, mode,
            to_optional_array(global_scale, {"dequantize", "global_scale", 7}), dtype, s));
      },
      nb::arg(), "scales"_a, "biases"_a = nb::none(), "group_size"_a = nb::none(), "bits"_a = nb::none(),
      "mode"_a = "affine", "global_scale"_a = nb::none(), "dtype"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def dequantize(w: array, /, scales: array, biases: array | None = None, group_size: int | "
              "None = None, "
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
      "to_fp8",
      [](nb::handle x, StreamOrDevice s) { return wrap(core::to_fp8(required(x, {"to_fp8", "x", 1}), s)); },
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

void define_products(Module& m) {
  m.def(
      "quantized_matmul",
      [](nb::handle x, nb::handle w, nb::handle scales, nb::handle biases, bool transpose, Bits group_size,
         Bits bits, const std::string& mode, StreamOrDevice s) {
        constexpr const char* name = "quantized_matmul";
        return wrap(core::quantized_matmul(
            to_array(x, {name, "x", 1}), to_array(w, {name, "w", 2}), to_array(scales, {name, "scales", 3}),
            to_optional_array(biases, {name, "biases", 4}), transpose, group_size, bits, mode, s));
      },
      nb::arg(), nb::arg(), "scales"_a, "biases"_a = nb::none(), "transpose"_a = true,
      "group_size"_a = nb::none(), "bits"_a = nb::none(), "mode"_a = "affine", nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def quantized_matmul(x: array, w: array, /, scales: array, biases: array | None = None, "
              "transpose: bool = True, group_size: int | None = None, bits: int | None = None, mode: str = "
              "'affine', "
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

void define_gathers(Module& m) {
  m.def(
      "gather_mm",
      [](nb::handle a, nb::handle b, nb::handle lhs, nb::handle rhs, bool sorted, StreamOrDevice s) {
        constexpr const char* name = "gather_mm";
        return wrap(core::gather_mm(required(a, {name, "a", 1}), required(b, {name, "b", 2}),
                                    to_optional_array(lhs, {name, "lhs_indices", 3}),
                                    to_optional_array(rhs, {name, "rhs_indices", 4}), sorted, s));
      },
      nb::arg(), nb::arg(), "lhs_indices"_a = nb::none(), "rhs_indices"_a = nb::none(), nb::kw_only(),
      "sorted_indices"_a = false, "stream"_a = nb::none(),
      nb::sig("def gather_mm(a: array, b: array, /, lhs_indices: array | None = None, rhs_indices: array | "
              "None = None, "
              "*, sorted_indices: bool = False, stream: StreamOrDevice = None) -> array"),
      R"(Products of matrices that indices choose, ``out[i] = a[lhs_indices[i]] @ b[rhs_indices[i]]``.

Args:
  a: (..., M, K); its leading axes are counted as one.
  b: (..., K, N), likewise.
  lhs_indices, rhs_indices: integers that broadcast against each other; ``None`` takes every matrix in order.
  sorted_indices: whether both are sorted; the result is the same.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of the indices with (M, N) behind it, in the promoted dtype, a real float.
Raises:
  ValueError: the inner sizes differ, or a dtype is none of these.   IndexError: an index is out of range.)");
  m.def(
      "gather_qmm",
      [](nb::handle x, nb::handle w, nb::handle scales, nb::handle biases, nb::handle lhs, nb::handle rhs,
         bool transpose, Bits group_size, Bits bits, const std::string& mode, nb::handle global_scale,
         bool sorted, StreamOrDevice s) {
        constexpr const char* name = "gather_qmm";
        return wrap(core::gather_qmm(
            to_array(x, {name, "x", 1}), to_array(w, {name, "w", 2}), to_array(scales, {name, "scales", 3}),
            to_optional_array(biases, {name, "biases", 4}), to_optional_array(lhs, {name, "lhs_indices", 5}),
            to_optional_array(rhs, {name, "rhs_indices", 6}), transpose, group_size, bits, mode,
            to_optional_array(global_scale, {name, "global_scale", 11}), sorted, s));
      },
      nb::arg(), nb::arg(), "scales"_a, "biases"_a = nb::none(), "lhs_indices"_a = nb::none(),
      "rhs_indices"_a = nb::none(), "transpose"_a = true, "group_size"_a = nb::none(), "bits"_a = nb::none(),
      "mode"_a = "affine", "global_scale"_a = nb::none(), nb::kw_only(), "sorted_indices"_a = false,
      "stream"_a = nb::none(),
      nb::sig("def gather_qmm(x: array, w: array, /, scales: array, biases: array | None = None, "
              "lhs_indices: array | None = None, rhs_indices: array | None = None, transpose: bool = True, "
              "group_size: int | None = None, bits: int | None = None, mode: str = 'affine', "
              "global_scale: array | None = None, *, sorted_indices: bool = False, stream: StreamOrDevice = "
              "None) "
              "-> array"),
      R"(quantized_matmul of operands that indices choose, as mixtures of experts have them.

Args:
  x: (..., M, K).
  w, scales, biases: quantized matrices, (..., N, K) before they were packed, or (..., K, N) with ``transpose=False``.
  lhs_indices, rhs_indices: which of ``x`` and which of the matrices, as for gather_mm.
  transpose, group_size, bits, mode: as for quantized_matmul.
  global_scale: for ``"nvfp4"``: float32, one for each matrix.
  sorted_indices: whether both are sorted; products of one matrix that follow each other are computed as one.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of the indices with (M, N) behind it.
Raises:
  ValueError: as for quantized_matmul.   IndexError: an index is out of range.)");
  m.def(
      "segmented_mm",
      [](nb::handle a, nb::handle b, nb::handle segments, StreamOrDevice s) {
        constexpr const char* name = "segmented_mm";
        return wrap(core::segmented_mm(required(a, {name, "a", 1}), required(b, {name, "b", 2}),
                                       required(segments, {name, "segments", 3}), s));
      },
      nb::arg(), nb::arg(), "segments"_a, nb::kw_only(), "stream"_a = nb::none(),
      nb::sig("def segmented_mm(a: array, b: array, /, segments: array, *, stream: StreamOrDevice = None) -> "
              "array"),
      R"(Products over parts of the inner axis, ``out[i] = a[:, begin:end] @ b[begin:end, :]``.

Args:
  a, b: matrices (M, K) and (K, N), real floats.
  segments: (..., 2), integers: begins and ends in ``0 ... K``. An empty segment gives zeros.
  stream: where to run; ``None`` is the default stream.
Returns:
  (..., M, N).
Raises:
  ValueError: a shape or dtype is none of these.   IndexError: a segment leaves the inner axis.)");
  m.def(
      "block_masked_mm",
      [](nb::handle a, nb::handle b, int block_size, nb::handle out, nb::handle lhs, nb::handle rhs,
         StreamOrDevice s) {
        constexpr const char* name = "block_masked_mm";
        return wrap(core::block_masked_mm(required(a, {name, "a", 1}), required(b, {name, "b", 2}),
                                          block_size, to_optional_array(out, {name, "mask_out", 4}),
                                          to_optional_array(lhs, {name, "mask_lhs", 5}),
                                          to_optional_array(rhs, {name, "mask_rhs", 6}), s));
      },
      nb::arg(), nb::arg(), "block_size"_a = 64, "mask_out"_a = nb::none(), "mask_lhs"_a = nb::none(),
      "mask_rhs"_a = nb::none(), nb::kw_only(), "stream"_a = nb::none(),
      nb::sig(
          "def block_masked_mm(a: array, b: array, /, block_size: int = 64, mask_out: array | None = None, "
          "mask_lhs: array | None = None, mask_rhs: array | None = None, *, stream: StreamOrDevice = None) "
          "-> array"),
      R"(The product of matrices whose blocks are masked: ``mask_out * ((mask_lhs * a) @ (mask_rhs * b))``.

Args:
  a, b: (..., M, K) and (..., K, N), real floats.
  block_size: rows and columns of a block, as a rule 32 or 64.
  mask_out, mask_lhs, mask_rhs: an element for every block of the result, of ``a`` and of ``b``: a bool says whether the
    block counts, a number is a factor.
  stream: where to run; ``None`` is the default stream.
Raises:
  ValueError: a shape, dtype or the block size is none of these.)");
}

void define_quantized_inputs(Module& m) {
  m.def(
      "qqmm",
      [](nb::handle x, nb::handle w, nb::handle scales, Bits group_size, Bits bits, const std::string& mode,
         nb::handle global_x, nb::handle global_w, StreamOrDevice s) {
        constexpr const char* name = "qqmm";
        return wrap(core::qqmm(to_array(x, {name, "x", 1}), to_array(w, {name, "w", 2}),
                               to_optional_array(scales, {name, "scales", 3}), group_size, bits, mode,
                               to_optional_array(global_x, {name, "global_scale_x", 7}),
                               to_optional_array(global_w, {name, "global_scale_w", 8}), s));
      },
      "x"_a, "w"_a, "scales"_a = nb::none(), "group_size"_a = nb::none(), "bits"_a = nb::none(),
      "mode"_a = "nvfp4", "global_scale_x"_a = nb::none(), "global_scale_w"_a = nb::none(), nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def qqmm(x: array, w: array, scales: array | None = None, group_size: int | None = None, "
              "bits: int | None = None, mode: str = 'nvfp4', global_scale_x: array | None = None, "
              "global_scale_w: array | None = None, *, stream: StreamOrDevice = None) -> array"),
      R"(The product of two quantized operands, ``q(x) @ q(w).T`` where ``q`` quantizes and dequantizes.

Args:
  x: (..., K), float32, float16 or bfloat16; it is quantized here.
  w: (N, K): floats, which are quantized here, or the words that quantize returned.
  scales: of a quantized ``w``.
  group_size, bits, mode: as for quantize; not ``"affine"``.
  global_scale_x, global_scale_w: for ``"nvfp4"``: both or neither, as for quantize.
  stream: where to run; ``None`` is the default stream.
Returns:
  (..., N) in the dtype of ``x``. Gradients for ``x`` and for floats ``w`` are those without rounding.
Raises:
  ValueError: the arrays do not belong together.)");
  m.def(
      "gather_qqmm",
      [](nb::handle x, nb::handle w, nb::handle scales, nb::handle lhs, nb::handle rhs, Bits group_size,
         Bits bits, const std::string& mode, nb::handle global_x, nb::handle global_w, bool sorted,
         StreamOrDevice s) {
        constexpr const char* name = "gather_qqmm";
        return wrap(core::gather_qqmm(to_array(x, {name, "x", 1}), to_array(w, {name, "w", 2}),
                                      to_optional_array(scales, {name, "scales", 3}),
                                      to_optional_array(lhs, {name, "lhs_indices", 4}),
                                      to_optional_array(rhs, {name, "rhs_indices", 5}), group_size, bits,
                                      mode, to_optional_array(global_x, {name, "global_scale_x", 9}),
                                      to_optional_array(global_w, {name, "global_scale_w", 10}), sorted, s));
      },
      nb::arg(), nb::arg(), "scales"_a = nb::none(), "lhs_indices"_a = nb::none(),
      "rhs_indices"_a = nb::none(), "group_size"_a = nb::none(), "bits"_a = nb::none(), "mode"_a = "nvfp4",
      "global_scale_x"_a = nb::none(), "global_scale_w"_a = nb::none(), nb::kw_only(),
      "sorted_indices"_a = false, "stream"_a = nb::none(),
      nb::sig(
          "def gather_qqmm(x: array, w: array, /, scales: array | None = None, lhs_indices: array | None = "
          "None, "
          "rhs_indices: array | None = None, group_size: int | None = None, bits: int | None = None, "
          "mode: str = 'nvfp4', global_scale_x: array | None = None, global_scale_w: array | None = None, *, "
          "sorted_indices: bool = False, stream: StreamOrDevice = None) -> array"),
      R"(qqmm of operands that indices choose.

Args:
  x: (..., M, K), quantized here.
  w, scales: (..., N, K): floats, or what quantize returned.
  lhs_indices, rhs_indices, sorted_indices: as for gather_mm.
  group_size, bits, mode: as for quantize; not ``"affine"``.
  global_scale_x, global_scale_w: for ``"nvfp4"``: one float32 for ``x`` and one for each matrix, or neither.
  stream: where to run; ``None`` is the default stream.
Returns:
  The shape of the indices with (M, N) behind it, in the dtype of ``x``.
Raises:
  ValueError: the arrays do not belong together.   IndexError: an index is out of range.)");
}

}  // namespace

void init_quantized(Module& m) {
  define_packing(m);
  define_products(m);
  define_gathers(m);
  define_quantized_inputs(m);
}

}  // namespace mlx::python
