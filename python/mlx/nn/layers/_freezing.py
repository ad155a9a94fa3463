"""The names that ``freeze`` and ``unfreeze`` take, and what to say about one that names nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlx.utils import tree_flatten

_HERE = str(Path(__file__).parent)


def members(modules: Iterable[Any]) -> set[str]:
    """What a key can name in any of ``modules``: attributes, and dotted places in containers."""
    known: set[str] = set()
    for module in modules:
        known.update(module)

        def note(owner: Any, key: str, value: Any) -> bool:
            known.add(key)
            return not owner.is_module(value)

        module.filter_and_map(note, is_leaf_fn=lambda m, k, v: not isinstance(v, (dict, list)))
    return known


def hints(module: Any, unknown: list[str], known: set[str]) -> str:
    """For each unknown name the nearest known one, or where the parameter of that path is."""
    paths = {path for path, _ in tree_flatten(module.parameters())}
    said = []
    for name in unknown:
        if name in paths:
            below, _, last = name.rpartition(".")
            said.append(
                f" {name!r} is a path, expected names within a module: freeze {last!r} "
                f"of {below!r}."
            )
        elif near := get_close_matches(name, known, n=1):
            said.append(f" Did you mean {near[0]!r} instead of {name!r}?")
    return "".join(said)


def callers_level() -> int:
    """The ``stacklevel`` of ``warnings.warn`` that points out of this package's layers."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    return level
