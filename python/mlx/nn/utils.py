"""Functions that connect modules with the transformations of the core and with other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map

from .layers._tree import plan_update, substituted
from .layers.base import Module


def _with_parameters(module: Module, parameters: dict) -> AbstractContextManager[None]:
    return substituted(plan_update(module, parameters, mx.array, True, type(module).__name__))


def value_and_grad(model: Module, fn: Callable):
    """A function that computes ``fn`` and its gradient with respect to the model's parameters.

    Only the trainable parameters are arguments of the differentiated function: nothing is computed
    or kept for the frozen ones. The model is left as it was, except for what ``fn`` itself changes
    (running averages, for example).

    A loss that is nan or infinite raises nothing: the gradients are what arithmetic makes of it,
    and :func:`mlx.optimizers.clip_grad_norm` returns a norm that tells.

    Args:
      model: its :meth:`Module.trainable_parameters` are differentiated.
      fn: uses the model and returns a scalar, or a tuple or list that starts with one.
    Returns:
      A function with the arguments of ``fn`` that returns what ``fn`` returns, and a tree of
      gradients with the form of ``model.trainable_parameters()``. It raises ValueError if the model
      has none.

    >>> loss_and_grad = nn.value_and_grad(model, lambda x, y: (model(x) - y).square().mean())
    >>> loss, grads = loss_and_grad(x, y)                                      # doctest: +SKIP
    >>> optimizer.update(model, grads)                                         # doctest: +SKIP
    """

    def with_parameters(parameters, *args, **kwargs):
        with _with_parameters(model, parameters):
            return fn(*args, **kwargs)

    differentiated = mx.value_and_grad(with_parameters)

    @wraps(fn)
    def value_and_grad_fn(*args, **kwargs):
        parameters = model.trainable_parameters()
        if not tree_flatten(parameters):
            raise ValueError(
                f"[nn.value_and_grad] {type(model).__name__} has no trainable parameters"
            )
        return differentiated(parameters, *args, **kwargs)

    return value_and_grad_fn


def checkpoint(module: Module, fn: Callable | None = None):
    """A function that keeps only its inputs for the gradient and computes the rest a second time.

    Gradients flow to the arguments and to the module's trainable parameters. Random numbers, as of
    dropout, are right only if ``mx.checkpoint`` draws the same ones again.

    Args:
      module: its parameters are inputs.
      fn: uses the module; ``None``: calling the module.
    Returns:
      A function with the arguments of ``fn``.
    """
    function = module if fn is None else fn

    def with_parameters(parameters, *args, **kwargs):
        with _with_parameters(module, parameters):
            return function(*args, **kwargs)

    checkpointed = mx.checkpoint(with_parameters)

    @wraps(type(module).__call__ if fn is None else fn)
    def checkpointed_fn(*args, **kwargs):
        return checkpointed(module.trainable_parameters(), *args, **kwargs)

    return checkpointed_fn


def average_gradients(
    gradients: Any,
    group: mx.distributed.Group | None = None,
    all_reduce_size: int = 32 * 1024**2,
    communication_stream: mx.Stream | None = None,
):
    """The mean of the gradients of all processes.

    Many small messages are slow, so gradients are sent together.

    Args:
      gradients: a tree of arrays, of the same form in every process.
      group: the processes; ``None``: all of them.
      all_reduce_size: send messages of about this many bytes; 0: one for each array.
      communication_stream: where to run the communication; ``None``: the default stream.
    Returns:
      A tree of the same form.
    """
    group = group or mx.distributed.init()
    size = group.size()
    if size == 1:
        return gradients

    def mean(x: mx.array) -> mx.array:
        return mx.distributed.all_sum(x, group=group, stream=communication_stream) / size

    if all_reduce_size <= 0:
        return tree_map(mean, gradients)

    averaged: dict[str, mx.array] = {}
    for bucket in _buckets(tree_flatten(gradients), all_reduce_size):
        joined = mean(mx.concatenate([a.reshape(-1) for _, a in bucket]))
        end = 0
        for path, a in bucket:
            start, end = end, end + a.size
            averaged[path] = joined[start:end].reshape(a.shape)
    # The form comes from the gradients: flattening forgets empty containers and tuples.
    leaves = iter(averaged[path] for path, _ in tree_flatten(gradients))
    return tree_map(lambda _: next(leaves), gradients)


def _buckets(pairs: list[tuple[str, mx.array]], size: int) -> Iterator[list[tuple[str, mx.array]]]:
    """Consecutive arrays of the same dtype, in groups that just reach ``size`` bytes."""
    open_buckets: dict[mx.Dtype, list[tuple[str, mx.array]]] = {}
    bytes_in: dict[mx.Dtype, int] = {}
    for path, a in pairs:
        open_buckets.setdefault(a.dtype, []).append((path, a))
        bytes_in[a.dtype] = bytes_in.get(a.dtype, 0) + a.nbytes
        if bytes_in[a.dtype] >= size:
            yield open_buckets.pop(a.dtype)
            del bytes_in[a.dtype]
    yield from open_buckets.values()


def clip_grad_norm_sharded(
    gradients: Any, max_norm: float, group: mx.distributed.Group | None = None
):
    """Scale gradients of which every process holds a shard, so that their common norm is limited.

    Args:
      gradients: a tree of arrays, this process's shards.
      max_norm: the largest norm of all gradients of all processes together.
      group: the processes; ``None``: all of them.
    Returns:
      A tree of the same form, and the norm before scaling, a float32 scalar.
    """
    group = group or mx.distributed.init()
    squares = [mx.sum(mx.square(g.astype(mx.float32))) for _, g in tree_flatten(gradients)]
    total = sum(squares, mx.array(0.0))
    if group.size() > 1:
        total = mx.distributed.all_sum(total, group=group)
    norm = mx.sqrt(total)
    scale = mx.minimum(max_norm / (norm + 1e-6), 1.0)
    return tree_map(lambda g: (g * scale).astype(g.dtype), gradients), norm
