"""The row of mx.fast.lstm_steps: the recurrence, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_row import FLOATS, Bad, Gen, Op, S, f


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def recurrence(weight: Any, hidden: Any, cell: Any, inputs: Any) -> Any:
    steps = (len(inputs), *hidden.shape)
    hiddens, cells, gates = np.zeros(steps, hidden.dtype), np.zeros(steps, hidden.dtype), np.array(inputs)
    for t in range(len(inputs)):
        gates[t] += hidden @ weight.T
        i, forget, g, o = np.split(gates[t], 4, axis=-1)
        cells[t] = cell = sigmoid(forget) * cell + sigmoid(i) * np.tanh(g)
        hiddens[t] = hidden = sigmoid(o) * np.tanh(cell)
    return hiddens, cells, gates


def operands(size: int, *shape: int) -> list[Gen]:
    """Of a sequence of `shape`: steps, then what lies between them and the features."""
    states = (*shape[1:], size)
    return [f(4 * size, size, low=-0.5, high=0.5), f(*states), f(*states), f(*shape, 4 * size)]


GOOD = operands(3, 2, 4)


def bad(place: int, shape: tuple[int, ...], match: str) -> Bad:
    changed = [f(*shape) if i == place else x for i, x in enumerate(GOOD)]
    return Bad(S(*changed), ValueError, rf"\[lstm_steps\].*{match}")


OPS: list[Op] = [
    Op(
        "fast.lstm_steps",
        [
            S(*operands(3, 4, 2)),
            S(*operands(1, 1, 1)),
            S(*operands(2, 3)),
            S(*operands(5, 2, 2, 3)),
            S(*operands(33, 3, 2)),
            S(*operands(2, 0, 3)),
            S(*operands(2, 3, 0)),
        ],
        recurrence,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps={"float16": 8, "bfloat16": 8, "float32": 16, "float64": 32},
        errors=[
            bad(0, (12, 4), r"weight of shape \(12,4\)"),
            bad(0, (12,), r"weight of shape \(12\)"),
            bad(1, (4, 4), r"state of shape \(4,4\), expected \(4,3\)"),
            bad(2, (3,), r"state of shape \(3\)"),
            bad(3, (2, 4, 11), r"inputs of shape \(2,4,11\)"),
            bad(3, (12,), r"inputs of shape \(12\)"),
            Bad(S(*GOOD), ValueError, r"\[lstm_steps\].*complex64", dtype="complex64"),
            Bad(S(*GOOD[:3], "x"), TypeError, "inputs"),
        ],
    ),
]
