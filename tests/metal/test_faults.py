"""A device that fails as a whole: the exception names the operations, and the next evaluation works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import mlx.core as mx
x = mx.array([1.0, 2.0, 3.0])
before = mx.negative(x)
mx.eval(before)
failed = mx.floor(x * 1.5)
for _ in range(2):
    try:
        mx.eval(failed)
        raise SystemExit("no error")
    except RuntimeError as error:
        assert "floor" in str(error) and EXPECTED in str(error), error
assert before.tolist() == [-1, -2, -3]
assert mx.floor(x * 1.5).tolist() == [1, 3, 4]
print("as expected")
"""


@pytest.mark.parametrize(("fault", "expected"), [("timeout:2", "time"), ("queue:2", "queue is dead")])
def test_the_next_evaluation_works(fault, expected):
    environment = {**os.environ, "MLX_METAL_SIMULATOR": "1", "MLX_METAL_SIMULATOR_INJECT": fault}
    program = PROGRAM.replace("EXPECTED", repr(expected))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "as expected\n", done.stdout + done.stderr
