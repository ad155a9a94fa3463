"""The GPT: training that survives kill -9 to the last bit, sampling with a cache, adapters on a frozen base."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpt.data
import gpt.finetune
import gpt.generate
import gpt.lora
import gpt.train
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from common import read_log
from gpt.model import GPT, Cache, Config, generate
from mlx.utils import tree_flatten

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = Config(dims=64, heads=2, blocks=2, context=32, dropout=0.2)


def test_training_then_finetuning(tmp_path, capsys):
    trained = gpt.train.main(["--quick", "--output", str(tmp_path)])
    assert trained["after"] < 3 < 5 < trained["before"]
    tuned = gpt.finetune.main(["--quick", "--output", str(tmp_path)])
    assert tuned["adapted"] < tuned["quantized"]
    assert tuned["fused"] == pytest.approx(tuned["adapted"], abs=1e-4)
    printed = capsys.readouterr().out
    assert f"trained: {tuned['trainable']:,} numbers" in printed
    assert f"all {tuned['frozen']} frozen arrays are unchanged" in printed
    written = gpt.generate.main(
        ["--checkpoint", str(tmp_path / "gpt" / "fused.safetensors"), "--prompt", "The ", "--length", "30"]
    )
    assert written.startswith("The ") and 20 <= len(written) <= 34
    files = {path.name for path in (tmp_path / "gpt").iterdir()}
    kinds = ("csv", "png", "safetensors")
    assert files == {f"{n}.{k}" for n in ("pretrain", "finetune") for k in kinds} | {"fused.safetensors"}
    for name in ("pretrain", "finetune"):
        assert (tmp_path / "gpt" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def train(folder, *flags):
    sizes = {"dims": 32, "heads": 2, "blocks": 1, "context": 16, "batch-size": 4, "dropout": 0.3}
    script, rest = EXAMPLES / "gpt" / "train.py", {"text-bytes": 5000, "length": 1, "output": folder}
    named = [part for name, value in (sizes | rest).items() for part in (f"--{name}", value)]
    return [str(part) for part in (sys.executable, script, "--quick", *named, *flags)]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path):
    """Two kills at random steps; every run is a process of its own. Dropout and shuffling are on.

    An epoch has 5000 / 16 / 4 = 78 batches, so the order is drawn anew on the way.
    """
    steps = 90
    flags = ["--steps", steps, "--save-every", 7, "--validate-every", 50]
    subprocess.run(train(tmp_path / "whole", *flags), check=True, capture_output=True, timeout=120)

    seed = random.randrange(1000)
    parts, log = tmp_path / "parts", tmp_path / "parts" / "gpt" / "pretrain.csv"
    kills = sorted(random.Random(seed).sample(range(8, steps - 25), 2))
    for kill in kills:
        process = subprocess.Popen(
            train(parts, *flags, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and f"\n{kill}," in "\n".join(
                line.partition(",")[2] for line in log.read_text().split("\n")
            ):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"seed {seed}: it ended before it was killed at {kill}"
        saved = nn.load_checkpoint(parts / "gpt" / "pretrain.safetensors", None).step
        assert 0 < saved < steps, f"seed {seed}"
    subprocess.run(train(parts, *flags, "--resume"), check=True, capture_output=True, timeout=120)

    whole, resumed = (
        mx.load(str(tmp_path / name / "gpt" / "pretrain.safetensors"), return_metadata=True)
        for name in ("whole", "parts")
    )
    assert whole[1] == resumed[1], f"seed {seed}"
    assert whole[0].keys() == resumed[0].keys()
    assert {"random", "optimizer.step", "model.embed.weight", "optimizer.embed.weight.m"} <= whole[0].keys()
    for name, array in whole[0].items():
        np.testing.assert_array_equal(np.array(array), np.array(resumed[0][name]), f"{name}, seed {seed}")
    for column in ("loss", "validation_loss", "learning_rate"):
        assert read_log(tmp_path / "whole" / "gpt" / "pretrain.csv", column) == read_log(log, column)


def test_the_cache_gives_the_logits_of_the_whole_text():
    model = GPT(TINY)
    model.eval()
    tokens = mx.random.randint(0, 256, (2, 300))
    caches = [Cache() for _ in model.blocks]
    pieces, first = [], 0
    for length in (5, 1, 1, 250, 1, 42):  # over the end of the first 256 places, too
        pieces.append(model(tokens[:, first : first + length], caches))
        first += length
        if first < 258:
            whole = model(tokens[:, :first])
            np.testing.assert_allclose(np.array(whole[:, -1]), np.array(pieces[-1][:, -1]), rtol=1e-4, atol=1e-5)
    assert caches[0].length == 300


def test_generation_is_repeatable_and_greedy_takes_the_likeliest():
    model = GPT(TINY)
    model.eval()
    texts = []
    for seed in (1, 1, 2):
        mx.random.seed(seed)
        texts.append(bytes(generate(model, b"def ", 40)))
    assert texts[0] == texts[1] != texts[2]
    text = b"def " + bytes(generate(model, b"def ", 60, temperature=0))
    first = 0
    for end in range(4, 64):
        logits = model(mx.array([list(text[first:end])]))[0, -1]
        assert text[end] == mx.argmax(logits).item()
        if end - first == TINY.context:  # then it goes on from the last half of the context
            first = end + 1 - TINY.context // 2
    assert first == 34


def test_windows_go_on_from_their_state():
    text = np.arange(5000) % 251
    windows = gpt.data.Windows(text.astype(np.uint8), 16, 7, seed=3)
    for _ in range(60):  # 44 batches in an epoch
        windows.next()
    other = gpt.data.Windows(text.astype(np.uint8), 16, 7, seed=99)
    other.state = windows.state
    for _ in range(100):
        for a, b in zip(windows.next(), other.next(), strict=True):
            assert mx.array_equal(a, b)


def test_windows_of_an_epoch_are_disjoint_and_targets_are_the_next_bytes():
    text = np.arange(200, dtype=np.uint8)
    windows = gpt.data.Windows(text, 10, 3, seed=0)
    seen = []
    for _ in range(6):
        inputs, targets = windows.next()
        np.testing.assert_array_equal(np.array(inputs) + 1, np.array(targets))
        seen += np.array(inputs).ravel().tolist()
    assert len(set(seen)) == len(seen) == 180
    with pytest.raises(ValueError, match="too few for a batch of 30 x 10"):
        gpt.data.Windows(text, 10, 30, seed=0)


def test_texts_are_real_and_parts_disjoint():
    sources, held_out = gpt.data.python_sources()
    assert len(sources) > 2_000_000 and len(held_out) > 100_000
    assert b"import" in sources.tobytes()
    again, _ = gpt.data.python_sources()
    assert (sources == again).all()
    prose, prose_held_out = gpt.data.language_reference()
    assert len(prose) > 300_000 and len(prose_held_out) > 20_000
    assert prose_held_out.tobytes()[:200] not in prose.tobytes()


@pytest.mark.parametrize("quantized", [False, True])
def test_an_adapter_starts_as_nothing_and_fuses_to_the_sum(quantized):
    base = nn.Linear(64, 32)
    layer = gpt.lora.LoRALinear(nn.QuantizedLinear.from_linear(base, 32, 4) if quantized else base, rank=4, scale=3.0)
    x = mx.random.normal((5, 64))
    np.testing.assert_array_equal(np.array(layer(x)), np.array(layer.base(x)))
    layer.b = mx.random.normal(layer.b.shape)
    layer.base.bias = mx.random.normal((32,))
    delta = 3.0 * np.array(layer.a) @ np.array(layer.b)
    np.testing.assert_allclose(np.array(layer(x) - layer.base(x)), np.array(x) @ delta, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.array(layer.fused()(x)), np.array(layer(x)), rtol=1e-3, atol=1e-4)


def test_only_adapters_are_trained():
    model = GPT(TINY)
    nn.quantize(model)
    gpt.lora.add_adapters(model, rank=2)
    names = {name.rsplit(".", 1)[1] for name, _ in tree_flatten(model.trainable_parameters())}
    assert names == {"a", "b"}
    assert len(tree_flatten(model.trainable_parameters())) == 2 * 4 * TINY.blocks
    gpt.lora.fuse_adapters(model)
    assert not [m for _, m in model.named_modules() if isinstance(m, gpt.lora.LoRALinear)]
