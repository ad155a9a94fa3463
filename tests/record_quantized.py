"""Record the bits of packed matrices. Writes tests/data/quantized.npz.

Run with an interpreter that has the official wheel; the tests only read the file.
"""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np

AFFINE = [("affine", g, b) for b in (1, 2, 3, 4, 5, 6, 8) for g in (32, 64, 128)]
LAYOUTS = [*AFFINE, ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
DTYPES = ("float32", "float16", "bfloat16")


def bits_of(a: mx.array) -> np.ndarray:
    size = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32}[a.dtype.size]
    return np.array(a.view(size))


def matrix() -> np.ndarray:
    """Groups of all kinds: around zero, of one sign, constant, zero, tiny, large, with ties."""
    rng = np.random.default_rng(7)
    w = rng.standard_normal((10, 128))
    w[1] = np.abs(w[1])
    w[2] = -np.abs(w[2]) - 0.5
    w[3, :32], w[3, 32:64], w[3, 64:96] = 0, 1.5, -0.25
    w[4] *= 1e-4
    w[5] *= 300
    w[6] = np.round(w[6] * 4) / 4
    w[7] *= np.exp2(rng.integers(-8, 8, 128))
    w[8] = rng.integers(-6, 7, 128)
    w[9, :] = np.linspace(-3, 5, 128)
    return w.astype(np.float32)


def main() -> None:
    out: dict[str, np.ndarray] = {}
    for dtype in DTYPES:
        w = mx.array(matrix()).astype(getattr(mx, dtype))
        out[f"w/{dtype}"] = bits_of(w)
        for mode, group, bits in LAYOUTS:
            options = {"group_size": group, "bits": bits, "mode": mode}
            q = mx.quantize(w, **options)
            name = f"{dtype}/{mode}/{group}/{bits}"
            for key, a in zip(("w", "scales", "biases"), q, strict=False):
                out[f"{name}/{key}"] = bits_of(a)
            if group == 64 or mode != "affine":
                values = mx.dequantize(*q, **options, dtype=getattr(mx, dtype))
                out[f"{name}/values"] = bits_of(values)
        largest = mx.abs(w).max().astype(mx.float32)
        q = mx.quantize(w, mode="nvfp4", global_scale=largest)
        name = f"{dtype}/nvfp4/16/4/global"
        out[f"{name}/w"], out[f"{name}/scales"] = bits_of(q[0]), bits_of(q[1])
        values = mx.dequantize(*q, mode="nvfp4", global_scale=largest, dtype=mx.float32)
        out[f"{name}/values"] = bits_of(values)
        out[f"fp8/{dtype}"] = np.array(mx.to_fp8(w))
        codes = mx.arange(256).astype(mx.uint8)
        out[f"from_fp8/{dtype}"] = bits_of(mx.from_fp8(codes, getattr(mx, dtype)))
    path = Path(__file__).parent / "data" / "quantized.npz"
    np.savez_compressed(path, **out)
    print(len(out), "arrays,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
