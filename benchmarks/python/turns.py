"""Frameworks that take turns: a process for each, which times the rows it is asked for, and the table of the answers.

The asking side needs nothing but the standard library; the answering one imports a single framework.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

Prepare = Callable[[str], tuple[Callable[[], Any], dict[str, Any]]]


def serve(prepare: Prepare, seconds: float) -> None:
    """A side's process: reads names of rows, answers each with the times of a step, in seconds.

    `prepare(name)` returns the step and what else the answer says. A row that is asked for again is not prepared
    again. `seconds` is about how long one answer takes: at least three steps, at most 2000.
    """
    name, step = "", None
    facts: dict[str, Any] = {}
    for line in sys.stdin:
        try:
            if step is None or line.strip() != name:
                step = None  # its memory is free before the next row takes some
                gc.collect()
                name = line.strip()
                step, facts = prepare(name)
                step()
            start = time.perf_counter()
            step()
            repeats = max(3, min(2000, int(seconds / max(1e-7, time.perf_counter() - start))))
            times = []
            for _ in range(repeats):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            answer = {"seconds": statistics.median(times), "fastest": min(times), **facts}
        except Exception as error:
            step, answer = None, {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


class Side:
    """The other end of `serve`: a command that runs it."""

    def __init__(self, label: str, command: list[str]) -> None:
        self.label = label
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, row: str) -> dict[str, Any]:
        """The answer; without "seconds" where the row failed, which is reported."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(row + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line or '{"error": "the process died"}')
        if "error" in answer:
            print(f"  {self.label}, {row}: {answer['error']}", file=sys.stderr)
        return answer


class Table:
    """Times in Markdown, printed row by row. The last column is the best peer's time by that of the first side."""

    def __init__(self, title: str, sides: list[str], facts: list[str] | None = None) -> None:
        self.ratios: list[float] = []
        self.between = len(facts or []) + len(sides)
        self.lines: list[str] = []
        self._print("| " + " | ".join([title, *(facts or []), *sides, f"best / {sides[0]}"]) + " |")
        self._print("| --- |" + " ---: |" * (self.between + 1))

    def _print(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def add(self, name: str, seconds: list[float | None], facts: list[str] | None = None) -> None:
        peers = [t for t in seconds[1:] if t is not None]
        ratio = min(peers) / seconds[0] if peers and seconds[0] else None
        if ratio:
            self.ratios.append(ratio)
        times = ["-" if t is None else f"{1000 * t:.3g}" for t in seconds]
        self._print("| " + " | ".join([name, *(facts or []), *times, f"{ratio:.2f}" if ratio else "-"]) + " |")

    def finish(self) -> str:
        if self.ratios:
            mean = math.exp(statistics.fmean(map(math.log, self.ratios)))
            self._print(f"| geometric mean |{' |' * self.between} {mean:.2f} |")
        return "\n".join(self.lines) + "\n"
