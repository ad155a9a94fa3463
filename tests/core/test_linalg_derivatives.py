"""Derivatives of factorizations, of second order and under vmap, and those of segmented_mm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from linalg_cases import exact, on_the_cpu, sample, to_mx  # noqa: F401


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


def of_both(*ys: mx.array) -> mx.array:
    """Of real and imaginary parts: where phases are determined."""
    return weighed(*(part for y in ys for part in (mx.real(y), mx.imag(y))))


def complex_definite(z: mx.array) -> mx.array:
    return z @ mx.conj(z).T + 2 * mx.eye(z.shape[0])


SECOND_COMPLEX: dict[str, tuple[Callable[[mx.array], mx.array], tuple[int, ...]]] = {
    "eigh": (complex_eigh, (4, 4)),
    "eigvalsh": (lambda z: weighed(mx.linalg.eigvalsh(hermitian(z))), (4, 4)),
    "svd": (complex_svd, (4, 4)),
    "svd tall": (complex_svd, (4, 3)),
    "svd wide": (complex_svd, (3, 4)),
    "svd values": (lambda z: weighed(mx.linalg.svd(z, compute_uv=False)), (3, 4)),
    "eig": (complex_eig, (4, 4)),
    "qr": (lambda z: of_both(*mx.linalg.qr(z)), (4, 4)),
    "qr tall": (lambda z: of_both(*mx.linalg.qr(z)), (4, 3)),
    "qr wide": (lambda z: of_both(*mx.linalg.qr(z)), (3, 4)),
    "cholesky": (lambda z: of_both(mx.linalg.cholesky(complex_definite(z))), (4, 4)),
    "cholesky upper": (lambda z: of_both(mx.linalg.cholesky(complex_definite(z), True)), (4, 4)),
    "lu": (lambda z: of_both(*mx.linalg.lu(z + 2 * mx.eye(4))[1:]), (4, 4)),
    "lu tall": (lambda z: of_both(*mx.linalg.lu(z + 2 * mx.eye(4, 3))[1:]), (4, 3)),
    "solve": (lambda z: of_both(mx.linalg.solve(z + 2 * mx.eye(4), mx.conj(z))), (4, 4)),
    "solve_triangular": (lambda z: of_both(mx.linalg.solve_triangular(z + 2 * mx.eye(4), mx.conj(z))), (4, 4)),
    "inv": (lambda z: of_both(mx.linalg.inv(z + 2 * mx.eye(4))), (4, 4)),
    "pinv": (lambda z: of_both(mx.linalg.pinv(z + 2 * mx.eye(4, 3))), (4, 3)),
    "slogdet": (lambda z: of_both(*mx.linalg.slogdet(z + 2 * mx.eye(4))), (4, 4)),
    "expm": (lambda z: of_both(mx.linalg.expm(z / 4)), (4, 4)),
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
