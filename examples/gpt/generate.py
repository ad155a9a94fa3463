"""Write text with a checkpoint of train.py or finetune.py.

    python examples/gpt/generate.py --prompt "class "
    python examples/gpt/generate.py --checkpoint examples/output/gpt/fused.safetensors --prompt "The "

Text appears while it is written; keys and values of what was read are kept, so each byte costs the
computation of one byte.
"""

from __future__ import annotations

import argparse
import codecs
import sys
import time
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpt.model import GPT, Config, generate


def load(file: Path) -> GPT:
    """The model of a checkpoint, ready to write. What is needed to make it stands in the file."""
    if not file.exists():
        raise SystemExit(f"{file} does not exist: run train.py first, or say where it is")
    made_of = nn.load_checkpoint(file, None).extra
    model = GPT(Config(**made_of["config"]))
    if "bits" in made_of:
        nn.quantize(model, bits=made_of["bits"])
    nn.load_checkpoint(file, model)
    model.eval()
    return model


def main(argv: list[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "output" / "gpt" / "pretrain.safetensors"
    parser.add_argument("--checkpoint", type=Path, default=default)
    parser.add_argument("--prompt", default="def ")
    parser.add_argument("--length", type=int, default=400, help="how many bytes to write")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest byte")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    mx.random.seed(args.seed)
    model, written = load(args.checkpoint), args.prompt
    print(args.prompt, end="", flush=True)
    start = time.perf_counter()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a letter may be several bytes
    for byte in generate(model, args.prompt.encode(), args.length, args.temperature):
        piece = decoder.decode(bytes([byte]))
        print(piece, end="", flush=True)
        written += piece
    print(f"\n--- {args.length / (time.perf_counter() - start):.0f} bytes per second")
    return written


if __name__ == "__main__":
    main()
