"""Products of matrices, the extensions `linalg` and `fft`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    REALS,
    Run,
    add,
    arrays,
    axis_of,
    both,
    dtype_of,
    function,
    holds,
    of,
    one_of,
    same,
    shapes,
    strict,
    words,
)

BATCH = hnp.array_shapes(min_dims=0, max_dims=2, max_side=2)
SMALL = st.integers(1, 4)
# Products of small integers are exact in every dtype; others are compared to the size of their terms.
TERMS = {"low": -5, "high": 5}


# Aspect: dtypes.
PRODUCTS = {"values": FLOATS, "integers": INTEGERS}
MATRICES = {"values": REALS, "complex": ("complex64",)}
Dtypes = tuple[str, ...]


def add_kinds(names: str, kinds: dict[str, Dtypes], make: Callable[[Dtypes], Run]) -> None:
    """The property of each kind of dtypes, for several functions."""
    for aspect, dtypes in kinds.items():
        run = make(dtypes)
        for name in words(names):
            add(name, aspect, run)


@st.composite
def factors(draw: Any, dtypes: Dtypes) -> tuple[np.ndarray, np.ndarray]:
    dtype = draw(one_of(dtypes))
    m, k, n = (draw(st.integers(0, 4)) for _ in range(3))
    batch = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=2)).input_shapes
    form = draw(st.integers(0, 3))
    left = (*batch[0], m, k) if form != 1 else (k,)
    right = (*batch[1], k, n) if form != 2 else (k,)
    return draw(arrays(dtype, left, **TERMS)), draw(arrays(dtype, right, **TERMS))


def matmul(case: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = case
    for n in ("matmul", "linalg.matmul"):
        both(lambda xp, n=n: function(xp, n)(of(xp, a), of(xp, b)), scale=100)
    both(lambda xp: of(xp, a) @ of(xp, b), scale=100)


add_kinds("matmul linalg.matmul array.__matmul__", PRODUCTS, lambda dtypes: holds(factors(dtypes))(matmul))


@st.composite
def contracted(draw: Any, dtypes: Dtypes) -> tuple[np.ndarray, np.ndarray, Any]:
    dtype, common = draw(one_of(dtypes)), draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    left, right = (
        draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)),
        draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)),
    )
    a, b = draw(arrays(dtype, left + common, **TERMS)), draw(arrays(dtype, common + right, **TERMS))
    axes = draw(st.sampled_from(["number", "lists"]))
    if axes == "number":
        return a, b, len(common)
    return a, b, (tuple(range(len(left), a.ndim)), tuple(range(len(common))))


def tensordot(case: tuple[np.ndarray, np.ndarray, Any]) -> None:
    a, b, axes = case
    for n in ("tensordot", "linalg.tensordot"):
        both(lambda xp, n=n: function(xp, n)(of(xp, a), of(xp, b), axes=axes), scale=250)


@st.composite
def pairs(draw: Any, dtypes: Dtypes) -> tuple[np.ndarray, np.ndarray, int]:
    dtype, shape = draw(one_of(dtypes)), draw(shapes(least=1))
    return draw(arrays(dtype, shape, **TERMS)), draw(arrays(dtype, shape, **TERMS)), draw(st.integers(-len(shape), -1))


def vecdot(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    a, b, axis = case
    for n in ("vecdot", "linalg.vecdot"):
        both(lambda xp, n=n: function(xp, n)(of(xp, a), of(xp, b), axis=axis), scale=100)


def outer(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    a, b = case[0].ravel(), case[1].ravel()[:5]
    both(lambda xp: xp.linalg.outer(of(xp, a), of(xp, b)), scale=25)


add_kinds("tensordot linalg.tensordot", PRODUCTS, lambda dtypes: holds(contracted(dtypes))(tensordot))
add_kinds("vecdot linalg.vecdot", PRODUCTS, lambda dtypes: holds(pairs(dtypes))(vecdot))
add_kinds("linalg.outer", PRODUCTS, lambda dtypes: holds(pairs(dtypes))(outer))

# ---- linalg: matrices that are far from singular


@st.composite
def matrices(draw: Any, dtypes: Dtypes, square: bool = True) -> np.ndarray:
    dtype, batch = draw(one_of(dtypes)), draw(BATCH)
    m, n = draw(SMALL), draw(SMALL)
    shape = (*batch, m, m) if square else (*batch, m, n)
    a = draw(arrays(dtype, shape, low=-1, high=1))
    return (a + 5 * np.eye(*shape[-2:])).astype(dtype) if square else a


HOW: dict[str, Any] = {"tolerance": 30, "scale": 10}


def positive(a: np.ndarray, upper: bool) -> None:
    a = (a @ np.conj(np.swapaxes(a, -1, -2))).astype(a.dtype)
    both(lambda xp: xp.linalg.cholesky(of(xp, a), upper=upper), **HOW)


add_kinds("linalg.cholesky", MATRICES, lambda dtypes: holds(matrices(dtypes), st.booleans())(positive))


def inverted(a: np.ndarray) -> None:
    both(lambda xp: xp.linalg.inv(of(xp, a)), **HOW)
    both(lambda xp: xp.linalg.det(of(xp, a)), tolerance=30, scale=2000)
    got, want = mx.linalg.slogdet(of(mx, a)), strict.linalg.slogdet(of(strict, a))
    assert got._fields == want._fields
    same(tuple(got), tuple(want), **HOW)
    for k in (0, 1, 3, -2):
        both(lambda xp, k=k: xp.linalg.matrix_power(of(xp, a), k), tolerance=30, scale=400)


add_kinds(
    "linalg.inv linalg.det linalg.slogdet linalg.matrix_power",
    MATRICES,
    lambda dtypes: holds(matrices(dtypes))(inverted),
)


def solved(a: np.ndarray, data: st.DataObject) -> None:
    m = a.shape[-1]
    b = data.draw(arrays(str(a.dtype), (*a.shape[:-1], data.draw(st.integers(0, 3))), **TERMS))
    both(lambda xp: xp.linalg.solve(of(xp, a), of(xp, b)), **HOW)
    v = data.draw(arrays(str(a.dtype), (m,), **TERMS))
    both(lambda xp: xp.linalg.solve(of(xp, a), of(xp, v)), **HOW)


add_kinds("linalg.solve", MATRICES, lambda dtypes: holds(matrices(dtypes), st.data())(solved))


def symmetric(a: np.ndarray) -> None:
    a = ((a + np.conj(np.swapaxes(a, -1, -2))) / 2).astype(a.dtype)
    both(lambda xp: xp.linalg.eigvalsh(of(xp, a)), **HOW)
    got, want = mx.linalg.eigh(of(mx, a)), strict.linalg.eigh(of(strict, a))
    assert got._fields == want._fields
    same(got.eigenvalues, want.eigenvalues, **HOW)
    assert got.eigenvectors.dtype == dtype_of(mx, str(a.dtype)) and got.eigenvectors.shape == a.shape
    v = np.array(got.eigenvectors)
    assert np.allclose(a @ v, v * np.array(got.eigenvalues)[..., None, :], atol=1e-4)


add_kinds("linalg.eigh linalg.eigvalsh", MATRICES, lambda dtypes: holds(matrices(dtypes))(symmetric))


def parts(a: np.ndarray, full: bool) -> None:
    both(lambda xp: xp.linalg.svdvals(of(xp, a)), **HOW)
    got, want = mx.linalg.svd(of(mx, a), full_matrices=full), strict.linalg.svd(of(strict, a), full_matrices=full)
    assert got._fields == want._fields
    same(got.S, want.S, **HOW)
    k = min(a.shape[-2:])
    u, s, v = (np.array(part) for part in got)
    assert u.shape == tuple(want.U.shape) and v.shape == tuple(want.Vh.shape) and u.dtype == v.dtype == a.dtype
    assert np.allclose((u[..., :, :k] * s[..., None, :]) @ v[..., :k, :], a, atol=1e-4)


add_kinds(
    "linalg.svd linalg.svdvals", MATRICES, lambda dtypes: holds(matrices(dtypes, square=False), st.booleans())(parts)
)


def orthogonal(a: np.ndarray, full: bool) -> None:
    mode = "complete" if full else "reduced"
    got, want = mx.linalg.qr(of(mx, a), mode=mode), strict.linalg.qr(of(strict, a), mode=mode)
    assert got._fields == want._fields
    same(abs(got.R), strict.abs(want.R), tolerance=100, scale=10)
    assert np.allclose(np.array(got.Q) @ np.array(got.R), a, atol=1e-4) and got.Q.shape == tuple(want.Q.shape)


add_kinds("linalg.qr", MATRICES, lambda dtypes: holds(matrices(dtypes, square=False), st.booleans())(orthogonal))


def norms(a: np.ndarray, keepdims: bool) -> None:
    for order in ("fro", "nuc", 1, 2, np.inf, -1, -2, -np.inf):
        both(lambda xp, order=order: xp.linalg.matrix_norm(of(xp, a), ord=order, keepdims=keepdims), **HOW)
    for order in (0, 1, 2, 3, 0.5, np.inf, -np.inf):
        for axis in (None, -1, (0, 1)):
            both(
                lambda xp, order=order, axis=axis: xp.linalg.vector_norm(
                    of(xp, a), ord=order, axis=axis, keepdims=keepdims
                ),
                tolerance=30,
                scale=300 if order == 0.5 else 10,
            )


add_kinds(
    "linalg.matrix_norm linalg.vector_norm",
    MATRICES,
    lambda dtypes: holds(matrices(dtypes, square=False), st.booleans())(norms),
)


def ranks(a: np.ndarray) -> None:
    a[..., -1, :] = a[..., 0, :]
    both(lambda xp: xp.linalg.matrix_rank(of(xp, a)), index=True)
    both(lambda xp: xp.linalg.matrix_rank(of(xp, a), rtol=0.5), index=True)


def inverted_in_part(a: np.ndarray) -> None:
    a[..., -1, :] = a[..., 0, :]
    both(lambda xp: xp.linalg.pinv(of(xp, a), rtol=1e-3), **HOW)


add_kinds("linalg.matrix_rank", MATRICES, lambda dtypes: holds(matrices(dtypes))(ranks))
add_kinds("linalg.pinv", MATRICES, lambda dtypes: holds(matrices(dtypes))(inverted_in_part))


@holds(arrays(one_of(NUMBERS), shapes(least=2), **TERMS), st.integers(-4, 4))
def diagonals(a: np.ndarray, offset: int) -> None:
    both(lambda xp: xp.linalg.diagonal(of(xp, a), offset=offset))
    integer = a.dtype.kind in "iu"
    both(lambda xp: xp.linalg.trace(of(xp, a), offset=offset), index=integer, scale=20)
    dtype = "complex64" if a.dtype.kind == "c" else "float64"
    both(lambda xp: xp.linalg.trace(of(xp, a), offset=offset, dtype=dtype_of(xp, dtype)), scale=20)


add("linalg.diagonal", "values", diagonals)
add("linalg.trace", "values", diagonals)


@holds(one_of(NUMBERS), hnp.array_shapes(min_dims=0, max_dims=2, max_side=3), st.data())
def cross(dtype: str, shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, -1))
    at = len(shape) + 1 + axis
    shape = (*shape[:at], 3, *shape[at:])
    a, b = (data.draw(arrays(dtype, shape, **TERMS)) for _ in range(2))
    both(lambda xp: xp.linalg.cross(of(xp, a), of(xp, b), axis=axis), scale=50)


add("linalg.cross", "values", cross)

# ---- fft
NORMS = st.sampled_from(["backward", "ortho", "forward"])
FFT: dict[str, Any] = {"tolerance": 10, "scale": 40}
LINES = shapes(least=1, empty=False, side=6)
ANY_LINES = arrays(one_of(("complex64",)), LINES, low=-3, high=3)


@holds(ANY_LINES, NORMS, st.none() | st.integers(1, 9), st.data())
def complex_fft(a: np.ndarray, norm: str, n: int | None, data: st.DataObject) -> None:
    axis = data.draw(axis_of(a))
    for name in ("fft", "ifft", "hfft", "irfft"):
        both(lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), n=n or 4, axis=axis, norm=norm), **FFT)
    for name in ("fft", "ifft"):
        both(lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), axis=axis, norm=norm), **FFT)
    axes = tuple(data.draw(st.lists(st.integers(0, a.ndim - 1), unique=True, min_size=1)))
    sizes = tuple(data.draw(st.integers(1, 6)) for _ in axes)
    for name in ("fftn", "ifftn"):
        both(lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), norm=norm), tolerance=10, scale=400)
        both(
            lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), s=sizes, axes=axes, norm=norm),
            tolerance=10,
            scale=400,
        )
    both(lambda xp: xp.fft.irfftn(of(xp, a), s=(*sizes[:-1], 4), axes=axes, norm=norm), tolerance=10, scale=400)


@holds(arrays(one_of(("float32",)), LINES, low=-3, high=3), NORMS, st.none() | st.integers(1, 9), st.data())
def real_fft(a: np.ndarray, norm: str, n: int | None, data: st.DataObject) -> None:
    axis = data.draw(axis_of(a))
    for name in ("rfft", "ihfft"):
        both(lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), n=n, axis=axis, norm=norm), **FFT)
    axes = tuple(data.draw(st.lists(st.integers(0, a.ndim - 1), unique=True, min_size=1)))
    both(lambda xp: xp.fft.rfftn(of(xp, a), axes=axes, norm=norm), tolerance=10, scale=400)


for n in ("fft", "ifft", "fftn", "ifftn", "irfft", "irfftn", "hfft"):
    add(f"fft.{n}", "values", complex_fft)
for n in ("rfft", "rfftn", "ihfft"):
    add(f"fft.{n}", "values", real_fft)


@holds(st.integers(1, 9), st.floats(0.125, 4, width=32), one_of(REALS))
def frequencies(n: int, d: float, dtype: str) -> None:
    for name in ("fftfreq", "rfftfreq"):
        both(lambda xp, name=name: getattr(xp.fft, name)(n, d=d, dtype=dtype_of(xp, dtype)))


@holds(arrays(one_of(FLOATS), LINES), st.data())
def shifted(a: np.ndarray, data: st.DataObject) -> None:
    axes = data.draw(st.none() | axis_of(a) | st.lists(st.integers(0, a.ndim - 1), unique=True).map(tuple))
    for name in ("fftshift", "ifftshift"):
        both(lambda xp, name=name: getattr(xp.fft, name)(of(xp, a), axes=axes))


for n in ("fftfreq", "rfftfreq"):
    add(f"fft.{n}", "values", frequencies)
for n in ("fftshift", "ifftshift"):
    add(f"fft.{n}", "values", shifted)
