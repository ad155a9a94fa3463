"""Where nodes of the graph come from: the line of Python, the module, the node whose derivative it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mlx.core as mx

from . import _modules

_PACKAGE = str(Path(__file__).resolve().parents[1])
mx._set_package_folders(str(Path(__file__).parents[1]) + os.sep, str(Path(__file__).parent) + os.sep)


@dataclass(frozen=True)
class Origin:
    """Who built a node of the graph. ``str()`` says it in one line."""

    frames: tuple[tuple[str, str, int], ...] = ()
    """File, function and line, from the inside out: lines of this package, then the user's, which
    is the last one. Empty for nodes that a rule built, such as those of a backward pass."""
    module: str = ""
    """The dotted path of the ``nn.Module`` that was being called; begins with the model's class."""
    relation: str = ""
    """``"backward"``: the node computes a gradient of ``of``; ``"tangent"``: its derivative in the
    forward direction; ``""``: neither."""
    of: Origin | None = None
    """The origin of the node that this one was derived from."""

    @property
    def path(self) -> str:
        """The module; that of the node derived from, where it has none of its own."""
        return self.module or (self.of.path if self.of else "")

    @property
    def line(self) -> str:
        """``"file:line in function"`` of the user's program; ``""`` where it is not known."""
        if self.frames:
            return _place(*self.frames[-1])
        return self.of.line if self.of else ""

    @property
    def via(self) -> tuple[str, ...]:
        """The lines of this package between the user's line and the operation, from the outside in."""
        frames = self.frames or (self.of.frames if self.of else ())
        return tuple(_place(*frame) for frame in reversed(frames[:-1]))

    @property
    def is_backward(self) -> bool:
        """Whether the node is part of a backward pass, at any remove."""
        return self.relation == "backward" or (self.of is not None and self.of.is_backward)

    def __bool__(self) -> bool:
        return bool(self.frames or self.module or self.of)

    def __str__(self) -> str:
        if self.frames or not self.relation:
            own = f"{self.line} ({self.module})" if self.module else self.line
            within = f"{own}, in the {self.relation} of {self.of or 'a node from before'}"
            return within if self.relation else own
        return f"{self.relation} of {self.of or 'a node built before the tool was on'}"


def _place(file: str, function: str, line: int) -> str:
    return f"{_short(file)}:{line} in {function}"


@lru_cache(maxsize=4096)
def _short(file: str) -> str:
    if file.startswith(_PACKAGE + os.sep):
        return os.path.join("mlx", os.path.relpath(file, _PACKAGE))
    if file.startswith(os.getcwd() + os.sep):
        return os.path.relpath(file)
    return file


@lru_cache(maxsize=65536)
def origin_of_id(number: int) -> Origin:
    """The origin with the number that nodes and reports carry."""
    if number == 0:
        return Origin()
    frames, module, relation, of = mx._origin(number)
    derived = origin_of_id(of) if relation and of else None
    return Origin(tuple(frames), module, relation, derived)


def origin(a: mx.array) -> Origin:
    """Who built an array: its line, its module, and the node whose derivative it is.

    Args:
      a: an array. Evaluated arrays know it too.
    Returns:
      An :class:`Origin`; an empty one (false in conditions) for arrays that were built while no
      tool was on.
    """
    if not isinstance(a, mx.array):
        raise TypeError(f"[debug.origin] a is a {type(a).__name__}, expected an array")
    return origin_of_id(mx._origin_id(a))


class Recording:
    """Nodes remember who built them from :meth:`start` to :meth:`stop`."""

    def __init__(self) -> None:
        self._recording = None

    def start(self) -> None:
        _modules.start()
        self._recording = mx._RecordOrigins()

    def stop(self) -> None:
        if self._recording is not None:
            self._recording.stop()
            self._recording = None
            _modules.stop()


@contextmanager
def record_origins() -> Iterator[None]:
    """In the block, nodes remember who built them; :func:`origin` tells.

    The other tools do so by themselves. Compiled functions that were traced before are traced once
    more. While no tool is on, nothing is remembered, and it costs nothing. ::

        with mx.debug.record_origins():
            loss, grads = loss_and_grad(model, x, y)
        print(mx.debug.origin(grads["layers"][0]["weight"]))
    """
    recording = Recording()
    recording.start()
    try:
        yield
    finally:
        recording.stop()
