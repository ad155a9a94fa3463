"""A residual network (arXiv:1512.03385, for small images) with batch normalization.

    python examples/resnet.py               # ResNet-14 on digits of 16 x 16 pixels

The digits of scikit-learn are doubled in size and moved by up to two pixels, so that the network
has the room for its three stages: 16 x 16, 8 x 8 and 4 x 4 pixels.

Expected: 99 % of the 450 held-out digits.
"""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, batches, digits, draw_curves, expect, make_parser, parse


class Block(nn.Module):
    """``relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))``"""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm(outputs)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm(outputs)
            )

    def __call__(self, x: mx.array) -> mx.array:
        y = nn.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nn.relu(y + (self.shortcut(x) if "shortcut" in self else x))


class ResNet(nn.Module):
    """Images (n, height, width, 1) -> class scores (n, 10). Depth is 6 * blocks + 2."""

    def __init__(self, blocks: int = 2, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm(width)
        sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.stages = [
            nn.Sequential(Block(i, o, stride), *(Block(o, o, 1) for _ in range(blocks - 1))) for i, o, stride in sizes
        ]
        self.head = nn.Linear(4 * width, 10)

    def __call__(self, x: mx.array) -> mx.array:
        x = nn.relu(self.norm(self.stem(x)))
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(axis=(1, 2)))


def loss_fn(model: ResNet, images: mx.array, labels: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(images), labels, label_smoothing=0.1, reduction="mean")


def doubled(images: np.ndarray) -> np.ndarray:
    return np.kron(images, np.ones((2, 2), np.float32))[..., None]


def moved(images: np.ndarray, rng: np.random.Generator, by: int = 2) -> np.ndarray:
    """Each image moved by up to ``by`` pixels in both directions, with zeros coming in."""
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)))
    rows, columns = rng.integers(0, 2 * by + 1, (2, n, 1))
    rows, columns = rows + np.arange(height), columns + np.arange(width)
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def accuracy(model: ResNet, images: mx.array, labels: mx.array) -> float:
    model.eval()  # running statistics in place of those of the batch
    predicted = mx.argmax(model(images), axis=1)
    model.train()
    return mx.mean(predicted == labels).item()


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--blocks", type=int, default=2, help="per stage; the depth is 6 * blocks + 2")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.2)
    args = parse(parser, argv, blocks=1, epochs=4)

    train_x, test_x, train_y, test_y = digits()
    train_x, test_images, test_labels = doubled(train_x), mx.array(doubled(test_x)), mx.array(test_y)
    mx.random.seed(args.seed)
    model = ResNet(args.blocks, args.width)
    steps = args.epochs * (len(train_x) // args.batch_size)
    schedule = optim.join_schedules(
        [optim.linear_schedule(0.0, args.lr, steps // 10), optim.cosine_decay(args.lr, steps - steps // 10)],
        [steps // 10],
    )
    optimizer = optim.SGD(schedule, momentum=0.9, weight_decay=5e-4, nesterov=True)
    state = [model.state, optimizer.state]  # the running statistics are in model.state

    @partial(mx.compile, inputs=state, outputs=state)
    def step_fn(images: mx.array, labels: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, images, labels)
        optimizer.update(model, gradients)
        return loss

    losses, accuracies = [], []
    for epoch in (progress := Progress(range(args.epochs), f"ResNet-{6 * args.blocks + 2}", "epoch")):
        rng = np.random.default_rng([args.seed, epoch, 1])
        for chosen in batches(len(train_x), args.batch_size, args.seed, epoch):
            loss = step_fn(mx.array(moved(train_x[chosen], rng)), mx.array(train_y[chosen]))
            mx.eval(loss, state)
            losses.append(loss.item())
        accuracies.append(accuracy(model, test_images, test_labels))
        progress.show(loss=losses[-1], accuracy=accuracies[-1])
    print(f"{accuracies[-1]:.1%} of the held-out digits")
    draw_curves(args.output / "resnet.png", {"loss": losses})
    floor = 0.9 if args.quick else 0.97
    expect(accuracies[-1] > floor, f"accuracy {accuracies[-1]}, expected above {floor}")
    return {"first_loss": losses[0], "last_loss": losses[-1], "accuracy": accuracies[-1]}


if __name__ == "__main__":
    main()
