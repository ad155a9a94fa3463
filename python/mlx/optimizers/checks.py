"""Checks of arguments that several optimizers share."""

from __future__ import annotations

from collections.abc import Sequence


def check_betas(optimizer: object, betas: Sequence[float]) -> None:
    """Two decay rates in [0, 1)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(
            f"[{type(optimizer).__name__}] betas are {betas}, expected two numbers in [0, 1)"
        )


def check_at_least_zero(optimizer: object, **values: float) -> None:
    """Named arguments that must not be negative."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"[{type(optimizer).__name__}] {name} is {value}, expected >= 0")
