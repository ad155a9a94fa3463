"""The package as installed or built: what it loads, what it carries, and `python -m mlx`."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest
from scripts import run_python

PACKAGE = Path(mx.__file__).parent
INSTALLED = (PACKAGE / "share/cmake/MLX").is_dir()
only_installed = pytest.mark.skipif(not INSTALLED, reason="a source tree, not an installed package")

# Part of every Linux system, or of the compiler's runtime.
SYSTEM_LIBRARIES = {"libc", "libm", "libpthread", "libdl", "librt", "libstdc++", "libgcc_s", "ld-linux-x86-64"}
SYSTEM_LIBRARIES |= {"linux-vdso", "ld-linux-aarch64"}


def test_import_is_quick():
    """Milliseconds of `import mlx.core`, best of five fresh interpreters, in processor time."""
    code = """
    import time
    start = time.process_time()
    import mlx.core
    print(1e3 * (time.process_time() - start))
    """
    assert min(float(run_python(code)) for _ in range(5)) < 50


def test_import_needs_no_other_package():
    code = """
    import sys
    before = set(sys.modules)
    import mlx.core, mlx.nn, mlx.optimizers, mlx.utils
    print(*{name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
    """
    assert run_python(code).split() == ["mlx"]


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd")
def test_no_library_of_the_system_but_the_basic_ones():
    listing = subprocess.run(["ldd", mx.__file__], capture_output=True, text=True, check=True).stdout
    names = {Path(line.split()[0]).name.partition(".so")[0] for line in listing.splitlines()}
    assert "libmlx" in names
    assert names - {"libmlx"} <= SYSTEM_LIBRARIES


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mlx", *arguments], capture_output=True, text=True)


def test_version():
    assert command("--version").stdout.strip() == mx.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", mx.__version__)


def test_command_without_arguments_explains_itself():
    done = command()
    assert done.returncode == 2
    assert "--cmake-dir" in done.stdout


@pytest.mark.skipif(INSTALLED, reason="an installed package")
def test_source_tree_says_where_cmake_should_look():
    done = command("--cmake-dir")
    assert done.returncode == 1
    assert "MLX_DIR" in done.stderr


@only_installed
def test_places_exist():
    for option, file in (
        ("--cmake-dir", "MLXConfig.cmake"),
        ("--include-dir", "mlx/mlx.h"),
        ("--library-dir", "libmlx.so"),
    ):
        assert (Path(command(option).stdout.strip()) / file).is_file()


@only_installed
def test_commands_are_installed():
    (launch,) = importlib.metadata.entry_points(group="console_scripts", name="mlx.launch")
    (config,) = importlib.metadata.entry_points(group="console_scripts", name="mlx.distributed_config")
    started = [Path(sys.executable).parent / launch.name, "-n", "2", "-m", "mlx", "--version"]
    done = subprocess.run(started, capture_output=True, text=True)
    assert done.stdout.split() == [mx.__version__] * 2, done.stderr
    assert callable(config.load())


@only_installed
def test_installed_version_and_size():
    assert importlib.metadata.version("mlx").startswith(mx.__version__)
    files = importlib.metadata.files("mlx") or []
    size = sum(f.size or 0 for f in files)
    assert 2**20 < size < 60 * 2**20, "unpacked; a stripped build is a third of that"
