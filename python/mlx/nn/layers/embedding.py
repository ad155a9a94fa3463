"""Embedding tables."""

from __future__ import annotations

import math

import mlx.core as mx

from ._errors import checked_integers, in_words
from .base import Module


class Embedding(Module):
    r"""A table that maps integers to vectors.

    Parameter: ``weight`` of shape ``(num_embeddings, dims)``, drawn from a normal distribution with
    standard deviation :math:`1 / \sqrt{dims}`.

    Args:
      num_embeddings: how many integers there are, from 0.
      dims: size of the vectors.
    """

    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        self.weight = mx.random.normal((num_embeddings, dims), scale=math.sqrt(1 / dims))

    def _extra_repr(self) -> str:
        num_embeddings, dims = self.weight.shape
        return f"{num_embeddings}, {dims}"

    def __call__(self, x: mx.array) -> mx.array:
        """Integers of any shape to vectors, ``(..., dims)``; TypeError for other numbers."""
        checked_integers(self, x)
        return self["weight"][x]

    def as_linear(self, x: mx.array) -> mx.array:
        """``x @ weight.T``, to use the table as the output layer too: ``(..., num_embeddings)``.

        Raises:
          ValueError: the last axis of ``x`` has not the size of the vectors.
        """
        weight = self["weight"]
        try:
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
        """A :class:`QuantizedEmbedding` with this table.

        Args:
          group_size: how many weights share a scale; ``None``: the mode's default.
          bits: bits per weight; ``None``: the mode's default.
          mode: ``"affine"``, ``"mxfp4"``, ``"mxfp8"`` or ``"nvfp4"``.
          quantize_input: must be false; it is here because :class:`Linear` has it.
        Raises:
          ValueError: ``quantize_input`` is true, or the sizes do not suit the mode.
        """
        from .quantized import QuantizedEmbedding

        if quantize_input:
            raise ValueError("[Embedding.to_quantized] integers cannot be quantized further")
        return QuantizedEmbedding.from_embedding(self, group_size, bits, mode)
