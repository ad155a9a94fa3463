"""Optimizers, learning-rate schedules and gradient clipping.

An optimizer is its formula: a subclass of :class:`Optimizer` says what it remembers for a parameter
(``init_single``) and how a parameter moves (``apply_single``)::

    optimizer = AdamW(cosine_decay(1e-3, 1000))
    loss, gradients = nn.value_and_grad(model, loss_fn)(x, y)
    optimizer.update(model, gradients)
    mx.eval(model.parameters(), optimizer.state)
"""

from mlx.optimizers.adam import Adam, Adamax, AdamW
from mlx.optimizers.adaptive import AdaDelta, Adafactor, Adagrad, RMSprop
from mlx.optimizers.base import MultiOptimizer, Optimizer
from mlx.optimizers.clipping import clip_grad_norm
from mlx.optimizers.momentum import SGD, Lion, Muon
from mlx.optimizers.schedulers import (
    cosine_decay,
    exponential_decay,
    join_schedules,
    linear_schedule,
    step_decay,
)

__all__ = [
    "SGD",
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "cosine_decay",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "step_decay",
]
