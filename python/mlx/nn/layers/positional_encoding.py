"""Ways to tell attention where a token stands."""

from __future__ import annotations

import math

import mlx.core as mx

from .base import Module


class RoPE(Module):
    r"""Rotary position embedding: pairs of features turn by an angle that grows with the position.

    The pair :math:`i` at position :math:`m` turns by :math:`m \cdot scale \cdot base^{-2i / dims}`.

    Args:
      dims: how many of the first features take part.
      traditional: pairs are neighbours ``(2i, 2i + 1)``; otherwise ``(i, i + dims / 2)``, which is
        faster.
      base: of the frequencies.
      scale: of the positions.
    Source: RoFormer (Su et al. 2021), https://arxiv.org/abs/2104.09864.
    """

    def __init__(
        self, dims: int, traditional: bool = False, base: float = 10000, scale: float = 1.0
    ):
        super().__init__()
        self.dims = dims
        self.traditional = traditional
        self.base = base
        self.scale = scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x, offset: int = 0):
        """``(N, ..., L, D)`` with ``D >= dims``; the positions are ``offset`` to ``offset + L``.

        ``offset`` may also be an array with one offset per sample.
        """
        if x.ndim < 3 or x.shape[-1] < self.dims:
            raise ValueError(
                f"[RoPE] the input must have at least 3 dimensions, the last of size {self.dims} "
                f"or more, got shape {x.shape}"
            )
        return mx.fast.rope(
            x,
            self.dims,
            traditional=self.traditional,
            base=self.base,
            scale=self.scale,
            offset=offset,
        )


class SinusoidalPositionalEncoding(Module):
    r"""Sines and cosines of the position at ``dims / 2`` frequencies in geometric progression.

    Args:
      dims: size of the encoding, even.
      min_freq: lowest frequency.
      max_freq: highest frequency.
      scale: factor of the result; ``None``: :math:`\sqrt{2 / dims}`, so that encodings have norm 1.
      cos_first: cosines before sines.
      full_turns: frequencies count full turns instead of radians.
    Raises:
      ValueError: ``dims`` is odd or not positive.
    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ):
        super().__init__()
        if dims <= 0 or dims % 2:
            raise ValueError(
                f"[SinusoidalPositionalEncoding] dims must be positive and even, got {dims}"
            )
        turn = 2 * math.pi if full_turns else 1.0
        count = dims // 2
        ratio = (min_freq / max_freq) ** (1 / max(count - 1, 1))
        # In double precision here: at position 10^4 a relative error of 1e-7 is an angle of 1e-3.
        # The underscore says that it is no parameter.
        self._sigmas = mx.array([turn * max_freq * ratio**i for i in range(count)])
        self.scale = math.sqrt(2 / dims) if scale is None else scale
        self.cos_first = cos_first

    def __call__(self, x):
        """Positions of any shape, ``(...)``, to ``(..., dims)``."""
        angles = mx.expand_dims(x, -1) * self._sigmas
        parts = [mx.sin(angles), mx.cos(angles)]
        y = mx.concatenate(parts[::-1] if self.cos_first else parts, axis=-1)
        return y if self.scale == 1 else y * self.scale


class ALiBi(Module):
    """Attention with linear biases: subtracts from scores in proportion to the distance.

    The proportion, ``slope``, differs between heads: a geometric progression from
    ``2 ** (-8 / heads)`` to ``2 ** -8``.

    Source: Press et al. 2021, https://arxiv.org/abs/2108.12409.
    """

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length: int,
        k_sequence_length: int,
        num_heads: int,
        offset: int = 0,
        dtype: mx.Dtype = mx.float32,
    ) -> mx.array:
        """The bias ``-slope * |i - j|`` of query ``i`` and key ``j``.

        Args:
          q_sequence_length: one more than the position of the last query.
          k_sequence_length: number of keys.
          num_heads: number of heads.
          offset: position of the first query.
          dtype: of the result.
        Returns:
          Shape ``(1, num_heads, q_sequence_length - offset, k_sequence_length)``.
        """
        queries = mx.arange(offset, q_sequence_length)
        keys = mx.arange(k_sequence_length)
        distance = mx.abs(queries[:, None] - keys[None, :]).astype(dtype)
        return -distance * ALiBi.create_alibi_slope(num_heads, dtype)[None]

    @staticmethod
    def create_alibi_slope(num_heads: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """The slopes, shape ``(num_heads, 1, 1)``.

        For a number of heads that is no power of two, the slopes of the power below it come first,
        then every other slope of twice that power.
        """
        power = 2 ** int(math.log2(num_heads))
        slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
        slopes += [2 ** (-4 * (2 * i + 1) / power) for i in range(num_heads - power)]
        return mx.array(slopes, dtype=dtype)[:, None, None]

    def __call__(
        self, attention_scores: mx.array, offset: int = 0, mask: mx.array | None = None
    ) -> mx.array:
        """Scores with the bias added, and the mask.

        Args:
          attention_scores: ``(N, heads, queries, keys)``.
          offset: position of the first query.
          mask: added too, or if it is boolean: where it is false, the score becomes ``-inf``.
        Raises:
          ValueError: the scores have another number of dimensions.
        """
        if attention_scores.ndim != 4:
            raise ValueError(
                f"[ALiBi] attention_scores must have the shape (N, heads, queries, keys), "
                f"got {attention_scores.shape}"
            )
        _, heads, queries, keys = attention_scores.shape
        bias = self.create_alibi_matrix(
            queries + offset, keys, heads, offset, attention_scores.dtype
        )
        scores = attention_scores + bias
        if mask is None:
            return scores
        if mask.dtype == mx.bool_:
            return mx.where(mask, scores, -math.inf)
        return scores + mask
