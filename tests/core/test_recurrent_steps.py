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


def close(got: list[mx.array], want: list[mx.array]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.dtype == mx.float32 and w.dtype == mx.float64
        w = np.asarray(w)
        np.testing.assert_allclose(np.asarray(g), w, rtol=0, atol=4e-6 * max(1, np.abs(w).max()))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients(cell, shape):
    parts, steps = CELLS[cell]
    drawn = operands(parts, *shape)

    def both(dtype: mx.Dtype):
        given = [mx.array(x).astype(dtype) for x in drawn]
        outputs = steps(*given)
        # Of every output; of all but the states none; of the states ones, which are a number.
        along = [[mx.cos(mx.arange(o.size, dtype=dtype)).reshape(o.shape) for o in outputs]]
        along.append([mx.cos(along[0][0]), *(mx.zeros_like(o) for o in outputs[1:])])
        along.append([mx.ones_like(outputs[0]), *(mx.zeros_like(o) for o in outputs[1:])])
        gradients = [mx.vjp(lambda *x: steps(*x), given, a)[1] for a in along]
        return outputs, gradients

    (values, gradients), (values64, gradients64) = both(mx.float32), both(mx.float64)
    close(values, values64)
    for g, w in zip(gradients, gradients64, strict=True):
        close(g, w)


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
