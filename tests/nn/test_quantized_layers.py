"""Quantized layers against the layers with the unpacked weights."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, close, names, quantization

pytestmark = quantization

MODES = [("affine", 64, 4), ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]


def unpacked(m):
    options = {"group_size": m.group_size, "bits": m.bits, "mode": m.mode}
    w = mx.dequantize(m.weight, m.scales, m.biases, **options)
    return np.array(w.astype(mx.float32)).astype("f8")


@pytest.mark.parametrize("mode, group_size, bits", MODES)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(mode, group_size, bits, bias):
    linear = nn.Linear(128, 32, bias=bias)
    m = linear.to_quantized(mode=mode)
    assert isinstance(m, nn.QuantizedLinear)
    assert (m.group_size, m.bits, m.mode) == (group_size, bits, mode)
    w = unpacked(m)
    assert np.abs(w - np.array(linear.weight)).max() < 0.2 * np.abs(np.array(linear.weight)).max()
    x = arr(3, 128)
    expected = np.array(x).astype("f8") @ w.T
    close(m(x), expected + (np.array(linear.bias) if bias else 0), 1e-4)
    assert repr(m) == (
        f"QuantizedLinear(input_dims=128, output_dims=32, bias={bias}, "
        f"group_size={group_size}, bits={bits}, mode={mode})"
    )
    assert (m.biases is None) == (mode != "affine")


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_bits(bits):
    m = nn.QuantizedLinear(128, 8, group_size=32, bits=bits)
    assert f"input_dims=128, output_dims=8, bias=True, group_size=32, bits={bits}" in repr(m)
    x = arr(2, 128)
    close(m(x), np.array(x).astype("f8") @ unpacked(m).T, 1e-4)


@pytest.mark.parametrize("mode, group_size, bits", MODES)
def test_embedding(mode, group_size, bits):
    m = nn.Embedding(10, 64).to_quantized(mode=mode)
    w = unpacked(m)
    close(m(mx.array([[3, 1], [9, 0]])), w[[[3, 1], [9, 0]]], 1e-3)
    close(m(mx.array(2)), w[2], 1e-3)
    x = arr(3, 64)
    close(m.as_linear(x), np.array(x).astype("f8") @ w.T, 1e-4)
    assert repr(m) == (
        f"QuantizedEmbedding(10, 64, group_size={group_size}, bits={bits}, mode={mode})"
    )
    assert repr(nn.QuantizedEmbedding(10, 64, mode=mode)) == repr(m)


def test_frozen_state_is_carried_over():
    m = nn.Linear(64, 8)
    assert names(m.to_quantized().trainable_parameters()) == ["bias"]
    assert names(m.freeze(keys="bias").to_quantized().trainable_parameters()) == []
    assert names(nn.QuantizedLinear(64, 8).trainable_parameters()) == []
    assert names(nn.QuantizedEmbedding(4, 64).trainable_parameters()) == []
    assert not m.eval().to_quantized().training


def test_gradients():
    m = nn.Sequential(nn.Linear(64, 8).to_quantized(), nn.Linear(8, 2))
    x = arr(3, 64)
    _, g = nn.value_and_grad(m, lambda x: m(x).sum())(x)
    assert names(g) == ["layers.0.bias", "layers.1.weight", "layers.1.bias"]
    gx = mx.grad(lambda x: m(x).sum())(x)
    w = np.array(m.layers[1].weight).astype("f8") @ unpacked(m.layers[0])
    close(gx, np.tile(w.sum(0), (3, 1)), 1e-4)


def test_quantize_a_model():
    m = nn.Sequential(
        nn.Embedding(6, 64), nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32)), nn.Conv1d(1, 1, 1)
    )
    x = mx.array([0, 5])
    before = m.layers[1](m.layers[0](x))
    assert nn.quantize(m, group_size=32, bits=8) is None
    kinds = [type(module).__name__ for module in m.modules()]
    assert sorted(kinds) == sorted(
        ["Sequential", "Sequential", "Conv1d", "LayerNorm", "QuantizedLinear", "QuantizedEmbedding"]
    )
    assert mx.abs(m.layers[1](m.layers[0](x)) - before).max() < 0.1
    nn.quantize(m)  # nothing is left to do
    assert m.layers[0].bits == 8


def test_quantize_what_the_predicate_wants():
    m = nn.Sequential(nn.Linear(64, 64), nn.Embedding(4, 64), nn.Linear(64, 64))
    seen = []

    def predicate(path, module):
        seen.append(path)
        if path == "layers.1":
            return {"bits": 2, "group_size": 32}
        return path == "layers.2"

    nn.quantize(m, class_predicate=predicate)
    assert seen == ["layers.0", "layers.1", "layers.2"]
    assert isinstance(m.layers[0], nn.Linear)
    assert (m.layers[1].bits, m.layers[1].group_size) == (2, 32)
    assert (m.layers[2].bits, m.layers[2].group_size) == (4, 64)


def test_quantize_errors_change_nothing():
    m = nn.Sequential(nn.Linear(64, 64), nn.Linear(60, 64))
    with pytest.raises(ValueError, match=r"'layers.1'.*\(64, 60\)"):
        nn.quantize(m)
    assert isinstance(m.layers[0], nn.Linear)
    with pytest.raises(ValueError, match=r"'layers.0'.*ReLU"):
        nn.quantize(nn.Sequential(nn.ReLU()), class_predicate=lambda p, m: True)
    with pytest.raises(ValueError, match=r"class_predicate.*5"):
        nn.quantize(m, class_predicate=lambda p, m: 5)
    with pytest.raises(ValueError, match=r"mode.*'int4'"):
        nn.quantize(m, mode="int4")
    with pytest.raises(ValueError, match=r"\[QuantizedLinear\].*\(32, 60\)"):
        nn.QuantizedLinear(60, 32)
    with pytest.raises(ValueError, match=r"\[QuantizedLinear\].*\(32, 64\).*\(2, 60\)"):
        nn.QuantizedLinear(64, 32)(mx.zeros((2, 60)))


# ---- quantized inputs


def test_qq_linear_life_cycle():
    m = nn.QQLinear(64, 32)
    w = m.weight
    assert repr(m) == "QQLinear(input_dims=64, output_dims=32, group_size=16, bits=4, mode=nvfp4)"
    assert names(m.trainable_parameters()) == ["weight"]
    text = repr(m)
    m.eval()
    assert m.weight.dtype == mx.uint32 and m.scales.shape == (32, 4) and repr(m) == text
    assert names(m.unfreeze().trainable_parameters()) == []
    m.train()
    assert m.weight.dtype == mx.float32 and "scales" not in m
    assert names(m.trainable_parameters()) == ["weight"]
    assert mx.abs(m.weight - w).max() < 0.2 * mx.abs(w).max()
    m.freeze().eval()
    assert names(m.train().trainable_parameters()) == []
    assert names(m.unfreeze().trainable_parameters()) == ["weight"]
    m.half = m.set_dtype(mx.bfloat16).weight
    assert m.eval().train().weight.dtype == mx.bfloat16


def test_qq_linear_from_linear():
    linear = nn.Linear(64, 32).freeze(keys="bias")
    m = linear.to_quantized(quantize_input=True, mode="mxfp8")
    assert isinstance(m, nn.QQLinear) and (m.group_size, m.bits) == (32, 8)
    assert m.weight is linear.weight and m.bias is linear.bias
    assert names(m.trainable_parameters()) == ["weight"]
    model = nn.Sequential(nn.Linear(64, 32), nn.Embedding(4, 64)).eval()
    nn.quantize(model, mode="nvfp4", quantize_input=True)
    assert model.layers[0].weight.dtype == mx.uint32 and isinstance(model.layers[1], nn.Embedding)
    with pytest.raises(ValueError, match=r"'nvfp4' or 'mxfp8', got 'affine'"):
        linear.to_quantized(quantize_input=True)
    with pytest.raises(ValueError, match=r"\[QQLinear\].*'affine'"):
        nn.QQLinear(64, 32, mode="affine")
    with pytest.raises(ValueError, match=r"\[Embedding"):
        nn.Embedding(4, 64).to_quantized(quantize_input=True)
    with pytest.raises(ValueError, match=r"\[QQLinear\].*\(32, 64\).*\(2, 60\)"):
        m(mx.zeros((2, 60)))


@pytest.mark.parametrize("mode, bits, group_size", [("nvfp4", 4, 16), ("mxfp8", 8, 32)])
def test_qq_linear_values(mode, bits, group_size):
    m = nn.Linear(64, 32).to_quantized(quantize_input=True, mode=mode)
    x = arr(3, 64)
    try:
        mx.eval(m(x))
    except RuntimeError as error:
        pytest.skip(f"this core has no qqmm for its CPU: {error}")
    options = {"group_size": group_size, "bits": bits, "mode": mode}
    rounded = [
        np.array(mx.dequantize(*mx.quantize(a, **options), **options).astype(mx.float32))
        for a in (x, m.weight)
    ]
    expected = rounded[0].astype("f8") @ rounded[1].T + np.array(m.bias)
    close(m(x), expected, 1e-2)
    close(m.eval()(x), expected, 1e-2)


def test_weights_in_a_file(tmp_path):
    m = nn.Sequential(nn.QuantizedLinear(64, 32), nn.QuantizedEmbedding(4, 64))
    m.save_weights(str(tmp_path / "w.safetensors"))
    other = nn.Sequential(nn.QuantizedLinear(64, 32), nn.QuantizedEmbedding(4, 64))
    other.load_weights(str(tmp_path / "w.safetensors"))
    for (name, a), (_, b) in zip(
        tree_flatten(m.parameters()), tree_flatten(other.parameters()), strict=True
    ):
        assert a.dtype == b.dtype and mx.array_equal(a, b), name
