"""The digits example: a quick run, resuming, and what freezing promises."""

import common
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import train_digits


@pytest.fixture
def example():
    return train_digits


def run(example, folder, *flags):
    example.main(["--quick", "--output", str(folder), *flags])


def load(file):
    return {name: np.array(x) for name, x in mx.load(str(file)).items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_training_then_finetuning(example, tmp_path, capsys):
    run(example, tmp_path)
    printed = capsys.readouterr().out
    assert "accuracy on test digits" in printed
    assert "unchanged, bit for bit" in printed

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["digits.png", "finetune.safetensors", "train.safetensors"]
    assert (tmp_path / "digits.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    before, after = load(tmp_path / "train.safetensors"), load(tmp_path / "finetune.safetensors")
    weights = [name for name in before if name.startswith("model.")]
    trained = {name for name in weights if name.startswith(("model.blocks.1.attention", "model.head"))}
    assert len(trained) == 6
    for name in weights:
        same = before[name].tobytes() == after[name].tobytes()
        assert same == (name not in trained), name
    moments = {name for name in after if name.startswith("optimizer.") and name.endswith(".m")}
    assert len(moments) == len(trained)


def test_resuming_gives_the_weights_of_an_uninterrupted_run(example, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(example, whole, "--train", "--log")
    run(example, parts, "--train", "--log", "--stop-at", "5", "--save-every", "2")
    interrupted = load(parts / "train.safetensors")
    assert interrupted["optimizer.step"] == 5
    run(example, parts, "--train", "--log", "--resume")
    logs = [common.read_log(f / "train.csv", "loss") for f in (whole, parts)]
    assert logs[0] == logs[1] and logs[0][0] == list(range(12))
    folders = (whole, parts)
    whole, parts = load(whole / "train.safetensors"), load(parts / "train.safetensors")
    assert whole["optimizer.step"] == 12
    losses = [nn.load_checkpoint(f / "train.safetensors", None).extra["losses"] for f in folders]
    assert len(losses[0]) == 12 and losses[0] == losses[1]
    assert_same(whole, parts)
    assert any((interrupted[k] != whole[k]).any() for k in whole if k.startswith("model."))


def test_attention_maps_are_what_the_fused_attention_uses(example):
    mx.random.seed(1)
    attention = example.Attention(16, 2)
    x = mx.random.normal((3, 17, 16))
    maps = attention.maps(x)
    np.testing.assert_allclose(np.array(maps.sum(-1)), 1, rtol=1e-5)
    mixed = (maps @ attention.split(x)[2]).transpose(0, 2, 1, 3).reshape(x.shape)
    np.testing.assert_allclose(np.array(attention.output(mixed)), np.array(attention(x)), rtol=1e-4, atol=1e-5)


def test_patches_keep_their_pixels(example):
    """Pixel (y, x) belongs to patch (y // 2, x // 2): changing it changes that token alone."""
    model = example.DigitTransformer(dims=16, heads=2, depth=1)
    image = np.zeros((1, 8, 8), np.float32)
    dark = np.array(model.tokens(mx.array(image)))
    image[0, 5, 2] = 1
    changed = np.abs(np.array(model.tokens(mx.array(image))) - dark).max(axis=(0, 2)) > 0
    assert np.flatnonzero(changed).tolist() == [1 + 4 * (5 // 2) + 2 // 2]


def test_the_split_is_fixed_and_disjoint(example):
    digits = example.Digits.load()
    assert (len(digits.train_labels), len(digits.test_labels)) == (1347, 450)
    rows = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    assert len(np.unique(rows, axis=0)) == 1797
    np.testing.assert_array_equal(digits.test_images, example.Digits.load().test_images)


def test_batches_are_a_function_of_the_step(example):
    digits = example.Digits.load()
    for step in (0, 41, 42, 100):
        images, labels = digits.batch(step, 32, seed=0)
        again, _ = digits.batch(step, 32, seed=0)
        assert images.shape == (32, 8, 8)
        assert labels.shape == (32,)
        assert mx.array_equal(images, again).item()
        other, _ = digits.batch(step + 1, 32, seed=0)
        assert not mx.array_equal(images, other).item()
