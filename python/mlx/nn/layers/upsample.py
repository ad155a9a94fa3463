"""Resampling along the spatial axes.

Interpolation is separable: each axis is a sum over a few *taps*, elements of the input chosen by an
index and multiplied by a weight for each element of the output. Indices and weights depend on sizes
only; they are computed in double precision and remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import mlx.core as mx

from .base import Module

# Per tap: an index and a weight for each element of the output.
Taps = tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]


def _positions(size: int, scale: float, align_corners: bool) -> list[float]:
    """Where the centers of the output's elements lie in the input, in elements."""
    count = int(scale * size)
    if align_corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
        return [i * step for i in range(count)]
    # The grid of the output is centered: where scale * size is no whole number, what is lost is
    # lost at both ends.
    start = ((count - 1) / scale - (size - 1)) / 2
    return [i / scale - start for i in range(count)]


def _transposed(size: int, rows: list[list[tuple[int, float]]]) -> Taps:
    """From (index, weight) pairs per element to taps; indices outside mean the nearest edge."""
    return tuple(
        (
            tuple(min(max(index, 0), size - 1) for index, _ in tap),
            tuple(weight for _, weight in tap),
        )
        for tap in zip(*rows, strict=True)
    )


@lru_cache(maxsize=256)
def _linear_taps(size: int, scale: float, align_corners: bool) -> Taps:
    rows = []
    for position in _positions(size, scale, align_corners):
        position = min(max(position, 0.0), size - 1.0)
        low = math.floor(position)
        rows.append([(low, 1 - (position - low)), (low + 1, position - low)])
    return _transposed(size, rows)


def _cubic(x: float, a: float) -> float:
    """The cubic convolution kernel. Source: Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711."""
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((x - 5) * x + 8) * x * a - 4 * a if x < 2 else 0.0


def _triangle(x: float) -> float:
    return max(1 - abs(x), 0.0)


@lru_cache(maxsize=256)
def _cubic_taps(size: int, scale: float, align_corners: bool) -> Taps:
    rows = []
    for position in _positions(size, scale, align_corners):
        low = math.floor(position)
        rows.append([(i, _cubic(i - position, -0.75)) for i in range(low - 1, low + 3)])
    return _transposed(size, rows)


@lru_cache(maxsize=256)
def _antialiased_taps(size: int, scale: float, mode: str) -> Taps:
    """The kernel stretched over 1 / scale elements of the input, so that none is skipped."""
    kernel: Callable[[float], float]
    kernel, radius = (_triangle, 1) if mode == "linear" else (lambda x: _cubic(x, -0.5), 2)
    stretch = max(1 / scale, 1.0)
    support = radius * stretch
    count = 2 * math.ceil(support) + 1
    rows = []
    for position in _positions(size, scale, False):
        first = math.floor(position) - count // 2
        row = [(i, kernel((i - position) / stretch)) for i in range(first, first + count)]
        row = [(i, weight if 0 <= i < size else 0.0) for i, weight in row]
        total = sum(weight for _, weight in row)
        rows.append([(i, weight / total) for i, weight in row])
    return tuple(tap for tap in _transposed(size, rows) if any(tap[1]))


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


def _enlarged(x: mx.array, axis: int, scale: int, taps: int) -> mx.array:
    """``x`` with each element of an axis replaced by ``scale`` between it and its neighbours.

    The weights repeat from element to element, so that every tap is a slice.
    """
    size, beyond = x.shape[axis], taps // 2
    pads = [(beyond, beyond) if i == axis else (0, 0) for i in range(x.ndim)]
    x = mx.pad(x, pads, mode="edge")
    phases = []
    for phase in range(scale):
        position = (phase - (scale - 1) / 2) / scale
        low = math.floor(position) - (beyond - 1)
        terms = []
        for i in range(low, low + taps):
            at = [slice(None)] * axis + [slice(beyond + i, beyond + i + size)]
            distance = abs(i - position)
            weight = 1 - distance if taps == 2 else _cubic(distance, -0.75)
            terms.append(x[tuple(at)] * weight)
        phases.append(sum(terms[1:], terms[0]))
    return mx.flatten(mx.stack(phases, axis=axis + 1), axis, axis + 1)


def _interpolate(
    x: mx.array,
    scale_factor: tuple[float, ...],
    taps: Callable[[int, float], Taps],
    repeating: int = 0,
) -> mx.array:
    """Sums over taps. ``repeating``: their number where their weights repeat for whole scales."""
    _check_output(x, scale_factor)
    dtype = mx.result_type(x, mx.array(0.0))
    for axis, scale in enumerate(scale_factor, start=1):
        if scale == 1:
            x = x.astype(dtype)
            continue
        if repeating and scale == int(scale) and x.shape[axis]:
            x = _enlarged(x.astype(dtype), axis, int(scale), repeating)
            continue
        column = (-1, *[1] * (x.ndim - axis - 1))
        terms = [
            mx.take(x, mx.array(indices), axis=axis) * mx.array(weights).reshape(column)
            for indices, weights in taps(x.shape[axis], scale)
        ]
        x = sum(terms[1:], terms[0])
    return x


def upsample_linear(
    x: mx.array,
    scale_factor: tuple[float, ...],
    align_corners: bool = False,
    antialias: bool = False,
) -> mx.array:
    """Resample ``(N, *spatial, C)`` by interpolating linearly between neighbours, in float32."""
    if antialias:
        return _interpolate(x, scale_factor, lambda n, s: _antialiased_taps(n, s, "linear"))
    return _interpolate(
        x, scale_factor, lambda n, s: _linear_taps(n, s, align_corners), 0 if align_corners else 2
    )


def upsample_cubic(
    x: mx.array,
    scale_factor: tuple[float, ...],
    align_corners: bool = False,
    antialias: bool = False,
) -> mx.array:
    """Resample ``(N, *spatial, C)`` by cubic interpolation between four neighbours, in float32."""
    if antialias:
        return _interpolate(x, scale_factor, lambda n, s: _antialiased_taps(n, s, "cubic"))
    return _interpolate(
        x, scale_factor, lambda n, s: _cubic_taps(n, s, align_corners), 0 if align_corners else 4
    )


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
