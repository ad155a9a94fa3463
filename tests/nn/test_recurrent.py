"""Recurrent layers; values with states and gradients are compared in test_against_torch.py."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, close, params64, wave, with_wave_parameters


def sig(x):
    return 1 / (1 + np.exp(-x))


def rnn64(p, x, f=np.tanh):
    h = np.zeros((*x.shape[:-2], p["Whh"].shape[0]))
    out = []
    for t in range(x.shape[-2]):
        h = f(x[..., t, :] @ p["Wxh"].T + h @ p["Whh"].T + p.get("bias", 0))
        out.append(h)
    return np.stack(out, -2)


def gru64(p, x):
    n = p["Wh"].shape[1]
    h = np.zeros((*x.shape[:-2], n))
    out = []
    for t in range(x.shape[-2]):
        a, b = x[..., t, :] @ p["Wx"].T + p.get("b", 0), h @ p["Wh"].T
        r, z = sig(a[..., :n] + b[..., :n]), sig(a[..., n : 2 * n] + b[..., n : 2 * n])
        new = np.tanh(a[..., 2 * n :] + r * (b[..., 2 * n :] + p.get("bhn", 0)))
        h = (1 - z) * new + z * h
        out.append(h)
    return np.stack(out, -2)


def lstm64(p, x):
    h = c = np.zeros((*x.shape[:-2], p["Wh"].shape[1]))
    out = []
    for t in range(x.shape[-2]):
        a = x[..., t, :] @ p["Wx"].T + h @ p["Wh"].T + p.get("bias", 0)
        i, f, g, o = np.split(a, 4, -1)
        c = sig(f) * c + sig(i) * np.tanh(g)
        h = sig(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, -2)


@pytest.mark.parametrize("lead", [(), (2,), (3, 2)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layer, reference", [(nn.RNN, rnn64), (nn.GRU, gru64), (nn.LSTM, lstm64)])
def test_values_without_states(layer, reference, lead, bias):
    m = with_wave_parameters(layer(3, 4, bias=bias))
    y = m(arr(*lead, 6, 3))
    y = y[0] if layer is nn.LSTM else y
    close(y, reference(params64(m), wave(*lead, 6, 3)))


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_sequence_in_two_parts(layer):
    m = layer(3, 4)
    x = arr(2, 6, 3)
    if layer is nn.LSTM:
        whole, cells = m(x)
        h, c = m(x[:, :4])
        rest, _ = m(x[:, 4:], hidden=h[:, -1], cell=c[:, -1])
        assert cells.shape == whole.shape
    else:
        whole = m(x)
        rest = m(x[:, 4:], m(x[:, :4])[:, -1])
    assert mx.allclose(whole[:, 4:], rest, atol=1e-6)


def test_nonlinearity():
    m = with_wave_parameters(nn.RNN(3, 4, nonlinearity=nn.relu))
    close(m(arr(5, 3)), rnn64(params64(m), wave(5, 3), lambda a: np.maximum(a, 0)))
    with pytest.raises(ValueError, match="5"):
        nn.RNN(3, 4, nonlinearity=5)
    module = nn.RNN(3, 4, nonlinearity=nn.ReLU())  # an empty module is no None
    assert isinstance(module.nonlinearity, nn.ReLU)


def test_parameters():
    shapes = {k: v.shape for k, v in nn.LSTM(3, 4).parameters().items()}
    assert shapes == {"Wx": (16, 3), "Wh": (16, 4), "bias": (16,)}
    shapes = {k: v.shape for k, v in nn.GRU(3, 4).parameters().items()}
    assert shapes == {"Wx": (12, 3), "Wh": (12, 4), "b": (12,), "bhn": (4,)}
    assert nn.GRU(3, 4, bias=False).b is None
    assert repr(nn.LSTM(3, 4)) == "LSTM(input_dims=3, hidden_size=4, bias=True)"
    assert 0.09 < mx.abs(nn.GRU(50, 100).Wh).max().item() <= 0.1


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_edges(layer):
    m = layer(3, 4)
    y = m(mx.zeros((2, 0, 3)))
    assert (y[0] if layer is nn.LSTM else y).shape == (2, 0, 4)
    for shape in ((3,), (2, 5, 2)):
        with pytest.raises(ValueError, match=rf"\[{layer.__name__}\].*\(\.\.\., L, 3\)"):
            m(mx.zeros(shape))


def lstm_by_derived_rules(m, x, hidden, cell):
    """The layer without the derivative that it brings along."""
    inputs = mx.addmm(m["bias"], x, m["Wx"].T)
    hiddens, cells = [], []
    for t in range(x.shape[-2]):
        i, f, g, o = mx.split(inputs[..., t, :] + hidden @ m["Wh"].T, 4, axis=-1)
        cell = mx.sigmoid(f) * cell + mx.sigmoid(i) * mx.tanh(g)
        hidden = mx.sigmoid(o) * mx.tanh(cell)
        hiddens.append(hidden)
        cells.append(cell)
    return mx.stack(hiddens, axis=-2), mx.stack(cells, axis=-2)


@pytest.fixture
def lstm_case():
    mx.random.seed(0)
    layer = nn.LSTM(3, 4)
    x = mx.random.normal((2, 5, 3))
    return layer, x, mx.random.normal((2, 4)), mx.random.normal((4,))


def lstm_losses(layer):
    """The layer's loss and that of the same formulas under the rules of their operations."""

    def of(hiddens, cells):
        return (hiddens * mx.sin(mx.arange(5.0))[:, None]).sum() + (cells * cells * hiddens).sum()

    def by_layer(parameters, x, hidden, cell):
        layer.update(parameters)
        return of(*layer(x, hidden, cell))

    def by_rules(parameters, x, hidden, cell):
        return of(*lstm_by_derived_rules(parameters, x, hidden, cell))

    return by_layer, by_rules


def assert_trees_close(a, b, tolerance):
    a, b = tree_flatten(a, destination={}), tree_flatten(b, destination={})
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=tolerance, atol=tolerance, err_msg=key)


def test_lstm_brings_the_gradient_that_its_formulas_have(lstm_case):
    layer, *arguments = lstm_case
    grads = [
        mx.grad(f, argnums=(0, 1, 2, 3))(layer.parameters(), *arguments) for f in lstm_losses(layer)
    ]
    assert_trees_close(*map(list, grads), 2e-6)


def test_lstm_second_derivatives(lstm_case):
    layer, *arguments = lstm_case

    def squared(f):
        def of(parameters, x, hidden, cell):
            d = mx.grad(f, argnums=(1, 2, 3))(parameters, x, hidden, cell)
            return sum((g * g).sum() for g in d)

        return mx.grad(of, argnums=(0, 1))(layer.parameters(), *arguments)

    assert_trees_close(*(list(squared(f)) for f in lstm_losses(layer)), 2e-5)


def test_lstm_gradients_of_each_sample(lstm_case):
    layer, x, hidden, _ = lstm_case
    grads = [
        mx.vmap(mx.grad(f), in_axes=(None, 0, 0, None))(
            layer.parameters(), x, hidden, mx.zeros((4,))
        )
        for f in lstm_losses(layer)
    ]
    assert_trees_close(*grads, 2e-6)


def test_lstm_directional_derivative(lstm_case):
    layer, x, hidden, cell = lstm_case
    along = mx.random.normal(x.shape)
    results = [
        mx.jvp(lambda x, f=f: f(layer.parameters(), x, hidden, cell), [x], [along])[1][0]
        for f in lstm_losses(layer)
    ]
    np.testing.assert_allclose(*results, rtol=1e-5)


def gru_by_derived_rules(m, x, hidden):
    """The layer without the derivative that it brings along."""
    size, inputs, hiddens = hidden.shape[-1], x @ m["Wx"].T, []
    for t in range(x.shape[-2]):
        step, product = inputs[..., t, :] + m.get("b", 0), hidden @ m["Wh"].T
        gates = mx.sigmoid(step[..., : 2 * size] + product[..., : 2 * size])
        reset, keep = gates[..., :size], gates[..., size:]
        from_state = product[..., 2 * size :] + m.get("bhn", 0)
        new = mx.tanh(step[..., 2 * size :] + reset * from_state)
        hidden = (1 - keep) * new + keep * hidden
        hiddens.append(hidden)
    return mx.stack(hiddens, axis=-2)


@pytest.mark.parametrize("lead", [(), (2,), (3, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_gru_brings_the_derivatives_that_its_formulas_have(bias, lead):
    mx.random.seed(0)
    layer = nn.GRU(3, 4, bias=bias)
    x, hidden = mx.random.normal((*lead, 5, 3)), mx.random.normal((*lead, 4))
    weights = mx.sin(mx.arange(20.0)).reshape(5, 4)

    def by_layer(parameters, x, hidden):
        layer.update(parameters)
        return (mx.square(layer(x, hidden)) * weights).sum()

    def by_rules(parameters, x, hidden):
        return (mx.square(gru_by_derived_rules(parameters, x, hidden)) * weights).sum()

    def derivatives(f):
        def squared(x):
            return mx.square(mx.grad(f, argnums=1)(layer.parameters(), x, hidden)).sum()

        first = mx.grad(f, argnums=(0, 1, 2))(layer.parameters(), x, hidden)
        along = mx.jvp(lambda x: f(layer.parameters(), x, hidden), [x], [x])[1][0]
        return [*first, mx.grad(squared)(x), along]

    assert_trees_close(derivatives(by_layer), derivatives(by_rules), 3e-5)
