"""What modules say to inputs, files and losses that they cannot use, and that nothing breaks."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten
from nn_samples import arr, quantization

# ---- inputs: the message names the layer, what it takes and what came

Z = mx.zeros
QKV = (Z((1, 4, 8)),) * 3
WRONG = [
    (nn.Linear(2, 3), (Z((4, 5)),), ["2", "(3, 2)", "(4, 5)"]),
    (nn.Linear(2, 3), (mx.array(1.0),), ["2", "()"]),
    (nn.Bilinear(2, 3, 4), (Z((4, 2)), Z((4, 5))), ["(..., 2)", "(..., 3)", "(4, 5)"]),
    (nn.Bilinear(2, 3, 4), (Z((4, 2)), Z((5, 3))), ["(4, 2)", "(5, 3)"]),
    (nn.Embedding(4, 2), (Z((3,)),), ["integers", "float32", "(3,)"]),
    (nn.Conv1d(2, 3, 1), (Z((1, 4, 5)),), ["(N, L, 2)", "(3, 1, 2)", "(1, 4, 5)"]),
    (nn.Conv2d(2, 3, 1), (Z((4, 5)),), ["(N, H, W, 2)", "(4, 5)"]),
    (nn.Conv2d(2, 3, 9), (Z((1, 4, 4, 2)),), ["(1, 4, 4, 2)", "(3, 9, 9, 2)"]),
    (nn.Conv3d(2, 3, 1), (Z((1, 4, 4, 4, 5)),), ["(N, D, H, W, 2)", "(1, 4, 4, 4, 5)"]),
    (nn.ConvTranspose1d(2, 3, 1), (Z((1, 4, 5)),), ["(N, L, 2)", "(1, 4, 5)"]),
    (nn.ConvTranspose2d(2, 3, 1), (Z((1, 4, 4, 5)),), ["(N, H, W, 2)", "(1, 4, 4, 5)"]),
    (nn.ConvTranspose3d(2, 3, 1), (Z((1, 4, 5)),), ["(N, D, H, W, 2)", "(1, 4, 5)"]),
    (nn.RNN(2, 3), (Z((4, 5)),), ["(..., L, 2)", "(4, 5)"]),
    (nn.RNN(5, 3), (Z((2, 4, 5)), Z((2, 7))), ["hidden", "(2, 3)", "(2, 4, 5)", "(2, 7)"]),
    (nn.RNN(5, 3), (Z((2, 4, 5)), Z((4, 3))), ["hidden", "(2, 3)", "(4, 3)"]),
    (nn.GRU(5, 3), (Z((4, 5)), mx.array(0.0)), ["hidden", "(3,)", "()"]),
    (nn.LSTM(5, 3), (Z((4, 5)), Z((3,)), Z((1, 7))), ["cell", "(3,)", "(1, 7)"]),
    (nn.MultiHeadAttention(8, 2), (Z((4, 8)),) * 3, ["queries", "(4, 8)"]),
    (nn.MultiHeadAttention(8, 2), (*QKV[:2], Z((1, 5, 8))), ["values", "(1, 4, ", "(1, 5, 8)"]),
    (nn.MultiHeadAttention(8, 2), (Z((2, 4, 8)), *QKV[1:]), ["keys", "(2, 4, ", "(1, 4, 8)"]),
    (nn.MultiHeadAttention(8, 2), (*QKV, Z((3, 3))), ["mask", "(1, 2, 4, 4)", "(3, 3)"]),
    (nn.LayerNorm(2), (Z((4, 5)),), ["2", "(4, 5)"]),
    (nn.RMSNorm(2), (Z((4, 5)),), ["2", "(4, 5)"]),
    (nn.GroupNorm(1, 2), (Z((4, 5)),), ["2", "(4, 5)"]),
    (nn.InstanceNorm(2), (Z((4, 5)),), ["3 dimensions", "(4, 5)"]),
    (nn.BatchNorm(2), (Z((4, 5)),), ["2", "(4, 5)"]),
    (nn.MaxPool1d(2), (Z((4, 5)),), ["3 dimensions", "(4, 5)"]),
    (nn.AvgPool2d(2), (Z((4, 5)),), ["4 dimensions", "(4, 5)"]),
    (nn.MaxPool3d(2), (Z((4, 5)),), ["5 dimensions", "(4, 5)"]),
    (nn.Upsample(2, "linear"), (Z((2,)),), ["3 dimensions", "(2,)"]),
    (nn.PReLU(3), (Z((4, 5)),), ["(4, 5)", "(3,)"]),
    (nn.Dropout2d(0.5), (Z((3,)),), ["3 or 4", "(3,)"]),
    (nn.Dropout3d(0.5), (Z((3,)),), ["4 or 5", "(3,)"]),
    (nn.RoPE(4), (Z((3,)),), ["3 dimensions", "(3,)"]),
    (nn.ALiBi(), (Z((2, 3)),), ["(2, 3)"]),
]


@pytest.mark.parametrize(
    "module, inputs, parts",
    WRONG,
    ids=[f"{i}-{type(row[0]).__name__}" for i, row in enumerate(WRONG)],
)
def test_wrong_shapes(module, inputs, parts):
    with pytest.raises((ValueError, TypeError)) as error:
        module(*inputs)
    message = str(error.value)
    assert message.startswith(f"[{type(module).__name__}]")
    assert not [part for part in parts if part not in message], message


@quantization
def test_wrong_shapes_in_quantized_layers():
    for module in (nn.QuantizedLinear(64, 32), nn.QQLinear(64, 32), nn.QQLinear(64, 32).eval()):
        with pytest.raises(ValueError, match=r"64 .*\(32, 64\).*\(4, 5\)") as error:
            module(Z((4, 5)))
        assert str(error.value).startswith(f"[{type(module).__name__}]")
    table = nn.QuantizedEmbedding(4, 64)
    with pytest.raises(TypeError, match=r"^\[QuantizedEmbedding\] .*float32"):
        table(Z((3,)))
    with pytest.raises(ValueError, match=r"^\[QuantizedEmbedding\] .*64.*\(4, 5\)"):
        table.as_linear(Z((4, 5)))


def test_indices_outside_of_a_table():
    for index in ([7], [-4], [[0, 3]]):
        with pytest.raises(IndexError, match=r"index (7|-4|3) .*size 3"):
            mx.eval(nn.Embedding(3, 2)(mx.array(index)))


def test_hidden_states_may_broadcast():
    for m in (nn.RNN(5, 3), nn.RNN(5, 3, nonlinearity=mx.sin), nn.GRU(5, 3)):
        assert m(Z((4, 5)), Z((2, 3))).shape == (2, 4, 3)
        assert m(Z((2, 4, 5)), Z((3,))).shape == (2, 4, 3)
    for states in ((Z((2, 3)), None), (Z((3,)), Z((2, 3)))):
        assert [y.shape for y in nn.LSTM(5, 3)(Z((4, 5)), *states)] == [(2, 4, 3)] * 2


# ---- weights


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_a_file_that_does_not_fit(tmp_path, extension):
    file = tmp_path / f"w.{extension}"
    nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.BatchNorm(4)).save_weights(file)
    m = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5), nn.LayerNorm(4), nn.Linear(5, 1))
    before = dict(tree_flatten(m.parameters()))
    with pytest.raises(ValueError, match=r"^\[Sequential.load_weights\]") as error:
        m.load_weights(file)
    message = str(error.value)
    for part in (
        "Received 2 parameters not in model: \nlayers.2.running_mean,\nlayers.2.running_var.",
        "Missing 2 parameters: \nlayers.3.bias,\nlayers.3.weight.",
        "Expected shape (5, 3) but received (4, 3) for parameter layers.1.weight",
        "Expected shape (5,) but received (4,) for parameter layers.1.bias",
    ):
        assert part in message
    after = dict(tree_flatten(m.parameters()))
    assert all(after[name] is before[name] for name in before)


def test_no_weights_at_all(tmp_path):
    m = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match=r"nope.npz"):
        m.load_weights(tmp_path / "nope.npz")
    (tmp_path / "bad.npz").write_bytes(b"garbage")
    (tmp_path / "bad.safetensors").write_bytes(b"garbage" * 9)
    for name in ("bad.npz", "bad.safetensors"):
        with pytest.raises((RuntimeError, ValueError), match=r"\[load"):
            m.load_weights(tmp_path / name)
    for wrong in (3, [1, 2], [("weight",)], [(1, mx.zeros((2, 2)))], {3: mx.zeros((1,))}):
        with pytest.raises(TypeError, match=r"\[Linear.load_weights\] got .*, expected a path"):
            m.load_weights(wrong)
    with pytest.raises(ValueError, match="Missing 2 parameters"):
        m.load_weights([])


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_a_module_without_parameters_has_a_file(tmp_path, extension):
    file = tmp_path / f"w.{extension}"
    m = nn.Sequential(nn.ReLU())
    m.save_weights(file)
    assert m.load_weights(file) is m
    with pytest.raises(ValueError, match="Missing 2 parameters"):
        nn.Linear(1, 1).load_weights(file)


# ---- losses that are nan


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda: optim.Adam(0.1, bias_correction=True),
        lambda: optim.Lion(0.1),
        lambda: optim.Adafactor(),
        lambda: optim.Muon(0.1),
    ],
)
def test_training_goes_on_after_nan(make):
    """The parameters that the loss depends on become nan, the others do not; nothing raises.

    Lion goes by signs, and that of nan is 0: its parameters stay.
    """
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm(4), nn.Linear(4, 1))
    m.other = mx.ones((2, 2))
    m.layers[0].freeze()
    optimizer = make()

    def loss(x):
        return m(x).square().mean() + m.other.square().sum()

    f = nn.value_and_grad(m, loss)
    x = arr(8, 3)
    value, grads = f(x)
    optimizer.update(m, grads)
    assert np.isfinite(value.item())
    mx.eval(m.state, optimizer.state)
    for step in range(2):
        value, grads = f(mx.array(np.where(np.arange(24).reshape(8, 3) == 5, np.nan, 0.5)))
        optimizer.update(m, grads)
        mx.eval(m.state, optimizer.state)
        assert np.isnan(value.item()) and optimizer.step.item() == step + 2
    moved = not isinstance(optimizer, optim.Lion)
    assert mx.isnan(m.layers[2].weight).all().item() == moved
    assert mx.isnan(m.layers[1].running_mean).all()
    assert mx.isfinite(m.other).all() and mx.isfinite(m.layers[0].weight).all()
    assert m.other.dtype == mx.float32
    value, grads = f(x)
    assert np.isnan(value.item()) == moved  # nan stays nan


def test_a_step_can_be_left_out_where_the_norm_is_nan():
    m, optimizer = nn.Linear(2, 1), optim.Adam(0.1)
    before = m.weight
    _, grads = nn.value_and_grad(m, lambda x: m(x).sum())(mx.array([[mx.nan, 1.0]]))
    grads, norm = optim.clip_grad_norm(grads, 1.0)
    assert mx.isnan(norm) and mx.isnan(grads["weight"]).any()
    if mx.isfinite(norm):
        optimizer.update(m, grads)
    assert m.weight is before


def test_losses_of_nothing():
    """Means over no elements are nan, sums are 0, as in numpy; gradients are empty or 0."""
    empty = mx.zeros((0, 5))
    classes = mx.zeros((0,), mx.int32)
    assert nn.losses.cross_entropy(empty, classes, reduction="sum").item() == 0
    assert np.isnan(nn.losses.mse_loss(empty, empty).item())
    m = nn.Linear(5, 2)
    _, grads = nn.value_and_grad(m, lambda x: m(x).sum())(empty)
    assert mx.all(grads["weight"] == 0) and mx.all(grads["bias"] == 0)
