"""Learning-rate schedules: functions from the step (an array or an int) to a learning rate.

Give one to an optimizer in place of a number. The first update uses the value at step 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import mlx.core as mx

Schedule = Callable[[mx.array], mx.array]


def exponential_decay(init: float, decay_rate: float) -> Schedule:
    """``init * decay_rate ** step``.

    >>> schedule = exponential_decay(0.1, 0.5)
    >>> [round(float(schedule(mx.array(step))), 4) for step in range(3)]
    [0.1, 0.05, 0.025]
    """

    def schedule(step: mx.array) -> mx.array:
        return init * decay_rate**step

    return schedule


def step_decay(init: float, decay_rate: float, step_size: int) -> Schedule:
    """``init * decay_rate ** (step // step_size)``.

    Raises:
      ValueError: ``step_size`` is not positive.

    >>> schedule = step_decay(0.1, 0.5, 2)
    >>> [round(float(schedule(mx.array(step))), 4) for step in range(4)]
    [0.1, 0.1, 0.05, 0.05]
    """
    _check_positive("step_decay", step_size=step_size)

    def schedule(step: mx.array) -> mx.array:
        return init * decay_rate ** (step // step_size)

    return schedule


def cosine_decay(init: float, decay_steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine wave from ``init`` to ``end``, then constant.

    ``end + (init - end) * (1 + cos(pi * min(step, decay_steps) / decay_steps)) / 2``

    Raises:
      ValueError: ``decay_steps`` is not positive.

    >>> schedule = cosine_decay(0.1, 2)
    >>> [round(float(schedule(mx.array(step))), 4) for step in range(4)]
    [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983.
    """
    _check_positive("cosine_decay", decay_steps=decay_steps)

    def schedule(step: mx.array) -> mx.array:
        angle = math.pi / decay_steps * mx.minimum(step, decay_steps)
        return end + (init - end) / 2 * (1 + mx.cos(angle))

    return schedule


def linear_schedule(init: float, end: float, steps: int) -> Schedule:
    """A straight line from ``init`` to ``end``, then constant; the usual warmup.

    ``init + (end - init) / steps * min(step, steps)``

    Raises:
      ValueError: ``steps`` is not positive.

    >>> schedule = linear_schedule(0.0, 0.1, 2)
    >>> [round(float(schedule(mx.array(step))), 4) for step in range(4)]
    [0.0, 0.05, 0.1, 0.1]
    """
    _check_positive("linear_schedule", steps=steps)

    def schedule(step: mx.array) -> mx.array:
        return init + (end - init) / steps * mx.minimum(step, steps)

    return schedule


def join_schedules(schedules: list[Schedule], boundaries: list[int]) -> Schedule:
    """One schedule after the other; each counts its steps from zero.

    Args:
      schedules: the schedules, first one first.
      boundaries: the steps at which the second one, the third one, ... take over, in rising order.
    Raises:
      ValueError: no schedules, the wrong number of boundaries, or boundaries that do not rise.

    >>> schedule = join_schedules([linear_schedule(0.0, 0.1, 2), cosine_decay(0.1, 2)], [2])
    >>> [round(float(schedule(mx.array(step))), 4) for step in range(5)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"[join_schedules] got {len(schedules)} schedules and {len(boundaries)} boundaries, "
            "expected at least one schedule and one boundary less than schedules"
        )
    if any(a >= b for a, b in pairwise(boundaries)):
        raise ValueError(f"[join_schedules] boundaries are {boundaries}, expected rising ones")

    def schedule(step: mx.array) -> mx.array:
        rate = schedules[0](step)
        for boundary, later in zip(boundaries, schedules[1:], strict=True):
            # The difference of unsigned steps must not wrap around.
            since = mx.maximum(step, boundary) - boundary
            rate = mx.where(step < boundary, rate, later(since))
        return rate

    return schedule


def _check_positive(function: str, **values: int) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"[{function}] {name} is {value}, expected > 0")
