"""WordPiece as BERT uses it: text to the numbers of its pieces, without packages."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import mlx.core as mx
import numpy as np

PAD, CLS, SEP, UNKNOWN = "[PAD]", "[CLS]", "[SEP]", "[UNK]"
LONGEST_WORD = 100

# Ideographs are words of their own.
IDEOGRAPHS = [
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
]


def is_punctuation(c: str) -> bool:
    """Unicode's punctuation, and all of ASCII that is neither letter, digit, blank nor control."""
    return (
        33 <= ord(c) <= 47
        or 58 <= ord(c) <= 64
        or 91 <= ord(c) <= 96
        or 123 <= ord(c) <= 126
        or (unicodedata.category(c).startswith("P"))
    )


def is_ignored(c: str) -> bool:
    return c == "\ufffd" or (c not in "\t\n\r" and unicodedata.category(c).startswith("C"))


def words(text: str) -> list[str]:
    """Lower case without accents, cut at blanks; punctuation and ideographs stand alone."""
    out = []
    text = "".join(c for c in text if not is_ignored(c))
    bare = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    for c in "".join(c.lower() for c in bare):  # one by one: no letter depends on its place in the word
        alone = is_punctuation(c) or any(first <= ord(c) <= last for first, last in IDEOGRAPHS)
        out.append(f" {c} " if alone else c)
    return "".join(out).split()


class Tokenizer:
    def __init__(self, folder: Path):
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        self.vocabulary = {piece: i for i, piece in enumerate(lines) if piece}
        self.pieces = lru_cache(maxsize=100_000)(self._pieces)

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The longest piece that starts the word, then the longest that continues it, …"""
        unknown = (self.vocabulary[UNKNOWN],)
        if len(word) > LONGEST_WORD:
            return unknown
        found, start = [], 0
        while start < len(word):
            for stop in range(len(word), start, -1):
                piece = self.vocabulary.get(("##" if start else "") + word[start:stop])
                if piece is not None:
                    found.append(piece)
                    start = stop
                    break
            else:
                return unknown
        return tuple(found)

    def encode(self, text: str, longest: int = 256) -> list[int]:
        """The numbers of a sentence, between its marks of beginning and end; at most `longest`."""
        inner = [piece for word in words(text) for piece in self.pieces(word)]
        return [self.vocabulary[CLS], *inner[: longest - 2], self.vocabulary[SEP]]

    def batch(self, texts: Sequence[str], longest: int = 256, length: int | None = None) -> tuple[mx.array, mx.array]:
        """Padded sentences as (tokens, real), both (batch, length); length: that of the longest if not given."""
        rows = [self.encode(text, longest) for text in texts]
        length = length or max(map(len, rows))
        tokens = np.full((len(rows), length), self.vocabulary[PAD], dtype=np.int32)
        real = np.zeros((len(rows), length), dtype=bool)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
            real[i, : len(row)] = True
        return mx.array(tokens), mx.array(real)
