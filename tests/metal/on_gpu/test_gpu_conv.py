"""Convolutions and their gradients by the Metal kernels against float64, and the bytes that they move."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from matrices import BOUND, counted, error, on_gpu, random

NAMES = ("Convolution", "ConvolutionWeightGradient", "Matmul")

DILATED = {"input_dilation": 2, "kernel_dilation": 3, "padding": 6}
TURNED = {"input_dilation": 2, "flip": True}
# x, w, options of conv_general.
CASES = {
    "1-D": ((2, 19, 6), (5, 3, 6), {}),
    "1-D, long kernel": ((1, 40, 3), (4, 17, 3), {"padding": 8}),
    "2-D": ((2, 9, 8, 8), (12, 3, 3, 8), {"padding": 1}),
    "stride": ((2, 11, 10, 4), (8, 3, 2, 4), {"stride": (2, 3), "padding": (1, 0)}),
    "odd channels": ((1, 9, 7, 3), (5, 3, 3, 3), {"padding": 1}),
    "one channel": ((2, 9, 7, 1), (40, 3, 3, 1), {}),
    "dilation": ((1, 12, 11, 4), (6, 3, 3, 4), {"kernel_dilation": (2, 3), "padding": 2}),
    "input dilation": ((2, 5, 4, 4), (6, 3, 3, 4), {"input_dilation": (2, 3), "padding": (1, 2)}),
    "both dilations": ((1, 6, 5, 4), (3, 3, 3, 4), {"input_dilation": (4, 3), "kernel_dilation": (2, 3), "padding": 5}),
    "stride and dilation": ((1, 7, 6, 3), (4, 4, 3, 3), {"stride": (3, 2), "input_dilation": (2, 3), "padding": 3}),
    "flip": ((1, 8, 9, 4), (4, 3, 2, 4), {"flip": True, "padding": (2, 1)}),
    "flip, dilated": ((1, 5, 4, 3), (4, 3, 4, 3), {"flip": True, **DILATED}),
    "sides": ((1, 8, 9, 4), (4, 3, 3, 4), {"padding": ((2, 0), (0, 3))}),
    "cut": ((1, 9, 9, 4), (4, 3, 3, 4), {"padding": ((-1, 2), (1, -2))}),
    "groups": ((2, 7, 6, 12), (9, 3, 3, 4), {"groups": 3, "padding": 1}),
    "3-D": ((1, 5, 6, 7, 4), (6, 2, 3, 3, 4), {"padding": (1, 0, 1), "stride": (1, 2, 1)}),
    "3-D, dilated": ((1, 3, 4, 3, 2), (3, 3, 2, 3, 2), {"input_dilation": (2, 1, 2), "padding": 2}),
    "one tap": ((2, 5, 6, 8), (9, 1, 1, 8), {}),
    "one tap, stride": ((2, 7, 6, 8), (9, 1, 1, 8), {"stride": 2}),
    "depthwise": ((2, 10, 9, 40), (40, 3, 3, 1), {"groups": 40, "padding": 1}),
    "depthwise, stride": ((1, 13, 12, 6), (6, 3, 5, 1), {"groups": 6, "padding": 2, "stride": 2}),
    "depthwise, dilation": ((1, 13, 12, 6), (6, 3, 3, 1), {"groups": 6, "padding": 3, "kernel_dilation": 3}),
    "depthwise, far": ((1, 70, 66, 3), (3, 3, 3, 1), {"groups": 3, "kernel_dilation": 30}),
    "depthwise, input dilation": ((1, 5, 6, 6), (6, 3, 3, 1), {"groups": 6, "padding": 2, **TURNED}),
    "depthwise, both": ((1, 5, 6, 4), (4, 3, 3, 1), {"groups": 4, "padding": 2, "input_dilation": 2, "stride": 3}),
    "multiplied": ((2, 9, 8, 5), (15, 3, 3, 1), {"groups": 5, "padding": 1}),
    "multiplied, dilated": ((1, 4, 5, 5), (15, 3, 3, 1), {"groups": 5, "padding": 1, "input_dilation": 2}),
    "depthwise, line": ((2, 150, 33), (33, 4, 1), {"groups": 33, "padding": ((3,), (0,))}),
    "depthwise, many taps": ((1, 90, 3), (3, 70, 1), {"groups": 3, "padding": 5}),
    "depthwise, too many taps": ((1, 300, 2), (2, 260, 1), {"groups": 2}),
    "depthwise, 3-D": ((1, 5, 6, 4, 6), (6, 3, 3, 2, 1), {"groups": 6, "padding": 1}),
}  # fmt: skip


def operands(name: str, dtype: mx.Dtype, size: float = 1.0) -> tuple[mx.array, mx.array, dict]:
    x, w, options = CASES[name]
    rng = np.random.default_rng(len(name))
    pads = options.get("padding", 0)
    if isinstance(pads, tuple) and isinstance(pads[0], tuple):  # per side
        low, high = pads if len(x) == 3 else zip(*pads, strict=True)
        options = {**options, "padding": (list(low), list(high))}
    return random(rng, *x, dtype=dtype), random(rng, *w, dtype=dtype), options


def with_gradients(x: mx.array, w: mx.array, g: mx.array | None, options: dict, stream: mx.Device) -> list[mx.array]:
    """The result, and what a cotangent g gives for x and for w."""
    f = lambda x, w: mx.conv_general(x, w, **options, stream=stream)  # noqa: E731
    if g is None:
        g = random(np.random.default_rng(1), *f(x, w).shape, dtype=x.dtype)
    out, gradients = mx.vjp(f, [x, w], [g])
    return [g, *out, *gradients]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    x, w, options = operands(name, mx.float32)
    before = mx.metal._hand_overs()
    g, *got = with_gradients(x, w, None, options, mx.gpu)
    mx.eval(got)
    after = mx.metal._hand_overs()
    assert all(after.get(n, 0) == before.get(n, 0) for n in NAMES)
    with mx.stream(mx.cpu):
        doubles = [a.astype(mx.float64) for a in (x, w, g)]
        _, *want = with_gradients(*doubles, options, mx.cpu)
    for what, a, b in zip(("result", "of x", "of w"), got, want, strict=True):
        assert error(a, np.array(b)) < BOUND[mx.float32], what


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
@pytest.mark.parametrize("name", ["2-D", "odd channels", "input dilation", "groups", "depthwise", "depthwise, line"])
def test_dtypes(name: str, dtype: mx.Dtype) -> None:
    x, w, options = operands(name, dtype)
    g, *got = with_gradients(x, w, None, options, mx.gpu)
    with mx.stream(mx.cpu):
        _, *want = with_gradients(*[a.astype(mx.float64) for a in (x, w, g)], options, mx.cpu)
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        assert error(a, np.array(b)) < BOUND[dtype]


def test_many_positions_are_summed_in_parts() -> None:
    rng = np.random.default_rng(3)
    x, w = random(rng, 4, 40, 40, 4), random(rng, 8, 3, 3, 4)
    g, *got = with_gradients(x, w, None, {"padding": 1}, mx.gpu)
    mx.eval(got[:2])
    counts = counted(lambda: got[2])
    assert counts["conv_weights"]["dispatches"] == counts["conv_sum"]["dispatches"] == 1
    with mx.stream(mx.cpu):
        _, *want = with_gradients(*[a.astype(mx.float64) for a in (x, w, g)], {"padding": 1}, mx.cpu)
    for a, b in zip(got, want, strict=True):
        assert error(a, np.array(b)) < BOUND[mx.float32]


def test_deep_kernels() -> None:
    """k is cut where there are few outputs, and summed in parts of 256."""
    rng = np.random.default_rng(4)
    x, w = random(rng, 1, 5, 5, 96), random(rng, 24, 3, 3, 96)
    got = on_gpu(lambda: mx.conv2d(x, w, padding=1), *NAMES)
    want = mx.conv2d(*(a.astype(mx.float64, stream=mx.cpu) for a in (x, w)), padding=1, stream=mx.cpu)
    assert error(got, np.array(want)) < 1e-6


def test_strides_and_slices() -> None:
    rng = np.random.default_rng(5)
    x, w = random(rng, 8, 11, 12, 2), random(rng, 6, 4, 4, 3)
    x, w = x.transpose(3, 1, 2, 0), w[:, ::-1, 1:, :].transpose(3, 1, 2, 0)[..., :4]
    x = x[:, 1:, ::2, 1:5]
    got = on_gpu(lambda: mx.conv2d(x, w), *NAMES)
    with mx.stream(mx.cpu):
        want = mx.conv2d(x.astype(mx.float64), w.astype(mx.float64))
    assert error(got, np.array(want)) < BOUND[mx.float32]
    y = random(rng, 1, 6, 6, 9)[:, :, :, 1:]  # dense after a copy
    z = random(rng, 3 * 3 * 8 * 4 + 1)[1:].reshape(4, 3, 3, 8)  # dense, at no multiple of four elements
    got = on_gpu(lambda: mx.conv2d(y, z), *NAMES)
    with mx.stream(mx.cpu):
        want = mx.conv2d(y.astype(mx.float64), z.astype(mx.float64))
    assert error(got, np.array(want)) < BOUND[mx.float32]


def test_nothing() -> None:
    assert mx.conv2d(mx.zeros((0, 5, 5, 3)), mx.zeros((4, 3, 3, 3))).shape == (0, 3, 3, 4)
    assert mx.conv2d(mx.zeros((2, 5, 5, 3)), mx.zeros((0, 3, 3, 3))).shape == (2, 3, 3, 0)
    assert np.array_equal(np.array(mx.conv2d(mx.ones((1, 3, 3, 0)), mx.ones((2, 3, 3, 0)))), np.zeros((1, 1, 1, 2)))
    gradient = mx.grad(lambda w: mx.conv2d(mx.zeros((0, 5, 5, 3)), w).sum())(mx.ones((4, 3, 3, 3)))
    assert np.array_equal(np.array(gradient), np.zeros((4, 3, 3, 3)))


def test_transposed_and_vmapped() -> None:
    rng = np.random.default_rng(6)
    x, w = random(rng, 2, 5, 4, 6), random(rng, 3, 3, 3, 6)
    many = random(rng, 2, 3, 3, 3, 6)
    for f, operands in (
        (lambda x, w: mx.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1), (x, w)),
        (mx.vmap(lambda x, w: mx.conv2d(x[None], w, padding=1)), (x, many)),
        (mx.vmap(lambda w: mx.conv2d(x, w, padding=1)), (many,)),
    ):
        got = on_gpu(lambda f=f, operands=operands: f(*operands), *NAMES)
        with mx.stream(mx.cpu):
            want = f(*(a.astype(mx.float64) for a in operands)) if len(operands) == 2 else f(*operands)
        assert error(got, np.array(want).astype(np.float64)) < BOUND[mx.float32]


# --- three by three taps, transformed


WINOGRAD = {"winograd_input", "winograd_taps", "winograd_output", "gemm"}


@pytest.mark.parametrize(
    "dtype,flip", [(mx.float32, False), (mx.float32, True), (mx.float16, False), (mx.bfloat16, True)]
)
def test_winograd(dtype: mx.Dtype, flip: bool) -> None:
    """The transforms add numbers larger than the result: float32 loses half a digit. 16 bits are transformed in float32
    and rounded once.
    """
    rng = np.random.default_rng(7)
    x, w = random(rng, 1, 59, 58, 192, dtype=dtype), random(rng, 192, 3, 3, 192, dtype=dtype)
    options = {"padding": ([1, 0], [2, 1]), "flip": flip}
    mx.eval(x, w)
    out: list[mx.array] = []
    counts = counted(lambda: out.append(mx.conv_general(x, w, **options)) or out[0])
    assert set(counts) == WINOGRAD
    with mx.stream(mx.cpu):
        want = mx.conv_general(x.astype(mx.float64), w.astype(mx.float64), **options)
    assert error(out[0], np.array(want)) < (4e-6 if dtype == mx.float32 else BOUND[dtype])


def test_bytes_of_winograd() -> None:
    rng = np.random.default_rng(8)
    side, c, o = 48, 192, 224
    x, w = random(rng, 1, side, side, c), random(rng, o, 3, 3, c)
    mx.eval(x, w)
    counts = counted(lambda: mx.conv2d(x, w, padding=1))
    tiles = (side // 4) ** 2
    # The tiles of 6 x 6 at the border have less to read.
    assert counts["winograd_input"]["read"] == (side // 4 * 6 - 2) ** 2 * c * 4
    assert counts["winograd_input"]["unique_read"] == x.nbytes
    assert counts["winograd_input"]["written"] == tiles * 36 * c * 4
    assert counts["winograd_taps"]["read"] == w.nbytes
    assert counts["winograd_taps"]["written"] == 36 * c * o * 4
    assert counts["winograd_output"]["read"] == tiles * 36 * o * 4
    assert counts["winograd_output"]["written"] == side * side * o * 4


def test_weights_are_transformed_once_per_evaluation() -> None:
    rng = np.random.default_rng(9)
    x, w = random(rng, 1, 48, 48, 192), random(rng, 192, 3, 3, 192)
    other = w * 1
    mx.eval(x, w, other)

    def layers(weights: mx.array) -> mx.array:
        y = mx.conv2d(x, w, padding=1) * 1e-3
        return mx.conv2d(y, weights, padding=1)

    results: list[mx.array] = []
    counts = counted(lambda: results.append(layers(w)) or results[0])
    assert counts["winograd_input"]["dispatches"] == 2
    assert counts["winograd_taps"]["dispatches"] == 1
    counts = counted(lambda: results.append(layers(other)) or results[1])
    assert counts["winograd_taps"]["dispatches"] == 2
    assert np.array_equal(np.array(results[0]), np.array(results[1]))
    # Mirrored weights are others, and so are those of the next evaluation.
    both = counted(lambda: mx.conv_general(x, w, padding=1, flip=True) + mx.conv2d(x, w, padding=1))
    assert both["winograd_taps"]["dispatches"] == 2


# --- bytes


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
@pytest.mark.parametrize(
    "x,w,stride,tile",
    [
        ((2, 16, 16, 16), (32, 3, 3, 16), 1, 32),
        ((1, 13, 12, 3), (40, 3, 3, 3), 1, 32),
        ((1, 17, 15, 8), (33, 2, 2, 8), 2, 32),
        ((1, 66, 66, 8), (128, 3, 3, 8), 1, 64),
    ],
)
def test_bytes_of_a_convolution(x, w, stride: int, tile: int, dtype: mx.Dtype) -> None:
    """Without padding, those of a product of the same sizes in the same tile: the least of the tile's shape."""
    rng = np.random.default_rng(9)
    a, b = random(rng, *x, dtype=dtype), random(rng, *w, dtype=dtype)
    mx.eval(a, b)
    counts = counted(lambda: mx.conv2d(a, b, stride=stride))
    assert set(counts) == {"conv"}
    c = counts["conv"]
    m = x[0] * ((x[1] - w[1]) // stride + 1) * ((x[2] - w[2]) // stride + 1)
    n, k = w[0], w[1] * w[2] * w[3]
    assert c["threads"] == 128 * -(-m // tile) * -(-n // tile)
    assert c["read"] == (m * k * -(-n // tile) + n * k * -(-m // tile)) * dtype.size
    assert c["unique_read"] <= (a.size + b.size) * dtype.size
    assert c["written"] == c["unique_written"] == m * n * dtype.size


def test_padding_is_not_read_and_zeros_are_not_multiplied() -> None:
    rng = np.random.default_rng(10)
    x, w = random(rng, 1, 16, 16, 8), random(rng, 32, 3, 3, 8)
    mx.eval(x, w)
    inner = counted(lambda: mx.conv2d(x, w, padding=1))["conv"]["read"]
    assert inner < (256 * 72 + 8 * 32 * 72) * 4
    # Of a transposed convolution of stride 2, each of four phases has a part of the 9 taps: 1, 2, 2 and 4.
    mx.eval(x, w)
    c = counted(lambda: mx.conv_transpose2d(x, w, stride=2))["conv"]
    outputs = [17 * 17, 17 * 16, 16 * 17, 16 * 16]
    taps = [4, 2, 2, 1]
    most = sum(m * t * 8 + -(-m // 32) * 32 * t * 8 for m, t in zip(outputs, taps, strict=True))
    assert c["read"] <= most * 4
    assert c["written"] == 33 * 33 * 32 * 4


def test_bytes_of_a_weight_gradient() -> None:
    rng = np.random.default_rng(11)
    x, g = random(rng, 1, 18, 18, 16), random(rng, 1, 16, 16, 32)
    w = mx.zeros((32, 3, 3, 16))
    mx.eval(x, g, w)
    gradient = mx.vjp(lambda w: mx.conv2d(x, w), [w], [g])[1][0]
    c = counted(lambda: gradient)["conv_weights"]
    m, n, k = 32, 144, 256
    assert c["read"] == (m * k * -(-n // 32) + n * k * -(-m // 32)) * 4
    assert c["written"] == m * n * 4


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_bytes_of_depthwise(dtype: mx.Dtype) -> None:
    """Each tile of 8 x 8 outputs reads 10 x 10 of x, and the taps."""
    rng = np.random.default_rng(12)
    channels = 64
    x, w = random(rng, 2, 34, 34, channels, dtype=dtype), random(rng, channels, 3, 3, 1, dtype=dtype)
    mx.eval(x, w)
    c = counted(lambda: mx.conv2d(x, w, groups=channels))["depthwise"]
    tiles = 2 * 16
    assert c["read"] == tiles * (100 + 9) * channels * dtype.size
    assert c["written"] == 2 * 32 * 32 * channels * dtype.size
    y, t = random(rng, 1, 259, channels, dtype=dtype), random(rng, channels, 4, 1, dtype=dtype)
    mx.eval(y, t)
    c = counted(lambda: mx.conv1d(y, t, groups=channels))["depthwise"]
    assert c["read"] == 4 * (67 + 4) * channels * dtype.size
