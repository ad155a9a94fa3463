"""Writes data/torch_values.json: what PyTorch computes for the cases of test_against_torch.py.

Run by hand, in an environment with torch and numpy: ``python tests/nn/record_torch.py``. Inputs
and parameters are waves, computed alike here and in the tests, so the file holds results only. A
case is a function that returns named tensors; gradients are those of sum(y * wave) with respect to
x.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave64(*shape, seed=0):
    i = np.arange(math.prod(shape), dtype=np.float64)
    return np.sin(1.7 * i + 0.37 * seed + 0.11 * i * i / (1 + i)).reshape(shape)


def rounded(a):
    """The float32 numbers that the tests use, in float64."""
    return torch.tensor(a.astype(np.float32).astype(np.float64))


def wave(*shape, seed=0):
    return rounded(wave64(*shape, seed=seed))


def parameters(**shapes):
    """By name: the waves that with_wave_parameters sets."""
    out = {}
    for i, name in enumerate(sorted(shapes)):
        out[name] = rounded(0.5 * wave64(*shapes[name], seed=i + 1))
    return out


def probe(f, x):
    x = x.clone().requires_grad_()
    y = f(x)
    (y * wave(*y.shape, seed=9)).sum().backward()
    return {"y": y.detach(), "gx": x.grad}


def channels_first(x):
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


def mha_shapes(prefix, dims, bias=False):
    shapes = {}
    for name in ("query_proj", "key_proj", "value_proj", "out_proj"):
        shapes[f"{prefix}{name}.weight"] = (dims, dims)
        if bias:
            shapes[f"{prefix}{name}.bias"] = (dims,)
    return shapes


def causal(n):
    return torch.full((n, n), -math.inf).triu(1)


@case
def multi_head_attention():
    p = parameters(**mha_shapes("", 8, bias=True))
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    names = ("query_proj", "key_proj", "value_proj")
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat([p[f"{n}.weight"] for n in names]))
        module.in_proj_bias.copy_(torch.cat([p[f"{n}.bias"] for n in names]))
        module.out_proj.weight.copy_(p["out_proj.weight"])
        module.out_proj.bias.copy_(p["out_proj.bias"])
    mask = causal(5)
    return probe(lambda x: module(x, x, x, attn_mask=mask, need_weights=False)[0], wave(2, 5, 8))


def encoder_layer(norm_first):
    shapes = mha_shapes("attention.", 8)
    shapes |= {f"ln{i}.{n}": (8,) for i in (1, 2) for n in ("weight", "bias")}
    shapes |= {"linear1.weight": (12, 8), "linear1.bias": (12,)}
    shapes |= {"linear2.weight": (8, 12), "linear2.bias": (8,)}
    p = parameters(**shapes)
    module = torch.nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    state = {
        "self_attn.in_proj_weight": torch.cat(
            [p[f"attention.{n}_proj.weight"] for n in ("query", "key", "value")]
        ),
        "self_attn.in_proj_bias": torch.zeros(24),
        "self_attn.out_proj.weight": p["attention.out_proj.weight"],
        "self_attn.out_proj.bias": torch.zeros(8),
    }
    for i in (1, 2):
        state |= {f"norm{i}.{n}": p[f"ln{i}.{n}"] for n in ("weight", "bias")}
        state |= {f"linear{i}.{n}": p[f"linear{i}.{n}"] for n in ("weight", "bias")}
    module.load_state_dict(state)
    return probe(lambda x: module(x, src_mask=causal(5)), wave(2, 5, 8))


@case
def encoder_layer_norm_first():
    return encoder_layer(True)


@case
def encoder_layer_norm_last():
    return encoder_layer(False)


@case
def decoder_layer():
    shapes = mha_shapes("self_attention.", 8) | mha_shapes("cross_attention.", 8)
    shapes |= {f"ln{i}.{n}": (8,) for i in (1, 2, 3) for n in ("weight", "bias")}
    shapes |= {"linear1.weight": (32, 8), "linear1.bias": (32,)}
    shapes |= {"linear2.weight": (8, 32), "linear2.bias": (8,)}
    p = parameters(**shapes)
    module = torch.nn.TransformerDecoderLayer(
        8, 2, 32, dropout=0.0, batch_first=True, norm_first=True
    )
    state = {}
    for theirs, ours in (("self_attn", "self_attention"), ("multihead_attn", "cross_attention")):
        state |= {
            f"{theirs}.in_proj_weight": torch.cat(
                [p[f"{ours}.{n}_proj.weight"] for n in ("query", "key", "value")]
            ),
            f"{theirs}.in_proj_bias": torch.zeros(24),
            f"{theirs}.out_proj.weight": p[f"{ours}.out_proj.weight"],
            f"{theirs}.out_proj.bias": torch.zeros(8),
        }
    state |= {f"norm{i}.{n}": p[f"ln{i}.{n}"] for i in (1, 2, 3) for n in ("weight", "bias")}
    state |= {f"linear{i}.{n}": p[f"linear{i}.{n}"] for i in (1, 2) for n in ("weight", "bias")}
    module.load_state_dict(state)
    memory = wave(2, 3, 8, seed=5)
    return probe(lambda x: module(x, memory, tgt_mask=causal(5)), wave(2, 5, 8))


@case
def rnn():
    p = parameters(Wxh=(4, 3), Whh=(4, 4), bias=(4,))
    module = torch.nn.RNN(3, 4, batch_first=True)
    module.load_state_dict(
        {
            "weight_ih_l0": p["Wxh"],
            "weight_hh_l0": p["Whh"],
            "bias_ih_l0": p["bias"],
            "bias_hh_l0": torch.zeros(4),
        }
    )
    h = wave(1, 2, 4, seed=6)
    return probe(lambda x: module(x, h)[0], wave(2, 5, 3))


@case
def gru():
    p = parameters(Wx=(12, 3), Wh=(12, 4), b=(12,), bhn=(4,))
    module = torch.nn.GRU(3, 4, batch_first=True)
    module.load_state_dict(
        {
            "weight_ih_l0": p["Wx"],
            "weight_hh_l0": p["Wh"],
            "bias_ih_l0": p["b"],
            "bias_hh_l0": torch.cat([torch.zeros(8), p["bhn"]]),
        }
    )
    h = wave(1, 2, 4, seed=6)
    return probe(lambda x: module(x, h)[0], wave(2, 5, 3))


@case
def lstm():
    p = parameters(Wx=(16, 3), Wh=(16, 4), bias=(16,))
    module = torch.nn.LSTM(3, 4, batch_first=True)
    module.load_state_dict(
        {
            "weight_ih_l0": p["Wx"],
            "weight_hh_l0": p["Wh"],
            "bias_ih_l0": p["bias"],
            "bias_hh_l0": torch.zeros(16),
        }
    )
    h, c = wave(1, 2, 4, seed=6), wave(1, 2, 4, seed=7)
    out = probe(lambda x: module(x, (h, c))[0], wave(2, 5, 3))
    out["last_cell"] = module(wave(2, 5, 3), (h, c))[1][1][0].detach()
    return out


def conv(function, x, weight_shape, **options):
    p = parameters(weight=weight_shape, bias=weight_shape[:1])
    w = channels_first(p["weight"])
    if "transpose" in function.__name__:
        w = w.swapaxes(0, 1)
    return probe(lambda x: channels_last(function(channels_first(x), w, p["bias"], **options)), x)


@case
def conv1d():
    x = wave(2, 9, 4)
    return conv(F.conv1d, x, (6, 3, 2), stride=2, padding=2, dilation=2, groups=2)


@case
def conv2d():
    x = wave(2, 6, 7, 3)
    return conv(F.conv2d, x, (4, 3, 2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2))


@case
def conv3d():
    return conv(F.conv3d, wave(1, 4, 3, 5, 2), (3, 2, 1, 3, 2), padding=(0, 1, 1), stride=(1, 2, 1))


@case
def conv_transpose1d():
    x = wave(2, 5, 3)
    return conv(F.conv_transpose1d, x, (4, 3, 3), stride=2, padding=1, output_padding=1)


@case
def conv_transpose2d():
    options = {
        "stride": (2, 3),
        "padding": (1, 0),
        "dilation": (1, 2),
        "output_padding": (1, 0),
    }
    return conv(F.conv_transpose2d, wave(2, 4, 3, 3), (4, 3, 2, 3), **options)


@case
def conv_transpose3d():
    return conv(F.conv_transpose3d, wave(1, 2, 3, 2, 2), (3, 2, 2, 3, 2), stride=2)


@case
def batch_norm():
    p = parameters(weight=(3,), bias=(3,), running_mean=(3,), running_var=(3,))
    mean, var = p["running_mean"].clone(), p["running_var"].abs() + 0.5
    out = probe(
        lambda x: channels_last(
            F.batch_norm(
                channels_first(x), mean, var, p["weight"], p["bias"], training=True, momentum=0.3
            )
        ),
        wave(4, 5, 2, 3),
    )
    out |= {"mean": mean, "var": var}
    x = channels_first(wave(4, 5, 2, 3, seed=3))
    out["eval"] = channels_last(F.batch_norm(x, mean, var, p["weight"], p["bias"]))
    return out


@case
def group_norm():
    p = parameters(weight=(6,), bias=(6,))
    return probe(
        lambda x: channels_last(F.group_norm(channels_first(x), 3, p["weight"], p["bias"])),
        wave(2, 4, 3, 6),
    )


@case
def instance_norm():
    p = parameters(weight=(3,), bias=(3,))
    return probe(
        lambda x: channels_last(
            F.instance_norm(channels_first(x), weight=p["weight"], bias=p["bias"])
        ),
        wave(2, 7, 3),
    )


@case
def layer_norm():
    p = parameters(weight=(6,), bias=(6,))
    return probe(lambda x: F.layer_norm(x, (6,), p["weight"], p["bias"]), wave(2, 4, 6))


@case
def rms_norm():
    p = parameters(weight=(6,))
    return probe(lambda x: F.rms_norm(x, (6,), p["weight"], 1e-5), wave(2, 4, 6))


def pool(function, x, *args, **options):
    return probe(lambda x: channels_last(function(channels_first(x), *args, **options)), x)


@case
def max_pool2d():
    return pool(F.max_pool2d, wave(2, 7, 6, 2), (3, 2), (2, 1), (1, 1))


@case
def avg_pool2d():
    return pool(F.avg_pool2d, wave(2, 7, 6, 2), (3, 2), (2, 1), (1, 1))


@case
def max_pool1d():
    return pool(F.max_pool1d, wave(2, 7, 2), 2)


@case
def avg_pool3d():
    return pool(F.avg_pool3d, wave(1, 4, 5, 4, 2), 2)


def resample(x, **options):
    return pool(F.interpolate, x, **options)


@case
def upsample_linear():
    return resample(wave(2, 4, 5, 2), scale_factor=2, mode="bilinear")


@case
def upsample_linear_aligned():
    return resample(wave(2, 4, 5, 2), scale_factor=3, mode="bilinear", align_corners=True)


@case
def upsample_cubic():
    return resample(wave(2, 4, 5, 2), scale_factor=2, mode="bicubic")


@case
def upsample_cubic_aligned():
    return resample(wave(2, 4, 5, 2), scale_factor=2, mode="bicubic", align_corners=True)


@case
def downsample_linear_antialiased():
    return resample(wave(2, 8, 6, 2), scale_factor=0.5, mode="bilinear", antialias=True)


@case
def downsample_cubic_antialiased():
    return resample(wave(2, 8, 6, 2), scale_factor=0.5, mode="bicubic", antialias=True)


@case
def losses():
    x, t = wave(4, 5), wave(4, 5, seed=2)
    classes = torch.tensor([1, 4, 0, 2])
    p = torch.softmax(t, -1)
    sign = torch.sign(t)
    a, b, c = wave(4, 5, seed=3), wave(4, 5, seed=4), wave(4, 5, seed=5)
    functions = {
        "cross_entropy": lambda x: F.cross_entropy(x, classes, reduction="none"),
        "cross_entropy_smooth": lambda x: F.cross_entropy(
            x, classes, reduction="none", label_smoothing=0.2
        ),
        "cross_entropy_soft": lambda x: F.cross_entropy(x, p * 1.5, reduction="none"),
        "cross_entropy_soft_smooth": lambda x: F.cross_entropy(
            x, p, reduction="none", label_smoothing=0.2
        ),
        "binary_cross_entropy_logits": lambda x: F.binary_cross_entropy_with_logits(
            x, p, reduction="none"
        ),
        "binary_cross_entropy": lambda x: F.binary_cross_entropy(
            torch.sigmoid(x), p, reduction="none"
        ),
        "l1": lambda x: F.l1_loss(x, t, reduction="none"),
        "mse": lambda x: F.mse_loss(x, t),
        "nll": lambda x: F.nll_loss(torch.log_softmax(x, -1), classes, reduction="none"),
        "gaussian_nll": lambda x: F.gaussian_nll_loss(x, t, p, full=True, reduction="none"),
        "kl_div": lambda x: F.kl_div(
            torch.log_softmax(x, -1), torch.log(p), log_target=True, reduction="none"
        ).sum(-1),
        "smooth_l1": lambda x: F.smooth_l1_loss(x, t, beta=0.7, reduction="none"),
        "huber": lambda x: F.huber_loss(x, t, delta=0.7, reduction="none"),
        "margin_ranking": lambda x: F.margin_ranking_loss(x, t, sign, margin=0.2, reduction="none"),
        "cosine": lambda x: F.cosine_similarity(x, t, dim=1),
    }
    out = {}
    for name, f in functions.items():
        result = probe(f, x)
        out[f"{name}.y"], out[f"{name}.gx"] = result["y"], result["gx"]
    out["hinge.y"] = F.relu(1 - x * sign)
    out["triplet.y"] = F.triplet_margin_loss(a, b, c, eps=0, reduction="none")
    out["triplet3.y"] = F.triplet_margin_loss(a, b, c, p=3, eps=0, reduction="none")
    return out


@case
def activations():
    x = torch.cat([5 * wave(40, seed=1), torch.tensor([-90.0, -20.0, 20.0, 90.0])])
    functions = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": F.relu,
        "relu6": F.relu6,
        "leaky_relu": F.leaky_relu,
        "elu": lambda x: F.elu(x, 1.3),
        "celu": lambda x: F.celu(x, 1.3),
        "selu": F.selu,
        "silu": F.silu,
        "mish": F.mish,
        "gelu": F.gelu,
        "gelu_approx": lambda x: F.gelu(x, approximate="tanh"),
        "glu": F.glu,
        "softplus": F.softplus,
        "softsign": F.softsign,
        "softshrink": F.softshrink,
        "hard_shrink": F.hardshrink,
        "hard_tanh": F.hardtanh,
        "hardswish": F.hardswish,
        "softmax": lambda x: F.softmax(x, -1),
        "softmin": lambda x: F.softmin(x, -1),
        "log_softmax": lambda x: F.log_softmax(x, -1),
        "log_sigmoid": F.logsigmoid,
    }
    out = {}
    for name, f in functions.items():
        result = probe(f, x)
        out[f"{name}.y"], out[f"{name}.gx"] = result["y"], result["gx"]
    return out


def main():
    values = {}
    for name, f in CASES.items():
        values[name] = {
            key: {"shape": list(t.shape), "values": [float(f"{v:.8g}") for v in t.flatten()]}
            for key, t in f().items()
        }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()]
    path = pathlib.Path(__file__).parent / "data" / "torch_values.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, path.stat().st_size, "bytes, torch", torch.__version__)


if __name__ == "__main__":
    main()
