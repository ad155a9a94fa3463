"""Activations as modules, for :class:`Sequential` and the like, and their functions."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from ._activation_functions import (
    celu,
    elu,
    gelu,
    gelu_approx,
    gelu_fast_approx,
    glu,
    hard_shrink,
    hard_tanh,
    hardswish,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    prelu,
    relu,
    relu2,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    step,
    tanh,
)
from .base import Module


def _applies(function: Callable[[mx.array], mx.array]) -> Callable[[type], type]:
    """Class decorator: calling the module, which has no state, calls ``function``."""

    def decorate(cls: type) -> type:
        def __call__(_, x: mx.array) -> mx.array:
            return function(x)

        __call__.__qualname__ = f"{cls.__qualname__}.__call__"
        __call__.__doc__ = function.__doc__
        cls.__call__ = __call__
        return cls

    return decorate


@_applies(sigmoid)
class Sigmoid(Module):
    """:func:`sigmoid` as a module."""


@_applies(tanh)
class Tanh(Module):
    """:func:`tanh` as a module."""


@_applies(relu)
class ReLU(Module):
    """:func:`relu` as a module."""


@_applies(relu2)
class ReLU2(Module):
    """:func:`relu2` as a module."""


@_applies(relu6)
class ReLU6(Module):
    """:func:`relu6` as a module."""


@_applies(selu)
class SELU(Module):
    """:func:`selu` as a module."""


@_applies(silu)
class SiLU(Module):
    """:func:`silu` as a module."""


@_applies(mish)
class Mish(Module):
    """:func:`mish` as a module."""


@_applies(softplus)
class Softplus(Module):
    """:func:`softplus` as a module."""


@_applies(softsign)
class Softsign(Module):
    """:func:`softsign` as a module."""


@_applies(hard_tanh)
class HardTanh(Module):
    """:func:`hard_tanh` between -1 and 1 as a module."""


@_applies(hardswish)
class Hardswish(Module):
    """:func:`hardswish` as a module."""


@_applies(softmax)
class Softmax(Module):
    """:func:`softmax` over the last axis as a module."""


@_applies(softmin)
class Softmin(Module):
    """:func:`softmin` over the last axis as a module."""


@_applies(log_softmax)
class LogSoftmax(Module):
    """:func:`log_softmax` over the last axis as a module."""


@_applies(log_sigmoid)
class LogSigmoid(Module):
    """:func:`log_sigmoid` as a module."""


class LeakyReLU(Module):
    """:func:`leaky_relu` as a module.

    Args:
      negative_slope: the slope for negative inputs.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x: mx.array) -> mx.array:
        return leaky_relu(x, self._negative_slope)


class PReLU(Module):
    """:func:`prelu` with its slopes as the parameter ``weight`` of shape ``(num_parameters,)``.

    Args:
      num_parameters: 1, or the size of the input's last axis.
      init: the initial slope.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = mx.full([num_parameters], init)

    def __call__(self, x: mx.array) -> mx.array:
        slopes = self.weight.size
        if slopes != 1 and x.shape[-1:] != (slopes,):
            raise ValueError(
                f"[PReLU] the last axis of an input with shape {x.shape} does not match the "
                f"weight with shape {self.weight.shape}"
            )
        return prelu(x, self.weight)


class ELU(Module):
    """:func:`elu` as a module.

    Args:
      alpha: minus the limit for very negative inputs.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return elu(x, self._alpha)


class CELU(Module):
    """:func:`celu` as a module.

    Args:
      alpha: minus the limit for very negative inputs.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return celu(x, self._alpha)


class Softshrink(Module):
    """:func:`softshrink` as a module.

    Args:
      lambd: half the width of the interval that becomes 0.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return softshrink(x, self.lambd)


class HardShrink(Module):
    """:func:`hard_shrink` as a module.

    Args:
      lambd: half the width of the interval that becomes 0.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return hard_shrink(x, self.lambd)


class Step(Module):
    """:func:`step` as a module.

    Args:
      threshold: inputs from there on give 1.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def __call__(self, x: mx.array) -> mx.array:
        return step(x, self.threshold)


class GLU(Module):
    """:func:`glu` as a module.

    Args:
      axis: the axis that is halved.
    """

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def __call__(self, x: mx.array) -> mx.array:
        return glu(x=x, axis=self.axis)


class GELU(Module):
    """:func:`gelu` or one of its approximations as a module.

    Args:
      approx: ``"none"`` for :func:`gelu`, ``"precise"`` or ``"tanh"`` for :func:`gelu_approx`,
        ``"fast"`` for :func:`gelu_fast_approx`.
    Raises:
      ValueError: ``approx`` is something else.
    """

    _functions = {  # noqa: RUF012
        "none": gelu,
        "precise": gelu_approx,
        "tanh": gelu_approx,
        "fast": gelu_fast_approx,
    }

    def __init__(self, approx: str = "none") -> None:
        super().__init__()
        if approx not in self._functions:
            raise ValueError(
                f"[GELU] approx must be one of {list(self._functions)}, got {approx!r}"
            )
        self._approx = approx

    def __call__(self, x: mx.array) -> mx.array:
        return self._functions[self._approx](x)
