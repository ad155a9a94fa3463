"""What a row of the operation table is made of, and how arrays, layouts and errors are compared.

A row (`Op`) holds everything about one function: sample calls, a numpy reference evaluated in
float64 (long double
for float64 operands), dtypes, accuracy, misuse. The suites in tests/core iterate over the rows.

Accuracy is stated in units of the result's dtype:
  ulp   element by element, in units in the last place (element-wise functions);
  eps   relative to the largest magnitude of the whole result (sums, products of matrices).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import mlx.core as mx
import numpy as np

BOOL = ("bool_",)
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64",)
REALS = BOOL + INTEGERS + FLOATS
ALL = REALS + COMPLEX
INEXACT = FLOATS + COMPLEX

EPS = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
    "complex64": 2.0**-23,
}
SMALLEST = {  # the distance between denormals
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float32": 2.0**-149,
    "float64": 2.0**-1074,
    "complex64": 2.0**-149,
}
LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
    "complex64": float(np.finfo(np.float32).max),
}
inf, nan = float("inf"), float("nan")


# ---- operands ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gen:
    """An operand that is drawn when the test runs. `dtype` fixes its type (indices, masks);
    otherwise the suite's.
    """

    shape: tuple[int, ...] = ()
    low: float = -2.0
    high: float = 2.0
    ints: tuple[int, int] = (-5, 6)
    dtype: str | None = None
    distinct: bool = False  # no two equal elements: for orders and for derivatives of max
    values: Any = None
    constant: bool = False  # never differentiated, batched or re-laid

    def make(self, dtype: str, rng: np.random.Generator) -> np.ndarray:
        name = self.dtype or dtype
        if self.values is not None:
            return rounded(np.asarray(self.values), name)
        n = int(np.prod(self.shape))
        if self.distinct:
            span = np.linspace(self.low, self.high, max(n, 1))[:n]
            out = rng.permutation(span if name in INEXACT else np.arange(n) % 120)
        elif name in BOOL:
            out = rng.integers(0, 2, n)
        elif name in INTEGERS:
            low, high = self.ints
            out = rng.integers(max(low, 0) if name in UNSIGNED else low, high, n)
        elif name in COMPLEX:
            out = rng.uniform(self.low, self.high, n) + 1j * rng.uniform(-1.5, 1.5, n)
        else:
            out = rng.uniform(self.low, self.high, n)
        return rounded(out.reshape(self.shape), name)


def f(*shape: int, low: float = -2.0, high: float = 2.0, **kw: Any) -> Gen:
    """Numbers between `low` and `high`, of the dtype the suite asks for."""
    return Gen(shape, low, high, **kw)


def positive(*shape: int, low: float = 0.25, high: float = 3.0) -> Gen:
    return Gen(shape, low, high, ints=(1, 7))


def index(*shape: int, high: int, low: int = 0, dtype: str = "int32") -> Gen:
    return Gen(shape, ints=(low, high), dtype=dtype)


def mask(*shape: int) -> Gen:
    return Gen(shape, dtype="bool_")


def v(values: Any, dtype: str | None = None) -> Gen:
    """Exactly these values."""
    return Gen(np.shape(values), dtype=dtype, values=values)


NUMPY: dict[str, Any] = {
    "bool_": np.bool_,
    **{n: getattr(np, n) for n in INTEGERS},
    "float16": np.float64,
    "bfloat16": np.float64,
    "float32": np.float64,
    "float64": np.longdouble,
    "complex64": np.complex128,
}


def round_bf16(x: np.ndarray) -> np.ndarray:
    """Nearest bfloat16 (ties to even) of float32 values, as float32; by hand, so that `astype`
    is not its own judge.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    up = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    out = np.where(np.isnan(x), bits | np.uint32(0x400000), bits + up) & np.uint32(0xFFFF0000)
    return out.view(np.float32).reshape(np.shape(x))


def rounded(x: np.ndarray, name: str) -> np.ndarray:
    """The values of `x` that dtype `name` can hold, in the type the references compute in."""
    with np.errstate(all="ignore"):
        if name == "float16":
            return x.astype(np.float16).astype(np.float64)
        if name == "bfloat16":
            return round_bf16(np.asarray(x, np.float32)).astype(np.float64)
        if name == "float32":
            return x.astype(np.float32).astype(np.float64)
        if name == "complex64":
            return x.astype(np.complex64).astype(np.complex128)
        if name == "float64":
            return x.astype(np.float64).astype(np.longdouble)
    return x.astype(NUMPY[name])


def to_mx(x: Any, name: str) -> mx.array:
    x = np.asarray(x)
    if name == "bfloat16":
        return mx.array(np.asarray(x, np.float32)).astype(mx.bfloat16)
    if name == "float64":
        return mx.array(np.asarray(x, np.float64), dtype=mx.float64)
    native = {"float16": np.float16, "float32": np.float32, "complex64": np.complex64}
    return mx.array(np.asarray(x, native.get(name, NUMPY[name])))


def dtype_name(a: mx.array) -> str:
    name = str(a.dtype).rsplit(".", 1)[-1]
    return "bool_" if name == "bool" else name


def to_np(a: mx.array) -> np.ndarray:
    if a.dtype == mx.bfloat16:
        a = a.astype(mx.float32)
    return np.array(a)


# ---- layouts -----------------------------------------------------------------------------------

LAYOUTS = ("transposed", "strided", "reversed", "offset", "broadcast")


def broadcast_values(x: np.ndarray) -> np.ndarray:
    """`x` with its first slice repeated along axis 0: what the layout `broadcast` can express."""
    return np.broadcast_to(x[:1], x.shape).copy() if x.ndim and x.shape[0] else x


def lay(x: np.ndarray, name: str, layout: str) -> mx.array:
    """The values of `x` in memory that is not row-contiguous."""
    if x.ndim == 0 or x.size == 0:
        return to_mx(x, name)
    if layout == "transposed":
        return mx.transpose(to_mx(np.ascontiguousarray(x.T), name))
    if layout == "strided":
        wide = np.repeat(x, 2, axis=-1)
        wide[..., 1::2] = wide[..., 1::2][..., ::-1]
        return to_mx(wide, name)[..., ::2]
    if layout == "reversed":
        back = (slice(None, None, -1),) * x.ndim
        return to_mx(x[back].copy(), name)[back]
    if layout == "offset":
        return to_mx(np.concatenate([x[:1], x], axis=0), name)[1:]
    assert layout == "broadcast"
    return mx.broadcast_to(to_mx(x[:1], name), x.shape)


# ---- rows --------------------------------------------------------------------------------------


class S:
    """A sample call: positional and keyword arguments; `Gen`s in them, also inside lists, are
    the operands.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def leaves(self) -> list[Gen]:
        out: list[Gen] = []
        for a in (*self.args, *self.kwargs.values()):
            if isinstance(a, Gen):
                out.append(a)
            elif isinstance(a, list):
                out.extend(x for x in a if isinstance(x, Gen))
        return out

    def fill(self, operands: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The call's arguments with the operands put in place."""
        it = iter(operands)

        def put(a: Any) -> Any:
            if isinstance(a, Gen):
                return next(it)
            if isinstance(a, list):
                return [next(it) if isinstance(x, Gen) else x for x in a]
            return a

        return [put(a) for a in self.args], {k: put(a) for k, a in self.kwargs.items()}

    def __repr__(self) -> str:
        def word(a: Any) -> str:
            if isinstance(a, Gen):
                return f"<{a.dtype or ''}{list(a.shape)}>" if a.values is None else repr(a.values)
            return "[" + ", ".join(map(word, a)) + "]" if isinstance(a, list) else repr(a)

        parts = [word(a) for a in self.args] + [f"{k}={word(a)}" for k, a in self.kwargs.items()]
        return f"S({', '.join(parts)})"


@dataclass
class Bad:
    """A call that must be refused, with the exception's type(s) and a regular expression for its
    text.
    """

    sample: S
    error: type[BaseException] | tuple[type[BaseException], ...]
    match: str = ""
    dtype: str = "float32"


@dataclass
class Op:
    name: str
    samples: list[S]
    reference: Callable[..., Any]
    dtypes: tuple[str, ...] = FLOATS
    ulp: dict[str, float] | None = None
    eps: dict[str, float] | None = None
    extremes: list[S] = field(default_factory=list)
    extreme_dtypes: tuple[str, ...] = FLOATS
    diff: tuple[int, ...] | bool = False  # operands with a derivative; True: all whose dtype is free
    smooth: bool = False  # has a second derivative to compare
    batched: bool = True
    whole_range: str = ""  # unary functions checked on every exponent: see test_accuracy.py
    complex_result: bool = False
    raw: bool = False  # the reference takes operands of integers as they are, even for inexact results
    call: Callable[..., Any] | None = None
    errors: list[Bad] = field(default_factory=list)
    cancels: bool = False  # the unit of `eps` is the result for the operands' magnitudes: sums of either sign
    keeps_bits: bool = True  # compiled and exported forms give the same bits

    @property
    def fn(self) -> Callable[..., Any]:
        if self.call is not None:
            return self.call
        out: Any = mx
        for part in self.name.split("[")[0].split("."):
            out = getattr(out, part)
        return out

    def run(self, sample: S, operands: Sequence[mx.array]) -> list[mx.array]:
        args, kwargs = sample.fill(operands)
        return outputs(self.fn(*args, **kwargs))

    def differentiable(self, sample: S) -> list[int]:
        leaves = sample.leaves()
        free = [k for k, g in enumerate(leaves) if g.dtype is None and not g.constant]
        if self.diff is True:
            return free
        return [k for k in (self.diff or ()) if k in free]


def outputs(r: Any) -> list[Any]:
    """Results of a call as a flat list."""
    if isinstance(r, (list, tuple)):
        return [x for y in r for x in outputs(y)]
    return [r]


def seeded(*key: Any) -> np.random.Generator:
    return np.random.default_rng(crc32(repr(key).encode()))


def draw(op: Op, sample: S, dtype: str, salt: int = 0) -> tuple[list[np.ndarray], list[str]]:
    rng = seeded(op.name, repr(sample), dtype, salt)
    leaves = sample.leaves()
    return [g.make(dtype, rng) for g in leaves], [g.dtype or dtype for g in leaves]


def reference(op: Op, sample: S, operands: Sequence[np.ndarray], result: str | None = None) -> list[np.ndarray]:
    """What the row's reference says; integers are computed in float64 where the result is
    inexact.
    """
    if result in EPS and not op.raw:
        leaves = sample.leaves()
        operands = [
            x.astype(np.float64) if g.dtype is None and x.dtype.kind in "biu" else x
            for g, x in zip(leaves, operands, strict=True)
        ]
    args, kwargs = sample.fill(operands)
    with np.errstate(all="ignore"):
        return [np.asarray(x) for x in outputs(op.reference(*args, **kwargs))]


# ---- comparison --------------------------------------------------------------------------------


def ulps(got: np.ndarray, want: np.ndarray, name: str) -> np.ndarray:
    """Distance in units in the last place of `want` in dtype `name`; nan meets nan, inf meets
    inf and overflow.
    """
    want = np.asarray(want, np.longdouble)
    got = np.asarray(got, np.longdouble)
    with np.errstate(all="ignore"):
        exponent = np.frexp(np.where(np.isfinite(want), want, 1))[1]
        unit = np.maximum(np.ldexp(np.longdouble(EPS[name]), exponent - 1), SMALLEST[name])
        out = np.abs(got - want) / unit
        # everything past the largest finite number rounds to infinity
        limit = np.longdouble(LARGEST[name]) * (1 + np.longdouble(EPS[name]) / 4)
        w = np.where(np.abs(want) >= limit, np.copysign(np.inf, want), want)
        near = np.abs(want) > np.longdouble(LARGEST[name]) * (1 - 4 * np.longdouble(EPS[name]))
        out = np.where(np.isinf(got) & near & (np.sign(got) == np.sign(want)), 0, out)
        out = np.where(np.isinf(w) & (np.abs(got) >= LARGEST[name]) & (np.sign(got) == np.sign(want)), 0, out)
        out = np.where(np.isnan(want) & np.isnan(got), 0, out)
        out = np.where(np.isnan(want) ^ np.isnan(got), np.inf, out)
        return np.where(np.isnan(out), np.inf, out)


def bound(table: dict[str, float] | None, name: str, default: dict[str, float]) -> float:
    return {**default, **(table or {})}[name]


# f16 and bf16 results are float32 results rounded once: half a unit, and a float32 error of two
# units
ULP = {"float16": 0.501, "bfloat16": 0.50007, "float32": 2, "float64": 4, "complex64": 4}
EPS_BOUND = {"float16": 1, "bfloat16": 1, "float32": 4, "float64": 8, "complex64": 8}


def check(op: Op, got: mx.array, want: np.ndarray, where: str, magnitude: np.ndarray | None = None) -> None:
    """Assert that `got` is `want` within the row's bound; on failure say which element is worst.

    The unit of `eps` is the largest finite magnitude in `want`, or in `magnitude` where that is
    larger.
    """
    assert isinstance(got, mx.array), f"{where}: {type(got)} instead of an array"
    assert tuple(got.shape) == tuple(want.shape), f"{where}: shape {got.shape} instead of {want.shape}"
    name, g = dtype_name(got), to_np(got)
    if g.size == 0:
        return
    if name not in EPS:
        np.testing.assert_array_equal(g, want.astype(g.dtype), err_msg=where)
        return
    if op.eps is not None:
        limit = bound(op.eps, name, EPS_BOUND)
        error = errors_of_scale(g, want, name, magnitude)
    elif name == "complex64":
        limit = bound(op.ulp, name, ULP)
        error = complex_error(g, want)
    else:
        limit = bound(op.ulp, name, ULP)
        error = ulps(g, want, name)
    worst = np.unravel_index(np.argmax(error), error.shape)
    assert error[worst] <= limit, (
        f"{where}: {error[worst]:.4g} units off (bound {limit}) at {tuple(map(int, worst))}: "
        f"got {g[worst]!r}, want {np.asarray(want)[worst]!r}"
    )


def errors_of_scale(g: np.ndarray, want: np.ndarray, name: str, magnitude: np.ndarray | None) -> np.ndarray:
    """Errors in units of the largest finite magnitude; infinities, nan and overflow must agree."""
    w = np.asarray(want, np.complex128 if name == "complex64" else np.longdouble)
    with np.errstate(all="ignore"):
        size = np.abs(w)
        finite = np.isfinite(w) & (size < LARGEST[name])
        scale = np.max(size[finite], initial=0)
        if magnitude is not None and np.all(np.isfinite(magnitude)):
            scale = max(scale, np.max(np.abs(magnitude), initial=0))
        error = np.abs(g.astype(w.dtype) - w) / (scale * EPS[name] + SMALLEST[name])
        over = (size >= LARGEST[name]) & (np.abs(g) >= LARGEST[name]) & (np.sign(g.real) == np.sign(w.real))
        agree = (np.isnan(g) & np.isnan(w)) | (g == w) | over
    error = np.where(finite, error, np.where(agree, 0, np.inf))
    return np.where(np.isnan(error), np.inf, error)


def complex_error(g: np.ndarray, want: np.ndarray) -> np.ndarray:
    w = np.asarray(want, np.complex128)
    with np.errstate(all="ignore"):
        unit = np.maximum(np.abs(w) * EPS["complex64"], SMALLEST["complex64"] * 4)
        error = np.abs(g - w) / unit
    bad = ~np.isfinite(w)
    return np.where(bad, np.where(np.isfinite(g), np.inf, 0), error)


def close(a: mx.array, b: mx.array, units: float = 0) -> bool:
    """Same shape, dtype and values, up to `units` of the largest magnitude."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    x, y = to_np(a), to_np(b)
    if units == 0 or a.size == 0 or dtype_name(a) not in EPS:
        return bool(np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"))
    finite = np.isfinite(x) & np.isfinite(y)
    with np.errstate(all="ignore"):
        scale = np.max(np.abs(x[finite]), initial=0) * EPS[dtype_name(a)] * units + SMALLEST[dtype_name(a)]
        ok = (np.abs(x - y) <= scale) | (x == y) | (np.isnan(x) & np.isnan(y))
    return bool(np.all(ok))


def representative(op: Op) -> S | None:
    """The sample that stands for the row where one is enough: operands with dimensions, no dtype
    asked for.
    """
    candidates = [s for s in op.samples if s.leaves() and "dtype" not in s.kwargs]
    return next(
        (s for s in candidates if all(g.shape for g in s.leaves())),
        candidates[0] if candidates else None,
    )
