"""Linear and logistic regression by gradient descent, checked against exact solutions.

    python examples/regression.py

Linear: disease progression of 442 patients from 10 measurements (scikit-learn's diabetes data).
The weights must agree with the solution of the normal equations, R^2 on the data is 0.518.
Logistic: 569 breast tumours, 30 measurements, a quarter of them held out. Newton's method with the
Hessian from mx.jvp of mx.grad; the gradient vanishes within 12 steps; accuracy 95.8 %.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from common import SPLIT_SEED, draw_curves, expect, make_parser, parse
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split


def standardized(x: np.ndarray, like: np.ndarray) -> mx.array:
    """Columns with the mean and deviation that those of ``like`` have taken away, and a column of ones."""
    x = (x - like.mean(0)) / like.std(0)
    return mx.array(np.column_stack([x, np.ones(len(x))]), mx.float32)


def linear(steps: int) -> tuple[list[float], float, float]:
    """Losses, R^2 and the largest difference from the exact weights, relative to the largest weight."""
    data = load_diabetes()
    x, y = standardized(data.data, data.data), mx.array(data.target, mx.float32)

    def loss_fn(w: mx.array) -> mx.array:
        return mx.mean((x @ w - y) ** 2) / 2

    loss_and_grad = mx.compile(mx.value_and_grad(loss_fn))
    # Gradient descent with Nesterov's momentum converges for rates below 1 / (largest eigenvalue).
    rate = 1 / mx.linalg.eigvalsh(x.T @ x / len(y), stream=mx.cpu)[-1]
    w = previous = mx.zeros(x.shape[1])
    losses = []
    for step in range(steps):
        ahead = w + step / (step + 3) * (w - previous)
        loss, gradient = loss_and_grad(ahead)
        w, previous = ahead - rate * gradient, w
        losses.append(loss.item())
    exact = np.linalg.lstsq(np.array(x, np.float64), data.target, rcond=None)[0]
    r2 = 1 - mx.sum((x @ w - y) ** 2) / mx.sum((y - y.mean()) ** 2)
    return losses, r2.item(), np.abs(np.array(w) - exact).max() / np.abs(exact).max()


def logistic(steps: int, decay: float = 1e-3) -> tuple[list[float], list[float], float]:
    """Losses and lengths of the gradient, per step of Newton's method, and the accuracy on held-out data."""
    data = load_breast_cancer()
    split = train_test_split(data.data, data.target, test_size=0.25, random_state=SPLIT_SEED, stratify=data.target)
    x, test_x = standardized(split[0], split[0]), standardized(split[1], split[0])
    y, test_y = mx.array(split[2]), mx.array(split[3])

    def loss_fn(w: mx.array) -> mx.array:
        logits = x @ w
        return mx.mean(mx.logaddexp(0, logits) - y * logits) + decay / 2 * mx.sum(w[:-1] ** 2)

    gradient_fn = mx.grad(loss_fn)

    def hessian(w: mx.array) -> mx.array:
        """Row i is the derivative of the gradient in direction i: all directions at once."""
        return mx.vmap(lambda direction: mx.jvp(gradient_fn, [w], [direction])[1][0])(mx.eye(len(w)))

    w = mx.zeros(x.shape[1])
    losses, lengths = [], []
    for _ in range(steps):
        gradient = gradient_fn(w)
        losses.append(loss_fn(w).item())
        lengths.append(mx.linalg.norm(gradient).item())
        w = w - mx.linalg.solve(hessian(w), gradient, stream=mx.cpu)
    accuracy = mx.mean((test_x @ w > 0) == (test_y == 1)).item()
    return losses, lengths, accuracy


def main(argv: list[str] | None = None) -> dict[str, float]:
    args = parse(make_parser(__doc__), argv)
    losses, r2, error = linear(steps=3000)
    print(f"linear: loss {losses[0]:.0f} -> {losses[-1]:.1f}, R^2 {r2:.4f}, off the exact weights by {error:.1e}")
    newton, lengths, accuracy = logistic(steps=12)
    print(f"logistic: loss {newton[0]:.3f} -> {newton[-1]:.4f}, gradient {lengths[-1]:.1e}, accuracy {accuracy:.1%}")
    draw_curves(args.output / "regression.png", {"length of the logistic gradient": np.log10(lengths)}, "log10", "step")
    expect(abs(r2 - 0.5177) < 1e-3 and error < 1e-2, f"R^2 {r2}, error {error}")
    expect(lengths[-1] < 1e-5 and accuracy > 0.95, f"gradient {lengths[-1]}, accuracy {accuracy}")
    return {"r2": r2, "error": error, "accuracy": accuracy}


if __name__ == "__main__":
    main()
