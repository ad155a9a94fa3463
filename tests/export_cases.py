"""Functions that are exported: programs of the usual kinds, and of what these have not, for the tests of export."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

X = mx.array([[1.0, -2.0, 3.0], [0.5, 0.25, -1.0]])


def normal(*shape: int, key: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(key))


def as_tuple(out) -> tuple[mx.array, ...]:
    return (out,) if isinstance(out, mx.array) else tuple(out)


def round_trip(path, fn, *args, shapeless=False, **kwargs):
    """The imported function, after a check that it gives what `fn` does."""
    mx.export_function(path, fn, *args, shapeless=shapeless, **kwargs)
    imported = mx.import_function(path)
    got, expected = imported(*args, **kwargs), as_tuple(fn(*args, **kwargs))
    assert type(got) is tuple and len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype and g.shape == e.shape
        assert mx.array_equal(g, e, equal_nan=True), f"{g} {e}"
    return imported


def mlp_step():
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))
    mx.eval(model.parameters())
    names = [name for name, _ in tree_flatten(model.parameters())]

    def step(x, y, *weights):
        def loss(*ws):
            model.load_weights(list(zip(names, ws, strict=True)))
            return nn.losses.cross_entropy(model(x), y, reduction="mean")

        value, grads = mx.value_and_grad(loss, argnums=tuple(range(len(names))))(*weights)
        return [value, *(w - 0.1 * g for w, g in zip(weights, grads, strict=True))]

    weights = [w for _, w in tree_flatten(model.parameters())]
    return step, (normal(8, 6), mx.arange(8) % 3, *weights)


def attention_block():
    block = nn.TransformerEncoderLayer(16, 4)
    rope = nn.RoPE(4)
    mx.eval(block.parameters())

    def fn(x):
        h = block(x, nn.MultiHeadAttention.create_additive_causal_mask(x.shape[1]))
        q = rope(h.reshape(2, 5, 4, 4).transpose(0, 2, 1, 3))
        return mx.fast.scaled_dot_product_attention(q, q, q, scale=0.5, mask="causal")

    return fn, (normal(2, 5, 16),)


def attention_gradient():
    def fn(q, k, v, mask):
        def total(*qkv):
            return mx.sin(mx.fast.scaled_dot_product_attention(*qkv, scale=0.3, mask=mask)).sum()

        return mx.grad(total, argnums=(0, 1, 2))(q, k, v)

    return fn, (normal(1, 4, 7, 8), normal(1, 2, 7, 8, key=1), normal(1, 2, 7, 8, key=2), normal(7, 7, key=3) > 0)


def quantized():
    layer = nn.QuantizedLinear(64, 32)
    mx.eval(layer.parameters())
    return lambda x: (layer(x), *mx.quantize(layer(x), group_size=32, bits=8)), (normal(4, 64),)


def convolutions():
    def fn(x, w):
        def total(x, w):
            y = nn.relu(mx.conv2d(x, w, stride=(1, 2), padding=1, groups=2))
            return nn.MaxPool2d(2)(y).sum()

        return (*mx.grad(total, argnums=(0, 1))(x, w), mx.conv_transpose2d(x[..., :2], w, stride=2))

    return fn, (normal(2, 8, 8, 4), normal(8, 3, 3, 2, key=1))


def recurrent():
    cell = nn.LSTM(4, 5)
    mx.eval(cell.parameters())
    return lambda x: cell(x), (normal(2, 6, 4),)


def indexing():
    def fn(x, i, mask):
        y = mx.array(x)
        y[i] = 0
        y[:, 1:] += 2
        y = y.at[i].multiply(3)
        z = mx.slice_update(y, x[:1], i[:1], (0,))
        return (
            y[i],
            y[::-1, ::2],
            mx.where(mask, y, z),
            mx.take_along_axis(x, mx.argsort(x, axis=1), axis=1),
            x[..., None],
        )

    return fn, (normal(5, 4), mx.array([0, 3, 3]), normal(5, 4, key=2) > 0)


def numerical():
    def fn(a):
        spd = a @ a.T + 4 * mx.eye(4)
        q, r = mx.linalg.qr(a)
        w, v = mx.linalg.eigh(spd)
        factors = (q, r, w, v, *mx.linalg.svd(a), mx.linalg.cholesky(spd), *mx.linalg.lu(a), mx.linalg.eigvals(a))
        solutions = (mx.linalg.inv(spd), mx.linalg.solve(spd, a), mx.linalg.solve_triangular(r, a, upper=True))
        spectra = (mx.fft.rfft(a), mx.fft.ifft(a), mx.fft.irfft(mx.fft.rfft(a)))
        return (*factors, *solutions, mx.linalg.pinv(a), *spectra)

    return fn, (normal(4, 4),)


def random_with_key():
    def fn(key):
        a, b = mx.random.split(key)
        return mx.random.normal((3, 4), key=a), mx.random.bernoulli(0.5, (5,), key=b), mx.random.permutation(7, key=a)

    return fn, (mx.random.key(7),)


def mapped():
    def fn(x, keys):
        return mx.vmap(lambda a, k: mx.sort(a) * mx.random.uniform(shape=(3,), key=k))(x, keys), mx.vmap(mx.cumsum)(x)

    return fn, (X, mx.random.split(mx.random.key(1), 2))


def compiled():
    return mx.compile(lambda x: mx.exp(mx.sin(x)) + mx.logsumexp(x, axis=1, keepdims=True)), (X,)


PROGRAMS = (mlp_step, attention_block, attention_gradient, quantized, convolutions, recurrent, indexing, numerical)
PROGRAMS += (random_with_key, mapped, compiled)


def rare_programs():
    """Programs for operations that the others have not."""
    a, b = normal(4, 4), normal(4, 4, key=1)
    i = mx.array([2, 0])
    yield lambda x: mx.contiguous(x.T), (a,)
    yield lambda x: mx.as_strided(x, (2, 2), (4, 1), 1), (a,)
    yield lambda x: (mx.diagonal(x), mx.view(x, mx.int32)), (a,)
    yield lambda x, y: mx.depends([x], [y]), (a, b)
    yield lambda x: mx.grad(lambda z: mx.cumprod(z, axis=0).sum())(x), (a,)
    yield lambda x: mx.grad(lambda z: (mx.softmax(z, axis=-1) ** 2).sum())(x), (a,)
    yield lambda x: mx.grad(lambda z: (mx.fast.rms_norm(z, None, 1e-5) ** 2).sum())(x), (a,)
    yield (
        lambda x: mx.grad(lambda z: mx.fast.rope(z[None], 4, traditional=False, base=1e4, scale=1.0, offset=1).sum())(
            x
        ),
        (a,),
    )
    yield lambda x, t: mx.grad(lambda z: mx.fast.cross_entropy(z, t).sum())(x), (a, mx.array([0, 1, 2, 3]))
    yield lambda x: mx.vmap(lambda z, k: mx.slice(z, k, (0,), (2,)))(x, mx.array([[0], [1], [2], [1]])), (a,)
    yield lambda x, k: (mx.slice(x, k, (0,), (2, 4)), mx.slice_update(x, x[:2], k, (0,))), (a, mx.array([1]))
    yield lambda x, k: mx.put_along_axis(x, k, x, axis=1), (a, mx.argsort(a, axis=1))
    yield lambda x: mx.vmap(lambda z, m: mx.where(m, z, 0))(x, x > 0), (a,)
    yield lambda x: (mx.from_fp8(mx.to_fp8(x)), mx.hadamard_transform(x)), (a,)
    yield lambda x: mx.gather_mm(x[None], x[None], mx.array([0, 0]), mx.array([0, 0])), (a,)
    yield lambda x, s: mx.segmented_mm(x, x, s), (a, mx.array([[0, 2], [1, 4]], mx.uint32))
    grad = mx.grad(lambda x, s: mx.segmented_mm(x, x, s).sum())
    yield grad, (a, mx.array([[0, 2], [1, 4]], mx.uint32))
    yield lambda x: (mx.partition(x, 1, axis=1), mx.argpartition(x, 1, axis=1)), (a,)
    yield lambda x, k: (mx.searchsorted(mx.sort(x[0]), x[1]), mx.unflatten(x, 0, (2, 2)), x[k]), (a, i)
    yield lambda x: mx.linalg.eig(x), (a,)
    yield lambda x: mx.fast.gelu(x), (a.astype(mx.bfloat16),)
    yield lambda x: mx.logcumsumexp(x, axis=1), (a,)
    words = mx.quantize(normal(2, 8, 64), group_size=32, bits=4)
    yield (
        lambda x: mx.gather_qmm(x, *words, rhs_indices=mx.array([1, 0, 1]), group_size=32, bits=4),
        (normal(3, 1, 64),),
    )
    yield lambda x, y: mx.qqmm(x, y, mode="mxfp8"), (normal(4, 64), normal(8, 64, key=1))

    q, gates = normal(1, 3, 2, 4), mx.sigmoid(normal(1, 3, 2, key=1))
    yield mx.grad(lambda q: mx.fast.gated_delta_update(q, q, q, gates, gates)[0].sum()), (q,)

    yield (
        mx.grad(lambda x, w: (mx.fast.group_norm(x, 2, w, None, 1e-5, interleaved=True) ** 3).sum(), argnums=(0, 1)),
        (normal(2, 5, 6), normal(6, key=1)),
    )

    x = normal(3, 2, 16)
    yield lambda w, h: mx.fast.lstm_steps(w, h, h, x), (normal(16, 4), normal(2, 4, key=1))
    yield lambda w, h: mx.fast.rnn_steps(w, h, x, "relu"), (normal(16, 16), normal(2, 16, key=1))
    yield lambda w, h: mx.fast.gru_steps(w, h[0], h, x[..., :15]), (normal(15, 5), normal(2, 5, key=1))
    yield mx.grad(lambda w: mx.fast.rnn_steps(w, x[0], x).sum()), (normal(16, 16),)
    yield mx.grad(lambda w: mx.fast.gru_steps(w, x[0, 0, :5], x[1, :, :5], x[..., :15])[0].sum()), (normal(15, 5),)
    yield mx.grad(lambda w: sum(o.sum() for o in mx.fast.lstm_steps(w, x[0, :, :4], x[1, :, :4], x))), (normal(16, 4),)

    yield lambda x: mx.fast.resample(x, 1, 9, scale=2.25, method="cubic"), (normal(2, 4),)
    yield mx.grad(lambda x: (mx.fast.resample(x, 0, 3, antialias=True) ** 2).sum()), (normal(7, 2),)

    def assigned(x, values):
        x = mx.array(x)
        x[mx.array([True, False, True, False])] = values
        return mx.sin(x).sum()

    yield mx.grad(assigned, argnums=(0, 1)), (a, normal(2, 4))
