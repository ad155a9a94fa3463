"""``Module``: the base class of every layer and model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from . import _display, _freezing, _tree

Weights = str | os.PathLike | Iterable[tuple[str, mx.array]] | Mapping[str, mx.array]


def _is_floating(dtype: mx.Dtype) -> bool:
    return mx.issubdtype(dtype, mx.floating)


class Module(dict):
    """A part of a neural network: a dict of parameters and submodules with attribute access.

    Assigning an array, a module, or a list, tuple or dict (that may hold some) to an attribute
    makes it an entry of the dict; any other value is an ordinary attribute. Arrays whose name does
    not start with an underscore are *parameters*; dicts and lists are searched for more, tuples are
    not. Subclasses create their parts in ``__init__`` and compute in ``__call__``::

        class MLP(nn.Module):
            def __init__(self, dims: int, hidden: int) -> None:
                super().__init__()
                self.up = nn.Linear(dims, hidden)
                self.down = nn.Linear(hidden, dims)

            def __call__(self, x):
                return self.down(nn.relu(self.up(x)))

        model = MLP(8, 32)
        model.freeze().down.unfreeze()
        loss_and_grad = nn.value_and_grad(model, lambda x: model(x).square().mean())

    Modules are in training mode until :meth:`eval` is called. All methods that change a module
    return it.
    """

    __call__: Callable[..., Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        # Here rather than in __init__, so that a module works before super().__init__() has run
        # and while it is being unpickled.
        self = super().__new__(cls)
        self.__dict__["_no_grad"] = set()
        self.__dict__["_training"] = True
        return self

    def __init__(self) -> None:
        super().__init__()

    # ---- attributes

    def __getattr__(self, key: str) -> Any:
        # Called only for what is no ordinary attribute.
        try:
            return self[key]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {key!r}"
            ) from None

    def __setattr__(self, key: str, val: Any) -> None:
        if not isinstance(val, (mx.array, dict, list, tuple)):
            super().__setattr__(key, val)  # first: it fails for a read-only property
            self.pop(key, None)
            return
        if key not in self:
            if key in self.__dict__:
                del self.__dict__[key]
            elif hasattr(type(self), key) and not self._is_left_to_the_dict(key):
                # An entry of the dict would be hidden by what the class has under that name.
                if hasattr(getattr(type(self), key), "__set__"):
                    super().__setattr__(key, val)
                    return
                raise AttributeError(
                    f"[{type(self).__name__}] {key!r} is an attribute of the class and cannot "
                    f"name a parameter, a module or a container of them"
                )
        self[key] = val

    def _is_left_to_the_dict(self, key: str) -> bool:
        """Is it a read-only property that has no value? Reading it then gives the entry of the dict."""
        found = getattr(type(self), key)
        if not isinstance(found, property) or found.fset is not None:
            return False
        try:
            found.__get__(self)
        except Exception:  # whatever the getter misses
            return True
        return False

    def __delattr__(self, name: str) -> None:
        if name in self:
            del self[name]
        else:
            super().__delattr__(name)

    def __copy__(self) -> Module:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__["_no_grad"] = set(self._no_grad)
        dict.update(new, self)  # Module.update is about parameters
        return new

    @property
    def training(self) -> bool:
        """Whether the module is in training mode; see :meth:`train`."""
        return self._training

    @property
    def state(self) -> Module:
        """Everything that calling the module reads and writes: the module itself, as a dict.

        Meant for ``mx.compile(inputs=..., outputs=...)`` and ``mx.eval``. Unlike
        :meth:`parameters` it has the arrays with a leading underscore.
        """
        return self

    # ---- display

    def _extra_repr(self) -> str:
        """What stands between the parentheses of ``repr``, for subclasses to define."""
        return ""

    def __repr__(self) -> str:
        return _display.text(self)

    def _repr_html_(self) -> str:
        return _display.html(self)

    # ---- filters

    @staticmethod
    def is_module(value: Any) -> bool:
        """Whether ``value`` is a module."""
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: Module, key: str, value: Any) -> bool:
        """Accepts modules and what may hold some: dicts and lists."""
        return isinstance(value, (dict, list))

    @staticmethod
    def valid_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Accepts arrays and what may hold some, unless the key starts with an underscore."""
        return isinstance(value, (mx.array, dict, list)) and not key.startswith("_")

    @staticmethod
    def trainable_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Accepts what :meth:`valid_parameter_filter` does, unless the module has frozen it."""
        return key not in module._no_grad and Module.valid_parameter_filter(module, key, value)

    @staticmethod
    def _default_leaf(module: Module, key: str, value: Any) -> bool:
        return not isinstance(value, (dict, list))

    def filter_and_map(
        self,
        filter_fn: Callable[[Module, str, Any], bool],
        map_fn: Callable | None = None,
        is_leaf_fn: Callable[[Module, str, Any], bool] | None = None,
    ) -> dict[str, Any]:
        """The tree of the entries that a filter accepts, with a function applied to its leaves.

        Args:
          filter_fn: called with a module, the key of a value in it and the value; a container that
            it rejects is not entered. Keys inside containers are dotted: ``blocks.0``.
          map_fn: applied to the leaves; ``None`` keeps them.
          is_leaf_fn: takes the same arguments and says where to stop; ``None`` stops at everything
            that is no module, dict or list.
        Returns:
          Nested dicts and lists. A rejected entry of a module is left out; a rejected item of a
          container is ``{}``.
        Raises:
          RuntimeError: ``is_leaf_fn`` wants to enter something that has no children.
        """
        map_fn = map_fn or (lambda value: value)
        is_leaf_fn = is_leaf_fn or Module._default_leaf
        return {
            key: _tree.collect(self, key, value, self.is_module, filter_fn, map_fn, is_leaf_fn)
            for key, value in self.items()
            if filter_fn(self, key, value)
        }

    # ---- what is in the tree

    def parameters(self) -> dict[str, Any]:
        """All parameters, of this module and those below, as nested dicts and lists."""
        return self.filter_and_map(self.valid_parameter_filter)

    def trainable_parameters(self) -> dict[str, Any]:
        """The parameters that are not frozen, as nested dicts and lists; see :meth:`freeze`."""
        return self.filter_and_map(self.trainable_parameter_filter)

    def children(self) -> dict[str, Any]:
        """The direct submodules, in the containers they are kept in."""
        return self.filter_and_map(
            self.valid_child_filter, is_leaf_fn=lambda m, k, v: not _is_container(v)
        )

    def leaf_modules(self) -> dict[str, Any]:
        """The modules below that have no submodules themselves, in nested dicts and lists."""

        def is_leaf(module: Module, key: str, value: Any) -> bool:
            if not isinstance(value, Module):
                return not _is_container(value)
            return next(_tree.submodules(value.children(), self.is_module), None) is None

        return self.filter_and_map(self.valid_child_filter, is_leaf_fn=is_leaf)

    def modules(self) -> list[Module]:
        """This module and all below it, parents before children.

        A module that is reachable under several names appears once for each.
        """
        return [module for _, module in self.named_modules()]

    def named_modules(self) -> list[tuple[str, Module]]:
        """Like :meth:`modules`, as pairs with the dotted path; the module itself is ``""``."""
        return list(_tree.named_modules(self, self.is_module))

    # ---- changing the tree

    def update(self, parameters: dict, strict: bool = True) -> Module:
        """Replace parameters by those of a tree like :meth:`parameters`, or a part of it.

        All or nothing: when an error is raised, no parameter has changed. A parameter of another
        shape is taken, with a UserWarning that names it and both shapes, unless that is ``(0,)``; dtypes are not
        compared.

        Args:
          parameters: nested dicts and lists of arrays; empty containers change nothing.
          strict: whether to raise for what has no place in the module, or else skip it.
        Raises:
          ValueError: ``strict`` and a name is unknown, an index too large or a type wrong.
        """
        return self._replace(parameters, strict, "update", warn=True)

    def _replace(self, parameters: dict, strict: bool, method: str, warn: bool = False) -> Module:
        where = f"{type(self).__name__}.{method}"
        plan = _tree.plan_update(self, parameters, mx.array, strict, where)
        reshaped = _tree.other_shapes(plan) if warn else []
        _tree.apply_plan(plan)
        if reshaped:
            message = f"[{where}] {'; '.join(reshaped)}"
            warnings.warn(message, UserWarning, stacklevel=_freezing.callers_level())
        return self

    def update_modules(self, modules: dict, strict: bool = True) -> Module:
        """Replace submodules by those of a tree such as :meth:`leaf_modules` returns.

        All or nothing: when an error is raised, no module has been replaced.

        Args:
          modules: nested dicts and lists of modules; empty containers change nothing.
          strict: whether to raise for what has no place in the module, or else skip it.
        Raises:
          ValueError: ``strict`` and a name is unknown, an index too large or a type wrong.
        """
        where = f"{type(self).__name__}.update_modules"
        _tree.apply_plan(_tree.plan_update(self, modules, Module, strict, where))
        return self

    def apply(
        self,
        map_fn: Callable[[mx.array], mx.array],
        filter_fn: Callable[[Module, str, Any], bool] | None = None,
    ) -> Module:
        """Replace every parameter by ``map_fn`` of it: ``model.apply(mx.zeros_like)``.

        Args:
          map_fn: takes and returns an array.
          filter_fn: chooses what to map, as in :meth:`filter_and_map`; ``None``: the parameters.
        Raises:
          ValueError: ``map_fn`` returned something else; nothing has changed then.
        """
        mapped = self.filter_and_map(filter_fn or self.valid_parameter_filter, map_fn)
        return self._replace(mapped, True, "apply")

    def apply_to_modules(self, apply_fn: Callable[[str, Module], Any]) -> Module:
        """Call ``apply_fn(path, module)`` for this module and all below it, parents first."""
        for name, module in self.named_modules():
            apply_fn(name, module)
        return self

    def set_dtype(
        self,
        dtype: mx.Dtype,
        predicate: Callable[[mx.Dtype], bool] | None = _is_floating,
    ) -> Module:
        """Convert parameters to ``dtype``.

        Args:
          dtype: the new dtype.
          predicate: says by its dtype whether a parameter is converted. By default those with a
            floating-point dtype are; ``None`` converts all.
        """
        if predicate is None:
            return self.apply(lambda a: a.astype(dtype))
        return self.apply(lambda a: a.astype(dtype) if predicate(a.dtype) else a)

    # ---- weights in files

    def load_weights(
        self,
        file_or_weights: str
        | os.PathLike
        | Iterable[tuple[str, mx.array]]
        | Mapping[str, mx.array],
        strict: bool = True,
    ) -> Module:
        """Set parameters from a file or from pairs of dotted name and array.

        Args:
          file_or_weights: a path (``.npz`` or ``.safetensors``), pairs such as
            ``tree_flatten(model.parameters())`` gives, or a dict such as ``mx.load`` returns.
          strict: require exactly the module's parameters with their shapes. Otherwise names that
            the module lacks are ignored, missing ones keep their values and shapes may differ (with
            a UserWarning, as in :meth:`update`).
        Raises:
          ValueError: the weights do not fit; the message lists every difference, and nothing has
            changed.
          TypeError: ``file_or_weights`` is nothing of this kind.
        """
        weights = file_or_weights
        if isinstance(weights, (str, os.PathLike)):
            weights = mx.load(os.fspath(weights))
        try:
            pairs = [
                (k, v) for k, v in (weights.items() if isinstance(weights, Mapping) else weights)
            ]
            names = all(isinstance(name, str) for name, _ in pairs)
        except (TypeError, ValueError):
            names = False
        if not names:
            raise TypeError(
                f"[{type(self).__name__}.load_weights] got a {type(weights).__name__}, expected a "
                "path, a dict from names to arrays, or pairs of name and array"
            )
        problems = self._weight_problems(dict(pairs), strict)
        if problems:
            raise ValueError(f"[{type(self).__name__}.load_weights] " + "\n".join(problems))
        return self._replace(tree_unflatten(pairs), False, "load_weights", warn=True)

    def _weight_problems(self, new: dict[str, Any], strict: bool) -> list[str]:
        problems = [
            f"Expected mx.array but received {type(value)} for parameter {name}"
            for name, value in new.items()
            if not isinstance(value, mx.array)
        ]
        if not strict:
            return problems
        own = dict(tree_flatten(self.parameters()))
        if extra := sorted(new.keys() - own.keys()):
            problems.append(
                f"Received {len(extra)} parameters not in model: \n" + ",\n".join(extra) + "."
            )
        if missing := sorted(own.keys() - new.keys()):
            problems.append(f"Missing {len(missing)} parameters: \n" + ",\n".join(missing) + ".")
        problems += [
            f"Expected shape {value.shape} but received {new[name].shape} for parameter {name}"
            for name, value in own.items()
            if isinstance(new.get(name), mx.array) and new[name].shape != value.shape
        ]
        return problems

    def save_weights(self, file: str | os.PathLike) -> None:
        """Write all parameters under their dotted names.

        Args:
          file: ends with ``.npz`` (numpy) or ``.safetensors``.
        Raises:
          ValueError: the name ends differently.
        """
        path = os.fspath(file)
        arrays = dict(tree_flatten(self.parameters()))
        if path.endswith(".npz"):
            mx.savez(path, **arrays)
        elif path.endswith(".safetensors"):
            mx.save_safetensors(path, arrays)
        else:
            raise ValueError(
                f"[{type(self).__name__}.save_weights] unsupported file extension of {path!r}, "
                "expected '.npz' or '.safetensors'"
            )

    # ---- freezing

    def _kept_frozen(self) -> Collection[str]:
        """Own parameters that :meth:`unfreeze` leaves frozen unless ``keys`` names them.

        For statistics and packed weights: things that are parameters, but never trained.
        """
        return ()

    def freeze(
        self,
        *,
        recurse: bool = True,
        keys: str | Iterable[str] | None = None,
        strict: bool = False,
    ) -> Module:
        """Exclude parameters from training: no gradient is computed for them.

        Freezing what is frozen changes nothing. For example, to train only the attention::

            model.freeze()
            model.apply_to_modules(lambda k, v: v.unfreeze() if k.endswith("attention") else None)

        Args:
          recurse: also freeze in all modules below.
          keys: names within a module, such as ``"bias"``, to freeze in every module that has them;
            naming a container or submodule freezes all of it. ``None``: all parameters.
          strict: raise if a key names nothing, here or (with ``recurse``) below. Otherwise there is
            a UserWarning, and the name stays frozen for members that get it later.
        Raises:
          KeyError: ``strict`` and no module has a member with that name; nothing has changed.
        """
        names = self._checked_keys(keys, recurse, strict, "freeze")
        for module in self._distinct_modules() if recurse else [self]:
            module._no_grad.update(module._own_parameters() if names is None else names)
        return self

    def unfreeze(
        self,
        *,
        recurse: bool = True,
        keys: str | Iterable[str] | None = None,
        strict: bool = False,
    ) -> Module:
        """Undo :meth:`freeze`.

        Without ``keys``, the running statistics of :class:`BatchNorm` and the packed weights of
        quantized layers stay as they are.

        Args:
          recurse: also unfreeze in all modules below.
          keys: names to unfreeze in every module that has them; ``None``: all parameters.
          strict: raise if a key names nothing, here or (with ``recurse``) below. Otherwise there is
            a UserWarning.
        Raises:
          KeyError: ``strict`` and no module has a member with that name; nothing has changed.
        """
        names = self._checked_keys(keys, recurse, strict, "unfreeze")
        for module in self._distinct_modules() if recurse else [self]:
            if names is not None:
                module._no_grad.difference_update(names)
            elif module is not self and type(module).unfreeze is not Module.unfreeze:
                module.unfreeze(recurse=False)  # has rules of its own
            else:
                module._no_grad.intersection_update(module._kept_frozen())
        return self

    def _distinct_modules(self) -> list[Module]:
        """Like :meth:`modules`, but each once, however many names it has."""
        return list({id(module): module for module in self.modules()}.values())

    def _own_parameters(self) -> list[str]:
        """The keys of the arrays that belong to this module and not to one below."""
        own = self.filter_and_map(
            lambda m, k, v: not isinstance(v, Module) and m.valid_parameter_filter(m, k, v)
        )
        return [key for key, _ in tree_flatten(own)]

    def _checked_keys(
        self, keys: str | Iterable[str] | None, recurse: bool, strict: bool, method: str
    ) -> list[str] | None:
        if keys is None:
            return None
        names = [keys] if isinstance(keys, str) else list(keys)
        where = f"{type(self).__name__}.{method}"
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"[{where}] keys must be strings, got {name!r}")
        members = _freezing.members(self._distinct_modules() if recurse else [self])
        unknown = [name for name in names if name not in members]
        if unknown:
            place = "Module and its submodules don't" if recurse else "Module doesn't"
            hints = _freezing.hints(self, unknown, members)
            message = f"[{where}] {place} contain member {', '.join(unknown)}.{hints}"
            if strict:
                raise KeyError(message)
            warnings.warn(message, UserWarning, stacklevel=_freezing.callers_level())
        return names

    # ---- training mode

    def _set_training_mode(self, mode: bool) -> None:
        """Called by :meth:`train` for each module; may be extended by layers that do more."""
        self._training = mode

    def train(self, mode: bool = True) -> Module:
        """Put this module and all below it into training mode (``True``) or evaluation mode.

        It decides what :class:`Dropout`, :class:`BatchNorm` and the like do, and is independent of
        freezing.
        """
        for module in self.modules():
            module._set_training_mode(bool(mode))
        return self

    def eval(self) -> Module:
        """The same as ``train(False)``."""
        return self.train(False)


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list)) and not isinstance(value, Module)
