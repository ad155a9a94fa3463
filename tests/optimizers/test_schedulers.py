"""Schedules against their formulas, clipping against NumPy."""

import doctest
import math

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.optimizers import schedulers


def test_examples_in_docstrings():
    result = doctest.testmod(schedulers)
    assert result.attempted >= 10
    assert result.failed == 0


@pytest.mark.parametrize(
    "schedule, formula",
    [
        (optim.exponential_decay(0.1, 0.9), lambda t: 0.1 * 0.9**t),
        (optim.step_decay(0.1, 0.9, 3), lambda t: 0.1 * 0.9 ** (t // 3)),
        (
            optim.cosine_decay(0.1, 10, 0.01),
            lambda t: 0.01 + 0.09 * (1 + math.cos(math.pi * min(t, 10) / 10)) / 2,
        ),
        (optim.linear_schedule(0.3, 0.1, 8), lambda t: 0.3 - 0.2 * min(t, 8) / 8),
        (
            optim.join_schedules(
                [
                    optim.linear_schedule(0.0, 0.1, 4),
                    optim.cosine_decay(0.1, 6),
                    optim.exponential_decay(0.05, 0.5),
                ],
                [4, 9],
            ),
            lambda t: (
                0.1 * t / 4
                if t < 4
                else 0.05 * (1 + math.cos(math.pi * (t - 4) / 6))
                if t < 9
                else 0.05 * 0.5 ** (t - 9)
            ),
        ),
    ],
    ids=["exponential", "step", "cosine", "linear", "join"],
)
def test_schedule(schedule, formula):
    for t in range(15):
        for step in (t, mx.array(t, mx.uint64), mx.array(t)):
            rate = schedule(step)
            assert float(rate) == pytest.approx(formula(t), rel=1e-5, abs=1e-8)
        assert schedule(mx.array(t, mx.uint64)).dtype == mx.float32


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.step_decay(0.1, 0.9, 0), r"\[step_decay\] step_size is 0"),
        (lambda: optim.cosine_decay(0.1, 0), r"\[cosine_decay\] decay_steps is 0"),
        (lambda: optim.linear_schedule(0.0, 0.1, -1), r"\[linear_schedule\] steps is -1"),
        (lambda: optim.join_schedules([], []), r"\[join_schedules\] got 0 schedules"),
        (lambda: optim.join_schedules([abs], [1]), "1 boundaries"),
        (lambda: optim.join_schedules([abs] * 3, [5, 5]), "rising"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_clipping_scales_all_gradients_together():
    grads = {"a": mx.array([3.0, 4.0]), "b": [mx.array(12.0)]}
    clipped, norm = optim.clip_grad_norm(grads, 6.5)
    assert norm.item() == pytest.approx(13)
    np.testing.assert_allclose(np.array(clipped["a"]), [1.5, 2.0], rtol=1e-6)
    assert clipped["b"][0].item() == pytest.approx(6)
    _, norm = optim.clip_grad_norm(clipped, 1.0)
    assert norm.item() == pytest.approx(6.5, rel=1e-6)


def test_small_gradients_are_not_changed_by_a_bit():
    grads = {"a": mx.array([0.1, 0.7]), "b": [mx.array(0.3)]}
    clipped, norm = optim.clip_grad_norm(grads, 1.0)
    assert norm.item() == pytest.approx(math.sqrt(0.59))
    assert clipped["a"].tolist() == grads["a"].tolist()
    assert clipped["b"][0].item() == grads["b"][0].item()


def test_the_norm_of_low_precision_gradients_is_float32():
    grads = {"a": mx.full((10,), 300.0, mx.float16), "b": mx.ones((3,), mx.bfloat16)}
    clipped, norm = optim.clip_grad_norm(grads, 1.0)
    assert norm.dtype == mx.float32
    assert norm.item() == pytest.approx(math.sqrt(900_003), rel=1e-6)
    assert (clipped["a"].dtype, clipped["b"].dtype) == (mx.float16, mx.bfloat16)


def test_clipping_nothing_to_nothing():
    clipped, norm = optim.clip_grad_norm({}, 1.0)
    assert (clipped, norm.item()) == ({}, 0)
    clipped, _ = optim.clip_grad_norm({"a": mx.ones(2)}, 0.0)
    assert clipped["a"].tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"\[clip_grad_norm\] max_norm is -1"):
        optim.clip_grad_norm({}, -1)
