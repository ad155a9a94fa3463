"""A variational autoencoder (arXiv:1312.6114) on handwritten digits.

    python examples/vae.py

Pixels are probabilities of ink. What is minimized is -log p(x | z) + KL(q(z | x) || N(0, 1)) for
z drawn from q: an upper bound of -log p(x). The picture shows digits, what the model makes of them,
and digits that it makes up.

Expected: from 44 nats per image (all pixels 0.5: 64 log 2) to about 24.3 on held-out digits.
"""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from common import Progress, add_curves, batches, digits, expect, make_parser, parse, picture, show_images

PIXELS = 64


class VAE(nn.Module):
    def __init__(self, hidden: int = 256, latent: int = 8) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(PIXELS, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, PIXELS))

    def encode(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Mean and log variance of q(z | x), (n, latent) each."""
        mean, log_variance = mx.split(self.encoder(x), 2, axis=-1)
        return mean, log_variance

    def bound(self, x: mx.array) -> mx.array:
        """An estimate of the bound for each image (n, 64), with one sample of z."""
        mean, log_variance = self.encode(x)
        z = mean + mx.exp(log_variance / 2) * mx.random.normal(mean.shape)
        logits = self.decoder(z)
        reconstruction = mx.sum(mx.logaddexp(0, logits) - x * logits, axis=-1)
        divergence = 0.5 * mx.sum(mean**2 + mx.exp(log_variance) - 1 - log_variance, axis=-1)
        return reconstruction + divergence


def loss_fn(model: VAE, x: mx.array) -> mx.array:
    return model.bound(x).mean()


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = make_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parse(parser, argv, epochs=8)

    train_x, test_x, _, _ = digits()
    train_x, test_x = train_x.reshape(-1, PIXELS), mx.array(test_x.reshape(-1, PIXELS))
    mx.random.seed(args.seed)
    model = VAE()
    steps = args.epochs * (len(train_x) // args.batch_size)
    optimizer = optim.Adam(optim.cosine_decay(args.lr, steps))
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step_fn(x: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_fn)(model, x)
        optimizer.update(model, gradients)
        return loss

    before = loss_fn(model, test_x).item()
    losses = []
    for epoch in (progress := Progress(range(args.epochs), "VAE", "epoch")):
        for chosen in batches(len(train_x), args.batch_size, args.seed, epoch):
            loss = step_fn(mx.array(train_x[chosen]))
            mx.eval(loss, state)
            losses.append(loss.item())
        progress.show(loss=losses[-1])
    after = mx.mean(mx.stack([loss_fn(model, test_x) for _ in range(20)])).item()
    print(f"bound on held-out digits: {before:.2f} -> {after:.2f} nats per image")

    mean, _ = model.encode(test_x[:10])
    made_up = model.decoder(mx.random.normal((10, model.latent)))
    rows = [test_x[:10], mx.sigmoid(model.decoder(mean)), mx.sigmoid(made_up)]
    with picture(args.output / "vae.png", rows=3, columns=10, width=0.9, height=0.9) as axes:
        show_images(axes.flat, np.array(mx.concatenate(rows)).reshape(-1, 8, 8), vmin=0, vmax=1)
    with picture(args.output / "vae_loss.png") as ((axes,),):
        add_curves(axes, {"training": losses}, ylabel="nats per image")
    limit = 32 if args.quick else 25
    expect(after < limit < 40 < before, f"bound {before} -> {after}, expected below {limit}")
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
