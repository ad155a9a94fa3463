"""Labelled text that lies on every machine: functions of Python's standard library, and what they say they do."""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class Entry:
    module: str
    name: str  # Class.method or function
    summary: str  # the first paragraph of the docstring

    @property
    def title(self) -> str:
        """The name as words: `JSONDecoder.raw_decode` is "json decoder raw decode"."""
        parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", self.name)
        return " ".join(parts).lower()


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from _functions(node, prefix + node.name + ".")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node


@cache
def standard_library(every: int = 1) -> list[Entry]:
    """One entry per documented public function or class; names and summaries occur once.

    every: read one file of so many, where all take too long.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    entries, names, summaries = [], set(), set()
    paths = sorted(path for path in root.rglob("*.py") if not SKIPPED & set(path.relative_to(root).parts))
    for path in paths[::every]:
        relative = path.relative_to(root).with_suffix("")
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        module = ".".join(relative.parts).removesuffix(".__init__")
        for name, node in _functions(tree):
            text = inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")[0]
            summary = " ".join(text.split())
            known = name in names or summary in summaries
            if known or "._" in "." + name or not 20 <= len(summary) <= 400:
                continue
            names.add(name)
            summaries.add(summary)
            entries.append(Entry(module, name, summary))
    return entries


def split(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Training and held-out entries: whole modules are held out, always the same."""
    held_out = [crc32(e.module.split(".")[0].encode()) % 4 == 0 for e in entries]
    return (
        [e for e, out in zip(entries, held_out, strict=True) if not out],
        [e for e, out in zip(entries, held_out, strict=True) if out],
    )
