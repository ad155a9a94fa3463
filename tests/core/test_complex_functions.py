"""Functions of complex64 against long double: everywhere on the plane, and where formulas would cancel."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from op_row import seeded

N = 40_000
LARGEST = float(np.finfo(np.float32).max)
FUNCTIONS: dict[str, Callable] = {
    "abs": np.abs,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": lambda z: np.log(1 + z),
    "log2": np.log2,
    "reciprocal": lambda z: 1 / z,
    "rsqrt": lambda z: 1 / np.sqrt(z),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}


def spread(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Of any sign, with exponents between `low` and `high`."""
    return 2.0 ** rng.uniform(low, high, N) * rng.choice([-1, 1], N)


def plane(rng: np.random.Generator) -> dict[str, np.ndarray]:
    places = {
        "around 1": rng.standard_normal(N) + 1j * rng.standard_normal(N),
        "all exponents": spread(rng, -140, 128) + 1j * spread(rng, -140, 128),
        "unit circle": np.exp(1j * rng.uniform(-4, 4, N)) * (1 + spread(rng, -30, -5)),
        "next to 1": 1 + spread(rng, -24, -3) + 1j * spread(rng, -60, -3),
        "next to -1": -1 + spread(rng, -24, -3) + 1j * spread(rng, -60, -3),
        "next to zeros and poles": np.pi / 2 * rng.integers(-9, 9, N) + 1j * spread(rng, -60, 3),
        "the same upright": spread(rng, -60, 3) + 1j * np.pi / 2 * rng.integers(-9, 9, N),
        "far": rng.uniform(-200, 200, N) + 1j * rng.uniform(-200, 200, N),
        "large angles": spread(rng, 10, 40) + 1j * spread(rng, -3, 3),
        "large angles upright": spread(rng, -3, 3) + 1j * spread(rng, 10, 40),
    }
    with np.errstate(over="ignore"):
        return {k: z.astype(np.complex64) for k, z in places.items()}


def units(got: np.ndarray, want: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Of the last place of numbers as large as `size`, where `want` is a float."""
    with np.errstate(all="ignore"):
        error = np.abs(got - want) / np.maximum(size * 2.0**-23, 2.0**-147)
    error = np.where(np.isnan(error), np.inf, error)
    return np.where(size < 0.999 * LARGEST, error, 0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str):
    for where, z in plane(seeded("complex", name)).items():
        if name == "log1p":
            z = z[np.abs(z) > 2.0**-30]  # the reference adds 1
        with np.errstate(all="ignore"):
            want = FUNCTIONS[name](z.astype(np.clongdouble))
        got = np.array(getattr(mx, name)(mx.array(z)))
        error = units(got, want, np.abs(want))
        at = error.argmax()
        assert error[at] <= 1, f"{where}: {error[at]} units at {z[at]}: got {got[at]}, want {want[at]}"


@pytest.mark.parametrize("shift", [0, 1])
def test_products_are_right_in_each_part(shift: int):
    """Also where the two products of a part cancel, or are too large for a float."""
    rng = seeded("complex", "products")
    a = np.concatenate([*plane(rng).values(), rng.standard_normal(N) * (2.0**63 * (1 + 1j))]).astype(np.complex64)
    b = np.roll(a, shift)
    got = np.array(mx.square(mx.array(a)) if shift == 0 else mx.array(a) * mx.array(b))
    p, q = a.astype(np.clongdouble), b.astype(np.clongdouble)
    for g, want in (
        (got.real, p.real * q.real - p.imag * q.imag),
        (got.imag, p.real * q.imag + p.imag * q.real),
    ):
        error = units(g, want, np.abs(want))
        assert error.max() <= 1.5, f"{error.max()} units at {a[error.argmax()]}, {b[error.argmax()]}"


def test_long_products():
    rng = seeded("complex", "product")
    for n in (1, 7, 31, 32, 33, 100, 5000):
        z = np.exp(1j * rng.uniform(-3, 3, n)).astype(np.complex64)
        want = np.prod(z.astype(np.clongdouble))
        got = mx.prod(mx.array(z)).item()
        assert abs(got - want) <= 2.0**-23 * abs(want), n
