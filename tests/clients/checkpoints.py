"""A checkpoint folder as `mlx_lm` reads it, made on the spot: a tiny model, a tokenizer of characters, a data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mlx.core as mx
from families import VOCABULARY, build, family
from mlx.utils import tree_flatten

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
CHARACTERS = "\n abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()[]{}<>+-*/=_#|&%$@^~"
CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *CHARACTERS])}
    assert len(vocabulary) <= VOCABULARY
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_checkpoint(folder: Path, name: str) -> Path:
    """The model of a family, its configuration and a tokenizer, as they would come from a hub."""
    folder.mkdir(parents=True)
    _, args = family(name)
    model = build(name)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})
    config = dataclasses.asdict(args) | {"model_type": name, "eos_token_id": SPECIAL.index("</s>")}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return folder


def write_sums(folder: Path) -> Path:
    """Additions of two digits as completions: something that a tiny model gets better at in a few steps."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"prompt": f"{a} + {b} = ", "completion": str(a + b)}) for a in range(10) for b in range(10)]
    for part, rows in {"train": lines[:64], "valid": lines[64:80], "test": lines[80:]}.items():
        (folder / f"{part}.jsonl").write_text("\n".join(rows) + "\n")
    return folder
