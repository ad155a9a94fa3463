"""The type stubs: they hold every name of mlx.core, and a type checker accepts them and programs that use them."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import pytest

# A program that uses every module of the package.
EVERYTHING = Path(__file__).parent / "data/strict_program.py"
STUBS = Path(mx.__file__).parent / "core"
MODULES = {"__init__": mx} | {name: module for name, module in vars(mx).items() if isinstance(module, ModuleType)}

PROGRAM = """
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

def loss(w: mx.array, x: mx.array) -> mx.array:
    return mx.mean(mx.square(x @ w - 1.0))

a: mx.array = mx.array([1.0, 2.0]) + 1
s: mx.StreamOrDevice = mx.cpu
b = mx.random.normal((2, 3), dtype=mx.float16, stream=s)
w = mx.fast.rms_norm(b, None, 1e-5)
shape: tuple[int, ...] = w.shape
c: mx.array = 1 - a @ a.T + np.ones(2) * -a
quotient, remainder = divmod(c, 2)
equal: mx.array = (c == 1) & (2 < c)
c[0] += float(c[1]) if c.any() else len(c)
rows: list[mx.array] = list(c)
step = mx.compile(mx.value_and_grad(loss))
updated: mx.array = quotient.at[0].add(1)
mx.eval(a, b, w)
mx.set_default_device(mx.cpu)
"""


def stub_names(name: str) -> set[str]:
    found = set()
    for node in ast.parse((STUBS / f"{name}.pyi").read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", MODULES)
def test_stubs_hold_every_name(name: str):
    public = {n for n in vars(MODULES[name]) if not n.startswith("_")}
    assert public <= stub_names(name), public - stub_names(name)


def test_package_is_marked_as_typed():
    assert (STUBS / "py.typed").is_file()


def test_the_program_runs():
    subprocess.run([sys.executable, EVERYTHING], check=True, capture_output=True)


@pytest.mark.slow
def test_type_checker_accepts_stubs_and_programs(tmp_path: Path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    # A copy: mypy reports nothing about packages that are installed.
    package = tmp_path / "mlx"
    shutil.copytree(STUBS.parent, package, ignore=shutil.ignore_patterns("*.so", "lib", "include", "__pycache__"))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    everything = shutil.copy(EVERYTHING, tmp_path)
    flags = ["--strict", "--namespace-packages", "--explicit-package-bases", "--follow-imports", "silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *flags, "--cache-dir", tmp_path, program, everything, package / "core"],
        capture_output=True,
        text=True,
        env={"MYPYPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
