"""mlx.extension: the example package builds and its operation works under every transform."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import mlx.core as mx
import pytest
from scripts import run_python
from test_cpp_examples import EXAMPLES, PACKAGE, run, where_mlx_is

pytest.importorskip("setuptools")
from mlx import extension

USE = """
import mlx.core as mx
from charbonnier import charbonnier

a, b = mx.array([1.0, 2.0, -1.0]), mx.array([0.5, 2.0, 1.0])
plain = lambda a, b: mx.sqrt(mx.square(a - b) + 0.01)
ours = lambda a, b: charbonnier(a, b, eps=0.1)
assert type(ours(a, b)) is mx.array
assert mx.allclose(ours(a, b), plain(a, b))
for argument in (0, 1):
    gradients = [mx.grad(lambda a, b: f(a, b).sum(), argnums=argument)(a, b) for f in (ours, plain)]
    assert mx.allclose(*gradients)
assert mx.allclose(mx.compile(ours)(a, b), plain(a, b))
assert mx.allclose(mx.vmap(ours, in_axes=(0, None))(a, b[1]), plain(a, b[1]))
try:
    charbonnier(a, b, eps=-1.0)
except ValueError as e:
    assert "eps must be positive" in str(e)
else:
    raise AssertionError("accepted a negative eps")
print("agrees")
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.skipif(importlib.util.find_spec("nanobind") is None, reason="nanobind is not installed")
def test_example_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("cpp", "extension"):
        shutil.copytree(EXAMPLES.parent / folder, tmp_path / folder)
    package = tmp_path / "extension"
    monkeypatch.setenv("CMAKE_ARGS", where_mlx_is())
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    monkeypatch.chdir(package)
    run(sys.executable, "setup.py", "build_ext", "--inplace")
    assert list((package / "charbonnier").glob("_ext*.so"))
    assert run_python(f"import sys; sys.path.insert(0, {str(package)!r})\n" + USE).strip() == "agrees"


def test_metal_sources():
    library = extension.MetalLibrary("kernels", [Path("a.metal")], extra_compile_args=["-O2"])
    assert library.sources == ["a.metal"]
    with pytest.raises(ValueError, match="at least one"):
        extension.MetalLibrary("kernels", [])
    with pytest.raises(ValueError, match="Metal source files"):
        extension.MetalLibrary("kernels", ["a.cpp"])

    both = extension.MetalExtension("my_ops._ext", ["a.cpp", "b.metal"], metal_libraries=[library])
    assert [x.name for x in both.metal_libraries] == ["_ext", "kernels"]
    with pytest.raises(ValueError, match=r"C\+\+"):
        extension.MetalExtension("my_ops._ext", ["a.metal"])
    with pytest.raises(ValueError, match="Metal"):
        extension.MetalExtension("my_ops._ext", ["a.cpp"])


@pytest.mark.skipif(mx.metal.is_available(), reason="there is a Metal backend")
def test_metal_extension_needs_metal():
    from setuptools import Distribution

    command = extension.BuildExtension(Distribution())
    with pytest.raises(RuntimeError, match="macOS"):
        command.build_extension(extension.MetalExtension("my_ops._ext", ["a.cpp", "b.metal"]))
