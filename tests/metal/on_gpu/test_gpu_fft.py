"""Fourier transforms by the Metal kernels against float64, and the bytes that they move."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import counted, on_gpu

# Largest error, relative to the largest result.
BOUND = 1e-6
KINDS = ["fft", "ifft", "rfft", "irfft"]
POWERS = [1, 2, 4, 8, 32, 64, 512, 1024, 4096]
MIXED = [3, 5, 6, 7, 11, 13, 15, 60, 91, 360, 1000, 3003]
PRIMES = [17, 34, 101, 1009, 2039]
# Beyond threadgroup memory: products of two, and convolutions of such lengths.
LONG = [8192, 5000, 30030]
LONG_PRIMES = [2053, 8194]


def operand(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape).astype(np.float32)
    return x if kind == "rfft" else (x + 1j * rng.standard_normal(shape)).astype(np.complex64)


def reference(kind: str, x: np.ndarray, *args: object, **options: object) -> np.ndarray:
    return getattr(np.fft, kind)(x.astype(np.float64 if kind == "rfft" else np.complex128), *args, **options)


def check(kind: str, x: np.ndarray, *args: object, **options: object) -> None:
    got = np.array(on_gpu(lambda: getattr(mx.fft, kind)(mx.array(x), *args, **options), "fft"))
    want = reference(kind, x, *args, **options)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= BOUND * max(np.abs(want).max(), 1e-30)


@pytest.mark.parametrize("n", [*POWERS, *MIXED, *PRIMES])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths(kind: str, n: int) -> None:
    lines = operand(np.random.default_rng(n), kind, 3, n // 2 + 1 if kind == "irfft" else n)
    check(kind, lines, n)


@pytest.mark.parametrize("n", [*LONG, *LONG_PRIMES])
@pytest.mark.parametrize("kind", ["fft", "rfft", "irfft"])
def test_long_lines(kind: str, n: int) -> None:
    lines = operand(np.random.default_rng(n), kind, 1 if n > 20000 else 2, n // 2 + 1 if kind == "irfft" else n)
    check(kind, lines, n)


@pytest.mark.parametrize("n", [4, 30, 64, 97])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_other_axes(kind: str, axis: int, n: int) -> None:
    shape = [3, 4, 5]
    shape[axis] = n // 2 + 1 if kind == "irfft" else n
    check(kind, operand(np.random.default_rng(n), kind, *shape), n, axis=axis)


def test_long_lines_along_another_axis() -> None:
    rng = np.random.default_rng(1)
    check("fft", operand(rng, "fft", 2, 8192, 3), axis=1)
    check("irfft", operand(rng, "irfft", 4501, 2), 9001, axis=0)


@pytest.mark.parametrize("norm", ["ortho", "forward", "backward"])
def test_norms(norm: str) -> None:
    rng = np.random.default_rng(2)
    for kind in KINDS:
        check(kind, operand(rng, kind, 2, 12), norm=norm)


def test_several_axes_strides_and_padding() -> None:
    rng = np.random.default_rng(3)
    x = operand(rng, "fft", 6, 8, 10)
    for name in ("fftn", "ifftn", "fft2"):
        got = np.array(getattr(mx.fft, name)(mx.array(x)))
        want = getattr(np.fft, name)(x.astype(np.complex128))
        assert np.abs(got - want).max() <= BOUND * np.abs(want).max()
    a = mx.array(x)
    got = np.array(on_gpu(lambda: mx.fft.fft(a[::2, ::-1].transpose(2, 0, 1)), "fft"))
    want = np.fft.fft(x[::2, ::-1].transpose(2, 0, 1).astype(np.complex128))
    assert np.abs(got - want).max() <= BOUND * np.abs(want).max()
    check("fft", operand(rng, "fft", 3, 10), 16)
    check("rfft", operand(rng, "rfft", 3, 10), 7)
    assert mx.fft.fft(mx.zeros((0, 8))).shape == (0, 8)


def test_zeros_of_an_inverse_have_no_sign() -> None:
    x = mx.fft.ifft(mx.array([4.0, 0.0, 0.0, 0.0]))
    assert str(x) == "array([1+0j, 1+0j, 1+0j, 1+0j], dtype=complex64)"


def test_large_prime_factors_of_long_lines_are_the_cpus() -> None:
    """A chirp beyond 2^24: handed over, which is counted, along any axis."""
    n = 17 << 19
    x = np.random.default_rng(7).standard_normal(n).astype(np.float32)
    want = np.fft.rfft(x.astype(np.float64))
    for shape in ((n,), (n, 1)):
        before = mx.metal._hand_overs().get("fft", 0)
        got = np.array(mx.fft.rfft(mx.array(x).reshape(shape), axis=0)).reshape(-1)
        assert mx.metal._hand_overs()["fft"] == before + 1
        assert np.abs(got - want).max() <= BOUND * np.abs(want).max()


def test_gradients() -> None:
    rng = np.random.default_rng(4)
    x = mx.array(operand(rng, "rfft", 2, 15))
    f = lambda x: mx.abs(mx.fft.rfft(x)).square().sum()  # noqa: E731
    got = mx.grad(f)(x)
    with mx.stream(mx.cpu):
        want = mx.grad(f)(x)
    assert np.abs(np.array(got) - np.array(want)).max() < 1e-5 * np.abs(np.array(want)).max()


# --- bytes


@pytest.mark.parametrize("n", [4, 60, 1024, 4096])
@pytest.mark.parametrize("axis", [1, 0])
def test_one_reading_and_one_writing(n: int, axis: int) -> None:
    shape = (5, n) if axis == 1 else (n, 5)
    x = mx.array(operand(np.random.default_rng(n), "fft", *shape))
    mx.eval(x)
    (c,) = counted(lambda: mx.fft.fft(x, axis=axis)).values()
    assert c["dispatches"] == 1
    assert c["read"] == c["written"] == x.nbytes


@pytest.mark.parametrize("n", [8, 60, 8192])
def test_bytes_of_real_numbers(n: int) -> None:
    """Two numbers are one complex one; a half line is read twice, once from the cache."""
    x = mx.array(operand(np.random.default_rng(n), "rfft", 3, n))
    y = mx.array(operand(np.random.default_rng(n), "irfft", 3, n // 2 + 1))
    mx.eval(x, y)
    (c,) = counted(lambda: mx.fft.rfft(x)).values()
    assert (c["dispatches"], c["read"], c["written"]) == (1, x.nbytes, y.nbytes)
    (c,) = counted(lambda: mx.fft.irfft(y)).values()
    assert (c["dispatches"], c["unique_read"], c["written"]) == (1, y.nbytes, x.nbytes)
    assert c["read"] < 2 * y.nbytes


def test_bytes_of_long_lines() -> None:
    x = mx.array(operand(np.random.default_rng(5), "fft", 2, 8192))
    mx.eval(x)
    counts = counted(lambda: mx.fft.fft(x))
    assert sum(c["dispatches"] for c in counts.values()) == 2
    assert sum(c["read"] for c in counts.values()) == 2 * x.nbytes
    assert sum(c["written"] for c in counts.values()) == 2 * x.nbytes


def test_bytes_with_a_chirp() -> None:
    """The transform of the chirp is written once and read by every line."""
    lines, n, m = 4, 101, 256
    x = mx.array(operand(np.random.default_rng(6), "fft", lines, n))
    mx.eval(x)
    counts = counted(lambda: mx.fft.fft(x))
    assert sum(c["dispatches"] for c in counts.values()) == 2
    assert sum(c["read"] for c in counts.values()) == x.nbytes + lines * m * 8
    assert sum(c["written"] for c in counts.values()) == x.nbytes + m * 8
