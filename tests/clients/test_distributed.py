"""mlx_lm over two processes: models whose layers are divided, or follow each other, generate what one process does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install '.[clients]'")
FOLDER = Path(__file__).parent

PROGRAM = """
import sys
import numpy as np
import mlx.core as mx
from families import FAMILIES, build
from mlx_lm.models.cache import make_prompt_cache

group = mx.distributed.init(strict=True)


def run(model):
    cache, tokens = make_prompt_cache(model), mx.array([[3, 17, 4, 28, 9, 1]])
    steps = []
    for _ in range(5):
        steps.append(model(tokens, cache=cache))
        tokens = mx.argmax(steps[-1][:, -1:], axis=-1)
        mx.eval(tokens)
    return mx.concatenate(steps, axis=1)


for name, way in [line.split("/") for line in sys.argv[1:]]:
    whole, divided = build(name), build(name)
    if way == "shard":
        divided.shard(group)
    else:
        divided.model.pipeline(group)
    expected, got = run(whole), run(divided)
    error = mx.max(mx.abs(got - expected)).item()
    assert got.shape == expected.shape and error < 1e-4 * mx.max(mx.abs(expected)).item() + 1e-5, (name, way, error)
    print(f"{name}/{way}")
"""
CASES = [
    *(f"{name}/shard" for name in ("llama", "qwen2", "qwen3", "deepseek_v3", "gpt_oss")),
    *(f"{name}/pipeline" for name in ("deepseek_v3", "qwen2")),
]


def test_two_processes_generate_what_one_does(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    paths = os.pathsep.join([str(FOLDER), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    command = [sys.executable, "-m", "mlx.launch", "-n", "2", str(program), *CASES]
    # Without buffers a line is two writes, between which those of the other process may come.
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.split()) == sorted(2 * CASES)


def test_the_launcher_that_mlx_lm_uses():
    from mlx_lm import share

    assert share.Hostfile.from_list("localhost").hosts[0].is_local
    assert callable(share.launch_ring) and callable(share.launch_jaccl)
