"""What the properties of the array API standard share: dtypes, values, and how results are compared.

The specification is `array_api_strict`, the standard's own minimal implementation: which names there are, what they
accept, which dtype comes out and what the values are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the newest edition is called a draft there
    import array_api_strict as strict

    strict.set_array_api_strict_flags(api_version="2025.12")

Run = Callable[[], None]
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
REALS = ("float32", "float64")
FLOATS = (*REALS, "complex64")  # complex128 is a deviation: docs/compatibility.md
NUMBERS = (*INTEGERS, *FLOATS)
DTYPES = ("bool", *NUMBERS)
EXAMPLES = 25


@dataclass(frozen=True)
class Property:
    """Something that holds for one function of the standard."""

    name: str  # as `linalg.det`, `array.__add__`
    aspect: str  # "signature", "dtypes", "values", "special values", "scalars", ...
    run: Run


PROPERTIES: list[Property] = []


class Search:
    """Whether the smallest failing call is looked for: not where a failure is expected."""

    shrinks = True


def add(name: str, aspect: str, run: Run) -> None:
    PROPERTIES.append(Property(name, aspect, run))


def holds(*strategies: st.SearchStrategy, examples: int = EXAMPLES) -> Callable[[Callable[..., None]], Run]:
    """The function as a property of the values that the strategies draw."""

    def decorate(check: Callable[..., None]) -> Run:
        def run() -> None:
            every = settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink] if Search.shrinks else [Phase.generate],
                print_blob=False,
            )

            @every
            @given(st.tuples(*strategies))
            def case(drawn: tuple) -> None:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    check(*drawn)

            case()

        return run

    return decorate


def words(text: str) -> list[str]:
    return text.split()


def function(xp: Any, name: str) -> Any:
    for part in name.split("."):
        xp = getattr(xp, part)
    return xp


def dtype_of(xp: Any, name: str) -> Any:
    return xp.bool_ if xp is mx and name == "bool" else getattr(xp, name)


def name_of(dtype: Any) -> str:
    return str(dtype).rsplit(".", 1)[-1].removesuffix("_")


def of(xp: Any, a: np.ndarray) -> Any:
    """The array as one of the namespace, of the same dtype."""
    if xp is mx:
        return mx.array(a, dtype=dtype_of(mx, str(a.dtype)))
    return xp.asarray(a.copy())


def to_numpy(a: Any) -> np.ndarray:
    return np.array(a, copy=True) if isinstance(a, mx.array) else np.asarray(a)


# ---- values


def elements(
    dtype: str, low: float | None = None, high: float | None = None, special: bool = False
) -> st.SearchStrategy:
    """Numbers of the dtype: `special` mixes in nan, infinities, zeros with signs and denormal numbers."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind in "iu":
        info = np.iinfo(dtype)
        return st.integers(
            int(max(info.min, info.min if low is None else low)), int(min(info.max, info.max if high is None else high))
        )
    if kind == "c":
        part = elements("float32", low, high, special)
        return st.builds(complex, part, part)
    bits = 8 * np.dtype(dtype).itemsize
    if special:
        return st.floats(width=bits)
    low, high = (-1e4 if low is None else low), (1e4 if high is None else high)
    cast = np.float32 if bits == 32 else np.float64
    return st.floats(float(cast(low)), float(cast(high)), width=bits, allow_subnormal=False)


def arrays(
    dtype: str | st.SearchStrategy,
    shape: Any = None,
    low: float | None = None,
    high: float | None = None,
    special: bool = False,
    unique: bool = False,
) -> st.SearchStrategy:
    if shape is None:
        shape = shapes()
    if not isinstance(dtype, str):
        return dtype.flatmap(lambda d: arrays(d, shape, low, high, special, unique))
    values = elements(dtype, low, high, special)
    return hnp.arrays(np.dtype(dtype), shape, elements=values, unique=unique)


def shapes(least: int = 0, most: int = 3, side: int = 4, empty: bool = True) -> st.SearchStrategy:
    return hnp.array_shapes(min_dims=least, max_dims=most, min_side=0 if empty else 1, max_side=side)


def axis_of(a: np.ndarray) -> st.SearchStrategy:
    return st.integers(-a.ndim, a.ndim - 1)


def axes_of(a: np.ndarray, none: bool = True) -> st.SearchStrategy:
    """None, an axis, or several of them."""
    choices = [axis_of(a), st.lists(st.integers(0, a.ndim - 1), unique=True, max_size=a.ndim).map(tuple)]
    if a.ndim == 0:
        choices = [st.just(())]
    return st.one_of(*([st.none()] if none else []), *choices)


# ---- comparing

# Steps of the dtype by which a value may be off; NumPy's own float32 functions are a few off, too.
TOLERANCE = {"float32": 3e-6, "complex64": 1e-5, "float64": 1e-13}


def same(
    got: Any, want: Any, *, index: bool = False, tolerance: float = 1, zeros: bool = False, scale: Any = 0
) -> None:
    """The same structure, shapes, dtypes and values.

    index: results are positions or counts, whose integer dtype the standard leaves open.
    zeros: the sign of a zero counts. scale: magnitude to which errors are compared, beside the value's own.
    """
    if isinstance(want, (tuple, list)):
        assert isinstance(got, (tuple, list)) and len(got) == len(want), f"{got!r} instead of {want!r}"
        for g, w in zip(got, want, strict=True):
            same(g, w, index=index, tolerance=tolerance, zeros=zeros, scale=scale)
        return
    if not isinstance(want, (type(strict.asarray(0)), np.ndarray)):
        assert got == want, f"{got!r} instead of {want!r}"
        return
    assert isinstance(got, mx.array), f"{type(got).__name__} instead of an array"
    assert got.shape == tuple(want.shape), f"shape {got.shape} instead of {tuple(want.shape)}"
    g, w = to_numpy(got), to_numpy(want)
    if index:
        assert g.dtype.kind in "iu" and w.dtype.kind in "iu", f"{g.dtype} instead of {w.dtype}"
    else:
        assert g.dtype == w.dtype, f"{g.dtype} instead of {w.dtype}"
    if w.dtype.kind in "biu":
        wrong = np.asarray(g != w)
    else:
        close(g, w, tolerance, zeros, scale)
        return
    assert not wrong.any(), f"{first(g, wrong)} instead of {first(w, wrong)}"


def close(g: np.ndarray, w: np.ndarray, tolerance: float, zeros: bool, scale: Any) -> None:
    if w.dtype.kind == "c":
        # A number with an infinite part is infinite, one with a nan is none; a finite one is right to its magnitude.
        finite, infinite = np.isfinite(w), np.isinf(w.real) | np.isinf(w.imag)
        wrong = infinite != (np.isinf(g.real) | np.isinf(g.imag))
        wrong |= ~finite & ~infinite & ~np.isnan(g)
        assert not wrong.any(), f"{first(g, wrong)} instead of {first(w, wrong)}"
        parts = [(np.where(finite, g, 0).real, np.where(finite, w, 0).real)]
        parts.append((np.where(finite, g, 0).imag, np.where(finite, w, 0).imag))
        scale = np.maximum(scale, np.where(finite, np.abs(w), 0))
    else:
        parts = [(g, w)]
    step = tolerance * TOLERANCE[str(w.dtype)]
    for a, b in parts:
        limit = step * np.maximum(np.abs(np.where(np.isfinite(b), b, 0)), scale) + np.finfo(a.dtype).tiny
        wrong = np.where(np.isfinite(b), ~(np.abs(a - b) <= limit), ~((a == b) | (np.isnan(a) & np.isnan(b))))
        if zeros:
            wrong |= (b == 0) & (a == 0) & (np.signbit(a) != np.signbit(b))
        assert not wrong.any(), f"{first(g, wrong)} instead of {first(w, wrong)}"


def first(a: np.ndarray, where: np.ndarray) -> Any:
    at = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(where)))
    return f"{np.atleast_1d(a)[at]!r} at {at}"


def both(call: Callable[[Any], Any], **how: Any) -> None:
    """What the standard's implementation does, ours does: a result, or a refusal."""
    want = call(strict)
    same(call(mx), want, **how)


def accepted(f: Callable[..., Any], *operands: Any) -> Any:
    """The result, or None where the dtypes are refused."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*operands)
    except TypeError:
        return None


def one_of(names: Iterable[str]) -> st.SearchStrategy:
    return st.sampled_from(sorted(names))
