"""``profile``: where the time of evaluation goes."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.nn._operations import flops as arithmetic
from mlx.nn._operations import is_reduction

from ._machine import machine
from ._origins import Recording, origin_of_id
from ._table import count, seconds, shortened, size, table

# These read as much of their first input as they write.
_PICK = {"gather", "gather_axis", "slice", "dynamic_slice", "take", "take_along_axis", "as_strided"}


@dataclass
class Row:
    """A row of a profile."""

    name: str
    """The operation (fused ones joined by ``+``), the line, or the module."""
    count: float = 0
    """How often it ran. Lines and modules: how many operations ran for them, parts of fused groups in
    fractions."""
    time: float = 0
    """Nanoseconds in which it ran."""
    building: float = 0
    """Nanoseconds that the program took until its nodes were part of the graph, each since the node before
    or the last evaluation: Python, the layers, derivatives. Data that is loaded counts for the operation
    that comes next."""
    bytes: float = 0
    """Read and written; nothing for views."""
    flops: float = 0
    """Arithmetic operations; a multiply-add is two."""
    least: float = 0
    """Nanoseconds that the same traffic and arithmetic take at the machine's limits."""
    line: str = ""
    """The line that built the one that took longest."""
    module: str = ""
    """Its module."""
    longest: float = 0

    @property
    def share(self) -> float:
        """Of the machine's limit: 1 is as fast as memory or multiply-adds allow. Above 1 where the data
        was in caches, or where matrix units compute faster than multiply-adds."""
        return self.least / self.time if self.time else 0.0

    @property
    def total(self) -> float:
        """Nanoseconds, running and being built."""
        return self.time + self.building

    def add(self, part: Row, weight: float = 1) -> None:
        """Adds a part of another row."""
        self.count += weight * part.count
        for field in ("time", "building", "bytes", "flops", "least"):
            setattr(self, field, getattr(self, field) + weight * getattr(part, field))


class profile:
    """In the block, everything is timed, operation by operation: how long each runs, and how long the
    program takes to build it.

    ::

        with mx.profile() as p:
            for _ in range(10):
                step(x, y)
        print(p)
        print(p.table(by="line", sort="flops"))
        p.save_trace("trace.json")  # for chrome://tracing and https://ui.perfetto.dev

    Operations that ran as a fused group are one row, named ``multiply+add+tanh``. Compiled
    functions are seen like others; those traced before are traced once more. Times add up: besides
    the operations there are rows for deciding what to run (``(planning)``), for the profiler itself
    and for noting where nodes come from (``(profiler)``), for what evaluation does between
    operations (``(between operations)``: finding the next one, waiting for other threads), and for
    the rest of the program (``(Python)``: between the last node that is built and an evaluation, or
    the end of the block).
    """

    def __init__(self) -> None:
        self._data: dict[str, Any] | None = None
        self._runs: dict[tuple[str, int], Counter[str]] | None = None
        self._profiler: Any = None

    def __enter__(self) -> profile:
        self._data = self._runs = None
        self._recording = Recording()
        self._recording.start()
        self._profiler = mx._Profiler()
        return self

    def __exit__(self, *error: object) -> None:
        self._profiler.stop()
        self._recording.stop()

    # ---- results

    def _result(self) -> dict[str, Any]:
        if self._data is None:
            if self._profiler is None:
                raise RuntimeError("[profile] nothing was measured: use it as `with mx.profile() as p:`")
            data = self._profiler.data()
            data["kinds"] = [_Kind(*kind) for kind in data["kinds"]]
            self._profiler.stop()
            self._data = data
        return self._data

    @property
    def wall(self) -> float:
        """Nanoseconds from the beginning of the block to its end."""
        return self._result()["wall"]

    @property
    def evaluation(self) -> float:
        """Nanoseconds in which something was evaluated, without those of the profiler itself."""
        data = self._result()
        return _covered(data["evaluations"]) - data["overhead"]

    @property
    def overhead(self) -> float:
        """Nanoseconds of the profiler itself, which are part of :attr:`wall`."""
        data = self._result()
        return data["overhead"] + data["recording"]

    @property
    def coverage(self) -> float:
        """The part of :attr:`wall`, without :attr:`overhead`, in which operations ran, were planned or built."""
        data = self._result()
        running = sum(end - begin for _, _, begin, end, *_ in data["events"])
        busy = running + _covered(data["planning"]) + sum(b[5] for b in data["built"])
        return min(busy / max(self.wall - self.overhead, 1), 1.0)

    def rows(self, by: str = "op") -> list[Row]:
        """A :class:`Row` for each operation (``by="op"``), line (``"line"``) or module (``"module"``).

        A fused group counts for its operations' lines and modules in equal parts.
        """
        if by not in ("op", "line", "module"):
            raise ValueError(f"[profile] by is {by!r}, expected 'op', 'line' or 'module'")
        data, limits = self._result(), machine()
        rows: dict[str, Row] = {}
        for kind, _, begin, end, read, written, shares in data["events"]:
            of: _Kind = data["kinds"][kind]
            event = Row("", 1, end - begin, bytes=of.traffic(read, written, shares), flops=of.flops)
            event.least = limits.least_ns(event.bytes, event.flops) if limits.known else 0
            names = [of.name] if by == "op" else of.lines if by == "line" else of.modules
            for name in names:
                row = rows.get(name)
                if row is None:
                    row = rows[name] = Row(name)
                row.add(event, 1 / len(names))
                if event.time > row.longest:
                    row.longest, row.line, row.module = event.time, of.lines[-1], of.modules[-1]
        for (operation, origin), time in self._built().items():
            found = _Place.of(origin)
            shares = {"op": self._ran_as(operation, origin), "line": {found.line: 1}, "module": {found.module: 1}}[by]
            for name, share in shares.items():
                if name not in rows:
                    rows[name] = Row(name, line=found.line, module=found.module)
                rows[name].building += share * time
        return list(rows.values())

    def _built(self) -> Counter[tuple[str, int]]:
        """Nanoseconds that building took, for operations and their origins."""
        built: Counter[tuple[str, int]] = Counter()
        for operation, origin, _, _, _, alone in self._result()["built"]:
            built[operation, origin] += alone
        return built

    def _ran_as(self, operation: str, origin: int) -> dict[str, float]:
        """As parts of which rows an operation ran, and which share of it; alone, where it never did."""
        if self._runs is None:
            self._runs = defaultdict(Counter)
            data = self._result()
            for kind, times in Counter(event[0] for event in data["events"]).items():
                of: _Kind = data["kinds"][kind]
                for part in of.parts:
                    self._runs[part][of.name] += times
        names = self._runs.get((operation, origin)) or {operation: 1}
        return {name: n / sum(names.values()) for name, n in names.items()}

    def rest(self) -> list[Row]:
        """The rows for time that no operation took; with :meth:`rows` they add up to :attr:`wall`.

        With asynchronous evaluation operations run beside the program and each other; then the
        sum may be larger.
        """
        data = self._result()
        planning = _covered(data["planning"])
        operations = sum(e[3] - e[2] for e in data["events"])
        between = max(self.evaluation - planning - operations, 0)
        building = sum(b[5] for b in data["built"])
        python = max(self.wall - _covered(data["evaluations"]) - data["recording"] - building, 0)
        return [
            Row("(planning)", len(data["evaluations"]), planning),
            Row("(between operations)", 0, between),
            Row("(profiler)", 0, self.overhead),
            Row("(Python)", 0, python),
        ]

    def table(self, sort: str = "time", by: str = "op", limit: int = 30) -> str:
        """The profile as text.

        Args:
          sort: ``"time"`` (running), ``"building"``, ``"total"`` (both), ``"count"``, ``"bytes"``,
            ``"flops"``, ``"share"`` (of the machine's limit, slowest first) or ``"name"``.
          by: ``"op"``, ``"line"`` or ``"module"``.
          limit: how many rows; the others are summed up in one.
        """
        keys: dict[str, Callable[[Row], Any]] = {
            "time": lambda r: (-r.time, -r.building),
            "building": lambda r: -r.building,
            "total": lambda r: -r.total,
            "count": lambda r: -r.count,
            "bytes": lambda r: -r.bytes,
            "flops": lambda r: -r.flops,
            "share": lambda r: r.share,
            "name": lambda r: r.name,
        }
        if sort not in keys:
            raise ValueError(f"[profile] sort is {sort!r}, expected one of {', '.join(map(repr, keys))}")
        rows = sorted(self.rows(by), key=keys[sort])
        if len(rows) > limit:
            others = Row(f"({len(rows) - limit} more)")
            for row in rows[limit:]:
                others.add(row)
            rows = [*rows[:limit], others]
        what = {"op": "operation", "line": "line", "module": "module"}[by]
        header = [what, "count", "time", "building", "% of wall", "bytes", "GB/s", "FLOP", "GFLOP/s", "% of limit"]
        header += {"op": ["module", "line"], "line": ["module"], "module": []}[by]
        width = len(header)
        body = [self._cells(row, by) for row in rows]
        body.append(["-" * 20])
        body += [[*self._cells(row, by)[:5], *[""] * (width - 5)] for row in self.rest() if row.time]
        left = {0, *range(10, width)}
        limits = machine()
        below = (
            f"wall {seconds(self.wall)}, evaluation {seconds(self.evaluation)}; without the profiler's time, "
            f"running, planning and building operations is {100 * self.coverage:.1f} % of the wall time; "
            f"limits: {limits.bandwidth / 1e9:.1f} GB/s, {limits.flops / 1e9:.0f} GFLOP/s (float32)"
        )
        return f"{table(header, body, left)}\n{below}"

    def _cells(self, row: Row, by: str) -> list[str]:
        rate = row.time or 1
        cells = [
            shortened(row.name, 60),
            f"{row.count:.0f}" if row.count else "",
            seconds(row.time) if row.time or not row.building else "",
            seconds(row.building) if row.building else "",
            f"{100 * row.total / max(self.wall, 1):.1f}",
            size(row.bytes) if row.bytes else "",
            f"{row.bytes / rate:.1f}" if row.bytes else "",
            count(row.flops).rstrip() if row.flops else "",
            f"{row.flops / rate:.1f}" if row.flops else "",
            f"{100 * row.share:.0f}" if row.share else "",
        ]
        more = {"op": [row.module, row.line], "line": [row.module], "module": []}[by]
        return cells + [shortened(text, 60) for text in more]

    def __str__(self) -> str:
        return self.table()

    __repr__ = object.__repr__

    def save_trace(self, path: str | os.PathLike) -> None:
        """Writes the timeline as a JSON file for ``chrome://tracing`` and https://ui.perfetto.dev.

        A track per thread; each operation that ran has its shapes, bytes, FLOPs, line and module as
        arguments. ``"(evaluation)"`` encloses the operations of one evaluation. Spans of the category
        ``"building"`` have the names, lines and modules of the nodes that were built.
        """
        data = self._result()
        events: list[dict[str, Any]] = []

        def add(name: str, thread: int, begin: int, end: int, args: dict[str, Any], category: str = "mlx") -> None:
            span = {"name": name, "ph": "X", "pid": 1, "tid": thread, "cat": category}
            events.append({**span, "ts": begin / 1e3, "dur": (end - begin) / 1e3, "args": args})

        for thread, begin, end in data["evaluations"]:
            add("(evaluation)", thread, begin, end, {})
        for thread, begin, end in data["planning"]:
            add("(planning)", thread, begin, end, {})
        for kind, thread, begin, end, read, written, shares in data["events"]:
            of: _Kind = data["kinds"][kind]
            add(
                of.name,
                thread,
                begin,
                end,
                {
                    "inputs": [_shape(*x) for x in of.inputs],
                    "outputs": [_shape(*x) for x in of.outputs],
                    "bytes": of.traffic(read, written, shares),
                    "flops": of.flops,
                    "line": of.lines[-1],
                    "module": of.modules[-1],
                },
            )
        for operation, origin, thread, begin, end, _ in data["built"]:
            at = _Place.of(origin)
            add(operation, thread, begin, end, {"line": at.line, "module": at.module}, "building")
        threads = sorted({e["tid"] for e in events})
        names = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": t, "args": {"name": f"thread {t}"}} for t in threads
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": names + events, "displayTimeUnit": "ms"}, file)


@dataclass(frozen=True)
class _Place:
    """Who built a node, for people."""

    line: str
    module: str

    @classmethod
    def of(cls, origin: int) -> _Place:
        o = origin_of_id(origin)
        back = " [backward]" if o.is_backward else ""
        return cls((o.line or "(line not known)") + back, (o.path or "(no module)") + back)


class _Kind:
    """What runs of one operation at one place have in common."""

    def __init__(self, names: tuple, origins: tuple, group: tuple | None, inputs: tuple, outputs: tuple):
        """``group``: the shape of what a fused group computes, maybe to reduce it in the same pass."""
        self.name = "+".join(names)
        self.inputs, self.outputs = inputs, outputs
        self.parts = list(zip(names, origins, strict=True))
        places = [_Place.of(n) for n in origins]
        self.lines = [place.line for place in places]
        self.modules = [place.module for place in places]
        if group is None:
            shapes = tuple(x[0] for x in inputs), tuple(x[0] for x in outputs)
            self.flops = arithmetic((name, False, *shapes) for name in names)
        else:
            self.flops = arithmetic((name, not is_reduction(name), (group,), (group,)) for name in names)
        self._picks = names[0] in _PICK and group is None

    def traffic(self, read: int, written: int, shares_memory: bool) -> int:
        """Bytes moved. A view moves none; what computes in place of an input does."""
        if shares_memory and self.flops == 0:
            return 0
        return (min(read, written) if self._picks else read) + written


def _shape(shape: tuple[int, ...], dtype: mx.Dtype) -> str:
    return f"{str(dtype).removeprefix('mlx.core.')}{list(shape)}"


def _covered(spans: list[tuple[int, int, int]]) -> int:
    """The time in which at least one of the spans was going on."""
    total, reached = 0, -1
    for _, begin, end in sorted(spans, key=lambda span: span[1]):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total
