"""Text as bytes, and windows of it in a random order that can be taken up anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import standard_library


def python_sources(largest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The modules of Python's standard library, as bytes: for training, and every 15th for validation."""
    texts = list(standard_library(largest).values())
    held_out = texts[7::15] or texts[-1:]
    kept = [text for i, text in enumerate(texts) if i % 15 != 7] if len(texts) > 7 else texts
    return _joined(kept), _joined(held_out)


def language_reference(largest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Python's language reference, as ``help()`` shows it: English prose, which is in every installation too."""
    from pydoc_data.topics import topics

    texts = [topics[name].encode() for name in sorted(topics)]
    if largest is not None:
        texts = [b"".join(texts)[:largest][i : i + 2000] for i in range(0, largest, 2000)]
    return _joined([t for i, t in enumerate(texts) if i % 10 != 7]), _joined(texts[7::10])


def _joined(texts: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(texts), np.uint8)


class Windows:
    """Batches of windows of a text, shuffled: each epoch cuts the text elsewhere and has its own order.

    What it draws comes from a generator of its own. ``state`` is where it stands: with the same
    state, the same batches follow.
    """

    def __init__(self, text: np.ndarray, length: int, batch_size: int, seed: int) -> None:
        if len(text) < length * (batch_size + 1) + 1:
            raise ValueError(f"the text has {len(text)} bytes, too few for a batch of {batch_size} x {length}")
        self.text, self.length, self.batch_size = text, length, batch_size
        self.rng = np.random.default_rng(seed)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.epoch_state = self.rng.bit_generator.state
        self.index = 0
        first = self.rng.integers(self.length)
        starts = np.arange(first, len(self.text) - self.length, self.length)
        self.order = self.rng.permutation(starts)

    @property
    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch_state, "index": self.index}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["epoch"]
        self._begin_epoch()
        self.index = state["index"]

    def next(self) -> tuple[mx.array, mx.array]:
        """Inputs and targets, (batch, length) each; a target is the byte after its input."""
        if self.index + self.batch_size > len(self.order):
            self._begin_epoch()
        starts = self.order[self.index : self.index + self.batch_size]
        self.index += self.batch_size
        windows = self.text[starts[:, None] + np.arange(self.length + 1)]
        return mx.array(windows[:, :-1]), mx.array(windows[:, 1:])


def even_windows(text: np.ndarray, length: int, count: int) -> np.ndarray:
    """``count`` windows of ``length + 1`` bytes, spread evenly: the same ones every time."""
    starts = np.linspace(0, len(text) - length - 1, count).astype(int)
    return text[starts[:, None] + np.arange(length + 1)]
