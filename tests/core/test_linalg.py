"""Factorizations at the borders of their blocks, of difficult matrices, and their derivatives of second order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "complex64": 2.0**-23}
REAL = ("float32", "float64")
SIDES = (1, 2, 5, 7, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 200, 257)


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


def sample(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype == "complex64" else x).astype(dtype)


def to_mx(x: np.ndarray) -> mx.array:
    return mx.array(x, getattr(mx, str(x.dtype)))


def exact(x: mx.array) -> np.ndarray:
    """In double, for checks that add no rounding of their own."""
    y = np.array(x)
    return y.astype(np.complex128 if np.iscomplexobj(y) else np.float64)


def adjoint(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


def off(x: np.ndarray, y: np.ndarray, dtype: str) -> float:
    """The largest difference, in eps of the largest element."""
    if x.size == 0:
        return 0
    return float(np.abs(x - y).max() / max(np.abs(y).max(), np.finfo(float).tiny) / EPS[dtype])


def check_orthogonal(q: np.ndarray, dtype: str, limit: float = 60) -> None:
    """Columns of length 1, at right angles."""
    assert off(adjoint(q) @ q, np.eye(q.shape[-1]), dtype) < limit


# ---- QR ----


QR_SHAPES = [(n, n) for n in SIDES] + [(65, 64), (64, 65), (24, 400), (400, 24), (1000, 33), (33, 300), (130, 97)]


@pytest.mark.parametrize("dtype", REAL)
def test_qr(dtype: str) -> None:
    for shape in QR_SHAPES:
        a = sample(shape, dtype)
        q, r = map(exact, mx.linalg.qr(to_mx(a)))
        k = min(shape)
        assert q.shape == (shape[0], k) and r.shape == (k, shape[1])
        assert (np.tril(r, -1) == 0).all()
        check_orthogonal(q, dtype)
        assert off(q @ r, a, dtype) < 60, shape


@pytest.mark.parametrize("dtype", REAL)
def test_qr_batch(dtype: str) -> None:
    a = sample((3, 2, 40, 30), dtype)
    q, r = map(exact, mx.linalg.qr(to_mx(a)))
    one = mx.linalg.qr(to_mx(a[2, 1]))
    assert np.array_equal(q[2, 1], exact(one[0])) and np.array_equal(r[2, 1], exact(one[1]))
    assert off(q @ r, a, dtype) < 60


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-38])
def test_qr_scales(scale: float) -> None:
    a = (sample((70, 50)) * scale).astype(np.float32)
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


@pytest.mark.parametrize("dtype", REAL)
def test_lu(dtype: str) -> None:
    for shape in [(n, n) for n in SIDES] + [(6, 7), (7, 6), (100, 17), (17, 100), (130, 64), (64, 130)]:
        a = sample(shape, dtype)
        rows, lower, upper = mx.linalg.lu(to_mx(a))
        lower, upper = exact(lower), exact(upper)
        assert np.abs(lower).max() <= 1 + 1e-6  # the largest pivots were chosen
        assert off((lower @ upper)[np.array(rows)], a, dtype) < 200, shape


@pytest.mark.parametrize("dtype", REAL)
def test_solve(dtype: str) -> None:
    for n in SIDES:
        a = sample((n, n), dtype) + np.array(2 * n**0.5, dtype) * np.eye(n, dtype=dtype)
        for columns in (1, 3, 16, 17, 63, 130, 300):
            b = sample((n, columns), dtype)
            x = exact(mx.linalg.solve(to_mx(a), to_mx(b)))
            assert off(a.astype(float) @ x, b, dtype) < 500, (n, columns)
        x = exact(mx.linalg.inv(to_mx(a)))
        assert off(a.astype(float) @ x, np.eye(n), dtype) < 500, n


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("upper", [False, True])
def test_solve_triangular(dtype: str, upper: bool) -> None:
    for n in SIDES:
        a = sample((n, n), dtype) / np.array(n**0.5, dtype) + np.array(2, dtype) * np.eye(n, dtype=dtype)
        t = np.triu(a) if upper else np.tril(a)
        for columns in (1, 2, 15, 16, 33, 130, 515):
            b = sample((n, columns), dtype)
            x = exact(mx.linalg.solve_triangular(to_mx(a), to_mx(b), upper=upper))
            assert off(t.astype(float) @ x, b, dtype) < 200, (n, columns)


def test_solve_batches() -> None:
    for n in (1, 3, 6, 7, 16, 70):
        a, b = sample((50, n, n), "float32") + 3 * n * np.eye(n, dtype=np.float32), sample((50, n, 9), "float32")
        x = exact(mx.linalg.solve(to_mx(a), to_mx(b)))
        assert off(a.astype(float) @ x, b, "float32") < 100


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])
def test_batches_of_small_matrices(dtype: str, n: int) -> None:
    """As many as fill vectors, one less, one more; rows are exchanged in some, and not in others."""
    for count in (1, 7, 8, 9, 15, 16, 17, 100, 700):
        a, b = sample((count, n, n), dtype), sample((count, n, 3), dtype)
        a[::2] += np.array(3 * n, dtype) * np.eye(n, dtype=dtype)
        x, y = to_mx(a), to_mx(b)
        limit = 20 * EPS[dtype] * np.linalg.cond(a.astype(float))
        for got, expected in (
            (mx.linalg.solve(x, y), np.linalg.solve(a.astype(float), b)),
            (mx.linalg.inv(x), np.linalg.inv(a.astype(float))),
        ):
            error = np.abs(exact(got) - expected).max((1, 2))
            assert (error <= limit * np.abs(expected).max((1, 2))).all(), count
        assert np.array_equal(exact(mx.linalg.solve(x, y))[-1], exact(mx.linalg.solve(x[-1], y[-1])))
        rows, lower, upper = map(np.array, mx.linalg.lu(x))
        assert np.abs(lower).max() <= 1
        assert off(np.take_along_axis(lower @ upper, rows[..., None].astype(int), 1), a, dtype) < 20
        sign, size = map(exact, mx.linalg.slogdet(x))
        expected = np.linalg.det(a.astype(float))
        assert off(sign * np.exp(size), expected, dtype) < 300
        definite = a @ np.swapaxes(a, -1, -2) + np.eye(n, dtype=dtype)
        for triangle in (False, True):
            factor = exact(mx.linalg.cholesky(to_mx(definite), upper=triangle))
            product = np.swapaxes(factor, -1, -2) @ factor if triangle else factor @ np.swapaxes(factor, -1, -2)
            assert off(product, definite, dtype) < 20
            assert not (np.tril(factor, -1) if triangle else np.triu(factor, 1)).any()


@pytest.mark.parametrize("n", [2, 5])
def test_a_bad_matrix_in_a_batch(n: int) -> None:
    a = np.tile(np.eye(n, dtype=np.float32), (50, 1, 1))
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


@pytest.mark.parametrize("n", [1, 4, 6, 7, 40, 130])
def test_singular(n: int) -> None:
    a = mx.zeros((n, n))
    for call in (lambda: mx.linalg.solve(a, mx.ones((n, 2))), lambda: mx.linalg.inv(a)):
        with pytest.raises(ValueError, match="singular"):
            mx.eval(call())
    lower, upper = mx.linalg.lu(a)[1:]
    assert np.array_equal(exact(lower), np.eye(n)) and not exact(upper).any()


# ---- eigenvalues ----


def hard_cases(n: int) -> Iterator[tuple[str, np.ndarray]]:
    a = sample((n, n))
    q = np.linalg.qr(a)[0]
    yield "any", a + a.T
    yield "few ranks", a[:, : n // 5 + 1] @ a[:, : n // 5 + 1].T
    yield "identity", np.eye(n)
    yield "zero", np.zeros((n, n))
    yield "ones", np.ones((n, n))
    yield "repeated", (q * np.repeat([1.0, 2, 3, 4], (n + 3) // 4)[:n]) @ q.T
    yield "graded", (q * 10.0 ** (-np.arange(n) * 12 / n)) @ q.T
    yield "close pairs", np.diag(np.abs(np.arange(n) - n // 2).astype(float)) + np.eye(n, k=1) + np.eye(n, k=-1)
    yield "even", 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    yield "large", 1e30 * (a + a.T)
    yield "small", 1e-30 * (a + a.T)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 31, 32, 33, 47, 48, 64, 65, 96, 130, 200])
def test_eigh(dtype: str, n: int) -> None:
    for name, a in hard_cases(n):
        a = ((a + a.T) / 2).astype(dtype)
        w, v = map(exact, mx.linalg.eigh(to_mx(a)))
        alone = exact(mx.linalg.eigvalsh(to_mx(a)))
        a = a.astype(float)
        expected = np.linalg.eigvalsh(a)
        norm = np.abs(expected).max() or 1.0
        assert (np.diff(w) >= 0).all() and (np.diff(alone) >= 0).all(), name
        limit = EPS[dtype] * max(n, 10)
        assert np.abs(w - expected).max() < limit * norm, name
        assert np.abs(alone - expected).max() < limit * norm, name
        assert np.abs(a @ v - v * w).max() < limit * norm, name
        assert np.abs(v.T @ v - np.eye(n)).max() < limit, name


def test_eigh_many_rows() -> None:
    """Products with vectors are shared among threads."""
    n = 700
    a = sample((n, n))
    a = a + a.T
    w, v = map(exact, mx.linalg.eigh(to_mx(a)))
    norm = np.abs(w).max()
    assert np.abs(a @ v - v * w).max() < 100 * EPS["float64"] * norm
    check_orthogonal(v, "float64")
    assert np.abs(exact(mx.linalg.eigvalsh(to_mx(a))) - w).max() < 200 * EPS["float64"] * norm


@pytest.mark.parametrize("n", [1, 2, 31, 33, 70, 130])
def test_eigh_hermitian(n: int) -> None:
    a = sample((n, n), "complex64")
    a = ((a + adjoint(a)) / 2).astype(np.complex64)
    w, v = map(exact, mx.linalg.eigh(to_mx(a)))
    assert off(a @ v, v * w, "complex64") < 60
    check_orthogonal(v, "complex64")
    assert off(exact(mx.linalg.eigvalsh(to_mx(a))), np.linalg.eigvalsh(a.astype(complex)), "complex64") < 10


def test_eigh_batch() -> None:
    a = sample((2, 3, 40, 40), "float32")
    a = a + np.swapaxes(a, -1, -2)
    w, v = mx.linalg.eigh(to_mx(a))
    one = mx.linalg.eigh(to_mx(a[1, 2]))
    assert mx.array_equal(w[1, 2], one[0]) and mx.array_equal(v[1, 2], one[1])


@pytest.mark.parametrize("n", [1, 2, 3, 12, 13, 14, 17, 18, 19, 35, 64, 100, 150])
def test_eig(n: int) -> None:
    rng = np.random.default_rng(n)
    cases = {
        "any": sample((n, n)),
        "identity": np.eye(n),
        "zero": np.zeros((n, n)),
        "ones": np.ones((n, n)),
        "triangle": np.triu(sample((n, n))),
        "cycle": np.eye(n)[np.roll(np.arange(n), 1)],
        "permutation": np.eye(n)[rng.permutation(n)],
        "complex": sample((n, n), "complex64"),
    }
    for name, a in cases.items():
        w, v = map(exact, mx.linalg.eig(to_mx(a)))
        alone = exact(mx.linalg.eigvals(to_mx(a)))
        norm = max(np.linalg.norm(a, 2), 1.0)
        assert np.abs(a @ v - v * w).max() < 1e-6 * norm, name
        assert np.abs(np.linalg.norm(v, axis=0) - 1).max() < 1e-6, name
        if name != "triangle":  # its eigenvalues depend much on rounding
            expected = np.linalg.eigvals(a)
            assert np.abs(w[:, None] - expected).min(0).max() < 1e-6 * norm, name
            assert np.abs(alone[:, None] - expected).min(0).max() < 1e-6 * norm, name


def adversarial(n: int) -> Iterator[tuple[str, np.ndarray]]:
    """Defective, nilpotent, orthogonal, badly scaled and ill-conditioned matrices."""
    rng = np.random.default_rng([7, n])
    a, ones = rng.standard_normal((n, n)), np.ones((n, n))
    at = np.arange(n)
    yield "companion", np.vstack([-rng.standard_normal((1, n)), np.eye(n)[:-1]])
    yield "Jordan block", 2 * np.eye(n) + np.eye(n, k=1)
    yield "Jordan block, lower", 2 * np.eye(n) + np.eye(n, k=-1)
    yield "nilpotent", np.eye(n, k=-1)
    yield "Grcar", np.tril(np.triu(ones, -1), 3) - 2 * np.eye(n, k=-1)
    yield "Toeplitz", rng.standard_normal(2 * n)[at[:, None] - at + n]
    yield "zeros", 0 * ones
    yield "ones", ones
    yield "permutation", np.eye(n)[rng.permutation(n)]
    yield "cycle", np.roll(np.eye(n), 1, 0)
    yield "graded", a * 10.0 ** np.linspace(30, -30, n)[:, None]
    yield "graded both ways", a * 10.0 ** np.add.outer(np.linspace(-15, 15, n), np.linspace(-15, 15, n))
    yield "orthogonal", np.linalg.qr(a)[0]
    yield "antisymmetric", a - a.T
    yield "few ranks", a[:, :2] @ a[:2]
    yield "stochastic", np.abs(a) / np.abs(a).sum(1, keepdims=True)
    yield "pairs", np.kron(np.diag(at[: n // 2 + 1] + 1.0), [[0, 1], [-1, 0]])[:n, :n]
    yield "any", a


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("n", [2, 3, 20, 65, 90, 240])
def test_eig_converges(dtype: str, n: int) -> None:
    """Small blocks, windows and steps of many shifts; in float and in double. Results are complex64."""
    for name, a in adversarial(n):
        a = a.astype(dtype)
        w, v = map(exact, mx.linalg.eig(to_mx(a)))
        alone = exact(mx.linalg.eigvals(to_mx(a)))
        a = a.astype(float)
        norm = np.linalg.norm(a, 2) or 1.0
        limit = (n if dtype == "float32" and n > 64 else 4) * 2 * EPS["float32"] * norm
        assert np.abs(a @ v - v * w).max() < limit, name
        assert np.abs(np.linalg.norm(v, axis=0) - 1).max() < 1e-5, name
        for x in (w, alone):
            assert (np.sort_complex(x) == np.sort_complex(x.conj())).all(), name
            assert abs(x.sum() - np.trace(a)) < n * limit, name
        # Each is an eigenvalue of a matrix nearby: a few of them.
        for one in alone[:: max(1, n // 2)]:
            assert np.linalg.svd(a - one * np.eye(n), compute_uv=False)[-1] < limit, name


# ---- singular values ----


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 9), (79, 79), (80, 80), (81, 81), (97, 96), (131, 130), (200, 100), (100, 200)]
)
def test_svd(dtype: str, shape: tuple[int, int]) -> None:
    a = sample(shape)
    k = min(shape)
    left, _, right = np.linalg.svd(a, full_matrices=False)
    cases = {
        "any": a,
        "few ranks": a[:, : k // 5 + 1] @ sample((k // 5 + 1, shape[1])),
        "identity": np.eye(*shape),
        "zero": np.zeros(shape),
        "ones": np.ones(shape),
        "zero columns": a * (np.arange(shape[1]) % 2),
        "bidiagonal": np.eye(*shape) + np.eye(*shape, k=1),
        "repeated": (left * np.repeat([1.0, 2, 3, 4], (k + 3) // 4)[:k]) @ right,
        "graded": (left * 10.0 ** (-np.arange(k) * 14 / k)) @ right,
        "large": 1e30 * a,
        "small": 1e-30 * a,
    }
    for name, x in cases.items():
        x = x.astype(dtype)
        u, s, vt = map(exact, mx.linalg.svd(to_mx(x)))
        expected = np.linalg.svd(x.astype(float), compute_uv=False)
        limit = 60 * EPS[dtype] * (expected[0] or 1)
        assert np.abs(s - expected).max() < limit and (np.diff(s) <= 0).all(), name
        assert np.abs((u[:, :k] * s) @ vt[:k] - x).max() < limit, name
        check_orthogonal(u, dtype, 60 + shape[0])  # ones: sums rounded in one direction
        check_orthogonal(vt.T, dtype, 60 + shape[1])
        alone = exact(mx.linalg.svd(to_mx(x), compute_uv=False))
        assert np.abs(alone - expected).max() < limit, name


@pytest.mark.parametrize("dtype", REAL)
def test_pinv(dtype: str) -> None:
    for shape in [(1, 1), (5, 3), (3, 5), (90, 60), (60, 90), (89, 60), (300, 20), (20, 300), (100, 100)]:
        for a in (sample(shape), np.ones(shape)):
            expected = np.linalg.pinv(a)
            # Sums of equal numbers are rounded in one direction.
            limit = (500 if (a == 1).all() else 100 * np.linalg.cond(a)) * EPS[dtype]
            got = exact(mx.linalg.pinv(to_mx(a.astype(dtype))))
            assert np.abs(got - expected).max() < limit * np.abs(expected).max(), shape


# ---- input that is not finite, or empty ----


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("n", [3, 20, 70])
def test_not_finite(bad: float, n: int) -> None:
    """Ends, with nan or a ValueError. (The reciprocal of an infinite pivot is 0.)"""
    a = sample((n, n), "float32")
    a = a @ a.T + np.eye(n, dtype=np.float32)
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
        *mx.linalg.svd(x[:150, :100]),
        mx.linalg.svd(x, compute_uv=False), mx.linalg.inv(x[:, :324].reshape(-1, 3, 3)),
        *mx.linalg.lu(x[:, :325].reshape(-1, 5, 5))]
print([zlib.crc32(np.array(y).tobytes()) for y in outs])
"""


def test_same_bits_for_any_number_of_threads() -> None:
    def bits(threads: str) -> str:
        env = dict(os.environ, MLX_NUM_THREADS=threads)
        return subprocess.run([sys.executable, "-c", BITS], env=env, capture_output=True, text=True, check=True).stdout

    one = bits("1")
    assert one.startswith("[") and one == bits("3")


# ---- derivatives of second order ----


def weighed(*ys: mx.array) -> mx.array:
    """A number that depends on all elements, and not linearly."""
    total = mx.array(0, ys[0].dtype)
    for i, y in enumerate(ys):
        total = total + (mx.sin(y) * to_mx(sample(y.shape, seed=i + 9)).astype(y.dtype)).sum()
    return total


SQUARE, TALL, WIDE = (4, 4), (6, 4), (4, 6)
SEGMENTS = [[0, 2], [1, 5], [4, 3], [5, 6]]


def symmetric(a: mx.array) -> mx.array:
    return (a + a.T) / 2


def definite(a: mx.array) -> mx.array:
    return a @ a.T + 2 * mx.eye(a.shape[0], dtype=a.dtype)


def diagonal_heavy(a: mx.array) -> mx.array:
    return a + 3 * mx.eye(a.shape[0], dtype=a.dtype)


def squares_of_svd(a: mx.array) -> mx.array:
    u, s, vt = mx.linalg.svd(a)
    k = s.shape[0]
    return weighed(u[:, :k] ** 2, s, vt[:k] ** 2)


def squares_of_eigh(a: mx.array) -> mx.array:
    w, v = mx.linalg.eigh(symmetric(a))
    return weighed(w, v**2)


SECOND: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "qr": (lambda a: weighed(*mx.linalg.qr(a)), SQUARE),
    "qr tall": (lambda a: weighed(*mx.linalg.qr(a)), TALL),
    "qr wide": (lambda a: weighed(*mx.linalg.qr(a)), WIDE),
    "cholesky": (lambda a: weighed(mx.linalg.cholesky(definite(a))), SQUARE),
    "cholesky upper": (lambda a: weighed(mx.linalg.cholesky(definite(a), True)), SQUARE),
    "lu": (lambda a: weighed(*mx.linalg.lu(a)[1:]), SQUARE),
    "lu tall": (lambda a: weighed(*mx.linalg.lu(a)[1:]), TALL),
    "lu wide": (lambda a: weighed(*mx.linalg.lu(a)[1:]), WIDE),
    "solve": (lambda a: weighed(mx.linalg.solve(diagonal_heavy(a), mx.sin(a))), SQUARE),
    "solve_triangular": (lambda a: weighed(mx.linalg.solve_triangular(diagonal_heavy(a), mx.sin(a))), SQUARE),
    "inv": (lambda a: weighed(mx.linalg.inv(diagonal_heavy(a))), SQUARE),
    "pinv": (lambda a: weighed(mx.linalg.pinv(a)), TALL),
    "slogdet": (lambda a: mx.linalg.slogdet(a)[1], SQUARE),
    "svd": (squares_of_svd, TALL),
    "svd wide": (squares_of_svd, WIDE),
    "svd values": (lambda a: weighed(mx.linalg.svd(a, compute_uv=False)), TALL),
    "eigh": (squares_of_eigh, SQUARE),
    "eigvalsh": (lambda a: weighed(mx.linalg.eigvalsh(symmetric(a))), SQUARE),
    "segmented_mm a": (lambda a: weighed(mx.segmented_mm(mx.sin(a), a.T, mx.array(SEGMENTS))), WIDE),
    "segmented_mm b": (lambda b: weighed(mx.segmented_mm(b.T * b.T, b, mx.array([SEGMENTS]))), TALL),
}


def of_parts(f: Callable[[mx.array], mx.array]) -> Callable[[mx.array], mx.array]:
    """Of real and imaginary parts; gaps between eigenvalues and singular values are wide."""
    return lambda x: f(0.5 * (x[0] + 1j * x[1]) + mx.diag(2 * mx.arange(4.0))[: x.shape[1], : x.shape[2]])


def hermitian(z: mx.array) -> mx.array:
    return (z + mx.conjugate(z).T) / 2


def moduli(*ys: mx.array) -> mx.array:
    """Independent of the phases of vectors, which nothing determines."""
    return weighed(*(mx.abs(y) ** 2 if y.dtype == mx.complex64 else y for y in ys))


def complex_eigh(z: mx.array) -> mx.array:
    w, v = mx.linalg.eigh(hermitian(z))
    projection = v[:, :1] @ mx.conjugate(v[:, :1]).T
    return moduli(w, v) + weighed(mx.real(projection), mx.imag(projection))


def complex_svd(z: mx.array) -> mx.array:
    u, s, vt = mx.linalg.svd(z)
    k = s.shape[0]
    term = u[:, :1] @ vt[:1]
    return moduli(u[:, :k], s, vt[:k]) + weighed(mx.real(term), mx.imag(term))


def complex_eig(z: mx.array) -> mx.array:
    w, v = mx.linalg.eig(z)
    return weighed(mx.real(w), mx.imag(w)) + moduli(v)


SECOND_COMPLEX: dict[str, tuple[Callable[[mx.array], mx.array], tuple[int, ...]]] = {
    "eigh": (complex_eigh, (4, 4)),
    "eigvalsh": (lambda z: weighed(mx.linalg.eigvalsh(hermitian(z))), (4, 4)),
    "svd": (complex_svd, (4, 4)),
    "svd tall": (complex_svd, (4, 3)),
    "svd wide": (complex_svd, (3, 4)),
    "svd values": (lambda z: weighed(mx.linalg.svd(z, compute_uv=False)), (3, 4)),
    "eig": (complex_eig, (4, 4)),
}


@pytest.mark.parametrize("name", SECOND_COMPLEX)
def test_second_order_complex(name: str) -> None:
    """In float32, which complex numbers are of: differences of fourth order bear wide steps."""
    f, shape = SECOND_COMPLEX[name]
    f = of_parts(f)
    x = sample((2, *shape), "float32", seed=3)

    def wide_differences(g: Callable[[mx.array], mx.array]) -> np.ndarray:
        out = np.zeros(x.shape)
        for i in np.ndindex(*x.shape):
            y = []
            for step in (0.02, 0.01, -0.01, -0.02):
                at = x.copy()
                at[i] += np.float32(step)
                y.append(g(to_mx(at)).item())
            out[i] = (8 * (y[1] - y[2]) - (y[0] - y[3])) / 0.12
        return out

    def of_gradient(y: mx.array) -> mx.array:
        return weighed(mx.grad(f)(y))

    assert near(mx.grad(f)(to_mx(x)), wide_differences(f), 1e-3)
    second = wide_differences(of_gradient)
    assert near(mx.grad(of_gradient)(to_mx(x)), second, 1e-3)
    forward = mx.jvp(of_gradient, [to_mx(x)], [mx.ones(x.shape)])[1][0]
    assert near(forward, second.sum(), 4e-3)


def differences(f: Callable[[mx.array], mx.array], x: mx.array) -> np.ndarray:
    step, x = 1e-5, np.array(x)
    out = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        out[i] = (f(to_mx(up)).item() - f(to_mx(down)).item()) / (2 * step)
    return out


def near(x: Any, y: Any, limit: float) -> bool:
    x, y = np.array(x), np.array(y)
    return bool(np.abs(x - y).max() <= limit * max(1.0, np.abs(y).max()))


@pytest.mark.parametrize("name", SECOND)
def test_second_order(name: str) -> None:
    f, shape = SECOND[name]
    x, direction = to_mx(sample(shape, seed=1)), to_mx(sample(shape, seed=2))
    gradient = mx.grad(f)
    assert near(gradient(x), differences(f, x), 1e-6)

    def of_gradient(y: mx.array) -> mx.array:
        return weighed(gradient(y))

    assert near(mx.grad(of_gradient)(x), differences(of_gradient, x), 1e-6)
    forward_over_reverse = mx.jvp(gradient, [x], [direction])[1][0]
    assert near(forward_over_reverse, mx.vjp(gradient, [x], [direction])[1][0], 1e-10)

    def along(y: mx.array) -> mx.array:
        return mx.jvp(f, [y], [direction])[1][0]

    assert near(mx.jvp(along, [x], [direction])[1][0], (forward_over_reverse * direction).sum(), 1e-10)


@pytest.mark.parametrize("name", SECOND)
def test_nested_vmap_of_gradients(name: str) -> None:
    f, shape = SECOND[name]
    gradient = mx.grad(f)
    many = to_mx(sample(shape, seed=1) + 0.1 * sample((2, 3, *shape), seed=2))
    nested = mx.vmap(mx.vmap(gradient), in_axes=1, out_axes=1)(many)
    for i in range(2):
        for j in range(3):
            assert near(nested[i, j], gradient(many[i, j]), 1e-10)
    batched = mx.grad(lambda y: mx.vmap(mx.vmap(f))(y).sum())(many)
    assert near(batched, nested, 1e-10)


# ---- segmented_mm ----


def test_segmented_mm_over_axes() -> None:
    """Each operand has an axis more, in any place, or none."""
    segments = np.array(SEGMENTS)
    other = np.array([[0, 6], [2, 2], [1, 3], [5, 6]])
    a, b = sample((4, 6), "float32"), sample((6, 3), "float32", 1)
    operands = [np.stack([a, 2 * a]), np.stack([b, b * b]), np.stack([segments, other])]
    expected = [(a, b, segments), (2 * a, b * b, other)]
    for axes in [
        (0, None, None),
        (2, None, None),
        (None, 1, None),
        (None, None, 0),
        (1, 2, 0),
        (0, 0, 2),
        (1, None, 1),
    ]:
        given, picks = [], []
        for k, axis in enumerate(axes):
            given.append(mx.array(operands[k][0] if axis is None else np.moveaxis(operands[k], 0, axis)))
            picks.append([expected[0][k] if axis is None else expected[i][k] for i in range(2)])
        out = mx.vmap(mx.segmented_mm, in_axes=axes)(*given)
        for i in range(2):
            one = mx.segmented_mm(*(mx.array(p[i]) for p in picks))
            assert near(out[i], one, 1e-6), axes


def test_segmented_mm_gradients_checked() -> None:
    a, b = mx.ones((2, 4)), mx.ones((4, 3))
    grad = mx.grad(lambda x: mx.segmented_mm(x, b, mx.array([[1, 3]])).sum())(a)
    assert np.array_equal(np.array(grad), [[0, 3, 3, 0]] * 2)  # columns of no segment have no part in it
    with pytest.raises(IndexError, match=r"segmented_mm"):
        mx.eval(mx.vjp(lambda x: mx.segmented_mm(x, b, mx.array([[1, 5]])), [a], [mx.ones((1, 2, 3))])[1])
