"""Which features of the Metal Shading Language a source uses, and whether the version that the backend asks for has
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
TABLE = Path(__file__).with_name("features.tsv")


@dataclass(frozen=True)
class Feature:
    version: tuple[int, int]
    kind: str  # attribute, function, syntax
    pattern: str
    what: str

    @property
    def since(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


@cache
def table() -> list[Feature]:
    rows = [line.split("\t") for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return [Feature(tuple(map(int, version.split("."))), kind, pattern, what) for version, kind, pattern, what in rows]


@cache
def by_name(kind: str) -> dict[str, Feature]:
    return {name: f for f in table() if f.kind == kind for name in f.pattern.split()}


def asked_for() -> tuple[int, int]:
    """The language version of a compilation that says nothing else (metal/device/device.h)."""
    text = (ROOT / "metal/device/device.h").read_text()
    major, minor = re.search(r"int language_major = (\d+), language_minor = (\d+);", text).groups()
    return int(major), int(minor)


def used(source: str, functions: set[str]) -> dict[str, Feature | None]:
    """What a source uses, by name; `functions` are those of the library that it calls. None: not in the table."""
    text = re.sub(r"//[^\n]*", "", source)
    found: dict[str, Feature | None] = {name: by_name("function").get(name) for name in functions}
    for attributes in re.findall(r"\[\[(.*?)\]\]", text, re.DOTALL):
        # "buffer(3), function_constant(has_d)" without what is in parentheses
        bare = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", attributes)
        for name in re.findall(r"\w+", bare):
            found[name] = by_name("attribute").get(name)
    for feature in table():
        if feature.kind == "syntax" and (match := re.search(feature.pattern, text)):
            found[match[0]] = feature
    return found


def versions() -> set[tuple[int, int]]:
    """Those that Metal's interface knows (MTLLanguageVersion: the major version in the upper 16 bits)."""
    text = (TABLE.parents[1] / "standin/enums.tsv").read_text()
    values = re.findall(r"LanguageVersion\d+_\d+ = (\d+)", text)
    return {(int(value) >> 16, int(value) & 0xFFFF) for value in values}


def faults(source: str, functions: set[str], version: tuple[int, int]) -> list[str]:
    out = []
    for name, feature in sorted(used(source, functions).items()):
        if feature is None:
            out.append(f"{name}: not in tests/metal/lint/features.tsv: which version of the language has it?")
        elif feature.version > version:
            asked = f"{version[0]}.{version[1]}"
            out.append(f"{name} ({feature.what}) came with version {feature.since}, the backend asks for {asked}")
    return out


def markdown() -> str:
    """The table as docs/metal.md has it."""
    lines = ["| since | |", "|---|---|"]
    for version in sorted({f.version for f in table()}):
        what = dict.fromkeys(f.what for f in table() if f.version == version)
        lines.append(f"| {version[0]}.{version[1]} | {'; '.join(what)} |")
    return "\n".join(lines)


def in_words(features: set[Feature]) -> str:
    """What sources use, in the order of the table, with the versions."""
    return "; ".join(dict.fromkeys(f"{f.what} ({f.since})" for f in table() if f in features))


if __name__ == "__main__":
    print(markdown())
