"""Learning rates, trees and states that do not fit: clear errors, or what is documented."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest
from mlx.utils import tree_flatten, tree_unflatten

A = {"a": mx.ones((2, 3)), "b": mx.array(2.0)}
MAKERS = {
    "sgd": lambda rate: optim.SGD(rate, momentum=0.9),
    "adam": lambda rate: optim.Adam(rate),
    "adamax": lambda rate: optim.Adamax(rate),
    "lion": lambda rate: optim.Lion(rate),
    "adafactor": lambda rate: optim.Adafactor(rate, relative_step=False),
    "muon": lambda rate: optim.Muon(rate),
    "rmsprop": lambda rate: optim.RMSprop(rate),
}


# ---- learning rates


@pytest.mark.parametrize("name", MAKERS)
def test_learning_rates_may_be_arrays(name):
    expected = MAKERS[name](0.25).apply_gradients(A, A)
    for rate in (mx.array(0.25), mx.array([[0.25]]), mx.array(0.25, mx.float16)):
        optimizer = MAKERS[name](rate)
        assert optimizer.learning_rate.shape == ()
        moved = optimizer.apply_gradients(A, A)
        for key in A:
            assert moved[key].dtype == mx.float32 and moved[key].shape == A[key].shape
            assert mx.allclose(moved[key], expected[key], rtol=1e-6)
        optimizer.learning_rate = mx.array([0.5])
        assert optimizer.learning_rate.shape == ()
    whole = MAKERS[name](mx.array(1)).apply_gradients(A, A)
    assert mx.allclose(whole["a"], MAKERS[name](1.0).apply_gradients(A, A)["a"])


def test_learning_rates_from_schedules_may_be_arrays():
    optimizer = optim.SGD(lambda step: mx.array([0.5]) if step.item() == 0 else 0.25)
    assert optimizer.apply_gradients(A, A)["b"].item() == 1.0
    assert optimizer.apply_gradients(A, A)["b"].item() == 1.5


@pytest.mark.parametrize("rate", ["0.1", None, [0.1], {}])
def test_what_is_no_learning_rate(rate):
    kind = type(rate).__name__
    with pytest.raises(TypeError, match=rf"\[Adam\] learning_rate is a {kind}, expected a number"):
        optim.Adam(rate)
    with pytest.raises(TypeError, match=rf"\[SGD\] learning_rate is a {kind}"):
        optim.SGD(0.1).learning_rate = rate


def test_a_learning_rate_with_axes_does_not_change_shapes():
    rates = mx.array([0.5, 0.25, 0.0])
    assert optim.SGD(rates).apply_gradients({"a": mx.ones(3)}, {"a": mx.ones(3)})["a"].tolist() == [
        0.5,
        0.75,
        1.0,
    ]
    with pytest.raises(ValueError, match=r"change the shape of 'b' from \(\) to \(3,\)"):
        optim.SGD(rates).apply_gradients({"b": A["b"]}, A)


# ---- trees


@pytest.mark.parametrize("name", MAKERS)
def test_empty_trees(name):
    optimizer = MAKERS[name](0.1)
    optimizer.init({})
    assert optimizer.apply_gradients({}, {}) == {} and optimizer.step.item() == 1
    optimizer.update(nn.Sequential(nn.ReLU()), {"layers": [{}]})
    assert optimizer.step.item() == 2
    assert optim.clip_grad_norm({}, 1.0)[1].item() == 0


@pytest.mark.parametrize("leaf", [None, 1.0, "x"])
def test_leaves_that_are_no_arrays(leaf):
    kind = type(leaf).__name__
    with pytest.raises(TypeError, match=rf"\[Adam\] parameter 'l.0' is a {kind}"):
        optim.Adam(0.1).init({"l": [leaf]})
    with pytest.raises(TypeError, match=rf"gradient of 'l.0' is a {kind}, expected an array"):
        optim.Adam(0.1).apply_gradients({"l": [leaf]}, {"l": [mx.ones(1)]})


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shape", [(3, 2), (1, 3), (2,), (2, 3, 1)])
def test_other_shapes_than_initialised(name, shape):
    optimizer = MAKERS[name](0.1)
    optimizer.init({"l": [{"a": mx.ones(shape)}]})
    other = {"l": [{"a": mx.ones((2, 3))}]}
    with pytest.raises(ValueError, match=r"the state '\w+' of 'l.0.a' .*made for other param"):
        optimizer.apply_gradients(other, other)
    fresh = MAKERS[name](0.1)
    fresh.apply_gradients(other, other)
    with pytest.raises(ValueError, match=r"made for other"):
        fresh.apply_gradients({"l": [{"a": mx.ones(shape)}]}, {"l": [{"a": mx.ones(shape)}]})


def test_other_names_than_initialised():
    optimizer = optim.Adam(0.1)
    optimizer.init({"a": mx.ones(2)})
    moved = optimizer.apply_gradients({"b": mx.ones(3)}, {"b": mx.ones(3)})  # thawed later
    assert set(moved) == {"b"} and optimizer.state["b"]["m"].shape == (3,)
    with pytest.raises(KeyError, match="gradient 'c' has no parameter"):
        optimizer.apply_gradients({"c": mx.ones(3)}, {"b": mx.ones(3)})
    with pytest.raises(ValueError, match=r"\[Adam\] the state of parameter 'a.m' is a"):
        optimizer.init({"a": {"m": mx.ones(2)}, "step": mx.ones(1)})


def test_the_state_of_another_optimizer():
    sgd, adam = optim.SGD(0.1, momentum=0.9), optim.Adam(0.1)
    sgd.init(A)
    adam.state = sgd.state
    with pytest.raises(
        ValueError, match=r"\[Adam.apply_gradients\] the state 'm' of 'a' is missing"
    ):
        adam.apply_gradients(A, A)
    adam.state = {}
    with pytest.raises(ValueError, match=r"\[Adam\] the state has no 'step'.*has nothing"):
        adam.apply_gradients(A, A)
    adam.state = {"step": mx.array(0, mx.uint64), "a": {}}
    with pytest.raises(ValueError, match=r"\[Adam\] the state has no 'learning_rate'"):
        adam.apply_gradients(A, A)
    loaded = optim.Adam(0.1)
    loaded.apply_gradients(A, A)
    again = optim.Adam(0.5)
    again.state = tree_unflatten(tree_flatten(loaded.state))
    one, other = loaded.apply_gradients(A, A), again.apply_gradients(A, A)
    assert all(mx.array_equal(one[key], other[key]) for key in A)


def test_several_optimizers_and_keys_that_are_numbers():
    tree = {"experts": {"0": {"w": mx.ones((2, 2)), "b": mx.ones(2)}, "7": {"b": mx.ones(2)}}}
    multi = optim.MultiOptimizer([optim.SGD(0.5), optim.Adam(0.1)], [lambda path, x: x.ndim == 2])
    multi.init(tree)
    moved = multi.apply_gradients(tree, tree)
    assert {path for path, _ in tree_flatten(moved)} == {path for path, _ in tree_flatten(tree)}
    assert isinstance(moved["experts"], dict)
    assert moved["experts"]["0"]["w"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert "b" in multi.state["states"][1]["experts"]["7"]
    assert multi.apply_gradients({}, tree) == {} and multi.step.item() == 2


def test_an_optimizer_with_rules_of_its_own_may_keep_any_state():
    class Odd(optim.Optimizer):
        def init_single(self, parameter, state):
            state["count"] = 0
            state["row"] = mx.zeros(parameter.shape[:1])

        def apply_single(self, gradient, parameter, state):
            state["count"] += 1
            return parameter - gradient

    optimizer = Odd()
    optimizer.init({"a": mx.ones((2, 3))})
    assert optimizer.apply_gradients({"a": A["a"]}, A)["a"].shape == (2, 3)
    assert optimizer.state["a"]["count"] == 1
