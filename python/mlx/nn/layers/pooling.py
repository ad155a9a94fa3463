"""Pooling: the maximum or mean of windows along the spatial axes, for each channel.

Along each axis the output has the size ``(size + 2 padding - kernel_size) // stride + 1``. For a
maximum the padding is the lowest value there is, for a mean zeros, which count.

Both are separable, so axes are pooled one after the other: a window of k x k costs 2k operations
per element instead of k * k. Windows side by side become an axis of their own in a reshape, and are
reduced together; overlapping ones are combined from shifted slices, element-wise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import mlx.core as mx

from .base import Module


def _per_axis(layer: object, name: str, value: int | tuple, dims: int) -> tuple[int, ...]:
    values = (value,) * dims if isinstance(value, int) else value
    if (
        not isinstance(values, (tuple, list))
        or len(values) != dims
        or not all(isinstance(v, int) for v in values)
    ):
        count = f"{dims} integer{'s' if dims > 1 else ''}"
        raise ValueError(
            f"[{type(layer).__name__}] {name} must be an integer or a tuple of {count}, "
            f"got {value!r}"
        )
    return tuple(values)


class _Pool(Module):
    _dims: ClassVar[int]
    # How two elements combine, how axes are reduced, and what a window's sum is divided by.
    _combine: ClassVar[Callable[[mx.array, mx.array], mx.array]]
    _reduce: ClassVar[Callable[..., mx.array]]
    _is_mean: ClassVar[bool]

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
    ):
        super().__init__()
        name = type(self).__name__
        kernel = _per_axis(self, "kernel_size", kernel_size, self._dims)
        steps = kernel if stride is None else _per_axis(self, "stride", stride, self._dims)
        margins = _per_axis(self, "padding", padding, self._dims)
        for what, values, least in (
            ("kernel_size", kernel, 1),
            ("stride", steps, 1),
            ("padding", margins, 0),
        ):
            if min(values) < least:
                raise ValueError(f"[{name}] {what} must be at least {least}, got {values}")
        self._kernel_size = kernel
        self._stride = steps
        self._padding = margins

    def _extra_repr(self) -> str:
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x: mx.array) -> mx.array:
        """``(N, *spatial, C)`` to ``(N, *pooled, C)``; ValueError for other numbers of axes."""
        if x.ndim != self._dims + 2:
            raise ValueError(
                f"[{type(self).__name__}] the input must have {self._dims + 2} dimensions "
                f"(N, ..., C), got shape {x.shape}"
            )
        if self._is_mean and not mx.issubdtype(x.dtype, mx.inexact):
            x = x.astype(mx.float32)
        if any(self._padding):
            widths = [(0, 0), *((p, p) for p in self._padding), (0, 0)]
            x = mx.pad(x, widths, constant_values=mx.array(self._padding_value(x.dtype), x.dtype))
        if self._kernel_size == self._stride:
            return self._disjoint_windows(x)
        for axis, (size, step) in enumerate(
            zip(self._kernel_size, self._stride, strict=True), start=1
        ):
            x = self._windows(x, axis, size, step)
        if self._is_mean:
            count = 1
            for size in self._kernel_size:
                count *= size
            x = x * (1 / count)
        return x

    def _padding_value(self, dtype: mx.Dtype) -> float | int | bool:
        if self._is_mean:
            return 0
        if mx.issubdtype(dtype, mx.inexact):
            return -float("inf")
        return False if dtype == mx.bool_ else mx.iinfo(dtype).min

    def _disjoint_windows(self, x: mx.array) -> mx.array:
        counts = [n // k for n, k in zip(x.shape[1:-1], self._kernel_size, strict=True)]
        whole = tuple(slice(c * k) for c, k in zip(counts, self._kernel_size, strict=True))
        split = [n for pair in zip(counts, self._kernel_size, strict=True) for n in pair]
        x = x[(slice(None), *whole)].reshape(x.shape[0], *split, x.shape[-1])
        axes = list(range(2, 2 * self._dims + 1, 2))
        return mx.mean(x, axis=axes) if self._is_mean else mx.max(x, axis=axes)

    def _windows(self, x: mx.array, axis: int, size: int, step: int) -> mx.array:
        """Maxima or sums along one axis."""
        length = x.shape[axis]
        count = max((length - size) // step + 1, 0)
        before = (slice(None),) * axis
        if count == 1:
            reduced = type(self)._reduce
            return reduced(x[(*before, slice(size))], axis=axis, keepdims=True)
        end = (count - 1) * step + 1 if count else 0
        y = x[(*before, slice(0, end, step))]
        for i in range(1, size if count else 1):
            y = type(self)._combine(y, x[(*before, slice(i, i + end, step))])
        return y


class _MaxPool(_Pool):
    _combine = mx.maximum
    _reduce = mx.max
    _is_mean = False


class _AvgPool(_Pool):
    _combine = mx.add
    _reduce = mx.sum
    _is_mean = True


class MaxPool1d(_MaxPool):
    r"""Maximum over windows of sequences: ``(N, L, C)`` to ``(N, L', C)``.

    :math:`y_{n p c} = \max_k x_{n, s p + k - \pi, c}` over the positions :math:`k` of a window,
    with stride :math:`s` and padding :math:`\pi` (which counts as -inf).

    Args:
      kernel_size: size of the windows.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: elements added at both ends.
    Raises:
      ValueError: an argument is no integer or negative, or an input has not 3 dimensions.
    """

    _dims = 1


class AvgPool1d(_AvgPool):
    r"""Mean over windows of sequences: ``(N, L, C)`` to ``(N, L', C)``.

    :math:`y_{n p c} = \frac{1}{K} \sum_k x_{n, s p + k - \pi, c}` over the :math:`K`
    positions :math:`k` of a window, with stride :math:`s` and padding :math:`\pi` (zeros, which count).

    Args:
      kernel_size: size of the windows.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: zeros added at both ends.
    Raises:
      ValueError: an argument is no integer or negative, or an input has not 3 dimensions.
    """

    _dims = 1


class MaxPool2d(_MaxPool):
    r"""Maximum over windows of images: ``(N, H, W, C)`` to ``(N, H', W', C)``.

    :math:`y_{n p c} = \max_k x_{n, s p + k - \pi, c}` over the positions :math:`k` of a window,
    with stride :math:`s` and padding :math:`\pi` (which counts as -inf).

    Args:
      kernel_size: size of the windows; here and below an integer, or one for each spatial axis.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: elements added on both sides.
    Raises:
      ValueError: an argument does not fit, or an input has not 4 dimensions.
    """

    _dims = 2


class AvgPool2d(_AvgPool):
    r"""Mean over windows of images: ``(N, H, W, C)`` to ``(N, H', W', C)``.

    :math:`y_{n p c} = \frac{1}{K} \sum_k x_{n, s p + k - \pi, c}` over the :math:`K`
    positions :math:`k` of a window, with stride :math:`s` and padding :math:`\pi` (zeros, which count).

    Args:
      kernel_size: size of the windows; here and below an integer, or one for each spatial axis.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: zeros added on both sides.
    Raises:
      ValueError: an argument does not fit, or an input has not 4 dimensions.
    """

    _dims = 2


class MaxPool3d(_MaxPool):
    r"""Maximum over windows of volumes: ``(N, D, H, W, C)`` to ``(N, D', H', W', C)``.

    :math:`y_{n p c} = \max_k x_{n, s p + k - \pi, c}` over the positions :math:`k` of a window,
    with stride :math:`s` and padding :math:`\pi` (which counts as -inf).

    Args:
      kernel_size: size of the windows; here and below an integer, or one for each spatial axis.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: elements added on both sides.
    Raises:
      ValueError: an argument does not fit, or an input has not 5 dimensions.
    """

    _dims = 3


class AvgPool3d(_AvgPool):
    r"""Mean over windows of volumes: ``(N, D, H, W, C)`` to ``(N, D', H', W', C)``.

    :math:`y_{n p c} = \frac{1}{K} \sum_k x_{n, s p + k - \pi, c}` over the :math:`K`
    positions :math:`k` of a window, with stride :math:`s` and padding :math:`\pi` (zeros, which count).

    Args:
      kernel_size: size of the windows; here and below an integer, or one for each spatial axis.
      stride: distance of the windows; ``None``: ``kernel_size``.
      padding: zeros added on both sides.
    Raises:
      ValueError: an argument does not fit, or an input has not 5 dimensions.
    """

    _dims = 3
