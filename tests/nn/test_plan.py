"""nn.plan: the table, the warnings, and its prediction of memory against what steps need."""

import gc
import pathlib
import sys

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, names, quantization

# ---- models


def cross_entropy(model, x, y):
    return nn.losses.cross_entropy(model(x), y, reduction="mean")


def mlp():
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.head = nn.Linear(32 * 16, 10)

    def __call__(self, x):
        x = self.pool(nn.relu(self.norm(self.conv1(x))))
        x = self.pool(nn.relu(self.conv2(x)))
        return self.head(x.reshape(x.shape[0], -1))


class Language(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        self.position = nn.SinusoidalPositionalEncoding(64)
        self.blocks = nn.TransformerEncoder(4, 64, 4, 256, **options)
        self.head = nn.Linear(64, 100)

    def __call__(self, x):
        length = x.shape[1]
        mask = nn.MultiHeadAttention.create_additive_causal_mask(length)
        return self.head(self.blocks(self.embed(x) + self.position(mx.arange(length)), mask))


def last_block(**options):
    model = Language(**options)
    model.freeze()
    model.blocks.layers[-1].unfreeze()
    model.head.unfreeze()
    return model


def digits(finetune=False):
    pytest.importorskip("sklearn")
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
    try:
        import train_digits
    finally:
        sys.path.pop(0)
    model = train_digits.DigitTransformer()
    if finetune:
        model.freeze()
        model.blocks[-1].attention.unfreeze()
        model.head.unfreeze()
    return model


def integers(*shape, below):
    return mx.random.randint(0, below, shape)


MODELS = {
    "mlp": (mlp, lambda: (arr(128, 64), integers(128, below=10))),
    "cnn": (Convolutions, lambda: (arr(64, 16, 16, 1), integers(64, below=10))),
    "transformer": (Language, lambda: (integers(8, 32, below=100), integers(8, 32, below=100))),
    "last_block": (last_block, lambda: (integers(8, 32, below=100), integers(8, 32, below=100))),
    "checkpoint": (
        lambda: Language(checkpoint=True),
        lambda: (integers(8, 32, below=100), integers(8, 32, below=100)),
    ),
    "digits": (digits, lambda: (arr(128, 8, 8), integers(128, below=10))),
    "digits_finetune": (
        lambda: digits(True),
        lambda: (arr(128, 8, 8), integers(128, below=10)),
    ),
}
OPTIMIZERS = {
    "none": lambda: None,
    "sgd": lambda: optim.SGD(0.01, momentum=0.9),
    "adamw": lambda: optim.AdamW(1e-3),
    "adafactor": lambda: optim.Adafactor(),
}


# ---- memory


def step_of(model, optimizer):
    def step(*batch):
        loss, grads = nn.value_and_grad(model, cross_entropy)(model, *batch)
        if optimizer is None:
            return loss, grads
        optimizer.update(model, grads)
        return loss

    return step


def peak_of_a_step(step, model, optimizer, batch):
    """Of the third one, without what other arrays of the process hold."""
    state = [] if optimizer is None else optimizer.state
    for _ in range(3):
        gc.collect()
        own = mx.get_array_buffer_size(model.state, state, batch)
        others = mx.get_active_memory() - own
        mx.reset_peak_memory()
        mx.eval(step(*batch), model.state, state)
    return mx.get_peak_memory() - others


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="what is predicted is the memory of the CPU's kernels")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_predicted_memory(name, optimizer):
    make, make_batch = MODELS[name]
    model, batch, optimizer = make(), list(make_batch()), OPTIMIZERS[optimizer]()
    mx.eval(batch)
    plan = nn.plan(model, cross_entropy, model, *batch, optimizer=optimizer)  # nothing evaluated
    measured = peak_of_a_step(step_of(model, optimizer), model, optimizer, batch)
    assert plan.peak_memory == pytest.approx(measured, rel=0.01)
    assert 0 < plan.held_memory < plan.peak_memory and plan.peak_operation
    again = nn.plan(model, cross_entropy, model, *batch, optimizer=optimizer)
    assert again.peak_memory == pytest.approx(measured, rel=0.01)


@pytest.mark.skipif(mx.default_device() != mx.cpu, reason="what is predicted is the memory of the CPU's kernels")
@pytest.mark.parametrize("name", ["mlp", "cnn", "last_block"])
def test_predicted_memory_of_a_compiled_step(name):
    make, make_batch = MODELS[name]
    model, batch, optimizer = make(), list(make_batch()), optim.AdamW(1e-3)
    mx.eval(batch)
    plan = nn.plan(model, cross_entropy, model, *batch, optimizer=optimizer)
    optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state]
    step = mx.compile(step_of(model, optimizer), inputs=state, outputs=state)
    measured = peak_of_a_step(step, model, optimizer, batch)
    assert plan.peak_memory == pytest.approx(measured, rel=0.15)


def test_steps_leave_nothing_to_the_garbage_collector():
    model, optimizer = mlp(), optim.SGD(0.1, momentum=0.9)
    step, batch = step_of(model, optimizer), [arr(8, 64), integers(8, below=10)]
    mx.eval(step(*batch), model.state, optimizer.state)
    gc.collect()
    gc.disable()
    try:
        before = mx.get_active_memory()
        for _ in range(3):
            mx.eval(step(*batch), model.state, optimizer.state)
            model.update(model.parameters())
            nn.plan(model, cross_entropy, model, *batch, optimizer=optimizer)
        assert mx.get_active_memory() - before < 64
    finally:
        gc.enable()


# ---- what it leaves alone


def test_nothing_runs_and_nothing_changes():
    class Counting(Convolutions):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.calls = mx.array(0)
            self.notes = {"inputs": []}
            self.freeze(keys="calls")
            self.plain = 0

        def __call__(self, x):
            self.calls = self.calls + 1
            self.plain += 1
            self.notes["inputs"].append(x)
            return self.drop(super().__call__(x))

    model, optimizer = (
        Counting(),
        optim.MultiOptimizer([optim.Adam(0.1), optim.SGD(0.1, 0.9)], [lambda path, x: x.ndim > 1]),
    )
    call = Counting.__dict__["__call__"]
    batch = arr(4, 16, 16, 1), integers(4, below=10)
    mx.eval(batch, mx.random.state[0])
    before, key = dict(tree_flatten(model)), mx.random.state[0].tolist()
    active = mx.get_active_memory()
    mx.reset_peak_memory()
    plan = nn.plan(model, cross_entropy, model, *batch, optimizer=optimizer)
    assert mx.get_peak_memory() - active < 4096 < plan.peak_memory  # some constants
    after = dict(tree_flatten(model))
    assert after.keys() == before.keys() and all(after[k] is before[k] for k in before)
    kept = ("step", "learning_rate")
    assert names(optimizer.state) == [f"states.{i}.{key}" for i in (0, 1) for key in kept]
    assert model.plain == 0 and model.notes == {"inputs": []}
    assert mx.random.state[0].tolist() == key
    assert mx.get_array_buffer_size(model.conv2.weight) == 0  # not even initialised
    assert Counting.__dict__["__call__"] is call


def test_everything_is_as_before_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
    call, mean = nn.Linear.__call__, model.layers[1].running_mean

    def fails(x):
        model(x)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        nn.plan(model, fails, arr(3, 2))
    assert nn.Linear.__call__ is call and model.layers[1].running_mean is mean
    with pytest.raises(TypeError, match=r"\[nn.plan\] model is a dict"):
        nn.plan({}, fails)
    with pytest.raises(ValueError, match=r"\[Linear\]"):
        nn.plan(model, lambda x: model(x).sum(), arr(3, 5))


# ---- the table


def test_fields():
    m = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4, bias=False))
    m.layers[0].freeze(keys="bias")
    m.layers[2].freeze()
    x = arr(32, 8)
    plan = nn.plan(m, lambda x: m(x).sum(), x)
    assert [(row.path, row.type) for row in plan.layers] == [
        ("", "Sequential"),
        ("layers.0", "Linear"),
        ("layers.1", "ReLU"),
        ("layers.2", "Linear"),
    ]
    first, second = plan["layers.0"], plan["layers.2"]
    assert first.outputs == ((32, 16),) and second.outputs == ((32, 4),) == plan[""].outputs
    assert (first.parameters, first.trainable, first.nbytes) == (144, 128, 576)
    assert first.state == "partly frozen" and second.state == "frozen" and plan[""].state == ""
    assert (plan.parameters, plan.trainable, plan.frozen) == (208, 128, 80)
    assert plan.parameter_bytes == 4 * 208 and all(row.calls == 1 for row in plan.layers)
    assert first.flops == 2 * 32 * 8 * 16 + 32 * 16
    assert plan["layers.1"].flops == 32 * 16 and second.flops == 2 * 32 * 16 * 4
    assert plan.forward_flops == first.flops + 32 * 16 + second.flops + 32 * 4  # the sum
    # Backward: by the hidden layer, and by the first weight; not by the input or the second weight.
    backward = 2 * 32 * 16 * 4 + 2 * 32 * 8 * 16
    assert backward <= plan.step_flops - plan.forward_flops <= backward + 5 * 32 * 16
    assert plan.warnings == []
    with pytest.raises(KeyError, match=r"no layer 'nope'"):
        plan["nope"]


def test_flops_of_layers():
    x = arr(2, 8, 8, 3)
    m = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.MaxPool2d(2, 2))
    plan = nn.plan(m, lambda x: m(x).sum(), x)
    assert plan["layers.0"].flops == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3) + 2 * 8 * 8 * 5
    attention = nn.MultiHeadAttention(8, 2)
    plan = nn.plan(attention, lambda x: attention(x, x, x).sum(), arr(2, 5, 8))
    # Below are the projections; the layer itself has scores and mixing.
    assert plan[""].flops == 2 * 2 * (2 * 2 * 5 * 5 * 4)
    assert sum(row.flops for row in plan.layers) == plan[""].flops + 4 * 2 * 10 * 8 * 8
    twice = nn.Linear(4, 4, bias=False)
    plan = nn.plan(twice, lambda x: twice(twice(x)).sum(), arr(3, 4))
    assert plan[""].calls == 2 and plan[""].flops == 2 * (2 * 3 * 4 * 4)


def test_ties():
    shared = nn.Linear(4, 4)
    m = nn.Sequential(shared, nn.Linear(4, 4, bias=False), shared)
    m.layers[1].weight = shared.weight
    plan = nn.plan(m, lambda x: m(x).sum(), arr(3, 4))
    assert plan.parameters == plan.trainable == 20
    assert plan["layers.1"].tied == ("layers.1.weight",) and plan["layers.1"].state == "tied"
    assert plan["layers.2"].same_as == "layers.0" and plan["layers.2"].state == "tied"
    assert "tied to layers.0" in str(plan)
    assert len(plan.warnings) == 1 and "layers.0.weight, in another module" in plan.warnings[0]
    assert plan.warnings[0].startswith("layers.1.weight is the same array")
    # Frozen under its first name, trainable under the second: it is trained.
    m = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    m.layers[1].weight = m.layers[0].weight
    m.layers[0].freeze()
    assert nn.plan(m, lambda x: m(x).sum(), arr(3, 4)).trainable == 16
    m.freeze()
    assert [w for w in nn.plan(m, lambda x: m(x).sum(), arr(3, 4)).warnings if "same" in w] == []


def test_other_modules_and_private_names():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = {"<a>": nn.Linear(2, 2)}
            self._hidden = nn.Linear(2, 2)
            self.unused = nn.Linear(2, 3)
            self.scale = mx.ones((2,))

        def __call__(self, x):
            return self.scale * other(self._hidden(self.blocks["<a>"](x))), {"aux": x}

    other = nn.Linear(2, 2)
    m = Odd()
    plan = nn.plan(m, lambda x: m(x)[0].sum(), arr(5, 2))
    assert plan["_hidden"].parameters == 0 and plan["_hidden"].calls == 1
    assert plan["unused"].calls == 0 and plan["unused"].outputs == ()
    assert plan[""].outputs == ((5, 2), (5, 2)) and plan[""].parameters == 2
    assert plan.parameters == 2 + 6 + 9
    html = plan._repr_html_()
    assert "blocks.&lt;a&gt;" in html and "<a>" not in html
    assert html.count("<tr") == html.count("</tr>") == 5


def test_text():
    m = nn.Sequential(nn.Linear(1000, 500), nn.Linear(500, 1))
    m.layers[0].freeze()
    text = str(nn.plan(m, lambda x: m(x).sum(), arr(64, 1000)))
    lines = text.split("\n")
    assert lines[0].split() == ["layer", "type", "output", "parameters", "state", "bytes", "FLOP"]
    assert lines[3].split("  ")[0] == "layers.0"
    assert " ".join(lines[3].split()) == "layers.0 Linear (64, 500) 500,500 frozen 1.9 MiB 64.0 M"
    assert "501 of 501,001 parameters are trainable" in text
    assert "predicted peak memory of a step: " in text and "MFLOP forward" in text
    assert repr(nn.Sequential()) == "Sequential()"


# ---- warnings


def warned(m, x=None):
    return nn.plan(m, lambda x: m(x).sum(), arr(4, 2) if x is None else x).warnings


def test_warning_that_nothing_is_trainable():
    assert "nothing is trainable" in warned(nn.Linear(2, 2).freeze())[0]
    plan = nn.plan(nn.ReLU(), lambda x: x.sum(), arr(4, 2), optimizer=optim.Adam(0.1))
    assert "nothing is trainable" in plan.warnings[0] and plan.trainable == 0
    assert "warning: nothing is trainable" in str(plan) and "⚠ nothing" in plan._repr_html_()


class LoRALinear(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.lora_a = mx.zeros((2, 1))
        self.lora_b = mx.zeros((1, 2))

    def __call__(self, x):
        return self.linear(x) + x @ self.lora_a @ self.lora_b


def test_warning_about_adapters():
    m = nn.Sequential(LoRALinear(nn.Linear(2, 2)), nn.BatchNorm(2))
    assert "everything is trainable although there are adapters (layers.0" in warned(m)[0]
    m.freeze()
    m.layers[0].unfreeze(keys=["lora_a", "lora_b"], recurse=False)
    m.eval()
    assert warned(m) == []
    assert warned(nn.Linear(2, 2)) == []


@quantization
def test_no_warning_about_adapters_of_quantized_layers():
    m = LoRALinear(nn.QuantizedLinear(64, 64))
    m.lora_a, m.lora_b = mx.zeros((64, 2)), mx.zeros((2, 64))
    assert warned(m, arr(4, 64)) == []


def test_warning_about_running_averages():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2), nn.Linear(2, 2))
    m.layers[1].freeze()
    said = warned(m)
    assert len(said) == 1 and said[0].startswith("layers.1 is a BatchNorm in a frozen part")
    assert "model.layers[1].eval()" in said[0]
    m.layers[1].eval()
    assert warned(m) == []
    m.layers[1].train().unfreeze()
    assert warned(m) == []
    m.layers[1] = nn.BatchNorm(2, affine=False)
    assert warned(m) == []  # its neighbours are trained
    m.layers[1] = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2, affine=False)).freeze()
    assert "layers.1.layers.1" in warned(m)[0]
