"""Every row of the table: values against the reference, result dtypes, memory layouts, extremes,
refused calls.
"""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from op_row import (
    LAYOUTS,
    Op,
    S,
    broadcast_values,
    check,
    close,
    draw,
    dtype_name,
    lay,
    outputs,
    reference,
    representative,
    rounded,
    to_mx,
)
from op_table import OPS

RESULTS = json.loads((Path(__file__).parents[1] / "data" / "result_dtypes.json").read_text())
CASES = [(op, d) for op in OPS for d in op.dtypes]


def compare(op: Op, sample: S, dtype: str, operands, names, arrays, kind: str) -> None:
    got = op.run(sample, arrays)
    where = f"{op.name} {kind} {dtype} {sample!r}"
    asked = sample.kwargs.get("dtype")
    known = RESULTS.get(op.name, {}).get(dtype, [])
    # nothing to reduce: whether the operand's dtype or the reduction's comes out is nobody's
    # promise
    trivial = sample.kwargs.get("axis") == () or any(g.shape == () for g in sample.leaves())
    for k, g in enumerate(got):
        if asked is not None:
            assert g.dtype == asked, f"{where}: dtype {g.dtype} instead of {asked}"
        elif known and not trivial:
            expected = known[k] if k < len(known) else known[-1]
            assert dtype_name(g) == expected, f"{where}: dtype {g.dtype} instead of {expected}"
    want = reference(op, sample, operands, dtype_name(got[0]))
    assert len(got) == len(want), f"{where}: {len(got)} results instead of {len(want)}"
    sizes: list = [None] * len(want)
    if op.cancels:
        sizes = reference(
            op,
            sample,
            [abs(x) if x.dtype.kind in "fc" else x for x in operands],
            dtype_name(got[0]),
        )
    for g, w, size in zip(got, want, sizes, strict=True):
        check(op, g, w, where, size)


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{o.name}-{d}" for o, d in CASES])
def test_values(op: Op, dtype: str):
    for sample in op.samples:
        operands, names = draw(op, sample, dtype)
        compare(
            op,
            sample,
            dtype,
            operands,
            names,
            [to_mx(x, n) for x, n in zip(operands, names, strict=True)],
            "values",
        )


@pytest.mark.parametrize("op", [o for o in OPS if o.name in RESULTS], ids=lambda o: o.name)
def test_result_dtypes(op: Op):
    """As recorded from the API being implemented, for every operand dtype it accepts."""
    sample = representative(op)
    for dtype, want in RESULTS[op.name].items():
        operands, names = draw(op, sample, dtype)
        got = [
            dtype_name(x)
            for x in op.run(sample, [to_mx(x, n) for x, n in zip(operands, names, strict=True)])
        ]
        assert got == want, f"{op.name}({dtype}) gives {got}, not {want}"


WITH_EXTREMES = [(o, d) for o in OPS if o.extremes for d in o.extreme_dtypes if d in o.dtypes]


@pytest.mark.parametrize(
    ("op", "dtype"), WITH_EXTREMES, ids=[f"{o.name}-{d}" for o, d in WITH_EXTREMES]
)
def test_extremes(op: Op, dtype: str):
    """Infinities, nan, signed zeros, denormals and the largest numbers, beside each other in one
    array.
    """
    for sample in op.extremes:
        operands, names = draw(op, sample, dtype)
        operands = [rounded(np.asarray(x), n) for x, n in zip(operands, names, strict=True)]
        compare(
            op,
            sample,
            dtype,
            operands,
            names,
            [to_mx(x, n) for x, n in zip(operands, names, strict=True)],
            "extremes",
        )


WITH_OPERANDS = [o for o in OPS if any(s.leaves() for s in o.samples)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", WITH_OPERANDS, ids=lambda o: o.name)
def test_layouts(op: Op, layout: str):
    """Operands that are transposed, strided, reversed, offset or broadcast give what contiguous
    copies give.
    """
    dtype = next(d for d in ("float32", *op.dtypes) if d in op.dtypes)
    for sample in op.samples:
        operands, names = draw(op, sample, dtype)
        free = [g.values is None for g in sample.leaves()]
        if layout == "broadcast":
            operands = [
                broadcast_values(x) if ok else x for x, ok in zip(operands, free, strict=True)
            ]
        arrays = [
            lay(x, n, layout) if ok else to_mx(x, n)
            for x, n, ok in zip(operands, names, free, strict=True)
        ]
        plain = op.run(sample, [to_mx(x, n) for x, n in zip(operands, names, strict=True)])
        got = op.run(sample, arrays)
        for g, w in zip(got, plain, strict=True):
            assert close(g, w, 0 if op.eps is None and op.keeps_bits else 8), (
                f"{op.name} {layout} {sample!r}"
            )


MISUSE = [(op, bad) for op in OPS for bad in op.errors]


@pytest.mark.parametrize(("op", "bad"), MISUSE, ids=[f"{o.name}-{b.sample!r}" for o, b in MISUSE])
def test_refused(op: Op, bad):
    """Wrong calls raise the right type, and the text says what came."""
    operands, names = draw(op, bad.sample, bad.dtype)
    arrays = [to_mx(x, n) for x, n in zip(operands, names, strict=True)]
    with pytest.raises(bad.error, match=bad.match or None):
        mx.eval(outputs(op.run(bad.sample, arrays)))
    assert mx.array([1.0, 2.0]).sum().item() == 3.0
