"""Whole programs, written once with mlx.nn and once with torch.nn: inference, steps of training, and some that are
no networks.

    python benchmarks/python/programs.py --torch PEERS/bin/python [--rows REGEX] [--rounds 3] [--budget 0.5]

programs/table.py has the rows, programs/FILE_mlx.py and FILE_torch.py the programs; they can be read side by side.
Each side is a process of its own; they take turns on every row, and the fastest step counts. Both are eager. Images
run in PyTorch a second time with `channels_last`, and the better time counts. A row whose sides have different
numbers of trainable parameters, or have drawn different inputs, is reported and does not count.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import Side, Table, serve

sys.path.insert(0, str(Path(__file__).resolve().with_name("programs")))

from table import ROWS

SIDES = ["ours", "torch", "torch channels_last"]
FACTS = ["parameters", "inputs"]  # what must be the same on all sides


def work(side: str, seconds: float) -> None:
    import common

    framework = "mlx" if side == "ours" else "torch"
    if side == "torch channels_last":
        importlib.import_module("side_torch").use_channels_last()

    def prepare(name: str) -> tuple[Callable[[], Any], dict[str, Any]]:
        row = ROWS[name]
        common.start_drawing()
        make = getattr(importlib.import_module(f"{row.file}_{framework}"), row.function)
        program: common.Program = make(**row.arguments)
        facts = {"parameters": program.parameters, "inputs": common.drawn(), "has_layouts": program.has_layouts}
        return program.run, facts

    serve(prepare, seconds)


def differences(answers: dict[str, dict[str, Any]]) -> list[str]:
    """Why the answers of the sides to one row can't be compared."""
    succeeded = {side: answer for side, answer in answers.items() if "error" not in answer}
    return [
        f"{fact} differ: " + ", ".join(f"{side} {answer[fact]}" for side, answer in succeeded.items())
        for fact in FACTS
        if any(answer[fact] != next(iter(succeeded.values()))[fact] for answer in succeeded.values())
    ]


def measure(sides: list[Side], name: str, rounds: int) -> tuple[dict[str, dict[str, Any]], list[float | None]]:
    """The last answer of each side, and the fastest step of each in all rounds."""
    answers: dict[str, dict[str, Any]] = {}
    times: dict[str, list[float]] = {side.label: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            if side.label == "torch channels_last" and not answers["torch"].get("has_layouts"):
                continue
            answers[side.label] = answer = side.measure(name)
            if "fastest" in answer:
                times[side.label].append(answer["fastest"])
    return answers, [min(t) if t else None for t in times.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=sys.executable, help="a Python that has torch and numpy")
    parser.add_argument("--rows", default="", help="rows whose name matches this expression")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.5, help="seconds that a side has for a row in each round")
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker, arguments.budget)
    names = [name for name in ROWS if re.search(arguments.rows, name)]
    if not names:
        raise SystemExit(f"got --rows {arguments.rows!r}, expected an expression that a name in table.py matches")

    script, budget = str(Path(__file__).resolve()), str(arguments.budget)
    pythons = dict.fromkeys(SIDES, arguments.torch) | {"ours": sys.executable}
    sides = [Side(s, [python, script, "--worker", s, "--budget", budget]) for s, python in pythons.items()]
    table = Table("ms per step, fastest", SIDES, ["parameters"])
    failed = 0
    for name in names:
        answers, times = measure(sides, name, arguments.rounds)
        reasons = differences(answers)
        for reason in reasons:
            print(f"  {name}: {reason}", file=sys.stderr)
        failed += bool(reasons) or any("error" in answer for answer in answers.values())
        parameters = answers["ours"].get("parameters")
        table.add(name, [None] * len(times) if reasons else times, ["" if parameters is None else f"{parameters:,}"])
    table.finish()
    if failed:
        raise SystemExit(f"{failed} of {len(names)} rows can't be compared")


if __name__ == "__main__":
    main()
