"""Initializers: each function returns a function that makes an array like the one it is given.

>>> weights = model.weight                                                     # doctest: +SKIP
>>> model.weight = nn.init.he_normal()(weights, mode="fan_out")                # doctest: +SKIP

Only the shape of the given array matters, never its values or dtype. *fan in* and *fan out* are
the number of inputs of an output and of outputs of an input: for an array of shape
``(out, ..., in)`` they are ``in`` and ``out``, times the sizes between (a convolution's kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import mlx.core as mx

Initializer = Callable[[mx.array], mx.array]


class GainInitializer(Protocol):
    """What the Glorot initializers return."""

    def __call__(self, a: mx.array, gain: float = 1.0) -> mx.array: ...


class FanInitializer(Protocol):
    """What the He initializers return."""

    def __call__(
        self, a: mx.array, mode: Literal["fan_in", "fan_out"] = "fan_in", gain: float = 1.0
    ) -> mx.array: ...


def constant(value: float, dtype: mx.Dtype = mx.float32) -> Initializer:
    """Every element is ``value``.

    Args:
      value: the number.
      dtype: of the result.
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.full(a.shape, value, dtype=dtype)

    return initializer


def normal(mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """A normal distribution.

    Args:
      mean: of the distribution.
      std: its standard deviation.
      dtype: of the result.
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)

    return initializer


def uniform(low: float = 0.0, high: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """The uniform distribution on ``[low, high)``.

    Args:
      low: lower bound.
      high: upper bound.
      dtype: of the result.
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.random.uniform(low, high, a.shape, dtype=dtype)

    return initializer


def identity(dtype: mx.Dtype = mx.float32) -> Initializer:
    """The identity matrix.

    Args:
      dtype: of the result.
    Raises (when called):
      ValueError: the array is no square matrix.
    """

    def initializer(arr: mx.array) -> mx.array:
        if arr.ndim != 2 or arr.shape[0] != arr.shape[1]:
            raise ValueError(f"[init.identity] expected a square matrix, got shape {arr.shape}")
        return mx.eye(arr.shape[0], dtype=dtype)

    return initializer


def _fans(name: str, a: mx.array) -> tuple[int, int]:
    if a.ndim < 2:
        raise ValueError(
            f"[init.{name}] fan in and fan out need at least 2 dimensions, got shape {a.shape}"
        )
    receptive_field = math.prod(a.shape[1:-1])
    return a.shape[-1] * receptive_field, a.shape[0] * receptive_field


def _fan(name: str, a: mx.array, mode: str) -> int:
    fan_in, fan_out = _fans(name, a)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[init.{name}] mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return fan_in if mode == "fan_in" else fan_out


def glorot_normal(dtype: mx.Dtype = mx.float32) -> GainInitializer:
    r"""Normal with standard deviation :math:`gain \sqrt{2 / (fan_{in} + fan_{out})}`.

    Args:
      dtype: of the result.
    Returns:
      A function of the array and ``gain`` (1.0).
    Raises (when called):
      ValueError: the array has fewer than 2 dimensions.
    Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        std = gain * math.sqrt(2 / sum(_fans("glorot_normal", a)))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def glorot_uniform(dtype: mx.Dtype = mx.float32) -> GainInitializer:
    r"""Uniform between :math:`\pm gain \sqrt{6 / (fan_{in} + fan_{out})}`.

    Args:
      dtype: of the result.
    Returns:
      A function of the array and ``gain`` (1.0).
    Raises (when called):
      ValueError: the array has fewer than 2 dimensions.
    Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        bound = gain * math.sqrt(6 / sum(_fans("glorot_uniform", a)))
        return mx.random.uniform(-bound, bound, a.shape, dtype=dtype)

    return initializer


def he_normal(dtype: mx.Dtype = mx.float32) -> FanInitializer:
    r"""Normal with standard deviation :math:`gain / \sqrt{fan}`.

    Args:
      dtype: of the result.
    Returns:
      A function of the array, ``mode`` (``"fan_in"`` or ``"fan_out"``) and ``gain`` (1.0).
    Raises (when called):
      ValueError: the array has fewer than 2 dimensions, or ``mode`` is something else.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
    """

    def initializer(
        a: mx.array, mode: Literal["fan_in", "fan_out"] = "fan_in", gain: float = 1.0
    ) -> mx.array:
        std = gain / math.sqrt(_fan("he_normal", a, mode))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def he_uniform(dtype: mx.Dtype = mx.float32) -> FanInitializer:
    r"""Uniform between :math:`\pm gain \sqrt{3 / fan}`.

    Args:
      dtype: of the result.
    Returns:
      A function of the array, ``mode`` (``"fan_in"`` or ``"fan_out"``) and ``gain`` (1.0).
    Raises (when called):
      ValueError: the array has fewer than 2 dimensions, or ``mode`` is something else.
    Source: He et al. 2015, https://arxiv.org/abs/1502.01852.
    """

    def initializer(
        a: mx.array, mode: Literal["fan_in", "fan_out"] = "fan_in", gain: float = 1.0
    ) -> mx.array:
        bound = gain * math.sqrt(3 / _fan("he_uniform", a, mode))
        return mx.random.uniform(-bound, bound, a.shape, dtype=dtype)

    return initializer


def sparse(
    sparsity: float, mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Initializer:
    """A normal distribution, with the same number of zeros in each row.

    Args:
      sparsity: the fraction of zeros, in [0, 1]; rounded up to whole elements of a row.
      mean: of the distribution.
      std: its standard deviation.
      dtype: of the result.
    Raises:
      ValueError: ``sparsity`` lies outside; when called: the array is no matrix.
    Source: Martens 2010, https://icml.cc/Conferences/2010/papers/458.pdf.
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"[init.sparse] sparsity must be in [0, 1], got {sparsity}")

    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[init.sparse] expected a matrix, got shape {a.shape}")
        zeros = math.ceil(sparsity * a.shape[1])
        # The rank of random numbers is a random permutation of each row.
        rank = mx.argsort(mx.argsort(mx.random.uniform(shape=a.shape), axis=1), axis=1)
        values = mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)
        return mx.where(rank < zeros, mx.zeros_like(values), values)

    return initializer


def orthogonal(gain: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    Args:
      gain: a factor.
      dtype: of the result.
    Raises (when called):
      ValueError: the array is no matrix.
    Source: Saxe et al. 2013, https://arxiv.org/abs/1312.6120; the signs make the distribution
    uniform: Mezzadri 2006, https://arxiv.org/abs/math-ph/0609050.
    """

    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[init.orthogonal] expected a matrix, got shape {a.shape}")
        rows, columns = a.shape
        tall = mx.random.normal(shape=(max(rows, columns), min(rows, columns)))
        q, r = mx.linalg.qr(tall, stream=mx.cpu)
        q = q * mx.where(mx.diag(r) < 0, -1.0, 1.0)
        return (gain * (q if rows >= columns else q.T)).astype(dtype)

    return initializer
