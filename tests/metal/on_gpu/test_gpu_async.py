"""An evaluation that needs values which the GPU is still computing for an earlier one is encoded behind it: nobody
waits, and an error is met where its values are needed, and nowhere else.
"""

from __future__ import annotations

import threading

import mlx.core as mx
import numpy as np
import pytest

N = np.random.default_rng(5).standard_normal((64, 48)).astype(np.float32)
X = mx.array(N)
mx.eval(X)

# Reads its input when it has counted for a while: the work of an evaluation takes longer than encoding the next one.
_slow = mx.fast.metal_kernel(
    "slow",
    ["x"],
    ["y"],
    """
    uint i = thread_position_in_grid.x;
    volatile uint count = 0;
    if (i == 0) for (uint k = 0; k < 100000000; ++k) count = count + 1;
    y[i] = x[i];
""",
)


def slow(x: mx.array) -> mx.array:
    like_x = {"output_shapes": [x.shape], "output_dtypes": [x.dtype]}
    return _slow(inputs=[x], grid=(x.size, 1, 1), threadgroup=(64, 1, 1), **like_x)[0]


class Counted:
    """How often evaluations went on behind others, and what waited for the GPU, since it was made."""

    def __init__(self) -> None:
        self._continued, self._waits = mx.metal._continued(), mx.metal._waits()

    def continued(self) -> int:
        return mx.metal._continued() - self._continued

    def waits(self) -> dict[str, int]:
        now, before = mx.metal._waits(), self._waits
        return {name: n - before.get(name, 0) for name, n in now.items() if n != before.get(name, 0)}


@pytest.fixture(autouse=True)
def nothing_in_flight():
    mx.synchronize()
    mx.eval(slow(X[:1]))  # compiled


def test_one_behind_the_other():
    counted = Counted()
    a = slow(X)
    mx.async_eval(a)
    b = mx.exp(a).sum(axis=1)
    mx.async_eval(b)
    c = b[mx.array([3, 5])] + a[3, 0]
    mx.eval(c)
    np.testing.assert_allclose(np.array(c), np.exp(N).sum(1)[[3, 5]] + N[3, 0], rtol=1e-5)
    assert counted.continued() == 2 and counted.waits() == {}
    np.testing.assert_array_equal(np.array(a), N)
    np.testing.assert_allclose(np.array(b), np.exp(N).sum(1), rtol=1e-5)


def test_a_loop_of_steps():
    """As training: each step takes over the memory of the one before, and results are looked at later."""
    counted = Counted()
    w = slow(mx.zeros((256, 256)))
    mx.async_eval(w)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    losses = []
    for i in range(30):
        w = 3 - w + i
        losses.append(w.mean())
        mx.async_eval(w, losses[-1])
    want, values = 0.0, []
    for i in range(30):
        want = 3 - want + i
        values.append(want)
    assert [loss.item() for loss in losses] == values
    assert counted.continued() > 0 and counted.waits() == {}
    assert mx.get_peak_memory() - before < 8 * w.nbytes


def test_what_nobody_needs_is_finished():
    a = mx.sort(slow(X).flatten())
    mx.async_eval(a)
    mx.synchronize()
    pinned = mx.get_active_memory()
    del a
    assert mx.get_active_memory() == pinned - N.nbytes


@pytest.mark.parametrize("on", [mx.cpu, mx.gpu])
def test_several_streams_and_devices(on):
    stream = mx.new_stream(on)
    a = slow(X)
    mx.async_eval(a)
    b = mx.negative(a, stream=stream)
    mx.async_eval(b)
    c = b * 2 + mx.cumsum(a, axis=0)
    mx.async_eval(c)
    np.testing.assert_allclose(np.array(c), np.cumsum(N, 0) - 2 * N, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(np.array(b), -N)


def test_two_that_do_not_need_each_other():
    a, b = slow(X), slow(X + 1)
    mx.async_eval(a)
    mx.async_eval(b)
    c = a + b
    mx.async_eval(c)
    np.testing.assert_allclose(np.array(c), 2 * N + 1, rtol=1e-5, atol=1e-6)


def test_many_that_do_not_need_each_other():
    """Only some are on their way at a time; all of them arrive."""
    all_of_them = [slow(X[i : i + 1]) * i for i in range(12)]
    for a in all_of_them:
        mx.async_eval(a)
    for i, a in reversed(list(enumerate(all_of_them))):
        np.testing.assert_allclose(np.array(a), N[i : i + 1] * i, rtol=1e-6)


def test_wrong_positions_of_an_earlier_evaluation():
    """Values that do not depend on them are there, also those that were encoded behind."""
    a = slow(X)
    mx.async_eval(a)
    bad = X[mx.array([1, 64]) + a[0, :1].astype(mx.int32) * 0]
    mx.async_eval(bad)
    good, worse = a + 1, bad * 2
    mx.async_eval(good)
    mx.async_eval(worse)
    last = mx.exp(good)
    mx.async_eval(last)
    for _ in range(2):
        for lost in (worse, bad, worse + good[:2]):
            with pytest.raises(IndexError, match="index 64"):
                mx.eval(lost)
    np.testing.assert_array_equal(np.array(good), N + 1)
    np.testing.assert_allclose(np.array(last), np.exp(N + 1), rtol=1e-5)
    np.testing.assert_array_equal(np.array(a), N)


def test_wrong_positions_and_one_evaluation_that_waits():
    a = slow(X)
    bad = X[mx.array([-65]) + a[0, :1].astype(mx.int32) * 0]
    mx.async_eval(a, bad)
    good = mx.cumsum(a, axis=0)
    mx.eval(good)
    np.testing.assert_allclose(np.array(good), np.cumsum(N, 0), rtol=1e-4, atol=1e-5)
    with pytest.raises(IndexError, match="index -65"):
        mx.eval(good, bad.sum())
    with pytest.raises(IndexError, match="index -65"):
        mx.eval(mx.negative(bad, stream=mx.cpu))


def test_threads():
    """Several evaluate what is made of the same values in flight, at once and later."""
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(20):
                y = shared + seed
                z = mx.sum(y * i, axis=-1)
                if i % 3:
                    mx.async_eval(y, z)
                if i % 2:
                    mx.eval(z)
                np.testing.assert_allclose(np.array(z), ((N + seed) * i).sum(-1), rtol=1e-3, atol=1e-2)
                if i % 5 == 0:
                    mx.synchronize()
        except BaseException as error:
            errors.append(error)

    for _ in range(3):
        shared = slow(X)
        mx.async_eval(shared)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not errors, errors
