"""The tests of on_gpu and those of the CPU, with the simulated GPU as the default device. Always: a part of them in the
simulator, and every row of the table of operations with all dtypes and layouts through Apple's host code. With
`pytest tests/metal -m slow --timeout 7200` all of them, both ways, a process for each file.
"""

from __future__ import annotations

import subprocess
import sys

import mlx.core as mx
import pytest
from simulated import DEVICES, PARTS, TESTS, environment, run_tests

pytestmark = pytest.mark.skipif(mx.metal.is_available(), reason="this process has the GPU already")

# Everything that can be evaluated on a GPU; a file left out has a reason.
FOLDERS = ("core", "nn", "optimizers")
LEFT_OUT = {
    "core/test_reference.py": "the official package, with which it compares, has no such device",
}
TESTED = sorted(str(file.relative_to(TESTS)) for folder in FOLDERS for file in (TESTS / folder).glob("test_*.py"))
# What is marked slow inside of these goes on for hours: over whole ranges of float32, billions of elements.
ONLY_QUICK = ("core/test_accuracy.py", "core/test_huge.py")


def test_a_part_in_the_simulator(kept_sources):
    assert list(kept_sources.glob("*.metal"))


@pytest.mark.timeout(3000)
def test_the_whole_table_through_apple():
    table = "tests/core/test_op_values.py"
    halves = [[table, "-k", "test_values"], [table, "-k", "not test_values"]]
    run_tests("apple", [*halves, *PARTS[1:]], timeout=3000)


def test_what_is_left_out_exists():
    assert set(LEFT_OUT) | set(ONLY_QUICK) <= set(TESTED)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("file", [file for file in TESTED if file not in LEFT_OUT])
def test_all(file, device, request):
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("compiles thousands of kernels: pytest tests/metal -m slow --timeout 7200")
    quick = ["-m", "not slow"] if file in ONLY_QUICK else []
    # Room for the kernels of all files: most are those of others too, and of the other device.
    run_tests(device, [[f"tests/{file}", *quick]], timeout=7200, MLX_METAL_SIMULATOR_CACHE=str(2 << 30))


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
