"""What all optimizers share: state, step counter, schedules and the walk over the trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import mlx.core as mx
from mlx.optimizers.replay import Replay, Unfit
from mlx.utils import tree_flatten, tree_merge

if TYPE_CHECKING:
    from mlx.nn import Module

LearningRate: TypeAlias = "float | mx.array | Callable[[mx.array], mx.array]"
Path: TypeAlias = "tuple[str | int, ...]"


class Optimizer:
    """Base class. A subclass defines ``init_single`` and ``apply_single``.

    The state is a dict: ``step`` (uint64, the number of updates made), ``learning_rate`` and, in
    the form of the parameter tree, a dict for every parameter. It is changed in place, so it can
    be among the ``inputs`` and ``outputs`` of ``mx.compile``. State of a parameter is made at its
    first gradient at the latest: layers may be unfrozen at any time. What has no gradient is left
    alone.

    Args:
      schedulers: for names in the state, functions from the step to the value to use in that step.
    """

    def __init__(self, schedulers: dict[str, Callable[[mx.array], mx.array]] | None = None) -> None:
        self._state: dict[str, Any] = {"step": mx.array(0, mx.uint64)}
        self._schedulers = dict(schedulers or {})
        self._fits: dict[Path, tuple[int, ...]] = {}  # for which shapes state has been checked
        self._shared: dict[mx.Dtype, dict[str, mx.array]] | None = None
        self._replay: Replay | None = None
        self._makes_state = True

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_replay": None}  # traces are not copied

    # What a subclass defines

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Put into ``state`` what the optimizer remembers for ``parameter``."""
        raise NotImplementedError(f"{type(self).__name__} does not define init_single")

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """The new value of ``parameter``. Changes ``state``."""
        raise NotImplementedError(f"{type(self).__name__} does not define apply_single")

    def _step_scalars(self) -> dict[str, mx.array]:
        """Scalars that are the same for all parameters in a step; see :meth:`_scalars`."""
        return {"lr": self.learning_rate}

    def _scalars(self, dtype: mx.Dtype) -> dict[str, mx.array]:
        """The step's scalars in ``dtype``, computed once for all parameters of an update."""
        cache = {} if self._shared is None else self._shared
        if dtype not in cache:
            cache[dtype] = {k: x.astype(dtype) for k, x in self._step_scalars().items()}
        return cache[dtype]

    # What a program calls

    def update(self, model: Module, gradients: dict) -> None:
        """Move the parameters of ``model`` that have a gradient, in place.

        Args:
          model: the module to change.
          gradients: the tree that ``nn.value_and_grad`` returned for it.
        Raises:
          KeyError, ValueError: see :meth:`apply_gradients`.
        """
        model.update(self.apply_gradients(gradients, model))

    def init(self, parameters: dict) -> None:
        """Make the state of those ``parameters`` that have none yet.

        Calling it is optional. Useful before loading a checkpoint or to have the state's final form
        before compiling a step.

        Raises:
          ValueError: ``parameters`` is no dict, or a parameter is named like an entry of the state.
        """
        self._check_is_dict("init", parameters)
        for name, schedule in self._schedulers.items():
            self._state[name] = self._scalar(name, schedule(self.step))
        _walk(self._prepare, parameters, parameters, self._state, ())

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """The parameters after one step, as a tree of the form of ``gradients``.

        Args:
          gradients: may lack parameters: those do not move. An empty tree counts as a step, too.
          parameters: a tree or a module that contains at least what ``gradients`` does.
        Returns:
          New parameters, each with the dtype it had.
        Raises:
          KeyError: a gradient has no parameter.
          TypeError: a gradient is no array.
          ValueError: the shapes of a gradient and its parameter differ; a tree is no dict; the
            state does not fit the parameters: it was made for others, or by another optimizer.
        """
        self._check_is_dict("apply_gradients", gradients)
        for name, schedule in self._schedulers.items():
            self._state[name] = self._scalar(name, schedule(self.step))
        self._state["step"] = self.step + 1
        if self._replay is not None and self._replay.state is self._state:
            try:
                return self._replay.step(self, gradients, parameters)
            except Unfit:
                pass
        else:
            self._replay = Replay(self)
        return self._step(gradients, parameters)

    def _step(self, gradients: dict, parameters: dict) -> dict:
        self._shared = {}
        try:
            return _walk(self._apply, gradients, parameters, self._state, ())
        finally:
            self._shared = None

    def _traced_step(self, gradients: dict, parameters: dict) -> dict:
        self._makes_state = False
        try:
            return self._step(gradients, parameters)
        finally:
            self._makes_state = True

    @property
    def state(self) -> dict:
        """Everything that a checkpoint has to hold; assign a loaded one."""
        return self._state

    @state.setter
    def state(self, state: dict) -> None:
        if not isinstance(state, dict):
            raise ValueError(
                f"[{type(self).__name__}.state] got a {type(state).__name__}, expected a dict"
            )
        self._state = state
        self._fits = {}

    @property
    def step(self) -> mx.array:
        """The number of updates made, a 0-d uint64 array."""
        return self._entry("step")

    @property
    def learning_rate(self) -> mx.array:
        """The rate of the last step. One that is assigned holds unless there is a schedule."""
        return self._entry("learning_rate")

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        self._state["learning_rate"] = self._scalar("learning_rate", learning_rate)

    def _entry(self, name: str) -> mx.array:
        if name not in self._state:
            raise ValueError(
                f"[{type(self).__name__}] the state has no {name!r}, expected a state that an "
                f"optimizer of this kind made; it has {', '.join(map(repr, self._state)) or 'nothing'}"
            )
        return self._state[name]

    def _scalar(self, name: str, value: float | mx.array) -> mx.array:
        """As an array without axes; one with as many elements as a parameter stays as it is."""
        if isinstance(value, mx.array):
            return value.reshape(()) if value.ndim and value.size == 1 else value
        try:
            if isinstance(value, str):
                raise TypeError
            return mx.array(float(value), mx.float32)
        except (TypeError, ValueError):
            raise TypeError(
                f"[{type(self).__name__}] {name} is a {type(value).__name__}, expected a number, "
                "an array or a function of the step"
            ) from None

    def _maybe_schedule(self, name: str, value: LearningRate) -> None:
        """Enter ``value`` into the state under ``name``; a function becomes its schedule."""
        if callable(value):
            self._schedulers[name] = value
            self._state[name] = self._scalar(name, value(self.step))
        else:
            self._state[name] = self._scalar(name, value)

    # One place of the trees

    def _prepare(self, parameter: Any, _: Any, state: Any, path: Path) -> None:
        if not isinstance(state, dict):
            raise ValueError(
                f"[{type(self).__name__}] the state of parameter '{_text(path)}' is a "
                f"{type(state).__name__}, expected a dict; 'step' and the names of scheduled "
                "values, such as 'learning_rate', cannot name parameters"
            )
        if not isinstance(parameter, mx.array):
            raise TypeError(
                f"[{type(self).__name__}] parameter '{_text(path)}' is a "
                f"{type(parameter).__name__}, expected an array"
            )
        if not state:
            if not self._makes_state:
                raise Unfit  # state that a trace makes would be its own
            self.init_single(parameter, state)
            self._fits[path] = parameter.shape

    def _apply(self, gradient: mx.array, parameter: Any, state: Any, path: Path) -> mx.array:
        if not isinstance(gradient, mx.array):
            raise TypeError(
                f"[{type(self).__name__}.apply_gradients] the gradient of '{_text(path)}' is a "
                f"{type(gradient).__name__}, expected an array"
            )
        if not isinstance(parameter, mx.array) or gradient.shape != parameter.shape:
            what = getattr(parameter, "shape", f"is a {type(parameter).__name__}")
            raise ValueError(
                f"[{type(self).__name__}.apply_gradients] the gradient of '{_text(path)}' "
                f"has shape {gradient.shape}, its parameter {what}; expected the same shape"
            )
        self._prepare(parameter, None, state, path)
        if self._fits.get(path) != parameter.shape:
            self._check_state(parameter, state, path)
        moved = self.apply_single(gradient, parameter, state)
        if moved.shape != parameter.shape:
            raise ValueError(
                f"[{type(self).__name__}.apply_gradients] the step would change the shape of "
                f"'{_text(path)}' from {parameter.shape} to {moved.shape}: the learning rate and "
                "the like must be scalars"
            )
        return moved if moved.dtype == parameter.dtype else moved.astype(parameter.dtype)

    def _check_state(self, parameter: mx.array, state: dict, path: Path) -> None:
        """Raise where the state, which was there before, is not what this parameter needs."""
        needed: dict = {}
        self.init_single(parameter, needed)
        for name, value in needed.items():
            found = state.get(name)
            shape = getattr(found, "shape", None)
            if found is None or shape != getattr(value, "shape", None):
                what = "is missing" if found is None else f"has shape {shape}"
                raise ValueError(
                    f"[{type(self).__name__}.apply_gradients] the state {name!r} of "
                    f"'{_text(path)}' {what}, expected shape {getattr(value, 'shape', '()')} for a "
                    f"parameter with shape {parameter.shape}: it was made for other parameters, or "
                    "by another optimizer"
                )
        self._fits[path] = parameter.shape

    def _check_is_dict(self, function: str, tree: Any) -> None:
        if not isinstance(tree, dict):
            raise ValueError(
                f"[{type(self).__name__}.{function}] got a {type(tree).__name__}, expected a dict "
                "of arrays, dicts and lists"
            )


class MultiOptimizer(Optimizer):
    """Several optimizers, each for some of the parameters.

    A parameter goes to the first optimizer whose filter accepts it, or else to the last one. The
    state is ``{"states": [...]}`` with the states of the optimizers; ``learning_rate`` and ``step``
    are those of the first one, and assigning ``learning_rate`` sets it everywhere.

    Args:
      optimizers: the optimizers.
      filters: one function ``(path, array) -> bool`` for each optimizer but the last. ``path`` is
        the dotted name of the parameter, the array is the parameter or its gradient.
    Raises:
      ValueError: no optimizers, or the number of filters does not fit.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        filters: list = [],  # noqa: B006  (never changed)
    ) -> None:
        if not optimizers or len(filters) != len(optimizers) - 1:
            raise ValueError(
                f"[MultiOptimizer] got {len(optimizers)} optimizers and {len(filters)} filters, "
                "expected at least one optimizer and a filter for each but the last"
            )
        super().__init__()
        self.optimizers = list(optimizers)
        self.filters: list[Callable[[str, mx.array], bool]] = [*filters, lambda path, array: True]

    def _split(self, tree: dict) -> list[dict]:
        owners = {
            path: next(i for i, f in enumerate(self.filters) if f(path, array))
            for path, array in tree_flatten(tree)
        }
        return [_only(tree, "", owners, i) for i in range(len(self.optimizers))]

    def init(self, parameters: dict) -> None:
        """Make the state of those ``parameters`` that have none yet."""
        self._check_is_dict("init", parameters)
        for optimizer, part in zip(self.optimizers, self._split(parameters), strict=True):
            optimizer.init(part)

    def apply_gradients(self, gradients: dict, parameters: dict) -> dict:
        """One step of every optimizer; see :meth:`Optimizer.apply_gradients`."""
        self._check_is_dict("apply_gradients", gradients)
        moved: dict = {}
        for optimizer, part in zip(self.optimizers, self._split(gradients), strict=True):
            moved = tree_merge(moved, optimizer.apply_gradients(part, parameters))
        return moved

    @property
    def state(self) -> dict:
        """``{"states": [...]}`` in the order of the optimizers."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, state: dict) -> None:
        states = state.get("states") if isinstance(state, dict) else None
        if not isinstance(states, (list, tuple)) or len(states) != len(self.optimizers):
            raise ValueError(
                "[MultiOptimizer.state] expected {'states': [...]} with a state for each of the "
                f"{len(self.optimizers)} optimizers"
            )
        for optimizer, part in zip(self.optimizers, states, strict=True):
            optimizer.state = part

    @property
    def step(self) -> mx.array:
        """The number of updates made."""
        return self.optimizers[0].step

    @property
    def learning_rate(self) -> mx.array:
        """The learning rate of the first optimizer; assigning sets it for all of them."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | mx.array) -> None:
        for optimizer in self.optimizers:
            optimizer.learning_rate = learning_rate


def _only(tree: Any, path: str, owners: dict[str, int], owner: int) -> Any:
    """The part of ``tree`` that belongs to ``owner``, in its form; ``{}`` where nothing does."""
    if isinstance(tree, dict):
        parts = {
            key: _only(child, f"{path}.{key}" if path else str(key), owners, owner)
            for key, child in tree.items()
        }
        return {key: part for key, part in parts.items() if not _is_empty(part)}
    if isinstance(tree, (list, tuple)):
        prefix = f"{path}." if path else ""
        items = [_only(child, f"{prefix}{i}", owners, owner) for i, child in enumerate(tree)]
        return {} if all(map(_is_empty, items)) else items
    return tree if owners[path] == owner else {}


def _is_empty(node: Any) -> bool:
    return isinstance(node, dict) and not node


def _walk(visit: Callable[..., Any], tree: Any, parameters: Any, state: Any, path: Path) -> Any:
    """``visit(leaf, parameter, state, path)`` for each leaf of ``tree``, in a tree of its form."""
    if isinstance(tree, dict):
        keys: Any = tree
    elif isinstance(tree, (list, tuple)):
        keys = range(len(tree))
    else:
        return visit(tree, parameters, state, path)
    if not tree:
        return {} if isinstance(tree, dict) else []

    results = {}
    for key in keys:
        try:
            parameter = parameters[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise KeyError(f"gradient '{_text((*path, key))}' has no parameter") from None
        below = _state_below(state, key, tree[key], path)
        results[key] = _walk(visit, tree[key], parameter, below, (*path, key))
    return results if isinstance(tree, dict) else list(results.values())


def _state_below(state: Any, key: str | int, tree: Any, path: Path) -> Any:
    """The state at ``key``; where there is none yet, an empty place of the kind ``tree`` needs."""
    if isinstance(state, list) and isinstance(key, int):
        state.extend({} for _ in range(key + 1 - len(state)))
        node = state[key]
    elif isinstance(state, dict):
        node = state.get(key)
    else:
        raise ValueError(
            f"the optimizer state at '{_text(path)}' is a {type(state).__name__}, which does not "
            "fit the parameters"
        )
    if node is None or (isinstance(node, (dict, list)) and not node):
        node = state[key] = [] if isinstance(tree, (list, tuple)) else {}
    return node


def _text(path: Path) -> str:
    return ".".join(str(key) for key in path)
