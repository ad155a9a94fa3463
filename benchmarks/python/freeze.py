"""What freezing saves in a training step of a transformer: all trainable, or the last block only.

A frozen parameter needs no gradient, and below the last trainable layer no activation has to be
kept for one. The forward pass remains, about a third of a full step, and so do the weights.

    python benchmarks/python/freeze.py [--blocks 12] [--dims 256] [--repeat 7]
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten


class Model(nn.Module):
    def __init__(self, blocks: int, dims: int) -> None:
        super().__init__()
        self.blocks = [nn.TransformerEncoderLayer(dims, dims // 32) for _ in range(blocks)]
        self.head = nn.Linear(dims, 10)

    def __call__(self, x: mx.array) -> mx.array:
        for block in self.blocks:
            x = block(x, None)
        return self.head(x.mean(axis=1))


def loss_fn(model: Model, x: mx.array, y: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


class Case:
    """A model, its optimizer and one training step."""

    def __init__(self, name: str, frozen: bool, args: argparse.Namespace) -> None:
        mx.random.seed(0)
        self.name, self.times = name, []
        self.model = Model(args.blocks, args.dims)
        if frozen:
            self.model.freeze()
            self.model.blocks[-1].unfreeze()
            self.model.head.unfreeze()
        self.optimizer = optim.AdamW(1e-4)
        self.x = mx.random.normal((args.batch, args.tokens, args.dims))
        self.y = mx.random.randint(0, 10, (args.batch,))
        self.gradient = nn.value_and_grad(self.model, loss_fn)
        self.step()

    def step(self) -> None:
        loss, gradients = self.gradient(self.model, self.x, self.y)
        self.optimizer.update(self.model, gradients)
        mx.eval(loss, self.model.parameters(), self.optimizer.state)

    def measure(self) -> None:
        start = time.perf_counter()
        self.step()
        self.times.append(time.perf_counter() - start)

    def peak_of_a_step(self) -> int:
        """Bytes that a step needs on top of everything that was there before."""
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        self.step()
        return mx.get_peak_memory() - before

    def graph_nodes(self) -> int | None:
        """Operations in the graph of loss and gradients."""
        if not hasattr(mx, "export_to_dot"):
            return None
        loss, gradients = self.gradient(self.model, self.x, self.y)
        dot = io.StringIO()
        mx.export_to_dot(dot, loss, *(g for _, g in tree_flatten(gradients)))
        return dot.getvalue().count("shape=rectangle")


@dataclass
class Quantity:
    label: str
    full: float | None
    frozen: float | None

    def __str__(self) -> str:
        if not self.full or not self.frozen:
            return f"{self.label:<28}{'not available':>12}"
        ratio = self.frozen / self.full
        return f"{self.label:<28}{self.full:>12,.1f}{self.frozen:>12,.1f}{ratio:>9.2f}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, default in [("blocks", 12), ("dims", 256), ("tokens", 64), ("batch", 8)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeat", type=int, default=7, help="timed steps of each, alternating")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    full = Case("all", False, args)
    frozen = Case("last block", True, args)
    for _ in range(args.repeat):  # alternating, so that other work on the machine hits both
        full.measure()
        frozen.measure()

    def parameters(case: Case) -> float:
        return sum(x.size for _, x in tree_flatten(case.model.trainable_parameters())) / 1e3

    rows = [
        Quantity("trainable parameters, 10^3", parameters(full), parameters(frozen)),
        Quantity(
            "step, ms (median)",
            1e3 * statistics.median(full.times),
            1e3 * statistics.median(frozen.times),
        ),
        Quantity("step, ms (fastest)", 1e3 * min(full.times), 1e3 * min(frozen.times)),
        Quantity(
            "memory on top, MiB (peak)",
            full.peak_of_a_step() / 2**20,
            frozen.peak_of_a_step() / 2**20,
        ),
        Quantity("graph of the gradients, nodes", full.graph_nodes(), frozen.graph_nodes()),
    ]
    print(f"{args.blocks} blocks, {args.dims} dims, {args.batch} x {args.tokens} tokens")
    print(f"{'':<28}{'all':>12}{'last block':>12}{'ratio':>9}")
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
