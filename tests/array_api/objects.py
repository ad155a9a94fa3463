"""The array object: operators, indexing, conversions; dtypes and what the namespace says of itself."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import mlx.core as mx
import numpy as np
from elementwise import SECOND, binary_dtypes, unary_dtypes, values
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import (
    DTYPES,
    INTEGERS,
    NUMBERS,
    add,
    arrays,
    both,
    dtype_of,
    holds,
    name_of,
    of,
    one_of,
    same,
    shapes,
    strict,
)

# Operator, reflected and in place: the function that does the same.
OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "and_": "bitwise_and", "or_": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}


def add_operator(name: str, function: str) -> None:
    pairs = binary_dtypes(function)
    call = getattr(operator, name)
    tolerance = 300 if name == "pow" else 1

    @st.composite
    def operands(draw: Any) -> tuple[np.ndarray, np.ndarray]:
        da, db = draw(st.sampled_from(pairs))
        sa, sb = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_side=3)).input_shapes
        a = draw(hnp.arrays(np.dtype(da), sa, elements=values(function, da)))
        return a, draw(hnp.arrays(np.dtype(db), sb, elements=values(function, db, second=True)))

    @holds(operands())
    def right(case: tuple[np.ndarray, np.ndarray]) -> None:
        a, b = case
        both(lambda xp: call(of(xp, a), of(xp, b)), tolerance=tolerance)

    add(f"array.__{name.strip('_')}__", "values", right)

    numbers = {"b": st.booleans(), "i": st.integers(1, 7), "u": st.integers(1, 7), "f": st.floats(0.5, 4, width=32)}
    same_dtype = [d for d in DTYPES if (d, d) in pairs and d != "complex64"]
    drawn = st.sampled_from(same_dtype).flatmap(
        lambda d: st.tuples(hnp.arrays(np.dtype(d), (3,), elements=values(function, d)), numbers[np.dtype(d).kind])
    )

    @holds(drawn)
    def scalar(case: tuple[np.ndarray, Any]) -> None:
        a, number = case
        both(lambda xp: call(of(xp, a), number), tolerance=tolerance)
        small = a.astype(a.dtype) if a.dtype.kind == "b" else (np.abs(a) % 3 + 1).astype(a.dtype)
        both(lambda xp: call(number, of(xp, small)), tolerance=tolerance)

    add(f"array.__{name.strip('_')}__", "scalars", scalar)
    in_place = getattr(operator, f"i{name.strip('_')}", None)
    if name not in COMPARISONS and in_place is not None:
        kept = [d for d in same_dtype if name != "truediv" or np.dtype(d).kind == "f"]

        @holds(
            st.sampled_from(kept).flatmap(
                lambda d: st.tuples(
                    *(hnp.arrays(np.dtype(d), (2, 3), elements=values(function, d, second=k)) for k in (False, True))
                )
            )
        )
        def updated(case: tuple[np.ndarray, np.ndarray]) -> None:
            both(lambda xp: in_place(of(xp, case[0]), of(xp, case[1])), tolerance=tolerance)

        add(f"array.__i{name.strip('_')}__", "values", updated)


for n, f in (OPERATORS | COMPARISONS).items():
    add_operator(n, f)
assert "remainder" in SECOND

for n, f in (("abs", "abs"), ("neg", "negative"), ("pos", "positive"), ("invert", "bitwise_invert")):
    drawn = st.sampled_from(unary_dtypes(f)).flatmap(
        lambda d, f=f: hnp.arrays(np.dtype(d), (2, 3), elements=values(f, d))
    )
    add(f"array.__{n}__", "values", holds(drawn)(lambda a, n=n: both(lambda xp: getattr(operator, n)(of(xp, a)))))


@holds(arrays(one_of(DTYPES), (), low=-100, high=100))
def converted(a: np.ndarray) -> None:
    kind = a.dtype.kind
    for convert, kinds in ((bool, "biufc"), (int, "biuf"), (float, "biuf"), (complex, "biufc"), (operator.index, "iu")):
        if kind in kinds:
            both(lambda xp, convert=convert: convert(of(xp, a)))


for n in ("bool", "int", "float", "complex", "index"):
    add(f"array.__{n}__", "values", converted)


@holds(arrays(one_of(DTYPES)))
def attributes(a: np.ndarray) -> None:
    ours = of(mx, a)
    assert (tuple(ours.shape), ours.ndim, ours.size) == (a.shape, a.ndim, a.size)
    assert name_of(ours.dtype) == str(a.dtype) and ours.device == mx.__array_namespace_info__().default_device()
    same(ours.to_device(ours.device), of(strict, a))
    assert ours.__array_namespace__() is mx and len(ours.__dlpack_device__()) == 2


for n in ("shape", "ndim", "size", "dtype", "device", "to_device", "__array_namespace__", "__dlpack_device__"):
    add(f"array.{n}", "values", attributes)

# ---- indexing


@st.composite
def indexed(draw: Any) -> tuple[np.ndarray, Any]:
    """An index that the standard defines: integers, slices, one ellipsis, None; or one mask; or integers and arrays."""
    a = draw(arrays(one_of(DTYPES), shapes(empty=False)))
    form = draw(st.sampled_from(["basic", "basic", "mask", "arrays"]))
    if form == "mask":
        return a, draw(arrays("bool", a.shape[: draw(st.integers(a.ndim, a.ndim))]))
    if form == "arrays" and a.ndim:
        index = []
        for n in a.shape:
            whole = draw(st.integers(-n, n - 1))
            index.append(draw(st.just(whole) | hnp.arrays(np.int64, (2,), elements=st.integers(-n, n - 1))))
        if all(isinstance(i, int) for i in index):
            index[0] = np.array([index[0]] * 2)
        return a, tuple(index)
    index, left = [], a.ndim
    rest = draw(st.booleans())
    for n in a.shape[: draw(st.integers(0, a.ndim)) if rest else a.ndim]:
        if draw(st.booleans()):
            index.append(draw(st.integers(-n, n - 1)))
        else:
            # The standard defines slices within the bounds of the axis.
            step = draw(st.sampled_from([None, 1, 2, -1, -2]))
            low, high = sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))
            if step is not None and step < 0:
                low, high = (min(high, n - 1), max(low - 1, 0))
            index.append(slice(draw(st.sampled_from([None, low])), draw(st.sampled_from([None, high])), step))
        left -= 1
    if rest:
        index.append(Ellipsis)
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), None)
    return a, tuple(index)


def index_of(xp: Any, index: Any) -> Any:
    if isinstance(index, np.ndarray):
        return of(xp, index)
    return tuple(of(xp, i) if isinstance(i, np.ndarray) else i for i in index)


@holds(indexed(), examples=200)
def getitem(case: tuple[np.ndarray, Any]) -> None:
    a, index = case
    both(lambda xp: of(xp, a)[index_of(xp, index)])


@holds(indexed(), st.data(), examples=200)
def setitem(case: tuple[np.ndarray, Any], data: st.DataObject) -> None:
    a, index = case
    if isinstance(index, tuple):
        if any(isinstance(i, np.ndarray) for i in index):
            return  # assignment by arrays of integers is not in the standard
        index = tuple(i for i in index if i is not None)  # nor are new axes
    shape = a[index].shape
    value = data.draw(arrays(str(a.dtype), () if isinstance(index, np.ndarray) else shape))

    def assigned(xp: Any, v: Any) -> Any:
        x = of(xp, a)
        x[index_of(xp, index)] = v
        return x

    both(lambda xp: assigned(xp, of(xp, value)))
    number = {"b": True, "i": 1, "u": 1, "f": 1.5, "c": 1.5}[a.dtype.kind]
    both(lambda xp: assigned(xp, number))


add("array.__getitem__", "values", getitem)
add("array.__setitem__", "values", setitem)


def refused() -> None:
    a = mx.ones((2, 3))
    for index in ((0, 0, 0), (2,), (slice(None), -4), (Ellipsis, Ellipsis), 1.5, "a"):
        try:
            mx.eval(a[index])
        except (IndexError, TypeError, ValueError):
            continue
        raise AssertionError(f"{index} was accepted")


add("array.__getitem__", "refused", refused)

# ---- dtypes


def promotion() -> None:
    for a, b in itertools.product(DTYPES, repeat=2):
        try:
            want = strict.result_type(getattr(strict, a), getattr(strict, b))
        except TypeError:
            continue
        if name_of(want) == "complex128":
            continue
        got = mx.result_type(dtype_of(mx, a), dtype_of(mx, b))
        assert name_of(got) == name_of(want), f"{a}, {b}: {got} instead of {want}"
        both(lambda xp, a=a, b=b: name_of(xp.result_type(xp.ones((1,), dtype=dtype_of(xp, a)), dtype_of(xp, b))))


def casts() -> None:
    """Between kinds, as from integers to floats, the standard leaves it open."""
    for a, b in itertools.product(DTYPES, repeat=2):
        kinds = np.dtype(a).kind, np.dtype(b).kind
        same_kind = set(kinds) <= set("iu") or kinds[0] == kinds[1]
        lossy = "iufc".index(np.dtype(a).kind) > "iufc".index(np.dtype(b).kind) if "bool" not in (a, b) else b == "bool"
        if same_kind or lossy:
            both(lambda xp, a=a, b=b: xp.can_cast(dtype_of(xp, a), dtype_of(xp, b)))


KINDS = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")


def kinds() -> None:
    for d in DTYPES:
        for kind in (*KINDS, ("bool", "integral"), ("real floating", "complex floating")):
            both(lambda xp, d=d, kind=kind: xp.isdtype(dtype_of(xp, d), kind))
        for other in DTYPES:
            both(lambda xp, d=d, other=other: xp.isdtype(dtype_of(xp, d), dtype_of(xp, other)))


def limits() -> None:
    for d in ("float32", "float64", "complex64"):
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            both(lambda xp, d=d, field=field: getattr(xp.finfo(dtype_of(xp, d)), field))
        both(lambda xp, d=d: name_of(xp.finfo(dtype_of(xp, d)).dtype))
    for d in INTEGERS:
        for field in ("bits", "max", "min"):
            both(lambda xp, d=d, field=field: getattr(xp.iinfo(dtype_of(xp, d)), field))
        both(lambda xp, d=d: name_of(xp.iinfo(dtype_of(xp, d)).dtype))


add("result_type", "promotion", promotion)
add("can_cast", "every pair", casts)
add("isdtype", "every kind", kinds)
add("finfo", "limits", limits)
add("iinfo", "limits", limits)


@holds(arrays(one_of(DTYPES), low=0, high=100), one_of(DTYPES))
def astype(a: np.ndarray, dtype: str) -> None:
    if a.dtype.kind == "c" and np.dtype(dtype).kind not in "c":
        return  # the standard refuses it
    both(lambda xp: xp.astype(of(xp, a), dtype_of(xp, dtype)))
    both(lambda xp: xp.astype(of(xp, a), dtype_of(xp, dtype), copy=False))


add("astype", "values", astype)

# ---- the namespace


def information() -> None:
    ours, theirs = mx.__array_namespace_info__(), strict.__array_namespace_info__()
    assert set(theirs.capabilities()) <= set(ours.capabilities())
    assert ours.capabilities()["boolean indexing"] and ours.capabilities()["data-dependent shapes"]
    assert set(ours.default_dtypes()) == set(theirs.default_dtypes())
    assert ours.default_device() in ours.devices()
    for kind in (None, *KINDS, ("bool", "integral")):
        got, want = (set(info.dtypes(kind=kind)) for info in (ours, theirs))
        assert want - {"complex128"} <= got | {"bool_"}, (kind, want - got)
    for device in ours.devices():
        assert mx.zeros((2,), device=device).device in ours.devices()
        assert set(ours.default_dtypes(device=device)) == set(theirs.default_dtypes())


add("__array_namespace_info__", "what it says", information)


def constants() -> None:
    for n in ("e", "pi", "inf"):
        assert getattr(mx, n) == getattr(strict, n)
    assert mx.nan != mx.nan and mx.newaxis is None


for n in ("e", "pi", "inf", "nan", "newaxis"):
    add(n, "value", constants)


def named(n: str) -> None:
    dtype = dtype_of(mx, n)
    assert mx.zeros((2,), dtype=dtype).dtype == dtype and dtype == dtype_of(mx, n)
    assert all(dtype != dtype_of(mx, other) for other in DTYPES if other != n)


for n in DTYPES:
    add(n, "is a dtype", lambda n=n: named(n))
add("__array_api_version__", "value", lambda: None if mx.__array_api_version__ >= "2024.12" else named(""))
assert set(NUMBERS) < set(DTYPES)
