"""Tables and units in reports."""

from __future__ import annotations

from collections.abc import Sequence


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: frozenset[int] | set[int] = frozenset({0})
) -> str:
    """Text columns; those in ``left`` begin at the left, the others are numbers.

    Rows of one cell are lines across all columns; the last column is never padded.
    """
    cells = [header, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        if len(row) == 1:
            return row[0]
        padded = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    lines = [line(row) for row in (header, *rows)]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def size(n: float) -> str:
    """Bytes."""
    for unit, one in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(n) >= one:
            return f"{n / one:.1f} {unit}"
    return f"{n:.0f} B"


def count(n: float) -> str:
    """Numbers of things, such as operations."""
    for unit, one in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= one:
            return f"{n / one:.1f} {unit}"
    return f"{n:.0f} "


def seconds(ns: float) -> str:
    """A time given in nanoseconds."""
    for unit, one in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= one:
            return f"{ns / one:.2f} {unit}"
    return f"{ns:.0f} ns"


def shortened(text: str, width: int) -> str:
    """The text, with its middle left out where it is longer than ``width``."""
    if len(text) <= width:
        return text
    keep = width - 3
    return f"{text[: keep - keep // 3]}...{text[len(text) - keep // 3 :]}"
