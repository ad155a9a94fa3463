"""Products of matrices by the Metal kernels against float64, and the bytes that they move."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import BOUND, counted, double, error, on_gpu, random

DTYPES = [mx.float32, mx.float16, mx.bfloat16]


def swapped(x: mx.array) -> mx.array:
    return mx.swapaxes(x, -1, -2)


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("m,n,k", [(40, 64, 48), (33, 65, 47), (5, 9, 3)])
def test_layouts(m: int, n: int, k: int, ta: bool, tb: bool) -> None:
    rng = np.random.default_rng(m * n + k)
    a = random(rng, *((k, m) if ta else (m, k)))
    b = random(rng, *((n, k) if tb else (k, n)))
    a, b = swapped(a) if ta else a, swapped(b) if tb else b
    got = on_gpu(lambda: a @ b, "Matmul")
    assert error(got, double(a) @ double(b)) < BOUND[mx.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: mx.Dtype) -> None:
    rng = np.random.default_rng(1)
    a, b = random(rng, 40, 100, dtype=dtype), random(rng, 100, 36, dtype=dtype)
    assert error(on_gpu(lambda: a @ b, "Matmul"), double(a) @ double(b)) < BOUND[dtype]


@pytest.mark.parametrize(
    "a,b",
    [
        ((3, 2, 10, 12), (2, 12, 11)),
        ((4, 10, 12), (12, 11)),
        ((2, 1, 10, 12), (1, 3, 12, 11)),
        ((4, 1, 12), (12, 31)),
        ((3, 1, 12), (3, 12, 31)),
        ((12,), (12, 7)),
        ((7, 12), (12,)),
    ],
)
def test_batches(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    x, y = random(rng, *a), random(rng, *b)
    got = on_gpu(lambda: x @ y, "Matmul")
    assert error(got, double(x) @ double(y)) < BOUND[mx.float32]


def test_slices_and_strides() -> None:
    rng = np.random.default_rng(3)
    a, b = random(rng, 20, 45), random(rng, 45, 30)
    x, y = a[1:18, 3:40], b[3:40, 2:27]
    assert error(on_gpu(lambda: x @ y, "Matmul"), double(x) @ double(y)) < BOUND[mx.float32]
    x, y = a[::2, ::3], b[::-3, ::2]
    assert error(on_gpu(lambda: x @ y, "Matmul"), double(x) @ double(y)) < BOUND[mx.float32]


@pytest.mark.parametrize("m,n", [(1, 70), (70, 1), (3, 70), (70, 4), (1, 1)])
@pytest.mark.parametrize("k", [37, 1100])
@pytest.mark.parametrize("transposed", [False, True])
def test_vectors(m: int, n: int, k: int, transposed: bool) -> None:
    rng = np.random.default_rng(m + n + k)
    a, b = random(rng, m, k), random(rng, n, k)
    b = swapped(b)
    if transposed:
        a, b = swapped(random(rng, k, m)), random(rng, k, n)
    assert error(on_gpu(lambda: a @ b, "Matmul"), double(a) @ double(b)) < BOUND[mx.float32]


@pytest.mark.parametrize("c", [(), (29,), (21, 1), (21, 29)])
@pytest.mark.parametrize("m,k", [(21, 18), (1, 18), (21, 600)])
def test_addmm(c: tuple[int, ...], m: int, k: int) -> None:
    rng = np.random.default_rng(4)
    if m == 1 and c[:1] == (21,):
        c = (1, *c[1:])
    a, b, d = random(rng, m, k), random(rng, k, 29), random(rng, *c)
    got = on_gpu(lambda: mx.addmm(d, a, b, alpha=0.5, beta=-2.0), "AddMM")
    want = 0.5 * double(a) @ double(b) - 2.0 * double(d)
    assert error(got, want) < BOUND[mx.float32]


def test_empty_inner_dimension() -> None:
    assert not np.any(np.array(mx.zeros((6, 0)) @ mx.zeros((0, 7))))


def test_split_sums_are_the_same_every_time() -> None:
    rng = np.random.default_rng(5)
    a, b = random(rng, 12, 2000), random(rng, 2000, 20)
    counts = counted(lambda: a @ b)
    assert counts["gemm_sum"]["dispatches"] == 1
    first = np.array(a @ b)
    assert error(mx.array(first), double(a) @ double(b)) < BOUND[mx.float32]
    assert np.array_equal(first, np.array(a @ b))


@pytest.mark.parametrize("m,n", [(40, 72), (200, 300)])
def test_long_sums_are_made_in_parts(m: int, n: int) -> None:
    """All terms are positive, so that nothing hides the error of a sum in order, 1.5e-6 and more."""
    rng = np.random.default_rng(12)
    a, b = (mx.array(rng.random(shape).astype(np.float32)) for shape in ((m, 2048), (2048, n)))
    got = on_gpu(lambda: a @ b, "Matmul")
    want = double(a) @ double(b)
    assert (np.abs(double(got) - want) / want).max() < 8e-7


def test_gather() -> None:
    rng = np.random.default_rng(6)
    a, b = random(rng, 3, 9, 16), random(rng, 4, 16, 12)
    lhs, rhs = mx.array([0, 2, 1, 1, 0]), mx.array([3, 0, 0, 2, -1])
    got = on_gpu(lambda: mx.gather_mm(a, b, lhs, rhs), "GatherMM")
    want = double(a)[np.array(lhs)] @ double(b)[np.array(rhs)]
    assert error(got, want) < BOUND[mx.float32]


def test_segments() -> None:
    rng = np.random.default_rng(7)
    a, b = random(rng, 10, 50), random(rng, 50, 14)
    segments = mx.array([[0, 7], [7, 7], [7, 41], [3, 50]])
    for x in (a, swapped(mx.contiguous(swapped(a)))):
        got = on_gpu(lambda x=x: mx.segmented_mm(x, b, segments), "SegmentedMM")
        want = np.stack([double(a)[:, i:j] @ double(b)[i:j] for i, j in segments.tolist()])
        assert error(got, want) < BOUND[mx.float32]


def sums_of_segments(segments: mx.array, g: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The gradient of a: g[i] b[s:e]^T at the columns of each segment."""
    out = np.zeros((g.shape[-2], b.shape[0]))
    for (begin, end), part in zip(segments.reshape(-1, 2).tolist(), g.reshape(-1, *g.shape[-2:]), strict=True):
        out[:, begin:end] += part @ b[begin:end].T
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("m,n", [(10, 14), (70, 33), (36, 40), (1, 1)])
def test_gradients_of_segments(m: int, n: int, transposed: bool, dtype: mx.Dtype) -> None:
    """Segments that overlap, that are empty, that begin behind their end; columns that none has."""
    rng = np.random.default_rng(13)
    segments = mx.array([[[0, 7], [7, 7], [7, 41]], [[3, 50], [30, 10], [90, 97]]])
    a, b, g = (random(rng, *shape, dtype=dtype) for shape in ((m, 100), (100, n), (2, 3, m, n)))
    if transposed:
        a, b, g = (swapped(mx.contiguous(swapped(x))) for x in (a, b, g))

    def gradients() -> list[mx.array]:
        return mx.vjp(lambda a, b: mx.segmented_mm(a, b, segments), [a, b], [g])[1]

    got = on_gpu(gradients, "SegmentedMM", "SegmentedSum")
    assert error(got[0], sums_of_segments(segments, double(g), double(b))) < BOUND[dtype]
    other = sums_of_segments(segments, double(swapped(g)), double(swapped(a))).T
    assert error(got[1], other) < BOUND[dtype]


def test_long_sums_of_segments_are_made_in_parts() -> None:
    rng = np.random.default_rng(14)
    segments = mx.array([[0, 40]] * 8)
    a, b, g = (mx.array(rng.random(shape).astype(np.float32)) for shape in ((9, 40), (40, 300), (8, 9, 300)))
    got = on_gpu(lambda: mx.vjp(lambda a: mx.segmented_mm(a, b, segments), [a], [g])[1][0], "SegmentedSum")
    want = sums_of_segments(segments, double(g), double(b))
    assert (np.abs(double(got) - want) / want).max() < 8e-7


@pytest.mark.parametrize("bad", [[0, 8], [-1, 3], [9, 9]])
def test_gradients_of_segments_out_of_range(bad: list[int]) -> None:
    a, b, g = mx.ones((2, 7)), mx.ones((7, 3)), mx.ones((1, 2, 3))
    with pytest.raises(IndexError, match=r"\[segmented_mm\].*expected a part of \[0, 7\)"):
        mx.eval(mx.vjp(lambda a: mx.segmented_mm(a, b, mx.array([bad])), [a], [g])[1])


def test_gradients_of_no_segments() -> None:
    a, b, none = mx.ones((2, 7)), mx.ones((7, 3)), mx.zeros((0, 2), mx.int32)
    f = lambda: mx.vjp(lambda a: mx.segmented_mm(a, b, none), [a], [mx.ones((0, 2, 3))])[1][0]  # noqa: E731
    assert np.array_equal(np.array(on_gpu(f, "SegmentedSum")), np.zeros((2, 7)))


def test_masked_blocks() -> None:
    rng = np.random.default_rng(8)
    a, b = random(rng, 64, 96), random(rng, 96, 32)
    left = mx.array([[True, False, True], [False, True, True]])
    got = on_gpu(lambda: mx.block_masked_mm(a, b, 32, None, left, None), "Matmul")
    want = (double(a) * np.kron(np.array(left), np.ones((32, 32)))) @ double(b)
    assert error(got, want) < BOUND[mx.float32]


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
@pytest.mark.parametrize("m,n,k,tile", [(64, 96, 64, 32), (70, 50, 60, 32), (520, 500, 32, 64)])
def test_bytes_of_a_product(m: int, n: int, k: int, tile: int, dtype: mx.Dtype) -> None:
    """A tile of the result reads its rows of a and its columns of b once."""
    rng = np.random.default_rng(9)
    a, b = random(rng, m, k, dtype=dtype), random(rng, k, n, dtype=dtype)
    mx.eval(a, b)
    c = counted(lambda: a @ b)["gemm"]
    across, down = -(-n // tile), -(-m // tile)
    least = (m * k * across + k * n * down) * dtype.size
    assert c["threads"] == 128 * across * down
    assert c["unique_written"] == c["written"] == m * n * dtype.size
    assert c["read"] == least
    assert c["unique_read"] == (m * k + k * n) * dtype.size


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_bytes_of_a_sum_of_segments(dtype: mx.Dtype) -> None:
    """Each tile reads, for the segments that meet its columns, rows of x and the rows of b that the segment has."""
    rng = np.random.default_rng(15)
    m, n, k = 40, 96, 48
    segments = mx.array([[0, 20], [20, 50], [50, 96]])
    a, b, g = (random(rng, *shape, dtype=dtype) for shape in ((m, n), (n, k), (3, m, k)))
    mx.eval(a, b, g, segments)
    counts = counted(lambda: mx.vjp(lambda a: mx.segmented_mm(a, b, segments), [a], [g])[1][0])
    c = counts["segmented_sum"]
    down, across = -(-m // 32), n // 32
    meets = sum(-(-end // 32) - begin // 32 for begin, end in segments.tolist())
    operands = (meets * m * k + down * n * k) * dtype.size
    of_list = 128 * down * (across * 2 + meets * 3) * 4  # by each thread: bounds, three numbers per segment
    assert c["read"] == operands + of_list
    assert c["unique_read"] == (3 * m * k + n * k) * dtype.size + 4 * (across + 1 + 3 * meets)
    assert c["written"] == c["unique_written"] == m * n * dtype.size
    steps = -(-k // (16 if dtype == mx.float32 else 32))
    assert c["barriers"] == 2 * steps * meets * down


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
@pytest.mark.parametrize("vectors", [1, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_bytes_of_a_product_with_vectors(vectors: int, transposed: bool, dtype: mx.Dtype) -> None:
    rng = np.random.default_rng(11)
    n, k = 256, 1000
    x = random(rng, vectors, k, dtype=dtype)
    w = random(rng, n, k, dtype=dtype) if transposed else random(rng, k, n, dtype=dtype)
    mx.eval(x, w)
    counts = counted(lambda: x @ (swapped(w) if transposed else w))
    assert len(counts) == 1
    c = next(iter(counts.values()))
    matrix = n * k * dtype.size
    per_group = 32 if transposed else 128  # rows that share a reading of the vectors
    assert c["read"] == matrix + vectors * k * dtype.size * (n // per_group)
    assert c["unique_read"] == matrix + vectors * k * dtype.size
    assert c["written"] == vectors * n * dtype.size


def test_layout_of_operands_costs_no_copies() -> None:
    rng = np.random.default_rng(10)
    a, b = random(rng, 16, 64), random(rng, 24, 16)
    mx.eval(a, b)
    counts = counted(lambda: swapped(a) @ swapped(b))
    assert set(counts) == {"gemm"}
