"""Attention and transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from ._errors import broadcasts
from .activations import relu
from .base import Module
from .dropout import Dropout
from .linear import Linear
from .normalization import LayerNorm


class MultiHeadAttention(Module):
    r"""Scaled dot-product attention with several heads.

    In each head queries attend to keys and average values:
    :math:`softmax(Q K^T / \sqrt{d}) V`, with :math:`d` features per head. Queries, keys, values and
    the result go through the linear layers ``query_proj``, ``key_proj``, ``value_proj`` and
    ``out_proj``.

    Args:
      dims: features of all heads together, divisible by ``num_heads``.
      num_heads: number of heads.
      query_input_dims: features of the queries; ``None``: ``dims``.
      key_input_dims: features of the keys; ``None``: ``dims``.
      value_input_dims: features of the values; ``None``: those of the keys.
      value_dims: features of the values after their projection; ``None``: ``dims``.
      value_output_dims: features of the output; ``None``: ``dims``.
      bias: whether the linear layers have one.
    Raises:
      ValueError: ``dims`` or ``value_dims`` is not divisible by ``num_heads``.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
    ):
        super().__init__()
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        if dims % num_heads or value_dims % num_heads:
            raise ValueError(
                f"[MultiHeadAttention] dims ({dims}) and value_dims ({value_dims}) must be "
                f"divisible by num_heads ({num_heads})"
            )
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias)
        self.key_proj = Linear(key_input_dims, dims, bias=bias)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias)

    def __call__(self, queries, keys, values, mask=None):
        """Attend.

        Args:
          queries: ``(N, L, query_input_dims)``.
          keys: ``(N, S, key_input_dims)``.
          values: ``(N, S, value_input_dims)``.
          mask: ``None``, ``"causal"``, or an array that broadcasts to ``(N, num_heads, L, S)``:
            boolean (false: do not attend) or added to the scores.
        Returns:
          ``(N, L, value_output_dims)``.
        Raises:
          ValueError: other shapes.
        """
        for name, x in (("queries", queries), ("keys", keys), ("values", values)):
            if x.ndim != 3:
                raise ValueError(
                    f"[MultiHeadAttention] {name} must have the shape (N, length, features), "
                    f"got {x.shape}"
                )
        for name, x in (("keys", keys), ("values", values)):
            if x.shape[0] != queries.shape[0] or x.shape[1] != keys.shape[1]:
                raise ValueError(
                    f"[MultiHeadAttention] {name} must have the shape ({queries.shape[0]}, "
                    f"{keys.shape[1]}, features), for queries with shape {queries.shape} and keys "
                    f"with shape {keys.shape}, got {x.shape}"
                )
        scores = (queries.shape[0], self.num_heads, queries.shape[1], keys.shape[1])
        if isinstance(mask, mx.array) and not broadcasts(mask.shape, scores):
            raise ValueError(
                f"[MultiHeadAttention] the mask must broadcast to (N, num_heads, L, S) = {scores}, "
                f"got {mask.shape}"
            )

        def by_head(x: mx.array) -> mx.array:  # (N, L, D) to (N, heads, L, D / heads)
            return mx.unflatten(x, -1, (self.num_heads, -1)).transpose(0, 2, 1, 3)

        queries = by_head(self.query_proj(queries))
        keys = by_head(self.key_proj(keys))
        values = by_head(self.value_proj(values))
        scale = math.sqrt(1 / queries.shape[-1])
        y = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
        return self.out_proj(y.transpose(0, 2, 1, 3).flatten(-2, -1))

    @staticmethod
    def create_additive_causal_mask(N: int, dtype: mx.Dtype = mx.float32):
        """``(N, N)``: 0 on and below the diagonal, the most negative finite number above."""
        positions = mx.arange(N)
        future = positions[:, None] < positions[None, :]
        return mx.where(future, mx.array(mx.finfo(dtype).min, dtype), mx.array(0, dtype))


class TransformerEncoderLayer(Module):
    """Self-attention, then a network of two linear layers; both with a skip connection.

    ``x += attention(ln1(x))``, then ``x += linear2(activation(linear1(ln2(x))))``; without
    ``norm_first``: ``x = ln1(x + attention(x))`` and so on.

    Args:
      dims: features.
      num_heads: attention heads.
      mlp_dims: hidden features of the network; ``None``: ``4 * dims``.
      dropout: probability of dropout after the attention and after the activation.
      activation: between the two linear layers.
      norm_first: normalize the input of each of the two parts, or else the sum after it.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x, mask):
        """``x``: ``(N, L, dims)``; ``mask``: as in :class:`MultiHeadAttention`."""

        def attend(x: mx.array) -> mx.array:
            return self.dropout1(self.attention(x, x, x, mask))

        def transform(x: mx.array) -> mx.array:
            return self.linear2(self.dropout2(self.activation(self.linear1(x))))

        if self.norm_first:
            x = x + attend(self.ln1(x))
            return x + transform(self.ln2(x))
        x = self.ln1(x + attend(x))
        return self.ln2(x + transform(x))


class TransformerEncoder(Module):
    """A stack of :class:`TransformerEncoderLayer`, then a :class:`LayerNorm`.

    Args:
      num_layers: number of layers.
      dims: features.
      num_heads: attention heads.
      mlp_dims: hidden features of the layers' networks; ``None``: ``4 * dims``.
      dropout: probability of dropout.
      activation: of the layers' networks.
      norm_first: see :class:`TransformerEncoderLayer`.
      checkpoint: save memory in training: keep only the layers' inputs and compute the rest a
        second time for the gradient.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation=relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        self.layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x, mask):
        """``x``: ``(N, L, dims)``; ``mask``: as in :class:`MultiHeadAttention`."""
        for layer in self.layers:
            x = _maybe_checkpointed(layer, self.checkpoint)(x, mask)
        return self.ln(x)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to a memory and a network, each with a skip connection.

    ``x += self_attention(ln1(x))``, ``x += cross_attention(ln2(x), memory)``, then
    ``x += linear2(activation(linear1(ln3(x))))``; without ``norm_first`` each ``ln`` follows.

    Args:
      dims: features.
      num_heads: attention heads.
      mlp_dims: hidden features of the network; ``None``: ``4 * dims``.
      dropout: probability of dropout after each attention and after the activation.
      activation: between the two linear layers.
      norm_first: normalize the input of each of the three parts, or else the sum after it.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x, memory, x_mask, memory_mask):
        """``x``: ``(N, L, dims)``; ``memory``: ``(N, S, dims)``; a mask for attention to each."""

        def attend(x: mx.array) -> mx.array:
            return self.dropout1(self.self_attention(x, x, x, x_mask))

        def consult(x: mx.array) -> mx.array:
            return self.dropout2(self.cross_attention(x, memory, memory, memory_mask))

        def transform(x: mx.array) -> mx.array:
            return self.linear2(self.dropout3(self.activation(self.linear1(x))))

        if self.norm_first:
            x = x + attend(self.ln1(x))
            x = x + consult(self.ln2(x))
            return x + transform(self.ln3(x))
        x = self.ln1(x + attend(x))
        x = self.ln2(x + consult(x))
        return self.ln3(x + transform(x))


class TransformerDecoder(Module):
    """A stack of :class:`TransformerDecoderLayer`, then a :class:`LayerNorm`.

    Args:
      num_layers: number of layers.
      dims: features.
      num_heads: attention heads.
      mlp_dims: hidden features of the layers' networks; ``None``: ``4 * dims``.
      dropout: probability of dropout.
      activation: of the layers' networks.
      norm_first: see :class:`TransformerDecoderLayer`.
      checkpoint: save memory in training, see :class:`TransformerEncoder`.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation=relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        self.layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x, memory, x_mask, memory_mask):
        """``x``: ``(N, L, dims)``; ``memory``: ``(N, S, dims)``; a mask for attention to each."""
        for layer in self.layers:
            x = _maybe_checkpointed(layer, self.checkpoint)(x, memory, x_mask, memory_mask)
        return self.ln(x)


class Transformer(Module):
    """An encoder and a decoder that attends to what the encoder makes of the source.

    Args:
      dims: features.
      num_heads: attention heads.
      num_encoder_layers: layers of the encoder.
      num_decoder_layers: layers of the decoder.
      mlp_dims: hidden features of the layers' networks; ``None``: ``4 * dims``.
      dropout: probability of dropout.
      activation: of the layers' networks.
      custom_encoder: used in place of the encoder, called with ``src, src_mask``.
      custom_decoder: used in place of the decoder, called with
        ``tgt, memory, tgt_mask, memory_mask``.
      norm_first: see :class:`TransformerEncoderLayer`.
      checkpoint: save memory in training, see :class:`TransformerEncoder`.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        rest = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        # Not "or": a module without parameters and submodules is an empty, hence false, dict.
        if custom_encoder is None:
            custom_encoder = TransformerEncoder(num_encoder_layers, *rest)
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(num_decoder_layers, *rest)
        self.encoder = custom_encoder
        self.decoder = custom_decoder

    def __call__(self, src, tgt, src_mask, tgt_mask, memory_mask):
        """Source ``(N, S, dims)`` and target ``(N, L, dims)`` to ``(N, L, dims)``.

        The masks are for attention within the source, within the target and from target to source;
        see :class:`MultiHeadAttention`.
        """
        memory = self.encoder(src, src_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask)


def _maybe_checkpointed(layer: Module, checkpoint: bool) -> Callable:
    if not checkpoint:
        return layer
    from ..utils import checkpoint as checkpointed

    return checkpointed(layer)
