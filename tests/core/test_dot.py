"""mx.export_to_dot: what it writes is DOT, and is the graph."""

from __future__ import annotations

import io
import re

import mlx.core as mx
import pytest


def dot_statements(text: str) -> tuple[dict[str, str], set[str], list[tuple[str, str]]]:
    """Labels of operations, names of arrays, and edges of a DOT text; every character is accounted for."""
    name = r'(?:\d+|"(?:[^"\\]|\\.)*")'
    rest = text.strip()
    assert rest.startswith("digraph {") and rest.endswith("}")
    rest = rest[len("digraph {") : -1]
    labels, arrays, edges = {}, set(), []
    pattern = re.compile(
        rf"\s*(?:\{{ (?P<op>\d+) \[label =(?P<label>{name}), shape=rectangle\]; \}}"
        rf"|\{{ (?:rank=\w+; )?(?P<array>{name}); \}}|(?P<a>{name}) -> (?P<b>{name}))\n?"
    )
    at = 0
    while rest[at:].strip():
        m = pattern.match(rest, at)
        assert m, rest[at : at + 80]
        at = m.end()
        if m["op"]:
            labels[m["op"]] = m["label"].strip('"')
        elif m["array"]:
            arrays.add(m["array"])
        else:
            edges.append((m["a"], m["b"]))
    return labels, arrays, edges


class TestDot:
    def test_graph(self, tmp_path):
        x = mx.array([1.0, 2.0])
        y = mx.array([3.0, 4.0])
        z = mx.sin(x) + y
        pieces = mx.split(z * 2, 2)
        for file in (str(tmp_path / "g.dot"), tmp_path / "g.dot"):
            mx.export_to_dot(file, pieces[1], x=x, y=y)
            labels, arrays, edges = dot_statements((tmp_path / "g.dot").read_text())
            assert sorted(labels.values()) == ["add", "multiply", "sin", "split"]
            assert {'"x"', '"y"'} <= arrays
            nodes = set(labels) | arrays
            assert all(a in nodes and b in nodes for a, b in edges)
            assert sum(a in labels for a, _ in edges) == 5  # the split has two outputs

    def test_stream_and_odd_names(self):
        out = io.StringIO()
        x, y = mx.array(1.0), mx.array(2.0)
        mx.export_to_dot(out, x + y, **{'a "quoted" \\ name': x, "B": y})
        labels, arrays, _ = dot_statements(out.getvalue())
        assert list(labels.values()) == ["add"] and len(arrays) == 3
        mx.export_to_dot(io.StringIO(), [x + y, {"k": x * y}])
        with pytest.raises(TypeError, match="array"):
            mx.export_to_dot(io.StringIO(), x + y, x=3)

    def test_outputs_that_nobody_holds(self):
        x = mx.arange(64.0)
        total = mx.array(0.0)
        for _ in range(20):
            last = mx.split(x, 2)[1]
            total = total + last.sum()
        out = io.StringIO()
        mx.export_to_dot(out, total)
        labels, _, edges = dot_statements(out.getvalue())
        assert sorted(labels.values()).count("split") == 20
        assert sum(b in labels and labels[b] == "sum" for _, b in edges) == 20
