"""hadamard_transform by the Metal kernels against float64, and the bytes that it moves."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import BOUND, counted, double, error, on_gpu, random

SIZES = [1, 2, 4, 8, 16, 32, 64, 512, 8192, 12, 20, 28, 24, 160, 448, 7168]
LONG = [16384, 12 << 10, 28 << 9, 1 << 17]


def reference(x: mx.array, **options: float) -> np.ndarray:
    with mx.stream(mx.cpu):
        return np.array(mx.hadamard_transform(x.astype(mx.float64), **options))


@pytest.mark.parametrize("n", [*SIZES, *LONG])
def test_sizes(n: int) -> None:
    x = random(np.random.default_rng(n), 3, n)
    got = on_gpu(lambda: mx.hadamard_transform(x), "hadamard_transform")
    assert error(got, reference(x)) < BOUND[mx.float32]


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
@pytest.mark.parametrize("n", [256, 40, 16384])
def test_dtypes(n: int, dtype: mx.Dtype) -> None:
    x = random(np.random.default_rng(n), 2, n, dtype=dtype)
    got = on_gpu(lambda: mx.hadamard_transform(x, scale=0.125), "hadamard_transform")
    assert got.dtype == dtype
    assert error(got, reference(x, scale=0.125)) < BOUND[dtype]


@pytest.mark.parametrize("n", [16, 12, 28])
def test_transposed(n: int) -> None:
    """The gradient is the transform with the transposed matrix."""
    g = random(np.random.default_rng(n), 2, n)
    f = lambda x: mx.hadamard_transform(x, scale=1.0)  # noqa: E731
    got = on_gpu(lambda: mx.vjp(f, [g], [g])[1][0], "hadamard_transform")
    assert error(got, double(g) @ reference(mx.eye(n), scale=1.0).T) < BOUND[mx.float32]


def test_strided_and_empty() -> None:
    x = random(np.random.default_rng(1), 64, 9)
    got = on_gpu(lambda: mx.hadamard_transform(x[::2, 1:].T), "hadamard_transform")
    assert error(got, reference(x[::2, 1:].T)) < BOUND[mx.float32]
    assert mx.hadamard_transform(mx.zeros((0, 8))).shape == (0, 8)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
@pytest.mark.parametrize("n", [8, 8192, 20, 7168])
def test_bytes(n: int, dtype: mx.Dtype) -> None:
    x = random(np.random.default_rng(2), 5, n, dtype=dtype)
    mx.eval(x)
    counts = counted(lambda: mx.hadamard_transform(x))
    (c,) = counts.values()
    assert c["dispatches"] == 1
    assert c["read"] == c["written"] == x.nbytes


def test_bytes_of_long_lines() -> None:
    """Two passes, with floats between them."""
    x = random(np.random.default_rng(3), 2, 16384, dtype=mx.float16)
    mx.eval(x)
    (c,) = counted(lambda: mx.hadamard_transform(x)).values()
    assert c["dispatches"] == 2
    assert c["read"] == c["written"] == 3 * x.nbytes
