"""``graph_svg``: a picture of a graph. Layers from top to bottom, drawn without Graphviz."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from html import escape
from typing import Any

import mlx.core as mx

from ._origins import Origin, origin_of_id

_ROW, _GAP, _LINE, _CHARACTER, _MARGIN = 64, 18, 14, 6.6, 20
_COLORS = ("#fde2c8", "#d5e8d4", "#dae8fc", "#e8dcf3", "#fff2b8", "#f8d7da", "#cdeeea", "#e3e6c5")
_SWEEPS = 8


@dataclass
class _Box:
    lines: list[str]
    kind: str  # "array", "operation", "output"; "way" where an edge passes a layer
    group: int = -1
    about: str = ""
    above: list[_Box] = field(default_factory=list)
    below: list[_Box] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0

    @property
    def width(self) -> float:
        return 0 if self.kind == "way" else max(map(len, self.lines)) * _CHARACTER + 16

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 8


def graph_svg(file: str | os.PathLike | Any, *args: Any, **kwargs: mx.array) -> None:
    """Draws the graph that computes arrays as an SVG picture; evaluates nothing.

    Boxes are operations with the shape and dtype of their results; arrays that have a value already
    are round, and outputs have a thick border. Operations that will run together have a colour.
    Where nodes know who built them (:func:`record_origins`), their line and module show when the
    pointer rests on a box. ::

        mx.debug.graph_svg("graph.svg", loss, x=x)

    Args:
      file: a path or a text stream.
      args: the arrays, or trees of them.
      kwargs: arrays with the names they shall have in the picture.
    """
    names: dict[int, str] = {}
    for name, a in kwargs.items():
        if not isinstance(a, mx.array):
            raise TypeError(f"[graph_svg] {name} is a {type(a).__name__}, expected an array")
        names[mx._array_id(a)] = name
    boxes = _boxes(mx._graph(*(args or kwargs.values())), _ids(args or list(kwargs.values())), names)
    text = _draw(_layers(boxes))
    if hasattr(file, "write"):
        file.write(text)
        return
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)


def _ids(tree: Any) -> set[int]:
    from mlx.utils import tree_flatten

    return {mx._array_id(a) for _, a in tree_flatten(list(tree)) if isinstance(a, mx.array)}


def _boxes(graph: list[tuple], outputs: set[int], names: dict[int, str]) -> list[_Box]:
    """In topological order."""
    boxes: list[_Box] = []
    made: dict[int, _Box] = {}
    for operation, inputs, results, group in graph:
        lines = [operation] if operation else []
        for number, shape, dtype, _ in results:
            what = f"{str(dtype).removeprefix('mlx.core.')} {list(shape)}"
            lines.append(f"{names[number]}: {what}" if number in names else what)
        is_output = any(number in outputs for number, *_ in results)
        kind = "output" if is_output else "operation" if operation else "array"
        about: Origin = origin_of_id(results[0][3])
        box = _Box(lines, kind, group, str(about) if about else "")
        for source in dict.fromkeys(inputs):
            if source in made:
                box.above.append(made[source])
        boxes.append(box)
        made.update((number, box) for number, *_ in results)
    return boxes


def _layers(boxes: list[_Box]) -> list[list[_Box]]:
    """Each box below all that it needs, inputs close to their first use, in an order with few crossings."""
    users: dict[int, list[_Box]] = defaultdict(list)
    for box in boxes:
        box.layer = 1 + max((b.layer for b in box.above), default=-1)
        for source in box.above:
            users[id(source)].append(box)
    for box in boxes:
        if not box.above and users[id(box)]:
            box.layer = min(user.layer for user in users[id(box)]) - 1
    layers: list[list[_Box]] = [[] for _ in range(1 + max((b.layer for b in boxes), default=0))]
    for box in boxes:
        layers[box.layer].append(box)
        box.above = [_way(source, box.layer, layers) for source in box.above]
        for source in box.above:
            source.below.append(box)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        _number(layers)
        for layer in layers if down else reversed(layers):
            keys = {id(b): _mean(b.above if down else b.below, b.x) for b in layer}
            layer.sort(key=lambda b, keys=keys: keys[id(b)])
            for i, box in enumerate(layer):
                box.x = i
    _place(layers)
    return layers


def _way(source: _Box, layer: int, layers: list[list[_Box]]) -> _Box:
    """Where an edge into `layer` comes from: it passes the layers between."""
    for between in range(source.layer + 1, layer):
        way = next((b for b in source.below if b.kind == "way"), None)
        if way is None:
            way = _Box([""], "way", layer=between, above=[source])
            source.below.append(way)
            layers[between].append(way)
        source = way
    return source


def _number(layers: list[list[_Box]]) -> None:
    for layer in layers:
        for i, box in enumerate(layer):
            box.x = i


def _mean(boxes: list[_Box], otherwise: float) -> float:
    return sum(b.x for b in boxes) / len(boxes) if boxes else otherwise


def _place(layers: list[list[_Box]]) -> None:
    """Coordinates: towards the middle of the neighbours, without overlaps."""
    for layer in layers:
        x = 0.0
        for box in layer:
            box.x = x + box.width / 2
            x += box.width + _GAP
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = [_mean(b.above if down else b.below, b.x) for b in layer]
            left = list(wanted)
            for i in range(1, len(layer)):
                apart = (layer[i - 1].width + layer[i].width) / 2 + _GAP
                left[i] = max(left[i], left[i - 1] + apart)
            right = list(wanted)
            for i in range(len(layer) - 2, -1, -1):
                apart = (layer[i + 1].width + layer[i].width) / 2 + _GAP
                right[i] = min(right[i], right[i + 1] - apart)
            # Both keep the distances, so does their middle.
            for box, a, b in zip(layer, left, right, strict=True):
                box.x = (a + b) / 2


def _draw(layers: list[list[_Box]]) -> str:
    boxes = [b for layer in layers for b in layer]
    left = min((b.x - b.width / 2 for b in boxes), default=0) - _MARGIN
    width = max((b.x + b.width / 2 for b in boxes), default=0) + _MARGIN - left
    tops, y = [], float(_MARGIN)
    for layer in layers:
        tops.append(y)
        y += max((b.height for b in layer), default=0) + _ROW - 2 * _LINE
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" '
        f'viewBox="{left:.0f} 0 {width:.0f} {y:.0f}" font-family="monospace" font-size="11">',
        f'<rect x="{left:.0f}" y="0" width="{width:.0f}" height="{y:.0f}" fill="white"/>',
    ]
    for box in boxes:
        for source in box.above:
            out.append(_edge(source, box, tops))
    for box in boxes:
        if box.kind != "way":
            out.append(_shape(box, tops[box.layer]))
    return "\n".join([*out, "</svg>", ""])


def _edge(source: _Box, box: _Box, tops: list[float]) -> str:
    x0, x1 = source.x, box.x
    y0, y1 = tops[source.layer] + source.height, tops[box.layer]
    if source.kind == "way":
        y0 = tops[source.layer]
    bend = (y1 - y0) / 2
    path = f"M{x0:.1f},{y0:.1f} C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1:.1f}"
    return f'<path d="{path}" fill="none" stroke="#888"/>'


def _shape(box: _Box, top: float) -> str:
    color = _COLORS[box.group % len(_COLORS)] if box.group >= 0 else "#ffffff"
    group = f"fused group {box.group}" if box.group >= 0 else ""
    title = escape("\n".join(filter(None, [*box.lines, group, box.about])))
    radius = 12 if box.kind == "array" else 2
    border = 2.5 if box.kind == "output" else 1
    parts = [
        f'<g class="{box.kind}"><title>{title}</title>',
        f'<rect x="{box.x - box.width / 2:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius}" fill="{color}" stroke="#444" stroke-width="{border}"/>',
    ]
    for i, line in enumerate(box.lines):
        weight = ' font-weight="bold"' if i == 0 and box.kind != "array" and len(box.lines) > 1 else ""
        y = top + _LINE * (i + 1)
        parts.append(f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle"{weight}>{escape(line)}</text>')
    return "".join([*parts, "</g>"])
