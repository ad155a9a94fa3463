"""Rows of the special functions and of what the representation of a floating-point number allows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from op_row import REALS, Bad, Gen, Op, S, f, positive, v
from op_table_elementwise import away, binary, each, not_complex, unary

PI = np.longdouble("3.14159265358979323846264338327950288")


def sinc(x: Any) -> np.ndarray:
    """With the angle reduced before it is multiplied by pi, which is not exact."""
    x = np.asarray(x, np.longdouble)
    r = x - 2 * np.round(x / 2)
    r = np.where(np.abs(r) > 0.5, np.sign(r) - r, r)
    return np.where(x == 0, 1, np.sin(PI * r) / (PI * np.where(x == 0, 1, x)))


BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510]  # of even index, from 2


def shifted(x: np.ndarray, term: Any, series: Any) -> np.ndarray:
    """`series` far from zero, led back by what one step to the left changes."""
    total = np.zeros_like(x)
    for _ in range(12):
        near = x < 12
        total = total + np.where(near, term(np.where(near, x, 1)), 0)
        x = np.where(near, x + 1, x)
    return series(x) - total


def lgamma(x: Any) -> np.ndarray:
    """Stirling's series in long double, and the reflection formula; as in C, infinite at -inf."""
    x = np.asarray(x, np.longdouble)
    y = np.where(x < 0, 1 - x, x)

    def series(z: np.ndarray) -> np.ndarray:
        tail = sum(b / (2 * k * (2 * k - 1) * z ** (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1))
        return np.where(np.isinf(z), z, z * (np.log(z) - 1) + np.log(2 * PI / z) / 2 + tail)

    out = shifted(y, np.log, series)
    sine = np.abs(np.sin(PI * (x - np.round(x))))
    whole = (x <= 0) & (x == np.round(x))
    return np.where(whole | np.isinf(x), np.inf, np.where(x < 0, np.log(PI / sine) - out, out))


def digamma(x: Any) -> np.ndarray:
    x = np.asarray(x, np.longdouble)
    y = np.where(x < 0, 1 - x, x)

    def series(z: np.ndarray) -> np.ndarray:
        return np.log(z) - 1 / (2 * z) - sum(b / (2 * k * z ** (2 * k)) for k, b in enumerate(BERNOULLI, 1))

    out = shifted(y, lambda z: 1 / z, series)
    r = x - np.round(x)
    out = np.where(x < 0, np.where(r == 0, np.nan, out - PI / np.tan(PI * r)), out)
    return np.where(x == 0, -np.copysign(np.inf, x), out)


def above_zero(*shape: int) -> Gen:
    return Gen(shape, 0.3, 6.0, ints=(1, 9))


def in_type(function: Any, dtype: Any) -> Any:
    """Of numbers of a given type: the neighbours of a number depend on it."""
    return lambda a, b: function(np.asarray(a).astype(dtype), np.asarray(b).astype(dtype))


NEIGHBOURS = [S(v([0.0, 0.0, -0.0, 1.0, 1.0, math.inf, math.nan, 2.0]), v([1.0, -1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 3.0]))]

OPS: list[Op] = [
    unary("erfc", each(math.erfc), dtypes=REALS, diff=True, smooth=True, whole_range="all", errors=not_complex),
    unary(
        "lgamma",
        lgamma,
        above_zero,
        dtypes=REALS,
        diff=True,
        smooth=True,
        whole_range="all",
        ulp={"float64": 64},  # of the reference, near the zeros
        errors=not_complex,
    ),
    unary(
        "digamma",
        digamma,
        above_zero,
        dtypes=REALS,
        diff=True,
        whole_range="all",
        ulp={"float64": 2.0**15},  # beside the zeros at negative numbers; elsewhere a few units
        errors=not_complex,
    ),
    unary("sinc", sinc, dtypes=REALS, diff=True, smooth=True, whole_range="all", errors=not_complex),
    unary("signbit", lambda x: np.signbit(np.asarray(x, np.float64)), dtypes=REALS, errors=not_complex),
    binary("hypot", np.hypot, positive, positive, dtypes=REALS, diff=True, smooth=True),
    binary("copysign", np.copysign, away, f, dtypes=REALS, diff=(0,)),
    *(
        Op(
            f"nextafter[{name}]",
            [S(f(3, 4), f(3, 4)), S(f(5), f())],
            in_type(np.nextafter, getattr(np, name)),
            dtypes=(name,),
            ulp={name: 0},
            extremes=NEIGHBOURS,
            errors=[Bad(S(f(3, 4), f(5)), ValueError, r"\[nextafter\].*\(3,4\).*\(5\)")],
        )
        for name in ("float16", "float32", "float64")
    ),
]
