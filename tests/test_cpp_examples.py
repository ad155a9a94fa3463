"""The C++ examples, built with CMake as their README says, against the package that is being tested."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples" / "cpp"
PACKAGE = Path(mx.__file__).parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed"),
]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def where_mlx_is() -> str:
    """For an installed package nothing but the Python to ask; in a source tree, the build folder of the library."""
    if (PACKAGE / "share/cmake/MLX/MLXConfig.cmake").is_file():
        return f"-DPython_EXECUTABLE={sys.executable}"
    loaded = Path("/proc/self/maps").read_text().splitlines()
    library = next(line.split(maxsplit=5)[5] for line in loaded if line.endswith("/libmlx.so"))
    return f"-DMLX_DIR={os.path.dirname(library)}"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    run("cmake", "-S", EXAMPLES, "-B", folder, where_mlx_is(), "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror -Wno-restrict")
    run("cmake", "--build", folder, "--parallel", "2")
    return folder


def test_linear_regression_finds_the_weights(build: Path):
    assert "largest error of a weight 0.00" in run(build / "linear_regression")


def test_custom_primitive_agrees_under_every_transform(build: Path):
    lines = run(build / "custom_primitive").splitlines()
    assert len(lines) == 8
    assert all(line.endswith(" agrees") for line in lines), lines
