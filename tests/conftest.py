"""Shared by all tests: the CPU device and a fixed seed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def fixed_seed():
    import mlx.core as mx

    mx.random.seed(0)
    yield


@pytest.fixture
def data():
    return Path(__file__).parent / "data"
