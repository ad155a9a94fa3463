"""The tests of on_gpu and those of the CPU, with the simulated GPU as the default device: a part of them always, all
of them with `pytest tests/metal -m slow --timeout 7200`; in the simulator, and through Apple's host code.
"""

from __future__ import annotations

import mlx.core as mx
import pytest
from simulated import DEVICES, PARTS, run_tests

pytestmark = pytest.mark.skipif(mx.metal.is_available(), reason="this process has the GPU already")

ALL = [
    ["core/test_op_values.py"],
    ["core/test_op_transforms.py"],
    ["core/test_indexing.py", "core/test_indexing_generated.py", "core/test_dot.py", "core/test_random.py"],
]


def test_a_part_in_the_simulator(kept_sources):
    assert list(kept_sources.glob("*.metal"))


def test_a_part_through_apple():
    run_tests("apple", PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("files", ALL, ids=lambda files: files[0].removesuffix(".py").partition("test_")[2])
def test_all(files, device, request):
    if "slow" not in request.config.getoption("markexpr"):
        pytest.skip("compiles thousands of kernels: pytest tests/metal -m slow --timeout 7200")
    run_tests(device, [[f"tests/{file}" for file in files]], timeout=7200)
