"""Sums over processes: this package and, where its interpreter is named, the official one, in turns.

    python benchmarks/python/exchange.py --reference .venv-reference/bin/python --processes 2 3
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# Every process times all_sum of arrays that all have ready; the first one prints medians in microseconds.
WORKER = """
import json, statistics, sys, time
import mlx.core as mx
g = mx.distributed.init(True, "ring")
times = {}
for dtype, size in [(d, int(s)) for d in ("float32", "bfloat16") for s in sys.argv[2:]]:
    x, taken = mx.ones((size,), dtype=getattr(mx, dtype)) * (g.rank() + 1), []
    for _ in range(int(sys.argv[1])):
        y = x + 0
        mx.eval(y, mx.distributed.all_sum(mx.array(1.0)))
        begun = time.perf_counter()
        mx.eval(mx.distributed.all_sum(y))
        taken.append(1e6 * (time.perf_counter() - begun))
    times[f"{dtype} {size}"] = statistics.median(taken)
if g.rank() == 0:
    print(json.dumps(times))
"""


def measure(python: str, processes: int, repeat: int, sizes: list[int]) -> dict[str, float]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    addresses = [[f"127.0.0.1:{s.getsockname()[1]}"] for s in sockets]
    for s in sockets:
        s.close()
    with tempfile.TemporaryDirectory() as folder:
        hosts = Path(folder) / "hosts.json"
        hosts.write_text(json.dumps(addresses))
        command = [python, "-c", WORKER, str(repeat), *map(str, sizes)]
        started = [
            subprocess.Popen(
                command,
                env={**os.environ, "MLX_RANK": str(rank), "MLX_HOSTFILE": str(hosts)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        outputs = [p.communicate(timeout=300)[0] for p in started]
    if any(p.returncode for p in started):
        raise RuntimeError(f"{python}: processes ended with {[p.returncode for p in started]}")
    return json.loads(outputs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="an interpreter with the official package")
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 1_000, 100_000, 4_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=15)
    args = parser.parse_args()
    sides = {"ours": sys.executable} | ({"mlx": args.reference} if args.reference else {})
    print("| all_sum, us | processes | " + " | ".join(sides) + " |\n| --- | ---: |" + " ---: |" * len(sides))
    for processes in args.processes:
        rounds: dict[str, list[dict[str, float]]] = {label: [] for label in sides}
        for _ in range(args.rounds):
            for label, python in sides.items():
                rounds[label].append(measure(python, processes, args.repeat, args.sizes))
        for row in rounds["ours"][0]:
            medians = [statistics.median(r[row] for r in rounds[label]) for label in sides]
            print(f"| {row} | {processes} | " + " | ".join(f"{m:.0f}" for m in medians) + " |", flush=True)


if __name__ == "__main__":
    main()
