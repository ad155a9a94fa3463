"""Reductions that take in values as they are computed: the bits of the two, one after the other."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

REDUCTIONS = {
    "sum": mx.sum,
    "mean": mx.mean,
    "max": mx.max,
    "min": mx.min,
    "prod": mx.prod,
    "any": mx.any,
    "all": mx.all,
}
DTYPES = [mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.float64, mx.complex64]
SHAPES = [
    ((100, 100), (0,)),
    ((100, 100), (1,)),
    ((100, 100), (0, 1)),
    ((3001, 16), (0,)),  # few columns
    ((50000, 3), (0,)),
    ((40000, 10), (1,)),  # short rows
    ((70, 80, 90), (0, 2)),
    ((70, 80, 90), (1,)),
    ((5, 100001), (1,)),  # rows of several blocks
    ((2, 70000), (0,)),
    ((9, 9000, 1), (0,)),
    ((16, 16, 16, 32), (0, 1, 2)),
    ((4, 5000, 8), (0, 2)),
    ((600001,), (0,)),
]


def evaluated(x: mx.array) -> mx.array:
    mx.eval(x)
    return x


def leaves(shape: tuple[int, ...], dtype: mx.Dtype, layout: str) -> tuple[mx.array, mx.array]:
    rng = np.random.default_rng(0)

    def leaf(*s: int) -> mx.array:
        return mx.array(rng.normal(size=s) * 2).astype(dtype)

    if layout == "transposed":
        pair = leaf(*shape[::-1]).T, leaf(*shape)
    elif layout == "broadcast":
        pair = leaf(*shape), leaf(*shape[-1:])
    elif layout == "number":
        pair = leaf(*shape), leaf()
    else:
        pair = leaf(*shape), leaf(*shape)
    mx.eval(pair)
    return pair


def passes(outputs) -> int:
    with mx.profile() as p:
        mx.eval(outputs)
    return sum(row.count for row in p.rows())


def same(got: mx.array, want: mx.array) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    a, b = (np.array(x if x.dtype != mx.bfloat16 else x.astype(mx.float32)) for x in (got, want))
    assert a.tobytes() == b.tobytes()


@pytest.fixture(autouse=True)
def on_the_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.mark.parametrize("layout", ["rows", "transposed", "broadcast", "number"])
@pytest.mark.parametrize("shape,axes", SHAPES)
def test_bits(shape, axes, layout):
    for dtype in DTYPES:
        a, b = leaves(shape, dtype, layout)
        for name, reduction in REDUCTIONS.items():
            got = reduction(a * b + a, axis=axes, keepdims=name == "max")
            want = reduction(evaluated(a * b + a), axis=axes, keepdims=name == "max")
            same(got, want)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float64])
@pytest.mark.parametrize("layout", ["rows", "transposed"])
@pytest.mark.parametrize("shape,axes", SHAPES)
def test_bits_of_squares_and_magnitudes(shape, axes, layout, dtype):
    """float32 ones that lie in memory as they are read are computed by the kernel of the sum."""
    x, _ = leaves(shape, dtype, layout)
    for of in (mx.square, mx.abs, lambda x: x * x):
        for keepdims, reduce in ((False, mx.sum), (True, mx.mean), (False, mx.max)):
            same(reduce(of(x), axes, keepdims), reduce(evaluated(of(x)), axes, keepdims))
    both = [mx.sum(y, axes) for y in [mx.square(x)] * 2] + [mx.mean(mx.square(x), axes)]
    mx.eval(both)
    same(both[0], both[1])


@pytest.mark.parametrize("shape,axes", SHAPES)
def test_nan_inf_and_questions(shape, axes):
    a, b = leaves(shape, mx.float32, "rows")
    index = tuple(n // 2 for n in shape)
    a[index] = float("nan")
    b[tuple(0 for _ in shape)] = float("inf")
    for reduction in (mx.sum, mx.max, mx.min):
        same(reduction(a * b, axis=axes), reduction(evaluated(a * b), axis=axes))
    for reduction in (mx.any, mx.all, mx.sum):
        same(reduction(a > b, axis=axes), reduction(evaluated(a > b), axis=axes))


def test_against_float64():
    rng = np.random.default_rng(1)
    x, y = (rng.normal(size=(700, 900)).astype(np.float32) for _ in range(2))
    product = x.astype(np.float64) * y
    for axis in (0, 1, (0, 1)):
        got = np.array(mx.sum(mx.array(x) * mx.array(y), axis=axis))
        bound = np.abs(product).sum(axis=axis) * 2**-22
        assert np.all(np.abs(got - product.sum(axis=axis)) <= bound)


def test_one_pass_and_no_array():
    a, b = leaves((1000, 1000), mx.float32, "rows")
    assert passes(mx.sum(mx.square(a - b), axis=0)) == 1
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(mx.sum(mx.square(a - b), axis=0))
    assert mx.get_peak_memory() - before < a.nbytes / 8


def test_values_that_others_want_are_written_as_well():
    a, b = leaves((300, 400), mx.float32, "rows")
    product = a * b
    total, largest = mx.sum(product, axis=0), mx.max(product * 2, axis=0)
    squares = mx.sum(mx.square(product), axis=1)  # along another axis: by itself
    mx.eval(total, largest, squares, product)
    want = evaluated(a * b)
    same(product, want)
    same(total, mx.sum(want, axis=0))
    same(largest, mx.max(evaluated(want * 2), axis=0))
    same(squares, mx.sum(evaluated(mx.square(want)), axis=1))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("layout", ["rows", "broadcast"])
def test_results_beyond_the_cache_that_are_reduced_and_kept(axes, layout):
    """Whole results of this size go past the caches, in aligned pieces; those that are reduced stay, in any."""
    a, b = leaves((3001, 3003), mx.float32, layout)
    one, two = a - b, a * b - a
    totals = [mx.sum(one, axis=axes), mx.max(two, axis=axes)]
    mx.eval(totals, one, two)
    for got, want in ((one, evaluated(a - b)), (two, evaluated(a * b - a))):
        same(got, want)
    same(totals[0], mx.sum(one, axis=axes))
    same(totals[1], mx.max(two, axis=axes))


def test_several_reductions_in_one_pass():
    """What the backward pass of a normalization asks for: a value, its sum and the sum of its products."""
    x, g = leaves((64, 8, 8, 32), mx.float32, "rows")
    masked = mx.where(x > 0, g, 0.0)
    sums = [mx.sum(masked, axis=(0, 1, 2)), mx.sum(masked * x, axis=(0, 1, 2))]
    with mx.profile() as p:
        mx.eval(sums, masked)
    assert sum(row.count for row in p.rows() if row.bytes > x.nbytes) == 1
    want = evaluated(mx.where(x > 0, g, 0.0))
    same(masked, want)
    same(sums[0], mx.sum(want, axis=(0, 1, 2)))
    same(sums[1], mx.sum(evaluated(want * x), axis=(0, 1, 2)))


def test_a_reduction_of_which_its_own_operand_goes_on():
    """exp(x - max) / sum: the values are there before what is divided by their sum."""
    x = mx.random.normal((200, 300))
    e = mx.exp(x - mx.max(x, axis=1, keepdims=True))
    y = e / mx.sum(e, axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(y), np.array(mx.softmax(x, axis=1)), rtol=2e-6)


def test_memory_in_place_is_not_read_after_it_is_written():
    a, b = (mx.random.normal((300, 500)) for _ in range(2))
    mx.eval(a, b)
    x, y = np.array(a), np.array(b)
    c = a + b
    total = mx.sum(c, axis=1)
    d = c * b
    del a, b
    mx.eval(d, total, c)
    np.testing.assert_array_equal(np.array(c), x + y)
    np.testing.assert_array_equal(np.array(d), (x + y) * y)
    same(total, mx.sum(c, axis=1))


def random_graph(rng: np.random.Generator, values: list[mx.array], steps: int, step) -> list[mx.array]:
    """Element-wise values, reductions along some axes, and values that go on from what was reduced."""
    values, results = list(values), []
    for _ in range(steps):
        a, b = (values[rng.integers(max(0, len(values) - 5), len(values))] for _ in range(2))
        kind = rng.integers(7)
        if kind < 3:
            value = step([a + b, a * b, mx.maximum(a, b * 0.5)][kind])
        elif kind == 3:
            value = step(mx.tanh(a) - b)
        else:
            axes = [(0,), (1,), (0, 1)][rng.integers(3)]
            reduction = [mx.sum, mx.mean, mx.max][rng.integers(3)]
            found = step(reduction(a, axis=axes, keepdims=True))
            results.append(found)
            value = step(b - found * 0.125) if kind == 4 else b
        values.append(value)
        if rng.integers(4) == 0:
            results.append(value)
    return [*results, values[-1]]


@pytest.mark.parametrize("shape", [(5, 7), (70, 64), (64, 300), (1000, 24)])
def test_random_graphs(shape):
    for seed in range(60):
        start = [mx.random.normal(shape, key=mx.random.key(seed + k)) for k in range(3)]
        mx.eval(start)
        got = random_graph(np.random.default_rng(seed), start, 14, lambda a: a)
        mx.eval(got if seed % 2 else got[-1:])
        want = random_graph(np.random.default_rng(seed), start, 14, evaluated)
        for g, w in zip(got, want, strict=True):
            same(g, w)


def test_gradients():
    x, w = leaves((500, 40), mx.float32, "rows")

    def loss(x, w):
        h = mx.tanh(x * w)
        return mx.mean(mx.square(h - mx.mean(h, axis=0))) + mx.sum(h * w) * 1e-3

    got = mx.grad(loss, argnums=(0, 1))(x, w)
    step, eps = mx.random.normal(x.shape), 1e-3
    with mx.stream(mx.cpu):
        up, down = (loss((x + s * eps * step).astype(mx.float64), w.astype(mx.float64)) for s in (1, -1))
    slope = ((up - down) / (2 * eps)).item()
    assert mx.sum(got[0] * step).item() == pytest.approx(slope, rel=2e-3)


def test_a_failure_says_which_operation_and_leaves_the_graph_usable():
    a = mx.random.normal((2000, 1000))
    mx.eval(a)
    total = mx.sum(mx.sqrt(a) * 2, axis=0)
    with mx.debug.nan_check(), pytest.raises(mx.debug.NotFiniteError, match="sqrt"):
        mx.eval(total)
    assert mx.isnan(total).any()
