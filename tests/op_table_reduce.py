"""Rows of the functions that look along an axis: reductions, scans, softmax, orders."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import ALL, FLOATS, INTEGERS, REALS, Bad, Gen, Op, S, f, inf, mask, nan, positive, v

AXIS = (IndexError, ValueError)
SUMS = {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 4, "complex64": 4}
SOFTMAX = {"float16": 1.5, "bfloat16": 1.5, "float32": 8, "float64": 16, "complex64": 16}
EXACT = dict.fromkeys((*FLOATS, "complex64"), 0)


def along(gen: Any = f, empty: bool = True, many: bool = True) -> list[S]:
    """Over everything, over each axis, several axes, kept axes, long rows and columns, one
    element, nothing.
    """
    out = [
        S(gen(3, 4)),
        S(gen(3, 4), 0),
        S(gen(3, 4), axis=-1),
        S(gen(2, 3, 5), axis=1, keepdims=True),
        S(gen()),
        S(gen(300), 0),
        S(gen(3, 67), 0),
        S(gen(5, 130), 1),
        S(gen(3, 4), keepdims=True),
        S(gen(1, 1), 0),
    ]
    if many:
        out += [
            S(gen(2, 3, 5), axis=(0, 2)),
            S(gen(2, 3, 4, 2), axis=(1, 3), keepdims=True),
            S(gen(2, 3, 5), axis=(-1, 1)),
            S(gen(3, 4), axis=()),
        ]
    if empty:
        out += [S(gen(0, 3)), S(gen(0, 3), 0), S(gen(2, 0), 1), S(gen(0, 3), 1)]
    return out


def bad_axes(name: str, many: bool = True) -> list[Bad]:
    out = [
        Bad(S(f(3, 4), axis=5), AXIS, "5"),
        Bad(S(f(3, 4), axis=-3), AXIS, "-3"),
        Bad(S("text"), (TypeError, ValueError)),
    ]
    if many:
        out.append(Bad(S(f(3, 4), axis=(0, -2)), ValueError, "(?i)twice|duplicate"))
    return out


def wide(fn: Any) -> Any:
    """Sums and products of small integers wrap in the result's type, as numpy's do in 64 bits."""

    def reference(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if a.dtype.kind in "bi":
            a = a.astype(np.int64)
        elif a.dtype.kind == "u":
            a = a.astype(np.uint64)
        return fn(a, axis=axis, keepdims=keepdims)

    return reference


def keep(fn: Any) -> Any:
    def reference(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if axis == ():
            return a.copy()
        return fn(a, axis=axis, keepdims=keepdims)

    return reference


def logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if a.size == 0 and (axis is None or np.prod([a.shape[k] for k in np.atleast_1d(axis)]) == 0):
        return np.log(np.sum(a, axis=axis, keepdims=keepdims))
    m = np.max(a, axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0)
    out = np.log(np.sum(np.exp(a - m), axis=axis, keepdims=True)) + m
    return out if keepdims else np.squeeze(out, axis=tuple(range(a.ndim)) if axis is None else axis)


def softmax(a: Any, axis: Any = None, precise: bool = False) -> Any:
    if a.size == 0:
        return a
    a = np.asarray(a, a.dtype if a.dtype.kind == "f" else np.float64)
    e = np.exp(a - np.max(a, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def moments(fn: Any) -> Any:
    def reference(a: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Any:
        return fn(a, axis=axis, keepdims=keepdims, ddof=ddof)

    return reference


def distinct(*shape: int) -> Gen:
    return f(*shape, distinct=True)


def scan(fn: Any, first: Any) -> Any:
    """A scan from its inclusive forward form; exclusive shifts by one and starts from `first`."""

    def reference(a: Any, axis: Any = None, reverse: bool = False, inclusive: bool = True) -> Any:
        if axis is None:
            a, axis = a.reshape(-1), 0
        if a.size == 0:
            return a
        if reverse:
            a = np.flip(a, axis)
        out = fn(a, axis)
        if not inclusive:
            low = -np.inf if a.dtype.kind == "f" else np.iinfo(a.dtype).min if a.dtype.kind in "iu" else 0
            high = np.inf if a.dtype.kind == "f" else np.iinfo(a.dtype).max if a.dtype.kind in "iu" else 1
            start = {"low": low, "high": high}.get(first, first)
            head = np.full_like(np.take(out, [0], axis), start)
            out = np.concatenate([head, np.take(out, range(out.shape[axis] - 1), axis)], axis)
        return np.flip(out, axis) if reverse else out

    return reference


def wrapped(fn: Any) -> Any:
    """numpy's cumulative sums widen small integers; these stay in their type, except bool, which
    counts in int32.
    """

    def reference(a: Any, axis: int) -> Any:
        if a.dtype.kind == "b":
            return fn(a.astype(np.int32), axis=axis)
        return fn(a, axis=axis, dtype=a.dtype)

    return reference


SCANS = [
    S(f(3, 4), 0),
    S(f(3, 4), axis=1),
    S(f(3, 4)),
    S(f(2, 3, 5), 1, reverse=True),
    S(f(2, 3, 5), -1, inclusive=False),
    S(f(4, 3), 0, reverse=True, inclusive=False),
    S(f(1), 0),
    S(f(3, 67), 1),
    S(f(67, 3), 0),
    S(f(0, 2), 0),
]


def scans(name: str, reference: Any, **kw: Any) -> Op:
    return Op(name, SCANS, reference, **{"diff": True, "errors": bad_axes(name, many=False), **kw})


def ranks(fn: Any, skip: int = 0) -> Any:
    def reference(a: Any, *args: Any, axis: Any = -1) -> Any:
        axis = args[skip] if len(args) > skip else axis
        if axis is None:
            a, axis = a.reshape(-1), 0
        return fn(a, axis)

    return reference


def arg(fn: Any) -> Any:
    def reference(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return fn(a, axis=axis, keepdims=keepdims)

    return reference


def top(a: Any, k: int, axis: Any = -1) -> Any:
    if axis is None:
        a, axis = a.reshape(-1), 0
    n = a.shape[axis]
    return np.take(np.sort(a, axis), range(n - k, n), axis)


NO_EMPTY = Bad(S(f(0, 3)), ValueError, "(?i)empty|zero|size 0|no elements")

OPS: list[Op] = [
    Op(
        "sum",
        along(),
        wide(np.sum),
        dtypes=ALL,
        diff=True,
        eps=SUMS,
        cancels=True,
        errors=bad_axes("sum"),
    ),
    Op(
        "prod",
        [*along(positive)[:4], S(f()), S(f(2, 3, 5), axis=(0, 2)), S(f(0, 3), 0), S(f(0, 3))],
        wide(np.prod),
        dtypes=ALL,
        diff=True,
        smooth=True,
        eps={"float16": 4, "bfloat16": 4, "float32": 16, "float64": 32, "complex64": 32},
        errors=bad_axes("prod"),
    ),
    Op(
        "mean",
        along(empty=False),
        arg(np.mean),
        dtypes=ALL,
        diff=True,
        eps=SUMS,
        cancels=True,
        errors=bad_axes("mean"),
    ),
    Op(
        "var",
        [*along(empty=False), S(f(3, 4), ddof=1), S(f(3, 4), 0, ddof=2)],
        moments(np.var),
        dtypes=REALS,
        diff=True,
        smooth=True,
        eps={"float16": 1.5, "bfloat16": 1.5, "float32": 4, "float64": 8},
        errors=bad_axes("var"),
    ),
    Op(
        "var_mean",
        [*along(empty=False)[:4], S(f(3, 4), ddof=1), S(f(2, 3, 5), axis=(0, 2))],
        lambda a, axis=None, keepdims=False, ddof=0: (
            np.var(a, axis=axis, keepdims=keepdims, ddof=ddof),
            np.mean(a, axis=axis, keepdims=keepdims),
        ),
        dtypes=REALS,
        diff=True,
        smooth=True,
        eps={"float16": 1.5, "bfloat16": 1.5, "float32": 8, "float64": 16},
        cancels=True,
        errors=bad_axes("var_mean"),
    ),
    Op(
        "std",
        [*along(empty=False)[:4], S(f(3, 4), ddof=1), S(f(2, 3, 5), axis=(0, 2))],
        moments(np.std),
        dtypes=REALS,
        diff=True,
        smooth=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8},
        errors=bad_axes("std"),
    ),
    Op(
        "max",
        along(distinct, empty=False),
        keep(np.max),
        dtypes=REALS,
        diff=True,
        eps=EXACT,
        extremes=[
            S(v([1.0, nan, 3.0])),
            S(v([-inf, -inf])),
            S(v([[-inf, 2.0], [nan, 1.0]]), 0),
            S(v([[-inf, 2.0], [nan, 1.0]]), 1),
        ],
        errors=[*bad_axes("max"), NO_EMPTY],
    ),
    Op(
        "min",
        along(distinct, empty=False),
        keep(np.min),
        dtypes=REALS,
        diff=True,
        eps=EXACT,
        extremes=[S(v([1.0, nan, 3.0])), S(v([inf, inf])), S(v([[inf, 2.0], [nan, 1.0]]), 0)],
        errors=[*bad_axes("min"), NO_EMPTY],
    ),
    Op(
        "minmax",
        along(distinct, empty=False),
        lambda a, axis=None, keepdims=False: (
            keep(np.min)(a, axis, keepdims),
            keep(np.max)(a, axis, keepdims),
        ),
        dtypes=REALS,
        diff=True,
        eps=EXACT,
        errors=bad_axes("minmax"),
    ),
    Op(
        "median",
        [
            S(distinct(3, 4)),
            S(distinct(3, 5), 1),
            S(distinct(2, 3, 5), axis=(0, 2)),
            S(distinct(4, 2), 0, keepdims=True),
            S(f()),
            S(distinct(7)),
        ],
        arg(np.median),
        dtypes=REALS,
        diff=True,
        eps={"float16": 1, "bfloat16": 1, "float32": 1, "float64": 1},
        extremes=[S(v([1.0, nan, 2.0, 4.0]))],
        errors=bad_axes("median"),
    ),
    Op("any", along(mask), arg(np.any), dtypes=("float32",), errors=bad_axes("any")),
    Op("all", along(mask), arg(np.all), dtypes=("float32",), errors=bad_axes("all")),
    Op("any[numbers]", along(f), arg(np.any), dtypes=ALL),
    Op("all[numbers]", along(f), arg(np.all), dtypes=ALL),
    Op(
        "count_nonzero",
        [
            S(f(3, 4)),
            S(f(3, 4), axis=0),
            S(f(2, 3, 5), axis=(0, 2), keepdims=True),
            S(
                f(
                    0,
                )
            ),
            S(f()),
        ],
        lambda a, axis=None, keepdims=False: np.asarray(np.count_nonzero(a, axis=axis, keepdims=keepdims)),
        dtypes=ALL,
        errors=bad_axes("count_nonzero"),
    ),
    *(
        Op(
            n,
            along(distinct, empty=False, many=False),
            arg(getattr(np, n)),
            dtypes=REALS,
            extremes=[
                S(v([1.0, nan, 3.0])),
                S(v([2.0, 2.0, 1.0, 1.0])),
                S(v([-inf, -inf])),
                S(v([[0.0, -0.0], [inf, -inf]]), 1),
            ],
            errors=[
                *bad_axes(n, many=False),
                Bad(
                    S(
                        f(
                            0,
                        )
                    ),
                    ValueError,
                    rf"(?i)\[{n}\].*(empty|zero|size 0|no elements)",
                ),
            ],
        )
        for n in ("argmax", "argmin")
    ),
    Op(
        "logsumexp",
        [s for s in along() if 0 not in s.args[0].shape],
        logsumexp,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps={"float16": 1, "bfloat16": 1, "float32": 2, "float64": 4},
        extremes=[
            S(v([1e4, -1e4]), 0),
            S(v([-inf, 0.0]), 0),
            S(v([-inf, -inf]), 0),
            S(v([nan, 0.0]), 0),
            S(v([inf, 0.0]), 0),
            S(v([80.0, 90.0, 100.0])),
        ],
        extreme_dtypes=("float16", "bfloat16", "float32"),
        errors=bad_axes("logsumexp"),
    ),
    Op(
        "softmax",
        [
            S(f(3, 4)),
            S(f(3, 4), axis=1),
            S(f(2, 3, 5), axis=0),
            S(f(2, 3, 5), axis=(0, -1)),
            S(f()),
            S(f(0, 4), axis=0),
            S(f(2, 0), axis=1),
            S(f(5, 130), -1),
            S(f(3, 4), -1, precise=True),
            S(f(70, 3), 0),
        ],
        softmax,
        dtypes=REALS,
        diff=True,
        smooth=True,
        ulp=SOFTMAX,
        keeps_bits=False,
        extremes=[
            S(v([1e4, -1e4]), 0),
            S(v([-inf, 0.0]), 0),
            S(v([-inf, -inf]), 0),
            S(v([nan, 0.0]), 0),
            S(v([3e4, 3e4]), 0),
        ],
        errors=bad_axes("softmax"),
    ),
    scans("cumsum", scan(wrapped(np.cumsum), 0), dtypes=ALL, eps=SUMS, cancels=True),
    scans(
        "cumprod",
        scan(wrapped(np.cumprod), 1),
        dtypes=ALL,
        eps={"float16": 4, "bfloat16": 4, "float32": 16, "float64": 64, "complex64": 64},
    ),
    scans(
        "cummax",
        scan(np.maximum.accumulate, "low"),
        dtypes=REALS,
        eps=EXACT,
        extremes=[S(v([1.0, nan, 3.0, 2.0]), 0), S(v([-inf, 1.0]), 0)],
    ),
    scans(
        "cummin",
        scan(np.minimum.accumulate, "high"),
        dtypes=REALS,
        eps=EXACT,
        extremes=[S(v([1.0, nan, 0.5, 2.0]), 0)],
    ),
    scans(
        "logcumsumexp",
        scan(np.logaddexp.accumulate, -inf),
        dtypes=FLOATS,
        smooth=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8},
        extremes=[S(v([-inf, -inf, 1.0]), 0), S(v([80.0, 90.0, -inf]), 0)],
        extreme_dtypes=("float16", "float32"),
    ),
    Op(
        "sort",
        [
            S(distinct(3, 4)),
            S(distinct(3, 4), 0),
            S(f(2, 3, 5), axis=1),
            S(f(300)),
            S(f(3, 4), axis=None),
            S(f(0, 3)),
            S(f(2, 1)),
            S(f(70, 3), 0),
            S(distinct(2, 1030)),
        ],
        ranks(np.sort),
        dtypes=ALL,
        diff=True,
        eps=EXACT,
        extremes=[S(v([nan, 1.0, -inf, inf, -0.0, 0.0, nan, -3.0]))],
        errors=bad_axes("sort", many=False),
    ),
    Op(
        "argsort",
        [
            S(distinct(3, 4)),
            S(distinct(3, 4), 0),
            S(distinct(2, 3, 5), axis=1),
            S(distinct(100)),
            S(distinct(3, 4), axis=None),
            S(distinct(0, 3)),
        ],
        ranks(lambda a, k: np.argsort(a, k, kind="stable")),
        dtypes=INTEGERS + FLOATS,
        extremes=[S(v([nan, 1.0, -inf, inf, 1.0, 0.0, 1.0]))],
        errors=bad_axes("argsort", many=False),
    ),
    Op(
        "partition",
        [
            S(distinct(3, 7), 2),
            S(distinct(30), 7),
            S(distinct(7, 3), -2, axis=0),
            S(distinct(3, 4), 5, axis=None),
        ],
        # the order within the two parts is free: which elements there are is compared here, the
        # k-th one below
        ranks(np.sort, skip=1),
        dtypes=INTEGERS + FLOATS,
        eps=EXACT,
        call=lambda a, k, axis=-1: mx.sort(mx.partition(a, k, axis), -1 if axis is None else axis),
        errors=[
            Bad(S(f(3, 4), 9), (IndexError, ValueError), r"\[partition\].* 9"),
            Bad(S(f(3, 4), 1, axis=3), AXIS),
        ],
    ),
    Op(
        "topk",
        [
            S(distinct(3, 7), 2),
            S(distinct(30), 7),
            S(distinct(7, 3), 2, axis=0),
            S(distinct(3, 4), 12, axis=None),
            S(distinct(5), 5),
        ],
        top,
        dtypes=INTEGERS + FLOATS,
        diff=True,
        eps=EXACT,
        call=lambda a, k, axis=-1: mx.sort(mx.topk(a, k, axis), -1 if axis is None else axis),
        errors=[
            Bad(S(f(3, 4), 9), ValueError, r"\[topk\].*9"),
            Bad(S(f(3, 4), -1), ValueError),
            Bad(S(f(3, 4), 1, axis=3), AXIS),
        ],
    ),
    Op(
        "searchsorted",
        [
            S(v([1.0, 2.0, 2.0, 3.0, 5.0]), v([2.0, 0.0, 9.0, 3.0])),
            S(v([1.0, 2.0, 2.0, 3.0]), v([[2.0, 4.0]]), side="right"),
            S(v([1.0, 2.0]), v(2.0)),
        ],
        lambda a, x, side="left": np.searchsorted(a, x, side),
        dtypes=INTEGERS + FLOATS,
        batched=False,
        errors=[Bad(S(f(3), f(2), side="x"), ValueError, r"\[searchsorted\].*x")],
    ),
    Op(
        "unique",
        [S(v([3.0, 1.0, 2.0, 1.0, 3.0]), size=3), S(v([1.0, 1.0]), size=1)],
        lambda a, size: np.unique(a),
        dtypes=INTEGERS + FLOATS,
        batched=False,
        eps=EXACT,
    ),
    Op(
        "partition[kth]",
        [S(distinct(3, 7), 2), S(distinct(30), 7), S(distinct(7, 3), -2, axis=0)],
        lambda a, k, axis=-1: np.take(np.sort(a, axis), [k], axis),
        dtypes=INTEGERS + FLOATS,
        eps=EXACT,
        call=lambda a, k, axis=-1: mx.take(mx.partition(a, k, axis), mx.array([k]), axis=axis),
    ),
    Op(
        "argpartition[kth]",
        [S(distinct(3, 7), 2), S(distinct(30), 7), S(distinct(7, 3), 2, axis=0)],
        lambda a, k, axis=-1: np.take(np.sort(a, axis), [k], axis),
        dtypes=INTEGERS + FLOATS,
        eps=EXACT,
        call=lambda a, k, axis=-1: _kth(a, k, axis),
    ),
]


def _kth(a: Any, k: int, axis: int) -> Any:
    """The element that argpartition puts in place k: the k-th smallest, whatever the order
    around it.
    """
    order = mx.argpartition(a, k, axis)
    return mx.take_along_axis(a, mx.take(order, mx.array([k]), axis=axis), axis=axis)
