"""Loss functions.

All take ``reduction``: ``"none"`` returns one loss per element (or per slice along ``axis``),
``"sum"`` and ``"mean"`` reduce these to a scalar.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import mlx.core as mx

Reduction = Literal["none", "mean", "sum"]


def _reduce(loss: mx.array, reduction: Reduction = "none") -> mx.array:
    if reduction == "mean":
        return mx.mean(loss)
    if reduction == "sum":
        return mx.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"[losses] reduction must be one of {get_args(Reduction)}, got {reduction!r}")


def _same_shape(name: str, **arrays: mx.array) -> None:
    if len({a.shape for a in arrays.values()}) > 1:
        got = ", ".join(f"{key} {a.shape}" for key, a in arrays.items())
        raise ValueError(f"[{name}] shapes must be the same, got {got}")


def _broadcastable(name: str, **arrays: mx.array) -> None:
    try:
        mx.broadcast_shapes(*(a.shape for a in arrays.values()))
    except ValueError:
        got = ", ".join(f"{key} {a.shape}" for key, a in arrays.items())
        raise ValueError(f"[{name}] shapes do not match: {got}") from None


def _without_axis(name: str, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    if not -len(shape) <= axis < len(shape):
        raise IndexError(f"[{name}] axis {axis} is out of range for an array with shape {shape}")
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def _pick(a: mx.array, indices: mx.array, axis: int) -> mx.array:
    """The element of each slice along ``axis`` that ``indices`` names."""
    return mx.take_along_axis(a, mx.expand_dims(indices, axis), axis).squeeze(axis)


def _weighted(name: str, loss: mx.array, weights: mx.array | None) -> mx.array:
    if weights is None:
        return loss
    _same_shape(name, weights=weights, loss=loss)
    return loss * weights


def cross_entropy(
    logits: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    r"""Cross entropy between targets and the softmax of ``logits``: :math:`-\sum_i t_i \log p_i`.

    Args:
      logits: unnormalized log probabilities.
      targets: class indices, shaped like ``logits`` without ``axis``, or probabilities of the
        shape of ``logits``.
      weights: a factor for each loss, shaped like ``logits`` without ``axis``.
      axis: the axis of the classes.
      label_smoothing: in [0, 1), the share of the target that is spread evenly over all classes.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not match, or ``label_smoothing`` or ``reduction`` is invalid.

    >>> cross_entropy(mx.array([[2.0, -1.0], [-1.0, 2.0]]), mx.array([0, 1]))
    array([0.0485873, 0.0485873], dtype=float32)
    """
    name = "losses.cross_entropy"
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"[{name}] label_smoothing must be in [0, 1), got {label_smoothing}")
    without_axis = _without_axis(name, logits.shape, axis)
    probabilities = targets.shape == logits.shape
    if not probabilities and targets.shape != without_axis:
        raise ValueError(
            f"[{name}] targets with shape {targets.shape} do not match logits with shape "
            f"{logits.shape}: expected {without_axis} for indices, {logits.shape} for probabilities"
        )
    if not probabilities and not mx.issubdtype(targets.dtype, mx.integer):
        raise ValueError(f"[{name}] class indices must be integers, got {targets.dtype}")

    last = axis % logits.ndim == logits.ndim - 1
    if last and not probabilities and not label_smoothing:
        loss = mx.fast.cross_entropy(logits, targets).astype(_float_dtype(logits))
    else:
        normalizer = mx.logsumexp(logits, axis=axis)
        if probabilities:
            loss = normalizer * mx.sum(targets, axis=axis) - mx.sum(logits * targets, axis=axis)
        else:
            loss = normalizer - _pick(logits, targets, axis)
        if label_smoothing:
            even = normalizer - mx.mean(logits, axis=axis)
            loss = (1 - label_smoothing) * loss + label_smoothing * even
    return _reduce(_weighted(name, loss, weights), reduction)


def _float_dtype(a: mx.array) -> mx.Dtype:
    return a.dtype if mx.issubdtype(a.dtype, mx.floating) else mx.float32


def binary_cross_entropy(
    inputs: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    with_logits: bool = True,
    reduction: Reduction = "mean",
) -> mx.array:
    r"""Cross entropy of yes-or-no targets, :math:`-t \log p - (1 - t) \log(1 - p)`.

    Args:
      inputs: logits, with :math:`p = \sigma(x)`, or the probabilities themselves.
      targets: numbers in [0, 1], shaped like ``inputs``.
      weights: a factor for each element, shaped like ``inputs``.
      with_logits: whether ``inputs`` are logits. Logarithms of probabilities are limited to -100.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``reduction`` is invalid.
    """
    name = "losses.binary_cross_entropy"
    _same_shape(name, inputs=inputs, targets=targets)
    if with_logits:
        loss = mx.logaddexp(inputs, 0) - inputs * targets
    else:
        yes = mx.maximum(mx.log(inputs), -100)
        no = mx.maximum(mx.log1p(-inputs), -100)
        loss = -(targets * yes + (1 - targets) * no)
    return _reduce(_weighted(name, loss, weights), reduction)


def l1_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    r"""Absolute error, :math:`|x - t|`.

    Args:
      predictions: any shape.
      targets: the same shape.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``reduction`` is invalid.
    """
    _same_shape("losses.l1_loss", predictions=predictions, targets=targets)
    return _reduce(mx.abs(predictions - targets), reduction)


def mse_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    r"""Squared error, :math:`(x - t)^2`.

    Args:
      predictions: any shape.
      targets: the same shape.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``reduction`` is invalid.
    """
    _same_shape("losses.mse_loss", predictions=predictions, targets=targets)
    return _reduce(mx.square(predictions - targets), reduction)


def _least(a: mx.array) -> float:
    """The least number above 0 of its dtype."""
    limits = mx.finfo(_float_dtype(a))
    return limits.smallest_normal * limits.eps


def nll_loss(
    inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none"
) -> mx.array:
    r"""Negative log likelihood, :math:`-x_t`: minus the log probability of the target class.

    Args:
      inputs: log probabilities.
      targets: class indices, shaped like ``inputs`` without ``axis``.
      axis: the axis of the classes.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not match, or ``reduction`` is invalid.
    """
    expected = _without_axis("losses.nll_loss", inputs.shape, axis)
    if targets.shape != expected:
        raise ValueError(
            f"[losses.nll_loss] targets with shape {targets.shape} do not match inputs with shape "
            f"{inputs.shape}: expected {expected}"
        )
    return _reduce(-_pick(inputs, targets, axis), reduction)


def gaussian_nll_loss(
    inputs: mx.array,
    targets: mx.array,
    vars: mx.array,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> mx.array:
    r"""Negative log likelihood of a normal distribution, :math:`(\log v + (x - t)^2 / v) / 2`.

    Args:
      inputs: the expected values :math:`x`.
      targets: samples, of the same shape.
      vars: the variances :math:`v`, of the same shape; raised to ``eps`` where they are less.
      full: add the constant :math:`\log(2 \pi) / 2`.
      eps: the least variance.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``reduction`` is invalid.
    """
    _same_shape("losses.gaussian_nll_loss", inputs=inputs, targets=targets, vars=vars)
    vars = mx.maximum(vars, eps)
    loss = 0.5 * (mx.log(vars) + mx.square(targets - inputs) / vars)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)


def kl_div_loss(
    inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none"
) -> mx.array:
    r"""Kullback-Leibler divergence of log probabilities, :math:`\sum_i e^{t_i} (t_i - x_i)`.

    Args:
      inputs: log probabilities of the model, :math:`x`.
      targets: log probabilities of the target, :math:`t`.
      axis: the axis of the events.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    """
    _broadcastable("losses.kl_div_loss", inputs=inputs, targets=targets)
    return _reduce(mx.sum(mx.exp(targets) * (targets - inputs), axis), reduction)


def smooth_l1_loss(
    predictions: mx.array, targets: mx.array, beta: float = 1.0, reduction: Reduction = "mean"
) -> mx.array:
    r"""Absolute error, smoothed near zero.

    With :math:`d = |x - t|` it is :math:`d^2 / (2 \beta)` where :math:`d < \beta` and
    :math:`d - \beta / 2` elsewhere.

    Args:
      predictions: any shape.
      targets: the same shape.
      beta: where the pieces meet; 0 gives :func:`l1_loss`.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``beta`` or ``reduction`` is invalid.
    Source: Girshick 2015, https://arxiv.org/abs/1504.08083.
    """
    _same_shape("losses.smooth_l1_loss", predictions=predictions, targets=targets)
    if beta < 0:
        raise ValueError(f"[losses.smooth_l1_loss] beta must not be negative, got {beta}")
    if beta == 0:
        return _reduce(mx.abs(predictions - targets), reduction)
    loss = mx.fast.huber(predictions - targets, beta)
    return _reduce(loss if beta == 1 else loss * (1 / beta), reduction)


def triplet_loss(
    anchors: mx.array,
    positives: mx.array,
    negatives: mx.array,
    axis: int = -1,
    p: int = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    reduction: Reduction = "none",
) -> mx.array:
    r"""Positives must be nearer to anchors than negatives: :math:`\max(d(a, +) - d(a, -) + m, 0)`.

    Args:
      anchors: vectors along ``axis``.
      positives: vectors that belong to the anchors.
      negatives: vectors that do not.
      axis: the axis of the vectors.
      p: the distance is the ``p``-norm, :math:`(\sum |x|^p + \epsilon)^{1/p}`.
      margin: :math:`m`, by how much.
      eps: keeps the gradient finite at distance 0.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    Source: Balntas et al. 2016, https://bmva-archive.org.uk/bmvc/2016/papers/paper119.
    """
    name = "losses.triplet_loss"
    _broadcastable(name, anchors=anchors, positives=positives, negatives=negatives)

    def distance(a: mx.array, b: mx.array) -> mx.array:
        if p == 2:
            return mx.sqrt(mx.sum(mx.square(a - b), axis) + eps)
        return mx.power(mx.sum(mx.power(mx.abs(a - b), p), axis) + eps, 1 / p)

    margins = distance(anchors, positives) - distance(anchors, negatives) + margin
    return _reduce(mx.maximum(margins, 0), reduction)


def hinge_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    r"""Hinge loss :math:`\max(1 - x t, 0)`.

    Args:
      inputs: scores.
      targets: -1 or 1.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    """
    _broadcastable("losses.hinge_loss", inputs=inputs, targets=targets)
    return _reduce(mx.maximum(1 - inputs * targets, 0), reduction)


def huber_loss(
    inputs: mx.array, targets: mx.array, delta: float = 1.0, reduction: Reduction = "none"
) -> mx.array:
    r"""Squared error near zero, absolute error beyond.

    With :math:`d = |x - t|` it is :math:`d^2 / 2` where :math:`d \le \delta` and
    :math:`\delta (d - \delta / 2)` elsewhere.

    Args:
      inputs: any shape.
      targets: a shape that broadcasts with it.
      delta: where the pieces meet.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732.
    """
    _broadcastable("losses.huber_loss", inputs=inputs, targets=targets)
    return _reduce(mx.fast.huber(inputs - targets, delta), reduction)


def log_cosh_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    r"""Logarithm of the hyperbolic cosine of the error, :math:`\log \cosh(x - t)`.

    Args:
      inputs: any shape.
      targets: a shape that broadcasts with it.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    """
    _broadcastable("losses.log_cosh_loss", inputs=inputs, targets=targets)
    error = inputs - targets
    return _reduce(mx.logaddexp(error, -error) - math.log(2), reduction)


def cosine_similarity_loss(
    x1: mx.array,
    x2: mx.array,
    axis: int = 1,
    eps: float = 1e-8,
    reduction: Reduction = "none",
) -> mx.array:
    r"""Cosine of the angle, :math:`x_1 \cdot x_2 / \max(|x_1| |x_2|, \epsilon)`. 1: same direction.

    Args:
      x1: vectors along ``axis``.
      x2: vectors along ``axis``.
      axis: the axis of the vectors.
      eps: the least denominator.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes do not broadcast, or ``reduction`` is invalid.
    """
    _broadcastable("losses.cosine_similarity_loss", x1=x1, x2=x2)

    def norm(x: mx.array) -> mx.array:
        # The derivative of sqrt at 0 is infinite, so zeros do not go through it. Their products are 0.
        squares = mx.sum(mx.square(x), axis)
        return mx.sqrt(mx.maximum(squares, _least(squares)))

    loss = mx.sum(x1 * x2, axis) / mx.maximum(norm(x1) * norm(x2), eps)
    return _reduce(loss, reduction)


def margin_ranking_loss(
    inputs1: mx.array,
    inputs2: mx.array,
    targets: mx.array,
    margin: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    r"""Which input should be larger: :math:`\max(-t (x_1 - x_2) + m, 0)`.

    Args:
      inputs1: scores.
      inputs2: scores, of the same shape.
      targets: 1 where the first should be larger, -1 where the second; the same shape.
      margin: :math:`m`, by how much.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.
    Raises:
      ValueError: the shapes differ, or ``reduction`` is invalid.
    """
    _same_shape("losses.margin_ranking_loss", inputs1=inputs1, inputs2=inputs2, targets=targets)
    return _reduce(mx.maximum(-targets * (inputs1 - inputs2) + margin, 0), reduction)
