"""Initializers: shapes, dtypes, moments and bounds."""

import math

import mlx.core as mx
import numpy as np
import pytest
from mlx.nn import init

A = mx.zeros((60, 5, 40))  # fan in 200, fan out 300


def moments(a):
    a = np.array(a.astype(mx.float32))
    return a.mean(), a.std(), np.abs(a).max()


@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: init.constant(0.5, dtype),
        lambda dtype: init.normal(dtype=dtype),
        lambda dtype: init.uniform(dtype=dtype),
        lambda dtype: init.glorot_normal(dtype),
        lambda dtype: init.glorot_uniform(dtype),
        lambda dtype: init.he_normal(dtype),
        lambda dtype: init.he_uniform(dtype),
        lambda dtype: init.sparse(0.5, dtype=dtype),
        lambda dtype: init.orthogonal(dtype=dtype),
        lambda dtype: init.identity(dtype),
    ],
)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_shape_and_dtype(make, dtype):
    a = make(dtype)(mx.zeros((4, 4), mx.int32))
    assert a.shape == (4, 4) and a.dtype == dtype


def test_simple_distributions():
    assert mx.all(init.constant(0.5)(A) == 0.5).item()
    mean, std, _ = moments(init.normal(mean=2.0, std=0.5)(A))
    assert mean == pytest.approx(2, abs=0.03) and std == pytest.approx(0.5, rel=0.05)
    a = np.array(init.uniform(-1.0, 3.0)(A))
    assert a.min() >= -1 and a.max() < 3 and a.mean() == pytest.approx(1, abs=0.1)
    assert mx.array_equal(init.identity()(mx.zeros((3, 3))), mx.eye(3))


@pytest.mark.parametrize(
    "make, arguments, std",
    [
        (init.glorot_normal, {}, math.sqrt(2 / 500)),
        (init.glorot_normal, {"gain": 3.0}, 3 * math.sqrt(2 / 500)),
        (init.glorot_uniform, {}, math.sqrt(2 / 500)),
        (init.he_normal, {}, math.sqrt(1 / 200)),
        (init.he_normal, {"mode": "fan_out", "gain": 2.0}, 2 * math.sqrt(1 / 300)),
        (init.he_uniform, {}, math.sqrt(1 / 200)),
        (init.he_uniform, {"mode": "fan_out"}, math.sqrt(1 / 300)),
    ],
)
def test_fans(make, arguments, std):
    mean, got, largest = moments(make()(A, **arguments))
    assert got == pytest.approx(std, rel=0.05) and mean == pytest.approx(0, abs=std / 10)
    if "uniform" in make.__name__:
        assert 0.9 * math.sqrt(3) * std < largest <= math.sqrt(3) * std * (1 + 1e-6)


def test_sparse():
    a = np.array(init.sparse(0.3, mean=5.0)(mx.zeros((50, 7))))
    assert ((a == 0).sum(1) == 3).all()  # ceil(0.3 * 7)
    assert len({tuple(row) for row in (a == 0)}) > 10
    assert (np.array(init.sparse(0.0, mean=5.0)(mx.zeros((5, 7)))) != 0).all()
    assert (np.array(init.sparse(1.0)(mx.zeros((5, 7)))) == 0).all()


@pytest.mark.parametrize("shape", [(5, 5), (7, 4), (4, 7)])
def test_orthogonal(shape):
    a = np.array(init.orthogonal(gain=2.0)(mx.zeros(shape)))
    gram = a @ a.T if shape[0] <= shape[1] else a.T @ a
    np.testing.assert_allclose(gram, 4 * np.eye(min(shape)), atol=1e-5)


def test_orthogonal_has_both_determinants():
    signs = {
        round(float(np.linalg.det(np.array(init.orthogonal()(mx.zeros((3, 3)))))))
        for _ in range(40)
    }
    assert signs == {-1, 1}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: init.identity()(mx.zeros((3, 2))), r"\(3, 2\)"),
        (lambda: init.glorot_normal()(mx.zeros((3,))), r"\(3,\)"),
        (lambda: init.he_uniform()(mx.zeros((3,))), r"\(3,\)"),
        (lambda: init.he_normal()(mx.zeros((3, 3)), mode="fan"), "'fan'"),
        (lambda: init.sparse(1.5), "1.5"),
        (lambda: init.sparse(0.5)(mx.zeros((3,))), r"\(3,\)"),
        (lambda: init.orthogonal()(mx.zeros((2, 2, 2))), r"\(2, 2, 2\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
