"""One training step of the GPT of examples/gpt, against PyTorch eager with the same model.

    python benchmarks/python/gpt.py --torch PEERS/bin/python [--rounds 5] [--sizes small default]

Both start from the same weights and see the same bytes, and their losses of the first steps must
agree to 1e-3: the same model is measured. Each is a process of its own; they take turns, `--steps`
steps each, in every round; printed are the median over all steps and the fastest one, which is what
counts on a machine that has other work; there, `--one-thread` is fairer. No dropout, whose random numbers
differ. PyTorch runs its fused attention and AdamW (fused=True), float32. Ours runs the step of the
example, compiled, and then without mx.compile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZES = {  # dims, heads, blocks, context, batch
    "small": (64, 2, 2, 64, 8),
    "default": (192, 6, 4, 192, 8),
    "large": (384, 6, 6, 256, 8),
}


def batch(text: np.ndarray, size: tuple[int, ...], step: int) -> tuple[np.ndarray, np.ndarray]:
    context, count = size[3:]
    starts = np.random.default_rng(step).integers(0, len(text) - context - 1, count)
    windows = text[starts[:, None] + np.arange(context + 1)].astype(np.int32)
    return windows[:, :-1], windows[:, 1:]


# Workers: make(size, weights) -> step(inputs, targets) -> loss


def make_ours(size: tuple[int, ...], weights: Path, compiled: bool):
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim

    sys.path.insert(0, str(EXAMPLES))
    from gpt.model import GPT, Config, loss_fn

    model = GPT(Config(*size[:4], dropout=0.0))
    model.load_weights(str(weights))
    optimizer = optim.AdamW(1e-3, betas=[0.9, 0.95], weight_decay=0.1, bias_correction=True)
    optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state]

    def step_fn(inputs, targets):
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, inputs, targets)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        return loss

    run = mx.compile(step_fn, inputs=state, outputs=state) if compiled else step_fn

    def step(inputs, targets):
        loss = run(mx.array(inputs), mx.array(targets))
        mx.eval(loss, state)
        return loss.item()

    return step


def make_torch(size: tuple[int, ...], weights: Path):
    import torch
    import torch.nn.functional as F

    dims, heads, blocks, context, _ = size
    parameters = {name: torch.nn.Parameter(torch.from_numpy(a.copy())) for name, a in np.load(weights).items()}
    head_dims = dims // heads
    # Rotary positions of neighbouring halves, as nn.RoPE(traditional=False).
    angles = torch.outer(torch.arange(context).float(), 10000 ** (-torch.arange(head_dims // 2) * 2 / head_dims))
    cos, sin = angles.cos(), angles.sin()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def rope(x):
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    def norm(x, name):
        return F.rms_norm(x, (dims,), parameters[f"{name}.weight"], 1e-5)

    def linear(x, name):
        return F.linear(x, parameters[f"{name}.weight"])

    def model(tokens):
        x = parameters["embed.weight"][tokens]
        for i in range(blocks):
            at = f"blocks.{i}"
            qkv = linear(norm(x, f"{at}.attention_norm"), f"{at}.attention.query_key_value")
            q, k, v = qkv.view(*tokens.shape, 3, heads, head_dims).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
            x = x + linear(mixed.transpose(1, 2).reshape(x.shape), f"{at}.attention.output")
            gate, up = linear(norm(x, f"{at}.mlp_norm"), f"{at}.mlp.gate_up").chunk(2, dim=-1)
            x = x + linear(F.silu(gate) * up, f"{at}.mlp.down")
        return linear(norm(x, "norm"), "embed")

    def step(inputs, targets):
        inputs, targets = torch.from_numpy(inputs).long(), torch.from_numpy(targets).long()
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def work(framework: str, size_name: str, weights: Path, clock: Callable[[], float]) -> None:
    """Answer each line, the number of steps, with a line: times in seconds and losses."""
    size = SIZES[size_name]
    step = make_torch(size, weights) if framework == "torch" else make_ours(size, weights, framework == "ours")
    text, done = np.fromfile(weights.with_name("text"), np.uint8), 0
    for line in sys.stdin:
        times, losses = [], []
        for _ in range(int(line)):
            inputs, targets = batch(text, size, done)
            start = clock()
            losses.append(step(inputs, targets))
            times.append(clock() - start)
            done += 1
        print(json.dumps([times, losses]), flush=True)


def save_inputs(size: tuple[int, ...], weights: Path) -> None:
    """The initial weights, and beside them the text."""
    import mlx.core as mx

    sys.path.insert(0, str(EXAMPLES))
    from common import standard_library
    from gpt.model import GPT, Config

    mx.random.seed(0)
    GPT(Config(*size[:4], dropout=0.0)).save_weights(str(weights))
    weights.with_name("text").write_bytes(b"".join(standard_library(400_000).values()))


def measure(size_name: str, args: argparse.Namespace, weights: Path) -> dict[str, tuple[float, float]]:
    pythons = {"ours": sys.executable, "ours, not compiled": sys.executable, "torch": args.torch}
    flags = ["--sizes", size_name, "--weights", str(weights)] + ["--one-thread"] * args.one_thread
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MLX_NUM_THREADS": "1"} if args.one_thread else {}
    workers = {
        name: subprocess.Popen(
            [python, __file__, "--work", name, *flags],
            env={**os.environ, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, python in pythons.items()
    }

    def ask(name: str, steps: int) -> tuple[list[float], list[float]]:
        workers[name].stdin.write(f"{steps}\n")
        workers[name].stdin.flush()
        return json.loads(workers[name].stdout.readline())

    first = {name: ask(name, 5)[1] for name in workers}  # also warms up
    for name, losses in first.items():
        if any(abs(a - b) > 1e-3 for a, b in zip(losses, first["torch"], strict=True)):
            raise SystemExit(f"the losses of {name} are {losses}, those of torch {first['torch']}: not the same model")
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name in workers:
            times[name] += ask(name, args.steps)[0]
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {name: (1000 * statistics.median(t), 1000 * min(t)) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch and numpy")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps of a framework in a round")
    parser.add_argument("--one-thread", action="store_true", help="one thread each, and the processor time it takes")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.sizes[0], args.weights, time.process_time if args.one_thread else time.perf_counter)
        return
    print("| ms per step, median (fastest) | parameters | ours | ours, not compiled | torch eager | torch / ours |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.npz"
            save_inputs(SIZES[name], weights)
            count = sum(math.prod(a.shape) for a in np.load(weights).values())
            ms = measure(name, args, weights)
        dims, heads, blocks, context, size = SIZES[name]
        shape = f"{name}: {blocks} blocks of {dims}, {heads} heads, batch {size} x {context}"
        row = [f"{median:.3g} ({fastest:.3g})" for median, fastest in ms.values()]
        median, fastest = (theirs / ours for theirs, ours in zip(ms["torch"], ms["ours"], strict=True))
        print(f"| {shape} | {count:,} | {' | '.join(row)} | {median:.2f} ({fastest:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
