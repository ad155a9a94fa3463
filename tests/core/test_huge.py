"""Arrays with more than 2^31 elements: positions and sizes that do not fit 32 bits.

Views have strides of zero, and so next to no memory. The others need up to 7 GiB:
`pytest tests/core/test_huge.py -m slow`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from scripts import simulated_gpu

SIDE = 46_342
SIZE = SIDE * SIDE
LAST = SIDE - 1
assert SIZE > 2**31


def in_last(axis: int) -> mx.array:
    """A view (SIDE, SIDE) that is 1 in its last row (axis 0) or column (axis 1), and 0 elsewhere."""
    line = mx.zeros((SIDE,), mx.int8).at[LAST].add(1)
    return mx.broadcast_to(line.reshape((SIDE, 1) if axis == 0 else (1, SIDE)), (SIDE, SIDE))


class TestViews:
    def test_sizes(self):
        a = in_last(1)
        assert a.size == SIZE and a.nbytes == SIZE and a.astype(mx.float64).nbytes == 8 * SIZE
        assert a.T.shape == (SIDE, SIDE) and a.reshape(2, SIDE // 2, SIDE).size == SIZE

    def test_single_elements(self):
        a, b = in_last(0), in_last(1)
        assert [x.item() for x in (a[-1, -1], a[LAST, 0], a[LAST - 1, LAST], b[0, LAST], b.T[LAST, 5])] == [
            1,
            1,
            0,
            1,
            1,
        ]
        assert a.reshape(2, SIDE // 2, SIDE)[1, -1, -1].item() == 1

    def test_slices(self):
        a = in_last(1)
        assert a[-2:, -3:].tolist() == [[0, 0, 1]] * 2
        assert a[::LAST, ::LAST].tolist() == [[0, 1]] * 2
        assert a[::-LAST, ::-LAST].tolist() == [[1, 0]] * 2

    def test_picking(self):
        a = in_last(0)
        assert mx.take(a, mx.array([LAST, 0]), axis=0)[:, :2].tolist() == [[1, 1], [0, 0]]
        assert a[mx.array([LAST, 0]), mx.array([LAST, LAST])].tolist() == [1, 0]
        assert mx.take_along_axis(in_last(1), mx.full((SIDE, 1), LAST, mx.int32), axis=1).sum().item() == SIDE

    @pytest.mark.parametrize("dtype", [mx.int64, mx.uint32])
    def test_positions_among_all(self, dtype):
        a = in_last(1)
        assert mx.take(a, mx.array([SIZE - 1, SIZE - 2, 2**31], dtype)).tolist() == [1, 0, int(2**31 % SIDE == LAST)]
        assert mx.take(a, mx.array([[LAST], [SIDE]], dtype)).tolist() == [[1], [0]]

    def test_positions_from_the_end_and_beyond(self):
        a = in_last(1)
        assert mx.take(a, mx.array([-1, -2, -SIZE], mx.int64)).tolist() == [1, 0, 0]
        for wrong in (SIZE, -SIZE - 1):
            with pytest.raises(IndexError, match="out of range"):
                mx.eval(mx.take(a, mx.array([wrong], mx.int64)))

    @pytest.mark.skipif(simulated_gpu, reason="reads of billions of elements, each of which the simulator checks")
    @pytest.mark.slow
    def test_reductions(self):
        a, b = in_last(0), in_last(1)
        assert a.sum().item() == b.sum().item() == SIDE
        assert a.max().item() == 1 and b.min().item() == 0 and mx.any(a).item() and not mx.all(b).item()
        assert a.sum(axis=1)[-2:].tolist() == b.sum(axis=0)[-2:].tolist() == [0, SIDE]
        assert mx.count_nonzero(b).item() == SIDE

    @pytest.mark.skipif(simulated_gpu, reason="reads of billions of elements, each of which the simulator checks")
    def test_means(self):
        """Of integers as of floats: no copy of them is made, which would be of 8 GiB."""
        mx.reset_peak_memory()
        for a in (in_last(0), in_last(1)):
            assert abs(a.mean().item() * SIDE - 1) < 1e-6
        assert in_last(0).mean(axis=1)[-2:].tolist() == in_last(1).mean(axis=0)[-2:].tolist() == [0, 1]
        assert mx.get_peak_memory() < 1 << 28

    @pytest.mark.skipif(simulated_gpu, reason="reads of billions of elements, each of which the simulator checks")
    @pytest.mark.slow
    def test_where_the_extreme_is(self):
        a, b = in_last(0), in_last(1)
        assert a.argmax().item() == LAST * SIDE and a.argmin().item() == 0
        assert (1 - b).argmin(keepdims=True).tolist() == [[LAST]]
        assert b.argmax(axis=1)[-2:].tolist() == [LAST, LAST]

    def test_what_does_not_fit_is_refused(self):
        """An axis has at most 2^31 - 1 elements, and positions are 32 bits wide."""
        with pytest.raises(OverflowError, match=f"flatten.*{SIZE}"):
            in_last(0).flatten()
        with pytest.raises(ValueError, match=r"argmax\] got 4900000000 elements, expected at most 4294967296"):
            mx.broadcast_to(mx.array(1), (70_000, 70_000)).argmax()


def available() -> int:
    """Bytes of memory that nobody needs."""
    text = Path("/proc/meminfo").read_text() if os.path.exists("/proc/meminfo") else ""
    found = [line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable")]
    return 1024 * int(found[0]) if found else 0


@pytest.fixture(scope="class")
def memory(request: pytest.FixtureRequest) -> Iterator[None]:
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("takes up to 7 GiB: pytest tests/core/test_huge.py -m slow")
    if available() < 7 << 30:
        pytest.skip(f"needs 7 GiB, {available() >> 30} are free")
    before = mx.set_cache_limit(0)
    yield
    mx.set_cache_limit(before)


@pytest.fixture(scope="class")
def marked(memory: None) -> mx.array:
    """int8 zeros, but for the last element, 3, and one before it, 2."""
    a = mx.zeros((SIDE, SIDE), mx.int8)
    a[LAST, LAST] = 3
    a[LAST - 1, 5] = 2
    mx.eval(a)
    return a


# Name: what is computed from `marked`, and what comes out.
READS: dict[str, tuple[Callable[[mx.array], mx.array], object]] = {
    "elements": (lambda a: mx.stack([a[-1, -1], a[-2, 5], a[-2, 4]]), [3, 2, 0]),
    "sum": (mx.sum, 5),
    "sum of rows": (lambda a: a.sum(axis=1)[-3:], [0, 2, 3]),
    "max": (mx.max, 3),
    "argmax": (mx.argmax, SIZE - 1),
    "argmax of rows": (lambda a: a.argmax(axis=1)[-2:], [5, LAST]),
    "a column": (lambda a: a[:, -1].sum(), 3),
    "rows that are picked": (lambda a: mx.take(a, mx.array([LAST, LAST - 1]), axis=0).sum(axis=1), [3, 2]),
    "gather": (lambda a: a[mx.array([LAST, LAST - 1]), mx.array([LAST, 5])], [3, 2]),
    "take": (lambda a: mx.take(a, mx.array([SIZE - 1, SIZE - 2 * SIDE + 5], mx.int64)), [3, 2]),
    "add": (lambda a: (a + a)[-2:, 5], [4, 0]),
    "compare": (lambda a: (a > 1).sum(), 2),
    "scatter": (lambda a: a.at[mx.array([LAST]), mx.array([LAST - 2])].add(1)[-1, -3:], [1, 0, 3]),
    "cumsum": (lambda a: mx.cumsum(a[-2:], axis=1)[:, -1], [2, 3]),
    "transposed copy": (lambda a: mx.contiguous(a.T)[-1, -2:], [0, 3]),
}


@pytest.mark.slow
class TestRealArrays:
    @pytest.mark.parametrize("name", READS)
    def test_reading(self, name, marked):
        read, want = READS[name]
        assert read(marked).tolist() == want

    def test_files(self, marked, tmp_path):
        path = tmp_path / "a.npy"
        mx.save(path, marked)
        assert path.stat().st_size > SIZE
        back = mx.load(path)
        assert back.shape == (SIDE, SIDE) and [back[-1, -1].item(), back[-2, 5].item()] == [3, 2]
        mapped = np.load(path, mmap_mode="r")
        assert mapped[LAST, LAST] == 3 and mapped[LAST - 1, 5] == 2


@pytest.mark.slow
class TestMadeLong:
    def test_concatenate(self, memory):
        half = mx.zeros((SIDE // 2, SIDE), mx.int8).at[SIDE // 2 - 1, LAST].add(7)
        whole = mx.concatenate([half, half], axis=0)
        assert whole.size == SIZE and whole.sum().item() == 14
        assert [whole[-1, -1].item(), whole[SIDE // 2 - 1, LAST].item(), whole[SIDE // 2, 0].item()] == [7, 7, 0]

    def test_a_long_inner_dimension(self, memory):
        """Two rows of 2^30 + 8 elements, which matmul lays out as 2^31 + 16, meet a few numbers of a column."""
        n = 2**30 + 8
        a = mx.broadcast_to(mx.array([[1.0], [0.5]], mx.float16), (2, n))
        b = mx.zeros((n, 1), mx.float16)
        b[0, 0], b[n // 2, 0], b[n - 1, 0] = 1, 2, 4
        assert (a @ b).tolist() == [[7], [3.5]]
