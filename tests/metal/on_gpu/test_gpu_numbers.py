"""Reductions and products of complex numbers, rotary positions with frequencies of one's own, numbers for nan."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import counted, on_gpu, random

REDUCTIONS = ["sum", "prod", "mean", "max", "min", "any", "all"]


def complex_numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_complex_numbers(name: str, axis) -> None:
    rng = np.random.default_rng(1)
    x = complex_numbers(rng, 3, 7, 5)
    x[0, 1, 2] = 0
    if name == "prod":
        x /= np.abs(x) + 0.1
    got = np.array(on_gpu(lambda: getattr(mx, name)(mx.array(x), axis=axis), "Reduce"))
    want = getattr(np, name)(x if name in ("any", "all", "max", "min") else x.astype(np.complex128), axis=axis)
    if name in ("any", "all", "max", "min"):
        assert np.array_equal(got, want)
    else:
        assert np.abs(got - want).max() <= 2e-6 * max(np.abs(want).max(), 1e-3)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.int8, mx.uint16, mx.bool_], ids=str)
def test_long_reductions_of_narrow_types(dtype: mx.Dtype) -> None:
    """All elements of a long array, in two passes: the second has sums of another type than the result."""
    x = mx.array(np.random.default_rng(3).integers(0, 9, 70000).astype(np.float32) / 8).astype(dtype)
    for name in ("max", "min", "mean", "any", "all", *(["sum"] if mx.issubdtype(dtype, mx.integer) else [])):
        got = on_gpu(lambda name=name: getattr(mx, name)(x), "Reduce")
        with mx.stream(mx.cpu):
            want = getattr(mx, name)(x)
        assert got.dtype == want.dtype
        assert got.item() == pytest.approx(want.item(), rel=1e-2 if name == "mean" else 0)


def test_long_reductions_of_complex_numbers() -> None:
    rng = np.random.default_rng(2)
    x = complex_numbers(rng, 70000)
    got = on_gpu(lambda: mx.array(x).sum(), "Reduce").item()
    assert abs(got - x.astype(np.complex128).sum()) < 1e-6 * np.abs(x).sum()
    y = complex_numbers(rng, 3, 2000)
    y[1, 77] = complex(np.nan, 0)
    got = np.array(on_gpu(lambda: mx.array(y).max(axis=1), "Reduce"))
    assert np.isnan(got[1])
    assert np.array_equal(got[::2], y.max(axis=1)[::2])
    at = np.array(on_gpu(lambda: mx.argmax(mx.array(y[::2]), axis=1), "ArgReduce"))
    assert np.array_equal(at, y[::2].argmax(axis=1))


@pytest.mark.parametrize("a,b", [((33, 20), (20, 41)), ((3, 1, 7, 5), (2, 5, 1)), ((1, 40), (40, 9)), ((4, 6), (6,))])
def test_products_of_complex_numbers(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, y = complex_numbers(rng, *a), complex_numbers(rng, *b)
    got = np.array(on_gpu(lambda: mx.array(x) @ mx.array(y), "Matmul"))
    want = x.astype(np.complex128) @ y.astype(np.complex128)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 2e-6 * np.abs(want).max()


def test_addmm_of_complex_numbers_and_layouts() -> None:
    rng = np.random.default_rng(4)
    x, y, z = complex_numbers(rng, 9, 12), complex_numbers(rng, 9, 7), complex_numbers(rng, 7)
    f = lambda: mx.addmm(mx.array(z), mx.array(x).T, mx.array(y)[:, ::-1], alpha=0.5, beta=-2.0)  # noqa: E731
    want = 0.5 * x.astype(np.complex128).T @ y[:, ::-1] - 2.0 * z
    assert np.abs(np.array(on_gpu(f, "AddMM")) - want).max() < 2e-6 * np.abs(want).max()


def test_bytes_of_a_product_of_complex_numbers() -> None:
    x, y = mx.zeros((64, 40), mx.complex64), mx.zeros((40, 96), mx.complex64)
    mx.eval(x, y)
    c = counted(lambda: x @ y)["complex_product"]
    assert c["read"] == (64 * 40 * 3 + 40 * 96 * 2) * 8
    assert c["written"] == 64 * 96 * 8


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("offset", [0, 100000])
def test_frequencies_of_ones_own(traditional: bool, offset: int) -> None:
    x = random(np.random.default_rng(6), 1, 2, 5, 20)
    wavelengths = np.concatenate([1.7 ** np.arange(7), [np.inf]]).astype(np.float32)
    options = {"traditional": traditional, "base": None, "scale": 1.0, "offset": offset, "freqs": mx.array(wavelengths)}
    got = on_gpu(lambda: mx.fast.rope(x, 16, **options), "RoPE", "rope")
    assert np.abs(np.array(got) - np.array(mx.fast.rope(x, 16, **options, stream=mx.cpu))).max() < 2e-6


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
def test_numbers_instead_of_nan_and_infinities(dtype: mx.Dtype) -> None:
    x = mx.array([float("nan"), float("inf"), -float("inf"), 2.5, -0.0]).astype(dtype)
    mx.eval(x)
    before = sum(mx.metal._hand_overs().values())
    got = mx.nan_to_num(x, nan=7)
    largest = mx.finfo(dtype).max
    assert got.tolist() == [7, largest, -largest, 2.5, 0]
    assert sum(mx.metal._hand_overs().values()) == before
