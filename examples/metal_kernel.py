"""A GPU kernel of one's own: a gated activation and its derivative in the Metal Shading Language.

    MLX_METAL_SIMULATOR=1 python examples/metal_kernel.py    # on any machine with a C++ compiler
    python examples/metal_kernel.py                          # on a Mac; without a GPU: the checks, and the formula

SwiGLU (arXiv:2002.05202) multiplies a gate into the features of a layer:

    y = silu(a) b,  silu(a) = a s,  s = 1 / (1 + exp(-a))

One kernel reads a and b and writes y; another reads a, b and the gradient of y and writes both gradients, where the
formula by itself is a row of operations. `mx.custom_function` makes the second the derivative of the first, so that a
layer trains with it: an MLP on handwritten digits, the kernels against the formula from the same weights.

Without a GPU, kernels are built and their calls checked (shapes, types, sizes), and the error says which device they
need.

Expected: the same losses to 1e-5; about 97 % of the held-out digits.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, batches, digits, draw_curves, expect, make_parser, parse

# A thread computes one element, in float32 whatever T is. The number of threads is a multiple of a threadgroup's,
# so the last ones may have nothing to do. `a_shape` comes with every input that has the name a.
ELEMENT = """
    uint i = thread_position_in_grid.x;
    if (i >= SIZE) return;
    float x = float(a[i]), gated = float(b[i]);
    float s = 1.0f / (1.0f + metal::exp(-x));
"""
forward_kernel = mx.fast.metal_kernel(
    name="swiglu",
    input_names=["a", "b"],
    output_names=["y"],
    source=ELEMENT + "y[i] = T(x * s * gated);",
)
backward_kernel = mx.fast.metal_kernel(
    name="swiglu_gradient",
    input_names=["a", "b", "dy"],
    output_names=["da", "db"],
    source=ELEMENT
    + """
    float d = float(dy[i]);
    da[i] = T(d * gated * s * (1.0f + x * (1.0f - s)));
    db[i] = T(d * x * s);
    """,
)
THREADS = 256


def run(kernel: Callable[..., list[mx.array]], inputs: list[mx.array], outputs: int) -> list[mx.array]:
    """A kernel with a thread per element; all its arrays are of one shape and type."""
    a = inputs[0]
    return kernel(
        inputs=inputs,
        template=[("T", a.dtype), ("SIZE", a.size)],
        grid=(-(-a.size // THREADS) * THREADS, 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[a.shape] * outputs,
        output_dtypes=[a.dtype] * outputs,
    )


@mx.custom_function
def swiglu_kernel(a: mx.array, b: mx.array) -> mx.array:
    """SwiGLU by the kernels, for arrays of one shape and type."""
    return run(forward_kernel, [a, b], 1)[0]


@swiglu_kernel.vjp
def swiglu_kernel_vjp(primals: tuple[mx.array, mx.array], dy: mx.array, _: mx.array) -> list[mx.array]:
    return run(backward_kernel, [*primals, dy], 2)


def swiglu(a: mx.array, b: mx.array) -> mx.array:
    """The formula: what the kernels are compared with, and what runs where there is no GPU."""
    return nn.silu(a) * b


Gate = Callable[[mx.array, mx.array], mx.array]


class MLP(nn.Module):
    """Images (n, 8, 8) -> class scores (n, 10)."""

    def __init__(self, gate: Gate, hidden: int = 64) -> None:
        super().__init__()
        self.gate = gate
        self.inputs = nn.Linear(64, 2 * hidden)
        self.out = nn.Linear(hidden, 10)

    def __call__(self, x: mx.array) -> mx.array:
        return self.out(self.gate(*mx.split(self.inputs(x.flatten(1)), 2, axis=-1)))


def train(gate: Gate, name: str, steps: int, seed: int) -> tuple[list[float], float]:
    """The losses, and the accuracy on held-out digits."""
    train_x, test_x, train_y, test_y = digits()
    mx.random.seed(seed)
    model, optimizer = MLP(gate), optim.Adam(1e-2)

    def loss_fn(images: mx.array, labels: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(images), labels, reduction="mean")

    step_fn = nn.value_and_grad(model, loss_fn)
    size, losses = 128, []
    per_epoch = len(train_x) // size
    for step in (progress := Progress(range(steps), name)):
        chosen = list(batches(len(train_x), size, seed, step // per_epoch))[step % per_epoch]
        loss, gradients = step_fn(mx.array(train_x[chosen]), mx.array(train_y[chosen]))
        optimizer.update(model, gradients)
        mx.eval(loss, model.state, optimizer.state)
        losses.append(loss.item())
        progress.show(loss=losses[-1])
    correct = mx.argmax(model(mx.array(test_x)), axis=1) == mx.array(test_y)
    return losses, mx.mean(correct).item()


def refused_calls() -> list[str]:
    """Calls that cannot be right are refused before anything runs, on any machine. Their messages."""
    a = mx.ones((4, 8))
    right = {"inputs": [a, a], "output_shapes": [a.shape], "output_dtypes": [a.dtype]}
    right |= {"grid": (256, 1, 1), "threadgroup": (256, 1, 1), "template": [("T", a.dtype), ("SIZE", a.size)]}
    messages = []
    for wrong in ({"inputs": [a]}, {"output_shapes": []}, {"output_shapes": [(4, -8)]}, {"threadgroup": (2048, 1, 1)}):
        try:
            forward_kernel(**{**right, **wrong})
        except ValueError as error:
            messages.append(str(error))
        else:
            raise AssertionError(f"a call with {wrong} was not refused")
    return messages


def gradients(gate: Gate, a: mx.array, b: mx.array) -> list[np.ndarray]:
    """y, and the gradients of sum(sin(y)), as float32."""
    da, db = mx.grad(lambda a, b: mx.sin(gate(a, b).astype(mx.float32)).sum(), argnums=(0, 1))(a, b)
    return [np.array(x.astype(mx.float32)) for x in (gate(a, b), da, db)]


def compare(seed: int) -> float:
    """Kernels against the formula for sizes that are no multiple of a threadgroup; the difference in float32."""
    mx.random.seed(seed)
    worst = 0.0
    for dtype, bound in ((mx.float32, 1e-5), (mx.float16, 1e-2), (mx.bfloat16, 6e-2)):
        a, b = (mx.random.normal((3, 1, 171)).astype(dtype) for _ in range(2))
        pairs = zip(gradients(swiglu_kernel, a, b), gradients(swiglu, a, b), strict=True)
        difference = max(float(np.abs(kernel - formula).max()) for kernel, formula in pairs)
        expect(difference < bound, f"{dtype}: kernels and formula differ by {difference}, expected less than {bound}")
        print(f"{dtype}: kernels and formula differ by {difference:.1e} at most, gradients included")
        worst = max(worst, difference if dtype == mx.float32 else 0.0)
    return worst


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=150)
    args = parse(parser, argv, steps=40)
    for message in refused_calls():
        print("refused:", message)
    results, curves = {}, {}
    if mx.default_device().type == mx.gpu:
        results["difference"] = compare(args.seed)
        curves["kernels"], results["kernels"] = train(swiglu_kernel, "kernels", args.steps, args.seed)
    else:
        try:
            swiglu_kernel(mx.ones(3), mx.ones(3))
        except RuntimeError as error:
            print("no GPU:", error)
    curves["formula"], results["formula"] = train(swiglu, "formula", args.steps, args.seed)
    for name in curves:
        print(f"{name}: {results[name]:.1%} of the held-out digits")
        expect(results[name] > (0.8 if args.quick else 0.94), f"{name}: accuracy {results[name]}")
    if "kernels" in curves:
        np.testing.assert_allclose(curves["kernels"][:10], curves["formula"][:10], rtol=1e-5)
    draw_curves(args.output / "metal_kernel.png", curves)
    return results


if __name__ == "__main__":
    main()
