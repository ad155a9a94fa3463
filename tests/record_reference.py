"""Record facts of the MLX API that have no formula: result dtypes, promotion, random bits. Writes
tests/data.

Run with an interpreter that has the official wheel; the tests themselves only read the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from op_row import ALL, FLOATS, REALS, draw, dtype_name, outputs, representative, to_mx, to_np
from op_table import OPS

DATA = Path(__file__).parent / "data"


def result_dtypes() -> dict[str, dict[str, list[str]]]:
    """Per function and operand dtype: the dtypes of what it returns; missing where the call is
    refused.
    """
    table: dict[str, dict[str, list[str]]] = {}
    for op in OPS:
        row: dict[str, list[str]] = {}
        sample = representative(op)
        if sample is None:
            continue
        for dtype in ALL:
            operands, names = draw(op, sample, dtype)
            try:
                out = op.run(sample, [to_mx(x, n) for x, n in zip(operands, names, strict=True)])
                row[dtype] = [dtype_name(x) for x in out]
            except (ValueError, RuntimeError, TypeError):
                continue
        table[op.name] = row
    del table["view"]  # its samples ask for different dtypes
    # over all axes at once the recorded implementation leaves integers as they are: every element 0
    # or 1
    table["softmax"].update({d: ["float32"] for d in REALS if d not in FLOATS})
    return table


def promotion() -> dict[str, str]:
    """dtype of a + b for every pair of arrays, and with the Python scalars on either side."""
    out: dict[str, str] = {}
    for a in ALL:
        x = mx.array([1]).astype(getattr(mx, a))
        for b in ALL:
            out[f"{a}+{b}"] = dtype_name(x + mx.array([1]).astype(getattr(mx, b)))
        for name, scalar in (("bool", True), ("int", 1), ("float", 1.5), ("complex", 1j)):
            out[f"{a}+{name}"] = dtype_name(x + scalar)
            out[f"{name}+{a}"] = dtype_name(scalar + x)
    return out


def random_calls() -> dict[str, Any]:
    """Name to call; each takes a key. Kept small: these arrays are compared bit by bit."""
    r = mx.random
    logits = mx.array([[0.1, 2.0, -1.0, 0.0], [3.0, 0.0, 0.0, -2.0]])
    cov = mx.array([[2.0, 0.3], [0.3, 0.5]])
    return {
        "split": lambda k: r.split(k),
        "split5": lambda k: r.split(k, 5),
        **{
            f"uniform_{d}": (lambda k, d=d: r.uniform(shape=(3, 5), dtype=getattr(mx, d), key=k))
            for d in ("float32", "float16", "bfloat16")
        },
        "uniform_odd": lambda k: r.uniform(shape=(7,), key=k),
        "uniform_scalar": lambda k: r.uniform(key=k),
        "uniform_bounds": lambda k: r.uniform(-2.5, 7.0, shape=(4, 3), key=k),
        "uniform_array_bounds": lambda k: r.uniform(
            mx.array([0.0, 10.0, -5.0]), mx.array([1.0, 20.0, 5.0]), shape=(2, 3), key=k
        ),
        **{
            f"normal_{d}": (lambda k, d=d: r.normal(shape=(3, 5), dtype=getattr(mx, d), key=k))
            for d in ("float32", "float16", "bfloat16")
        },
        "normal_moved": lambda k: r.normal(shape=(6,), loc=3.0, scale=0.25, key=k),
        "normal_complex64": lambda k: r.normal(shape=(4,), dtype=mx.complex64, key=k),
        "bernoulli": lambda k: r.bernoulli(0.3, shape=(40,), key=k),
        "bernoulli_array": lambda k: r.bernoulli(mx.array([0.1, 0.5, 0.9]), key=k),
        "randint": lambda k: r.randint(-5, 17, shape=(20,), key=k),
        "randint_wide": lambda k: r.randint(0, 2**31 - 1, shape=(8,), key=k),
        "randint_uint8": lambda k: r.randint(0, 250, shape=(9,), dtype=mx.uint8, key=k),
        "randint_int64": lambda k: r.randint(-100, 100, shape=(9,), dtype=mx.int64, key=k),
        "truncated_normal": lambda k: r.truncated_normal(-1.0, 2.0, shape=(9,), key=k),
        "gumbel": lambda k: r.gumbel(shape=(9,), key=k),
        "laplace": lambda k: r.laplace(shape=(9,), loc=1.0, scale=2.0, key=k),
        "categorical": lambda k: r.categorical(logits, num_samples=12, key=k),
        "categorical_plain": lambda k: r.categorical(logits, key=k),
        "categorical_axis": lambda k: r.categorical(logits, axis=0, key=k),
        "categorical_shape": lambda k: r.categorical(logits, shape=(3, 2), key=k),
        "permutation": lambda k: r.permutation(17, key=k),
        "permutation_array": lambda k: r.permutation(mx.arange(12).reshape(4, 3), axis=1, key=k),
        "multivariate_normal": lambda k: r.multivariate_normal(mx.array([1.0, -1.0]), cov, shape=(5,), key=k),
    }


SEEDS = (0, 1, 42, 2**40 + 7)


def main() -> None:
    DATA.mkdir(exist_ok=True)
    (DATA / "result_dtypes.json").write_text(json.dumps(result_dtypes(), indent=0, sort_keys=True) + "\n")
    (DATA / "promotion.json").write_text(json.dumps(promotion(), indent=0, sort_keys=True) + "\n")
    arrays: dict[str, np.ndarray] = {}
    for seed in SEEDS:
        key = mx.random.key(seed)
        arrays[f"key/{seed}"] = np.array(key)
        for name, call in random_calls().items():
            for k, x in enumerate(outputs(call(key))):
                arrays[f"{name}/{seed}/{k}"] = to_np(x)
        mx.random.seed(seed)
        arrays[f"global/{seed}"] = np.stack([np.array(mx.random.uniform(shape=(3,))) for _ in range(4)])
    np.savez_compressed(DATA / "random.npz", **arrays)
    print(len(arrays), "arrays,", (DATA / "random.npz").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
