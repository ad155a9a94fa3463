"""Eigenvalues and singular values of difficult matrices."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest
from linalg_cases import (  # noqa: F401
    EPS,
    NUMBERS,
    REAL,
    adjoint,
    check_orthogonal,
    exact,
    off,
    on_the_cpu,
    sample,
    to_mx,
)

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


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 24, 64, 65, 130, 200])
def test_eigh_hermitian(n: int) -> None:
    """Real cases under a unitary transformation by phases, and any matrix."""
    turn = np.exp(1j * np.random.default_rng(n).uniform(0, 6.3, n))
    any_matrix = sample((n, n), "complex64").astype(complex)
    cases = [(name, turn[:, None] * a * turn.conj()) for name, a in hard_cases(n)]
    for name, a in [*cases, ("complex", any_matrix + adjoint(any_matrix))]:
        a = exact(to_mx(((a + adjoint(a)) / 2).astype(np.complex64)))
        w, v = map(exact, mx.linalg.eigh(to_mx(a.astype(np.complex64))))
        alone = exact(mx.linalg.eigvalsh(to_mx(a.astype(np.complex64))))
        a = (a + adjoint(a)) / 2
        expected = np.linalg.eigvalsh(a)
        norm = np.abs(expected).max() or 1.0
        limit = EPS["float32"] * max(n, 10)
        assert (np.diff(w) >= 0).all() and (np.diff(alone) >= 0).all(), name
        assert np.abs(w - expected).max() < limit * norm, name
        assert np.abs(alone - expected).max() < limit * norm, name
        assert np.abs(a @ v - v * w).max() < limit * norm, name
        assert np.abs(adjoint(v) @ v - np.eye(n)).max() < limit, name


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
        # Large ones in float, others in double. LAPACK's values in float are 24 eps off where n is 240.
        limit = (30 * EPS["float32"] if name == "complex" and n > 32 else 1e-6) * norm
        a = exact(to_mx(a))
        assert np.abs(a @ v - v * w).max() < limit, name
        assert np.abs(np.linalg.norm(v, axis=0) - 1).max() < 1e-6, name
        if name != "triangle":  # its eigenvalues depend much on rounding
            expected = np.linalg.eigvals(a)
            assert np.abs(w[:, None] - expected).min(0).max() < limit, name
            assert np.abs(alone[:, None] - expected).min(0).max() < limit, name


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


@pytest.mark.parametrize("dtype", [*REAL, "complex64"])
@pytest.mark.parametrize("n", [2, 3, 20, 65, 90, 240])
def test_eig_converges(dtype: str, n: int) -> None:
    """Small blocks, windows and steps of many shifts; in float and in double. Results are complex64."""
    turn = np.exp(1j * np.random.default_rng(n).uniform(0, 6.3, n))
    for name, a in adversarial(n):
        if dtype == "complex64":
            a = (0.8 + 0.6j) * turn[:, None] * a * turn.conj()
        a = a.astype(dtype)
        w, v = map(exact, mx.linalg.eig(to_mx(a)))
        alone = exact(mx.linalg.eigvals(to_mx(a)))
        a = exact(to_mx(a))
        norm = np.linalg.norm(a, 2) or 1.0
        limit = (n if dtype != "float64" and n > 64 else 4) * 2 * EPS["float32"] * norm
        assert np.abs(a @ v - v * w).max() < limit, name
        assert np.abs(np.linalg.norm(v, axis=0) - 1).max() < 1e-5, name
        for x in (w, alone):
            if dtype != "complex64":
                assert (np.sort_complex(x) == np.sort_complex(x.conj())).all(), name
            assert abs(x.sum() - np.trace(a)) < n * limit, name
        # Each is an eigenvalue of a matrix nearby: a few of them.
        for one in alone[:: max(1, n // 2)]:
            assert np.linalg.svd(a - one * np.eye(n), compute_uv=False)[-1] < limit, name


# ---- singular values ----


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (5, 9), (24, 16), (64, 65), (79, 79), (80, 80), (81, 81), (97, 96), (131, 130), (200, 100), (100, 200)],
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
        if dtype == "complex64":
            rows, columns = (np.exp(1j * np.random.default_rng(m).uniform(0, 6.3, m)) for m in shape)
            x = rows[:, None] * x * columns
            x = x + 0.3j * x[::-1] if name == "any" else x
        x = x.astype(dtype)
        u, s, vt = map(exact, mx.linalg.svd(to_mx(x)))
        expected = np.linalg.svd(exact(to_mx(x)), compute_uv=False)
        limit = 60 * EPS[dtype] * (expected[0] or 1)
        assert np.abs(s - expected).max() < limit and (np.diff(s) <= 0).all(), name
        assert np.abs((u[:, :k] * s) @ vt[:k] - x).max() < limit, name
        check_orthogonal(u, dtype, 60 + shape[0])  # ones: sums rounded in one direction
        check_orthogonal(adjoint(vt), dtype, 60 + shape[1])
        alone = exact(mx.linalg.svd(to_mx(x), compute_uv=False))
        assert np.abs(alone - expected).max() < limit, name


@pytest.mark.parametrize("dtype", NUMBERS)
def test_pinv(dtype: str) -> None:
    for shape in [(1, 1), (5, 3), (3, 5), (90, 60), (60, 90), (89, 60), (300, 20), (20, 300), (100, 100)]:
        for a in (sample(shape, dtype), np.ones(shape)):
            expected = np.linalg.pinv(exact(to_mx(a.astype(dtype))))
            # Sums of equal numbers are rounded in one direction.
            limit = (500 if (a == 1).all() else 100 * np.linalg.cond(a)) * EPS[dtype]
            got = exact(mx.linalg.pinv(to_mx(a.astype(dtype))))
            assert np.abs(got - expected).max() < limit * np.abs(expected).max(), shape
