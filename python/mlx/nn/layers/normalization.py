r"""Normalization layers, :math:`y = (x - E[x]) / \sqrt{Var[x] + \epsilon} \cdot \gamma + \beta`.

They differ in what mean and variance are taken over. Gamma is the parameter ``weight`` (initially
1), beta the parameter ``bias`` (initially 0).
"""

from __future__ import annotations

from collections.abc import Collection

import mlx.core as mx

from ._errors import checked_features, in_words
from .base import Module


def _by_groups(x: mx.array, groups: int, layer: Module, interleaved: bool = False) -> mx.array:
    if not mx.issubdtype(x.dtype, mx.inexact):
        x = x.astype(mx.float32)
    weight, bias = layer.get("weight"), layer.get("bias")
    return mx.fast.group_norm(x, groups, weight, bias, layer.eps, interleaved=interleaved)


class InstanceNorm(Module):
    r"""Normalizes every channel of every sample over its spatial axes.

    :math:`y = (x - E[x]) / \sqrt{Var[x] + \epsilon} \cdot \gamma + \beta`.

    Args:
      dims: number of channels.
      eps: added to the variance.
      affine: whether there are ``weight`` and ``bias``, of shape ``(dims,)``.
    Source: Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022.
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        if affine:
            self.weight = mx.ones((dims,))
            self.bias = mx.zeros((dims,))
        self.dims = dims
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        """``(N, ..., dims)`` with at least one spatial axis; ValueError for other inputs."""
        if x.ndim < 3:
            raise ValueError(
                f"[InstanceNorm] the input must have at least 3 dimensions (N, ..., C), "
                f"got shape {x.shape}"
            )
        checked_features(self, x, self.dims)
        return _by_groups(x, self.dims, self)


class LayerNorm(Module):
    r"""Normalizes over the last axis.

    :math:`y = (x - E[x]) / \sqrt{Var[x] + \epsilon} \cdot \gamma + \beta`.

    Args:
      dims: size of the last axis.
      eps: added to the variance.
      affine: whether there are ``weight`` and ``bias``, of shape ``(dims,)``.
      bias: whether there is ``bias`` too, given ``affine``.
    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450.
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> None:
        super().__init__()
        if affine:
            self.weight = mx.ones((dims,))
            if bias:
                self.bias = mx.zeros((dims,))
        self.eps = eps
        self.dims = dims

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        """``(..., dims)``; ValueError for other inputs."""
        if "weight" not in self:
            checked_features(self, x, self.dims)
        try:
            return mx.fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)
        except ValueError as error:
            raise in_words(self, x, self.dims, error) from None


class RMSNorm(Module):
    r"""Divides the last axis by its root mean square: :math:`\gamma x / \sqrt{E[x^2] + \epsilon}`.

    Sums are accumulated in float32 or better.

    Args:
      dims: size of the last axis and of ``weight``.
      eps: added to the mean square.
    Source: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    def __init__(self, dims: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = mx.ones((dims,))
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x: mx.array) -> mx.array:
        """``(..., dims)``; ValueError for other inputs."""
        weight = self["weight"]
        try:
            return mx.fast.rms_norm(x, weight, self.eps)
        except ValueError as error:
            raise in_words(self, x, weight.shape[-1], error) from None


def _scaled(x: mx.array, mean: mx.array, scale: mx.array, bias: mx.array | None) -> mx.array:
    """``(x - mean) * scale + bias`` as one product and one sum: the backward pass needs nothing but ``x``.

    What this rounds is as much as what was rounded when ``x`` was: for float32 and float64. The order of the
    operands is that in which the two sums of the backward pass are asked for together.
    """
    shift = mean * scale
    return (-shift if bias is None else bias - shift) + x * scale


class GroupNorm(Module):
    """Normalizes groups of channels of every sample, over its spatial axes too.

    Args:
      num_groups: number of groups.
      dims: number of channels, divisible by ``num_groups``.
      eps: added to the variance.
      affine: whether there are ``weight`` and ``bias``, of shape ``(dims,)``.
      pytorch_compatible: a group is ``dims / num_groups`` channels in a row, as in PyTorch and the
        paper. Otherwise every ``num_groups``-th channel belongs to the same group.
    Raises:
      ValueError: ``dims`` is not divisible by ``num_groups``.
    Source: Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """

    def __init__(
        self,
        num_groups: int,
        dims: int,
        eps: float = 1e-5,
        affine: bool = True,
        pytorch_compatible: bool = False,
    ):
        super().__init__()
        if dims % num_groups:
            raise ValueError(
                f"[GroupNorm] dims ({dims}) must be divisible by num_groups ({num_groups})"
            )
        if affine:
            self.bias = mx.zeros((dims,))
            self.weight = mx.ones((dims,))
        self.num_groups = num_groups
        self.dims = dims
        self.eps = eps
        self.pytorch_compatible = pytorch_compatible

    def _extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, "
            f"affine={'weight' in self}, pytorch_compatible={self.pytorch_compatible}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        """``(N, ..., dims)``; ValueError for other inputs."""
        checked_features(self, x, self.dims)
        return _by_groups(x, self.num_groups, self, interleaved=not self.pytorch_compatible)


class BatchNorm(Module):
    r"""Normalizes every channel over the batch and the spatial axes.

    In training mode mean and variance are those of the batch, and running averages are kept:
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance. In
    evaluation mode the running averages take their place. These, ``running_mean`` and
    ``running_var``, are parameters that stay frozen unless ``unfreeze`` is given their names.

    Args:
      num_features: number of channels.
      eps: added to the variance.
      momentum: weight of the newest batch in the running averages.
      affine: whether there are ``weight`` and ``bias``, of shape ``(num_features,)``.
      track_running_stats: whether to keep running averages. Without them the batch is used in
        evaluation mode too.
    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = mx.ones((num_features,))
            self.bias = mx.zeros((num_features,))
        if track_running_stats:
            self.running_mean = mx.zeros((num_features,))
            self.running_var = mx.ones((num_features,))
            self.freeze(keys=self._kept_frozen(), recurse=False)

    def _kept_frozen(self) -> Collection[str]:
        return ("running_mean", "running_var")

    def unfreeze(self, *args, **kwargs):
        """Like :meth:`Module.unfreeze`: without ``keys`` the running averages stay frozen."""
        return super().unfreeze(*args, **kwargs)

    def _extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={'weight' in self}, track_running_stats={self.track_running_stats}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        """``(N, C)``, ``(N, L, C)`` or ``(N, H, W, C)``; ValueError for other inputs."""
        if not 2 <= x.ndim <= 4:
            raise ValueError(f"[BatchNorm] the input must have 2, 3 or 4 dimensions, got {x.shape}")
        checked_features(self, x, self.num_features)
        if self.training or not self.track_running_stats:
            mean, var = self._batch_statistics(x)
        else:
            mean, var = self.running_mean, self.running_var
        scale = mx.rsqrt(var + self.eps)
        if "weight" in self:
            scale = scale * self.weight
        if x.dtype in (mx.float32, mx.float64):
            return _scaled(x, mean, scale, self.get("bias"))
        y = (x - mean) * scale
        return y + self.bias if "weight" in self else y

    def _batch_statistics(self, x: mx.array) -> tuple[mx.array, mx.array]:
        axes = list(range(x.ndim - 1))
        var, mean = mx.var_mean(x, axis=axes)
        if self.training and self.track_running_stats:
            count = x.size // self.num_features
            unbiased = var * (count / max(count - 1, 1))
            old, new = 1 - self.momentum, self.momentum
            # The averages are outside of any gradient. They keep their dtype: a float16 batch must
            # not turn float32 averages, nor the other way round.
            for name, value in (("running_mean", mean), ("running_var", unbiased)):
                average = old * self[name] + new * mx.stop_gradient(value)
                self[name] = average.astype(self[name].dtype)
        return mean, var
