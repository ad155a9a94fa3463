"""Activation functions.

All are element-wise unless they take an ``axis``. The result has the input's shape and its dtype;
integers are computed in float32 where the formula needs it. They are chains of element-wise
operations, which the evaluator fuses into one pass over memory, derivatives included.

Two rules keep gradients finite: a branch of ``mx.where`` that is not chosen must not overflow (its
zero cotangent would meet an infinite derivative and give nan), so it gets a harmless argument; and
ties at a kink are decided by the condition, not by how ``maximum`` splits a gradient.
"""

from __future__ import annotations

import math

import mlx.core as mx


def sigmoid(x: mx.array) -> mx.array:
    r""":math:`\sigma(x) = 1 / (1 + e^{-x})`."""
    return mx.sigmoid(x)


def tanh(x: mx.array) -> mx.array:
    """``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``, the hyperbolic tangent of ``x``."""
    return mx.tanh(x)


def relu(x: mx.array) -> mx.array:
    """``max(x, 0)``. The derivative at 0 is 0.

    Source: Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines.
    """
    return mx.maximum(x, 0)


def relu2(x: mx.array) -> mx.array:
    """``max(x, 0) ** 2``. Source: Primer (So et al. 2021), https://arxiv.org/abs/2109.08668."""
    return mx.square(mx.maximum(x, 0))


def relu6(x: mx.array) -> mx.array:
    """``min(max(x, 0), 6)``. Source: Krizhevsky 2010, Convolutional deep belief networks."""
    return mx.clip(x, 0, 6.0)


def leaky_relu(x: mx.array, negative_slope: float = 0.01) -> mx.array:
    """``x`` where it is not negative, ``negative_slope * x`` elsewhere.

    Source: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models.
    """
    return mx.fast.leaky_relu(x, negative_slope)


def prelu(x: mx.array, alpha: mx.array) -> mx.array:
    """``x`` where it is not negative, ``alpha * x`` elsewhere: a learned slope.

    Args:
      x: any shape.
      alpha: slopes, of a shape that broadcasts with ``x``: ``(1,)`` or ``(channels,)``.
    Source: Delving deep into rectifiers (He et al. 2015), https://arxiv.org/abs/1502.01852.
    """
    return mx.fast.leaky_relu(x, alpha)


def elu(x: mx.array, alpha: float = 1.0) -> mx.array:
    """``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Source: Clevert et al. 2015, https://arxiv.org/abs/1511.07289.
    """
    positive = x > 0
    return mx.where(positive, x, alpha * mx.expm1(mx.where(positive, 0, x)))


def celu(x: mx.array, alpha: float = 1.0) -> mx.array:
    """``x`` where it is positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere.

    Unlike :func:`elu` its derivative is continuous for every ``alpha``.
    Source: Barron 2017, https://arxiv.org/abs/1704.07483.
    """
    positive = x > 0
    return mx.where(positive, x, alpha * mx.expm1(mx.where(positive, 0, x) / alpha))


def selu(x: mx.array) -> mx.array:
    """``1.0507 * elu(x, 1.67326)``: with it, activations keep mean 0 and variance 1.

    Source: Self-normalizing networks (Klambauer et al. 2017), https://arxiv.org/abs/1706.02515.
    """
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def silu(x: mx.array) -> mx.array:
    """``x * sigmoid(x)``, also called swish.

    Source: Elfwing et al. 2017, https://arxiv.org/abs/1702.03118.
    """
    return x * mx.sigmoid(x)


def mish(x: mx.array) -> mx.array:
    """``x * tanh(softplus(x))``. Source: Misra 2019, https://arxiv.org/abs/1908.08681."""
    return x * mx.tanh(softplus(x))


def gelu(x) -> mx.array:
    r""":math:`x \Phi(x)` with the normal distribution function :math:`\Phi`, by ``erf``.

    :func:`gelu_approx` and :func:`gelu_fast_approx` are approximations.
    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415.
    """
    return mx.fast.gelu(x)


def gelu_approx(x: mx.array) -> mx.array:
    """``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``: within 5e-4 of :func:`gelu`.

    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415.
    """
    # (1 + tanh(u)) / 2 = sigmoid(2 u), which loses no digits where it is small; and of this form the
    # gradient keeps two intermediate values instead of four.
    twice = math.sqrt(8 / math.pi)
    return x * mx.sigmoid(x * (twice + twice * 0.044715 * mx.square(x)))


def gelu_fast_approx(x: mx.array) -> mx.array:
    """``x * sigmoid(1.702 x)``: within 0.021 of :func:`gelu`.

    Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415.
    """
    return x * mx.sigmoid(1.702 * x)


def glu(x: mx.array, axis: int = -1) -> mx.array:
    """``a * sigmoid(b)`` with the two halves ``a`` and ``b`` of ``x`` along ``axis``.

    Raises:
      ValueError: ``axis`` has an odd size.
    Source: Dauphin et al. 2016, https://arxiv.org/abs/1612.08083.
    """
    if x.shape[axis] % 2:
        raise ValueError(
            f"[glu] axis {axis} of an input with shape {x.shape} has size {x.shape[axis]}, "
            "expected an even size"
        )
    a, b = mx.split(x, 2, axis=axis)
    return a * mx.sigmoid(b)


def softplus(x: mx.array) -> mx.array:
    """``log(1 + exp(x))``, without overflow."""
    return mx.logaddexp(x, 0)


def softsign(x: mx.array) -> mx.array:
    """``x / (1 + |x|)``."""
    return x / (1 + mx.abs(x))


def softshrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """``x`` moved towards 0 by ``lambd``, which is not negative; 0 where ``|x| <= lambd``."""
    return mx.fast.softshrink(x, lambd)


def hard_shrink(x: mx.array, lambd: float = 0.5) -> mx.array:
    """``x``, but 0 where ``|x| <= lambd``."""
    return mx.fast.hard_shrink(x, lambd)


def hard_tanh(x: mx.array, min_val: float = -1.0, max_val: float = 1.0) -> mx.array:
    """``min(max(x, min_val), max_val)``."""
    return mx.clip(x, min_val, max_val)


def hardswish(x: mx.array) -> mx.array:
    """``x * min(max(x + 3, 0), 6) / 6``. Source: MobileNetV3, https://arxiv.org/abs/1905.02244."""
    return mx.fast.hardswish(x)


def step(x: mx.array, threshold: float = 0.0) -> mx.array:
    """1 where ``x >= threshold`` and 0 elsewhere, as int32. Its derivative is 0."""
    return mx.where(x >= threshold, 1, 0)


def softmax(x: mx.array, axis: int = -1) -> mx.array:
    """``exp(x) / sum(exp(x))`` over ``axis`` (an axis or several), without overflow."""
    return mx.softmax(x, axis=axis)


def softmin(x: mx.array, axis: int = -1) -> mx.array:
    """``exp(-x) / sum(exp(-x))`` over ``axis``: :func:`softmax` of ``-x``."""
    return mx.softmax(-x, axis=axis)


def log_softmax(x: mx.array, axis: int = -1) -> mx.array:
    """``x - log(sum(exp(x)))`` over ``axis``: the log of :func:`softmax`, without overflow."""
    return x - mx.logsumexp(x, axis=axis, keepdims=True)


def log_sigmoid(x: mx.array) -> mx.array:
    """``-log(1 + exp(-x))``, the logarithm of :func:`sigmoid`, without overflow."""
    return -softplus(-x)
