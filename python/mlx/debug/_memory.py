"""Who holds memory: now, and at the peak of a block."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from . import _modules
from ._origins import Origin, Recording, origin_of_id
from ._table import shortened, size, table


@dataclass(frozen=True)
class Holding:
    """A row of a report: memory that belongs together."""

    name: str
    """A line, a module, a parameter or an operation, as was asked for."""
    bytes: int
    """How much."""


def _named_arrays() -> Iterator[tuple[str, mx.array]]:
    """The arrays of all models and optimizers that are alive, with what they are called."""
    for root in _modules.roots():
        for path, a in _leaves(root):
            yield f"{type(root).__name__}.{path}", a
    for o in gc.get_objects():
        if hasattr(type(o), "apply_gradients") and isinstance(getattr(o, "state", None), dict):
            for path, a in _leaves(o.state):
                yield f"{type(o).__name__}.state.{path}", a


def _leaves(tree: Any) -> list[tuple[str, mx.array]]:
    return [(path, a) for path, a in tree_flatten(tree) if isinstance(a, mx.array)]


def _buffers() -> dict[int, tuple[str, int]]:
    """Names and sizes of the buffers of models and optimizers."""
    found: dict[int, tuple[str, int]] = {}
    for name, a in _named_arrays():
        buffer = mx._buffer_id(a)
        if buffer:
            found.setdefault(buffer, (name, mx.get_array_buffer_size(a)))
    return found


@dataclass(frozen=True)
class Memory:
    """What :func:`memory` returns. Printing it shows a table."""

    active: int
    """Bytes that arrays hold: ``mx.get_active_memory()``."""
    cached: int
    """Freed buffers kept for reuse: ``mx.get_cache_memory()``."""
    peak: int
    """The most that was active so far: ``mx.get_peak_memory()``."""
    named: tuple[Holding, ...]
    """The buffers of models and optimizers, largest first; with :attr:`other` they add up to
    :attr:`active`."""

    @property
    def other(self) -> int:
        """Active memory of arrays in no model and no optimizer."""
        return self.active - sum(row.bytes for row in self.named)

    def table(self, limit: int = 30) -> str:
        """The report as text; at most ``limit`` rows, the others in one."""
        rows = _limited(self.named, limit)
        rows.append(Holding("(other arrays)", self.other))
        body = [[r.name, size(r.bytes), _percent(r.bytes, self.active)] for r in rows if r.bytes]
        below = [f"active {size(self.active)}, peak {size(self.peak)}, cached {size(self.cached)} on top"]
        return table(["held by", "bytes", "%"], [*body, below])

    def __str__(self) -> str:
        return self.table()


def memory() -> Memory:
    """Who holds memory now: the parameters of models, the state of optimizers, other arrays.

    ::

        >>> print(mx.debug.memory())  # doctest: +SKIP
    """
    named = [Holding(name, nbytes) for name, nbytes in _buffers().values()]
    return Memory(
        active=mx.get_active_memory(),
        cached=mx.get_cache_memory(),
        peak=mx.get_peak_memory(),
        named=tuple(sorted(named, key=lambda row: -row.bytes)),
    )


class memory_report:
    """Who holds memory at the moment of the block when arrays hold most.

    ::

        with mx.debug.memory_report() as m:
            step(x, y)
        print(m)
        print(m.table(by="module"))

    Every allocation is noted with the operation, the line and the module it is for. The rows of any
    table add up to :attr:`peak`, to the byte, which is the largest value that
    ``mx.get_active_memory()`` had in the block, so ``mx.get_peak_memory()``, if that was reset at
    its beginning. Sizes are those asked for; that buffers come in classes of sizes shows in the
    cache only. Buffers from before the block are named after the models and optimizers that held
    them when it began. Cached buffers are on top of the peak (:attr:`cached`).
    """

    def __enter__(self) -> memory_report:
        self._data: dict[str, Any] | None = None
        self._recording = Recording()
        self._recording.start()
        self._named = _buffers()
        self._watch = mx._MemoryWatch()
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.stop()
        self._recording.stop()

    def _result(self) -> dict[str, Any]:
        if getattr(self, "_watch", None) is None:
            raise RuntimeError("[memory_report] nothing was measured: use it as `with mx.debug.memory_report() as m:`")
        if self._data is None:
            self._watch.stop()
            self._data = self._watch.data()
        return self._data

    @property
    def peak(self) -> int:
        """The most bytes of active memory in the block."""
        return self._result()["peak"]

    @property
    def cached(self) -> int:
        """Bytes of freed buffers that were kept for reuse at that moment, besides the peak."""
        return self._result()["cached"]

    def rows(self, by: str = "line") -> list[Holding]:
        """What adds up to :attr:`peak`, largest first.

        Args:
          by: ``"line"`` of Python; ``"module"``: the path of the module that was called;
            ``"parameter"``: models' and optimizers' arrays by name, all else by module; ``"op"``:
            the operation that allocated.
        """
        if by not in ("line", "module", "parameter", "op"):
            raise ValueError(f"[memory_report] by is {by!r}, expected 'line', 'module', 'parameter' or 'op'")
        sums: Counter[str] = Counter()
        for number, operation, nbytes in self._result()["shares"]:
            sums[_name(origin_of_id(number), operation, by)] += nbytes
        for name, nbytes in self._from_before():
            sums[_shown(name, by)] += nbytes
        return sorted((Holding(k, n) for k, n in sums.items() if n), key=lambda row: -row.bytes)

    def _from_before(self) -> Iterable[tuple[str, int]]:
        """Buffers from before the block that were still held at the peak."""
        data = self._result()
        rest, gone = data["before"], {buffer for buffer, _ in data["gone"]}
        for buffer, (name, nbytes) in self._named.items():
            if buffer not in gone:
                rest -= nbytes
                yield name, nbytes
        yield "", rest

    def table(self, by: str = "line", limit: int = 30) -> str:
        """The report as text; at most ``limit`` rows, the others in one. ``by`` as for :meth:`rows`."""
        rows = _limited(self.rows(by), limit)
        body = [[shortened(r.name, 90), size(r.bytes), _percent(r.bytes, self.peak)] for r in rows]
        below = [f"peak {size(self.peak)} (the sum of the rows), cached {size(self.cached)} on top"]
        return table([f"held at the peak, by {by}", "bytes", "%"], [*body, below])

    def __str__(self) -> str:
        return self.table()

    __repr__ = object.__repr__


def _name(origin: Origin, operation: str, by: str) -> str:
    if by == "op":
        return operation or "(data from the program)"
    text = origin.line if by == "line" else origin.path
    unknown = "(line not known)" if by == "line" else "(no module)"
    return f"{text or unknown}{' [backward]' if origin.is_backward else ''}"


def _shown(name: str, by: str) -> str:
    """How a buffer from before is called."""
    if not name:
        return "(other arrays from before)"
    if by == "parameter":
        return name
    if by == "module":
        return f"{name.rpartition('.')[0]} [parameters]"
    return f"({name.partition('.')[0]}, from before)"


def _limited(rows: Iterable[Holding], limit: int) -> list[Holding]:
    rows = list(rows)
    if len(rows) > limit:
        more = Holding(f"({len(rows) - limit} more)", sum(r.bytes for r in rows[limit:]))
        rows = [*rows[:limit], more]
    return rows


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f}"
