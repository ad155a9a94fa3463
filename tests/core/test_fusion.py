"""Chains that the evaluator runs as one program: the same bits as numpy's float32, one operation at a time."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = [1, 7, 1000, 5000]


def chain(steps: list[tuple[str, int, bool]], leaves: list, values: list):
    """Each step combines the newest value with an earlier one or a leaf."""
    for name, other, exchanged in steps:
        pool = leaves + values
        a, b = (values or leaves)[-1], pool[other % len(pool)]
        if exchanged:
            a, b = b, a
        values.append(a + b if name == "+" else a - b if name == "-" else a * b)
    return values[-1]


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 100), st.booleans()), min_size=1, max_size=30),
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 100),
)
def test_arithmetic_has_the_bits_of_single_operations(steps, size, seed):
    rng = np.random.default_rng(seed)
    leaves = [rng.normal(size=size).astype(np.float32), rng.normal(size=size).astype(np.float32), np.float32(0.7)]
    with np.errstate(all="ignore"):
        expected = chain(steps, leaves, [])
    got = chain(steps, [mx.array(leaf) for leaf in leaves], [])
    assert np.array_equal(np.array(got), expected, equal_nan=True)


@pytest.mark.parametrize("strided", [False, True])
def test_a_value_used_twice_is_kept(strided):
    x = np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32)
    a = mx.array(x).T if strided else mx.array(x)
    n = x.T if strided else x
    p, q = a * a, n * n
    assert np.array_equal(np.array((p - a) * p + (a - p)), (q - n) * q + (n - q))


FUNCTIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}
FUNCTIONS |= {"maximum": mx.maximum, "minimum": mx.minimum}
TWO_STEPS = list(itertools.product(FUNCTIONS, ["+", "-", "*"], ["xy", "xn", "nx"], ["y", "n"], [False, True]))


@pytest.mark.parametrize("size", [1, 15, 16, 33, 1025, 5001])
def test_numbers_among_operands(size):
    """Two steps with numbers in any place: the same bits as step by step on whole arrays."""
    x, y = mx.random.normal((size,)), mx.random.normal((size,))
    x[size // 2] = float("nan")
    y[-1] = float("inf")
    for first, second, operands, third, exchanged in TWO_STEPS:
        whole = {"x": x, "y": y, "n": mx.full((size,), 1.7) + 0}
        mx.eval(whole)
        a = FUNCTIONS[first](whole[operands[0]], whole[operands[1]])
        mx.eval(a)
        c = whole[third]
        want = FUNCTIONS[second](c, a) if exchanged else FUNCTIONS[second](a, c)
        mixed = {"x": x, "y": y, "n": 1.7}
        a = FUNCTIONS[first](mixed[operands[0]], mixed[operands[1]])
        got = FUNCTIONS[second](mixed[third], a) if exchanged else FUNCTIONS[second](a, mixed[third])
        np.testing.assert_array_equal(np.array(got), np.array(want), err_msg=f"{first} {second} {operands} {third}")


@pytest.mark.parametrize("size", [1, 33, 5001])
def test_numbers_to_choose_from(size):
    x = mx.random.normal((size,))
    mx.eval(x)
    a, small = np.array(x), np.float32(0.1)
    for got, want in [
        (mx.where(x > 0.1, x, 0.0) + 1, np.where(a > small, a, np.float32(0)) + 1),
        (mx.where(x > 0.1, -1.0, x) * 2, np.where(a > small, np.float32(-1), a) * 2),
        (mx.where(x > 0.1, 3.0, mx.inf) - x, np.where(a > small, np.float32(3), np.float32(np.inf)) - a),
        (mx.clip(x, -0.5, 0.1) + x, np.clip(a, np.float32(-0.5), small) + a),
    ]:
        np.testing.assert_array_equal(np.array(got), want)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
@pytest.mark.parametrize("shape", [(300, 200), (64, 7, 129), (17, 4096)])
def test_long_programs_with_broadcast_operands(shape, dtype):
    """Several values are kept, by steps that also read rows, columns, numbers and masks: as one by one."""
    mx.random.seed(3)
    x, row, column = (mx.random.normal(s).astype(dtype) for s in (shape, shape[-1:], (*shape[:-1], 1)))
    mask = mx.random.uniform(shape=shape) > 0.5
    mx.eval(x, row, column, mask)

    def program(step):
        a = step(x - row)
        b = step(a * column)
        c = step(mx.tanh(b))
        d = step(step(a + b) * c)
        e = step(mx.where(mask, d, step(c * 2)))
        f = step(mx.maximum(e, step(row - d)))
        return step(step(step(f * a) + step(b - c)) * mx.where(step(e > d), e, step(mx.abs(column))))

    def evaluated(a):
        mx.eval(a)
        return a

    assert mx.array_equal(program(lambda a: a), program(evaluated), equal_nan=True)


def held_program(rng: np.random.Generator, leaves: list[mx.array], n_steps: int, step):
    """A random program over the leaves, and some of its values; every leaf may be gone when those are computed."""
    values = [leaf * 1 for leaf in leaves]
    mx.eval(values)
    held = []
    for _ in range(n_steps):
        a, b = (values[rng.integers(max(0, len(values) - 4), len(values))] for _ in range(2))
        kind = rng.integers(8)
        if kind == 0:
            c = a + b
        elif kind == 1:
            c = a * b - a
        elif kind == 2:
            c = mx.tanh(a) + b
        elif kind == 3:
            c = mx.where(a > b, a, b * 0.5)
        elif kind == 4:
            c = a.astype(mx.float16).astype(a.dtype) + b
        elif kind == 5:
            c = a > b
            held.append(step(c))
            c = mx.where(c, b, a)
        elif kind == 6:
            c = mx.maximum(a, 0.25) - b
        else:
            c = mx.square(a) * 0.125
        values.append(step(c))
        if rng.integers(3) == 0:
            held.append(c)
    return [values[-1], *held]


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.int32])
@pytest.mark.parametrize("shape", [(3,), (5, 131), (40, 1000), (300, 400)])
@pytest.mark.parametrize("layout", ["rows", "transposed", "broadcast"])
def test_values_that_are_held_come_from_the_pass_that_goes_on_from_them(shape, dtype, layout):
    """Programs with several results: as one by one, with leaves that are given up and with leaves that stay."""
    if layout == "transposed":
        leaves = [(mx.random.normal(shape[::-1]) * 3).astype(dtype).T for _ in range(2)]
    elif layout == "broadcast":
        leaves = [(mx.random.normal(s) * 3).astype(dtype) for s in (shape, shape[-1:], (*shape[:-1], 1))]
    else:
        leaves = [(mx.random.normal(shape) * 3).astype(dtype) for _ in range(3)]
    mx.eval(leaves)

    def evaluated(a):
        mx.eval(a)
        return a

    for seed in range(12):
        got = held_program(np.random.default_rng(seed), leaves, 9, lambda a: a)
        mx.eval(got[0] if seed % 2 else got)
        want = held_program(np.random.default_rng(seed), leaves, 9, evaluated)
        for g, w in zip(got, want, strict=True):
            assert mx.array_equal(g, w, equal_nan=True)


def test_an_optimizers_moments_are_written_in_place():
    """One pass for new moments and weights, into the memory of the old ones, which nobody holds any more."""
    n = 1 << 20
    g, m, v, w = (mx.abs(mx.random.normal((n,))) for _ in range(4))
    mx.eval(g, m, v, w)
    want_m = np.array(m) + np.float32(0.1) * (np.array(g) - np.array(m))
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    m = m + 0.1 * (g - m)
    v = v + 0.01 * (mx.square(g) - v)
    w = w - 0.001 * m / (mx.sqrt(v) + 1e-8)
    with mx.profile() as p:
        mx.eval(w, m, v)
    assert mx.get_peak_memory() - before < n
    if mx.default_device() == mx.cpu:  # a kernel of the GPU has one result
        (row,) = p.rows()
        assert row.count == 1 and row.bytes == pytest.approx((4 + 3) * 4 * n, rel=1e-3)  # and some numbers
    np.testing.assert_array_equal(np.array(m), want_m)


def test_a_value_in_place_waits_for_the_last_reader_of_its_memory():
    x, y = mx.random.normal((50000,)), mx.random.normal((50000,))
    mx.eval(x, y)
    a, b = np.array(x), np.array(y)
    held = x + y  # takes the memory of neither: both are read again
    last = (held * 2 - x) + y
    del x, y
    mx.eval(last)
    np.testing.assert_array_equal(np.array(held), a + b)
    np.testing.assert_array_equal(np.array(last), ((a + b) * 2 - a) + b)
