"""The wheel for macOS, opened on any machine: what the installer, dyld and the kernel of a Mac would look at.

`tests/macos_wheel` builds it into dist/; MLX_MACOS_WHEEL names another one.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import os
import re
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from macho import ARM64, DYLIB, FLAT_LOOKUP, PAGE, PLATFORM_MACOS, WEAK_LOOKUP, MachO

ROOT = Path(__file__).parents[1]
FOUND = sorted((ROOT / "dist").glob("mlx-*-macosx_14_0_arm64.whl"))
WHEEL = Path(os.environ["MLX_MACOS_WHEEL"]) if "MLX_MACOS_WHEEL" in os.environ else (FOUND or [None])[-1]

if WHEEL is None:
    HOW = "run tests/macos_wheel" if importlib.util.find_spec("ziglang") else "pip install ziglang; tests/macos_wheel"
    pytest.skip(f"no macOS wheel in dist/: {HOW}", allow_module_level=True)

LIBRARY = "mlx/lib/libmlx.dylib"
SYSTEM = ["/usr/lib/libSystem.B.dylib", "/usr/lib/libc++.1.dylib"]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    with zipfile.ZipFile(WHEEL) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def extension_name(files) -> str:
    (name,) = (f for f in files if re.fullmatch(r"mlx/core\.[^/]*\.so", f))
    return name


@pytest.fixture(scope="module")
def binaries(files, extension_name) -> dict[str, MachO]:
    return {name: MachO(files[name]) for name in (extension_name, LIBRARY)}


def in_stub(path: Path) -> set[str]:
    """The symbols that a text stub of a library lists."""
    return set(re.findall(r"(?<=[\s,\[{'\"])(?:_|dyld_)[\w$.]+", path.read_text()))


def test_name_and_tags_agree(files, extension_name):
    name, version, python, abi, platform = WHEEL.stem.split("-")
    folder = f"{name}-{version}.dist-info"
    wheel = Parser().parsestr(files[f"{folder}/WHEEL"].decode())
    assert wheel["Tag"] == f"{python}-{abi}-{platform}"
    assert wheel["Root-Is-Purelib"] == "false"
    metadata = Parser().parsestr(files[f"{folder}/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"]) == (name, version)
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert platform == "macosx_14_0_arm64"
    # What an interpreter of that version looks for on macOS.
    assert re.fullmatch(r"cp3\d+", abi)
    assert extension_name == f"mlx/core.cpython-{abi[2:]}-darwin.so"


def test_record_is_of_these_files(files):
    (name,) = (f for f in files if f.endswith(".dist-info/RECORD"))
    rows = {path: (digest, size) for path, digest, size in csv.reader(io.StringIO(files[name].decode()))}
    assert rows.keys() == files.keys()
    for path, (digest, size) in rows.items():
        if path == name:
            assert (digest, size) == ("", "")
            continue
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[path]).digest()).rstrip(b"=").decode()
        assert digest == f"sha256={expected}", path
        assert int(size) == len(files[path])


def test_installs_its_commands(files):
    (name,) = (f for f in files if f.endswith(".dist-info/entry_points.txt"))
    commands = dict(line.split(" = ") for line in files[name].decode().splitlines() if " = " in line)
    assert commands == {
        "mlx.launch": "mlx._distributed_utils.launch:main",
        "mlx.distributed_config": "mlx._distributed_utils.config:main",
    }


def test_holds_what_the_package_holds(files):
    modules = {f"mlx/{f.relative_to(ROOT / 'python/mlx')}" for f in (ROOT / "python/mlx").rglob("*.py")}
    headers = {f"mlx/include/mlx/{f.name}" for f in (ROOT / "mlx").glob("*.h")}
    headers |= {f"mlx/include/mlx/distributed/{name}.h" for name in ("distributed", "ops")}
    stubs = {f"mlx/core/{name}.pyi" for name in ("__init__", "fast", "fft", "linalg", "metal", "random")}
    cmake = {f"mlx/share/cmake/MLX/MLX{part}.cmake" for part in ("Config", "ConfigVersion", "Targets")}
    markers = {"mlx/py.typed", "mlx/core/py.typed"}
    assert (modules | headers | stubs | cmake | markers) <= files.keys()
    assert b"lib/libmlx.dylib" in files["mlx/share/cmake/MLX/MLXTargets-release.cmake"]
    foreign = [f for f in files if (f.endswith(".so") and "darwin" not in f) or "linux" in f]
    assert not foreign


def test_metal_sources_are_inside(files):
    kernels = sorted((ROOT / "metal/kernels").glob("*.metal"))
    if not kernels:
        pytest.skip("the source tree has no kernels yet")
    for kernel in kernels:
        line = max(kernel.read_bytes().splitlines(), key=len)
        assert line in files[LIBRARY], f"{kernel.name} is not in the library"


def test_header(binaries):
    for name, binary in binaries.items():
        assert binary.cpu == ARM64, name
        assert binary.file_type == DYLIB, name
        assert (binary.platform, binary.minimum) == (PLATFORM_MACOS, (14, 0)), name


def test_segments_lie_in_the_file_and_apart(binaries):
    for name, binary in binaries.items():
        end = file_end = 0
        for segment in binary.segments:
            assert segment.address % PAGE == segment.offset % PAGE == 0, (name, segment)
            assert segment.address >= end, (name, segment)
            assert segment.offset >= file_end or not segment.file_size, (name, segment)
            assert segment.file_size <= segment.size, (name, segment)
            end, file_end = segment.address + segment.size, segment.offset + segment.file_size
            for section, address, size, offset, flags in segment.sections:
                assert segment.address <= address <= address + size <= end, (name, section)
                zero_filled = flags & 0xFF in (0x1, 0xC, 0x12)
                assert zero_filled or offset - segment.offset == address - segment.address, (name, section)
        assert file_end == len(binary.data), name


def test_names_lead_from_one_to_the_other(binaries, extension_name):
    library, extension = binaries[LIBRARY], binaries[extension_name]
    assert library.install_name == "@rpath/libmlx.dylib"
    assert library.libraries == SYSTEM
    assert extension.install_name == f"@rpath/{Path(extension_name).name}"
    assert sorted(extension.libraries) == sorted([*SYSTEM, library.install_name])
    assert extension.rpaths == ["@loader_path/lib"]
    for binary in binaries.values():
        assert all(path.startswith("@loader_path") for path in binary.rpaths)


def test_what_is_undefined_is_there_on_a_mac(binaries, extension_name):
    libcxx = in_stub(ROOT / "metal/wheel/libc++.1.tbd")
    system = None
    if spec := importlib.util.find_spec("ziglang"):
        system = in_stub(Path(spec.origin).parent / "lib/libc/darwin/libSystem.tbd")
    exported = binaries[LIBRARY].exports()
    for name, binary in binaries.items():
        own = binary.exports()
        places = {kind: sorted(b.address for b in binds) for kind, binds in binary.binds().items()}
        writable = [s for s in binary.segments if s.name.startswith("__DATA")]
        for kind, addresses in places.items():
            assert all(any(s.address <= a < s.address + s.size for s in writable) for a in addresses), (name, kind)
        for kind, binds in binary.binds().items():
            for bind in binds:
                where = bind.symbol, kind, name
                if bind.ordinal == WEAK_LOOKUP:
                    # Of the first image that has it: a definition must be here, or in a library that is loaded.
                    assert kind == "weak" or bind.symbol in own, where
                    assert bind.symbol.startswith("__Z"), where
                elif bind.ordinal == FLAT_LOOKUP:
                    assert name == extension_name, where
                    assert re.match(r"__?Py", bind.symbol), where
                else:
                    assert bind.ordinal >= 1, where
                    library = binary.libraries[bind.ordinal - 1]
                    if library == "@rpath/libmlx.dylib":
                        assert bind.symbol in exported, where
                    elif library == SYSTEM[1]:
                        assert bind.symbol in libcxx, where
                    else:
                        assert library == SYSTEM[0], where
                        assert system is None or bind.symbol in system, where


def test_exports(binaries, extension_name):
    assert "_PyInit_core" in binaries[extension_name].exports()
    exports = binaries[LIBRARY].exports()
    assert {"__ZN3mlx4core5array4evalEv", "__ZN3mlx4core7versionEv"} <= exports.keys()
    assert sum(name.startswith("__ZN3mlx4core") for name in exports) > 500
    text = binaries[LIBRARY].segments[0]
    inside = [a for a in exports.values() if a < text.size]
    assert len(inside) > 500


def test_signature_is_of_this_file(binaries):
    for name, binary in binaries.items():
        assert binary.signed_pages() > 10, name
