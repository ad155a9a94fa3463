"""What tests of matrix kernels share."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import mlx.core as mx
import numpy as np

# Half a unit in the last place of results near 1, and some for sums of products of a few hundred pairs.
BOUND = {mx.float32: 2e-6, mx.float16: 1e-3, mx.bfloat16: 8e-3}


def random(rng: np.random.Generator, *shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.array(rng.standard_normal(shape).astype(np.float32)).astype(dtype)


def double(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32)).astype(np.float64)


def error(got: mx.array, want: np.ndarray) -> float:
    assert got.shape == want.shape
    return float(np.abs(double(got) - want).max() / max(np.abs(want).max(), 1e-30))


def on_gpu(f: Callable[[], mx.array], *names: str) -> mx.array:
    """Evaluates without handing a primitive of these names to the CPU."""
    before = mx.metal._hand_overs()
    out = f()
    mx.eval(out)
    after = mx.metal._hand_overs()
    for name in names:
        assert after.get(name, 0) == before.get(name, 0), f"{name} ran on the CPU"
    return out


SIMULATOR = ctypes.CDLL("libmlx_metal_sim.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
SIMULATOR.mlx_metal_simulator_counters_text.restype = ctypes.c_char_p
COUNTS = ["dispatches", "threads", "barriers", "read", "written", "unique_read", "unique_written"]


def counted(f: Callable[[], mx.array]) -> dict[str, dict[str, int]]:
    """What the kernels did that an evaluation needs, by kernel; bytes are those of buffers."""
    SIMULATOR.mlx_metal_simulator_reset_counters()
    mx.eval(f())
    out = {}
    for line in SIMULATOR.mlx_metal_simulator_counters_text().decode().splitlines():
        *numbers, kernel = line.split(maxsplit=len(COUNTS))
        out[kernel] = dict(zip(COUNTS, map(int, numbers), strict=True))
    return out
