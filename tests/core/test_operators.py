"""Operators, dtype promotion as recorded, methods and aliases: all of them are the functions
under other names.
"""

from __future__ import annotations

import json
import operator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from op_row import ALL, dtype_name
from op_table import BY_NAME

PROMOTION = json.loads((Path(__file__).parents[1] / "data" / "promotion.json").read_text())
A = np.arange(12, dtype=np.float32).reshape(3, 4)


def of(name: str) -> mx.Dtype:
    return getattr(mx, name)


BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


class TestOperators:
    @pytest.mark.parametrize("name", BINARY)
    def test_with_arrays_and_numbers(self, name):
        op = BINARY[name]
        a, b = np.array([5.0, 2.5, 3.0], np.float32), np.array([2.0, 2.5, -2.0], np.float32)
        for x, y in (
            (mx.array(a), mx.array(b)),
            (mx.array(a), 2.0),
            (5.0, mx.array(b)),
            (mx.array(a), 2),
            (3, mx.array(b)),
            (mx.array(a), mx.array(2.0)),
        ):
            u, v = (np.array(t) if isinstance(t, mx.array) else t for t in (x, y))
            got, want = op(x, y), op(u, v)
            assert isinstance(got, mx.array) and np.allclose(np.array(got), want)

    @pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
    def test_bits(self, name):
        op = getattr(operator, name)
        a, b = np.array([12, 7, 1], np.int32), np.array([3, 1, 2], np.int32)
        assert op(mx.array(a), mx.array(b)).tolist() == op(a, b).tolist()
        assert op(mx.array(a), 2).tolist() == op(a, 2).tolist()
        if name in ("and_", "or_", "xor"):
            m, n = np.array([True, True, False]), np.array([True, False, False])
            assert op(mx.array(m), mx.array(n)).tolist() == op(m, n).tolist()
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            op(mx.array([1.0]), 1)

    def test_unary(self):
        a = mx.array([1.0, -2.0])
        assert (-a).tolist() == [-1, 2] and abs(a).tolist() == [1, 2] and (+a).tolist() == [1, -2]
        assert (~mx.array([0, 5])).tolist() == [-1, -6] and (~mx.array([True])).tolist() == [False]
        with pytest.raises((TypeError, ValueError)):
            _ = ~a
        with pytest.raises((TypeError, ValueError)):
            _ = -mx.array([True])

    @pytest.mark.parametrize(
        ("name", "value", "want"),
        [
            ("iadd", 2, [6, 9]),
            ("isub", 2, [2, 5]),
            ("imul", 3, [12, 21]),
            ("ifloordiv", 2, [2, 3]),
            ("imod", 3, [1, 1]),
            ("ipow", 2, [16, 49]),
            ("iand", 6, [4, 6]),
            ("ior", 1, [5, 7]),
            ("ixor", 1, [5, 6]),
            ("ilshift", 1, [8, 14]),
            ("irshift", 1, [2, 3]),
        ],
    )
    def test_in_place_keeps_the_object(self, name, value, want):
        a = mx.array([4, 7])
        alias = a
        a = getattr(operator, name)(a, value)
        assert a is alias and alias.tolist() == want
        f = mx.array([1.0, 2.0])
        g = f
        f /= 2
        assert f is g and g.tolist() == [0.5, 1.0]
        m = mx.eye(2)
        m @= mx.array([[1.0, 2.0], [3.0, 4.0]])
        assert m.tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_matmul(self):
        assert (mx.array(A) @ mx.array(A.T)).tolist() == (A @ A.T).tolist()

    def test_unknown_operands(self):
        a = mx.array([1.0])
        for bad in (
            lambda: a + "x",
            lambda: "x" + a,
            lambda: a * object(),
            lambda: a < "x",
            lambda: a @ 3,
        ):
            with pytest.raises((TypeError, ValueError)):
                bad()
        assert (a == "x") is False and (a != "x") is True

    def test_other_types_get_their_turn(self):
        class Answer:
            def __radd__(self, other):
                return "radd"

        try:
            assert mx.array([1.0]) + Answer() == "radd"
        except (TypeError, ValueError):
            pytest.fail("__radd__ of the other operand was not tried")


class TestPromotion:
    @pytest.mark.parametrize("a", ALL)
    def test_recorded_table(self, a):
        x = mx.array([1]).astype(of(a))
        for key, want in PROMOTION.items():
            left, right = key.split("+")
            if left != a:
                continue
            scalar = {"bool": True, "int": 1, "float": 1.5, "complex": 1j}.get(right)
            y = scalar if scalar is not None else mx.array([1]).astype(of(right))
            assert dtype_name(x + y) == want, key
            if scalar is not None:
                assert dtype_name(y + x) == PROMOTION[f"{right}+{left}"], key
            else:
                assert (
                    dtype_name(mx.zeros((0,), mx.bool_).astype(mx.result_type(of(left), of(right))))
                    == want
                )

    def test_scalars_that_do_not_fit(self):
        with pytest.raises((ValueError, OverflowError)):
            mx.array([1], mx.uint8) + 300
        assert (mx.array([1.0], mx.float16) + 1e9).tolist() == [float("inf")]


METHODS = [
    ("abs", ()),
    ("all", ()),
    ("any", ()),
    ("argmax", (1,)),
    ("argmin", (1,)),
    ("conj", ()),
    ("cos", ()),
    ("cummax", (0,)),
    ("cummin", (0,)),
    ("cumprod", (0,)),
    ("cumsum", (1,)),
    ("diag", ()),
    ("diagonal", ()),
    ("exp", ()),
    ("flatten", ()),
    ("log", ()),
    ("log10", ()),
    ("log1p", ()),
    ("log2", ()),
    ("logcumsumexp", (0,)),
    ("logsumexp", (0,)),
    ("max", (0,)),
    ("mean", (0,)),
    ("min", ()),
    ("moveaxis", (0, 1)),
    ("prod", (1,)),
    ("reciprocal", ()),
    ("round", (1,)),
    ("rsqrt", ()),
    ("sin", ()),
    ("split", (2, 1)),
    ("sqrt", ()),
    ("square", ()),
    ("squeeze", ()),
    ("std", (0,)),
    ("sum", (1,)),
    ("swapaxes", (0, 1)),
    ("transpose", ((1, 0),)),
    ("var", ()),
]


@pytest.mark.parametrize(("name", "args"), METHODS, ids=[m for m, _ in METHODS])
def test_methods_are_the_functions(name, args):
    a = mx.array(A) + 0.5
    got, want = getattr(a, name)(*args), getattr(mx, name)(a, *args)
    if isinstance(want, list):
        assert all(mx.array_equal(g, w) for g, w in zip(got, want, strict=True))
    else:
        assert got.dtype == want.dtype and mx.array_equal(got, want)


def test_shape_arguments_as_numbers():
    a = mx.array(A)
    assert a.reshape(2, -1).shape == a.reshape((2, -1)).shape == (2, 6)
    assert a.transpose(1, 0).shape == (4, 3) and a.reshape(3, 2, 2).transpose(2, 0, 1).shape == (
        2,
        3,
        2,
    )
    assert a.astype(mx.int32).view(mx.uint32).dtype == mx.uint32


def test_aliases_are_the_functions():
    pairs = {
        "acos": "arccos",
        "asin": "arcsin",
        "atan": "arctan",
        "atan2": "arctan2",
        "acosh": "arccosh",
        "asinh": "arcsinh",
        "atanh": "arctanh",
        "pow": "power",
        "cumulative_sum": "cumsum",
        "cumulative_prod": "cumprod",
        "bitwise_left_shift": "left_shift",
        "bitwise_right_shift": "right_shift",
        "empty": "zeros",
        "empty_like": "zeros_like",
    }
    for alias, name in pairs.items():
        assert hasattr(mx, alias), alias
        if name in BY_NAME and name not in ("zeros", "zeros_like"):
            sample = BY_NAME[name].samples[0]
            operands = [mx.array(np.full(g.shape, 2, np.int32)) for g in sample.leaves()]
            got, want = (
                getattr(mx, n)(*sample.fill(operands)[0], **sample.kwargs) for n in (alias, name)
            )
            assert mx.array_equal(got, want, equal_nan=True), alias
