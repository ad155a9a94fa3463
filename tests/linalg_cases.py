"""Matrices and measures of error, shared by the tests of linalg."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "complex64": 2.0**-23}
REAL = ("float32", "float64")
NUMBERS = (*REAL, "complex64")
SIDES = (1, 2, 5, 7, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 200, 257)


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


def sample(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype == "complex64" else x).astype(dtype)


def to_mx(x: np.ndarray) -> mx.array:
    return mx.array(x, getattr(mx, str(x.dtype)))


def exact(x: mx.array) -> np.ndarray:
    """In double, for checks that add no rounding of their own."""
    y = np.array(x)
    return y.astype(np.complex128 if np.iscomplexobj(y) else np.float64)


def adjoint(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


def off(x: np.ndarray, y: np.ndarray, dtype: str) -> float:
    """The largest difference, in eps of the largest element."""
    if x.size == 0:
        return 0
    return float(np.abs(x - y).max() / max(np.abs(y).max(), np.finfo(float).tiny) / EPS[dtype])


def check_orthogonal(q: np.ndarray, dtype: str, limit: float = 60) -> None:
    """Columns of length 1, at right angles."""
    assert off(adjoint(q) @ q, np.eye(q.shape[-1]), dtype) < limit
