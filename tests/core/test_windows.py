"""Reductions over small windows in front of the channels (pooling), which have kernels of their own."""

import mlx.core as mx
import numpy as np
import pytest

SHAPES = [
    ((2, 3, 2, 5, 2, 6), (2, 4)),  # pooling, channels less than a vector
    ((3, 4, 3, 2, 3, 37), (2, 4)),  # and more
    ((5, 2, 2), (1,)),
    ((7, 2, 3, 16), (0, 2)),
    ((4, 1, 8), (0,)),
    ((2, 8, 8, 1030), (1, 2)),  # too many channels for the kernels
]
DTYPES = [mx.float32, mx.float16, mx.bfloat16, mx.float64]


def sample(shape, dtype, seed=0):
    """Small integers: ties, and sums that are exact in every type."""
    values = np.random.default_rng(seed).integers(-4, 5, shape)
    return mx.array(values).astype(dtype)


def numbers(a):
    return np.array(a.astype(mx.float64))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize("name", ["max", "min", "sum", "mean"])
def test_values(name, shape, axes, dtype):
    with mx.stream(mx.cpu):
        x = sample(shape, dtype)
        want = getattr(np, name)(numbers(x).astype(np.float64), axis=axes)
        got = numbers(getattr(mx, name)(x, axis=axes))
    np.testing.assert_allclose(got, want, rtol=1e-2 if x.itemsize == 2 else 1e-6)


@pytest.mark.parametrize("name", ["max", "min", "mean"])
def test_strided_input(name):
    x = mx.random.normal((4, 6, 3, 10))
    for view in (x[::2, ::-1], x.transpose(1, 2, 0, 3), x[..., 2:9], x[..., ::2]):
        want = getattr(np, name)(np.array(view), axis=(0, 2))
        np.testing.assert_allclose(np.array(getattr(mx, name)(view, axis=(0, 2))), want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["max", "min", "sum"])
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_nan_wins(name, dtype, at):
    x = np.random.default_rng(1).standard_normal((3, 4, 19)).astype(np.float32)
    x[1, at, 17] = np.nan
    got = numbers(getattr(mx, name)(mx.array(x).astype(dtype), axis=1))
    assert np.isnan(got[1, 17])
    assert np.isnan(got).sum() == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize("name", ["max", "min"])
def test_gradient_is_shared_among_equals(name, shape, axes, dtype):
    with mx.stream(mx.cpu):
        x = sample(shape, dtype)
        f = getattr(mx, name)
        y = f(x, axis=axes)
        g = sample(y.shape, dtype, seed=1)
        got = numbers(mx.vjp(lambda x: f(x, axis=axes), [x], [g])[1][0])
    best = numbers(y).reshape([1 if i in axes else n for i, n in enumerate(shape)])
    equal = numbers(x) == best
    want = equal / equal.sum(axis=axes, keepdims=True) * numbers(g).reshape(best.shape)
    np.testing.assert_allclose(got, want, rtol=1e-2 if x.itemsize == 2 else 1e-6)


def test_gradient_of_nan():
    x = mx.array([[[1.0, 2.0], [float("nan"), 3.0]]])
    g = np.array(mx.grad(lambda x: mx.max(x, axis=1).sum())(x))
    assert np.isnan(g[0, :, 0]).all()
    assert g[0, :, 1].tolist() == [0, 1]


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="a kernel of the CPU; products with shares of zero are nan")
def test_gradient_of_infinite_cotangent_stays_where_it_is():
    x = mx.array([[[1.0, 2.0], [4.0, 3.0]]])
    (g,) = mx.vjp(lambda x: mx.max(x, axis=1), [x], [mx.array([[float("inf"), 1.0]])])[1]
    assert g.tolist() == [[[0, 0], [float("inf"), 1]]]


def test_transforms_of_the_gradient():
    x = sample((4, 3, 2, 5), mx.float32)
    w = mx.random.normal((4, 3, 5))

    def loss(x, w):
        return (mx.max(x, axis=2) * w).sum()

    gradient = mx.grad(loss)
    expected = gradient(x, w)
    batched = mx.vmap(mx.grad(lambda x, w: (mx.max(x, axis=1) * w).sum()))(x, w)
    assert mx.array_equal(batched, expected)
    assert mx.array_equal(mx.compile(gradient)(x, w), expected)
    # Linear in w: its derivative along v is the gradient for v, and back.
    v = mx.random.normal(w.shape)
    (along,) = mx.jvp(lambda w: gradient(x, w), [w], [v])[1]
    assert mx.allclose(along, gradient(x, v))
    c = mx.random.normal(x.shape)
    (back,) = mx.vjp(lambda w: gradient(x, w), [w], [c])[1]
    assert abs((back * v).sum().item() - (c * along).sum().item()) < 1e-4


@pytest.mark.parametrize("channels", [2, 6, 16, 33])
def test_repeated_rows_in_elementwise_programs(channels):
    """A bias is gathered once for many blocks; the last block is shorter than the others."""
    for rows in (1, 2, 341, 1000, 4097):
        x, b, s = mx.random.normal((rows, channels)), mx.random.normal((channels,)), mx.random.normal((rows, 1))
        got = mx.maximum(x * s + b, 0)
        want = np.maximum(np.array(x) * np.array(s) + np.array(b), 0)
        np.testing.assert_allclose(np.array(got), want, rtol=1e-5, atol=1e-6)
    x, b = mx.random.normal((3, 700, channels)), mx.random.normal((3, 1, channels))
    np.testing.assert_array_equal(np.array(x + b), np.array(x) + np.array(b))
