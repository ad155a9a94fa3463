"""Each one-file example in its quick mode, in which it checks its own result, and the parts that have a definition."""

import importlib
import math
import sys
from pathlib import Path
from types import ModuleType

import cartpole
import common
import flow
import gcn
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import regression
import resnet
import vae

PICTURES = {
    "regression": ["regression"],
    "digits_cnn": ["digits_cnn"],
    "resnet": ["resnet"],
    "lstm_text": ["lstm_text"],
    "vae": ["vae", "vae_loss"],
    "flow": ["flow"],
    "gcn": ["gcn"],
    "cartpole": ["cartpole"],
    "metal_kernel": ["metal_kernel"],
}


@pytest.mark.parametrize("name", PICTURES)
def test_quick_mode(name, tmp_path, capsys):
    example = importlib.import_module(name)
    assert "Expected: " in example.__doc__ or name == "regression"
    results = example.main(["--quick", "--output", str(tmp_path)])
    assert all(math.isfinite(value) for value in results.values())
    assert sorted(p.stem for p in tmp_path.glob("*.png")) == sorted(PICTURES[name])
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in tmp_path.glob("*.png"))
    assert str(tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gcn", "cartpole", "vae"])
def test_the_same_seed_gives_the_same_result(name, tmp_path):
    example = importlib.import_module(name)
    first, second = (example.main(["--quick", "--seed", "1", "--output", str(tmp_path)]) for _ in range(2))
    assert first == second


def test_a_check_that_fails_is_an_error():
    with pytest.raises(AssertionError, match="too low"):
        common.expect(1 > 2, "too low")


def test_flags_win_over_those_of_quick_mode(tmp_path):
    parser = common.make_parser("A title.")
    parser.add_argument("--steps", type=int, default=1000)
    flags = ["--output", str(tmp_path / "new")]
    assert common.parse(parser, [*flags, "--quick"], steps=5).steps == 5
    assert common.parse(parser, [*flags, "--quick", "--steps", "7"], steps=5).steps == 7
    assert (tmp_path / "new").is_dir()


def test_a_log_that_goes_on_drops_what_will_be_written_again(tmp_path):
    file = tmp_path / "log.csv"
    log = common.CsvLog(file, ["loss", "validation"])
    for step in range(5):
        log.write(step, loss=step / 2, **({"validation": 7.5} if step == 2 else {}))
    log.close()
    with file.open("a") as half:
        half.write("123.0,5")
    log = common.CsvLog(file, ["loss", "validation"], resume_at=3)
    log.write(3, loss=9.0)
    log.close()
    assert common.read_log(file, "loss") == ([0, 1, 2, 3], [0, 0.5, 1, 9])
    assert common.read_log(file, "validation") == ([2], [7.5])


@pytest.mark.parametrize("installed", [False, True])
def test_a_log_goes_to_tensorboard_too_where_that_is_installed(tmp_path, monkeypatch, installed):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((Path(folder).relative_to(tmp_path).as_posix(), purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    package = ModuleType("tensorboardX") if installed else None
    if package:
        package.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", package)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    log = common.Log(tmp_path / "run.csv", ["loss", "seconds"], resume_at=2)
    log.write(2, loss=0.5, seconds="0.25")
    log.close()
    assert common.read_log(tmp_path / "run.csv", "loss") == ([2], [0.5])
    events = [("tensorboard/run", 2), ("loss", 0.5, 2), ("seconds", 0.25, 2), "closed"]
    assert written == (events if installed else [])


def test_the_standard_library_is_read_in_order():
    texts = common.standard_library(200_000)
    assert list(texts) == sorted(texts)
    assert 50_000 < sum(map(len, texts.values())) <= 200_000
    assert next(iter(common.standard_library(1000).values())) == next(iter(texts.values()))[:1000]


def test_batches_cover_an_epoch_once():
    chosen = np.concatenate(list(common.batches(50, 8, seed=1, epoch=2)))
    assert len(set(chosen)) == len(chosen) == 48
    assert not np.array_equal(chosen, np.concatenate(list(common.batches(50, 8, seed=1, epoch=3))))


def test_the_karate_club_is_the_published_one():
    matrix = gcn.adjacency()
    assert matrix.sum() == 2 * 78
    assert (matrix == matrix.T).all() and not matrix.diagonal().any()
    degrees = [16, 9, 10, 6, 3, 4, 4, 4, 5, 2, 3, 1, 2, 5, 2, 2, 2, 2, 2, 3, 2, 2, 2, 5, 3, 3, 2, 4, 3, 4, 4, 6, 12, 17]
    assert matrix.sum(1).tolist() == degrees
    values = np.linalg.eigvalsh(np.array(gcn.normalized(matrix), np.float64))
    assert values.max() == pytest.approx(1, abs=1e-6)


def test_a_coupling_is_invertible_and_knows_its_determinant():
    model = flow.RealNVP(couplings=5, hidden=8)
    x = mx.random.normal((6, 2))
    z, log_determinant = model.forward(x)
    np.testing.assert_allclose(np.array(model.inverse(z)), np.array(x), rtol=1e-4, atol=1e-5)
    for i in range(6):
        rows = [mx.grad(lambda p, k=k: model.forward(p[None])[0][0, k])(x[i]) for k in range(2)]
        jacobian = np.array(mx.stack(rows), np.float64)
        assert math.log(abs(np.linalg.det(jacobian))) == pytest.approx(log_determinant[i].item(), abs=1e-4)


def test_the_bound_of_an_encoder_that_says_nothing():
    """q(z | x) = N(0, 1) has no divergence, and a decoder of zeros makes every pixel cost log 2."""
    model = vae.VAE(hidden=4, latent=2)
    model.apply(mx.zeros_like)
    x = mx.random.uniform(shape=(3, 64))
    np.testing.assert_allclose(np.array(model.bound(x)), 64 * math.log(2), rtol=1e-6)
    model.encoder.layers[-1].bias = mx.array([1.0, 2.0, 0.0, math.log(4)])
    divergence = 0.5 * (1 + 4 + 1 + 4 - 2 - math.log(4))
    np.testing.assert_allclose(np.array(model.bound(x)), 64 * math.log(2) + divergence, rtol=1e-6)


def test_the_pole_falls_as_physics_says():
    """Mirror images stay mirror images, and near the top the equations are linear."""
    state = np.array([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, -0.1, 0.0]], np.float32)
    right = cartpole.push(state, np.array([1, 1]))
    left = cartpole.push(state, np.array([0, 0]))
    np.testing.assert_allclose(right[0], -left[1], atol=1e-7)  # mirror images
    assert right[0, 1] > 0 > right[0, 3]  # pushed right, the cart gains speed and the pole turns left
    # The linear equations at rest: a = F/M - m l b / M, b = (g w - F/M) / (l (4/3 - m / M)).
    total = cartpole.CART + cartpole.POLE
    state = np.array([[0.0, 0.0, 1e-3, 0.0]], np.float32)
    bend = (9.8 * 1e-3 - 10 / total) / (0.5 * (4 / 3 - 0.1 / total))
    expected = [0, 0.02 * (10 / total - 0.1 * 0.5 * bend / total), 1e-3, 0.02 * bend]
    np.testing.assert_allclose(cartpole.push(state, np.array([1]))[0], expected, rtol=1e-4)
    assert cartpole.fallen(np.array([[2.5, 0, 0, 0], [0, 0, -0.22, 0], [2.3, 9, 0.2, 9]])).tolist() == [
        True,
        True,
        False,
    ]


def test_returns_are_discounted_and_end_with_the_episode():
    ups = np.array([[True, True], [True, True], [False, True]])
    raw = np.array([[1 + 0.5, 1 + 0.5 * 1.5], [1, 1.5], [0, 1]])
    centred = (raw - raw.mean(1, keepdims=True)) * ups
    centred[2] = 0  # alone at the end: nothing to compare with
    expected = centred / math.sqrt((centred**2).sum() / 5)
    np.testing.assert_allclose(cartpole.advantages(ups, 0.5), expected, atol=1e-6)


def test_moved_images_keep_their_ink():
    images = np.zeros((4, 16, 16, 1), np.float32)
    images[:, 5:9, 6:10] = 1
    out = resnet.moved(images, np.random.default_rng(0))
    assert out.shape == images.shape
    assert (out.sum((1, 2, 3)) == 16).all()
    assert any(not np.array_equal(a, b) for a, b in zip(out, images, strict=True))


def test_a_block_that_changes_nothing_keeps_its_shape():
    block = resnet.Block(4, 4, 1)
    block.norm2.weight = mx.zeros(4)
    x = mx.random.normal((2, 8, 8, 4))
    np.testing.assert_array_equal(np.array(block(x)), np.array(nn.relu(x)))
    assert resnet.Block(4, 6, 2)(x).shape == (2, 4, 4, 6)


def test_logistic_regression_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    _, _, accuracy = regression.logistic(12, decay=1e-3)
    data = regression.load_breast_cancer()
    split = regression.train_test_split(
        data.data, data.target, test_size=0.25, random_state=common.SPLIT_SEED, stratify=data.target
    )
    x, test_x = (np.array(regression.standardized(part, split[0]))[:, :-1] for part in split[:2])
    model = LogisticRegression(C=1 / (1e-3 * len(x)), max_iter=5000).fit(x, split[2])
    assert accuracy == pytest.approx(model.score(test_x, split[3]), abs=1e-6)
