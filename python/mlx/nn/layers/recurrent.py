r"""Recurrent layers.

Inputs are ``(..., L, input_size)``: any leading axes, time, features. The result holds the state
after every step, ``(..., L, hidden_size)``. States default to zero. All parameters are drawn
uniformly from :math:`\pm 1 / \sqrt{hidden\_size}`.

The products with the inputs do not depend on the state, so they are one matrix product for all
steps; each step multiplies the state only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import mlx.core as mx

from ._activation_functions import relu, tanh
from .base import Module

# Nonlinearities of RNN whose steps are one operation.
_WITH_KERNEL = ((tanh, "tanh"), (mx.tanh, "tanh"), (relu, "relu"))


class _Recurrent(Module):
    def _uniform(self, *shape: int) -> mx.array:
        bound = 1 / math.sqrt(self.hidden_size)
        return mx.random.uniform(-bound, bound, shape)

    def _checked(self, x: mx.array, input_size: int, **states: mx.array | None) -> None:
        if x.ndim < 2 or x.shape[-1] != input_size:
            raise ValueError(
                f"[{type(self).__name__}] the input must have the shape (..., L, {input_size}), "
                f"got {x.shape}"
            )
        for name, state in states.items():
            if state is not None and not self._fits(state, x):
                raise ValueError(
                    f"[{type(self).__name__}] {name} must have the shape "
                    f"{(*x.shape[:-2], self.hidden_size)} for an input with shape {x.shape}, "
                    f"or broadcast to it, got {state.shape}"
                )

    def _fits(self, state: mx.array, x: mx.array) -> bool:
        pairs = zip(reversed(state.shape[:-1]), reversed(x.shape[:-2]), strict=False)
        right_size = state.shape[-1:] == (self.hidden_size,)
        return right_size and all(a == b or 1 in (a, b) for a, b in pairs)

    def _steps_first(self, x: mx.array, weight: mx.array, bias: mx.array | None) -> mx.array:
        """What all steps get from ``x``: ``(L, ..., features)``."""
        # Only x is moved in memory, which is small beside what is made of it.
        x = mx.contiguous(mx.moveaxis(x, -2, 0))
        return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)

    def _together(self, inputs: mx.array, *states: mx.array | None) -> tuple[mx.array, ...]:
        """``inputs``, steps first, and the states before the first step, for every sequence of either."""
        lead = mx.broadcast_shapes(inputs.shape[1:-1], *(s.shape[:-1] for s in states if s is not None))
        if lead != inputs.shape[1:-1]:
            length, *axes = inputs.shape
            inputs = inputs.reshape(length, *[1] * (len(lead) + 1 - len(axes)), *axes)
            inputs = mx.broadcast_to(inputs, (length, *lead, axes[-1]))
        given = [mx.zeros((), inputs.dtype) if state is None else state for state in states]
        return inputs, *(mx.broadcast_to(state, (*lead, self.hidden_size)) for state in given)

    def _steps(self, inputs: mx.array) -> list[mx.array]:
        # One split: its gradient is one concatenation. A slice per step would have a gradient of
        # the size of all steps each, so that their sum takes time quadratic in their number.
        length = inputs.shape[-2]
        return [step.squeeze(-2) for step in mx.split(inputs, length, axis=-2)] if length else []

    def _stacked(self, states: list[mx.array], x: mx.array) -> mx.array:
        if not states:
            return mx.zeros((*x.shape[:-2], 0, self.hidden_size), x.dtype)
        return mx.stack(states, axis=-2)


class RNN(_Recurrent):
    r"""The simple recurrent layer, :math:`h_{t+1} = f(W_{ih} x_t + W_{hh} h_t + b)`.

    Parameters: ``Wxh`` of shape ``(hidden_size, input_size)``, ``Whh`` of shape
    ``(hidden_size, hidden_size)`` and ``bias`` of shape ``(hidden_size,)``.

    Args:
      input_size: features of the input.
      hidden_size: features of the state.
      bias: whether to add ``bias``.
      nonlinearity: :math:`f`; ``None``: tanh.
    Raises:
      ValueError: ``nonlinearity`` cannot be called.
    Source: Elman 1990, https://doi.org/10.1207/s15516709cog1402_1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Callable | None = None,
    ):
        super().__init__()
        nonlinearity = tanh if nonlinearity is None else nonlinearity
        if not callable(nonlinearity):
            raise ValueError(f"[RNN] nonlinearity must be callable, got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self.hidden_size = hidden_size
        self.Wxh = self._uniform(hidden_size, input_size)
        self.Whh = self._uniform(hidden_size, hidden_size)
        self.bias = self._uniform(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, "
            f"nonlinearity={self.nonlinearity}, bias={self.bias is not None}"
        )

    def __call__(self, x, hidden=None):
        """States after each step.

        Args:
          x: ``(..., L, input_size)``.
          hidden: the state before the first step, ``(..., hidden_size)``.
        """
        self._checked(x, self.Wxh.shape[1], hidden=hidden)
        name = next((name for f, name in _WITH_KERNEL if f is self.nonlinearity), None)
        if name is not None and x.shape[-2]:
            inputs, before = self._together(self._steps_first(x, self.Wxh, self.bias), hidden)
            hiddens = mx.fast.rnn_steps(self.Whh, before, inputs, name)
            return mx.moveaxis(hiddens, 0, -2)
        inputs = x @ self.Wxh.T if self.bias is None else mx.addmm(self.bias, x, self.Wxh.T)
        states = []
        for step in self._steps(inputs):
            if hidden is not None:
                step = step + hidden @ self.Whh.T
            hidden = self.nonlinearity(step)
            states.append(hidden)
        return self._stacked(states, x)


class GRU(_Recurrent):
    r"""Gated recurrent unit.

    .. math::
        r &= \sigma(W_{xr} x + W_{hr} h + b_r) \\
        z &= \sigma(W_{xz} x + W_{hz} h + b_z) \\
        n &= \tanh(W_{xn} x + b_n + r (W_{hn} h + b_{hn})) \\
        h' &= (1 - z) n + z h

    Parameters: ``Wx`` of shape ``(3 hidden_size, input_size)``, ``Wh`` of shape
    ``(3 hidden_size, hidden_size)`` and ``b`` of shape ``(3 hidden_size,)``, each in the order
    r, z, n; and ``bhn`` of shape ``(hidden_size,)``.

    Args:
      input_size: features of the input.
      hidden_size: features of the state.
      bias: whether there are ``b`` and ``bhn``.
    Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._uniform(3 * hidden_size, input_size)
        self.Wh = self._uniform(3 * hidden_size, hidden_size)
        self.b = self._uniform(3 * hidden_size) if bias else None
        self.bhn = self._uniform(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.b is not None}"
        )

    def __call__(self, x, hidden=None):
        """States after each step.

        Args:
          x: ``(..., L, input_size)``.
          hidden: the state before the first step, ``(..., hidden_size)``.
        """
        self._checked(x, self.Wx.shape[1], hidden=hidden)
        if not x.shape[-2]:
            return self._stacked([], x)
        inputs, before = self._together(self._steps_first(x, self.Wx, self.b), hidden)
        bhn = mx.zeros(self.hidden_size, inputs.dtype) if self.bhn is None else self.bhn
        hiddens, _ = mx.fast.gru_steps(self.Wh, bhn, before, inputs)
        return mx.moveaxis(hiddens, 0, -2)


class LSTM(_Recurrent):
    r"""Long short-term memory.

    .. math::
        i, f, o &= \sigma(W_x x + W_h h + b), \quad g = \tanh(W_x x + W_h h + b) \\
        c' &= f c + i g \\
        h' &= o \tanh(c')

    Parameters: ``Wx`` of shape ``(4 hidden_size, input_size)``, ``Wh`` of shape
    ``(4 hidden_size, hidden_size)`` and ``bias`` of shape ``(4 hidden_size,)``, each in the order
    i, f, g, o.

    Args:
      input_size: features of the input.
      hidden_size: features of the state.
      bias: whether to add ``bias``.
    Source: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._uniform(4 * hidden_size, input_size)
        self.Wh = self._uniform(4 * hidden_size, hidden_size)
        self.bias = self._uniform(4 * hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.bias is not None}"
        )

    def __call__(self, x, hidden=None, cell=None):
        """Hidden states and cell states after each step, as a pair.

        Args:
          x: ``(..., L, input_size)``.
          hidden: the hidden state before the first step, ``(..., hidden_size)``.
          cell: the cell state before the first step, ``(..., hidden_size)``.
        """
        self._checked(x, self.Wx.shape[1], hidden=hidden, cell=cell)
        if not x.shape[-2]:
            return self._stacked([], x), self._stacked([], x)
        inputs, *before = self._together(self._steps_first(x, self.Wx, self.bias), hidden, cell)
        hiddens, cells, _ = mx.fast.lstm_steps(self.Wh, *before, inputs)
        return mx.moveaxis(hiddens, 0, -2), mx.moveaxis(cells, 0, -2)
