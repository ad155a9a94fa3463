"""The examples in the documentation: every public function has one, and it prints what it says."""

from __future__ import annotations

import doctest
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import mlx.core as mx
import pytest

# There is no CUDA, no simulated tool that captures, and no second process: an example could only show the refusal.
WITHOUT = {
    "fast.cuda_kernel",
    "fast.precompiled_cuda_kernel",
    "metal.start_capture",
    "metal.stop_capture",
    "distributed.recv",
    "distributed.recv_like",
    "distributed.send",
}
# Their examples need a GPU: tests/metal/test_simulated.py runs them on the simulated one.
ON_GPU = {"fast.metal_kernel", "metal.device_info"}
# What others print where there is one; signs of zeros are those of the CPU's transforms.
PRINTED_ON_GPU = {"default_device": "Device(gpu, 0)\n", "metal.is_available": "True\n"}


class AnyZero(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        want, got = (text.replace("+-0j", "+0j") for text in (want, got))
        return super().check_output(want, got, optionflags)


def functions(module: ModuleType, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, type):
            continue
        if isinstance(value, ModuleType):
            found |= functions(value, f"{prefix}{name}.")
        elif callable(value) and not isinstance(value, mx.Dtype):
            found[prefix + name] = value
    return found


FUNCTIONS = functions(mx)


def test_every_function_has_an_example() -> None:
    missing = {name for name, function in FUNCTIONS.items() if ">>>" not in (function.__doc__ or "")}
    assert missing == WITHOUT, "examples are rows of python/src/examples_*.cpp"


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - WITHOUT - (set() if mx.metal.is_available() else ON_GPU)))
def test_example(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = FUNCTIONS[name].__doc__
    example = doctest.DocTestParser().get_doctest(text, {"mx": mx}, name, None, None)
    assert example.examples
    if mx.metal.is_available() and name in PRINTED_ON_GPU:
        example.examples[0].want = PRINTED_ON_GPU[name]
    before, limits = os.getcwd(), (mx.set_cache_limit(2**30), mx.set_memory_limit(2**40))
    os.chdir(tmp_path)
    try:
        runner = doctest.DocTestRunner(checker=AnyZero() if mx.metal.is_available() else None, verbose=False)
        runner.run(example)
    finally:
        os.chdir(before)
        mx.set_cache_limit(limits[0])
        mx.set_memory_limit(limits[1])
        mx.enable_compile()
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
