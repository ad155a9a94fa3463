"""Checkpoints: everything that a training run needs to go on, in one file.

It stands in ``mlx.nn`` because it reads modules (their parameters and frozen flags) and optimizers;
``mlx.utils`` knows trees only, and ``nn.utils.checkpoint`` is about memory, not files.

The file is safetensors. Arrays are called ``model.<parameter>``, ``optimizer.<path>``, ``random``,
``data.<path>`` and ``extra.<path>``, so other programs can read the weights. Its metadata has one
text, ``checkpoint``: JSON with the step, the frozen flags and the form of the trees, in which a
leaf is a value or the name of an array.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path, tree_unflatten

from .layers.base import Module

if TYPE_CHECKING:
    from mlx.optimizers import Optimizer

_VERSION = 1


@dataclass
class Checkpoint:
    """What :func:`load_checkpoint` returns: what the caller saved besides model and optimizer."""

    step: int | None
    """The step that was saved."""
    data: Any
    """Where the data stood, as it was saved."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further values by name."""


def save_checkpoint(
    path: str | os.PathLike,
    model: Module,
    optimizer: Optimizer | None = None,
    *,
    step: int | None = None,
    data: Any = None,
    **extra: Any,
) -> None:
    """Write the state of a training run to one file.

    Saved are all parameters, the frozen ones too, with the frozen flags of every module; the state
    of the optimizer, in which its step and the values of its schedules are; and the state of
    ``mx.random``. Schedules themselves, like the model, are code: the program that loads makes them.

    The file is complete or not there: it is written beside ``path``, flushed to the disk and then
    renamed. If anything fails, what stood at ``path`` before still does. A process that is killed
    while it writes leaves ``.unfinished-<name>`` there, which the next save replaces.

    Args:
      path: ends with ``.safetensors``. An existing file is replaced.
      model: parameters may have any shape and dtype.
      optimizer: ``None`` for a model that is not trained any further.
      step: steps made so far, as the program counts them.
      data: the position in the data: a tree of dicts, lists and tuples with arrays, numbers, texts,
        booleans and ``None`` at its leaves, such as ``{"epoch": 3, "order": order}`` or
        ``numpy.random.Generator.bit_generator.state``.
      extra: more trees by name, such as the losses so far.
    Raises:
      ValueError: the ending is another one, or two arrays have the same dotted name.
      TypeError: a leaf is something else.
      RuntimeError, OSError: an array cannot be computed, or the file cannot be written.

    >>> nn.save_checkpoint("run.safetensors", model, optimizer, step=100)      # doctest: +SKIP
    """
    target = _target("save_checkpoint", path)
    arrays: dict[str, mx.array] = {}
    header = {
        "version": _VERSION,
        "step": None if step is None else int(step),
        "frozen": {name: sorted(m._no_grad) for name, m in model.named_modules() if m._no_grad},
        "optimizer_class": None if optimizer is None else _class_names(optimizer),
    }
    pairs: list[tuple[str, mx.array]] = []
    tree_flatten(model.parameters(), "model", destination=pairs)
    for name, array in pairs:
        _put(arrays, name, array)
    if optimizer is not None:
        header["optimizer"] = _encode(optimizer.state, "optimizer", arrays)
    _put(arrays, "random", _random_state()[0])
    header["data"] = _encode(data, "data", arrays)
    header["extra"] = _encode(extra, "extra", arrays)
    _write(target, arrays, {"format": "mlx", "checkpoint": json.dumps(header)})


def load_checkpoint(path: str | os.PathLike, model: Module, optimizer: Optimizer | None = None) -> Checkpoint:
    """Read what :func:`save_checkpoint` has written into a model and an optimizer of the same form.

    With an optimizer the run goes on: its state, the frozen flags of the modules and the state of
    ``mx.random`` are as they were. Without one only the parameters are read, for evaluation, for
    generating or to fine-tune; flags and random state stay as they are.

    The optimizer's state is filled in place: an ``mx.compile`` that has it among its inputs goes on
    working. Whether the optimizer was used before makes no difference.

    All or nothing: when an error is raised, neither model nor optimizer has changed.

    Args:
      path: the file.
      model: has exactly the parameters of the file, with their shapes and dtypes. ``None`` reads
        only what else was saved, for example the sizes that are needed to make the model.
      optimizer: of the class that was saved, ``None`` to leave its state in the file alone.
    Returns:
      The step, the data position and whatever else was saved.
    Raises:
      ValueError: model or optimizer do not fit; the message lists all names that are missing, that
        are not expected and that differ in shape or dtype. Or the file is no checkpoint.
      RuntimeError: the file cannot be read.
    """
    source = _target("load_checkpoint", path)
    arrays, metadata = cast("tuple[dict[str, mx.array], dict[str, str]]", mx.load(str(source), return_metadata=True))
    header = _header(source, metadata)

    if model is None:
        if optimizer is not None:
            raise ValueError("[load_checkpoint] got an optimizer and no model, expected both or neither")
        return Checkpoint(header["step"], *(_decode(header[key], arrays) for key in ("data", "extra")))

    parameters = dict(tree_flatten(model.parameters()))
    inside = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
    problems = _differences("parameter", inside, parameters)
    state = None
    if optimizer is not None:
        problems += _optimizer_problems(optimizer, parameters, header, arrays)
        random = {name: array for name, array in arrays.items() if name == "random"}
        problems += _differences("array", random, {"random": _random_state()[0]})
        modules = dict(model.named_modules())
        unknown = header["frozen"].keys() - modules.keys()
        problems += [f"unexpected: module {name!r} has frozen flags" for name in sorted(unknown)]
    if problems:
        raise ValueError(
            f"[load_checkpoint] {os.fspath(path)!r} does not fit {type(model).__name__}: "
            f"{len(problems)} {'difference' if len(problems) == 1 else 'differences'}\n"
            + "\n".join(f"  {p}" for p in problems)
        )
    mx.eval(list(arrays.values()))  # the elements are read here: nothing is assigned if that fails
    data, extra = (_decode(header[key], arrays) for key in ("data", "extra"))
    if optimizer is not None:
        state = _decode(header["optimizer"], arrays)

    model.update(tree_map_with_path(lambda name, _: inside[name], model.parameters()))
    if optimizer is not None:
        for name, module in modules.items():
            module._no_grad.clear()
            module._no_grad.update(header["frozen"].get(name, ()))
        optimizer.state = _refilled(optimizer.state, state)
        _random_state()[0] = arrays["random"]
    return Checkpoint(header["step"], data, extra)


def _random_state() -> Any:  # behaves as a list, which the type stubs do not know
    return mx.random.state


# The file


def _target(function: str, path: str | os.PathLike) -> Path:
    target = Path(os.path.realpath(path))  # through a link: its target is replaced, not the link
    if target.suffix != ".safetensors":
        raise ValueError(f"[{function}] unsupported file extension of {os.fspath(path)!r}, expected '.safetensors'")
    return target


def _write(target: Path, arrays: dict[str, mx.array], metadata: dict[str, str]) -> None:
    # One name for all attempts: what a killed process leaves is overwritten by the next one.
    unfinished = target.with_name(f".unfinished-{target.name}")
    try:
        with open(unfinished, "wb") as file:
            mx.save_safetensors(file, arrays, metadata)
            file.flush()
            os.fsync(file.fileno())  # a renamed file must not be empty after a power failure
        if target.exists():
            shutil.copymode(target, unfinished)
        os.replace(unfinished, target)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    if os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, is on the disk
        finally:
            os.close(folder)


def _header(source: Path, metadata: dict[str, str]) -> dict[str, Any]:
    def bad(what: str) -> ValueError:
        return ValueError(f"[load_checkpoint] {str(source)!r} {what}")

    if "checkpoint" not in metadata:
        raise bad("was not written by save_checkpoint: its metadata has no 'checkpoint'")
    try:
        header = json.loads(metadata["checkpoint"])
    except json.JSONDecodeError as error:
        raise bad(f"has metadata that are no JSON: {error}") from None
    if not isinstance(header, dict) or header.get("version") != _VERSION:
        found = header.get("version") if isinstance(header, dict) else None
        raise bad(f"has version {found} of the format, expected {_VERSION}")
    lacking = {"step", "frozen", "optimizer_class", "data", "extra"} - header.keys()
    if lacking:
        raise bad(f"has metadata without {sorted(lacking)}")
    return header


# Trees: containers and values as JSON, arrays by name


def _put(arrays: dict[str, mx.array], name: str, array: mx.array) -> None:
    if name in arrays:
        raise ValueError(f"[save_checkpoint] two arrays are called {name!r}, expected one")
    arrays[name] = array


def _encode(tree: Any, name: str, arrays: dict[str, mx.array]) -> Any:
    """``tree`` as JSON; its arrays go into ``arrays``.

    A container becomes an object with its kind as the only key. Dicts are lists of pairs, since
    their keys may be numbers.
    """
    if isinstance(tree, mx.array):
        _put(arrays, name, tree)
        return {"array": name}
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise TypeError(f"[save_checkpoint] {name!r} has the key {key!r}, expected str or int")
        return {"dict": [[k, _encode(v, f"{name}.{k}", arrays)] for k, v in tree.items()]}
    if isinstance(tree, (list, tuple)):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_encode(v, f"{name}.{i}", arrays) for i, v in enumerate(tree)]}
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    raise TypeError(
        f"[save_checkpoint] {name!r} is a {type(tree).__name__}, expected an mlx.core.array, a number, "
        "a text, a boolean, None, or a dict, list or tuple of these"
    )


def _decode(node: Any, arrays: dict[str, mx.array]) -> Any:
    if not isinstance(node, dict):
        return node
    if node.keys() == {"array"} and node["array"] in arrays:
        return arrays[node["array"]]
    if node.keys() == {"dict"}:
        return {key: _decode(value, arrays) for key, value in node["dict"]}
    if node.keys() == {"list"}:
        return [_decode(value, arrays) for value in node["list"]]
    if node.keys() == {"tuple"}:
        return tuple(_decode(value, arrays) for value in node["tuple"])
    raise ValueError(f"[load_checkpoint] the metadata name something that is not there: {node!r:.100}")


def _refilled(old: Any, new: Any) -> Any:
    """``new``, in the dicts and lists of ``old`` where there are some at the same place."""
    if type(old) is not type(new) or not isinstance(old, (dict, list)):
        return new
    if isinstance(old, dict):
        filled = {key: _refilled(old.get(key), value) for key, value in new.items()}
        old.clear()
        old.update(filled)
    else:
        old[:] = [_refilled(old[i] if i < len(old) else None, v) for i, v in enumerate(new)]
    return old


# What does not fit


def _differences(what: str, found: dict[str, mx.array], wanted: dict[str, mx.array]) -> list[str]:
    problems = [f"missing: {what} {name!r}, {_form(wanted[name])}" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"unexpected: {what} {name!r}, {_form(found[name])}" for name in sorted(found.keys() - wanted.keys())]
    return problems + [
        f"{what} {name!r}: the file has {_form(found[name])}, expected {_form(array)}"
        for name, array in wanted.items()
        if name in found and _form(found[name]) != _form(array)
    ]


def _form(array: Any) -> str:
    if not isinstance(array, mx.array):
        return f"a {type(array).__name__}"
    return f"{str(array.dtype).removeprefix('mlx.core.')} {array.shape}"


def _single(optimizer: Optimizer) -> Iterator[Optimizer]:
    """The optimizers that hold the state: itself, or those that it is made of."""
    parts = getattr(optimizer, "optimizers", None)
    if not parts:
        yield optimizer
        return
    for part in parts:
        yield from _single(part)


def _class_names(optimizer: Optimizer) -> list[str]:
    return [type(part).__name__ for part in _single(optimizer)]


def _states(state: Any) -> Iterator[Any]:
    """The states of :func:`_single`, in the same order."""
    if isinstance(state, dict) and state.keys() == {"states"} and isinstance(state["states"], list):
        for part in state["states"]:
            yield from _states(part)
    else:
        yield state


def _optimizer_problems(
    optimizer: Optimizer, parameters: dict[str, mx.array], header: dict[str, Any], arrays: dict[str, mx.array]
) -> list[str]:
    names, saved = _class_names(optimizer), header["optimizer_class"]
    if saved != names:
        return [f"the optimizer is {' + '.join(names)}, the file has the state of {' + '.join(saved or ['none'])}"]
    problems = []
    states = list(_states(_decode(header["optimizer"], arrays)))
    singles = list(_single(optimizer))
    for i, (single, state) in enumerate(zip(singles, states, strict=True)):
        where = "optimizer state" if len(singles) == 1 else f"optimizer {i} state"
        found = dict(tree_flatten(state))
        problems += _differences(where, found, _expected_state(single, found, parameters))
    return problems


def _expected_state(
    optimizer: Optimizer, found: dict[str, mx.array], parameters: dict[str, mx.array]
) -> dict[str, mx.array]:
    """What ``optimizer`` would hold for those of the parameters that ``found`` has something for.

    Not for all that are trainable: state is made at the first gradient, and that of a layer that
    was frozen later remains.
    """
    owners = {name[: i + 1] for name in found for i in range(len(name)) if name[i + 1 : i + 2] == "."}
    probe = copy.copy(optimizer)
    own = {key: value for key, value in optimizer.state.items() if not isinstance(value, (dict, list))}
    probe._state = own
    probe.init(tree_unflatten([(n, a) for n, a in parameters.items() if n in owners]) or {})
    return dict(tree_flatten(probe._state))
