"""Tests of the GPU run in processes of their own, whose device is simulated (test_simulated.py starts them)."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import pytest
from simulated import PARTS, run_tests

collect_ignore = [] if mx.metal.is_available() else ["on_gpu"]


@pytest.fixture(scope="session")
def kept_sources(tmp_path_factory) -> Path:
    """What the backend gives a device to compile in a part of the tests, which pass."""
    folder = tmp_path_factory.mktemp("sources")
    run_tests("simulator", PARTS, MLX_METAL_KEEP_SOURCES=str(folder))
    return folder
