"""Modules made of modules."""

from __future__ import annotations

from typing import Any

from .base import Module


class Sequential(Module):
    """Calls modules, or any functions, one after the other.

    Args:
      modules: each is called with the result of the one before it. Kept in the list ``layers``.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
