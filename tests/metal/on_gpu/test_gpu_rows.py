"""Moments, cross entropy, scans and creation on the GPU, against NumPy and the CPU's results."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from matrices import on_gpu

REAL = [mx.float32, mx.float16, mx.bfloat16]
UNIT = {mx.float32: 2.0**-24, mx.float16: 2.0**-11, mx.bfloat16: 2.0**-8}  # half a unit in the last place of 1
NAMES = [
    *("var", "cross_entropy", "cross_entropy_vjp", "linspace", "eye"),
    *("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "linear_recurrence"),
]
ids = {"ids": str}


def wide(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32)).astype(np.float64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


class TestVariance:
    """Within 16 half units of the exact result, as the CPU's, also far from zero."""

    @pytest.mark.parametrize("dtype", REAL, **ids)
    @pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), (1, 2)], ids=str)
    def test_axes(self, rng, dtype, axis):
        x = mx.array((rng.standard_normal((40, 33, 9)) + 3).astype(np.float32)).astype(dtype)
        for y in (x, x.transpose(2, 0, 1), x[::-2, :, ::3]):
            got = on_gpu(lambda y=y: mx.var(y, axis=axis), *NAMES)
            want = wide(y).var(axis=axis)
            assert got.shape == want.shape and got.dtype == dtype
            np.testing.assert_allclose(wide(got), want, rtol=16 * UNIT[dtype])

    @pytest.mark.parametrize("n", [1, 2, 31, 1023, 5000, 70000])
    @pytest.mark.parametrize("mean", [0, 1000])
    def test_lengths_far_from_zero(self, rng, n, mean):
        x = mx.array((rng.standard_normal((2, n)) + mean).astype(np.float32))
        for y, axis in ((x, 1), (x[0], 0), (x.T, 0)):
            want = wide(y).var(axis=axis)
            # A mean that is off by u counts with its square, a difference from it with its rounding.
            tolerance = 64 * UNIT[mx.float32] * (want + np.sqrt(want)) + 1e-12
            got = wide(on_gpu(lambda y=y, axis=axis: mx.var(y, axis=axis), *NAMES))
            assert np.all(np.abs(got - want) <= tolerance)

    def test_ddof_and_special_values(self, rng):
        x = rng.standard_normal((4, 50)).astype(np.float32)
        np.testing.assert_allclose(
            wide(mx.var(mx.array(x), axis=1, ddof=3)), x.astype(float).var(axis=1, ddof=3), rtol=1e-6
        )
        assert np.isnan(wide(on_gpu(lambda: mx.var(mx.array(x), axis=1, ddof=50), *NAMES))).all()
        x[1, 3], x[2, 4] = np.nan, np.inf
        assert np.isnan(wide(mx.var(mx.array(x), axis=1))).tolist() == [False, True, True, False]
        assert np.isnan(wide(on_gpu(lambda: mx.var(mx.zeros((0, 3)), axis=0), *NAMES))).tolist() == [True] * 3
        assert on_gpu(lambda: mx.var(mx.zeros((0, 3)), axis=1), *NAMES).shape == (0,)
        assert on_gpu(lambda: mx.var(mx.full((300,), 1e30), axis=0), *NAMES).item() == 0

    def test_gradient(self, rng):
        x = mx.array(rng.standard_normal((5, 70)).astype(np.float32))
        f = mx.grad(lambda x: (mx.std(x, axis=1) * mx.arange(5)).sum())
        got = on_gpu(lambda: f(x), *NAMES)
        with mx.stream(mx.cpu):
            want = f(x)
        np.testing.assert_allclose(wide(got), wide(want), rtol=1e-5, atol=1e-6)


class TestNothing:
    @pytest.mark.parametrize("name", ["sum", "prod", "mean", "any", "all"])
    @pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int8, mx.bool_], **ids)
    def test_reductions(self, name, dtype):
        for shape, axis in (((0,), 0), ((2, 0, 3), 1), ((2, 0, 3), None), ((0, 3), 1)):
            f = lambda shape=shape, axis=axis: getattr(mx, name)(mx.zeros(shape, dtype), axis=axis)  # noqa: E731
            got = on_gpu(f, name)
            with mx.stream(mx.cpu):
                want = f()
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(wide(got), wide(want))

    def test_arange(self):
        assert on_gpu(lambda: mx.arange(0), "arange").shape == (0,)


class TestCrossEntropy:
    @pytest.mark.parametrize("dtype", REAL, **ids)
    @pytest.mark.parametrize("n", [1, 7, 300, 9000])
    @pytest.mark.parametrize("index", [mx.int32, mx.uint8, mx.int64], **ids)
    def test_loss_and_gradient(self, rng, dtype, n, index):
        x = mx.array((rng.standard_normal((2, 3, n)) * 4).astype(np.float32)).astype(dtype)
        t = mx.array(rng.integers(0, min(n, 200), (2, 3))).astype(index)

        def loss(x):
            return nn.losses.cross_entropy(x, t, reduction="sum")

        got, gradient = on_gpu(lambda: mx.value_and_grad(loss)(x), *NAMES)
        v = wide(x)
        p = np.exp(v - v.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        chosen = np.take_along_axis(p, np.array(t)[..., None].astype(int), -1)
        want = -np.log(chosen).sum()
        np.testing.assert_allclose(got.item(), want, rtol=max(4e-6, 4 * UNIT[dtype]), atol=1e-6)
        np.put_along_axis(p, np.array(t)[..., None].astype(int), chosen - 1, -1)
        assert gradient.dtype == dtype
        np.testing.assert_allclose(
            wide(gradient), p, atol=4 * UNIT[dtype], rtol=8e-6 if dtype == mx.float32 else 4 * UNIT[dtype]
        )

    def test_strided_and_negative_targets(self, rng):
        x = mx.array(rng.standard_normal((9, 4)).astype(np.float32)).T
        t = mx.array([-1, 0, 3, -9])
        f = lambda x: mx.fast.cross_entropy(x, t)  # noqa: E731
        got = on_gpu(lambda: f(x), *NAMES)
        with mx.stream(mx.cpu):
            want = f(x)
        np.testing.assert_allclose(wide(got), wide(want), rtol=1e-6)

    def test_infinities(self):
        inf = float("inf")
        x = mx.array([[1.0, -inf, 2], [1, inf, 2], [-inf, -inf, -inf], [float("nan"), 0, 0]])
        t = mx.array([1, 0, 0, 1])
        got = np.array(on_gpu(lambda: mx.fast.cross_entropy(x, t), *NAMES))
        with mx.stream(mx.cpu):
            want = np.array(mx.fast.cross_entropy(x, t))
        np.testing.assert_array_equal(got, want)

    def test_out_of_range(self):
        with pytest.raises(IndexError, match=r"cross_entropy.*target 3 at position 1 is outside \[-3, 3\)"):
            mx.eval(mx.fast.cross_entropy(mx.zeros((2, 3)), mx.array([0, 3])))


class TestScans:
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("inclusive", [False, True])
    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("dtype", REAL, **ids)
    def test_logcumsumexp(self, rng, dtype, axis, inclusive, reverse):
        x = rng.standard_normal((40, 70)) * 30
        x[3, :5], x[4, 9], x[5, 0] = -np.inf, np.inf, np.nan
        x = mx.array(x.astype(np.float32)).astype(dtype)
        f = lambda: mx.logcumsumexp(x, axis=axis, reverse=reverse, inclusive=inclusive)  # noqa: E731
        got = on_gpu(f, *NAMES)
        with mx.stream(mx.cpu):
            want = f()
        np.testing.assert_allclose(wide(got), wide(want), rtol=8 * UNIT[dtype], atol=1e-6)

    @pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.complex64], **ids)
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_gradient_of_products(self, rng, dtype, reverse, axis):
        x = mx.array(rng.uniform(0.5, 1.5, (6, 20)).astype(np.float32)).astype(dtype)
        x[2, 3] = 0  # where the others' product is what counts
        f = mx.grad(lambda x: mx.real(mx.cumprod(x, axis=axis, reverse=reverse)).sum())
        got = on_gpu(lambda: f(x), "linear_recurrence")
        with mx.stream(mx.cpu):
            want = f(x)
        bound = UNIT.get(dtype, 2.0**-24)
        np.testing.assert_allclose(
            np.array(got.astype(mx.complex64)), np.array(want.astype(mx.complex64)), rtol=64 * bound, atol=64 * bound
        )

    @pytest.mark.parametrize("n", [8191, 8192, 9000, 20000])
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("inclusive", [False, True])
    @pytest.mark.parametrize("name", ["cumsum", "cummax", "cummin", "cumprod"])
    def test_long_lines(self, rng, n, reverse, inclusive, name):
        for dtype in (mx.int32, mx.int8, mx.float32):  # small whole numbers: sums are exact
            x = mx.array(rng.integers(-3, 4, (2, n))).astype(dtype)
            x = mx.where(x == 0, 1, mx.sign(x)).astype(dtype) if name == "cumprod" else x
            f = lambda x=x: getattr(mx, name)(x, axis=1, reverse=reverse, inclusive=inclusive)  # noqa: E731
            got = on_gpu(f, *NAMES)
            with mx.stream(mx.cpu):
                want = f()
            np.testing.assert_array_equal(np.array(got), np.array(want))

    def test_empty(self):
        assert on_gpu(lambda: mx.cumsum(mx.zeros((0, 3)), axis=0), *NAMES).shape == (0, 3)

    @pytest.mark.parametrize("dtype", REAL, **ids)
    @pytest.mark.parametrize(
        ("dk", "dv", "per_key", "masked"), [(4, 3, False, True), (33, 37, True, False), (256, 5, False, False)]
    )
    def test_gated_delta_rule(self, rng, dtype, dk, dv, per_key, masked):
        inputs, mask = gated_delta_inputs(rng, dtype, 6, dk, dv, per_key, masked)
        f = lambda: mx.fast.gated_delta_update(*inputs, mask)  # noqa: E731
        got = on_gpu(f, "GatedDeltaUpdate")
        with mx.stream(mx.cpu):
            want = f()
        for g, w, t in zip(got, want, (dtype, mx.float32), strict=True):
            np.testing.assert_allclose(wide(g), wide(w), rtol=8 * UNIT[t], atol=8 * UNIT[t])

    @pytest.mark.parametrize("dtype", REAL, **ids)
    @pytest.mark.parametrize(
        ("steps", "dk", "dv", "per_key", "masked"),
        [
            (6, 4, 3, False, True),
            (17, 33, 37, True, False),  # two threadgroups a head
            (1, 256, 5, False, False),
            (3, 40, 70, True, True),
            (50, 5, 4, False, False),  # eight chunks of steps, the last of one
        ],
    )
    def test_gradients_of_the_gated_delta_rule(self, rng, dtype, steps, dk, dv, per_key, masked):
        inputs, mask = gated_delta_inputs(rng, dtype, steps, dk, dv, per_key, masked)
        cotangents = [mx.array(rng.standard_normal(x.shape).astype(np.float32)) for x in (inputs[2], inputs[5])]
        cotangents[0] = cotangents[0].astype(dtype)

        def gradients(dtype):
            def f(*x):
                y, state = mx.fast.gated_delta_update(*x, mask)
                return y.astype(dtype), state

            return mx.vjp(f, [x.astype(dtype) for x in inputs], [x.astype(dtype) for x in cotangents])[1]

        def on_device():
            return mx.vjp(lambda *x: mx.fast.gated_delta_update(*x, mask), inputs, cotangents)[1]

        got = on_gpu(on_device, "GatedDeltaUpdateGradient", "GatedDeltaUpdate")
        with mx.stream(mx.cpu):
            want = gradients(mx.float64)
        for g, w, x in zip(got, want, inputs, strict=True):
            assert g.dtype == x.dtype
            scale = np.abs(np.array(w)).max()
            np.testing.assert_allclose(wide(g), np.array(w), rtol=0, atol=8 * UNIT[x.dtype] * scale)

    @pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (4, 3, 0)], ids=str)
    def test_gradients_of_nothing(self, rng, shape):
        steps, dk, dv = shape
        inputs, _ = gated_delta_inputs(rng, mx.float32, steps, dk, dv, False, False)
        cotangents = [mx.ones(inputs[2].shape), mx.ones(inputs[5].shape)]
        f = lambda: mx.vjp(mx.fast.gated_delta_update, inputs, cotangents)[1]  # noqa: E731
        for gradient, x in zip(on_gpu(f, "GatedDeltaUpdateGradient"), inputs, strict=True):
            assert gradient.shape == x.shape
            expected = 1.0 if steps == 0 and x is inputs[5] else 0.0
            np.testing.assert_array_equal(np.array(gradient), np.full(x.shape, expected))


def gated_delta_inputs(rng, dtype, steps, dk, dv, per_key, masked):
    """Inputs for four heads with two of keys, and a mask."""
    keys, gates = (2, steps, 2, dk), (2, steps, 4, dk) if per_key else (2, steps, 4)
    q, k = (mx.array(rng.uniform(-1, 1, keys).astype(np.float32) / max(dk, 1) ** 0.5).astype(dtype) for _ in "qk")
    v = mx.array(rng.standard_normal((2, steps, 4, dv)).astype(np.float32)).astype(dtype)
    gate = mx.array(rng.uniform(0.5, 1, gates).astype(np.float32))
    beta = mx.array(rng.uniform(0, 1, (2, steps, 4)).astype(np.float32))
    state = mx.array(rng.standard_normal((2, 4, dv, dk)).astype(np.float32))
    return [q, k, v, gate, beta, state], mx.array(rng.random((2, steps)) < 0.7) if masked else None


class TestCreation:
    @pytest.mark.parametrize("dtype", [*REAL, mx.int32, mx.uint8], **ids)
    @pytest.mark.parametrize(
        "arguments", [(0, 1, 11), (-3, 100, 1000), (2, 2, 3), (5, -7, 1), (0, 1, 0), (1e-3, 1e5, 77)]
    )
    def test_linspace(self, dtype, arguments):
        got = on_gpu(lambda: mx.linspace(*arguments, dtype=dtype), *NAMES)
        with mx.stream(mx.cpu):
            want = mx.linspace(*arguments, dtype=dtype)
        np.testing.assert_array_equal(wide(got), wide(want))

    @pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int8, mx.bool_, mx.complex64, mx.int64], **ids)
    @pytest.mark.parametrize("k", [0, 2, -3, 40])
    def test_eye(self, dtype, k):
        got = on_gpu(lambda: mx.eye(7, 5, k=k, dtype=dtype), *NAMES)
        np.testing.assert_array_equal(np.array(got.astype(mx.float32)), np.eye(7, 5, k=k))
        assert on_gpu(lambda: mx.eye(0, 4), *NAMES).shape == (0, 4)
