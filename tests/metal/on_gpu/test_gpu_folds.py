"""Reductions of element-wise values on the GPU: one kernel computes and reduces, with the bits of the two."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from test_traffic import by_kernel

SHAPES = [
    ((100, 60), (0,)),  # columns
    ((100, 60), (1,)),  # short rows
    ((40, 1030), (1,)),  # long rows
    ((20, 30, 40), (0, 2)),
    ((20, 30, 40), (1,)),
    ((70, 80), (0, 1)),
    ((80000,), (0,)),  # in parts
]
REDUCTIONS = (mx.sum, mx.mean, mx.max, mx.min, mx.prod, mx.any, mx.all)


def evaluated(x: mx.array) -> mx.array:
    mx.eval(x)
    return x


def same(got: mx.array, want: mx.array) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    a, b = (np.array(x if x.dtype != mx.bfloat16 else x.astype(mx.float32)) for x in (got, want))
    assert a.tobytes() == b.tobytes()


def folded(f) -> int:
    """How many kernels that fold `f` takes."""
    return sum("fold" in kernel for kernel in by_kernel(f))


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.complex64], ids=str)
@pytest.mark.parametrize("shape,axes", SHAPES)
def test_bits(shape, axes, dtype):
    rng = np.random.default_rng(0)
    a, b = (mx.array(rng.normal(size=shape) * 2).astype(dtype) for _ in range(2))
    turned = evaluated(mx.array(rng.normal(size=shape[::-1]) * 2).astype(dtype)).T
    mx.eval(a, b)
    for x, y in ((a, b), (turned, b), (a, b[..., :1]), (a, evaluated(mx.array(3).astype(dtype)))):
        value = x * y + x
        got = [reduce(value, axis=axes) for reduce in REDUCTIONS]
        del value
        mx.eval(got)
        want = evaluated(x * y + x)
        for reduce, result in zip(REDUCTIONS, got, strict=True):
            same(result, reduce(want, axis=axes))


def test_one_kernel_for_all_of_them():
    a, b = evaluated(mx.random.normal((64, 128))), evaluated(mx.random.normal((64, 128)))

    def reductions() -> list[mx.array]:
        value = a * b
        return [value.sum(axis=1), value.max(axis=1), mx.abs(value).mean(axis=1)]

    assert folded(reductions) == 1 == len(by_kernel(reductions))
    assert folded(lambda: evaluated(a * b).sum(axis=1)) == 0


def test_values_that_others_want_are_written_as_well():
    a, b = evaluated(mx.random.normal((64, 128))), evaluated(mx.random.normal((64, 128)))
    product = a * b
    total, largest = mx.sum(product, axis=0), mx.max(product * 2, axis=0)
    squares = mx.sum(mx.square(product), axis=1)  # along another axis: by itself
    mx.eval(total, largest, squares, product)
    want = evaluated(a * b)
    same(product, want)
    same(total, mx.sum(want, axis=0))
    same(largest, mx.max(evaluated(want * 2), axis=0))
    same(squares, mx.sum(evaluated(mx.square(want)), axis=1))


@pytest.mark.parametrize("f", [lambda x: mx.lgamma(x + 1), lambda x: (x * 2).astype(mx.float64)])
def test_what_the_gpu_cannot_compute_is_handed_over(f):
    x = evaluated(mx.random.uniform(1, 2, (64, 128)))
    with mx.stream(mx.cpu):
        want = evaluated(f(x).sum(axis=1))
    np.testing.assert_allclose(np.array(f(x).sum(axis=1)), np.array(want), rtol=1e-6)


def test_gradients_and_compiled_functions():
    a, b = evaluated(mx.random.normal((64, 128))), evaluated(mx.random.normal((64, 128)))

    def loss(a: mx.array) -> mx.array:
        return mx.square(mx.tanh(a) - b).mean()

    value, gradient = mx.compile(mx.value_and_grad(loss))(a)
    x, y = (np.array(v, np.float64) for v in (a, b))
    expected = 2 * (np.tanh(x) - y) * (1 - np.tanh(x) ** 2) / x.size
    assert value.item() == pytest.approx(((np.tanh(x) - y) ** 2).mean(), rel=1e-5)
    np.testing.assert_allclose(np.array(gradient), expected, atol=1e-9)
