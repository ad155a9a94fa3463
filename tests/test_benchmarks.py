"""benchmarks/python/programs.py: both sides of its table are there, and the one that needs no PyTorch runs."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[1] / "benchmarks" / "python" / "programs.py"
PROGRAMS = COMMAND.with_name("programs")
ROWS = runpy.run_path(str(PROGRAMS / "table.py"))["ROWS"]


def programs(file: Path) -> dict[str, str]:
    """The arguments of each function of a file that makes a program."""
    functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {f.name: ast.unparse(f.args) for f in functions if f.returns and ast.unparse(f.returns) == "Program"}


@pytest.mark.parametrize("file", sorted({row.file for row in ROWS.values()}))
def test_both_sides_have_the_programs_of_the_table(file: str):
    ours, theirs = programs(PROGRAMS / f"{file}_mlx.py"), programs(PROGRAMS / f"{file}_torch.py")
    assert ours == theirs
    assert ours.keys() == {row.function for row in ROWS.values() if row.file == file}


def test_rows_run():
    """A step of training, a function without a model, and a row that fails between two that don't."""
    rows = ["policy mlp 64x64 b64 step", "no such row", "jacobian of mlp 64-64-64 (vmap vjp)"]
    done = subprocess.run(
        [sys.executable, COMMAND, "--worker", "ours", "--budget", "0"],
        input="".join(f"{row}\n" for row in rows),
        capture_output=True,
        text=True,
        check=True,
    )
    policy, missing, jacobian = map(json.loads, done.stdout.splitlines())
    assert 0 < policy["fastest"] <= policy["seconds"]
    assert policy["parameters"] == (8 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * 4
    assert policy["inputs"] == ["normal(64, 8)", "integers(64,) below 4", "normal(64,)", "normal(64,)"]
    assert missing == {"error": "KeyError: 'no such row'"}
    assert jacobian["fastest"] > 0 and jacobian["parameters"] is None
