"""A program that uses every module, for `mypy --strict`: tests/test_stubs.py. It runs as well."""

from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.nn import init, losses
from mlx.utils import tree_flatten, tree_map, tree_reduce, tree_unflatten


class Block(nn.Module):
    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiHeadAttention(dims, heads)
        self.norm = nn.LayerNorm(dims)
        self.layers = [nn.Linear(dims, dims), nn.ReLU(), nn.Dropout(0.1)]
        self.scale = mx.ones((dims,))

    def __call__(self, x: mx.array, mask: mx.array | None = None) -> mx.array:
        y: mx.array = self.norm(x)
        y = x + self.attention(y, y, y, mask)
        for layer in self.layers:
            y = layer(y)
        return mx.fast.rms_norm(y, self.scale, 1e-5)


class Classifier(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.blocks = nn.Sequential(Block(8, 2), Block(8, 2))
        self.convolution = nn.Conv1d(8, 4, kernel_size=3, padding=1)
        self.out = nn.Linear(4, classes, bias=False)

    def __call__(self, tokens: mx.array) -> mx.array:
        x = self.blocks(self.embedding(tokens))
        x = nn.gelu(self.convolution(x)).mean(axis=1)
        result: mx.array = self.out(x)
        return result


def core() -> mx.array:
    a = mx.arange(12, dtype=mx.float32).reshape(3, 4)
    b: mx.array = mx.where(a > 2, a, -a)[1:, ::-1]
    b[0, mx.array([0, 1])] = 5
    values, places = mx.max(b, axis=-1), mx.argsort(b, axis=0)
    first, second = mx.split(a, 2, axis=1)
    quotient, rest = mx.divmod(a, 2)
    rows: tuple[mx.array, ...] = mx.meshgrid(mx.arange(3), mx.arange(4))
    shape: tuple[int, ...] = mx.broadcast_shapes((3, 1), (4,))
    number: int | float | bool | complex = a.sum().item()
    nested: list[Any] | Any = a.tolist()
    dtype: mx.Dtype = mx.result_type(a, mx.int32)
    with mx.stream(mx.cpu):
        c = mx.einsum("ij,kj->ik", a, a) + mx.full((3, 3), 1.0)
    limits = mx.finfo(mx.float16).max + mx.iinfo(mx.int8).max
    assert shape == (3, 4) and number == 66 and nested and dtype == mx.float32 and limits > 0 and len(rows) == 2
    return c.sum() + values.sum() + places.sum() + first.sum() + second.sum() + quotient.sum() + rest.sum()


def modules() -> list[mx.array]:
    key: mx.array = mx.random.key(0)
    keys = mx.random.split(key, 3)
    x = mx.random.normal((2, 4, 4), key=keys[0], dtype=mx.float32)
    index = mx.random.categorical(x[0], key=keys[1])
    spd = x @ mx.swapaxes(x, -1, -2) + mx.eye(4)
    l: mx.array = mx.linalg.cholesky(spd)
    u, s, vt = mx.linalg.svd(spd)
    q, r = mx.linalg.qr(spd)
    values, vectors = mx.linalg.eigh(spd)
    size: mx.array = mx.linalg.norm(spd, axis=(-2, -1))
    spectrum = mx.fft.irfft(mx.fft.rfft(x, axis=-1), n=4)
    heads = mx.expand_dims(x, 1)
    attention = mx.fast.scaled_dot_product_attention(heads, heads, heads, scale=0.5, mask=None)
    turned = mx.fast.rope(heads, 4, traditional=True, base=10000.0, scale=1.0, offset=0)
    normed: mx.array = mx.fast.layer_norm(x, None, None, 1e-5)
    return [index, l, u, s, vt, q, r, values, vectors, size, spectrum, attention, turned, normed]


def transforms() -> mx.array:
    def loss(w: mx.array, x: mx.array) -> mx.array:
        return mx.mean(mx.square(x @ w))

    gradient: Callable[..., Any] = mx.grad(loss)
    value, both = mx.value_and_grad(loss, argnums=(0, 1))(mx.ones((4,)), mx.ones((2, 4)))
    batched = mx.vmap(loss, in_axes=(None, 0))(mx.ones((4,)), mx.ones((3, 2, 4)))

    @partial(mx.compile, shapeless=True)
    def step(x: mx.array) -> mx.array:
        return mx.exp(-x)

    outs, tangents = mx.jvp(mx.square, [mx.array(3.0)], [mx.array(1.0)])
    mx.eval(value, both, batched, outs, tangents)
    return step(gradient(mx.ones((4,)), mx.ones((2, 4)))) + batched.sum()


def train() -> float:
    model = Classifier(3)
    model.apply(lambda p: p.astype(mx.float32))
    model.update(tree_map(lambda p: p * 0.5, model.parameters()))
    weights = init.glorot_uniform()(mx.zeros((3, 4)))
    model.out.update({"weight": weights})
    schedule = optim.join_schedules([optim.linear_schedule(0.0, 0.1, 2), optim.cosine_decay(0.1, 10)], [2])
    optimizer: optim.Optimizer = optim.AdamW(learning_rate=schedule, weight_decay=0.01)
    optimizer.init(model.trainable_parameters())

    def loss(model: Classifier, x: mx.array, y: mx.array) -> mx.array:
        return losses.cross_entropy(model(x), y, reduction="mean")

    step = nn.value_and_grad(model, loss)
    tokens, labels = mx.random.randint(0, 16, (5, 6)), mx.array([0, 1, 2, 0, 1])
    total = 0.0
    for _ in range(2):
        value, grads = step(model, tokens, labels)
        grads, _norm = optim.clip_grad_norm(grads, 1.0)
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state)
        total += float(value.item())
    flat: list[tuple[str, Any]] = tree_flatten(model.parameters())
    again: Any = tree_unflatten(flat)
    count: int = tree_reduce(lambda n, p: n + p.size, again, 0)
    model.freeze().unfreeze().train(False)
    nn.quantize(nn.Sequential(nn.Linear(64, 64)), group_size=64, bits=4)
    assert count > 0 and model.training is False
    return total


if __name__ == "__main__":
    mx.eval(core(), modules(), transforms())
    print(train())
