"""Linear layers, embeddings, normalization, dropout, positions: formulas in float64 and errors."""

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from nn_samples import arr, close, params64, wave, with_wave_parameters

# ---- linear


@pytest.mark.parametrize("lead", [(), (5,), (2, 5), (2, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(lead, bias):
    m = with_wave_parameters(nn.Linear(3, 4, bias=bias))
    p = params64(m)
    x = wave(*lead, 3)
    close(m(arr(*lead, 3)), x @ p["weight"].T + p.get("bias", 0))


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_bilinear(lead, bias):
    m = with_wave_parameters(nn.Bilinear(3, 4, 5, bias=bias))
    p = params64(m)
    a, b = wave(*lead, 3), wave(*lead, 4, seed=1)
    y = m(arr(*lead, 3), arr(*lead, 4, seed=1))
    expected = np.einsum("...i,oji,...j->...o", a, p["weight"], b) + p.get("bias", 0)
    close(y, expected)


def test_initial_parameters():
    m = nn.Linear(100, 300)
    assert 0.095 < mx.abs(m.weight).max().item() <= 0.1
    assert 0.08 < mx.abs(m.bias).max().item() <= 0.1
    assert nn.Embedding(2000, 25).weight.flatten().square().mean().item() == pytest.approx(
        1 / 25, rel=0.05
    )


def test_identity():
    x = arr(2, 3)
    assert nn.Identity(1, "anything", here=True)(x) is x


def test_embedding():
    m = nn.Embedding(5, 3)
    w = np.array(m.weight)
    close(m(mx.array([[1, 2], [0, 4]])), w[[[1, 2], [0, 4]]])
    close(m(mx.array(3)), w[3])
    close(m.as_linear(arr(2, 3)), wave(2, 3) @ w.T.astype("f8"))
    _, g = nn.value_and_grad(m, lambda i: m(i).sum())(mx.array([1, 1, 3]))
    close(g["weight"], np.array([0, 2, 0, 1, 0])[:, None] * np.ones(3))


def test_sequential():
    m = nn.Sequential(nn.Linear(2, 3), nn.relu, lambda x: 2 * x)
    x = arr(4, 2)
    assert mx.array_equal(m(x), 2 * nn.relu(m.layers[0](x)))
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.Linear(2, 3)(mx.zeros((4, 5))),
        lambda: nn.Linear(2, 3, bias=False)(mx.zeros((4, 5))),
        lambda: nn.Embedding(3, 2).as_linear(mx.zeros((4, 5))),
        lambda: nn.LayerNorm(2)(mx.zeros((4, 5))),
        lambda: nn.LayerNorm(2, affine=False)(mx.zeros((4, 5))),
        lambda: nn.RMSNorm(2)(mx.zeros((4, 5))),
        lambda: nn.GroupNorm(1, 2)(mx.zeros((4, 5))),
        lambda: nn.BatchNorm(2)(mx.zeros((4, 5))),
        lambda: nn.Bilinear(2, 2, 2)(mx.zeros((4, 5)), mx.zeros((4, 2))),
        lambda: nn.InstanceNorm(2)(mx.zeros((1, 4, 5))),
    ],
)
def test_errors_name_layer_and_shapes(call):
    with pytest.raises(ValueError, match=r"^\[[A-Z]\w+\] .*4, 5\)") as error:
        call()
    assert "2" in str(error.value)


def test_broadcasting_does_not_hide_a_wrong_size():
    for m in (nn.BatchNorm(4), nn.InstanceNorm(4, affine=True), nn.LayerNorm(4, affine=False)):
        with pytest.raises(ValueError, match=r"must have size 4"):
            m(mx.zeros((2, 3, 1)))


# ---- normalization (more of it in test_against_torch.py)


def normalized(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def test_layer_norm_parameters():
    x = wave(2, 3, 6)
    close(nn.LayerNorm(6, affine=False)(arr(2, 3, 6)), normalized(x, -1))
    m = with_wave_parameters(nn.LayerNorm(6, bias=False, eps=0.1))
    close(m(arr(2, 3, 6)), normalized(x, -1, 0.1) * params64(m)["weight"])


def test_norms_far_from_zero():
    # A variance computed as E[x^2] - E[x]^2 would have no correct digit left.
    x = (1000 + wave(4, 8, 4)).astype(np.float32)
    for m, axes in (
        (nn.LayerNorm(4), -1),
        (nn.InstanceNorm(4), 1),
        (nn.BatchNorm(4), (0, 1)),
        (nn.GroupNorm(1, 4, pytorch_compatible=True), (1, 2)),
    ):
        close(m(mx.array(x)), normalized(x.astype("f8"), axes), 2e-3)


def test_group_norm_groups():
    x = wave(2, 5, 6)
    interleaved = np.stack([x[..., g::3] for g in range(3)], -1)  # (2, 5, 2, 3)
    expected = normalized(interleaved, (1, 2)).reshape(2, 5, 6)
    close(nn.GroupNorm(3, 6, affine=False)(arr(2, 5, 6)), expected)
    contiguous = x.reshape(2, 5, 3, 2)
    expected = normalized(contiguous, (1, 3)).reshape(2, 5, 6)
    close(nn.GroupNorm(3, 6, affine=False, pytorch_compatible=True)(arr(2, 5, 6)), expected)
    with pytest.raises(ValueError, match=r"4.*3"):
        nn.GroupNorm(3, 4)


@pytest.mark.parametrize("shape", [(7, 3), (4, 7, 3), (2, 3, 4, 3)])
def test_batch_norm_shapes(shape):
    x = wave(*shape)
    axes = tuple(range(len(shape) - 1))
    m = nn.BatchNorm(3, affine=False, momentum=0.25)
    close(m(arr(*shape)), normalized(x, axes))
    close(m.running_mean, 0.25 * x.mean(axes))
    close(m.running_var, 0.75 + 0.25 * x.var(axes, ddof=1))
    m.eval()
    expected = (x - 0.25 * x.mean(axes)) / np.sqrt(0.75 + 0.25 * x.var(axes, ddof=1) + 1e-5)
    close(m(arr(*shape)), expected)


def test_batch_norm_without_averages():
    m = nn.BatchNorm(3, track_running_stats=False).eval()
    assert set(m.parameters()) == {"weight", "bias"}
    close(m(arr(5, 3)), normalized(wave(5, 3), 0))


def test_batch_norm_other_inputs():
    for shape in ((3,), (1, 1, 1, 1, 3)):
        with pytest.raises(ValueError, match=r"2, 3 or 4 dimensions"):
            nn.BatchNorm(3)(mx.zeros(shape))
    m = nn.BatchNorm(3)
    m(arr(1, 3))  # one sample has no unbiased variance
    assert mx.all(mx.isfinite(m.running_var)).item()
    m(arr(4, 3, dtype=mx.float16))
    assert m.running_mean.dtype == mx.float32


def test_batch_norm_in_training():
    m = nn.BatchNorm(3)
    start = m.running_mean
    _, grads = nn.value_and_grad(m, lambda x: m(x).square().sum())(arr(6, 3))
    assert set(grads) == {"weight", "bias"}
    assert not mx.array_equal(m.running_mean, start)
    close(m.running_mean, 0.1 * wave(6, 3).mean(0))


# ---- dropout


@pytest.mark.parametrize(
    "layer, shape, fixed",
    [
        (nn.Dropout, (50, 40), ()),
        (nn.Dropout2d, (40, 3, 4, 30), (1, 2)),
        (nn.Dropout2d, (5, 4, 500), (0, 1)),
        (nn.Dropout3d, (40, 2, 3, 4, 30), (1, 2, 3)),
        (nn.Dropout3d, (2, 3, 4, 500), (0, 1, 2)),
    ],
)
def test_dropout(layer, shape, fixed):
    m = layer(0.3)
    x = mx.ones(shape)
    y = np.array(m(x))
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-6)
    # All positions of a channel share one decision.
    first = kept[tuple(slice(0, 1) if i in fixed else slice(None) for i in range(len(shape)))]
    assert (kept == first).all()
    assert abs(first.mean() - 0.7) < 6 * math.sqrt(0.21 / first.size)
    assert mx.array_equal(m.eval()(x), x) and layer(0.0)(x) is x
    assert repr(layer(0.3)) == f"{layer.__name__}(p=0.3)"


def test_dropout_details():
    assert nn.Dropout(0.5)(mx.ones((8,), mx.float16)).dtype == mx.float16
    y = np.array(nn.Dropout(0.5)(mx.full((100,), math.inf)))
    assert set(y) == {0, math.inf}  # no nan
    for p in (-0.1, 1.0, 1.5):
        with pytest.raises(ValueError, match=str(p)):
            nn.Dropout2d(p)
    for layer, shape in ((nn.Dropout2d, (2, 3)), (nn.Dropout3d, (1, 2, 3))):
        with pytest.raises(ValueError, match=rf"\[{layer.__name__}\]"):
            layer(0.5)(mx.ones(shape))


# ---- positions


@pytest.mark.parametrize("traditional", [True, False])
def test_rope(traditional):
    m = nn.RoPE(4, traditional=traditional, base=100.0, scale=0.5)
    x = wave(2, 3, 5, 6)
    y = m(arr(2, 3, 5, 6), offset=7)
    angles = 0.5 * (7 + np.arange(5))[:, None] * 100.0 ** (-np.arange(2) / 2)
    if traditional:
        a, b = x[..., 0:4:2], x[..., 1:4:2]
    else:
        a, b = x[..., :2], x[..., 2:4]
    ra, rb = (
        a * np.cos(angles) - b * np.sin(angles),
        a * np.sin(angles) + b * np.cos(angles),
    )
    if traditional:
        turned = np.stack([ra, rb], -1).reshape(2, 3, 5, 4)
    else:
        turned = np.concatenate([ra, rb], -1)
    close(y, np.concatenate([turned, x[..., 4:]], -1))
    for bad in ((5, 6), (1, 5, 3)):
        with pytest.raises(ValueError, match=r"\[RoPE\]"):
            m(mx.zeros(bad))


def test_sinusoidal_positional_encoding():
    m = nn.SinusoidalPositionalEncoding(8)
    x = np.array([[0.0, 1, 2], [10, 100, 1000]])
    frequencies = 10.0 ** -np.linspace(0, 4, 4)
    angles = x[..., None] * frequencies
    expected = np.concatenate([np.sin(angles), np.cos(angles)], -1) * math.sqrt(2 / 8)
    y = m(mx.array(x.astype(np.float32)))
    close(y, expected, 1e-4)
    close(mx.linalg.norm(y, axis=-1), np.ones((2, 3)))
    assert m.parameters() == {}
    other = nn.SinusoidalPositionalEncoding(
        4, min_freq=0.5, max_freq=2, scale=3, cos_first=True, full_turns=True
    )
    angles = x[0, :, None] * 2 * math.pi * np.array([2, 0.5])
    expected = 3 * np.concatenate([np.cos(angles), np.sin(angles)], -1)
    close(other(mx.array([0, 1, 2])), expected)
    for dims in (0, 7):
        with pytest.raises(ValueError, match=str(dims)):
            nn.SinusoidalPositionalEncoding(dims)


def test_alibi():
    np.testing.assert_allclose(
        np.array(nn.ALiBi.create_alibi_slope(8)).ravel(), 2.0 ** -np.arange(1, 9)
    )
    np.testing.assert_allclose(
        np.array(nn.ALiBi.create_alibi_slope(6)).ravel(), [0.25, 2**-4, 2**-6, 2**-8, 0.5, 0.125]
    )
    distance = np.abs(np.arange(2, 5)[:, None] - np.arange(4)[None])
    slopes = np.array([2.0**-4, 2.0**-8])[:, None, None]
    scores = wave(1, 2, 3, 4)
    expected = scores - slopes * distance
    m = nn.ALiBi()
    close(m(arr(1, 2, 3, 4), offset=2), expected)
    mask = wave(3, 4, seed=1)
    close(m(arr(1, 2, 3, 4), offset=2, mask=arr(3, 4, seed=1)), expected + mask)
    boolean = m(arr(1, 2, 3, 4), offset=2, mask=arr(3, 4, seed=1) > 0)
    close(boolean, np.where(mask > 0, expected, -math.inf))
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        m(mx.zeros((2, 3, 4)))
    assert nn.ALiBi.create_alibi_matrix(3, 4, 2, 1, mx.float16).shape == (1, 2, 2, 4)
