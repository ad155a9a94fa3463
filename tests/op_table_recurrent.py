"""The rows of mx.fast.rnn_steps, gru_steps and lstm_steps: the recurrences, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from op_row import FLOATS, Bad, Gen, Op, S, f


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def rnn(weight: Any, hidden: Any, inputs: Any, nonlinearity: str = "tanh") -> Any:
    hiddens = np.zeros(inputs.shape, hidden.dtype)
    for t in range(len(inputs)):
        x = inputs[t] + hidden @ weight.T
        hiddens[t] = hidden = np.tanh(x) if nonlinearity == "tanh" else np.maximum(x, 0)
    return hiddens


def gru(weight: Any, bias: Any, hidden: Any, inputs: Any) -> Any:
    size, steps = hidden.shape[-1], (len(inputs), *hidden.shape[:-1])
    hiddens, gates = np.zeros((*steps, size), hidden.dtype), np.zeros((*steps, 4 * size), hidden.dtype)
    for t in range(len(inputs)):
        x, p = inputs[t], hidden @ weight.T
        r, z = np.split(sigmoid(x[..., : 2 * size] + p[..., : 2 * size]), 2, axis=-1)
        u = p[..., 2 * size :] + bias
        n = np.tanh(x[..., 2 * size :] + r * u)
        hiddens[t] = hidden = (1 - z) * n + z * hidden
        gates[t] = np.concatenate([r, z, n, u], axis=-1)
    return hiddens, gates


def lstm(weight: Any, hidden: Any, cell: Any, inputs: Any) -> Any:
    steps = (len(inputs), *hidden.shape)
    hiddens, cells, gates = np.zeros(steps, hidden.dtype), np.zeros(steps, hidden.dtype), np.array(inputs)
    for t in range(len(inputs)):
        i, forget, g, o = np.split(inputs[t] + hidden @ weight.T, 4, axis=-1)
        i, forget, g, o = sigmoid(i), sigmoid(forget), np.tanh(g), sigmoid(o)
        gates[t] = np.concatenate([i, forget, g, o], axis=-1)
        cells[t] = cell = forget * cell + i * g
        hiddens[t] = hidden = o * np.tanh(cell)
    return hiddens, cells, gates


def operands(parts: int, size: int, *shape: int) -> list[Gen]:
    """Of a sequence of `shape`: steps, then what lies between them and the features."""
    bound = min(0.5, 4 / max(size, 1))  # of the weights: sums stay near 1
    weight, states = f(parts * size, size, low=-bound, high=bound), f(*shape[1:], size)
    between = {1: [], 3: [f(size)], 4: [states]}[parts]
    first, second = (between, [states]) if parts == 3 else ([states], between)
    return [weight, *first, *second, f(*shape, parts * size)]


def samples(parts: int) -> list[Any]:
    # The last two: more than one vector of units and an end that is none, in several blocks.
    shapes = ((3, 4, 2), (1, 1, 1), (2, 3), (5, 2, 2, 3), (33, 3, 2), (2, 0, 3), (2, 3, 0), (21, 2, 7), (130, 2, 3))
    return [S(*operands(parts, *shape)) for shape in shapes]


def row(name: str, parts: int, reference: Any, extra: Sequence[Any] = (), errors: Sequence[Any] = ()) -> Op:
    good = operands(parts, 3, 2, 4)
    last = len(good) - 1

    def bad(place: int, shape: tuple[int, ...], match: str) -> Bad:
        changed = [f(*shape) if i == place else x for i, x in enumerate(good)]
        return Bad(S(*changed), ValueError, rf"\[{name}\].*{match}")

    wide = parts * 3
    state = 2 if parts == 3 else 1
    return Op(
        f"fast.{name}",
        [*samples(parts), *extra],
        reference,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps={"float16": 8, "bfloat16": 8, "float32": 16, "float64": 32},
        errors=[
            bad(0, (wide, 4), rf"weight of shape \({wide},4\)"),
            bad(0, (wide,), rf"weight of shape \({wide}\)"),
            bad(state, (4, 4), r"state of shape \(4,4\), expected \(4,3\)"),
            bad(last, (2, 4, wide - 1), rf"inputs of shape \(2,4,{wide - 1}\)"),
            bad(last, (wide,), rf"inputs of shape \({wide}\)"),
            Bad(S(*good), ValueError, rf"\[{name}\].*complex64", dtype="complex64"),
            Bad(S(*good[:-1], "x"), TypeError, "inputs"),
            *(bad(*one) for one in errors),
        ],
    )


OPS: list[Op] = [
    row(
        "rnn_steps",
        1,
        rnn,
        extra=[S(*operands(1, 3, 4, 2), nonlinearity="relu")],
    ),
    row("gru_steps", 3, gru, errors=[(1, (4,), r"bias of shape \(4\), expected \(3\)")]),
    row("lstm_steps", 4, lstm, errors=[(2, (3,), r"state of shape \(3\)")]),
]
