"""What all optimizers share: trees, state, schedules, compilation, several optimizers at once."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map, tree_unflatten


def values(tree):
    return {path: np.array(x) for path, x in tree_flatten(tree)}


def assert_trees_equal(a, b):
    a, b = values(a), values(b)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


def assert_trees_close(a, b):
    a, b = values(a), values(b)
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_allclose(a[path], b[path], rtol=1e-5, atol=1e-6, err_msg=path)


def network():
    mx.random.seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def loss(model, x, y):
    return mx.mean(mx.square(model(x) - y))


X = mx.array(np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32))
Y = mx.array(np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32))


def train(model, optimizer, steps):
    grad = nn.value_and_grad(model, loss)
    history = []
    for _ in range(steps):
        value, gradients = grad(model, X, Y)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state)
        history.append(value.item())
    return history


# State


def test_state_layout():
    optimizer = optim.Adam(0.1)
    assert set(optimizer.state) == {"step", "learning_rate"}
    optimizer.init({"a": mx.ones(2), "l": [{"b": mx.ones((2, 3))}, {}]})
    names = [path for path, _ in tree_flatten(optimizer.state)]
    assert names == ["step", "learning_rate", "a.m", "a.v", "l.0.b.m", "l.0.b.v"]
    assert optimizer.state["step"].dtype == mx.uint64
    assert optimizer.learning_rate.dtype == mx.float32


def test_init_keeps_what_is_there():
    optimizer, x = optim.Adam(0.1), {"a": mx.ones(2)}
    optimizer.apply_gradients(x, x)
    optimizer.init({"a": mx.ones(2), "b": mx.ones(3)})
    assert optimizer.state["a"]["m"].tolist() == pytest.approx([0.1, 0.1])
    assert optimizer.state["b"]["m"].tolist() == [0, 0, 0]


def test_a_checkpoint_of_the_state_continues_exactly(tmp_path):
    model, optimizer = network(), optim.AdamW(optim.cosine_decay(0.1, 10), bias_correction=True)
    train(model, optimizer, 3)
    file = str(tmp_path / "state.safetensors")
    mx.save_safetensors(file, dict(tree_flatten({"m": model.parameters(), "o": optimizer.state})))
    train(model, optimizer, 3)

    other, again = network(), optim.AdamW(optim.cosine_decay(0.1, 10), bias_correction=True)
    saved = tree_unflatten(mx.load(file))
    other.update(saved["m"])
    again.state = saved["o"]
    train(other, again, 3)
    assert_trees_equal(model.parameters(), other.parameters())
    assert_trees_equal(optimizer.state, again.state)


def test_state_must_be_a_dict():
    with pytest.raises(ValueError, match=r"\[SGD.state\] got a list"):
        optim.SGD(0.1).state = []


# Gradients that cover only a part


def test_without_init_the_first_gradients_make_the_state():
    explicit, implicit = optim.Adam(0.1), optim.Adam(0.1)
    x = {"a": mx.ones(2), "l": [mx.ones(3)]}
    explicit.init(x)
    assert_trees_equal(explicit.apply_gradients(x, x), implicit.apply_gradients(x, x))
    assert_trees_equal(explicit.state, implicit.state)


def test_only_what_has_a_gradient_moves():
    optimizer = optim.SGD(0.5)
    parameters = {"a": mx.ones(2), "l": [{"b": mx.ones(2)}, {"b": mx.ones(2)}]}
    moved = optimizer.apply_gradients({"l": [{}, {"b": mx.ones(2)}]}, parameters)
    assert_trees_equal(moved, {"l": [{}, {"b": mx.array([0.5, 0.5])}]})
    assert "a" not in optimizer.state


def test_thawed_layers_get_their_state_and_frozen_ones_keep_it():
    model, optimizer = network(), optim.Adam(0.01)
    model.freeze()
    model.layers[4].unfreeze()
    optimizer.init(model.trainable_parameters())
    before = values(model.parameters())
    train(model, optimizer, 2)
    after = values(model.parameters())
    for path in before:
        moved = bool((before[path] != after[path]).any())
        assert moved == path.startswith("layers.4"), path

    kept = values(optimizer.state["layers"][4])
    model.unfreeze()
    model.layers[4].freeze()
    train(model, optimizer, 2)
    assert optimizer.state["layers"][0]["weight"]["m"].shape == (8, 4)
    assert mx.abs(optimizer.state["layers"][0]["weight"]["m"]).max().item() > 0
    for path, x in values(optimizer.state["layers"][4]).items():
        np.testing.assert_array_equal(x, kept[path])
    for path, x in values(model.layers[4].parameters()).items():
        np.testing.assert_array_equal(x, after[f"layers.4.{path}"])
    assert optimizer.step.item() == 4


def test_state_made_late_equals_state_made_early():
    early, late = optim.Adam(0.1), optim.Adam(0.1)
    parameters = {"a": mx.ones(2), "l": [{"b": mx.ones(2)}, {"c": mx.ones(2)}]}
    early.init(parameters)
    for optimizer in (early, late):
        optimizer.apply_gradients({"l": [{}, {"c": mx.ones(2)}]}, parameters)
        optimizer.apply_gradients(tree_map(lambda x: 2 * x, parameters), parameters)
    early, late = values(early.state), values(late.state)
    assert early.keys() == late.keys()
    for path in early:
        np.testing.assert_array_equal(early[path], late[path])


def test_empty_gradients_are_a_step_that_moves_nothing():
    optimizer = optim.Adam(lambda step: step * 1.0)
    optimizer.init({})
    assert optimizer.apply_gradients({}, {"a": mx.ones(1)}) == {}
    assert optimizer.apply_gradients({"l": [{}, {}]}, {"l": [{"a": mx.ones(1)}, {}]}) == {
        "l": [{}, {}]
    }
    assert optimizer.step.item() == 2
    assert optimizer.learning_rate.item() == 1


@pytest.mark.parametrize(
    "gradients, error, message",
    [
        ({"z": mx.ones(2)}, KeyError, "'z' has no parameter"),
        ({"l": [{"a": mx.ones(2)}, {"q": mx.ones(2)}]}, KeyError, r"l\.1\.q"),
        ({"l": [{}, {}, {"a": mx.ones(2)}]}, KeyError, r"l\.2"),
        ({"a": {"b": mx.ones(2)}}, KeyError, r"a\.b"),
        ({"a": mx.ones(3)}, ValueError, r"'a'.*\(3,\).*\(2,\)"),
        ({"a": mx.ones((1, 2))}, ValueError, r"'a'.*\(1, 2\).*\(2,\)"),
        ({"l": mx.ones(2)}, ValueError, r"'l'.*its parameter is a list"),
        ([mx.ones(2)], ValueError, r"\[Adam.apply_gradients\] got a list"),
        (mx.ones(2), ValueError, "got a array, expected a dict"),
    ],
)
def test_gradients_that_do_not_fit(gradients, error, message):
    parameters = {"a": mx.ones(2), "l": [{"a": mx.ones(2)}, {"a": mx.ones(2)}]}
    optimizer = optim.Adam(0.1)
    optimizer.init(parameters)
    with pytest.raises(error, match=message):
        optimizer.apply_gradients(gradients, parameters)


@pytest.mark.parametrize("name", ["step", "learning_rate"])
def test_a_parameter_must_not_be_named_like_an_entry_of_the_state(name):
    with pytest.raises(ValueError, match=f"'{name}' is a array"):
        optim.Adam(0.1).init({name: mx.ones(2)})


def test_parameters_keep_their_dtype_under_mixed_precision():
    optimizer = optim.Adam(0.1)
    parameters = {"a": mx.ones(2, mx.bfloat16), "b": mx.ones(2)}
    moved = optimizer.apply_gradients({"a": mx.ones(2), "b": mx.ones(2, mx.float16)}, parameters)
    assert (moved["a"].dtype, moved["b"].dtype) == (mx.bfloat16, mx.float32)


# Learning rate


def test_learning_rate_can_be_a_number_an_array_or_a_schedule():
    x = {"a": mx.array([1.0])}
    for rate in (0.5, mx.array(0.5), np.float32(0.5), lambda step: mx.array(0.5)):
        assert optim.SGD(rate).apply_gradients(x, x)["a"].item() == 0.5

    optimizer = optim.SGD(0.5)
    optimizer.learning_rate = 2
    assert optimizer.learning_rate.dtype == mx.float32
    assert optimizer.apply_gradients(x, x)["a"].item() == -1
    assert optimizer.state["learning_rate"].item() == 2


def test_the_first_update_uses_the_schedule_at_step_0():
    optimizer, x = optim.SGD(lambda step: 1.0 + step), {"a": mx.array(0.0)}
    positions = []
    for _ in range(3):
        x = optimizer.apply_gradients({"a": mx.array(1.0)}, x)
        positions.append(x["a"].item())
    assert positions == [-1, -3, -6]


# Compilation


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda: optim.AdamW(optim.cosine_decay(0.05, 6), bias_correction=True),
        lambda: optim.Adafactor(),
        lambda: optim.MultiOptimizer(
            [optim.Muon(0.02), optim.Adam(0.05)], [lambda path, x: x.ndim == 2]
        ),
    ],
)
@pytest.mark.parametrize("init", [True, False])
def test_a_compiled_step_equals_an_eager_one(make, init):
    eager_model, eager = network(), make()
    train(eager_model, eager, 5)

    model, optimizer = network(), make()
    if init:
        optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state]
    traces = 0

    def step(x, y):
        nonlocal traces
        traces += 1
        value, gradients = nn.value_and_grad(model, loss)(model, x, y)
        optimizer.update(model, gradients)
        return value

    compiled = mx.compile(step, inputs=state, outputs=state)
    for _ in range(5):
        compiled(X, Y)
        mx.eval(state)
    # Without init, the state appears during the first call: one more trace.
    assert traces == (1 if init else 2)
    assert optimizer.state["states"][0]["step"].item() == 5 if "states" in optimizer.state else True
    assert_trees_close(eager_model.parameters(), model.parameters())
    assert_trees_close(eager.state, optimizer.state)


def test_nothing_of_a_step_is_kept_beside_the_state():
    """Scalars shared within a step must not leak into the next one, whose learning rate differs."""
    optimizer, x = optim.AdamW(0.1, weight_decay=0.5), {"a": mx.ones(2), "b": mx.ones(2)}
    optimizer.apply_gradients(x, x)
    optimizer.learning_rate = 0.0
    state = {"m": mx.zeros(2), "v": mx.zeros(2)}
    assert optimizer.apply_single(x["a"], x["a"], state).tolist() == [1, 1]
    assert_trees_equal(optimizer.apply_gradients(x, x), x)


def test_an_optimizer_of_your_own():
    class SignDescent(optim.Optimizer):
        def __init__(self, learning_rate):
            super().__init__()
            self._maybe_schedule("learning_rate", learning_rate)

        def init_single(self, parameter, state):
            state["flips"] = mx.zeros_like(parameter)

        def apply_single(self, gradient, parameter, state):
            state["flips"] = state["flips"] + (gradient < 0)
            return parameter - self.learning_rate.astype(gradient.dtype) * mx.sign(gradient)

    optimizer = SignDescent(optim.step_decay(1.0, 0.5, 1))
    x = {"a": mx.array([0.0, 0.0])}
    for _ in range(2):
        x = optimizer.apply_gradients({"a": mx.array([3.0, -4.0])}, x)
    assert x["a"].tolist() == [-1.5, 1.5]
    assert optimizer.state["a"]["flips"].tolist() == [0, 2]


# Several optimizers


def test_multi_optimizer_gives_each_parameter_to_one_optimizer():
    def make():
        return optim.SGD(0.1), optim.Adam(0.01), optim.Lion(0.02)

    filters = [lambda path, x: path.startswith("l.1"), lambda path, x: x.ndim == 2]
    multi = optim.MultiOptimizer(make(), filters)
    parameters = {"l": [{"w": mx.ones((2, 2)), "b": mx.ones(2)}, {"w": mx.ones((2, 2))}]}
    multi.init(parameters)
    assert set(multi.state) == {"states"}
    moved = multi.apply_gradients(parameters, parameters)

    sgd, adam, lion = make()
    w = mx.ones((2, 2))
    expected = {
        "l": [
            {
                "w": adam.apply_gradients({"x": w}, {"x": w})["x"],
                "b": lion.apply_gradients({"x": w[0]}, {"x": w[0]})["x"],
            },
            {"w": sgd.apply_gradients({"x": w}, {"x": w})["x"]},
        ]
    }
    assert_trees_equal(moved, expected)
    paths = [
        [path for path, _ in tree_flatten(s) if path.startswith("l.")]
        for s in multi.state["states"]
    ]
    assert paths == [["l.1.w.v"], ["l.0.w.m", "l.0.w.v"], ["l.0.b.m"]]
    assert multi.step.item() == 1


def test_multi_optimizer_state_and_learning_rate():
    def make():
        return optim.MultiOptimizer(
            [optim.Adam(0.01), optim.Lion(0.02)], [lambda p, x: x.ndim == 2]
        )

    first, second = make(), make()
    model = network()
    history = train(model, first, 4)
    assert history[-1] < history[0]
    second.state = tree_unflatten(tree_flatten(first.state))
    assert_trees_equal(first.state, second.state)
    assert first.learning_rate.item() == pytest.approx(0.01)
    first.learning_rate = 0.5
    assert [s["learning_rate"].item() for s in first.state["states"]] == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"\[MultiOptimizer.state\]"):
        first.state = {"states": [{}]}


def test_multi_optimizer_with_a_filter_that_takes_all():
    multi = optim.MultiOptimizer([optim.SGD(1.0), optim.SGD(2.0)], [lambda path, x: True])
    x = {"a": mx.ones(1)}
    multi.init(x)
    assert multi.apply_gradients(x, x)["a"].item() == 0


@pytest.mark.parametrize("optimizers, filters", [(0, 0), (1, 1), (2, 0), (2, 2)])
def test_multi_optimizer_needs_one_filter_less(optimizers, filters):
    with pytest.raises(ValueError, match=r"\[MultiOptimizer\] got"):
        optim.MultiOptimizer([optim.SGD(0.1)] * optimizers, [lambda path, x: True] * filters)
