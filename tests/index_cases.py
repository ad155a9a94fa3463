"""Generated subscripts: for a seed, an array, an index in the forms NumPy and mlx take it, and values to write.

An index is built dimension by dimension from ints, slices, None, an ellipsis, arrays of integers (mlx, NumPy,
nested lists), masks and lone booleans; some are wrong on purpose. What NumPy does with it is the specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from op_row import LAYOUTS, broadcast_values, lay

DTYPES = ("bool_", "int8", "uint8", "int16", "int32", "uint32", "int64", "float16", "bfloat16", "float32", "complex64")
INDEX_DTYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5)


def numpy_dtype(name: str) -> Any:
    """bfloat16 is compared as float32: the values here are small integers."""
    return np.float32 if name == "bfloat16" else getattr(np, name)


@dataclass
class Case:
    seed: int
    dtype: str
    layout: str
    values: np.ndarray
    numpy_index: Any
    index: Any

    def array(self) -> mx.array:
        if self.layout == "contiguous":
            return mx.array(self.values).astype(getattr(mx, self.dtype))
        return lay(self.values, self.dtype, self.layout)

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.dtype}{list(self.values.shape)} ({self.layout}) [{self.index!r}]"


class Draw:
    """The indices of one case; each method gives the NumPy form and the mlx form."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng, self.shape = rng, shape
        self.wrong = rng.random() < 0.08
        self.common = [(2,), (3,), (2, 3), (1,), (), (0,), (2, 1), (1, 3)][rng.integers(8)]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def mistake(self, p: float) -> bool:
        """At most once, so that there is no question which error comes first."""
        if not self.wrong or not self.chance(p):
            return False
        self.wrong = False
        return True

    def pick(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def bounds(self, n: int) -> tuple[int, int]:
        """The range ints are drawn from; it is too wide in cases that are wrong."""
        return (-n - 2, n + 2) if self.mistake(0.5) else (-n, n)

    def integer(self, n: int) -> tuple[Any, Any]:
        low, high = self.bounds(n)
        i = int(self.rng.integers(low, high)) if high > low else 0
        form = self.rng.integers(6)
        if form == 0:
            return i, np.int64(i)
        if form == 1:
            return i, np.int8(i)
        if form == 2:
            return np.array(i), mx.array(i)
        if form == 3 and i >= 0:
            return i, np.uint16(i)
        return i, i

    def slice(self, n: int) -> tuple[Any, Any]:
        def bound() -> Any:
            kind = self.rng.integers(8)
            if kind < 3:
                return None
            if kind == 3:
                return self.pick(-1000, 1000, 2**40, -(2**40))
            return int(self.rng.integers(-n - 2, n + 3))

        start, stop = bound(), bound()
        step = self.pick(None, None, 1, 2, -1, -1, 3, -2, -3, 7, -100)
        if self.mistake(0.1):
            step = 0
        s = slice(start, stop, step)
        if self.chance(0.15):
            return s, slice(*(None if b is None else np.int64(b) for b in (start, stop, step)))
        return s, s

    def array(self, n: int) -> tuple[Any, Any]:
        shape = self.common
        if shape and self.chance(0.2):
            shape = tuple(1 if self.chance(0.5) else k for k in shape)[self.rng.integers(len(shape)) :]
        if self.mistake(0.2):
            shape = (*shape, 5)
        low, high = self.bounds(n)
        if high <= low:
            shape = (0,)
            low, high = 0, 1
        values = self.rng.integers(low, high, shape)
        dtype = self.pick(*INDEX_DTYPES)
        if np.issubdtype(dtype, np.unsignedinteger):
            values = np.where(values < 0, values + n, values)
            values = np.maximum(values, 0)
        values = np.asarray(values).astype(dtype)
        form = self.rng.integers(4)
        if form == 0:
            return values, values
        if form == 1 and values.size and values.ndim:
            return values.astype(np.int64), values.tolist()
        return values, mx.array(values)

    def mask(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        if self.mistake(0.5):
            shape = tuple(k + int(self.rng.integers(0, 2)) for k in shape)
        values = self.rng.random(shape) < self.pick(0.0, 0.3, 0.6, 1.0)
        form = self.rng.integers(3)
        if form == 0:
            return values, values
        if form == 1 and values.size:
            return values, values.tolist()
        return values, mx.array(values)

    def index(self) -> tuple[Any, Any]:
        rng, shape = self.rng, self.shape
        if self.chance(0.06) and shape:  # a mask, alone
            return self.mask(shape[: rng.integers(1, len(shape) + 1)])
        if self.chance(0.02):
            return self.pick(
                (True, True), (False, False), (np.bool_(True), np.bool_(True)), (np.bool_(False), mx.array(False))
            )
        arrays, masks = self.chance(0.5), self.chance(0.15)
        used = int(rng.integers(0, len(shape) + 1))
        gap = int(rng.integers(0, used + 1)) if self.chance(0.5) else -1
        items: list[tuple[Any, Any]] = []
        dim = k = 0
        while k <= used:
            if k == gap:
                items.append((Ellipsis, Ellipsis))
                dim += len(shape) - used
            if k == used:
                break
            n = shape[dim] if dim < len(shape) else 1
            kind = rng.integers(10)
            if masks and kind < 3:
                span = int(rng.integers(1, used - k + 1))
                items.append(self.mask(shape[dim : dim + span]))
                dim, k = dim + span, k + span
                continue
            if arrays and kind < 7:
                items.append(self.array(n))
            elif kind < 4 and (n or self.mistake(0.5)):
                items.append(self.integer(n))
            else:
                items.append(self.slice(n))
            dim, k = dim + 1, k + 1
        for _ in range(int(rng.integers(0, 3)) if self.chance(0.5) else 0):
            items.insert(int(rng.integers(0, len(items) + 1)), (None, None))
        if self.chance(0.02):
            items.insert(
                int(rng.integers(0, len(items) + 1)), self.pick((True, True), (np.bool_(False), mx.array(False)))
            )
        if self.mistake(0.3):
            extra = self.pick(
                (0, 0),
                (Ellipsis, Ellipsis),
                (1.5, 1.5),
                ("a", "a"),
                ([0.5], mx.array([0.5])),
                (slice(0.5, 1), slice(0.5, 1)),
                ({}, {}),
            )
            items.insert(int(rng.integers(0, len(items) + 1)), extra)
        if len(items) == 1 and self.chance(0.6):
            return items[0]
        return tuple(n for n, _ in items), tuple(m for _, m in items)


def case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    shape = tuple(SIZES[i] for i in rng.integers(0, len(SIZES), rng.integers(0, 5)))
    if rng.random() < 0.6:  # empty arrays are interesting, but few
        shape = tuple(max(n, 1) for n in shape)
    dtype = DTYPES[rng.integers(len(DTYPES))]
    values = numbers(rng, shape, dtype)
    layout = LAYOUTS[rng.integers(len(LAYOUTS))] if rng.random() < 0.4 else "contiguous"
    if layout == "broadcast":
        values = broadcast_values(values)
    numpy_index, index = Draw(rng, shape).index()
    return Case(seed, dtype, layout, values, numpy_index, index)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "bool_":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if dtype.startswith("u") else -9, 10, shape).astype(numpy_dtype(dtype))


def powers_of_two(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Factors and divisors whose products are exact, in any order."""
    return (2.0 ** rng.integers(0, 2, shape)).astype(numpy_dtype(dtype))


def masked(case: Case) -> bool:
    """One mask for all dimensions: NumPy asks for values of at most one then."""
    item = (
        case.numpy_index[0] if isinstance(case.numpy_index, tuple) and len(case.numpy_index) == 1 else case.numpy_index
    )
    return isinstance(item, bool) or getattr(item, "dtype", None) is np.dtype(bool)


def update(case: Case, rng: np.random.Generator, draw: Any, assigned: bool) -> tuple[Any, Any]:
    """A value for the selection, in NumPy's form and mlx's. Elements that are selected twice get one value twice,
    so that it does not matter which of two assignments is the last. Lists and further dimensions of size one are
    for plain assignment.
    """
    full = np.asarray(draw(rng, case.values.shape, case.dtype)[case.numpy_index])
    places = np.asarray(np.arange(case.values.size).reshape(case.values.shape)[case.numpy_index])
    once = np.unique(places).size == places.size
    kind = rng.integers(7)
    dtype = getattr(mx, case.dtype)
    if kind == 0 or (kind < 4 and not once):
        scalar = draw(rng, (), case.dtype).item()
        return scalar, scalar
    if kind == 1 and full.ndim:  # broadcasting: some dimensions are one, or leading ones are left out
        part = full[tuple(slice(0, 1) if rng.random() < 0.5 else slice(None) for _ in full.shape)]
        if part.shape[0] == 1 and rng.random() < 0.7:
            part = part[0]
        return part, mx.array(part).astype(dtype)
    if kind == 2 and full.size and assigned:
        return full, full.tolist()
    if kind == 3 and not case.dtype.startswith("b"):
        return full, full
    if kind == 4 and assigned and full.ndim and not masked(case):  # more dimensions than the selection, of size one
        return full[None], mx.array(full[None]).astype(dtype)
    if kind == 5 and rng.random() < 0.2 and full.size and not masked(case):  # does not fit
        wrong = np.ones((*full.shape, 7), full.dtype)
        return wrong, mx.array(wrong).astype(dtype)
    return full, mx.array(full).astype(dtype)
