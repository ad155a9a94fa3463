"""Pictures of graphs: every node is there, nothing overlaps, fused groups share a colour."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import mlx.core as mx
import mlx.nn as nn
import pytest

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*args, **kwargs):
    stream = io.StringIO()
    mx.debug.graph_svg(stream, *args, **kwargs)
    return ET.fromstring(stream.getvalue())


def boxes(picture):
    """(texts, class, colour, rectangle) of each node."""
    found = []
    for g in picture.iter(f"{SVG}g"):
        r = g.find(f"{SVG}rect")
        x, y, w, h = (float(r.get(k)) for k in ("x", "y", "width", "height"))
        texts = [t.text for t in g.iter(f"{SVG}text")]
        found.append((texts, g.get("class"), r.get("fill"), (x, y, x + w, y + h)))
    return found


def test_nodes_edges_and_groups():
    x, w = mx.ones((3, 4)) * 1, mx.ones((4, 2)) * 1
    mx.eval(x, w)
    y = mx.tanh(x @ w * 2 + 1).sum()
    picture = drawn(y, x=x)
    found = {texts[0]: (texts, kind, color) for texts, kind, color, _ in boxes(picture)}
    assert found["x: float32 [3, 4]"][1] == "array"
    assert found["Matmul"][0] == ["Matmul", "float32 [3, 2]"]
    assert found["sum"][1] == "output"
    assert found["multiply"][2] == found["add"][2] == found["tanh"][2] != "#ffffff"
    assert found["Matmul"][2] == found["sum"][2] == "#ffffff"
    # x, w -> Matmul -> multiply <- 2, -> add <- 1, -> tanh -> sum
    assert len(picture.findall(f"{SVG}path")) == 8
    assert y.tolist() == pytest.approx(6.0, abs=1e-3), "drawing evaluates nothing and spoils nothing"


def test_nothing_overlaps_and_edges_go_down():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    mx.eval(model.parameters())
    x = mx.ones((3, 4))
    results = nn.value_and_grad(model, lambda m: m(x).square().mean())(model)
    picture = drawn(*results)
    found = boxes(picture)
    assert len(found) > 30
    for i, (_, _, _, a) in enumerate(found):
        for _, _, _, b in found[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    left, top, width, height = map(float, picture.get("viewBox").split())
    for _, _, _, (x0, y0, x1, y1) in found:
        assert left <= x0 and x1 <= left + width and top <= y0 and y1 <= top + height
    for path in picture.iter(f"{SVG}path"):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.get("d"))]
        assert numbers[1] < numbers[-1]


def test_origins_show_where_they_are_known(tmp_path):
    with mx.debug.record_origins():
        y = mx.exp(mx.array([1.0])) < 2
    mx.debug.graph_svg(tmp_path / "graph.svg", {"y": [y]})
    text = (tmp_path / "graph.svg").read_text()
    assert "test_graph_svg.py" in text
    assert "bool [1]" in text


def test_operations_with_several_outputs_and_arrays_without_graph():
    picture = drawn(mx.split(mx.arange(6) * 2, 2), mx.linalg.qr(mx.eye(3), stream=mx.cpu))
    assert any(len(texts) == 3 for texts, *_ in boxes(picture))
    a = mx.array([1.0])
    assert [b[0] for b in boxes(drawn(a))] == [["float32 [1]"]]
    assert boxes(drawn()) == []


def test_a_long_chain_is_drawn():
    x = mx.ones((2,))
    for _ in range(1000):
        x = x + 1
    assert len(boxes(drawn(x))) > 1000


def test_names_are_checked():
    with pytest.raises(TypeError, match=r"\[graph_svg\] a is a int, expected an array"):
        mx.debug.graph_svg(io.StringIO(), a=1)
