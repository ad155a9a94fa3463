"""``nn.plan``: what training a model will do and cost, before the first step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from ._operations import flops
from .layers._tree import named_modules, submodules
from .layers.base import Module
from .layers.normalization import BatchNorm
from .utils import value_and_grad

_ADAPTER = re.compile(r"lora|dora|adapter", re.IGNORECASE)


@dataclass(frozen=True)
class LayerPlan:
    """A row of a :class:`Plan`: one module under one of its names.

    Parameters are those of the module itself, not of the modules below. What has been counted under
    an earlier name (``tied``) is not counted again.
    """

    path: str
    """The dotted name, ``""`` for the model."""
    type: str
    """The name of the class."""
    outputs: tuple[tuple[int, ...], ...] = ()
    """The shapes of the arrays that its first call returned."""
    parameters: int = 0
    """How many numbers its parameters are."""
    trainable: int = 0
    """How many of these are trainable."""
    nbytes: int = 0
    """The size of its parameters."""
    tied: tuple[str, ...] = ()
    """The paths of those of its parameters that have another name above."""
    same_as: str | None = None
    """The path above under which the module itself has been listed."""
    flops: int = 0
    """Arithmetic operations of its calls, without those of modules below that were called."""
    calls: int = 0
    """How often it was called."""

    @property
    def state(self) -> str:
        """``"trainable"``, ``"frozen"``, ``"partly frozen"``, ``"tied"`` or ``""``."""
        if self.same_as is not None:
            return "tied"
        if self.parameters:
            if self.trainable in (0, self.parameters):
                state = "trainable" if self.trainable else "frozen"
            else:
                state = "partly frozen"
            return f"{state}, tied" if self.tied else state
        return "tied" if self.tied else ""


@dataclass
class Plan:
    """The result of :func:`plan`. Printing it shows a table; notebooks show it as HTML."""

    layers: list[LayerPlan] = field(default_factory=list)
    """A row for each module, parents before children."""
    forward_flops: int = 0
    """Arithmetic operations of computing the loss; a multiplication and an addition are two."""
    step_flops: int = 0
    """Those of the whole step."""
    held_memory: int = 0
    """Bytes of parameters, optimizer state and batch."""
    peak_memory: int = 0
    """The most bytes that arrays will hold during a step, ``held_memory`` included."""
    peak_operation: str = ""
    """The operation during which that happens; empty where the step needs no memory."""
    warnings: list[str] = field(default_factory=list)
    """What is probably not meant."""

    @property
    def parameters(self) -> int:
        """How many numbers the model's parameters are."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of these are trainable."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def frozen(self) -> int:
        """How many are not."""
        return self.parameters - self.trainable

    @property
    def parameter_bytes(self) -> int:
        """The size of the parameters."""
        return sum(layer.nbytes for layer in self.layers)

    def __getitem__(self, path: str) -> LayerPlan:
        """The row of the module with that path."""
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(f"[Plan] there is no layer {path!r}")

    def _summary(self) -> list[str]:
        during = f" (during {self.peak_operation})" if self.peak_operation else ""
        return [
            f"{self.trainable:,} of {self.parameters:,} parameters are trainable",
            f"predicted peak memory of a step: {_bytes(self.peak_memory)}{during}, "
            f"{_bytes(self.held_memory)} of it held between steps",
            f"{_count(self.forward_flops)}FLOP forward, {_count(self.step_flops)}FLOP a step",
        ]

    def __str__(self) -> str:
        rows = [_HEADER, *map(_cells, self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        lines = [
            "  ".join(
                cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
                for cell, width, name in zip(row, widths, _HEADER, strict=True)
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        warned = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, "", *self._summary(), *warned])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in _HEADER)
        body = []
        for layer in self.layers:
            style = ' style="color:#4a78b8"' if layer.state.startswith("frozen") else ""
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(layer))
            body.append(f"<tr{style}>{cells}</tr>")
        below = [f"<div>{escape(line)}</div>" for line in self._summary()]
        below += [f'<div class="warning">⚠ {escape(warning)}</div>' for warning in self.warnings]
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        return f'<div class="mlx-plan">{table}{"".join(below)}</div>'


_HEADER = ("layer", "type", "output", "parameters", "state", "bytes", "FLOP")
_NUMBERS = {"parameters", "bytes", "FLOP"}


def _cells(layer: LayerPlan) -> tuple[str, ...]:
    counted = layer.parameters > 0
    if layer.same_as is not None:
        state = f"tied to {layer.same_as or 'the model'}"
    elif layer.state == "partly frozen":
        state = f"{layer.trainable:,} trainable"
    else:
        state = layer.state
    return (
        layer.path or "(model)",
        layer.type,
        " ".join(map(str, layer.outputs)),
        f"{layer.parameters:,}" if counted else "",
        state,
        _bytes(layer.nbytes) if counted else "",
        _count(layer.flops) if layer.flops else "",
    )


def _bytes(n: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(n) >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _count(n: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} "


def plan(model: Module, loss: Callable, *batch: Any, optimizer: Any = None) -> Plan:
    """What a training step will do and cost, found without running it.

    The step is ``loss, grads = nn.value_and_grad(model, loss)(*batch)``, with an optimizer also
    ``optimizer.update(model, grads)``, in a function of its own, and then evaluating the results.
    Its graph is built and looked at; nothing is evaluated, unless ``loss`` does so itself. Model,
    optimizer and random state are as before afterwards. ``loss`` is called once, so it must not
    change anything else. ::

        >>> print(nn.plan(model, loss_fn, x, y, optimizer=optim.Adam(1e-3)))  # doctest: +SKIP

    Memory is predicted by going through the graph in the order of the evaluation, with what runs
    together, what is computed in place and what is freed when, on the CPU. Scratch memory of
    kernels is not part of it, nor of ``mx.get_peak_memory()``. With an optimizer the prediction is
    for a step in the middle of training, when its state is there.

    Args:
      model: decides by its frozen parameters what is differentiated.
      loss: what would be given to :func:`value_and_grad`.
      batch: arguments of ``loss``.
      optimizer: the optimizer; ``None``: the step ends with the gradients.
    Returns:
      A :class:`Plan`: printable, and with everything in its fields. ``warnings`` says what is
      probably not meant: nothing is trainable; all is trainable although there are adapters;
      a :class:`BatchNorm` in a frozen part is in training mode, so its running averages move.
    """
    if not isinstance(model, Module):
        raise TypeError(f"[nn.plan] model is a {type(model).__name__}, expected a Module")
    trace = _Trace(model)
    trainable = dict(tree_flatten(model.trainable_parameters()))
    with _restored([model, optimizer, list(batch)]) as given:
        if optimizer is not None:
            optimizer.init(model.trainable_parameters())
            _give_own_memory(model, optimizer.state)
            given.clear()
            _note_arrays([model, optimizer.state, batch], given)
        trace.new_flops(list(given.values()))  # initializing is no part of a step
        with trace.watching():
            if trainable:
                value, grads = value_and_grad(model, trace.noting_end_of(loss))(*batch)
            else:
                value, grads = trace.noting_end_of(loss)(*batch), {}
        if optimizer is not None and trainable:
            optimizer.update(model, grads)
        state = [model, None if optimizer is None else optimizer.state]
        outputs = [value, grads if optimizer is None else None, *state]
        step_flops = trace.forward_flops + trace.new_flops(outputs)
        trace.forget_graph()
        del grads
        kept: dict[int, mx.array] = {}
        _note_arrays([state, batch], kept)
        released = [a for key, a in given.items() if key not in kept]
        peak, _, operation = mx._forecast_memory(outputs, list(given.values()), released)
        held = _held_bytes(given.values())
    return Plan(
        layers=_rows(model, trainable, trace),
        forward_flops=trace.forward_flops,
        step_flops=step_flops,
        held_memory=held,
        peak_memory=held + peak,
        peak_operation=operation,
        warnings=_warnings(model, trainable),
    )


class _Trace:
    """What the calls of the modules of a model do, while ``watching``."""

    def __init__(self, model: Module):
        self.modules = {id(module): module for _, module in named_modules(model, Module.is_module)}
        self.outputs: dict[int, tuple[tuple[int, ...], ...]] = {}
        self.calls = dict.fromkeys(self.modules, 0)
        self.flops = dict.fromkeys([*self.modules, 0], 0)  # 0: outside of all modules
        self.forward_flops = 0
        self._graph = mx._GraphWalk()
        self._inside = [0]
        self._over = False  # calls after the loss are those of a backward pass that computes again

    def new_flops(self, tree: Any) -> int:
        """Of the operations that came into the graph since the last call."""
        return flops(self._graph.next(tree))

    def forget_graph(self) -> None:
        self._graph = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Calls of the modules are noted. Python looks ``__call__`` up in the class: it is there
        that it has to be replaced, and modules of other models pass through."""
        with ExitStack() as stack:
            for cls in {type(module) for module in self.modules.values()}:
                # Not cls.__call__: where the class has none, that is what makes its instances.
                owners = [c for c in cls.__mro__ if "__call__" in c.__dict__]
                if owners:
                    noting = self._noting(owners[0].__dict__["__call__"])
                    stack.enter_context(_replaced(cls, "__call__", noting))
            yield

    def noting_end_of(self, loss: Callable) -> Callable:
        def noted(*args: Any) -> Any:
            result = loss(*args)
            self.flops[0] += self.new_flops(result)
            self.forward_flops = sum(self.flops.values())
            self._over = True
            return result

        return noted

    def _noting(self, call: Callable) -> Callable:
        def noted(module: Module, *args: Any, **kwargs: Any) -> Any:
            key = id(module)
            unknown = key not in self.modules or self._over
            if unknown or self._inside[-1] == key:  # the latter: super().__call__
                return call(module, *args, **kwargs)
            # What the arguments need belongs to the caller.
            self.flops[self._inside[-1]] += self.new_flops([args, kwargs])
            self._inside.append(key)
            try:
                result = call(module, *args, **kwargs)
            finally:
                self._inside.pop()
            self.flops[key] += self.new_flops(result)
            self.calls[key] += 1
            if key not in self.outputs:
                arrays = [a for _, a in tree_flatten(result) if isinstance(a, mx.array)]
                self.outputs[key] = tuple(a.shape for a in arrays)
            return result

        return noted


@contextmanager
def _replaced(cls: type, name: str, value: Any) -> Iterator[None]:
    own = cls.__dict__.get(name)
    setattr(cls, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(cls, name)
        else:
            setattr(cls, name, own)


class _Snapshot:
    """The containers below some roots, with what they held, and their arrays by identity."""

    def __init__(self, roots: list):
        self.saved: list[tuple[dict | list | set, Any]] = []
        self.arrays: dict[int, mx.array] = {}
        self._seen: set[int] = set()
        for root in roots:
            self._add(root)

    def _add(self, node: Any) -> None:
        if isinstance(node, mx.array):
            self.arrays[id(node)] = node
        elif isinstance(node, tuple):
            for child in node:
                self._add(child)
        elif isinstance(node, (dict, list, set)) and id(node) not in self._seen:
            self._seen.add(id(node))
            self.saved.append((node, dict(node) if isinstance(node, dict) else list(node)))
            for child in node.values() if isinstance(node, dict) else node:
                self._add(child)
        if isinstance(node, Module) or hasattr(node, "apply_gradients"):
            self._add(vars(node))

    def restore(self) -> None:
        for container, content in self.saved:
            if isinstance(container, list):
                container[:] = content
            elif isinstance(container, dict):
                dict.clear(container)
                dict.update(container, content)
            else:
                container.clear()
                container.update(content)


@contextmanager
def _restored(roots: list) -> Iterator[dict[int, mx.array]]:
    """Afterwards the containers below ``roots``, and the random state, are what they were.

    Yields the arrays in them by identity.
    """
    snapshot, key = _Snapshot(roots), mx.random.state[0]
    try:
        yield snapshot.arrays
    finally:
        mx.random.state[0] = key
        snapshot.restore()


def _note_arrays(tree: Any, arrays: dict[int, mx.array]) -> None:
    arrays.update((id(a), a) for _, a in tree_flatten(tree) if isinstance(a, mx.array))


def _is_view_of_less(a: mx.array) -> bool:
    return 0 < mx.get_array_buffer_size(a) < a.nbytes


def _give_own_memory(model: Module, state: Any) -> None:
    """Zeros and ones, from which parameters and optimizer state begin, are views of one number.

    After the first step they are not.
    """
    small = [
        (path, mx.contiguous(a))
        for path, a in tree_flatten(model.trainable_parameters())
        if _is_view_of_less(a)
    ]
    model._replace(tree_unflatten(small), False, "update")
    _give_state_own_memory(state)


def _give_state_own_memory(state: Any) -> None:
    for key, value in list(state.items() if isinstance(state, dict) else enumerate(state)):
        if isinstance(value, (dict, list)):
            _give_state_own_memory(value)
        elif isinstance(value, mx.array) and _is_view_of_less(value):
            state[key] = mx.contiguous(value)


def _held_bytes(arrays: Iterable[mx.array]) -> int:
    """Of the buffers of arrays; of those that have none yet, what they will need."""
    arrays = list(arrays)
    pending = [a for a in arrays if mx.get_array_buffer_size(a) == 0]
    return mx.get_array_buffer_size(arrays) + sum(a.nbytes for a in pending)


def _preorder(path: str, module: Module) -> Iterator[tuple[str, Module]]:
    yield path, module
    for name, child in submodules(module.children(), module.is_module):
        yield from _preorder(f"{path}.{name}" if path else name, child)


def _own_parameters(path: str, module: Module) -> dict[str, mx.array]:
    own = module.filter_and_map(
        lambda m, k, v: m is module and not m.is_module(v) and m.valid_parameter_filter(m, k, v)
    )
    return {f"{path}.{key}" if path else key: a for key, a in tree_flatten(own)}


def _rows(model: Module, trainable: dict[str, mx.array], trace: _Trace) -> list[LayerPlan]:
    parameters = dict(tree_flatten(model.parameters()))
    thawed = {id(a) for a in trainable.values()}
    listed: dict[int, str] = {}  # modules and arrays
    rows = []
    for path, module in _preorder("", model):
        if id(module) in listed:
            rows.append(LayerPlan(path, type(module).__name__, same_as=listed[id(module)]))
            continue
        listed[id(module)] = path
        own = {k: a for k, a in _own_parameters(path, module).items() if k in parameters}
        tied = tuple(key for key, a in own.items() if id(a) in listed)
        new = {id(a): a for a in own.values() if id(a) not in listed}
        listed.update(dict.fromkeys(new, path))
        rows.append(
            LayerPlan(
                path=path,
                type=type(module).__name__,
                outputs=trace.outputs.get(id(module), ()),
                parameters=sum(a.size for a in new.values()),
                trainable=sum(a.size for key, a in new.items() if key in thawed),
                nbytes=sum(a.nbytes for a in new.values()),
                tied=tied,
                flops=trace.flops[id(module)],
                calls=trace.calls[id(module)],
            )
        )
    return rows


def _warnings(model: Module, trainable: dict[str, mx.array]) -> list[str]:
    said = []
    parameters = dict(tree_flatten(model.parameters()))
    adapters = {k for k in parameters if _ADAPTER.search(k)}
    adapters |= {
        name or "(model)"
        for name, module in model.named_modules()
        if _ADAPTER.search(type(module).__name__)
    }
    never_trained = {
        f"{path}.{key}" if path else key
        for path, module in model.named_modules()
        for key in module._kept_frozen()
    }
    if not trainable:
        said.append("nothing is trainable: all parameters are frozen, or there are none")
    elif adapters and trainable.keys() >= parameters.keys() - never_trained:
        some = min(adapters)
        said.append(
            f"everything is trainable although there are adapters ({some}): freeze the rest to "
            "train the adapters alone"
        )
    for path, module in model.named_modules():
        if isinstance(module, BatchNorm) and module.training and module.track_running_stats:
            own = set(_own_parameters(path, module)) - never_trained
            above = path.rpartition(".")[0]
            part = own or {k for k in parameters if k.startswith(f"{above}." if above else "")}
            if not part & trainable.keys():
                said.append(
                    f"{path or 'the model'} is a BatchNorm in a frozen part, in training mode: its "
                    f"running averages still move; {_call(path)}.eval() holds them"
                )
    return said


def _call(path: str) -> str:
    """The path as Python: indices in brackets."""
    return re.sub(r"\.(\d+)", r"[\1]", f"model.{path}" if path else "model")
