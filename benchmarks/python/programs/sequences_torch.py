"""Sound, text and the choice of the next token. sequences_mlx.py has the same programs."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from common import Program
from side_torch import (
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
from torch import Tensor, nn

VOCABULARY = 10_000


class TemporalConvolutions(nn.Module):
    """Residual dilated convolutions, arXiv:1803.01271."""

    def __init__(self, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(width, width, 3, 1, 1 << k, 1 << k) for k in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
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
        self.layers = nn.ModuleList([nn.Conv1d(width if i else 1, width, *shape) for i, shape in enumerate(shapes)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.gelu(layer(x))
        return x


def wav2vec_forward(batch: int, dtype: str = "float32") -> Program:
    return forward(WaveEncoder(), channels(batch, 16_000, 1), dtype=dtype)


def wav2vec_step(batch: int, dtype: str = "float32") -> Program:
    return training(WaveEncoder(), mean_square, adam(1e-4), channels(batch, 16_000, 1), dtype=dtype)


def mel_spectrogram(samples: int) -> Program:
    """Windows of 1024 samples every 256, their power in 80 bands, as logarithms."""
    window, hop = 1024, 256

    def spectrogram(signal: Tensor, weights: Tensor, bands: Tensor) -> Tensor:
        frames = signal.unfold(0, window, hop)
        power = torch.fft.rfft(frames * weights).abs().square()
        return (power @ bands).clamp_min(1e-6).log()

    weights = array(np.hanning(window).astype(np.float32))
    return operation(spectrogram, normal(samples), weights, normal(window // 2 + 1, 80))


class LanguageModel(nn.Module):
    """Two LSTMs between an embedding and a classifier."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias_hh"):  # mlx.nn.LSTM has one bias: the other one stays zero
                nn.init.zeros_(parameter).requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.tokens(tokens))
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

    def forward(self, words: Tensor, contexts: Tensor) -> Tensor:
        return (self.contexts(contexts) @ self.words(words)[:, :, None])[:, :, 0]


def word2vec_step(batch: int, negative: int) -> Program:
    def loss(model: nn.Module, words: Tensor, contexts: Tensor, seen: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(words, contexts), seen)

    words, contexts = integers(VOCABULARY, batch), integers(VOCABULARY, batch, 1 + negative)
    seen = array(np.eye(1, 1 + negative, dtype=np.float32).repeat(batch, 0))  # the first context is a true one
    return training(SkipGram(), loss, sgd(0.1), words, contexts, seen)


def beam_search(beams: int, vocabulary: int) -> Program:
    """The best continuations of all beams, twice as many as there are beams, best first."""

    def best(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        totals = (F.log_softmax(logits, -1) + scores[:, None]).flatten()
        values, chosen = totals.topk(2 * beams)
        return values, chosen // vocabulary, chosen % vocabulary

    return operation(best, normal(beams, vocabulary), normal(beams))


def top_p_sampling(vocabulary: int) -> Program:
    """A token from the fewest that have 0.9 of the probability, at temperature 0.7."""

    def sample(logits: Tensor) -> Tensor:
        probabilities = F.softmax(logits / 0.7, -1)
        ranked, order = probabilities.sort(-1, descending=True)
        before = ranked.cumsum(-1) - ranked
        kept = torch.where(before < 0.9, ranked, 0.0)
        return order.gather(-1, torch.multinomial(kept, 1))

    return operation(sample, normal(1, vocabulary))
