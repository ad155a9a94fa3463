"""Functions over trees: nested dicts, lists and tuples with anything else at the leaves.

Parameters, gradients and optimizer states are such trees. A path names a leaf by the keys and
indices that lead to it, joined with dots: ``layers.0.attention.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

__all__ = [
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]

IsLeaf = Callable[[Any], bool]


def tree_map(fn: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Apply ``fn`` to every leaf and return the results in a tree of the same form.

    Args:
      fn: called with a leaf of ``tree`` and what stands at the same place in each tree of ``rest``.
      tree: decides the form; lists, tuples (also named ones) and dicts are walked, and every
        type of dict becomes ``dict``.
      rest: trees that contain at least the places of ``tree``; anything beyond that is ignored.
      is_leaf: a node for which it returns true goes to ``fn`` whole.
    Raises:
      KeyError, IndexError, TypeError: a tree of ``rest`` lacks a place of ``tree``.

    >>> tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20], "b": 0})
    {'a': [11, 22]}
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(tree, *rest)
    if isinstance(tree, dict):
        return {
            key: tree_map(fn, child, *(r[key] for r in rest), is_leaf=is_leaf)
            for key, child in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        mapped = (
            tree_map(fn, child, *(r[i] for r in rest), is_leaf=is_leaf)
            for i, child in enumerate(tree)
        )
        return _sequence_like(tree, mapped)
    return fn(tree, *rest)


def tree_map_with_path(
    fn: Callable[..., Any],
    tree: Any,
    *rest: Any,
    is_leaf: IsLeaf | None = None,
    path: Any | None = None,
) -> Any:
    """Like :func:`tree_map`, but ``fn`` also receives the path of the leaf as its first argument.

    Args:
      fn: called as ``fn(path, leaf, *rest_leaves)``.
      tree: decides the form.
      rest: trees that contain at least the places of ``tree``.
      is_leaf: a node for which it returns true goes to ``fn`` whole.
      path: the path of ``tree`` itself, put before all others. ``None`` for the root, and then
        the path of a tree that is a single leaf is ``None``.

    >>> tree_map_with_path(lambda path, x: f"{path}={x}", {"a": [1, 2]})
    {'a': ['a.0=1', 'a.1=2']}
    """
    if is_leaf is not None and is_leaf(tree):
        return fn(path, tree, *rest)

    def child_path(key: Any) -> str:
        return f"{path}.{key}" if path else str(key)

    if isinstance(tree, dict):
        return {
            key: tree_map_with_path(
                fn, child, *(r[key] for r in rest), is_leaf=is_leaf, path=child_path(key)
            )
            for key, child in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        mapped = (
            tree_map_with_path(
                fn, child, *(r[i] for r in rest), is_leaf=is_leaf, path=child_path(i)
            )
            for i, child in enumerate(tree)
        )
        return _sequence_like(tree, mapped)
    return fn(path, tree, *rest)


@overload
def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: IsLeaf | None = None,
    destination: list[tuple[str, Any]] | None = None,
) -> list[tuple[str, Any]]: ...
@overload
def tree_flatten(
    tree: Any, prefix: str = "", is_leaf: IsLeaf | None = None, *, destination: dict[str, Any]
) -> dict[str, Any]: ...
def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: IsLeaf | None = None,
    destination: list[tuple[str, Any]] | dict[str, Any] | None = None,
) -> list[tuple[str, Any]] | dict[str, Any]:
    """The leaves of ``tree`` with their paths. Empty containers leave no trace.

    Args:
      tree: the tree to flatten.
      prefix: put before every path; a dot in front of it is dropped.
      is_leaf: a node for which it returns true is a leaf.
      destination: a list or a dict that receives the leaves; ``None`` makes a new list.
    Returns:
      ``destination``: a list of ``(path, leaf)`` pairs, or a dict from path to leaf.
    Raises:
      ValueError: ``destination`` is neither a list nor a dict.

    >>> tree_flatten({"a": [1, {"b": 2}]})
    [('a.0', 1), ('a.1.b', 2)]
    >>> tree_flatten([1, 2], destination={})
    {'0': 1, '1': 2}
    """
    if destination is None:
        destination = []
    if isinstance(destination, list):

        def put(path: str, leaf: Any, pairs: list = destination) -> None:
            pairs.append((path, leaf))
    elif isinstance(destination, dict):
        put = destination.__setitem__
    else:
        raise ValueError(
            f"[tree_flatten] destination is a {type(destination).__name__}, "
            "expected a list, a dict or None"
        )

    _put_leaves(tree, prefix.removeprefix("."), is_leaf, put)
    return destination


def _put_leaves(
    node: Any, path: str, is_leaf: IsLeaf | None, put: Callable[[str, Any], None]
) -> None:
    # Not inside of tree_flatten: a function that refers to itself there would be a cycle, and all
    # leaves would wait for the garbage collector.
    if is_leaf is None or not is_leaf(node):
        if isinstance(node, dict):
            for key, child in node.items():
                _put_leaves(child, f"{path}.{key}" if path else str(key), is_leaf, put)
            return
        if isinstance(node, (list, tuple)):
            for i, child in enumerate(node):
                _put_leaves(child, f"{path}.{i}" if path else str(i), is_leaf, put)
            return
    put(path, node)


def tree_unflatten(tree: list[tuple[str, Any]] | dict[str, Any]) -> Any:
    """The tree that :func:`tree_flatten` took apart.

    Tuples come back as lists. Where all keys of a node are indices the node is a list, and an
    index that is missing holds ``{}``; otherwise it is a dict. No leaves at all make ``[]``.

    Args:
      tree: ``(path, leaf)`` pairs in any order, or a dict from path to leaf. A single pair with
        an empty path is a tree that is a leaf.
    Raises:
      ValueError: two leaves have the same path.

    >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
    {'a': [1, {'b': 2}]}
    """
    pairs = list(tree.items() if isinstance(tree, dict) else tree)
    if len(pairs) == 1 and pairs[0][0] == "":
        return pairs[0][1]

    children: dict[str, list[tuple[str, Any]]] = {}
    for path, leaf in pairs:
        key, _, rest = path.partition(".")
        children.setdefault(key, []).append((rest, leaf))
    if "" in children and len(children[""]) == len(pairs) > 1:
        raise ValueError(f"[tree_unflatten] {len(pairs)} leaves have the same path, expected one")

    if not all(key.isdecimal() for key in children):
        return {key: tree_unflatten(below) for key, below in children.items()}
    nodes = {int(key): tree_unflatten(below) for key, below in children.items()}
    return [nodes.get(i, {}) for i in range(max(nodes, default=-1) + 1)]


def tree_reduce(
    fn: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = None,
    is_leaf: IsLeaf | None = None,
) -> Any:
    """Combine all leaves to ``fn(... fn(fn(initializer, a), b) ...)``, ordered as when flattened.

    Args:
      fn: takes what was combined so far and the next leaf.
      tree: the tree to reduce.
      initializer: the first value; ``None`` starts with the first leaf.
      is_leaf: a node for which it returns true is a leaf.
    Returns:
      The combination, or ``initializer`` for a tree without leaves.

    >>> tree_reduce(lambda total, x: total + x, {"a": [1, 2], "b": 3}, 0)
    6
    """
    total = initializer
    for leaf in _leaves(tree, is_leaf):
        total = leaf if total is None else fn(total, leaf)
    return total


def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable[[Any, Any], Any] | None = None) -> Any:
    """One tree with the leaves of both.

    Dicts are united key by key and sequences index by index (the longer one decides the length).
    ``None`` and empty containers give way to the other side.

    Args:
      tree_a: a tree; its containers decide the types of the result.
      tree_b: another tree.
      merge_fn: makes one leaf of two that stand at the same place; ``None`` makes that an error.
    Raises:
      ValueError: the trees hold leaves at the same place and there is no ``merge_fn``.

    >>> tree_merge({"a": 1, "b": [{}, 2]}, {"b": [3], "c": 4})
    {'a': 1, 'b': [3, 2], 'c': 4}
    """
    if _is_nothing(tree_a):
        return tree_b
    if _is_nothing(tree_b):
        return tree_a
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        merged = dict(tree_a)
        for key, node in tree_b.items():
            merged[key] = tree_merge(merged.get(key), node, merge_fn)
        return merged
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        shared = min(len(tree_a), len(tree_b))
        nodes = [tree_merge(tree_a[i], tree_b[i], merge_fn) for i in range(shared)]
        return _sequence_like(tree_a, [*nodes, *tree_a[shared:], *tree_b[shared:]])
    if merge_fn is None:
        raise ValueError(
            f"[tree_merge] both trees have something at the same place, a {type(tree_a).__name__} "
            f"and a {type(tree_b).__name__}, and no merge_fn was given to combine them"
        )
    return merge_fn(tree_a, tree_b)


def _sequence_like(template: Any, items: Iterable[Any]) -> Any:
    """``items`` in a list or tuple of the template's type; a named tuple takes them one by one."""
    make = type(template)
    return make(*items) if hasattr(template, "_fields") else make(items)


def _leaves(tree: Any, is_leaf: IsLeaf | None) -> Iterator[Any]:
    walked = isinstance(tree, (dict, list, tuple)) and not (is_leaf and is_leaf(tree))
    if not walked:
        yield tree
        return
    for child in tree.values() if isinstance(tree, dict) else tree:
        yield from _leaves(child, is_leaf)


def _is_nothing(node: Any) -> bool:
    return node is None or (isinstance(node, (dict, list, tuple)) and not node)
