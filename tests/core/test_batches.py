"""Small element-wise groups that do not need each other run together (mlx/graph/batch.h)."""

from __future__ import annotations

import threading

import mlx.core as mx
import numpy as np
import pytest
from forecasts import check_forecast

rng = np.random.default_rng(0)


def draw(*shape) -> np.ndarray:
    return rng.uniform(0.5, 2, shape).astype(np.float32)


def given(x: np.ndarray, dying: bool) -> mx.array:
    """With memory of its own, which nobody else holds where it dies."""
    return mx.array(x) * 1 if not dying else mx.concatenate([mx.array(x), mx.array(x)])[: len(x)]


@pytest.mark.parametrize("count", [1, 2, 3, 30, 200])
@pytest.mark.parametrize("side", [4, 96, 128, 300])
def test_many_that_are_independent(count, side):
    if count == 200 and side == 300:
        count = 40
    a, b = [[draw(side, side) for _ in range(count)] for _ in range(2)]
    x, y = [[mx.array(v) for v in values] for values in (a, b)]
    mx.eval(x, y)
    outs = [mx.sqrt(p * q + 1) / (p + 2 * q) - p for p, q in zip(x, y, strict=True)]
    check_forecast(outs)
    for out, p, q in zip(outs, a, b, strict=True):
        np.testing.assert_allclose(out, np.sqrt(p * q + 1) / (p + 2 * q) - p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_graphs_of_small_groups(seed):
    """Values that are read later, by element-wise and other operations, held and not, old memory taken over."""
    own = np.random.default_rng(seed)
    pool = [(mx.array(v), v.astype(np.float64)) for v in (draw(120, 120) for _ in range(6))]
    mx.eval([x for x, _ in pool])
    for _ in range(60):
        (x, a), (y, b) = pool[own.integers(len(pool))], pool[own.integers(len(pool))]
        kind = own.integers(7)
        if kind == 0:
            new = mx.tanh(x * 0.5 + y * y) - 0.25 * y, np.tanh(a * 0.5 + b * b) - 0.25 * b
        elif kind == 1:
            new = mx.abs(x - y) + mx.sqrt(mx.abs(y)), np.abs(a - b) + np.sqrt(np.abs(b))
        elif kind == 2:
            new = (x @ y) * (1 / 120), a @ b / 120
        elif kind == 3:
            new = mx.maximum(x.T, y) * mx.exp(-mx.square(x)), np.maximum(a.T, b) * np.exp(-a * a)
        elif kind == 4:
            new = x - mx.mean(y * 2 - x), a - np.mean(b * 2 - a)
        elif kind == 5:
            new = mx.concatenate([x[60:], y[:60]]), np.concatenate([a[60:], b[:60]])
        else:
            new = mx.where(x > y, x * 0.5, y + 0.5), np.where(a > b, a * 0.5, b + 0.5)
        if own.integers(3) == 0:
            pool[own.integers(len(pool))] = new
        else:
            pool.append(new)
        del x, y, new
    outs = [x for x, _ in pool[-20:]]
    values = [a for _, a in pool[-20:]]
    del pool
    check_forecast(outs)
    for out, value in zip(outs, values, strict=True):
        np.testing.assert_allclose(out, value, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("dying", [True, False])
def test_memory_is_taken_over_as_before(dying):
    n, count = 120 * 120 * 4, 40
    x = [given(draw(120, 120), dying) for _ in range(count)]
    mx.eval(x)
    outs = [mx.exp(-v) * v + v for v in x]
    if dying:
        del x
    mx.eval(mx.zeros(1))
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    check_forecast(outs)
    grown = mx.get_peak_memory() - before
    assert grown < 4096 if dying else n * count <= grown < n * count + 4096


def test_what_waits_holds_little():
    """Each of the values dies at once: no more of them are alive than a batch has."""
    total = mx.zeros((120, 120))
    for i in range(400):
        total = mx.concatenate([total[:1], (mx.exp(total * 0.1) - mx.cos(total + i))[1:]])
    check_forecast(total)
    branches = [mx.sum(mx.exp(mx.full((120, 120), float(i)) * 1e-3) * mx.ones((120, 120))) for i in range(400)]
    out = sum(branches[1:], branches[0])
    del branches
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    check_forecast(out)
    assert mx.get_peak_memory() - before < 4 << 20


def test_values_for_operations_that_are_not_element_wise():
    a = [draw(120, 120) for _ in range(8)]
    x = [mx.array(v) for v in a]
    y = [mx.tanh(v) * 2 + v for v in x]
    out = mx.stack(y).sum(axis=0) @ y[3]
    b = [np.tanh(v) * 2 + v for v in a]
    np.testing.assert_allclose(out, np.stack(b).sum(0) @ b[3], rtol=1e-4)
    for v, w in zip(y, b, strict=True):
        np.testing.assert_allclose(v, w, rtol=1e-5)


def test_an_error_loses_nothing():
    x = [mx.array(draw(120, 120)) for _ in range(6)]
    small = [mx.sqrt(v) * 2 - v for v in x]
    bad = mx.linalg.inv(mx.zeros((3, 3)))
    before = mx.array(x[0]) * 1
    with pytest.raises(Exception, match=r"\[linalg"):
        mx.eval([*small, bad, before])
    for v, out in zip(x, small, strict=True):
        np.testing.assert_allclose(out, np.sqrt(v) * 2 - np.array(v), rtol=1e-5)


def test_threads_that_need_each_others_values():
    shared = [mx.array(draw(120, 120)) for _ in range(30)]
    mx.eval(shared)
    for _ in range(20):
        middle = [mx.tanh(v) * 0.5 + v for v in shared]
        results: list = [None] * 4

        def run(k, middle=middle, results=results):
            outs = [mx.exp(-m) * (k + 1) - m for m in middle[k::2] + middle[:k]]
            mx.eval(outs)
            results[k] = outs

        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for k, outs in enumerate(results):
            for m, out in zip(middle[k::2] + middle[:k], outs, strict=True):
                np.testing.assert_allclose(out, np.exp(-np.array(m)) * (k + 1) - m, rtol=1e-5, atol=1e-6)


def test_asynchronous_tapes():
    x = [mx.array(draw(120, 120)) for _ in range(20)]
    expected = [np.array(v, np.float64) for v in x]
    for _ in range(30):
        x = [mx.sin(v) * 0.5 + v for v in x]
        expected = [np.sin(v) * 0.5 + v for v in expected]
        mx.async_eval(x)
    for v, w in zip(x, expected, strict=True):
        np.testing.assert_allclose(v, w, rtol=1e-4)
