"""Rows of mx.linalg's rank, least squares, functions and products of matrices."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import scipy.linalg
from op_row import Bad, Gen, Op, S, f, inf, v
from op_table_linalg import NUMBERS, double, in_double

CLOSE = {"float32": 16, "float64": 64, "complex64": 16}


def heavy(*shape: int) -> Gen:
    """To which a diagonal is added that keeps it from being singular."""
    return f(*shape, low=0.0, high=1.0)


def regular(a: Any, xp: Any) -> Any:
    return a + 2 * xp.eye(a.shape[-2], a.shape[-1], dtype=a.dtype) if a.ndim > 1 else a


def on_regular(name: str, reference: Any) -> dict[str, Any]:
    function = getattr(mx.linalg, name)
    return {
        "reference": lambda a, *args, **kw: reference(regular(double(a), np), *args, **kw),
        "call": lambda a, *args, **kw: function(regular(a, mx), *args, **kw),
    }


def least_squares(a: Any, b: Any, **kw: Any) -> Any:
    x = np.linalg.pinv(a) @ b
    rest = a @ x - b
    squares = np.sqrt(np.real(rest * np.conj(rest)).sum(0, keepdims=b.ndim == 1) + 1)
    return x, squares, np.linalg.svd(a, compute_uv=False)


def mx_least_squares(a: mx.array, b: mx.array, **kw: Any) -> Any:
    x, rest, _, values = mx.linalg.lstsq(regular(a, mx), b, **kw)
    return x, mx.sqrt(rest + 1), values  # rounding errors of a residual that is zero are no matter


def batched_expm(a: Any) -> Any:
    return scipy.linalg.expm(double(a))


def square_only(name: str) -> list[Bad]:
    return [
        Bad(S(f(2, 3)), ValueError, rf"\[linalg.{name}\].*\(2,3\)"),
        Bad(S(f(3)), ValueError, rf"\[linalg.{name}\]"),
    ]


RANKS = v([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])

OPS: list[Op] = [
    Op(
        "linalg.matrix_rank",
        [
            S(RANKS),
            S(RANKS, 3.0),
            S(RANKS, v([0.5, 2.0, 0.5])),
            S(RANKS, rtol=0.1),
            S(RANKS, hermitian=True),
            S(f(2, 5, 3)),
        ],
        in_double(np.linalg.matrix_rank),
        dtypes=NUMBERS,
        errors=[
            Bad(S(f(3)), ValueError, r"\[linalg.matrix_rank\].*\(3\)"),
            Bad(S(f(3, 3), 1.0, rtol=1.0), ValueError, r"\[linalg.matrix_rank\].*tol"),
        ],
    ),
    Op(
        "linalg.cond",
        [
            S(heavy(3, 3)),
            S(heavy(2, 4, 4), 1),
            S(heavy(3, 5)),
            *(S(heavy(3, 3), p) for p in (-2, "fro", inf, -1, "nuc")),
        ],
        **on_regular("cond", np.linalg.cond),
        dtypes=NUMBERS,
        diff=True,
        eps=CLOSE,
        errors=[
            Bad(S(f(2, 3), 1), ValueError, r"\[linalg.cond\].*\(2,3\)"),
            Bad(S(f(3)), ValueError, r"\[linalg.cond\]"),
            Bad(S(f(2, 2), 3), ValueError, r"\[linalg.norm\].*3"),
            Bad(S(f(2, 2), [1]), TypeError, "cond"),
        ],
    ),
    Op(
        "linalg.cond[singular]",
        [S(v([[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 1.0]]]), p) for p in (1, "fro", inf)],
        lambda a, p: np.array([inf, np.linalg.cond(double(a[1]), p)]),
        dtypes=NUMBERS,
        eps=CLOSE,
    ),
    Op(
        "linalg.lstsq",
        [S(heavy(5, 3), f(5)), S(heavy(5, 3), f(5, 2)), S(heavy(3, 5), f(3)), S(heavy(4, 4), f(4, 3), rcond=1e-4)],
        lambda a, b, **kw: least_squares(regular(double(a), np), double(b)),
        call=mx_least_squares,
        dtypes=NUMBERS,
        diff=True,
        eps={"float32": 64, "float64": 256, "complex64": 64},
        errors=[
            Bad(S(f(3, 2), f(4)), ValueError, r"\[linalg.lstsq\].*\(3,2\).*\(4\).*3 rows"),
            Bad(S(f(3), f(3)), ValueError, r"\[linalg.lstsq\]"),
        ],
    ),
    Op(
        "linalg.lstsq[cut]",
        [S(v(np.diag([4.0, 2.0, 0.01])), v([1.0, 2.0, 3.0]), rcond=0.1), S(v(np.ones((3, 2))), v([1.0, 2.0, 6.0]))],
        lambda a, b, rcond=None: [
            np.linalg.pinv(double(a), rcond or 1e-6) @ b,
            np.array(np.linalg.matrix_rank(double(a), tol=0.1)),
        ],
        call=lambda a, b, rcond=None: [mx.linalg.lstsq(a, b, rcond)[i] for i in (0, 2)],
        dtypes=NUMBERS,
        eps=CLOSE,
    ),
    Op(
        "linalg.svdvals",
        [S(f(3, 3)), S(f(2, 4, 3)), S(f(2, 5))],
        in_double(lambda a: np.linalg.svd(a, compute_uv=False)),
        dtypes=NUMBERS,
        diff=True,
        eps={"float32": 8, "float64": 16, "complex64": 16},
    ),
    Op(
        "linalg.matrix_power",
        [S(heavy(3, 3), n) for n in (0, 1, 2, 3, 5, 8, -1, -3)] + [S(heavy(2, 3, 3), 3)],
        **on_regular("matrix_power", np.linalg.matrix_power),
        dtypes=NUMBERS,
        diff=True,
        eps=CLOSE,
        errors=[
            Bad(S(f(2, 3), 2), ValueError, r"\[linalg.matrix_power\].*\(2,3\)"),
            Bad(S(f(3, 3), 1.5), TypeError, ""),
        ],
    ),
    Op(
        "linalg.expm",
        [
            S(f(3, 3)),
            S(f(2, 4, 4, low=-3.0, high=3.0)),
            S(f(1, 1)),
            S(v([[0.0, 5.0], [-5.0, 0.0]])),
            S(v(np.zeros((3, 3)))),
        ],
        batched_expm,
        dtypes=("float32", "float64", "complex64"),
        diff=True,
        eps={"float32": 32, "float64": 64, "complex64": 64},
        errors=square_only("expm"),
    ),
    Op(
        "linalg.multi_dot",
        [
            S([f(3, 4), f(4, 2)]),
            S([f(3, 4), f(4, 2), f(2, 5), f(5, 1)]),
            S([f(3), f(3, 2), f(2)]),
            S([f(3, 4), f(4, 2), f(2)]),
        ],
        lambda xs: np.linalg.multi_dot([double(x) for x in xs]),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps=CLOSE,
        errors=[
            Bad(S([f(3, 4)]), ValueError, r"\[linalg.multi_dot\].*1"),
            Bad(S([f(3, 4), f(3, 4)]), ValueError, r"\[linalg.multi_dot\].*\(3,4\).*\(3,4\)"),
            Bad(S([f(3, 4), f(4), f(4)]), ValueError, r"\[linalg.multi_dot\].*\(4\)"),
        ],
    ),
    Op(
        "linalg.trace",
        [S(f(3, 3)), S(f(2, 3, 4), offset=1), S(f(2, 4, 3), offset=-1)],
        lambda a, offset=0: np.trace(a, offset, -2, -1),
        dtypes=("int32", *NUMBERS),
        diff=True,
        eps={"float32": 4, "float64": 8, "complex64": 8},
        errors=[Bad(S(f(3)), (IndexError, ValueError), "trace|diagonal")],
    ),
    Op(
        "linalg.diagonal",
        [S(f(3, 3)), S(f(2, 3, 4), offset=1)],
        lambda a, offset=0: np.diagonal(a, offset, -2, -1),
        dtypes=("int32", "float32", "complex64"),
        diff=True,
    ),
    Op(
        "linalg.vecdot",
        [S(f(3, 4), f(3, 4)), S(f(4), f(3, 4)), S(f(3, 4), f(3, 4), axis=0)],
        lambda a, b, axis=-1: np.sum(np.conj(a) * b, axis),
        dtypes=("float32", "float64", "complex64"),
        diff=True,
        eps={"float32": 4, "float64": 8, "complex64": 8},
        cancels=True,
    ),
    Op(
        "linalg.vector_norm",
        [S(f(3, 4)), S(f(2, 3, 4), axis=(0, 2), ord=1), S(f(3, 4), axis=1, keepdims=True, ord=3)]
        + [S(f(5), ord=o) for o in (inf, -inf, 0)],
        lambda x, axis=None, keepdims=False, ord=2: np.linalg.vector_norm(
            double(x), axis=axis, keepdims=keepdims, ord=ord
        ),
        dtypes=NUMBERS,
        eps={"float32": 8, "float64": 16, "complex64": 16},
    ),
    Op(
        "linalg.matrix_norm",
        [S(f(3, 4)), S(f(2, 3, 4), ord=1), S(f(3, 3), keepdims=True, ord=2), S(f(3, 3), ord="nuc")],
        lambda x, keepdims=False, ord="fro": np.linalg.matrix_norm(
            double(x), keepdims=keepdims, ord=ord
        ),
        dtypes=NUMBERS,
        eps={"float32": 8, "float64": 16, "complex64": 16},
        errors=[Bad(S(f(3)), ValueError, r"\[linalg.matrix_norm\].*1"), Bad(S(f(3, 3), ord="x"), ValueError, "x")],
    ),
]
