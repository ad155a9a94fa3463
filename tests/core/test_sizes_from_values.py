"""Functions whose result has a size that depends on values: without `size` they look at the values, and say so
where a transformation does not know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "nonzero": (mx.nonzero, np.nonzero),
    "argwhere": (mx.argwhere, np.argwhere),
    "unique": (mx.unique, np.unique),
    "bincount": (lambda a: mx.bincount(a.flatten()), lambda a: np.bincount(a.ravel())),
}
ARRAYS = [
    np.array([[0, 1, 2], [3, 0, 1]]),
    np.array([0, 0]),
    np.zeros((0, 2), np.int32),
    np.array([[[5]]]),
]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("a", ARRAYS, ids=lambda a: str(a.shape))
def test_evaluated(name: str, a: np.ndarray):
    ours, numpys = FUNCTIONS[name]
    got, want = ours(mx.array(a.astype(np.int32))), numpys(a)
    for g, w in zip(*((x,) if not isinstance(x, tuple) else x for x in (got, want)), strict=True):
        np.testing.assert_array_equal(np.array(g), w)
        assert g.shape == w.shape


@pytest.mark.parametrize("name", FUNCTIONS)
def test_refused_while_tracing(name: str):
    ours = FUNCTIONS[name][0]
    keyword = "length" if name == "bincount" else "size"
    with pytest.raises(ValueError, match=rf"\[{name}\].*{keyword}="):
        mx.compile(ours)(mx.array([1, 0, 2]))
    with pytest.raises(ValueError, match=rf"\[{name}\].*{keyword}="):
        mx.vmap(ours)(mx.array([[1, 0, 2]]))


def test_unique_without_size_gives_what_was_asked_for():
    a = np.array([[3, 1], [1, 7]])
    for flags in ({"return_index": True}, {"return_counts": True, "return_inverse": True}):
        for g, w in zip(mx.unique(mx.array(a), **flags), np.unique(a, **flags), strict=True):
            np.testing.assert_array_equal(np.array(g), w)
    assert mx.unique(mx.array([mx.nan, 1.0, mx.nan])).size == 3


def test_bincount_minlength_and_weights():
    got = mx.bincount(mx.array([1, 1, 2]), mx.array([0.5, 0.25, 2.0]), minlength=5)
    assert got.tolist() == [0, 0.75, 2, 0, 0]


def test_a_quantile_that_is_not_known_yet_is_nan_outside():
    half = mx.array(0.5)
    got = mx.quantile(mx.array([1.0, 2.0, 3.0]), mx.stack([half + 1, half]))
    np.testing.assert_array_equal(np.array(got), [np.nan, 2.0])
