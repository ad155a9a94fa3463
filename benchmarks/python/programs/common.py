"""What both frameworks share: what a program is, and the numbers that it is given.

Every random input comes from here, in the layout of MLX (channels last). Both sides draw the same shapes in the same
order, so they get the same numbers; what was drawn is kept, for the command to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Program:
    """A model or a function with its inputs, ready to run."""

    run: Callable[[], Any]  # what is timed: when it returns, its results are in memory
    parameters: int | None = None  # trainable ones of the model; None: there is no model
    has_layouts: bool = False  # PyTorch: has weights of images, which may lie channels last


BYTE = np.uint8
_random = np.random.default_rng(0)
_drawn: list[str] = []


def start_drawing() -> None:
    global _random
    _random = np.random.default_rng(0)
    _drawn.clear()


def drawn() -> list[str]:
    return list(_drawn)


def normal(*shape: int) -> np.ndarray:
    _drawn.append(f"normal{shape}")
    return _random.normal(size=shape).astype(np.float32)


def uniform(*shape: int) -> np.ndarray:
    _drawn.append(f"uniform{shape}")
    return _random.random(shape, np.float32)


def integers(bound: int, *shape: int, dtype: type = np.int64) -> np.ndarray:
    """From [0, bound)."""
    _drawn.append(f"integers{shape} below {bound}")
    return _random.integers(0, bound, shape, dtype)
