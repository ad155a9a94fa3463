"""What programs do with `mlx_lm`, each as a function that returns the numbers it ends with.

`record.py` keeps what they give on the official package; the tests run them on this one.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from checkpoints import write_checkpoint, write_sums
from families import FAMILIES, VOCABULARY, build
from mlx_lm import batch_generate, load
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache, trim_prompt_cache
from mlx_lm.sample_utils import make_logits_processors, make_sampler

Numbers = dict[str, np.ndarray]
PROMPT = np.random.default_rng(1).integers(0, VOCABULARY, (2, 13))


def numpy(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32))


def tokens_of(steps: Iterable[tuple[Any, ...]]) -> np.ndarray:
    return np.array([int(step[0]) for step in steps])


def logits(name: str) -> Numbers:
    """One pass over a prompt, the same prompt in pieces through the cache, greedy generation."""
    model = build(name)
    prompt = mx.array(PROMPT)
    cache = make_prompt_cache(model)
    pieces = [model(prompt[:, start:stop], cache=cache) for start, stop in [(0, 5), (5, 6), (6, 13)]]
    return {
        "whole": numpy(model(prompt)[:, -2:]),
        "pieces": numpy(mx.concatenate(pieces, axis=1)[:, -2:]),
        "tokens": tokens_of(generate_step(prompt[0], model, max_tokens=12)),
    }


def caches(name: str) -> Numbers:
    """Generation with a cache that rotates, one that is quantized, one that was saved, loaded and trimmed."""
    model = build(name)
    prompt = mx.array(PROMPT[0])
    rotating = [(t, p) for t, p in generate_step(prompt, model, max_tokens=16, max_kv_size=8)]
    quantized = [
        (t, p) for t, p in generate_step(prompt, model, max_tokens=8, kv_bits=8, kv_group_size=32, quantized_kv_start=4)
    ]
    cache = make_prompt_cache(model)
    model(prompt[None, :-1], cache=cache)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "cache.safetensors")
        save_prompt_cache(file, cache, {"note": "kept"})
        loaded, note = load_prompt_cache(file, return_metadata=True)
    assert note == {"note": "kept"}
    trim_prompt_cache(loaded, 4)
    trimmed = model(prompt[None, -5:], cache=loaded)
    return {
        "rotating": tokens_of(rotating),
        "rotating_logprobs": numpy(rotating[-1][1]),
        "quantized": tokens_of(quantized),
        "quantized_logprobs": numpy(quantized[-1][1]),
        "trimmed": numpy(trimmed[:, -1]),
    }


class _Decoder:
    """As much of a tokenizer as `batch_generate` asks for."""

    eos_token_ids: tuple[int, ...] = ()

    def decode(self, tokens: list[int]) -> str:
        return " ".join(map(str, tokens))


def batches(name: str) -> Numbers:
    """Prompts of several lengths at once, more of them than fit into one batch."""
    model = build(name)
    prompts = [PROMPT[0, :n].tolist() for n in (3, 11, 7, 1, 13)]
    response = batch_generate(
        model,
        _Decoder(),
        prompts,
        max_tokens=[8, 3, 12, 6, 9],
        prefill_batch_size=2,
        completion_batch_size=3,
        return_token_ids=True,
        return_logprobs=True,
    )
    return {
        "tokens": np.concatenate(response.token_ids),
        "logprobs": np.concatenate(response.logprobs).astype(np.float32),
    }


def samplers(_: str) -> Numbers:
    """Every sampler and every processor of logits, from one seed."""
    model = build("qwen3")
    prompt = mx.array(PROMPT[0])
    settings: dict[str, dict[str, float | int | list[int]]] = {
        "temperature": {"temp": 0.7},
        "top_p": {"temp": 1.0, "top_p": 0.8},
        "top_k": {"temp": 1.0, "top_k": 5},
        "min_p": {"temp": 1.0, "min_p": 0.1},
        "xtc": {"temp": 1.0, "xtc_probability": 0.5, "xtc_threshold": 0.05},
    }
    out: Numbers = {}
    for key, options in settings.items():
        mx.random.seed(5)
        sampler = make_sampler(**options)
        out[key] = tokens_of(generate_step(prompt, model, max_tokens=16, sampler=sampler))
    processors = make_logits_processors(logit_bias={3: -2.0}, repetition_penalty=1.3, repetition_context_size=8)
    out["processors"] = tokens_of(generate_step(prompt, model, max_tokens=16, logits_processors=processors))
    return out


def speculative(_: str) -> Numbers:
    """A draft model proposes; the tokens are those of the model alone."""
    model, draft = build("qwen3"), build("qwen3")
    nn.quantize(draft, group_size=32, bits=4)
    steps = list(speculative_generate_step(mx.array(PROMPT[0]), model, draft, num_draft_tokens=3, max_tokens=16))
    plain = tokens_of(generate_step(mx.array(PROMPT[0]), model, max_tokens=16))
    return {"tokens": tokens_of(steps), "drafted": np.array([bool(s[2]) for s in steps]), "plain": plain}


QUANTIZATIONS: dict[str, dict[str, Any]] = {
    **{f"affine{bits}": {"bits": bits, "group_size": 32} for bits in (2, 3, 4, 5, 6, 8)},
    "mxfp4": {"bits": 4, "group_size": 32, "mode": "mxfp4"},
    "mxfp8": {"bits": 8, "group_size": 32, "mode": "mxfp8"},
    "nvfp4": {"bits": 4, "group_size": 16, "mode": "nvfp4"},
}


def quantized(mode: str) -> Numbers:
    """Dense layers, embeddings and experts in each format: one token (a vector) and a prompt (a matrix)."""
    model = build("qwen3_moe")
    nn.quantize(model, **QUANTIZATIONS[mode])
    prompt = mx.array(PROMPT)
    return {"prompt": numpy(model(prompt)[:, -2:]), "token": numpy(model(prompt[:1, :1]))}


@contextmanager
def arguments(*words: str):
    """The command line as `main` functions read it."""
    old, sys.argv = sys.argv, ["mlx_lm", *words]
    try:
        yield
    finally:
        sys.argv = old


# Kind of training: model, options of quantization, further arguments of `mlx_lm.lora`.
TRAININGS: dict[str, tuple[str, dict[str, Any] | None, list[str]]] = {
    "lora": ("llama", None, []),
    "qlora": ("llama", {"q_bits": 4, "q_group_size": 32}, []),
    "dora": ("llama", None, ["--fine-tune-type", "dora"]),
    "full": ("llama", None, ["--fine-tune-type", "full", "--optimizer", "adamw"]),
    "checkpointed": ("llama", None, ["--grad-checkpoint", "--grad-accumulation-steps", "2", "--mask-prompt"]),
    "muon": ("phi3", None, ["--fine-tune-type", "full", "--optimizer", "muon"]),
    "experts": ("qwen3_moe", {"q_bits": 4, "q_group_size": 32}, []),
    "delta": ("qwen3_next", None, []),
    "mamba": ("mamba", None, []),
}

OPTIONS = """--train --batch-size 4 --iters 12 --num-layers 2 --learning-rate 2e-4
             --steps-per-report 4 --steps-per-eval 6 --val-batches 2"""


def training(kind: str) -> Numbers:
    """`mlx_lm.lora --train` on sums of digits, then `mlx_lm.fuse`; the fused model says what the adapted one does."""
    from mlx_lm import convert, fuse, lora
    from mlx_lm.tuner.callbacks import TrainingCallback

    name, quantization, further = TRAININGS[kind]
    train_losses: list[float] = []
    valid_losses: list[float] = []

    class Losses(TrainingCallback):
        def on_train_loss_report(self, train_info: dict) -> None:
            train_losses.append(train_info["train_loss"])

        def on_val_loss_report(self, val_info: dict) -> None:
            valid_losses.append(val_info["val_loss"])

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = write_checkpoint(root / "model", name)
        if quantization is not None:
            convert(str(model), str(root / "quantized"), quantize=True, **quantization)
            model = root / "quantized"
        common = ["--model", str(model), "--adapter-path", str(root / "adapters")]
        options = shlex.split(f"{OPTIONS} --data {write_sums(root / 'sums')}")
        wanted = lora.get_reporting_callbacks
        lora.get_reporting_callbacks = lambda *_, **__: Losses()
        try:
            with arguments(*common, *options, *further):
                lora.main()
        finally:
            lora.get_reporting_callbacks = wanted
        out = {"train": np.array(train_losses, np.float32), "valid": np.array(valid_losses, np.float32)}
        if "full" not in further:
            with arguments(*common, "--save-path", str(root / "fused")):
                fuse.main()
            text = mx.array(PROMPT[:1])
            adapted, _ = load(str(model), adapter_path=str(root / "adapters"))
            fused, _ = load(str(root / "fused"))
            out["adapted"], out["fused"] = numpy(adapted(text)[:, -1]), numpy(fused(text)[:, -1])
    return out


# Scenario: function, the cases it is run on.
SCENARIOS: dict[str, tuple[Callable[[str], Numbers], list[str]]] = {
    "logits": (logits, list(FAMILIES)),
    "caches": (caches, ["llama"]),
    "batches": (batches, ["llama", "gemma3_text", "qwen3_next", "mamba", "mixtral"]),
    "samplers": (samplers, ["qwen3"]),
    "speculative": (speculative, ["qwen3"]),
    "quantized": (quantized, list(QUANTIZATIONS)),
    "training": (training, list(TRAININGS)),
}
