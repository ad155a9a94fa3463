"""Transformers and attention alone. transformers_torch.py has the same programs."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
from common import Program
from side_mlx import (
    adamw,
    channels,
    cross_entropy,
    forward,
    integers,
    mean_square,
    mean_squared_error,
    normal,
    operation,
    training,
)

CLASSES = 1000
VOCABULARY = 50257


def attend(q: mx.array, k: mx.array, v: mx.array, causal: bool) -> mx.array:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask="causal" if causal else None)


class Block(nn.Module):
    """Norms first, as in GPT-2 and in An image is worth 16x16 words, arXiv:2010.11929."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def __call__(self, x: mx.array) -> mx.array:
        batch, length, width = x.shape
        parts = mx.split(self.qkv(self.norm1(x)), 3, -1)
        q, k, v = (part.reshape(batch, length, self.heads, -1).swapaxes(1, 2) for part in parts)
        mixed = attend(q, k, v, self.causal)
        x = x + self.output(mixed.swapaxes(1, 2).reshape(batch, length, width))
        return x + self.down(nn.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """ViT-S of four blocks for images of 224 x 224, in 14 x 14 patches of 16 x 16."""

    def __init__(self, width: int = 384, heads: int = 6, depth: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.positions, self.first = mx.zeros((1, 1 + 14 * 14, width)), mx.zeros((1, 1, width))
        self.blocks = nn.Sequential(*[Block(width, heads, causal=False) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.patches(x).flatten(1, 2)
        first = mx.broadcast_to(self.first, (x.shape[0], 1, x.shape[-1]))
        x = self.blocks(mx.concatenate([first, x], 1) + self.positions)
        return self.head(self.norm(x[:, 0]))


def vit_forward(batch: int, dtype: str = "float32") -> Program:
    return forward(VisionTransformer(), channels(batch, 224, 224, 3), dtype=dtype)


def vit_step(batch: int, dtype: str = "float32") -> Program:
    images, labels = channels(batch, 224, 224, 3), integers(CLASSES, batch)
    return training(VisionTransformer(), cross_entropy, adamw(1e-3), images, labels, dtype=dtype)


class GPT2(nn.Module):
    """GPT-2 (small) with two blocks: the embedding is the output's weight as well."""

    def __init__(self, width: int = 768, heads: int = 12, depth: int = 2, context: int = 256) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads, causal=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def __call__(self, tokens: mx.array) -> mx.array:
        x = self.tokens(tokens) + self.positions(mx.arange(tokens.shape[1]))
        return self.tokens.as_linear(self.norm(self.blocks(x)))


def gpt2_forward(batch: int, length: int) -> Program:
    return forward(GPT2(), integers(VOCABULARY, batch, length))


def gpt2_step(batch: int, length: int, dtype: str = "float32") -> Program:
    tokens, labels = integers(VOCABULARY, batch, length), integers(VOCABULARY, batch, length)
    return training(GPT2(), cross_entropy, adamw(1e-4), tokens, labels, dtype=dtype)


class LlamaBlock(nn.Module):
    """Grouped queries, rotary positions (halves, arXiv:2104.09864) and a gated perceptron (arXiv:2002.05202)."""

    def __init__(self, width: int = 1024, heads: int = 16, groups: int = 4, hidden: int = 2816) -> None:
        super().__init__()
        head = width // heads
        self.heads, self.groups = heads, groups
        self.norm1, self.norm2 = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.query, self.output = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, groups * head, bias=False)
        self.value = nn.Linear(width, groups * head, bias=False)
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.rope = nn.RoPE(head)

    def __call__(self, x: mx.array) -> mx.array:
        batch, length, width = x.shape

        def split(layer: nn.Module, heads: int) -> mx.array:
            return layer(y).reshape(batch, length, heads, -1).swapaxes(1, 2)

        y = self.norm1(x)
        q, k, v = split(self.query, self.heads), split(self.key, self.groups), split(self.value, self.groups)
        mixed = attend(self.rope(q), self.rope(k), v, causal=length > 1)
        x = x + self.output(mixed.swapaxes(1, 2).reshape(batch, length, width))
        y = self.norm2(x)
        return x + self.down(nn.silu(self.gate(y)) * self.up(y))


def llama() -> nn.Module:
    return nn.Sequential(LlamaBlock(), LlamaBlock())


def llama_forward(length: int, dtype: str = "float32") -> Program:
    return forward(llama(), normal(1, length, 1024), dtype=dtype)


def llama_step(length: int, dtype: str = "float32") -> Program:
    inputs, targets = normal(1, length, 1024), normal(1, length, 1024)
    return training(llama(), mean_squared_error, adamw(1e-4), inputs, targets, dtype=dtype)


class Transformer(nn.Module):
    """The layer of the library, norms last as in Attention is all you need, arXiv:1706.03762; no masks."""

    def __init__(self, width: int = 256, heads: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.Transformer(width, heads, depth, depth, 4 * width, dropout=0.0, norm_first=False)

    def __call__(self, source: mx.array, target: mx.array) -> mx.array:
        return self.layers(source, target, None, None, None)


def transformer_step(batch: int, length: int, dtype: str = "float32") -> Program:
    source, target = normal(batch, length, 256), normal(batch, length, 256)
    return training(Transformer(), mean_square, adamw(1e-4), source, target, dtype=dtype)


def attention(shape: tuple[int, ...], causal: bool = False, dtype: str = "float32") -> Program:
    q, k, v = normal(*shape), normal(*shape), normal(*shape)
    return operation(lambda q, k, v: attend(q, k, v, causal), q, k, v, dtype=dtype)
