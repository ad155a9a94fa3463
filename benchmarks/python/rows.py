"""The rows of the speed table: inputs made with numpy, and the same step written for each framework.

A step takes the framework's arrays and returns what has to be computed. `xp` is mlx.core, torch or jax.numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Step = Callable[..., Any]


@dataclass
class Row:
    name: str
    shapes: list[tuple[int, ...]]
    steps: dict[str, Step]
    dtype: str = "float32"
    grad: bool = False
    compiled: dict[str, bool] = field(default_factory=lambda: {"jax": True})

    def inputs(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.normal(size=shape).astype(np.float32) for shape in self.shapes]


ROWS: dict[str, Row] = {}
MANY, SQUARE = (4_000_000,), (4096, 4096)


def row(name: str, *shapes: tuple[int, ...], same: Step | None = None, dtype: str = "float32", **steps: Step) -> None:
    """A row for all frameworks: `same(xp, *arrays)`, or a function of its own by framework."""
    every = {framework: steps.get(framework, same) for framework in ("mlx", "torch", "jax")}
    ROWS[name] = Row(name, list(shapes), {k: v for k, v in every.items() if v is not None}, dtype)


def repeated(xp: Any, a: Any, b: Any) -> Any:
    for _ in range(100):
        a = a + b
    return a


def softplus(xp: Any, x: Any) -> Any:
    return xp.logaddexp(x, xp.zeros_like(x[:1]))


def gelu_tanh(xp: Any, x: Any) -> Any:
    return 0.5 * x * (1 + xp.tanh(0.79788456 * (x + 0.044715 * (x * x * x))))


def jax_erf(xp: Any, x: Any) -> Any:
    from jax import lax

    return 0.5 * x * (1 + lax.erf(x * 0.70710678))


def layer_norm(xp: Any, x: Any, w: Any, b: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / xp.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * w + b


def rms_norm(xp: Any, x: Any, w: Any) -> Any:
    return x / xp.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w


def torch_norm(name: str) -> Step:
    def step(xp: Any, x: Any, *parameters: Any) -> Any:
        return getattr(xp.nn.functional, name)(x, x.shape[-1:], *parameters, eps=1e-5)

    return step


def mlx_attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    return xp.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask="causal")


def torch_attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    return xp.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def jax_attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    s = q @ xp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5
    s = xp.where(xp.tril(xp.ones(s.shape[-2:], bool)), s, -xp.inf)
    e = xp.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)) @ v


row("add (4,)", (4,), (4,), same=lambda xp, a, b: a + b)
row("100 adds (4,)", (4,), (4,), same=repeated)
row("add 4M", MANY, MANY, same=lambda xp, a, b: a + b)
row("where 4M", MANY, MANY, same=lambda xp, a, b: xp.where(a > b, a, b))
row("exp 4M", MANY, same=lambda xp, a: xp.exp(a))
row("sigmoid 4M", MANY, same=lambda xp, a: xp.sigmoid(a), jax=lambda xp, a: 1 / (1 + xp.exp(-a)))
row("gelu erf 4M", MANY, same=lambda xp, x: 0.5 * x * (1 + xp.erf(x * 0.70710678)), jax=jax_erf)
row("gelu tanh 4M", MANY, same=gelu_tanh)
row("softplus 4M", MANY, same=softplus)
for n in (256, 512, 1024, 2048):
    row(f"matmul {n}", (n, n), (n, n), same=lambda xp, a, b: a @ b)
for kind in ("bfloat16", "float16"):
    row(f"matmul 1024 {kind}", (1024, 1024), (1024, 1024), same=lambda xp, a, b: a @ b, dtype=kind)
row("matmul (8, 4096) x 4096", (8, 4096), SQUARE, same=lambda xp, a, b: a @ b)
row("matmul (8, 4096) x 4096 bfloat16", (8, 4096), SQUARE, same=lambda xp, a, b: a @ b, dtype="bfloat16")
row("gemv 4096", (4096,), SQUARE, same=lambda xp, a, b: a @ b)
row("softmax 4096", SQUARE, same=lambda xp, a: xp.softmax(a, -1), jax=lambda xp, a: _jax_softmax(a))
for axis in (0, 1):
    row(f"sum axis {axis}", SQUARE, same=lambda xp, a, axis=axis: a.sum(axis))
    row(
        f"max axis {axis}",
        SQUARE,
        same=lambda xp, a, axis=axis: a.max(axis),
        torch=lambda xp, a, axis=axis: xp.amax(a, axis),
    )
row("argmax axis 1", SQUARE, same=lambda xp, a: xp.argmax(a, 1))
row(
    "layer_norm (2048, 1024)",
    (2048, 1024),
    (1024,),
    (1024,),
    same=layer_norm,
    mlx=lambda xp, x, w, b: xp.fast.layer_norm(x, w, b, 1e-5),
    torch=torch_norm("layer_norm"),
)
row(
    "rms_norm (2048, 1024)",
    (2048, 1024),
    (1024,),
    same=rms_norm,
    mlx=lambda xp, x, w: xp.fast.rms_norm(x, w, 1e-5),
    torch=torch_norm("rms_norm"),
)
row(
    "causal attention (1, 8, 1024, 64)",
    *[(1, 8, 1024, 64)] * 3,
    mlx=mlx_attention,
    torch=torch_attention,
    jax=jax_attention,
)


def _jax_softmax(a: Any) -> Any:
    import jax

    return jax.nn.softmax(a, axis=-1)
