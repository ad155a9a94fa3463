"""Places, order and masks on the GPU: gather, scatter, sorting, selection, against the CPU's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mlx.core as mx
import numpy as np
import pytest
from matrices import on_gpu

INTEGERS = [mx.bool_, mx.int8, mx.uint8, mx.int16, mx.uint16, mx.int32, mx.uint32, mx.int64, mx.uint64]
REAL = [mx.float16, mx.bfloat16, mx.float32]
ALL = [*INTEGERS, *REAL, mx.complex64]
ids = {"ids": str}

ALL_NAMES = [
    *("gather", "slice", "slice_update", "masked_scatter", "masked_select", "take", "take_along_axis"),
    *("sort", "argsort", "partition", "argpartition", "searchsorted", "unique"),
    *("scatter", "scatter_add", "scatter_prod", "scatter_max", "scatter_min", "put_along_axis", "scatter_add_axis"),
]


def numbers(rng: np.random.Generator, shape: Sequence[int], dtype: mx.Dtype) -> mx.array:
    """Of few different values, so that some are equal; of floats with nan, infinities and zeros of either sign."""
    x = rng.integers(0 if dtype in (mx.uint8, mx.uint16, mx.uint32, mx.uint64) else -9, 9, shape)
    if dtype == mx.bool_:
        return mx.array(x > 0)
    if dtype not in REAL and dtype != mx.complex64:
        return mx.array(x).astype(dtype)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], np.float32)
    out = np.where(rng.random(shape) < 0.2, special[rng.integers(0, 5, shape)], x / np.float32(4))
    if dtype == mx.complex64:
        return mx.array((out + 1j * rng.integers(-2, 2, shape)).astype(np.complex64))
    return mx.array(out.astype(np.float32)).astype(dtype)


def bits(x: mx.array) -> np.ndarray:
    """Floats as what they are made of, all nan as one."""
    if x.dtype == mx.bfloat16:
        x = x.astype(mx.float32)
    out = np.atleast_1d(np.array(x))
    if out.dtype.kind not in "fc":
        return out
    out = out.view(np.float32) if out.dtype == np.complex64 else out
    return np.where(np.isnan(out), np.array(np.nan, out.dtype), out).view(f"u{out.itemsize}")


def same(f: Callable[..., mx.array], *arrays: mx.array) -> mx.array:
    """The GPU's result is the CPU's, bit for bit."""
    got = on_gpu(lambda: f(*arrays), *ALL_NAMES)
    with mx.stream(mx.cpu):
        want = f(*arrays)
    outputs = [x if isinstance(x, (list, tuple)) else [x] for x in (got, want)]
    for g, w in zip(*outputs, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        np.testing.assert_array_equal(bits(g), bits(w))
    return got


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


class TestGather:
    @pytest.mark.parametrize("dtype", ALL, **ids)
    def test_tuples(self, rng, dtype):
        x = numbers(rng, (5, 6, 7), dtype)
        i, j = mx.array(rng.integers(-5, 5, (3, 4))), mx.array(rng.integers(-6, 6, (3, 4)))
        same(lambda x, i, j: x[i, j], x, i, j)

    @pytest.mark.parametrize(
        "dtype", [mx.int8, mx.uint8, mx.int16, mx.uint16, mx.int32, mx.uint32, mx.int64, mx.uint64], **ids
    )
    def test_index_dtypes_and_strides(self, rng, dtype):
        x = numbers(rng, (6, 5), mx.float32).T[::-1]
        i = mx.array(rng.integers(0, 5, (4, 6))).astype(dtype).T[::2]
        j = mx.broadcast_to(mx.array(rng.integers(0, 6, 4)).astype(dtype), (3, 4))
        same(lambda x, i, j: x[i, j], x, i, j)

    def test_empty_and_0d(self, rng):
        x = numbers(rng, (4, 5), mx.float32)
        none = mx.zeros((0,), mx.int32)
        assert same(lambda x: x[none, none], x).shape == (0,)
        assert same(lambda x: x[mx.array(2), mx.array(-1)], x).shape == ()

    def test_out_of_range(self, rng):
        x = numbers(rng, (4, 5), mx.float32)
        for i, j, text in (
            ([0, 4], [0, 0], "index 4.*axis 0 with size 4"),
            ([0, 0], [-6, 0], "index -6.*axis 1 with size 5"),
        ):
            with pytest.raises(IndexError, match=text):
                mx.eval(x[mx.array(i), mx.array(j)])

    @pytest.mark.parametrize("axis", [0, 1, 2])
    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2), (0,), (9,)], ids=str)
    def test_of_strided_operands(self, rng, axis, shape):
        x = numbers(rng, (5, 6, 7), mx.float32)
        i = mx.array(rng.integers(-5, 5, shape))
        for y in (x.transpose(2, 0, 1), x[::-1, :, 1:], mx.broadcast_to(x[:, :1], (5, 8, 7))):
            same(lambda y: mx.take(y, i, axis=axis), y)

    @pytest.mark.parametrize("dtype", [mx.uint8, mx.float16, mx.float32, mx.complex64], **ids)
    @pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8])
    def test_slices_of_any_width_and_place(self, rng, dtype, width):
        x, i = numbers(rng, (8 * width + 1,), dtype), mx.array([3, 0, -1, 3])
        for first in (0, 1):  # aligned or not
            same(lambda x, first=first: mx.take(x[first : first + 7 * width].reshape(7, width), i, axis=0), x)
        same(lambda x: mx.take(x[:-1].reshape(2, 4, width), i, axis=1), x)


class TestScatter:
    HOW = ("set", "add", "multiply", "maximum", "minimum")

    def updated(self, how: str, x: mx.array, at, u: mx.array) -> mx.array:
        if how == "set":
            y = mx.array(x)
            y[at] = u
            return y
        return getattr(x.at[at], how)(u)

    @pytest.mark.parametrize("how", HOW)
    @pytest.mark.parametrize("dtype", ALL, **ids)
    def test_updates_meet(self, rng, how, dtype):
        x, u = numbers(rng, (6, 5), dtype), numbers(rng, (11, 5), dtype)
        i = mx.array(rng.integers(-6, 6, 11))
        f = lambda x, u: self.updated(how, x, i, u)  # noqa: E731
        if dtype in (mx.float16, mx.bfloat16) and how in ("add", "multiply"):  # the CPU rounds after each update
            got = on_gpu(lambda: f(x, u), *ALL_NAMES)
            want = f(x.astype(mx.float32), u.astype(mx.float32)).astype(dtype)
            np.testing.assert_array_equal(bits(got), bits(want))
        else:
            same(f, x, u)

    @pytest.mark.parametrize("count", [1, 63, 64, 65, 200, 1000, 5000])
    @pytest.mark.parametrize("places", [1, 3, 400])
    @pytest.mark.parametrize("how", ["set", "add", "maximum"])
    def test_long_runs(self, rng, count, places, how):
        x = mx.array(rng.integers(-50, 50, (places, 2)).astype(np.float32))  # sums are exact
        u = mx.array(rng.integers(-50, 50, (count, 2)).astype(np.float32))
        i = mx.array(rng.integers(0, places, count))
        same(lambda x, u: self.updated(how, x, i, u), x, u)
        same(lambda x, u: self.updated(how, x, mx.sort(i), u), x, u)

    def test_results_are_the_same_in_every_run(self, rng):
        x, u = mx.zeros((3,)), mx.array(rng.standard_normal(900).astype(np.float32))
        i = mx.array(rng.integers(0, 3, 900))
        first = np.array(x.at[i].add(u))
        np.testing.assert_allclose(
            first, [np.array(u)[np.array(i) == k].sum(dtype=np.float64) for k in range(3)], rtol=1e-5
        )
        for _ in range(2):
            np.testing.assert_array_equal(np.array(x.at[i].add(u)), first)

    def test_several_axes_and_boxes(self, rng):
        x, u = numbers(rng, (5, 6, 4), mx.int32), numbers(rng, (7, 4), mx.int32)
        i, j = mx.array(rng.integers(0, 5, 7)), mx.array(rng.integers(-6, 6, 7))
        for how in self.HOW:
            same(lambda x, u, how=how: self.updated(how, x, (i, j), u), x, u)
        same(
            lambda x, u: self.updated("add", x, (slice(1, 3), mx.array([3, 3, 0])), u[:3]),
            x,
            numbers(rng, (3, 4), mx.int32),
        )

    def test_strided_operands(self, rng):
        x = numbers(rng, (4, 6), mx.int32).T
        u = numbers(rng, (4, 5), mx.int32).T
        same(lambda x, u: self.updated("add", x, mx.array([5, 0, 0, 2, 5]), u), x, u)
        one = mx.broadcast_to(mx.array(3), (5, 4))
        same(lambda x, u: self.updated("add", x, mx.array([5, 0, 0, 2, 5]), u), x, one)

    def test_in_place_and_not(self, rng):
        x = numbers(rng, (8, 3), mx.float32)
        kept = x + 0
        y = x + 0
        y[mx.array([1, 1])] = mx.zeros((2, 3))
        np.testing.assert_array_equal(bits(x), bits(kept))
        assert np.array(y)[1].tolist() == [0, 0, 0]

    def test_empty(self, rng):
        x = numbers(rng, (4, 5), mx.float32)
        same(lambda x: x.at[mx.zeros((0,), mx.int32)].add(mx.zeros((0, 5))), x)
        same(lambda x: self.updated("set", x, mx.array(2), mx.zeros((5,))), x)

    def test_out_of_range(self, rng):
        x = numbers(rng, (4, 5), mx.float32)
        with pytest.raises(IndexError, match=r"index 4.*axis 0 with size 4"):
            mx.eval(x.at[mx.array([0, 4])].add(1))

    def test_gradient_of_an_embedding(self, rng):
        w = mx.array(rng.integers(-4, 4, (9, 6)).astype(np.float32))
        i = mx.array(rng.integers(0, 9, (4, 5)))
        same(lambda w: mx.grad(lambda w: (w[i] ** 2).sum())(w), w)


class TestAlongAnAxis:
    @pytest.mark.parametrize("n", [1, 3, 40])
    @pytest.mark.parametrize("axis", [0, 1, -1])
    @pytest.mark.parametrize("dtype", [mx.int32, mx.float32, mx.bfloat16, mx.complex64, mx.bool_, mx.int64], **ids)
    def test_put(self, rng, dtype, axis, n):
        x = numbers(rng, (3, 4, 5), dtype)
        shape = list(x.shape)
        shape[axis] = n
        i = mx.array(rng.integers(-x.shape[axis], x.shape[axis], shape))
        same(lambda x, u: mx.put_along_axis(x, i, u, axis), x, numbers(rng, shape, dtype))

    @pytest.mark.parametrize("shape", [(40,), (4, 40), (40, 4), (3, 200, 2)])
    def test_add(self, rng, shape):
        axis = 1 if len(shape) > 1 and shape[0] < 40 else 0
        x = mx.array(rng.integers(-9, 9, shape).astype(np.float32))
        i = mx.array(rng.integers(0, shape[axis] // 4, shape))

        def gradient(x):
            return mx.grad(lambda x: (mx.take_along_axis(x, i, axis) * 3).sum())(x)

        same(gradient, x)


class TestMasks:
    @pytest.mark.parametrize("dtype", [mx.uint8, mx.bfloat16, mx.float32, mx.complex64], **ids)
    @pytest.mark.parametrize("shape", [(7,), (50, 70), (3000,), (1024,), (1, 1025)])
    def test_assignment(self, rng, dtype, shape):
        x, u = numbers(rng, shape, dtype), numbers(rng, shape, dtype)
        mask = mx.array(rng.random(shape) < 0.4)
        count = int(mask.sum().item())

        def assigned(x, u):
            y = mx.array(x)
            y[mask] = u.reshape(-1)[:count]
            return y

        same(assigned, x, u)

    def test_rows(self, rng):
        x, u = numbers(rng, (20, 3, 2), mx.float32), numbers(rng, (60, 2), mx.float32)
        mask = mx.array(rng.random((20, 3)) < 0.4)

        def assigned(x, u):
            y = mx.array(x)
            y[mask] = u[: int(mask.sum().item())]
            return y

        same(assigned, x, u)

    def test_all_and_nothing(self, rng):
        x = numbers(rng, (30,), mx.float32)
        for value in (True, False):

            def assigned(x, value=value):
                y = mx.array(x)
                y[mx.full((30,), value)] = mx.zeros((30 if value else 0,))
                return y

            same(assigned, x)

    def test_too_few_values(self):
        x = mx.zeros((6,))
        with pytest.raises(ValueError, match=r"mask selects 6 elements, got 2"):
            x[mx.full((6,), True)] = mx.ones((2,))
            mx.eval(x)

    def test_selection(self, rng):
        x, mask = numbers(rng, (40, 50), mx.float32), mx.array(rng.random((40, 50)) < 0.3)
        same(lambda x: x[mask], x)
        same(lambda x: mx.grad(lambda x: (mx.where(mx.isfinite(x), x, 0)[mask] * 2).sum())(x), x)


class TestDynamicSlices:
    @pytest.mark.parametrize("dtype", [mx.bool_, mx.float16, mx.float32, mx.complex64], **ids)
    def test_boxes(self, rng, dtype):
        x, u = numbers(rng, (6, 7), dtype), numbers(rng, (2, 3), dtype)
        for start in ([0, 0], [4, 4], [-2, 1]):
            at = mx.array(start) + 0  # computed on the device
            same(lambda x, at=at: mx.concatenate([mx.slice(x, at, (0, 1), (2, 3))] * 2), x)
            same(lambda x, u, at=at: mx.slice_update(x, u, at, (0, 1)), x, u)
            same(lambda x, u, at=at: mx.slice_update(x, u[:1], at[1:], (1,)), x, u)

    def test_out_of_range(self, rng):
        x = numbers(rng, (6, 7), mx.float32)
        with pytest.raises(IndexError, match=r"start 5 is out of range for 2 elements of axis 0 with size 6"):
            mx.eval(mx.slice(x, mx.array([5]), (0,), (2, 7)))


class TestSort:
    @pytest.mark.parametrize("dtype", ALL, **ids)
    @pytest.mark.parametrize("n", [1, 2, 8, 9, 100, 300])
    def test_rows(self, rng, dtype, n):
        x = numbers(rng, (3, n), dtype)
        same(lambda x: mx.sort(x, axis=-1), x)
        same(lambda x: mx.argsort(x, axis=-1), x)

    @pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.uint8, mx.int64, mx.complex64], **ids)
    @pytest.mark.parametrize("n", [2047, 2048, 2049, 4096, 5000, 9001])
    def test_passes(self, rng, dtype, n):
        x = numbers(rng, (2, n), dtype)
        same(lambda x: mx.sort(x, axis=-1), x)
        same(lambda x: mx.argsort(x, axis=-1), x)

    @pytest.mark.parametrize("axis", [0, 1, 2, None])
    def test_axes_and_strides(self, rng, axis):
        x = numbers(rng, (5, 6, 7), mx.float32)
        for y in (x, x.transpose(2, 0, 1), x[::-1, ::2]):
            same(lambda y: mx.sort(y, axis=axis), y)
            same(lambda y: mx.argsort(y, axis=axis), y)
        same(lambda x: mx.sort(x, axis=0), numbers(rng, (3000, 2), mx.float32))
        same(lambda x: mx.argsort(x, axis=0), numbers(rng, (3000, 2), mx.float32))

    def test_many_rows(self, rng):
        x = mx.array(rng.integers(-100, 100, (1000, 5)).astype(np.int16))
        same(lambda x: mx.argsort(x, axis=-1), x)

    def test_already_in_order(self):
        for x in (mx.arange(5000), mx.arange(5000)[::-1], mx.zeros((5000,)), mx.arange(5000) % 2):
            same(lambda x: mx.argsort(x), x)

    def test_empty_and_0d(self):
        for shape in ((0,), (3, 0), (0, 3)):
            assert same(lambda x: mx.sort(x, axis=-1), mx.zeros(shape)).shape == shape
            assert same(lambda x: mx.argsort(x, axis=-1), mx.zeros(shape)).shape == shape
        assert same(lambda x: mx.sort(x, axis=None), mx.array(3.0)).tolist() == [3]

    @pytest.mark.parametrize("kth", [0, 3, -1])
    def test_partition(self, rng, kth):
        x = mx.array(rng.permutation(20).astype(np.float32))
        kth %= 20
        got = np.array(on_gpu(lambda: mx.partition(x, kth), *ALL_NAMES))
        assert got[kth] == kth and set(got[:kth]) == set(range(kth))
        order = np.array(on_gpu(lambda: mx.argpartition(x, kth), *ALL_NAMES))
        np.testing.assert_array_equal(np.sort(np.array(x)[order[:kth]]), np.arange(kth))
        assert np.array(x)[order[kth]] == kth

    def test_topk(self, rng):
        x = mx.array(rng.permutation(5000).reshape(2, 2500))
        got = np.sort(np.array(on_gpu(lambda: mx.topk(x, 7), *ALL_NAMES)), axis=-1)
        np.testing.assert_array_equal(got, np.sort(np.array(x), axis=-1)[:, -7:])

    def test_gradient(self, rng):
        x = mx.array(rng.permutation(60).reshape(3, 20).astype(np.float32))
        same(lambda x: mx.grad(lambda x: (mx.sort(x, -1) * mx.arange(20)).sum())(x), x)


class TestSearch:
    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.int32, mx.uint8, mx.int64], **ids)
    def test_places(self, rng, dtype, side):
        sequence, x = mx.sort(numbers(rng, (50,), dtype), stream=mx.cpu), numbers(rng, (9, 8), dtype)
        same(lambda s, x: mx.searchsorted(s, x, side), sequence, x)
        same(lambda s, x: mx.searchsorted(s[:0], x, side), sequence, x)
        same(lambda s, x: mx.searchsorted(s, x[:0], side), sequence, x.T)

    @pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int32, mx.bool_, mx.complex64], **ids)
    @pytest.mark.parametrize("size", [0, 3, 30, 600])
    def test_unique(self, rng, dtype, size):
        x = numbers(rng, (500,), dtype)
        every = {"return_index": True, "return_inverse": True, "return_counts": True}
        same(lambda x: mx.unique(x, size=size, **every), x)
