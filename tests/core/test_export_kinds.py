"""Every operation gets into files of functions, or has a reason not to."""

from __future__ import annotations

import re
from pathlib import Path

import mlx.core as mx
import pytest
from export_cases import PROGRAMS, rare_programs, round_trip
from op_row import draw, to_mx
from op_table import OPS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "f.mlxfn")


# Operations that never get into a file, and why.
NOT_EXPORTED = {
    "Arange": "no inputs: computed when the function is traced",
    "Linspace": "no inputs",
    "Eye": "no inputs",
    "Load": "no inputs",
    "UnpackBlocks": "reads a file: computed when the function is traced",
    "MetalKernel": "a program's own source, which files of functions do not carry",
    "CudaKernel": "a program's own source",
    "CustomTransforms": "replaced by what it computes (test_custom_functions_become_what_they_compute)",
    "Elementwise": "every row of its table is a kind",
    **dict.fromkeys(
        ["AllReduce", "AllGather", "SumScatter", "Send", "Recv"], "of a group of processes, which is not in files"
    ),
    "Fused": "of replays that are evaluated; a trace has what it is made of (test_export_sees_every_operation)",
    "Lost": "no operation: what an evaluation leaves in the place of a value that a failing GPU destroyed",
}


# Kinds that no function of mlx.core makes; tests/cpp/api/export.cpp has those with a function in C++.
NOT_IN_PYTHON = {"Polygamma", "NumberOfElements"}


def sources() -> str:
    return "\n".join(f.read_text() for f in sorted((ROOT / "mlx").rglob("*")) if f.suffix in (".h", ".cpp"))


def test_every_primitive_is_exported_or_has_a_reason():
    text = sources()
    bases = {"Primitive"}
    found: set[str] = set()
    for _ in range(3):  # classes between are bases too
        for name, base in re.findall(r"^class (\w+)(?: final)? : public (\w+)", text, re.MULTILINE):
            if base in bases:
                bases.add(name)
    found = set(re.findall(rf"^class (\w+) final : public (?:{'|'.join(bases)})\b", text, re.MULTILINE))
    assert len(found) > 70
    added = set(re.findall(r"\.add<(\w+)>\(\s*\"", text)) | set(re.findall(r"keep_view<(\w+)>\(\"", text))
    assert found - added == set(NOT_EXPORTED)
    assert added - found == set()


def kinds_of(fn, *args) -> set[str]:
    told: list[dict] = []
    mx.export_function(told.append, fn, *args)
    return {t["name"] for t in told if t["type"] == "primitive"}


def table_kinds() -> set[str]:
    text = sources()
    kinds = set(re.findall(r"\.add<\w+>\(\s*\"(\w+)\"", text)) | set(re.findall(r"keep_view<\w+>\(\"(\w+)\"", text))
    names = re.findall(
        r'name = "(\w+)"', "\n".join(f.read_text() for f in (ROOT / "mlx/graph").glob("elementwise_*.h"))
    )
    assert len(names) > 70
    return kinds | {"".join(part[:1].upper() + part[1:] for part in name.split("_")) for name in names}


def row_programs():
    for op in OPS:
        dtype = "float32" if "float32" in op.dtypes else op.dtypes[0]
        for sample in [s for s in op.samples if s.leaves()][:8]:
            operands, names = draw(op, sample, dtype, 0)
            arrays = [to_mx(x, n) for x, n in zip(operands, names, strict=True)]
            yield lambda *xs, op=op, sample=sample: op.run(sample, xs), arrays


def test_every_kind_makes_a_round_trip(path):
    """Programs of export_cases.py, and rows of the table of operations, until every kind has been in a file."""
    missing = table_kinds()
    programs = [p() for p in PROGRAMS] + list(rare_programs())
    for fn, args in programs:
        kinds = kinds_of(fn, *args)
        if kinds & missing:
            round_trip(path, fn, *args)
            missing -= kinds
    for fn, args in row_programs():
        if not missing:
            break
        kinds = kinds_of(fn, *args)
        if kinds & missing:
            round_trip(path, fn, *args)
            missing -= kinds
    # Made only where the device has a kernel for it: in cross.cpp, group_norm.cpp, recurrent.cpp, resample.cpp and
    # windows.cpp of mlx/ops.
    of_the_cpu = {"Cross", "ExtremeShare", "GroupNorm", "GroupNormVjp", "RecurrentSteps", "RecurrentStepsGradient"}
    of_the_cpu |= {"Resample"}
    assert missing == (NOT_IN_PYTHON if mx.default_device() == mx.cpu else NOT_IN_PYTHON | of_the_cpu)
