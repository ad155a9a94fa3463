"""mlx.utils: trees of dicts, lists and tuples."""

import doctest
from typing import NamedTuple

import mlx.utils
import pytest
from mlx.utils import (
    tree_flatten,
    tree_map,
    tree_map_with_path,
    tree_merge,
    tree_reduce,
    tree_unflatten,
)

TREE = {"a": [1, {"b": 2}], "c": (3, 4)}
PAIRS = [("a.0", 1), ("a.1.b", 2), ("c.0", 3), ("c.1", 4)]


class Point(NamedTuple):
    x: int
    y: object


def is_tuple(node):
    return isinstance(node, tuple)


def test_examples_in_docstrings():
    result = doctest.testmod(mlx.utils)
    assert result.attempted >= 7
    assert result.failed == 0


@pytest.mark.parametrize(
    "tree, pairs",
    [
        (TREE, PAIRS),
        ({}, []),
        ({"a": {}, "b": [], "c": None}, [("c", None)]),
        (5, [("", 5)]),
        ({1: 2, 0: {3: 4}}, [("1", 2), ("0.3", 4)]),
        (Point(1, [2]), [("0", 1), ("1.0", 2)]),
    ],
)
def test_flatten(tree, pairs):
    assert tree_flatten(tree) == pairs
    assert tree_flatten(tree, destination={}) == dict(pairs)


def test_flatten_prefix():
    assert tree_flatten({"a": [1]}, prefix="p") == [("p.a.0", 1)]
    assert tree_flatten({"a": [1]}, prefix=".p") == [("p.a.0", 1)]


def test_flatten_is_leaf():
    assert tree_flatten(TREE, is_leaf=is_tuple)[-1] == ("c", (3, 4))


def test_flatten_into_a_given_container():
    pairs = [("z", 0)]
    assert tree_flatten({"a": 1}, destination=pairs) is pairs
    assert pairs == [("z", 0), ("a", 1)]
    with pytest.raises(ValueError, match=r"\[tree_flatten\] destination is a str"):
        tree_flatten(TREE, destination="no")


@pytest.mark.parametrize(
    "pairs, tree",
    [
        (PAIRS, {"a": [1, {"b": 2}], "c": [3, 4]}),
        ([], []),
        ([("", 5)], 5),
        ([("1", 5), ("0", 6)], [6, 5]),
        ([("0", 5), ("2", 6)], [5, {}, 6]),
        ([("a.0", 5), ("a.x", 6)], {"a": {"0": 5, "x": 6}}),
        ([("x", 5), ("0.a", 6)], {"x": 5, "0": {"a": 6}}),
        ([(f"a.{i}", i) for i in range(12)], {"a": list(range(12))}),
    ],
)
def test_unflatten(pairs, tree):
    assert tree_unflatten(pairs) == tree
    assert tree_unflatten(dict(pairs)) == tree
    assert tree_unflatten(tree_flatten(tree)) == tree or ("0", 5) in pairs


@pytest.mark.parametrize("pairs", [[("a", 1), ("a", 2)], [("", 1), ("", 2)], [("a.0", 1)] * 2])
def test_unflatten_refuses_a_path_that_occurs_twice(pairs):
    with pytest.raises(ValueError, match="same path"):
        tree_unflatten(pairs)


def test_map():
    assert tree_map(lambda x: x + 1, TREE) == {"a": [2, {"b": 3}], "c": (4, 5)}
    assert tree_map(lambda x, y, z: x + y * z, TREE, TREE, TREE)["c"] == (12, 20)
    assert tree_map(lambda x: x, {}) == {}
    assert tree_map(len, TREE["c"], is_leaf=is_tuple) == 2
    assert tree_map(lambda x: x + 1, Point(1, (2,))) == Point(2, (3,))
    assert isinstance(tree_map(lambda x: x + 1, Point(1, 2)), Point)


def test_map_takes_its_form_from_the_first_tree():
    assert tree_map(lambda x, y: (x, y), {"a": 1}, {"a": {"b": 1}, "c": 2}) == {"a": (1, {"b": 1})}
    with pytest.raises(KeyError, match="b"):
        tree_map(lambda x, y: x, {"a": 1, "b": 2}, {"a": 1})
    with pytest.raises(IndexError):
        tree_map(lambda x, y: x, [1, 2], [1])


def test_map_with_path():
    def pair(path, *leaves):
        return (path, *leaves)

    assert tree_map_with_path(pair, {"a": [1]}, {"a": [2]}) == {"a": [("a.0", 1, 2)]}
    assert tree_map_with_path(pair, {"a": [1]}, path="root") == {"a": [("root.a.0", 1)]}
    assert tree_map_with_path(pair, 5) == (None, 5)
    assert tree_map_with_path(pair, {"a": (1, 2)}, is_leaf=is_tuple) == {"a": ("a", (1, 2))}
    paths = tree_map_with_path(lambda path, _: path, TREE)
    assert [leaf for _, leaf in tree_flatten(paths)] == [path for path, _ in PAIRS]


def test_reduce():
    def add(total, x):
        return total + x

    assert tree_reduce(add, TREE) == 10
    assert tree_reduce(add, TREE, 100) == 110
    assert tree_reduce(lambda leaves, x: [*leaves, x], TREE, []) == [1, 2, 3, 4]
    assert tree_reduce(add, {}) is None
    assert tree_reduce(add, {}, 3) == 3
    assert tree_reduce(lambda n, x: n + len(x), [(1, 2), (3,)], 0, is_tuple) == 3


def test_merge():
    assert tree_merge({"a": 1, "b": {"c": 1}}, {"d": 2, "b": {"e": 5}}) == {
        "a": 1,
        "b": {"c": 1, "e": 5},
        "d": 2,
    }
    assert tree_merge([{"a": 1}, {}], [{}, {"b": 1}, {"c": 3}]) == [{"a": 1}, {"b": 1}, {"c": 3}]
    assert tree_merge((1, {}), (2, {"a": 3}), lambda a, b: a * 10 + b) == (12, {"a": 3})
    assert tree_merge({"a": None}, {"a": 2}) == {"a": 2}
    assert tree_merge({"a": 0}, {"a": 2}, lambda a, b: (a, b)) == {"a": (0, 2)}


def test_merge_leaves_its_arguments_alone():
    a, b = {"x": {"y": 1}}, {"x": {"z": 2}}
    tree_merge(a, b)
    assert (a, b) == ({"x": {"y": 1}}, {"x": {"z": 2}})


@pytest.mark.parametrize("a, b", [({"a": 1}, {"a": 2}), ([1], [2]), ({"a": {"b": 1}}, {"a": 2})])
def test_merge_conflict(a, b):
    with pytest.raises(ValueError, match=r"\[tree_merge\] .* no merge_fn"):
        tree_merge(a, b)


def test_merge_undoes_a_split():
    pairs = tree_flatten({"l": [{"w": 1, "b": 2}, {"w": 3, "b": 4}]})
    weights = tree_unflatten([p for p in pairs if p[0].endswith("w")])
    biases = tree_unflatten([p for p in pairs if p[0].endswith("b")])
    assert tree_flatten(tree_merge(weights, biases)) == pairs
