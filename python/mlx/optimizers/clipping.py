"""Gradient clipping."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map


def clip_grad_norm(grads: Any, max_norm: float) -> tuple[Any, mx.array]:
    """Scale gradients down together so that their common norm is at most ``max_norm``.

    ``g * min(1, max_norm / (norm + 1e-6))``, where ``norm`` is the root of the sum of all squares
    of all gradients, in float32 or, for float64 gradients, float64.

    Args:
      grads: a tree of arrays.
      max_norm: the largest norm allowed, a number or a 0-d array.
    Returns:
      The scaled tree, dtypes unchanged, and the norm before scaling.
    Raises:
      ValueError: a negative ``max_norm``.

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks,
    arXiv:1211.5063.
    """
    if isinstance(max_norm, (int, float)) and max_norm < 0:
        raise ValueError(f"[clip_grad_norm] max_norm is {max_norm}, expected >= 0")
    squares = [_square_sum(g) for _, g in tree_flatten(grads)]
    norm = mx.sqrt(mx.sum(mx.stack(squares))) if squares else mx.array(0.0)
    scale = mx.minimum(max_norm / (norm + 1e-6), 1.0)
    return tree_map(lambda g: g * scale.astype(g.dtype), grads), norm


def _square_sum(g: mx.array) -> mx.array:
    wide = g if g.dtype == mx.float64 else mx.abs(g).astype(mx.float32)
    return mx.sum(mx.square(wide))
