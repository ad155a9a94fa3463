"""The operation table: one row per function. Its parts are files by family; this is where suites
take it from.
"""

from __future__ import annotations

import importlib

from op_row import Op

FAMILIES = (
    "op_table_elementwise",
    "op_table_shape",
    "op_table_create",
    "op_table_reduce",
    "op_table_index",
    "op_table_linear",
    "op_table_linalg",
    "op_table_fft",
    "op_table_quantized",
    "op_table_fast",
    "op_table_special",
    "op_table_statistics",
    "op_table_matrix",
    "op_table_gated_delta",
    "op_table_recurrent",
)

OPS: list[Op] = [op for family in FAMILIES for op in importlib.import_module(family).OPS]

_names = [op.name for op in OPS]
assert len(set(_names)) == len(_names), sorted({n for n in _names if _names.count(n) > 1})
BY_NAME = {op.name: op for op in OPS}
