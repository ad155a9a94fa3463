"""Generated subscripts, read, assigned to and updated, against NumPy: shapes, dtypes, values and errors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from index_cases import Case, case, numbers, powers_of_two, update
from op_row import dtype_name, to_np

SMALL, LARGE = 2_000, 20_000


# Of another type than NumPy's error: what is no index is a TypeError; shapes that do not broadcast are a ValueError.
def same_kind(want: Exception, got: Exception) -> bool:
    if isinstance(want, IndexError) and "only integers" in str(want):
        return isinstance(got, TypeError)
    if isinstance(want, IndexError) and "shape mismatch" in str(want):
        return isinstance(got, (IndexError, ValueError))
    if isinstance(want, np.exceptions.AxisError) or "only 0-dimensional arrays" in str(want):
        return isinstance(got, ValueError)
    if "out of bounds" in str(want) and "broadcast" in str(got):
        return isinstance(got, ValueError)
    return isinstance(got, next(k for k in (IndexError, ValueError, TypeError) if isinstance(want, k)))


AUGMENTED = {"add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul, "divide": operator.itruediv}


def attempt(fn: Callable[[], Any]) -> Any:
    """The result, or the exception."""
    try:
        return fn()
    except Exception as e:
        return e


def compare(c: Case, what: str, want: Any, got: Any) -> None:
    where = f"{what} of {c}"
    if isinstance(want, Exception):
        if "out of bounds" in str(want) and isinstance(got, mx.array):  # no index is looked at where none selects
            assert got.size == 0 or np.array_equal(to_np(got), c.values), where
            return
        assert isinstance(got, Exception) and same_kind(want, got), f"{where}: {got!r} instead of {want!r}"
        return
    assert not isinstance(got, Exception), f"{where}: raised {got!r}"
    want = np.asarray(want)
    assert dtype_name(got) == c.dtype, f"{where}: {got.dtype}"
    assert got.shape == want.shape, f"{where}: shape {got.shape} instead of {want.shape}"
    assert np.array_equal(to_np(got), want), f"{where}: {to_np(got).tolist()} instead of {want.tolist()}"


def check_read(c: Case) -> None:
    def read() -> mx.array:
        out = c.array()[c.index]
        mx.eval(out)
        return out

    compare(c, "read", attempt(lambda: c.values[c.numpy_index]), attempt(read))


def writers(
    c: Case, rng: np.random.Generator, draw: Any, numpy_write: Any, write: Any, assigned: bool = False
) -> tuple[Any, Any]:
    """The array after a write by NumPy and by mlx, or what they raised."""
    try:
        numpy_value, value = update(c, rng, draw, assigned)
    except (IndexError, ValueError, TypeError):
        numpy_value = value = 1
    want, got, before = c.values.copy(), c.array(), c.array()
    kept = got + 0 if c.dtype != "bool_" else got | got

    def run() -> mx.array:
        out = write(got, c.index, value)
        out = got if out is None else out
        mx.eval(out)
        return out

    error = attempt(lambda: numpy_write(want, c.numpy_index, numpy_value))
    result = attempt(run)
    assert mx.array_equal(kept, before), f"a copy taken before changed: {c}"
    return (error if isinstance(error, Exception) else want), result


def check_assign(c: Case) -> None:
    rng = np.random.default_rng([c.seed, 1])
    compare(c, "assignment", *writers(c, rng, numbers, operator.setitem, operator.setitem, assigned=True))


def check_augmented(c: Case) -> None:
    rng = np.random.default_rng([c.seed, 2])
    names = ["add", "multiply"] + (["subtract"] if c.dtype != "bool_" else [])
    name = names[rng.integers(len(names))]

    def write(a: Any, index: Any, value: Any) -> None:
        a[index] = AUGMENTED[name](a[index], value)

    compare(c, f"{name} and assignment", *writers(c, rng, numbers, write, write))


def check_at(c: Case) -> None:
    if c.dtype == "bool_":
        return
    rng = np.random.default_rng([c.seed, 3])
    exact = c.dtype.startswith(("float", "bfloat", "complex"))
    names = ["add", "subtract", "multiply"] + (["divide"] if exact else [])
    names += ["maximum", "minimum"] if c.dtype != "complex64" else []
    name = names[rng.integers(len(names))]
    draw = powers_of_two if name in ("multiply", "divide") else numbers
    numpy_write = getattr(np, name).at
    compare(c, f"at.{name}", *writers(c, rng, draw, numpy_write, lambda a, i, v: getattr(a.at[i], name)(v)))


CHECKS = (check_read, check_assign, check_augmented, check_at)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__[6:])
def test_generated(check: Callable[[Case], None]) -> None:
    for seed in range(SMALL):
        check(case(seed))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__[6:])
def test_generated_many(check: Callable[[Case], None]) -> None:
    for seed in range(SMALL, SMALL + LARGE):
        check(case(seed))
