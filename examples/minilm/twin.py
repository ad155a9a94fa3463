"""The same model in PyTorch, from the same file: what embeddings, time and memory are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int = 384, hidden: int = 1536, heads: int = 12):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.attention_norm, self.output_norm = (nn.LayerNorm(width, 1e-12) for _ in range(2))

    def forward(self, x: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.output(y))
        return self.output_norm(x + self.down(F.gelu(self.up(x))))


class Twin(nn.Module):
    def __init__(self, blocks: int = 6, width: int = 384):
        super().__init__()
        self.words = nn.Embedding(30522, width)
        self.positions, self.segments = nn.Embedding(512, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(tokens) + self.positions.weight[: tokens.shape[1]] + self.segments.weight[0])
        for block in self.blocks:
            x = block(x, real[:, None, None, :])
        weight = real[..., None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1), dim=-1)


def load_twin(folder: Path) -> Twin:
    import mlx.core as mx
    from model import rename

    weights = {}
    for name, value in mx.load(str(folder / "model.safetensors")).items():
        if not name.startswith(("pooler.", "embeddings.position_ids")):
            new = rename(name).replace(".attention.", ".")
            weights[new] = torch.from_numpy(np.array(value))
    twin = Twin()
    twin.load_state_dict(weights)
    return twin.eval()


class LowRank(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, scale: float):
        super().__init__()
        self.linear, self.scale = linear, scale
        self.down = nn.Parameter(torch.randn(linear.in_features, rank) * linear.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(rank, linear.out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.scale * ((x @ self.down) @ self.up)


def low_rank(linear: nn.Linear, rank: int = 8, scale: float = 2.0) -> LowRank:
    return LowRank(linear, rank, scale)
