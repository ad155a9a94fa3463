"""Models that make images. generative_torch.py has the same programs."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from common import Program
from side_mlx import adam, channels, forward, mean_squared_error, normal, training, uniform


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, inputs, pytorch_compatible=True), nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.norm2, self.conv2 = nn.GroupNorm(8, outputs, pytorch_compatible=True), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def __call__(self, x: mx.array) -> mx.array:
        y = self.conv1(nn.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(nn.silu(self.norm2(y)))


class UNet(nn.Module):
    """The network of a diffusion model: two scales down and up again, arXiv:1505.04597."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)
        self.down1, self.shrink1 = ResidualBlock(width, width), nn.Conv2d(width, width, 3, 2, 1)
        self.down2, self.shrink2 = ResidualBlock(width, 2 * width), nn.Conv2d(2 * width, 2 * width, 3, 2, 1)
        self.middle = ResidualBlock(2 * width, 2 * width)
        self.grow = nn.Upsample(2, mode="nearest")
        self.up2, self.up1 = ResidualBlock(4 * width, width), ResidualBlock(2 * width, width)

    def __call__(self, x: mx.array) -> mx.array:
        large = self.down1(self.first(x))
        small = self.down2(self.shrink1(large))
        y = self.middle(self.shrink2(small))
        y = self.up2(mx.concatenate([self.grow(y), small], -1))
        y = self.up1(mx.concatenate([self.grow(y), large], -1))
        return self.last(y)


def unet_forward(batch: int, size: int, dtype: str = "float32") -> Program:
    return forward(UNet(), channels(batch, size, size, 3), dtype=dtype)


def unet_step(batch: int, size: int, dtype: str = "float32") -> Program:
    images, targets = channels(batch, size, size, 3), channels(batch, size, size, 3)
    return training(UNet(), mean_squared_error, adam(1e-4), images, targets, dtype=dtype)


class Generator(nn.Module):
    """The generator of DCGAN, arXiv:1511.06434: 100 numbers become an image of 64 x 64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(100, 4 * 4 * 8 * width)
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(8 * width, 4 * width, 4, 2, 1),
            nn.BatchNorm(4 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
            nn.BatchNorm(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.BatchNorm(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def __call__(self, latent: mx.array) -> mx.array:
        return self.layers(nn.relu(self.first(latent)).reshape(-1, 4, 4, 8 * self.width))


def dcgan_forward(batch: int, dtype: str = "float32") -> Program:
    return forward(Generator(), normal(batch, 100), dtype=dtype)


def dcgan_step(batch: int, dtype: str = "float32") -> Program:
    latent, targets = normal(batch, 100), channels(batch, 64, 64, 3)
    return training(Generator(), mean_squared_error, adam(1e-4), latent, targets, dtype=dtype)


class VariationalAutoencoder(nn.Module):
    """Auto-encoding variational Bayes, arXiv:1312.6114."""

    def __init__(self, pixels: int = 784, width: int = 400, latent: int = 20) -> None:
        super().__init__()
        self.encode = nn.Linear(pixels, width)
        self.mean, self.log_variance = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decode, self.logits = nn.Linear(latent, width), nn.Linear(width, pixels)

    def __call__(self, x: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        hidden = nn.relu(self.encode(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + mx.exp(0.5 * log_variance) * mx.random.normal(mean.shape)
        return self.logits(nn.relu(self.decode(z))), mean, log_variance


def vae_step(batch: int) -> Program:
    def loss(model: nn.Module, images: mx.array) -> mx.array:
        logits, mean, log_variance = model(images)
        reconstruction = nn.losses.binary_cross_entropy(logits, images, reduction="sum")
        divergence = -0.5 * mx.sum(1 + log_variance - mx.square(mean) - mx.exp(log_variance))
        return reconstruction + divergence

    return training(VariationalAutoencoder(), loss, adam(1e-3), uniform(batch, 784))
