"""Operations read no byte behind their operands: arrays that end with a page, behind which there is nothing."""

from __future__ import annotations

import ctypes
import mmap
import sys

import mlx.core as mx
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect as on Linux")

PAGE = mmap.PAGESIZE
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 31, 33, 47, 63, 64, 65, 100, 257)


class Ends:
    """Memory of some pages, then one that cannot be read."""

    def __init__(self) -> None:
        self.pages = 64
        self.map = mmap.mmap(-1, (self.pages + 1) * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        libc = ctypes.CDLL(None, use_errno=True)
        end = self.address + self.pages * PAGE
        assert libc.mprotect(ctypes.c_void_p(end), ctypes.c_size_t(PAGE), 0) == 0

    def array(self, values: np.ndarray) -> mx.array:
        """`values` where their last byte is the last one of a page."""
        start = self.pages * PAGE - values.nbytes
        view = np.frombuffer(self.map, values.dtype, values.size, start).reshape(values.shape)
        view[...] = values
        out = mx.from_dlpack(view)
        assert np.shares_memory(np.asarray(out), view)
        return out


UNARY = {
    "softmax": lambda x: mx.softmax(x, -1),
    "logsumexp": lambda x: mx.logsumexp(x, -1),
    "sum": lambda x: (x.sum(), x.sum(-1), x.sum(0)),
    "max": lambda x: (x.max(), x.max(-1), x.min(0), mx.argmax(x, -1)),
    "sort": lambda x: (mx.sort(x, -1), mx.argsort(x, -1), mx.sort(x, None)),
    "partition": lambda x: (mx.topk(x, 1, -1), mx.partition(x, 0, axis=-1)),
    "scan": lambda x: (mx.cumsum(x, -1), mx.cummax(x, 0)),
    "functions": lambda x: (mx.exp(x), mx.log1p(mx.abs(x)), mx.sinh(x), mx.logaddexp(x, x), mx.erf(x), mx.sigmoid(x)),
    "copies": lambda x: (mx.contiguous(x.T), mx.pad(x, 2, "edge"), mx.repeat(x, 3, -1), mx.concatenate([x, x], -1)),
    "casts": lambda x: (x.astype(mx.bfloat16), x.astype(mx.float16), x.astype(mx.int8)),
    "norms": lambda x: (mx.fast.rms_norm(x, None, 1e-5), mx.fast.layer_norm(x, None, None, 1e-5), mx.var(x, -1)),
    "groups": lambda x: (
        mx.fast.group_norm(x, 1, None, None, 1e-5),
        mx.fast.group_norm(x[None], x.shape[1], None, None, 1e-5),
        mx.grad(lambda y: mx.square(mx.fast.group_norm(y, 1, None, None, 1e-5)).sum())(x),
    ),
    "recurrent": lambda x: (
        mx.fast.rnn_steps(mx.eye(x.shape[1]), x, mx.repeat(x[None], 3, 0)),
        mx.fast.rnn_steps(mx.eye(x.shape[1]), x[0], x),
        mx.grad(lambda y: mx.square(mx.fast.rnn_steps(0.1 * mx.ones((x.shape[1],) * 2), y[0], y)).sum())(x),
    ),
    "products": lambda x: (x @ x.T, x.T @ x, x[0] @ x.T, mx.inner(x, x)),
    "resample": lambda x: (mx.fast.resample(x, 0, 7), mx.fast.resample(x, 1, 9, method="cubic")),
    "columns": lambda x: mx.take(x, mx.array([0, 0, 0]), axis=1),
    "attention": lambda x: mx.fast.scaled_dot_product_attention(*[x[None, None]] * 3, scale=0.1, mask="causal"),
    "convolution": lambda x: mx.conv1d(x[None], mx.ones((4, 3, x.shape[1]), x.dtype), padding=1),
    "depthwise": lambda x: (
        mx.conv1d(x[None], mx.ones((x.shape[1], 3, 1), x.dtype), padding=1, groups=x.shape[1]),
        mx.conv1d(x[None], mx.ones((x.shape[1], 4, 1), x.dtype), padding=2, stride=2, groups=x.shape[1]),
        mx.conv1d(
            mx.ones((1, 9, x.shape[0]), x.dtype), x[:, :, None], padding=x.shape[1], groups=x.shape[0]
        ),
    ),
    "small groups": lambda x: (
        mx.conv1d(x[None], mx.ones((x.shape[1], 3, 4), x.dtype), padding=1, groups=x.shape[1] // 4)
        if x.shape[1] % 4 == 0
        else mx.conv1d(x[None], mx.ones((x.shape[1] * 2, 3, 1), x.dtype), padding=1, groups=x.shape[1])
    ),
    "weights": lambda x: mx.conv1d(mx.ones((1, 5, x.shape[1])), mx.contiguous(x)[:, None]),
    "gradients": lambda x: mx.grad(lambda y: (mx.softmax(y, -1) * mx.tanh(y)).sum())(x),
    "fft": lambda x: mx.fft.rfft(x, axis=-1),
}


def listed(x: mx.array | tuple[mx.array, ...]) -> list[mx.array]:
    return list(x) if isinstance(x, tuple) else [x]


@pytest.mark.parametrize("name", UNARY)
def test_floats(name: str) -> None:
    ends = Ends()
    run = UNARY[name]
    for rows in (1, 3, 20):
        for n in SIZES:
            values = np.random.default_rng(n).normal(size=(rows, n)).astype(np.float32)
            got, want = run(ends.array(values)), run(mx.array(values))
            for g, w in zip(listed(got), listed(want), strict=True):
                assert mx.allclose(g, w, rtol=1e-5, atol=1e-5, equal_nan=True), (rows, n)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", "bool", "float16"])
def test_positions_and_narrow_types(dtype: str) -> None:
    ends = Ends()
    table = mx.arange(600.0).reshape(300, 2)
    for n in SIZES:
        values = np.random.default_rng(n).integers(0, 2, (3, n)).astype(dtype)
        x, y = ends.array(values), mx.array(values)
        for g, w in ((x.sum(-1), y.sum(-1)), (x.max(0), y.max(0)), (mx.sort(x, -1), mx.sort(y, -1)), (x + x, y + y)):
            assert mx.array_equal(g, w), (dtype, n)
        if dtype.startswith(("int", "uint")):
            assert mx.array_equal(mx.take(table, x, axis=0), mx.take(table, y, axis=0))
            assert mx.array_equal(
                mx.searchsorted(x[0] * 0 + 1, x[1]), mx.searchsorted(y[0] * 0 + 1, y[1])
            )


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
@pytest.mark.parametrize("name", ["depthwise", "small groups", "convolution", "products"])
def test_16_bit_floats(name: str, dtype: mx.Dtype) -> None:
    ends = Ends()
    run = UNARY[name]
    for rows in (1, 3, 20):
        for n in SIZES:
            values = np.random.default_rng(n).normal(size=(rows, n)).astype(np.float16)
            x = ends.array(values).view(dtype)
            got, want = run(x), run(mx.array(values).view(dtype))
            for g, w in zip(listed(got), listed(want), strict=True):
                assert g.dtype == dtype and mx.allclose(g, w, rtol=1e-2, atol=1e-2, equal_nan=True), (rows, n)
