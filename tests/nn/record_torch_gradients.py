"""Writes data/torch_gradients.npz: PyTorch's values and gradients for test_torch_gradients.py.

Run by hand, in an environment with torch and numpy: ``python tests/nn/record_torch_gradients.py``.
A row is named parameters (as our layer names them), inputs, and a function of both; recorded are
its value y and the gradients of sum(y * wave) with respect to every parameter and floating input.
Parameters and inputs are waves, computed alike here and in the tests.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from record_torch import causal, channels_first, channels_last, mha_shapes, parameters, wave
from torch.func import functional_call

ROWS = {}


def row(shapes, *inputs):
    """Registers ``f(p, *inputs)``."""

    def register(f):
        ROWS[f.__name__] = (shapes, inputs, f)
        return f

    return register


# ---- layers


@row({"weight": (4, 3), "bias": (4,)}, wave(2, 5, 3))
def linear(p, x):
    return F.linear(x, p["weight"], p["bias"])


@row({"weight": (5, 4, 3), "bias": (5,)}, wave(2, 3), wave(2, 4, seed=1))
def bilinear(p, a, b):
    return F.bilinear(a, b, p["weight"].swapaxes(1, 2), p["bias"])


@row({"weight": (6, 3)}, torch.tensor([[1, 2, 1], [0, 5, 1]]))
def embedding(p, rows):
    return F.embedding(rows, p["weight"])


@row({"weight": (6, 3)}, wave(2, 3))
def embedding_as_linear(p, x):
    return x @ p["weight"].T


@row({"weight": (3,)}, wave(2, 5, 3, seed=1))  # nowhere 0
def prelu(p, x):
    return channels_last(F.prelu(channels_first(x), p["weight"]))


def convolution(function, name, weight, x, **options):
    def f(p, x):
        w = channels_first(p["weight"])
        if "transpose" in name:
            w = w.swapaxes(0, 1)
        return channels_last(function(channels_first(x), w, p["bias"], **options))

    ROWS[name] = ({"weight": weight, "bias": weight[:1]}, (x,), f)


convolution(F.conv1d, "conv1d", (6, 3, 2), wave(2, 9, 4), stride=2, padding=2, dilation=2, groups=2)
convolution(F.conv2d, "conv2d", (4, 3, 2, 3), wave(2, 6, 7, 3), stride=(2, 1), padding=(1, 0))
convolution(F.conv3d, "conv3d", (3, 2, 1, 3, 2), wave(1, 4, 3, 5, 2), padding=(0, 1, 1))
convolution(F.conv_transpose1d, "conv_transpose1d", (4, 3, 3), wave(2, 5, 3), stride=2, padding=1)
convolution(
    F.conv_transpose2d,
    "conv_transpose2d",
    (4, 3, 2, 3),
    wave(2, 4, 3, 3),
    output_padding=1,
    stride=2,
)
convolution(F.conv_transpose3d, "conv_transpose3d", (3, 2, 2, 3, 2), wave(1, 2, 3, 2, 2), stride=2)


@row({"weight": (6,), "bias": (6,)}, wave(2, 4, 6))
def layer_norm(p, x):
    return F.layer_norm(x, (6,), p["weight"], p["bias"])


@row({"weight": (6,)}, wave(2, 4, 6))
def rms_norm(p, x):
    return F.rms_norm(x, (6,), p["weight"], 1e-5)


@row({"weight": (6,), "bias": (6,)}, wave(2, 4, 3, 6))
def group_norm(p, x):
    return channels_last(F.group_norm(channels_first(x), 3, p["weight"], p["bias"]))


@row({"weight": (3,), "bias": (3,)}, wave(2, 7, 3))
def instance_norm(p, x):
    return channels_last(F.instance_norm(channels_first(x), weight=p["weight"], bias=p["bias"]))


@row({"weight": (3,), "bias": (3,)}, wave(4, 5, 2, 3))
def batch_norm(p, x):
    y = F.batch_norm(channels_first(x), None, None, p["weight"], p["bias"], training=True)
    return channels_last(y)


@row({}, wave(2, 7, 3))
def avg_pool1d(p, x):
    return channels_last(F.avg_pool1d(channels_first(x), 3, 2, 1))


@row({}, wave(1, 4, 5, 4, 2))
def max_pool3d(p, x):
    return channels_last(F.max_pool3d(channels_first(x), 2, (2, 1, 2), (0, 1, 0)))


@row({}, wave(2, 4, 5, 2))
def upsample_nearest(p, x):
    return channels_last(F.interpolate(channels_first(x), scale_factor=(2, 3), mode="nearest"))


@row({}, wave(3, 6))
def gelu_fast_approx(p, x):
    return x * torch.sigmoid(1.702 * x)


@row({}, wave(3, 6))
def relu2(p, x):
    return F.relu(x).square()


# ---- recurrent layers and transformers


@row({"Wxh": (4, 3), "Whh": (4, 4), "bias": (4,)}, wave(2, 5, 3), wave(2, 4, seed=6))
def rnn(p, x, h):
    names = {"weight_ih_l0": p["Wxh"], "weight_hh_l0": p["Whh"], "bias_ih_l0": p["bias"]}
    names["bias_hh_l0"] = torch.zeros(4)
    return functional_call(torch.nn.RNN(3, 4, batch_first=True), names, (x, h[None]))[0]


@row({"Wx": (12, 3), "Wh": (12, 4), "b": (12,), "bhn": (4,)}, wave(2, 5, 3), wave(2, 4, seed=6))
def gru(p, x, h):
    names = {"weight_ih_l0": p["Wx"], "weight_hh_l0": p["Wh"], "bias_ih_l0": p["b"]}
    names["bias_hh_l0"] = torch.cat([torch.zeros(8), p["bhn"]])
    return functional_call(torch.nn.GRU(3, 4, batch_first=True), names, (x, h[None]))[0]


@row(
    {"Wx": (16, 3), "Wh": (16, 4), "bias": (16,)},
    wave(2, 5, 3),
    wave(2, 4, seed=6),
    wave(2, 4, seed=7),
)
def lstm(p, x, h, c):
    names = {"weight_ih_l0": p["Wx"], "weight_hh_l0": p["Wh"], "bias_ih_l0": p["bias"]}
    names["bias_hh_l0"] = torch.zeros(16)
    module = torch.nn.LSTM(3, 4, batch_first=True)
    return functional_call(module, names, (x, (h[None], c[None])))[0]


def attention(p, ours, theirs, bias=False):
    names = [f"{ours}{n}_proj" for n in ("query", "key", "value")]
    dims = p[f"{names[0]}.weight"].shape[0]
    biases = [p[f"{n}.bias"] if bias else torch.zeros(dims) for n in names]
    return {
        f"{theirs}in_proj_weight": torch.cat([p[f"{n}.weight"] for n in names]),
        f"{theirs}in_proj_bias": torch.cat(biases),
        f"{theirs}out_proj.weight": p[f"{ours}out_proj.weight"],
        f"{theirs}out_proj.bias": p[f"{ours}out_proj.bias"] if bias else torch.zeros(dims),
    }


def same_names(p, ours, theirs, pairs):
    return {f"{theirs}{b}.{n}": p[f"{ours}{a}.{n}"] for a, b in pairs for n in ("weight", "bias")}


def encoder_names(p, ours, theirs):
    pairs = [("ln1", "norm1"), ("ln2", "norm2"), ("linear1", "linear1"), ("linear2", "linear2")]
    return attention(p, f"{ours}attention.", f"{theirs}self_attn.") | same_names(
        p, ours, theirs, pairs
    )


def decoder_names(p, ours, theirs):
    pairs = [("ln1", "norm1"), ("ln2", "norm2"), ("ln3", "norm3")]
    pairs += [("linear1", "linear1"), ("linear2", "linear2")]
    names = attention(p, f"{ours}self_attention.", f"{theirs}self_attn.")
    names |= attention(p, f"{ours}cross_attention.", f"{theirs}multihead_attn.")
    return names | same_names(p, ours, theirs, pairs)


def encoder_shapes(prefix, dims, hidden):
    shapes = mha_shapes(f"{prefix}attention.", dims)
    shapes |= {f"{prefix}ln{i}.{n}": (dims,) for i in (1, 2) for n in ("weight", "bias")}
    shapes |= {f"{prefix}linear1.weight": (hidden, dims), f"{prefix}linear1.bias": (hidden,)}
    return shapes | {f"{prefix}linear2.weight": (dims, hidden), f"{prefix}linear2.bias": (dims,)}


def decoder_shapes(prefix, dims, hidden):
    shapes = encoder_shapes(prefix, dims, hidden)
    shapes = {k: v for k, v in shapes.items() if "attention" not in k}
    shapes |= {f"{prefix}ln3.{n}": (dims,) for n in ("weight", "bias")}
    shapes |= mha_shapes(f"{prefix}self_attention.", dims)
    return shapes | mha_shapes(f"{prefix}cross_attention.", dims)


NORM = {"ln.weight": (4,), "ln.bias": (4,)}


@row(mha_shapes("", 4, bias=True), wave(2, 3, 4), wave(2, 5, 4, seed=1), wave(2, 5, 4, seed=2))
def multi_head_attention(p, q, k, v):
    module = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    return functional_call(module, attention(p, "", "", True), (q, k, v))[0]


@row(encoder_shapes("layers.0.", 4, 6) | NORM, wave(1, 3, 4))
def transformer_encoder(p, x):
    layer = torch.nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True, norm_first=True)
    module = torch.nn.TransformerEncoder(layer, 1, torch.nn.LayerNorm(4), False)
    names = encoder_names(p, "layers.0.", "layers.0.") | same_names(p, "", "", [("ln", "norm")])
    return functional_call(module, names, (x,), {"mask": causal(3)})


@row(decoder_shapes("layers.0.", 4, 6) | NORM, wave(1, 3, 4), wave(1, 2, 4, seed=5))
def transformer_decoder(p, x, memory):
    layer = torch.nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True, norm_first=False)
    module = torch.nn.TransformerDecoder(layer, 1, torch.nn.LayerNorm(4))
    names = decoder_names(p, "layers.0.", "layers.0.") | same_names(p, "", "", [("ln", "norm")])
    return functional_call(module, names, (x, memory), {"tgt_mask": causal(3)})


def whole_shapes():
    parts = {"encoder": encoder_shapes, "decoder": decoder_shapes}
    shapes = {}
    for part, make in parts.items():
        shapes |= make(f"{part}.layers.0.", 4, 6)
        shapes |= {f"{part}.{k}": v for k, v in NORM.items()}
    return shapes


@row(whole_shapes(), wave(1, 2, 4), wave(1, 3, 4, seed=4))
def transformer(p, source, target):
    module = torch.nn.Transformer(4, 2, 1, 1, 6, 0.0, batch_first=True, norm_first=True)
    names = encoder_names(p, "encoder.layers.0.", "encoder.layers.0.")
    names |= decoder_names(p, "decoder.layers.0.", "decoder.layers.0.")
    pairs = [("encoder.ln", "encoder.norm"), ("decoder.ln", "decoder.norm")]
    names |= same_names(p, "", "", pairs)
    return functional_call(module, names, (source, target), {"tgt_mask": causal(3)})


# ---- losses: gradients by everything that may have one


X, T = wave(4, 5), wave(4, 5, seed=2)
SIGN = torch.sign(wave(4, 5, seed=6))
CLASSES = torch.tensor([1, 4, 0, 2])
POSITIVE = wave(4, 5, seed=3).abs() + 0.5


@row({}, X, CLASSES)
def cross_entropy(p, x, t):
    return F.cross_entropy(x, t, reduction="none", label_smoothing=0.1)


@row({}, wave(2, 5, 3), torch.softmax(wave(2, 5, 3, seed=4), 1))
def cross_entropy_axis(p, x, t):
    return F.cross_entropy(x, t, reduction="none")


@row({}, X, torch.sigmoid(T), POSITIVE)
def binary_cross_entropy(p, x, t, w):
    return w * F.binary_cross_entropy_with_logits(x, t, reduction="none")


@row({}, torch.sigmoid(X), torch.sigmoid(T))
def binary_cross_entropy_of_probabilities(p, x, t):
    return F.binary_cross_entropy(x, t, reduction="none")


@row({}, X, T)
def l1_loss(p, x, t):
    return F.l1_loss(x, t, reduction="none")


@row({}, X, T)
def mse_loss(p, x, t):
    return F.mse_loss(x, t, reduction="none")


@row({}, X, CLASSES)
def nll_loss(p, x, t):
    return F.nll_loss(x, t, reduction="none")


@row({}, X, T, POSITIVE)
def gaussian_nll_loss(p, x, t, v):
    return F.gaussian_nll_loss(x, t, v, full=True, reduction="none")


@row({}, X, T)
def kl_div_loss(p, x, t):
    return F.kl_div(x, t, log_target=True, reduction="none").sum(-1)


@row({}, X, T)
def smooth_l1_loss(p, x, t):
    return F.smooth_l1_loss(x, t, beta=0.7, reduction="none")


@row({}, X, T)
def huber_loss(p, x, t):
    return F.huber_loss(x, t, delta=0.7, reduction="none")


@row({}, X, T)
def log_cosh_loss(p, x, t):
    return torch.log(torch.cosh(x - t))


@row({}, X, SIGN)
def hinge_loss(p, x, t):
    return F.relu(1 - x * t)


@row({}, X, T, SIGN)
def margin_ranking_loss(p, a, b, t):
    return F.relu(0.2 - t * (a - b))


@row({}, X, T)
def cosine_similarity_loss(p, a, b):
    return F.cosine_similarity(a, b, dim=1)


@row({}, X, wave(4, 5, seed=3), wave(4, 5, seed=4))
def triplet_loss(p, a, b, c):
    return F.triplet_margin_loss(a, b, c, p=3, eps=0, reduction="none")


def record(shapes, inputs, f):
    p = {k: t.requires_grad_() for k, t in parameters(**shapes).items()}
    inputs = [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]
    y = f(p, *inputs)
    (y * wave(*y.shape, seed=9)).sum().backward()
    out = {"y": y.detach()}
    out |= {f"g.{k}": t.grad for k, t in p.items()}
    return out | {f"g.{i}": t.grad for i, t in enumerate(inputs) if t.requires_grad}


def main():
    arrays = {}
    for name, (shapes, inputs, f) in ROWS.items():
        for key, t in record(shapes, inputs, f).items():
            arrays[f"{name}.{key}"] = t.numpy().astype(np.float32)
    path = pathlib.Path(__file__).parent / "data" / "torch_gradients.npz"
    np.savez_compressed(path, **arrays)
    print(path, path.stat().st_size, "bytes,", len(arrays), "arrays, torch", torch.__version__)


if __name__ == "__main__":
    main()
