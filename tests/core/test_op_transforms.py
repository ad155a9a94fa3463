"""Every row of the table under the transformations, none of which needs a reference of its own:

jvp is a difference quotient of the row's reference, vjp is jvp transposed, the second
derivative is a
second difference, vmap is a stack of single calls, compiled and exported functions are the
function.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from op_row import Op, S, close, draw, outputs, reference, seeded, to_mx, to_np
from op_table import OPS


def case(op: Op, sample: S, dtype: str, salt: int = 0):
    operands, names = draw(op, sample, dtype, salt)
    arrays = [to_mx(x, n) for x, n in zip(operands, names, strict=True)]
    return operands, names, arrays


def of_some(op: Op, sample: S, arrays, which):
    """The call as a function of the operands in `which`, always returning a list."""

    def fn(*xs):
        full = list(arrays)
        for k, x in zip(which, xs, strict=True):
            full[k] = x
        return op.run(sample, full)

    return fn


def moved(operands, which, tangents, h):
    out = list(operands)
    for k, t in zip(which, tangents, strict=True):
        out[k] = out[k] + h * t
    return out


def dot(xs, ys) -> float:
    return float(sum(np.sum(np.asarray(x, np.float64) * y) for x, y in zip(xs, ys, strict=True)))


DIFFERENTIABLE = [op for op in OPS if op.diff]


def smooth_dtype(op: Op) -> tuple[str, float, float]:
    """Where the row knows float64, derivatives are compared in it."""
    return ("float64", 1e-5, 1e-7) if "float64" in op.dtypes else ("float32", 1e-3, 2e-4)


def scaled(error, *sizes) -> float:
    return float(error) / max(1.0, *(float(np.max(np.abs(s), initial=0)) for s in sizes))


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda o: o.name)
def test_jvp_and_vjp(op: Op):
    dtype, h, tolerance = smooth_dtype(op)
    for sample in op.samples:
        which = op.differentiable(sample)
        if not which or any(0 in g.shape for g in sample.leaves()):
            continue
        operands, _, arrays = case(op, sample, dtype)
        rng = seeded(op.name, repr(sample), "tangent")
        tangents = [rng.uniform(-1, 1, operands[k].shape) for k in which]
        fn = of_some(op, sample, arrays, which)
        primals = [arrays[k] for k in which]
        ys, dys = mx.jvp(fn, primals, [to_mx(t, dtype) for t in tangents])
        high = reference(op, sample, moved(operands, which, tangents, h))
        low = reference(op, sample, moved(operands, which, tangents, -h))
        where = f"{op.name} {sample!r}"
        for y, dy, a, b in zip(ys, dys, high, low, strict=True):
            # what stays infinite, like the first element of an exclusive scan, does not move
            change = np.subtract(a, b, out=np.zeros(np.shape(a)), where=np.not_equal(a, b))
            quotient = change.astype(np.float64) / (2 * h)
            assert dy.shape == y.shape and dy.dtype == y.dtype, where
            error = np.max(np.abs(to_np(dy) - quotient), initial=0)
            assert scaled(error, quotient) <= tolerance, f"jvp of {where}: {error}"
        cotangents = [rng.uniform(-1, 1, y.shape) for y in ys]
        _, pulled = mx.vjp(fn, primals, [to_mx(c, dtype) for c in cotangents])
        assert len(pulled) == len(which)
        for g, x in zip(pulled, primals, strict=True):
            assert g.shape == x.shape and g.dtype == x.dtype, f"vjp of {where}"
        forward = dot([to_np(d) for d in dys], cotangents)
        backward = dot([to_np(g) for g in pulled], tangents)
        assert scaled(abs(forward - backward), forward) <= tolerance, (
            f"vjp of {where}: <c, J t> = {forward}, <J^T c, t> = {backward}"
        )


COMPLEX = [op for op in DIFFERENTIABLE if "complex64" in op.dtypes]


@pytest.mark.parametrize("op", COMPLEX, ids=lambda o: o.name)
def test_complex_jvp_and_vjp(op: Op):
    """Along complex directions. The product that vjp is the transpose in is Re <x, y>."""
    h, tolerance = 1e-5, 2e-4

    def like(rng, x):
        parts = rng.uniform(-1, 1, x.shape) + 1j * rng.uniform(-1, 1, x.shape)
        return parts if np.iscomplexobj(x) else parts.real

    def product(xs, ys) -> float:
        return float(sum(np.sum(np.real(np.conj(x) * y)) for x, y in zip(xs, ys, strict=True)))

    for sample in op.samples:
        which = op.differentiable(sample)
        if not which or any(0 in g.shape for g in sample.leaves()):
            continue
        operands, _, arrays = case(op, sample, "complex64")
        rng = seeded(op.name, repr(sample), "complex tangent")
        tangents = [like(rng, operands[k]) for k in which]
        fn = of_some(op, sample, arrays, which)
        primals = [arrays[k] for k in which]
        ys, dys = mx.jvp(fn, primals, [to_mx(t, "complex64") for t in tangents])
        high = reference(op, sample, moved(operands, which, tangents, h))
        low = reference(op, sample, moved(operands, which, tangents, -h))
        where = f"{op.name} {sample!r}"
        for y, dy, a, b in zip(ys, dys, high, low, strict=True):
            assert dy.shape == y.shape and dy.dtype == y.dtype, where
            quotient = (np.asarray(a, complex) - b) / (2 * h)
            error = np.max(np.abs(to_np(dy) - quotient), initial=0)
            assert scaled(error, quotient) <= tolerance, f"jvp of {where}: {error}"
        cotangents = [like(rng, to_np(y)) for y in ys]
        given = [to_mx(c, str(y.dtype).rsplit(".", 1)[-1]) for c, y in zip(cotangents, ys, strict=True)]
        _, pulled = mx.vjp(fn, primals, given)
        for g, x in zip(pulled, primals, strict=True):
            assert g.shape == x.shape and g.dtype == x.dtype, f"vjp of {where}"
        forward = product([to_np(d) for d in dys], cotangents)
        backward = product([to_np(g) for g in pulled], tangents)
        assert scaled(abs(forward - backward), forward) <= tolerance, (
            f"vjp of {where}: <c, J t> = {forward}, <J^H c, t> = {backward}"
        )


@pytest.mark.parametrize("op", [o for o in OPS if o.smooth], ids=lambda o: o.name)
def test_second_order(op: Op):
    """t^T H t of c . f against the second difference of the reference, through both orders of
    nesting.
    """
    dtype = "float64" if "float64" in op.dtypes else "float32"
    h, tolerance = (2e-4, 1e-5) if dtype == "float64" else (1e-3, 1e-3)
    for sample in op.samples[:4]:
        which = op.differentiable(sample)
        if not which or any(0 in g.shape for g in sample.leaves()):
            continue
        operands, _, arrays = case(op, sample, dtype)
        rng = seeded(op.name, repr(sample), "second")
        tangents = [rng.uniform(-1, 1, operands[k].shape) for k in which]
        fn = of_some(op, sample, arrays, which)
        middle = reference(op, sample, operands)
        weights = [rng.uniform(-1, 1, np.shape(y)) for y in middle]
        cs = [to_mx(c, dtype) for c in weights]
        ts = [to_mx(t, dtype) for t in tangents]
        primals = [arrays[k] for k in which]

        def gradient(*xs, fn=fn, cs=cs):
            return mx.vjp(fn, list(xs), cs)[1]

        def slope(*xs, fn=fn, ts=ts, cs=cs):
            return sum((d * c).sum() for d, c in zip(mx.jvp(fn, list(xs), ts)[1], cs, strict=True))

        high = reference(op, sample, moved(operands, which, tangents, h))
        low = reference(op, sample, moved(operands, which, tangents, -h))
        second = [(a - 2 * m + b) / (h * h) for a, m, b in zip(high, middle, low, strict=True)]
        want = dot(second, weights)
        where = f"{op.name} {sample!r}"
        forward_over_reverse = dot([to_np(x) for x in mx.jvp(gradient, primals, ts)[1]], tangents)
        assert scaled(abs(forward_over_reverse - want), want) <= tolerance, (
            f"{where}: jvp of vjp {forward_over_reverse}, want {want}"
        )
        one = mx.array(1.0).astype(getattr(mx, dtype))
        pulled = mx.vjp(slope, primals, [one])[1]
        reverse_over_forward = dot([to_np(x) for x in pulled], tangents)
        assert scaled(abs(reverse_over_forward - want), want) <= tolerance, (
            f"{where}: vjp of jvp {reverse_over_forward}, want {want}"
        )


BATCHED = [op for op in OPS if op.batched and any(s.leaves() for s in op.samples)]


@pytest.mark.parametrize("op", BATCHED, ids=lambda o: o.name)
def test_vmap_is_a_stack_of_calls(op: Op):
    """Every operand alone and all together, over the first, a middle and the last axis."""
    dtype = "float32" if "float32" in op.dtypes else op.dtypes[0]
    for sample in op.samples[:6]:
        draws = [case(op, sample, dtype, salt)[2] for salt in range(3)]
        leaves = sample.leaves()
        movable = [k for k, g in enumerate(leaves) if g.values is None]
        subsets = [[k] for k in movable] + ([movable] if len(movable) > 1 else [])
        for which in subsets:
            shared = [k for k in range(len(leaves)) if k not in which]
            calls = [
                [d[k] if k not in shared else draws[0][k] for k in range(len(leaves))]
                for d in draws
            ]
            want = [mx.stack(ys) for ys in zip(*(op.run(sample, c) for c in calls), strict=True)]
            for at in (0, -1, 1):
                if at == 1 and any(not leaves[k].shape for k in which):
                    continue
                stacked = [mx.stack([d[k] for d in draws], axis=at) for k in which]
                got = mx.vmap(of_some(op, sample, draws[0], which), in_axes=at)(*stacked)
                for g, w in zip(got, want, strict=True):
                    assert close(g, w, 0 if op.eps is None and op.keeps_bits else 16), (
                        f"{op.name} {sample!r} operands {which} axis {at}: {g.shape} {w.shape}"
                    )


@pytest.mark.parametrize("op", BATCHED, ids=lambda o: o.name)
def test_vmap_twice_and_out_axes(op: Op):
    dtype = "float32" if "float32" in op.dtypes else op.dtypes[0]
    sample = next(s for s in op.samples if s.leaves())
    movable = [k for k, g in enumerate(sample.leaves()) if g.values is None]
    if not movable:
        return
    draws = [[case(op, sample, dtype, 2 * i + j)[2] for j in range(2)] for i in range(3)]
    fixed = draws[0][0]
    stacked = [mx.stack([mx.stack([d[k] for d in row]) for row in draws]) for k in movable]
    fn = of_some(op, sample, fixed, movable)
    got = mx.vmap(mx.vmap(fn), out_axes=-1)(*stacked)
    for n, g in enumerate(got):
        rows = [[fn(*(mx.array(d[k]) for k in movable))[n] for d in row] for row in draws]
        want = mx.stack([mx.stack(r) for r in rows], axis=-1)
        assert close(g, want, 0 if op.eps is None and op.keeps_bits else 16), (
            f"{op.name} {sample!r}"
        )


@pytest.mark.parametrize("op", [o for o in DIFFERENTIABLE if o.batched], ids=lambda o: o.name)
def test_vmap_of_gradient(op: Op):
    """Per-sample gradients: vmap of vjp equals a stack of single vjps."""
    sample = next((s for s in op.samples if op.differentiable(s)), None)
    if sample is None:
        return
    which = [k for k in op.differentiable(sample) if sample.leaves()[k].values is None]
    if not which:
        return
    draws = [case(op, sample, "float32", salt)[2] for salt in range(3)]

    def gradient(*xs):
        fn = of_some(op, sample, draws[0], which)

        def total(*zs):  # uneven weights: the plain sum of a layer norm is constant
            return sum((y.flatten() * mx.cos(mx.arange(y.size))).sum() for y in fn(*zs))

        return mx.vjp(total, list(xs), [mx.array(1.0)])[1]

    want = [
        mx.stack(gs) for gs in zip(*(gradient(*(d[k] for k in which)) for d in draws), strict=True)
    ]
    got = mx.vmap(gradient)(*(mx.stack([d[k] for d in draws]) for k in which))
    for g, w in zip(got, want, strict=True):
        assert close(g, w, 32), f"{op.name} {sample!r}"


EXPORTS = pytest.mark.skipif(
    not hasattr(mx, "export_function"), reason="this build has no mx.export_function"
)
WITH_OPERANDS = [op for op in OPS if any(s.leaves() for s in op.samples)]


@pytest.mark.parametrize("op", WITH_OPERANDS, ids=lambda o: o.name)
def test_compiled_is_eager(op: Op):
    """Three calls of the compiled function: traced, replayed, replayed with other values."""
    for dtype in [d for d in ("float32", "bfloat16", "int32") if d in op.dtypes] or op.dtypes[:1]:
        for sample in op.samples[:5]:
            first, second = case(op, sample, dtype)[2], case(op, sample, dtype, 1)[2]
            compiled = mx.compile(lambda *xs, sample=sample: op.run(sample, xs))
            for arrays in (first, first, second):
                for g, w in zip(compiled(*arrays), op.run(sample, arrays), strict=True):
                    assert close(g, w, 0 if op.keeps_bits else 4), f"{op.name} {dtype} {sample!r}"


@EXPORTS
@pytest.mark.parametrize("op", WITH_OPERANDS, ids=lambda o: o.name)
def test_exported_is_eager(op: Op, tmp_path):
    dtype = "float32" if "float32" in op.dtypes else op.dtypes[0]
    for n, sample in enumerate(s for s in op.samples[:3] if s.leaves()):
        arrays = case(op, sample, dtype)[2]
        path = str(tmp_path / f"{n}.mlxfn")
        mx.export_function(path, lambda *xs, sample=sample: op.run(sample, xs), *arrays)
        got = outputs(mx.import_function(path)(*arrays))
        for g, w in zip(got, op.run(sample, arrays), strict=True):
            assert close(g, w, 0 if op.keeps_bits else 4), f"{op.name} {sample!r}"
