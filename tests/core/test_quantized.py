"""Quantized matrices: bits against recorded ones, products against unpacked matrices, rules, misuse."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from record_quantized import DTYPES, LAYOUTS, bits_of

RECORDED = np.load(Path(__file__).parents[1] / "data" / "quantized.npz")
NAMES = {2: np.uint16, 4: np.uint32}


def options(layout):
    mode, group, bits = layout
    return {"group_size": group, "bits": bits, "mode": mode}


def recorded_matrix(dtype):
    return mx.array(RECORDED[f"w/{dtype}"]).view(getattr(mx, dtype))


def normal(*shape, dtype="float32", seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return mx.array(x).astype(getattr(mx, dtype))


def f8(a):
    return np.array(a.astype(mx.float32)).astype(np.float64)


def close(a, expected, tolerance):
    assert a.shape == expected.shape
    scale = np.abs(expected).max() if expected.size else 1
    assert np.abs(f8(a) - expected).max(initial=0) <= tolerance * max(scale, 1e-30)


def unrounded(q, options):
    """The matrix of float32 scales: dequantize rounds to the dtype of the scales."""
    w, *rest = q
    if len(rest) == 2:
        rest = [a.astype(mx.float32) for a in rest]
    return mx.dequantize(w, *rest, **options, dtype=mx.float32)


# ---- bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_recorded_bits(layout, dtype):
    w, o = recorded_matrix(dtype), options(layout)
    name = f"{dtype}/{layout[0]}/{layout[1]}/{layout[2]}"
    q = mx.quantize(w, **o)
    assert len(q) == (3 if layout[0] == "affine" else 2)
    for key, a in zip(("w", "scales", "biases"), q, strict=False):
        np.testing.assert_array_equal(bits_of(a), RECORDED[f"{name}/{key}"], err_msg=key)
    if f"{name}/values" in RECORDED:
        values = mx.dequantize(*q, **o, dtype=getattr(mx, dtype))
        np.testing.assert_array_equal(bits_of(values), RECORDED[f"{name}/values"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_recorded_global_scale(dtype):
    w, name = recorded_matrix(dtype), f"{dtype}/nvfp4/16/4/global"
    o = {"mode": "nvfp4", "global_scale": mx.abs(w).max().astype(mx.float32)}
    q = mx.quantize(w, **o)
    np.testing.assert_array_equal(bits_of(q[0]), RECORDED[f"{name}/w"])
    np.testing.assert_array_equal(bits_of(q[1]), RECORDED[f"{name}/scales"])
    values = mx.dequantize(*q, **o, dtype=mx.float32)
    np.testing.assert_array_equal(bits_of(values), RECORDED[f"{name}/values"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_recorded_fp8(dtype):
    codes = mx.to_fp8(recorded_matrix(dtype))
    np.testing.assert_array_equal(np.array(codes), RECORDED[f"fp8/{dtype}"])
    every = mx.from_fp8(mx.arange(256).astype(mx.uint8), getattr(mx, dtype))
    np.testing.assert_array_equal(f8(every), f8(mx.array(RECORDED[f"from_fp8/{dtype}"]).view(every.dtype)))


def test_fp8_limits():
    x = mx.array([0.0, -0.0, 448, 1e9, -1e9, float("inf"), float("nan"), 2**-9, 2**-11, 464])
    assert mx.to_fp8(x).tolist() == [0, 128, 126, 126, 254, 126, 126, 1, 0, 126]
    every = mx.arange(256).astype(mx.uint8)
    finite = [i for i in range(256) if i % 128 != 127]
    assert mx.to_fp8(mx.from_fp8(every, mx.float32))[mx.array(finite)].tolist() == finite
    assert mx.from_fp8(every, mx.float64).dtype == mx.float64
    assert mx.from_fp8(every).dtype == mx.bfloat16


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_codes_are_a_stream_of_bits(layout):
    mode, group, bits = layout
    w = normal(3, 256)
    words = np.array(mx.quantize(w, **options(layout))[0]).astype("<u4")
    stream = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little").reshape(3, 256, bits)
    codes = (stream.astype(int) << np.arange(bits)).sum(-1)
    q = mx.quantize(w, **options(layout))
    if mode == "affine":
        scales, biases = (np.repeat(f8(a), group, -1) for a in q[1:])
        np.testing.assert_allclose(
            f8(mx.dequantize(*q, **options(layout))), codes * scales + biases, rtol=1e-5, atol=1e-6
        )
    else:
        signs = np.where(codes >> (bits - 1), -1, 1)
        values = f8(mx.dequantize(*q, **options(layout)))
        assert (np.sign(values) * signs >= 0).all()


# ---- products


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_products(layout, dtype):
    """Rows that make a vector, a few, and many; columns that fill registers and some that do not."""
    o, tolerance = options(layout), {"float32": 2e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    columns = {16: (48, 272), 32: (96, 1184), 64: (64, 448), 128: (128, 1408)}[layout[1]]
    for k in columns:
        q = mx.quantize(normal(43, k, dtype=dtype), **o)
        w = f8(unrounded(q, o))
        for m in (1, 3, 8, 9, 50):
            x = normal(m, k, dtype=dtype, seed=m)
            y = mx.quantized_matmul(x, *q, **o)
            assert y.dtype == x.dtype
            close(y, f8(x) @ w.T, tolerance)
            x = normal(m, 43, dtype=dtype, seed=m)
            close(mx.quantized_matmul(x, *q, transpose=False, **o), f8(x) @ w, tolerance)


def test_mixed_dtypes():
    w = normal(16, 128, dtype="bfloat16")
    q = mx.quantize(w)
    x = normal(2, 128)
    y = mx.quantized_matmul(x, *q)
    assert y.dtype == mx.float32
    close(y, f8(x) @ f8(unrounded(q, {})).T, 1e-5)
    assert mx.quantized_matmul(x.astype(mx.float16), *q).dtype == mx.float32
    assert mx.quantized_matmul(x.astype(mx.int32), *q).dtype == mx.bfloat16
    q = mx.quantize(w, mode="mxfp4")
    assert mx.quantized_matmul(x.astype(mx.float16), *q, mode="mxfp4").dtype == mx.float16
    assert mx.dequantize(*q, mode="mxfp4").dtype == mx.bfloat16


@pytest.mark.parametrize("transpose", [True, False])
def test_batches(transpose):
    w = normal(3, 64, 64)
    q = mx.quantize(w)
    d = f8(mx.dequantize(*q))
    d = np.swapaxes(d, -1, -2) if transpose else d
    for shape in ((3, 5, 64), (1, 5, 64), (5, 64), (2, 1, 1, 64), (2, 3, 9, 64)):
        x = normal(*shape)
        close(mx.quantized_matmul(x, *q, transpose=transpose), f8(x) @ d, 1e-5)
    one = [a[1] for a in q]
    for shape in ((64,), (2, 3, 64), (4, 1, 64), (0, 64), (2, 0, 64)):
        x = normal(*shape)
        close(mx.quantized_matmul(x, *one, transpose=transpose), f8(x) @ d[1], 1e-5)


def test_layouts_of_operands():
    w, x = normal(64, 96), normal(64, 40)
    q = mx.quantize(w.T[:, :64])
    same = mx.quantize(mx.contiguous(w.T[:, :64]))
    for a, b in zip(q, same, strict=True):
        assert mx.array_equal(a, b)
    assert mx.array_equal(mx.quantized_matmul(x.T, *q), mx.quantized_matmul(mx.contiguous(x.T), *q))
    doubled = [mx.concatenate([a, a], axis=0)[::2] for a in q]
    close(mx.quantized_matmul(x.T, *doubled), f8(x.T) @ f8(mx.dequantize(*doubled)).T, 1e-5)


def test_empty():
    for shape in ((0, 64), (3, 0)):
        q = mx.quantize(mx.zeros(shape))
        assert mx.dequantize(*q).shape == shape
        y = mx.quantized_matmul(mx.ones((2, shape[1])), *q)
        assert y.shape == (2, shape[0]) and not mx.any(y)


# ---- rules


def test_gradients_of_products():
    x, w = normal(5, 64), normal(7, 64)
    q, scales, biases = mx.quantize(w, group_size=32)

    def unpacked(x, s, b):
        return (mx.sin(x @ mx.dequantize(q, s, b, group_size=32).T)).sum()

    def packed(x, s, b):
        return mx.sin(mx.quantized_matmul(x, q, s, b, group_size=32)).sum()

    got = mx.grad(packed, argnums=(0, 1, 2))(x, scales, biases)
    expected = mx.grad(unpacked, argnums=(0, 1, 2))(x, scales, biases)
    for a, b in zip(got, expected, strict=True):
        close(a, f8(b), 1e-4)
    tangents = [normal(*a.shape, seed=3) for a in (x, scales, biases)]
    (a,) = mx.jvp(packed, [x, scales, biases], tangents)[1]
    (b,) = mx.jvp(unpacked, [x, scales, biases], tangents)[1]
    assert abs(a.item() - b.item()) < 1e-3 * abs(b.item()) + 1e-3


@pytest.mark.parametrize("shape", [(4, 5, 64), (2, 3, 5, 64)])
def test_gradients_of_batches(shape):
    x = normal(*shape)
    q, scales, biases = mx.quantize(normal(3, 7, 64) if len(shape) == 4 else normal(7, 64))

    def unpacked(x, s):
        return mx.sin(x @ mx.swapaxes(mx.dequantize(q, s, biases), -1, -2)).sum()

    def packed(x, s):
        return mx.sin(mx.quantized_matmul(x, q, s, biases)).sum()

    got = mx.grad(packed, argnums=(0, 1))(x, scales)
    for a, b in zip(got, mx.grad(unpacked, argnums=(0, 1))(x, scales), strict=True):
        close(a, f8(b), 1e-4)


def test_gradients_that_there_are_not():
    x = normal(5, 64)
    q, scales, biases = mx.quantize(normal(7, 64))
    with pytest.raises(ValueError, match="packed weights"):
        mx.grad(lambda w: mx.quantized_matmul(x, w, scales, biases).sum())(q)
    q, scales = mx.quantize(normal(7, 64), mode="mxfp4")
    with pytest.raises(ValueError, match="mxfp4"):
        mx.grad(lambda s: mx.quantized_matmul(x, q, s, mode="mxfp4").sum())(scales)


def test_vmap():
    x, w = normal(4, 3, 64), normal(4, 7, 64)
    q = mx.quantize(w[0])
    close(mx.vmap(lambda x: mx.quantized_matmul(x, *q))(x), f8(mx.quantized_matmul(x, *q)), 1e-5)
    y = mx.vmap(lambda x: mx.quantized_matmul(x, *q), in_axes=2, out_axes=2)(mx.moveaxis(x, 0, 2))
    close(y, f8(mx.moveaxis(mx.quantized_matmul(x, *q), 0, 2)), 1e-5)
    q = mx.vmap(mx.quantize)(w)
    for a, b in zip(q, mx.quantize(w), strict=True):
        assert mx.array_equal(a, b)
    close(mx.vmap(mx.quantized_matmul)(x, *q), f8(mx.quantized_matmul(x, *q)), 1e-5)
    y = mx.vmap(mx.quantized_matmul, in_axes=(None, 0, 0, 0))(x, *q)
    close(y, f8(mx.quantized_matmul(x, *[mx.expand_dims(a, 1) for a in q])), 1e-5)
    d = mx.vmap(lambda q, s, b: mx.dequantize(q, s, b))(*q)
    assert mx.array_equal(d, mx.dequantize(*q))


def test_compile():
    x, q = normal(3, 64), mx.quantize(normal(7, 64))
    f = mx.compile(lambda x: mx.quantized_matmul(x, *q) + 1, shapeless=True)
    assert mx.array_equal(f(x), mx.quantized_matmul(x, *q) + 1)
    x = normal(5, 64)
    assert mx.array_equal(f(x), mx.quantized_matmul(x, *q) + 1)


# ---- misuse

W = mx.zeros((4, 64))
Q = mx.quantize(W)
X = mx.zeros((2, 64))
BAD = [
    (lambda: mx.quantize(W, group_size=16), r"\[quantize\].*group size 16.*32, 64 or 128"),
    (lambda: mx.quantize(W, bits=7), r"\[quantize\].*7 bits"),
    (lambda: mx.quantize(W, mode="int4"), r"\[quantize\].*'int4'"),
    (lambda: mx.quantize(W, mode="mxfp4", group_size=64), r"\[quantize\].*64.*expected 32"),
    (lambda: mx.quantize(W, mode="mxfp8", bits=4), r"\[quantize\].*4 bits.*expected 8"),
    (lambda: mx.quantize(mx.zeros((4, 48))), r"\[quantize\].*\(4,48\).*64"),
    (lambda: mx.quantize(mx.zeros((64,))), r"\[quantize\].*two dimensions"),
    (lambda: mx.quantize(W.astype(mx.int32)), r"\[quantize\].*int32"),
    (lambda: mx.quantize(W.astype(mx.complex64)), r"\[quantize\].*complex64"),
    (lambda: mx.quantize(W, global_scale=mx.array(1.0)), r"\[quantize\].*'nvfp4'"),
    (lambda: mx.quantize(W, mode="nvfp4", global_scale=mx.array(1)), r"\[quantize\].*int32"),
    (lambda: mx.quantize(W, mode="nvfp4", global_scale=mx.zeros(2)), r"\[quantize\].*\(2\)"),
    (lambda: mx.dequantize(*Q[:2]), r"\[dequantize\].*biases"),
    (lambda: mx.dequantize(*Q, bits=2), r"\[dequantize\].*bits=2"),
    (lambda: mx.dequantize(Q[0].astype(mx.int32), *Q[1:]), r"\[dequantize\].*int32"),
    (lambda: mx.dequantize(*Q, dtype=mx.int32), r"\[dequantize\].*int32"),
    (lambda: mx.dequantize(*Q, mode="mxfp8"), r"\[dequantize\].*biases"),
    (lambda: mx.dequantize(*Q[:2], mode="mxfp8"), r"\[dequantize\].*uint8"),
    (lambda: mx.quantized_matmul(X, *Q[:2]), r"\[quantized_matmul\].*biases"),
    (lambda: mx.quantized_matmul(X[:, :32], *Q), r"\[quantized_matmul\].*\(2,32\).*64"),
    (lambda: mx.quantized_matmul(X, *Q, transpose=False), r"\[quantized_matmul\].*dimension of 4"),
    (lambda: mx.quantized_matmul(X, Q[0], Q[1][:1], Q[2][:1]), r"\[quantized_matmul\].*\(1,1\)"),
    (lambda: mx.quantized_matmul(X, Q[0], Q[1], Q[2][:1]), r"\[quantized_matmul\].*\(1,1\)"),
    (lambda: mx.quantized_matmul(X, *Q, bits=8), r"\[quantized_matmul\].*bits=8"),
    (lambda: mx.quantized_matmul(X, *Q, bits=3), r"\[quantized_matmul\].*bits=3"),
    (lambda: mx.quantized_matmul(X, *Q, group_size=32), r"\[quantized_matmul\].*group_size=32"),
    (lambda: mx.quantized_matmul(mx.array(1.0), *Q), r"\[quantized_matmul\].*dimensions"),
    (lambda: mx.quantized_matmul(X.astype(mx.complex64), *Q), r"\[quantized_matmul\].*complex64"),
    (lambda: mx.quantized_matmul(mx.zeros((3, 2, 64)), *mx.quantize(mx.zeros((2, 4, 64)))), "roadcast"),
    (lambda: mx.to_fp8(mx.array(1)), r"\[to_fp8\].*int32"),
    (lambda: mx.from_fp8(mx.array(1.0)), r"\[from_fp8\].*float32"),
    (lambda: mx.from_fp8(mx.array([1], mx.uint8), mx.int32), r"\[from_fp8\].*int32"),
]


@pytest.mark.parametrize("i", range(len(BAD)))
def test_misuse(i):
    call, message = BAD[i]
    with pytest.raises(ValueError, match=message):
        call()
