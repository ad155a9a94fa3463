"""What every function of the operation table can do, found out by trying: writes docs/coverage.md.

    python tests/coverage_table.py

A cell is what happened, not what somebody wrote down. What does not work is a hole, and a hole has its reason in
coverage_reasons.py.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
from op_row import (
    ALL,
    EPS,
    FLOATS,
    INTEGERS,
    LAYOUTS,
    Op,
    broadcast_values,
    close,
    draw,
    lay,
    outputs,
    representative,
    to_mx,
)

COLUMNS = ("vjp", "jvp", "vmap", "compile", "shapeless", "export", "strides", "empty")
WORKS, NOTHING, HOLE, FIXED = "yes", "", "no", "fixed"
REFUSALS = (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError)
PAGE = Path(__file__).parents[1] / "docs/coverage.md"


class Row:
    """One function with operands that it certainly takes."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.sample = representative(op) or op.samples[0]
        self.dtype = "float32" if "float32" in op.dtypes else op.dtypes[0]
        self.values, self.names = draw(op, self.sample, self.dtype)
        self.arrays = [to_mx(x, n) for x, n in zip(self.values, self.names, strict=True)]
        leaves = self.sample.leaves()
        self.free = [k for k, g in enumerate(leaves) if g.values is None and not g.constant]

    def run(self, arrays: Sequence[mx.array]) -> list[mx.array]:
        return [a for a in self.op.run(self.sample, arrays) if isinstance(a, mx.array)]

    def of(self, which: Sequence[int]) -> Callable[..., list[mx.array]]:
        def call(*xs: mx.array) -> list[mx.array]:
            full = list(self.arrays)
            for k, x in zip(which, xs, strict=True):
                full[k] = x
            return self.run(full)

        return call

    def same(self, got: Sequence[mx.array], want: Sequence[mx.array]) -> bool:
        units = 0 if self.op.keeps_bits and self.op.eps is None else 16
        return len(got) == len(want) and all(close(g, w, units) for g, w in zip(got, want, strict=True))

    # ---- columns ----

    def inexact(self) -> list[int]:
        return [k for k in self.free if self.names[k] in EPS]

    def differentiable(self) -> list[int]:
        """Operands that the result moves with; none for functions with steps."""
        if not any(str(a.dtype).rsplit(".", 1)[-1] in EPS for a in self.run(self.arrays)):
            return []
        return self.op.differentiable(self.sample) or self.inexact()

    def vjp(self) -> str:
        which = self.differentiable()
        if not which:
            return NOTHING
        ys = self.run(self.arrays)
        mx.eval(mx.vjp(self.of(which), [self.arrays[k] for k in which], [mx.ones_like(y) for y in ys])[1])
        return WORKS

    def jvp(self) -> str:
        which = self.differentiable()
        if not which:
            return NOTHING
        primals = [self.arrays[k] for k in which]
        mx.eval(mx.jvp(self.of(which), primals, [mx.ones_like(p) for p in primals])[1])
        return WORKS

    def vmap(self) -> str:
        if not self.free:
            return NOTHING
        many = [mx.stack([self.arrays[k]] * 2) for k in self.free]
        want = [mx.stack([y, y]) for y in self.run(self.arrays)]
        assert self.same(mx.vmap(self.of(self.free))(*many), want), f"vmap of {self.op.name}"
        return WORKS

    def compile(self) -> str:
        if not self.arrays:
            return NOTHING
        compiled = mx.compile(lambda *xs: self.run(xs))
        compiled(*self.arrays)
        assert self.same(compiled(*self.arrays), self.run(self.arrays)), f"compile of {self.op.name}"
        return WORKS

    def shapeless(self) -> str:
        """A trace of the sample, on operands that are twice as long on some axis."""
        if not self.free:
            return NOTHING
        for axis in (0, -1):
            for which in (self.free, *([k] for k in self.free)):
                longer = list(self.arrays)
                try:
                    for k in which:
                        longer[k] = mx.concatenate([longer[k], longer[k]], axis)
                    want = self.run(longer)
                    mx.eval(want)
                except REFUSALS:
                    continue
                traced = mx.compile(lambda *xs: self.run(xs), shapeless=True)
                traced(*self.arrays)
                try:
                    got = traced(*longer)
                    mx.eval(got)
                except ValueError:
                    return FIXED
                assert self.same(got, want), f"shapeless compile of {self.op.name}"
                return WORKS
        return NOTHING

    def export(self) -> str:
        if not self.arrays:
            return NOTHING
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/f.mlxfn"
            mx.export_function(path, lambda *xs: self.run(xs), *self.arrays)
            got = outputs(mx.import_function(path)(*self.arrays))
            assert self.same(got, self.run(self.arrays)), f"export of {self.op.name}"
        return WORKS

    def strides(self) -> str:
        if not any(self.arrays[k].ndim for k in self.free):
            return NOTHING
        for layout in LAYOUTS:
            laid, plain = list(self.arrays), list(self.arrays)
            for k in self.free:
                x = broadcast_values(self.values[k]) if layout == "broadcast" else self.values[k]
                laid[k], plain[k] = lay(x, self.names[k], layout), to_mx(x, self.names[k])
            try:
                want = self.run(plain)
                mx.eval(want)
            except REFUSALS:  # a matrix whose rows are equal has no inverse
                continue
            assert self.same(self.run(laid), want), f"{layout} operands of {self.op.name}"
        return WORKS

    def empty(self) -> str:
        """Operands without elements along the first axis, the last one or both, in any combination that is accepted."""
        some = [k for k in self.free if self.arrays[k].ndim]
        if not some:
            return NOTHING
        for choice in itertools.product(((0,), (-1,), (-2, -1), ()), repeat=min(len(some), 3)):
            none = list(self.arrays)
            try:
                for k, axes in zip(some, choice, strict=False):
                    for axis in axes:
                        none[k] = mx.take(none[k], mx.zeros((0,), mx.int32), axis)
                mx.eval(self.run(none))
            except REFUSALS:
                continue
            if any(choice):
                return WORKS
        return HOLE

    def dtypes(self) -> tuple[list[str], list[str]]:
        """Those whose values are tested, and others that are accepted."""
        accepted = []
        for name in ALL:
            if name in self.op.dtypes:
                continue
            try:
                values, names = draw(self.op, self.sample, name)
                mx.eval(self.run([to_mx(x, n) for x, n in zip(values, names, strict=True)]))
                accepted.append(name)
            except REFUSALS:
                continue
        return [n for n in ALL if n in self.op.dtypes], accepted


def cells(op: Op) -> dict[str, str]:
    row = Row(op)
    out = {}
    for column in COLUMNS:
        try:
            out[column] = getattr(row, column)()
        except REFUSALS:
            out[column] = HOLE
    return out


def words(names: Sequence[str]) -> str:
    """Dtypes, families by their names."""
    rest, out = list(names), []
    for family, members in (("all", ALL), ("ints", INTEGERS), ("floats", FLOATS)):
        if rest and set(members) <= set(rest):
            out.append(family)
            rest = [n for n in rest if n not in members]
    return ", ".join([*out, *(n.rstrip("_") for n in rest)])


def table() -> list[Op]:
    from op_table import OPS

    return sorted(OPS, key=lambda op: op.name)


def holes(found: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    return [(name, column) for name, row in found.items() for column in COLUMNS if row[column] in (HOLE, FIXED)]


def page(found: dict[str, dict[str, str]]) -> str:
    from coverage_reasons import reason

    lines = [
        "# Coverage",
        "",
        "Written by `python tests/coverage_table.py`, which tries every row of `tests/op_table_*.py`;",
        "`tests/core/test_coverage.py` keeps it true. The suites in `tests/core` compare values and derivatives with",
        "references.",
        "",
        "- yes: works. no: refused, with an error. fixed: a trace without shapes serves its own sizes and refuses",
        "  others. Empty cells: nothing to do (no operand, nothing to differentiate, no other size that is valid).",
        "- `shapeless` replays a trace on operands that are twice as long; `strides` are transposed, reversed,",
        "  stepping, shifted and broadcast operands; `empty` are operands with an axis of size 0.",
        "- Dtypes are those whose values are compared; in brackets others that are accepted.",
        "",
        "| function | " + " | ".join(COLUMNS) + " | dtypes |",
        "|---|" + "---|" * len(COLUMNS) + "---|",
    ]
    for op in table():
        row = found[op.name]
        tested, accepted = Row(op).dtypes()
        dtypes = words(tested) + (f" ({words(accepted)})" if accepted else "")
        lines.append(f"| `{op.name}` | " + " | ".join(row[c] for c in COLUMNS) + f" | {dtypes} |")
    lines += ["", "## Why not", "", "| function | what | why |", "|---|---|---|"]
    lines += [f"| `{name}` | {column} | {reason(name, column)} |" for name, column in holes(found)]
    count = {c: sum(row[c] == WORKS for row in found.values()) for c in COLUMNS}
    lines += ["", f"{len(found)} functions. Works: " + ", ".join(f"{c} {n}" for c, n in count.items()) + ".", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    with np.errstate(all="ignore"):
        PAGE.write_text(page({op.name: cells(op) for op in table()}))
