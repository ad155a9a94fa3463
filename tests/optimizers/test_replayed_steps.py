"""Later steps of the optimizers of the package come from a trace (mlx/optimizers/replay.py): nobody may notice.

The reference is a subclass that changes nothing, which is never replayed.
"""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import mlx.core as mx
import mlx.optimizers as optim
import pytest
from mlx.utils import tree_flatten, tree_map

MAKERS = {
    "SGD": {"learning_rate": 0.1},
    "SGD-momentum": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    "SGD-nesterov": {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    "RMSprop": {"learning_rate": 0.01},
    "Adagrad": {"learning_rate": 0.01},
    "AdaDelta": {"learning_rate": 0.1},
    "Adam": {"learning_rate": 0.01},
    "Adam-corrected": {"learning_rate": 0.01, "bias_correction": True},
    "AdamW": {"learning_rate": optim.cosine_decay(0.05, 6)},
    "Adamax": {"learning_rate": 0.01},
    "Lion": {"learning_rate": 0.01, "weight_decay": 0.1},
    "Adafactor": {},
    "Adafactor-mean": {"beta_1": 0.9, "weight_decay": 0.1, "warmup_init": True},
    "Muon": {"learning_rate": 0.02},
}


def make(name: str, replayed: bool) -> optim.Optimizer:
    kind = getattr(optim, name.split("-")[0])
    if not replayed:
        kind = type(kind.__name__, (kind,), {"__module__": __name__})
    return kind(**MAKERS[name])


def tree(seed: int) -> dict:
    """Mixed dtypes, shapes that come twice, lists, an empty place."""
    key = mx.random.key(seed)
    draw = lambda i, shape, dtype=mx.float32: mx.random.normal(  # noqa: E731
        shape, key=mx.random.split(key, 8)[i]
    ).astype(dtype)
    return {
        "layers": [
            {"weight": draw(0, (24, 16)), "bias": draw(1, (24,))},
            {"weight": draw(2, (24, 16)), "bias": draw(3, (24,), mx.bfloat16)},
        ],
        "head": {"weight": draw(4, (8, 24), mx.float16), "scale": draw(5, ())},
        "nothing": {},
    }


def assert_same(a, b) -> None:
    flat_a, flat_b = tree_flatten(a), tree_flatten(b)
    assert [path for path, _ in flat_a] == [path for path, _ in flat_b]
    for (path, x), (_, y) in zip(flat_a, flat_b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape, path
        assert mx.array_equal(x, y, equal_nan=True), path


class Pair:
    """An optimizer and its reference, step by step."""

    def __init__(self, name: str) -> None:
        self.optimizers = [make(name, True), make(name, False)]
        self.parameters = [tree(0), tree(0)]

    def step(self, gradients: dict) -> None:
        for i, optimizer in enumerate(self.optimizers):
            moved = optimizer.apply_gradients(gradients, self.parameters[i])
            self.parameters[i] = merged(self.parameters[i], moved)
        self.check()

    def set(self, **settings) -> None:
        for optimizer in self.optimizers:
            for name, value in settings.items():
                setattr(optimizer, name, value)

    def check(self) -> None:
        assert_same(*self.parameters)
        assert_same(*(optimizer.state for optimizer in self.optimizers))


def merged(old, new):
    if isinstance(new, dict):
        return {key: merged(old[key], new[key]) if key in new else old[key] for key in old}
    if isinstance(new, list):
        return [merged(a, b) for a, b in zip(old, new, strict=True)]
    return new


def count_calls(monkeypatch, kind: type) -> list:
    """Of apply_single: what is replayed has none."""
    calls: list = []
    method = kind.apply_single

    def counted(self, *args):
        calls.append(1)
        return method(self, *args)

    monkeypatch.setattr(kind, "apply_single", counted)
    return calls


@pytest.mark.parametrize("name", MAKERS)
def test_same_bits(name):
    pair = Pair(name)
    for i in range(5):
        pair.step(tree(i + 1))


def test_it_is_replayed(monkeypatch):
    calls = count_calls(monkeypatch, optim.Adam)
    optimizer, parameters = optim.Adam(0.1), tree(0)
    for expected in (6, 12, 12, 12):  # the usual way, traced, then no more
        parameters = optimizer.apply_gradients(tree(1), parameters)
        assert len(calls) == expected


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SGD-momentum", [{"momentum": 0.5}, {"weight_decay": 0.0}, {"dampening": 0.1}]),
        ("AdamW", [{"betas": [0.5, 0.9]}, {"eps": 1e-3}, {"weight_decay": 0.5}]),
        ("Adam", [{"bias_correction": True}, {"betas": (0.8, 0.99)}, {"learning_rate": 0.5}]),
        ("Lion", [{"betas": [mx.array(0.5), mx.array(0.25)]}, {"weight_decay": mx.array(0.5)}]),
        ("Muon", [{"ns_steps": 2}, {"nesterov": False}]),
    ],
)
def test_settings_that_change(name, changes):
    pair = Pair(name)
    for i in range(3):
        pair.step(tree(i + 1))
    for change in changes:
        pair.set(**change)
        pair.step(tree(7))
        pair.step(tree(8))


def test_lists_that_are_changed_in_place():
    pair = Pair("Adam")
    pair.set(betas=[0.9, 0.999])
    for i in range(3):
        pair.step(tree(i + 1))
    for optimizer in pair.optimizers:
        optimizer.betas[0] = 0.1
    pair.step(tree(5))


def test_parts_that_are_frozen_and_come_back():
    pair = Pair("AdamW")
    whole = tree(1)
    head = {"head": whole["head"]}
    for gradients in (head, head, head, whole, whole, head, whole, {}, whole):
        pair.step(gradients)


def test_several_optimizers():
    parameters = [tree(0), tree(0)]
    optimizers = [
        optim.MultiOptimizer([make("Muon", replayed), make("AdamW", replayed)], [lambda path, x: x.ndim == 2])
        for replayed in (True, False)
    ]
    for i in range(4):
        parameters = [merged(p, o.apply_gradients(tree(i + 1), p)) for o, p in zip(optimizers, parameters, strict=True)]
        assert_same(*parameters)
    assert_same(*(optimizer.state for optimizer in optimizers))


def test_a_state_that_is_restored():
    pair = Pair("Adam")
    for i in range(3):
        pair.step(tree(i + 1))
    saved = [tree_map(lambda x: x, optimizer.state) for optimizer in pair.optimizers]
    parameters = list(pair.parameters)
    after = []
    for _ in range(2):
        for i in range(3):
            pair.step(tree(i + 4))
        after.append(pair.parameters[0])
        for optimizer, state in zip(pair.optimizers, saved, strict=True):
            optimizer.state = tree_map(lambda x: x, state)
        pair.parameters = list(parameters)
    assert_same(*after)


def test_the_state_changes_in_place():
    optimizer, parameters = optim.Adam(0.1), tree(0)
    optimizer.init(parameters)
    state, moments = optimizer.state, optimizer.state["head"]["weight"]
    for _ in range(4):
        optimizer.apply_gradients(tree(1), parameters)
    assert optimizer.state is state and state["head"]["weight"] is moments
    assert state["step"].item() == 4
    assert mx.abs(moments["m"]).max() > 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(duplicate):
    optimizer, parameters = optim.Adam(0.1), tree(0)
    for _ in range(3):
        parameters = optimizer.apply_gradients(tree(1), parameters)
    mx.eval(parameters, optimizer.state)
    try:
        other = duplicate(optimizer)
    except TypeError:
        pytest.skip("arrays are not copied this way")
    for _ in range(3):
        assert_same(
            optimizer.apply_gradients(tree(2), parameters),
            other.apply_gradients(tree(2), parameters),
        )
    assert_same(optimizer.state, other.state)


def test_errors_are_those_of_every_step():
    optimizer, parameters = optim.Adam(0.1), tree(0)
    for _ in range(3):
        optimizer.apply_gradients(tree(1), parameters)
    wrong = tree(1)
    wrong["head"]["weight"] = mx.zeros((3, 3), mx.float16)
    with pytest.raises(ValueError, match=r"gradient of 'head.weight'.*has shape \(3, 3\)"):
        optimizer.apply_gradients(wrong, parameters)
    wrong["head"]["weight"] = 1.0
    with pytest.raises(TypeError, match=r"gradient of 'head.weight' is a float"):
        optimizer.apply_gradients(wrong, parameters)
    with pytest.raises(KeyError, match="gradient 'other' has no parameter"):
        optimizer.apply_gradients({"other": mx.zeros(3)}, parameters)
    optimizer.learning_rate = mx.ones((2, 24, 16))
    with pytest.raises(ValueError, match=r"would change the shape of"):
        optimizer.apply_gradients(tree(1), parameters)
    optimizer.learning_rate = 0.1
    optimizer.apply_gradients(tree(1), parameters)


def test_a_subclass_goes_its_own_way():
    seen = []

    class Mine(optim.SGD):
        def apply_single(self, gradient, parameter, state):
            seen.append(1)
            return super().apply_single(gradient, parameter, state)

    optimizer, parameters = Mine(0.1), tree(0)
    for _ in range(4):
        parameters = optimizer.apply_gradients(tree(1), parameters)
    assert len(seen) == 4 * 6


def test_one_object_with_a_method_of_its_own():
    optimizer, parameters = optim.SGD(0.1), tree(0)
    optimizer.apply_single = lambda gradient, parameter, state: parameter
    for _ in range(3):
        assert_same(optimizer.apply_gradients(tree(1), parameters), parameters)


def test_inside_transforms():
    pair = Pair("Adam")
    gradients = tree(1)
    for _ in range(3):
        pair.step(gradients)

    for optimizer in pair.optimizers:

        def after_step(rate, optimizer=optimizer):
            state = tree_map(lambda x: x, optimizer.state)
            optimizer.learning_rate = rate
            moved = optimizer.apply_gradients(gradients, pair.parameters[0])
            optimizer.state = state
            return moved["layers"][0]["weight"].square().sum()

        value, slope = mx.value_and_grad(after_step)(mx.array(0.1))
        lower, upper = after_step(mx.array(0.095)), after_step(mx.array(0.105))
        assert abs((upper - lower).item() / 0.01 - slope.item()) < 0.05 * abs(slope.item()) + 0.5
        batched = mx.vmap(after_step)(mx.array([0.1, 0.2]))
        assert mx.allclose(batched[0], value, rtol=1e-3)
        assert mx.array_equal(mx.compile(after_step)(mx.array(0.1)), after_step(mx.array(0.1)))


def test_nothing_is_kept():
    optimizer = optim.Adam(0.1)
    parameters = {"w": mx.zeros((64, 64)), "b": mx.zeros((64,))}

    def step(parameters, optimizer=optimizer):
        gradients = tree_map(lambda x: mx.ones_like(x) * 0.5, parameters)
        parameters = optimizer.apply_gradients(gradients, parameters)
        mx.eval(parameters, optimizer.state)
        return parameters

    for _ in range(3):
        parameters = step(parameters)
    gc.collect()
    before = mx.get_active_memory()
    for _ in range(5):
        parameters = step(parameters)
    gc.collect()
    assert mx.get_active_memory() == before
    reference = weakref.ref(optimizer)
    del optimizer, step
    gc.collect()
    assert reference() is None
    assert mx.get_active_memory() <= before - 2 * 4 * 64 * 64


def test_old_values_are_overwritten():
    """The new parameters and moments take the memory of the old ones."""
    peaks = []
    for replayed in (True, False):
        optimizer = make("AdamW", replayed)
        parameters = {"w": mx.zeros((256, 256))}
        gradients = {"w": mx.ones((256, 256))}
        for _ in range(4):
            mx.eval(parameters, gradients, optimizer.state)
            before = mx.get_active_memory()
            mx.reset_peak_memory()
            parameters = optimizer.apply_gradients(gradients, parameters)
            mx.eval(parameters, optimizer.state)
            peaks.append(mx.get_peak_memory() - before)
        del optimizer, parameters
    # But for the state that the first step makes, and some numbers.
    assert max(peaks[1:4] + peaks[5:]) < 1024


def test_steps_are_lazy():
    optimizer, parameters = optim.SGD(0.1), {"w": mx.zeros((64, 64))}
    for _ in range(3):
        parameters = optimizer.apply_gradients({"w": mx.ones((64, 64))}, parameters)
    mx.eval(parameters)
    before = mx.get_active_memory()
    moved = optimizer.apply_gradients({"w": mx.ones((64, 64))}, parameters)
    assert mx.get_active_memory() < before + 4 * 64 * 64
    assert mx.allclose(moved["w"], mx.full((64, 64), -0.4))
