"""Quotients of complex numbers by zero, by infinity and of infinity: as the C standard's Annex G defines them."""

from __future__ import annotations

import itertools
import math

import mlx.core as mx
import numpy as np
import pytest

INF, NAN = math.inf, math.nan
PARTS = (0.0, -0.0, 1.0, -2.5, INF, -INF, NAN)
POINTS = [complex(*p) for p in itertools.product(PARTS, repeat=2)]
A, B = (np.array(x, np.complex64) for x in zip(*itertools.product(POINTS, repeat=2), strict=True))


def scaled(z: complex, by: float) -> complex:
    return complex(z.real * by, z.imag * by)


def direction(z: complex) -> complex:
    return complex(*(math.copysign(1.0 if math.isinf(x) else 0.0, x) for x in (z.real, z.imag)))


def finite(z: complex) -> bool:
    return math.isfinite(z.real) and math.isfinite(z.imag)


def infinite(z: complex) -> bool:
    return math.isinf(z.real) or math.isinf(z.imag)


def products(a: complex, b: complex) -> tuple[float, float]:
    """Of a and the conjugate of b, without what a complex product does about infinities."""
    return a.real * b.real + a.imag * b.imag, a.imag * b.real - a.real * b.imag


def annex_g(a: complex, b: complex) -> complex:
    """The example of G.5.1.2."""
    denominator = b.real * b.real + b.imag * b.imag
    re, im = products(a, b)
    if denominator == 0:
        return scaled(a, math.copysign(INF, b.real))
    q = complex(re / denominator, im / denominator)
    if not (math.isnan(q.real) and math.isnan(q.imag)):
        return q
    if infinite(a) and finite(b):
        return scaled(complex(*products(direction(a), b)), INF)
    if infinite(b) and finite(a):
        return scaled(complex(*products(a, direction(b))), 0.0)
    return q


WANT = np.array([annex_g(a, b) for a, b in zip(A.tolist(), B.tolist(), strict=True)], np.complex64)


def same(got: mx.array, want: np.ndarray) -> None:
    for part in ("real", "imag"):
        g, w = getattr(np.array(got), part), getattr(want, part)
        wrong = ~np.isclose(g, w, rtol=1e-6, atol=0, equal_nan=True)
        assert not wrong.any(), f"{part}: {[(A[i], B[i], got[i].item(), want[i]) for i in np.nonzero(wrong)[0][:4]]}"


def test_as_annex_g():
    assert np.isinf(WANT).sum() > 400
    same(mx.array(A) / mx.array(B), WANT)
    same(mx.floor_divide(mx.array(A), mx.array(B)), WANT)


def test_as_numpy_where_it_has_a_value():
    """By what is not a negative zero: NumPy does not look at its sign."""
    with np.errstate(all="ignore"):
        theirs = A / B
    has_value = ~(np.isnan(theirs.real) & np.isnan(theirs.imag)) & ~((B == 0) & np.signbit(B.real))
    assert has_value.sum() > 500
    got = np.array(mx.array(A) / mx.array(B))
    np.testing.assert_allclose(got[has_value].real, theirs[has_value].real, rtol=1e-6)
    np.testing.assert_allclose(got[has_value].imag, theirs[has_value].imag, rtol=1e-6)


def test_reciprocals():
    points = np.array(POINTS, np.complex64)
    want = np.array([annex_g(1 + 0j, z) for z in POINTS], np.complex64)
    for got in (mx.reciprocal(mx.array(points)), 1 / mx.array(points)):
        np.testing.assert_allclose(np.array(got).real, want.real, rtol=1e-6)
        np.testing.assert_allclose(np.array(got).imag, want.imag, rtol=1e-6)
    root = mx.rsqrt(mx.array(np.array([0, complex(INF, 1)], np.complex64))).tolist()
    assert root[0].real == INF and root[1] == 0


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 511, 512, 513, 1500])
def test_among_others(n: int):
    """What is next to a special number comes out as it does without one, and in place as elsewhere."""
    rng = np.random.default_rng(n)
    a, b = ((rng.normal(size=n) + 1j * rng.normal(size=n)).astype(np.complex64) for _ in range(2))
    plain = np.array(mx.array(a) / mx.array(b))
    at = int(rng.integers(n))
    b[at] = 0
    got = np.array(mx.array(a) / mx.array(b))
    want = plain.copy()
    want[at] = annex_g(complex(a[at]), 0j)
    np.testing.assert_array_equal(got, want)
    chained = np.array(((mx.array(a) + 0) / mx.array(b)) * 1.0 + 0)
    assert np.isfinite(np.delete(chained, at)).all() and not np.isfinite(chained[at])


def test_powers_of_zero():
    zero = mx.zeros((5,), mx.complex64)
    got = mx.power(zero, mx.array(np.array([0, 2, 0.5 + 1j, -1, -0.5 - 2j], np.complex64))).tolist()
    assert got[:3] == [1, 0, 0]
    assert all(abs(z.real) == INF for z in got[3:])
    assert math.isnan(mx.power(zero[:1], mx.array(np.array([1j], np.complex64))).item().real)


def test_gradients_where_the_quotient_vanishes():
    """1 / z and a / z near infinity: 0, not nan; and of a power of zero."""
    far = mx.array(np.array([complex(INF, 0), complex(1, -INF), complex(INF, INF)], np.complex64))
    one = mx.ones((3,), mx.complex64)
    for f in (mx.reciprocal, lambda z: one / z):
        assert mx.grad(lambda z, f=f: mx.real(f(z)).sum())(far).tolist() == [0] * 3
    assert mx.grad(lambda a: mx.real(a / far).sum())(one).tolist() == [0] * 3
    zero = mx.zeros((2,), mx.complex64)
    powers = mx.array(np.array([1, 2], np.complex64))
    assert mx.grad(lambda z: mx.real(mx.power(z, powers)).sum())(zero).tolist() == [1, 0]
