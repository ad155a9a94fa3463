"""Element-wise functions: which dtypes they accept, what comes out, values, special values, Python scalars.

Dtypes are asked of the standard's implementation, one by one and in pairs.
"""

from __future__ import annotations

import itertools
from typing import Any

import mlx.core as mx
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import DTYPES, accepted, add, both, dtype_of, elements, function, holds, name_of, of, strict, words

UNARY = words(
    "abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan "
    "log log1p log2 log10 logical_not negative positive real reciprocal round sign signbit sin sinh square sqrt tan "
    "tanh trunc"
)
BINARY = words(
    "add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal "
    "floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum "
    "minimum multiply nextafter not_equal pow remainder subtract"
)

# Where a function is defined and its result is finite, for numbers that are not integers.
RANGES = {
    "acos": (-1, 1),
    "asin": (-1, 1),
    "atanh": (-0.999, 0.999),
    "acosh": (1, 1e4),
    "exp": (-80, 80),
    "expm1": (-80, 80),
    "cosh": (-80, 80),
    "sinh": (-80, 80),
    "log": (1e-30, 1e30),
    "log2": (1e-30, 1e30),
    "log10": (1e-30, 1e30),
    "log1p": (-0.999, 1e30),
    "sqrt": (0, 1e30),
    "pow": (0.1, 9),
    "reciprocal": (0.01, 1e4),
}
# What the standard leaves open, or undefined, for integers: division by 0, shifts by more than there are bits,
# negative powers, what does not fit.
SECOND = {"floor_divide": (1, 100), "remainder": (1, 100), "bitwise_left_shift": (0, 7), "bitwise_right_shift": (0, 7)}
# Complex functions near their zeros and cuts lose what the formula cancels.
LOOSE = {
    "pow": 300,
    "tan": 20,
    "logaddexp": 4,
    "acosh": 30,
    "asin": 30,
    "acos": 30,
    "asinh": 30,
    "atanh": 30,
    "atan": 30,
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.0, -2.0, 2.5, 3.0, -3.0, np.inf, -np.inf, np.nan]
COMPLEX = [complex(a, b) for a, b in itertools.product([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], repeat=2)]


def unary_dtypes(name: str) -> list[str]:
    f = getattr(strict, name)
    return [d for d in DTYPES if accepted(f, strict.ones((), dtype=getattr(strict, d))) is not None]


def binary_dtypes(name: str) -> list[tuple[str, str]]:
    f = getattr(strict, name)
    one = {d: strict.ones((), dtype=getattr(strict, d)) for d in DTYPES}
    # float64 with complex64 is complex128.
    pairs = [p for p in itertools.product(DTYPES, repeat=2) if set(p) != {"float64", "complex64"}]
    return [(a, b) for a, b in pairs if accepted(f, one[a], one[b]) is not None]


def values(name: str, dtype: str, second: bool = False) -> st.SearchStrategy:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        if second and name in SECOND:
            return elements(dtype, *SECOND[name])
        if name == "pow":
            return elements(dtype, 0, 3)
        return elements(dtype)
    if kind == "f" and second and name in ("floor_divide", "remainder"):
        return elements(dtype, 0.5, 100)
    if kind == "c":
        # NumPy's reciprocal of a complex zero is nan, its quotient is infinite.
        low, high = {"pow": (0.1, 3), "reciprocal": (0.1, 8)}.get(name, (-8, 8))
        return elements(dtype, low, high)
    return elements(dtype, *RANGES.get(name, (None, None)))


def dtypes_come_out(name: str, operands: list[tuple[str, ...]]) -> None:
    for dtypes in operands:
        with np.errstate(all="ignore"):
            want = function(strict, name)(*(strict.ones((2,), dtype=getattr(strict, d)) for d in dtypes))
        got = function(mx, name)(*(mx.ones((2,), dtype=dtype_of(mx, d)) for d in dtypes))
        assert name_of(got.dtype) == name_of(want.dtype), f"{dtypes}: {got.dtype} instead of {want.dtype}"


def add_unary(name: str) -> None:
    dtypes = unary_dtypes(name)
    add(name, "dtypes", lambda: dtypes_come_out(name, [(d,) for d in dtypes]))

    drawn = st.sampled_from(dtypes).flatmap(
        lambda d: hnp.arrays(
            np.dtype(d), hnp.array_shapes(min_dims=0, min_side=0, max_side=5), elements=values(name, d)
        )
    )

    @holds(drawn)
    def right(a: np.ndarray) -> None:
        both(lambda xp: getattr(xp, name)(of(xp, a)), tolerance=LOOSE.get(name, 1) if a.dtype.kind == "c" else 1)

    add(name, "values", right)
    for d in dtypes:
        if np.dtype(d).kind in "fc":
            points = np.array(COMPLEX if d == "complex64" else SPECIAL, d)
            add(name, f"special values, {d}", lambda d=d, points=points: special(name, points))


def special(name: str, *points: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        both(lambda xp: getattr(xp, name)(*(of(xp, p) for p in points)), zeros=points[0].dtype.kind == "f")


def floor_of_infinity() -> None:
    inf = mx.array([np.inf, np.inf, -np.inf, -np.inf])
    two = mx.array([2.0, -2.0, 2.0, -2.0])
    assert mx.floor_divide(inf, two).tolist() == [np.inf, -np.inf, -np.inf, np.inf]
    zero = mx.floor_divide(two, inf)
    assert zero.tolist() == [0] * 4 and mx.signbit(zero).tolist() == [False, True, True, False]


add("floor_divide", "infinity and a number", floor_of_infinity)


def add_binary(name: str) -> None:
    pairs = binary_dtypes(name)
    add(name, "dtypes", lambda: dtypes_come_out(name, pairs))

    @st.composite
    def operands(draw: Any) -> tuple[np.ndarray, np.ndarray]:
        (da, db), (sa, sb) = (
            draw(st.sampled_from(pairs)),
            draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=4)).input_shapes,
        )
        a = draw(hnp.arrays(np.dtype(da), sa, elements=values(name, da)))
        return a, draw(hnp.arrays(np.dtype(db), sb, elements=values(name, db, second=True)))

    @holds(operands())
    def right(ab: tuple[np.ndarray, np.ndarray]) -> None:
        a, b = ab
        complex_ = "c" in (a.dtype.kind, b.dtype.kind)
        tolerance = LOOSE.get(name, 1) if complex_ or name == "pow" else 1
        both(lambda xp: getattr(xp, name)(of(xp, a), of(xp, b)), tolerance=tolerance)

    add(name, "values", right)

    # One operand may be a Python number of the same kind.
    scalars = {"b": st.booleans(), "i": st.integers(1, 7), "u": st.integers(1, 7), "f": st.floats(0.5, 4, width=32)}
    same_dtype = [d for d in DTYPES if (d, d) in pairs and d != "complex64"]
    drawn = st.sampled_from(same_dtype).flatmap(
        lambda d: st.tuples(hnp.arrays(np.dtype(d), (3,), elements=values(name, d)), scalars[np.dtype(d).kind])
    )

    @holds(drawn)
    def scalar(case: tuple[np.ndarray, Any]) -> None:
        a, number = case
        tolerance = LOOSE.get(name, 1) if name == "pow" else 1
        both(lambda xp: getattr(xp, name)(of(xp, a), number), tolerance=tolerance)
        if a.dtype.kind in "bf" and name != "pow":
            positive = np.where(a == 0, a.dtype.type(1), np.abs(a))
            both(lambda xp: getattr(xp, name)(number, of(xp, positive)), tolerance=tolerance)

    add(name, "scalars", scalar)
    for d in ("float32", "float64"):
        if (d, d) in pairs:
            a, b = (g.ravel() for g in np.meshgrid(np.array(SPECIAL, d), np.array(SPECIAL, d)))
            if name == "floor_divide":  # by or of infinity: of the standard's own table, which NumPy does not follow
                kept = np.isinf(a) == np.isinf(b)
                a, b = a[kept], b[kept]
            add(name, f"special values, {d}", lambda a=a, b=b: special(name, a, b))


for n in UNARY:
    add_unary(n)
for n in BINARY:
    add_binary(n)


def bounds(dtype: str) -> st.SearchStrategy:
    one = st.none() | values("clip", dtype)
    return st.tuples(one, one)


@st.composite
def clipped(draw: Any) -> tuple[np.ndarray, Any, Any]:
    dtype = draw(st.sampled_from([d for d in DTYPES if d not in ("bool", "complex64")]))
    a = draw(hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_side=0, max_side=4), elements=values("clip", dtype)))
    low, high = draw(bounds(dtype))
    if low is not None and high is not None and low > high:
        low, high = high, low
    return a, low, high


@holds(clipped())
def clip(case: tuple[np.ndarray, Any, Any]) -> None:
    a, low, high = case
    both(lambda xp: xp.clip(of(xp, a), min=low, max=high))
    wide = [None if v is None else np.full(a.shape[-1:], v, a.dtype) for v in (low, high)]
    both(lambda xp: xp.clip(of(xp, a), *(None if v is None else of(xp, v) for v in wide)))


add("clip", "values", clip)
