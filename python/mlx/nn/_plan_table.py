"""The result of ``nn.plan``: fields for programs, a table for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class LayerPlan:
    """A row of a :class:`Plan`: one module under one of its names.

    Parameters are those of the module itself, not of the modules below. What has been counted under
    an earlier name (``tied``) is not counted again.
    """

    path: str
    """The dotted name, ``""`` for the model."""
    type: str
    """The name of the class."""
    outputs: tuple[tuple[int, ...], ...] = ()
    """The shapes of the arrays that its first call returned."""
    parameters: int = 0
    """How many numbers its parameters are."""
    trainable: int = 0
    """How many of these are trainable."""
    nbytes: int = 0
    """The size of its parameters."""
    tied: tuple[str, ...] = ()
    """The paths of those of its parameters that have another name above."""
    same_as: str | None = None
    """The path above under which the module itself has been listed."""
    flops: int = 0
    """Arithmetic operations of its calls, without those of modules below that were called."""
    calls: int = 0
    """How often it was called."""

    @property
    def state(self) -> str:
        """``"trainable"``, ``"frozen"``, ``"partly frozen"``, ``"tied"`` or ``""``."""
        if self.same_as is not None:
            return "tied"
        if self.parameters:
            if self.trainable in (0, self.parameters):
                state = "trainable" if self.trainable else "frozen"
            else:
                state = "partly frozen"
            return f"{state}, tied" if self.tied else state
        return "tied" if self.tied else ""


@dataclass
class Plan:
    """The result of ``nn.plan``. Printing it shows a table; notebooks show it as HTML."""

    layers: list[LayerPlan] = field(default_factory=list)
    """A row for each module, parents before children."""
    forward_flops: int = 0
    """Arithmetic operations of computing the loss; a multiplication and an addition are two."""
    step_flops: int = 0
    """Those of the whole step."""
    held_memory: int = 0
    """Bytes of parameters, optimizer state and batch."""
    peak_memory: int = 0
    """The most bytes that arrays will hold during a step, ``held_memory`` included."""
    peak_operation: str = ""
    """The operation during which that happens; empty where the step needs no memory."""
    warnings: list[str] = field(default_factory=list)
    """What is probably not meant."""

    @property
    def parameters(self) -> int:
        """How many numbers the model's parameters are."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of these are trainable."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def frozen(self) -> int:
        """How many are not."""
        return self.parameters - self.trainable

    @property
    def parameter_bytes(self) -> int:
        """The size of the parameters."""
        return sum(layer.nbytes for layer in self.layers)

    def __getitem__(self, path: str) -> LayerPlan:
        """The row of the module with that path."""
        for layer in self.layers:
            if layer.path == path:
                return layer
        raise KeyError(f"[Plan] there is no layer {path!r}")

    def _summary(self) -> list[str]:
        during = f" (during {self.peak_operation})" if self.peak_operation else ""
        return [
            f"{self.trainable:,} of {self.parameters:,} parameters are trainable",
            f"predicted peak memory of a step: {_bytes(self.peak_memory)}{during}, "
            f"{_bytes(self.held_memory)} of it held between steps",
            f"{_count(self.forward_flops)}FLOP forward, {_count(self.step_flops)}FLOP a step",
        ]

    def __str__(self) -> str:
        rows = [_HEADER, *map(_cells, self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        lines = [
            "  ".join(
                cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
                for cell, width, name in zip(row, widths, _HEADER, strict=True)
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        warned = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, "", *self._summary(), *warned])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in _HEADER)
        body = []
        for layer in self.layers:
            style = ' style="color:#4a78b8"' if layer.state.startswith("frozen") else ""
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(layer))
            body.append(f"<tr{style}>{cells}</tr>")
        below = [f"<div>{escape(line)}</div>" for line in self._summary()]
        below += [f'<div class="warning">⚠ {escape(warning)}</div>' for warning in self.warnings]
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        return f'<div class="mlx-plan">{table}{"".join(below)}</div>'


_HEADER = ("layer", "type", "output", "parameters", "state", "bytes", "FLOP")
_NUMBERS = {"parameters", "bytes", "FLOP"}


def _cells(layer: LayerPlan) -> tuple[str, ...]:
    counted = layer.parameters > 0
    if layer.same_as is not None:
        state = f"tied to {layer.same_as or 'the model'}"
    elif layer.state == "partly frozen":
        state = f"{layer.trainable:,} trainable"
    else:
        state = layer.state
    return (
        layer.path or "(model)",
        layer.type,
        " ".join(map(str, layer.outputs)),
        f"{layer.parameters:,}" if counted else "",
        state,
        _bytes(layer.nbytes) if counted else "",
        _count(layer.flops) if layer.flops else "",
    )


def _bytes(n: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(n) >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"


def _count(n: int) -> str:
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} "
