"""Losses: reductions, shapes, edges. Their values are compared in test_against_torch.py."""

import math

import mlx.core as mx
import numpy as np
import pytest
from mlx.nn import losses
from nn_samples import arr, close, wave

X, T = arr(4, 5), arr(4, 5, seed=2)
CLASSES = mx.array([1, 4, 0, 2])
# Name, arguments, the default reduction.
CALLS = [
    ("cross_entropy", (X, CLASSES), "none"),
    ("binary_cross_entropy", (X, T), "mean"),
    ("l1_loss", (X, T), "mean"),
    ("mse_loss", (X, T), "mean"),
    ("nll_loss", (X, CLASSES), "none"),
    ("gaussian_nll_loss", (X, T, T * T), "mean"),
    ("kl_div_loss", (X, T), "none"),
    ("smooth_l1_loss", (X, T), "mean"),
    ("triplet_loss", (X, T, -T), "none"),
    ("hinge_loss", (X, T), "none"),
    ("huber_loss", (X, T), "none"),
    ("log_cosh_loss", (X, T), "none"),
    ("cosine_similarity_loss", (X, T), "none"),
    ("margin_ranking_loss", (X, T, mx.sign(T)), "none"),
]


@pytest.mark.parametrize("name, args, default", CALLS, ids=[c[0] for c in CALLS])
def test_reductions(name, args, default):
    f = getattr(losses, name)
    each = np.array(f(*args, reduction="none")).astype("f8")
    assert each.shape in ((4,), (4, 5))
    close(f(*args, reduction="sum"), each.sum())
    close(f(*args, reduction="mean"), each.mean())
    close(f(*args), each if default == "none" else each.mean())
    with pytest.raises(ValueError, match=r"reduction.*'max'"):
        f(*args, reduction="max")


@pytest.mark.parametrize("name, args, default", CALLS, ids=[c[0] for c in CALLS])
def test_shapes_in_errors(name, args, default):
    bad = (args[0], mx.zeros((3, 2)), *args[2:])
    with pytest.raises(ValueError, match=rf"\[losses.{name}\]") as error:
        getattr(losses, name)(*bad)
    assert "(4, 5)" in str(error.value) and "(3, 2)" in str(error.value)


def test_cross_entropy_axes_and_weights():
    x = wave(2, 5, 3)
    targets = np.array([[1, 4, 0], [2, 2, 3]])
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    expected = -np.take_along_axis(log_p, targets[:, None], 1)[:, 0]
    logits = mx.array(x.astype(np.float32))
    close(losses.cross_entropy(logits, mx.array(targets), axis=1), expected)
    close(losses.cross_entropy(logits, mx.array(targets), axis=-2), expected)
    last = mx.moveaxis(logits, 1, -1)
    close(losses.cross_entropy(last, mx.array(targets)), expected)
    close(losses.nll_loss(mx.array(log_p.astype(np.float32)), mx.array(targets), 1), expected)
    w = wave(2, 3, seed=3)
    weighted = losses.cross_entropy(
        last, mx.array(targets), weights=mx.array(w.astype(np.float32)), reduction="sum"
    )
    close(weighted, (w * expected).sum())
    one_hot = mx.array(np.eye(5)[targets].astype(np.float32))
    close(losses.cross_entropy(last, one_hot), expected)
    smooth = -(0.7 * np.moveaxis(log_p, 1, -1) * np.eye(5)[targets]).sum(-1)
    smooth -= 0.3 * log_p.mean(1)
    close(losses.cross_entropy(last, mx.array(targets), label_smoothing=0.3), smooth)


def test_cross_entropy_errors():
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ValueError, match="label_smoothing"):
            losses.cross_entropy(X, CLASSES, label_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"weights \(5,\), loss \(4,\)"):
        losses.cross_entropy(X, CLASSES, weights=mx.ones((5,)))
    with pytest.raises(ValueError, match="integers"):
        losses.cross_entropy(X, CLASSES.astype(mx.float32))
    with pytest.raises(IndexError, match="axis 2"):
        losses.cross_entropy(X, CLASSES, axis=2)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_cross_entropy_in_half_precision(dtype):
    x = 4 * arr(6, 50)
    targets = mx.array([0, 7, 49, 3, 3, 20])
    loss = losses.cross_entropy(x.astype(dtype), targets)
    assert loss.dtype == dtype
    close(loss, np.array(losses.cross_entropy(x, targets)), 2e-2)


def test_cross_entropy_of_large_logits():
    x = mx.array([[1e4, 0.0], [-1e4, 0.0]])
    close(losses.cross_entropy(x, mx.array([1, 0])), [1e4, 1e4])
    close(losses.cross_entropy(x, mx.array([0, 1])), [0, 0])


def test_binary_cross_entropy_edges():
    p, t = mx.array([0.0, 1.0, 0.0]), mx.array([1.0, 0.0, 0.0])
    close(losses.binary_cross_entropy(p, t, with_logits=False, reduction="none"), [100, 100, 0])
    x = mx.array([1000.0, -1000.0])
    close(losses.binary_cross_entropy(x, mx.array([0.0, 1.0]), reduction="none"), [1000, 1000])
    w = mx.array([2.0, 3.0])
    close(losses.binary_cross_entropy(x, mx.array([0.0, 1.0]), w, reduction="sum"), 5000)
    with pytest.raises(ValueError, match="weights"):
        losses.binary_cross_entropy(x, x, mx.ones((3,)))


def test_smooth_l1_without_smoothing():
    d = np.abs(np.array(X) - np.array(T))
    close(losses.smooth_l1_loss(X, T, beta=0.0, reduction="none"), d)
    g = mx.grad(lambda x: losses.smooth_l1_loss(x, T, beta=0.0).sum())(T)
    assert mx.all(mx.isfinite(g)).item()
    with pytest.raises(ValueError, match="beta"):
        losses.smooth_l1_loss(X, T, beta=-1.0)


def test_log_cosh():
    d = np.array(X).astype("f8") - np.array(T)
    close(losses.log_cosh_loss(X, T), np.log(np.cosh(d)))
    close(losses.log_cosh_loss(mx.array(1000.0), mx.array(0.0)), 1000 - math.log(2))


def test_gaussian_nll_limits_the_variance():
    zero = mx.zeros((3,))
    close(losses.gaussian_nll_loss(zero, zero, zero, eps=0.01), 0.5 * math.log(0.01))


def test_triplet_of_equal_vectors():
    assert losses.triplet_loss(X, X, X, margin=0.5).tolist() == [0.5] * 4
    g = mx.grad(lambda a: losses.triplet_loss(a, X, X).sum())(X)
    assert mx.all(g == 0).item()


def test_cosine_of_zero_vectors():
    zero = mx.zeros((2, 3))
    assert losses.cosine_similarity_loss(zero, mx.ones((2, 3))).tolist() == [0, 0]
    g = mx.grad(lambda x: losses.cosine_similarity_loss(x, mx.ones((2, 3))).sum())(zero)
    assert mx.all(mx.isfinite(g)).item()
    a, b = np.array(X).astype("f8"), np.array(T).astype("f8")
    expected = (a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))
    close(losses.cosine_similarity_loss(X, T, axis=0), expected)
