"""Rows of the functions that read and write elements by index."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import ALL, FLOATS, Bad, Op, S, f, index, v

EXACT = dict.fromkeys((*FLOATS, "complex64"), 0)
OUT = (IndexError,)


def put(a: Any, i: Any, x: Any, axis: Any = None) -> np.ndarray:
    out = np.array(a)
    if axis is None:
        flat = out.reshape(-1)
        flat[np.asarray(i)] = np.asarray(x)
        return flat.reshape(out.shape)
    np.put_along_axis(out, i, np.broadcast_to(x, i.shape), axis)
    return out


def window(a: Any, start: Any, axes: Any, size: Any) -> np.ndarray:
    index = [slice(0, n) for n in size]
    for s, ax in zip(np.asarray(start), axes, strict=True):
        s = int(np.clip(s, 0, a.shape[ax] - size[ax]))
        index[ax] = slice(s, s + size[ax])
    return a[tuple(index)]


def slice_update(a: Any, u: Any, start: Any, axes: Any) -> np.ndarray:
    out = np.array(a)
    where = [slice(0, n) for n in u.shape]
    for s, ax in zip(np.asarray(start), axes, strict=True):
        where[ax] = slice(int(s), int(s) + u.shape[ax])
    out[tuple(where)] = u
    return out


OPS: list[Op] = [
    Op(
        "take",
        [
            S(f(7), index(3, high=7, low=-7)),
            S(f(3, 4), index(2, 5, high=12)),
            S(f(3, 4), index(2, high=3), axis=0),
            S(f(3, 4), index(2, 2, high=4), axis=1),
            S(f(2, 3, 5), index(4, high=5, dtype="uint32"), axis=-1),
            S(f(5), 2),
            S(f(3, 4), -1, axis=1),
            S(f(3, 4), index(0, high=3), axis=0),
            S(f(5), index(high=5, dtype="int64")),
        ],
        lambda a, i, axis=None: np.take(a, i, axis),
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        errors=[
            Bad(S(f(3), v([7], "int32")), OUT, "7.*3"),
            Bad(S(f(3), v([-4], "int32")), OUT, "-4.*3"),
            Bad(S(f(3, 4), v([3], "uint8"), axis=0), OUT, "3.*3"),
            Bad(S(f(3, 4), 3, axis=0), OUT),
            Bad(S(f(3), f(2)), (TypeError, ValueError)),
            Bad(S(f(3), v([0], "int32"), axis=2), (IndexError, ValueError)),
            Bad(S(f(0), v([0], "int32")), (IndexError, ValueError)),
        ],
    ),
    Op(
        "take_along_axis",
        [
            S(f(3, 4), index(3, 2, high=4), axis=1),
            S(f(3, 4), index(5, 4, high=3), axis=0),
            S(f(2, 3, 5), index(2, 3, 1, high=5), axis=-1),
            S(f(3, 4), index(6, high=12), axis=None),
            S(f(3, 4), index(1, 2, high=4), axis=1),
            S(f(3, 4), index(3, 0, high=4), axis=1),
        ],
        lambda a, i, axis=-1: np.take_along_axis(
            a,
            np.broadcast_to(i, (a.shape[0], i.shape[1])) if axis == 1 and i.ndim == 2 else i,
            axis,
        ),
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        errors=[
            Bad(S(f(3, 4), v([[9]], "int32"), axis=1), OUT, "9.*4"),
            Bad(S(f(3, 4), v([[-5]], "int32"), axis=1), OUT, "-5"),
            Bad(S(f(3, 4), index(2, high=3), axis=1), ValueError, r"\[take_along_axis\].*1.*2"),
            Bad(S(f(3, 4), index(3, 1, high=3), axis=4), (IndexError, ValueError)),
            Bad(S(f(3, 4), f(3, 1), axis=1), (TypeError, ValueError)),
        ],
    ),
    Op(
        "put_along_axis",
        [
            S(f(3, 4), v([[0, 2], [1, 3], [3, 0]], "int32"), f(3, 2), axis=1),
            S(f(3, 4), v([[0, 2, 1, 1]], "int32"), f(1, 4), axis=0),
            S(f(3, 4), v([[1], [0], [-1]], "int32"), f(), axis=1),
            S(f(3, 4), v([5, 2, 7], "int32"), f(3), axis=None),
        ],
        put,
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        errors=[
            Bad(S(f(3, 4), v([[9]], "int32"), f(1, 1), axis=1), OUT, "9.*4"),
            Bad(S(f(3, 4), v([1], "int32"), f(1), axis=1), ValueError, r"\[put_along_axis\]"),
            Bad(S(f(3, 4), v([[0]], "int32"), f(1, 1), axis=3), (IndexError, ValueError)),
        ],
    ),
    Op(
        "slice",
        [
            S(f(5, 6), v([1, 2], "int32"), (0, 1), (2, 3)),
            S(f(5, 6), v([3], "int32"), (0,), (1, 6)),
            S(f(5), v([0], "int32"), (0,), (5,)),
        ],
        window,
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        batched=False,
        errors=[
            Bad(S(f(5, 6), v([1, 2], "int32"), (0,), (2, 3)), ValueError, r"\[slice\]"),
            Bad(S(f(5, 6), v([1], "int32"), (4,), (2, 3)), (IndexError, ValueError)),
            Bad(S(f(5, 6), v([1], "int32"), (0,), (7, 6)), ValueError, r"\[slice\]"),
        ],
    ),
    Op(
        "slice_update",
        [
            S(f(5, 6), f(2, 3), v([1, 2], "int32"), (0, 1)),
            S(f(5, 6), f(1, 6), v([3], "int32"), (0,)),
            S(f(5), f(5), v([0], "int32"), (0,)),
        ],
        slice_update,
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        batched=False,
        errors=[Bad(S(f(5, 6), f(2, 3), v([1, 2], "int32"), (0,)), ValueError, r"\[slice_update\]")],
    ),
    Op(
        "getitem[arrays]",
        [
            S(f(4, 5), index(3, high=4), index(3, high=5)),
            S(f(4, 5, 2), index(2, 1, high=4), index(3, high=5)),
        ],
        lambda a, i, j: a[i, j],
        dtypes=ALL,
        diff=True,
        ulp=EXACT,
        call=lambda a, i, j: a[i, j],
        errors=[
            Bad(S(f(4, 5), v([4], "int32"), v([0], "int32")), OUT, "4"),
            Bad(S(f(4, 5), v([0], "int32"), v([-6], "int32")), OUT, "-6"),
        ],
    ),
    Op(
        "at[add]",
        [S(f(4, 5), v([0, 2, 0], "int32"), f(3, 5)), S(f(4), v([1, 1, 1], "int32"), f())],
        lambda a, i, x: _scatter(a, i, x),
        dtypes=FLOATS,
        diff=True,
        cancels=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 2, "float64": 2},
        call=lambda a, i, x: a.at[i].add(x),
        errors=[Bad(S(f(4), v([4], "int32"), f(1)), OUT, "4")],
    ),
    Op(
        "depends",
        [S(f(3, 4), f(2)), S(f(), f())],
        lambda a, b: a,
        dtypes=ALL,
        ulp=EXACT,
        batched=False,
        diff=(0,),
        call=lambda a, b: mx.depends(a, b),
    ),
]


def _scatter(a: Any, i: Any, x: Any) -> np.ndarray:
    out = np.array(a)
    np.add.at(out, i, x)
    return out
