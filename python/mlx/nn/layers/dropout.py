"""Dropout: random zeros during training."""

from __future__ import annotations

import mlx.core as mx

from .base import Module


class _Dropout(Module):
    # The last axes of the input over which one random decision holds, except for the channels;
    # None is for dropout of single elements.
    _spatial_dims: int | None = None

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"[{type(self).__name__}] p must be in [0, 1), got {p}")
        self.p = p

    def _extra_repr(self) -> str:
        return f"p={self.p}"

    def _mask_shape(self, x: mx.array) -> tuple[int, ...]:
        spatial = self._spatial_dims
        if spatial is None:
            return x.shape
        if x.ndim not in (spatial + 1, spatial + 2):
            raise ValueError(
                f"[{type(self).__name__}] the input must have {spatial + 1} or {spatial + 2} "
                f"dimensions, got shape {x.shape}"
            )
        batch = x.shape[: x.ndim - spatial - 1]
        return (*batch, *[1] * spatial, x.shape[-1])

    def __call__(self, x: mx.array) -> mx.array:
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        mask = mx.random.bernoulli(keep, self._mask_shape(x))
        # where, not a product: an infinite value that is dropped becomes 0, not nan.
        return mx.where(mask, x * (1 / keep), 0)


class Dropout(_Dropout):
    """Sets each element to zero with probability ``p`` and divides the others by ``1 - p``.

    ``y = mask * x / (1 - p)``, with ``mask`` 1 with probability ``1 - p`` and 0 otherwise.

    Does nothing in evaluation mode. Input and output: any shape.

    Args:
      p: probability of a zero, in [0, 1).
    Raises:
      ValueError: ``p`` lies outside.
    Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """


class Dropout2d(_Dropout):
    """Sets whole channels of images to zero with probability ``p``, scaling the others.

    ``y = mask * x / (1 - p)``, with a ``mask`` of shape ``(N, 1, 1, C)``.

    Does nothing in evaluation mode. Input and output: ``(N, H, W, C)`` or ``(H, W, C)``.

    Args:
      p: probability that a channel of an image is dropped, in [0, 1).
    Raises:
      ValueError: ``p`` lies outside, or an input has another number of dimensions.
    Source: Tompson et al. 2014, https://arxiv.org/abs/1411.4280.
    """

    _spatial_dims = 2


class Dropout3d(_Dropout):
    """Sets whole channels of volumes to zero with probability ``p``, scaling the others.

    ``y = mask * x / (1 - p)``, with a ``mask`` of shape ``(N, 1, 1, 1, C)``.

    Does nothing in evaluation mode. Input and output: ``(N, D, H, W, C)`` or ``(D, H, W, C)``.

    Args:
      p: probability that a channel of a volume is dropped, in [0, 1).
    Raises:
      ValueError: ``p`` lies outside, or an input has another number of dimensions.
    Source: Tompson et al. 2014, https://arxiv.org/abs/1411.4280.
    """

    _spatial_dims = 3
