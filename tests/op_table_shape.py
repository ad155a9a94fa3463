"""Rows of the functions that move elements about without computing: shapes, views, joins,
splits, repeats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from op_row import ALL, FLOATS, INTEGERS, Bad, Gen, Op, S, f, v

AXIS = (IndexError, ValueError)


def moving(name: str, samples: list[S], reference: Any, **kw: Any) -> Op:
    """A row whose result holds the operands' own elements: exact for every dtype, linear, so
    always differentiable.
    """
    kw.setdefault("dtypes", ALL)
    kw.setdefault("diff", True)
    kw.setdefault("ulp", dict.fromkeys((*FLOATS, "complex64"), 0))
    return Op(name, samples, reference, **kw)


def normal(axis: int, ndim: int) -> int:
    return axis + ndim if axis < 0 else axis


def flatten(a: Any, start_axis: int = 0, end_axis: int = -1) -> np.ndarray:
    if a.ndim == 0:
        return a.reshape(1)
    s, e = normal(start_axis, a.ndim), normal(end_axis, a.ndim)
    return a.reshape((*a.shape[:s], int(np.prod(a.shape[s : e + 1])), *a.shape[e + 1 :]))


def unflatten(a: Any, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    axis = normal(axis, a.ndim)
    if -1 in shape:
        known = -int(np.prod(shape))
        shape = tuple(a.shape[axis] // known if s == -1 else s for s in shape)
    return a.reshape(a.shape[:axis] + tuple(shape) + a.shape[axis + 1 :])


def pad(a: Any, width: Any, mode: str = "constant", constant_values: Any = 0) -> np.ndarray:
    if isinstance(width, tuple) and len(width) == 1:
        width = width[0]
    more = {"constant_values": constant_values} if mode == "constant" else {}
    return np.pad(a, width, mode=mode, **more)


def atleast(n: int) -> Any:
    def reference(*arrays: Any) -> Any:
        out = [getattr(np, f"atleast_{n}d")(a) for a in arrays]
        return out

    return reference


def as_strided(a: Any, shape: Any = None, strides: Any = None, offset: int = 0) -> np.ndarray:
    flat = np.ascontiguousarray(a).reshape(-1)[offset:]
    shape = a.shape if shape is None else shape
    if strides is None:
        strides = [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    index = np.zeros(shape, int)
    for k, (n, s) in enumerate(zip(shape, strides, strict=True)):
        index += (np.arange(n) * s).reshape([-1 if j == k else 1 for j in range(len(shape))])
    return flat[index]


def squeeze(a: Any, axis: Any = None) -> np.ndarray:
    return np.squeeze(a, axis)


OPS: list[Op] = [
    moving(
        "reshape",
        [
            S(f(3, 4), (2, 6)),
            S(f(3, 4), (-1,)),
            S(f(2, 3, 5), (5, -1, 2)),
            S(f(), (1, 1)),
            S(f(1), ()),
            S(f(0, 4), (2, 0)),
            S(f(12), (3, 4)),
        ],
        np.reshape,
        errors=[
            Bad(S(f(3, 4), (7,)), ValueError, r"\[reshape\].*12.*\(7,?\)"),
            Bad(S(f(3, 4), (5, -1)), ValueError, r"\[reshape\]"),
            Bad(S(f(3, 4), (-1, -1)), ValueError, r"\[reshape\].*one"),
            Bad(S(f(3, 4), (-3, -4)), ValueError, r"\[reshape\]"),
            Bad(S(f(0, 4), (-1, 0)), ValueError, r"\[reshape\]"),
        ],
    ),
    moving(
        "flatten",
        [
            S(f(3, 4)),
            S(f(2, 3, 5), 1),
            S(f(2, 3, 5), 0, 1),
            S(f(2, 3, 5), start_axis=-2),
            S(f()),
            S(f(2, 0)),
        ],
        flatten,
        errors=[Bad(S(f(2, 3), 1, 0), ValueError, r"\[flatten\]"), Bad(S(f(2, 3), 5), AXIS)],
    ),
    moving(
        "unflatten",
        [S(f(12, 2), 0, (3, 4)), S(f(2, 12), -1, (2, -1, 3)), S(f(0, 2), 0, (0, 4))],
        unflatten,
        errors=[
            Bad(S(f(3, 4), 0, (2, 2)), ValueError, r"(?i)\[unflatten\]"),
            Bad(S(f(3, 4), 4, (2, 2)), AXIS),
        ],
    ),
    moving(
        "squeeze",
        [
            S(f(1, 3, 1)),
            S(f(1, 3, 1), 0),
            S(f(1, 3, 1), (0, 2)),
            S(f(2, 1), -1),
            S(f()),
            S(f(1, 0)),
        ],
        squeeze,
        errors=[
            Bad(S(f(3, 4), 0), ValueError, r"\[squeeze\] .*0.*3"),
            Bad(S(f(3, 1), 5), AXIS, "5"),
            Bad(S(f(1, 1), (0, 0)), ValueError),
        ],
    ),
    moving(
        "expand_dims",
        [S(f(3, 4), 0), S(f(3, 4), -1), S(f(3), (0, 2)), S(f(), 0), S(f(0), 1)],
        np.expand_dims,
        errors=[
            Bad(S(f(3, 4), 7), AXIS, r"\[expand_dims\].* 7"),
            Bad(S(f(3), (0, 0)), ValueError, r"\[expand_dims\]"),
        ],
    ),
    moving(
        "transpose",
        [
            S(f(3, 4)),
            S(f(2, 3, 5)),
            S(f(2, 3, 5), (2, 0, 1)),
            S(f(2, 3, 5), axes=(-1, 0, 1)),
            S(f()),
            S(f(0, 3)),
        ],
        np.transpose,
        errors=[
            Bad(S(f(3, 4), (0, 0)), ValueError, r"\[transpose\]"),
            Bad(S(f(3, 4), (0, 5)), AXIS, r"\[transpose\].*5"),
            Bad(S(f(3, 4), (0,)), ValueError, r"\[transpose\]"),
        ],
    ),
    moving(
        "permute_dims",
        [S(f(2, 3, 5)), S(f(2, 3, 5), (1, 2, 0))],
        np.transpose,
        errors=[Bad(S(f(3, 4), (0, 0)), ValueError)],
    ),
    moving(
        "matrix_transpose",
        [S(f(3, 4)), S(f(2, 3, 5))],
        lambda a: np.swapaxes(a, -1, -2),
        errors=[Bad(S(f(3)), ValueError, r"\[matrix_transpose\]")],
    ),
    moving(
        "swapaxes",
        [S(f(3, 4), 0, 1), S(f(2, 3, 5), 0, -1), S(f(2, 0), 1, 1)],
        np.swapaxes,
        errors=[Bad(S(f(3, 4), 0, 5), AXIS, r"\[swapaxes\].* 5"), Bad(S(f(), 0, 0), AXIS)],
    ),
    moving(
        "moveaxis",
        [S(f(3, 4), 0, 1), S(f(2, 3, 5), 0, -1), S(f(2, 3, 5), 2, 0)],
        np.moveaxis,
        errors=[
            Bad(S(f(3, 4), 0, 5), AXIS, r"\[moveaxis\].* 5"),
            Bad(S(f(3, 4), -3, 0), AXIS, r"\[moveaxis\].*-3"),
        ],
    ),
    moving(
        "broadcast_to",
        [S(f(4), (3, 4)), S(f(3, 1), (2, 3, 4)), S(f(), (2, 2)), S(f(1), (0,)), S(f(3), (3,))],
        lambda a, s: np.broadcast_to(a, s).copy(),
        errors=[
            Bad(S(f(3, 4), (2, 2)), ValueError, r"(?s)\[broadcast.*\].*\(3, ?4\).*\(2, ?2\)"),
            Bad(S(f(3, 4), (4,)), ValueError),
            Bad(S(f(1), (-1,)), ValueError),
        ],
    ),
    moving(
        "broadcast_arrays",
        [S(f(4), f(3, 1)), S(f(), f(2, 2)), S(f(3)), S(f(1, 0), f(2, 1))],
        lambda *a: [np.array(x) for x in np.broadcast_arrays(*a)],
        errors=[Bad(S(f(3), f(2)), ValueError)],
    ),
    moving(
        "concatenate",
        [
            S([f(3, 4), f(2, 4)]),
            S([f(3, 4), f(3, 1)], axis=1),
            S([f(2, 3), f(2, 3), f(2, 3)], axis=-1),
            S([f(3)]),
            S([f(0, 2), f(3, 2)]),
            S([f(2), f(4)]),
        ],
        lambda a, axis=0: np.concatenate(a, axis),
        errors=[
            Bad(S([]), ValueError, r"\[concatenate\]"),
            Bad(S([f(3, 4), f(3)]), ValueError, r"\[concatenate\].*2.*1"),
            Bad(S([f(3, 4), f(3, 3)]), ValueError, r"\[concatenate\]"),
            Bad(S([f(3, 4), f(3, 4)], axis=2), AXIS, "2"),
        ],
    ),
    moving(
        "concat",
        [S([f(3, 4), f(2, 4)]), S([f(3, 4), f(3, 1)], axis=1)],
        lambda a, axis=0: np.concatenate(a, axis),
        errors=[Bad(S([]), ValueError)],
    ),
    moving(
        "stack",
        [
            S([f(3, 4), f(3, 4)]),
            S([f(3, 4), f(3, 4)], axis=1),
            S([f(3), f(3), f(3)], axis=-1),
            S([f(), f()]),
            S([f(0)]),
        ],
        lambda a, axis=0: np.stack(a, axis),
        errors=[
            Bad(S([]), ValueError, r"\[stack\]"),
            Bad(S([f(3, 4), f(2, 4)]), ValueError, r"\[stack\].*same shape"),
            Bad(S([f(3), f(3)], axis=4), AXIS, "4"),
        ],
    ),
    moving(
        "split",
        [
            S(f(6, 4), 3),
            S(f(3, 4), 2, axis=1),
            S(f(7, 2), [1, 4]),
            S(f(5), [2, 2, 9]),
            S(f(4, 0), 2),
            S(f(4), [-1]),
        ],
        lambda a, n, axis=0: np.split(a, n, axis),
        errors=[
            Bad(S(f(3, 4), 3, axis=1), ValueError, r"(?s)3.*axis 1.*\(3, ?4\)"),
            Bad(S(f(3, 4), 2, axis=7), AXIS, r"\[split\].* 7"),
            Bad(S(f(4), 0), ValueError),
            Bad(S(f(4), -1), ValueError),
        ],
    ),
    moving(
        "unstack",
        [S(f(3, 4)), S(f(2, 3), axis=1), S(f(2), axis=-1)],
        lambda a, axis=0: [np.take(a, k, axis) for k in range(a.shape[axis])],
        errors=[Bad(S(f(3), axis=2), AXIS), Bad(S(f()), (IndexError, ValueError))],
    ),
    moving(
        "pad",
        [
            S(f(3, 4), 1),
            S(f(3, 4), (1, 2)),
            S(f(3, 4), ((1, 0), (0, 2))),
            S(f(3), (2,)),
            S(f(3, 4), 1, mode="edge"),
            S(f(3, 4), ((1, 2), (0, 1)), mode="edge"),
            S(f(4, 5), 2, mode="reflect"),
            S(f(3, 2), 2, mode="symmetric"),
            S(f(0, 2), 1),
            S(f(2, 2), 0),
        ],
        pad,
        errors=[
            Bad(S(f(3, 4), (-1, 1)), ValueError, r"-1.*axis 0"),
            Bad(S(f(3, 4), ((1, 1),) * 3), ValueError),
            Bad(S(f(3, 4), 1, mode="zzz"), ValueError, "zzz"),
        ],
    ),
    Op(
        "pad[value]",
        [S(f(3, 4), 1, constant_values=v(1.5)), S(f(3), (1, 2), constant_values=v(0.25))],
        lambda a, w, constant_values: np.pad(a, w, constant_values=constant_values),
        dtypes=FLOATS,
        diff=True,
        ulp=dict.fromkeys(FLOATS, 0),
    ),
    moving(
        "tile",
        [
            S(f(3, 4), 2),
            S(f(3, 4), (2, 1)),
            S(f(3), (2, 2)),
            S(f(), 3),
            S(f(2, 3), (2, 1, 2)),
            S(f(2), 0),
            S(f(2, 3), (1, 1)),
        ],
        np.tile,
        errors=[Bad(S(f(3, 4), -1), ValueError)],
    ),
    moving(
        "repeat",
        [
            S(f(3, 4), 2),
            S(f(3, 4), 2, axis=0),
            S(f(2, 3, 2), 3, axis=-2),
            S(f(), 2),
            S(f(3), 0),
            S(f(3), 1),
        ],
        np.repeat,
        errors=[
            Bad(S(f(3), -1), ValueError, r"\[repeat\]"),
            Bad(S(f(3, 4), 2, axis=9), AXIS, r"\[repeat\].* 9"),
        ],
    ),
    moving(
        "roll",
        [
            S(f(3, 4), 1),
            S(f(3, 4), -1, 0),
            S(f(3, 4), (1, 2), (0, 1)),
            S(f(3, 4), 9, 1),
            S(f(0), 1, 0),
            S(f(5), 2, -1),
            S(f(2, 3), 1, (0, 1)),
            S(f(3, 4), shift=2, axis=-1),
        ],
        np.roll,
        errors=[Bad(S(f(3, 4), 1, 5), AXIS), Bad(S(f(3, 4), (1, 2, 3), (0, 1)), ValueError)],
    ),
    moving(
        "flip",
        [S(f(3, 4)), S(f(3, 4), 0), S(f(2, 3, 5), (0, -1)), S(f()), S(f(0, 2), 1)],
        np.flip,
        errors=[Bad(S(f(3, 4), 5), AXIS)],
    ),
    moving(
        "meshgrid",
        [
            S(f(3), f(4)),
            S(f(3), f(4), indexing="ij"),
            S(f(3), f(4), sparse=True),
            S(f(2), f(3), f(2)),
            S(f(3)),
        ],
        lambda *a, **kw: [np.array(x) for x in np.meshgrid(*a, **kw)],
        errors=[Bad(S(f(3), f(2), indexing="zz"), ValueError, "zz|indexing")],
    ),
    moving(
        "tril",
        [S(f(3, 4)), S(f(3, 4), 1), S(f(3, 4), k=-1), S(f(2, 3, 3)), S(f(3, 3), -9), S(f(0, 3))],
        np.tril,
        errors=[Bad(S(f(3)), ValueError)],
    ),
    moving(
        "triu",
        [S(f(3, 4)), S(f(3, 4), 1), S(f(3, 4), k=-1), S(f(2, 3, 3)), S(f(3, 3), 9), S(f(0, 3))],
        np.triu,
        errors=[Bad(S(f(3)), ValueError)],
    ),
    moving(
        "diag",
        [S(f(3)), S(f(3), 1), S(f(3), k=-2), S(f(3, 4)), S(f(3, 4), 1), S(f(4, 3), -1)],
        np.diag,
        errors=[
            Bad(S(f(2, 2, 2)), ValueError, r"\[diag\].* 3 "),
            Bad(S(f()), ValueError, r"\[diag\]"),
        ],
    ),
    moving(
        "diagonal",
        [
            S(f(3, 4)),
            S(f(3, 4), 1),
            S(f(2, 3, 4), 0, 1, 2),
            S(f(2, 3, 4), offset=-1, axis1=2, axis2=0),
            S(f(3, 3), 7),
        ],
        lambda a, offset=0, axis1=0, axis2=1: np.diagonal(a, offset, axis1, axis2).copy(),
        errors=[
            Bad(S(f(3)), ValueError, r"\[diagonal\]"),
            Bad(S(f(3, 3), 0, 1, 1), ValueError, r"\[diagonal\]"),
            Bad(S(f(3, 3), 0, 0, 5), AXIS),
        ],
    ),
    moving(
        "as_strided",
        [
            S(f(3, 4), (2, 2), (4, 1), 1),
            S(f(12), (4, 3), (2, 2)),
            S(f(6), (3,), (0,), 2),
            S(f(12), (3, 4)),
            S(f(3, 4)),
            S(f(4), (0,), (1,)),
        ],
        as_strided,
        batched=True,
        errors=[
            Bad(S(f(3, 4), (2, 2), (1,)), ValueError, r"\[as_strided\]"),
            Bad(S(f(3, 4), (2, 2), (100, 1), 0), ValueError, r"\[as_strided\]"),
            Bad(S(f(3, 4), (2,), (-1,), 0), ValueError, r"\[as_strided\]"),
        ],
    ),
    moving(
        "contiguous",
        [S(f(3, 4)), S(f()), S(f(2, 0)), S(f(3, 4), allow_col_major=True)],
        lambda a, allow_col_major=False: a,
    ),
    moving("atleast_1d", [S(f()), S(f(3)), S(f(2, 3)), S(f(), f(3))], atleast(1)),
    moving("atleast_2d", [S(f()), S(f(3)), S(f(2, 3)), S(f(), f(3))], atleast(2)),
    moving("atleast_3d", [S(f()), S(f(3)), S(f(2, 3)), S(f(), f(3), f(2, 2, 2, 2))], atleast(3)),
    moving(
        "diff",
        [S(f(5)), S(f(3, 4), 1, 0), S(f(3, 4), n=2), S(f(4), 0), S(f(2, 3), axis=0), S(f(2), n=3)],
        lambda a, n=1, axis=-1: np.diff(a, n, axis),
        dtypes=INTEGERS + FLOATS,
        ulp={"float16": 1, "bfloat16": 1, "float32": 1, "float64": 1},
        eps={"float16": 2, "bfloat16": 2, "float32": 2, "float64": 2},
        errors=[
            Bad(S(f(3), -1), ValueError, r"\[diff\]"),
            Bad(S(f(3), 1, 4), AXIS),
            Bad(S(f()), (ValueError, IndexError)),
        ],
    ),
]

assert all(isinstance(g, Gen) for op in OPS for s in op.samples for g in s.leaves())
