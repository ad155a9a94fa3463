"""Quantized matrices on the simulated GPU: codes as the CPU's, products against float64, bytes moved."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import BOUND, counted, double, error, on_gpu, random

LAYOUTS = [
    *(("affine", 32 if bits % 2 else 64, bits) for bits in (2, 3, 4, 5, 6, 8)),
    ("mxfp4", 32, 4),
    ("mxfp8", 32, 8),
    ("nvfp4", 16, 4),
]


def parts(w: mx.array, mode: str, group: int, bits: int) -> tuple[mx.array, ...]:
    return tuple(mx.quantize(w, group_size=group, bits=bits, mode=mode))


def matrix(q: tuple[mx.array, ...], mode: str, group: int, bits: int) -> np.ndarray:
    return double(mx.dequantize(*q, group_size=group, bits=bits, mode=mode, stream=mx.cpu))


@pytest.mark.parametrize("mode,group,bits", LAYOUTS)
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_codes_and_values(mode: str, group: int, bits: int, dtype: mx.Dtype) -> None:
    w = random(np.random.default_rng(bits), 5, 128, dtype=dtype)
    before = dict(mx.metal._hand_overs())
    got = parts(w, mode, group, bits)
    mx.eval(got)
    want = tuple(mx.quantize(w, group_size=group, bits=bits, mode=mode, stream=mx.cpu))
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(np.array(a.astype(mx.float32)), np.array(b.astype(mx.float32)))
    back = mx.dequantize(*got, group_size=group, bits=bits, mode=mode)
    assert error(back, matrix(want, mode, group, bits)) < BOUND[dtype]
    for name in ("Quantize", "Dequantize"):
        assert mx.metal._hand_overs().get(name, 0) == before.get(name, 0)


@pytest.mark.parametrize("mode,group,bits", LAYOUTS)
@pytest.mark.parametrize("m", [1, 9])
@pytest.mark.parametrize("transpose", [True, False])
def test_products(mode: str, group: int, bits: int, m: int, transpose: bool) -> None:
    rng = np.random.default_rng(m + bits)
    n, k = (43, 128) if transpose else (64, 75)
    q = parts(random(rng, n, k) if transpose else random(rng, k, n), mode, group, bits)
    x = random(rng, m, k)
    got = on_gpu(
        lambda: mx.quantized_matmul(x, *q, transpose=transpose, group_size=group, bits=bits, mode=mode),
        "QuantizedMatmul",
    )
    w = matrix(q, mode, group, bits)
    assert error(got, double(x) @ (w.T if transpose else w)) < BOUND[mx.float32]


@pytest.mark.parametrize("mode,group,bits", [("affine", 64, 4), *LAYOUTS[-3:]])
@pytest.mark.parametrize("m", [2, 40])
def test_long_sums_are_made_in_parts(mode: str, group: int, bits: int, m: int) -> None:
    """Of the sum of the magnitudes, an error as where few numbers are added."""
    rng = np.random.default_rng(m)
    k = 1088
    q = parts(random(rng, 40, k), mode, group, bits)
    x = random(rng, m, k)
    got = on_gpu(lambda: mx.quantized_matmul(x, *q, group_size=group, bits=bits, mode=mode), "QuantizedMatmul")
    w = matrix(q, mode, group, bits)
    magnitude = np.abs(double(x)) @ np.abs(w).T
    assert (np.abs(double(got) - double(x) @ w.T) / magnitude).max() < 5e-7


@pytest.mark.parametrize("m", [3, 40])
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_dtypes(m: int, dtype: mx.Dtype) -> None:
    rng = np.random.default_rng(m)
    q = parts(random(rng, 70, 192, dtype=dtype), "affine", 64, 4)
    x = random(rng, m, 192, dtype=dtype)
    got = on_gpu(lambda: mx.quantized_matmul(x, *q), "QuantizedMatmul")
    # Tiles hold dequantized elements in the dtype.
    assert error(got, double(x) @ matrix(q, "affine", 64, 4).T) < 2 * BOUND[dtype]


@pytest.mark.parametrize("x", [(3, 2, 5, 64), (5, 64), (3, 1, 1, 64)])
def test_batches(x: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    q = parts(random(rng, 2, 20, 64), "affine", 32, 4)
    a = random(rng, *x)
    got = on_gpu(lambda: mx.quantized_matmul(a, *q, group_size=32), "QuantizedMatmul")
    want = double(a) @ np.swapaxes(matrix(q, "affine", 32, 4), -1, -2)
    assert error(got, want) < BOUND[mx.float32]


@pytest.mark.parametrize("m", [1, 7])
@pytest.mark.parametrize("transpose", [True, False])
def test_gather(m: int, transpose: bool) -> None:
    rng = np.random.default_rng(4)
    q = parts(random(rng, 4, 64, 64), "affine", 32, 4)
    x = random(rng, 3, m, 64)
    lhs, rhs = mx.array([0, 2, 1, 2]), mx.array([3, 0, 0, -2])
    got = on_gpu(lambda: mx.gather_qmm(x, *q, lhs, rhs, transpose=transpose, group_size=32), "GatherQMM")
    w = matrix(q, "affine", 32, 4)
    w = np.swapaxes(w, -1, -2) if transpose else w
    assert error(got, double(x)[np.array(lhs)] @ w[np.array(rhs)]) < BOUND[mx.float32]


def test_floats_of_8_bits() -> None:
    rng = np.random.default_rng(5)
    x = mx.array((rng.standard_normal(300) * 10.0 ** rng.integers(-4, 4, 300)).astype(np.float32))
    codes = on_gpu(lambda: mx.to_fp8(x), "ToFP8")
    assert np.array_equal(np.array(codes), np.array(mx.to_fp8(x, stream=mx.cpu)))
    all_codes = mx.arange(256).astype(mx.uint8)
    got = on_gpu(lambda: mx.from_fp8(all_codes, mx.float32), "FromFP8")
    assert np.array_equal(np.array(got), np.array(mx.from_fp8(all_codes, mx.float32, stream=mx.cpu)), equal_nan=True)


@pytest.mark.parametrize("transpose", [True, False])
def test_bytes_of_a_product_with_a_vector(transpose: bool) -> None:
    """Words, scales and biases are read once."""
    rng = np.random.default_rng(6)
    n, k, group = 512, 256, 64
    q = parts(random(rng, n, k) if transpose else random(rng, k, n), "affine", group, 4)
    x = random(rng, 1, k)
    mx.eval(q, x)
    counts = counted(lambda: mx.quantized_matmul(x, *q, transpose=transpose))
    (c,) = counts.values()
    words, scales = n * k // 2, n * k // group * 4 * 2
    vectors = k * 4 * (n // 32 if transpose else 1)
    # Lanes with 16 codes of one group each read its scale, side by side.
    assert c["unique_read"] == words + scales + k * 4
    assert c["read"] == words + scales * (group // 16) + vectors
    assert c["written"] == n * 4


def test_bytes_of_a_product_with_a_matrix() -> None:
    rng = np.random.default_rng(7)
    m, n, k, group, tile = 64, 96, 128, 64, 32
    q = parts(random(rng, n, k), "affine", group, 4)
    x = random(rng, m, k)
    mx.eval(q, x)
    (c,) = counted(lambda: mx.quantized_matmul(x, *q)).values()
    words, scales = n * k // 2, n * k // group * 4 * 2
    assert c["read"] == m * k * 4 * (n // tile) + (words + scales * (group // 16)) * (m // tile)
    assert c["written"] == m * n * 4


def test_strided_operands() -> None:
    w = random(np.random.default_rng(8), 64, 40)
    got = mx.quantize(w.T, group_size=32)
    want = mx.quantize(mx.contiguous(w.T), group_size=32, stream=mx.cpu)
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(np.array(a), np.array(b))
    x = random(np.random.default_rng(9), 64, 3)
    y = on_gpu(lambda: mx.quantized_matmul(x.T, *got, group_size=32), "QuantizedMatmul")
    assert error(y, double(x.T) @ matrix(got, "affine", 32, 4).T) < BOUND[mx.float32]
    assert np.array_equal(np.array(mx.to_fp8(w.T)), np.array(mx.to_fp8(w.T, stream=mx.cpu)))


def test_empty_inner_dimension() -> None:
    q = (mx.zeros((3, 0), mx.uint32), mx.zeros((3, 0)), mx.zeros((3, 0)))
    assert np.array_equal(np.array(mx.quantized_matmul(mx.zeros((5, 0)), *q)), np.zeros((5, 3)))


def test_an_index_outside_is_an_error() -> None:
    q = parts(random(np.random.default_rng(10), 2, 32, 64), "affine", 64, 4)
    with pytest.raises(IndexError, match=r"\[gather_qmm\] index 5"):
        mx.eval(mx.gather_qmm(mx.ones((1, 1, 64)), *q, rhs_indices=mx.array([5])))
