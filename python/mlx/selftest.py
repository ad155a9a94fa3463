"""Runs the operations of a device against a reference and prints a table: ``python -m mlx.selftest``.

The reference is this package's CPU in float64 where the operation has it, else in the same dtype. A device is a GPU
where there is one (or its simulator, in which sizes are small and times say nothing), else the CPU itself. The report,
with ``--json FILE``, is made to be attached to a bug report.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx.core as mx
from mlx._selftest_rows import BOUND, Row, all_rows


@dataclass
class Result:
    """What came out of one row with one dtype."""

    name: str
    family: str
    dtype: str
    shapes: str
    error: float = 0.0  # largest, relative to the largest value of the reference
    bound: float = 0.0
    milliseconds: float = math.nan
    gigabytes_per_second: float = math.nan
    gigaflops: float | None = None
    share: float = math.nan  # of the bandwidth or arithmetic that this run reached at most
    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure and self.error <= self.bound


def operands(row: Row, shapes: Sequence[tuple[int, ...]], dtype: mx.Dtype) -> list[mx.array]:
    out = []
    for i, shape in enumerate(shapes):
        x = mx.random.uniform(row.low, row.high, shape, key=mx.random.key(i), stream=mx.cpu)
        if not mx.issubdtype(dtype, mx.inexact):
            x = mx.abs(x, stream=mx.cpu) * (1 if dtype == mx.bool_ else 20)
            x = mx.floor(x, stream=mx.cpu)
        out.append(x.astype(dtype, stream=mx.cpu))
    with mx.stream(mx.cpu):
        out = row.prepare(out)
        mx.eval(out)
    return out


def reference(row: Row, inputs: list[mx.array], count: int) -> mx.array:
    """The row on the CPU; its first `count` inputs are of the dtype that is tested."""
    with mx.stream(mx.cpu):
        if row.wide and mx.issubdtype(inputs[0].dtype, mx.floating):
            inputs = [x.astype(mx.float64) for x in inputs[:count]] + inputs[count:]
        out = row.function(*inputs)
        mx.eval(out)
    return out


def largest_error(out: mx.array, expected: mx.array) -> float:
    """Relative to the largest value; infinite where shapes differ or one is nan and the other is not."""
    if out.shape != expected.shape:
        return math.inf
    if out.size == 0:
        return 0.0
    with mx.stream(mx.cpu):
        a, b = out.astype(mx.float64), expected.astype(mx.float64)
        differ = mx.where(mx.isnan(a) & mx.isnan(b) | (a == b), 0.0, mx.abs(a - b)).max().item()
        scale = mx.where(mx.isfinite(b), mx.abs(b), 0.0).max().item()
    return math.inf if math.isnan(differ) else differ / max(scale, 1e-30)


def seconds_of(row: Row, inputs: list[mx.array], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        mx.eval(row.function(*inputs))
        mx.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def run(row: Row, dtype_name: str, small: bool, repeats: int) -> Result:
    dtype = getattr(mx, dtype_name)
    shapes = row.small if small else row.large
    result = Result(row.name, row.family, str(dtype).split(".")[-1], " ".join(map(str, shapes)))
    try:
        inputs = operands(row, shapes, dtype)
        out = row.function(*inputs)
        mx.eval(out)
        expected = reference(row, inputs, len(shapes))
        result.error = largest_error(out, expected)
        # Integers are exact; results of 16 bits are rounded once, whatever is computed.
        factor = row.factor if dtype_name == "float32" else min(row.factor, 2)
        result.bound = BOUND.get(dtype_name, 0.0) * factor
        seconds = seconds_of(row, inputs, repeats)
        result.milliseconds = 1e3 * seconds
        result.gigabytes_per_second = (sum(x.nbytes for x in inputs) + out.nbytes) / seconds / 1e9
        if row.flops:
            result.gigaflops = row.flops(inputs) / seconds / 1e9
    except Exception as error:  # every failure of an operation is a line of the table
        result.failure = f"{type(error).__name__}: {error}"
    return result


def add_shares(results: list[Result]) -> None:
    """The limits are what the fastest row of this run reached: nobody asks a data sheet."""
    fast = [r for r in results if not r.failure]
    bandwidth = max((r.gigabytes_per_second for r in fast), default=math.nan)
    for dtype in {r.dtype for r in fast}:
        arithmetic = max((r.gigaflops or 0 for r in fast if r.dtype == dtype), default=0)
        for r in fast:
            if r.dtype == dtype:
                r.share = r.gigaflops / arithmetic if r.gigaflops else r.gigabytes_per_second / bandwidth


def table(results: list[Result]) -> str:
    head = f"{'operation':24} {'dtype':9} {'error':>8} {'bound':>8} {'ms':>9} {'GB/s':>7} {'GFLOP/s':>8} {'share':>6}"
    lines = [f"{head}  shapes"]
    family = ""
    for r in results:
        if r.family != family:
            family = r.family
            lines.append(f"-- {family}")
        flops = "" if r.gigaflops is None else f"{r.gigaflops:.0f}"
        text = f"{r.name:24} {r.dtype:9} "
        if r.failure:
            text += f"FAILED {r.failure}"
        else:
            text += f"{r.error:8.1e} {r.bound:8.1e} {r.milliseconds:9.3f} {r.gigabytes_per_second:7.1f} {flops:>8} "
            text += f"{r.share:6.2f}  {r.shapes}{'' if r.passed else '  WRONG'}"
        lines.append(text)
    return "\n".join(lines)


def about() -> dict[str, object]:
    return {
        "version": mx.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(mx.default_device()),
        "info": dict(mx.device_info()),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mlx.selftest", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "gpu"], help="default: the GPU where there is one")
    parser.add_argument("--small", action="store_true", help="small sizes, as in the simulator")
    parser.add_argument("--only", metavar="TEXT", help="operations whose name or family has this in it")
    parser.add_argument("--repeats", type=int, default=9, help="evaluations of which the median is the time")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON too")
    options = parser.parse_args(arguments)
    if options.device:
        mx.set_default_device(getattr(mx, options.device))
    simulated = "simulator" in str(mx.device_info().get("device_name", "")).lower()
    small = options.small or simulated
    rows = [r for r in all_rows() if not options.only or options.only in r.name or options.only in r.family]
    if not rows:
        print(f"no operation or family has {options.only!r} in its name", file=sys.stderr)
        return 2
    results = []
    for row in rows:
        for dtype in row.dtypes:
            results.append(run(row, dtype, small, 1 if simulated else max(1, options.repeats)))
    add_shares(results)
    facts = about()
    print(f"mlx {facts['version']}, Python {facts['python']}, {facts['system']}")
    print(f"{facts['device']}: {facts['info']}")
    print(table(results))
    wrong = [r for r in results if not r.passed]
    print(f"{len(results) - len(wrong)} of {len(results)} passed" + (", times of a simulator" if simulated else ""))
    if options.json:
        report = {**facts, "results": [{**asdict(r), "passed": r.passed} for r in results]}
        options.json.write_text(json.dumps(report, indent=1, default=str))
        print(f"written to {options.json}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
