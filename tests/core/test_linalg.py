"""Factorizations at the borders of their blocks: QR, LU and what they solve; input that is not finite, or empty."""

from __future__ import annotations

import os
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from linalg_cases import (  # noqa: F401
    EPS,
    NUMBERS,
    SIDES,
    adjoint,
    check_orthogonal,
    exact,
    off,
    on_the_cpu,
    sample,
    to_mx,
)

# ---- QR ----


QR_SHAPES = [(n, n) for n in SIDES] + [(65, 64), (64, 65), (24, 400), (400, 24), (1000, 33), (33, 300), (130, 97)]
QR_SHAPES += [(5, 4), (4, 5), (256, 128), (257, 128), (129, 129), (128, 200)]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_qr(dtype: str) -> None:
    for shape in QR_SHAPES:
        a = sample(shape, dtype)
        q, r = map(exact, mx.linalg.qr(to_mx(a)))
        k = min(shape)
        assert q.shape == (shape[0], k) and r.shape == (k, shape[1])
        assert (np.tril(r, -1) == 0).all() and (np.diagonal(r).imag == 0).all()
        check_orthogonal(q, dtype)
        assert off(q @ r, a, dtype) < 60, shape


@pytest.mark.parametrize("dtype", NUMBERS)
def test_qr_batch(dtype: str) -> None:
    a = sample((3, 2, 40, 30), dtype)
    q, r = map(exact, mx.linalg.qr(to_mx(a)))
    one = mx.linalg.qr(to_mx(a[2, 1]))
    assert np.array_equal(q[2, 1], exact(one[0])) and np.array_equal(r[2, 1], exact(one[1]))
    assert off(q @ r, a, dtype) < 60


@pytest.mark.parametrize("shape", [(70, 50), (300, 140)])
@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-38])
def test_qr_scales(scale: float, shape: tuple[int, int]) -> None:
    a = (sample(shape) * scale).astype(np.float32)
    q, r = map(exact, mx.linalg.qr(to_mx(a)))
    check_orthogonal(q, "float32")
    assert off(q @ r / scale, a.astype(float) / scale, "float32") < 2000  # 1e-38: elements have fewer digits


def test_qr_of_few_ranks() -> None:
    a = sample((90, 3)) @ sample((3, 60))
    a[:, 7] = 0
    for x in (a, np.zeros((50, 40)), np.ones((40, 50))):
        q, r = map(exact, mx.linalg.qr(to_mx(x)))
        check_orthogonal(q, "float64")
        assert np.abs(q @ r - x).max() <= 100 * EPS["float64"] * np.abs(x).max()


# ---- LU, solve ----


def largest_multiplier(dtype: str) -> float:
    """The size of complex pivots is the sum of their parts' moduli."""
    return 1 + 1e-6 if dtype != "complex64" else 2**0.5 + 1e-6


@pytest.mark.parametrize("dtype", NUMBERS)
def test_lu(dtype: str) -> None:
    for shape in [(n, n) for n in SIDES] + [(6, 7), (7, 6), (100, 17), (17, 100), (130, 64), (64, 130)]:
        a = sample(shape, dtype)
        rows, lower, upper = mx.linalg.lu(to_mx(a))
        lower, upper = exact(lower), exact(upper)
        assert np.abs(lower).max() <= largest_multiplier(dtype)  # the largest pivots were chosen
        assert off((lower @ upper)[np.array(rows)], a, dtype) < 200, shape


@pytest.mark.parametrize("dtype", NUMBERS)
def test_solve(dtype: str) -> None:
    for n in SIDES:
        a = sample((n, n), dtype) + np.array(2 * n**0.5, dtype) * np.eye(n, dtype=dtype)
        for columns in (1, 3, 16, 17, 63, 130, 300):
            b = sample((n, columns), dtype)
            x = exact(mx.linalg.solve(to_mx(a), to_mx(b)))
            assert off(exact(to_mx(a)) @ x, b, dtype) < 500, (n, columns)
        x = exact(mx.linalg.inv(to_mx(a)))
        assert off(exact(to_mx(a)) @ x, np.eye(n), dtype) < 500, n


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("upper", [False, True])
def test_solve_triangular(dtype: str, upper: bool) -> None:
    for n in SIDES:
        a = sample((n, n), dtype) / np.array(n**0.5, dtype) + np.array(2, dtype) * np.eye(n, dtype=dtype)
        t = np.triu(a) if upper else np.tril(a)
        for columns in (1, 2, 15, 16, 33, 130, 515):
            b = sample((n, columns), dtype)
            x = exact(mx.linalg.solve_triangular(to_mx(a), to_mx(b), upper=upper))
            assert off(exact(to_mx(t)) @ x, b, dtype) < 200, (n, columns)


def test_solve_batches() -> None:
    for n in (1, 3, 6, 7, 16, 70):
        a, b = sample((50, n, n), "float32") + 3 * n * np.eye(n, dtype=np.float32), sample((50, n, 9), "float32")
        x = exact(mx.linalg.solve(to_mx(a), to_mx(b)))
        assert off(a.astype(float) @ x, b, "float32") < 100


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17])
def test_batches_of_small_matrices(dtype: str, n: int) -> None:
    """As many as fill vectors, one less, one more; rows are exchanged in some, and not in others."""
    for count in (1, 7, 8, 9, 15, 16, 17, 100, 700):
        a, b = sample((count, n, n), dtype), sample((count, n, 3), dtype)
        a[::2] += np.array(3 * n, dtype) * np.eye(n, dtype=dtype)
        x, y = to_mx(a), to_mx(b)
        wide = exact(x)
        limit = 20 * EPS[dtype] * np.linalg.cond(wide)
        for got, expected in (
            (mx.linalg.solve(x, y), np.linalg.solve(wide, b)),
            (mx.linalg.inv(x), np.linalg.inv(wide)),
        ):
            error = np.abs(exact(got) - expected).max((1, 2))
            assert (error <= limit * np.abs(expected).max((1, 2))).all(), count
        if n <= 8:  # more rows of few matrices are not solved in lanes
            assert np.array_equal(exact(mx.linalg.solve(x, y))[-1], exact(mx.linalg.solve(x[-1], y[-1])))
        rows, lower, upper = map(np.array, mx.linalg.lu(x))
        assert np.abs(lower).max() <= largest_multiplier(dtype)
        assert off(np.take_along_axis(lower @ upper, rows[..., None].astype(int), 1), a, dtype) < 20
        sign, size = map(exact, mx.linalg.slogdet(x))
        expected = np.linalg.det(wide)
        assert off(sign * np.exp(size), expected, dtype) < 300
        definite = a @ adjoint(a) + np.eye(n, dtype=dtype)
        for triangle in (False, True):
            factor = exact(mx.linalg.cholesky(to_mx(definite), upper=triangle))
            product = adjoint(factor) @ factor if triangle else factor @ adjoint(factor)
            assert off(product, definite, dtype) < 20
            assert not (np.tril(factor, -1) if triangle else np.triu(factor, 1)).any()


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("n", [1, 7, 63, 64, 65, 130, 257])
def test_cholesky(dtype: str, n: int) -> None:
    a = sample((n, n), dtype)
    definite = a @ adjoint(a) + np.eye(n, dtype=dtype)
    for triangle in (False, True):
        # What is in the other triangle, and beside the real numbers on the diagonal, is not looked at.
        given = np.triu(definite) if triangle else np.tril(definite)
        if dtype == "complex64":
            given = given + np.complex64(3j) * np.eye(n, dtype=dtype)
        factor = exact(mx.linalg.cholesky(to_mx(given), upper=triangle))
        product = adjoint(factor) @ factor if triangle else factor @ adjoint(factor)
        assert off(product, definite, dtype) < 20
        assert not (np.tril(factor, -1) if triangle else np.triu(factor, 1)).any()
        assert not np.diagonal(factor).imag.any()
        inverse = exact(mx.linalg.cholesky_inv(to_mx(factor.astype(dtype)), upper=triangle))
        condition = np.linalg.cond(exact(to_mx(definite)))
        assert off(inverse @ definite, np.eye(n), dtype) < 20 * condition
    with pytest.raises(ValueError, match="not positive definite"):
        mx.eval(mx.linalg.cholesky(to_mx((definite - 3 * np.abs(definite).max() * np.eye(n)).astype(dtype))))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("n", [2, 5, 12])
def test_a_bad_matrix_in_a_batch(dtype: str, n: int) -> None:
    a = np.tile(np.eye(n, dtype=dtype), (50, 1, 1))
    a[37, n - 1] = 0
    for call in (mx.linalg.inv, lambda x: mx.linalg.solve(x, x)):
        with pytest.raises(ValueError, match=f"pivot {n - 1} of {n} is 0"):
            mx.eval(call(to_mx(a)))
    with pytest.raises(ValueError, match="not positive definite"):
        mx.eval(mx.linalg.cholesky(to_mx(a)))
    a[37, n - 1] = np.nan
    found = exact(mx.linalg.inv(to_mx(a)))
    assert np.isnan(found[37]).any() and np.isfinite(np.delete(found, 37, 0)).all()


def test_tiny_pivots() -> None:
    """Pivots whose reciprocals are not finite."""
    a = np.array([[1e-40, 2e-40], [3e-40, 1e-40]], np.float32)
    x = exact(mx.linalg.solve(to_mx(a), to_mx((a @ np.ones((2, 1), np.float32)).astype(np.float32))))
    assert np.abs(x - 1).max() < 1e-3
    for n in (2, 6, 40):  # in lanes, and in columns
        a = (sample((n, n), "complex64") * np.float32(2e-38)).astype(np.complex64)
        a += np.float32(n) * np.float32(2e-38) * np.eye(n, dtype=np.complex64)
        x = exact(mx.linalg.solve(to_mx(a), to_mx(a)))
        assert np.abs(x - np.eye(n)).max() < 1e-3


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("n", [1, 4, 6, 7, 40, 130])
def test_singular(dtype: str, n: int) -> None:
    a = to_mx(np.zeros((n, n), dtype))
    sign, size = mx.linalg.slogdet(a)
    assert mx.linalg.det(a).item() == 0 and sign.item() == 0 and size.item() == -float("inf")
    for call in (
        lambda: mx.linalg.solve(a, mx.ones((n, 2))),
        lambda: mx.linalg.inv(a),
        lambda: mx.linalg.solve_triangular(a, mx.ones((n, 2))),
    ):
        with pytest.raises(ValueError, match="singular"):
            mx.eval(call())
    lower, upper = mx.linalg.lu(a)[1:]
    assert np.array_equal(exact(lower), np.eye(n)) and not exact(upper).any()


# ---- input that is not finite, or empty ----


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("n", [3, 20, 70])
def test_not_finite(bad: float, n: int, dtype: str) -> None:
    """Ends, with nan or a ValueError. (The reciprocal of an infinite pivot is 0.)"""
    a = sample((n, n), dtype)
    a = a @ adjoint(a) + np.eye(n, dtype=dtype)
    a[n // 2, n // 2] = bad
    x = to_mx(a)
    for call in (
        mx.linalg.qr,
        mx.linalg.lu,
        mx.linalg.inv,
        lambda y: mx.linalg.solve(y, y),
        mx.linalg.cholesky,
        mx.linalg.eigh,
        mx.linalg.eigvalsh,
        mx.linalg.eig,
        mx.linalg.eigvals,
        mx.linalg.svd,
        mx.linalg.pinv,
    ):
        try:
            out = call(x)
            mx.eval(out)
        except ValueError:
            continue
        out = out if isinstance(out, (tuple, list)) else (out,)
        assert bad == float("inf") or not all(np.isfinite(exact(y)).all() for y in out)


def test_empty() -> None:
    for shape in ((0, 0), (2, 0, 0)):
        a = mx.zeros(shape)
        for call in (mx.linalg.eigvalsh, mx.linalg.eigvals, mx.linalg.inv):
            assert call(a).size == 0
    for shape in ((0, 3), (3, 0), (0, 0), (0, 4, 4)):
        q, r = mx.linalg.qr(mx.zeros(shape))
        k = min(shape[-2:])
        assert q.shape[-1] == k and r.shape[-2] == k


# ---- threads ----

BITS = """
import mlx.core as mx, numpy as np, zlib
mx.set_default_device(mx.cpu)
a = np.random.default_rng(0).standard_normal((330, 330)).astype("float32")
x = mx.array(a)
outs = [*mx.linalg.qr(x), *mx.linalg.lu(x), mx.linalg.solve(x, x[:, :300]), *mx.linalg.eigh(x + x.T),
        mx.linalg.eigvalsh(x + x.T), *mx.linalg.eig(x[:70, :70]), *mx.linalg.eig(x), mx.linalg.eigvals(x),
        *mx.linalg.eig(x + 1j * x.T), mx.linalg.eigvals(x[:200, :200] * (1 + 2j) + 1j * x[100:300, :200]),
        *mx.linalg.svd(x[:150, :100]),
        mx.linalg.svd(x, compute_uv=False), mx.linalg.inv(x[:, :324].reshape(-1, 3, 3)),
        *mx.linalg.lu(x[:, :325].reshape(-1, 5, 5))]
big = mx.concatenate([mx.concatenate([x + 9, x.T], 1), mx.concatenate([x * x, x - x.T], 1)], 0)
hermitian = x + x.T + 1j * (x - x.T)
outs += [mx.linalg.inv(x), mx.linalg.det(x / 9), *mx.linalg.lu_factor(big), mx.linalg.solve(big, big[:, :200]),
         mx.linalg.solve(big, big[:, :1]), mx.linalg.inv(big), mx.linalg.inv(x[:256, :256]),
         mx.linalg.cholesky(x @ x.T + mx.eye(330)), mx.linalg.qr(x[:100, :90])[1], mx.linalg.pinv(x[:80, :60]),
         mx.linalg.solve(x[:, :256].reshape(-1, 16, 16), x[:, :16].reshape(-1, 16, 1)),
         *mx.linalg.eigh(hermitian), *mx.linalg.svd(x[:90, :70] + 1j * x[100:190, :70])]
z = big[:500, :500] + 1j * big[100:600, 50:550]
outs += [mx.linalg.inv(z), *mx.linalg.lu_factor(z), mx.linalg.solve(z, z[:, :1]), *mx.linalg.qr(z),
         mx.linalg.cholesky(z @ mx.conj(z).T), mx.linalg.pinv(z[:90, :60]), mx.linalg.svd(z, compute_uv=False),
         mx.linalg.solve(z[:480, :480].reshape(-1, 16, 16), z[:480, :30].reshape(-1, 16, 1))]
print([zlib.crc32(np.array(y).tobytes()) for y in outs])
"""


def test_same_bits_for_any_number_of_threads() -> None:
    def bits(threads: str) -> str:
        env = dict(os.environ, MLX_NUM_THREADS=threads)
        return subprocess.run([sys.executable, "-c", BITS], env=env, capture_output=True, text=True, check=True).stdout

    one = bits("1")
    assert one.startswith("[") and one == bits("3")
