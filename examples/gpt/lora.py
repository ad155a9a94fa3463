"""Low-rank adapters (LoRA, arXiv:2106.09685) on frozen layers, quantized ones too (QLoRA, arXiv:2305.14314).

y = x W^T + scale * (x A) B      W frozen; A (in, rank) random, B (rank, out) zero at first
"""

from __future__ import annotations

import math
from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    """``base`` plus an adapter of rank ``rank``. At first it computes what ``base`` does."""

    def __init__(self, base: nn.Linear | nn.QuantizedLinear, rank: int, scale: float = 2.0, dropout: float = 0.0):
        super().__init__()
        rows, columns = base.weight.shape
        if isinstance(base, nn.QuantizedLinear):
            columns = columns * 32 // base.bits
        self.base = base
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(columns)
        self.a = mx.random.uniform(-bound, bound, (columns, rank))
        self.b = mx.zeros((rank, rows))

    def __call__(self, x: mx.array) -> mx.array:
        return self.base(x) + self.scale * (self.dropout(x) @ self.a @ self.b)

    def fused(self) -> nn.Linear:
        """One linear layer with the sum of both weights, in floating point."""
        base = self.base
        if isinstance(base, nn.QuantizedLinear):
            options = {"group_size": base.group_size, "bits": base.bits, "mode": base.mode}
            weight = mx.dequantize(base.weight, base.scales, base.get("biases"), **options)
        else:
            weight = base.weight
        rows, columns = weight.shape
        layer = nn.Linear(columns, rows, bias="bias" in base)
        layer.weight = weight + (self.scale * (self.a @ self.b).T).astype(weight.dtype)
        if "bias" in base:
            layer.bias = base.bias
        return layer


def _replace(model: nn.Module, kinds: tuple[type, ...], replacement: Callable[[nn.Module], nn.Module]) -> None:
    for parent in model.modules():
        for name, child in list(parent.items()):
            if isinstance(child, kinds):
                parent[name] = replacement(child)


def add_adapters(model: nn.Module, rank: int, scale: float = 2.0, dropout: float = 0.0) -> nn.Module:
    """Freeze the model and give each linear layer an adapter: these alone are trained."""
    model.freeze()
    _replace(model, (nn.Linear, nn.QuantizedLinear), lambda layer: LoRALinear(layer, rank, scale, dropout))
    return model


def fuse_adapters(model: nn.Module) -> nn.Module:
    """Replace each layer with an adapter by one linear layer in floating point."""
    _replace(model, (LoRALinear,), lambda layer: layer.fused())
    return model
