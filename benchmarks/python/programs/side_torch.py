"""What every program of the PyTorch side needs. side_mlx.py has the same functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import common
import numpy as np
import torch
import torch.nn.functional as F
from common import Program
from torch import Tensor, nn

Loss = Callable[..., Tensor]
Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
_images = torch.contiguous_format


def use_channels_last() -> None:
    """From now on images and the weights of convolutions over them lie in memory as MLX has them."""
    global _images
    _images = torch.channels_last


def array(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values)


def normal(*shape: int) -> Tensor:
    return array(common.normal(*shape))


def uniform(*shape: int) -> Tensor:
    return array(common.uniform(*shape))


def integers(bound: int, *shape: int) -> Tensor:
    return array(common.integers(bound, *shape))


def as_images(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_images)


def channels(batch: int, *size_and_channels: int) -> Tensor:
    """Images (batch, channels, height, width) or signals (batch, channels, time)."""
    x = normal(batch, *size_and_channels).movedim(-1, 1)
    return as_images(x) if x.dim() == 4 else x.contiguous()


def as_dtype(inputs: tuple[Tensor, ...], dtype: str) -> list[Tensor]:
    return [x.to(getattr(torch, dtype)) if x.is_floating_point() else x for x in inputs]


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def has_layouts(model: nn.Module) -> bool:
    return any(p.dim() == 4 for p in model.parameters())


def forward(model: nn.Module, *inputs: Tensor, dtype: str = "float32") -> Program:
    """Inference."""
    model = model.to(getattr(torch, dtype)).to(memory_format=_images)
    model.eval()
    arrays = as_dtype(inputs, dtype)

    def run() -> None:
        with torch.inference_mode():
            model(*arrays)

    return Program(run, count_parameters(model), has_layouts(model))


def training(model: nn.Module, loss: Loss, optimizer: Optimizer, *inputs: Tensor, dtype: str = "float32") -> Program:
    """A step of training: `loss(model, *inputs)`, its gradients and the update."""
    model = model.to(getattr(torch, dtype)).to(memory_format=_images)
    model.train()
    arrays = as_dtype(inputs, dtype)
    update = optimizer([p for p in model.parameters() if p.requires_grad])

    def step() -> None:
        update.zero_grad()
        loss(model, *arrays).backward()
        update.step()

    return Program(step, count_parameters(model), has_layouts(model))


def operation(function: Callable[..., Any], *inputs: Tensor, dtype: str = "float32") -> Program:
    """A function of arrays, without a model."""
    arrays = as_dtype(inputs, dtype)
    return Program(lambda: function(*arrays))


# fused: one pass over the parameters, what PyTorch is fastest with.
def sgd(rate: float, momentum: float = 0.0) -> Optimizer:
    return lambda parameters: torch.optim.SGD(parameters, rate, momentum=momentum, fused=True)


def adam(rate: float) -> Optimizer:
    return lambda parameters: torch.optim.Adam(parameters, rate, fused=True)


def adamw(rate: float) -> Optimizer:
    return lambda parameters: torch.optim.AdamW(parameters, rate, fused=True)


def mean_squared_error(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(model(inputs), targets)


def mean_square(model: nn.Module, *inputs: Tensor) -> Tensor:
    return model(*inputs).square().mean()


def cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    logits = model(inputs)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
