"""mx.random: the recorded bits of the API for given keys, moments, shapes, determinism,
refusals.
"""

from __future__ import annotations

import math
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from op_row import outputs, to_np
from record_reference import SEEDS, random_calls

RECORDED = np.load(Path(__file__).parents[1] / "data" / "random.npz")
CALLS = random_calls()
# whole numbers, and floats that are a linear function of the bits: the same bits everywhere. The
# others
# went through log, erfinv or cos of the recording machine's library: equal to a few units.
EXACT = ("split", "uniform", "bernoulli", "randint", "permutation", "categorical")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CALLS)
def test_recorded(name: str, seed: int):
    key = mx.array(RECORDED[f"key/{seed}"])
    assert np.array_equal(np.array(mx.random.key(seed)), RECORDED[f"key/{seed}"])
    for k, x in enumerate(outputs(CALLS[name](key))):
        want, got = RECORDED[f"{name}/{seed}/{k}"], to_np(x)
        assert got.shape == want.shape and got.dtype == want.dtype
        if name.startswith(EXACT):
            assert np.array_equal(got, want), f"{got} is not {want}"
        else:
            eps = {"float16": 2e-3, "bfloat16": 1.6e-2}.get(name.rsplit("_", 1)[-1], 4e-6)
            assert np.allclose(got, want, rtol=eps, atol=eps), f"{got} is not {want}"


@pytest.mark.parametrize("seed", SEEDS)
def test_recorded_global_state(seed: int):
    mx.random.seed(seed)
    got = np.stack([np.array(mx.random.uniform(shape=(3,))) for _ in range(4)])
    assert np.array_equal(got, RECORDED[f"global/{seed}"])


N = 200_000


def moments(x: mx.array) -> tuple[float, float]:
    v = to_np(x).astype(np.float64)
    return float(v.mean()), float(v.var())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_uniform(dtype):
    x = mx.random.uniform(-1, 3, shape=(N,), dtype=getattr(mx, dtype), key=mx.random.key(1))
    mean, var = moments(x)
    assert abs(mean - 1) < 0.02 and abs(var - 16 / 12) < 0.03 and to_np(x).min() >= -1
    y = to_np(mx.random.uniform(shape=(N,), dtype=getattr(mx, dtype), key=mx.random.key(2)))
    assert y.min() >= 0 and y.max() <= 1 and y.max() > 0.98


def test_uniform_is_flat():
    counts, _ = np.histogram(
        np.array(mx.random.uniform(shape=(N,), key=mx.random.key(3))), 64, (0, 1)
    )
    chi = ((counts - N / 64) ** 2 / (N / 64)).sum()
    assert chi < 63 + 6 * math.sqrt(2 * 63)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_normal(dtype):
    x = mx.random.normal((N,), dtype=getattr(mx, dtype), loc=2.0, scale=3.0, key=mx.random.key(4))
    mean, var = moments(x)
    assert abs(mean - 2) < 0.05 and abs(var - 9) < 0.2 and x.dtype == getattr(mx, dtype)
    z = (to_np(x).astype(np.float64) - 2) / 3
    assert abs((z**3).mean()) < 0.05 and abs((z**4).mean() - 3) < 0.15 and np.isfinite(z).all()


def test_other_distributions():
    key = mx.random.key(5)
    t = mx.random.truncated_normal(-1.0, 2.0, (N,), key=key)
    assert to_np(t).min() >= -1 and to_np(t).max() <= 2 and abs(moments(t)[0] - 0.2296) < 0.01
    mean, var = moments(mx.random.gumbel((N,), key=key))
    assert abs(mean - 0.5772) < 0.02 and abs(var - math.pi**2 / 6) < 0.05
    mean, var = moments(mx.random.laplace((N,), loc=1.0, scale=2.0, key=key))
    assert abs(mean - 1) < 0.05 and abs(var - 8) < 0.3
    assert abs(moments(mx.random.bernoulli(0.3, (N,), key=key).astype(mx.float32))[0] - 0.3) < 0.01
    r = to_np(mx.random.randint(-3, 4, (N,), key=key))
    assert set(np.unique(r)) == set(range(-3, 4)) and np.bincount(r + 3).min() > 0.95 * N / 7
    cov = mx.array([[2.0, 0.5], [0.5, 1.0]])
    m = to_np(mx.random.multivariate_normal(mx.array([1.0, -1.0]), cov, (N,), key=key))
    assert np.allclose(m.mean(0), [1, -1], atol=0.02) and np.allclose(
        np.cov(m.T), np.array(cov), atol=0.05
    )


def test_categorical_frequencies():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    x = to_np(
        mx.random.categorical(
            mx.log(mx.array(p.astype(np.float32))), num_samples=N, key=mx.random.key(6)
        )
    )
    assert np.allclose(np.bincount(x, minlength=4) / N, p, atol=0.01)
    never = mx.random.categorical(
        mx.array([0.0, -float("inf")]), num_samples=1000, key=mx.random.key(7)
    )
    assert never.max().item() == 0


def test_categorical_of_one_distribution():
    """A uniform number per sample, looked up in the cumulative probabilities."""
    logits, key = np.random.default_rng(2).standard_normal(500).astype(np.float32), mx.random.key(3)
    sums = np.cumsum(np.exp(logits.astype(np.float64)))
    for shape, given in [((1,), {}), ((1, 1), {}), ((40, 1), {"shape": (40, 1)}), ((1, 9), {"num_samples": 9})]:
        x = mx.array(logits.reshape((1, 1, 500) if shape == (1, 1) else (1, 500)))
        u = to_np(mx.random.uniform(shape=shape, key=key)).astype(np.float64)
        drawn = to_np(mx.random.categorical(x, key=key, **given))
        assert drawn.shape == shape and drawn.dtype == np.uint32
        # float32 may round across a border
        assert np.abs(drawn.astype(int) - np.searchsorted(sums, u * sums[-1], side="right")).max() <= 1


def test_categorical_of_infinite_logits():
    inf = float("inf")
    for logits, possible in [
        ([0.0, inf, 0.0], {1}),
        ([-inf, 0.0, -inf], {1}),
        ([inf, inf, 0.0], {0, 1}),
        ([-inf, -inf, -inf], {0, 1, 2}),
    ]:
        drawn = mx.random.categorical(mx.array(logits), num_samples=200, key=mx.random.key(1))
        assert set(drawn.tolist()) == possible


def test_permutation_is_one():
    assert sorted(mx.random.permutation(1000, key=mx.random.key(8)).tolist()) == list(range(1000))
    x = mx.arange(60).reshape(3, 20)
    y = mx.random.permutation(x, axis=1, key=mx.random.key(9))
    assert y.shape == (3, 20) and mx.array_equal(mx.sort(y, 1), x) and not mx.array_equal(x, y)
    assert mx.array_equal(y[1] - y[0], mx.full((20,), 20))


def test_keys():
    k = mx.random.key(10)
    a, b = mx.random.split(k)
    assert not mx.array_equal(a, b) and mx.random.split(k, 7).shape == (7, 2)
    x, y = (mx.random.uniform(shape=(100,), key=q) for q in (a, b))
    assert not mx.array_equal(x, y) and mx.array_equal(x, mx.random.uniform(shape=(100,), key=a))
    assert abs(np.corrcoef(np.array(x), np.array(y))[0, 1]) < 0.4


def test_global_state_advances_and_reseeds():
    mx.random.seed(3)
    a, b = mx.random.uniform(shape=(4,)), mx.random.uniform(shape=(4,))
    mx.random.seed(3)
    assert mx.array_equal(a, mx.random.uniform(shape=(4,))) and mx.array_equal(
        b, mx.random.uniform(shape=(4,))
    )
    assert not mx.array_equal(a, b)
    before = [np.array(k) for k in mx.random.state]
    mx.eval(mx.random.normal((3,)))
    assert any(
        not np.array_equal(x, np.array(y)) for x, y in zip(before, mx.random.state, strict=True)
    )


def test_order_of_evaluation_does_not_matter():
    mx.random.seed(1)
    a, b = mx.random.uniform(shape=(3,)), mx.random.uniform(shape=(3,))
    mx.eval(b)
    mx.eval(a)
    mx.random.seed(1)
    c = mx.random.uniform(shape=(3,))
    mx.eval(c)
    assert mx.array_equal(a, c)


def test_vmap_over_keys():
    keys = mx.random.split(mx.random.key(0), 3)
    got = mx.vmap(lambda k: mx.random.uniform(shape=(2,), key=k))(keys)
    want = mx.stack([mx.random.uniform(shape=(2,), key=k) for k in keys])
    assert mx.array_equal(got, want)


def test_gradients_through_parameters():
    g = mx.grad(lambda s: mx.random.normal((8,), scale=s, key=mx.random.key(1)).sum())(
        mx.array(2.0)
    )
    assert np.allclose(
        g.item(), mx.random.normal((8,), key=mx.random.key(1)).sum().item(), rtol=1e-5
    )


def test_shapes():
    r = mx.random
    for shape in ((), (0,), (1,), (3, 0, 2), (2, 3, 4)):
        assert r.uniform(shape=shape).shape == shape and r.normal(shape).shape == shape
        assert r.randint(0, 5, shape).shape == shape and r.bernoulli(0.5, shape).shape == shape
        assert r.gumbel(shape).shape == shape and r.laplace(shape).shape == shape
    logits = mx.zeros((4, 5, 6))
    assert r.categorical(logits).shape == (4, 5) and r.categorical(logits, axis=1).shape == (4, 6)
    assert r.categorical(logits, num_samples=7).shape == (4, 5, 7)
    assert r.multivariate_normal(mx.zeros((3,)), mx.eye(3), (2, 5)).shape == (2, 5, 3)
    assert r.bernoulli(mx.array([[0.1], [0.9]]), (2, 4)).shape == (2, 4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda r: r.uniform(shape=(-1,)), ValueError),
        (lambda r: r.uniform(shape=(2,), dtype=mx.int32), ValueError),
        (lambda r: r.normal((2,), dtype=mx.int32), ValueError),
        (lambda r: r.uniform(mx.zeros((2,)), 1, shape=(3,)), ValueError),
        (lambda r: r.bernoulli(mx.array([0.5, 0.5]), (3,)), ValueError),
        (lambda r: r.split(mx.array([1, 2, 3])), ValueError),
        (lambda r: r.uniform(key=mx.array([1.0, 2.0])), ValueError),
        (lambda r: r.uniform(key=mx.array([1], mx.uint32)), ValueError),
        (lambda r: r.categorical(mx.array(1.0)), (IndexError, ValueError)),
        (lambda r: r.categorical(mx.zeros((2, 3)), axis=4), (IndexError, ValueError)),
        (lambda r: r.categorical(mx.zeros((2, 3)), shape=(5,), num_samples=2), ValueError),
        (lambda r: r.permutation(mx.zeros((2, 3)), axis=4), (IndexError, ValueError)),
        (lambda r: r.multivariate_normal(mx.zeros((3,)), mx.eye(2)), ValueError),
        (lambda r: r.randint(0, 5, (2,), dtype=mx.float32), ValueError),
        (lambda r: r.seed("x"), TypeError),
    ],
)
def test_refused(call, error):
    with pytest.raises(error):
        mx.eval(call(mx.random))
    assert mx.random.uniform().shape == ()
