"""Rows of mx.linalg's factorizations and solvers."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import scipy.linalg
from op_row import Bad, Op, S, f, v

REAL = ("float32", "float64")
NUMBERS = (*REAL, "complex64")


def double(a: Any) -> np.ndarray:
    """LAPACK knows no longer type."""
    return np.asarray(a, np.complex128 if np.iscomplexobj(a) else np.float64)


def in_double(function: Any) -> Any:
    def call(*args: Any, **kw: Any) -> Any:
        return function(*(double(a) if isinstance(a, np.ndarray) else a for a in args), **kw)

    return call


def cross(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """NumPy deprecates vectors of two elements: they lie in the plane."""
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    flat = a.shape[-1] == b.shape[-1] == 2
    a, b = (np.concatenate([x, 0 * x[..., :1]], -1) if x.shape[-1] == 2 else x for x in (a, b))
    c = np.cross(a, b)
    return c[..., 2] if flat else np.moveaxis(c, -1, axis)


def adjoint(a: Any, xp: Any = np) -> Any:
    return xp.conj(xp.swapaxes(a, -1, -2))


def qr(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q, r = np.linalg.qr(a)
    return q, r


def qr_upwards(xp: Any) -> Any:
    """With a positive diagonal: which sign a complex number is given is a choice."""

    def run(a: Any) -> Any:
        q, r = xp.linalg.qr(a)
        k = min(a.shape[-2:])
        sign = xp.sign(xp.real(xp.diagonal(r[..., :, :k], 0, -2, -1)))
        return q * sign[..., None, :], r * sign[..., :, None]

    return run


def triangular(a: np.ndarray, b: np.ndarray, upper: bool = False) -> np.ndarray:
    a = np.triu(a) if upper else np.tril(a)
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim == 1 else np.linalg.solve(a, b)


def mirrored(a: np.ndarray, triangle: str) -> np.ndarray:
    one = np.tril(a) if triangle == "L" else np.triu(a)
    return one + adjoint(one) - np.conj(one) * np.eye(a.shape[-1])


def hermitian_mirrored(a: np.ndarray, triangle: str) -> np.ndarray:
    """The imaginary parts on the diagonal are not looked at."""
    both = mirrored(a, triangle)
    return both - 1j * np.imag(both) * np.eye(a.shape[-1]) if np.iscomplexobj(a) else both


def projected(a: np.ndarray, triangle: str = "L") -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, and what does not depend on the phases of the vectors: the squares of moduli."""
    w, v = np.linalg.eigh(hermitian_mirrored(a, triangle))
    return w, np.real(v * np.conj(v))


def mx_projected(a: mx.array, triangle: str = "L") -> tuple[mx.array, mx.array]:
    w, v = mx.linalg.eigh(a, triangle)
    return w, mx.real(v * mx.conj(v))


def diagonal_heavy(*shape: int) -> Any:
    """Far from singular: all elements are positive, and small beside 1."""
    return f(*shape, low=0.5, high=1.0)


def definite(a: Any, xp: Any = np) -> Any:
    """A positive definite matrix for any."""
    if a.ndim < 2:
        return a
    return a @ adjoint(a, xp) + 2 * xp.eye(a.shape[-1], dtype=a.dtype)


def lu(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L and U of matrices whose rows are exchanged for the largest pivots, and multiplied again."""
    if a.ndim > 2:
        parts = [lu(x) for x in a]
        return tuple(np.stack([x[i] for x in parts]) for i in range(2))
    p, lower, upper = scipy.linalg.lu(a)
    return p @ lower, upper


def mx_lu(a: mx.array) -> tuple[mx.array, mx.array]:
    p, lower, upper = mx.linalg.lu(a)
    rows = mx.broadcast_to(p[..., None], (*p.shape, lower.shape[-1]))
    return mx.take_along_axis(lower, rows, -2), upper


def squares(u: Any, s: Any, vt: Any, rows: int, columns: int) -> Any:
    """What does not depend on the phases of vectors, nor on the choice of a basis beside them."""
    k = min(rows, columns)
    xp = mx if isinstance(u, mx.array) else np
    u, vt = u[..., :, :k], vt[..., :k, :]
    return xp.real(u * xp.conj(u)), s, xp.real(vt * xp.conj(vt))


def eigen_parts(xp: Any) -> Any:
    def run(a: Any) -> Any:
        w, v = xp.linalg.eig(a)
        # Sums over all pairs depend on no order; powers and projections on no phases.
        modulus = xp.real(v) * xp.real(v) + xp.imag(v) * xp.imag(v)
        w = w[..., None, :]
        parts = xp.real(w * w * w), xp.real(w), xp.imag(w) * xp.imag(w)
        return tuple(xp.sum(modulus * p, -1) for p in parts)

    return run


def hermitian_parts(xp: Any) -> Any:
    """Of a Hermitian matrix whose parts are given: eigenvalues, and the moduli of the vectors."""

    def run(a: Any, triangle: str = "L") -> Any:
        x = a[0] + 1j * a[1]
        if xp is np:
            one = np.tril(x, -1) if triangle == "L" else np.triu(x, 1)
            diagonal = np.real(x) * np.eye(x.shape[-1])
            x = one + np.conj(np.swapaxes(one, -1, -2)) + diagonal
        w, v = xp.linalg.eigh(x, triangle)
        return w, xp.real(v) * xp.real(v) + xp.imag(v) * xp.imag(v)

    return run


def complex_svd_parts(xp: Any) -> Any:
    """Of a complex matrix whose parts are given: singular values, and the product U V^H."""

    def run(a: Any) -> Any:
        u, s, vt = xp.linalg.svd(a[0] + 1j * a[1])
        k = s.shape[-1]
        p = u[..., :, :k] @ vt[..., :k, :]
        return s, xp.real(p), xp.imag(p)

    return run


def eigenvalue_parts(xp: Any) -> Any:
    def run(a: Any) -> Any:
        w = xp.linalg.eigvals(a)
        return tuple(xp.real(xp.sum(w**p, -1)) for p in (1, 2, 3))

    return run


SQUARE = [S(f(3, 3)), S(f(1, 1)), S(f(2, 4, 4)), S(f(0, 3, 3)), S(f(20, 20))]
LOWER = [S(diagonal_heavy(3, 3)), S(diagonal_heavy(2, 4, 4)), S(diagonal_heavy(3, 3), True)]
MATRICES = [S(f(3, 3)), S(f(4, 2)), S(f(2, 4)), S(f(2, 3, 4)), S(f(1, 1)), S(f(3, 1))]


def factorization(name: str, samples: list[S], reference: Any, call: Any = None, eps: int = 64, **kw: Any) -> Op:
    function = name.split("[")[0]
    return Op(
        f"linalg.{name}",
        samples,
        in_double(reference),
        call=call,
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": eps, "float64": 4 * eps, "complex64": eps},
        keeps_bits=False,
        errors=[
            Bad(S(f(3)), ValueError, rf"\[linalg.{function}\].* 1 "),
            Bad(S(f(3, 3)), ValueError, rf"\[linalg.{function}\].*float16", dtype="float16"),
            *kw.pop("errors", []),
        ],
        **kw,
    )


def square_only(name: str) -> Bad:
    return Bad(S(f(3, 4)), ValueError, rf"\[linalg.{name}\].*\(3, ?4\)")


def singular(name: str) -> Bad:
    return Bad(S(f(3, 3, low=0, high=0)), ValueError, rf"\[linalg.{name}\].*singular")


FACTORIZATIONS = [
    factorization(
        "cholesky",
        [S(f(3, 3)), S(f(2, 4, 4)), S(f(1, 1)), S(f(70, 70)), S(f(3, 3), upper=True)],
        lambda a, upper=False: np.linalg.cholesky(definite(a), upper=upper),
        lambda a, upper=False: mx.linalg.cholesky(definite(a, mx), upper),
        eps=256,
    ),
    Op(
        "linalg.cholesky[triangle]",
        [S(v([[4.0, 9.0], [1.0, 3.0]])), S(v([[4.0, 1.0], [9.0, 3.0]]), upper=True)],
        in_double(lambda a, upper=False: np.linalg.cholesky(mirrored(a, "LU"[upper]), upper=upper)),
        call=mx.linalg.cholesky,
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 8, "float64": 8, "complex64": 8},
        keeps_bits=False,
        errors=[
            square_only("cholesky"),
            Bad(S(f(3, 3, low=-1, high=-1)), ValueError, r"\[linalg.cholesky\].*definite"),
        ],
    ),
    factorization(
        "cholesky_inv",
        LOWER,
        lambda a, upper=False: np.linalg.inv(
            adjoint(np.triu(a)) @ np.triu(a) if upper else np.tril(a) @ adjoint(np.tril(a))
        ),
        eps=512,
        errors=[square_only("cholesky_inv")],
    ),
    factorization(
        "tri_inv",
        LOWER,
        lambda a, upper=False: np.linalg.inv(np.triu(a) if upper else np.tril(a)),
        eps=512,
        errors=[square_only("tri_inv")],
    ),
    factorization("lu", MATRICES, lu, mx_lu, eps=256),
    Op(
        "linalg.lu_factor",
        [S(f(3, 3)), S(f(4, 2)), S(f(2, 4)), S(f(40, 40))],
        in_double(
            lambda a: (
                scipy.linalg.lu_factor(a)[0] if a.ndim == 2 else 0,
                scipy.linalg.lu_factor(a)[1],
            )
        ),
        dtypes=NUMBERS,
        eps={"float32": 64, "float64": 256, "complex64": 64},
        batched=False,
        keeps_bits=False,
        errors=[Bad(S(f(3)), ValueError, r"\[linalg.lu_factor\]")],
    ),
    factorization(
        "inv",
        SQUARE,
        lambda a: np.linalg.inv(definite(a)),
        lambda a: mx.linalg.inv(definite(a, mx)),
        eps=256,
    ),
    Op(
        "linalg.solve",
        [
            S(diagonal_heavy(3, 3), f(3)),
            S(f(3, 3), f(3, 2)),
            S(f(2, 4, 4), f(4, 3)),
            S(f(4, 4), f(2, 4, 1)),
            S(f(2, 1, 2, 2), f(3, 2, 2)),
            S(f(0, 0), f(0, 3)),
            S(f(40, 40), f(40, 30)),
        ],
        in_double(
            lambda a, b: (
                np.linalg.solve(definite(a), b[..., None])[..., 0] if b.ndim == 1 else np.linalg.solve(definite(a), b)
            )
        ),
        call=lambda a, b: mx.linalg.solve(definite(a, mx), b),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 256, "float64": 1024, "complex64": 256},
        keeps_bits=False,
        errors=[
            Bad(S(f(3, 3), f(4)), ValueError, r"\[linalg.solve\].*\(4\)"),
            Bad(S(f(3, 3), f()), ValueError, r"\[linalg.solve\]"),
        ],
    ),
    Op(
        "linalg.inv[plain]",
        [S(diagonal_heavy(1, 1)), S(v([[0.0, 2.0], [1.0, 3.0]]))],
        in_double(np.linalg.inv),
        call=mx.linalg.inv,
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 8, "float64": 8, "complex64": 8},
        keeps_bits=False,
        errors=[square_only("inv"), singular("inv")],
    ),
    factorization("pinv", [S(f(3, 3)), S(f(4, 2)), S(f(2, 4)), S(f(2, 5, 3))], np.linalg.pinv, eps=2048),
    Op(
        "linalg.det",
        [S(f(3, 3)), S(f(1, 1)), S(f(2, 4, 4)), S(f(0, 0)), S(f(0, 3, 3)), S(f(7, 7))],
        in_double(np.linalg.det),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 256, "float64": 1024, "complex64": 256},
        keeps_bits=False,
        errors=[square_only("det"), Bad(S(f(3)), ValueError, r"\[linalg.det\]")],
    ),
    Op(
        "linalg.slogdet",
        [S(f(3, 3)), S(f(1, 1)), S(f(2, 4, 4)), S(f(0, 0)), S(f(7, 7))],
        in_double(lambda a: tuple(np.linalg.slogdet(a))),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 256, "float64": 1024, "complex64": 256},
        keeps_bits=False,
        errors=[square_only("slogdet"), Bad(S(f(3)), ValueError, r"\[linalg.slogdet\]")],
    ),
    factorization(
        "svd",
        MATRICES,
        lambda a: squares(*np.linalg.svd(a), *a.shape[-2:]),
        lambda a: squares(*mx.linalg.svd(a), *a.shape[-2:]),
        eps=256,
    ),
    factorization(
        "svd[values]",
        [*MATRICES, S(f(2, 0, 3)), S(f(30, 20))],
        lambda a: np.linalg.svd(a, compute_uv=False),
        lambda a: mx.linalg.svd(a, compute_uv=False),
        eps=32,
    ),
    Op(
        "linalg.svd[complex]",
        [S(f(2, 3, 3)), S(f(2, 4, 2)), S(f(2, 2, 4)), S(f(2, 2, 3, 4)), S(f(2, 1, 1))],
        in_double(complex_svd_parts(np)),
        call=complex_svd_parts(mx),
        dtypes=("float32",),
        diff=True,
        eps={"float32": 64},
        batched=False,
        keeps_bits=False,
    ),
    Op(
        "linalg.norm[spectral]",
        [S(f(3, 4), 2), S(f(3, 4), -2), S(f(2, 3, 4), "nuc", [0, 2]), S(f(3, 3), "nuc")],
        in_double(lambda a, ord, axis=None: np.linalg.norm(a, ord, None if axis is None else tuple(axis))),
        call=mx.linalg.norm,
        dtypes=NUMBERS,
        diff=True,
        eps={"float32": 32, "float64": 128, "complex64": 32},
        keeps_bits=False,
    ),
    Op(
        "linalg.eigh[hermitian]",
        [S(f(2, 3, 3)), S(f(2, 4, 4), "U"), S(f(2, 2, 3, 3)), S(f(2, 1, 1)), S(f(2, 20, 20))],
        in_double(hermitian_parts(np)),
        call=hermitian_parts(mx),
        dtypes=("float32",),
        diff=True,
        eps={"float32": 64},
        batched=False,
        keeps_bits=False,
        errors=[Bad(S(f(2, 3, 4)), ValueError, r"\[linalg.eigh\].*\(3, ?4\)")],
    ),
    Op(
        "linalg.eig",
        [S(f(3, 3)), S(f(2, 4, 4)), S(f(1, 1))],
        in_double(eigen_parts(np)),
        call=eigen_parts(mx),
        dtypes=("float32", "complex64"),
        diff=True,
        eps={"float32": 1024, "complex64": 1024},
        keeps_bits=False,
        errors=[
            Bad(S(f(3, 3)), ValueError, r"\[linalg.eig\].*float16", dtype="float16"),
            square_only("eig"),
        ],
    ),
    Op(
        "linalg.eigvals",
        [S(f(3, 3)), S(f(2, 4, 4)), S(f(1, 1)), S(f(12, 12))],
        in_double(eigenvalue_parts(np)),
        call=eigenvalue_parts(mx),
        dtypes=("float32", "complex64"),
        diff=True,
        eps={"float32": 256, "complex64": 256},
        keeps_bits=False,
        errors=[Bad(S(f(3)), ValueError, r"\[linalg.eigvals\].* 1 "), square_only("eigvals")],
    ),
]

OPS: list[Op] = [
    *FACTORIZATIONS,
    Op(
        "linalg.cross",
        [
            S(f(3), f(3)),
            S(f(5, 3), f(5, 3)),
            S(f(40, 3), f(3)),
            S(f(2, 1, 3), f(4, 3)),
            S(f(0, 3), f(0, 3)),
            S(f(3, 4), f(3, 4), axis=0),
            S(f(5, 2), f(5, 3)),
            S(f(5, 3), f(5, 2)),
            S(f(5, 2), f(5, 2)),
            S(f(700, 3), f(700, 3)),
        ],
        in_double(cross),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 2, "float64": 2, "complex64": 2},
        errors=[Bad(S(f(4), f(3)), ValueError, r"\[linalg.cross\].* 4 and 3")],
    ),
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
        "linalg.qr[complex]",
        [S(f(4, 3)), S(f(3, 4)), S(f(3, 3)), S(f(2, 3, 5, 2)), S(f(1, 1)), S(f(2, 0, 3)), S(f(70, 40))],
        in_double(qr_upwards(np)),
        call=qr_upwards(mx),
        dtypes=("complex64",),
        diff=True,
        eps={"complex64": 64},
        keeps_bits=False,
    ),
    Op(
        "linalg.eigvalsh",
        [S(f(3, 3)), S(f(4, 4), "U"), S(f(2, 3, 3)), S(f(1, 1)), S(f(0, 0)), S(f(40, 40))],
        in_double(lambda a, triangle="L": np.linalg.eigvalsh(hermitian_mirrored(a, triangle))),
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 8, "float64": 64, "complex64": 8},
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
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 64, "float64": 1024, "complex64": 64},
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
        dtypes=NUMBERS,
        diff=True,
        smooth=True,
        eps={"float32": 64, "float64": 256, "complex64": 64},
        keeps_bits=False,
        errors=[
            Bad(S(f(3, 4), f(3)), ValueError, r"\[linalg.solve_triangular\].*\(3, ?4\)"),
            Bad(S(f(3, 3), f(4)), ValueError, r"\[linalg.solve_triangular\].*\(4\)"),
            Bad(S(f(3, 3), f()), ValueError, r"\[linalg.solve_triangular\]"),
            Bad(S(f(3, 3, low=0, high=0), f(3)), ValueError, "singular"),
        ],
    ),
]
