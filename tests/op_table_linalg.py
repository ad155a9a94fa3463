"""Rows of mx.linalg's factorizations and solvers."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import Bad, Op, S, f

REAL = ("float32", "float64")


def in_double(function: Any) -> Any:
    """LAPACK knows no longer type."""

    def call(*args: Any, **kw: Any) -> Any:
        return function(*(a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args), **kw)

    return call


def qr(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q, r = np.linalg.qr(a)
    return q, r


def triangular(a: np.ndarray, b: np.ndarray, upper: bool = False) -> np.ndarray:
    a = np.triu(a) if upper else np.tril(a)
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim == 1 else np.linalg.solve(a, b)


def mirrored(a: np.ndarray, triangle: str) -> np.ndarray:
    one = np.tril(a) if triangle == "L" else np.triu(a)
    return one + np.swapaxes(one, -1, -2) - one * np.eye(a.shape[-1])


def projected(a: np.ndarray, triangle: str = "L") -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, and what does not depend on the signs of the vectors: their squares."""
    w, v = np.linalg.eigh(mirrored(a, triangle))
    return w, v * v


def mx_projected(a: mx.array, triangle: str = "L") -> tuple[mx.array, mx.array]:
    w, v = mx.linalg.eigh(a, triangle)
    return w, v * v


def diagonal_heavy(*shape: int) -> Any:
    """Far from singular: all elements are positive, and small beside 1."""
    return f(*shape, low=0.5, high=1.0)


OPS: list[Op] = [
    Op(
        "linalg.qr",
        [
            S(f(4, 3)),
            S(f(3, 4)),
            S(f(3, 3)),
            S(f(2, 3, 5, 2)),
            S(f(1, 1)),
            S(f(2, 0, 3)),
            S(f(3, 0)),
            S(f(70, 40)),
        ],
        in_double(qr),
        dtypes=REAL,
        diff=True,
        smooth=True,
        eps={"float32": 64, "float64": 256},
        keeps_bits=False,
        errors=[
            Bad(S(f(3)), ValueError, r"\[linalg.qr\].* 1 "),
            Bad(S(f(3, 3)), ValueError, r"\[linalg.qr\].*float16", dtype="float16"),
        ],
    ),
    Op(
        "linalg.eigvalsh",
        [S(f(3, 3)), S(f(4, 4), "U"), S(f(2, 3, 3)), S(f(1, 1)), S(f(0, 0)), S(f(40, 40))],
        in_double(lambda a, triangle="L": np.linalg.eigvalsh(mirrored(a, triangle))),
        dtypes=REAL,
        diff=True,
        smooth=True,
        eps={"float32": 8, "float64": 64},
        keeps_bits=False,
        errors=[
            Bad(S(f(3, 4)), ValueError, r"\[linalg.eigvalsh\].*\(3, ?4\)"),
            Bad(S(f(3, 3), "X"), ValueError, r"\[linalg.eigvalsh\].*X"),
        ],
    ),
    Op(
        "linalg.eigh",
        [S(f(3, 3)), S(f(4, 4), "U"), S(f(2, 3, 3)), S(f(1, 1)), S(f(0, 3, 3)), S(f(12, 12))],
        in_double(projected),
        call=mx_projected,
        dtypes=REAL,
        diff=True,
        smooth=True,
        eps={"float32": 64, "float64": 1024},
        keeps_bits=False,
        errors=[
            Bad(S(f(3)), ValueError, r"\[linalg.eigh\].* 1 "),
            Bad(S(f(3, 3)), ValueError, r"\[linalg.eigh\].*float16", dtype="float16"),
        ],
    ),
    Op(
        "linalg.solve_triangular",
        [
            S(diagonal_heavy(3, 3), f(3)),
            S(diagonal_heavy(3, 3), f(3, 2)),
            S(diagonal_heavy(3, 3), f(3, 2), upper=True),
            S(diagonal_heavy(2, 4, 4), f(4, 3)),
            S(diagonal_heavy(4, 4), f(2, 4, 1), upper=True),
            S(diagonal_heavy(2, 1, 2, 2), f(3, 2, 2)),
            S(f(0, 0), f(0, 3)),
            S(diagonal_heavy(5, 5), f(5, 130)),
        ],
        in_double(triangular),
        dtypes=REAL,
        diff=True,
        smooth=True,
        eps={"float32": 64, "float64": 256},
        keeps_bits=False,
        errors=[
            Bad(S(f(3, 4), f(3)), ValueError, r"\[linalg.solve_triangular\].*\(3, ?4\)"),
            Bad(S(f(3, 3), f(4)), ValueError, r"\[linalg.solve_triangular\].*\(4\)"),
            Bad(S(f(3, 3), f()), ValueError, r"\[linalg.solve_triangular\]"),
            Bad(S(f(3, 3, low=0, high=0), f(3)), ValueError, "singular"),
        ],
    ),
]
