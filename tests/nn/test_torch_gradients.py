"""Values and gradients, also of parameters, against PyTorch's (see record_torch_gradients.py)."""

import pathlib

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.nn import losses
from mlx.utils import tree_flatten
from nn_samples import arr, close, with_wave_parameters

RECORDED = np.load(pathlib.Path(__file__).parent / "data" / "torch_gradients.npz")
CAUSAL = nn.MultiHeadAttention.create_additive_causal_mask(3)
X, T = arr(4, 5), arr(4, 5, seed=2)
SIGN = mx.sign(arr(4, 5, seed=6))
CLASSES = mx.array([1, 4, 0, 2])
POSITIVE = mx.abs(arr(4, 5, seed=3)) + 0.5
SMALL = {"mlp_dims": 6}


def each(loss, **options):
    return lambda _, *inputs: loss(*inputs, reduction="none", **options)


# Name of the recording: module, inputs, and how it is called where that is not module(*inputs).
ROWS = {
    "linear": (nn.Linear(3, 4), (arr(2, 5, 3),)),
    "bilinear": (nn.Bilinear(3, 4, 5), (arr(2, 3), arr(2, 4, seed=1))),
    "embedding": (nn.Embedding(6, 3), (mx.array([[1, 2, 1], [0, 5, 1]]),)),
    "embedding_as_linear": (nn.Embedding(6, 3), (arr(2, 3),), lambda m, x: m.as_linear(x)),
    "prelu": (nn.PReLU(3), (arr(2, 5, 3, seed=1),)),
    "conv1d": (nn.Conv1d(4, 6, 3, 2, 2, 2, 2), (arr(2, 9, 4),)),
    "conv2d": (nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0)), (arr(2, 6, 7, 3),)),
    "conv3d": (nn.Conv3d(2, 3, (2, 1, 3), 1, (0, 1, 1)), (arr(1, 4, 3, 5, 2),)),
    "conv_transpose1d": (nn.ConvTranspose1d(3, 4, 3, 2, 1), (arr(2, 5, 3),)),
    "conv_transpose2d": (
        nn.ConvTranspose2d(3, 4, (3, 2), 2, output_padding=1),
        (arr(2, 4, 3, 3),),
    ),
    "conv_transpose3d": (nn.ConvTranspose3d(2, 3, (2, 2, 3), 2), (arr(1, 2, 3, 2, 2),)),
    "layer_norm": (nn.LayerNorm(6), (arr(2, 4, 6),)),
    "rms_norm": (nn.RMSNorm(6), (arr(2, 4, 6),)),
    "group_norm": (nn.GroupNorm(3, 6, pytorch_compatible=True), (arr(2, 4, 3, 6),)),
    "instance_norm": (nn.InstanceNorm(3, affine=True), (arr(2, 7, 3),)),
    "batch_norm": (nn.BatchNorm(3, track_running_stats=False), (arr(4, 5, 2, 3),)),
    "avg_pool1d": (nn.AvgPool1d(3, 2, 1), (arr(2, 7, 3),)),
    "max_pool3d": (nn.MaxPool3d(2, (2, 1, 2), (0, 1, 0)), (arr(1, 4, 5, 4, 2),)),
    "upsample_nearest": (nn.Upsample((2, 3)), (arr(2, 4, 5, 2),)),
    "gelu_fast_approx": (nn.GELU("fast"), (arr(3, 6),)),
    "relu2": (nn.ReLU2(), (arr(3, 6),)),
    "rnn": (nn.RNN(3, 4), (arr(2, 5, 3), arr(2, 4, seed=6))),
    "gru": (nn.GRU(3, 4), (arr(2, 5, 3), arr(2, 4, seed=6))),
    "lstm": (
        nn.LSTM(3, 4),
        (arr(2, 5, 3), arr(2, 4, seed=6), arr(2, 4, seed=7)),
        lambda m, *inputs: m(*inputs)[0],
    ),
    "multi_head_attention": (
        nn.MultiHeadAttention(4, 2, bias=True),
        (arr(2, 3, 4), arr(2, 5, 4, seed=1), arr(2, 5, 4, seed=2)),
    ),
    "transformer_encoder": (
        nn.TransformerEncoder(1, 4, 2, 6, norm_first=True),
        (arr(1, 3, 4),),
        lambda m, x: m(x, CAUSAL),
    ),
    "transformer_decoder": (
        nn.TransformerDecoder(1, 4, 2, 6, norm_first=False),
        (arr(1, 3, 4), arr(1, 2, 4, seed=5)),
        lambda m, x, memory: m(x, memory, CAUSAL, None),
    ),
    "transformer": (
        nn.Transformer(4, 2, 1, 1, 6),
        (arr(1, 2, 4), arr(1, 3, 4, seed=4)),
        lambda m, source, target: m(source, target, None, CAUSAL, None),
    ),
    "cross_entropy": (None, (X, CLASSES), each(losses.cross_entropy, label_smoothing=0.1)),
    "cross_entropy_axis": (
        None,
        (arr(2, 5, 3), mx.softmax(arr(2, 5, 3, seed=4), axis=1)),
        each(losses.cross_entropy, axis=1),
    ),
    "binary_cross_entropy": (
        None,
        (X, mx.sigmoid(T), POSITIVE),
        each(losses.binary_cross_entropy),
    ),
    "binary_cross_entropy_of_probabilities": (
        None,
        (mx.sigmoid(X), mx.sigmoid(T)),
        each(losses.binary_cross_entropy, with_logits=False),
    ),
    "l1_loss": (None, (X, T), each(losses.l1_loss)),
    "mse_loss": (None, (X, T), each(losses.mse_loss)),
    "nll_loss": (None, (X, CLASSES), each(losses.nll_loss)),
    "gaussian_nll_loss": (None, (X, T, POSITIVE), each(losses.gaussian_nll_loss, full=True)),
    "kl_div_loss": (None, (X, T), each(losses.kl_div_loss)),
    "smooth_l1_loss": (None, (X, T), each(losses.smooth_l1_loss, beta=0.7)),
    "huber_loss": (None, (X, T), each(losses.huber_loss, delta=0.7)),
    "log_cosh_loss": (None, (X, T), each(losses.log_cosh_loss)),
    "hinge_loss": (None, (X, SIGN), each(losses.hinge_loss)),
    "margin_ranking_loss": (None, (X, T, SIGN), each(losses.margin_ranking_loss, margin=0.2)),
    "cosine_similarity_loss": (None, (X, T), each(losses.cosine_similarity_loss)),
    "triplet_loss": (
        None,
        (X, arr(4, 5, seed=3), arr(4, 5, seed=4)),
        each(losses.triplet_loss, p=3, eps=0),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_values_and_gradients(name):
    module, inputs, *rest = ROWS[name]
    # Not "or": a module without parameters is an empty, hence false, dict.
    module = with_wave_parameters(nn.Identity() if module is None else module)
    call = rest[0] if rest else lambda m, *inputs: m(*inputs)
    y = call(module, *inputs)
    close(y, RECORDED[f"{name}.y"], 2e-5)
    weights = arr(*y.shape, seed=9)
    floating = [i for i, x in enumerate(inputs) if x.dtype == mx.float32]

    def scalar(tree):
        module.update(tree["parameters"])
        given = [tree["inputs"].get(str(i), x) for i, x in enumerate(inputs)]
        return (call(module, *given) * weights).sum()

    by_name = {str(i): inputs[i] for i in floating}
    grads = mx.grad(scalar)({"parameters": module.parameters(), "inputs": by_name})
    grads = dict(tree_flatten(grads["parameters"])) | grads["inputs"]
    recorded = {key for key in RECORDED.files if key.startswith(f"{name}.g.")}
    assert recorded == {f"{name}.g.{key}" for key in grads}
    for key, g in grads.items():
        close(g, RECORDED[f"{name}.g.{key}"], 5e-5)


# What has no counterpart in PyTorch, or no formula, and where it is tested instead.
ELSEWHERE = {
    "Module": "test_module.py",
    "Sequential": "test_layers.py",
    "Identity": "test_layers.py",
    "ALiBi": "test_layers.py, formula",
    "RoPE": "test_layers.py, formula",
    "SinusoidalPositionalEncoding": "test_layers.py, formula",
    "Dropout": "test_layers.py, statistics",
    "Dropout2d": "test_layers.py, statistics",
    "Dropout3d": "test_layers.py, statistics",
    "Step": "test_activations.py",
    "FullyShardedModule": "test_nn_utils.py",
    "AllToShardedLinear": "test_sharded_layers.py",
    "ShardedToAllLinear": "test_sharded_layers.py",
    "QuantizedAllToShardedLinear": "test_sharded_layers.py",
    "QuantizedShardedToAllLinear": "test_sharded_layers.py",
    "QuantizedLinear": "test_quantized_layers.py",
    "QuantizedEmbedding": "test_quantized_layers.py",
    "QQLinear": "test_quantized_layers.py",
}


def test_every_layer_and_loss_is_compared():
    """Layers by the modules and activations of this table and of test_against_torch.py."""
    import test_against_torch as others

    compared = {type(row[0]).__name__ for row in ROWS.values()}
    compared |= {
        type(m).__name__ for row in ROWS.values() if row[0] is not None for m in row[0].modules()
    }
    source = pathlib.Path(others.__file__).read_text()
    functions = set(others.ACTIVATIONS)

    def is_compared(name):
        activation = name.lower() in {f.replace("_", "") for f in functions}
        return name in compared or activation or f"nn.{name}(" in source or name in ELSEWHERE

    classes = [
        name
        for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    ]
    assert len(classes) > 70
    assert not [name for name in classes if not is_compared(name)]
    functions = [
        name
        for name, value in vars(losses).items()
        if callable(value) and value.__module__ == losses.__name__ and name[0] != "_"
    ]
    assert len(functions) == 14 and not [name for name in functions if name not in ROWS]
