"""The speed table: the same steps in several frameworks, one after the other in one run.

    python benchmarks/python/compare.py ours=python:mlx torch=PEERS/bin/python:torch jax=PEERS/bin/python:jax

A side is LABEL=INTERPRETER:FRAMEWORK. Each side is a process of its own; sides take turns on every row, and the median
over the rounds counts, so that other work on the machine hits all of them alike. `best / ours` above 1: ours is the
fastest. `--markdown FILE` writes the table that benchmarks/RESULTS.md keeps.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from rows import ROWS, Row
from turns import Side, Table, serve

BLOCK = 0.1  # seconds of steps that one round times


class Framework:
    """What is specific to one framework: arrays from numpy, and waiting for a result."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name == "mlx":
            import mlx.core as xp
        elif name == "torch":
            import torch as xp
        else:
            import jax.numpy as xp
        self.xp: Any = xp

    def arrays(self, row: Row) -> list[Any]:
        make = {"mlx": "array", "torch": "from_numpy", "jax": "asarray"}[self.name]
        arrays = [getattr(self.xp, make)(a) for a in row.inputs()]
        if row.dtype != "float32":
            kind = getattr(self.xp, row.dtype)
            arrays = [a.to(kind) if self.name == "torch" else a.astype(kind) for a in arrays]
        return arrays

    def step(self, row: Row) -> Any:
        arrays, function, xp = self.arrays(row), row.steps[self.name], self.xp
        if self.name == "mlx":
            xp.eval(arrays)
            return lambda: xp.eval(function(xp, *arrays))
        if self.name == "torch":
            return lambda: function(xp, *arrays)
        import jax

        compiled = jax.jit(lambda *a: function(xp, *a))
        return lambda: compiled(*arrays).block_until_ready()


def work(name: str) -> None:
    framework = Framework(name)
    serve(lambda row: (framework.step(ROWS[row]), {}), BLOCK)


def side(spec: str) -> Side:
    match = re.fullmatch(r"([\w.-]+)=(.+):(mlx|torch|jax)", spec)
    if not match:
        raise SystemExit(f"got {spec!r}, expected LABEL=INTERPRETER:FRAMEWORK")
    label, interpreter, framework = match.groups()
    return Side(label, [interpreter, str(Path(__file__).resolve()), "--worker", framework])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", nargs="*", default=[f"ours={sys.executable}:mlx"])
    parser.add_argument("--rows", default="", help="rows whose name matches this expression")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--worker", choices=["mlx", "torch", "jax"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker)

    sides = [side(spec) for spec in arguments.sides]
    table = Table("ms per step", [s.label for s in sides])
    for name in (n for n in ROWS if re.search(arguments.rows, n)):
        rounds = [[s.measure(name).get("seconds") for s in sides] for _ in range(arguments.rounds)]
        table.add(name, [statistics.median(t) if None not in t else None for t in zip(*rounds, strict=True)])
    markdown = table.finish()
    if arguments.markdown:
        arguments.markdown.write_text(markdown)


if __name__ == "__main__":
    main()
