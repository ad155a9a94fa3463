"""Rows of the products of vectors and matrices."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from op_row import COMPLEX, FLOATS, REALS, Bad, Op, S, f

# a dot product of n terms: float32 sums in blocks, f16 and bf16 are rounded once
DOT = {"float16": 1, "bfloat16": 1, "float32": 8, "float64": 16, "complex64": 16}
INEXACT = FLOATS + COMPLEX


def product(name: str, samples: list[S], reference: Any, **kw: Any) -> Op:
    return Op(
        name,
        samples,
        reference,
        **{
            "dtypes": INEXACT,
            "diff": True,
            "smooth": True,
            "eps": DOT,
            "keeps_bits": False,
            "cancels": True,
            **kw,
        },
    )


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    return np.tensordot(a, b, axes)


OPS: list[Op] = [
    product(
        "matmul",
        [
            S(f(3, 4), f(4, 5)),
            S(f(4), f(4, 5)),
            S(f(3, 4), f(4)),
            S(f(4), f(4)),
            S(f(2, 3, 4), f(4, 5)),
            S(f(2, 3, 4), f(2, 4, 5)),
            S(f(2, 1, 3, 4), f(3, 4, 2)),
            S(f(1, 1), f(1, 1)),
            S(f(3, 0), f(0, 2)),
            S(f(0, 3), f(3, 2)),
            S(f(17, 33), f(33, 9)),
            S(f(1, 70), f(70, 65)),
            S(f(65, 70), f(70, 1)),
            S(f(0, 2, 3), f(3, 2)),
        ],
        np.matmul,
        errors=[
            Bad(S(f(3, 4), f(5, 6)), ValueError, r"(?s)\[matmul\].*4.*5"),
            Bad(S(f(3), f()), ValueError, r"\[matmul\]"),
            Bad(S(f(2, 3, 4), f(3, 4, 5)), ValueError),
            Bad(S(f(3, 4), "a"), (TypeError, ValueError)),
        ],
    ),
    product(
        "addmm",
        [
            S(f(3, 5), f(3, 4), f(4, 5)),
            S(f(5), f(3, 4), f(4, 5), alpha=2.0, beta=0.5),
            S(f(), f(2, 3), f(3, 2)),
            S(f(3, 1), f(3, 4), f(4, 2), 0.5),
            S(f(2, 3, 2), f(2, 3, 4), f(2, 4, 2)),
            S(f(3, 5), f(3, 4), f(4, 5), beta=0.0),
            S(f(2, 2), f(2, 0), f(0, 2)),
        ],
        lambda c, a, b, alpha=1.0, beta=1.0: alpha * np.matmul(a, b) + beta * c,
        dtypes=FLOATS,
        errors=[
            Bad(S(f(3), f(3, 4), f(3, 4)), ValueError, r"\[addmm\]"),
            Bad(S(f(7), f(3, 4), f(4, 5)), ValueError),
        ],
    ),
    product(
        "inner",
        [S(f(4), f(4)), S(f(3, 4), f(5, 4)), S(f(2, 3, 4), f(4)), S(f(), f(3)), S(f(0), f(0))],
        np.inner,
        errors=[Bad(S(f(3, 4), f(3)), ValueError, r"\[inner\]")],
    ),
    product("outer", [S(f(3), f(4)), S(f(2, 3), f(2)), S(f(), f(2)), S(f(0), f(2))], np.outer),
    product(
        "tensordot",
        [
            S(f(3, 4), f(4, 5), axes=1),
            S(f(2, 3, 4), f(3, 4, 2)),
            S(f(2, 3), f(4), axes=0),
            S(f(3, 4, 2), f(4, 3), axes=((0, 1), (1, 0))),
            S(f(3), f(3), 1),
        ],
        tensordot,
        errors=[
            Bad(S(f(3, 4), f(3, 4), axes=1), ValueError, r"\[tensordot\]"),
            Bad(S(f(3), f(3), axes=3), ValueError, r"\[tensordot\]"),
            Bad(S(f(3), f(3), axes=-1), ValueError),
        ],
    ),
    product(
        "einsum",
        [
            S("ij,jk->ik", f(3, 4), f(4, 5)),
            S("ij->ji", f(3, 4)),
            S("ii->i", f(3, 3)),
            S("ii", f(3, 3)),
            S("ij->", f(3, 4)),
            S("i,j->ij", f(3), f(4)),
            S("bij,bjk->bik", f(2, 3, 4), f(2, 4, 5)),
            S("...ij,...jk->...ik", f(2, 3, 4), f(2, 4, 2)),
            S("ij,jk,kl->il", f(2, 3), f(3, 4), f(4, 2)),
            S("ij,ij->i", f(3, 4), f(3, 4)),
            S("bhqd,bhkd->bhqk", f(1, 2, 3, 4), f(1, 2, 5, 4)),
            S("ij,jk", f(3, 4), f(4, 2)),
            S("ba", f(2, 3)),
            S("ij,kj->ik", f(0, 2), f(3, 2)),
        ],
        lambda s, *a: np.einsum(s, *a),
        errors=[
            Bad(S("ij,jk", f(3, 4), f(3, 4)), ValueError, r"\[einsum\]"),
            Bad(S("ij", f(3)), ValueError, r"\[einsum\]"),
            Bad(S("i,j->ij", f(3)), ValueError, r"\[einsum\]"),
            Bad(S("i$->i", f(3)), ValueError),
            Bad(S("ij->ik", f(3, 4)), ValueError),
        ],
    ),
    product(
        "kron",
        [
            S(f(2, 3), f(3, 2)),
            S(f(3), f(2)),
            S(f(2, 2), f(3)),
            S(f(), f(3)),
            S(f(2, 1, 2), f(1, 3, 2)),
            S(f(9, 8), f(17, 16)),
            S(f(2, 20, 20), f(20, 3)),
        ],
        np.kron,
        dtypes=REALS + COMPLEX,
        eps={"float16": 1, "bfloat16": 1, "float32": 1, "float64": 1, "complex64": 4},
    ),
    product(
        "vecdot",
        [
            S(f(3, 4), f(3, 4)),
            S(f(4), f(4)),
            S(f(3, 4), f(4)),
            S(f(3, 4), f(3, 4), axis=0),
            S(f(0), f(0)),
        ],
        lambda a, b, axis=-1: np.sum(np.conj(np.moveaxis(a, axis, -1)) * np.moveaxis(b, axis, -1), -1),
        errors=[
            Bad(S(f(3), f(4)), ValueError),
            Bad(S(f(3), f(3), axis=3), (IndexError, ValueError)),
        ],
    ),
    product(
        "trace",
        [S(f(3, 4)), S(f(3, 3), 1), S(f(2, 3, 4), 0, 1, 2), S(f(3, 3), offset=-1)],
        lambda a, offset=0, axis1=0, axis2=1: np.trace(a, offset, axis1, axis2),
        smooth=False,
        eps={"float16": 1, "bfloat16": 1, "float32": 2, "float64": 2, "complex64": 4},
        errors=[Bad(S(f(3)), ValueError, r"\[trace\]")],
    ),
    product(
        "hadamard_transform",
        [
            S(f(4)),
            S(f(3, 8)),
            S(f(2, 16), scale=0.5),
            S(f(12)),
            S(f(2, 24)),
            S(f(40)),
            S(f(2, 28)),
            S(f(2, 3, 256)),
            S(f(1)),
        ],
        lambda a, scale=None: a @ hadamard(a.shape[-1]) * (a.shape[-1] ** -0.5 if scale is None else scale),
        dtypes=("float16", "bfloat16", "float32", "float64"),
        smooth=False,
        eps={"float16": 4, "bfloat16": 4},
        errors=[Bad(S(f(7)), ValueError, r"\[hadamard(_transform)?\]"), Bad(S(f()), ValueError)],
    ),
]


def hadamard(n: int) -> np.ndarray:
    """The matrix of order 12, 20 or 28, found by transforming unit vectors, times Sylvester's matrix
    of a power of two.
    """
    h = np.ones((1, 1))
    for odd in (3, 5, 7):
        if n % odd == 0:
            m = 4 * odd
            h = np.array(mx.hadamard_transform(mx.eye(m), scale=1.0))
            assert set(np.unique(h)) == {-1.0, 1.0} and np.array_equal(h @ h.T, m * np.eye(m))
            n //= m
    while n > 1:
        h, n = np.kron(h, np.array([[1, 1], [1, -1]])), n // 2
    return h
