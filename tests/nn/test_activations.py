"""Activations: formulas in float64, dtypes, extremes, kinks, modules."""

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from nn_samples import arr, close

erf = np.vectorize(math.erf)


def sig(x):
    return 1 / (1 + np.exp(-x))


# What torch has is in test_against_torch.py, with gradients; these are the others.
FORMULAS = {
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_fast_approx": lambda x: x * sig(1.702 * x),
    "step": lambda x: (x >= 0).astype("f8"),
}
ELEMENTWISE = [
    "sigmoid",
    "tanh",
    "relu",
    "relu2",
    "relu6",
    "leaky_relu",
    "elu",
    "celu",
    "selu",
    "silu",
    "mish",
    "gelu",
    "gelu_approx",
    "gelu_fast_approx",
    "softplus",
    "softsign",
    "softshrink",
    "hard_shrink",
    "hard_tanh",
    "hardswish",
    "log_sigmoid",
]
MODULES = {
    nn.CELU: nn.celu,
    nn.ELU: nn.elu,
    nn.GELU: nn.gelu,
    nn.GLU: nn.glu,
    nn.HardShrink: nn.hard_shrink,
    nn.HardTanh: nn.hard_tanh,
    nn.Hardswish: nn.hardswish,
    nn.LeakyReLU: nn.leaky_relu,
    nn.LogSigmoid: nn.log_sigmoid,
    nn.LogSoftmax: nn.log_softmax,
    nn.Mish: nn.mish,
    nn.ReLU: nn.relu,
    nn.ReLU2: nn.relu2,
    nn.ReLU6: nn.relu6,
    nn.SELU: nn.selu,
    nn.SiLU: nn.silu,
    nn.Sigmoid: nn.sigmoid,
    nn.Softmax: nn.softmax,
    nn.Softmin: nn.softmin,
    nn.Softplus: nn.softplus,
    nn.Softshrink: nn.softshrink,
    nn.Softsign: nn.softsign,
    nn.Step: nn.step,
    nn.Tanh: nn.tanh,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    x = 6 * arr(200)
    close(getattr(nn, name)(x), FORMULAS[name](np.array(x).astype("f8")))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_module_is_its_function(module):
    x = 3 * arr(4, 6)
    assert mx.array_equal(module()(x), MODULES[module](x))
    assert repr(module()) == f"{module.__name__}()" and module.__doc__


def test_module_arguments():
    x = 3 * arr(4, 6)
    assert mx.array_equal(nn.CELU(2.0)(x), nn.celu(x, 2.0))
    assert mx.array_equal(nn.ELU(alpha=2.0)(x), nn.elu(x, alpha=2.0))
    assert mx.array_equal(nn.LeakyReLU(0.3)(x), mx.where(x >= 0, x, 0.3 * x))
    assert mx.array_equal(nn.HardShrink(1.0)(x), mx.where(mx.abs(x) > 1, x, 0))
    assert mx.array_equal(nn.Softshrink(1.0)(x), nn.softshrink(x, 1.0))
    assert mx.array_equal(nn.Step(0.5)(x), (x >= 0.5).astype(mx.int32))
    assert mx.array_equal(nn.hard_tanh(x, -2.0, 0.5), mx.clip(x, -2.0, 0.5))
    a, b = mx.split(x, 2, axis=0)
    assert mx.allclose(nn.GLU(axis=0)(x), a * mx.sigmoid(b))
    close(nn.softmax(x, axis=0).sum(axis=0), np.ones(6))
    close(nn.softmax(x, axis=(0, 1)).sum(), 1)
    close(mx.exp(nn.log_softmax(x, axis=0)), np.array(nn.softmax(x, axis=0)))


def test_gelu_variants():
    x = mx.linspace(-8, 8, 400)
    exact = nn.gelu(x)
    assert mx.abs(nn.gelu_approx(x) - exact).max() < 5e-4
    assert mx.abs(nn.gelu_fast_approx(x) - exact).max() < 0.021
    for approx, function in (
        ("none", nn.gelu),
        ("precise", nn.gelu_approx),
        ("tanh", nn.gelu_approx),
        ("fast", nn.gelu_fast_approx),
    ):
        assert mx.array_equal(nn.GELU(approx)(x), function(x))
    with pytest.raises(ValueError, match=r"\[GELU\].*'bad'"):
        nn.GELU("bad")


def test_glu_needs_an_even_size():
    with pytest.raises(ValueError, match=r"\[glu\] axis -1 of an input with shape \(3, 5\)"):
        nn.glu(mx.zeros((3, 5)))


def test_prelu():
    x = arr(2, 3, 4)
    m = nn.PReLU(4, 0.1)
    m.weight = mx.array([0.1, 0.2, 0.3, 0.4])
    close(m(x), np.where(np.array(x) >= 0, x, np.array(x) * np.array(m.weight)))
    assert nn.PReLU().weight.tolist() == [0.25]
    _, grads = nn.value_and_grad(m, lambda x: m(x).sum())(x)
    close(grads["weight"], np.minimum(np.array(x), 0).sum((0, 1)))
    with pytest.raises(ValueError, match=r"\[PReLU\].*\(2, 3\).*\(4,\)"):
        m(mx.zeros((2, 3)))


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32])
def test_dtype_stays(name, dtype):
    x = 4 * arr(64)
    y = getattr(nn, name)(x.astype(dtype))
    assert y.dtype == dtype and y.shape == x.shape
    tolerance = {mx.float32: 1e-6, mx.float16: 4e-3, mx.bfloat16: 4e-2}[dtype]
    expected = getattr(nn, name)(x.astype(dtype).astype(mx.float32))
    close(y, np.array(expected), tolerance)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_are_finite_at_extremes_and_kinks(name):
    f = getattr(nn, name)
    x = mx.array([-1e4, -200.0, -3.0, -0.5, 0.0, 0.5, 3.0, 6.0, 200.0, 1e4])
    assert mx.all(mx.isfinite(f(x))).item()
    assert mx.all(mx.isfinite(mx.grad(lambda x: f(x).sum())(x))).item()


def test_derivatives_at_zero():
    at_zero = {
        "relu": 0,
        "relu2": 0,
        "leaky_relu": 1,
        "elu": 1,
        "celu": 1,
        "selu": 1.0507009873554805 * 1.6732632423543772,
        "silu": 0.5,
        "gelu": 0.5,
        "softplus": 0.5,
        "hard_tanh": 1,
    }
    for name, expected in at_zero.items():
        got = mx.grad(getattr(nn, name))(mx.array(0.0)).item()
        assert got == pytest.approx(expected, rel=1e-6), name
    assert mx.grad(nn.step)(mx.array(0.0)).item() == 0


def test_extremes():
    inf = math.inf
    x = mx.array([-inf, inf])
    assert nn.relu(x).tolist() == [0, inf]
    assert nn.elu(x).tolist() == [-1, inf]
    assert nn.softplus(x).tolist() == [0, inf]
    assert nn.sigmoid(x).tolist() == [0, 1]
    close(nn.log_sigmoid(mx.array([-1000.0, 1000.0])), [-1000, 0])
    close(nn.softmax(mx.array([1e4, 1e4, -1e4])), [0.5, 0.5, 0])
    for name in ("softshrink", "hard_shrink", "leaky_relu", "elu"):
        assert mx.isnan(getattr(nn, name)(mx.array(math.nan))).item(), name


def test_integers():
    x = mx.array([-2, 0, 3])
    assert nn.relu(x).dtype == mx.int32 and nn.relu(x).tolist() == [0, 0, 3]
    for name in ("gelu", "silu", "elu", "softplus", "leaky_relu"):
        assert getattr(nn, name)(x).dtype == mx.float32, name
