"""SGD, Lion and Muon: optimizers whose memory is a running mean of gradients."""

from __future__ import annotations

import mlx.core as mx
from mlx.optimizers.base import LearningRate, Optimizer
from mlx.optimizers.checks import check_betas


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum.

    With gradient :math:`g`, parameter :math:`w`, momentum :math:`\mu`, dampening :math:`\tau`,
    weight decay :math:`\lambda` and learning rate :math:`\eta`:

    .. math::
        g &\leftarrow g + \lambda w \\
        v &\leftarrow \mu v + (1 - \tau) g \\
        w &\leftarrow w - \eta v \qquad\text{or, with nesterov,}\quad w - \eta (g + \mu v)

    Without momentum :math:`w \leftarrow w - \eta g`.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      momentum: :math:`\mu`.
      weight_decay: :math:`\lambda`, an L2 penalty.
      dampening: :math:`\tau`.
      nesterov: look ahead. Needs momentum and no dampening.
    Raises:
      ValueError: ``nesterov`` without momentum or with dampening.

    State: ``v``. Source: Sutskever et al., On the importance of initialization and momentum in deep
    learning, ICML 2013.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"[SGD] nesterov with momentum {momentum} and dampening {dampening}, "
                "expected momentum > 0 and dampening 0"
            )
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        lr = self._scalars(gradient.dtype)["lr"]
        if self.momentum <= 0:
            return parameter - lr * gradient

        new = (1 - self.dampening) * gradient if self.dampening > 0 else gradient
        v = state["v"] = self.momentum * state["v"] + new
        return parameter - lr * (gradient + self.momentum * v if self.nesterov else v)


class Lion(Optimizer):
    r"""The sign of an interpolated gradient.

    .. math::
        c &= \beta_1 m + (1 - \beta_1) g \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g \\
        w &\leftarrow (1 - \eta \lambda) w - \eta \operatorname{sign}(c)

    All entries move by :math:`\eta`, which should be 3 to 10 times smaller than for Adam.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      betas: :math:`(\beta_1, \beta_2)`.
      weight_decay: :math:`\lambda`, decoupled from the gradient.
    Raises:
      ValueError: a beta outside [0, 1).

    State: ``m``. Source: Chen et al., Symbolic Discovery of Optimization Algorithms,
    arXiv:2302.06675.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        betas: list[float] = [0.9, 0.99],  # noqa: B006  (never changed)
        weight_decay: float = 0.0,
    ) -> None:
        check_betas(self, betas)
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.weight_decay = weight_decay

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["m"] = mx.zeros_like(parameter)

    def _step_scalars(self) -> dict[str, mx.array]:
        lr = self.learning_rate
        return {"lr": lr, "keep": 1 - lr * self.weight_decay}

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        b1, b2 = self.betas
        m = state["m"]
        ahead = gradient - m
        direction = mx.sign(m + (1 - b1) * ahead)
        state["m"] = m + (1 - b2) * ahead
        scalars = self._scalars(direction.dtype)
        if self.weight_decay != 0:
            parameter = scalars["keep"] * parameter
        return parameter - scalars["lr"] * direction


class Muon(Optimizer):
    r"""Momentum whose update is orthogonalised, for the weight matrices of hidden layers.

    .. math::
        g &\leftarrow g + \lambda w \\
        v &\leftarrow \mu v + (1 - \mu) g \\
        u &= \mu v + (1 - \mu) g \quad\text{with nesterov, else}\quad u = v \\
        w &\leftarrow w - \eta \sqrt{\max(1, r / c)}\; \operatorname{orth}(u)

    :math:`\operatorname{orth}` moves all singular values of the :math:`r \times c` matrix close
    to 1 with a few steps of :math:`X \leftarrow a X + (b A + c A^2) X`, :math:`A = X X^T`, a
    Newton-Schulz iteration with :math:`(a, b, c) = (3.4445, -4.7750, 2.0315)`. Arrays with more
    than two axes are seen as matrices with the rows of their first axis. Arrays with fewer axes
    take :math:`u` as it is; better give them, embeddings and the last layer to another optimizer:
    see :class:`MultiOptimizer`.

    Args:
      learning_rate: :math:`\eta`, a number, an array or a schedule.
      momentum: :math:`\mu`.
      weight_decay: :math:`\lambda`, an L2 penalty (the paper decouples it).
      nesterov: look ahead.
      ns_steps: steps of the iteration.

    State: ``v``. Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks,
    2024, https://kellerjordan.github.io/posts/muon.
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.ns_steps = ns_steps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        new = (1 - self.momentum) * gradient
        v = state["v"] = self.momentum * state["v"] + new
        update = self.momentum * v + new if self.nesterov else v
        if update.ndim >= 2:
            update = self._orthogonalised(update.reshape(update.shape[0], -1)).reshape(update.shape)
        return parameter - self._scalars(update.dtype)["lr"] * update

    def _orthogonalised(self, u: mx.array) -> mx.array:
        rows, columns = u.shape
        if u.size == 0:
            return u
        # The product X X^T is cheapest with the short side as rows.
        x = u.T if rows > columns else u
        x = x / (mx.linalg.norm(x) + 1e-7)
        for _ in range(self.ns_steps):
            a = x @ x.T
            # a is symmetric; a matrix times its own transpose takes half the work of a product.
            x = mx.addmm(x, -4.7750 * a + 2.0315 * (a @ a.T), x, beta=3.4445)
        return (x.T if rows > columns else x) * max(1, rows / columns) ** 0.5
