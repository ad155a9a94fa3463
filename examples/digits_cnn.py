"""An MLP and a small CNN on handwritten digits (scikit-learn's, 8 x 8 pixels).

    python examples/digits_cnn.py               # both
    python examples/digits_cnn.py --model cnn

Expected: about 98 % of the 450 held-out digits with either.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, batches, digits, draw_curves, expect, make_parser, parse


class MLP(nn.Module):
    """Images (n, 8, 8) -> class scores (n, 10)."""

    def __init__(self, hidden: int = 128) -> None:
        super().__init__()
        self.layers = [nn.Linear(64, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 10)]
        self.dropout = nn.Dropout(0.2)

    def __call__(self, x: mx.array) -> mx.array:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.dropout(nn.relu(layer(x)))
        return self.layers[-1](x)


class CNN(nn.Module):
    """Two pairs of 3 x 3 convolutions, each pair halves the image: 8 -> 4 -> 2 pixels a side."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        sizes = [1, channels, channels, 2 * channels, 2 * channels]
        self.convs = [nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(sizes)]
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * channels * 4, 10)

    def __call__(self, x: mx.array) -> mx.array:
        x = x[..., None]  # channels last
        for i, conv in enumerate(self.convs):
            x = nn.relu(conv(x))
            if i % 2:
                x = self.pool(x)
        return self.head(self.dropout(x.flatten(1)))


MODELS = {"mlp": MLP, "cnn": CNN}


def loss_fn(model: nn.Module, images: mx.array, labels: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(images), labels, reduction="mean")


def train(name: str, epochs: int, batch_size: int, rate: float, seed: int) -> tuple[list[float], float]:
    """The loss of every step and the accuracy on held-out digits."""
    train_x, test_x, train_y, test_y = digits()
    mx.random.seed(seed)
    model = MODELS[name]()
    per_epoch = len(train_x) // batch_size
    optimizer = optim.Adam(optim.cosine_decay(rate, epochs * per_epoch))
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step_fn(images: mx.array, labels: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, images, labels)
        optimizer.update(model, gradients)
        return loss

    losses = []
    for epoch in (progress := Progress(range(epochs), name, "epoch")):
        for chosen in batches(len(train_x), batch_size, seed, epoch):
            loss = step_fn(mx.array(train_x[chosen]), mx.array(train_y[chosen]))
            mx.eval(loss, state)
            losses.append(loss.item())
        progress.show(loss=np.mean(losses[-per_epoch:]))
    model.eval()
    correct = mx.argmax(model(mx.array(test_x)), axis=1) == mx.array(test_y)
    return losses, mx.mean(correct).item()


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=["both", *MODELS], default="both")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parse(parser, argv, epochs=4)
    curves, accuracies = {}, {}
    for name in MODELS if args.model == "both" else [args.model]:
        curves[name], accuracies[name] = train(name, args.epochs, args.batch_size, args.lr, args.seed)
        print(f"{name}: {accuracies[name]:.1%} of the held-out digits")
        floor = 0.85 if args.quick else 0.96
        expect(accuracies[name] > floor, f"{name}: accuracy {accuracies[name]}, expected above {floor}")
    draw_curves(args.output / "digits_cnn.png", curves)
    return accuracies


if __name__ == "__main__":
    main()
