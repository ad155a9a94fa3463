"""What convolutions and transposed convolutions of 1, 2 and 3 spatial dimensions share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import mlx.core as mx

from .base import Module


def spatial(layer: object, name: str, value: int | tuple, dims: int) -> tuple[int, ...]:
    """``value`` for each of ``dims`` axes; an integer stands for all of them."""
    values = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(values) != dims:
        raise ValueError(
            f"[{type(layer).__name__}] {name} must be an integer or {dims} of them, got {value}"
        )
    return values


class Convolution(Module):
    """Base of the convolutions; a subclass names the core's function and its spatial dimensions.

    Attributes are what the function takes: one-dimensional layers keep integers, the others tuples.
    """

    _dims: ClassVar[int]
    _function: ClassVar[Callable[..., mx.array]]
    # The layer's attributes in the order in which the function takes them.
    _options: ClassVar[tuple[str, ...]]

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        bias: bool,
        groups: int = 1,
        **options: int | tuple,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"[{type(self).__name__}] in_channels ({in_channels}) and out_channels "
                f"({out_channels}) must be divisible by groups ({groups})"
            )
        kernel = spatial(self, "kernel_size", kernel_size, self._dims)
        bound = math.sqrt(1 / (in_channels // groups * math.prod(kernel)))
        shape = (out_channels, *kernel, in_channels // groups)
        self.weight = mx.random.uniform(-bound, bound, shape)
        if bias:
            self.bias = mx.zeros((out_channels,))
        for name, value in options.items():
            per_axis = spatial(self, name, value, self._dims)
            setattr(self, name, per_axis if self._dims > 1 else per_axis[0])
        if "groups" in self._options:
            self.groups = groups

    def _extra_repr(self) -> str:
        shape = self.weight.shape
        kernel = shape[1:-1] if self._dims > 1 else shape[1]
        options = {name: getattr(self, name) for name in ("stride", "padding", *self._options[2:])}
        shown = "".join(f", {name}={value}" for name, value in options.items())
        channels = shape[-1] * getattr(self, "groups", 1)
        return f"{channels}, {shape[0]}, kernel_size={kernel}{shown}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        weight = self["weight"]
        options = (getattr(self, name) for name in self._options)
        try:
            y = type(self)._function(x, weight, *options)
        except ValueError as error:
            raise self._explained(x, error) from None
        return y + self["bias"] if "bias" in self else y

    def _explained(self, x: mx.array, error: ValueError) -> ValueError:
        shape = self.weight.shape
        channels = shape[-1] * getattr(self, "groups", 1)
        name = type(self).__name__
        axes = ", ".join("DHW"[3 - self._dims :]) if self._dims > 1 else "L"
        if x.ndim != self._dims + 2 or x.shape[-1] != channels:
            return ValueError(
                f"[{name}] the input must have the shape (N, {axes}, {channels}) for a weight "
                f"with shape {shape}, got {x.shape}"
            )
        return ValueError(f"[{name}] input {x.shape}, weight {shape}: {error}")
