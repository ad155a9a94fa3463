"""Train a small vision transformer on handwritten digits, then fine-tune a part of it.

The digits (1797 images of 8 x 8 pixels) come with scikit-learn: nothing is downloaded. Without
flags the script trains, freezes everything but the attention of the last block and the head,
fine-tunes that on rotated digits and draws a picture. See README.md beside this file for more.

    python train_digits.py                   # train, fine-tune, draw
    python train_digits.py --train --resume  # go on with training that was interrupted
    python train_digits.py --finetune        # fine-tune the checkpoint of an earlier run
    python train_digits.py --quick           # a few seconds, for tests; accuracy does not matter
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import SPLIT_SEED, Log, add_curves, compiled_step, digits, make_parser, parse, training, warmup_cosine
from mlx.utils import tree_flatten
from scipy.ndimage import rotate

IMAGE, PATCH, CLASSES = 8, 2, 10
SIDE = IMAGE // PATCH  # patches along a side


# Data


@dataclass
class Digits:
    """Images (n, 8, 8) with values in [0, 1] and labels (n,), in two disjoint parts."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @classmethod
    def load(cls) -> Digits:
        train_x, test_x, train_y, test_y = digits()
        return cls(train_x, train_y, test_x, test_y)

    def rotated(self, largest_angle: float = 45.0) -> Digits:
        """The same split, each image turned by an angle of its own."""
        rng = np.random.default_rng(SPLIT_SEED)

        def turned(images: np.ndarray) -> np.ndarray:
            angles = rng.uniform(-largest_angle, largest_angle, len(images))
            pairs = zip(images, angles, strict=True)
            return np.stack([rotate(x, a, reshape=False, order=1) for x, a in pairs])

        return Digits(turned(self.train_images), self.train_labels, turned(self.test_images), self.test_labels)

    def batch(self, step: int, size: int, seed: int) -> tuple[mx.array, mx.array]:
        """The batch of a step: a function of its arguments alone, so resuming repeats nothing.

        Every epoch has its own order; images are shifted by up to one pixel.
        """
        per_epoch = len(self.train_labels) // size
        epoch, index = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(self.train_labels))
        chosen = order[index * size : (index + 1) * size]
        shifts = np.random.default_rng([seed, epoch, index]).integers(0, 3, (2, size))
        padded = np.pad(self.train_images[chosen], ((0, 0), (1, 1), (1, 1)))
        rows, columns = shifts[:, :, None] + np.arange(IMAGE)
        shifted = padded[np.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]]
        return mx.array(shifted), mx.array(self.train_labels[chosen])


# Model


class Attention(nn.Module):
    """Multi-head self-attention, (batch, tokens, dims) -> the same shape."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(dims // heads)
        self.query_key_value = nn.Linear(dims, 3 * dims)
        self.output = nn.Linear(dims, dims)

    def split(self, x: mx.array) -> list[mx.array]:
        """Queries, keys and values, each (batch, heads, tokens, dims / heads)."""
        batch, tokens, _ = x.shape
        qkv = self.query_key_value(x).reshape(batch, tokens, 3, self.heads, -1)
        return [part.squeeze(2).transpose(0, 2, 1, 3) for part in mx.split(qkv, 3, axis=2)]

    def __call__(self, x: mx.array) -> mx.array:
        q, k, v = self.split(x)
        mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.output(mixed.transpose(0, 2, 1, 3).reshape(x.shape))

    def maps(self, x: mx.array) -> mx.array:
        """How much each token looks at each other one, (batch, heads, tokens, tokens).

        The fused attention above never holds these numbers, so they are computed here.
        """
        q, k, _ = self.split(x)
        return mx.softmax(self.scale * q @ k.transpose(0, 1, 3, 2), axis=-1)


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attention = Attention(dims, heads)
        self.norm2 = nn.LayerNorm(dims)
        self.widen = nn.Linear(dims, 4 * dims)
        self.narrow = nn.Linear(4 * dims, dims)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.attention(self.norm1(x))
        return x + self.narrow(nn.gelu(self.widen(self.norm2(x))))


class DigitTransformer(nn.Module):
    """Images (batch, 8, 8) -> class scores (batch, 10). Token 0 gathers what the head reads."""

    def __init__(self, dims: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH * PATCH, dims)
        self.summary = mx.zeros((1, 1, dims))
        self.position = 0.5 * mx.random.normal((1, 1 + SIDE * SIDE, dims))
        self.blocks = [Block(dims, heads) for _ in range(depth)]
        self.norm = nn.LayerNorm(dims)
        self.head = nn.Linear(dims, CLASSES)

    def tokens(self, images: mx.array) -> mx.array:
        grid = images.reshape(-1, SIDE, PATCH, SIDE, PATCH).transpose(0, 1, 3, 2, 4)
        patches = self.embed(grid.reshape(-1, SIDE * SIDE, PATCH * PATCH))
        summary = mx.broadcast_to(self.summary, (len(images), 1, patches.shape[-1]))
        return mx.concatenate([summary, patches], axis=1) + self.position

    def __call__(self, images: mx.array) -> mx.array:
        x = self.tokens(images)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))

    def attention_maps(self, images: mx.array) -> mx.array:
        """Where the summary token of the last block looks: (batch, 4, 4), heads averaged."""
        x = self.tokens(images)
        for block in self.blocks[:-1]:
            x = block(x)
        last = self.blocks[-1]
        maps = last.attention.maps(last.norm1(x))
        return maps[:, :, 0, 1:].mean(axis=1).reshape(-1, SIDE, SIDE)


# Training


def loss_fn(model: DigitTransformer, images: mx.array, labels: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(images), labels, label_smoothing=0.1, reduction="mean")


def accuracy(model: DigitTransformer, digits: Digits) -> float:
    predicted = mx.argmax(model(mx.array(digits.test_images)), axis=1)
    return mx.mean(predicted == mx.array(digits.test_labels)).item()


def fit(
    name: str,
    model: DigitTransformer,
    digits: Digits,
    steps: int,
    learning_rate: float,
    args: argparse.Namespace,
) -> list[float]:
    """Train what is not frozen until step ``steps``; return the loss of every step."""
    schedule = warmup_cosine(learning_rate, steps, last=0.01)
    optimizer = optim.AdamW(schedule, weight_decay=0.05, bias_correction=True)
    optimizer.init(model.trainable_parameters())
    file = args.output / f"{name}.safetensors"
    losses = []
    if args.resume and file.exists():
        losses = nn.load_checkpoint(file, model, optimizer).extra["losses"]

    step_fn = compiled_step(model, optimizer, loss_fn)
    first = optimizer.step.item()
    last = min(steps, args.stop_at or steps)
    columns = ["loss", "learning_rate", "seconds"]
    log = Log(args.output / f"{name}.csv", columns, resume_at=first) if args.log else None
    for step, loss, seconds in training(
        name, range(first, last), step_fn, lambda step: digits.batch(step, args.batch_size, args.seed)
    ):
        losses.append(loss)
        if log:
            log.write(step, loss=loss, learning_rate=optimizer.learning_rate.item(), seconds=f"{seconds:.4f}")
        if (step + 1) % args.save_every == 0:
            nn.save_checkpoint(file, model, optimizer, step=step + 1, losses=losses)
    if log:
        log.close()
    nn.save_checkpoint(file, model, optimizer, step=optimizer.step.item(), losses=losses)
    return losses


def freeze_all_but_last_attention_and_head(model: DigitTransformer) -> None:
    model.freeze()
    model.blocks[-1].attention.unfreeze()
    model.head.unfreeze()


def frozen_bytes(model: nn.Module) -> dict[str, bytes]:
    """The frozen weights, bit for bit."""
    trainable = {path for path, _ in tree_flatten(model.trainable_parameters())}
    everything = tree_flatten(model.parameters())
    return {path: np.array(x).tobytes() for path, x in everything if path not in trainable}


def finetune(model: DigitTransformer, rotated: Digits, args: argparse.Namespace) -> list[float]:
    freeze_all_but_last_attention_and_head(model)
    before, frozen = accuracy(model, rotated), frozen_bytes(model)
    total = sum(x.size for _, x in tree_flatten(model.parameters()))
    trainable = sum(x.size for _, x in tree_flatten(model.trainable_parameters()))
    print(f"fine-tuning {trainable} of {total} parameters")

    losses = fit("finetune", model, rotated, args.finetune_steps, args.finetune_lr, args)
    if frozen_bytes(model) != frozen:
        raise RuntimeError("a frozen weight has changed")
    print(f"all {len(frozen)} frozen arrays are unchanged, bit for bit")
    print(f"accuracy on rotated digits: {before:.1%} before, {accuracy(model, rotated):.1%} after")
    return losses


# Picture


def draw(file: Path, model: DigitTransformer, digits: Digits, curves: dict[str, list[float]]) -> None:
    """Loss curves, predictions and attention maps for test images in ``file``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images, labels = digits.test_images[:16], digits.test_labels[:16]
    predicted = np.array(mx.argmax(model(mx.array(images)), axis=1))
    maps = np.array(model.attention_maps(mx.array(images)))

    figure = plt.figure(figsize=(13, 4.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.3, 1, 1])
    add_curves(left.subplots(), curves)

    middle.suptitle("Prediction (red: wrong)")
    for axes, image, guess, label in zip(middle.subplots(4, 4).flat, images, predicted, labels, strict=True):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(str(guess), color="black" if guess == label else "red", fontsize=9)
        axes.axis("off")

    right.suptitle("Where the last block looks")
    for axes, image, attention in zip(right.subplots(4, 4).flat, images, maps, strict=True):
        axes.imshow(image, cmap="gray_r")
        axes.imshow(np.kron(attention, np.ones((PATCH, PATCH))), cmap="inferno", alpha=0.6)
        axes.axis("off")
    figure.savefig(file, dpi=110)
    plt.close(figure)


# Command line


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--train", action="store_true", help="only train")
    add("--finetune", action="store_true", help="only fine-tune, from the checkpoint of a training")
    add("--resume", action="store_true", help="continue from the checkpoints where there are any")
    add("--steps", type=int, default=1500, help="training steps")
    add("--finetune-steps", type=int, default=400)
    add("--stop-at", type=int, help="stop at this step as if interrupted")
    add("--save-every", type=int, default=200, help="steps between checkpoints")
    add("--log", action="store_true", help="write every step to train.csv and finetune.csv, and for TensorBoard")
    add("--batch-size", type=int, default=64)
    add("--lr", type=float, default=3e-3, help="peak learning rate of the training")
    add("--finetune-lr", type=float, default=3e-3)
    args = parse(parser, argv, steps=12, finetune_steps=6, batch_size=32)
    if args.train and args.finetune:
        parser.error("--train and --finetune exclude each other; leave both out to do both")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    mx.random.seed(args.seed)
    model = DigitTransformer(dims=16, heads=2, depth=2) if args.quick else DigitTransformer()
    digits, curves = Digits.load(), {}

    if args.finetune:
        curves["train"] = nn.load_checkpoint(args.output / "train.safetensors", model).extra["losses"]
    else:
        start = time.perf_counter()
        curves["train"] = fit("train", model, digits, args.steps, args.lr, args)
        seconds = time.perf_counter() - start
        print(f"accuracy on test digits: {accuracy(model, digits):.1%} ({seconds:.0f} s)")
    if not args.train:
        digits = digits.rotated()
        curves["finetune"] = finetune(model, digits, args)
    draw(args.output / "digits.png", model, digits, curves)
    print(f"picture: {args.output / 'digits.png'}")


if __name__ == "__main__":
    main()
