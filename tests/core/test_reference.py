"""Generated programs here and in the official package, where that is installed: values, dtypes, shapes, gradients, and
whether a call is refused.

The other package runs in a process of its own, by the Python that the environment variable MLX_REFERENCE_PYTHON names,
or by that of a virtual environment .venv-reference beside the sources.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from programs import draw, evaluate, finish, spoiled

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("MLX_REFERENCE_PYTHON") or str(ROOT / ".venv-reference/bin/python")
pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason="the official package is not installed")

# Relative to the largest magnitude. Intermediate results of 16 bits leave their errors in everything after them.
TOLERANCE = {"float64": 3e-4, "float32": 3e-4, "complex64": 1e-3, "float16": 3e-2, "bfloat16": 2e-1}

# Other types of error than the official package's, on purpose: see docs/compatibility.md.
TYPES = {
    ("TypeError", "ValueError"),
    ("IndexError", "ValueError"),
    ("ValueError", "RuntimeError"),
    ("ValueError", "TypeError"),
}


def reference(programs: list[Any]) -> list[Any]:
    done = subprocess.run(
        [PYTHON, str(ROOT / "tests/programs.py")],
        input="".join(json.dumps(p) + "\n" for p in programs),
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},  # nothing of this build
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(programs), f"{done.stderr[-2000:]} in {programs[len(results)]}"
    return results


def difference(got: Any, want: Any, exact: bool, least: float) -> str:
    """What differs; nothing where the arrays are the same within their accuracy."""
    for key in ("dtype", "shape"):
        if got[key] != want[key]:
            return f"{key} {got[key]} instead of {want[key]}"
    x, y = np.array(got["values"], float), np.array(want["values"], float)
    if exact or got["dtype"] not in TOLERANCE or x.size == 0:
        return "" if np.array_equal(x, y, equal_nan=True) else f"{x} instead of {y}"
    finite = np.isfinite(x) & np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return f"{x} instead of {y}"
    x, y = x[finite], y[finite]
    error = np.max(np.abs(x - y), initial=0) / (1 + np.max(np.abs(y), initial=0))
    return "" if error <= max(TOLERANCE[got["dtype"]], least) else f"{x} instead of {y}, off by {error:.2g}"


def coarsest(program: Any) -> float:
    text = json.dumps(program)
    return max((TOLERANCE[d] for d in ("float16", "bfloat16") if f'"{d}"' in text), default=0.0)


def known(program: Any, want: Any) -> bool:
    """Where the official package's gradient is not the derivative, or is refused without need."""
    if "gradient_error" in want:
        # of a select whose result was made an integer
        return "Type of cotangents does not match" in want["message"]
    # which of equal elements is among the largest; sqrt(|x|) at 0, which is not a number there
    return any(step[0] in ("topk", "sqrt", "rsqrt") for step in program["steps"])


def compare(seed: int, program: Any, got: Any, want: Any) -> None:
    where = f"seed {seed}: {program['steps']}"
    if "zero size" in want.get("message", ""):  # refused there for all empty arrays
        return
    assert "error" not in got and "error" not in want, f"{where}: {got} instead of {want}"
    least = coarsest(program)
    for g, w, exact in zip(got["values"], want["values"], program["exact"], strict=True):
        bad = difference(g, w, exact, least)
        assert not bad, f"{where}: {bad}"
    if "gradient_error" in want and known(program, want):
        return
    assert got.get("gradient_error") == want.get("gradient_error"), f"{where}: {got} instead of {want}"
    for g, w in zip(got.get("gradients", []), want.get("gradients", []), strict=True):
        bad = difference(g, w, False, 2 * least)
        assert not bad or known(program, want), f"{where}: gradient {bad}"


def check(first: int, count: int, most: int) -> None:
    seeds = range(first, first + count)
    programs = [finish(draw(mx, seed, 1, most=most)) for seed in seeds]
    for seed, program, want in zip(seeds, programs, reference(programs), strict=True):
        compare(seed, program, evaluate(mx, program), want)


def test_programs() -> None:
    check(10_000, 200, 15)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "count", "most"), [(20_000, 1500, 6), (30_000, 1500, 25)])
def test_many_programs(first: int, count: int, most: int) -> None:
    check(first, count, most)


@pytest.mark.slow
def test_refused() -> None:
    """Programs with a wrong argument: refused by both or by none. Positions out of range are left out, as the official
    package reads and writes whatever is there.
    """
    cases = []
    for seed in range(40_000, 41_000):
        program = spoiled(finish(draw(mx, seed, 1, most=6)), np.random.default_rng(seed))
        got = evaluate(mx, program)
        if "out of range" not in got.get("message", "") and "indices of" not in got.get("message", ""):
            cases.append((seed, program, got))
    wants = reference([program for _, program, _ in cases])
    refused = 0
    for (seed, program, got), want in zip(cases, wants, strict=True):
        if "error" in got or "error" in want:
            refused += 1
            types = got.get("error"), want.get("error")
            # Here axis=None takes any indices, and complex numbers have an expm1.
            if types[0] is None and ("take_along_axis" in want["message"] or "[expm1]" in want["message"]):
                continue
            assert types[0] == types[1] or types in TYPES, f"seed {seed}: {got} instead of {want}: {program['steps']}"
        else:
            shapes = [[v["shape"], v["dtype"]] for v in got["values"]]
            assert shapes == [[v["shape"], v["dtype"]] for v in want["values"]], f"seed {seed}: {program['steps']}"
    assert refused > 100


def test_the_comparison_sees_differences() -> None:
    program = finish(draw(mx, 10_000, 1, most=15))
    got = evaluate(mx, program)
    other = json.loads(json.dumps(got))
    other["values"][0]["values"][0] = 77.0
    with pytest.raises(AssertionError):
        compare(0, program, other, got)
