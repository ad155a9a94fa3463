"""nn.Module: what is in the tree, changing it, files, copies, display."""

import copy
import pickle
import warnings

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map
from nn_samples import arr, names


class Mixed(nn.Module):
    """Something of everything that a module can hold."""

    def __init__(self):
        super().__init__()
        self.a = mx.zeros((2,))
        self.d = {"x": mx.zeros((1,)), "y": {"z": mx.zeros((3,))}, "m": nn.Linear(1, 2), "i": 3}
        self.l = [nn.Linear(2, 2), [mx.zeros((4,)), nn.ReLU()]]
        self.t = (mx.zeros((1,)), nn.Linear(1, 1))
        self._hidden = mx.ones((2,))
        self.text = "text"
        self.number = 3
        self.nothing = None


PARAMETERS = ["a", "d.x", "d.y.z", "d.m.weight", "d.m.bias", "l.0.weight", "l.0.bias", "l.1.0"]


def test_parameters_are_arrays_in_dicts_lists_and_modules():
    m = Mixed()
    assert names(m.parameters()) == PARAMETERS
    assert names(m.trainable_parameters()) == PARAMETERS
    assert set(m) == {"a", "d", "l", "t", "_hidden"}  # tuples are entries but not searched
    assert m.state is m


def test_parameters_keeps_the_places_of_other_things():
    p = Mixed().parameters()
    assert p["d"]["i"] == {} and p["l"][1][1] == {}


def test_children_and_modules():
    m = Mixed()
    assert m.children() == {
        "d": {"x": {}, "y": {"z": {}}, "m": m.d["m"], "i": {}},
        "l": [m.l[0], [{}, m.l[1][1]]],
    }
    assert [name for name, _ in m.named_modules()] == ["", "l.1.1", "l.0", "d.m"]
    assert m.modules()[0] is m and len(m.modules()) == 4
    deep = nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), nn.Tanh())
    assert [name for name, _ in deep.named_modules()] == [
        "",
        "layers.1",
        "layers.0",
        "layers.0.layers.1",
        "layers.0.layers.0",
    ]
    leaves = deep.leaf_modules()
    assert names_of_modules(leaves) == ["layers.0.layers.0", "layers.0.layers.1", "layers.1"]
    seen = []
    assert deep.apply_to_modules(lambda name, module: seen.append((name, module))) is deep
    assert seen == deep.named_modules()


def names_of_modules(tree):
    return [name for name, _ in tree_flatten(tree, is_leaf=nn.Module.is_module)]


def test_a_module_with_two_names_appears_twice():
    shared = nn.Linear(2, 2)
    m = nn.Sequential(shared, shared)
    assert len(m.modules()) == 3
    assert names(m.parameters()) == [f"layers.{i}.{p}" for i in (0, 1) for p in ("weight", "bias")]


def test_attributes():
    m = Mixed()
    with pytest.raises(AttributeError, match="'Mixed' object has no attribute 'foo'"):
        m.foo  # noqa: B018
    with pytest.raises(AttributeError):
        del m.foo
    assert not hasattr(m, "foo") and getattr(m, "foo", 1) == 1
    m.a = 3  # a parameter becomes an ordinary attribute
    assert m.a == 3 and "a" not in m and "a" not in m.parameters()
    m.number = mx.zeros((2,))  # and the other way round
    assert "number" in m and "number" not in m.__dict__
    m.l = None
    assert m.l is None and "l" not in m
    del m.d, m.text
    assert not hasattr(m, "d") and not hasattr(m, "text")
    m["b"] = mx.ones((1,))
    assert m.b.item() == 1
    with pytest.raises(AttributeError):
        m.training = False


def test_names_of_the_class_are_no_parameters():
    m = nn.Linear(2, 2)
    with pytest.raises(AttributeError, match=r"\[Linear\] 'items' is an attribute of the class"):
        m.items = mx.zeros((1,))
    assert names(m.parameters()) == ["weight", "bias"]

    class WithProperty(nn.Module):
        @property
        def doubled(self):
            return self.half * 2

        @doubled.setter
        def doubled(self, value):
            self.half = value / 2

    p = WithProperty()
    p.doubled = mx.array([4.0])
    assert p.half.item() == 2 and names(p.parameters()) == ["half"]


def test_a_property_without_a_value_leaves_its_name_to_the_module():
    """As programs have it: a read-only property that wants what is not there, and its name assigned."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 2)]

        @property
        def layers(self):
            return self.model.layers

    m = Decoder()
    assert len(m.layers) == 1 and names(m.parameters()) == ["layers.0.weight", "layers.0.bias"]
    m.layers = []
    assert m.layers == []

    class Fixed(nn.Module):
        @property
        def layers(self):
            return ["its own"]

    with pytest.raises(AttributeError):
        Fixed().layers = [nn.Linear(2, 2)]


def test_works_before_super_init():
    class Late(nn.Module):
        def __init__(self):
            self.w = mx.zeros((2,))
            super().__init__()
            self.freeze()

    class Never(nn.Module):
        def __init__(self):
            self.w = mx.zeros((2,))

    assert names(Late().trainable_parameters()) == []
    assert names(Never().trainable_parameters()) == ["w"]


def test_static_filters():
    m = nn.Linear(1, 1)
    assert nn.Module.is_module(m) and not nn.Module.is_module({})
    for value, child, parameter in (
        (mx.zeros((1,)), False, True),
        (m, True, True),
        ([], True, True),
        ({}, True, True),
        ((), False, False),
        (3, False, False),
    ):
        assert nn.Module.valid_child_filter(m, "a", value) is child
        assert nn.Module.valid_parameter_filter(m, "a", value) is parameter
        assert not nn.Module.valid_parameter_filter(m, "_a", value)
    m.freeze(keys="bias")
    assert not nn.Module.trainable_parameter_filter(m, "bias", m.bias)
    assert nn.Module.trainable_parameter_filter(m, "weight", m.weight)


def test_filter_and_map():
    m = Mixed()
    keys = []
    shapes = m.filter_and_map(
        lambda module, key, value: (
            keys.append((type(module).__name__, key))
            or nn.Module.valid_parameter_filter(module, key, value)
        ),
        lambda a: a.shape,
    )
    assert shapes["d"]["m"] == {"weight": (2, 1), "bias": (2,)} and shapes["l"][1] == [(4,), {}]
    assert (
        ("Mixed", "d.y.z") in keys and ("Mixed", "l.1.0") in keys and ("Linear", "weight") in keys
    )
    stopped = m.filter_and_map(
        lambda module, key, value: key == "d" or key.startswith("d."),
        is_leaf_fn=lambda module, key, value: key != "d",
    )
    assert stopped == {"d": m.d}
    with pytest.raises(RuntimeError, match="is_leaf_fn"):
        m.filter_and_map(lambda *_: True, is_leaf_fn=lambda *_: False)


def test_update():
    m = Mixed()
    new = mx.ones((9, 9))
    other = m.l[0].bias
    with pytest.warns(UserWarning) as said:
        result = m.update({"l": [{"weight": new}, [mx.ones((1,)), {}]], "d": {"y": {"z": new}}})
    assert str(said[0].message) == (
        "[Mixed.update] 'l.0.weight' has shape (2, 2), got (9, 9); 'l.1.0' has shape (4,), "
        "got (1,); 'd.y.z' has shape (3,), got (9, 9)"
    )
    assert said[0].filename == __file__ and len(said) == 1
    assert result is m
    assert m.l[0].weight is new and m.l[0].bias is other and m.d["y"]["z"] is new
    assert m.l[1][0].shape == (1,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # neither of these is about shapes
        assert m.update({}) is m
        m.update({"a": mx.ones((2,), mx.float16)}).apply(lambda a: a[:1])
    assert m.a.dtype == mx.float16


def test_update_names_the_first_of_many_shapes_and_lets_memory_go():
    m = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
    with pytest.warns(UserWarning, match=r"'layers.2.weight' has shape \(2, 2\), got \(3,\); and 3 more$") as said:
        m.update(tree_map(lambda _: mx.ones((3,)), m.parameters()))
    assert str(said[0].message).count("has shape") == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m.update(tree_map(lambda _: mx.array([]), m.parameters()))
    assert m.layers[0].weight.size == 0


@pytest.mark.parametrize(
    "tree, message",
    [
        ({"b": mx.zeros((1,))}, "nothing named 'b'"),
        ({"l": [{"w": mx.zeros((1,))}]}, "nothing named 'l.0.w'"),
        ({"l": {"a": mx.zeros((1,))}}, "'l' is a list, got a dict with 'a'"),
        ({"l": [{}, [], {"a": mx.zeros((1,))}]}, "index 2 is out of bounds for 'l', a list of 2"),
        ({"l": mx.zeros((1,))}, "'l': it is a list, got an array"),
        ({"a": {"b": mx.zeros((1,))}}, "'a' is an array, got a dict"),
        ({"a": 3}, "invalid type for 'a': got an int, expected array"),
        ({"d": {"i": mx.zeros((1,))}}, "'d.i': it is an int"),
    ],
)
def test_update_is_strict_and_all_or_nothing(tree, message):
    m = Mixed()
    before = dict(tree_flatten(m.parameters()))
    tree = {"d": {"x": mx.ones((5,))}} | tree if "d" not in tree else tree
    with pytest.raises(ValueError, match=message):
        m.update(tree)
    after = dict(tree_flatten(m.parameters()))
    assert all(after[k] is before[k] for k in before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # d.x has another shape
        m.update(tree, strict=False)
    if "d" in tree and "x" in tree["d"]:
        assert m.d["x"].shape == (5,)


def test_update_modules():
    m = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    assert m.update_modules({"layers": [{}, {"layers": [nn.ReLU()]}]}) is m
    assert isinstance(m.layers[0], nn.Linear) and isinstance(m.layers[1].layers[0], nn.ReLU)
    for bad in (
        {"layers": [3]},
        {"other": nn.ReLU()},
        {"layers": [nn.ReLU()] * 3},
        {"layers": nn.ReLU()},
        {"layers": {"a": nn.ReLU()}},
    ):
        with pytest.raises(ValueError, match=r"\[Sequential.update_modules\]"):
            m.update_modules(bad)
        m.update_modules(bad, strict=False)


def test_numeric_dict_keys():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = {"0": nn.Linear(1, 1), "1": nn.Linear(1, 1)}

    m = Experts()
    m.load_weights([(k, mx.full(a.shape, 7.0)) for k, a in tree_flatten(m.parameters())])
    assert m.experts["1"].weight.item() == 7


def test_apply_and_set_dtype():
    m = nn.Sequential(nn.Linear(2, 2), nn.Embedding(3, 2))
    assert m.apply(lambda a: a * 0) is m
    assert all(mx.all(a == 0).item() for _, a in tree_flatten(m.parameters()))
    m.apply(lambda a: a + 1, lambda module, key, value: key in ("layers", "bias", "layers.0"))
    assert m.layers[0].bias[0].item() == 1 and m.layers[0].weight[0, 0].item() == 0
    with pytest.raises(ValueError):
        m.apply(lambda a: 3)
    m.counter = mx.array([1, 2])
    m.set_dtype(mx.float16)
    assert m.layers[0].weight.dtype == mx.float16 and m.counter.dtype == mx.int32
    m.set_dtype(mx.float32, predicate=lambda dtype: dtype == mx.int32)
    assert m.layers[0].weight.dtype == mx.float16 and m.counter.dtype == mx.float32
    m.set_dtype(mx.bfloat16, predicate=None)
    assert {a.dtype for _, a in tree_flatten(m.parameters())} == {mx.bfloat16}


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_weights_in_files(tmp_path, extension):
    m = nn.TransformerEncoderLayer(4, 2)
    m.save_weights(tmp_path / f"w.{extension}")
    other = nn.TransformerEncoderLayer(4, 2)
    assert other.load_weights(str(tmp_path / f"w.{extension}")) is other
    for (name, a), (_, b) in zip(
        tree_flatten(m.parameters()), tree_flatten(other.parameters()), strict=True
    ):
        assert mx.array_equal(a, b), name
    with pytest.raises(ValueError, match=r"w\.txt"):
        m.save_weights(str(tmp_path / "w.txt"))


def test_load_weights_lists_every_problem_at_once():
    m = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = dict(tree_flatten(m.parameters()))
    bad = [
        ("layers.0.weight", mx.zeros((5, 5))),
        ("layers.0.bias", mx.zeros((3,))),
        ("layers.1.weights", mx.zeros((1,))),
        ("layers.1.bias", 3),
    ]
    with pytest.raises(ValueError) as error:
        m.load_weights(bad)
    for part in (
        "Received 1 parameters not in model: \nlayers.1.weights.",
        "Missing 1 parameters: \nlayers.1.weight.",
        "(3, 2)",
        "(5, 5)",
        "layers.0.weight",
        "layers.1.bias",
        "int",
    ):
        assert part in str(error.value)
    assert all(dict(tree_flatten(m.parameters()))[k] is before[k] for k in before)
    with pytest.raises(ValueError, match="int"):
        m.load_weights(bad, strict=False)
    with pytest.warns(UserWarning, match=r"load_weights\] 'layers.0.weight' .*\(3, 2\).*\(5, 5\)"):
        m.load_weights(bad[:3], strict=False)
    assert m.layers[0].weight.shape == (5, 5) and m.layers[1].weight is before["layers.1.weight"]
    with pytest.warns(UserWarning, match=r"\(1, 1\)"):
        m.load_weights({"layers.0.weight": mx.zeros((1, 1))}, strict=False)
    assert m.layers[0].weight.shape == (1, 1)
    assert m.load_weights([], strict=False) is m


def test_training_mode():
    m = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm(2)))
    assert m.training and m.eval() is m
    assert not any(module.training for module in m.modules())
    m.layers[1].train()
    assert [module.training for module in m.modules()] == [False, True, True, False]
    assert m.train().training and m.train(False).training is False


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_keep_the_frozen_state_and_do_not_share_it(duplicate):
    m = nn.Linear(2, 3).freeze(keys="bias").eval()
    new = duplicate(m)
    assert type(new) is nn.Linear and names(new.trainable_parameters()) == ["weight"]
    assert not new.training and mx.array_equal(new.weight, m.weight)
    new.unfreeze()
    new.train()
    new.extra = mx.zeros((1,))
    assert names(m.trainable_parameters()) == ["weight"] and not m.training
    assert "extra" not in m


def test_deep_copies_of_whole_models():
    m = nn.Transformer(8, 2, 1, 1)
    m.encoder.freeze()
    for new in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert names(new.trainable_parameters()) == names(m.trainable_parameters())
        assert new.encoder.layers[0] is not m.encoder.layers[0]
        x = arr(1, 3, 8)
        assert mx.allclose(new(x, x, None, None, None), m(x, x, None, None, None))


def test_repr():
    assert repr(nn.Linear(2, 3)) == "Linear(input_dims=2, output_dims=3, bias=True)"
    m = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()), abs)
    assert repr(m) == (
        "Sequential(\n"
        "  (layers.0): Linear(input_dims=2, output_dims=3, bias=True)\n"
        "  (layers.1): Sequential(\n"
        "    (layers.0): ReLU()\n"
        "  )\n"
        ")"
    )

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Tanh()

        def _extra_repr(self):
            return "size=1"

    assert repr(Named()) == "Named(size=1\n  (part): Tanh()\n)"


def test_html_marks_what_is_frozen():
    class Odd(nn.Module):
        def _extra_repr(self):
            return "<b>"

    m = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3), Odd())
    m.layers[0].freeze(keys="bias")
    html = m._repr_html_()
    assert html.count("❄") == 3  # a bias and two running averages
    assert "(layers.1): <b>BatchNorm</b>" in html and "&lt;b&gt;" in html
    assert "12 of 21 trainable" in html and "weight: (3, 2) float32</li>" in html
    assert html.count("<details") == html.count("</details>") == 3
    m.freeze()
    assert m._repr_html_().count("❄") == 9


def test_html_counts_what_has_two_names_once():
    shared = nn.Linear(2, 2)
    m = nn.Sequential(shared, nn.Linear(2, 2, bias=False), shared)
    m.layers[1].weight = shared.weight
    html = m._repr_html_()
    assert '<b>Sequential</b>() <span style="color:#777">6 of 6 trainable' in html
    assert html.count(">tied<") == 5


def test_module_is_a_tree_for_the_core():
    m = nn.Linear(2, 2)
    m._cache = mx.zeros((1,))

    def step(x):
        m._cache = m._cache + 1
        m.bias = m.bias + x
        return m(x)

    compiled = mx.compile(step, inputs=m.state, outputs=m.state)
    bias = np.array(m.bias)
    compiled(mx.ones((2,)))
    compiled(mx.ones((2,)))
    mx.eval(m.state)
    assert m._cache.item() == 2
    np.testing.assert_allclose(np.array(m.bias), bias + 2, rtol=1e-6)
