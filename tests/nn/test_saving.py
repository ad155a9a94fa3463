"""nn.save_checkpoint and nn.load_checkpoint: what goes into a file comes out of it, or nothing changes."""

import json
import os
import re
import stat
import subprocess
import sys
import textwrap
import time

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten
from scripts import run_python

OPTIMIZERS = {
    "SGD": lambda: optim.SGD(0.1),
    "SGD momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "RMSprop": lambda: optim.RMSprop(0.01),
    "Adagrad": lambda: optim.Adagrad(0.01),
    "AdaDelta": lambda: optim.AdaDelta(0.5),
    "Adam": lambda: optim.Adam(optim.cosine_decay(0.01, 10)),
    "AdamW": lambda: optim.AdamW(optim.exponential_decay(0.01, 0.9), bias_correction=True),
    "Adamax": lambda: optim.Adamax(0.01),
    "Lion": lambda: optim.Lion(0.001),
    "Adafactor": lambda: optim.Adafactor(),
    "Muon": lambda: optim.Muon(0.01),
    "Multi": lambda: optim.MultiOptimizer(
        [optim.Adam(optim.linear_schedule(0.01, 0.001, 9)), optim.SGD(0.1, momentum=0.5)],
        [lambda name, _: name.endswith("weight")],
    ),
}


def net(seed=0):
    """Dropout, running statistics, a list of layers and a frozen first layer."""
    mx.random.seed(seed)
    layers = [nn.Linear(4, 8), nn.BatchNorm(8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 3)]
    model = nn.Sequential(*layers)
    model.layers[0].freeze()
    return model


def train(model, optimizer, steps):
    def loss(x, y):
        return (model(x) - y).square().mean()

    for step in steps:
        rng = np.random.default_rng(step)
        x, y = (mx.array(rng.normal(size=(16, n)), mx.float32) for n in (4, 3))
        _, gradients = nn.value_and_grad(model, loss)(x, y)
        optimizer.update(model, gradients)
        mx.eval(model.state, optimizer.state)


def bits(tree):
    return {
        name: (a.shape, str(a.dtype), memoryview(a.reshape(-1).view(mx.uint8)).tobytes())
        for name, a in tree_flatten(tree)
    }


def frozen(model):
    return {name for name, _ in tree_flatten(model.parameters())} - {
        name for name, _ in tree_flatten(model.trainable_parameters())
    }


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_run_goes_on_to_the_last_bit(make, tmp_path):
    model, optimizer = net(), make()
    train(model, optimizer, range(3))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer, step=3)
    train(model, optimizer, range(3, 6))

    other, again = net(seed=7).unfreeze(), make()
    assert bits(other.parameters()) != bits(model.parameters())
    assert nn.load_checkpoint(tmp_path / "a.safetensors", other, again).step == 3
    assert frozen(other) == frozen(model)
    train(other, again, range(3, 6))
    assert bits(other.parameters()) == bits(model.parameters())
    assert bits(again.state) == bits(optimizer.state)


def test_a_used_optimizer_and_a_compiled_step_go_on(tmp_path):
    """The state is filled in place, so that what holds it (a compiled step) sees what was loaded."""

    def run(model, optimizer):
        state = [model.state, optimizer.state, mx.random.state]

        @mx.compile
        def unrelated(x):
            return x + 1

        def loss(x):
            return model(x).square().mean()

        def step(x):
            value, gradients = nn.value_and_grad(model, loss)(x)
            optimizer.update(model, gradients)
            return value

        unrelated(mx.array(1))
        return mx.compile(step, inputs=state, outputs=state)

    x = mx.ones((8, 4))
    model, optimizer = net(), OPTIMIZERS["Multi"]()
    step = run(model, optimizer)
    for _ in range(2):
        step(x)
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    first = [step(x).item() for _ in range(3)]
    after = bits(model.parameters())
    nn.load_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    assert [step(x).item() for _ in range(3)] == first
    assert bits(model.parameters()) == after


def test_without_an_optimizer_only_parameters_are_read(tmp_path):
    model, optimizer = net(), optim.Adam(0.1)
    train(model, optimizer, range(2))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer, step=2)
    other = net(seed=3)
    other.unfreeze().layers[4].freeze()
    flags, random = frozen(other), mx.random.state[0].tolist()
    nn.load_checkpoint(tmp_path / "a.safetensors", other)
    assert bits(other.parameters()) == bits(model.parameters())
    assert frozen(other) == flags
    assert mx.random.state[0].tolist() == random


def test_state_of_layers_that_were_frozen_later_is_kept(tmp_path):
    model, optimizer = net().unfreeze(), optim.Adam(0.1)
    train(model, optimizer, range(2))
    model.layers[0].freeze()
    train(model, optimizer, range(2, 4))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    other, again = net(seed=1), optim.Adam(0.1)
    nn.load_checkpoint(tmp_path / "a.safetensors", other, again)
    assert bits(again.state) == bits(optimizer.state)
    for m, o in ((model, optimizer), (other, again)):
        mx.random.seed(5)
        m.unfreeze()
        train(m, o, range(4, 6))
    assert bits(other.parameters()) == bits(model.parameters())


def test_data_and_extra_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(3)
    rng.normal(size=5)
    data = {
        "epoch": 2,
        "order": mx.array([3, 1, 2]),
        "generator": rng.bit_generator.state,
        3: [1.5, float("inf"), None, True, "ü", (1, [], {}, ())],
        "tiny": 5e-324,
    }
    nn.save_checkpoint(tmp_path / "a.safetensors", net(), data=data, losses=[0.5, 0.25], array=mx.array(1 + 2j))
    loaded = nn.load_checkpoint(tmp_path / "a.safetensors", net())
    assert loaded.step is None
    assert loaded.data.pop("order").tolist() == data.pop("order").tolist()
    assert loaded.data == data
    assert loaded.extra["losses"] == [0.5, 0.25]
    assert loaded.extra["array"].item() == 1 + 2j
    other = np.random.default_rng()
    other.bit_generator.state = loaded.data["generator"]
    assert other.normal() == rng.normal()


@pytest.mark.parametrize(
    "dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64, mx.uint32, mx.int8, mx.bool_]
)
def test_dtypes_and_shapes_of_parameters(dtype, tmp_path):
    class Odd(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.scalar = mx.array(value).astype(dtype)
            self.empty = mx.zeros((0, 3), dtype)
            self.nested = {"0": [mx.full((2, 1), value).astype(dtype)], "x": [{}, {"y": mx.full((3,), value, dtype)}]}

    model, other = Odd(1), Odd(0)
    nn.save_checkpoint(tmp_path / "a.safetensors", model)
    nn.load_checkpoint(tmp_path / "a.safetensors", other)
    pairs = dict(tree_flatten(other.parameters()))
    assert set(pairs) == {"scalar", "empty", "nested.0.0", "nested.x.1.y"}
    for name, array in tree_flatten(model.parameters()):
        assert pairs[name].dtype == dtype
        assert mx.array_equal(pairs[name], array)


def test_digits_as_names_keep_their_optimizer_state(tmp_path):
    class Numbered(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = {"0": nn.Linear(4, 4), "1": nn.Linear(4, 3)}

        def __call__(self, x):
            return self.parts["1"](self.parts["0"](x))

    model, optimizer = Numbered(), optim.Adam(0.1)
    train(model, optimizer, range(2))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    other, again = Numbered(), optim.Adam(0.1)
    nn.load_checkpoint(tmp_path / "a.safetensors", other, again)
    for m, o in ((model, optimizer), (other, again)):
        train(m, o, range(2, 4))
    assert bits(other.parameters()) == bits(model.parameters())


def test_quantized_layers(tmp_path):
    mx.random.seed(0)
    make = lambda: nn.Sequential(nn.Embedding(10, 64), nn.Linear(64, 64))  # noqa: E731
    model, other = make(), make()
    for m in (model, other):
        nn.quantize(m)
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optim.SGD(0.1))
    nn.load_checkpoint(tmp_path / "a.safetensors", other, optim.SGD(0.1))
    assert bits(other.parameters()) == bits(model.parameters())
    assert frozen(other) == frozen(model)
    with pytest.raises(ValueError, match=r"unexpected: parameter 'layers.0.scales', float32 \(10, 1\)"):
        nn.load_checkpoint(tmp_path / "a.safetensors", make())


def test_everything_that_does_not_fit_is_listed_at_once_and_nothing_changes(tmp_path):
    model, optimizer = net(), optim.Adam(0.1)
    train(model, optimizer, range(1))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer)

    other = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm(8), nn.GELU(), nn.Linear(9, 3), nn.Linear(8, 3))
    other.layers[1].weight = other.layers[1].weight.astype(mx.float16)
    again = optim.Adam(0.2)
    before, flags = bits(other.parameters()), frozen(other)
    with pytest.raises(ValueError) as error:
        nn.load_checkpoint(tmp_path / "a.safetensors", other, again)
    text = str(error.value)
    assert text.startswith("[load_checkpoint] ")
    for line in (
        "missing: parameter 'layers.3.weight', float32 (3, 9)",
        "missing: parameter 'layers.3.bias', float32 (3,)",
        "unexpected: parameter 'layers.0.bias', float32 (8,)",
        "parameter 'layers.1.weight': the file has float32 (8,), expected float16 (8,)",
        "optimizer state 'layers.1.weight.m': the file has float32 (8,), expected float16 (8,)",
    ):
        assert f"\n  {line}" in text, text
    assert bits(other.parameters()) == before
    assert frozen(other) == flags
    assert again.state.keys() == {"step", "learning_rate"}


def test_another_optimizer_does_not_fit(tmp_path):
    model = net()
    file = tmp_path / "a.safetensors"
    nn.save_checkpoint(file, model, optim.SGD(0.1))
    with pytest.raises(ValueError, match="the optimizer is Adam, the file has the state of SGD"):
        nn.load_checkpoint(file, model, optim.Adam(0.1))
    with pytest.raises(ValueError, match=r"is Adam \+ SGD, the file has the state of SGD"):
        nn.load_checkpoint(file, model, OPTIMIZERS["Multi"]())
    nn.save_checkpoint(file, model)
    with pytest.raises(ValueError, match="the file has the state of none"):
        nn.load_checkpoint(file, model, optim.SGD(0.1))
    momentum = optim.Adafactor(beta_1=0.9)
    train(model, momentum, range(1))
    nn.save_checkpoint(file, model, momentum)
    with pytest.raises(ValueError, match=r"unexpected: optimizer state 'layers.4.weight.exp_avg'"):
        nn.load_checkpoint(file, model, optim.Adafactor())


def test_without_a_model_the_rest_is_read(tmp_path):
    file = tmp_path / "a.safetensors"
    nn.save_checkpoint(file, net(), optim.SGD(0.1), step=5, data={"index": 3}, sizes=[4, 8, 3], x=mx.array([1, 2]))
    loaded = nn.load_checkpoint(file, None)
    assert (loaded.step, loaded.data, loaded.extra["sizes"]) == (5, {"index": 3}, [4, 8, 3])
    assert loaded.extra["x"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"\[load_checkpoint\] got an optimizer and no model"):
        nn.load_checkpoint(file, None, optim.SGD(0.1))


def test_files_that_are_no_checkpoints(tmp_path):
    file, model = tmp_path / "a.safetensors", net()
    model.save_weights(file)
    with pytest.raises(ValueError, match=r"\[load_checkpoint\] .* was not written by save_checkpoint"):
        nn.load_checkpoint(file, model)
    for text, message in (("{", "no JSON"), ("[]", "version None"), ('{"version": 9}', "version 9")):
        mx.save_safetensors(str(file), {}, {"checkpoint": text})
        with pytest.raises(ValueError, match=message):
            nn.load_checkpoint(file, model)
    mx.save_safetensors(str(file), {}, {"checkpoint": '{"version": 1}'})
    with pytest.raises(ValueError, match=r"without \['data', 'extra', 'frozen', 'optimizer_class', 'step'\]"):
        nn.load_checkpoint(file, model)
    with pytest.raises(RuntimeError):
        nn.load_checkpoint(tmp_path / "none.safetensors", model)
    for function in (nn.save_checkpoint, nn.load_checkpoint):
        with pytest.raises(ValueError, match=r"expected '.safetensors'"):
            function(tmp_path / "a.npz", model)


def test_a_checkpoint_cut_short_changes_nothing(tmp_path):
    file, model = tmp_path / "a.safetensors", net()
    nn.save_checkpoint(file, model)
    file.write_bytes(file.read_bytes()[:-8])
    other = net(seed=2)
    before = bits(other.parameters())
    with pytest.raises(RuntimeError):
        nn.load_checkpoint(file, other)
    assert bits(other.parameters()) == before


def test_what_cannot_be_saved(tmp_path):
    file, model = tmp_path / "a.safetensors", net()
    for value, message in (
        ({"a": [object()]}, r"'data.a.0' is a object"),
        (np.float64(1), "'data' is a float64"),
        ({None: 1}, "'data' has the key None"),
    ):
        with pytest.raises(TypeError, match=re.escape("[save_checkpoint] ") + message):
            nn.save_checkpoint(file, model, data=value)
    with pytest.raises(ValueError, match=r"two arrays are called 'data.a.b'"):
        nn.save_checkpoint(file, model, data={"a.b": mx.array(1), "a": {"b": mx.array(2)}})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    file, model = tmp_path / "a.safetensors", net()
    nn.save_checkpoint(file, model, step=1)
    before = file.read_bytes()
    save = mx.save_safetensors

    def half(stream, arrays, metadata):
        save(stream, arrays, metadata)
        stream.truncate(100)
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(mx, "save_safetensors", half)
        with pytest.raises(OSError, match="disk full"):
            nn.save_checkpoint(file, model, step=2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            nn.save_checkpoint(file, model, step=2)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_array_that_cannot_be_computed_leaves_the_old_file(tmp_path):
    file, model = tmp_path / "a.safetensors", net()
    nn.save_checkpoint(file, model, step=1)
    before = file.read_bytes()
    model.layers[0].bias = mx.linalg.cholesky(-mx.eye(2), stream=mx.cpu)
    with pytest.raises((RuntimeError, ValueError)):
        nn.save_checkpoint(file, model, step=2)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    """A real failure in the middle of writing: the process may write no file longer than 4 KiB."""
    printed = run_python(
        f"""
        import resource, signal
        import mlx.core as mx, mlx.nn as nn
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        file = {str(tmp_path / "a.safetensors")!r}
        nn.save_checkpoint(file, nn.Linear(2, 2), step=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            nn.save_checkpoint(file, nn.Linear(100, 100), step=2)
        except (RuntimeError, OSError) as error:
            print("failed:", error)
        print(nn.load_checkpoint(file, nn.Linear(2, 2)).step)
        """
    )
    assert "failed:" in printed
    assert printed.split()[-1] == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_replaced_file_keeps_its_mode(tmp_path):
    file = tmp_path / "a.safetensors"
    nn.save_checkpoint(file, net(), step=1)
    file.chmod(0o640)
    nn.save_checkpoint(file, net(), step=2)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert nn.load_checkpoint(file, net()).step == 2


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_processes_killed_while_they_save_leave_a_whole_file(tmp_path):
    """Each is killed at another moment of a loop that does nothing but save 4 MB."""
    file = tmp_path / "a.safetensors"
    code = f"""
        import itertools
        import mlx.core as mx, mlx.nn as nn
        model = nn.Linear(1000, 1000)
        for step in itertools.count():
            nn.save_checkpoint({str(file)!r}, model, step=step)
            print(step, flush=True)
    """
    for delay in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert nn.load_checkpoint(file, nn.Linear(1000, 1000)).step >= 0
    nn.save_checkpoint(file, nn.Linear(2, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "runs").mkdir()
    link = tmp_path / "latest.safetensors"
    link.symlink_to(tmp_path / "runs" / "a.safetensors")
    nn.save_checkpoint(link, net(), step=4)
    assert stat.S_ISLNK(link.lstat().st_mode)
    assert nn.load_checkpoint(tmp_path / "runs" / "a.safetensors", net()).step == 4


def test_other_programs_can_read_the_file(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    model, optimizer = net(), optim.Adam(0.1)
    train(model, optimizer, range(1))
    nn.save_checkpoint(tmp_path / "a.safetensors", model, optimizer, step=1)
    arrays = numpy_reader.load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(arrays["model.layers.4.weight"], np.array(model.layers[4].weight))
    assert arrays["optimizer.step"] == 1
    _, metadata = mx.load(str(tmp_path / "a.safetensors"), return_metadata=True)
    header = json.loads(metadata["checkpoint"])
    assert header["step"] == 1
    assert header["frozen"] == {"layers.0": ["bias", "weight"], "layers.1": ["running_mean", "running_var"]}
