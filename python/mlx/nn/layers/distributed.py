"""Layers whose weights are spread over the processes of a group.

Two kinds of *tensor parallelism* for linear layers: **all-to-sharded** layers take the whole input
and each process computes a part of the outputs; **sharded-to-all** layers take a part of the input
each and sum their contributions. One after the other, only the second one communicates in the
forward pass and only the first one in the backward pass.

:func:`fully_shard` spreads parameters of any module, which are gathered when it is called.

In a group of one process all of them do what the ordinary layers do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path, tree_unflatten

from ._tree import plan_update, substituted
from .base import Module
from .linear import Linear
from .quantized import QuantizedLinear, _Quantized, _resolved

Group = mx.distributed.Group
# An axis, an axis with segments, or None for what every process keeps whole.
Split = int | tuple[int, int | list] | None


@lru_cache
def sum_gradients(group: Group) -> Callable[[mx.array], mx.array]:
    """The identity function, whose gradients are summed over the processes of ``group``."""
    if group.size() == 1:
        return lambda x: x

    @mx.custom_function
    def identity(x: mx.array) -> mx.array:
        return x

    @identity.vjp
    def summed(x: mx.array, cotangent: mx.array, _: mx.array) -> mx.array:
        return mx.distributed.all_sum(cotangent, group=group)

    return identity


def _own_part(a: mx.array, axis: int, segments: int | list, group: Group, path: str) -> mx.array:
    """This process's part of every segment along an axis, joined.

    Segments are what was joined to one weight, for example queries, keys and values: their number,
    or the indices where the second and later ones begin.
    """
    count, rank = group.size(), group.rank()
    parts = []
    for segment in mx.split(a, segments, axis=axis):
        if segment.shape[axis] % count:
            raise ValueError(
                f"[shard] axis {axis} of {path!r} with shape {a.shape} in segments {segments} "
                f"cannot be divided among {count} processes"
            )
        parts.append(mx.split(segment, count, axis=axis)[rank])
    return mx.contiguous(mx.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0])


def _sharded(parameters: dict, how: Callable[[str, mx.array], Split], group: Group) -> dict:
    def shard(path: str, a: Any) -> Any:
        if not isinstance(a, mx.array):
            return a
        split = how(path, a)
        if split is None:
            return a
        axis, segments = split if isinstance(split, tuple) else (split, 1)
        return _own_part(a, axis, segments, group, path)

    return tree_map_with_path(shard, parameters)


def _rule(
    sharding: str, segments: int | list, module: Module | None = None
) -> Callable[[str, mx.array], Split]:
    """How a parameter of a linear layer is divided. ``module``: the layer, if it is known."""
    if sharding == "all-to-sharded":
        # Outputs are the last axis of a bias, the last but one of all else; experts have axes in front.
        return lambda path, a: (-1 if path.rpartition(".")[2] == "bias" else max(a.ndim - 2, 0), segments)
    if sharding == "sharded-to-all":

        def columns(path: str, a: mx.array) -> Split:
            if path.rpartition(".")[2] == "bias":
                return None  # added once, after the sum
            if isinstance(segments, list) and isinstance(module, _Quantized):
                # Indices count the inputs, of which a word or a scale stands for several.
                inputs = module._sizes[1]
                return -1, [i * a.shape[-1] // inputs for i in segments]
            return -1, segments

        return columns
    raise ValueError(
        f"[shard] sharding must be 'all-to-sharded' or 'sharded-to-all', got {sharding!r}"
    )


def shard_inplace(
    module: Module,
    sharding: str | Callable[[str, mx.array], Split],
    *,
    segments: int | list = 1,
    group: Group | None = None,
):
    """Keep only this process's part of every parameter of ``module``.

    Args:
      module: changed in place; what it computes is up to the caller.
      sharding: ``"all-to-sharded"``, ``"sharded-to-all"``, or a function of path and array that
        returns an axis, a pair of axis and segments, or ``None`` to keep the array whole.
      segments: number or start indices of parts that are divided one by one, for joined weights.
      group: the processes; ``None``: all.
    Raises:
      ValueError: a size is not divisible, or ``sharding`` is something else.
    """
    how = sharding if callable(sharding) else _rule(sharding, segments, module)
    shards = _sharded(module.parameters(), how, group or mx.distributed.init())
    module._replace(shards, True, "update")


def shard_linear(
    module: Module,
    sharding: str,
    *,
    segments: int | list = 1,
    group: Group | None = None,
):
    """The sharded layer that computes what a linear or quantized linear layer does.

    Args:
      module: a :class:`Linear` or :class:`QuantizedLinear`.
      sharding: ``"all-to-sharded"`` or ``"sharded-to-all"``.
      segments: number or start indices of parts that are divided one by one, for joined weights.
      group: the processes; ``None``: all.
    Raises:
      ValueError: a size is not divisible, or ``sharding`` is something else.
    """
    _rule(sharding, segments)
    to_sharded = sharding == "all-to-sharded"
    if isinstance(module, QuantizedLinear):
        kind = QuantizedAllToShardedLinear if to_sharded else QuantizedShardedToAllLinear
        return kind.from_quantized_linear(module, segments=segments, group=group)
    kind = AllToShardedLinear if to_sharded else ShardedToAllLinear
    return kind.from_linear(module, segments=segments, group=group)


def _divided(layer: object, name: str, size: int, group: Group) -> int:
    if size % group.size():
        raise ValueError(
            f"[{type(layer).__name__}] {name} ({size}) must be divisible by the number of "
            f"processes ({group.size()})"
        )
    return size // group.size()


def _sharded_copy(cls: type, source: Module, sharding: str, segments: int | list, group: Group):
    """A new ``cls`` with this process's part of the parameters of ``source``, frozen alike."""
    new = cls.__new__(cls)
    new.__dict__.update(source.__dict__)
    new.__dict__["_no_grad"] = set(source._no_grad)
    new.group = group
    how = _rule(sharding, segments, source)
    for name, value in _sharded(source.parameters(), how, group).items():
        new[name] = value
    return new


class AllToShardedLinear(Module):
    """A linear layer of which each process computes a part of the outputs.

    ``y_i = x @ weight_i.T + bias_i`` in process ``i``, with its rows of ``weight`` and ``bias``.

    Args:
      input_dims: size of the input's last axis, in every process.
      output_dims: size of the output's last axis, all processes together.
      bias: whether to add ``bias``, each process its part.
      group: the processes; ``None``: all.
    Raises:
      ValueError: ``output_dims`` is not divisible by the number of processes.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group: Group | None = None,
    ):
        super().__init__()
        self.group = group or mx.distributed.init()
        own = _divided(self, "output_dims", output_dims, self.group)
        bound = math.sqrt(1 / input_dims)
        self.weight = mx.random.uniform(-bound, bound, (own, input_dims))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (own,))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        output_dims *= self.group.size()
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        return Linear.__call__(self, sum_gradients(self.group)(x))

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        *,
        segments: int | list = 1,
        group: Group | None = None,
    ):
        """This process's part of a :class:`Linear`; see :func:`shard_linear`."""
        group = group or mx.distributed.init()
        return _sharded_copy(cls, linear_layer, "all-to-sharded", segments, group)


class ShardedToAllLinear(Module):
    """A linear layer of which each process takes a part of the inputs; the outputs are summed.

    ``y = sum_i(x_i @ weight_i.T) + bias``, with columns of ``weight`` in process ``i``.

    Args:
      input_dims: size of the input's last axis, all processes together.
      output_dims: size of the output's last axis, in every process.
      bias: whether to add ``bias``, the same in every process.
      group: the processes; ``None``: all.
    Raises:
      ValueError: ``input_dims`` is not divisible by the number of processes.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group: Group | None = None,
    ):
        super().__init__()
        self.group = group or mx.distributed.init()
        own = _divided(self, "input_dims", input_dims, self.group)
        bound = math.sqrt(1 / input_dims)
        self.weight = mx.random.uniform(-bound, bound, (output_dims, own))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        input_dims *= self.group.size()
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        if self.group.size() == 1:
            return Linear.__call__(self, x)
        y = mx.distributed.all_sum(x @ self["weight"].T, group=self.group)
        return y + self["bias"] if "bias" in self else y

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        *,
        segments: int | list = 1,
        group: Group | None = None,
    ):
        """This process's part of a :class:`Linear`; see :func:`shard_linear`."""
        group = group or mx.distributed.init()
        return _sharded_copy(cls, linear_layer, "sharded-to-all", segments, group)


class _QuantizedSharded(_Quantized):
    def _setup(
        self, shape: tuple[int, int], input_dims: int, bias: bool, how: tuple[int, int, str]
    ) -> None:
        group_size, bits, self.mode = how
        name = type(self).__name__
        self.group_size, self.bits = _resolved(name, self.mode, group_size, bits)
        bound = math.sqrt(1 / input_dims)
        self._pack(mx.random.uniform(-bound, bound, shape))
        if bias:
            self.bias = mx.zeros((shape[0],))
        self.freeze()

    def _shown(self, output_dims: int, input_dims: int) -> str:
        return (
            f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}, "
            f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"
        )

    def unfreeze(self, *args, **kwargs):
        """Like :meth:`Module.unfreeze`: without ``keys`` the packed weight stays frozen."""
        return super().unfreeze(*args, **kwargs)


class QuantizedAllToShardedLinear(_QuantizedSharded):
    """An :class:`AllToShardedLinear` with a quantized weight.

    Args:
      input_dims: size of the input's last axis, in every process.
      output_dims: size of the output's last axis, all processes together.
      bias: whether to add ``bias``, each process its part.
      group_size: how many weights share a scale.
      bits: bits per weight.
      mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
      group: the processes; ``None``: all.
    Raises:
      ValueError: ``output_dims`` is not divisible by the number of processes, or the sizes do not
        suit the mode.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int = 64,
        bits: int = 4,
        mode: str = "affine",
        group: Group | None = None,
    ):
        super().__init__()
        self.group = group or mx.distributed.init()
        own = _divided(self, "output_dims", output_dims, self.group)
        self._setup((own, input_dims), input_dims, bias, (group_size, bits, mode))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self._sizes
        return self._shown(output_dims * self.group.size(), input_dims)

    def __call__(self, x: mx.array) -> mx.array:
        return QuantizedLinear.__call__(self, sum_gradients(self.group)(x))

    @classmethod
    def from_quantized_linear(
        cls,
        quantized_linear_layer: Module,
        *,
        segments: int | list = 1,
        group: Group | None = None,
    ):
        """This process's part of a :class:`QuantizedLinear`; see :func:`shard_linear`."""
        group = group or mx.distributed.init()
        return _sharded_copy(cls, quantized_linear_layer, "all-to-sharded", segments, group)


class QuantizedShardedToAllLinear(_QuantizedSharded):
    """A :class:`ShardedToAllLinear` with a quantized weight.

    Args:
      input_dims: size of the input's last axis, all processes together.
      output_dims: size of the output's last axis, in every process.
      bias: whether to add ``bias``, the same in every process.
      group_size: how many weights share a scale.
      bits: bits per weight.
      mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
      group: the processes; ``None``: all.
    Raises:
      ValueError: ``input_dims`` is not divisible by the number of processes, or the sizes do not
        suit the mode.
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int = 64,
        bits: int = 4,
        mode: str = "affine",
        group: Group | None = None,
    ):
        super().__init__()
        self.group = group or mx.distributed.init()
        own = _divided(self, "input_dims", input_dims, self.group)
        self._setup((output_dims, own), input_dims, bias, (group_size, bits, mode))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self._sizes
        return self._shown(output_dims, input_dims * self.group.size())

    def __call__(self, x: mx.array) -> mx.array:
        y = self._matmul(x)
        if self.group.size() > 1:
            y = mx.distributed.all_sum(y, group=self.group)
        return y + self["bias"] if "bias" in self else y

    @classmethod
    def from_quantized_linear(
        cls,
        quantized_linear_layer: Module,
        *,
        segments: int | list = 1,
        group: Group | None = None,
    ):
        """This process's part of a :class:`QuantizedLinear`; see :func:`shard_linear`."""
        group = group or mx.distributed.init()
        return _sharded_copy(cls, quantized_linear_layer, "sharded-to-all", segments, group)


class FullyShardedModule(Module):
    """A module of whose parameters every process keeps a part, along the first axis.

    A call gathers the whole parameters, and the gradients of the parts are the means over all
    processes: what :func:`average_gradients` does is done then. Optimizers see the parts only;
    clip gradients with ``nn.utils.clip_grad_norm_sharded``.

    Args:
      module: changed in place: its parameters become this process's parts. Those of a
        ``FullyShardedModule`` inside it stay as they are.
      group: the processes; ``None``: all.
      compute_dtype: convert floating point parameters to it before they are gathered, for the
        computation only; ``None``: do not.
    Raises:
      ValueError: the first axis of a parameter is not divisible by the number of processes.
    """

    def __init__(
        self,
        module: Module,
        group: Group | None = None,
        compute_dtype: mx.Dtype | None = None,
    ):
        super().__init__()
        self._group = group or mx.distributed.init()
        self._compute_dtype = compute_dtype

        own = module.filter_and_map(
            lambda m, k, v: (
                not isinstance(v, FullyShardedModule) and m.valid_parameter_filter(m, k, v)
            )
        )
        parts = []
        for path, a in tree_flatten(own):
            if a.ndim == 0 or a.shape[0] % self._group.size():
                raise ValueError(
                    f"[FullyShardedModule] axis 0 of {path!r} with shape {a.shape} cannot be "
                    f"divided among {self._group.size()} processes"
                )
            parts.append((path, _own_part(a, 0, 1, self._group, path)))
        module._replace(tree_unflatten(parts), True, "update")
        self._paths = tuple(path for path, _ in parts)
        self.module = module

    def _extra_repr(self) -> str:
        return f"num_sharded_params={len(self._paths)}"

    def _gathered_call(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """``function(*args, **kwargs)`` while the module has its whole parameters."""
        by_dtype: dict[mx.Dtype, list[tuple[str, mx.array]]] = {}
        parameters = dict(tree_flatten(self.module.parameters()))
        for path in self._paths:
            by_dtype.setdefault(parameters[path].dtype, []).append((path, parameters[path]))
        whole = []
        for pairs in by_dtype.values():
            paths, parts = zip(*pairs, strict=True)
            whole += zip(paths, self._gather(parts), strict=True)
        where = "FullyShardedModule"
        with substituted(plan_update(self.module, tree_unflatten(whole), mx.array, True, where)):
            return function(*args, **kwargs)

    def _gather(self, parts: tuple[mx.array, ...]) -> list[mx.array]:
        compute_dtype = self._compute_dtype
        if compute_dtype is not None and mx.issubdtype(parts[0].dtype, mx.floating):
            parts = tuple(part.astype(compute_dtype) for part in parts)
        if self._group.size() == 1:
            return list(parts)
        return gather(self._group, parts)

    def __call__(self, *args, **kwargs):
        """Call the module."""
        return self._gathered_call(self.module, *args, **kwargs)

    def as_linear(self, *args, **kwargs):
        """Call the ``as_linear`` of the module, an :class:`Embedding`."""
        return self._gathered_call(self.module.as_linear, *args, **kwargs)


def gather(group: Group, parts: tuple[mx.array, ...]) -> list[mx.array]:
    """Every process's ``parts``, joined along the first axis, with one message for all.

    The gradient of a part is the mean over all processes. All parts have the same dtype.
    """
    count = group.size()
    sizes = [part.size for part in parts]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]

    @mx.custom_function
    def gathered(joined: mx.array) -> mx.array:
        return mx.distributed.all_gather(joined[None], group=group)

    @gathered.vjp
    def mean(joined: mx.array, cotangent: mx.array, _: mx.array) -> mx.array:
        return mx.distributed.sum_scatter(cotangent, group=group)[0] / count

    # Joining and splitting stay outside: their derivatives are the core's.
    rows = gathered(mx.concatenate([part.reshape(-1) for part in parts]))
    return [
        rows[:, end - part.size : end].reshape(count * part.shape[0], *part.shape[1:])
        for part, end in zip(parts, ends, strict=True)
    ]


def fully_shard(
    module: Module,
    *,
    group: Group | None = None,
    compute_dtype: mx.Dtype | None = None,
) -> Module:
    """Wrap a module in :class:`FullyShardedModule`, if there are several processes.

    For a deep model, shard each block and then the model: parameters are gathered block by block.

    Args:
      module: changed in place.
      group: the processes; ``None``: all.
      compute_dtype: convert floating point parameters to it for the computation.
    Returns:
      The wrapper; ``module`` itself if the group has one process or it is wrapped already.
    Raises:
      ValueError: the first axis of a parameter is not divisible by the number of processes.
    """
    group = group or mx.distributed.init()
    if group.size() == 1 or isinstance(module, FullyShardedModule):
        return module
    return FullyShardedModule(module, group=group, compute_dtype=compute_dtype)
