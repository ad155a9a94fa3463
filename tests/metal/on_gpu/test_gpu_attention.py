"""Attention by the Metal kernels against float64, and that no matrix of scores is moved."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import counted, double, error, on_gpu, random

BOUND = {mx.float32: 3e-6, mx.float16: 2e-3, mx.bfloat16: 1.5e-2}
NAME = "ScaledDotProductAttention"


def reference(
    q: mx.array, k: mx.array, v: mx.array, scale: float, mask: str | mx.array | None, sinks: mx.array | None
) -> np.ndarray:
    share = q.shape[1] // k.shape[1]
    keys, values = (np.repeat(double(x), share, axis=1) for x in (k, v))
    scores = scale * double(q) @ np.swapaxes(keys, -1, -2)
    lq, lk = scores.shape[-2:]
    if isinstance(mask, str):
        seen = np.arange(lk)[None] <= np.arange(lq)[:, None] + lk - lq
        scores = np.where(seen, scores, -1e30)
    elif mask is not None:
        scores = np.where(np.array(mask), scores, -1e30) if mask.dtype == mx.bool_ else scores + double(mask)
    if sinks is not None:
        column = np.broadcast_to(double(sinks)[None, :, None, None], (*scores.shape[:3], 1))
        scores = np.concatenate([scores, column], -1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = (weights / weights.sum(-1, keepdims=True))[..., :lk]
    return weights @ values


def check(
    lq: int,
    lk: int,
    *,
    heads: tuple[int, int] = (2, 2),
    d: int = 64,
    dv: int | None = None,
    batch: int = 1,
    dtype: mx.Dtype = mx.float32,
    mask: str | mx.array | None = None,
    sinks: mx.array | None = None,
) -> None:
    rng = np.random.default_rng(lq * lk + d)
    q = random(rng, batch, heads[0], lq, d, dtype=dtype)
    k = random(rng, batch, heads[1], lk, d, dtype=dtype)
    v = random(rng, batch, heads[1], lk, dv or d, dtype=dtype)
    scale = d**-0.5
    got = on_gpu(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask, sinks=sinks), NAME)
    assert error(got, reference(q, k, v, scale, mask, sinks)) < BOUND[dtype]


@pytest.mark.parametrize("lq,lk", [(32, 32), (33, 70), (40, 5)])
@pytest.mark.parametrize("mask", [None, "causal"])
def test_many_queries(lq: int, lk: int, mask: str | None) -> None:
    check(lq, lk, mask=mask)


@pytest.mark.parametrize("d,dv", [(80, 80), (96, 96), (128, 128), (24, 40), (30, 17)])
def test_sizes_of_heads(d: int, dv: int) -> None:
    check(20, 40, d=d, dv=dv, heads=(1, 1))
    check(2, 40, d=d, dv=dv, heads=(1, 1))


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_dtypes(dtype: mx.Dtype) -> None:
    check(33, 40, dtype=dtype, heads=(1, 1))
    check(1, 40, dtype=dtype, heads=(1, 1))


@pytest.mark.parametrize("lq", [12, 3])
def test_masks_groups_and_sinks(lq: int) -> None:
    rng = np.random.default_rng(1)
    allowed = mx.array(rng.random((2, 1, lq, 37)) < 0.6)
    check(lq, 37, heads=(4, 2), batch=2, mask=allowed, sinks=random(rng, 4))
    check(lq, 37, heads=(6, 2), mask=random(rng, lq, 37), sinks=random(rng, 6))
    check(lq, 37, heads=(6, 2), mask="causal")
    none = np.ones((lq, 37), bool)
    none[1] = False
    check(lq, 37, mask=mx.array(none))


def test_rows_of_minus_infinity_come_late_or_are_nan() -> None:
    late = np.zeros((12, 70), np.float32)
    late[:, :64] = -np.inf
    check(12, 70, mask=mx.array(late))
    q = mx.ones((1, 1, 12, 32))
    mask = mx.full((12, 12), -mx.inf)
    got = on_gpu(lambda: mx.fast.scaled_dot_product_attention(q, q, q, scale=1.0, mask=mask), NAME)
    assert np.isnan(np.array(got)).all()


def test_two_passes() -> None:
    rng = np.random.default_rng(2)
    check(1, 600, heads=(4, 2), d=32, sinks=random(rng, 4))
    check(3, 1030, heads=(1, 1), d=64, mask="causal")
    check(1, 520, heads=(1, 1), d=256)


def test_strided_operands() -> None:
    rng = np.random.default_rng(3)
    x = random(rng, 1, 20, 3, 2, 32)
    q, k, v = (mx.swapaxes(x[:, :, i], 1, 2) for i in range(3))
    mx.eval(q, k, v)
    got = on_gpu(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.3), NAME)
    assert error(got, reference(q, k, v, 0.3, None, None)) < BOUND[mx.float32]
    assert set(counted(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.3))) == {"attention"}


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_bytes_of_many_queries(dtype: mx.Dtype) -> None:
    """Keys and values are read once for 32 queries; scores never."""
    rng = np.random.default_rng(4)
    lq, lk, d, heads = 64, 96, 64, 2
    q, k, v = (random(rng, 1, heads, n, d, dtype=dtype) for n in (lq, lk, lk))
    mx.eval(q, k, v)
    counts = counted(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.1))
    assert set(counts) == {"attention"}
    c = counts["attention"]
    assert c["read"] == heads * d * (lq + lk * 2 * (lq // 32)) * dtype.size
    assert c["written"] == heads * lq * (d * dtype.size + 8)


@pytest.mark.parametrize("lk,kernels", [(200, {"attention_vector"}), (1024, {"attention_vector", "attention_join"})])
def test_bytes_of_few_queries(lk: int, kernels: set[str]) -> None:
    """Keys and values are read once for all heads of a group of four."""
    rng = np.random.default_rng(5)
    d, heads, kv = 64, 8, 2
    q, k, v = random(rng, 1, heads, 1, d), random(rng, 1, kv, lk, d), random(rng, 1, kv, lk, d)
    mx.eval(q, k, v)
    counts = counted(lambda: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.1))
    assert set(counts) == kernels
    c = counts["attention_vector"]
    parts = (c["threads"] // 256) // kv
    # Each of the eight SIMD-groups of a threadgroup has the queries.
    assert c["read"] == kv * lk * d * 2 * 4 + (c["threads"] // 256) * 8 * 4 * d * 4
    assert c["written"] == heads * parts * (d * 4 + 8)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
@pytest.mark.parametrize("lq,lk,mask", [(20, 37, "causal"), (33, 40, "bool"), (9, 20, "float"), (18, 18, None)])
def test_gradients(lq: int, lk: int, mask: str | None, dtype: mx.Dtype) -> None:
    rng = np.random.default_rng(lq)
    heads, kv, d, dv = 4, 2, 24, 32
    q, k = random(rng, 1, heads, lq, d, dtype=dtype), random(rng, 1, kv, lk, d, dtype=dtype)
    v, g = random(rng, 1, kv, lk, dv, dtype=dtype), random(rng, 1, heads, lq, dv, dtype=dtype)
    sinks = random(rng, heads, dtype=dtype) if mask == "bool" else None
    m: str | mx.array | None = mask
    seen = np.ones((lq, lk), bool)
    bias = np.zeros((lq, lk))
    if mask == "causal":
        seen = np.tri(lq, lk, lk - lq, dtype=bool)
    elif mask == "bool":
        seen = rng.random((lq, lk)) < 0.7
        m = mx.array(seen)
    elif mask == "float":
        m = random(rng, lq, lk, dtype=dtype)
        bias = double(m)

    def f(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.2, mask=m, sinks=sinks)
        return (out.astype(mx.float32) * g.astype(mx.float32)).sum()

    before = mx.metal._hand_overs().get(NAME + "Gradient", 0)
    got = mx.grad(f, argnums=(0, 1, 2))(q, k, v)
    mx.eval(got)
    assert mx.metal._hand_overs().get(NAME + "Gradient", 0) == before

    keys, values = (np.repeat(double(x), heads // kv, axis=1) for x in (k, v))
    scores = np.where(seen, 0.2 * double(q) @ np.swapaxes(keys, -1, -2) + bias, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(double(sinks)[None, :, None, None] - top)
    weights = weights / total
    steep = double(g) @ np.swapaxes(values, -1, -2)
    slopes = weights * (steep - (weights * steep).sum(-1, keepdims=True))

    def grouped(x: np.ndarray) -> np.ndarray:
        return x.reshape(1, kv, heads // kv, *x.shape[2:]).sum(2)

    want = [
        0.2 * slopes @ keys,
        grouped(0.2 * np.swapaxes(slopes, -1, -2) @ double(q)),
        grouped(np.swapaxes(weights, -1, -2) @ double(g)),
    ]
    for x, y in zip(got, want, strict=True):
        assert error(x, y) < BOUND[dtype]
