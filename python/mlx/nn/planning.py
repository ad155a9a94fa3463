"""``nn.plan``: what training a model will do and cost, before the first step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from ._operations import flops
from ._plan_table import LayerPlan, Plan
from .layers._tree import named_modules, submodules
from .layers.base import Module
from .layers.normalization import BatchNorm
from .utils import value_and_grad

_ADAPTER = re.compile(r"lora|dora|adapter", re.IGNORECASE)


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
      a :class:`BatchNorm` in a frozen part is in training mode, so its running averages move; two
      modules share an array, which they will not do after the first step.
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

    def __init__(self, model: Module) -> None:
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

    def __init__(self, roots: list) -> None:
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
    distinct: dict[int, tuple[str, Module]] = {}
    for path, module in _preorder("", model):
        distinct.setdefault(id(module), (path, module))
    first: dict[int, str] = {}
    for path, module in distinct.values():
        for key, a in _own_parameters(path, module).items():
            other = first.setdefault(id(a), key)
            if other != key and {key, other} & trainable.keys():
                said.append(
                    f"{key} is the same array as {other}, in another module: the first step moves "
                    "them apart; one module under both names stays one"
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
