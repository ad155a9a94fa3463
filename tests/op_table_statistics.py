"""Rows of order statistics, counts, sets, moments, reductions without nan, and numerical calculus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from op_row import BOOL, FLOATS, INTEGERS, REALS, Bad, Gen, Op, S, f, inf, mask, nan, v

EXACT = {"float16": 0, "bfloat16": 0, "float32": 0, "float64": 0}
ONCE = {"float16": 1, "bfloat16": 1, "float32": 4, "float64": 8}  # of the largest: rounded after a few steps
CONTINUOUS = (
    "linear",
    "midpoint",
    "averaged_inverted_cdf",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "median_unbiased",
    "normal_unbiased",
)
PICKING = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")
HOLES = [[1.0, nan, -3.0, 2.5], [nan, nan, nan, nan], [0.5, -1.0, nan, 4.0]]


def distinct(*shape: int) -> Gen:
    return Gen(shape, -3.0, 3.0, distinct=True)


def quantile(a: Any, q: Any, axis: Any = None, **kw: Any) -> Any:
    a = np.asarray(a)
    a = a.astype(np.uint8) if a.dtype == bool else a
    return np.quantile(a, np.asarray(q, np.float64), axis=axis, **kw)


def of_quantile(name: str, reference: Callable[..., Any], most: float) -> list[Op]:
    samples = [
        S(distinct(3, 5), 0.3 * most),
        S(distinct(3, 5), 0.25 * most, axis=1),
        S(distinct(2, 3, 4), v([[0.1 * most, 0.5 * most, most]], "float64"), axis=(0, 2), keepdims=True),
        S(distinct(7), v([0.0, 0.45 * most], "float64"), axis=0),
        S(f(), 0.5 * most),
        *(S(distinct(9), 0.37 * most, method=m) for m in CONTINUOUS),
    ]
    picks = [S(distinct(9), share * most, method=m) for m in PICKING for share in (0.0, 0.33, 0.5, 1.0)]
    errors = [
        Bad(S(f(3), -0.5), ValueError, rf"\[{name}\].*-0.5.*\[0, {most:g}\]"),
        Bad(S(f(3), 1.5 * most), ValueError, rf"\[{name}\].*{1.5 * most:g}"),
        Bad(S(f(3), 0.5, method="median"), ValueError, rf"\[{name}\].*median.*'linear'"),
        Bad(S(f(3, 0), 0.5, axis=1), ValueError, rf"\[{name}\].*\(3,0\)"),
        Bad(S(f(3), 0.5, axis=1), IndexError, rf"\[{name}\] axis 1"),
        Bad(S(f(3), 0.5), ValueError, rf"\[{name}\].*complex64", dtype="complex64"),
        Bad(S(f(3), "x"), TypeError, name),
    ]
    return [
        Op(
            name,
            samples,
            reference,
            dtypes=REALS,
            diff=True,
            eps=ONCE,
            errors=errors,
            extremes=[S(v(HOLES), 0.5, axis=1)],
        ),
        Op(f"{name}[picks]", picks, reference, dtypes=BOOL + INTEGERS + FLOATS, diff=True, eps=EXACT),
    ]


def counts_of(a: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None) -> Any:
    a, bins = (np.asarray(x, np.float64) if isinstance(x, np.ndarray) else x for x in (a, bins))
    return np.histogram(a, bins, range, density, weights)


def counts_at(x: Any, weights: Any = None, length: int = 0) -> Any:
    weights = None if weights is None else np.asarray(weights, np.float64)
    x = np.asarray(x).astype(np.int64)
    inside = (x >= 0) & (x < length)
    return np.bincount(x[inside], None if weights is None else weights[inside], length)


def sized_positions(a: Any, size: int, fill_value: int = 0) -> Any:
    out = []
    for index in np.nonzero(a):
        row = np.full(size, fill_value)
        row[: min(size, len(index))] = index[:size]
        out.append(row)
    return out


def small_ints(*shape: int) -> Gen:
    return Gen(shape, -2.0, 2.0, ints=(-2, 3))


def number_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of complete arrays without an axis named `None`."""
    return lambda a, axis=None, keepdims=False: function(np.asarray(a), axis=axis, keepdims=keepdims)


def without_nan(name: str, **kw: Any) -> Op:
    samples = [
        S(distinct(3, 4)),
        S(distinct(3, 4), 1),
        S(distinct(2, 3, 5), (0, 2), keepdims=True),
        S(v(HOLES), 0),
        S(v(HOLES)),
        S(f()),
    ]
    return Op(
        name,
        samples,
        number_of(getattr(np, name)),
        extremes=[S(v(HOLES), 1), S(v([inf, -inf, nan, 1.0])), S(v([nan]))],
        errors=[Bad(S(f(3), 1), IndexError, rf"\[{name}\] axis 1")],
        diff=True,
        **kw,
    )


def moments(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(m: Any, *args: Any, **kw: Any) -> Any:
        wide = [np.asarray(x, np.float64) if isinstance(x, np.ndarray) else x for x in (m, *args)]
        return function(*wide, **{k: np.asarray(x) if k.endswith("weights") else x for k, x in kw.items()})

    return call


def slopes(a: Any, *spacing: Any, **kw: Any) -> Any:
    out = np.gradient(a, *spacing, **kw)
    return list(out) if isinstance(out, tuple) else out


X = v([-1.0, 0.25, 0.75, 2.0, 3.5])
POINTS = v([-0.5, 0.5, 1.5, 3.0])

OPS: list[Op] = [
    *of_quantile("quantile", quantile, 1),
    *of_quantile("percentile", lambda a, q, **kw: quantile(a, np.asarray(q, np.float64) / 100, **kw), 100),
    Op(
        "histogram",
        [
            S(f(50)),
            S(f(4, 9), bins=4),
            S(f(40), bins=5, range=(-1.0, 1.5)),
            S(f(40), v([-1.5, -0.5, 0.0, 1.75])),
            S(f(40), bins=3, density=True),
            S(f(12), bins=3, weights=Gen((12,), 0.5, 1.5, dtype="float32")),
            S(v([2.0, 2.0]), bins=2),
            S(v([1.0, 2.0, 3.0]), v([1.0, 2.0, 3.0])),
            S(f(0), bins=2),
        ],
        counts_of,
        dtypes=("int32", *FLOATS),
        eps={"float16": 4, "bfloat16": 4, "float32": 8, "float64": 8},
        errors=[
            Bad(S(f(3), bins=0), ValueError, r"\[histogram\].*bins = 0"),
            Bad(S(f(3), range=(2.0, 1.0)), ValueError, r"\[histogram\].*\(2, 1\)"),
            Bad(S(f(3), v([1.0])), ValueError, r"\[histogram\].*\(1\)"),
            Bad(S(f(3), weights=f(2)), ValueError, r"\[histogram\].*\(2\).*\(3\)"),
            Bad(S(f(3), range=1), TypeError, r"histogram.*range"),
            Bad(S(f(3)), ValueError, r"\[histogram\].*complex64", dtype="complex64"),
        ],
    ),
    Op(
        "bincount",
        [
            S(Gen((20,), ints=(0, 6), dtype="int32"), length=6),
            S(Gen((20,), ints=(-2, 9), dtype="int8"), length=4),
            S(Gen((20,), ints=(0, 9), dtype="uint64"), f(20), length=12),
            S(mask(7), f(7), length=2),
            S(Gen((0,), dtype="int32"), length=3),
        ],
        counts_at,
        dtypes=FLOATS,
        diff=True,
        eps=ONCE,
        errors=[
            Bad(S(f(3), length=3), ValueError, r"\[bincount\].*float32"),
            Bad(S(v([[1]], "int32"), length=3), ValueError, r"\[bincount\].*\(1,1\)"),
            Bad(S(v([1, -1], "int32")), ValueError, r"\[bincount\].*-1"),
            Bad(S(v([1], "int32"), length=-1), ValueError, r"\[bincount\].*-1"),
            Bad(S(v([1], "int32"), f(2), length=2), ValueError, r"\[bincount\].*\(2\)"),
            Bad(S(v([1], "int32"), minlength=-1), ValueError, r"\[bincount\].*-1"),
        ],
    ),
    Op(
        "digitize",
        [
            S(small_ints(3, 4), v([-1.0, 0.0, 1.0])),
            S(small_ints(9), v([-1.0, 0.0, 1.0]), right=True),
            S(small_ints(9), v([1.0, 0.0, -1.0])),
            S(small_ints(9), v([1.0, 0.0, -1.0]), right=True),
            S(f(), v([0.5])),
        ],
        lambda x, bins, right=False: np.digitize(np.asarray(x, np.float64), np.asarray(bins, np.float64), right),
        dtypes=("int8", "int32", *FLOATS),
        errors=[Bad(S(f(3), f(2, 2)), ValueError, r"\[digitize\].*\(2,2\)")],
    ),
    Op(
        "isin",
        [
            S(small_ints(3, 4), small_ints(2, 2)),
            S(small_ints(5), v([1.0, 1.0]), invert=True),
            S(f(), f(4)),
            S(f(3), f(0)),
            S(v([1.0, nan]), v([nan, 1.0])),
        ],
        lambda a, b, invert=False: np.isin(a, b, invert=invert),
        dtypes=BOOL + INTEGERS + FLOATS,
        errors=[Bad(S(f(3), "x"), TypeError, "isin")],
    ),
    Op(
        "nonzero",
        [S(mask(3, 4), size=12), S(mask(2, 3, 3), size=4), S(mask(9), size=9, fill_value=-1), S(f(3, 0), size=2)],
        sized_positions,
        dtypes=("int32", "float32"),
        errors=[
            Bad(S(f(), size=1), ValueError, r"\[nonzero\].*dimensions"),
            Bad(S(f(3), size=-1), ValueError, r"\[nonzero\].*-1"),
        ],
    ),
    Op(
        "argwhere",
        [S(mask(3, 4), size=12), S(mask(9), size=3)],
        lambda a, size: np.stack(sized_positions(a, size), 1),
        dtypes=("int32",),
        errors=[Bad(S(f(), size=1), ValueError, r"\[argwhere\].*dimensions")],
    ),
    Op(
        "unique[sized]",
        [S(small_ints(3, 4), size=5, return_index=True, return_inverse=True, return_counts=True, fill_value=9)],
        lambda a, size, fill_value, **kw: _sized_unique(a, size, fill_value),
        dtypes=("int8", "int32"),
        errors=[Bad(S(f(3), size=-1), ValueError, r"\[unique\].*-1")],
    ),
    Op(
        "searchsorted[batch]",
        [S(distinct(7), f(3)), S(distinct(7), f(2, 2), side="right")],
        lambda a, x, side="left": np.searchsorted(np.sort(a), x, side),
        dtypes=("float32", "int32"),
        call=lambda a, x, side="left": mx.searchsorted(mx.sort(a), x, side),
    ),
    Op(
        "cov",
        [
            S(f(3, 7)),
            S(f(7, 3), rowvar=False),
            S(f(7)),
            S(f(2, 7), f(7)),
            S(f(2, 7), bias=True),
            S(f(2, 7), ddof=2),
            S(f(2, 5), fweights=v([1, 2, 3, 1, 2], "int32"), aweights=v([1.0, 0.5, 2.0, 1.0, 1.5], "float32")),
            S(f(2, 5), aweights=v([1.0, 0.5, 2.0, 1.0, 1.5], "float32")),
        ],
        moments(np.cov),
        dtypes=("int32", *FLOATS),
        diff=True,
        smooth=True,
        eps=ONCE,
        errors=[
            Bad(S(f(2, 2, 2)), ValueError, r"\[cov\].*\(2,2,2\)"),
            Bad(S(f(2, 3), f(4)), ValueError, r"\[cov\].*3.*4"),
            Bad(S(f(2, 3), fweights=f(3)), ValueError, r"\[cov\].*fweights.*float32"),
            Bad(S(f(2, 3), aweights=f(2)), ValueError, r"\[cov\].*aweights.*\(2\).*\(3\)"),
        ],
    ),
    Op(
        "corrcoef",
        [S(f(3, 7)), S(f(7, 3), rowvar=False), S(f(2, 7), f(7)), S(f(7))],
        moments(np.corrcoef),
        dtypes=("int32", *FLOATS),
        diff=True,
        eps=ONCE,
        errors=[Bad(S(f(2, 2, 2)), ValueError, r"\[cov\].*\(2,2,2\)")],
    ),
    without_nan("nansum", eps={"float16": 1, "bfloat16": 1, "float32": 4, "float64": 8}, cancels=True),
    without_nan("nanmean", eps=ONCE, cancels=True),
    without_nan("nanmax", eps=EXACT),
    without_nan("nanmin", eps=EXACT),
    Op(
        "interp",
        [
            S(X, POINTS, f(4)),
            S(f(3, 4), POINTS, f(4)),
            S(X, POINTS, f(4), left=-7.0, right=9.0),
            S(X, POINTS, f(4), period=2.3),
            S(f(), POINTS, f(4)),
            S(f(3), v([0.5]), f(1)),
        ],
        lambda x, xp, fp, **kw: np.interp(*(np.asarray(a, np.float64) for a in (x, xp, fp)), **kw),
        dtypes=FLOATS,
        diff=(0, 2),
        eps=ONCE,
        errors=[
            Bad(S(f(2), f(3), f(4)), ValueError, r"\[interp\].*\(3\).*\(4\)"),
            Bad(S(f(2), f(0), f(0)), ValueError, r"\[interp\]"),
            Bad(S(f(2), f(3), f(3), period=0.0), ValueError, r"\[interp\].*period = 0"),
        ],
    ),
    Op(
        "gradient",
        [
            S(f(5)),
            S(f(4, 5)),
            S(f(4, 5), 0.5),
            S(f(4, 5), 0.5, v([0.0, 1.0, 1.5, 2.0, 4.0], "float32")),
            S(f(3, 4), axis=1, edge_order=2),
            S(f(6), v([0.0, 1.0, 1.5, 2.0, 4.0, 5.0], "float32"), edge_order=2),
            S(f(2, 3, 4), axis=(2, 0)),
            S(f(2)),
        ],
        slopes,
        dtypes=FLOATS,
        diff=True,
        eps=ONCE,
        errors=[
            Bad(S(f(1)), ValueError, r"\[gradient\].*\(1\).*2"),
            Bad(S(f(2), edge_order=2), ValueError, r"\[gradient\].*3"),
            Bad(S(f(4), edge_order=3), ValueError, r"\[gradient\].*edge_order = 3"),
            Bad(S(f(4), f(3)), ValueError, r"\[gradient\].*\(3\).*4"),
            Bad(S(f(4, 4), 1.0, 1.0, 1.0), ValueError, r"\[gradient\].*3"),
            Bad(S(f(4), axis=1), IndexError, r"\[gradient\] axis 1"),
        ],
    ),
    Op(
        "trapezoid",
        [
            S(f(5)),
            S(f(3, 5), axis=0, dx=0.5),
            S(f(3, 5), v([0.0, 1.0, 1.5, 2.0, 4.0])),
            S(f(3, 5), f(3, 5), axis=0),
            S(f(3, 1)),
        ],
        lambda y, x=None, dx=1.0, axis=-1: np.trapezoid(y, x, dx, axis),
        dtypes=("int32", *FLOATS),
        diff=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 8, "float64": 16},
        cancels=True,
        errors=[
            Bad(S(f(3, 5), f(4)), ValueError, r"\[trapezoid\].*\(3,5\).*\(4\)"),
            Bad(S(f(3), axis=1), IndexError, r"\[trapezoid\] axis 1"),
        ],
    ),
]


def _sized_unique(a: Any, size: int, fill: int) -> list[Any]:
    values, index, inverse, counts = np.unique(a, return_index=True, return_inverse=True, return_counts=True)
    more = size - len(values)
    return [
        np.pad(values, (0, more), constant_values=fill),
        np.pad(index, (0, more), constant_values=index[0]),
        inverse.reshape(a.shape),
        np.pad(counts, (0, more)),
    ]
