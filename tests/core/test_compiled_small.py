"""Traces of small programs are replayed with a node for each group of steps (mlx/transforms/fuse_trace.h)."""

from __future__ import annotations

import gc
import threading

import mlx.core as mx
import numpy as np
import pytest
from forecasts import check_forecast

rng = np.random.default_rng(0)


def draw(*shape) -> mx.array:
    x = mx.array(rng.normal(size=shape).astype(np.float32))
    mx.eval(x)
    return x


def same(got, expected) -> bool:
    return all(mx.array_equal(a, b, equal_nan=True) and a.dtype == b.dtype for a, b in zip(got, expected, strict=True))


def moments(g, m, v, w):
    v = mx.abs(v)
    m = m + 0.1 * (g - m)
    v = v + 0.01 * (mx.square(g) - v)
    return w - m / (mx.sqrt(v) + 1e-8), m, v


def mixture(a, b, c, d):
    """Groups of several shapes, folds, values that several read, types, a product in the middle."""
    x = mx.tanh(a * b + 1) - b
    y = (x @ c) * 2 + x
    s = mx.sum(mx.square(y - a))
    z = mx.where(y > x, y, mx.exp(-mx.square(x))) / (1 + mx.abs(s))
    parts = mx.split(z * d + 1, 2)
    return x, z, parts[0] - parts[1], (z.astype(mx.float16) * 2 + 1), s * 2 + mx.sqrt(mx.abs(s))


def rounds(a, b, c, d):
    for k in range(20):
        a, b = a + 0.01 * (b * c - a), b + 0.01 * (mx.sin(a) - d * b) * (k + 1)
    return a, b


def spread(a, b, c, d):
    """Both outputs of one operation, in one group."""
    return mx.grad(lambda a: (mx.sqrt(mx.var(a, axis=0) + 0.5) * b).sum())(a), mx.var(c * d, axis=0) * 2 + 1


FUNCTIONS = [moments, mixture, rounds, spread]


@pytest.mark.parametrize("fun", FUNCTIONS)
@pytest.mark.parametrize("shape", [(4, 4), (64, 64), (128, 128), (200, 200)])
def test_same_bits(fun, shape):
    compiled = mx.compile(fun)
    for _ in range(3):
        args = [draw(*shape) for _ in range(4)]
        assert same(compiled(*args), fun(*args))


@pytest.mark.parametrize("fun", FUNCTIONS)
@pytest.mark.parametrize("dying", [True, False])
def test_forecasts_and_memory(fun, dying):
    compiled = mx.compile(fun)
    mx.eval(compiled(*[draw(64, 64) for _ in range(4)]))
    args = [draw(64, 64) for _ in range(4)]
    outs = compiled(*args)
    if dying:
        del args
    check_forecast(outs)


def test_memory_that_dies_is_taken_over():
    compiled = mx.compile(moments)
    mx.eval(compiled(*[draw(64, 64) for _ in range(4)]))
    args = [draw(64, 64) for _ in range(4)]
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    outs = compiled(*args)
    del args
    mx.eval(outs)
    assert mx.get_peak_memory() - before < 1024
    gc.collect()
    assert mx.get_active_memory() - before <= 1024 - 4 * 64 * 64


def test_arrays_that_somebody_holds_are_not_written_to():
    compiled = mx.compile(moments)
    args = [draw(64, 64) for _ in range(4)]
    values = [np.array(a) for a in args]
    mx.eval(compiled(*args))
    mx.eval(compiled(*args))
    for a, v in zip(args, values, strict=True):
        assert np.array_equal(np.array(a), v)


def test_results_that_nobody_wants():
    compiled = mx.compile(mixture)
    args = [draw(64, 64) for _ in range(4)]
    expected = mixture(*args)
    for wanted in range(5):
        compiled(*args)
        got = compiled(*args)[wanted]
        check_forecast(got)
        assert same([got], [expected[wanted]])


def test_results_that_are_evaluated_one_after_the_other():
    compiled = mx.compile(moments)
    args = [draw(64, 64) for _ in range(4)]
    expected = moments(*args)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        got = compiled(*args)
        for k in order:
            assert mx.array_equal(got[k], expected[k])


def test_a_chain_of_calls():
    compiled = mx.compile(moments)
    g, m, v, w = [draw(64, 64) for _ in range(4)]
    state, expected = (w, m, v), (w, m, v)
    for _ in range(50):
        w, m, v = state
        state = compiled(g, m, v, w)
        w, m, v = expected
        expected = moments(g, m, v, w)
    assert same(state, expected)


def test_transforms_see_every_operation():
    compiled = mx.compile(moments)
    g, m, v, w = [draw(8, 8) for _ in range(4)]
    v = mx.square(v) + 1
    mx.eval(compiled(g, m, v, w))

    def loss(f):
        return lambda w, g: f(g, m, v, w)[0].square().sum()

    for transform in (
        lambda f: mx.grad(loss(f), argnums=(0, 1))(w, g),
        lambda f: mx.vmap(f)(g, m, v, w),
        lambda f: mx.jvp(lambda *a: list(f(*a)), [g, m, v, w], [g, g, g, g])[1],
        lambda f: [mx.grad(lambda w: mx.grad(loss(f))(w, g).sum())(w)],
        lambda f: mx.compile(lambda *a: [x * 2 for x in f(*a)])(g, m, v, w),
        lambda f: mx.grad(lambda w: mx.checkpoint(lambda w: f(g, m, v, w)[0])(w).sum())(w)[None],
    ):
        for got, expected in zip(transform(compiled), transform(moments), strict=True):
            assert mx.allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_export_sees_every_operation(tmp_path):
    compiled = mx.compile(moments)
    args = [draw(8, 8) for _ in range(4)]
    mx.eval(compiled(*args))
    path = str(tmp_path / "f.mlxfn")
    mx.export_function(path, compiled, *args)
    assert same(mx.import_function(path)(*args), moments(*args))


def test_calls_from_many_threads():
    compiled = mx.compile(mixture)
    args = [draw(64, 64) for _ in range(4)]
    expected = mixture(*args)
    results: list = []

    def run():
        results.extend(same(compiled(*args), expected) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 80


def test_asynchronous_calls():
    compiled = mx.compile(rounds)
    args = [draw(32, 32) for _ in range(4)]
    a, b = args[:2]
    for _ in range(10):
        a, b = compiled(a, b, *args[2:])
        mx.async_eval(a, b)
    c, d = args[:2]
    for _ in range(10):
        c, d = rounds(c, d, *args[2:])
    assert same([a, b], [c, d])
