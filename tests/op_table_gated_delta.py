"""The row of mx.fast.gated_delta_update: the recurrence, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_row import FLOATS, Bad, Gen, Op, S, f, v


def recurrence(q: Any, k: Any, v: Any, gamma: Any, beta: Any, state: Any = None, mask: Any = None) -> Any:
    group = v.shape[2] // q.shape[2]
    q, k = np.repeat(q, group, 2), np.repeat(k, group, 2)
    s = np.zeros((v.shape[0], *v.shape[2:], q.shape[3]), q.dtype) if state is None else np.array(state)
    y = np.zeros(v.shape, s.dtype)
    for t in range(v.shape[1]):
        g = gamma[:, t, :, None, None] if gamma.ndim == 3 else gamma[:, t, :, None, :]
        decayed = s * g
        key, query = k[:, t, :, None, :], q[:, t, :, None, :]
        delta = (v[:, t] - (decayed * key).sum(-1)) * beta[:, t, :, None]
        after = decayed + delta[..., None] * key
        counts = np.ones(len(v), bool) if mask is None else mask[:, t].astype(bool)
        s = np.where(counts[:, None, None, None], after, s)
        y[:, t] = np.where(counts[:, None, None], (after * query).sum(-1), 0)
    return y, s


def unit(*shape: int) -> Gen:
    return f(*shape, low=0.1, high=0.95)


def operands(b: int, t: int, hk: int, hv: int, dk: int, dv: int, per_key: bool = False) -> list[Gen]:
    key = f(b, t, hk, dk, low=-0.6, high=0.6)
    gate = unit(b, t, hv, dk) if per_key else unit(b, t, hv)
    return [key, f(b, t, hk, dk, low=-0.7, high=0.7), f(b, t, hv, dv), gate, unit(b, t, hv)]


COUNTS = v([[True, True, False, True], [False, True, True, True]], "bool_")
GOOD = operands(1, 2, 1, 2, 4, 3)


def bad(place: int, shape: tuple[int, ...], match: str, **kw: Any) -> Bad:
    changed = [f(*shape) if i == place else x for i, x in enumerate(GOOD)]
    return Bad(S(*changed, **kw), ValueError, rf"\[gated_delta_update\].*{match}")


OPS: list[Op] = [
    Op(
        "fast.gated_delta_update",
        [
            S(*operands(1, 3, 1, 1, 4, 3)),
            S(*operands(2, 4, 1, 2, 5, 3), f(2, 2, 3, 5), COUNTS),
            S(*operands(1, 3, 2, 4, 4, 2, per_key=True), f(1, 4, 2, 4)),
            S(*operands(1, 1, 1, 1, 33, 2)),
            S(*operands(1, 0, 1, 1, 3, 2)),
            S(*operands(1, 17, 1, 2, 20, 37)),
        ],
        recurrence,
        dtypes=FLOATS,
        diff=True,
        smooth=True,
        eps={"float16": 2, "bfloat16": 2, "float32": 16, "float64": 32},
        errors=[
            bad(0, (2, 1, 4), r"\(2,1,4\).*four dimensions"),
            bad(1, (1, 2, 1, 5), r"k of shape \(1,2,1,5\)"),
            bad(2, (1, 3, 2, 3), r"\(1,2,1,4\).*\(1,3,2,3\)"),
            bad(3, (1, 2, 1), r"gamma of shape \(1,2,1\).*\(1,2,2\)"),
            bad(4, (1, 2, 2, 1), r"beta of shape"),
            bad(2, (1, 2, 2, 3), r"initial_state of shape \(1,2,4,3\)", initial_state=f(1, 2, 4, 3)),
            bad(2, (1, 2, 2, 3), r"mask of shape \(2\)", mask=f(2)),
            Bad(S(*operands(1, 2, 2, 3, 4, 3)), ValueError, r"\[gated_delta_update\].*3 heads.*2"),
            Bad(S(*GOOD), ValueError, r"\[gated_delta_update\].*complex64", dtype="complex64"),
            Bad(S(*GOOD[:4], "x"), TypeError, "beta"),
        ],
    ),
]
