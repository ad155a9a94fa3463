"""Many short rows, lines and matrices: kernels that take several of them at a time, against NumPy."""

import mlx.core as mx
import numpy as np
import pytest

LENGTHS = (1, 2, 3, 5, 8, 9, 12, 15, 16, 17, 31, 33)
ROWS = (1, 15, 63, 64, 65, 130, 193)


def drawn(*shape: int, key: int = 0) -> np.ndarray:
    return np.random.default_rng(key).standard_normal(shape, np.float32)


def close(got: mx.array, wanted: np.ndarray, rtol: float = 1e-5) -> None:
    largest = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(np.array(got), wanted, rtol=0, atol=rtol * largest)


@pytest.mark.parametrize("n", LENGTHS)
def test_reductions(n):
    for rows in ROWS:
        x = drawn(rows, n)
        for name in ("sum", "prod", "max", "min", "var"):
            close(getattr(mx, name)(mx.array(x), axis=1), getattr(np, name)(x.astype(np.float64), axis=1))
        whole = (x * 10).astype(np.int16)
        for name in ("sum", "max", "min"):
            assert np.array_equal(getattr(mx, name)(mx.array(whole), axis=1), getattr(np, name)(whole, axis=1))
        # Rows with more of the array behind them, and between them.
        wide = drawn(rows, n + 7)
        close(mx.sum(mx.array(wide)[:, 3 : 3 + n], axis=1), wide[:, 3 : 3 + n].astype(np.float64).sum(1))


@pytest.mark.parametrize("n", LENGTHS)
def test_softmax(n):
    x, g = drawn(70, n), drawn(70, n, key=1)
    x[3, 0], x[4, -1], x[5] = -np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
        wanted = e / e.sum(1, keepdims=True)
    np.testing.assert_allclose(np.array(mx.softmax(mx.array(x), axis=1)), wanted, rtol=2e-6, atol=1e-7)
    x[3:6] = 0
    y = np.array(mx.softmax(mx.array(x), axis=1), np.float64)
    (by,) = mx.vjp(lambda x: mx.softmax(x, axis=1), [mx.array(x)], [mx.array(g)])[1]
    close(by, y * (g - (g * y).sum(1, keepdims=True)))
    close(mx.logsumexp(mx.array(x), axis=1), np.log(np.exp(x.astype(np.float64)).sum(1)))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("k", (1, 3, 16, 61))
def test_products(n, k):
    for m in (1, 4, 29, 130):
        for layout in ("ab", "aB", "Ab", "AB"):
            a = drawn(3, k, m).swapaxes(1, 2) if layout[0] == "A" else drawn(3, m, k)
            b = drawn(3, n, k, key=1).swapaxes(1, 2) if layout[1] == "B" else drawn(3, k, n, key=1)
            close(mx.array(a) @ mx.array(b), a.astype(np.float64) @ b)
            close(mx.array(a)[1] @ mx.array(b)[2], a[1].astype(np.float64) @ b[2])


@pytest.mark.parametrize("n", (*LENGTHS, 64, 100))
def test_transforms(n):
    for lines in (1, 15, 16, 17, 131):
        x = drawn(lines, n) + 1j * drawn(lines, n, key=1)
        close(mx.fft.fft(mx.array(x)), np.fft.fft(x))
        close(mx.fft.ifft(mx.array(x)), np.fft.ifft(x))
        close(mx.fft.rfft(mx.array(x.real)), np.fft.rfft(x.real))
        # One that begins between the places where pairs do.
        flat = mx.array(np.concatenate([[0], x.real.ravel()]).astype(np.float32))
        close(mx.fft.rfft(flat[1:].reshape(lines, n)), np.fft.rfft(x.real))
        for size in (2 * n - 1, max(2, 2 * n - 2)):
            close(mx.fft.irfft(mx.array(x), size), np.fft.irfft(x, size))


def test_columns_by_index():
    x, index = drawn(3, 50, 40), np.random.default_rng(2).integers(-40, 40, 33)
    assert np.array_equal(mx.take(mx.array(x), mx.array(index), axis=2), x[:, :, index])
    assert np.array_equal(mx.array(x)[:, 7, mx.array(index)], x[:, 7, index])
    updates = drawn(3, 50, 33, key=3)
    wanted = x.astype(np.float64)
    for c, at in enumerate(index):
        wanted[:, :, at] += updates[:, :, c]
    close(mx.array(x).at[:, :, mx.array(index)].add(mx.array(updates)), wanted)
    with pytest.raises(IndexError, match="index 40 is out of range"):
        mx.eval(mx.take(mx.array(x), mx.array([0, 40]), axis=2))
    for n in (1, 3, 200):
        rows, picks = drawn(300, n), np.random.default_rng(n).integers(-n, n, (300, 2))
        got = mx.take_along_axis(mx.array(rows), mx.array(picks), 1)
        assert np.array_equal(got, np.take_along_axis(rows, picks, 1))


@pytest.mark.parametrize("dtype", ("float32", "float16", "int32", "uint8"))
def test_places_in_a_sequence(dtype):
    for n in (0, 1, 2, 7, 64, 1000):
        sequence = np.sort((drawn(n) * 50).astype(dtype))
        values = (drawn(1003, key=1) * 60).astype(dtype)
        if dtype.startswith("float") and n > 2:
            sequence[-1] = values[5] = values[1002] = np.nan
        for side in ("left", "right"):
            got = mx.searchsorted(mx.array(sequence), mx.array(values), side)
            assert np.array_equal(got, np.searchsorted(sequence, values, side))


@pytest.mark.parametrize("dtype", ("float32", "float16", "float64", "int8", "uint16", "int32", "int64", "bool"))
def test_sorts(dtype):
    """nan last, -0 before 0; indices are those of a stable sort, for which zeros are equal."""
    for n in LENGTHS:
        for rows in (1, 3, 4, 15, 16, 17, 70):
            x = (drawn(rows, n, key=n) * 3).astype(dtype)
            if x.dtype.kind == "f":
                x.flat[::5], x.flat[1::7], x.flat[2::9], x.flat[3::11] = 0, -0.0, np.nan, -np.inf
            for a in (mx.array(x), mx.array(np.repeat(x, 2, 1))[:, ::2], mx.array(np.ascontiguousarray(x.T)).T):
                got = np.array(mx.sort(a, axis=1))
                assert np.array_equal(got, np.sort(x, axis=1), equal_nan=got.dtype.kind == "f")
                assert np.array_equal(np.array(mx.argsort(a, axis=1)), np.argsort(x, axis=1, kind="stable"))
                assert np.array_equal(np.array(mx.sort(a.T, axis=0)), got.T, equal_nan=got.dtype.kind == "f")
            if got.dtype.kind == "f":
                zeros = np.signbit(got[:, :-1]) < np.signbit(got[:, 1:])
                assert not np.any(zeros & (got[:, :-1] == 0) & (got[:, 1:] == 0))
            best = np.array(mx.topk(mx.array(x), min(2, n), axis=1))
            assert np.array_equal(np.sort(best, 1), np.sort(x, 1)[:, -min(2, n) :], equal_nan=got.dtype.kind == "f")
