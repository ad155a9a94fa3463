"""Messages for inputs that do not fit a layer.

The layers that are one call of the core do not check their input first: the core does, and they
translate what it raises into the terms of the layer.
"""

from __future__ import annotations

import mlx.core as mx


def wrong_features(layer: object, x: mx.array, features: int, name: str = "weight") -> ValueError:
    """The error for an input whose last axis has not the size that the layer was made for."""
    has = f"the {name} has shape {layer[name].shape}" if name in layer else "by its arguments"
    return ValueError(
        f"[{type(layer).__name__}] the last axis of the input must have size {features} ({has}), "
        f"got an input with shape {x.shape}"
    )


def checked_features(layer: object, x: mx.array, features: int) -> None:
    """Raise :func:`wrong_features`, where broadcasting would hide the mistake from the core."""
    if x.shape[-1:] != (features,):
        raise wrong_features(layer, x, features)


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of ``shape`` can be broadcast to the shape ``to``."""
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in pairs)


def checked_integers(layer: object, x: object) -> None:
    """Raise TypeError for an array that cannot be an index."""
    if isinstance(x, mx.array) and mx.issubdtype(x.dtype, mx.inexact):
        raise TypeError(
            f"[{type(layer).__name__}] the input must be integers, got an array of {x.dtype} with "
            f"shape {x.shape}"
        )


def in_words(layer: object, x: mx.array, features: int, error: ValueError) -> ValueError:
    """What to raise for ``error``, with which the core answered a call of ``layer`` on ``x``."""
    if isinstance(x, mx.array) and x.shape[-1:] != (features,):
        return wrong_features(layer, x, features)
    return error
