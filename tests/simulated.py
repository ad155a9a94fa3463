"""Python in a process whose GPU is simulated: by the simulator, or by Apple's host code on a stand-in for its
frameworks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlx.core as mx
import pytest

TESTS = Path(__file__).parent
# A value or two of every family; of element-wise operations as many as have sources of their own.
ROWS = (
    "add or divide or remainder or less or exp or abs or isnan or where or logical_not or conj or sum or max or argmax "
    "or cumsum or softmax or logsumexp or norm or rope or matmul or quantize or take or concatenate or arange or astype"
)
PARTS = [
    ["tests/core/test_op_values.py", "-k", f"(test_values or test_layouts) and ({ROWS})"],
    ["tests/core/test_operators.py", "tests/metal/on_gpu"],
    ["tests/core/test_examples.py", "-k", "metal_kernel or device_info"],
]
DEVICES = {"simulator": "1", "apple": "apple"}


def stand_in() -> Path | None:
    """The library that stands in for Apple's frameworks: it is built with the C++ tests and not installed."""
    built = list(TESTS.parent.glob("build*/mlx/libmlx_metal_standin.so"))
    own = [path for path in built if path.parents[1] in Path(mx.__file__).parents]
    # A sanitized one fits only the process that runs with the same build.
    plain = [path for path in built if "MLX_SANITIZE:STRING=\n" in (path.parents[1] / "CMakeCache.txt").read_text()]
    return max(own or plain, key=lambda path: path.stat().st_mtime, default=None)


def environment(device: str, **more: str) -> dict[str, str]:
    """Of a process with this device, a key of DEVICES; skips the test where it is not built."""
    out = {**os.environ, **more, "MLX_METAL_SIMULATOR": DEVICES[device]}
    if device == "apple":
        library = stand_in()
        if library is None:
            pytest.skip("the stand-in for Apple's frameworks is not built")
        out["MLX_METAL_STANDIN"] = str(library)
        out["MLX_STANDIN_STRICT"] = "1"  # misuse of Metal ends the process
        out["MLX_STANDIN_DEVICE"] = str(library.with_name("libmlx_metal_sim.so"))
    return out


def run_tests(device: str, parts: list[list[str]], timeout: float = 900, **more: str) -> None:
    """Tests in such processes, one for each part, two at a time; all must pass."""
    env = environment(device, **more)

    def run(arguments: list[str]) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=TESTS.parent, env=env, capture_output=True, text=True, timeout=timeout)
        return "" if done.returncode == 0 else done.stdout[-8000:] + done.stderr[-2000:]

    with ThreadPoolExecutor(2) as pool:
        failures = "".join(pool.map(run, parts))
    assert not failures, failures
