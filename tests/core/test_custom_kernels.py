"""fast.metal_kernel, cuda_kernel, precompiled_cuda_kernel on a machine without such devices: every argument is
checked, then the error names the kernel and the device it needs.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest

BUILD: dict[str, Any] = {
    "name": "twice",
    "input_names": ["x"],
    "output_names": ["y"],
    "source": "uint i = thread_position_in_grid.x; y[i] = 2 * x[i];",
}
X = mx.ones((4,))
CALL: dict[str, Any] = {
    "inputs": [X],
    "output_shapes": [(4,)],
    "output_dtypes": [mx.float32],
    "grid": (4, 1, 1),
    "threadgroup": (4, 1, 1),
}
COMPILED: dict[str, Any] = {**CALL, "name": "twice", "compiled_source": b"...", "scalars": [1, 2.0, True]}

BAD_BUILDS = [
    ({"name": "1 k"}, ValueError, '"1 k"'),
    ({"name": ""}, ValueError, "name"),
    ({"name": 1}, TypeError, "name.*str, not int"),
    ({"input_names": ["in p"]}, ValueError, '"in p"'),
    ({"input_names": ["2x"]}, ValueError, '"2x"'),
    ({"input_names": "x"}, TypeError, "input_names.*list of str, not str"),
    ({"input_names": [1]}, TypeError, "input_names.*not int"),
    ({"input_names": ["x", "x"]}, ValueError, '"x" twice'),
    ({"input_names": ["y"]}, ValueError, '"y" twice'),
    ({"output_names": []}, ValueError, "no output_names"),
    ({"source": ""}, ValueError, "empty source.*twice"),
    ({"source": None}, TypeError, "source"),
    ({"header": 3}, TypeError, "header"),
]
BAD_OPTIONS = [
    ({"compile_options": {"a": 1}}, ValueError, 'option "a".*math_mode'),
    ({"compile_options": {"math_mode": "x"}}, ValueError, 'math_mode "x"'),
    ({"compile_options": {"math_mode": 1}}, TypeError, "not int"),
    ({"compile_options": "fast"}, ValueError, "str.*dict"),
]
BAD_CALLS = [
    ({"inputs": [X, X]}, ValueError, '2 inputs for kernel "twice", expected 1'),
    ({"inputs": ["x"]}, TypeError, "inputs"),
    ({"output_shapes": []}, ValueError, "0 output_shapes.*expected 1"),
    ({"output_shapes": [4]}, TypeError, "output_shapes"),
    ({"output_shapes": [(-1,)]}, ValueError, r"\(-1\)"),
    ({"output_dtypes": [mx.float32] * 2}, ValueError, "2 output_dtypes.*expected 1"),
    ({"output_dtypes": ["float32"]}, TypeError, "output_dtypes.*Dtype"),
    ({"grid": (4, 1)}, TypeError, "grid.*three int"),
    ({"grid": 4}, TypeError, "grid"),
    ({"grid": (1.5, 1, 1)}, TypeError, "grid.*float"),
    ({"grid": (-1, 1, 1)}, ValueError, r"\(-1, 1, 1\)"),
    ({"threadgroup": (0, 1, 1)}, ValueError, "threadgroup"),
    ({"threadgroup": (2000, 1, 1)}, ValueError, "1024"),
    ({"init_value": "x"}, TypeError, "init_value"),
    ({"stream": "x"}, TypeError, ""),
]
BAD_TEMPLATES = [
    ({"template": [("T",)]}, TypeError, "template.*pairs"),
    ({"template": {"T": 1}}, TypeError, "template"),
    ({"template": [(1, 2)]}, TypeError, "template"),
    ({"template": [("T", 1.5)]}, ValueError, 'float.*"T"'),
    ({"template": [("T", 1), ("T", 2)]}, ValueError, '"T" twice'),
    ({"template": [("a b", 1)]}, ValueError, '"a b"'),
]


@pytest.mark.parametrize(("change", "error", "match"), BAD_BUILDS + BAD_OPTIONS, ids=str)
def test_building_checks(change: dict[str, Any], error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        mx.fast.metal_kernel(**{**BUILD, **change})


@pytest.mark.parametrize(
    ("change", "error", "match"), [*BAD_BUILDS, ({"shared_memory": -1}, ValueError, "-1")], ids=str
)
def test_building_for_cuda_checks(change: dict[str, Any], error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        mx.fast.cuda_kernel(**{**BUILD, **change})


@pytest.mark.parametrize(("change", "error", "match"), BAD_CALLS + BAD_TEMPLATES, ids=str)
def test_calling_checks(change: dict[str, Any], error: type[Exception], match: str):
    kernel = mx.fast.metal_kernel(**BUILD)
    with pytest.raises(error, match=match):
        kernel(**{**CALL, **change})


COMPILED_CALLS = [c for c in BAD_CALLS if "inputs for" not in c[2] and "0 output_shapes" not in c[2]]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        *COMPILED_CALLS,
        ({"compiled_source": "text"}, TypeError, "compiled_source.*bytes, not str"),
        ({"compiled_source": b""}, ValueError, "compiled_source"),
        ({"scalars": ["x"]}, ValueError, "scalar of type str"),
        ({"name": ""}, ValueError, "name"),
        ({"output_shapes": []}, ValueError, "output_shapes"),
    ],
    ids=str,
)
def test_precompiled_checks(change: dict[str, Any], error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        mx.fast.precompiled_cuda_kernel(**{**COMPILED, **change})


@pytest.mark.skipif(mx.device_count(mx.gpu) > 0, reason="this machine has a GPU")
def test_without_a_device_the_error_names_the_kernel():
    kernel = mx.fast.metal_kernel(**BUILD, compile_options={"math_mode": "safe"})
    extra = {"template": [("T", mx.float32), ("N", 3), ("B", True)], "init_value": 0, "verbose": True}
    for more in ({}, extra, {"stream": mx.cpu}):
        with pytest.raises(RuntimeError, match='kernel "twice" needs a Metal device'):
            kernel(**CALL, **more)
    with pytest.raises(RuntimeError, match='kernel "twice" needs a CUDA device'):
        mx.fast.cuda_kernel(**BUILD)
    with pytest.raises(RuntimeError, match='kernel "twice" needs a CUDA device'):
        mx.fast.precompiled_cuda_kernel(**COMPILED)
