"""Low-rank adaptation: a layer keeps its weights and learns the product of two thin matrices beside them.

LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten


class LoRALinear(nn.Module):
    """`linear(x) + scale * (x @ down) @ up`; `up` starts at zero, so nothing changes at first."""

    def __init__(self, linear: nn.Linear, rank: int = 8, scale: float = 2.0):
        super().__init__()
        outputs, inputs = linear.weight.shape
        self.scale = scale
        self.linear = linear
        self.down = mx.random.normal((inputs, rank)) * inputs**-0.5
        self.up = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear(x) + self.scale * ((x @ self.down) @ self.up)

    def fused(self) -> nn.Linear:
        outputs, inputs = self.linear.weight.shape
        fused = nn.Linear(inputs, outputs)
        fused.weight = self.linear.weight + self.scale * (self.down @ self.up).T
        fused.bias = self.linear.bias
        return fused


def add_lora(model: nn.Module, names: tuple[str, ...] = ("query", "value"), rank: int = 8) -> None:
    """Freeze the model and put adapters on the linear layers of these names: only they are trained."""
    model.freeze()
    layers = [
        (path, LoRALinear(module, rank))
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.rsplit(".", 1)[-1] in names
    ]
    for _, layer in layers:
        layer.linear.freeze()
    model.update_modules(tree_unflatten(layers))


def fuse(model: nn.Module) -> None:
    """Replace every adapted layer by an ordinary one that does the same."""
    model.update_modules(
        tree_unflatten([(path, m.fused()) for path, m in model.named_modules() if isinstance(m, LoRALinear)])
    )
