"""The speed table: the same steps in several frameworks, one after the other in one run.

    python benchmarks/python/compare.py ours=python:mlx torch=PEERS/bin/python:torch jax=PEERS/bin/python:jax

A side is LABEL=INTERPRETER:FRAMEWORK. Each side is a process of its own; sides take turns on every row, and the median
over the rounds counts, so that other work on the machine hits all of them alike. `best / ours` above 1: ours is the
fastest. `--markdown FILE` writes the table that benchmarks/RESULTS.md keeps.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rows import ROWS, Row

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
    """A side's process: reads names of rows, answers with the median time of a step in seconds."""
    framework, row_name, step = Framework(name), "", None
    for line in sys.stdin:
        try:
            if line.strip() != row_name:
                row_name = line.strip()
                step = framework.step(ROWS[row_name])
                step()
            start = time.perf_counter()
            step()
            repeats = max(3, min(2000, int(BLOCK / max(1e-7, time.perf_counter() - start))))
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            answer: dict[str, Any] = {"seconds": statistics.median(times)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


class Side:
    def __init__(self, spec: str) -> None:
        match = re.fullmatch(r"([\w.-]+)=(.+):(mlx|torch|jax)", spec)
        if not match:
            raise SystemExit(f"got {spec!r}, expected LABEL=INTERPRETER:FRAMEWORK")
        self.label, interpreter, self.framework = match.groups()
        self.process = subprocess.Popen(
            [interpreter, str(Path(__file__).resolve()), "--worker", self.framework],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, row: str) -> float | None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "the process died"}')
        if "error" in answer:
            print(f"  {self.label}, {row}: {answer['error']}", file=sys.stderr)
        return answer.get("seconds")


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.3g}"


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

    sides = [Side(spec) for spec in arguments.sides]
    lines = [
        "| ms per step | " + " | ".join(s.label for s in sides) + " | best / " + sides[0].label + " |",
        "| --- |" + " ---: |" * (len(sides) + 1),
    ]
    print(*lines, sep="\n")
    ratios = []
    for name in (n for n in ROWS if re.search(arguments.rows, n)):
        rounds = [[side.measure(name) for side in sides] for _ in range(arguments.rounds)]
        medians = [statistics.median(t) if None not in t else None for t in zip(*rounds, strict=True)]
        peers = [t for t in medians[1:] if t is not None]
        ratio = min(peers) / medians[0] if peers and medians[0] else None
        if ratio:
            ratios.append(ratio)
        times = " | ".join(map(milliseconds, medians))
        lines.append(f"| {name} | {times} | {f'{ratio:.2f}' if ratio else '-'} |")
        print(lines[-1], flush=True)
    if ratios:
        lines.append(f"| geometric mean |{' |' * len(sides)} {math.exp(statistics.fmean(map(math.log, ratios))):.2f} |")
        print(lines[-1])
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
