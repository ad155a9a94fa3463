"""Linear layers."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx

from ._errors import in_words
from .base import Module


class Identity(Module):
    """Returns its input. Takes any arguments and ignores them, to stand in for other layers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, x: mx.array) -> mx.array:
        return x


class Linear(Module):
    r"""An affine map of the last axis, :math:`y = x W^T + b`.

    Parameters: ``weight`` of shape ``(output_dims, input_dims)`` and ``bias`` of shape
    ``(output_dims,)``, drawn uniformly from :math:`\pm 1 / \sqrt{input\_dims}`.

    Args:
      input_dims: size of the input's last axis.
      output_dims: size of the output's last axis.
      bias: whether to add ``bias``.
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1 / input_dims)
        self.weight = mx.random.uniform(-bound, bound, (output_dims, input_dims))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        """``(..., input_dims)`` to ``(..., output_dims)``; ValueError for other inputs."""
        weight = self["weight"]
        try:
            if "bias" in self:
                return mx.addmm(self["bias"], x, weight.T)
            return x @ weight.T
        except ValueError as error:
            raise in_words(self, x, weight.shape[-1], error) from None

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ):
        """A :class:`QuantizedLinear` with this layer's weights, or a :class:`QQLinear`.

        Args:
          group_size: how many weights share a scale; ``None``: the mode's default.
          bits: bits per weight; ``None``: the mode's default.
          mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
          quantize_input: make a :class:`QQLinear`, which also quantizes its input.
        Raises:
          ValueError: ``quantize_input`` with another mode than ``"nvfp4"`` or ``"mxfp8"``, or
            the sizes do not suit the mode.
        """
        from .quantized import QQLinear, QuantizedLinear

        if not quantize_input:
            return QuantizedLinear.from_linear(self, group_size, bits, mode)
        if mode not in ("nvfp4", "mxfp8"):
            raise ValueError(
                f"[Linear.to_quantized] quantize_input needs the mode 'nvfp4' or 'mxfp8', "
                f"got {mode!r}"
            )
        return QQLinear.from_linear(self, group_size, bits, mode)


class Bilinear(Module):
    r"""A bilinear form per output, :math:`y_o = x_1^T W_o x_2 + b_o`.

    Parameters: ``weight`` of shape ``(output_dims, input2_dims, input1_dims)`` and ``bias`` of
    shape ``(output_dims,)``, drawn uniformly from :math:`\pm 1 / \sqrt{input1\_dims}`.

    Args:
      input1_dims: size of the first input's last axis.
      input2_dims: size of the second input's last axis.
      output_dims: size of the output's last axis.
      bias: whether to add ``bias``.
    """

    def __init__(
        self, input1_dims: int, input2_dims: int, output_dims: int, bias: bool = True
    ) -> None:
        super().__init__()
        bound = math.sqrt(1 / input1_dims)
        shape = (output_dims, input2_dims, input1_dims)
        self.weight = mx.random.uniform(-bound, bound, shape)
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input2_dims, input1_dims = self.weight.shape
        return (
            f"input1_dims={input1_dims}, input2_dims={input2_dims}, "
            f"output_dims={output_dims}, bias={'bias' in self}"
        )

    def __call__(self, x1: mx.array, x2: mx.array) -> mx.array:
        """``(..., input1_dims)`` and ``(..., input2_dims)`` to ``(..., output_dims)``.

        Raises:
          ValueError: other sizes, or leading axes that differ.
        """
        out, in2, in1 = self.weight.shape
        if x1.shape[-1:] != (in1,) or x2.shape[-1:] != (in2,) or x1.shape[:-1] != x2.shape[:-1]:
            raise ValueError(
                f"[Bilinear] inputs must have shapes (..., {in1}) and (..., {in2}) with equal "
                f"leading axes, got {x1.shape} and {x2.shape}"
            )
        # One matrix product with all the forms, then a dot product with x2 for each row.
        forms = (x1 @ self.weight.reshape(out * in2, in1).T).reshape(*x1.shape[:-1], out, in2)
        y = (forms @ x2[..., None]).squeeze(-1)
        return y + self.bias if "bias" in self else y
