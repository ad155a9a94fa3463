"""Runs programs of programs.py, in any module with the functions that they call."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Json = Any
FLOATS = ("float32", "float16", "bfloat16", "float64")

METHODS: dict[str, Callable[..., Any]] = {
    "item": lambda mx, a, index: a[index],
    "setitem": lambda mx, a, index, value: _assigned(mx, a, index, value),
    "at": lambda mx, a, index, name, value: getattr(a.at[index], name)(value),
    "astype": lambda mx, a, dtype: (a if mx.issubdtype(dtype, mx.inexact) else mx.stop_gradient(a)).astype(dtype),
    "topk": lambda mx, a, k, axis: mx.sort(mx.topk(a, k, axis=axis), axis=axis),  # the order is open
    "all": lambda mx, a, **kw: mx.stop_gradient(mx.all(a, **kw)),
    "any": lambda mx, a, **kw: mx.stop_gradient(mx.any(a, **kw)),
    "pick": lambda mx, a, n: a[n],
    "iadd": lambda mx, a, b: operator.iadd(a + 0, b),
}


def _assigned(mx: Any, a: Any, index: Any, value: Any) -> Any:
    out = mx.array(a)
    out[index] = value
    return out


def decode(mx: Any, x: Json, values: list[Any]) -> Any:
    if isinstance(x, list):
        return [decode(mx, y, values) for y in x]
    if not isinstance(x, dict):
        return x
    if "v" in x:
        return values[x["v"]]
    if "d" in x:
        return getattr(mx, x["d"])
    if "s" in x:
        return slice(*x["s"])
    if "t" in x:
        return tuple(decode(mx, y, values) for y in x["t"])
    return Ellipsis


def function(mx: Any, name: str) -> Callable[..., Any]:
    if name in METHODS:
        method = METHODS[name]
        return lambda *a, **k: method(mx, *a, **k)
    out = mx
    for part in name.split("."):
        out = getattr(out, part)
    return out


def run_step(mx: Any, step: Json, values: list[Any]) -> list[Any]:
    name, args, kwargs = step
    named = {k: decode(mx, x, values) for k, x in kwargs.items()}
    out = function(mx, name)(*(decode(mx, x, values) for x in args), **named)
    return list(out) if isinstance(out, (list, tuple)) else [out]


def run(mx: Any, program: Json, inputs: list[Any]) -> Any:
    values = list(inputs)
    for step in program["steps"]:
        values.extend(run_step(mx, step, values))
    return tree(program["outputs"], values)


def tree(x: Json, values: list[Any]) -> Any:
    if isinstance(x, list):
        return [tree(y, values) for y in x]
    if "v" in x:
        return values[x["v"]]
    if "t" in x:
        return tuple(tree(y, values) for y in x["t"])
    return {k: tree(y, values) for k, y in x.items()}


def leaves(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [z for y in x for z in leaves(y)]
    if isinstance(x, dict):
        return [z for k in sorted(x) for z in leaves(x[k])]
    return [x]


def make_input(mx: Any, spec: Json) -> Any:
    values = np.array(spec["values"], np.float64).reshape(spec["shape"])
    if spec["dtype"] == "complex64":
        return mx.array((values + 1j * np.roll(values, 1)).astype(np.complex64))
    if spec["dtype"] == "float64":
        return mx.array(values, dtype=mx.float64)
    whole = spec["dtype"] not in ("float32", "float16", "bfloat16")
    return mx.array(values.astype(np.int64 if whole else np.float32)).astype(getattr(mx, spec["dtype"]))


def plain(mx: Any, a: Any) -> Json:
    """An array as JSON; complex numbers as pairs, numbers of 16 bits exactly."""
    dtype = str(a.dtype).rsplit(".", 1)[-1]
    if dtype == "complex64":
        x = np.array(a)
        values = np.stack([x.real, x.imag], -1).astype(np.float64)
    else:
        values = np.array(a.astype(mx.float32) if dtype == "bfloat16" else a)
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    return {"dtype": dtype, "shape": list(a.shape), "values": values.ravel().tolist()}


def is_float(a: Any) -> bool:
    return str(a.dtype).rsplit(".", 1)[-1] in FLOATS


def evaluate(mx: Any, program: Json) -> Json:
    """Values of the program, and the gradients of the sum of its outputs; or which error it raises."""
    out: Json = {}
    inputs = [make_input(mx, spec) for spec in program["inputs"]]
    try:
        result = leaves(run(mx, program, inputs))
        mx.eval(result)
        out["values"] = [plain(mx, a) for a in result]
    except Exception as e:
        return {"error": type(e).__name__, "message": str(e)}
    argnums = [n for n, a in enumerate(inputs) if is_float(a)]
    if not argnums or not any(is_float(a) for a in result):
        return out

    def total(*xs: Any) -> Any:
        floats = [a for a in leaves(run(mx, program, list(xs))) if is_float(a)]
        return sum(a.astype(mx.float32).sum() for a in floats)

    try:
        grads = mx.grad(total, argnums=argnums)(*inputs)
        mx.eval(grads)
        out["gradients"] = [plain(mx, g) for g in leaves(grads)]
    except Exception as e:
        out["gradient_error"], out["message"] = type(e).__name__, str(e)
    return out
