"""Tests of the GPU run in a process of their own, whose device is simulated (test_simulated.py starts it)."""

from __future__ import annotations

import mlx.core as mx

collect_ignore = [] if mx.metal.is_available() else ["on_gpu"]
