"""Creation, manipulation, indexing functions, searching, sorting, sets and statistics."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import (
    DTYPES,
    FLOATS,
    INTEGERS,
    NUMBERS,
    REALS,
    add,
    arrays,
    axes_of,
    axis_of,
    both,
    dtype_of,
    holds,
    of,
    one_of,
    same,
    shapes,
    strict,
)

ANY = arrays(one_of(DTYPES))
FULL = arrays(one_of(DTYPES), shapes(least=1, empty=False))
REAL_NUMBERS = tuple(d for d in NUMBERS if d != "complex64")


def with_axis(strategy: st.SearchStrategy, pick: Any) -> st.SearchStrategy:
    return strategy.flatmap(lambda a: st.tuples(st.just(a), pick(a)))


# ---- creation


@holds(shapes(), one_of(DTYPES), st.integers(0, 100))
def constant(shape: tuple[int, ...], dtype: str, value: int) -> None:
    for n, more in (("zeros", ()), ("ones", ()), ("full", (value if dtype != "bool" else value > 50,))):
        both(lambda xp, n=n, more=more: getattr(xp, n)(shape, *more, dtype=dtype_of(xp, dtype)))
        both(lambda xp, n=n, more=more: getattr(xp, n)(3, *more, dtype=dtype_of(xp, dtype)))


@holds(ANY, one_of((*DTYPES, "")), st.booleans())
def constant_like(a: np.ndarray, dtype: str, value: bool) -> None:
    for n, more in (("zeros_like", ()), ("ones_like", ()), ("full_like", (value,))):
        if more and (dtype or str(a.dtype)) != "bool":
            more = (int(value),)
        both(lambda xp, n=n, more=more: getattr(xp, n)(of(xp, a), *more, dtype=dtype_of(xp, dtype) if dtype else None))


@holds(shapes(), one_of(DTYPES), ANY)
def empty(shape: tuple[int, ...], dtype: str, a: np.ndarray) -> None:
    got = mx.empty(shape, dtype=dtype_of(mx, dtype))
    assert got.shape == shape and got.dtype == dtype_of(mx, dtype)
    like = mx.empty_like(of(mx, a))
    assert like.shape == a.shape and like.dtype == dtype_of(mx, str(a.dtype))


for n in ("zeros", "ones", "full"):
    add(n, "values", constant)
    add(f"{n}_like", "values", constant_like)
for n in ("empty", "empty_like"):
    add(n, "values", empty)


@holds(one_of(("int32", "int64", *REALS)), st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool))
def arange(dtype: str, start: int, stop: int, step: int) -> None:
    both(lambda xp: xp.arange(start, stop, step, dtype=dtype_of(xp, dtype)))
    if dtype in REALS:
        both(lambda xp: xp.arange(start / 2, stop=stop / 2, step=step / 4, dtype=dtype_of(xp, dtype)))
    both(lambda xp: xp.arange(abs(stop), dtype=dtype_of(xp, dtype)))


add("arange", "values", arange)


@holds(one_of(REALS), st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9), st.booleans())
def linspace(dtype: str, start: int, stop: int, num: int, endpoint: bool) -> None:
    both(
        lambda xp: xp.linspace(start / 4, stop / 4, num, dtype=dtype_of(xp, dtype), endpoint=endpoint),
        scale=9,
    )


add("linspace", "values", linspace)


@holds(st.integers(0, 5), st.none() | st.integers(0, 5), st.integers(-6, 6), one_of(DTYPES))
def eye(rows: int, cols: int | None, k: int, dtype: str) -> None:
    both(lambda xp: xp.eye(rows, cols, k=k, dtype=dtype_of(xp, dtype)))


add("eye", "values", eye)


@holds(arrays(one_of(DTYPES), shapes(least=2)), st.integers(-5, 5))
def triangle(a: np.ndarray, k: int) -> None:
    for n in ("tril", "triu"):
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), k=k))


add("tril", "values", triangle)
add("triu", "values", triangle)


@holds(ANY, one_of(("", *DTYPES)), st.sampled_from([None, True]))
def asarray(a: np.ndarray, dtype: str, copy: bool | None) -> None:
    if dtype and (np.dtype(dtype).kind != a.dtype.kind):
        dtype = ""
    both(lambda xp: xp.asarray(of(xp, a), dtype=dtype_of(xp, dtype) if dtype else None, copy=copy))
    if a.dtype.kind in "bi" and a.size:
        both(lambda xp: xp.asarray(a.tolist(), dtype=dtype_of(xp, str(a.dtype))))


add("asarray", "values", asarray)


def from_dlpack(dtypes: tuple[str, ...]) -> Any:
    @holds(arrays(one_of(dtypes)))
    def taken(a: np.ndarray) -> None:
        same(mx.from_dlpack(a.copy()), strict.from_dlpack(a.copy()))

    return taken


@holds(arrays(one_of(DTYPES)))
def given_away(a: np.ndarray) -> None:
    both(lambda xp: xp.from_dlpack(of(xp, a)))
    back = np.from_dlpack(of(mx, a))
    assert back.dtype == a.dtype and np.array_equal(back, a)


add("from_dlpack", "values", from_dlpack(tuple(d for d in DTYPES if d != "float64")))
add("from_dlpack", "float64", from_dlpack(("float64",)))
add("array.__dlpack__", "values", given_away)


@holds(one_of(DTYPES), st.lists(st.integers(0, 3), min_size=1, max_size=3), st.sampled_from(["xy", "ij"]))
def meshgrid(dtype: str, sizes: list[int], indexing: str) -> None:
    axes = [np.arange(n).astype(dtype) for n in sizes]
    both(lambda xp: list(xp.meshgrid(*(of(xp, a) for a in axes), indexing=indexing)))


add("meshgrid", "values", meshgrid)

# ---- manipulation


@st.composite
def compatible(draw: Any, few: bool = True) -> list[np.ndarray]:
    found = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_side=3, min_side=0))
    return [draw(arrays(one_of(DTYPES), s)) for s in found.input_shapes]


@holds(compatible())
def broadcast(several: list[np.ndarray]) -> None:
    both(lambda xp: list(xp.broadcast_arrays(*(of(xp, a) for a in several))))
    both(lambda xp: tuple(xp.broadcast_shapes(*(a.shape for a in several))))
    shape = np.broadcast_shapes(*(a.shape for a in several))
    both(lambda xp: xp.broadcast_to(of(xp, several[0]), (2, *shape)))


for n in ("broadcast_arrays", "broadcast_to", "broadcast_shapes"):
    add(n, "values", broadcast)


@st.composite
def parts(draw: Any, joined: bool) -> tuple[list[np.ndarray], int | None]:
    """Arrays that can be put together: equal shapes but for the axis, dtypes that have a common one."""
    shape = draw(shapes(least=1 if joined else 0))
    axis = draw(st.integers(-len(shape), len(shape) - 1) if joined else st.integers(-len(shape) - 1, len(shape)))
    kinds = [("int8", "int16", "int64"), ("uint8", "int16", "uint32"), ("float32", "float64", "complex64"), ("bool",)]
    dtypes = draw(
        st.sampled_from(
            [k for k in kinds if not {"float64", "complex64"} <= set(k)]
            + [("float32", "float64"), ("float32", "complex64")]
        )
    )
    several = []
    for _ in range(draw(st.integers(1, 3))):
        s = list(shape)
        if joined:
            s[axis] = draw(st.integers(0, 3))
        several.append(draw(arrays(one_of(dtypes), tuple(s))))
    return several, axis


@holds(parts(joined=True))
def concat(case: tuple[list[np.ndarray], int]) -> None:
    several, axis = case
    both(lambda xp: xp.concat([of(xp, a) for a in several], axis=axis))
    both(lambda xp: xp.concat(tuple(of(xp, a) for a in several), axis=None))


@holds(parts(joined=False))
def stack(case: tuple[list[np.ndarray], int]) -> None:
    several, axis = case
    both(lambda xp: xp.stack([of(xp, a) for a in several], axis=axis))


add("concat", "values", concat)
add("stack", "values", stack)


@holds(with_axis(ANY, lambda a: st.integers(-a.ndim - 1, a.ndim)), st.integers(0, 3))
def expand_dims(case: tuple[np.ndarray, int], _: int) -> None:
    a, axis = case
    both(lambda xp: xp.expand_dims(of(xp, a), axis=axis))
    wide = np.expand_dims(a, axis)
    both(lambda xp: xp.squeeze(of(xp, wide), axis=axis))
    both(lambda xp: xp.squeeze(of(xp, wide), axis=(axis,)))


add("expand_dims", "values", expand_dims)
add("squeeze", "values", expand_dims)


@holds(with_axis(ANY, axes_of))
def flip(case: tuple[np.ndarray, Any]) -> None:
    a, axis = case
    both(lambda xp: xp.flip(of(xp, a), axis=axis))


@holds(with_axis(ANY, lambda a: st.permutations(range(a.ndim))))
def permute(case: tuple[np.ndarray, list[int]]) -> None:
    a, axes = case
    both(lambda xp: xp.permute_dims(of(xp, a), tuple(axes)))
    both(lambda xp: xp.moveaxis(of(xp, a), tuple(range(a.ndim)), tuple(axes)))
    if a.ndim:
        both(lambda xp: xp.moveaxis(of(xp, a), axes[0], -1))
    if a.ndim >= 2:
        both(lambda xp: xp.matrix_transpose(of(xp, a)))
        both(lambda xp: xp.linalg.matrix_transpose(of(xp, a)))
        both(lambda xp: of(xp, a).mT)
    if a.ndim == 2:
        both(lambda xp: of(xp, a).T)


add("flip", "values", flip)
for n in ("permute_dims", "moveaxis", "matrix_transpose", "linalg.matrix_transpose", "array.mT", "array.T"):
    add(n, "values", permute)


@holds(with_axis(arrays(one_of(DTYPES), shapes(least=1)), axis_of), st.integers(0, 3), st.data())
def repeat(case: tuple[np.ndarray, int], times: int, data: st.DataObject) -> None:
    a, axis = case
    both(lambda xp: xp.repeat(of(xp, a), times, axis=axis))
    both(lambda xp: xp.repeat(of(xp, a), times))
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=a.shape[axis], max_size=a.shape[axis])), np.int64)
    both(lambda xp: xp.repeat(of(xp, a), of(xp, counts), axis=axis))
    reps = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
    both(lambda xp: xp.tile(of(xp, a), reps))


add("repeat", "values", repeat)
add("tile", "values", repeat)


@holds(ANY, st.randoms(use_true_random=False), st.sampled_from([None, True]))
def reshape(a: np.ndarray, random: Any, copy: bool | None) -> None:
    shape, rest = [], a.size
    while rest > 1:
        n = random.choice([d for d in range(2, rest + 1) if rest % d == 0])
        shape.append(n)
        rest //= n
    shape = [0, 3] if a.size == 0 else shape
    both(lambda xp: xp.reshape(of(xp, a), tuple(shape), copy=copy))
    if a.size and shape:
        shape[random.randrange(len(shape))] = -1
        both(lambda xp: xp.reshape(of(xp, a), tuple(shape)))


add("reshape", "values", reshape)


@holds(arrays(one_of(DTYPES), shapes(least=1)), st.integers(-9, 9), st.data())
def roll(a: np.ndarray, shift: int, data: st.DataObject) -> None:
    both(lambda xp: xp.roll(of(xp, a), shift))
    axes = data.draw(st.lists(axis_of(a), min_size=1, max_size=3))
    both(lambda xp: xp.roll(of(xp, a), shift, axis=axes[0]))
    shifts = tuple(data.draw(st.integers(-9, 9)) for _ in axes)
    both(lambda xp: xp.roll(of(xp, a), shifts, axis=tuple(axes)))


add("roll", "values", roll)


@holds(with_axis(arrays(one_of(DTYPES), shapes(least=1)), axis_of))
def unstack(case: tuple[np.ndarray, int]) -> None:
    a, axis = case
    both(lambda xp: tuple(xp.unstack(of(xp, a), axis=axis)))


add("unstack", "values", unstack)

# ---- picking, searching, sorting, sets


@holds(with_axis(FULL, axis_of), st.data())
def take(case: tuple[np.ndarray, int], data: st.DataObject) -> None:
    a, axis = case
    n = a.shape[axis]
    index = st.integers(-n, n - 1)
    at = data.draw(hnp.arrays(np.int64, st.integers(0, 4), elements=index))
    both(lambda xp: xp.take(of(xp, a), of(xp, at), axis=axis))
    if a.ndim == 1:
        both(lambda xp: xp.take(of(xp, a), of(xp, at)))
    shape = [*a.shape]
    shape[axis] = 3
    along = data.draw(hnp.arrays(np.int32, tuple(shape), elements=index))
    both(lambda xp: xp.take_along_axis(of(xp, a), of(xp, along), axis=axis))


add("take", "values", take)
add("take_along_axis", "values", take)
TIES = arrays(one_of(REAL_NUMBERS), shapes(least=1, empty=False, side=6), low=0, high=3)


@holds(with_axis(TIES, axis_of), st.booleans())
def extreme(case: tuple[np.ndarray, int], keepdims: bool) -> None:
    a, axis = case
    for n in ("argmax", "argmin"):
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, keepdims=keepdims), index=True)
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), keepdims=keepdims), index=True)


add("argmax", "values", extreme)
add("argmin", "values", extreme)


@holds(with_axis(arrays(one_of(DTYPES), shapes(least=1), low=0, high=2), axes_of), st.booleans())
def counted(case: tuple[np.ndarray, Any], keepdims: bool) -> None:
    a, axis = case
    both(lambda xp: xp.count_nonzero(of(xp, a), axis=axis, keepdims=keepdims), index=True)
    both(lambda xp: tuple(xp.nonzero(of(xp, a))), index=True)


add("count_nonzero", "values", counted)
add("nonzero", "values", counted)


@holds(with_axis(TIES, axis_of), st.booleans(), st.booleans())
def ordered(case: tuple[np.ndarray, int], descending: bool, stable: bool) -> None:
    a, axis = case
    both(lambda xp: xp.sort(of(xp, a), axis=axis, descending=descending, stable=stable))
    both(lambda xp: xp.argsort(of(xp, a), axis=axis, descending=descending, stable=True), index=True)


add("sort", "values", ordered)
add("argsort", "values", ordered)


@holds(arrays(one_of(REAL_NUMBERS), st.integers(0, 8), low=0, high=9), st.data(), st.sampled_from(["left", "right"]))
def searchsorted(a: np.ndarray, data: st.DataObject, side: str) -> None:
    x = data.draw(arrays(str(a.dtype), shapes(), low=-1, high=10))
    both(lambda xp: xp.searchsorted(of(xp, np.sort(a)), of(xp, x), side=side), index=True)
    order = np.argsort(a, kind="stable")
    both(lambda xp: xp.searchsorted(of(xp, a), of(xp, x), side=side, sorter=of(xp, order)), index=True)


add("searchsorted", "values", searchsorted)


@holds(one_of(DTYPES), hnp.mutually_broadcastable_shapes(num_shapes=3, max_side=3), st.data())
def where(dtype: str, found: Any, data: st.DataObject) -> None:
    mask, x, y = (data.draw(arrays(d, s)) for d, s in zip(("bool", dtype, dtype), found.input_shapes, strict=True))
    both(lambda xp: xp.where(of(xp, mask), of(xp, x), of(xp, y)))
    number = {"b": True, "i": 2, "u": 2, "f": 1.5, "c": 1.5}[x.dtype.kind]
    both(lambda xp: xp.where(of(xp, mask), of(xp, x), number))
    both(lambda xp: xp.where(of(xp, mask), number, of(xp, y)))


add("where", "values", where)


@holds(arrays(one_of([d for d in DTYPES if d != "complex64"]), low=0, high=4))
def sets(a: np.ndarray) -> None:
    for n in ("unique_all", "unique_counts", "unique_inverse"):
        got, want = getattr(mx, n)(of(mx, a)), getattr(strict, n)(of(strict, a))
        assert got._fields == want._fields
        same(got.values, want.values)
        same(tuple(got)[1:], tuple(want)[1:], index=True)
    both(lambda xp: xp.unique_values(of(xp, a)))


for n in ("unique_all", "unique_counts", "unique_inverse", "unique_values"):
    add(n, "values", sets)


@holds(one_of(INTEGERS), st.data(), st.booleans())
def isin(dtype: str, data: st.DataObject, invert: bool) -> None:
    a, b = (data.draw(arrays(dtype, low=0, high=5)) for _ in range(2))
    # array_api_strict forgets `invert`.
    same(mx.isin(of(mx, a), of(mx, b), invert=invert), np.isin(a, b, invert=invert))
    same(mx.isin(of(mx, a), 2, invert=invert), np.isin(a, 2, invert=invert))


add("isin", "values", isin)

# ---- statistics
SUMMED = arrays(one_of(NUMBERS), shapes(), low=-3, high=3)


@holds(with_axis(SUMMED, axes_of), st.booleans())
def summed(case: tuple[np.ndarray, Any], keepdims: bool) -> None:
    a, axis = case
    # Integer sums have the default integer dtype, which the standard leaves to the library.
    integer = a.dtype.kind in "iu"
    for n in ("sum", "prod"):
        both(
            lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, keepdims=keepdims),
            index=integer,
            scale=30,
            tolerance=10,
        )
    dtype = "float64" if a.dtype.kind != "c" else "complex64"
    for n in ("sum", "prod"):
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, dtype=dtype_of(xp, dtype)), scale=30, tolerance=10)


add("sum", "values", summed)
add("prod", "values", summed)


@holds(with_axis(arrays(one_of(REAL_NUMBERS), shapes(empty=False)), axes_of), st.booleans())
def extremes(case: tuple[np.ndarray, Any], keepdims: bool) -> None:
    a, axis = case
    for n in ("max", "min"):
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, keepdims=keepdims))


add("max", "values", extremes)
add("min", "values", extremes)


@holds(
    with_axis(arrays(one_of(REALS), shapes(empty=False), low=-3, high=3), axes_of),
    st.sampled_from([0, 1, 0.5]),
    st.booleans(),
)
def moments(case: tuple[np.ndarray, Any], correction: float, keepdims: bool) -> None:
    a, axis = case
    both(lambda xp: xp.mean(of(xp, a), axis=axis, keepdims=keepdims), scale=3)
    over = a.shape if axis is None else [a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,))]
    if math.prod(over) <= correction:
        return
    both(lambda xp: xp.var(of(xp, a), axis=axis, correction=correction, keepdims=keepdims), scale=9, tolerance=10)
    got, want = (xp.std(of(xp, a), axis=axis, correction=correction) for xp in (mx, strict))
    same(got * got, want * want, scale=9, tolerance=10)  # of a variance near 0 the root has few digits


for n in ("mean", "var", "std"):
    add(n, "values", moments)


@holds(with_axis(arrays("complex64", shapes(empty=False), low=-3, high=3), axes_of))
def complex_mean(case: tuple[np.ndarray, Any]) -> None:
    both(lambda xp: xp.mean(of(xp, case[0]), axis=case[1]), scale=3)


add("mean", "complex", complex_mean)


@holds(with_axis(ANY, axes_of), st.booleans())
def logic(case: tuple[np.ndarray, Any], keepdims: bool) -> None:
    a, axis = case
    for n in ("all", "any"):
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, keepdims=keepdims))


add("all", "values", logic)
add("any", "values", logic)


@holds(with_axis(arrays(one_of(NUMBERS), shapes(least=1), low=-3, high=3), axis_of), st.booleans())
def accumulated(case: tuple[np.ndarray, int], initial: bool) -> None:
    a, axis = case
    integer = a.dtype.kind in "iu"
    for n in ("cumulative_sum", "cumulative_prod"):
        both(
            lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, include_initial=initial),
            index=integer,
            scale=30,
            tolerance=10,
        )
        both(lambda xp, n=n: getattr(xp, n)(of(xp, a), axis=axis, dtype=xp.complex64), scale=30, tolerance=10)


add("cumulative_sum", "values", accumulated)
add("cumulative_prod", "values", accumulated)


@holds(with_axis(arrays(one_of(NUMBERS), shapes(least=1), low=-30, high=30), axis_of), st.integers(0, 3), st.data())
def diff(case: tuple[np.ndarray, int], n: int, data: st.DataObject) -> None:
    a, axis = case
    both(lambda xp: xp.diff(of(xp, a), axis=axis, n=n), scale=240)
    shape = [*a.shape]
    shape[axis] = data.draw(st.integers(0, 2))
    more = data.draw(arrays(str(a.dtype), tuple(shape), low=-30, high=30))
    both(lambda xp: xp.diff(of(xp, a), axis=axis, prepend=of(xp, more), append=of(xp, more)), scale=240)


add("diff", "values", diff)
assert set(FLOATS) >= set(REALS)
