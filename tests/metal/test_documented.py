"""The kernel with a race in docs/metal.md: it prints what is written there, and with the barrier the sums. The example
with a kernel trains with it. Without a compiler the simulator says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import environment

TEXT = (Path(__file__).parents[2] / "docs/metal.md").read_text()
FORGOTTEN = "      if (t < n) part[t] += part[t + n];\n"
BARRIER = "      threadgroup_barrier(mem_flags::mem_threadgroup);\n"


def printed(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment("simulator"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


NEEDS_KERNELS = """
import mlx.core as mx
try:
    mx.eval(mx.ones(3) + 1)
except RuntimeError as error:
    print(error)
with mx.stream(mx.cpu):
    print((mx.ones(3) + 1).tolist())
"""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"PATH": "/nonexistent"}, r"no C\+\+ compiler: install g\+\+ or clang\+\+, or `pip install ziglang`"),
        (
            {"MLX_METAL_SIMULATOR_CXX": "/nonexistent/c++"},
            r"CXX=/nonexistent/c\+\+ is no C\+\+ compiler",
        ),
    ],
    ids=["none", "wrong"],
)
def test_a_missing_compiler_is_named(more, words):
    command = [sys.executable, "-c", NEEDS_KERNELS]
    env = environment("simulator", **more)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    error, values = done.stdout.splitlines()
    assert re.search(words, error)
    assert values == "[2.0, 2.0, 2.0]"


def test_the_example_trains_with_its_kernels(tmp_path):
    for needed in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(needed)
    example = Path(__file__).parents[2] / "examples/metal_kernel.py"
    command = [sys.executable, example, "--quick", "--output", tmp_path]
    env = environment("simulator", TQDM_DISABLE="1")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "kernels and formula differ by" in done.stdout
    assert re.search(r"kernels: \d+\.\d% of the held-out digits", done.stdout)


def test_the_race_is_found_as_documented():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    found, right = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert printed(code) == found
    assert found.startswith("[sums] race: write of 4 bytes")
    mended = code.replace(FORGOTTEN, FORGOTTEN + BARRIER)
    assert mended != code and printed(mended) == right
