"""Attention and transformers; their values are compared in test_against_torch.py."""

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, close, names, params64, wave, with_wave_parameters


def attention64(p, q, k, v, heads, mask=0.0):
    def project(name, x):
        return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0)

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    q, k, v = (
        split(project(f"{name}_proj", x)) for name, x in (("query", q), ("key", k), ("value", v))
    )
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]) + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = weights / weights.sum(-1, keepdims=True) @ v
    return project("out_proj", y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1))


def test_all_sizes_different():
    m = with_wave_parameters(
        nn.MultiHeadAttention(
            8,
            2,
            query_input_dims=3,
            key_input_dims=5,
            value_input_dims=7,
            value_dims=6,
            value_output_dims=9,
        )
    )
    q, k, v = wave(2, 4, 3), wave(2, 6, 5, seed=1), wave(2, 6, 7, seed=2)
    y = m(arr(2, 4, 3), arr(2, 6, 5, seed=1), arr(2, 6, 7, seed=2))
    close(y, attention64(params64(m), q, k, v, 2))
    assert nn.MultiHeadAttention(8, 2, key_input_dims=5).value_proj.weight.shape == (8, 5)


@pytest.mark.parametrize("mask_shape", [(4, 6), (2, 1, 4, 6), (1, 2, 4, 6)])
def test_masks(mask_shape):
    m = with_wave_parameters(nn.MultiHeadAttention(8, 2, bias=True))
    x, y = wave(2, 4, 8), wave(2, 6, 8, seed=1)
    keep = wave(*mask_shape, seed=3) > -0.5
    additive = np.where(keep, 0, -1e9)
    expected = attention64(params64(m), x, y, y, 2, additive)
    ax, ay = arr(2, 4, 8), arr(2, 6, 8, seed=1)
    close(m(ax, ay, ay, mx.array(keep)), expected)
    close(m(ax, ay, ay, mx.array(additive.astype(np.float32))), expected)


def test_causal_mask():
    for dtype in (mx.float32, mx.float16, mx.bfloat16):
        mask = nn.MultiHeadAttention.create_additive_causal_mask(4, dtype)
        assert mask.dtype == dtype and mask.shape == (4, 4)
        a = np.array(mask.astype(mx.float32))
        assert (a[np.tril_indices(4)] == 0).all()
        assert (a[np.triu_indices(4, 1)] < -6e4).all() and np.isfinite(a).all()


def test_attention_errors():
    with pytest.raises(ValueError, match=r"dims \(8\).*num_heads \(3\)"):
        nn.MultiHeadAttention(8, 3)
    m = nn.MultiHeadAttention(8, 2)
    x = mx.zeros((1, 3, 8))
    with pytest.raises(ValueError, match=r"keys must have the shape .* got \(3, 8\)"):
        m(x, x[0], x)
    with pytest.raises(ValueError, match=r"\[Linear\].*\(8, 8\).*\(1, 3, 7\)"):
        m(mx.zeros((1, 3, 7)), x, x)


def test_parameter_names():
    m = nn.Transformer(8, 2, 1, 1, mlp_dims=16)
    found = names(m.parameters())
    assert (
        len(found) == (12 + 2) + (18 + 2)
        and found[0] == "encoder.layers.0.attention.query_proj.weight"
    )
    assert "decoder.layers.0.cross_attention.out_proj.weight" in found
    assert m.decoder.layers[0].linear1.weight.shape == (16, 8)


def test_a_causal_decoder_does_not_look_ahead():
    m = nn.TransformerEncoder(2, 8, 2).eval()
    mask = m.layers[0].attention.create_additive_causal_mask(6)
    x = arr(1, 6, 8)
    changed = mx.concatenate([x[:, :4], x[:, 4:].square()], axis=1)
    a, b = m(x, mask), m(changed, mask)
    assert mx.allclose(a[:, :4], b[:, :4], atol=1e-5) and not mx.allclose(a[:, 4:], b[:, 4:])


def test_custom_parts():
    m = nn.Transformer(
        8, 2, custom_encoder=lambda src, mask: src + 1, custom_decoder=lambda t, mem, tm, mm: mem
    )
    x = arr(1, 3, 8)
    assert mx.array_equal(m(x, x, None, None, None), x + 1)
    identity = nn.Identity()  # an empty module is an empty dict, and still counts
    assert nn.Transformer(8, 2, 1, 1, custom_encoder=identity).encoder is identity


@pytest.mark.parametrize("norm_first", [True, False])
def test_checkpointing_changes_nothing(norm_first):
    plain = nn.Transformer(8, 2, 2, 2, norm_first=norm_first)
    saving = nn.Transformer(8, 2, 2, 2, norm_first=norm_first, checkpoint=True)
    saving.load_weights(tree_flatten(plain.parameters()))
    assert saving.encoder.checkpoint and not plain.encoder.checkpoint
    for m in (plain, saving):
        m.encoder.layers[0].freeze()
    src, tgt = arr(1, 4, 8), arr(1, 3, 8, seed=1)
    mask = nn.MultiHeadAttention.create_additive_causal_mask(3)
    results = []
    for m in (plain, saving):

        def loss(src, tgt, m=m):
            return m(src, tgt, None, mask, None).square().sum()

        results.append(nn.value_and_grad(m, loss)(src, tgt))
    assert mx.allclose(results[0][0], results[1][0], rtol=1e-5)
    expected, got = (dict(tree_flatten(r[1])) for r in results)
    assert expected.keys() == got.keys() and len(got) == 2 * 12 - 12 + 2 + 2 * 18 + 2
    for name in expected:
        assert mx.allclose(expected[name], got[name], rtol=1e-4, atol=1e-5), name


def test_dropout_in_training():
    m = nn.TransformerEncoderLayer(8, 2, dropout=0.5)
    x = arr(1, 4, 8)
    assert not mx.array_equal(m(x, None), m(x, None))
    m.eval()
    assert mx.array_equal(m(x, None), m(x, None))
