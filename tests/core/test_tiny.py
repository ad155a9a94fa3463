"""Does anything work? Two seconds, before everything else."""

from __future__ import annotations

import mlx.core as mx
import numpy as np


def test_compute():
    a = mx.array([[1.0, 2.0], [3.0, 4.0]])
    assert (a + 1).tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert (a @ a).tolist() == [[7.0, 10.0], [15.0, 22.0]]
    assert a.sum().item() == 10.0
    assert a.T[0].tolist() == [1.0, 3.0]
    assert np.allclose(np.array(mx.exp(a)), np.exp(np.array(a)))


def test_transforms():
    x = mx.array([1.0, 2.0, 3.0])
    assert mx.grad(lambda x: (x * x).sum())(x).tolist() == [2.0, 4.0, 6.0]
    assert mx.vmap(lambda r: r.sum())(mx.ones((3, 4))).tolist() == [4.0, 4.0, 4.0]
    assert mx.compile(lambda x: mx.abs(x - 2) * 3)(x).tolist() == [3.0, 0.0, 3.0]


def test_random_and_numpy():
    assert mx.random.uniform(shape=(4,), key=mx.random.key(0)).shape == (4,)
    a = mx.array(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert np.array(a[:, ::-1]).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert "float32" in repr(a)


def test_training_step_reduces_the_loss():
    mx.random.seed(0)
    w = mx.zeros((4,))
    x = mx.random.normal((32, 4))
    y = x @ mx.array([1.0, -2.0, 0.5, 3.0])
    step = mx.value_and_grad(lambda w: mx.mean(mx.square(x @ w - y)))
    first = None
    for _ in range(60):
        loss, g = step(w)
        w = w - 0.2 * g
        mx.eval(w)
        first = loss.item() if first is None else first
    assert loss.item() < 1e-3 * first
