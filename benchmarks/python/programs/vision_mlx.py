"""Classification of images, and their preparation. vision_torch.py has the same programs."""

from __future__ import annotations

import common
import mlx.core as mx
import mlx.nn as nn
from common import Program
from side_mlx import (
    adamw,
    array,
    channels,
    cross_entropy,
    forward,
    integers,
    mean_squared_error,
    normal,
    operation,
    sgd,
    training,
)

CLASSES = 1000


class Bottleneck(nn.Module):
    """Deep residual learning for image recognition, arXiv:1512.03385, with the stride at the 3x3 convolution."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm(middle)
        self.conv2, self.norm2 = nn.Conv2d(middle, middle, 3, stride, 1, bias=False), nn.BatchNorm(middle)
        self.conv3, self.norm3 = nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm(outputs))

    def __call__(self, x: mx.array) -> mx.array:
        y = nn.relu(self.norm1(self.conv1(x)))
        y = nn.relu(self.norm2(self.conv2(y)))
        return nn.relu(self.shortcut(x) + self.norm3(self.conv3(y)))


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        width, blocks = 64, []
        for stage, depth in enumerate((3, 4, 6, 3)):
            middle = 64 << stage
            for block in range(depth):
                blocks.append(Bottleneck(width, middle, 4 * middle, 2 if stage and block == 0 else 1))
                width = 4 * middle
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, CLASSES)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.pool(nn.relu(self.norm(self.conv(x))))
        return self.head(self.blocks(x).mean((1, 2)))


def resnet50_forward(batch: int, size: int, dtype: str = "float32") -> Program:
    return forward(ResNet50(), channels(batch, size, size, 3), dtype=dtype)


def resnet50_step(batch: int, size: int, dtype: str = "float32") -> Program:
    images, labels = channels(batch, size, size, 3), integers(CLASSES, batch)
    return training(ResNet50(), cross_entropy, sgd(0.01, momentum=0.9), images, labels, dtype=dtype)


class InvertedResidual(nn.Module):
    """MobileNetV2, arXiv:1801.04381."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = 6 * inputs
        self.residual = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm(middle),
            nn.ReLU6(),
            nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False),
            nn.BatchNorm(middle),
            nn.ReLU6(),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm(outputs),
        )

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.layers(x) if self.residual else self.layers(x)


STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))  # width, blocks, stride


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width, blocks = 32, []
        for outputs, depth, stride in STAGES:
            for block in range(depth):
                blocks.append(InvertedResidual(width, outputs, stride if block == 0 else 1))
                width = outputs
        stem = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm(32), nn.ReLU6()]
        self.layers = nn.Sequential(*stem, *blocks, nn.Conv2d(width, 1280, 1), nn.ReLU6())
        self.head = nn.Linear(1280, CLASSES)

    def __call__(self, x: mx.array) -> mx.array:
        return self.head(self.layers(x).mean((1, 2)))


def mobilenet_forward(batch: int, size: int, dtype: str = "float32") -> Program:
    return forward(MobileNet(), channels(batch, size, size, 3), dtype=dtype)


def mobilenet_step(batch: int, size: int) -> Program:
    images, labels = channels(batch, size, size, 3), integers(CLASSES, batch)
    return training(MobileNet(), cross_entropy, sgd(0.01, momentum=0.9), images, labels)


class ConvNeXtBlock(nn.Module):
    """A ConvNet for the 2020s, arXiv:2201.03545."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, 1, 3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = mx.ones((width,))

    def __call__(self, x: mx.array) -> mx.array:
        y = self.norm(self.depthwise(x))
        return x + self.scale * self.down(nn.gelu(self.up(y)))


def convnext() -> nn.Module:
    return nn.Sequential(*[ConvNeXtBlock(96) for _ in range(3)])


def convnext_forward(batch: int, size: int, dtype: str = "float32") -> Program:
    return forward(convnext(), channels(batch, size, size, 96), dtype=dtype)


def convnext_step(batch: int, size: int) -> Program:
    inputs, targets = channels(batch, size, size, 96), channels(batch, size, size, 96)
    return training(convnext(), mean_squared_error, adamw(1e-3), inputs, targets)


def prepare_images(batch: int) -> Program:
    """Bytes, cropped, mirrored, and normalised by mean and deviation of each channel."""

    def prepare(images: mx.array, mean: mx.array, deviation: mx.array) -> mx.array:
        cropped = images[:, 16:240, 16:240]
        return (cropped[:, :, ::-1].astype(mx.float32) / 255 - mean) / deviation

    images = array(common.integers(256, batch, 256, 256, 3, dtype=common.BYTE))
    return operation(prepare, images, normal(3), mx.abs(normal(3)) + 1)
