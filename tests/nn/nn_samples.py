"""Inputs and comparisons that the tests of mlx.nn share."""

import math

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

quantization = pytest.mark.skipif(
    not hasattr(mx, "quantize"), reason="this build has no quantized operations"
)


def wave(*shape, seed=0):
    """Deterministic numbers in [-1, 1] that no generator has to reproduce."""
    i = np.arange(math.prod(shape), dtype=np.float64)
    return np.sin(1.7 * i + 0.37 * seed + 0.11 * i * i / (1 + i)).reshape(shape)


def arr(*shape, seed=0, dtype=mx.float32):
    return mx.array(wave(*shape, seed=seed).astype(np.float32)).astype(dtype)


def with_wave_parameters(module, scale=0.5):
    """Sets every parameter, in the order of the sorted names, to a wave of its own."""
    pairs = sorted(tree_flatten(module.parameters()))
    new = [
        (name, mx.array((scale * wave(*a.shape, seed=i + 1)).astype(np.float32)))
        for i, (name, a) in enumerate(pairs)
    ]
    return module.update(tree_unflatten(new))


def params64(module):
    """Parameters as float64 numpy arrays by dotted name."""
    return {k: np.array(v.astype(mx.float32)).astype("f8") for k, v in flat(module.parameters())}


def flat(tree):
    return tree_flatten(tree)


def names(tree):
    return [name for name, _ in tree_flatten(tree)]


def close(actual, expected, tolerance=2e-5):
    """Equal shapes, and errors below ``tolerance`` times the largest expected magnitude."""
    actual = np.array(actual.astype(mx.float32)).astype("f8")
    expected = np.asarray(expected, "f8")
    assert actual.shape == expected.shape, f"{actual.shape} != {expected.shape}"
    scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def numeric_gradient(f, x, eps=1e-6):
    """Central differences of a scalar float64 function."""
    x = np.array(x, "f8")
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + eps
        up = f(x)
        x[index] = old - eps
        gradient[index] = (up - f(x)) / (2 * eps)
        x[index] = old
    return gradient
