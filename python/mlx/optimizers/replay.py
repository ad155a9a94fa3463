"""Steps of the optimizers of this package without Python for every parameter.

What such an optimizer does in a step depends on the form of its trees and on its settings, and is nothing
but operations on arrays. So the second step of a kind is traced (``mx.compile``), and later ones rebuild the
graph from the trace: the same operations, no sooner evaluated. The first step, steps that make state,
classes of somebody else's and anything unusual, such as what is going to be an error, go the way that
``apply_gradients`` describes.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from mlx.optimizers.base import Optimizer

_PLAIN = frozenset({int, float, bool, str, type(None)})
_MOST_REFUSALS = 4  # one after the other: then it is not tried again


class Unfit(Exception):
    """The step is not one to be replayed."""


class Replay:
    """The traces of an optimizer with one state, which they change in place."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.state = optimizer.state
        self._refusals = 0
        if not type(optimizer).__module__.startswith("mlx.optimizers."):
            self._refusals = _MOST_REFUSALS
        owner = weakref.ref(optimizer)  # which has this object

        def step(settings: tuple, gradients: dict, parameters: dict) -> dict:
            optimizer = owner()
            assert optimizer is not None  # it is calling
            return optimizer._traced_step(gradients, parameters)

        self._step = mx.compile(step, inputs=self.state, outputs=self.state)

    def step(self, optimizer: Optimizer, gradients: dict, parameters: Any) -> dict:
        """The moved parameters. The optimizer's state and step count are those of after the step.

        Raises:
          Unfit: nothing has changed.
        """
        if self._refusals >= _MOST_REFUSALS:
            raise Unfit
        try:
            moved = self._step(_settings(optimizer), gradients, _like(gradients, parameters))
        except Exception as e:  # whatever is wrong, the usual way says it better
            self._refusals += 1
            raise Unfit from e
        self._refusals = 0
        return moved


def _settings(optimizer: Optimizer) -> tuple:
    """The numbers that the step depends on: all public attributes."""
    settings = []
    for name, value in vars(optimizer).items():
        if name[0] == "_":
            continue
        parts = value if type(value) in (list, tuple) else (value,)
        if not all(type(part) in _PLAIN for part in parts):
            raise Unfit
        settings.append((name, *parts))
    return tuple(settings)


def _like(gradients: Any, parameters: Any) -> Any:
    """The parameters that have gradients, in a tree of the gradients' form."""
    if type(gradients) is dict:
        keys: Any = gradients
    elif type(gradients) is list or type(gradients) is tuple:
        keys = range(len(gradients))
    else:
        raise Unfit
    found: list = []
    for key in keys:
        gradient, parameter = gradients[key], parameters[key]
        if type(gradient) is mx.array:
            if type(parameter) is not mx.array:
                raise Unfit
            found.append(parameter)
        else:
            found.append(_like(gradient, parameter))
    return dict(zip(keys, found, strict=True)) if keys is gradients else found
