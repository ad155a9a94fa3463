"""An LSTM that reads Python's standard library byte by byte and predicts the next byte.

    python examples/lstm_text.py

Expected: from 5.5 nats per byte (log 256) to about 1.62 on text that it has not seen; `gpt/` does
better on the same text, with attention.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import compiled_step, draw_curves, expect, make_parser, parse, standard_library, training

State = list[tuple[mx.array, mx.array]]  # hidden and cell state of each layer


class Reader(nn.Module):
    """Bytes (batch, length) -> logits of the next byte (batch, length, 256), and where it stands."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, hidden)
        self.layers = [nn.LSTM(hidden, hidden) for _ in range(layers)]
        self.head = nn.Linear(hidden, 256)

    def __call__(self, tokens: mx.array, state: State | None = None) -> tuple[mx.array, State]:
        x, after = self.embed(tokens), []
        for i, layer in enumerate(self.layers):
            hidden, cell = layer(x, *state[i]) if state else layer(x)
            after.append((hidden[:, -1], cell[:, -1]))
            x = hidden
        return self.head(x), after


def loss_fn(model: Reader, inputs: mx.array, targets: mx.array) -> mx.array:
    return nn.losses.cross_entropy(model(inputs)[0], targets, reduction="mean")


def write(model: Reader, prompt: str, length: int, temperature: float = 0.7) -> str:
    """The prompt and ``length`` more bytes."""
    tokens, state, text = mx.array([list(prompt.encode())]), None, bytearray(prompt.encode())
    for _ in range(length):
        logits, state = model(tokens, state)
        tokens = mx.random.categorical(logits[:, -1] / temperature)[:, None]
        text.append(tokens.item())
    return text.decode("utf-8", "replace")


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--length", type=int, default=64, help="bytes per window")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parse(parser, argv, steps=60, hidden=64, layers=1, length=32, lr=1e-2)

    text = np.frombuffer(b"".join(standard_library(300_000 if args.quick else None).values()), np.uint8)
    text, unseen = np.split(text, [len(text) * 9 // 10])
    rng = np.random.default_rng(args.seed)

    def windows(part: np.ndarray, count: int) -> tuple[mx.array, mx.array]:
        starts = rng.integers(0, len(part) - args.length, count)
        chosen = part[starts[:, None] + np.arange(args.length + 1)]
        return mx.array(chosen[:, :-1]), mx.array(chosen[:, 1:])

    mx.random.seed(args.seed)
    model = Reader(args.hidden, args.layers)
    optimizer = optim.Adam(optim.cosine_decay(args.lr, args.steps))
    step = compiled_step(model, optimizer, loss_fn)

    held_out = windows(unseen, 256)
    before = loss_fn(model, *held_out).item()
    steps = training("LSTM", range(args.steps), step, lambda _: windows(text, args.batch_size))
    losses = [loss for _, loss, _ in steps]
    after = loss_fn(model, *held_out).item()
    print(f"held-out text: {before:.3f} -> {after:.3f} nats per byte")
    print(f"---\n{write(model, 'def ', 50 if args.quick else 400)}\n---")
    draw_curves(args.output / "lstm_text.png", {"training": losses}, ylabel="nats per byte")
    limit = 3.2 if args.quick else 1.75
    expect(after < limit < 5 < before, f"loss {before} -> {after}, expected below {limit}")
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
