"""Accuracy over whole ranges: every float16 and bfloat16, every exponent of float32, sums and
variances of ten million.

The bounds are the rows' own (tests/op_row.py): two units for float32, correctly rounded from
float32 for the
16-bit types, four units for float64.
"""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest
from op_row import LARGEST, ULP, Op, bound, seeded, to_mx, to_np, ulps
from op_table import BY_NAME, OPS
from scripts import simulated_gpu

SLOW = ("erf", "erfinv", "lgamma", "digamma")  # references

WHOLE = [op for op in OPS if op.whole_range]


def every_16_bits(dtype: str) -> tuple[mx.array, np.ndarray]:
    bits = np.arange(65536, dtype=np.uint16)
    array = mx.array(bits).view(getattr(mx, dtype))
    if dtype == "float16":
        return array, bits.view(np.float16).astype(np.float64)
    return array, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def every_exponent(op: Op, per_exponent: int) -> np.ndarray:
    """float32 numbers of every exponent and sign, denormals, the numbers next to powers of two,
    inf, nan.
    """
    rng = seeded(op.name, "exponents")
    exponents = np.arange(256, dtype=np.uint32).repeat(per_exponent)
    mantissas = rng.integers(0, 1 << 23, exponents.size, dtype=np.uint32)
    mantissas[::per_exponent], mantissas[1::per_exponent] = 0, (1 << 23) - 1
    mantissas[exponents == 255] &= np.uint32(0x400000)
    bits = np.concatenate([exponents << 23 | mantissas, 1 << 31 | exponents << 23 | mantissas])
    x = bits.astype(np.uint32).view(np.float32)
    return np.concatenate([x, rng.uniform(-1, 1, 4096), rng.uniform(-100, 100, 4096)], dtype=np.float32)


def worst(op: Op, x: np.ndarray, got: mx.array, want: np.ndarray, name: str) -> None:
    error = ulps(to_np(got), want, name)
    k = int(np.argmax(error))
    limit = bound(op.ulp, name, ULP)
    bad = int(np.sum(error > limit))
    assert error[k] <= limit, (
        f"{op.name} {name}: {bad} of {x.size} outside {limit} ulp, "
        f"worst {error[k]:.4g} at {x[k]!r}: "
        f"got {to_np(got)[k]!r}, want {want[k]!r}"
    )


def exact(op: Op, x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(op.reference(x))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", WHOLE, ids=lambda o: o.name)
def test_every_16_bit_operand(op: Op, dtype: str):
    array, x = every_16_bits(dtype)
    worst(op, x, op.fn(array), exact(op, x), dtype)


@pytest.mark.parametrize("op", WHOLE, ids=lambda o: o.name)
def test_float32_every_exponent(op: Op):
    x = every_exponent(op, 12 if op.name in ("erf", "erfinv") else 120)
    worst(op, x, op.fn(mx.array(x)), exact(op, x.astype(np.float64)), "float32")


@pytest.mark.slow
@pytest.mark.parametrize("op", WHOLE, ids=lambda o: o.name)
def test_float32_densely(op: Op):
    x = every_exponent(op, 200 if op.name in SLOW else 8000)
    worst(op, x, op.fn(mx.array(x)), exact(op, x.astype(np.float64)), "float32")


@pytest.mark.parametrize("op", WHOLE, ids=lambda o: o.name)
def test_float64(op: Op):
    """In full precision, not float32 carried in 64 bits."""
    rng = seeded(op.name, "f64")
    x = np.concatenate([rng.uniform(-1, 1, 2000), rng.uniform(-30, 30, 2000), [0.0, -0.0, np.inf, -np.inf, np.nan]])
    worst(op, x, op.fn(to_mx(x, "float64")), exact(op, x.astype(np.longdouble)), "float64")


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name: str):
    """Reduced by the exact 2/pi: float32 arguments up to the largest."""
    rng = seeded(name, "huge")
    x = np.float32(2.0) ** rng.uniform(17, 128, 20000).astype(np.float32)
    x = np.concatenate([x[np.isfinite(x)], [LARGEST["float32"]]]).astype(np.float32)
    want = np.array([getattr(math, name)(float(v)) for v in x])
    worst(BY_NAME[name], x, getattr(mx, name)(mx.array(x)), want, "float32")


@pytest.mark.parametrize("name", ["arctan2", "power", "logaddexp", "divide"])
def test_binary_float32_ranges(name: str):
    op, rng = BY_NAME[name], seeded(name, "pairs")
    exponent = rng.uniform(-20, 20, (2, 50000))
    a, b = (np.float32(2.0) ** exponent * rng.choice([-1, 1], exponent.shape)).astype(np.float32)
    if name == "power":
        a, b = abs(a), (b / np.maximum(abs(np.log2(abs(a))), 1)).astype(np.float32)
    want = exact_pair(op, a, b)
    got = op.fn(mx.array(a), mx.array(b))
    if name == "logaddexp":  # near zero a difference of numbers near one: units of the larger operand
        error = np.abs(to_np(got) - want) / (np.maximum(np.abs(want), np.maximum(abs(a), abs(b))) * 2.0**-23)
        assert error.max() <= 2, f"{error.max()} at {a[error.argmax()]}, {b[error.argmax()]}"
    else:
        worst(op, np.stack([a, b], 1).view(np.complex64)[:, 0], got, want, "float32")


def exact_pair(op: Op, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(op.reference(a.astype(np.longdouble), b.astype(np.longdouble)))


N = 10_000_000


@pytest.fixture(scope="module")
def ten_million() -> np.ndarray:
    return np.random.default_rng(7).random(N, np.float32)


def test_sum_of_ten_million(ten_million):
    want = ten_million.sum(dtype=np.float64)
    got = mx.sum(mx.array(ten_million)).item()
    assert abs(got - want) / want <= 2e-7
    mean = mx.mean(mx.array(ten_million)).item()
    assert abs(mean - want / N) / (want / N) <= 2e-7


def test_sum_of_one_repeated():
    """2^25 ones: a plain float32 running sum stops at 2^24."""
    assert mx.sum(mx.ones((1 << 25,))).item() == 1 << 25
    assert mx.sum(mx.full((3, 1 << 12), 1.0, mx.float16), axis=1).tolist() == [4096.0] * 3
    assert mx.mean(mx.full((1 << 17,), 2.0, mx.float16)).item() == 2.0
    assert mx.sum(mx.full((1 << 12, 3), 1.0, mx.bfloat16), axis=0).tolist() == [4096.0] * 3


@pytest.mark.parametrize("axis", [0, 1])
def test_sums_along_axes(ten_million, axis):
    x = ten_million.reshape(2500, 4000)
    want = x.sum(axis, dtype=np.float64)
    got = np.array(mx.sum(mx.array(x), axis=axis), np.float64)
    assert np.max(np.abs(got - want) / want) <= 4e-7


def test_variance_far_from_zero(ten_million):
    """Mean 1001, variance 1/12: a one-pass formula loses every digit."""
    x = ten_million + np.float32(1000.5)
    want = x.astype(np.float64).var()
    got = mx.var(mx.array(x)).item()
    assert abs(got - want) / want <= 2e-6
    rows = mx.var(mx.array(x.reshape(1000, -1)), axis=1)
    want_rows = x.reshape(1000, -1).astype(np.float64).var(1)
    assert np.max(np.abs(np.array(rows) - want_rows) / want_rows) <= 1e-5
    columns = mx.std(mx.array(x.reshape(-1, 1000)), axis=0)
    want_columns = x.reshape(-1, 1000).astype(np.float64).std(0)
    assert np.max(np.abs(np.array(columns) - want_columns) / want_columns) <= 1e-5


def test_cumsum_of_ten_million(ten_million):
    want = np.cumsum(ten_million, dtype=np.float64)
    got = np.array(mx.cumsum(mx.array(ten_million)), np.float64)
    assert np.max(np.abs(got - want) / want) <= 3e-6


def test_softmax_of_a_long_row():
    x = np.random.default_rng(3).normal(0, 4, 1_000_000).astype(np.float32)
    y = np.array(mx.softmax(mx.array(x)), np.float64)
    assert abs(y.sum() - 1) <= 1e-6
    e = np.exp(x.astype(np.float64) - x.max())
    # half an ulp of x - max, which is not exact in float32, and a few of the exponential and scaling
    allowed = (np.abs(x.astype(np.float64) - x.max()) + 5) * 2**-24
    assert np.max(np.abs(y - e / e.sum()) / (e / e.sum()) / allowed) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_matmul_error(dtype: str):
    """Relative to |a||b|: what a blocked sum in float32 (float64) can promise for 2,000 terms."""
    rng = np.random.default_rng(5)
    a, b = (to_mx(rng.normal(size=s), dtype) for s in ((70, 2000), (2000, 33)))
    x, y = to_np(a).astype(np.longdouble), to_np(b).astype(np.longdouble)
    scale = np.abs(x) @ np.abs(y)
    error = np.abs(to_np(a @ b).astype(np.longdouble) - x @ y) / scale
    limit = {"float32": 3e-7, "float16": 1e-3, "bfloat16": 4e-3, "float64": 1e-15}[dtype]
    assert float(error.max()) <= limit


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("sides", [(1, 1), (3, 40), (40, 3), (24, 24)])
def test_matmul_of_many_equal_terms(dtype: str, sides: tuple[int, int]):
    """Sums in one float32 would be rounded in one direction at every step: up to half of them is lost, or more."""
    m, n = sides
    k = (1 << 24) + 12345 if m * n == 1 else (1 << 21) + 12345
    if simulated_gpu:  # which takes hours for so many
        k = (1 << (20 if m * n == 1 and dtype != "complex64" else 17)) + 12345
    a = mx.broadcast_to(mx.array(0.1, getattr(mx, dtype)), (m, k))
    b = mx.broadcast_to(mx.array(2.0**-12, getattr(mx, dtype)), (k, n))
    want = a[0, 0].item() * 2.0**-12 * k
    got = to_np(a @ b).astype(np.complex128)
    limit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}.get(dtype, 0) + 1e-4
    assert (np.abs(got - want) <= limit * abs(want)).all(), np.abs(got / want - 1).max()
    more = to_np(mx.addmm(mx.full((m, n), want).astype(a.dtype), a, b, alpha=2, beta=3)).astype(np.complex128)
    assert (np.abs(more - 5 * want) <= 2 * limit * abs(5 * want)).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"])
def test_mean_of_integers(dtype: str):
    """Exact sums, of extremes too: half an ulp of float32. Rows and columns of many lengths, and without copies.

    The GPU adds floats: four times as much, and of the magnitudes.
    """
    on_cpu = mx.default_device() == mx.cpu
    rng = np.random.default_rng(11)
    info = np.iinfo(dtype if dtype != "bool" else np.uint8)
    for shape in ((40_000,), (70_000, 3), (9, 1000), (1000, 9), (5, 7, 33), (2, 65_537), (1, 1), (0, 3)):
        a = rng.integers(info.min, info.max, shape, dtype=info.dtype, endpoint=True)
        if a.size > 60_000:
            a[:] = info.max
        a = (a & 1).astype(bool) if dtype == "bool" else a
        x = mx.array(a)
        for axis in (None, *range(a.ndim), *([(0, a.ndim - 1)] if a.ndim > 2 else [])):
            with np.errstate(all="ignore"):
                want = a.astype(np.longdouble).sum(axis=axis) / (a.size // max(1, a.sum(axis=axis).size))
            got = mx.mean(x, axis=axis)
            assert got.dtype == mx.float32
            scale = np.maximum(np.abs(want), 2.0**-20 * float(info.max))
            if not on_cpu and a.size:
                scale = np.maximum(scale, np.abs(a.astype(np.longdouble)).mean(axis=axis))
            error = np.abs(np.array(got).astype(np.longdouble) - want) / scale
            assert not (error > 2.0**-24 * (1.001 if on_cpu else 4)).any(), (shape, axis)
            if not on_cpu:
                continue
            assert mx.array_equal(mx.mean(x[..., ::-1], axis=axis, keepdims=True).reshape(got.shape), got, True) or (
                axis is not None and a.ndim - 1 not in np.atleast_1d(axis) % a.ndim
            )


def ranges(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Operands (70, 300) and (300, 66) whose numbers would leave the range of a smaller exponent or of fewer digits."""
    a, b = rng.standard_normal((70, 300)), rng.standard_normal((300, 66))
    if kind == "small":
        a, b = a * 1e-22, b * 1e-12
    elif kind == "large":
        a, b = a * 1e18, b * 1e17
    elif kind == "denormal":
        a, b = a * 1e-41, b * 1e30
    elif kind == "top":
        a, b = np.where(a > 0, 3.4e38, -3.4e38), b * 1e-20
    elif kind == "rows":
        a, b = a * 10.0 ** rng.integers(-18, 18, (70, 1)), b * 10.0 ** rng.integers(-18, 18, (1, 66))
    elif kind == "wide":  # what is large in one operand meets zeros in the other
        a[:, ::2] *= 1e25
        a[:, 1::2] *= 1e-12
        b[::2] = 0
    elif kind == "probabilities":
        a = np.exp(-90 * rng.random((70, 300)))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "small", "large", "denormal", "top", "rows", "wide", "probabilities"])
@pytest.mark.parametrize("turned", [False, True])
def test_matmul_over_the_range(kind: str, turned: bool):
    a, b = ranges(kind, np.random.default_rng(7))
    x, y = (mx.array(np.ascontiguousarray(v.T)).T if turned else mx.array(v) for v in (a, b))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    error = np.abs(np.array(x @ y).astype(np.float64) - wide_a @ wide_b)
    assert (error <= 2e-6 * (np.abs(wide_a) @ np.abs(wide_b)) + 300 * 2.0**-149).all()


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_matmul_of_infinities(special: float, dtype: str):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((70, 100)).astype(np.float32), rng.standard_normal((100, 66)).astype(np.float32)
    a[5, 7] = special
    a[33, 99] = special
    b[7, 3] = 0
    with np.errstate(invalid="ignore"):
        expected = a @ b
    result = np.array(
        (mx.array(a).astype(getattr(mx, dtype)) @ mx.array(b).astype(getattr(mx, dtype))).astype(mx.float32)
    )
    touched = np.zeros(70, bool)
    touched[[5, 33]] = True
    assert np.isfinite(result[~touched]).all()
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(result[infinite], expected[infinite])
