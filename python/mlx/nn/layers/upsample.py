"""Resampling along the spatial axes, one after the other: interpolation is separable."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import mlx.core as mx

from .base import Module


@lru_cache(maxsize=256)
def _nearest_indices(size: int, scale: float) -> tuple[int, ...]:
    count = int(scale * size)
    if count > size:
        return tuple(round((i + 0.5) * size / count - 0.5) for i in range(count))
    return tuple(i * size // count for i in range(count))


def _check_output(x: mx.array, scale_factor: tuple[float, ...]) -> None:
    sizes = [int(s * n) for s, n in zip(scale_factor, x.shape[1:-1], strict=True)]
    if 0 in sizes and x.size:
        raise ValueError(
            f"[Upsample] scale_factor {scale_factor} leaves nothing of an input {x.shape}"
        )


def upsample_nearest(x: mx.array, scale_factor: tuple[float, ...]) -> mx.array:
    """Resample ``(N, *spatial, C)`` by copying the nearest element. The dtype stays."""
    _check_output(x, scale_factor)
    for axis, scale in enumerate(scale_factor, start=1):
        if scale == int(scale):
            if scale != 1:
                x = mx.repeat(x, int(scale), axis=axis)
        else:
            x = mx.take(x, mx.array(_nearest_indices(x.shape[axis], scale)), axis=axis)
    return x


def _interpolate(
    x: mx.array, scale_factor: tuple[float, ...], method: str, align_corners: bool, antialias: bool
) -> mx.array:
    _check_output(x, scale_factor)
    x = x.astype(mx.result_type(x, mx.array(0.0)))
    for axis, scale in enumerate(scale_factor, start=1):
        if scale != 1:
            x = mx.fast.resample(
                x,
                axis,
                int(scale * x.shape[axis]),
                scale=scale,
                method=method,
                align_corners=align_corners,
                antialias=antialias,
            )
    return x


def upsample_linear(
    x: mx.array,
    scale_factor: tuple[float, ...],
    align_corners: bool = False,
    antialias: bool = False,
) -> mx.array:
    """Resample ``(N, *spatial, C)`` by interpolating linearly between neighbours, in float32."""
    return _interpolate(x, scale_factor, "linear", align_corners, antialias)


def upsample_cubic(
    x: mx.array,
    scale_factor: tuple[float, ...],
    align_corners: bool = False,
    antialias: bool = False,
) -> mx.array:
    """Resample ``(N, *spatial, C)`` by cubic interpolation between four neighbours, in float32."""
    return _interpolate(x, scale_factor, "cubic", align_corners, antialias)


class Upsample(Module):
    r"""Makes signals, images or volumes larger, or smaller.

    Input: ``(N, *spatial, C)``. Each spatial axis gets ``int(scale * size)`` elements. The dtype
    stays with ``"nearest"``; otherwise it becomes float32.

    Args:
      scale_factor: a factor for all spatial axes, or one for each.
      mode: ``"nearest"``, ``"linear"`` (bilinear, trilinear) or ``"cubic"``.
      align_corners: the first and last elements of input and output lie at the same place;
        otherwise the centers of both grids do.
      antialias: when making things smaller, let every element of the input take part.
    Raises:
      ValueError: ``mode`` is something else, a scale is not positive, ``antialias`` with
        ``"nearest"`` or ``align_corners``; when called: the numbers of axes do not match.
    """

    def __init__(
        self,
        scale_factor: float | tuple,
        mode: Literal["nearest", "linear", "cubic"] = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
    ):
        super().__init__()
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(
                f"[Upsample] mode must be 'nearest', 'linear' or 'cubic', got {mode!r}"
            )
        if antialias and mode == "nearest":
            raise ValueError("[Upsample] antialias needs the mode 'linear' or 'cubic'")
        if antialias and align_corners:
            raise ValueError("[Upsample] antialias and align_corners cannot be combined")
        if isinstance(scale_factor, (list, tuple)):
            self.scale_factor = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor)
        if not all(0 < s < math.inf for s in self._scales(1)):
            raise ValueError(f"[Upsample] scale_factor must be positive, got {scale_factor}")
        self.mode = mode
        self.align_corners = align_corners
        self.antialias = antialias

    def _scales(self, dims: int) -> tuple[float, ...]:
        scale = self.scale_factor
        return scale if isinstance(scale, tuple) else (scale,) * dims

    def _extra_repr(self) -> str:
        return (
            f"scale_factor={self.scale_factor}, mode={self.mode!r}, "
            f"align_corners={self.align_corners}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        dims = x.ndim - 2
        if dims < 1:
            raise ValueError(
                f"[Upsample] the input must have at least 3 dimensions (N, ..., C), got {x.shape}"
            )
        scales = self._scales(dims)
        if len(scales) != dims:
            raise ValueError(
                f"[Upsample] scale_factor {scales} has {len(scales)} elements, but the input with "
                f"shape {x.shape} has {dims} spatial dimensions"
            )
        if self.mode == "nearest":
            return upsample_nearest(x, scales)
        resample = upsample_linear if self.mode == "linear" else upsample_cubic
        return resample(x, scales, self.align_corners, self.antialias)
