"""``nan_check``: the first operation whose result has a nan or an infinity that its inputs had not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from . import _modules
from ._origins import Origin, Recording, origin_of_id

_FOLDER = os.path.dirname(__file__)


class NotFiniteError(FloatingPointError):
    """What :class:`nan_check` raises. The message has all that the attributes have."""

    op: str
    """The name of the operation."""
    group: str
    """The operations that ran together with it, joined by ``+``; ``""`` where it ran alone."""
    path: str
    """The path of the module that was being called, such as ``"GPT.layers.2.attention"``."""
    line: str
    """``"file:line in function"``; of the forward operation where this one is part of a backward pass."""
    origin: Origin
    """Who built the operation, in full."""
    inputs: list[mx.array]
    """Its inputs, with their values."""
    output: mx.array
    """Its result (the first that is not finite, where there are several)."""
    input_shapes: list[tuple[int, ...]]
    """The shapes of the inputs."""
    input_dtypes: list[mx.Dtype]
    """Their dtypes."""
    bad_input: int | None
    """The position of the input that had a nan already: the operation only passed it on."""
    input_name: str
    """What that input is called in the program, where a name was found."""


class nan_check:
    """In the block, evaluation stops at the first nan or infinity and says where it comes from.

    Every result is looked at: an operation that makes a nan from inputs that had none, or an
    infinity from finite ones, raises :class:`NotFiniteError` (a ``FloatingPointError``) that names
    the operation, the module, the shapes and the line of Python, in the forward pass, the backward
    pass, an optimizer or a compiled function. An operation that passes on a nan it was given raises
    too, and the error says which array had it. Infinities that come in, such as those of a mask,
    are not reported by themselves. ::

        with mx.debug.nan_check():
            loss, grads = loss_and_grad(model, x, y)
            optimizer.update(model, grads)
            mx.eval(model.parameters(), optimizer.state)

    What runs fused stays fused; only a bad result is computed once more step by step. So a nan that
    a fused group replaces itself (``mx.where(x > 0, mx.log(x), 0)``) is not one that is found.
    Errors of :func:`mx.async_eval` come where the array is read, at the latest at the end of the
    block.

    Args:
      inf: ``False``: infinities alone are no reason to stop. Default: ``True``.
    """

    def __init__(self, inf: bool = True):
        self._inf = inf

    def __enter__(self) -> nan_check:
        self._recording = Recording()
        self._recording.start()
        self._check = mx._CheckFinite(self._inf)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        try:
            found = self._check.last_found() if kind is None else None
        finally:
            self._check.stop()
            self._recording.stop()
        if found is not None and not found.told:
            raise make_error(found)


@contextmanager
def unwatched() -> Iterator[None]:
    """What is evaluated in the block is hidden from the tools."""
    mx._pause_watching()
    try:
        yield
    finally:
        mx._resume_watching()


def make_error(found: Any) -> NotFiniteError:
    """The exception for what the evaluator found."""
    with unwatched():
        origin = origin_of_id(found.origin)
        inputs, outputs = found.inputs, found.outputs
        output = next((o for o in outputs if _bad(o)), outputs[0])
        bad_input = found.bad_input if found.bad_input >= 0 else None
        name = ""
        if bad_input is not None:
            bad = inputs[bad_input]
            name = name_of(bad, sys._getframe()) or _parameter_like(bad, origin.path)
        error = NotFiniteError(_message(found, origin, inputs, output, bad_input, name))
    error.op, error.group = found.operation, found.group
    error.path, error.line, error.origin = origin.path, origin.line, origin
    error.inputs, error.output = inputs, output
    error.input_shapes = [a.shape for a in inputs]
    error.input_dtypes = [a.dtype for a in inputs]
    error.bad_input, error.input_name = bad_input, name
    return error


def _bad(a: mx.array) -> bool:
    return mx.issubdtype(a.dtype, mx.inexact) and not mx.isfinite(a).all().item()


def _message(
    found: Any,
    origin: Origin,
    inputs: list[mx.array],
    output: mx.array,
    bad_input: int | None,
    name: str,
) -> str:
    what = "nan" if found.nan else "inf"
    shapes = ", ".join(_shape(a) for a in inputs)
    if bad_input is None:
        head = f"{found.operation}({shapes}) made the first {what}"
    else:
        called = f" ({name})" if name else ""
        head = f"an input was already nan: input {bad_input}{called} of {found.operation}({shapes})"
    lines = [f"[nan_check] {head}{f', in {origin.path}' if origin.path else ''}"]
    lines.append(f"  line:   {origin or 'not known: it was built before the check began'}")
    lines += [f"          through {place}" for place in origin.via]
    for i, a in enumerate(inputs):
        lines.append(f"  input {i}: {_describe(a)}")
        made = origin_of_id(mx._origin_id(a))
        if made and i == bad_input:
            lines.append(f"          made at {made}")
    lines.append(f"  output: {_describe(output)}")
    if found.group:
        lines.append(f"  it ran in the fused group {found.group}")
    return "\n".join(lines)


def _shape(a: mx.array) -> str:
    return f"{str(a.dtype).removeprefix('mlx.core.')} {list(a.shape)}".replace(" [", "[")


def _describe(a: mx.array) -> str:
    text = f"{_shape(a)}"
    if a.size == 0 or not mx.issubdtype(a.dtype, mx.floating):
        return text
    finite = mx.isfinite(a)
    if finite.any().item():
        low, high = mx.where(finite, a, mx.inf).min().item(), mx.where(finite, a, -mx.inf).max().item()
        text += f", {low:.4g} to {high:.4g}"
    counts = {"nan": int(mx.isnan(a).sum().item()), "inf": int(mx.isinf(a).sum().item())}
    text += "".join(f", {n} {k}" for k, n in counts.items() if n)
    return text


def name_of(a: mx.array, frame: FrameType | None) -> str:
    """What an array is called in the program: a variable, or a place in a model, list or dict."""
    wanted = _identity(a)
    seen: set[int] = set()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_FOLDER):
            frame = frame.f_back
            continue
        for scope in (frame.f_locals, frame.f_globals):
            if id(scope) in seen:
                continue
            seen.add(id(scope))
            for name, value in list(scope.items()):
                found = _find(name, value, wanted, seen)
                if found:
                    return found
        frame = frame.f_back
    return ""


def _parameter_like(a: mx.array, path: str) -> str:
    """The module's parameter that has the shape of ``a``, where there is just one.

    When the loss is evaluated after ``optimizer.update``, the model has its new parameters already,
    and the program has no name for the old ones.
    """
    module = _modules.at_path(path)
    own = [(k, p) for k, p in (module or {}).items() if isinstance(p, mx.array) and p.dtype == a.dtype]
    alike = [k for k, p in own if p.shape in (a.shape, a.shape[::-1])]
    return f"{path}.{alike[0]}" if len(alike) == 1 else ""


def _identity(a: mx.array) -> set[int]:
    """The node and its memory: transposing a parameter, or differentiating by it, makes a view."""
    return {mx._array_id(a), mx._buffer_id(a)} - {0}


def _find(name: str, value: Any, wanted: set[int], seen: set[int]) -> str:
    if isinstance(value, mx.array):
        return name if _identity(value) & wanted else ""
    if name.startswith("__") or id(value) in seen:
        return ""
    if hasattr(type(value), "apply_gradients"):
        name, value = f"{name}.state", value.state
    if not isinstance(value, (dict, list, tuple)):
        return ""
    seen.add(id(value))
    try:
        leaves = tree_flatten(value)
    except Exception:  # contains itself, or has keys that are no text
        return ""
    for path, leaf in leaves:
        if isinstance(leaf, mx.array) and _identity(leaf) & wanted:
            return f"{name}.{path}"
    return ""
