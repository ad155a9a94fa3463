"""The path of the ``nn.Module`` that is being called, kept while a tool is on.

Python looks ``__call__`` up in the class, so it is replaced there, in every class that has one of
its own, and put back afterwards: calls of modules cost nothing while no tool is on.
"""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

_lock = threading.Lock()
_users = 0
_replaced: list[tuple[type, Any]] = []
_here = threading.local()
# By identity; the module itself keeps its identity from being used again.
_known: dict[int, tuple[Any, str, int]] = {}


def start() -> None:
    """Begins to keep track; as many calls of :func:`stop` end it."""
    global _users
    from mlx.nn import Module

    with _lock:
        _users += 1
        if _users > 1:
            return
        for root in roots():
            _note(root, type(root).__name__)
        for cls in {Module, *_subclasses(Module)}:
            _replace(cls)
        Module.__init_subclass__ = classmethod(_new_subclass)


def stop() -> None:
    """Ends what :func:`start` began."""
    global _users
    from mlx.nn import Module

    with _lock:
        _users -= 1
        if _users > 0:
            return
        del Module.__init_subclass__
        for cls, call in _replaced:
            cls.__call__ = call
        _replaced.clear()
        _known.clear()


def roots() -> list[Any]:
    """The modules that are part of no other one."""
    from mlx.nn import Module

    modules = [o for o in gc.get_objects() if issubclass(type(o), Module)]
    inner = {id(child) for m in modules for _, child in _below(m) if child is not m}
    return [m for m in modules if id(m) not in inner]


def at_path(path: str) -> Any | None:
    """The module that has been called under a path, while a tool is on."""
    return next((module for module, name, _ in list(_known.values()) if name == path), None)


def _below(module: Any) -> list[tuple[str, Any]]:
    try:
        return module.named_modules()
    except Exception:  # half built, or built with a named_modules of its own
        return [("", module)]


def _subclasses(cls: type) -> Iterator[type]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _new_subclass(cls: type, **kwargs: Any) -> None:
    dict.__init_subclass__(**kwargs)
    with _lock:
        _replace(cls)


def _replace(cls: type) -> None:
    call = cls.__dict__.get("__call__")
    if callable(call):
        _replaced.append((cls, call))
        cls.__call__ = _tracked(call)


def _note(root: Any, name: str) -> None:
    for path, module in _below(root):
        full = f"{name}.{path}" if path else name
        _known[id(module)] = (module, full, mx._path_id(full))


def _path_id(module: Any, stack: list[Any]) -> int:
    known = _known.get(id(module))
    if known is None:
        name = type(module).__name__
        parent = _known.get(id(stack[-1])) if stack else None
        if parent:  # a module that its parent's tree does not show
            name = f"{parent[1]}.{name}"
        _note(module, name)
        return mx._path_id(_known[id(module)][1])
    return known[2]


def _tracked(call: Callable) -> Callable:
    @functools.wraps(call)
    def tracked(self: Any, *args: Any, **kwargs: Any) -> Any:
        stack = _here.__dict__.setdefault("stack", [])
        if (stack and stack[-1] is self) or _users == 0:  # super().__call__, or a call kept by somebody
            return call(self, *args, **kwargs)
        number = _path_id(self, stack)
        stack.append(self)
        outer = mx._set_module(number)
        try:
            return call(self, *args, **kwargs)
        finally:
            mx._set_module(outer)
            stack.pop()

    return tracked
