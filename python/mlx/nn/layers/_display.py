"""How modules are shown: text for a terminal, HTML for a notebook."""

from __future__ import annotations

from collections import Counter
from html import escape
from math import prod
from typing import Any

from mlx.utils import tree_flatten

from ._tree import submodules


def text(module: Any) -> str:
    """``Name(details)`` with one indented line per submodule: ``  (name): Child(...)``."""
    head = f"{type(module).__name__}({module._extra_repr()}"
    children = [
        f"  ({name}): {child!r}".replace("\n", "\n  ")
        for name, child in submodules(module.children(), module.is_module)
    ]
    return "\n".join([head, *children, ")"]) if children else f"{head})"


def html(module: Any) -> str:
    """A foldable tree: parameters with shape and dtype, counts, and a mark on what is frozen.

    Parameters with several names are marked, too, and counted once.
    """
    names = Counter(id(value) for _, value in tree_flatten(module.parameters()))
    tied = {value for value, count in names.items() if count > 1}
    return f'<div class="mlx-module" style="font-family:monospace">{_node("", module, tied)}</div>'


_FROZEN = ' <span class="frozen" title="not trainable" style="color:#4a78b8">❄ frozen</span>'
_TIED = ' <span class="tied" title="has several names" style="color:#777">tied</span>'


def _count(tree: Any) -> int:
    return sum({id(value): prod(value.shape) for _, value in tree_flatten(tree)}.values())


def _node(name: str, module: Any, tied: set[int]) -> str:
    total = _count(module.parameters())
    trainable = _count(module.trainable_parameters())
    label = f"({escape(name)}): " if name else ""
    title = f"{label}<b>{escape(type(module).__name__)}</b>({escape(module._extra_repr())})"
    if total:
        title += f' <span style="color:#777">{trainable:,} of {total:,} trainable</span>'
    if total and not trainable:
        title += _FROZEN

    # A key that holds modules or containers of modules appears below, as those modules.
    own = module.filter_and_map(
        lambda m, k, v: m is module and not m.is_module(v) and m.valid_parameter_filter(m, k, v)
    )
    thawed = dict(tree_flatten(module.trainable_parameters()))
    rows = [
        f"<li>{escape(key)}: {value.shape} {escape(str(value.dtype).removeprefix('mlx.core.'))}"
        f"{'' if key in thawed else _FROZEN}{_TIED if id(value) in tied else ''}</li>"
        for key, value in tree_flatten(own)
    ]
    rows += [
        f"<li>{_node(path, child, tied)}</li>"
        for path, child in submodules(module.children(), module.is_module)
    ]
    if not rows:
        return title
    return f"<details open><summary>{title}</summary><ul>{''.join(rows)}</ul></details>"
