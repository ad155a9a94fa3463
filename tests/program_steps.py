"""Families of functions: each adds a step or a few to a program."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from program_draw import INTS, Draw, ref
from program_values import FLOATS, Json


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
WEIGHTS = np.array([w for _, w in FAMILIES], float) / sum(w for _, w in FAMILIES)
