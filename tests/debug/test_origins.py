"""Nodes say which line of Python, which module and which forward node they come from, while somebody asks."""

from __future__ import annotations

import inspect
import threading

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten


def line() -> int:
    """Of the caller."""
    return inspect.currentframe().f_back.f_lineno


def number(a: mx.array) -> int:
    return int(mx.debug.origin(a).line.split(":")[1].split(" ")[0])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 8)
        self.down = nn.Linear(8, 4)

    def __call__(self, x):
        return self.down(mx.tanh(self.up(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Block(), Block()]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_line_and_function():
    with mx.debug.record_origins():
        a = mx.exp(mx.ones((3,)))
        at = line() - 1
        b = mx.array([1.0])
    assert number(a) == at
    assert mx.debug.origin(a).line.endswith("in test_line_and_function")
    assert "test_origins.py" in str(mx.debug.origin(a))
    assert mx.debug.origin(a).path == ""
    assert number(b) == at + 2, "arrays made from data have an origin too"
    mx.eval(a)
    assert number(a) == at, "evaluation does not lose it"


def test_nothing_is_remembered_while_no_tool_is_on():
    a = mx.exp(mx.ones((3,)))
    assert not mx.debug.origin(a)
    assert "__call__" in Net.__dict__
    before = Net.__call__
    with mx.debug.record_origins():
        assert Net.__call__ is not before
    assert Net.__call__ is before
    assert not mx.debug.origin(mx.exp(a))


def test_module_path_and_lines_inside_the_package():
    net = Net()
    with mx.debug.record_origins():
        y = net.layers[1].up(mx.ones((2, 4)))
    found = mx.debug.origin(y)
    assert found.path == "Net.layers.1.up"
    assert found.line.endswith("in test_module_path_and_lines_inside_the_package")
    assert any("linear.py" in place for place in found.via)


def test_gradients_name_the_forward_node():
    net = Net()

    def loss(net, x):
        return net(x).sum()

    with mx.debug.record_origins():
        _, grads = nn.value_and_grad(net, loss)(net, mx.ones((2, 4)))
    flat = dict(tree_flatten(grads))
    assert len(flat) == 8
    for path, g in flat.items():
        found = mx.debug.origin(g)
        assert found.is_backward and found.relation == "backward"
        assert found.path == f"Net.{path.rpartition('.')[0]}"
        assert found.line.endswith("in __call__")
        assert str(found).startswith("backward of ")


def test_nodes_from_before_are_said_to_be_so():
    x = mx.array([1.0, 2.0])
    with mx.debug.record_origins():
        y = x + 1
    assert not mx.debug.origin(x)
    assert mx.debug.origin(y)


def test_jvp_vmap_and_checkpoint():
    def f(x):
        return mx.exp(x).sum()

    at = line() - 2
    x = mx.ones((3, 4))
    with mx.debug.record_origins():
        _, (t,) = mx.jvp(f, [x], [x])
        v = mx.vmap(f)(x)
        g = mx.grad(mx.checkpoint(f))(x)
    assert mx.debug.origin(t).relation == "tangent"
    assert number(t) == at
    assert number(v) == at
    assert mx.debug.origin(v).relation == ""
    # The recomputed part knows both its own line and that it is part of a backward pass.
    assert mx.debug.origin(g).is_backward
    assert number(g) == at


def test_rules_of_custom_functions_have_their_own_lines():
    @mx.custom_function
    def f(x):
        return mx.sin(x)

    @f.vjp
    def f_vjp(primals, cotangent, output):
        return cotangent * mx.cos(primals)

    at = line() - 2
    with mx.debug.record_origins():
        g = mx.grad(lambda x: f(x).sum())(mx.ones((3,)))
    assert number(g) == at
    assert mx.debug.origin(g).is_backward


def test_compiled_functions_are_traced_again_once():
    calls = []

    def f(x):
        calls.append(1)
        return mx.exp(x) * 2

    at = line() - 2
    fast = mx.compile(f)
    x = mx.ones((3,))
    first = fast(x)
    assert len(calls) == 1
    with mx.debug.record_origins():
        second, third = fast(x), fast(x)
    assert len(calls) == 2
    assert number(second) == number(third) == at
    assert not mx.debug.origin(first)
    fourth = fast(x)
    assert len(calls) == 2, "the new trace serves afterwards"
    np.testing.assert_array_equal(np.array(first), np.array(fourth))


def test_classes_made_while_a_tool_is_on_and_subclasses():
    with mx.debug.record_origins():

        class Late(Net):
            def __call__(self, x):
                return super().__call__(x) * 2

        call = Late.__dict__["__call__"]
        late = Late()
        y = late(mx.ones((1, 4)))
    assert mx.debug.origin(y).path == "Late"
    assert Late.__dict__["__call__"] is call.__wrapped__


def test_threads_have_modules_of_their_own():
    net, found = Net(), {}

    def work(i):
        for _ in range(20):
            found[i] = mx.debug.origin(net.layers[i](mx.ones((1, 4)))).path
            assert found[i] == f"Net.layers.{i}.down"

    with mx.debug.record_origins():
        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert found == {0: "Net.layers.0.down", 1: "Net.layers.1.down"}


def test_a_failing_module_leaves_the_path():
    class Bad(nn.Module):
        def __call__(self, x):
            raise KeyError("no")

    with mx.debug.record_origins():
        with pytest.raises(KeyError):
            Bad()(mx.ones((1,)))
        assert mx.debug.origin(mx.ones((2,)) + 1).path == ""
