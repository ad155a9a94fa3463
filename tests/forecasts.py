"""Forecasts of memory against what evaluation does to it."""

from __future__ import annotations

from typing import Any

import mlx.core as mx


def check_forecast(tree: Any) -> None:
    """Evaluates the tree, whose forecast is exact. Forecasts are of the CPU's kernels: on a GPU it only evaluates."""
    if mx.default_device() != mx.cpu:
        mx.eval(tree)
        return
    peak, after, _ = mx._forecast_memory(tree)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(tree)
    assert (mx.get_peak_memory() - before, mx.get_active_memory() - before) == (peak, after)
