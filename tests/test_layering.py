"""Who may know whom: the #include lines of the C++ sources against the rules of docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

# Layer -> the layers that it may include. "public" is mlx/*.h and PUBLIC, "core" is mlx/*.cpp; others are folders.
MAY_KNOW = {
    "public": {"public", "mlx/types"},
    "mlx/types": {"public", "mlx/types"},
    "core": {"public", "mlx/types", "mlx/graph", "mlx/ops"},
    "mlx/graph": {"public", "mlx/types", "mlx/graph"},
    "mlx/ops": {"public", "mlx/types", "mlx/graph", "mlx/ops"},
    "mlx/transforms": {"public", "mlx/types", "mlx/graph", "mlx/ops", "mlx/transforms"},
    "mlx/io": {"public", "mlx/types", "mlx/graph", "mlx/ops", "mlx/io"},
    "mlx/distributed": {"public", "mlx/types", "mlx/graph", "mlx/ops", "mlx/io", "mlx/distributed"},
    "mlx/export": {"public", "mlx/types", "mlx/graph", "mlx/ops", "mlx/transforms", "mlx/io", "mlx/export"},
    "mlx/cpu": {"public", "mlx/types", "mlx/graph", "mlx/ops", "mlx/io", "mlx/distributed", "mlx/cpu"},
    "metal": {"public", "mlx/types", "mlx/graph", "mlx/ops", "metal"},
    "python/src": {"public", "python/src"},
}
PUBLIC = {"mlx/io/stream.h", "mlx/distributed/distributed.h", "mlx/distributed/ops.h"}  # besides mlx/*.h
# Single steps across the rules, each with its reason.
EXCEPTIONS = {
    ("python/src/npz.cpp", "mlx/io/file.h"): "archives are zipped in Python, but replace files like all others",
    ("python/src/io.cpp", "mlx/io/file.h"): "a file whose name says nothing is known by its first bytes",
    ("python/src/module.cpp", "mlx/graph/interrupt.h"): "how evaluation meets Ctrl-C and the GIL; no API of users",
}
# Compiled once per instruction set: an inline function of a standard header could be the copy that the linker keeps.
ISA_STANDARD_HEADERS = {"cstddef", "cstdint", "immintrin.h", "math.h", "type_traits", "utility"}
ISA_PROJECT_HEADERS = {"mlx/cpu/isa.h", "mlx/dtype.h"}


def sources(*folders: str) -> dict[str, str]:
    files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.suffix in (".h", ".cpp")]
    return {f.relative_to(ROOT).as_posix(): f.read_text() for f in sorted(files)}


CODE = sources("mlx", "metal", "python/src")
INCLUDES = {name: [(project, system) for project, system in INCLUDE.findall(text)] for name, text in CODE.items()}


def layer(name: str) -> str:
    if name in PUBLIC:
        return "public"
    folder = Path(name).parent.as_posix()
    if folder == "mlx":
        return "public" if name.endswith(".h") else "core"
    return next((known for known in MAY_KNOW if folder == known or folder.startswith(known + "/")), folder)


def project_includes(name: str) -> list[str]:
    return [project for project, _ in INCLUDES[name] if project]


def test_every_folder_has_a_rule():
    assert {layer(name) for name in CODE} <= set(MAY_KNOW)
    assert len(CODE) > 100


def test_includes_name_files_by_their_full_path():
    bad = [(name, x) for name in CODE for x in project_includes(name) if x not in CODE]
    assert not bad, "write #include paths from the repository root"


def test_layers_point_down():
    crossed = {
        (name, x)
        for name in CODE
        for x in project_includes(name)
        if x in CODE and layer(x) not in MAY_KNOW[layer(name)]
    }
    unexpected = crossed - set(EXCEPTIONS)
    assert not unexpected, "\n".join(f"{a} ({layer(a)}) includes {b} ({layer(b)})" for a, b in sorted(unexpected))
    assert not set(EXCEPTIONS) - crossed, "an exception that is no longer needed"


def test_only_the_bindings_know_python():
    guilty = [
        (name, system)
        for name in CODE
        if layer(name) != "python/src"
        for _, system in INCLUDES[name]
        if system == "Python.h" or system.startswith("nanobind")
    ]
    assert not guilty


def test_sources_of_one_instruction_set_stand_alone():
    guilty = []
    for name in CODE:
        if not name.startswith("mlx/cpu/isa/"):
            continue
        for project, system in INCLUDES[name]:
            own = project.startswith(("mlx/cpu/isa/", "mlx/graph/elementwise")) or project in ISA_PROJECT_HEADERS
            if not (own if project else system in ISA_STANDARD_HEADERS):
                guilty.append((name, project or system))
    assert not guilty


def reachable(header: str) -> set[str]:
    found: set[str] = set()
    todo = [header]
    while todo:
        for x in project_includes(todo.pop()):
            if x in CODE and x not in found:
                found.add(x)
                todo.append(x)
    return found


def test_array_h_stays_light():
    reached = reachable("mlx/array.h")
    assert "mlx/primitives.h" not in reached
    assert len(reached) <= 6, sorted(reached)


def test_mlx_h_is_everything_public():
    # quantized_layout.h describes bits in memory, for kernels of every backend: no function of the API.
    public = {name for name in CODE if layer(name) == "public"} - {"mlx/mlx.h", "mlx/quantized_layout.h"}
    assert reachable("mlx/mlx.h") >= public, sorted(public - reachable("mlx/mlx.h"))


@pytest.mark.parametrize("name", sorted(n for n in CODE if n.endswith(".h")))
def test_headers_are_included_once(name: str):
    assert "#pragma once" in CODE[name]
