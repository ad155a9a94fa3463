"""Rows of the functions that make arrays from numbers, and of those that look at the dtype:
astype, view, full_like.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import ALL, FLOATS, LARGEST, Bad, Op, S, dtype_name, f, inf, mask, nan, v

F32 = ("float32",)
EXACT = dict.fromkeys((*FLOATS, "complex64"), 0)
SIZES = (TypeError, ValueError, RuntimeError, OverflowError)


def made(name: str, samples: list[S], reference: Any, **kw: Any) -> Op:
    """A row without operands: one dtype for the suites, the sample says which dtype it makes."""
    return Op(name, samples, reference, dtypes=F32, batched=False, **{"ulp": EXACT, **kw})


def numbers(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> np.ndarray:
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    n = max(0, int(np.ceil((stop - start) / step)))
    whole = all(isinstance(x, int) for x in (start, stop, step)) or (
        dtype is not None and mx.issubdtype(dtype, mx.integer)
    )
    if whole:
        return (int(start) + int(step) * np.arange(n)).astype(np.int64)
    return start + step * np.arange(n, dtype=np.longdouble)


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None) -> np.ndarray:
    return np.linspace(start, stop, num, endpoint).astype(np.longdouble)


def ones(shape: Any, dtype: Any = None) -> np.ndarray:
    return np.ones(shape)


def zeros(shape: Any, dtype: Any = None) -> np.ndarray:
    return np.zeros(shape)


def astype(a: Any, dtype: mx.Dtype) -> np.ndarray:
    """Conversion by value; outside a type's range it is whatever wraps (integers) or overflows
    (floats).
    """
    name = "bool_" if dtype == mx.bool_ else str(dtype).rsplit(".", 1)[-1]
    if name == "bool_":
        return a != 0
    if name in LARGEST:
        return a if name == "complex64" or a.dtype.kind != "c" else a.real
    a = a.real if a.dtype.kind == "c" else a
    return np.trunc(a).astype(np.int64).astype(name) if a.dtype.kind == "f" else a.astype(name)


WINDOWS = {"float32": 4}
LIKE = [S(f(3, 4)), S(f()), S(f(0, 2))]

OPS: list[Op] = [
    made(
        "arange",
        [
            S(5),
            S(2, 7),
            S(2, 9, 3),
            S(9, 2, -2),
            S(0),
            S(5, 2),
            S(0.0, 1.0, 0.1),
            S(1.5),
            S(0, 10, dtype=mx.int8),
            S(0, 3, dtype=mx.float32),
            S(3, dtype=mx.float16),
            S(0, 5, 2, dtype=mx.bfloat16),
            S(3, dtype=mx.float64),
            S(0, 100, 7, dtype=mx.uint64),
            S(-3, 3, dtype=mx.int64),
        ],
        numbers,
        ulp={"float32": 2, "float16": 1, "bfloat16": 1, "float64": 2},
        errors=[
            Bad(S(0, 10, 0), ValueError, r"\[arange\].*step"),
            Bad(S(nan), ValueError, r"\[arange\]"),
            Bad(S(inf), ValueError, r"\[arange\]"),
            Bad(S(0, 10, 1e-12), ValueError, r"\[arange\]"),
            Bad(S("a"), TypeError),
        ],
    ),
    made(
        "linspace",
        [
            S(0, 1),
            S(0, 1, 5),
            S(-2.5, 3.0, 7),
            S(0, 1, 1),
            S(0, 1, 0),
            S(5, 5, 3),
            S(0, 10, 4, dtype=mx.float16),
            S(0, 1, 5, endpoint=False),
            S(1, 0, 3),
            S(0, 1e6, 12345),
        ],
        linspace,
        eps={"float32": 1, "float16": 1},
        errors=[Bad(S(0, 1, -1), ValueError, r"\[linspace\].*-1")],
    ),
    made(
        "zeros",
        [
            S((2, 3)),
            S(4),
            S(()),
            S((0, 2)),
            S((2,), dtype=mx.int8),
            S((2,), dtype=mx.complex64),
            S([3, 1], dtype=mx.bool_),
        ],
        zeros,
        errors=[
            Bad(S((-1, 2)), ValueError, r"\[\w+\].*(N|n)egative"),
            Bad(S(3.5), SIZES),
            Bad(S((2**62,)), (*SIZES, MemoryError)),
        ],
    ),
    made(
        "ones",
        [
            S((2, 3)),
            S(4),
            S(()),
            S((0, 2)),
            S((2,), dtype=mx.int64),
            S((2,), dtype=mx.bfloat16),
            S((3, 1), dtype=mx.bool_),
        ],
        ones,
        errors=[Bad(S((-1, 2)), ValueError, r"\[\w+\].*(N|n)egative")],
    ),
    made("empty", [S((2, 3)), S((0,))], zeros),
    made(
        "eye",
        [
            S(3),
            S(3, 4),
            S(4, 2, 1),
            S(3, k=-1),
            S(2, dtype=mx.int32),
            S(0),
            S(3, 3, 7),
            S(3, dtype=mx.bool_),
        ],
        lambda n, m=None, k=0, dtype=None: np.eye(n, m, k),
        errors=[Bad(S(-1), ValueError, r"\[eye\]")],
    ),
    made(
        "identity",
        [S(3), S(2, dtype=mx.float16), S(0)],
        lambda n, dtype=None: np.identity(n),
        errors=[Bad(S(-2), ValueError, r"\[(eye|identity)\]")],
    ),
    made(
        "tri",
        [S(3), S(3, 4), S(4, 2, 1), S(3, k=-1), S(2, dtype=mx.int32)],
        lambda n, m=None, k=0, dtype=None: np.tri(n, m, k),
    ),
    made("hanning", [S(5), S(12), S(1), S(0)], np.hanning, eps=WINDOWS),
    made("hamming", [S(5), S(12), S(1), S(0)], np.hamming, eps=WINDOWS),
    made("blackman", [S(5), S(12), S(1), S(0)], np.blackman, eps=WINDOWS),
    made("bartlett", [S(5), S(12), S(1), S(0)], np.bartlett, eps=WINDOWS),
    Op(
        "full",
        [
            S((2, 3), v(1.5)),
            S((2, 3), f(3)),
            S((4, 2), f(4, 1)),
            S((), v(2.0)),
            S((0, 2), v(1.0)),
            S(3, f()),
        ],
        lambda s, x, dtype=None: np.broadcast_to(x, s).copy(),
        dtypes=ALL,
        ulp=EXACT,
        diff=True,
        errors=[
            Bad(S((-1,), v(1.0)), ValueError, r"\[full\]"),
            Bad(S((2,), f(3)), ValueError, r"(?s)\(3,?\).*\(2,?\)"),
            Bad(S((2,), "a"), (TypeError, ValueError)),
        ],
    ),
    Op("zeros_like", LIKE, np.zeros_like, dtypes=ALL, ulp=EXACT, batched=False),
    Op("empty_like", LIKE, np.zeros_like, dtypes=ALL, ulp=EXACT, batched=False),
    Op(
        "ones_like",
        [*LIKE, S(f(2), dtype=mx.int32)],
        lambda a, dtype=None: np.ones(a.shape),
        dtypes=ALL,
        ulp=EXACT,
        batched=False,
    ),
    Op(
        "full_like",
        [S(f(3, 4), 2), S(f(2), v(3.0), dtype=mx.float32), S(f(0, 2), 1)],
        lambda a, x, dtype=None: np.full(a.shape, x),
        dtypes=FLOATS,
        ulp=EXACT,
        batched=False,
    ),
    *(
        Op(
            f"astype[{dtype_name(mx.array(0, d))}]",
            [
                S(f(3, 4), d),
                S(f(), d),
                S(
                    f(
                        0,
                    ),
                    d,
                ),
                S(mask(5), d),
            ],
            astype,
            dtypes=ALL,
            raw=True,
            ulp={"float16": 0.5, "bfloat16": 0.5, "float32": 0.5, "float64": 0, "complex64": 0.5},
            diff=d in (mx.float32, mx.float64),
            extremes=[
                S(
                    v(
                        [
                            0.0,
                            -0.0,
                            inf,
                            -inf,
                            nan,
                            65519.0,
                            65520.0,
                            1e-45,
                            1e-8,
                            6e-8,
                            3e-8,
                            2049.0,
                            1e39,
                            3.4e38,
                        ]
                    ),
                    d,
                )
            ]
            if d in (mx.float16, mx.bfloat16, mx.float32, mx.float64)
            else [],
            call=lambda a, d: mx.astype(a, d),
        )
        for d in (
            mx.bool_,
            mx.int8,
            mx.uint16,
            mx.int32,
            mx.int64,
            mx.float16,
            mx.bfloat16,
            mx.float32,
            mx.float64,
            mx.complex64,
        )
    ),
    Op(
        "view",
        [
            S(f(3, 4), mx.int32),
            S(f(3, 4), mx.uint8),
            S(f(3, 4), mx.int16),
            S(f(2, 6), mx.int64),
            S(f(0, 2), mx.int32),
            S(f(), mx.uint32),
        ],
        lambda a, d: (
            np.atleast_1d(a.astype(np.float32))
            .view(str(d).rsplit(".", 1)[-1])
            .reshape((*a.shape[:-1], -1) if a.ndim and a.size else a.shape)
        ),
        dtypes=F32,
        errors=[
            Bad(S(f(3, 3), mx.float64), ValueError, r"\[view\]"),
            Bad(S(f(), mx.int8), ValueError, r"\[view\]"),
        ],
    ),
]
