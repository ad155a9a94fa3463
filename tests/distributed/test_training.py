"""Layers and gradients that are spread over processes compute what one process computes."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from together import launch_program, run_together

TOOLS = """
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.nn.layers.distributed import shard_inplace, shard_linear
from mlx.utils import tree_flatten, tree_map

def close(a, b, tolerance=1e-5):
    a, b = tree_flatten(a), tree_flatten(b)
    assert [k for k, _ in a] == [k for k, _ in b]
    for (k, p), (_, q) in zip(a, b):
        assert p.shape == q.shape and mx.allclose(p, q, rtol=tolerance, atol=tolerance), k

def part(a, axis):
    return mx.split(a, size, axis)[rank]
"""


def run(count: int, code: str, tmp_path) -> list[str]:
    return run_together(count, TOOLS + textwrap.dedent(code), tmp_path, timeout=180)


@pytest.mark.parametrize("count", [2, 3])
def test_data_parallel_training_equals_large_batches(count, tmp_path):
    code = """
    def model():
        mx.random.seed(1)
        return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))

    def loss(m, x, y):
        return mx.mean(nn.losses.cross_entropy(m(x), y))

    def train(x, y, average):
        m, opt = model(), optim.AdamW(1e-2)
        step = nn.value_and_grad(m, loss)
        for _ in range(10):
            value, gradients = step(m, x, y)
            opt.update(m, average(gradients))
            mx.eval(m.parameters(), opt.state)
        return m

    x = mx.random.normal((12 * size, 8), key=mx.random.key(3))
    y = mx.random.randint(0, 3, (12 * size,), key=mx.random.key(4))
    alone = train(x, y, lambda g: g)
    for options in ({}, {"all_reduce_size": 100}, {"all_reduce_size": 0}):
        together = train(part(x, 0), part(y, 0), lambda g: nn.average_gradients(g, **options))
        close(together.parameters(), alone.parameters(), 1e-4)
        for _, p in tree_flatten(together.parameters()):
            assert mx.array_equal(D.all_max(p), D.all_min(p))
    """
    run(count, code, tmp_path)


def test_sharded_layers(tmp_path):
    code = """
    mx.random.seed(5)
    x = mx.random.normal((5, 12))
    up, down = nn.Linear(12, 24), nn.Linear(24, 12)
    quantized = nn.QuantizedLinear(128, 256, group_size=32), nn.QuantizedLinear(256, 128, group_size=32)

    def both(a, b, x):
        return b(nn.gelu(a(x)))

    close(both(shard_linear(up, "all-to-sharded"), shard_linear(down, "sharded-to-all"), x), both(up, down, x))
    q = mx.random.normal((5, 128))
    sharded = shard_linear(quantized[0], "all-to-sharded"), shard_linear(quantized[1], "sharded-to-all")
    close(both(*sharded, q), both(*quantized, q), 1e-3)

    # Gradients: each process has its part of those of the whole.
    def loss(pair, x):
        return mx.sum(both(pair[0], pair[1], x) ** 2)

    class Pair(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a, self.b = a, b
        def __call__(self, x):
            return both(self.a, self.b, x)

    whole = Pair(up, down)
    parts = Pair(shard_linear(up, "all-to-sharded"), shard_linear(down, "sharded-to-all"))
    f = lambda m, x: mx.sum(m(x) ** 2)
    a, b = nn.value_and_grad(whole, f)(whole, x)[1], nn.value_and_grad(parts, f)(parts, x)[1]
    close(b["a"]["weight"], part(a["a"]["weight"], 0), 1e-4)
    close(b["a"]["bias"], part(a["a"]["bias"], 0), 1e-4)
    close(b["b"]["weight"], part(a["b"]["weight"], 1), 1e-4)
    close(b["b"]["bias"], a["b"]["bias"], 1e-4)
    # That of the input too: the first layer sums it.
    close(mx.grad(lambda v: f(parts, v))(x), mx.grad(lambda v: f(whole, v))(x), 1e-4)
    """
    run(2, code, tmp_path)


def test_fully_sharded_modules(tmp_path):
    code = """
    mx.random.seed(6)
    x = mx.random.normal((4 * size, 8), key=mx.random.key(8))
    whole = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    mx.eval(whole.parameters())
    sharded = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    sharded.update(whole.parameters())
    before = whole.parameters()["layers"][0]["weight"].size
    for i in (0, 2):
        sharded.layers[i] = nn.fully_shard(sharded.layers[i])
    held = sum(p.size for _, p in tree_flatten(sharded.parameters()))
    assert held <= sum(p.size for _, p in tree_flatten(whole.parameters())) / size + 2 * 16
    close(sharded(x), whole(x))
    f = lambda m, x: mx.mean(m(x) ** 2)
    gw = nn.value_and_grad(whole, f)(whole, x)[1]
    gs = nn.value_and_grad(sharded, f)(sharded, part(x, 0))[1]
    total = sum(mx.sum(v.astype(mx.float32) ** 2).item() for _, v in tree_flatten(gw))
    spread = sum(mx.sum(v.astype(mx.float32) ** 2).item() for _, v in tree_flatten(gs))
    print(abs(D.all_sum(mx.array(spread)).item() - total) < 1e-4 * total)
    """
    assert run(2, code, tmp_path) == ["True", "True"]


def test_the_program_of_the_documentation(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    (tmp_path / "program.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1))
    for count in (1, 2):
        done = launch_program(count, tmp_path / "program.py")
        assert done.returncode == 0, done.stderr
        losses = [float(line.split()[-1]) for line in done.stdout.splitlines()]
        assert len(losses) == 4 and losses[3] < 0.5 * losses[0]
