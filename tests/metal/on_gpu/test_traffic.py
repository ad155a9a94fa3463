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


X = mx.random.normal((64, 512))
Y = mx.random.normal((64, 512))
W = mx.random.normal((512,))
A = mx.random.normal((128, 96))
B = mx.random.normal((96, 192))
Z = X.astype(mx.complex64)
I, K = mx.random.normal((1, 18, 18, 16)), mx.random.normal((32, 3, 3, 16))
mx.eval(X, Y, W, A, B, Z, I, K)
N = X.nbytes

CASES = {
    "add": (lambda: X + Y, 2 * N, N),
    "fused": (lambda: mx.sqrt(X * Y + 1) * X, 2 * N + X.size, N),  # the number, once per four elements
    "broadcast": (lambda: X.T + Y.T, 2 * N, N),
    "cast": (lambda: X.astype(mx.float16), N, N // 2),
    "sum": (lambda: X.sum(axis=1), N, 64 * 4),
    "columns": (lambda: X.max(axis=0), N, 512 * 4),
    "softmax": (lambda: mx.softmax(X, axis=-1), N, N),
    "logsumexp": (lambda: mx.logsumexp(X, axis=-1), N, 64 * 4),
    "rms_norm": (lambda: mx.fast.rms_norm(X, W, 1e-5), 2 * N, N),  # and the weights, from the cache
    "layer_norm": (lambda: mx.fast.layer_norm(X, W, W, 1e-5), 3 * N, N),
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
