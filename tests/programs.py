"""Random programs as data. A program is JSON: inputs, steps that call public functions on earlier values, and a tree
of outputs. Any module with the same functions can run it (`run`), also one in another process.

    {"inputs": [{"shape": [2, 3], "dtype": "float32", "values": [...]}],
     "steps": [["add", [{"v": 0}, {"v": 1}], {}]], "outputs": {"a": {"v": 2}}}

In arguments {"v": n} is value n, {"d": name} a dtype, {"s": [...]} a slice, {"e": 0} an ellipsis, {"t": [...]} a
tuple. Programs are drawn for several sets of sizes at once: a step is kept if it works for all of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Json = Any

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


# ---- drawing -----------------------------------------------------------------------------------


FLOATS = ("float32", "float16", "bfloat16", "float64")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
INPUTS = ("float32",) * 6 + ("float16", "bfloat16", "int32", "int32", "bool_", "uint8", "int64", "complex64")


@dataclass
class Draw:
    """One program in the making: its values for every set of sizes, and what is known of them."""

    mx: Any
    rng: np.random.Generator
    worlds: list[dict[str, int]]  # sizes of the letters, per set
    inputs: list[list[Json]] = field(default_factory=list)
    values: list[list[Any]] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)  # the same bits in every correct implementation
    steps: list[Json] = field(default_factory=list)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def shape(self, n: int) -> tuple[int, ...]:
        return tuple(self.values[0][n].shape)

    def ndim(self, n: int) -> int:
        return len(self.shape(n))

    def dtype(self, n: int) -> str:
        return str(self.values[0][n].dtype).rsplit(".", 1)[-1].replace("bool_", "bool").replace("bool", "bool_")

    def smallest(self, n: int, axis: int) -> int:
        return min(values[n].shape[axis] for values in self.values)

    def any(self, *dtypes: str, ndim: int = 0, exact: bool = False, most: int = 9) -> int:
        """A value of one of the dtypes, later ones more often."""
        known = self.values[0]
        fits = [
            n
            for n in range(len(known))
            if most >= self.ndim(n) >= ndim
            and (not dtypes or self.dtype(n) in dtypes)
            and (not exact or self.exact[n])
            and known[n].size < 3000
        ]
        if not fits:
            raise LookupError
        return fits[-1 - min(int(self.rng.geometric(0.25)) - 1, len(fits) - 1)]

    def float(self, ndim: int = 0, **kw: Any) -> int:
        return self.any(*FLOATS, ndim=ndim, **kw)

    def axis(self, n: int) -> int:
        d = self.ndim(n)
        return self.int(-d, d)

    def input(self, shape: str, dtype: str) -> None:
        """A new input whose dimensions are letters."""
        specs = []
        for world in self.worlds:
            sizes = [world[c] for c in shape]
            count = int(np.prod(sizes))
            if dtype == "bool_":
                numbers = self.rng.integers(0, 2, count)
            elif dtype in INTS:
                numbers = self.rng.integers(0 if dtype.startswith("u") else -4, 6, count)
            else:
                numbers = np.round(self.rng.normal(size=count) * 16) / 16
            specs.append({"shape": sizes, "dtype": dtype, "values": numbers.tolist()})
        for i, spec in enumerate(specs):
            self.inputs[i].append(spec)
            self.values[i].append(make_input(self.mx, spec))
        self.exact.append(True)

    def add(self, name: str, *args: Json, exact: bool | None = None, **kwargs: Json) -> bool:
        """The step, if it works for all sizes. `exact`: the function rounds its result correctly."""
        step = [name, list(args), kwargs]
        try:
            new = [run_step(self.mx, step, values) for values in self.values]
        except (ValueError, IndexError, TypeError):
            return False
        kinds = {tuple((len(a.shape), str(a.dtype)) for a in out) for out in new}
        if len(kinds) > 1 or any(a.size > 20000 for out in new for a in out):
            return False
        keeps = bool(exact) and all(self.exact[n] for n in used([*args, *kwargs.values()]))
        self.steps.append(step)
        for values, out in zip(self.values, new, strict=True):
            values.extend(out)
        self.exact.extend([keeps] * len(new[0]))
        return True


def used(x: Json) -> list[int]:
    """The values among arguments."""
    if isinstance(x, list):
        return [n for y in x for n in used(y)]
    if not isinstance(x, dict):
        return []
    return [x["v"]] if "v" in x else used(x.get("t", []))


def ref(n: int) -> Json:
    return {"v": n}


def number(d: Draw, n: int) -> Json:
    """Another operand for value n: a value or a number of Python."""
    if d.chance(0.25):
        return d.pick(2, 3, 0.5, -1.5, 1) if d.dtype(n) in FLOATS else d.pick(1, 2, 3)
    return ref(d.any())


def index(d: Draw, n: int) -> Json:
    """A subscript that works for all sizes: in range of the smallest."""
    items: list[Json] = []
    for axis in range(d.int(1, d.ndim(n) + 1)):
        size = d.smallest(n, axis)
        kind = d.int(0, 8)
        if kind == 0 and size:
            items.append(d.int(-size, size))
        elif kind == 1:
            items.append({"s": [None, None, -1]})
        elif kind == 2:
            items.append({"s": [d.pick(None, 0, 1), d.pick(None, -1, size), d.pick(None, 2, 1)]})
        elif kind == 3 and size:
            candidates = [k for k in range(len(d.values[0])) if d.dtype(k) == "uint8" and d.ndim(k) < 2 and k < 8]
            if candidates and size > 5:
                items.append(ref(d.pick(*candidates)))
            else:
                items.append(d.int(0, size))
        elif kind == 4:
            items.append(None)
        else:
            items.append({"s": [None, None, None]})
    if d.chance(0.2):
        items.append({"e": 0})
    return {"t": items}


def smooth_unary(d: Draw) -> bool:
    name = d.pick(
        "exp",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "arctan",
        "sinh",
        "cosh",
        "arcsinh",
        "expm1",
        "log1p",
        "softplus_",
    )
    n = d.float()
    if name == "softplus_":
        return d.add("logaddexp", ref(n), 0.0)
    if name in ("exp", "sinh", "cosh", "expm1"):
        return d.add("tanh", ref(n)) and d.add(name, ref(len(d.exact) - 1))
    if name == "log1p":
        return d.add("abs", ref(n), exact=True) and d.add(name, ref(len(d.exact) - 1))
    return d.add(name, ref(n))


def domain_unary(d: Draw) -> bool:
    n = d.float()
    name, base = d.pick(
        ("log", "exp"),
        ("sqrt", "abs"),
        ("rsqrt", "exp"),
        ("arccosh", "cosh"),
        ("arcsin", "tanh"),
        ("arctanh", "sin"),
        ("erfinv", "tanh"),
        ("log2", "exp"),
        ("log10", "sigmoid"),
        ("arccos", "sin"),
    )
    return (
        d.add("tanh", ref(n))
        and d.add(base, ref(len(d.exact) - 1))
        and d.add("multiply", ref(len(d.exact) - 1), 0.875)
        and (name != "arccosh" or d.add("add", ref(len(d.exact) - 1), 1.0))
        and d.add(name, ref(len(d.exact) - 1))
    )


def exact_unary(d: Draw) -> bool:
    name = d.pick(
        "negative", "abs", "square", "logical_not", "isnan", "isfinite", "real", "imag", "conjugate", "stop_gradient"
    )
    return d.add(name, ref(d.any()), exact=True)


def step_unary(d: Draw) -> bool:
    """Functions that jump: only where all implementations have the same operand."""
    return d.add(d.pick("floor", "ceil", "sign", "round"), ref(d.any(*FLOATS, *INTS, exact=True)), exact=True)


def arithmetic(d: Draw) -> bool:
    n = d.any()
    return d.add(
        d.pick("add", "subtract", "multiply", "maximum", "minimum", "add", "multiply"), ref(n), number(d, n), exact=True
    )


def division(d: Draw) -> bool:
    n, m = d.any(*FLOATS), d.any(*FLOATS)
    return d.add("square", ref(m), exact=True) and d.add("add", ref(len(d.exact) - 1), 1.0, exact=True) and d.add(
        "divide", ref(n), ref(len(d.exact) - 1), exact=True)  # fmt: skip


def integer_division(d: Draw) -> bool:
    n = d.any(*INTS, exact=True)
    return d.add(d.pick("floor_divide", "remainder", "left_shift", "right_shift", "bitwise_and", "bitwise_xor"), ref(n),
                 d.pick(1, 2, 3, 5), exact=True)  # fmt: skip


def smooth_binary(d: Draw) -> bool:
    n, m = d.float(), d.float()
    name = d.pick("logaddexp", "arctan2", "power")
    if name == "power":
        return d.add("sigmoid", ref(n)) and d.add("power", ref(len(d.exact) - 1), d.pick(2, 0.5, 3.0, 2.0))
    if name == "arctan2":
        return d.add("exp", ref(m)) and d.add("arctan2", ref(n), ref(len(d.exact) - 1))
    return d.add(name, ref(n), ref(m))


def comparison(d: Draw) -> bool:
    n, m = d.any(exact=True), d.any(exact=True)
    return d.add(
        d.pick("less", "greater", "equal", "not_equal", "less_equal", "greater_equal"), ref(n), ref(m), exact=True
    )


def logic(d: Draw) -> bool:
    return d.add(
        d.pick("logical_and", "logical_or", "bitwise_or"), ref(d.any("bool_")), ref(d.any("bool_")), exact=True
    )


def selection(d: Draw) -> bool:
    n = d.any()
    if d.chance(0.3):
        return d.add("clip", ref(d.any(*FLOATS)), -0.5, d.pick(0.75, None), exact=True)
    return d.add("where", ref(d.any("bool_")), ref(n), number(d, n), exact=True)


def cast(d: Draw) -> bool:
    n = d.any(exact=True)
    kinds = ("float32", "float16", "bfloat16", "int32", "bool_", "float32", "int64", "uint8", "complex64")
    name = d.pick(*kinds)
    if name == "uint8" and d.dtype(n) != "bool_":
        name = "float32"
    if d.dtype(n) == "complex64" and name != "complex64":
        return False
    return d.add("astype", ref(n), {"d": name}, exact=True)


def narrow_cast(d: Draw) -> bool:
    return d.add("astype", ref(d.float()), {"d": d.pick("float32", "float16", "bfloat16")})


def axes(d: Draw, n: int) -> dict[str, Json]:
    out: dict[str, Json] = {}
    if d.ndim(n) and d.chance(0.75):
        out["axis"] = d.axis(n)
        if d.ndim(n) > 1 and d.chance(0.2):
            out["axis"] = [0, d.ndim(n) - 1]
    if d.chance(0.4):
        out["keepdims"] = True
    return out


def reduction(d: Draw) -> bool:
    name = d.pick(
        "sum", "mean", "max", "min", "var", "std_", "logsumexp", "all", "any", "prod", "sum", "mean", "median"
    )
    if name in ("all", "any"):
        n = d.any(exact=True)
        return d.add(name, ref(n), exact=True, **axes(d, n))
    n = d.float()
    kw = axes(d, n)
    if name == "std_":
        return (
            d.add("var", ref(n), **kw)
            and d.add("add", ref(len(d.exact) - 1), 0.5)
            and d.add("sqrt", ref(len(d.exact) - 1))
        )
    if name == "prod":
        return d.add("tanh", ref(n)) and d.add("prod", ref(len(d.exact) - 1), **kw)
    if name in ("var", "std") and d.chance(0.3):
        kw["ddof"] = 0
    return d.add(name, ref(n), exact=name in ("max", "min"), **kw)


def integer_reduction(d: Draw) -> bool:
    name = d.pick("sum", "max", "min", "mean")
    n = d.any(*(k for k in INTS if name != "mean" or k != "uint32"), "bool_")
    return d.add(name, ref(n), **axes(d, n))


def arg(d: Draw) -> bool:
    n = d.any(*FLOATS, *INTS, ndim=1, exact=True)
    name = d.pick("argmax", "argmin", "argsort", "sort")
    kw = {"axis": d.axis(n)}
    if name in ("argmax", "argmin") and d.chance(0.3):
        kw["keepdims"] = True
    return d.add(name, ref(n), exact=True, **kw)


def ordered(d: Draw) -> bool:
    n = d.float(ndim=1)
    name = d.pick("sort", "topk", "cumsum", "cummax", "cummin", "logcumsumexp", "softmax", "softmax")
    if name == "topk":
        axis = d.axis(n)
        k = d.smallest(n, axis)
        if k < 1:
            return False
        return d.add("topk", ref(n), d.int(1, k + 1), axis=axis)
    kw: dict[str, Json] = {"axis": d.axis(n)}
    if name.startswith("cum") and d.chance(0.4):
        kw[d.pick("reverse", "inclusive")] = d.chance(0.5)
    return d.add(name, ref(n), exact=name in ("sort", "cummax", "cummin"), **kw)


def movement(d: Draw) -> bool:
    name = d.pick(
        "transpose", "swapaxes", "moveaxis", "expand_dims", "squeeze", "flatten", "transpose", "roll", "repeat", "tile"
    )
    n = d.any(ndim=1)
    if name == "transpose":
        order = [int(x) for x in d.rng.permutation(d.ndim(n))]
        return d.add(name, ref(n), *([order] if d.chance(0.6) else []), exact=True)
    if name in ("swapaxes", "moveaxis"):
        return d.add(name, ref(n), d.axis(n), d.axis(n), exact=True)
    if name == "expand_dims":
        if d.ndim(n) > 4:
            return False
        return d.add(name, ref(n), d.pick(d.axis(n), [0, -1]), exact=True)
    if name == "squeeze":
        return d.add("max", ref(n), axis=0, keepdims=True, exact=True) and d.add(
            "squeeze", ref(len(d.exact) - 1), 0, exact=True
        )
    if name == "flatten":
        return d.add(name, ref(n), *d.pick((), (0, 1), (-2, -1)), exact=True)
    if name == "roll":
        return d.add(name, ref(n), d.pick(1, -1, 3), d.axis(n), exact=True)
    if name == "repeat":
        return d.add(name, ref(n), d.pick(1, 2), axis=d.axis(n), exact=True)
    return d.add(name, ref(n), d.pick(2, [2, 1], [1, 2, 1]), exact=True)


def shaping(d: Draw) -> bool:
    name = d.pick(
        "reshape",
        "concatenate",
        "stack",
        "split",
        "pad",
        "tril",
        "triu",
        "diagonal",
        "atleast_2d",
        "broadcast_to",
        "diag",
    )
    n = d.any(ndim=1)
    if name == "reshape":
        k = d.pick(1, 2, 3)
        return d.add(name, ref(n), d.pick([-1], [1, -1], [-1, k], [k, -1], [-1, 1, k]), exact=True)
    if name == "concatenate":
        return d.add(name, [ref(n), ref(d.any(ndim=1)), ref(n)][: d.int(2, 4)], axis=d.axis(n), exact=True)
    if name == "stack":
        return d.ndim(n) < 4 and d.add(name, [ref(n), ref(n)], axis=d.axis(n), exact=True)
    if name == "split":
        return d.add(name, ref(n), d.pick([1], [1, 2], 1), axis=d.axis(n), exact=True)
    if name == "pad":
        return d.add(name, ref(n), d.pick(1, [1, 0], [0, 2]), exact=True)
    if name in ("tril", "triu"):
        return d.add(name, ref(n), d.pick(0, 1, -1), exact=True)
    if name == "diagonal":
        return d.add(name, ref(n), d.pick(0, 1, -1), exact=True)
    if name == "broadcast_to":
        return d.add(name, ref(n), [2, *d.shape(n)], exact=True)
    return d.add(name, ref(n), exact=True)


def indexing(d: Draw) -> bool:
    n = d.any(ndim=1)
    kind = d.int(0, 6)
    if kind < 3:
        return d.add("item", ref(n), index(d, n), exact=True)
    if kind == 3:
        return d.add("setitem", ref(n), index(d, n), d.pick(0, 1, 2), exact=True)
    if kind == 4 and d.dtype(n) in FLOATS + INTS:
        value = d.pick(0.3, 1.3) if d.dtype(n) in FLOATS else d.pick(2, 1, 3)  # no ties: their derivative is open
        return d.add(
            "at", ref(n), index(d, n), d.pick("add", "multiply", "maximum", "minimum", "subtract"), value, exact=True
        )
    axis = d.axis(n)
    size = d.smallest(n, axis)
    if not size:
        return False
    which = d.pick("take", "take_along_axis", "argsorted")
    if which == "take":
        return d.add("array", [d.int(-size, size) for _ in range(d.int(1, 4))]) and d.add(
            "take", ref(n), ref(len(d.exact) - 1), axis=axis, exact=True)  # fmt: skip
    if not d.exact[n] or d.dtype(n) in ("bool_", "complex64"):
        return False
    d.add("argsort", ref(n), axis=axis, exact=True)
    return d.add("stop_gradient", ref(len(d.exact) - 1), exact=True) and d.add(
        "take_along_axis", ref(n), ref(len(d.exact) - 1), axis=axis, exact=True)  # fmt: skip


def products(d: Draw) -> bool:
    name = d.pick("matmul", "matmul", "matmul_t", "inner", "outer", "tensordot", "einsum", "addmm", "kron")
    n = d.any("float32", "float16", "bfloat16", "float64", "complex64", ndim=1)
    if name == "matmul_t":
        return d.ndim(n) >= 2 and d.add("swapaxes", ref(n), -1, -2) and d.add("matmul", ref(n), ref(len(d.exact) - 1))
    if name == "einsum":
        return d.ndim(n) == 2 and d.add("einsum", d.pick("ij,kj->ik", "ij,ij->j", "ij,kj->k"), ref(n), ref(n))
    if name == "outer":
        return d.ndim(n) == 1 and d.add(name, ref(n), ref(d.float(most=1)))
    if name == "kron":
        return 2 >= d.ndim(n) > 0 and all(v[n].size for v in d.values) and d.add(name, ref(n), ref(d.float(most=2)))
    if name == "tensordot":
        return d.add(name, ref(n), ref(n), d.ndim(n))
    if name == "addmm":
        scales = {"alpha": d.pick(1.0, 0.5), "beta": d.pick(1.0, 2.0)}
        if d.ndim(n) != 2 or not d.add("transpose", ref(n)):
            return False
        return d.add("addmm", ref(d.float()), ref(n), ref(len(d.exact) - 1), **scales)
    return d.add(name, ref(n), ref(d.any("float32", "float16", "bfloat16", "float64", "complex64", ndim=1)))


def composite(d: Draw) -> bool:
    name = d.pick("layer_norm", "rms_norm", "norm", "rfft", "fft", "attention", "rope", "pairs", "conv1d")
    n = d.any("float32", "float16", "bfloat16", ndim=1)
    if name == "layer_norm":
        return d.add("fast.layer_norm", ref(n), None, None, 1e-3)
    if name == "rms_norm":
        return d.add("fast.rms_norm", ref(n), None, 1e-3)
    if name == "norm":
        return d.add("linalg.norm", ref(n), **axes(d, n)) if d.ndim(n) <= 2 else False
    if name in ("rfft", "fft"):
        return d.dtype(n) == "float32" and d.add("fft." + name, ref(n), axis=d.axis(n))
    if name == "rope":
        even = all(v[n].shape[-1] % 2 == 0 for v in d.values)
        return d.ndim(n) == 3 and even and d.smallest(n, -1) > 0 and d.add(
            "fast.rope", ref(n), 2, traditional=d.chance(0.5), base=100.0, scale=1.0, offset=d.int(0, 4))  # fmt: skip
    if name == "attention":
        return d.ndim(n) == 4 and d.add("fast.scaled_dot_product_attention", ref(n), ref(n), ref(n), scale=0.5)
    if name == "conv1d":
        return d.ndim(n) == 3 and d.add("conv1d", ref(n), ref(n), padding=2)
    return d.add(
        d.pick(
            "divmod",
        ),
        ref(d.any(*INTS, exact=True)),
        d.pick(2, 3),
        exact=True,
    )


def random_numbers(d: Draw) -> bool:
    if not d.add("random.key", d.int(0, 1000)):
        return False
    key = ref(len(d.exact) - 1)
    shape = [d.int(1, 4) for _ in range(d.int(0, 3))]
    kind = d.int(0, 4)
    if kind == 0:
        return d.add("random.uniform", -1.0, 1.0, shape, key=key)
    if kind == 1:
        return d.add("random.normal", shape, key=key)
    if kind == 2:
        return d.add("random.randint", 0, 5, shape, key=key, exact=True)
    return d.add("random.split", key, exact=True) and d.add(
        "random.bernoulli", 0.5, shape, key=ref(len(d.exact) - 1), exact=True
    )


FAMILIES: list[tuple[Callable[[Draw], bool], int]] = [
    (smooth_unary, 8),
    (domain_unary, 3),
    (exact_unary, 5),
    (step_unary, 2),
    (arithmetic, 12),
    (division, 3),
    (integer_division, 3),
    (smooth_binary, 3),
    (comparison, 4),
    (logic, 2),
    (selection, 5),
    (cast, 4),
    (narrow_cast, 2),
    (reduction, 8),
    (integer_reduction, 2),
    (arg, 3),
    (ordered, 5),
    (movement, 7),
    (shaping, 6),
    (indexing, 7),
    (products, 6),
    (composite, 5),
    (random_numbers, 2),
]
_WEIGHTS = np.array([w for _, w in FAMILIES], float) / sum(w for _, w in FAMILIES)
SIZES = (1, 2, 3, 3, 4, 5, 6, 8)
LETTERS = "ABC"


def draw(mx: Any, seed: int, worlds: int = 1, least: int = 3, most: int = 30, sizes: tuple[int, ...] = SIZES,
         families: Any = None) -> Draw:  # fmt: skip
    rng = np.random.default_rng(seed)
    sets = [{c: sizes[int(rng.integers(len(sizes)))] for c in LETTERS} for _ in range(worlds)]
    d = Draw(mx, rng, sets, [[] for _ in sets], [[] for _ in sets])
    for k in range(d.int(1, 4)):
        shape = "".join(d.pick(*LETTERS) for _ in range(d.int(0 if k else 1, 5)))
        d.input(shape, "float32" if k == 0 else d.pick(*INPUTS))
    if d.chance(0.4):
        d.input("", d.pick("float32", "int32", "float16"))
    target = d.int(least, most + 1)
    for _ in range(4 * target):
        if len(d.steps) >= target:
            break
        try:
            FAMILIES[int(rng.choice(len(FAMILIES), p=_WEIGHTS))][0](d)
        except LookupError:
            continue
    return d


def finish(d: Draw, world: int = 0) -> Json:
    """The program with a tree of outputs: the last value and some others."""
    count, first = len(d.exact), len(d.inputs[0])
    chosen = [count - 1] + [d.int(min(first, count - 1), count) for _ in range(d.int(0, 4))]
    refs = [ref(n) for n in chosen]
    kind = d.int(0, 4)
    outputs: Json = {"t": refs}
    if kind == 0:
        outputs = refs[0]
    elif kind == 1:
        outputs = {"a": refs[0], "b": {"t": refs[1:]}}
    elif kind == 2:
        outputs = [refs[0], {"x": refs}]
    return {"inputs": d.inputs[world], "steps": d.steps, "outputs": outputs,
            "exact": leaves(tree(outputs, d.exact))}  # fmt: skip


def spoiled(program: Json, rng: np.random.Generator) -> Json:
    """The program with one argument of its last steps exchanged, so that most are errors."""
    import copy

    out = copy.deepcopy(program)
    if not out["steps"]:
        return out
    _, args, kwargs = out["steps"][-1 - int(rng.integers(min(3, len(out["steps"]))))]
    places = [(args, k) for k in range(len(args))] + [(kwargs, k) for k in kwargs]
    if not places:
        return out
    where, k = places[int(rng.integers(len(places)))]
    old = where[k]
    if isinstance(old, bool) or old is None or isinstance(old, str):
        where[k] = "nonsense" if isinstance(old, str) else old
    elif isinstance(old, (int, float)):
        where[k] = [old + 9, -old - 9, "x", None][int(rng.integers(4))]
    elif isinstance(old, list):
        where[k] = [*old, 5] if rng.random() < 0.7 else []
    elif "v" in old:
        where[k] = {"v": int(rng.integers(len(out["inputs"])))}
    return out


# ---- running in another process ------------------------------------------------------------------


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


def main() -> None:
    """Programs on the standard input, one a line; results on the standard output."""
    import json
    import sys

    import mlx.core as mx

    for line in sys.stdin:
        print(json.dumps(evaluate(mx, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
