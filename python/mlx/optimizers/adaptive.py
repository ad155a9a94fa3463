"""RMSprop, Adagrad, AdaDelta and Adafactor: step sizes from the history of squared gradients."""

from __future__ import annotations

import mlx.core as mx
from mlx.optimizers.base import LearningRate, Optimizer
from mlx.optimizers.checks import check_at_least_zero


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running mean square.

    .. math::
        v &\leftarrow \alpha v + (1 - \alpha) g^2 \\
        w &\leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      alpha: :math:`\alpha`.
      eps: :math:`\epsilon`.
    Raises:
      ValueError: a negative ``alpha`` or ``eps``.

    State: ``v``. Source: Tieleman and Hinton, Lecture 6.5, Neural Networks for Machine Learning,
    2012.
    """

    def __init__(self, learning_rate: LearningRate, alpha: float = 0.99, eps: float = 1e-8) -> None:
        check_at_least_zero(self, alpha=alpha, eps=eps)
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = alpha
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        v = state["v"]
        v = state["v"] = v + (1 - self.alpha) * (mx.square(gradient) - v)
        return parameter - self._scalars(v.dtype)["lr"] * gradient / (mx.sqrt(v) + self.eps)


class Adagrad(Optimizer):
    r"""Steps divided by the root of the sum of all squares so far.

    .. math::
        v &\leftarrow v + g^2 \\
        w &\leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      eps: :math:`\epsilon`.
    Raises:
      ValueError: a negative ``eps``.

    State: ``v``. Source: Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online
    Learning and Stochastic Optimization, JMLR 2011.
    """

    def __init__(self, learning_rate: LearningRate, eps: float = 1e-8) -> None:
        check_at_least_zero(self, eps=eps)
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        v = state["v"] = state["v"] + mx.square(gradient)
        return parameter - self._scalars(v.dtype)["lr"] * gradient / (mx.sqrt(v) + self.eps)


class AdaDelta(Optimizer):
    r"""Steps in the unit of the parameter: scaled by the root mean square of earlier steps.

    .. math::
        v &\leftarrow \rho v + (1 - \rho) g^2 \\
        d &= \sqrt{\frac{u + \epsilon}{v + \epsilon}}\; g \\
        u &\leftarrow \rho u + (1 - \rho) d^2 \\
        w &\leftarrow w - \eta d

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      rho: :math:`\rho`.
      eps: :math:`\epsilon`.
    Raises:
      ValueError: a negative ``rho`` or ``eps``.

    State: ``v`` and ``u``. Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method,
    arXiv:1212.5701.
    """

    def __init__(self, learning_rate: LearningRate, rho: float = 0.9, eps: float = 1e-6) -> None:
        check_at_least_zero(self, rho=rho, eps=eps)
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = rho
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["v"] = mx.zeros_like(parameter)
        state["u"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        v, u = state["v"], state["u"]
        v = state["v"] = v + (1 - self.rho) * (mx.square(gradient) - v)
        # Two roots: in float16 the quotient alone may overflow.
        d = mx.sqrt(u + self.eps) / mx.sqrt(v + self.eps) * gradient
        state["u"] = u + (1 - self.rho) * (mx.square(d) - u)
        return parameter - self._scalars(d.dtype)["lr"] * d


class Adafactor(Optimizer):
    r"""Adam-like steps with a memory of one row and one column per matrix.

    The running mean of :math:`g^2 + \epsilon_1` of a matrix is kept as its row means :math:`r` and
    column means :math:`c` (other axes are batches of matrices; vectors keep it all, :math:`v`),
    with the decay :math:`\beta_t = 1 - t^{\gamma}`:

    .. math::
        u &= \frac{g}{\sqrt{\hat v}}, \qquad \hat v = \frac{r c^T}{\operatorname{mean}(r)} \\
        u &\leftarrow \eta_t \max(\epsilon_2, \operatorname{rms}(w))
            \frac{u}{\max(1, \operatorname{rms}(u) / d)} \\
        w &\leftarrow (1 - \lambda \eta_t') w - u

    where :math:`\eta_t'` is :math:`\eta_t` with the factor from :math:`\operatorname{rms}(w)`.

    Args:
      learning_rate: :math:`\eta_t` where ``relative_step`` is off; a number, an array or a
        schedule.
      eps: :math:`(\epsilon_1, \epsilon_2)`.
      clip_threshold: :math:`d`.
      decay_rate: :math:`\gamma`.
      beta_1: decay of a running mean of the updates (state ``exp_avg``); ``None`` keeps none.
      weight_decay: :math:`\lambda`.
      scale_parameter: whether to multiply by :math:`\max(\epsilon_2, \operatorname{rms}(w))`.
      relative_step: use :math:`\eta_t = \min(10^{-2}, 1 / \sqrt t)`.
      warmup_init: with ``relative_step``, start from :math:`10^{-6} t` in place of :math:`10^{-2}`.
    Raises:
      ValueError: neither a learning rate nor ``relative_step``.

    State: ``exp_avg_sq_row`` and ``exp_avg_sq_col``, or ``exp_avg_sq``, in float32 because
      squares of
    float16 underflow. Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear
    Memory Cost, arXiv:1804.04235.
    """

    def __init__(
        self,
        learning_rate: LearningRate | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta_1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        if learning_rate is None and not relative_step:
            raise ValueError("[Adafactor] expected a learning_rate, because relative_step is off")
        super().__init__()
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps
        self.clip_threshold = clip_threshold
        self.decay_rate = decay_rate
        self.beta_1 = beta_1
        self.weight_decay = weight_decay
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    def init_single(self, parameter: mx.array, state: dict) -> None:
        shape = parameter.shape
        if parameter.ndim >= 2:
            state["exp_avg_sq_row"] = mx.zeros(shape[:-1])
            state["exp_avg_sq_col"] = mx.zeros(shape[:-2] + shape[-1:])
        else:
            state["exp_avg_sq"] = mx.zeros(shape)
        if self.beta_1 is not None:
            state["exp_avg"] = mx.zeros_like(parameter)

    def _step_scalars(self) -> dict[str, mx.array]:
        t = self.step.astype(mx.float32)
        if self.relative_step:
            lr = mx.minimum(1e-6 * t if self.warmup_init else 1e-2, mx.rsqrt(t))
        else:
            lr = self.learning_rate
        return {"lr": lr, "fresh": t**self.decay_rate}

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        scalars = self._scalars(mx.float32)
        update = gradient * self._inverse_root(gradient, state, scalars["fresh"])
        size = _rms(update) / self.clip_threshold

        rate = scalars["lr"]
        if self.scale_parameter:
            rate = rate * mx.maximum(_rms(parameter), self.eps[1])
        update = (rate / mx.maximum(1.0, size) * update).astype(parameter.dtype)

        if self.beta_1 is not None:
            mean = state["exp_avg"]
            update = state["exp_avg"] = mean + (1 - self.beta_1) * (update - mean)
        if self.weight_decay != 0:
            parameter = (1 - self.weight_decay * rate).astype(parameter.dtype) * parameter
        return parameter - update

    def _inverse_root(self, gradient: mx.array, state: dict, fresh: mx.array) -> mx.array:
        """1 / sqrt(v), v the running mean square, of which ``fresh`` is new."""
        square = mx.square(gradient.astype(mx.float32)) + self.eps[0]
        if gradient.ndim < 2:
            v = state["exp_avg_sq"]
            v = state["exp_avg_sq"] = v + fresh * (square - v)
            return mx.rsqrt(v)

        row, column = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
        row = state["exp_avg_sq_row"] = row + fresh * (square.mean(-1) - row)
        column = state["exp_avg_sq_col"] = column + fresh * (square.mean(-2) - column)
        row = mx.rsqrt(row / row.mean(-1, keepdims=True))
        return row[..., None] * mx.rsqrt(column)[..., None, :]


def _rms(x: mx.array) -> mx.array:
    return mx.sqrt(mx.mean(mx.square(x.astype(mx.float32))))
