"""Lines that programs written for MLX contain, as they are written there; on a machine without a GPU they run too."""

from __future__ import annotations

import time
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map, tree_unflatten


def test_guards_of_a_gpu():
    assert not mx.metal.is_available() and not mx.cuda.is_available()
    if mx.metal.is_available():
        mx.set_wired_limit(mx.device_info()["max_recommended_working_set_size"])
    assert mx.default_device() == mx.Device(mx.cpu, 0)
    assert isinstance(mx.device_info(), dict)
    with mx.stream(mx.cpu):
        assert (mx.ones(3) + 1).tolist() == [2, 2, 2]
    mx.set_default_device(mx.cpu)
    with pytest.raises(ValueError):
        mx.set_default_device(mx.gpu)


def test_memory_is_counted():
    old = mx.set_cache_limit(1 << 20)
    try:
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        x = mx.zeros((1 << 20,)) + 1
        mx.eval(x)
        assert mx.get_active_memory() - before >= x.nbytes
        del x
        assert mx.get_active_memory() == before
        assert mx.get_peak_memory() >= before + (4 << 20)
        mx.clear_cache()
        assert mx.get_cache_memory() == 0
    finally:
        mx.set_cache_limit(old)
    limit = mx.set_memory_limit(1 << 40)
    assert mx.set_memory_limit(limit) == 1 << 40


class Net(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.layers = [nn.Linear(4, width), nn.Linear(width, 2)]
        self.dropout = nn.Dropout(0.1)

    def __call__(self, x: mx.array) -> mx.array:
        return self.layers[1](self.dropout(nn.gelu_approx(self.layers[0](x))))


def data(n: int = 64) -> tuple[mx.array, mx.array]:
    x = np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    return mx.array(x), mx.array((x[:, 0] * x[:, 1] > 0).astype(np.int32))


def loss_fn(model: nn.Module, x: mx.array, y: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


def test_compiled_step_with_state():
    """Model, optimizer and random state are captured; compiled and plain steps give the same weights."""

    def train(compiled: bool) -> tuple[list[float], dict[str, mx.array]]:
        mx.random.seed(0)
        model = Net()
        optimizer = optim.AdamW(
            optim.join_schedules([optim.linear_schedule(0, 1e-2, 5), optim.cosine_decay(1e-2, 50)], [5])
        )
        x, y = data()
        state = [model.state, optimizer.state, mx.random.state]

        def step(x: mx.array, y: mx.array) -> mx.array:
            loss, grads = nn.value_and_grad(model, loss_fn)(model, x, y)
            grads, _ = optim.clip_grad_norm(grads, 1.0)
            optimizer.update(model, grads)
            return loss

        if compiled:
            step = mx.compile(step, inputs=state, outputs=state)
        losses = []
        model.train()
        for _ in range(30):
            loss = step(x, y)
            mx.eval(state, loss)
            losses.append(loss.item())
        return losses, dict(tree_flatten(model.parameters()))

    plain, compiled = train(False), train(True)
    assert plain[0][-1] < 0.9 * plain[0][0]
    assert np.allclose(plain[0], compiled[0], atol=1e-5)
    assert all(np.allclose(a, compiled[1][name], atol=1e-5) for name, a in plain[1].items())


def test_shapeless_activation():
    @partial(mx.compile, shapeless=True)
    def swiglu(gate: mx.array, x: mx.array) -> mx.array:
        return nn.silu(gate) * x

    for shape in [(2, 3), (5,), (1, 4, 2)]:
        a = mx.random.normal(shape)
        assert mx.allclose(swiglu(a, a), nn.silu(a) * a)


def test_generation_loop_on_a_stream():
    """The next token is scheduled before the last one is read."""
    generation_stream = mx.new_stream(mx.default_device())
    table = mx.random.normal((32, 32), key=mx.random.key(0))

    def step(token: mx.array) -> mx.array:
        with mx.stream(generation_stream):
            return mx.argmax(table[token] + mx.arange(32) / 64, axis=-1)

    expected = [3]
    for _ in range(20):
        expected.append(int(np.argmax(np.array(table)[expected[-1]] + np.arange(32) / 64)))
    y = step(mx.array(3))
    mx.async_eval(y)
    tokens = []
    for n in range(20):
        following = step(y)
        mx.async_eval(following)
        tokens.append(y.item())
        y = following
        if n % 8 == 0:
            mx.clear_cache()
    mx.synchronize(generation_stream)
    assert tokens == expected[1:]


def test_one_process_is_a_group():
    world = mx.distributed.init()
    assert (world.rank(), world.size()) == (0, 1)
    assert mx.distributed.all_sum(mx.array([1.0, 2.0]), stream=mx.cpu).tolist() == [1, 2]
    grads = {"w": mx.ones((2, 2))}
    assert mx.array_equal(nn.utils.average_gradients(grads)["w"], grads["w"])
    assert not mx.distributed.is_available() or world.size() >= 1


def test_lora_by_hand():
    """Freeze, replace layers, train what is left, merge."""

    class LoRA(nn.Module):
        def __init__(self, linear: nn.Linear, rank: int = 4):
            super().__init__()
            outputs, inputs = linear.weight.shape
            self.linear = linear
            self.lora_a = mx.random.uniform(-1, 1, (inputs, rank)) * inputs**-0.5
            self.lora_b = mx.zeros((rank, outputs))

        def __call__(self, x: mx.array) -> mx.array:
            return self.linear(x) + (x @ self.lora_a) @ self.lora_b

    mx.random.seed(1)
    model = Net()
    model.freeze()
    replaced = [(k, LoRA(m)) for k, m in model.named_modules() if isinstance(m, nn.Linear)]
    model.update_modules(tree_unflatten(replaced))
    assert sorted(k for k, _ in tree_flatten(model.trainable_parameters())) == [
        f"layers.{i}.lora_{x}" for i in (0, 1) for x in "ab"
    ]
    frozen = {k: mx.array(v) for k, v in tree_flatten(model.parameters()) if "lora" not in k}
    x, y = data()
    optimizer = optim.Adam(1e-2)
    first = loss_fn(model, x, y).item()
    for _ in range(40):
        loss, grads = nn.value_and_grad(model, loss_fn)(model, x, y)
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state)
    assert loss.item() < 0.9 * first
    now = dict(tree_flatten(model.parameters()))
    assert all(mx.array_equal(now[k], v) for k, v in frozen.items())


def test_gradients_accumulate_in_trees():
    model = Net()
    x, y = data(8)
    grad = nn.value_and_grad(model, loss_fn)
    total = None
    model.eval()
    for i in range(0, 8, 2):
        _, grads = grad(model, x[i : i + 2], y[i : i + 2])
        total = grads if total is None else tree_map(lambda a, b: a + b, total, grads)
    mean = tree_map(lambda g: g / 4, total)
    _, whole = grad(model, x, y)
    for (_, a), (_, b) in zip(tree_flatten(mean), tree_flatten(whole), strict=True):
        assert mx.allclose(a, b, atol=1e-6)


def test_checkpointed_layers():
    model = Net()
    x, y = data(8)
    model.eval()
    _, plain = nn.value_and_grad(model, loss_fn)(model, x, y)
    call = Net.__call__

    def checkpointed(self: Net, x: mx.array) -> mx.array:
        def inner(params: dict, x: mx.array) -> mx.array:
            self.update(params)
            return call(self, x)

        return mx.checkpoint(inner)(self.trainable_parameters(), x)

    Net.__call__ = checkpointed
    try:
        _, again = nn.value_and_grad(model, loss_fn)(model, x, y)
    finally:
        Net.__call__ = call
    for (_, a), (_, b) in zip(tree_flatten(plain), tree_flatten(again), strict=True):
        assert mx.allclose(a, b, atol=1e-6)


def test_weights_travel(tmp_path):
    model, other = Net(), Net()
    model.save_weights(str(tmp_path / "w.safetensors"))
    other.load_weights(str(tmp_path / "w.safetensors"))
    weights = list(mx.load(str(tmp_path / "w.safetensors")).items())
    Net().load_weights(weights, strict=True)
    with pytest.raises(ValueError):
        Net(8).load_weights(weights)
    model.set_dtype(mx.float16)
    assert all(p.dtype == mx.float16 for _, p in tree_flatten(model.parameters()))
    nn.quantize(
        wide := nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
        group_size=32,
        bits=4,
        class_predicate=lambda path, m: hasattr(m, "to_quantized"),
    )
    wide.save_weights(str(tmp_path / "q.npz"))
    assert isinstance(wide.layers[0], nn.QuantizedLinear)
    wide.load_weights(str(tmp_path / "q.npz"))


def test_timing_and_printing(capsys):
    tic = time.perf_counter()
    mx.eval(mx.random.normal((64, 64)) @ mx.random.normal((64, 64)))
    toc = time.perf_counter()
    print(f"[INFO] {1e3 * (toc - tic):.3f} ms, {mx.mean(mx.array([1.0, 2.0])).item():.2f} {mx.array(2.0):.1f}")
    assert "1.50 2.0" in capsys.readouterr().out
    assert f"{mx.array([1, 2])}" == "array([1, 2], dtype=int32)"
