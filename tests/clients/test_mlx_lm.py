"""mlx_lm, unchanged: models of its families generate, are quantized, trained and fused as with the official package."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install '.[clients]'")
pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install '.[clients]'")
sys.path.insert(0, str(Path(__file__).parent))

from scenarios import SCENARIOS

# Largest difference from the recorded numbers, where it is not 1e-4: training multiplies rounding (a step of Adam
# depends on the sign of a gradient more than on its size), and fusing rounds weights to 4 bits again.
TOLERANCE = {
    "training/*/train": 2e-3,
    "training/*/valid": 2e-3,
    "training/*/adapted": 2e-2,
    "training/*/fused": 2e-2,
    "training/qlora/fused": 0.3,
    "training/experts/fused": 0.3,
}


@cache
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "mlx_lm.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(
    ("scenario", "case"), [(name, case) for name, (_, cases) in SCENARIOS.items() for case in cases]
)
def test_scenario(scenario: str, case: str):
    got = SCENARIOS[scenario][0](case)
    expected = {key.split("/")[2]: x for key, x in recorded().items() if key.startswith(f"{scenario}/{case}/")}
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key].shape == value.shape, key
        if value.dtype.kind == "f":
            limit = TOLERANCE.get(f"{scenario}/{case}/{key}", TOLERANCE.get(f"{scenario}/*/{key}", 1e-4))
            assert np.abs(got[key] - value).max() <= limit, key
        else:
            assert np.array_equal(got[key], value), key
    if "pieces" in got:  # through the cache
        assert np.abs(got["whole"] - got["pieces"]).max() < 1e-4
    if "valid" in got:
        assert got["valid"][-1] < got["valid"][0]
    if "plain" in got:  # what is proposed changes nothing
        assert np.array_equal(got["tokens"], got["plain"])
