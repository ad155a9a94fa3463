"""Tests of the Metal backend: kernels in the simulator (`MLX_METAL_SIMULATOR=1`)."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("MLX_METAL_SIMULATOR"):
        return
    skip = pytest.mark.skip(reason="MLX_METAL_SIMULATOR is not set")
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(skip)
