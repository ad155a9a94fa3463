"""A training on the GPU follows the one on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def digits(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    default = mx.default_device()
    yield pytest.importorskip("train_digits")
    mx.set_default_device(default)
    sys.modules.pop("train_digits", None)


def test_losses_are_those_of_the_cpu(digits, tmp_path):
    losses = {}
    for device in ("cpu", "gpu"):
        folder = tmp_path / device
        flags = ["--quick", "--train", "--steps", "6", "--device", device, "--output", str(folder)]
        before = mx.metal._hand_overs()
        digits.main(flags)
        losses[device] = np.array(nn.load_checkpoint(folder / "train.safetensors", None).extra["losses"])
        assert (mx.metal._hand_overs() == before) or device == "gpu"
    assert len(losses["gpu"]) == 6
    np.testing.assert_allclose(losses["gpu"], losses["cpu"], rtol=1e-4)
