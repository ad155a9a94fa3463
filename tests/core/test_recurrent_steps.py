"""Kernels of mx.fast.rnn_steps, gru_steps and lstm_steps against the composition that float64 goes through.

Units beside whole registers, rows beside whole tiles, one block and several.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

SIZES = [(1, 1, 1), (4, 2, 3), (5, 1, 16), (3, 7, 21), (2, 13, 64), (6, 1, 200), (3, 5, 130), (2, 33, 96)]
CELLS = {
    "tanh": (1, lambda w, b, h, c, x: [mx.fast.rnn_steps(w, h, x)]),
    "relu": (1, lambda w, b, h, c, x: [mx.fast.rnn_steps(w, h, x, "relu")]),
    "gru": (3, lambda w, b, h, c, x: mx.fast.gru_steps(w, b, h, x)),
    "lstm": (4, lambda w, b, h, c, x: mx.fast.lstm_steps(w, h, c, x)),
}


@pytest.fixture(autouse=True)
def on_the_cpu():
    """Where the kernels are, also where there is a GPU."""
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


def operands(parts: int, steps: int, batch: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    shapes = [(parts * size, size), (size,), (batch, size), (batch, size), (steps, batch, parts * size)]
    drawn = [rng.standard_normal(shape) for shape in shapes]
    drawn[0] /= size**0.5
    return [x.astype(np.float32) for x in drawn]


# Of the largest magnitude: states and gradients of 16-bit floats are rounded at every step.
BOUNDS = {mx.float32: 4e-6, mx.float16: 4e-3, mx.bfloat16: 3e-2}


def close(got: list[mx.array], want: list[mx.array], dtype: mx.Dtype) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype and w.dtype == mx.float64
        w = np.asarray(w)
        atol = BOUNDS[dtype] * max(1, np.abs(w).max())
        np.testing.assert_allclose(np.asarray(g.astype(mx.float32)), w, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients(cell, shape, dtype):
    parts, steps = CELLS[cell]
    drawn = operands(parts, *shape)
    if cell == "relu":  # sums away from zero, where a rounded state would have another slope
        drawn[0] *= 0.1
        drawn[-1] += np.copysign(0.5, drawn[-1])
    # Of every output; of all but the states none; of the states ones, which are a number.
    of = (lambda n: np.cos(np.arange(n)), lambda n: np.cos(np.cos(np.arange(n))))

    def as_drawn(x: np.ndarray, to: mx.Dtype) -> mx.array:
        return mx.array(x, dtype=mx.float64).astype(dtype).astype(to)

    def both(to: mx.Dtype):
        given = [as_drawn(x, to) for x in drawn]
        outputs = steps(*given)
        along = [[as_drawn(of[0](o.size), to).reshape(o.shape) for o in outputs]]
        zeros = [mx.zeros_like(o) for o in outputs[1:]]
        along.append([as_drawn(of[1](outputs[0].size), to).reshape(outputs[0].shape), *zeros])
        along.append([mx.ones_like(outputs[0]), *zeros])
        gradients = [mx.vjp(lambda *x: steps(*x), given, a)[1] for a in along]
        return outputs, gradients

    (values, gradients), (values64, gradients64) = both(dtype), both(mx.float64)
    close(values, values64, dtype)
    for g, w in zip(gradients, gradients64, strict=True):
        close(g, w, dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_a_number_stays_in_its_sequence(cell):
    parts, steps = CELLS[cell]
    given = operands(parts, 3, 4, 18)
    given[-1][1, 2] = np.nan
    hiddens = np.asarray(steps(*map(mx.array, given))[0])
    assert np.isnan(hiddens[1:, 2]).all()
    assert np.isfinite(hiddens[0]).all() and np.isfinite(np.delete(hiddens, 2, axis=1)).all()


@pytest.mark.parametrize("cell", CELLS)
def test_operands_as_they_lie(cell):
    """Transposed weights, states that are one number, every other step."""
    parts, steps = CELLS[cell]
    weight, bias, hidden, memory, x = map(mx.array, operands(parts, 6, 2, 17))
    hidden = mx.full(hidden.shape, 0.25)
    plain = steps(weight, bias, mx.array(np.asarray(hidden)), memory, mx.contiguous(x[::2]))
    other = steps(mx.contiguous(weight.T).T, bias, hidden, memory, x[::2])
    for a, b in zip(plain, other, strict=True):
        assert mx.array_equal(a, b)


def test_the_steps_of_one_sequence_are_rows_of_one_product():
    """A matrix for each step with one row, wherever the next would be: the bits of the product of them all."""
    rng = np.random.default_rng(0)
    x, weight, bias = (mx.array(rng.standard_normal(s).astype(np.float32)) for s in ((1, 40, 96), (64, 96), (64,)))
    together = mx.addmm(bias, x[0], weight.T)
    assert mx.array_equal(mx.addmm(bias, mx.moveaxis(x, 1, 0), weight.T)[:, 0], together)
    assert mx.array_equal((mx.moveaxis(x, 1, 0) @ weight.T)[:, 0], x[0] @ weight.T)


@pytest.mark.parametrize("cell", CELLS)
def test_exported_with_a_weight_of_bfloat16(cell, tmp_path):
    parts, steps = CELLS[cell]
    given = [mx.array(x).astype(mx.bfloat16) for x in operands(parts, 3, 2, 5)]
    mx.export_function(str(tmp_path / "steps"), lambda *x: list(steps(*x)), *given)
    for got, want in zip(mx.import_function(str(tmp_path / "steps"))(*given), steps(*given), strict=True):
        assert got.dtype == mx.bfloat16 and mx.array_equal(got, want)
