"""What every program of the MLX side needs. side_torch.py has the same functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import common
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Program
from mlx.utils import tree_flatten

Loss = Callable[..., mx.array]


def array(values: np.ndarray) -> mx.array:
    return mx.array(values)


def normal(*shape: int) -> mx.array:
    return array(common.normal(*shape))


def uniform(*shape: int) -> mx.array:
    return array(common.uniform(*shape))


def integers(bound: int, *shape: int) -> mx.array:
    return array(common.integers(bound, *shape))


def channels(batch: int, *size_and_channels: int) -> mx.array:
    """Images (batch, height, width, channels) or signals (batch, time, channels)."""
    return normal(batch, *size_and_channels)


def as_dtype(inputs: tuple[mx.array, ...], dtype: str) -> list[mx.array]:
    kind: mx.Dtype = getattr(mx, dtype)
    return [x.astype(kind) if mx.issubdtype(x.dtype, mx.floating) else x for x in inputs]


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.size for _, parameter in tree_flatten(model.trainable_parameters()))


def forward(model: nn.Module, *inputs: mx.array, dtype: str = "float32") -> Program:
    """Inference."""
    model.set_dtype(getattr(mx, dtype))
    model.eval()
    arrays = as_dtype(inputs, dtype)
    mx.eval(model.parameters(), arrays)
    return Program(lambda: mx.eval(model(*arrays)), count_parameters(model))


def training(
    model: nn.Module, loss: Loss, optimizer: optim.Optimizer, *inputs: mx.array, dtype: str = "float32"
) -> Program:
    """A step of training: `loss(model, *inputs)`, its gradients and the update."""
    model.set_dtype(getattr(mx, dtype))
    model.train()
    arrays = as_dtype(inputs, dtype)
    mx.eval(model.parameters(), arrays)
    loss_and_gradients = nn.value_and_grad(model, loss)

    def step() -> None:
        value, gradients = loss_and_gradients(model, *arrays)
        optimizer.update(model, gradients)
        mx.eval(value, model.parameters(), optimizer.state)

    return Program(step, count_parameters(model))


def operation(function: Callable[..., Any], *inputs: mx.array, dtype: str = "float32") -> Program:
    """A function of arrays, without a model."""
    arrays = as_dtype(inputs, dtype)
    mx.eval(arrays)
    return Program(lambda: mx.eval(function(*arrays)))


def sgd(rate: float, momentum: float = 0.0) -> optim.Optimizer:
    return optim.SGD(rate, momentum=momentum)


# PyTorch always corrects the bias of the moments.
def adam(rate: float) -> optim.Optimizer:
    return optim.Adam(rate, bias_correction=True)


def adamw(rate: float) -> optim.Optimizer:
    return optim.AdamW(rate, bias_correction=True)


def mean_squared_error(model: nn.Module, inputs: mx.array, targets: mx.array) -> mx.array:
    return nn.losses.mse_loss(model(inputs), targets)


def mean_square(model: nn.Module, *inputs: mx.array) -> mx.array:
    return mx.mean(mx.square(model(*inputs)))


def cross_entropy(model: nn.Module, inputs: mx.array, labels: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(inputs), labels, reduction="mean")
