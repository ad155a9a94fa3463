"""Rows of the element-wise functions: unary, binary, ternary."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from op_row import (
    ALL,
    BOOL,
    COMPLEX,
    FLOATS,
    INEXACT,
    INTEGERS,
    REALS,
    SIGNED,
    Bad,
    Gen,
    Op,
    S,
    f,
    inf,
    mask,
    nan,
    positive,
    v,
)

SPECIAL = [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 0.5, -0.5, 2.5]
SHAPES = ((3, 4), (2, 3, 5), (), (1,), (0,), (2, 0, 3), (129,))


def each(fn: Callable[[float], float]) -> Callable[[Any], np.ndarray]:
    """`fn` of the math module over an array, in float64."""
    vector = np.vectorize(fn, otypes=[np.float64])
    return lambda x: vector(np.asarray(x, np.float64)) if np.size(x) else np.asarray(x, np.float64)


erf = each(math.erf)
erfc = each(math.erfc)


def erfinv(x: Any) -> np.ndarray:
    """Newton steps on erf, or on erfc where 1 - |x| is small."""
    x = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        y = np.abs(x)
        inside = y < 1
        y = np.where(inside, y, 0.5)
        w = np.log1p(-y * y)
        t = 2 / (np.pi * 0.147) + w / 2
        z = np.sqrt(np.sqrt(t * t - w / 0.147) - t)
        z = np.where(y < 1e-4, y * np.sqrt(np.pi) / 2, z)
        for _ in range(4):
            error = np.where(y < 0.5, erf(z) - y, (1 - y) - erfc(z))
            z = z - error * np.sqrt(np.pi) / 2 * np.exp(z * z)
        z = np.copysign(z, x)
        return np.where(inside, z, np.where(np.abs(x) == 1, np.copysign(np.inf, x), np.nan))


def sigmoid(x: Any) -> np.ndarray:
    x = np.asarray(x)
    e = np.exp(-np.abs(x.real) if x.dtype.kind != "c" else -x)
    if x.dtype.kind == "c":
        return 1 / (1 + e)
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sign(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind == "c":
        return np.where(x == 0, 0, x / np.where(x == 0, 1, np.abs(x)))
    return x if x.dtype.kind == "b" else np.sign(x)


def unary(name: str, reference: Callable[..., Any], gen: Callable[..., Gen] = f, **kw: Any) -> Op:
    kw.setdefault("extremes", [S(v(SPECIAL))])
    samples = [S(gen(*shape)) for shape in SHAPES]
    kw.setdefault("errors", [Bad(S("text"), (TypeError, ValueError))])
    return Op(name, samples, reference, **kw)


def inside(*shape: int) -> Gen:
    return f(*shape, low=-0.9, high=0.9)


def away(*shape: int) -> Gen:
    """Positive, so that steps and kinks at zero are not crossed by a finite difference."""
    return f(*shape, low=0.1, high=0.4)


def beyond_one(*shape: int) -> Gen:
    return Gen(shape, 1.1, 4.0, ints=(1, 7))


MATH = REALS + COMPLEX  # integers and bool arrive as float32
not_complex = [Bad(S(f(3)), (TypeError, ValueError, RuntimeError), "complex", dtype="complex64")]


UNARY = [
    unary("abs", np.abs, dtypes=ALL, diff=True, whole_range="all"),
    unary("arccos", np.arccos, inside, dtypes=MATH, diff=True, smooth=True, whole_range="unit"),
    unary("arccosh", np.arccosh, beyond_one, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("arcsin", np.arcsin, inside, dtypes=MATH, diff=True, smooth=True, whole_range="unit"),
    unary("arcsinh", np.arcsinh, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("arctan", np.arctan, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("arctanh", np.arctanh, inside, dtypes=MATH, diff=True, smooth=True, whole_range="unit"),
    unary(
        "ceil",
        lambda x: x if x.dtype.kind in "biu" else np.ceil(x),
        away,
        dtypes=REALS,
        diff=True,
        whole_range="all",
    ),
    unary("conjugate", np.conjugate, dtypes=ALL, diff=True),
    unary("conj", np.conjugate, dtypes=ALL, diff=True),
    unary("cos", np.cos, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("cosh", np.cosh, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("degrees", np.degrees, dtypes=REALS, diff=True, whole_range="all"),
    unary("erf", erf, dtypes=REALS, diff=True, smooth=True, whole_range="all"),
    unary("erfinv", erfinv, inside, dtypes=REALS, diff=True, smooth=True, whole_range="unit"),
    unary("exp", np.exp, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("expm1", np.expm1, dtypes=REALS, diff=True, smooth=True, whole_range="all"),
    unary(
        "floor",
        lambda x: x if x.dtype.kind in "biu" else np.floor(x),
        away,
        dtypes=REALS,
        diff=True,
        whole_range="all",
    ),
    unary("imag", np.imag, dtypes=COMPLEX, extremes=[]),
    unary("real", np.real, dtypes=COMPLEX, extremes=[]),
    unary("isfinite", np.isfinite, dtypes=ALL),
    unary("isinf", np.isinf, dtypes=ALL),
    unary("isnan", np.isnan, dtypes=ALL),
    unary("isneginf", np.isneginf, dtypes=REALS),
    unary("isposinf", np.isposinf, dtypes=REALS),
    unary("log", np.log, positive, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("log10", np.log10, positive, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("log1p", np.log1p, positive, dtypes=REALS, diff=True, smooth=True, whole_range="all"),
    unary("log2", np.log2, positive, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("logical_not", np.logical_not, dtypes=ALL),
    unary(
        "negative",
        np.negative,
        dtypes=INTEGERS + FLOATS + COMPLEX,
        diff=True,
        whole_range="all",
        errors=[Bad(S(mask(3)), ValueError, r"\[negative\]")],
    ),
    unary("positive", lambda x: x, dtypes=ALL, diff=True, extremes=[]),
    unary("radians", np.radians, dtypes=REALS, diff=True, whole_range="all"),
    unary(
        "reciprocal",
        lambda x: 1 / x,
        positive,
        dtypes=MATH,
        diff=True,
        smooth=True,
        whole_range="all",
    ),
    unary(
        "rsqrt",
        lambda x: 1 / np.sqrt(x),
        positive,
        dtypes=MATH,
        diff=True,
        smooth=True,
        whole_range="all",
    ),
    unary("sigmoid", sigmoid, dtypes=REALS, diff=True, smooth=True, whole_range="all"),
    unary(
        "sign",
        sign,
        away,
        dtypes=REALS + COMPLEX,
        diff=True,
        extremes=[S(v([0.0, -0.0, 1.0, -1.0, inf, -inf, 1e-45]))],
    ),
    unary("sin", np.sin, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("sinh", np.sinh, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("sqrt", np.sqrt, positive, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary(
        "square",
        lambda x: x if x.dtype.kind == "b" else x * x,
        dtypes=ALL,
        diff=True,
        smooth=True,
        whole_range="all",
    ),
    unary("tan", np.tan, inside, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary("tanh", np.tanh, dtypes=MATH, diff=True, smooth=True, whole_range="all"),
    unary(
        "trunc",
        lambda x: x if x.dtype.kind in "biu" else np.trunc(x),
        away,
        dtypes=REALS,
        diff=True,
        whole_range="all",
    ),
    unary(
        "bitwise_invert",
        np.invert,
        dtypes=INTEGERS + BOOL,
        extremes=[],
        errors=[Bad(S(f(3)), ValueError, r"\[bitwise_invert\]")],
    ),
    unary("stop_gradient", lambda x: x, dtypes=ALL, extremes=[]),
    Op(
        "round",
        [
            S(f(3, 4)),
            S(f()),
            S(
                f(
                    0,
                )
            ),
            S(f(2, 5, high=100.0), 1),
            S(f(4, high=1000.0, low=-1000.0), -2),
            S(v([0.5, 1.5, 2.5, -0.5, -1.5, 3.49999])),
        ],
        lambda x, d=0: x if x.dtype.kind in "biu" and d >= 0 else np.round(x, d),
        dtypes=FLOATS + SIGNED,
        ulp={"float16": 1, "bfloat16": 1, "float32": 1},
        extremes=[S(v([0.0, -0.0, inf, -inf, nan, 8388609.0, 1e30, 0.49999997]))],
        errors=[Bad(S("text"), (TypeError, ValueError))],
    ),
    Op(
        "nan_to_num",
        [
            S(f(3, 4)),
            S(v([nan, inf, -inf, 1.0])),
            S(v([nan, inf, -inf, 1.0]), nan=2.0, posinf=3.0, neginf=-4.0),
            S(f()),
            S(
                f(
                    0,
                )
            ),
        ],
        lambda x, nan=0, posinf=None, neginf=None: (
            x
            if x.dtype.kind in "biu"
            else np.where(
                np.isnan(x),
                nan,
                np.where(
                    x == np.inf,
                    1e5000 if posinf is None else posinf,
                    np.where(x == -np.inf, -1e5000 if neginf is None else neginf, x),
                ),
            )
        ),
        dtypes=FLOATS,
    ),
]


# ---- binary ------------------------------------------------------------------------------------

PAIRS = (
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 1, 5), (3, 1)),
    ((), (3,)),
    ((), ()),
    ((0, 3), (1, 3)),
    ((1, 0), (4, 1)),
)
X2 = [a for a in SPECIAL for _ in SPECIAL]
Y2 = [b for _ in SPECIAL for b in SPECIAL]


def shapes_must_agree(name: str) -> list[Bad]:
    return [
        Bad(S(f(3, 4), f(5)), ValueError, r"(?s)\[.*\].*\(3, ?4\).*\(5,?\)"),
        Bad(S(f(3), "text"), (TypeError, ValueError)),
    ]


def binary(
    name: str,
    reference: Callable[..., Any],
    gen: Callable[..., Gen] = f,
    gen_b: Callable[..., Gen] | None = None,
    **kw: Any,
) -> Op:
    other = gen_b or gen
    samples = [S(gen(*a), other(*b)) for a, b in PAIRS]
    kw.setdefault("extremes", [S(v(X2), v(Y2))])
    kw.setdefault("errors", shapes_must_agree(name))
    return Op(name, samples, reference, **kw)


def small(*shape: int) -> Gen:
    return Gen(shape, -2.0, 2.0, ints=(0, 4))


def shift(*shape: int) -> Gen:
    return Gen(shape, ints=(0, 7))


def divisor(*shape: int) -> Gen:
    return Gen(shape, 0.6, 2.0, ints=(1, 6))


def logaddexp(a: Any, b: Any) -> np.ndarray:
    return np.logaddexp(a, b)


def close_reference(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> np.ndarray:
    return np.isclose(a, b, rtol, atol, equal_nan)


def int_power(a: Any, b: Any) -> np.ndarray:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "b":
        return a | ~b
    return np.power(a, b)


def maximum(a: Any, b: Any) -> np.ndarray:
    return np.maximum(a, b)


def on_bits(op: Callable[..., Any]) -> list[Bad]:
    return [Bad(S(f(3), f(3)), (TypeError, ValueError, RuntimeError), r"\[.*\]")]


BINARY = [
    binary("add", np.add, dtypes=ALL, diff=True),
    binary("subtract", np.subtract, dtypes=INTEGERS + FLOATS + COMPLEX, diff=True),
    binary("multiply", np.multiply, dtypes=ALL, diff=True, smooth=True),
    binary("divide", np.divide, f, divisor, dtypes=REALS + COMPLEX, diff=True, smooth=True),
    binary(
        "floor_divide",
        np.floor_divide,
        f,
        divisor,
        dtypes=INTEGERS + FLOATS,
        extremes=[S(v([7.0, -7.0, 7.0, -7.0, 0.0]), v([2.0, 2.0, -2.0, -2.0, 3.0]))],
    ),
    binary(
        "remainder",
        np.remainder,
        f,
        divisor,
        dtypes=INTEGERS + FLOATS,
        ulp={"float16": 1, "bfloat16": 1},
        extremes=[S(v([7.0, -7.0, 7.0, -7.0, 0.0]), v([2.0, 2.0, -2.0, -2.0, 3.0]))],
    ),
    binary(
        "divmod",
        np.divmod,
        f,
        divisor,
        dtypes=INTEGERS + FLOATS,
        ulp={"float16": 1, "bfloat16": 1},
        extremes=[S(v([7.0, -7.0, 7.0, -7.0, 0.0]), v([2.0, 2.0, -2.0, -2.0, 3.0]))],
    ),
    binary(
        "power",
        int_power,
        positive,
        small,
        dtypes=INTEGERS + INEXACT,
        diff=True,
        smooth=True,
        raw=True,
        ulp={"complex64": 16},
    ),
    binary("arctan2", np.arctan2, positive, f, dtypes=REALS, diff=True, smooth=True),
    binary(
        "logaddexp",
        logaddexp,
        dtypes=REALS,
        diff=True,
        smooth=True,
        # log(e^a + e^b) near zero is a difference of numbers near one: the unit is that of the
        # larger operand
        eps={"float16": 1, "bfloat16": 1, "float32": 2, "float64": 4},
    ),
    binary("maximum", np.maximum, dtypes=REALS, diff=True),
    binary("minimum", np.minimum, dtypes=REALS, diff=True),
    *(
        binary(n, getattr(np, n), dtypes=ALL if n in ("equal", "not_equal") else REALS)
        for n in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")
    ),
    *(binary(n, getattr(np, n), dtypes=ALL) for n in ("logical_and", "logical_or", "logical_xor")),
    *(
        binary(n, getattr(np, n), dtypes=INTEGERS + BOOL, extremes=[], errors=on_bits(np.add))
        for n in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ),
    binary(
        "left_shift",
        np.left_shift,
        small,
        shift,
        dtypes=INTEGERS,
        extremes=[],
        errors=on_bits(np.add),
    ),
    binary(
        "right_shift",
        np.right_shift,
        f,
        shift,
        dtypes=INTEGERS,
        extremes=[],
        errors=on_bits(np.add),
    ),
    binary(
        "isclose",
        close_reference,
        dtypes=FLOATS,
        extremes=[
            S(v(X2), v(Y2)),
            S(v(X2), v(Y2), equal_nan=True),
            S(v([1.0, 1.0, 0.0]), v([1.0000001, 1.1, 1e-9]), rtol=1e-3, atol=1e-6),
        ],
        extreme_dtypes=("float32", "float64"),
    ),
    Op(
        "allclose",
        [
            S(f(3, 4), f(3, 4)),
            S(v([1.0, 2.0]), v([1.0, 2.0])),
            S(v([nan]), v([nan])),
            S(v([nan, inf]), v([nan, inf]), equal_nan=True),
            S(
                f(
                    0,
                ),
                f(
                    0,
                ),
            ),
            S(v([1.0]), v([1.01]), rtol=0.1),
        ],
        lambda a, b, **kw: np.asarray(np.allclose(a, b, **kw)),
        dtypes=FLOATS,
        errors=shapes_must_agree("allclose"),
    ),
    Op(
        "array_equal",
        [
            S(f(3, 4), f(3, 4)),
            S(v([1.0, 2.0]), v([1.0, 2.0])),
            S(f(3), f(4)),
            S(v([nan]), v([nan])),
            S(v([nan, 1.0]), v([nan, 1.0]), equal_nan=True),
            S(f(), f()),
        ],
        lambda a, b, equal_nan=False: np.asarray(np.array_equal(a, b, equal_nan)),
        dtypes=FLOATS,
        batched=False,
    ),
]


# ---- ternary -----------------------------------------------------------------------------------

TERNARY = [
    Op(
        "where",
        [
            S(mask(3, 4), f(3, 4), f(3, 4)),
            S(mask(4), f(3, 1), f()),
            S(mask(), f(2), f(2)),
            S(mask(0, 2), f(2), f(1, 1)),
            S(mask(2, 1, 3), f(4, 1), f(3)),
        ],
        lambda c, a, b: np.where(c, a, b),
        dtypes=ALL,
        diff=True,
        extremes=[S(mask(len(X2)), v(X2), v(Y2))],
        errors=[Bad(S(mask(3), f(2), f(2)), ValueError, r"(?s)\(3,?\).*\(2,?\)|\(2,?\).*\(3,?\)")],
    ),
    Op(
        "clip",
        [
            S(f(3, 4), v(-0.5), v(0.75)),
            S(f(5), None, v(0.3)),
            S(f(5), v(0.3), None),
            S(f(2, 3), f(3, high=0.0), f(2, 1, low=0.0)),
            S(f(), v(-1.0), v(1.0)),
            S(
                f(
                    0,
                ),
                v(-1.0),
                v(1.0),
            ),
        ],
        lambda a, lo, hi: np.clip(a, -np.inf if lo is None else lo, np.inf if hi is None else hi),
        dtypes=FLOATS,
        diff=(0,),
        extremes=[S(v(SPECIAL), v(-2.0), v(2.0))],
        errors=[Bad(S(f(3), f(2), None), ValueError)],
    ),
]

OPS: list[Op] = UNARY + BINARY + TERNARY
