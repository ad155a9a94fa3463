"""Adam and its relatives."""

from __future__ import annotations

import mlx.core as mx
from mlx.optimizers.base import LearningRate, Optimizer
from mlx.optimizers.checks import check_at_least_zero, check_betas


class Adam(Optimizer):
    r"""Steps scaled by running means of the gradient and of its square.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \eta \frac{m}{\sqrt{v} + \epsilon}

    ``bias_correction`` replaces :math:`m` by :math:`m / (1 - \beta_1^t)` and :math:`v` by
    :math:`v / (1 - \beta_2^t)`, :math:`t = 1, 2, \ldots`, as in the paper.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      betas: :math:`(\beta_1, \beta_2)`.
      eps: :math:`\epsilon`.
      bias_correction: off by default.
    Raises:
      ValueError: a beta outside [0, 1) or a negative ``eps``.

    State: ``m`` and ``v``. Source: Kingma and Ba, Adam: A Method for Stochastic Optimization,
    arXiv:1412.6980.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006  (never changed)
        eps: float = 1e-8,
        bias_correction: bool = False,
    ) -> None:
        check_betas(self, betas)
        check_at_least_zero(self, eps=eps)
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.eps = eps
        self.bias_correction = bias_correction

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["m"] = mx.zeros_like(parameter)
        state["v"] = mx.zeros_like(parameter)

    def _step_scalars(self) -> dict[str, mx.array]:
        if not self.bias_correction:
            return {"rate": self.learning_rate}
        b1, b2 = self.betas
        t = self.step.astype(mx.float32)
        return {
            "rate": self.learning_rate / (1 - b1**t),
            "root_scale": mx.rsqrt(1 - b2**t),
        }

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        b1, b2 = self.betas
        # m + (1 - b) (g - m): fewer operations than b m + (1 - b) g, and bfloat16, which has no
        # number between 0.996 and 1, still forgets.
        m, v = state["m"], state["v"]
        m = state["m"] = m + (1 - b1) * (gradient - m)
        v = state["v"] = v + (1 - b2) * (mx.square(gradient) - v)

        scalars = self._scalars(m.dtype)
        root = mx.sqrt(v)
        if self.bias_correction:
            root = root * scalars["root_scale"]
        return parameter - scalars["rate"] * m / (root + self.eps)


class AdamW(Adam):
    r"""Adam with weight decay that is decoupled from the gradient.

    As :class:`Adam`, with :math:`(1 - \eta \lambda) w` in place of :math:`w`.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      betas: :math:`(\beta_1, \beta_2)`.
      eps: :math:`\epsilon`.
      weight_decay: :math:`\lambda`.
      bias_correction: see :class:`Adam`.
    Raises:
      ValueError: a beta outside [0, 1) or a negative ``eps``.

    State: ``m`` and ``v``. Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization,
    arXiv:1711.05101.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006  (never changed)
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = weight_decay

    def _step_scalars(self) -> dict[str, mx.array]:
        keep = 1 - self.learning_rate * self.weight_decay
        return {**super()._step_scalars(), "keep": keep}

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        keep = self._scalars(parameter.dtype)["keep"]
        return super().apply_single(gradient, keep * parameter, state)


class Adamax(Adam):
    r"""Adam with the largest recent gradient in place of the mean square.

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \max(\beta_2 v, |g|) \\
        w &\leftarrow w - \eta \frac{m}{v + \epsilon}

    There is no bias correction.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      betas: :math:`(\beta_1, \beta_2)`.
      eps: :math:`\epsilon`.
    Raises:
      ValueError: a beta outside [0, 1) or a negative ``eps``.

    State: ``m`` and ``v``. Source: Kingma and Ba, Adam: A Method for Stochastic Optimization,
    section 7.1, arXiv:1412.6980.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        betas: list[float] = [0.9, 0.999],  # noqa: B006  (never changed)
        eps: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, betas, eps)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        b1, b2 = self.betas
        m = state["m"]
        m = state["m"] = m + (1 - b1) * (gradient - m)
        v = state["v"] = mx.maximum(b2 * state["v"], mx.abs(gradient))
        return parameter - self._scalars(m.dtype)["rate"] * m / (v + self.eps)
