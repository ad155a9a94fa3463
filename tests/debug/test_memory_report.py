"""Who holds memory at the peak: the rows add up to the allocator's peak, to the byte."""

from __future__ import annotations

import gc

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest

BY = ("line", "module", "parameter", "op")


def training_step():
    mx.random.seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 8))
    optimizer = optim.Adam(1e-3)
    x, y = mx.random.normal((50, 32)), mx.random.randint(0, 8, (50,))

    def loss(model):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    def step():
        value, grads = nn.value_and_grad(model, loss)(model)
        optimizer.update(model, grads)
        mx.eval(value, model.parameters(), optimizer.state)

    step()
    step()
    return step, model


def test_rows_add_up_to_the_allocators_peak():
    step, _ = training_step()
    gc.collect()
    mx.reset_peak_memory()
    step()
    plain = mx.get_peak_memory()
    mx.reset_peak_memory()
    with mx.debug.memory_report() as m:
        step()
    assert m.peak == mx.get_peak_memory() <= plain, "the tool itself takes no array memory"
    # A GPU that is watched finishes each operation before the next; else it holds memory for longer.
    assert m.peak == plain or mx.default_device() == mx.gpu
    for by in BY:
        assert sum(r.bytes for r in m.rows(by)) == m.peak
        assert all(r.bytes > 0 for r in m.rows(by))


def test_names():
    step, _ = training_step()
    with mx.debug.memory_report() as m:
        step()
    parameters = {r.name: r.bytes for r in m.rows("parameter")}
    assert parameters["Sequential.layers.0.weight"] == 4 * 32 * 64
    assert parameters["Adam.state.layers.0.weight.m"] == 4 * 32 * 64
    assert any(name.startswith("Sequential.layers.") and "[" not in name for name in parameters)
    assert any("in loss" in r.name or "[backward]" in r.name for r in m.rows("line"))


def test_the_line_that_holds_most():
    with mx.debug.memory_report() as m:
        big = mx.random.normal((1000, 1000))
        mx.eval(big)
        small = big[:10] * 2
        mx.eval(small)
        del big
        mx.eval(mx.ones((10, 10)) + 1)
    first = m.rows("line")[0]
    assert first.bytes >= 4_000_000
    assert first.name.endswith("in test_the_line_that_holds_most")


def test_what_is_freed_before_the_peak_does_not_count():
    old = mx.random.normal((500, 500))
    mx.eval(old)
    with mx.debug.memory_report() as m:
        a = mx.random.normal((400, 400))
        mx.eval(a)
        del old, a
        gc.collect()
        b = mx.random.normal((2000, 2000))
        mx.eval(b)
    assert sum(r.bytes for r in m.rows("op")) == m.peak
    assert {r.name for r in m.rows("op") if r.bytes >= 4 * 400 * 400 and not r.name.startswith("(")} == {
        r.name for r in m.rows("op") if r.bytes >= 16_000_000
    }


def test_data_from_the_program_and_async():
    data = np.ones((300, 300), np.float32)
    with mx.debug.memory_report() as m:
        a = mx.array(data)
        b = a @ a
        mx.async_eval(b)
        mx.eval(b)
    names = {r.name: r.bytes for r in m.rows("op")}
    assert names["(data from the program)"] >= data.nbytes
    assert names["Matmul"] == data.nbytes
    assert sum(names.values()) == m.peak


def test_tables():
    step, _ = training_step()
    with mx.debug.memory_report() as m:
        step()
    assert "(the sum of the rows)" in str(m) and "cached" in str(m)
    for by in BY:
        assert m.table(by=by, limit=3).count("\n") <= 7
    assert "more)" in m.table(by="parameter", limit=3)
    with pytest.raises(ValueError, match=r"\[memory_report\] by is 'size', expected 'line'"):
        m.rows("size")
    with pytest.raises(RuntimeError, match=r"\[memory_report\] nothing was measured"):
        mx.debug.memory_report().table()


def test_memory_now():
    step, model = training_step()
    now = mx.debug.memory()
    assert now.active == mx.get_active_memory()
    assert now.peak == mx.get_peak_memory()
    assert sum(r.bytes for r in now.named) + now.other == now.active
    rows = {r.name: r.bytes for r in now.named}
    assert rows["Sequential.layers.0.weight"] == model.layers[0].weight.nbytes
    assert [r.bytes for r in now.named] == sorted((r.bytes for r in now.named), reverse=True)
    assert "Sequential.layers.0.weight" in str(now) and "(other arrays)" in str(now)
    assert step


def test_blocks_nest():
    with mx.debug.memory_report() as outer:
        mx.eval(mx.random.normal((300, 300)))
        with mx.debug.memory_report() as inner:
            mx.eval(mx.random.normal((10, 10)))
    assert outer.peak > inner.peak
    for m in (outer, inner):
        assert sum(r.bytes for r in m.rows()) == m.peak
