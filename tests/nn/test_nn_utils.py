"""nn.value_and_grad, nn.utils.checkpoint and what concerns gradients of several processes."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, close, names


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_value_and_grad():
    m = model()
    x, y = arr(5, 3), arr(5, 2, seed=1)

    def loss(x, y, scale=1.0):
        """Doc."""
        return scale * (m(x) - y).square().mean()

    f = nn.value_and_grad(m, loss)
    assert f.__name__ == "loss" and f.__doc__ == "Doc."
    value, grads = f(x, y, scale=2.0)
    close(value, np.array(loss(x, y, 2.0)))
    assert names(grads) == names(m.parameters())

    weight = m.layers[0].weight
    direction = arr(4, 3, seed=5)
    eps = 1e-2
    ends = []
    for sign in (1, -1):
        m.layers[0].weight = weight + sign * eps * direction
        ends.append(loss(x, y, 2.0).item())
    slope = (grads["layers"][0]["weight"] * direction).sum().item()
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * eps), rel=2e-2, abs=1e-4)


def test_the_model_is_as_before():
    m = model()
    m.layers[2].freeze()
    before = dict(tree_flatten(m.parameters()))
    f = nn.value_and_grad(m, lambda x: m(x).sum())
    f(arr(5, 3))
    after = dict(tree_flatten(m.parameters()))
    assert all(after[name] is before[name] for name in before)

    def fails(x):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        nn.value_and_grad(m, fails)(arr(5, 3))
    after = dict(tree_flatten(m.parameters()))
    assert all(after[name] is before[name] for name in before)


def test_what_the_function_assigns_stays():
    m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm(3))
    m.layers[0].count = mx.array(0.0)
    m.layers[0].freeze(keys="count")

    def loss(x):
        m.layers[0].count = m.layers[0].count + 1
        return m(x).square().sum()

    f = nn.value_and_grad(m, loss)
    f(arr(5, 3))
    f(arr(5, 3))
    assert m.layers[0].count.item() == 2
    assert mx.abs(m.layers[1].running_mean).sum().item() > 0


def test_more_results_than_the_loss():
    m = model()
    (value, output), grads = nn.value_and_grad(m, lambda x: (m(x).sum(), m(x)))(arr(5, 3))
    assert value.shape == () and output.shape == (5, 2) and len(names(grads)) == 4


def test_nothing_to_train():
    for m in (nn.ReLU(), model().freeze()):
        with pytest.raises(ValueError, match=f"{type(m).__name__} has no trainable parameters"):
            nn.value_and_grad(m, lambda x: x.sum())(arr(2, 3))


def test_a_module_with_two_names_trains():
    shared = nn.Linear(3, 3, bias=False)
    m = nn.Sequential(shared, shared)
    x = arr(4, 3)
    before = shared.weight
    _, grads = nn.value_and_grad(m, lambda x: m(x).square().sum())(x)
    assert shared.weight is before
    m.update({"layers": [{"weight": g["weight"]} for g in grads["layers"]]})
    w = np.array(before).astype("f8")
    xs = np.array(x).astype("f8")
    g = 2 * xs @ w.T @ w.T
    close(shared.weight, (g @ w).T @ xs + g.T @ (xs @ w.T))


def test_inside_compile():
    m = model()
    f = nn.value_and_grad(m, lambda x: m(x).square().sum())

    def step(x):
        loss, grads = f(x)
        m.update(
            {"layers": [{}, {}, {"weight": m.layers[2].weight - grads["layers"][2]["weight"]}]}
        )
        return loss

    compiled = mx.compile(step, inputs=m.state, outputs=m.state)
    x = 0.1 * arr(5, 3)
    weight = m.layers[2].weight
    first = compiled(x).item()
    updated = m.layers[2].weight
    m.layers[2].weight = weight
    assert step(x).item() == pytest.approx(first, rel=1e-5)
    assert mx.allclose(m.layers[2].weight, updated, atol=1e-6)


def test_training_reaches_the_solution():
    m = nn.Linear(2, 1)
    x = arr(64, 2)
    y = x @ mx.array([[2.0], [-1.0]]) + 0.5
    f = nn.value_and_grad(m, lambda: (m(x) - y).square().mean())
    for _ in range(300):
        _, grads = f()
        m.update({k: m[k] - 0.3 * g for k, g in grads.items()})
        mx.eval(m.state)
    close(m.weight, [[2, -1]], 1e-2)
    close(m.bias, [0.5], 1e-2)


def test_checkpoint():
    m = model()
    m.layers[2].freeze(keys="bias")
    x = arr(5, 3)
    calls = []

    def forward(x, scale=1.0):
        calls.append(x)
        return m(x) * scale

    saving = nn.utils.checkpoint(m, forward)
    expected = nn.value_and_grad(m, lambda x: (m(x) * 3).square().sum())(x)
    got = nn.value_and_grad(m, lambda x: saving(x, scale=mx.array(3.0)).square().sum())(x)
    close(got[0], np.array(expected[0]))
    expected, got = dict(tree_flatten(expected[1])), dict(tree_flatten(got[1]))
    assert expected.keys() == got.keys()
    for name in got:
        close(got[name], np.array(expected[name]), 1e-4)
    assert len(calls) == 2  # forward, and again for the gradient
    close(nn.utils.checkpoint(m)(x), np.array(m(x)))
    gx = mx.grad(lambda x: nn.utils.checkpoint(m)(x).sum())(x)
    close(gx, np.array(mx.grad(lambda x: m(x).sum())(x)))
    before = m.layers[0].weight
    nn.utils.checkpoint(m)(x)
    assert m.layers[0].weight is before


# ---- several processes, played by one


class Group:
    def __init__(self, size=2, rank=1):
        self._size, self._rank = size, rank

    def size(self):
        return self._size

    def rank(self):
        return self._rank


@pytest.fixture
def messages(monkeypatch):
    """All processes hold the same values; what is sent is listed as (operation, bytes)."""
    sent = []

    def all_sum(x, *, group=None, stream=None):
        sent.append(("all_sum", x.nbytes))
        return x * group.size()

    def all_gather(x, *, group=None, stream=None):
        sent.append(("all_gather", x.nbytes))
        return mx.concatenate([x] * group.size())

    def sum_scatter(x, *, group=None, stream=None):
        sent.append(("sum_scatter", x.nbytes))
        n = x.shape[0] // group.size()
        return x[group.rank() * n : (group.rank() + 1) * n] * group.size()

    monkeypatch.setattr(mx.distributed, "all_sum", all_sum)
    monkeypatch.setattr(mx.distributed, "all_gather", all_gather)
    monkeypatch.setattr(mx.distributed, "sum_scatter", sum_scatter)
    return sent


def test_average_gradients_alone():
    grads = {"a": mx.ones((3,)), "b": [mx.ones((2,)), {}]}
    assert nn.average_gradients(grads) is grads


@pytest.mark.parametrize("size", [0, 1, 40, 10**6])
def test_average_gradients(messages, size):
    grads = {
        "a": arr(3, 2),
        "b": [arr(5, seed=1), {}, (arr(4, seed=2, dtype=mx.float16),)],
        "c": {"d": arr(2, 2, 2, seed=3)},
        "e": mx.array(2.0),
    }
    averaged = nn.average_gradients(grads, Group(), all_reduce_size=size)
    assert names(averaged) == names(grads) and isinstance(averaged["b"][2], tuple)
    for (name, a), (_, g) in zip(tree_flatten(averaged), tree_flatten(grads), strict=True):
        assert a.dtype == g.dtype and mx.array_equal(a, g), name
    count = {0: 5, 1: 5, 40: 3, 10**6: 2}[size]
    assert len(messages) == count and sum(n for _, n in messages) == 4 * 20 + 2 * 4


def test_clip_grad_norm_sharded(messages):
    grads = {"a": mx.full((3,), 2.0), "b": mx.ones((4,), mx.float16)}
    clipped, norm = nn.utils.clip_grad_norm_sharded(grads, 1.0)
    assert norm.item() == pytest.approx(4) and clipped["b"].dtype == mx.float16
    close(clipped["a"], np.full(3, 0.5))
    assert messages == []
    same, norm = nn.utils.clip_grad_norm_sharded(grads, 10.0)
    close(same["a"], np.full(3, 2.0))
    _, norm = nn.utils.clip_grad_norm_sharded(grads, 1.0, Group(4))
    assert norm.item() == pytest.approx(8) and [name for name, _ in messages] == ["all_sum"]
    assert nn.utils.clip_grad_norm_sharded({}, 1.0)[1].item() == 0


def test_fully_sharded_module(messages):
    group = Group()
    whole = nn.Sequential(nn.Linear(3, 4), nn.Embedding(6, 2))
    halves = nn.Sequential(nn.Linear(3, 4), nn.Embedding(6, 2))
    halves.load_weights(tree_flatten(whole.parameters()))
    # Every process of the play holds the second half, so the whole is the second half twice.
    m = nn.fully_shard(halves, group=group)
    assert isinstance(m, nn.FullyShardedModule) and nn.fully_shard(m, group=group) is m
    assert {k: a.shape for k, a in tree_flatten(m.parameters())} == {
        "module.layers.0.weight": (2, 3),
        "module.layers.0.bias": (2,),
        "module.layers.1.weight": (3, 2),
    }
    assert mx.array_equal(m.module.layers[0].weight, whole.layers[0].weight[2:])
    assert "num_sharded_params=3" in repr(m)

    m.module = m.module.layers[0]
    m._paths = ("weight", "bias")
    x = arr(5, 3)
    w = np.tile(np.array(m.module.weight).astype("f8"), (2, 1))
    expected = wave_product(x, w) + np.tile(np.array(m.module.bias), 2)
    close(m(x), expected)
    assert messages == [("all_gather", 4 * 8)]
    weights = arr(5, 4, seed=3)
    _, grads = nn.value_and_grad(m, lambda x: (m(x) * weights).sum())(x)
    full = np.array(weights).T.astype("f8") @ np.array(x)
    assert names(grads) == ["module.weight", "module.bias"]
    close(grads["module"]["weight"], full[2:])
    close(grads["module"]["bias"], np.array(weights).sum(0)[2:])
    assert messages[1:] == [("all_gather", 4 * 8), ("sum_scatter", 4 * 16)]
    assert m.module.weight.shape == (2, 3)

    m._compute_dtype = mx.float16
    assert m(x.astype(mx.float16)).dtype == mx.float16 and messages[-1] == ("all_gather", 2 * 8)
    _, grads = nn.value_and_grad(m, lambda x: m(x).sum())(x)
    assert grads["module"]["weight"].dtype == mx.float32


def wave_product(x, w):
    return np.array(x).astype("f8") @ w.T


def test_fully_shard_alone_and_errors():
    m = nn.Linear(3, 4)
    assert nn.fully_shard(m) is m
    wrapped = nn.FullyShardedModule(m, compute_dtype=mx.float16)
    assert wrapped(arr(1, 3).astype(mx.float16)).dtype == mx.float16
    embedding = nn.FullyShardedModule(nn.Embedding(4, 3))
    assert embedding.as_linear(arr(2, 3)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"'weight' with shape \(3, 2\).*2 processes"):
        nn.fully_shard(nn.Linear(2, 3), group=Group())
    inner = nn.fully_shard(nn.Linear(3, 4), group=Group())
    outer = nn.fully_shard(nn.Sequential(inner, nn.Linear(4, 2)), group=Group())
    assert outer._paths == ("layers.1.weight", "layers.1.bias")
    assert inner.module.weight.shape == (2, 3)
