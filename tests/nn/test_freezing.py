"""freeze, unfreeze and what they mean for gradients."""

import io
import pathlib
import warnings

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, close, names, quantization


def test_freeze_is_idempotent_and_returns_the_module():
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert m.freeze() is m and m.freeze() is m
    assert names(m.trainable_parameters()) == []
    assert len(names(m.parameters())) == 4
    assert m.unfreeze() is m
    assert names(m.trainable_parameters()) == names(m.parameters())


def test_keys():
    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    m.freeze(keys="bias")
    assert names(m.trainable_parameters()) == ["layers.0.weight", "layers.2.weight"]
    m.freeze().unfreeze(keys=["weight"])
    assert names(m.trainable_parameters()) == ["layers.0.weight", "layers.2.weight"]
    m.unfreeze(keys=("bias", "weight"))
    assert len(names(m.trainable_parameters())) == 4
    m.freeze(keys="layers", recurse=False)
    assert names(m.trainable_parameters()) == []
    m.unfreeze()
    m.freeze(recurse=False)  # has no parameters of its own
    assert len(names(m.trainable_parameters())) == 4
    with pytest.raises(TypeError, match="keys must be strings"):
        m.freeze(keys=[3])


def test_strict():
    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    for method in (m.freeze, m.unfreeze):
        for keys in ("nope", ["bias", "nope"]):
            with pytest.raises(KeyError, match="nope"):
                method(keys=keys, strict=True)
            assert len(names(m.trainable_parameters())) == 2  # nothing has changed
        with pytest.raises(KeyError, match="bias"):
            method(keys="bias", strict=True, recurse=False)
    m.freeze(keys="bias", strict=True)
    assert names(m.trainable_parameters()) == ["layers.0.weight"]


def test_containers():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.d = {"x": mx.zeros((1,)), "m": nn.Linear(1, 1)}
            self.l = [mx.zeros((1,)), [mx.zeros((1,))]]

    m = Holder().freeze(recurse=False)
    assert names(m.trainable_parameters()) == ["d.m.weight", "d.m.bias"]
    m.unfreeze().freeze(keys="d")
    assert names(m.trainable_parameters()) == ["l.0", "l.1.0"]
    m.unfreeze().freeze(keys=["d.x", "l.1"], recurse=False, strict=False)
    assert names(m.trainable_parameters()) == ["d.m.weight", "d.m.bias", "l.0"]


def test_only_the_attention():
    m = nn.Transformer(8, 2, 2, 1)
    m.freeze()
    m.apply_to_modules(lambda k, v: v.unfreeze() if k.endswith("attention") else None)
    trainable = names(m.trainable_parameters())
    assert trainable == [n for n in names(m.parameters()) if "attention." in n]
    assert len(trainable) == 4 * (2 + 2)


def test_a_parent_does_not_thaw_running_averages():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
    expected = [f"layers.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")]
    assert names(m.trainable_parameters()) == expected
    assert names(m.unfreeze().trainable_parameters()) == expected
    assert names(m.freeze().unfreeze().trainable_parameters()) == expected
    m.layers[1].unfreeze()
    assert names(m.trainable_parameters()) == expected
    m.unfreeze(keys="running_mean")
    assert names(m.trainable_parameters()) == [*expected, "layers.1.running_mean"]
    m.freeze().layers[1].unfreeze(keys=["running_var"], recurse=False)
    assert names(m.trainable_parameters()) == ["layers.1.running_var"]


@quantization
def test_a_parent_does_not_thaw_packed_weights():
    m = nn.Sequential(nn.Linear(64, 32), nn.Embedding(4, 64), nn.Linear(32, 64, bias=False))
    nn.quantize(m, group_size=32)
    assert names(m.trainable_parameters()) == ["layers.0.bias"]
    m.freeze().unfreeze()
    assert names(m.trainable_parameters()) == ["layers.0.bias"]
    m.unfreeze(keys="scales")
    assert names(m.trainable_parameters()) == [
        "layers.0.scales",
        "layers.0.bias",
        "layers.1.scales",
        "layers.2.scales",
    ]
    sharded = nn.Sequential(nn.QuantizedAllToShardedLinear(64, 32))
    assert names(sharded.unfreeze().trainable_parameters()) == ["layers.0.bias"]


def test_a_module_may_have_rules_of_its_own():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes = mx.zeros((2,))
            self.inner = nn.Linear(1, 1)
            self.freeze()

        def unfreeze(self, *args, **kwargs):
            super().unfreeze(*args, **kwargs)
            return self.freeze(recurse=False)

    m = nn.Sequential(Packed())
    m.unfreeze()
    assert names(m.trainable_parameters()) == ["layers.0.inner.weight", "layers.0.inner.bias"]
    m.unfreeze(keys="codes")
    assert "layers.0.codes" in names(m.trainable_parameters())


def test_a_module_with_two_names_freezes_once():
    shared = nn.Linear(2, 2)
    m = nn.Sequential(shared, nn.Linear(2, 2), shared)
    m.freeze(keys="bias")
    shared.unfreeze()
    trainable = names(m.trainable_parameters())
    assert "layers.0.bias" in trainable and "layers.2.bias" in trainable
    assert "layers.1.bias" not in trainable


def test_a_key_that_names_nothing_warns():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
    with pytest.warns(UserWarning, match=r"\[Sequential.freeze\].*wieght.*mean 'weight'"):
        m.freeze(keys=["wieght", "bias"])
    assert names(m.trainable_parameters()) == ["layers.0.weight", "layers.1.weight"]
    with pytest.warns(UserWarning, match=r"is a path.*freeze 'weight' of 'layers.1'"):
        m.unfreeze(keys="layers.1.weight")
    with pytest.warns(UserWarning, match="bias") as said:
        m.freeze(keys="bias", recurse=False)
    assert pathlib.Path(said[0].filename).name == "test_freezing.py"  # where the mistake is
    with pytest.raises(KeyError, match="mean 'running_mean'"):
        m.unfreeze(keys="runing_mean", strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m.freeze(keys=["layers", "layers.0", "running_var"]).unfreeze(keys=[]).freeze()


def test_a_name_may_be_frozen_before_it_is_there():
    m = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="lora_a"):
        m.freeze(keys="lora_a")
    m.lora_a = mx.zeros((2, 2))
    assert names(m.trainable_parameters()) == ["weight", "bias"]


def test_a_module_with_two_names_is_thawed_once():
    calls = []

    class Counting(nn.Linear):
        def unfreeze(self, *args, **kwargs):
            calls.append(self)
            return super().unfreeze(*args, **kwargs)

    shared = Counting(2, 2)
    nn.Sequential(shared, nn.ReLU(), shared).freeze().unfreeze()
    assert calls == [shared]


# ---- gradients


def test_gradients_are_those_of_the_trainable_parameters(monkeypatch):
    m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    m.layers[0].freeze()
    x = arr(5, 3)
    handed_over = []
    real = mx.value_and_grad

    def spy(fn, *args, **kwargs):
        inner = real(fn, *args, **kwargs)

        def call(*arguments, **keywords):
            handed_over.append(names(arguments[0]))
            return inner(*arguments, **keywords)

        return call

    monkeypatch.setattr(mx, "value_and_grad", spy)
    _, grads = nn.value_and_grad(m, lambda x: m(x).square().mean())(x)
    assert handed_over == [["layers.2.weight", "layers.2.bias"]]
    assert names(grads) == ["layers.2.weight", "layers.2.bias"]

    m.unfreeze()
    _, full = nn.value_and_grad(m, lambda x: m(x).square().mean())(x)
    assert len(names(full)) == 4
    for name, g in tree_flatten(grads):
        assert mx.allclose(g, dict(tree_flatten(full))[name], atol=1e-6)


@pytest.mark.parametrize(
    "freeze, count",
    [
        (lambda m: None, 20),
        (lambda m: m.freeze(keys="bias"), 11),
        (lambda m: m.attention.freeze(), 12),
        (lambda m: m.freeze().linear2.unfreeze(), 2),
        (lambda m: m.freeze(keys=["weight"]), 11),
    ],
)
def test_number_of_gradients(freeze, count):
    m = nn.TransformerEncoderLayer(8, 2)
    m.attention = nn.MultiHeadAttention(8, 2, bias=True)
    m.bn = nn.BatchNorm(8)
    m.scale = mx.ones((8,))
    m.shift = mx.zeros((8,))
    freeze(m)
    x = arr(2, 5, 8)
    _, grads = nn.value_and_grad(m, lambda x: (m.bn(m(x, None)) * m.scale + m.shift).sum())(x)
    assert names(grads) == names(m.trainable_parameters())
    assert len(names(grads)) == count
    parameters = dict(tree_flatten(m.parameters()))
    assert all(g.shape == parameters[name].shape for name, g in tree_flatten(grads))


def two_layers():
    m = nn.Sequential(nn.Linear(256, 2048), nn.Linear(2048, 1))
    mx.eval(m.parameters())
    return m, nn.value_and_grad(m, lambda x: m(x).square().mean())


def test_frozen_parameters_cost_no_memory():
    x = mx.ones((2, 256))
    mx.eval(x)
    peaks, kept = [], []
    for frozen in (False, True):
        m, f = two_layers()
        if frozen:
            m.layers[0].freeze()
        mx.clear_cache()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        results = f(x)
        mx.eval(results)
        peaks.append(mx.get_peak_memory() - before)
        kept.append(mx.get_active_memory() - before)
        del results
    gradient = 4 * 256 * 2048
    assert peaks[0] - peaks[1] >= 0.9 * gradient
    assert kept[0] >= gradient and kept[1] < 0.1 * gradient


def nodes(*arrays):
    dot = io.StringIO()
    mx.export_to_dot(dot, *arrays)
    return dot.getvalue().count("->")


def test_frozen_parameters_add_nothing_to_the_graph():
    x = mx.ones((2, 256))
    m, f = two_layers()
    everything = nodes(*(g for _, g in tree_flatten(f(x)[1])))
    m.layers[0].freeze()
    last = [g for _, g in tree_flatten(f(x)[1])]

    def by_hand(parameters, x):
        y = m.layers[0](x)
        return mx.addmm(parameters["bias"], y, parameters["weight"].T).square().mean()

    expected = mx.grad(by_hand)(m.layers[1].parameters(), x)
    assert nodes(*last) == nodes(*expected.values()) < everything


def test_optimizers_leave_frozen_parameters_alone():
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.Linear(4, 1))
    m.layers[0].freeze()
    before = dict(tree_flatten(m.parameters()))
    optimizer = optim.AdamW(learning_rate=0.1)
    f = nn.value_and_grad(m, lambda x: m(x).square().mean())
    for _ in range(3):
        _, grads = f(arr(8, 3))
        optimizer.update(m, grads)
        mx.eval(m.state, optimizer.state)
    after = dict(tree_flatten(m.parameters()))
    unchanged = [name for name in after if mx.array_equal(after[name], before[name])]
    assert unchanged == ["layers.0.weight", "layers.0.bias"]
    assert not any(name.startswith("layers.0") for name in names(optimizer.state))


# ---- unfreezing step by step


def biases(path, _):
    return path.endswith("bias")


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.05, momentum=0.9, weight_decay=0.01),
        lambda: optim.Adam(0.01, bias_correction=True),
        lambda: optim.Adafactor(learning_rate=0.01, relative_step=False),
        lambda: optim.Adafactor(),
        lambda: optim.MultiOptimizer([optim.Adam(0.01), optim.SGD(0.05, 0.9)], [biases]),
    ],
    ids=["sgd", "adam", "adafactor", "adafactor_relative", "multi"],
)
def test_gradual_unfreezing(make):
    """Each parameter moves as if an optimizer of its own had begun when it was thawed."""
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 1))
    start = dict(tree_flatten(m.parameters()))
    m.freeze()
    m.layers[4].unfreeze()
    optimizer = make()
    optimizer.init(m.trainable_parameters())
    f = nn.value_and_grad(m, lambda x: (m(x) - x[:, :1]).square().mean())
    history = []  # (step, gradients)
    for stage in range(3):
        if stage == 1:
            m.layers[3].unfreeze()
        elif stage == 2:
            m.unfreeze()
        for _ in range(3):
            _, grads = f(arr(8, 3, seed=len(history)))
            history.append(dict(tree_flatten(grads)))
            optimizer.update(m, grads)
            mx.eval(m.state, optimizer.state)
        state = {path for path, _ in tree_flatten(optimizer.state)}
        thawed = names(m.trainable_parameters())
        assert len(thawed) == (2, 4, 8)[stage]
        for path in start:
            assert any(f"{path}." in name for name in state) == (path in thawed)

    after = dict(tree_flatten(m.parameters()))
    for path in history[-1]:
        alone = make()
        if isinstance(alone, optim.MultiOptimizer):
            alone = alone.optimizers[0 if biases(path, None) else 1]
        x = {"x": start[path]}
        for step, grads in enumerate(history):
            alone.state["step"] = mx.array(step, mx.uint64)
            if path in grads:
                x = alone.apply_gradients({"x": grads[path]}, x)
        close(after[path], np.array(x["x"]), 1e-6)
        assert not mx.array_equal(after[path], start[path])
