"""Positions and masks that the GPU has just computed do not hold up the host: the GPU checks them while it goes on, and
who waits for the result meets the error.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

ROWS, COLUMNS = 40, 30
N = np.random.default_rng(3).standard_normal((ROWS, COLUMNS)).astype(np.float32)
X, I = mx.array(N), mx.array([3, -1, 3])
MATRICES, VECTORS = X[:36].reshape(3, 12, 30), X[:4].reshape(4, 1, 30)
WORDS = mx.quantize(mx.concatenate([X, X[:, :2]], axis=1).reshape(4, 10, 32), 32, 4)
TALL = mx.concatenate([X, X[:, :2]], axis=1)[:4].reshape(4, 1, 32)
SEGMENTS = mx.array([[0, 7], [7, 7], [3, 29]])
mx.eval(X, I, MATRICES, VECTORS, WORDS, TALL, SEGMENTS)


def now(a: mx.array) -> mx.array:
    """The same values, which the GPU computes in the evaluation that needs them."""
    return mx.maximum(a, a)


def waits(f: Callable[[], object]) -> dict[str, int]:
    before = mx.metal._waits()
    mx.eval(f())
    return {name: n - before.get(name, 0) for name, n in mx.metal._waits().items() if n != before.get(name, 0)}


def masked(mask: mx.array, values: mx.array) -> mx.array:
    y = mx.array(X)
    y[mask] = values
    return y


def assigned(i: mx.array) -> mx.array:
    y = mx.array(X)
    y[i] = 2
    return y


POSITIVE = int((N > 0).sum())
# What is computed from an array that the GPU may be computing, and that array.
CASES: dict[str, tuple[Callable[[mx.array], mx.array], mx.array]] = {
    "rows": (lambda i: X[i], I),
    "elements": (lambda i: X[i, i - 3], I),
    "rows of a transposed array": (lambda i: mx.take(X.T, i, axis=1), I),
    "assignment": (assigned, I),
    "sums at places": (lambda i: X.at[i].add(X[:3]), I),
    "products at places": (lambda i: X.at[i, i].multiply(3), I),
    "many sums": (lambda i: mx.zeros((5,)).at[i].add(X.flatten()), mx.arange(ROWS * COLUMNS) % 5),
    "along an axis": (lambda i: mx.take_along_axis(X, i, 1), mx.argsort(X, 1)),
    "put along an axis": (lambda i: mx.put_along_axis(X, i, mx.zeros((ROWS, 2)), 1), mx.argsort(X, 1)[:, :2]),
    "masked assignment": (lambda m: masked(m > 0, mx.arange(POSITIVE)), X),
    "masked rows": (lambda m: masked(m[:, 0] > 0, mx.zeros((int((N[:, 0] > 0).sum()), COLUMNS))), X),
    "cut out": (lambda i: mx.slice(X, i, (0, 1), (4, 5)), mx.array([-7, 3])),
    "cut in": (lambda i: mx.slice_update(X, X[:4] * 2, i, (0,)), mx.array([9])),
    "cross entropy": (lambda t: mx.fast.cross_entropy(X, t), mx.arange(ROWS) % COLUMNS),
    "its gradient": (lambda t: mx.grad(lambda x: mx.fast.cross_entropy(x, t).sum())(X), mx.arange(ROWS) % COLUMNS),
    "embedding's gradient": (lambda i: mx.grad(lambda x: (x[i] ** 2).sum())(X), I),
    "experts": (lambda i: mx.gather_mm(VECTORS, MATRICES.swapaxes(1, 2), None, i), mx.array([2, 0, -1, 2])),
    "quantized experts": (lambda i: mx.gather_qmm(TALL, *WORDS, rhs_indices=i, group_size=32), mx.array([3, 0, -1, 2])),
    "segments": (lambda s: mx.segmented_mm(X[:5, :], X[:30, :].T[:, :7], s), SEGMENTS),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_waited_for(name):
    f, places = CASES[name]
    mx.eval(places)
    want = f(places)
    mx.eval(want)
    got: list[mx.array] = []
    assert waits(lambda: got.append(f(now(places))) or got) == {}
    np.testing.assert_array_equal(np.array(got[0]), np.array(want))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "int64", "uint64"])
def test_dtypes_and_strides(dtype):
    i = mx.array([[1, 2, 3, 4], [5, 0, 39, 7]]).astype(getattr(mx, dtype))
    mx.eval(i)
    f = lambda i: (X[i.T[::2]], X[mx.broadcast_to(i[:, :1], (2, 5)), 0])  # noqa: E731
    want = f(i)
    got: list[mx.array] = []
    assert waits(lambda: got.extend(f(now(i))) or got) == {}
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.array(g), np.array(w))


# A wrong position, and words of the error.
WRONG: dict[str, tuple[Callable[[mx.array], mx.array], mx.array, str]] = {
    "rows": (lambda i: X[i], mx.array([3, 40, 41]), r"\[take\] index 40 is out of range for axis 0 with size 40"),
    "below": (lambda i: X[i], mx.array([3, -41]), r"index -41 is out of range for axis 0"),
    "elements": (lambda i: X[mx.array([1, 2]), i], mx.array([5, 30]), r"\[gather\] index 30.*axis 1 with size 30"),
    "without a sign": (lambda i: X[i], mx.array([0, 2**64 - 1], dtype=mx.uint64), r"index 18446744073709551615 is"),
    "assignment": (assigned, mx.array([44]), r"\[scatter\] index 44.*size 40"),
    "along an axis": (lambda i: mx.take_along_axis(X, i, 1), mx.full((ROWS, 1), 30), r"take_along_axis\] index 30"),
    "put": (lambda i: mx.put_along_axis(X, i, X[:, :1], 1), mx.full((ROWS, 1), -31), r"put_along_axis\] index -31"),
    "cut out": (
        lambda i: mx.slice(X, i, (0, 1), (4, 5)),
        mx.array([1, 26]),
        r"\[slice\] start 26 is out of range for 5 elements of axis 1 with size 30",
    ),
    "cut in": (lambda i: mx.slice_update(X, X[:4], i, (0,)), mx.array([-41]), r"\[slice_update\] start -41"),
    "cross entropy": (
        lambda t: mx.fast.cross_entropy(X, t),
        mx.array([1] * 39 + [30]),
        r"target 30 at position 39 is outside \[-30, 30\)",
    ),
    "experts": (
        lambda i: mx.gather_mm(VECTORS, MATRICES.swapaxes(1, 2), None, i),
        mx.array([2, 0, 3, 2]),
        r"\[gather_mm\] index 3 ",
    ),
    "quantized experts": (
        lambda i: mx.gather_qmm(TALL, *WORDS, rhs_indices=i, group_size=32),
        mx.array([3, 0, -5, 2]),
        r"\[gather_qmm\] index -5 ",
    ),
    "segments": (
        lambda s: mx.segmented_mm(X[:5, :], X[:30, :].T[:, :7], s),
        mx.array([[0, 31]]),
        r"\[segmented_mm\] got a segment with the end 31, expected a part of \[0, 30\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_who_waits_meets_the_error(name):
    f, places, words = WRONG[name]
    mx.eval(places)
    for places_now in (places, now(places)):  # the host looks, or the device
        good, bad = X + 1, f(places_now)
        with pytest.raises(IndexError, match=words):
            mx.eval(good, bad)
        np.testing.assert_array_equal(np.array(good), N + 1)
        with pytest.raises(IndexError, match=words):
            mx.eval(bad + 1)
        assert places_now.shape == places.shape
        np.testing.assert_array_equal(np.array(places_now), np.array(places))
    assert (X[:1] - X[:1]).sum().item() == 0


def test_too_few_values_for_a_mask():
    for mask in (X > 0, None):
        if mask is not None:
            mx.eval(mask)
        with pytest.raises(ValueError, match=rf"masked_scatter\] the mask selects {POSITIVE} elements, got 5 values"):
            mx.eval(masked(X > 0 if mask is None else mask, mx.zeros((5,))))


def test_work_behind_the_error_is_lost_and_nothing_else():
    """Also where the CPU would go on with it, and where the device has long gone on."""
    before = mx.exp(X)
    bad = X[now(mx.array([40]))]
    on_cpu = mx.negative(bad, stream=mx.cpu)
    long = bad
    for _ in range(300):
        long = mx.softmax(long, axis=-1)
    for what in (on_cpu, long, bad):
        with pytest.raises(IndexError, match="index 40"):
            mx.eval(before, what)
        np.testing.assert_allclose(np.array(before), np.exp(N), rtol=1e-6)


def test_asynchronous_evaluation_tells_who_reads():
    bad = X[now(mx.array([2, 40]))]
    mx.async_eval(bad)
    with pytest.raises(IndexError, match="index 40"):
        bad.tolist()
    assert waits(lambda: X[now(mx.array([2, 39]))]) == {}


def test_what_has_to_wait_is_counted():
    """The host makes lists of the segments, by which the device finds its work."""
    gradient = mx.grad(lambda x: mx.segmented_mm(X[:5, :], x, now(SEGMENTS)).sum())
    assert waits(lambda: gradient(X[:30, :].T[:, :7])) == {"SegmentedSum": 1}
