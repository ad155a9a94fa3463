"""Sharded linear layers: alone, and all processes of a group one after the other."""

import copy

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.nn.layers.distributed import shard_inplace, shard_linear
from mlx.utils import tree_flatten
from nn_samples import arr, close, names, quantization

QUANTIZED = [False, pytest.param(True, marks=quantization)]


class Group:
    def __init__(self, rank, size=2):
        self._rank, self._size = rank, size

    def size(self):
        return self._size

    def rank(self):
        return self._rank


GROUPS = [Group(0), Group(1)]


@quantization
def test_alone_they_are_linear_layers():
    linear, x = nn.Linear(64, 32), arr(3, 64)
    for how in ("all-to-sharded", "sharded-to-all"):
        m = shard_linear(linear, how)
        close(m(x), np.array(linear(x)))
        assert repr(m) == f"{type(m).__name__}(input_dims=64, output_dims=32, bias=True)"
        q = linear.to_quantized()
        close(shard_linear(q, how)(x), np.array(q(x)), 1e-4)
    for layer in (nn.AllToShardedLinear, nn.ShardedToAllLinear):
        m = layer(6, 4, bias=False)
        assert m(arr(2, 6)).shape == (2, 4) and "bias" not in m
        with pytest.raises(ValueError, match=r"6.*\(2, 5\)|\(4, 6\).*\(2, 5\)"):
            m(mx.zeros((2, 5)))


@pytest.mark.parametrize("quantized", QUANTIZED)
@pytest.mark.parametrize("segments", [1, 2, [16]])
def test_all_to_sharded(quantized, segments):
    linear, x = nn.Linear(64, 32), arr(3, 64)
    source = linear.to_quantized() if quantized else linear
    shards = [shard_linear(source, "all-to-sharded", segments=segments, group=g) for g in GROUPS]
    parts = [np.array(m(x)) for m in shards]
    assert all(part.shape == (3, 16) for part in parts)
    if segments == 1:
        whole = np.concatenate(parts, -1)
    else:  # two segments of 16, of each of which a process has 8
        whole = np.concatenate([p[:, i : i + 8] for i in (0, 8) for p in parts], -1)
    close(source(x), whole, 1e-4)
    assert "output_dims=32" in repr(shards[0])


@pytest.mark.parametrize("quantized", QUANTIZED)
def test_sharded_to_all(quantized, monkeypatch):
    linear, x = nn.Linear(128, 32), arr(3, 128)
    source = linear.to_quantized() if quantized else linear
    shards = [shard_linear(source, "sharded-to-all", group=g) for g in GROUPS]
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, *, group=None, stream=None: y)
    bias = np.array(linear.bias)
    parts = [np.array(m(x[:, i * 64 : (i + 1) * 64])) - bias for i, m in enumerate(shards)]
    close(source(x), parts[0] + parts[1] + bias, 1e-4)
    assert all(m.bias.shape == (32,) for m in shards) and "input_dims=128" in repr(shards[1])


@pytest.mark.parametrize("quantized", QUANTIZED)
def test_segments_of_inputs(quantized, monkeypatch):
    linear, x = nn.Linear(192, 32, bias=False), arr(3, 192)
    source = linear.to_quantized(group_size=32) if quantized else linear
    shards = [shard_linear(source, "sharded-to-all", segments=[64], group=g) for g in GROUPS]
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, *, group=None, stream=None: y)
    total = np.zeros((3, 32))
    for i, m in enumerate(shards):  # inputs 0 to 63 and 64 to 191, half of each
        own = np.r_[32 * i : 32 * (i + 1), 64 + 64 * i : 64 + 64 * (i + 1)]
        total += np.array(m(x[:, mx.array(own)]))
    close(source(x), total, 1e-4)


def test_gradients_are_summed(monkeypatch):
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, *, group=None, stream=None: y * 10)
    m = nn.AllToShardedLinear(3, 4, group=GROUPS[0])
    gx = mx.grad(lambda x: m(x).sum())(arr(2, 3))
    close(gx, 10 * np.tile(np.array(m.weight).sum(0), (2, 1)))


@quantization
def test_frozen_state_is_carried_over():
    linear = nn.Linear(128, 32).freeze(keys="bias")
    m = nn.AllToShardedLinear.from_linear(linear, group=GROUPS[1])
    assert names(m.trainable_parameters()) == ["weight"]
    assert names(m.unfreeze().trainable_parameters()) == ["weight", "bias"]
    assert names(linear.trainable_parameters()) == ["weight"]
    q = nn.QuantizedShardedToAllLinear.from_quantized_linear(linear.to_quantized(), group=GROUPS[0])
    assert names(q.trainable_parameters()) == []
    assert names(q.unfreeze().trainable_parameters()) == ["bias"]


@quantization
def test_new_layers():
    for g in GROUPS:
        assert nn.AllToShardedLinear(6, 4, group=g).weight.shape == (2, 6)
        assert nn.ShardedToAllLinear(6, 4, group=g).weight.shape == (4, 3)
        assert nn.QuantizedAllToShardedLinear(64, 4, group=g).scales.shape == (2, 1)
        assert nn.QuantizedShardedToAllLinear(128, 4, group=g).scales.shape == (4, 1)
    m = nn.QuantizedShardedToAllLinear(128, 32, mode="affine", bits=8, group_size=32)
    assert repr(m) == (
        "QuantizedShardedToAllLinear(input_dims=128, output_dims=32, bias=True, "
        "group_size=32, bits=8, mode=affine)"
    )


def test_shard_inplace():
    m = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6))
    w = m.layers[0].weight
    shard_inplace(m, lambda path, a: 0 if path.startswith("layers.0") else None, group=GROUPS[1])
    assert mx.array_equal(m.layers[0].weight, w[3:])
    assert m.layers[0].bias.shape == (3,) and m.layers[1].weight.shape == (6,)
    shard_inplace(m.layers[0], "sharded-to-all", group=GROUPS[0])
    assert mx.array_equal(m.layers[0].weight, w[3:, :2]) and m.layers[0].bias.shape == (3,)


def test_shard_inplace_divides_experts_by_their_outputs():
    """Three experts of four inputs and six outputs: each process has all of them, and half of each one's outputs."""
    experts = nn.Module()
    experts.weight, experts.bias = mx.random.normal((3, 6, 4)), mx.random.normal((3, 6))
    w, b = experts.weight, experts.bias
    shard_inplace(experts, "all-to-sharded", group=GROUPS[1])
    assert mx.array_equal(experts.weight, w[:, 3:]) and mx.array_equal(experts.bias, b[:, 3:])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: nn.AllToShardedLinear(4, 5, group=g), r"output_dims \(5\).*\(2\)"),
        (lambda g: nn.ShardedToAllLinear(5, 4, group=g), r"input_dims \(5\).*\(2\)"),
        (lambda g: shard_linear(nn.Linear(4, 5), "all-to-sharded", group=g), r"\(5, 4\).*2"),
        (lambda g: shard_linear(nn.Linear(4, 4), "somehow", group=g), "'somehow'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(GROUPS[0])


@pytest.mark.parametrize("layer", [nn.AllToShardedLinear, nn.ShardedToAllLinear])
@pytest.mark.parametrize("frozen", [(), ("bias",), ("weight",)])
def test_alone_they_train_like_linear_layers(layer, frozen):
    linear, x = nn.Linear(6, 4), arr(5, 6)
    sharded = layer.from_linear(linear)
    steps = []
    for m in (linear, sharded):
        if frozen:
            m.freeze(keys=frozen)
        optimizer = optim.Adam(0.1)
        f = nn.value_and_grad(m, lambda x, m=m: m(x).square().mean())
        for _ in range(3):
            loss, grads = f(x)
            optimizer.update(m, nn.average_gradients(grads))
        steps.append((loss, m.weight, m.bias))
        assert set(grads) == {"weight", "bias"} - set(frozen)
    for a, b in zip(*steps, strict=True):
        close(b, np.array(a), 1e-6)
    plan = nn.plan(sharded, lambda x: sharded(x).sum(), x)
    assert (plan.parameters, plan.frozen) == (28, sum(sharded[key].size for key in frozen))


@quantization
@pytest.mark.parametrize("how", ["all-to-sharded", "sharded-to-all"])
def test_alone_quantized_ones_train_their_bias(how):
    linear = nn.QuantizedLinear(64, 32).unfreeze()
    sharded, x = shard_linear(linear, how), arr(5, 64)
    grads = []
    for m in (linear, sharded):
        _, g = nn.value_and_grad(m, lambda x, m=m: m(x).square().mean())(x)
        assert set(g) == {"bias"}
        grads.append(g["bias"])
    close(grads[1], np.array(grads[0]), 1e-5)


def test_alone_fully_sharded_modules_train_like_theirs():
    plain = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm(4), nn.Linear(4, 1))
    plain.layers[0].freeze()
    inner = copy.deepcopy(plain)
    wrapped, x = nn.FullyShardedModule(inner), arr(5, 6)
    assert names(wrapped.trainable_parameters()) == [
        f"module.{name}" for name in names(plain.trainable_parameters())
    ]
    for m in (plain, wrapped):
        f, optimizer = (
            nn.value_and_grad(m, lambda x, m=m: m(x).square().mean()),
            optim.SGD(0.1, 0.9),
        )
        for _ in range(3):
            _, grads = f(x)
            clipped, norm = nn.utils.clip_grad_norm_sharded(grads, 0.5)
            optimizer.update(m, clipped)
        assert norm.item() > 0
    for (_, a), (_, b) in zip(
        tree_flatten(plain.parameters()), tree_flatten(inner.parameters()), strict=True
    ):
        close(b, np.array(a), 1e-5)


@quantization
@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8"])
def test_layers_that_quantize_their_input_train(mode):
    m, x = nn.QQLinear(64, 4, mode=mode), arr(16, 64)
    m.freeze().unfreeze()
    optimizer = optim.Adam(0.01)
    f = nn.value_and_grad(m, lambda x: (m(x) - x[:, :4]).square().mean())
    losses = []
    for _ in range(20):
        loss, grads = f(x)
        assert set(grads) == {"weight"} and mx.isfinite(grads["weight"]).all()
        optimizer.update(m, grads)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    trained = m(x)
    m.eval()
    close(m(x), np.array(trained), 1e-5)
    assert names(m.trainable_parameters()) == []
    assert names(m.train().trainable_parameters()) == ["weight"]
