"""Walks over the tree that a module is: dicts, lists and modules, with arrays at the leaves.

A *key* names a value inside one module. It is the attribute's name, followed by dotted dict keys
and list indices for values inside containers (``blocks.0``); it never crosses into a submodule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

FilterFn = Callable[[Any, str, Any], bool]


def collect(
    owner: Any,
    key: str,
    value: Any,
    is_module: Callable[[Any], bool],
    filter_fn: FilterFn,
    map_fn: Callable[[Any], Any],
    is_leaf_fn: FilterFn,
) -> Any:
    """What ``Module.filter_and_map`` returns for one accepted value of ``owner``.

    Rejected dict entries and list items become ``{}``, so that the others keep their places.
    """
    if is_leaf_fn(owner, key, value):
        return map_fn(value)
    if is_module(value):
        # The method, not a recursion from here: a module may override it.
        return value.filter_and_map(filter_fn, map_fn, is_leaf_fn)

    def inside(name: Any, item: Any) -> Any:
        path = f"{key}.{name}"
        if not filter_fn(owner, path, item):
            return {}
        return collect(owner, path, item, is_module, filter_fn, map_fn, is_leaf_fn)

    if isinstance(value, dict):
        return {name: inside(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [inside(i, item) for i, item in enumerate(value)]
    raise RuntimeError(
        f"[{type(owner).__name__}.filter_and_map] is_leaf_fn says that {key!r} has children, "
        f"but a {type(value).__name__} has none"
    )


class Assignment(NamedTuple):
    """One pending ``container[key] = value``."""

    container: Any
    key: Any
    value: Any
    path: str


def plan_update(target: Any, updates: Any, leaf: type, strict: bool, what: str) -> list[Assignment]:
    """The assignments that bring ``updates`` into ``target``; nothing is changed yet.

    Only values of type ``leaf`` are replaced, and only by values of that type. Empty containers
    in ``updates`` stand for "leave it".

    Args:
      target: a module.
      updates: a tree with a part of the module's form.
      leaf: what is being replaced, arrays or modules.
      strict: raise for what does not fit; otherwise skip it.
      what: the beginning of error messages, naming the caller.
    Raises:
      ValueError: ``strict`` and a name is unknown, an index too large or a type wrong.
    """
    planner = _Planner(leaf, strict, what)
    planner.walk(target, updates, "")
    return planner.plan


class _Planner:
    """The walk of :func:`plan_update`.

    Methods, not functions inside of that: those would refer to each other, a cycle, and all the
    arrays would wait for the garbage collector.
    """

    def __init__(self, leaf: type, strict: bool, what: str) -> None:
        self.plan: list[Assignment] = []
        self.leaf, self.strict, self.what = leaf, strict, what

    def refuse(self, message: str) -> None:
        if self.strict:
            raise ValueError(f"[{self.what}] {message}")

    def entry(self, container: Any, key: Any, new: Any, path: str) -> None:
        current = container[key]
        if isinstance(new, self.leaf):
            if isinstance(current, self.leaf):
                self.plan.append(Assignment(container, key, new, path))
            else:
                self.refuse(f"cannot replace {path!r}: it is {_kind(current)}, got {_kind(new)}")
        else:
            self.walk(current, new, path)

    def walk(self, current: Any, new: Any, path: str) -> None:
        where = repr(path) if path else "the module"
        if not isinstance(new, (dict, list)):
            expected = self.leaf.__name__
            self.refuse(f"invalid type for {where}: got {_kind(new)}, expected {expected}")
        elif not new:
            return
        elif isinstance(new, list) and isinstance(current, dict):
            # tree_unflatten makes a list of a dict whose keys are all digits.
            self.walk(current, {str(i): value for i, value in enumerate(new)}, path)
        elif isinstance(new, dict):
            if not isinstance(current, dict):
                names = ", ".join(map(repr, new))
                self.refuse(f"{where} is {_kind(current)}, got a dict with {names}")
                return
            for key, value in new.items():
                below = f"{path}.{key}" if path else str(key)
                if key in current:
                    self.entry(current, key, value, below)
                elif isinstance(value, self.leaf) or value not in ({}, []):
                    self.refuse(f"there is nothing named {below!r}")
        else:
            if not isinstance(current, list):
                self.refuse(f"{where} is {_kind(current)}, got a list of {len(new)}")
                return
            for i, value in enumerate(new):
                below = f"{path}.{i}" if path else str(i)
                if i < len(current):
                    self.entry(current, i, value, below)
                else:
                    size = len(current)
                    self.refuse(f"index {i} is out of bounds for {where}, a list of {size}")


def apply_plan(plan: list[Assignment]) -> None:
    for container, key, value, _ in plan:
        container[key] = value


def other_shapes(plan: list[Assignment], most: int = 5) -> list[str]:
    """What to say about arrays that would be replaced by arrays of other shapes: the first ones, and how many more.

    Shape (0,) is no mistake: programs give up a parameter's memory with it.
    """
    found = [
        f"{path!r} has shape {container[key].shape}, got {value.shape}"
        for container, key, value, path in plan
        if container[key].shape != value.shape and value.shape != (0,)
    ]
    return found if len(found) <= most else [*found[:most], f"and {len(found) - most} more"]


@contextmanager
def substituted(plan: list[Assignment]) -> Iterator[None]:
    """The assignments hold inside the block; after it, what was there before is back.

    What was assigned or removed inside the block stays so.
    """
    before = [container[key] for container, key, _, _ in plan]
    apply_plan(plan)
    try:
        yield
    finally:
        for (container, key, value, _), old in zip(plan, before, strict=True):
            try:
                if container[key] is value:
                    container[key] = old
            except LookupError:
                pass  # removed inside the block


def named_modules(root: Any, is_module: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    """Each module of the tree with its dotted name, parents first and the last child first."""
    stack = [("", root)]
    while stack:
        name, module = stack.pop()
        yield name, module
        prefix = f"{name}." if name else ""
        stack.extend(
            (f"{prefix}{path}", child) for path, child in submodules(module.children(), is_module)
        )


def submodules(tree: Any, is_module: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
    """The outermost modules in nested dicts and lists, with their paths."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in items:
        if is_module(value):
            yield str(name), value
        elif isinstance(value, (dict, list)):
            for path, module in submodules(value, is_module):
                yield f"{name}.{path}", module


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
