"""The tests of on_gpu and those of the CPU, with the simulated GPU as the default device. Always: a part of them in the
simulator, and every row of the table of operations with all dtypes and layouts through Apple's host code. With
`pytest tests/metal -m slow --timeout 7200` all of them, both ways.
"""

from __future__ import annotations

import subprocess
import sys

import mlx.core as mx
import pytest
from simulated import DEVICES, PARTS, environment, run_tests

pytestmark = pytest.mark.skipif(mx.metal.is_available(), reason="this process has the GPU already")

ALL = [
    ["core/test_op_values.py"],  # through Apple's host code it runs above
    ["core/test_op_transforms.py"],
    ["core/test_indexing.py", "core/test_indexing_generated.py", "core/test_dot.py", "core/test_random.py"],
]


def test_a_part_in_the_simulator(kept_sources):
    assert list(kept_sources.glob("*.metal"))


@pytest.mark.timeout(3000)
def test_the_whole_table_through_apple():
    table = "tests/core/test_op_values.py"
    halves = [[table, "-k", "test_values"], [table, "-k", "not test_values"]]
    run_tests("apple", [*halves, *PARTS[1:]], timeout=3000)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("files", ALL, ids=lambda files: files[0].removesuffix(".py").partition("test_")[2])
def test_all(files, device, request):
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("compiles thousands of kernels: pytest tests/metal -m slow --timeout 7200")
    run_tests(device, [[f"tests/{file}" for file in files]], timeout=7200)


# Beyond 2^24 a transform is three passes: a line of 16.8 million numbers, which takes a minute in the simulator.
LONG_TRANSFORMS = """
import mlx.core as mx
import numpy as np
n = 16_800_000
x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
spectrum = np.fft.rfft(x.astype(np.float64))
for got, want in [
    (mx.fft.rfft(mx.array(x[None]))[0], spectrum),
    (mx.fft.irfft(mx.array(spectrum.astype(np.complex64)), n), x),
    (mx.fft.ifft(mx.array((x + 1j * x[::-1]).astype(np.complex64))), np.fft.ifft(x + 1j * x[::-1].astype(np.float64))),
    (mx.fft.rfft(mx.array(np.stack([x, x[::-1]], 1)), axis=0)[:, 0], spectrum),
    (mx.fft.rfft(mx.array(x[:, None]), axis=0)[:, 0], spectrum),
]:
    assert np.abs(np.array(got) - want).max() < 1e-6 * np.abs(want).max()
assert "fft" not in mx.metal._hand_overs(), mx.metal._hand_overs()
"""


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_long_transforms(device, request):
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("transforms of 16.8 million numbers: pytest tests/metal -m slow --timeout 7200")
    env = environment(device, MLX_METAL_SIMULATOR_TIMEOUT="1000")
    command = [sys.executable, "-c", LONG_TRANSFORMS]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
