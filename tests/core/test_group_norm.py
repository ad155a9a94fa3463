"""Kernels of mx.fast.group_norm against its formula in float64: samples in one piece and in several."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

EPS = 1e-3
# One item for several samples, one for each, pieces of a sample; channels that are and are not whole vectors.
SHAPES = [((9, 7, 12), 3), ((5, 33, 33, 48), 12), ((1, 41, 50, 64), 4), ((2, 3000, 37), 37), ((70, 128), 4)]


def formula(x: mx.array, weight: mx.array, bias: mx.array, groups: int, interleaved: bool) -> mx.array:
    size = x.shape[-1] // groups
    y = x.reshape(len(x), -1, *((size, groups) if interleaved else (groups, size)))
    axes = (1, 2) if interleaved else (1, 3)
    y = y - y.mean(axes, keepdims=True)
    y = y * mx.rsqrt(mx.square(y).mean(axes, keepdims=True) + EPS)
    return y.reshape(x.shape) * weight + bias


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("shape, groups", SHAPES)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float64, mx.float16])
def test_values_and_gradients(shape, groups, interleaved, dtype):
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(s) for s in (shape, shape[-1:], shape[-1:], shape)]
    drawn[0] = drawn[0] * 2 + rng.standard_normal(shape[-1]) * 3  # channels differ
    with mx.stream(mx.cpu):
        *given, along = [mx.array(d).astype(dtype) for d in drawn]
        want_given, want_along = [g.astype(mx.float64) for g in given], along.astype(mx.float64)
        got = mx.vjp(lambda x, w, b: mx.fast.group_norm(x, groups, w, b, EPS, interleaved=interleaved), given, [along])
        want = mx.vjp(lambda x, w, b: formula(x, w, b, groups, interleaved), want_given, [want_along])
    tolerance = {mx.float32: 3e-6, mx.float64: 1e-13, mx.float16: 2e-3}[dtype]
    for g, w in zip([*got[0], *got[1]], [*want[0], *want[1]], strict=True):
        assert g.dtype == dtype
        w = np.asarray(w)
        error = np.abs(np.asarray(g.astype(mx.float64)) - w).max()
        assert error <= tolerance * max(1, np.abs(w).max())


def test_means_far_from_zero():
    """Values of 1000 and one of 1e6 in a corner: what is left of the variance is not rounding."""
    x = 1000 + np.random.default_rng(0).standard_normal((4, 64, 16))
    x[2, 0, 3] = 1e6
    with mx.stream(mx.cpu):
        got = np.asarray(mx.fast.group_norm(mx.array(x.astype(np.float32)), 4, None, None, 0.0))
    y = x.astype(np.float32).astype(np.float64).reshape(4, 64, 4, 4)
    y = (y - y.mean((1, 3), keepdims=True)) / y.std((1, 3), keepdims=True)
    np.testing.assert_allclose(got, y.reshape(x.shape), rtol=0, atol=1e-5)


def test_a_constant_sample_is_zero():
    with mx.stream(mx.cpu):
        x = mx.array(np.full((2, 50, 8), 0.1, np.float32))
        assert not mx.fast.group_norm(x, 2, None, None, 1e-5).any().item()
