"""A GPT over bytes: rotary positions, RMS norms, gated MLPs, one table for input and output.

x = embed(bytes)
x = x + attention(norm(x)),  x = x + mlp(norm(x))      in every block
logits = norm(x) @ embed.weight.T
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import mlx.core as mx
import mlx.nn as nn

VOCABULARY = 256


@dataclass(frozen=True)
class Config:
    dims: int = 192
    heads: int = 6
    blocks: int = 4
    context: int = 192  # longest text seen in training
    dropout: float = 0.1

    def as_dict(self) -> dict[str, int | float]:
        return asdict(self)


class Cache:
    """Keys and values of the bytes so far, of one block. Grows by ``step`` places at a time."""

    step = 256

    def __init__(self) -> None:
        self.keys: mx.array | None = None
        self.values: mx.array | None = None
        self.length = 0

    def extend(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append (batch, heads, new, dims) and return everything so far."""
        end = self.length + keys.shape[2]
        if self.keys is None or end > self.keys.shape[2]:
            room = -(-end // self.step) * self.step - self.length
            self.keys = self._with_room(self.keys, keys, room)
            self.values = self._with_room(self.values, values, room)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _with_room(self, old: mx.array | None, new: mx.array, room: int) -> mx.array:
        empty = mx.zeros((*new.shape[:2], room, new.shape[3]), new.dtype)
        return empty if old is None else mx.concatenate([old[:, :, : self.length], empty], axis=2)


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = (config.dims // config.heads) ** -0.5
        self.query_key_value = nn.Linear(config.dims, 3 * config.dims, bias=False)
        self.output = nn.Linear(config.dims, config.dims, bias=False)
        self.rope = nn.RoPE(config.dims // config.heads)

    def __call__(self, x: mx.array, cache: Cache | None = None) -> mx.array:
        batch, length, dims = x.shape
        qkv = self.query_key_value(x).reshape(batch, length, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        start = cache.length if cache else 0
        q, k, v = self.rope(qkv[0], offset=start), self.rope(qkv[1], offset=start), qkv[2]
        if cache is not None:
            k, v = cache.extend(k, v)
        mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=self.scale, mask="causal" if length > 1 else None)
        return self.output(mixed.transpose(0, 2, 1, 3).reshape(batch, length, dims))


class MLP(nn.Module):
    """``down(silu(gate(x)) * up(x))``, arXiv:2002.05202. Gate and up are one matrix."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        hidden = 8 * config.dims // 3 // 64 * 64 or 64  # as many weights as 4 * dims without a gate
        self.gate_up = nn.Linear(config.dims, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, config.dims, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        gate, up = mx.split(self.gate_up(x), 2, axis=-1)
        return self.down(nn.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.dims)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.dims)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def __call__(self, x: mx.array, cache: Cache | None = None) -> mx.array:
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class GPT(nn.Module):
    """Bytes (batch, length) -> logits of the next byte (batch, length, 256)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(VOCABULARY, config.dims)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = [Block(config) for _ in range(config.blocks)]
        self.norm = nn.RMSNorm(config.dims)
        # The table is the output layer, too: its rows must not be long, or the first logits are large.
        self.embed.weight = 0.02 * mx.random.normal(self.embed.weight.shape)

    def __call__(self, tokens: mx.array, caches: list[Cache] | None = None) -> mx.array:
        x = self.dropout(self.embed(tokens))
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None)
        return self.embed.as_linear(self.norm(x))


def loss_fn(model: nn.Module, inputs: mx.array, targets: mx.array) -> mx.array:
    """Mean of -log p(next byte), in nats."""
    return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")


def generate(model: GPT, prompt: bytes, length: int, temperature: float = 0.8) -> Iterator[int]:
    """``length`` bytes that follow the prompt, one at a time; each costs one byte of computation.

    The model has learnt no positions beyond its context. There, it starts again from the last half
    of it, so a byte follows from at least half a context. ``temperature`` 0 takes the likeliest
    byte. The model must be in evaluation mode.
    """
    context = model.config.context
    text = bytearray(prompt or b"\n")
    caches, unread = [Cache() for _ in model.blocks], text[-context:]
    for _ in range(length):
        logits = model(mx.array([list(unread)]), caches)[:, -1]
        choice = mx.random.categorical(logits / temperature) if temperature > 0 else mx.argmax(logits, axis=-1)
        text.append(int(choice.item()))
        yield text[-1]
        unread = text[-1:]
        if caches[0].length == context:
            caches, unread = [Cache() for _ in model.blocks], text[-(context // 2) :]


def count(tree: dict) -> int:
    """Numbers in a tree of parameters."""
    from mlx.utils import tree_flatten

    return sum(array.size for _, array in tree_flatten(tree))
