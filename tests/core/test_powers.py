"""Powers by numbers that are known when the graph is built: products and roots."""

import mlx.core as mx
import numpy as np
import pytest

EXPONENTS = [1, 2, 3, 4, -1, 0.5, -0.5, 0, -2, 2.5]
X = np.array([0.1, 0.5, 1.0, 1.7, 3.0, 12.0, 1e3])


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(
    "dtype, bound", [(mx.float32, 3e-7), (mx.float16, 1e-3), (mx.bfloat16, 8e-3), (mx.float64, 4e-16)]
)
def test_values(exponent, dtype, bound):
    x = mx.array(X).astype(dtype, stream=mx.cpu)
    exact = np.array(x.astype(mx.float64, stream=mx.cpu)) ** exponent
    with mx.stream(mx.cpu):
        y = x**exponent
        assert y.dtype == dtype
        got = np.array(y.astype(mx.float64))
    inside = exact < float(mx.finfo(dtype).max)
    np.testing.assert_allclose(got[inside], exact[inside], rtol=bound, atol=6e-8 if bound > 1e-4 else 0)
    assert np.all(np.isinf(got[~inside]))


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_gradients_are_those_of_a_power_by_an_array(exponent):
    x = mx.array(X[:6].astype(np.float32))
    by_number = mx.grad(lambda x: (x**exponent).sum())(x)
    by_array = mx.grad(lambda x: mx.power(x, mx.full(x.shape, float(exponent))).sum())(x)
    np.testing.assert_allclose(by_number, by_array, rtol=2e-6)


def test_special_values_are_numpy_s():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -2.0], np.float32)
    with np.errstate(all="ignore"):
        for exponent in (1, 2, 3, 4, -1, 0.5, 0):
            np.testing.assert_array_equal(np.array(mx.array(x) ** exponent), x**exponent)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [mx.int32, mx.uint8, mx.int64, mx.bool_])
def test_integers(exponent, dtype):
    x = mx.array([0, 1, 2, 5, 200, 7]).astype(dtype)
    y = x**exponent
    expected = np.array(x).astype(np.array(y).dtype) ** np.array(exponent, np.array(y).dtype)
    np.testing.assert_array_equal(np.array(y), expected)


def test_dtype_of_the_exponent_counts():
    assert (mx.array([1, 2]) ** mx.array(2.0)).dtype == mx.float32
    assert (mx.array([1.0], mx.float16) ** mx.array(2.0)).dtype == mx.float32
    assert (mx.array([1.0], mx.float16) ** 2.0).dtype == mx.float16


def test_an_exponent_that_is_followed_stays_one():
    x = mx.array([0.5, 2.0, 3.0])
    d = mx.grad(lambda e: (x**e).sum())(mx.array(2.0))
    assert d.item() == pytest.approx(float(np.sum(np.array(x) ** 2 * np.log(np.array(x)))), rel=1e-5)
    power = mx.compile(lambda x, e: x**e)
    for e in (2.0, 3.0, -1.0):
        np.testing.assert_allclose(power(x, mx.array(e)), np.array(x) ** e, rtol=1e-6)
    by_each = mx.vmap(lambda e: x**e)(mx.array([2.0, 0.5]))
    np.testing.assert_allclose(by_each, np.array(x) ** np.array([[2.0], [0.5]]), rtol=1e-6)
