"""Sound, text and the choice of the next token. sequences_torch.py has the same programs."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import Program
from side_mlx import (
    adam,
    array,
    channels,
    cross_entropy,
    forward,
    integers,
    mean_square,
    mean_squared_error,
    normal,
    operation,
    sgd,
    training,
)

VOCABULARY = 10_000


class TemporalConvolutions(nn.Module):
    """Residual dilated convolutions, arXiv:1803.01271."""

    def __init__(self, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        self.layers = [nn.Conv1d(width, width, 3, 1, 1 << k, 1 << k) for k in range(depth)]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = x + mx.tanh(layer(x))
        return x


def tcn_forward(batch: int, length: int) -> Program:
    return forward(TemporalConvolutions(), channels(batch, length, 64))


def tcn_step(batch: int, length: int, dtype: str = "float32") -> Program:
    inputs, targets = channels(batch, length, 64), channels(batch, length, 64)
    return training(TemporalConvolutions(), mean_squared_error, adam(1e-4), inputs, targets, dtype=dtype)


class WaveEncoder(nn.Module):
    """The convolutions of wav2vec 2.0, arXiv:2006.11477, half as wide, without norms: 320 samples to a frame."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        shapes = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2)]  # kernel, stride
        self.layers = [nn.Conv1d(width if i else 1, width, *shape) for i, shape in enumerate(shapes)]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = nn.gelu(layer(x))
        return x


def wav2vec_forward(batch: int, dtype: str = "float32") -> Program:
    return forward(WaveEncoder(), channels(batch, 16_000, 1), dtype=dtype)


def wav2vec_step(batch: int, dtype: str = "float32") -> Program:
    return training(WaveEncoder(), mean_square, adam(1e-4), channels(batch, 16_000, 1), dtype=dtype)


def mel_spectrogram(samples: int) -> Program:
    """Windows of 1024 samples every 256, their power in 80 bands, as logarithms."""
    window, hop = 1024, 256

    def spectrogram(signal: mx.array, weights: mx.array, bands: mx.array) -> mx.array:
        frames = mx.as_strided(signal, ((samples - window) // hop + 1, window), (hop, 1))
        power = mx.square(mx.abs(mx.fft.rfft(frames * weights)))
        return mx.log(mx.maximum(power @ bands, 1e-6))

    weights = array(np.hanning(window).astype(np.float32))
    return operation(spectrogram, normal(samples), weights, normal(window // 2 + 1, 80))


class LanguageModel(nn.Module):
    """Two LSTMs between an embedding and a classifier."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.lstm1, self.lstm2 = nn.LSTM(width, width), nn.LSTM(width, width)
        self.head = nn.Linear(width, VOCABULARY)

    def __call__(self, tokens: mx.array) -> mx.array:
        hidden, _ = self.lstm1(self.tokens(tokens))
        hidden, _ = self.lstm2(hidden)
        return self.head(hidden)


def lstm_forward(batch: int, length: int, dtype: str = "float32") -> Program:
    return forward(LanguageModel(), integers(VOCABULARY, batch, length), dtype=dtype)


def lstm_step(batch: int, length: int) -> Program:
    tokens, labels = integers(VOCABULARY, batch, length), integers(VOCABULARY, batch, length)
    return training(LanguageModel(), cross_entropy, adam(1e-3), tokens, labels)


class SkipGram(nn.Module):
    """Distributed representations of words and phrases, arXiv:1310.4546."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.words, self.contexts = nn.Embedding(VOCABULARY, width), nn.Embedding(VOCABULARY, width)

    def __call__(self, words: mx.array, contexts: mx.array) -> mx.array:
        return (self.contexts(contexts) @ self.words(words)[:, :, None])[:, :, 0]


def word2vec_step(batch: int, negative: int) -> Program:
    def loss(model: nn.Module, words: mx.array, contexts: mx.array, seen: mx.array) -> mx.array:
        return nn.losses.binary_cross_entropy(model(words, contexts), seen)

    words, contexts = integers(VOCABULARY, batch), integers(VOCABULARY, batch, 1 + negative)
    seen = array(np.eye(1, 1 + negative, dtype=np.float32).repeat(batch, 0))  # the first context is a true one
    return training(SkipGram(), loss, sgd(0.1), words, contexts, seen)


def beam_search(beams: int, vocabulary: int) -> Program:
    """The best continuations of all beams, twice as many as there are beams, best first."""

    def best(logits: mx.array, scores: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        totals = (nn.log_softmax(logits, -1) + scores[:, None]).flatten()
        chosen = mx.argpartition(-totals, 2 * beams)[: 2 * beams]
        chosen = chosen[mx.argsort(-totals[chosen])]
        return totals[chosen], chosen // vocabulary, chosen % vocabulary

    return operation(best, normal(beams, vocabulary), normal(beams))


def top_p_sampling(vocabulary: int) -> Program:
    """A token from the fewest that have 0.9 of the probability, at temperature 0.7."""

    def sample(logits: mx.array) -> mx.array:
        probabilities = mx.softmax(logits / 0.7, -1)
        order = mx.argsort(-probabilities, -1)
        ranked = mx.take_along_axis(probabilities, order, -1)
        before = mx.cumsum(ranked, -1) - ranked
        kept = mx.where(before < 0.9, mx.log(ranked), -float("inf"))
        return mx.take_along_axis(order, mx.random.categorical(kept)[:, None], -1)

    return operation(sample, normal(1, vocabulary))
