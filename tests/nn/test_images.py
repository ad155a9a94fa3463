"""Convolutions, pooling and upsampling; more values are compared in test_against_torch.py."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from nn_samples import arr, close, numeric_gradient, wave

# ---- convolutions


def test_convolution_parameters():
    m = nn.Conv2d(4, 6, (3, 2), groups=2)
    assert m.weight.shape == (6, 3, 2, 2) and mx.all(m.bias == 0).item()
    bound = (2 * 6) ** -0.5
    assert 0.8 * bound < mx.abs(m.weight).max().item() <= bound
    assert "bias" not in nn.ConvTranspose3d(2, 3, 2, bias=False)
    assert nn.ConvTranspose1d(2, 3, 5).weight.shape == (3, 5, 2)


@pytest.mark.parametrize(
    "module, expected",
    [
        (
            nn.Conv1d(4, 6, 3, groups=2),
            "Conv1d(4, 6, kernel_size=3, stride=1, padding=0, dilation=1, groups=2, bias=True)",
        ),
        (
            nn.Conv2d(3, 4, 3, dilation=(2, 1)),
            "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), dilation=(2, 1), "
            "groups=1, bias=True)",
        ),
        (
            nn.ConvTranspose1d(3, 4, 3, bias=False),
            "ConvTranspose1d(3, 4, kernel_size=3, stride=1, padding=0, dilation=1, "
            "output_padding=0, bias=False)",
        ),
    ],
)
def test_convolution_repr(module, expected):
    assert repr(module) == expected


@pytest.mark.parametrize(
    "call, parts",
    [
        (lambda: nn.Conv1d(4, 6, 3, groups=3), ["Conv1d", "in_channels (4)", "groups (3)"]),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), ["Conv2d", "out_channels (6)", "groups (4)"]),
        (lambda: nn.Conv2d(4, 6, (3, 3, 3)), ["Conv2d", "kernel_size", "(3, 3, 3)"]),
        (
            lambda: nn.Conv2d(4, 6, 3)(mx.zeros((1, 8, 8, 3))),
            ["[Conv2d]", "(6, 3, 3, 4)", "(1, 8, 8, 3)"],
        ),
        (lambda: nn.Conv2d(4, 6, 3)(mx.zeros((8, 8, 4))), ["[Conv2d]", "(N, H, W, 4)"]),
        (
            lambda: nn.Conv2d(4, 6, 5)(mx.zeros((1, 3, 3, 4))),
            ["[Conv2d]", "(6, 5, 5, 4)", "(1, 3, 3, 4)"],
        ),
        (
            lambda: nn.ConvTranspose1d(4, 6, 3)(mx.zeros((1, 8, 5))),
            ["[ConvTranspose1d]", "(6, 3, 4)", "(1, 8, 5)"],
        ),
    ],
)
def test_convolution_errors(call, parts):
    with pytest.raises(ValueError) as error:
        call()
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_transposed_convolution_is_the_transpose():
    # <conv(x), y> = <x, conv_transpose(y)> with the channels of the weight swapped.
    conv, back = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.ConvTranspose2d(4, 3, 3, 2, 1, bias=False)
    back.weight = conv.weight.swapaxes(0, 3)
    x, y = arr(2, 7, 5, 3), arr(2, 4, 3, 4, seed=1)
    close((conv(x) * y).sum(), np.array((x * back(y)).sum()), 1e-4)


def test_gradient_of_a_convolution():
    m = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    x = arr(1, 5, 4, 2)
    w = np.array(m.weight).astype("f8")
    padded = np.pad(wave(1, 5, 4, 2), ((0, 0), (1, 1), (1, 1), (0, 0)))

    def loss(w):
        total = 0.0
        for i in range(3):
            for j in range(2):
                window = padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                total += (np.einsum("hwc,ohwc->o", window, w) ** 2).sum()
        return total

    _, g = nn.value_and_grad(m, lambda x: m(x).square().sum())(x)
    close(g["weight"], numeric_gradient(loss, w), 1e-4)


# ---- pooling


def pooled(x, kernel, stride, padding, reduce, fill):
    """Window by window."""
    dims = len(kernel)
    x = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)], constant_values=fill)
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], kernel, stride, strict=True)]
    out = np.empty((x.shape[0], *sizes, x.shape[-1]))
    for index in np.ndindex(*sizes):
        starts = [i * s for i, s in zip(index, stride, strict=True)]
        window = tuple(slice(i, i + k) for i, k in zip(starts, kernel, strict=True))
        out[(slice(None), *index)] = reduce(
            x[(slice(None), *window)], axis=tuple(range(1, dims + 1))
        )
    return out


@pytest.mark.parametrize(
    "kernel, stride, padding",
    [
        ((2,), None, (0,)),
        ((3,), (2,), (1,)),
        ((3,), (1,), (0,)),
        ((2,), (3,), (1,)),
        ((9,), (9,), (0,)),
        ((7,), (1,), (1,)),
        ((2, 3), None, (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((2, 3), (2, 1), (0, 2)),
        ((9, 6), (1, 1), (0, 0)),
        ((2, 2, 2), None, (0, 0, 0)),
        ((3, 1, 2), (1, 2, 2), (1, 0, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["Max", "Avg"])
def test_pooling(kind, kernel, stride, padding):
    dims = len(kernel)
    shape = (2, *(9, 6, 5)[:dims], 3)
    m = getattr(nn, f"{kind}Pool{dims}d")(kernel, stride, padding)
    reduce, fill = (np.max, -np.inf) if kind == "Max" else (np.mean, 0)
    x = wave(*shape)
    expected = pooled(x, kernel, stride or kernel, padding, reduce, fill)
    close(m(arr(*shape)), expected)
    # The waves have no ties, so the gradient is unique.
    if dims < 3:
        weight = wave(*expected.shape, seed=4)

        def loss(x):
            return (pooled(x, kernel, stride or kernel, padding, reduce, fill) * weight).sum()

        g = mx.grad(lambda x: (m(x) * arr(*expected.shape, seed=4)).sum())(arr(*shape))
        close(g, numeric_gradient(loss, x, 1e-7), 1e-4)


def test_pooling_dtypes():
    x = mx.arange(16).reshape(1, 4, 4, 1)
    y = nn.MaxPool2d(2, padding=1)(x - 20)
    assert y.dtype == mx.int32
    assert y[0, ..., 0].tolist() == [[-20, -18, -17], [-12, -10, -9], [-8, -6, -5]]
    assert nn.AvgPool2d(2)(x).dtype == mx.float32
    assert nn.AvgPool2d(2)(x)[0, ..., 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    for m in (nn.MaxPool2d(2, 1, 1), nn.AvgPool2d(2, 1, 1)):
        assert m(x.astype(mx.float16)).dtype == mx.float16
    assert nn.MaxPool2d(3)(mx.zeros((1, 2, 2, 1))).shape == (1, 0, 0, 1)
    assert nn.AvgPool2d(3, 1)(mx.zeros((1, 2, 2, 1))).shape == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.MaxPool2d((2, 2, 2)), r"\[MaxPool2d\] kernel_size.*\(2, 2, 2\)"),
        (lambda: nn.MaxPool2d("a"), "kernel_size.*'a'"),
        (lambda: nn.AvgPool1d(2.0), r"\[AvgPool1d\] kernel_size.*2.0"),
        (lambda: nn.MaxPool2d(2, padding=None), "padding.*None"),
        (lambda: nn.MaxPool2d(2, 0), r"stride must be at least 1, got \(0, 0\)"),
        (lambda: nn.MaxPool2d(2)(mx.zeros((5, 5, 1))), r"4 dimensions.*\(5, 5, 1\)"),
    ],
)
def test_pooling_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pooling_repr():
    assert repr(nn.MaxPool1d(2)) == "MaxPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"
    assert nn.AvgPool2d((2, 3), 1, 1).parameters() == {}


# ---- upsampling


def test_nearest():
    x = mx.arange(6).reshape(1, 2, 3, 1)
    y = nn.Upsample(2)(x)
    assert y.dtype == x.dtype
    assert (
        y[0, ..., 0].tolist()
        == np.repeat(np.repeat(np.arange(6).reshape(2, 3), 2, 0), 2, 1).tolist()
    )
    five = mx.arange(5).reshape(1, 5, 1)
    assert nn.Upsample(2.5)(five).flatten().tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4]
    eleven = mx.arange(11).reshape(1, 11, 1)
    assert nn.Upsample(0.3)(eleven).flatten().tolist() == [0, 3, 7]


def test_fractional_scales_are_centered():
    y = nn.Upsample(0.5, "linear")(mx.arange(7.0).reshape(1, 7, 1)).flatten()
    assert y.tolist() == [1, 3, 5]
    y = np.array(nn.Upsample(1.7, "linear")(mx.arange(7.0).reshape(1, 7, 1))).ravel()
    np.testing.assert_allclose(y + y[::-1], 6, atol=1e-5)


def test_cubic_reproduces_lines():
    x = mx.arange(12.0).reshape(1, 12, 1)
    y = np.array(nn.Upsample(3, "cubic", align_corners=True)(x)).ravel()
    inner = slice(4, -4)
    np.testing.assert_allclose(y[inner], np.linspace(0, 11, 36)[inner], atol=0.15)
    assert y[0] == 0 and y[-1] == pytest.approx(11)
    ones = nn.Upsample((1.3, 2.1), "cubic")(mx.ones((1, 7, 9, 2)))
    np.testing.assert_allclose(np.array(ones), 1, atol=1e-5)


def test_upsample_dtypes_and_dimensions():
    assert nn.Upsample(2, "linear")(mx.zeros((1, 4, 1), mx.float16)).dtype == mx.float32
    assert nn.Upsample(1.0, "linear")(mx.zeros((1, 4, 1), mx.int32)).dtype == mx.float32
    assert nn.Upsample(2, "linear")(mx.zeros((1, 2, 3, 2, 2, 1))).shape == (1, 4, 6, 4, 4, 1)
    assert repr(nn.Upsample((2, 3), "linear", True)) == (
        "Upsample(scale_factor=(2.0, 3.0), mode='linear', align_corners=True)"
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.Upsample(2, "bad"), "'bad'"),
        (lambda: nn.Upsample(-1.0), "-1.0"),
        (lambda: nn.Upsample(2, antialias=True), "antialias"),
        (lambda: nn.Upsample(2, "linear", True, True), "antialias and align_corners"),
        (lambda: nn.Upsample((1, 2))(mx.zeros((1, 2, 1))), r"2 elements.*\(1, 2, 1\)"),
        (lambda: nn.Upsample(2)(mx.zeros((2, 1))), r"at least 3 dimensions.*\(2, 1\)"),
        (lambda: nn.Upsample(0.1)(mx.zeros((1, 5, 1))), r"leaves nothing.*\(1, 5, 1\)"),
    ],
)
def test_upsample_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
