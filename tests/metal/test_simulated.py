"""The tests of on_gpu, and a part of the others, with the simulated GPU as the default device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

TESTS = Path(__file__).parents[1]
# A value or two of each family; all of them: MLX_METAL_SIMULATOR=1 pytest tests/core
PART = "(test_values or test_layouts) and (add or divide or exp or where or sum or softmax or matmul or concatenate)"


def run(*arguments: str, timeout: float = 900) -> None:
    environment = {**os.environ, "MLX_METAL_SIMULATOR": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.skipif(mx.metal.is_available(), reason="this process has the GPU already")
class TestSimulated:
    def test_the_device(self):
        run("tests/metal/on_gpu")

    def test_part_of_the_operations(self):
        run("tests/core/test_op_values.py", "-k", PART)

    def test_operators(self):
        run("tests/core/test_operators.py")

    def test_examples_that_need_a_gpu(self):
        run("tests/core/test_examples.py", "-k", "metal_kernel or device_info")

    @pytest.mark.slow
    def test_all_operations(self, request):
        if "slow" not in request.config.getoption("markexpr"):
            pytest.skip("compiles thousands of kernels: pytest tests/metal -m slow --timeout 7200")
        tests = [f"tests/core/test_{name}.py" for name in ("op_values", "op_transforms", "indexing")]
        run(*tests, timeout=7200)
