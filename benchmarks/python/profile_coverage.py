"""How much of a training step the profiler explains, and what it costs.

For each model: the time of a step with and without it, and where the wall time went: operations that run, operations
that are built, planning, what evaluation does between operations, the rest of the program, the profiler itself.
`explained` is the part of the wall time, without the profiler's, in which operations ran, were planned or built
(`mx.profile().coverage`).

    python benchmarks/python/profile_coverage.py [--steps 10] [--repeat 5] [--model small]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

Step = Callable[[], None]
# Name: dims, layers, batch, tokens.
MODELS = {"tiny": (64, 2, 8, 32), "small": (128, 2, 8, 64), "medium": (384, 4, 8, 128)}


class Model(nn.Module):
    def __init__(self, dims: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, dims)
        self.encoder = nn.TransformerEncoder(layers, dims, 4, norm_first=True)
        self.head = nn.Linear(dims, 256)

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.head(self.encoder(self.embed(tokens), None))


def loss_fn(model: Model, tokens: mx.array, targets: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(tokens), targets, reduction="mean")


def training_step(name: str, compiled: bool) -> Step:
    dims, layers, batch, length = MODELS[name]
    mx.random.seed(0)
    model, optimizer = Model(dims, layers), optim.AdamW(1e-3)
    tokens, targets = mx.random.randint(0, 256, (2, batch, length))
    state = [model.state, optimizer.state]

    def update(tokens: mx.array, targets: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, tokens, targets)
        optimizer.update(model, gradients)
        return loss

    run = mx.compile(update, inputs=state, outputs=state) if compiled else update

    def step() -> None:
        mx.eval(run(tokens, targets), state)

    return step


def milliseconds(step: Step, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return 1e3 * (time.perf_counter() - start) / steps


def profiled(step: Step, steps: int) -> tuple[dict[str, float], float]:
    """Milliseconds of a step by kind, and the part of evaluation that is explained."""
    with mx.profile() as p:
        for _ in range(steps):
            step()
    rows = p.rows()
    parts = {"running": sum(r.time for r in rows), "building": sum(r.building for r in rows)}
    parts |= {**{r.name: r.time for r in p.rest()}, "wall": p.wall}
    return {name: ns / 1e6 / steps for name, ns in parts.items()}, p.coverage


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10, help="training steps of a measurement")
    parser.add_argument("--repeat", type=int, default=5, help="measurements, of which the median counts")
    parser.add_argument("--model", choices=MODELS, action="append", help="which (all)")
    args = parser.parse_args()
    header = f"{'ms of a step':<20}{'plain':>9}{'profiled':>10}{'running':>9}{'building':>10}{'planning':>10}"
    print(f"{header}{'between':>9}{'Python':>9}{'profiler':>10}{'explained':>11}")
    for name in args.model or MODELS:
        for compiled in (False, True):
            step = training_step(name, compiled)
            for _ in range(3):
                step()
            plain, runs = [], []
            for _ in range(args.repeat):  # alternating, so that other work on the machine hits both
                plain.append(milliseconds(step, args.steps))
                runs.append(profiled(step, args.steps))
            runs.sort(key=lambda run: run[0]["wall"])
            parts, explained = runs[len(runs) // 2]
            order = ("running", "building", "(planning)", "(between operations)", "(Python)", "(profiler)")
            widths = (9, 10, 10, 9, 9, 10)
            print(
                f"{name + (' compiled' if compiled else ''):<20}{statistics.median(plain):>9.2f}{parts['wall']:>10.2f}"
                + "".join(f"{parts[key]:>{width}.2f}" for key, width in zip(order, widths, strict=True))
                + f"{100 * explained:>9.1f} %"
            )


if __name__ == "__main__":
    main()
