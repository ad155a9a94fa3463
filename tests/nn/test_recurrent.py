"""Recurrent layers; values with states and gradients are compared in test_against_torch.py."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
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
