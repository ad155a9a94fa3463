"""Train a GPT on the sources of Python's standard library, and sample from it.

    python examples/gpt/train.py                   # train, draw the curve, write some text
    python examples/gpt/train.py --resume          # go on where an interrupted run has saved
    python examples/gpt/train.py --quick           # a few seconds with a tiny model

Whatever interrupts it (also kill -9), `--resume` ends with the same weights to the last bit as a
run that was not interrupted. Into --output/gpt go the checkpoint, log.csv and loss.png. Then:
finetune.py quantizes the result and adapts it to prose.

Expected: validation loss of 1.21 nats per byte (1.75 bits), and text that has the shape of Python.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import (
    Log,
    Progress,
    add_curves,
    compiled_step,
    expect,
    make_parser,
    parse,
    picture,
    read_log,
    training,
    warmup_cosine,
)

from gpt.data import Windows, even_windows, python_sources
from gpt.model import GPT, Config, count, generate, loss_fn


def validation_loss(model: GPT, windows: mx.array, batch_size: int = 16) -> float:
    """Mean loss on windows (n, length + 1), without dropout. The training mode stays as it was."""
    training = model.training
    model.eval()
    parts = [windows[i : i + batch_size] for i in range(0, len(windows), batch_size)]
    total = sum(loss_fn(model, part[:, :-1], part[:, 1:]).item() * len(part) for part in parts)
    model.train(training)
    return total / len(windows)


def fit(
    model: GPT,
    optimizer: optim.Optimizer,
    train_text: Windows,
    validation: mx.array,
    args: argparse.Namespace,
    name: str,
) -> Path:
    """Train until step ``args.steps``, going on from the checkpoint if there is one and ``args.resume``.

    Returns the checkpoint's path; the log stands beside it.
    """
    file, log_file = args.output / f"{name}.safetensors", args.output / f"{name}.csv"
    first = 0
    if args.resume and file.exists():
        loaded = nn.load_checkpoint(file, model, optimizer)
        first, train_text.state = loaded.step, loaded.data
    log = Log(log_file, ["loss", "validation_loss", "learning_rate", "seconds"], resume_at=first)

    # Dropout draws from the random state: it must go into the compiled function and come out of it.
    step_fn = compiled_step(model, optimizer, loss_fn, mx.random.state)
    model.train()
    for step, loss, seconds in training(name, range(first, args.steps), step_fn, lambda _: train_text.next()):
        last = step + 1 == args.steps
        measured = {}
        if (step + 1) % args.validate_every == 0 or last:
            measured["validation_loss"] = validation_loss(model, validation)
            Progress.write(f"step {step + 1}: validation loss {measured['validation_loss']:.3f}")
        rate = optimizer.learning_rate.item()
        log.write(step, loss=loss, learning_rate=rate, seconds=f"{seconds:.4f}", **measured)
        if (step + 1) % args.save_every == 0 or last:
            config = model.config.as_dict()
            nn.save_checkpoint(file, model, optimizer, step=step + 1, data=train_text.state, config=config)
    log.close()
    return file


def sample(model: GPT, prompt: str, length: int, temperature: float = 0.8) -> tuple[str, float]:
    """Prompt and continuation, and how many bytes per second."""
    model.eval()
    start = time.perf_counter()
    text = bytes(generate(model, prompt.encode(), length, temperature))
    return prompt + text.decode("utf-8", "replace"), length / (time.perf_counter() - start)


def draw(args: argparse.Namespace, name: str) -> None:
    log = args.output / f"{name}.csv"
    with picture(args.output / f"{name}.png", width=6) as ((axes,),):
        curves = {"training": read_log(log, "loss"), "validation": read_log(log, "validation_loss")}
        add_curves(axes, curves, ylabel="nats per byte")


def add_arguments(parser: argparse.ArgumentParser, steps: int, rate: float) -> None:
    add = parser.add_argument
    add("--steps", type=int, default=steps)
    add("--lr", type=float, default=rate, help="peak learning rate")
    add("--batch-size", type=int, default=8)
    add("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    add("--save-every", type=int, default=100, help="steps between checkpoints")
    add("--validate-every", type=int, default=100, help="steps between measurements on held-out text")
    add("--prompt", default="def ", help="beginning of the text that is written at the end")
    add("--length", type=int, default=400, help="how many bytes to write")


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    add_arguments(parser, steps=2000, rate=2e-3)
    parser.add_argument("--dims", type=int, default=192)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--context", type=int, default=192)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--text-bytes", type=int, help="use only the first bytes of the sources")
    quick = {"steps": 120, "dims": 64, "heads": 2, "blocks": 2, "context": 64, "length": 100}
    args = parse(parser, argv, text_bytes=400_000, save_every=20, lr=4e-3, **quick)
    args.output = args.output / "gpt"
    args.output.mkdir(exist_ok=True)

    mx.random.seed(args.seed)
    model = GPT(Config(args.dims, args.heads, args.blocks, args.context, args.dropout))
    train_bytes, validation_bytes = python_sources(args.text_bytes)
    print(f"{count(model.parameters()):,} parameters, {len(train_bytes):,} bytes of text")
    windows = Windows(train_bytes, args.context, args.batch_size, args.seed)
    validation = mx.array(even_windows(validation_bytes, args.context, 8 if args.quick else 64))
    before = validation_loss(model, validation)
    optimizer = optim.AdamW(warmup_cosine(args.lr, args.steps), betas=[0.9, 0.95], weight_decay=0.1)

    fit(model, optimizer, windows, validation, args, "pretrain")
    after = validation_loss(model, validation)
    print(f"validation loss: {before:.3f} before, {after:.3f} after (nats per byte)")
    draw(args, "pretrain")
    text, speed = sample(model, args.prompt, args.length)
    print(f"--- {speed:.0f} bytes per second\n{text}\n---")
    if args.quick and args.steps >= 100:
        expect(abs(before - math.log(256)) < 0.2, f"an untrained model has a loss of {before}, expected log 256")
        expect(after < 3.2, f"validation loss {after}, expected below 3.2")
    return {"before": before, "after": after, "bytes_per_second": speed}


if __name__ == "__main__":
    main()
