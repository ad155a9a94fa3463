"""Quantized matrices: bits against recorded ones, products against unpacked matrices, rules, misuse."""

from __future__ import annotations

import os
import subprocess
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
        for m in (1, 2, 3, 4, 5, 6, 7, 8, 9, 50):
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["affine", "mxfp4", "nvfp4"])
def test_many_rows(mode, dtype):
    """Sizes that leave parts of every block, and numbers of very different size in a row."""
    q = mx.quantize(normal(301, 1088, dtype=dtype), mode=mode)
    w = f8(unrounded(q, {"mode": mode}))
    x = normal(205, 1088, dtype="float32") * mx.exp(2 * normal(205, 1088, seed=1))
    x = mx.where(mx.arange(205)[:, None] == 7, 0, x).astype(getattr(mx, dtype))
    y, expected = mx.quantized_matmul(x, *q, mode=mode), f8(x) @ w.T
    # codes and biases are summed apart: what cancels between them counts
    parts = np.abs(w) if mode != "affine" else np.abs(w) + np.repeat(np.abs(f8(q[2])), 64, -1)
    scale = np.abs(f8(x)) @ parts.T
    tolerance = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    assert (np.abs(f8(y) - expected) <= tolerance * scale).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 5, 20])
def test_numbers_that_are_not_finite(rows, dtype):
    q = mx.quantize(normal(40, 128, dtype=dtype))
    d = f8(unrounded(q, {}))
    x = f8(normal(rows, 128, dtype=dtype))
    x[0, 3] = np.inf
    x[-1, 100] = np.nan
    y = f8(mx.quantized_matmul(mx.array(x.astype(np.float32)).astype(getattr(mx, dtype)), *q))
    with np.errstate(invalid="ignore"):
        expected = x @ d.T
    finite = np.isfinite(expected)
    tolerance = {"float32": 1e-4, "float16": 0.1, "bfloat16": 0.6}[dtype]
    np.testing.assert_allclose(y[finite], expected[finite], atol=tolerance)
    assert np.array_equal(np.isnan(y[-1]), np.isnan(expected[-1]))
    assert not np.isfinite(y[~finite]).any()


def test_large_numbers():
    """Towards the ends of float32, where scales of x overflow or vanish."""
    q = mx.quantize(normal(40, 64))
    d = f8(mx.dequantize(*q))
    for size in (1e35, 1e-25, 1e-33):
        x = normal(20, 64) * size
        y = f8(mx.quantized_matmul(x, *q))
        assert np.abs(y - f8(x) @ d.T).max() <= 1e-5 * np.abs(f8(x) @ d.T).max()


def test_same_bits_for_any_number_of_threads():
    code = """
import mlx.core as mx, numpy as np, hashlib
rng = np.random.default_rng(0)
digest = hashlib.sha256()
q = mx.quantize(mx.array(rng.standard_normal((1000, 1024)).astype(np.float32)))
for m in (1, 3, 8, 40):
    x = mx.array(rng.standard_normal((m, 1024)).astype(np.float32))
    digest.update(np.array(mx.quantized_matmul(x, *q)).tobytes())
    x = mx.array(rng.standard_normal((m, 1000)).astype(np.float32))
    digest.update(np.array(mx.quantized_matmul(x, *q, transpose=False)).tobytes())
print(digest.hexdigest())
"""
    seen = set()
    for threads in ("1", "2", "5"):
        env = {**os.environ, "MLX_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        seen.add(run.stdout)
    assert len(seen) == 1


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


# ---- indices


@pytest.mark.parametrize("mode, group", [("affine", 64), ("nvfp4", 16), ("mxfp8", 32)])
@pytest.mark.parametrize("transpose", [True, False])
def test_gather_qmm(mode, group, transpose):
    q = mx.quantize(normal(5, 64, 128), mode=mode)
    d = f8(mx.dequantize(*q, mode=mode, dtype=mx.float32))
    d = np.swapaxes(d, 1, 2) if transpose else d
    for m in (1, 3, 9):
        x = normal(6, m, 128 if transpose else 64)
        lhs, rhs = np.array([[0], [5], [2]]), np.array([4, 1, 1, 0])
        y = mx.gather_qmm(x, *q, lhs_indices=mx.array(lhs), rhs_indices=mx.array(rhs), transpose=transpose, mode=mode)
        close(y, f8(x)[lhs] @ d[rhs], 1e-5)
        rhs = np.array([1, 1, 1, 2, 4, 4])
        y = mx.gather_qmm(x, *q, rhs_indices=mx.array(rhs), transpose=transpose, mode=mode, sorted_indices=True)
        close(y, f8(x) @ d[rhs], 1e-5)


def test_gather_qmm_global_scale():
    w = normal(3, 8, 64)
    largest = mx.abs(w).max(axis=(1, 2))
    packed = [mx.quantize(w[i], mode="nvfp4", global_scale=largest[i]) for i in range(3)]
    q = [mx.stack(a) for a in zip(*packed, strict=True)]
    d = [f8(mx.dequantize(*p, mode="nvfp4", global_scale=largest[i], dtype=mx.float32)) for i, p in enumerate(packed)]
    x, rhs = normal(2, 1, 64), [2, 0]
    y = mx.gather_qmm(x, *q, rhs_indices=mx.array(rhs), mode="nvfp4", global_scale=largest)
    close(y, f8(x) @ np.swapaxes(np.array(d)[rhs], 1, 2), 1e-5)


def test_gather_qmm_gradients():
    x, w = normal(4, 2, 64), normal(3, 7, 64)
    q, scales, biases = mx.quantize(w, group_size=32)
    lhs, rhs = mx.array([[0, 3], [3, 1]]), mx.array([2, 0])

    def unpacked(x, s, b):
        d = mx.dequantize(q, s, b, group_size=32)
        return mx.sin(x[lhs] @ mx.swapaxes(d, 1, 2)[rhs]).sum()

    def packed(x, s, b):
        y = mx.gather_qmm(x, q, s, b, lhs_indices=lhs, rhs_indices=rhs, group_size=32)
        return mx.sin(y).sum()

    got = mx.grad(packed, argnums=(0, 1, 2))(x, scales, biases)
    for a, b in zip(got, mx.grad(unpacked, argnums=(0, 1, 2))(x, scales, biases), strict=True):
        close(a, f8(b), 1e-4)
    tangents = [normal(*a.shape, seed=3) for a in (x, scales, biases)]
    (a,) = mx.jvp(packed, [x, scales, biases], tangents)[1]
    (b,) = mx.jvp(unpacked, [x, scales, biases], tangents)[1]
    assert abs(a.item() - b.item()) < 1e-3 * abs(b.item()) + 1e-3


def test_gather_mm():
    a, b = normal(2, 3, 4, 5), normal(7, 5, 6)
    lhs, rhs = np.array([[0], [5], [-1]]), np.array([4, 1])
    y = mx.gather_mm(a, b, lhs_indices=mx.array(lhs), rhs_indices=mx.array(rhs))
    close(y, f8(a).reshape(6, 4, 5)[lhs] @ f8(b)[rhs], 1e-6)
    close(mx.gather_mm(a[0, 0, 0], b, rhs_indices=mx.array(rhs)), f8(a)[0, 0, 0] @ f8(b)[rhs], 1e-6)
    close(mx.gather_mm(a[0], b[:, :, 0][0], lhs_indices=mx.array([1, 2])), f8(a)[0, 1:] @ f8(b)[0, :, 0], 1e-6)
    close(mx.gather_mm(a[0], b[:3]), f8(a)[0] @ f8(b)[:3], 1e-6)
    half = mx.gather_mm(a.astype(mx.float16), b, rhs_indices=mx.array([0]), lhs_indices=mx.array([0]))
    assert half.dtype == mx.float32
    with pytest.raises(IndexError, match=r"\[gather_mm\]"):
        mx.eval(mx.gather_mm(a, b, rhs_indices=mx.array([7]), lhs_indices=mx.array([0])))


def test_gather_mm_gradients_and_vmap():
    a, b = normal(4, 2, 5), normal(3, 5, 6)
    lhs, rhs = mx.array([[0, 3], [3, 1]]), mx.array([2, 0])

    def plain(a, b):
        return a[lhs] @ b[rhs]

    def gathered(a, b):
        return mx.gather_mm(a, b, lhs_indices=lhs, rhs_indices=rhs)

    got = mx.grad(lambda *z: mx.sin(gathered(*z)).sum(), argnums=(0, 1))(a, b)
    expected = mx.grad(lambda *z: mx.sin(plain(*z)).sum(), argnums=(0, 1))(a, b)
    for x, y in zip(got, expected, strict=True):
        close(x, f8(y), 1e-5)
    batch = mx.stack([a, a * 2, a + 1])
    for axes in ((0, None), (None, 0), (0, 0)):
        args = [batch if axes[0] == 0 else a, mx.stack([b, -b, b + 1]) if axes[1] == 0 else b]
        close(mx.vmap(gathered, in_axes=axes)(*args), f8(mx.vmap(plain, in_axes=axes)(*args)), 1e-5)
    indices = mx.array([[1, -1], [0, 2]])
    f = mx.vmap(lambda a, i: mx.gather_mm(a, b, lhs_indices=i, rhs_indices=rhs), in_axes=(0, 0))
    close(f(batch[:2], indices), f8(mx.stack([batch[j][indices[j]] @ b[rhs] for j in range(2)])), 1e-5)
    q = mx.quantize(normal(3, 6, 64))
    x = normal(2, 4, 1, 64)
    f = mx.vmap(lambda x: mx.gather_qmm(x, *q, lhs_indices=lhs, rhs_indices=rhs))
    close(f(x), f8(mx.stack([mx.gather_qmm(x[j], *q, lhs_indices=lhs, rhs_indices=rhs) for j in range(2)])), 1e-5)


def test_block_masked_mm():
    a, b = normal(100, 70), normal(2, 70, 90)
    rng = np.random.default_rng(1)
    masks = [rng.integers(0, 2, s).astype(bool) for s in ((2, 2), (2, 2), (1, 2, 2))]

    def full(mask, rows, cols):
        return np.repeat(np.repeat(mask, 64, -2), 64, -1)[..., :rows, :cols]

    def expected(out, lhs, rhs):
        return full(out, 100, 90) * ((full(lhs, 100, 70) * f8(a)) @ (full(rhs, 70, 90) * f8(b)))

    close(mx.block_masked_mm(a, b, 64, *[mx.array(m) for m in masks]), expected(*masks), 1e-5)
    factors = [rng.standard_normal(m.shape).astype(np.float32) for m in masks]
    mixed = [mx.array(factors[0]), mx.array(masks[1]), mx.array(factors[2])]
    close(mx.block_masked_mm(a, b, 64, *mixed), expected(factors[0], masks[1], factors[2]), 1e-5)
    close(mx.block_masked_mm(a, b), f8(a) @ f8(b), 1e-5)
    nans = mx.where(mx.arange(70) < 64, a, float("nan"))
    lhs = mx.array([[True, False], [True, False]])
    assert not mx.any(mx.isnan(mx.block_masked_mm(nans, b, 64, None, lhs)))
    g = mx.grad(lambda a, m: mx.block_masked_mm(a, b, 64, mx.array(masks[0]), m).sum(), argnums=(0, 1))
    ga, gm = g(a, mx.array(factors[1]))
    assert ga.shape == a.shape and gm.shape == (2, 2) and mx.any(ga != 0) and mx.any(gm != 0)


def test_segmented_mm():
    a, b = normal(7, 40), normal(40, 9)
    segments = [[[0, 10], [10, 40]], [[5, 5], [39, 40]]]
    expected = [[f8(a)[:, s:e] @ f8(b)[s:e] for s, e in row] for row in segments]
    y = mx.segmented_mm(a, b, mx.array(segments, mx.uint32))
    close(y, np.array(expected), 1e-5)
    half = mx.segmented_mm(a.astype(mx.float16), b.T.astype(mx.float16).T, mx.array(segments))
    assert half.dtype == mx.float16
    close(half, np.array(expected), 2e-3)
    with pytest.raises(IndexError, match=r"\[segmented_mm\].*41"):
        mx.eval(mx.segmented_mm(a, b, mx.array([[0, 41]])))


# ---- both operands quantized


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_qqmm(mode, dtype):
    x, w = normal(3, 64, dtype=dtype), normal(5, 64, dtype=dtype, seed=1)
    rounded = [f8(mx.dequantize(*mx.quantize(a, mode=mode), mode=mode, dtype=mx.float32)) for a in (x, w)]
    expected = rounded[0] @ rounded[1].T
    tolerance = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    q = mx.quantize(w, mode=mode)
    for y in (mx.qqmm(x, w, mode=mode), mx.qqmm(x, *q, mode=mode)):
        assert y.dtype == x.dtype
        close(y, expected, tolerance)
    close(mx.qqmm(x[0], w, mode=mode), expected[0], tolerance)
    y = mx.gather_qqmm(x[None], *[a[None] for a in q], rhs_indices=mx.array([0, 0]), mode=mode)
    close(y, np.stack([expected] * 2), tolerance)
    y = mx.gather_qqmm(x[None], w[None], rhs_indices=mx.array([0, 0]), mode=mode)
    close(y, np.stack([expected] * 2), tolerance)


def test_qqmm_global_scales():
    x, w = normal(3, 64), normal(5, 64, seed=1)
    scales = [mx.abs(a).max() for a in (x, w)]
    packed = [mx.quantize(a, mode="nvfp4", global_scale=g) for a, g in zip((x, w), scales, strict=True)]
    rounded = [
        f8(mx.dequantize(*q, mode="nvfp4", global_scale=g, dtype=mx.float32))
        for q, g in zip(packed, scales, strict=True)
    ]
    o = {"global_scale_x": scales[0], "global_scale_w": scales[1]}
    close(mx.qqmm(x, w, **o), rounded[0] @ rounded[1].T, 1e-5)
    close(mx.qqmm(x, *packed[1], **o), rounded[0] @ rounded[1].T, 1e-5)
    o["global_scale_w"] = scales[1][None]
    for operands in ([w[None]], [a[None] for a in packed[1]]):
        y = mx.gather_qqmm(x, *operands, rhs_indices=mx.array([0]), **o)
        close(y, (rounded[0] @ rounded[1].T)[None], 1e-5)
    with pytest.raises(ValueError, match=r"\[qqmm\].*neither"):
        mx.qqmm(x, w, global_scale_x=scales[0])


def test_qqmm_gradients():
    x, w = normal(3, 64), normal(5, 64, seed=1)
    gx, gw = mx.grad(lambda x, w: mx.qqmm(x, w).sum(), argnums=(0, 1))(x, w)
    rounded = [f8(mx.dequantize(*mx.quantize(a, mode="nvfp4"), mode="nvfp4")) for a in (x, w)]
    close(gx, np.tile(rounded[1].sum(0), (3, 1)), 1e-5)
    close(gw, np.tile(rounded[0].sum(0), (5, 1)), 1e-5)
    q = mx.quantize(w, mode="nvfp4")
    close(mx.grad(lambda x: mx.qqmm(x, *q).sum())(x), np.tile(rounded[1].sum(0), (3, 1)), 1e-5)


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
    (lambda: mx.gather_qmm(X, *Q, rhs_indices=mx.array([0.5])), r"\[gather_qmm\].*float32"),
    (lambda: mx.gather_qmm(X[:, :32], *Q, rhs_indices=mx.array([0])), r"\[gather_qmm\].*\(2,32\)"),
    (lambda: mx.gather_mm(X, X, rhs_indices=mx.array([0])), r"\[gather_mm\].*\(2,64\)"),
    (lambda: mx.gather_mm(X, X.T, rhs_indices=mx.array([0.5])), r"\[gather_mm\].*float32"),
    (lambda: mx.gather_mm(mx.array([[1]]), mx.array([[1]]), mx.array([0])), r"\[gather_mm\].*int32"),
    (lambda: mx.block_masked_mm(X, X.T, 0), r"\[block_masked_mm\].*block size 0"),
    (lambda: mx.block_masked_mm(X, X), r"\[block_masked_mm\].*\(2,64\)"),
    (lambda: mx.block_masked_mm(X, X.T, 32, mx.zeros((2, 2))), r"\[block_masked_mm\].*mask_out.*\(1,1\)"),
    (lambda: mx.segmented_mm(X, X, mx.array([[0, 1]])), r"\[segmented_mm\].*\(2,64\)"),
    (lambda: mx.segmented_mm(X, X.T, mx.array([[0, 1, 2]])), r"\[segmented_mm\].*\(1,3\)"),
    (lambda: mx.segmented_mm(X, X.T, mx.array([[0.0, 1]])), r"\[segmented_mm\].*float32"),
    (lambda: mx.qqmm(X, W, mode="affine"), r"\[qqmm\].*'affine'"),
    (lambda: mx.qqmm(X.astype(mx.int32), W), r"\[qqmm\].*int32"),
    (lambda: mx.qqmm(X[:, :32], W), r"\[qqmm\].*\(2,32\)"),
    (lambda: mx.qqmm(X, Q[0]), r"\[qqmm\].*scales"),
    (lambda: mx.qqmm(X, W[None]), r"\[qqmm\].*two dimensions"),
    (lambda: mx.to_fp8(mx.array(1)), r"\[to_fp8\].*int32"),
    (lambda: mx.from_fp8(mx.array(1.0)), r"\[from_fp8\].*float32"),
    (lambda: mx.from_fp8(mx.array([1], mx.uint8), mx.int32), r"\[from_fp8\].*int32"),
]


@pytest.mark.parametrize("i", range(len(BAD)))
def test_misuse(i):
    call, message = BAD[i]
    with pytest.raises(ValueError, match=message):
        call()
