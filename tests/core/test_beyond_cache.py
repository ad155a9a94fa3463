"""Results larger than the last cache, which go past it: each element where it belongs, next to what was not written."""

import mlx.core as mx
import numpy as np
import pytest

N = 9_000_013  # 36 MB of float32; not a multiple of anything


@pytest.fixture(scope="module")
def operands():
    rng = np.random.default_rng(1)
    x, y = (rng.integers(-1000, 1000, N).astype(np.int32) for _ in range(2))
    return x, y, x.astype(np.float32), y.astype(np.float32)


def same(got: mx.array, expected: np.ndarray) -> None:
    got = np.array(got)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert np.array_equal(got, expected)


def test_one_step(operands):
    i, j, x, y = operands
    a, b = mx.array(i), mx.array(j)
    same(a + b, i + j)
    same(a > b, i > j)
    same(a.astype(mx.float32), x)
    same(a.astype(mx.int8) + b.astype(mx.int8), i.astype(np.int8) + j.astype(np.int8))
    same(mx.array(x) + mx.array(y), x + y)
    same(mx.where(a > 0, mx.array(x), mx.array(y)), np.where(i > 0, x, y))


def test_several_steps_and_any_alignment(operands):
    _, _, x, y = operands
    a, b = mx.array(x), mx.array(y)
    same(mx.maximum(a * 2 + b, b), np.maximum(x * 2 + y, y))
    same(a[3:] * b[3:] + a[:-3], x[3:] * y[3:] + x[:-3])
    same((a.astype(mx.float16) + 1).astype(mx.float32), (x.astype(np.float16) + np.float16(1)).astype(np.float32))
    c = x[: N // 2] + 1j * y[: N // 2]
    same(mx.array(c) + mx.array(c), c + c)


@pytest.mark.parametrize("columns", [1000, 777])
def test_rows_and_columns(operands, columns):
    x = operands[2][: N // columns * columns].reshape(-1, columns)
    a = mx.array(x)
    same(a + a[0], x + x[0])
    same((a + a[0]) * 2 - a, (x + x[0]) * 2 - x)
    same((a + a[0]) * a[:, :1] - a[0] + 1, (x + x[0]) * x[:, :1] - x[0] + 1)
    flipped = np.ascontiguousarray(x.T)
    same(a + mx.array(flipped).T, x + x)


def test_bits_are_those_of_small_pieces(operands):
    a = mx.array(operands[2][: 1 << 23]) * 0.001
    mx.eval(a)

    def chain(x: mx.array) -> mx.array:
        return mx.tanh(x) * x + mx.sigmoid(x * 2 - 1)

    pieces = [chain(a[k : k + 1000]) for k in range(0, a.size, 500_000)]
    whole = chain(a)
    for k, piece in zip(range(0, a.size, 500_000), pieces, strict=True):
        same(whole[k : k + 1000], np.array(piece))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int32])
def test_reductions_of_one_array_share_its_reading(axis, dtype):
    """In one pass, with the bits of each by itself; whatever runs between them and needs one of them."""
    shape = (9000, 4007) if dtype == mx.bfloat16 else (4100, 4007)  # 66 or 72 MB
    x = mx.random.randint(-50, 50, shape).astype(dtype)
    if dtype != mx.int32:
        x = x * 0.37
    mx.eval(x)
    functions = [mx.sum, mx.max, mx.mean, mx.min, lambda a, axis: mx.sum(a, axis=0), mx.any]
    alone = [f(x, axis=axis) for f in functions]
    for one in alone:
        mx.eval(one)
    together = [f(x, axis=axis) for f in functions]
    spread = together[1] - together[3]  # of two siblings
    last = mx.mean(x - spread.max(), axis=axis)
    mx.eval(*together, spread, last)
    for one, other in zip(alone, together, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert mx.array_equal(one, other)
    assert mx.array_equal(spread, alone[1] - alone[3])
    wanted = mx.mean(x - evaluated((alone[1] - alone[3]).max()), axis=axis)
    assert mx.array_equal(last, wanted)


def evaluated(x: mx.array) -> mx.array:
    mx.eval(x)
    return x
