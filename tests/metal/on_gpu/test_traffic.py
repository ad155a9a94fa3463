"""Bytes of device memory that kernels move, counted by the simulator: each operand is read once, each result written
once.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import mlx.core as mx
import pytest

SIMULATOR = ctypes.CDLL("libmlx_metal_sim.so", mode=os.RTLD_NOW | os.RTLD_NOLOAD)
SIMULATOR.mlx_metal_simulator_counters_text.restype = ctypes.c_char_p


KEYS = ["dispatches", "threads", "barriers", "read", "written", "unique_read", "unique_written"]


@dataclass
class Traffic:
    dispatches: int = 0
    read: int = 0
    written: int = 0


def traffic(f) -> Traffic:
    SIMULATOR.mlx_metal_simulator_reset_counters()
    mx.eval(f())
    total = Traffic()
    for line in SIMULATOR.mlx_metal_simulator_counters_text().decode().splitlines():
        numbers = [int(word) for word in line.split(maxsplit=7)[:7]]
        total.dispatches += numbers[0]
        total.read += numbers[3]
        total.written += numbers[4]
    return total


def by_kernel(f) -> dict[str, dict[str, int]]:
    SIMULATOR.mlx_metal_simulator_reset_counters()
    mx.eval(f())
    lines = [x.split(maxsplit=7) for x in SIMULATOR.mlx_metal_simulator_counters_text().decode().splitlines()]
    return {kernel: dict(zip(KEYS, map(int, numbers), strict=True)) for *numbers, kernel in lines}


X = mx.random.normal((64, 512))
Y = mx.random.normal((64, 512))
W = mx.random.normal((512,))
A = mx.random.normal((128, 96))
B = mx.random.normal((96, 192))
CLASSES = mx.arange(64).astype(mx.int64)
LSE = mx.logsumexp(X, axis=-1)
Z = X.astype(mx.complex64)
I, K = mx.random.normal((1, 18, 18, 16)), mx.random.normal((32, 3, 3, 16))
mx.eval(X, Y, W, A, B, CLASSES, LSE, Z, I, K)
N = X.nbytes



def kept_values() -> list[mx.array]:
    """Two values of the pass are results, as moments of an optimizer are."""
    moment = X * Y + 1
    scale = mx.sqrt(mx.abs(moment))
    return [moment, scale, X / scale]


def reduced_values() -> list[mx.array]:
    product = X * Y
    return [product, product.sum(axis=1), mx.abs(product).max(axis=1)]


CASES = {
    "add": (lambda: X + Y, 2 * N, N),
    "fused": (lambda: mx.sqrt(X * Y + 1) * X, 2 * N + X.size, N),  # the number, once per four elements
    "fused, with values that are kept": (kept_values, 2 * N + X.size, 3 * N),
    "broadcast": (lambda: X.T + Y.T, 2 * N, N),
    "cast": (lambda: X.astype(mx.float16), N, N // 2),
    "sum": (lambda: X.sum(axis=1), N, 64 * 4),
    "columns": (lambda: X.max(axis=0), N, 512 * 4),
    # Of what is only reduced nothing is in memory; a number is read once per thread.
    "sum of products": (lambda: (X * Y).sum(axis=1), 2 * N, 64 * 4),
    "columns of products": (lambda: (X * Y).max(axis=0), 2 * N, 512 * 4),
    "reductions, and a value that is kept": (reduced_values, 2 * N, N + 2 * 64 * 4),
    "softmax": (lambda: mx.softmax(X, axis=-1), N, N),
    "logsumexp": (lambda: mx.logsumexp(X, axis=-1), N, 64 * 4),
    "rms_norm": (lambda: mx.fast.rms_norm(X, W, 1e-5), 2 * N, N),  # and the weights, from the cache
    "layer_norm": (lambda: mx.fast.layer_norm(X, W, W, 1e-5), 3 * N, N),
    "var": (lambda: mx.var(X, axis=1), N, 2 * 64 * 4),  # and the mean
    "var of columns": (lambda: mx.var(X, axis=0), N, 2 * 512 * 4),
    "var of strided rows": (lambda: mx.var(X.T, axis=0), N, 2 * 64 * 4),
    # Per row: a class, and its logit again; the loss, and log sum exp for the gradient.
    "cross_entropy": (lambda: mx.fast.cross_entropy(X, CLASSES), N + 64 * (8 + 4), 64 * 8),
    "cumsum": (lambda: mx.cumsum(X, axis=1), N, N),
    "logcumsumexp": (lambda: mx.logcumsumexp(X, axis=0), N, N),
    "sort": (lambda: mx.sort(X, axis=-1), N, N),
    "sort of columns": (lambda: mx.sort(X, axis=0), N, N),
    "argsort": (lambda: mx.argsort(X, axis=-1), N, N),
    # Tiles of 32 x 32: a is read 192 / 32 times, b 128 / 32 times.
    "matmul": (lambda: A @ B, 6 * A.nbytes + 4 * B.nbytes, 128 * 192 * 4),
    "complex matmul": (lambda: Z.T @ Z, 2 * 16 * Z.nbytes, 512 * 512 * 8),
    # 256 positions by 144 numbers, and the taps once per tile of 32 positions.
    "conv2d": (lambda: mx.conv2d(I, K), 256 * 144 * 4 + 8 * K.nbytes, 256 * 32 * 4),
    "fft": (lambda: mx.fft.fft(Z), 2 * N, 2 * N),
    "fft, columns": (lambda: mx.fft.fft(Z, axis=0), 2 * N, 2 * N),
    "hadamard_transform": (lambda: mx.hadamard_transform(X), N, N),
    "gemv": (lambda: X @ W, N + 2 * W.nbytes, 64 * 4),  # the vector once per 32 rows
}


@pytest.mark.parametrize("name", CASES)
def test_each_operand_is_read_once(name):
    f, read, written = CASES[name]
    moved = traffic(f)
    assert moved.dispatches == 1
    assert moved.written == written
    assert moved.read == read


ROWS = mx.random.randint(0, 64, (300,))
COLUMNS = mx.random.randint(0, 512, (300,))
UPDATES = mx.random.normal((300, 512))
LONG = mx.random.normal((9000,))
LONG_MASK = LONG > 0
VALUES = mx.ones((LONG_MASK.sum().item(),))
mx.eval(ROWS, COLUMNS, UPDATES, LONG, LONG_MASK, VALUES)


def test_take_of_a_view_reads_what_it_picks():
    i = mx.array([5, 0, 63])
    mx.eval(i)
    moved = by_kernel(lambda: mx.take(X.T, i, axis=1))
    assert moved["gather_boxes"]["read"] == 3 * 512 * (4 + 4)  # the element, and where its column is
    assert sum(kernel["written"] for kernel in moved.values()) == 3 * 512 * 4 + 3 * 4


@pytest.mark.parametrize(("dtype", "per_word"), [("float32", 2), ("float16", 4), ("uint8", 8)])
def test_take_moves_slices_in_words(dtype, per_word):
    x, i = X.astype(getattr(mx, dtype)), mx.array([5, 0, 63])
    mx.eval(x, i)
    moved = by_kernel(lambda: mx.take(x, i, axis=0))["gather"]
    assert moved["threads"] == 3 * 512 // per_word
    assert moved["written"] == 3 * x.nbytes // 64
    assert moved["read"] == moved["written"] + 8 * moved["threads"]  # and an index


def test_gather_reads_each_picked_element_once():
    moved = by_kernel(lambda: X[ROWS, COLUMNS])
    assert moved["gather_boxes"]["read"] == 300 * (4 + 4)  # the element, and where it is
    assert moved["gather_boxes"]["written"] == 300 * 4
    assert moved["offsets"]["dispatches"] == 2  # the second adds to the first
    assert moved["offsets"]["read"] == 300 * (4 + 4 + 4)


def test_scatter_reads_each_update_once():
    named = len(set(ROWS.tolist()))
    assign = by_kernel(_assigned)["scatter"]
    assert assign["unique_read"] <= 300 * (512 * 4 + 4 + 4)
    assert assign["written"] == named * 512 * 4
    add = by_kernel(lambda: X.at[ROWS].add(UPDATES))
    # Runs of at most 64 places: what is behind their cuts is a part of its own.
    assert add["scatter"]["dispatches"] == add["join_runs"]["dispatches"] == 1
    assert named * 512 * 4 <= add["scatter"]["written"] <= (named + 300 // 64) * 512 * 4
    assert add["sort_blocks"]["written"] == 300 * (4 + 4)


def _assigned():
    y = mx.array(X)
    y[ROWS] = UPDATES
    return y


def test_scatter_to_ascending_places_sorts_nothing():
    places = mx.arange(20) * 3
    mx.eval(places)
    moved = by_kernel(lambda: X.at[places].add(UPDATES[:20]))
    assert "sort_blocks" not in moved


@pytest.mark.parametrize(("n", "passes"), [(2048, 0), (2049, 1), (4096, 1), (4097, 2), (9000, 3)])
def test_passes_of_sorting(n, passes):
    moved = by_kernel(lambda: mx.sort(LONG[:n]))
    assert moved["sort_blocks"]["dispatches"] == 1
    assert moved["sort_blocks"]["read"] == moved["sort_blocks"]["written"] == 4 * n
    if not passes:
        assert "merge_runs" not in moved
        return
    merge, tiles = moved["merge_runs"], -(-n // 2048)
    assert merge["dispatches"] == passes
    assert merge["written"] == passes * 4 * n
    # Besides each key once: two bisections per tile, of two keys a step.
    assert 0 <= merge["read"] - passes * 4 * n <= passes * tiles * 2 * 2 * 4 * n.bit_length()
    assert merge["barriers"] == passes * tiles * 4


def test_moments_of_a_long_array_are_read_once():
    x = mx.random.normal((1 << 17,))
    mx.eval(x)
    moved = traffic(lambda: mx.var(x))
    assert moved.dispatches == 2
    assert moved.read == x.nbytes + 16 * 16
    assert moved.written == 16 * 16 + 8


def test_long_lines_of_scans_are_read_twice():
    moved = traffic(lambda: mx.cumsum(LONG))
    chunks = -(-LONG.size // 1024)
    assert moved.dispatches == 3  # totals, their scan, the chunks
    assert moved.read == 2 * LONG.nbytes + 4 * (chunks + 32 * (chunks - 1))  # what is before a chunk, by every lane
    assert moved.written == LONG.nbytes + 4 * 2 * chunks


def test_gated_delta_reads_and_writes_the_state_once():
    q, v, gate = mx.random.normal((1, 5, 1, 64)), mx.random.normal((1, 5, 2, 32)), mx.random.uniform(shape=(1, 5, 2))
    state = mx.random.normal((1, 2, 32, 64))
    mx.eval(q, v, gate, state)
    moved = traffic(lambda: mx.fast.gated_delta_update(q, q, v, gate, gate, state))
    assert moved.dispatches == 1
    assert moved.written == state.nbytes + v.nbytes
    # Keys, queries and gates once per head and four rows.
    assert moved.read == state.nbytes + v.nbytes + 32 // 4 * (2 * 2 * q.nbytes + 2 * gate.nbytes)


@pytest.mark.parametrize(("steps", "kept"), [(1, 1), (4, 2), (11, 3)])
def test_gated_delta_gradient_reads_each_state_once(steps, kept):
    shape, heads, dk, dv = (1, steps), 2, 64, 40
    q, v = mx.random.normal((*shape, 1, dk)), mx.random.normal((*shape, heads, dv))
    gate, state = mx.random.uniform(shape=(*shape, heads)), mx.random.normal((1, heads, dv, dk))
    mx.eval(q, v, gate, state)
    moved = by_kernel(
        lambda: mx.vjp(mx.fast.gated_delta_update, [q, q, v, gate, gate, state], [mx.ones(v.shape), state])[1]
    )
    kernel, simds = moved["gated_delta_gradient"], 10  # of four rows each, in two threadgroups per head
    chunk = -(-steps // kept)
    lengths = [min(chunk, steps - begin) for begin in range(0, steps, chunk)]
    assert len(lengths) == kept
    # The states before steps once, those before chunks and sequences once more; and the gradient of the last state.
    states = steps + sum(n > 1 for n in lengths[:-1]) + 1 + 1
    # Steps that are made forward, those before the last chunk and those inside of chunks, need keys, values and gates.
    forward = chunk * (kept - 1) + sum(n - 1 for n in lengths)
    vectors = forward * (dk + 2) + steps * (2 * dk + 2)
    values = (forward + 2 * steps) * dv
    assert kernel["read"] == states * state.nbytes + heads * (simds * vectors + values) * 4
    sums = 2 * steps * heads * (2 * dk + 2) * 4
    assert kernel["written"] == steps * state.nbytes + v.nbytes + sums
    assert kernel["barriers"] == 2 * steps * heads * 2
    assert kernel["dispatches"] == 1


def test_masks():
    moved = by_kernel(_masked)
    n, selected = LONG.size, LONG_MASK.sum().item()
    assert moved["counts"]["read"] == n
    blocks = -(-n // 1024)
    assert moved["ranks"]["read"] == n + blocks * 256 * 4  # what is before a block, by every thread
    assert moved["ranks"]["written"] == 4 * n
    assert moved["masked_scatter"]["written"] == 4 * selected
    assert moved["masked_scatter"]["read"] == n + selected * (4 + 4)


def _masked():
    y = mx.array(LONG)
    y[LONG_MASK] = VALUES
    return y
