"""Misuse that crosses functions: sizes, axes, exceptions inside traced functions, evaluation where
there is none.

What one function refuses stands in its row of the table; here is what must hold for all of
them: a Python
exception that says what was wrong, and nothing lost.
"""

from __future__ import annotations

import contextlib

import mlx.core as mx
import numpy as np
import pytest
from op_table import BY_NAME
from scripts import run_python


@pytest.fixture(autouse=True)
def still_usable():
    yield
    a = mx.arange(6.0).reshape(2, 3)
    assert mx.grad(lambda x: (x * x).sum())(a).sum().item() == 30.0
    assert mx.vmap(mx.sum)(a).tolist() == [3.0, 12.0]


class Oops(Exception):
    pass


def raising(x):
    y = mx.sin(x)
    raise Oops(str(y.shape))


@pytest.mark.parametrize(
    "transform",
    [
        mx.grad,
        mx.value_and_grad,
        mx.vmap,
        mx.compile,
        mx.checkpoint,
        lambda f: lambda x: mx.vjp(f, [x], [x]),
        lambda f: lambda x: mx.jvp(f, [x], [x]),
        lambda f: mx.compile(mx.grad(f)),
        lambda f: mx.grad(mx.compile(f)),
        lambda f: mx.vmap(mx.vmap(mx.grad(f))),
        lambda f: mx.custom_function(f),
        lambda f: mx.grad(mx.checkpoint(f)),
    ],
)
def test_exceptions_pass_through_transforms(transform):
    """With their own type, and tracing is over afterwards: arrays can be evaluated again."""
    for _ in range(3):
        with pytest.raises(Oops):
            transform(raising)(mx.ones((2, 3)))
        assert mx.exp(mx.zeros((2,))).tolist() == [1.0, 1.0]


def test_exceptions_in_custom_rules():
    f = mx.custom_function(lambda x: x * 2)

    @f.vjp
    def bad(primals, cotangent, output):
        raise Oops("rule")

    with pytest.raises(Oops, match="rule"):
        mx.eval(mx.grad(lambda x: f(x).sum())(mx.ones((2,))))

    g = mx.custom_function(lambda x: x * 2)

    @g.vjp
    def shape(primals, cotangent, output):
        return mx.ones((7,))

    with contextlib.suppress(ValueError, RuntimeError):
        mx.eval(mx.grad(lambda x: g(x).sum())(mx.ones((2,))))


@pytest.mark.parametrize(
    "body",
    [
        lambda x: mx.eval(x * 2),
        lambda x: (x * 2).item(),
        lambda x: (x * 2).tolist(),
        lambda x: bool(x > 0),
        lambda x: np.array(x * 2),
        lambda x: float(x),
        lambda x: memoryview(x * 2),
        lambda x: str(x * 2),
    ],
    ids=["eval", "item", "tolist", "bool", "numpy", "float", "memoryview", "str"],
)
def test_no_evaluation_inside_vmap_and_compile(body):
    for transform in (mx.vmap, mx.compile):
        arg = mx.ones((3,)) if transform is mx.vmap else mx.array(1.0)
        with pytest.raises(ValueError, match=r"(?i)eval"):
            transform(lambda x: (body(x), x)[1])(arg)


def test_evaluation_inside_grad_is_fine():
    def f(x):
        if x.item() > 1:
            return x * x
        return x

    assert mx.grad(f)(mx.array(3.0)).item() == 6.0


def test_tracers_that_escape():
    kept = []
    mx.vmap(lambda x: (kept.append(x), x)[1])(mx.ones((3,)))
    mx.compile(lambda x: (kept.append(x), x * 2)[1])(mx.ones((3,)))
    for x in kept:
        with contextlib.suppress(ValueError, RuntimeError):
            mx.eval(x + 1)


@pytest.mark.parametrize(
    "name",
    [
        "zeros",
        "ones",
        "full",
        "eye",
        "identity",
        "broadcast_to",
        "reshape",
        "random.uniform",
        "tile",
    ],
)
def test_negative_sizes(name):
    calls = {
        "zeros": lambda: mx.zeros((2, -1)),
        "ones": lambda: mx.ones((-5,)),
        "full": lambda: mx.full((-1,), 2.0),
        "eye": lambda: mx.eye(-3),
        "identity": lambda: mx.identity(-3),
        "broadcast_to": lambda: mx.broadcast_to(mx.array(1.0), (-2,)),
        "reshape": lambda: mx.reshape(mx.ones((4,)), (-2, -2)),
        "random.uniform": lambda: mx.random.uniform(shape=(2, -2)),
        "tile": lambda: mx.tile(mx.ones((2,)), -1),
    }
    with pytest.raises(ValueError):
        mx.eval(calls[name]())


@pytest.mark.parametrize(
    "call",
    [
        lambda: mx.zeros((2**31, 2**31, 2**31)),
        lambda: mx.zeros((2**62,)),
        lambda: mx.zeros((2**100,)),
        lambda: mx.ones((2**20, 2**20, 2**20, 2**20)),
        lambda: mx.broadcast_to(mx.ones((1,)), (2**30, 2**30, 2**30)) + 1,
        lambda: mx.arange(2**62),
        lambda: mx.eye(2**31 - 1),
        lambda: mx.tile(mx.ones((2**10,)), (2**30, 2**30)),
        lambda: mx.repeat(mx.ones((2**20,)), 2**31 - 1),
        lambda: mx.pad(mx.ones((4,)), 2**31 - 1),
        lambda: mx.outer(mx.zeros((2**30,), mx.int8), mx.zeros((2**30,), mx.int8)),
        lambda: mx.random.uniform(shape=(2**30, 2**30)),
    ],
    ids=lambda f: "size",
)
def test_sizes_nobody_has(call):
    with pytest.raises((ValueError, OverflowError, MemoryError, RuntimeError, TypeError)):
        mx.eval(call())


@pytest.mark.parametrize("axis", [2, -3, 100, -(2**31), 2**31 - 1])
def test_axes_out_of_range(axis):
    a = mx.ones((2, 3))
    for name in (
        "sum",
        "max",
        "softmax",
        "cumsum",
        "argmax",
        "sort",
        "logsumexp",
        "mean",
        "flip",
        "squeeze",
    ):
        with pytest.raises((IndexError, ValueError)):
            mx.eval(getattr(mx, name)(a, axis=axis))
    for axis_first in ("expand_dims",):
        if axis not in (2, -3):
            with pytest.raises((IndexError, ValueError)):
                getattr(mx, axis_first)(a, axis)


def test_wrong_types_name_the_function_or_the_type():
    for call in (
        lambda: mx.sum("abc"),
        lambda: mx.matmul(mx.ones((2, 2)), None),
        lambda: mx.exp(None),
        lambda: mx.concatenate([mx.ones((2,)), "x"]),
    ):
        with pytest.raises((TypeError, ValueError)) as e:
            call()
        assert len(str(e.value)) > 10
    with pytest.raises(TypeError):
        mx.exp()
    with pytest.raises(TypeError):
        mx.exp(mx.array(1.0), no_such_keyword=3)
    with pytest.raises((TypeError, ValueError)):
        mx.zeros((2,), dtype="float32x")


def test_every_row_refuses_text():
    """No function takes a string for an array, and none crashes on it."""
    for op in BY_NAME.values():
        sample = op.samples[0]
        if op.call is not None or not sample.leaves() or op.name in ("einsum",):
            continue
        with pytest.raises((TypeError, ValueError), match=r"."):
            args, kwargs = sample.fill(["text"] * len(sample.leaves()))
            mx.eval(op.fn(*args, **kwargs))


def test_eval_of_anything():
    mx.eval()
    mx.eval({"a": [mx.ones((2,)), (mx.zeros((1,)),)]}, mx.array(1))


def test_out_of_range_does_not_write():
    """An index past the end must not reach memory of others, read or written."""
    a = mx.zeros((4,))
    mx.eval(a)
    neighbours = [mx.zeros((4,)) for _ in range(64)]
    mx.eval(neighbours)
    for k in (4, 5, 100, -5, 2**31 - 1, -(2**31)):
        with pytest.raises(IndexError):
            mx.eval(a.at[mx.array([k])].add(1.0))
        with pytest.raises(IndexError):
            mx.eval(mx.take(a, mx.array([k])))
        with pytest.raises(IndexError):
            mx.eval(mx.put_along_axis(a, mx.array([k]), mx.array([1.0]), axis=0))
    assert all(n.sum().item() == 0 for n in neighbours) and a.sum().item() == 0


def test_out_of_range_inside_graphs():
    x = mx.arange(4.0)
    i = mx.array([9])
    for call in (
        lambda: mx.exp(x[i]) + 1,
        lambda: mx.grad(lambda x: x[i].sum())(x),
        lambda: mx.vmap(lambda k: x[k])(i),
        lambda: mx.compile(lambda x, i: x[i] * 2)(x, i),
        lambda: mx.jvp(lambda x: x[i], [x], [x])[1],
    ):
        with pytest.raises(IndexError):
            mx.eval(call())
        assert x.sum().item() == 6.0


def test_fatal_signals_do_not_happen():
    """Calls that ended the process elsewhere, each in this one process."""
    run_python(
        """
        import mlx.core as mx
        a = mx.arange(12.0).reshape(3, 4)
        calls = [
            lambda: a[::0], lambda: a[-7], lambda: a[5], lambda: mx.as_strided(a, (2**20,
            2**20), (2**20, 1), 0),
            lambda: mx.as_strided(a, (3,), (1,), 10**9), lambda: a.at[7].add(1.0), lambda:
            mx.take(a, mx.array([10**9])),
            lambda: mx.split(a, 0), lambda: mx.arange(0, 1, 0.0), lambda: mx.zeros((0, 3)) @
            mx.zeros((3, 0)),
            lambda: mx.max(mx.zeros((0,))), lambda: mx.conv1d(mx.zeros((1, 4, 2)), mx.zeros((3,
            0, 2)), stride=0),
            lambda: mx.unflatten(mx.zeros((0,)), 0, (0, -1)), lambda: mx.full((3,), mx.zeros((0,))),
            lambda: mx.floor_divide(mx.array([-2**31]), mx.array([-1])), lambda:
            mx.remainder(mx.array([5]), mx.array([0])),
            lambda: mx.power(mx.array([0]), mx.array([-1])), lambda: mx.tensordot(a, a,
            axes=[[5], [7]]),
            lambda: mx.topk(mx.zeros((0,)), 1), lambda: mx.random.randint(5, 5, (3,)), lambda:
            mx.random.categorical(mx.zeros((2, 0))),
            lambda: mx.sum(mx.zeros((0, 3)), axis=0), lambda: mx.prod(mx.zeros((0, 3)), axis=1),
            lambda: mx.median(mx.zeros((0,))),
            lambda: mx.pad(mx.zeros((0,)), 2, mode='edge'), lambda: mx.pad(mx.zeros((0,)), 2,
            mode='reflect'),
            lambda: mx.searchsorted(mx.zeros((0,)), mx.ones((2,))), lambda:
            mx.fast.rope(mx.zeros((1, 0, 4)), 4, traditional=False, base=1e4, scale=1.,
            offset=0),
            lambda: mx.fast.layer_norm(mx.zeros((3, 0)), None, None, 1e-5), lambda:
            mx.softmax(mx.zeros((3, 0)), -1), lambda: mx.logsumexp(mx.zeros((3, 0)), -1),
            lambda: mx.einsum('', a), lambda: mx.einsum('->', a), lambda: mx.einsum(',,,', a),
            lambda: mx.linspace(0, 1, 10**12),
        ]
        for f in calls:
            try:
                r = f()
                mx.eval(r)
            except Exception:
                pass
        assert a.sum().item() == 66.0
        print('alive')
        """
    )
