"""The profiler: what ran, how long, how much; times add up to the wall time."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest


class Net(nn.Module):
    def __init__(self, dims: int = 64):
        super().__init__()
        self.encoder = nn.TransformerEncoder(2, dims, 4)
        self.out = nn.Linear(dims, 16)

    def __call__(self, x):
        return self.out(self.encoder(x, None))


def training_step(compiled: bool = False):
    model, optimizer = Net(), optim.AdamW(1e-3)
    x, y = mx.random.normal((8, 32, 64)), mx.random.randint(0, 16, (8, 32))
    state = [model.state, optimizer.state]

    def loss(model, x, y):
        return nn.losses.cross_entropy(model(x), y, reduction="mean")

    def update(x, y):
        value, grads = nn.value_and_grad(model, loss)(model, x, y)
        optimizer.update(model, grads)
        return value

    run = mx.compile(update, inputs=state, outputs=state) if compiled else update

    def step():
        value = run(x, y)
        mx.eval(value, state)
        return value

    step()
    return step


def row(p, name: str, by: str = "op"):
    return next(r for r in p.rows(by) if r.name == name)


def test_counts_bytes_and_flops():
    a, b = mx.random.normal((32, 64)), mx.random.normal((64, 16))
    mx.eval(a, b)
    with mx.profile() as p:
        for _ in range(3):
            mx.eval(mx.tanh(a * 2 + 1) @ b)
    product, group = row(p, "Matmul"), row(p, "multiply+add+tanh")
    assert product.count == group.count == 3
    assert product.flops == 3 * 2 * 32 * 64 * 16
    assert product.bytes == 3 * 4 * (32 * 64 + 64 * 16 + 32 * 16)
    assert group.flops == 3 * 3 * 32 * 64
    assert group.bytes == 3 * 4 * (2 * 32 * 64 + 2)
    assert product.time > 0 and product.share > 0


def test_views_move_nothing_and_picking_reads_what_it_picks():
    a = mx.random.normal((1000, 64))
    mx.eval(a)
    with mx.profile() as p:
        mx.eval((a + 1).T, mx.take(a, mx.array([1, 2]), axis=0))
    assert row(p, "transpose").bytes == 0
    assert row(p, "add").bytes == 2 * a.nbytes + 4
    assert row(p, "take").bytes == 2 * 2 * 64 * 4


@pytest.mark.parametrize("compiled", [False, True])
def test_times_of_a_training_step_add_up(compiled):
    """benchmarks/python/profile_coverage.py measures the shares; here is what holds whatever else the machine does."""
    step = training_step(compiled)
    step()
    with mx.profile() as p:
        begin = time.perf_counter_ns()
        for _ in range(3):
            step()
        wall = time.perf_counter_ns() - begin
    rest = {r.name: r.time for r in p.rest()}
    assert all(t >= 0 for t in rest.values())
    assert sum(r.total for r in p.rows()) + sum(rest.values()) == pytest.approx(p.wall, rel=1e-9)
    assert wall <= p.wall
    assert p.evaluation <= p.wall
    assert 0.5 < p.coverage <= 1
    for by in ("line", "module"):
        for time_of in ("time", "building"):
            of_lines, of_ops = (sum(getattr(r, time_of) for r in p.rows(b)) for b in (by, "op"))
            assert of_lines == pytest.approx(of_ops, rel=1e-9) and of_ops > 0
    assert rest.keys() == {"(planning)", "(between operations)", "(profiler)", "(Python)"}


def test_spans_of_an_evaluation_do_not_overlap():
    """Operations and planning of one thread lie in its evaluations, one after the other, and nodes are built before."""
    step = training_step()
    with mx.profile() as p:
        step()
    data = p._result()
    spans = sorted([e[1:4] for e in data["events"]] + list(data["planning"]), key=lambda s: s[1])
    for (_, _, end), (_, begin, _) in pairwise(spans):
        assert end <= begin
    inside = [any(e[1] <= s[1] and s[2] <= e[2] for e in data["evaluations"]) for s in spans]
    assert all(inside)
    built = sorted([b[2:5] for b in data["built"]] + list(data["evaluations"]), key=lambda s: s[1])
    assert all(end <= begin for (_, _, end), (_, begin, _) in pairwise(built))
    assert all(alone == end - begin for _, _, _, begin, end, alone in data["built"])


def test_noting_origins_is_the_profilers_time():
    """Building a graph takes time of its operations and of the profiler; none of evaluation where there is none."""
    with mx.profile() as p:
        x = mx.ones((2,))
        for _ in range(200):
            x = x + 1
    rest = {r.name: r.time for r in p.rest()}
    rows = p.rows()
    assert p.evaluation == 0 and all(r.count == r.time == 0 < r.building for r in rows)
    assert row(p, "add").building == max(r.building for r in rows)
    assert rest["(profiler)"] == p.overhead > 0
    assert rest["(profiler)"] + rest["(Python)"] + sum(r.building for r in rows) == pytest.approx(p.wall, rel=1e-9)


def test_what_the_program_does_counts_for_the_node_that_comes_next():
    a = mx.ones((8, 8))
    mx.eval(a)
    with mx.profile() as p:
        time.sleep(0.02)
        b = mx.exp(a)
        mx.eval(b)
        c = b @ b
        time.sleep(0.03)  # nothing is built after it but what follows the evaluation
        mx.eval(c)
        mx.eval(c + 1)
    rest = {r.name: r.time for r in p.rest()}
    assert row(p, "exp").building >= 0.02e9 and rest["(Python)"] >= 0.03e9
    assert sum(r.total for r in p.rows()) + sum(rest.values()) == pytest.approx(p.wall, rel=1e-9)
    assert p.coverage <= 1 - 0.03e9 / (p.wall - p.overhead)


def test_lines_and_modules():
    step = training_step()
    with mx.profile() as p:
        step()
    modules = {r.name for r in p.rows("module")}
    assert {"Net.encoder.layers.0.attention", "Net.encoder.layers.1.linear1 [backward]", "Net.out"} <= modules
    lines = {r.name.partition(":")[2].partition(" ")[2] for r in p.rows("line")}
    assert {"in __call__", "in __call__ [backward]", "in loss", "in update"} <= lines


def test_asynchronous_evaluation():
    with mx.profile() as p:
        x = mx.ones((200, 200))
        for _ in range(5):
            x = x @ x / 200
            mx.async_eval(x)
        mx.eval(x)
    assert row(p, "Matmul").count == 5
    assert p.evaluation <= p.wall
    # Time in which nodes are built and others run is evaluation's; the rest of a span is the node's.
    for _, _, _, begin, end, alone in p._result()["built"]:
        assert 0 < alone <= end - begin
    assert p.coverage <= 1


def test_tables():
    a = mx.ones((32, 64))
    with mx.profile() as p:
        mx.eval(mx.exp(a) @ a.T)
    text = str(p)
    assert "Matmul" in text and "test_profile.py" in text and "(Python)" in text and "limits:" in text
    for by in ("op", "line", "module"):
        for sort in ("time", "building", "total", "count", "bytes", "flops", "share", "name"):
            assert p.table(sort=sort, by=by).count("\n") > 3
    names = [line.split()[0] for line in p.table(sort="name").splitlines()[2:] if line[0].isalpha()]
    assert names[:-1] == sorted(names[:-1])
    assert "more)" in p.table(limit=1)
    with pytest.raises(ValueError, match=r"\[profile\] sort is 'size', expected one of 'time'"):
        p.table(sort="size")
    with pytest.raises(ValueError, match=r"\[profile\] by is 'file', expected"):
        p.table(by="file")
    with pytest.raises(RuntimeError, match=r"\[profile\] nothing was measured"):
        mx.profile().table()


def test_trace(tmp_path):
    step = training_step()
    with mx.profile() as p:
        step()
    p.save_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    operations = [e for e in spans if e["cat"] == "mlx" and not e["name"].startswith("(")]
    assert len(operations) == sum(r.count for r in p.rows())
    outer = [e for e in spans if e["name"] == "(evaluation)"]
    for e in operations:
        assert {"ts", "dur", "pid", "tid"} <= e.keys()
        assert {"inputs", "outputs", "bytes", "flops", "line", "module"} == e["args"].keys()
        assert any(
            o["tid"] == e["tid"] and o["ts"] <= e["ts"] + 1e-3 and e["ts"] + e["dur"] <= o["ts"] + o["dur"] + 1e-3
            for o in outer
        )
    built = [e for e in spans if e["cat"] == "building"]
    assert sum(e["dur"] for e in built) * 1e3 == pytest.approx(sum(r.building for r in p.rows()), rel=1e-6)
    assert any(e["name"] == "AddMM" and e["args"]["module"] == "Net.encoder.layers.0.linear1" for e in built)
    product = next(e for e in operations if e["name"] == "AddMM")
    assert product["args"]["outputs"][0].startswith("float32[")


def test_blocks_nest_and_evaluation_outside_is_not_seen():
    a = mx.ones((8, 8))
    mx.eval(a)
    with mx.profile() as outer:
        mx.eval(a @ a)
        with mx.profile() as inner, mx.debug.nan_check():
            mx.eval(mx.exp(a))
    mx.eval(a @ a)
    assert {r.name for r in inner.rows()} == {"exp"}
    assert {r.name for r in outer.rows()} == {"exp", "Matmul"}
    assert row(outer, "Matmul").count == 1


def test_an_exception_ends_the_profile():
    with pytest.raises(KeyError), mx.profile() as p:
        mx.eval(mx.ones((2,)) + 1)
        raise KeyError
    count = sum(r.count for r in p.rows())
    mx.eval(mx.ones((2,)) + 2)
    assert sum(r.count for r in p.rows()) == count > 0


def test_limits_of_the_machine():
    from mlx.debug._machine import machine

    found = machine()
    assert machine() is found
    assert 1e8 < found.bandwidth < 1e13
    assert 1e8 < found.flops < 1e15
    assert found.least_ns(found.bandwidth, 0) == pytest.approx(1e9)
