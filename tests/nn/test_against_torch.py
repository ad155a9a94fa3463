"""Values and gradients against those recorded from PyTorch in float64 (see record_torch.py)."""

import json
import pathlib

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.nn import losses
from nn_samples import arr, close, with_wave_parameters

RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "torch_values.json").read_text())


def recorded(case, key):
    entry = RECORDED[case][key]
    return np.array(entry["values"]).reshape(entry["shape"])


def probe(f, x):
    """f(x), and the gradient of sum(f(x) * wave)."""

    def scalar(x):
        y = f(x)
        return (y * arr(*y.shape, seed=9)).sum()

    return f(x), mx.grad(scalar)(x)


def check(case, f, x, prefix="", tolerance=2e-5):
    y, gx = probe(f, x)
    close(y, recorded(case, f"{prefix}y"), tolerance)
    if f"{prefix}gx" in RECORDED[case]:
        close(gx, recorded(case, f"{prefix}gx"), tolerance)


def causal(n):
    return nn.MultiHeadAttention.create_additive_causal_mask(n)


@pytest.mark.parametrize("mask", ["additive", "boolean", "causal"])
def test_multi_head_attention(mask):
    m = with_wave_parameters(nn.MultiHeadAttention(8, 2, bias=True))
    mask = {"additive": causal(5), "boolean": mx.tri(5).astype(mx.bool_), "causal": "causal"}[mask]
    check("multi_head_attention", lambda x: m(x, x, x, mask), arr(2, 5, 8))


@pytest.mark.parametrize("first", [True, False])
def test_encoder_layer(first):
    m = with_wave_parameters(nn.TransformerEncoderLayer(8, 2, 12, norm_first=first))
    case = "encoder_layer_norm_first" if first else "encoder_layer_norm_last"
    check(case, lambda x: m(x, causal(5)), arr(2, 5, 8), tolerance=1e-4)


def test_decoder_layer():
    m = with_wave_parameters(nn.TransformerDecoderLayer(8, 2))
    memory = arr(2, 3, 8, seed=5)
    f = lambda x: m(x, memory, causal(5), None)  # noqa: E731
    check("decoder_layer", f, arr(2, 5, 8), tolerance=1e-4)


def test_rnn():
    m = with_wave_parameters(nn.RNN(3, 4))
    check("rnn", lambda x: m(x, arr(2, 4, seed=6)), arr(2, 5, 3))


def test_gru():
    m = with_wave_parameters(nn.GRU(3, 4))
    check("gru", lambda x: m(x, arr(2, 4, seed=6)), arr(2, 5, 3))


def test_lstm():
    m = with_wave_parameters(nn.LSTM(3, 4))
    h, c = arr(2, 4, seed=6), arr(2, 4, seed=7)
    check("lstm", lambda x: m(x, h, c)[0], arr(2, 5, 3))
    close(m(arr(2, 5, 3), h, c)[1][:, -1], recorded("lstm", "last_cell"))


@pytest.mark.parametrize(
    "case, module, shape",
    [
        ("conv1d", nn.Conv1d(4, 6, 3, 2, 2, 2, 2), (2, 9, 4)),
        ("conv2d", nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), (1, 2)), (2, 6, 7, 3)),
        ("conv3d", nn.Conv3d(2, 3, (2, 1, 3), (1, 2, 1), (0, 1, 1)), (1, 4, 3, 5, 2)),
        ("conv_transpose1d", nn.ConvTranspose1d(3, 4, 3, 2, 1, 1, 1), (2, 5, 3)),
        (
            "conv_transpose2d",
            nn.ConvTranspose2d(3, 4, (3, 2), (2, 3), (1, 0), (1, 2), (1, 0)),
            (2, 4, 3, 3),
        ),
        ("conv_transpose3d", nn.ConvTranspose3d(2, 3, (2, 2, 3), 2), (1, 2, 3, 2, 2)),
        ("group_norm", nn.GroupNorm(3, 6, pytorch_compatible=True), (2, 4, 3, 6)),
        ("instance_norm", nn.InstanceNorm(3, affine=True), (2, 7, 3)),
        ("layer_norm", nn.LayerNorm(6), (2, 4, 6)),
        ("rms_norm", nn.RMSNorm(6), (2, 4, 6)),
        ("max_pool2d", nn.MaxPool2d((3, 2), (2, 1), (1, 1)), (2, 7, 6, 2)),
        ("avg_pool2d", nn.AvgPool2d((3, 2), (2, 1), (1, 1)), (2, 7, 6, 2)),
        ("max_pool1d", nn.MaxPool1d(2), (2, 7, 2)),
        ("avg_pool3d", nn.AvgPool3d(2), (1, 4, 5, 4, 2)),
        ("upsample_linear", nn.Upsample(2, "linear"), (2, 4, 5, 2)),
        ("upsample_linear_aligned", nn.Upsample(3, "linear", True), (2, 4, 5, 2)),
        ("upsample_cubic", nn.Upsample(2, "cubic"), (2, 4, 5, 2)),
        ("upsample_cubic_aligned", nn.Upsample((2, 2), "cubic", True), (2, 4, 5, 2)),
        (
            "downsample_linear_antialiased",
            nn.Upsample(0.5, "linear", antialias=True),
            (2, 8, 6, 2),
        ),
        ("downsample_cubic_antialiased", nn.Upsample(0.5, "cubic", antialias=True), (2, 8, 6, 2)),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_layer(case, module, shape):
    check(case, with_wave_parameters(module), arr(*shape), tolerance=5e-5)


def test_batch_norm():
    m = with_wave_parameters(nn.BatchNorm(3, momentum=0.3))
    m.running_var = mx.abs(m.running_var) + 0.5
    start = m.running_mean, m.running_var
    x = arr(4, 5, 2, 3)
    check("batch_norm", m, x, tolerance=5e-5)
    m.running_mean, m.running_var = start
    m(x)
    close(m.running_mean, recorded("batch_norm", "mean"))
    close(m.running_var, recorded("batch_norm", "var"))
    m.eval()
    close(m(arr(4, 5, 2, 3, seed=3)), recorded("batch_norm", "eval"))
    close(m.running_mean, recorded("batch_norm", "mean"))


T = arr(4, 5, seed=2)
P = mx.softmax(T, axis=-1)
CLASSES = mx.array([1, 4, 0, 2])
SIGN = mx.sign(T)
LOSSES = {
    "cross_entropy": lambda x: losses.cross_entropy(x, CLASSES),
    "cross_entropy_smooth": lambda x: losses.cross_entropy(x, CLASSES, label_smoothing=0.2),
    "cross_entropy_soft": lambda x: losses.cross_entropy(x, P * 1.5),
    "cross_entropy_soft_smooth": lambda x: losses.cross_entropy(x, P, label_smoothing=0.2),
    "binary_cross_entropy_logits": lambda x: losses.binary_cross_entropy(x, P, reduction="none"),
    "binary_cross_entropy": lambda x: losses.binary_cross_entropy(
        mx.sigmoid(x), P, with_logits=False, reduction="none"
    ),
    "l1": lambda x: losses.l1_loss(x, T, reduction="none"),
    "mse": lambda x: losses.mse_loss(x, T),
    "nll": lambda x: losses.nll_loss(nn.log_softmax(x), CLASSES),
    "gaussian_nll": lambda x: losses.gaussian_nll_loss(x, T, P, full=True, reduction="none"),
    "kl_div": lambda x: losses.kl_div_loss(nn.log_softmax(x), mx.log(P)),
    "smooth_l1": lambda x: losses.smooth_l1_loss(x, T, beta=0.7, reduction="none"),
    "huber": lambda x: losses.huber_loss(x, T, delta=0.7),
    "margin_ranking": lambda x: losses.margin_ranking_loss(x, T, SIGN, margin=0.2),
    "cosine": lambda x: losses.cosine_similarity_loss(x, T),
    "hinge": lambda x: losses.hinge_loss(x, SIGN),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name):
    check("losses", LOSSES[name], arr(4, 5), f"{name}.")


def test_triplet_loss():
    a, b, c = (arr(4, 5, seed=seed) for seed in (3, 4, 5))
    close(losses.triplet_loss(a, b, c, eps=0), recorded("losses", "triplet.y"))
    close(losses.triplet_loss(a, b, c, p=3, eps=0), recorded("losses", "triplet3.y"))


ACTIVATIONS = [key.removesuffix(".y") for key in RECORDED["activations"] if key.endswith(".y")]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    extra = {"elu": (1.3,), "celu": (1.3,)}.get(name, ())
    x = mx.concatenate([5 * arr(40, seed=1), mx.array([-90.0, -20.0, 20.0, 90.0])])
    check("activations", lambda x: getattr(nn, name)(x, *extra), x, f"{name}.")
