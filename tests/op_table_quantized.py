"""Rows of products with quantized, chosen, masked and segmented matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_row import Bad, Gen, Op, S, f, index, v
from op_table_linear import product

SMALL = ("float16", "bfloat16", "float32")
FLOATS = (*SMALL, "float64")


def words(rows: int, columns: int, bits: int, seed: int = 0) -> Gen:
    """Any words are codes."""
    shape = (rows, columns * bits // 32)
    values = np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint32)
    return Gen(shape, dtype="uint32", values=values, constant=True)


def unpacked(w: np.ndarray, scales: Any, biases: Any, group: int, bits: int) -> np.ndarray:
    stream = np.unpackbits(np.ascontiguousarray(w, "<u4").view(np.uint8), axis=-1, bitorder="little")
    codes = (stream.reshape(*w.shape[:-1], -1, bits).astype(int) << np.arange(bits)).sum(-1)
    return codes * np.repeat(scales, group, -1) + np.repeat(biases, group, -1)


def dequantize(w: Any, scales: Any, biases: Any, group_size: int = 64, bits: int = 4) -> Any:
    return unpacked(w, scales, biases, group_size, bits)


def quantized_matmul(
    x: Any, w: Any, scales: Any, biases: Any, transpose: bool = True, group_size: int = 64, bits: int = 4
) -> Any:
    d = unpacked(w, scales, biases, group_size, bits)
    return x @ (np.swapaxes(d, -1, -2) if transpose else d)


def block_masked_mm(a: Any, b: Any, size: int, out: Any, lhs: Any, rhs: Any) -> Any:
    def full(mask: Any, like: Any) -> Any:
        wide = np.repeat(np.repeat(mask, size, -2), size, -1)
        return wide[..., : like.shape[-2], : like.shape[-1]]

    y = (full(lhs, a) * a) @ (full(rhs, b) * b)
    return full(out, y) * y


def segmented_mm(a: Any, b: Any, segments: Any) -> Any:
    flat = segments.reshape(-1, 2)
    parts = [a[:, s:e] @ b[s:e] for s, e in flat]
    return np.reshape(parts, (*segments.shape[:-1], a.shape[0], b.shape[1]))


def gather_mm(a: Any, b: Any, lhs: Any, rhs: Any) -> Any:
    def flat(x: Any) -> Any:
        return x.reshape(int(np.prod(x.shape[:-2])), *x.shape[-2:])

    return flat(a)[lhs] @ flat(b)[rhs]


OPS: list[Op] = [
    Op(
        "dequantize",
        [
            S(words(3, 128, 4), f(3, 2), f(3, 2)),
            S(words(2, 96, 3), f(2, 3), f(2, 3), group_size=32, bits=3),
            S(words(2, 128, 8), f(2, 1, low=-0.01, high=0.01), f(2, 1), group_size=128, bits=8),
        ],
        dequantize,
        dtypes=SMALL,
        eps={"float16": 2, "bfloat16": 2, "float32": 2},
        keeps_bits=False,
        errors=[Bad(S(words(3, 128, 4), f(3, 1), f(3, 1)), ValueError, r"\[dequantize\].*\(3,1\)")],
    ),
    product(
        "quantized_matmul",
        [
            S(f(3, 128), words(5, 128, 4), f(5, 2), f(5, 2)),
            S(f(64), words(5, 64, 2), f(5, 1), f(5, 1), bits=2),
            S(f(2, 2, 96), words(3, 96, 5), f(3, 3), f(3, 3), group_size=32, bits=5),
            S(f(2, 3), words(3, 64, 4), f(3, 1), f(3, 1), transpose=False),
            S(f(0, 64), words(3, 64, 8), f(3, 1), f(3, 1), bits=8),
        ],
        quantized_matmul,
        dtypes=SMALL,
        diff=False,
        smooth=False,
        eps={"float16": 4, "bfloat16": 4, "float32": 16},
        errors=[
            Bad(S(f(3, 64), words(5, 128, 4), f(5, 2), f(5, 2)), ValueError, r"\(3,64\).*128"),
            Bad(S(f(3, 128), words(5, 128, 4), f(5, 1), f(5, 1)), ValueError, r"\(5,1\)"),
        ],
    ),
    product(
        "gather_mm",
        [
            S(f(3, 2, 4), f(2, 4, 5), index(4, high=3), index(4, high=2)),
            S(f(2, 2, 3, 4), f(3, 4, 2), index(2, 1, high=4), index(3, high=3)),
            S(f(1, 2, 3), f(1, 3, 2), v([0, 0, 0], "int32"), v([0, -1, 0], "int64")),
            S(f(2, 0, 3), f(2, 3, 2), v([1], "int32"), v([0], "uint8")),
        ],
        gather_mm,
        dtypes=FLOATS,
        errors=[
            Bad(S(f(2, 3, 4), f(2, 3, 4), v([0], "int32"), v([0], "int32")), ValueError, r"gather_mm"),
            Bad(S(f(2, 3, 4), f(2, 4, 3), v([2], "int32"), v([0], "int32")), IndexError, r"gather_mm"),
        ],
    ),
    product(
        "block_masked_mm",
        [
            S(f(40, 36), f(36, 33), 32, f(2, 2), f(2, 2), f(2, 2)),
            S(f(2, 5, 4), f(4, 3), 2, f(3, 2), f(3, 2), f(1, 2, 2)),
        ],
        block_masked_mm,
        dtypes=FLOATS,
        eps={"float16": 4, "bfloat16": 4, "float32": 32, "float64": 32},
        errors=[Bad(S(f(4, 4), f(4, 4), 2, f(3, 2), f(2, 2), f(2, 2)), ValueError, r"mask_out")],
    ),
    product(
        "segmented_mm",
        [
            S(f(3, 10), f(10, 4), v([[0, 4], [4, 10], [3, 3]], "uint32")),
            S(f(1, 6), f(6, 1), v([[[0, 6]], [[2, 5]]], "int32")),
            S(f(2, 5), f(5, 3), v([[1, 4], [0, 3], [2, 5], [4, 2]], "int32")),
        ],
        segmented_mm,
        dtypes=FLOATS,
        errors=[
            Bad(S(f(3, 4), f(5, 3), v([[0, 1]], "int32")), ValueError, r"segmented_mm"),
            Bad(S(f(3, 4), f(4, 3), v([[0, 5]], "int32")), IndexError, r"segmented_mm.*5"),
        ],
    ),
]
