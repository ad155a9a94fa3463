"""Rows of mx.fast: norms, rope, resample, attention, cross_entropy, pieces of lines and parabolas."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import scipy.special
from op_row import FLOATS, INEXACT, REALS, SIGNED, Bad, Gen, Op, S, f, index, inf, nan, positive, v
from op_table_elementwise import away, unary

NORM = {"float16": 2, "bfloat16": 2, "float32": 8, "float64": 32}
LOW = ("float16", "bfloat16", "float32")


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float, interleaved: bool = False) -> Any:
    apart = (x.shape[-1] // groups, groups) if interleaved else (groups, x.shape[-1] // groups)
    y = x.reshape(len(x), int(np.prod(x.shape[1:-1])), *apart)
    axes = (1, 2) if interleaved else (1, 3)
    y = (y - y.mean(axes, keepdims=True)) / np.sqrt(y.var(axes, keepdims=True) + eps)
    y = y.reshape(x.shape) if weight is None else y.reshape(x.shape) * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
    return y if weight is None else y * weight


def rope(x: Any, dims: int, *, traditional: bool, base: Any, scale: float, offset: Any, freqs: Any = None) -> Any:
    """Position p turns the pair (x1, x2) of frequency w by the angle p * scale * w."""
    half = dims // 2
    inverse = base ** -(np.arange(half) / half) if freqs is None else 1 / freqs
    start = np.asarray(offset).reshape(-1, *([1] * (x.ndim - 2))) if np.ndim(offset) else offset
    p = (np.arange(x.shape[-2]) + start) * scale
    angle = np.asarray(p)[..., None] * inverse
    c, s = np.cos(angle), np.sin(angle)
    out = np.array(x)
    one, two = (slice(0, dims, 2), slice(1, dims, 2)) if traditional else (slice(0, half), slice(half, dims))
    a, b = x[..., one], x[..., two]
    out[..., one], out[..., two] = a * c - b * s, a * s + b * c
    return out


def attention(q: Any, k: Any, v: Any, *, scale: float, mask: Any = None, sinks: Any = None) -> Any:
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = scale * np.einsum("bhqd,bhkd->bhqk", q, k)
    if isinstance(mask, str):
        n, m = s.shape[-2:]
        s = np.where(np.arange(m) <= np.arange(n)[:, None] + m - n, s, -np.inf)
    elif mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if sinks is not None:
        s = np.concatenate([s, np.broadcast_to(sinks[None, :, None, None], (*s.shape[:-1], 1))], -1)
    e = np.exp(s - s.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    p = p[..., : k.shape[2]]
    return np.einsum("bhqk,bhkd->bhqd", p, v)


def huber(x: Any, delta: Any) -> Any:
    size = np.abs(x)
    return np.where(size <= delta, size**2 / 2, delta * (size - np.asarray(delta) / 2))


def gelu(x: Any) -> Any:
    return x * (1 + scipy.special.erf(np.asarray(x, np.float64) * np.sqrt(0.5))) / 2


def between(low: float, high: float, *shape: int) -> Gen:
    return Gen(shape, low, high)


# Small and large ones beside the limit, which steps of finite differences must not cross.
SHRINKS = [
    S(between(-0.4, 0.4, 3, 5), between(0.5, 0.6)),
    S(between(0.7, 2, 2, 3, 70), between(0.5, 0.6, 70)),
    S(between(-2, -0.7, 5000), 0.625),
]


def cross_entropy(logits: Any, targets: Any) -> Any:
    m = logits.max(-1, keepdims=True)
    lse = np.log(np.exp(logits - m).sum(-1)) + m[..., 0]
    return lse - np.take_along_axis(logits, targets[..., None].astype(int), -1)[..., 0]


def keys(x: Any, a: float) -> Any:
    x = np.abs(x)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def resample(
    x: Any,
    axis: int,
    count: int,
    *,
    scale: Any = None,
    method: str = "linear",
    align_corners: bool = False,
    antialias: bool = False,
) -> Any:
    """As a product with a matrix: kernels around each position, what lies beyond an end added to it."""
    size = x.shape[axis]
    matrix = np.zeros((count, size))
    scale = count / size if scale is None and size else scale
    linear = method == "linear"
    for i in range(count):
        at = i / scale - ((count - 1) / scale - (size - 1)) / 2
        if align_corners:
            at = i * (size - 1) / max(count - 1, 1)
        if antialias:
            stretch = max(1 / scale, 1.0)
            d = (np.arange(size) - at) / stretch
            row = np.maximum(1 - abs(d), 0) if linear else keys(d, -0.5)
            matrix[i] = row / row.sum()
            continue
        at = min(max(at, 0), size - 1) if linear else at
        around = np.arange(np.floor(at) - 1, np.floor(at) + 3)
        weights = np.maximum(1 - abs(around - at), 0) if linear else keys(around - at, -0.75)
        np.add.at(matrix[i], np.clip(around, 0, size - 1).astype(int), weights)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T.astype(x.real.dtype), -1, axis)


PLAIN = {"traditional": False, "base": 10000.0, "scale": 1.0, "offset": 0}

OPS: list[Op] = [
    Op(
        "fast.layer_norm",
        [
            S(f(3, 8), None, None, 1e-5),
            S(f(3, 8), f(8), f(8), 1e-5),
            S(f(2, 3, 70), f(70), None, 1e-3),
            S(f(4), None, f(4), 1e-5),
            S(f(0, 4), f(4), f(4), 1e-5),
        ],
        layer_norm,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps=NORM,
        errors=[
            Bad(S(f(3, 4), f(3), None, 1e-5), ValueError, r"\[layer_norm\].*3"),
            Bad(S(f(3, 4), None, f(3), 1e-5), ValueError, r"\[layer_norm\].*3"),
            Bad(S(f(3, 4), f(2, 4), None, 1e-5), ValueError, r"\[layer_norm\]"),
            Bad(S(f(), None, None, 1e-5), ValueError, r"\[layer_norm\]"),
        ],
    ),
    Op(
        "fast.group_norm",
        [
            S(f(3, 5, 8), 2, None, None, 1e-5),
            S(f(3, 5, 8), 2, f(8), f(8), 1e-5),
            S(f(3, 5, 8), 4, f(8), f(8), 1e-5, interleaved=True),
            S(f(2, 3, 4, 70), 7, f(70), None, 1e-3),
            S(f(6, 12), 3, None, f(12), 1e-5),
            S(f(2, 9, 5), 5, f(5), f(5), 1e-5),
            S(f(2, 9, 5), 1, f(5), f(5), 1e-5),
            S(f(0, 4, 6), 3, f(6), f(6), 1e-5),
        ],
        group_norm,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps=NORM,
        errors=[
            Bad(S(f(2, 3, 4), 3, None, None, 1e-5), ValueError, r"\[group_norm\].*3 groups.*4 channels"),
            Bad(S(f(2, 3, 4), 0, None, None, 1e-5), ValueError, r"\[group_norm\].*0 groups"),
            Bad(S(f(2, 3, 4), 2, f(3), None, 1e-5), ValueError, r"\[group_norm\].*weight of shape \(3\)"),
            Bad(S(f(2, 3, 4), 2, None, f(2, 4), 1e-5), ValueError, r"\[group_norm\].*bias"),
            Bad(S(f(4), 2, None, None, 1e-5), ValueError, r"\[group_norm\].*shape \(4\)"),
            Bad(S(f(2, 4), 2, None, None, 1e-5), ValueError, r"\[group_norm\].*complex64", dtype="complex64"),
        ],
    ),
    Op(
        "fast.rms_norm",
        [
            S(f(3, 8), None, 1e-5),
            S(f(3, 8), f(8), 1e-5),
            S(f(2, 3, 70), f(70), 1e-3),
            S(f(4), f(4), 1e-5),
            S(f(0, 4), f(4), 1e-5),
        ],
        rms_norm,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps=NORM,
        errors=[
            Bad(S(f(3, 4), f(3), 1e-5), ValueError, r"\[rms_norm\].*3"),
            Bad(S(f(), None, 1e-5), ValueError, r"\[rms_norm\]"),
        ],
    ),
    Op(
        "fast.rope",
        [
            S(f(1, 3, 8), 8, **PLAIN),
            S(f(2, 2, 5, 8), 8, **PLAIN),
            S(f(2, 2, 5, 8), 4, **PLAIN),
            S(f(1, 3, 8), 8, **{**PLAIN, "traditional": True}),
            S(f(1, 3, 8), 8, **{**PLAIN, "offset": 7, "scale": 0.5}),
            S(
                f(1, 3, 8),
                8,
                **{**PLAIN, "base": None, "freqs": v([1.0, 2.0, 3.0, 5.0], "float32")},
            ),
            S(f(2, 2, 3, 4), 4, **{**PLAIN, "offset": v([1, 5], "int32")}),
            S(f(2, 2, 1, 6), 4, **{**PLAIN, "traditional": True, "base": 100.0}),
            S(f(1, 3, 8), 8, **{**PLAIN, "offset": v(9, "int32")}),
        ],
        rope,
        dtypes=LOW,
        diff=(0,),
        eps={"float16": 2, "bfloat16": 2, "float32": 16},
        errors=[
            Bad(S(f(3, 4), 3, **PLAIN), ValueError, r"\[rope\].*3.*2"),
            Bad(S(f(1, 3, 8), 9, **PLAIN), ValueError, r"\[rope\]"),
            Bad(S(f(1, 3, 8), 8, **{**PLAIN, "base": None}), ValueError, r"\[rope\]"),
            Bad(S(f(1, 3, 8), 8, **{**PLAIN, "freqs": f(4)}), ValueError, r"\[rope\]"),
        ],
    ),
    Op(
        "fast.resample",
        [
            S(f(5), 0, 10),
            S(f(2, 5, 3), 1, 10),
            S(f(2, 5, 20), 1, 13),
            S(f(2, 5, 3), -2, 12, scale=2.5),
            S(f(3, 6, 2), 1, 3),
            S(f(2, 5), 1, 11, align_corners=True),
            S(f(2, 4, 5), 1, 8, method="cubic"),
            S(f(2, 9), 1, 4, method="cubic", align_corners=True),
            S(f(2, 9, 17), 1, 4, antialias=True),
            S(f(9, 2), 0, 2, method="cubic", antialias=True),
            S(f(1, 3), 0, 2),
            S(f(3, 2), 0, 1, align_corners=True),
            S(f(0, 3), 1, 6),
            S(f(2, 0), 1, 0),
        ],
        resample,
        dtypes=INEXACT,
        diff=(0,),
        eps={"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8},
        errors=[
            Bad(S(f(3, 4), 2, 5), IndexError, r"\[resample\] axis 2"),
            Bad(S(f(3, 4), 1, 0), ValueError, r"\[resample\] got 0 elements for axis 1"),
            Bad(S(f(3, 0), 1, 4), ValueError, r"\[resample\] got 4 elements for axis 1"),
            Bad(S(f(3, 4), 1, 5, scale=0.0), ValueError, r"\[resample\] got the scale 0"),
            Bad(S(f(3, 4), 1, 5, method="area"), ValueError, r"\[resample\] got the method .area."),
            Bad(S(f(3, 4), 1, 5, align_corners=True, antialias=True), ValueError, r"\[resample\].*antialias"),
        ],
    ),
    Op(
        "fast.scaled_dot_product_attention",
        [
            S(f(1, 2, 3, 4), f(1, 2, 3, 4), f(1, 2, 3, 4), scale=0.5),
            S(f(1, 4, 3, 8), f(1, 2, 5, 8), f(1, 2, 5, 8), scale=0.3),
            S(f(2, 2, 5, 4), f(2, 2, 5, 4), f(2, 2, 5, 4), scale=1.0, mask="causal"),
            S(f(1, 2, 2, 4), f(1, 1, 6, 4), f(1, 1, 6, 4), scale=1.0, mask="causal"),
            S(f(1, 2, 3, 4), f(1, 2, 3, 4), f(1, 2, 3, 4), scale=0.5, mask=f(3, 3)),
            S(
                f(1, 2, 3, 4),
                f(1, 2, 3, 4),
                f(1, 2, 3, 4),
                scale=0.5,
                mask=v([[True, False, True]] * 3, "bool_"),
            ),
            S(f(1, 2, 1, 4), f(1, 2, 7, 4), f(1, 2, 7, 6), scale=0.5),
            S(f(1, 2, 3, 4), f(1, 2, 3, 4), f(1, 2, 3, 4), scale=0.5, sinks=f(2)),
            S(f(1, 2, 40, 16), f(1, 2, 70, 16), f(1, 2, 70, 16), scale=0.25),
        ],
        attention,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps={"float16": 3, "bfloat16": 3, "float32": 8, "float64": 16},
        errors=[
            Bad(
                S(f(3, 4), f(3, 4), f(3, 4), scale=1.0),
                ValueError,
                r"\[scaled_dot_product_attention\]",
            ),
            Bad(
                S(f(1, 3, 2, 4), f(1, 2, 2, 4), f(1, 2, 2, 4), scale=1.0),
                ValueError,
                r"\[scaled_dot_product_attention\]",
            ),
            Bad(
                S(f(1, 2, 2, 4), f(1, 2, 2, 5), f(1, 2, 2, 5), scale=1.0),
                ValueError,
                r"\[scaled_dot_product_attention\]",
            ),
            Bad(
                S(f(1, 2, 2, 4), f(1, 2, 2, 4), f(1, 2, 2, 4), scale=1.0, mask="zzz"),
                ValueError,
                "zzz",
            ),
            Bad(S(f(1, 2, 2, 4), f(1, 2, 2, 4), f(1, 2, 2, 4), scale=1.0, mask=f(5, 5)), ValueError),
        ],
    ),
    Op(
        "fast.cross_entropy",
        [
            S(f(3, 8), index(3, high=8)),
            S(f(2, 3, 70), index(2, 3, high=70)),
            S(f(5), index(high=5)),
        ],
        cross_entropy,
        dtypes=LOW,
        diff=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 4},
    ),
    Op(
        "fast.leaky_relu",
        [S(away(3, 5), f()), S(away(2, 3, 70), f(70)), S(away(5000), f())],
        lambda x, slope: np.where(np.asarray(x) < 0, np.asarray(x) * slope, x),
        dtypes=REALS,
        diff=True,
        errors=[Bad(S(f(3, 4), f(5)), ValueError, r"\[leaky_relu\].*\(3,4\).*\(5\)")],
    ),
    Op(
        "fast.huber",
        [S(f(3, 5), positive()), S(f(2, 3, 70), positive(70)), S(f(5000), positive())],
        huber,
        dtypes=REALS,
        diff=True,
        errors=[Bad(S(f(3, 4), f(5)), ValueError, r"\[huber\].*\(3,4\).*\(5\)")],
    ),
    Op(
        "fast.hard_shrink",
        SHRINKS,
        lambda x, limit: np.where(np.abs(x) <= limit, 0, x),
        dtypes=FLOATS,
        diff=True,
        extremes=[S(v([nan, inf, -inf, -0.0, 1.0, 0.25, -1.0]), 1.0)],
        errors=[Bad(S(f(3, 4), f(5)), ValueError, r"\[hard_shrink\].*\(3,4\).*\(5\)")],
    ),
    Op(
        "fast.hard_shrink[integers]",
        [S(f(3, 5), 1), S(f(70), f(70))],
        lambda x, limit: np.where(np.abs(x) <= limit, 0, x),
        call=mx.fast.hard_shrink,
        dtypes=SIGNED,
    ),
    Op(
        "fast.softshrink",
        SHRINKS,
        lambda x, limit: x - np.clip(x, -limit, limit),
        dtypes=FLOATS,
        diff=True,
        extremes=[S(v([nan, inf, -inf, -0.0, 1.0, 0.25, -1.0]), 1.0)],
        errors=[Bad(S(f(3, 4), f(5)), ValueError, r"\[softshrink\].*\(3,4\).*\(5\)")],
    ),
    unary(
        "fast.hardswish",
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        dtypes=REALS,
        diff=True,
        ulp={"float32": 2.5},
        whole_range="all",
    ),
    # Its error is relative to x, not to the result.
    unary(
        "fast.gelu",
        gelu,
        lambda *shape: Gen(shape, -1.0, 3.0, ints=(0, 4)),
        dtypes=REALS,
        diff=True,
        smooth=True,
        eps={"float16": 1, "bfloat16": 1, "float32": 2, "float64": 8},
    ),
]
