"""Freezing on generated trees of modules, against a model of it that knows no modules.

Hypothesis draws bytes; `Bytes` turns them into choices, so that whatever fails shrinks to few small
ones. From the choices come a module and beside it its description in plain dicts (`World`), from
which the tests tell what must be trainable after any sequence of calls.
"""

import copy
import pickle
import warnings

import hypothesis.strategies as st
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest
from hypothesis import given, settings
from mlx.utils import tree_flatten, tree_map
from nn_samples import names, quantization

pytestmark = quantization

ATTRIBUTES = ["weight", "bias", "a", "part", "more", "_hidden"]
KEYS = [*ATTRIBUTES, "scales", "running_mean", "part.0", "part.x", "more.1", "nope"]
# What a parent's unfreeze() leaves alone.
KEPT = {
    "BatchNorm": {"running_mean", "running_var"},
    "QuantizedLinear": {"weight", "scales", "biases"},
}


class Node(nn.Module):
    """Anything may be set on it."""


class Bytes:
    """Choices from a string of bytes; when it is used up, the first choice always."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def choose(self, n):
        self.at += 1
        return self.data[self.at - 1] % n if self.at <= len(self.data) else 0

    def pick(self, items):
        return items[self.choose(len(items))]


def prototypes():
    linear, quantized = nn.Linear(1, 1), nn.QuantizedLinear(32, 1, group_size=32)
    batch_norm = nn.BatchNorm(1)
    return [linear, quantized, batch_norm]


class World:
    """The modules of a tree by number: what each holds, what is frozen in it.

    An entry is ``("array", array)``, ``("module", number)``, or ``("dict" | "list" | "tuple",
    {name: entry})``.
    """

    def __init__(self, choices, layers):
        self.layers = layers
        self.modules, self.kinds, self.entries, self.frozen = [], [], [], []
        self.arrays, self.finished = [], []
        self.root = self.make(choices, 0)

    # ---- making trees

    def make(self, choices, depth):
        kind = choices.choose(8) if depth else 0
        if kind >= 6 and self.finished:
            return choices.pick(self.finished)
        if kind < 3 or kind >= 6:
            return self.make_node(choices, depth)
        module = copy.copy(self.layers[kind - 3])
        entries = {key: ("array", value) for key, value in module.items()}
        number = self.enter(module, type(module).__name__, entries)
        self.frozen[number] = set(KEPT.get(self.kinds[number], ()))
        if self.kinds[number] == "QuantizedLinear":
            self.frozen[number].add("bias")  # a new layer is frozen altogether
        self.finished.append(number)
        return number

    def enter(self, module, kind, entries):
        self.modules.append(module)
        self.kinds.append(kind)
        self.entries.append(entries)
        self.frozen.append(set())
        return len(self.modules) - 1

    def make_node(self, choices, depth):
        module = Node()
        number = self.enter(module, "Node", {})
        for key in ATTRIBUTES[: 1 + choices.choose(len(ATTRIBUTES))]:
            entry = self.make_entry(choices, depth)
            setattr(module, key, self.value(entry))
            self.entries[number][key] = entry
        self.finished.append(number)
        return number

    def make_entry(self, choices, depth):
        kind = choices.pick(
            ["array", "module", "list", "tied", "dict", "tuple", "module", "module"]
        )
        if kind == "tied" and self.arrays:
            return "array", choices.pick(self.arrays)
        if kind in ("array", "tied") or depth == 3:
            self.arrays.append(mx.array([1.0 + len(self.arrays)]))
            return "array", self.arrays[-1]
        if kind == "module":
            return "module", self.make(choices, depth + 1)
        keys = (["x", "y", "0"] if kind == "dict" else ["0", "1", "2"])[: choices.choose(4)]
        return kind, {key: self.make_entry(choices, depth + 1) for key in keys}

    def value(self, entry):
        kind, content = entry
        if kind in ("array", "module"):
            return content if kind == "array" else self.modules[content]
        values = {key: self.value(inner) for key, inner in content.items()}
        return values if kind == "dict" else (list if kind == "list" else tuple)(values.values())

    # ---- what the documentation says

    def within(self, number):
        """Everything in a module down to arrays, modules and tuples: dotted key and entry."""

        def walk(key, entry):
            yield key, entry
            if entry[0] in ("dict", "list"):
                for name, inner in entry[1].items():
                    yield from walk(f"{key}.{name}", inner)

        for key, entry in self.entries[number].items():
            yield from walk(key, entry)

    def below(self, number):
        found = {number: None}
        for _, (kind, content) in self.within(number):
            if kind == "module":
                found |= dict.fromkeys(self.below(content))
        return list(found)

    def own(self, number):
        return {key for key, (kind, _) in self.within(number) if kind == "array" and key[0] != "_"}

    def call(self, number, freeze, recurse, keys, strict):
        """Applies a call; returns the keys that name nothing."""
        numbers = self.below(number) if recurse else [number]
        keys = [keys] if isinstance(keys, str) else keys
        known = {key for n in numbers for key, _ in self.within(n)}
        unknown = [key for key in keys or [] if key not in known]
        if not (strict and unknown):
            for n in numbers:
                if freeze:
                    self.frozen[n] |= self.own(n) if keys is None else set(keys)
                elif keys is None:
                    self.frozen[n] &= KEPT.get(self.kinds[n], set())
                else:
                    self.frozen[n] -= set(keys)
        return unknown

    def parameters(self, number=None, path="", all_of_them=False):
        """Path -> (module, key, array), of the trainable ones or of all."""
        number = self.root if number is None else number
        found = {}

        def walk(key, entry):
            if key in self.frozen[number] and not all_of_them:
                return
            kind, content = entry
            if kind == "array":
                found[path + key] = (number, key, content)
            elif kind == "module":
                found.update(self.parameters(content, f"{path}{key}.", all_of_them))
            elif kind != "tuple":
                for name, inner in content.items():
                    walk(f"{key}.{name}", inner)

        for key, entry in self.entries[number].items():
            if not key.startswith("_"):
                walk(key, entry)
        return found


@pytest.fixture(scope="module")
def layers():
    return prototypes()


def play(world, choices):
    """A sequence of calls, on the modules and in the world."""
    for _ in range(choices.choose(6)):
        number = choices.choose(len(world.modules))
        freeze, recurse, strict = (bool(choices.choose(2)) for _ in range(3))
        keys = [
            None,
            choices.pick(KEYS),
            [choices.pick(KEYS) for _ in range(choices.choose(3))],
        ][choices.choose(3)]
        module = world.modules[number]
        method = module.freeze if freeze else module.unfreeze
        unknown = world.call(number, freeze, recurse, keys, strict)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if unknown and strict:
                with pytest.raises(KeyError, match=unknown[0]):
                    method(recurse=recurse, keys=keys, strict=True)
            else:
                assert method(recurse=recurse, keys=keys, strict=strict) is module
        assert len(said) == (1 if unknown and not strict else 0)
        assert all(key in str(w.message) for w in said for key in unknown)


def check_names(world, model):
    assert set(names(model.trainable_parameters())) == set(world.parameters())


def check_training(world, model):
    """Gradients, optimizer state and updates are those of the trainable parameters."""
    trainable, everything = world.parameters(), world.parameters(all_of_them=True)
    floating = {path for path, (_, _, a) in everything.items() if a.dtype == mx.float32}
    if not trainable.keys() <= floating:
        return  # packed weights that a call has thawed by name have no gradient

    def loss():
        values = dict(tree_flatten(model.parameters()))
        return sum((values[path].square().sum() for path in floating), mx.array(0.0))

    if not trainable:
        with pytest.raises(ValueError, match="no trainable parameters"):
            nn.value_and_grad(model, loss)()
        return
    _, grads = nn.value_and_grad(model, loss)()
    assert set(names(grads)) == trainable.keys()
    optimizer = optim.SGD(0.25, momentum=0.5)
    optimizer.update(model, grads)
    state = {path for path, _ in tree_flatten(optimizer.state)} - {"step", "learning_rate"}
    assert state == {f"{path}.v" for path in trainable}
    moved = {(number, key) for number, key, _ in trainable.values()}
    after = dict(tree_flatten(model.parameters()))
    for path, (number, key, before) in everything.items():
        assert (after[path] is not before) == ((number, key) in moved), path
    some = next(iter(trainable))
    assert not mx.array_equal(after[some], everything[some][2]) or not mx.any(everything[some][2])


def through_weights(model):
    return model.load_weights(tree_flatten(tree_map(lambda a: a + 0, model.parameters())))


PRESERVING = [
    through_weights,
    lambda model: model.load_weights([("nope.nope", mx.zeros(1))], strict=False),
    lambda model: model.set_dtype(mx.float16),
    lambda model: model.apply(lambda a: a + 1),
    lambda model: model.update(model.parameters()),
    lambda model: model.update({"nope": mx.zeros(1)}, strict=False),
    lambda model: model.update_modules(model.leaf_modules()),
    lambda model: model.train().eval(),
    copy.deepcopy,
    copy.copy,
    lambda model: pickle.loads(pickle.dumps(model)),
]


# Long strings make large trees and many calls.
trees = st.binary(min_size=25, max_size=90)
calls = st.binary(min_size=16, max_size=50)


@settings(max_examples=2000, deadline=None)
@given(trees, calls)
def test_generated_trees(layers, data, sequence):
    world, choices = World(Bytes(data), layers), Bytes(sequence)
    model = world.modules[world.root]
    assert set(names(model.parameters())) == set(world.parameters(all_of_them=True))
    check_names(world, model)
    play(world, choices)
    for number, module in enumerate(world.modules):  # those under private names, too
        assert set(names(module.trainable_parameters())) == set(world.parameters(number))
    other = choices.pick(PRESERVING)(model)
    assert len(names(other.parameters())) == len(names(model.parameters()))
    check_names(world, other)
    if other is not model:
        other.freeze(recurse=False)
        check_names(world, model)
        check_training(world, model)


@settings(max_examples=250, deadline=None)
@given(trees, calls)
def test_training_on_generated_trees(layers, data, sequence):
    world = World(Bytes(data), layers)
    play(world, Bytes(sequence))
    check_training(world, world.modules[world.root])


@settings(max_examples=40, deadline=None)
@given(trees, calls, st.sampled_from(["npz", "safetensors"]))
def test_files_keep_the_frozen_state(layers, tmp_path_factory, data, sequence, extension):
    world = World(Bytes(data), layers)
    model = world.modules[world.root]
    play(world, Bytes(sequence))
    file = tmp_path_factory.mktemp("weights") / f"w.{extension}"
    model.save_weights(file)
    before = dict(tree_flatten(model.parameters()))
    model.apply(lambda a: a + 1)
    model.load_weights(file, strict=True)
    check_names(world, model)
    for path, a in tree_flatten(model.parameters()):
        assert mx.array_equal(a, before[path]), path
