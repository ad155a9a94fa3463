"""`python -m mlx.selftest`: what it runs passes here, and what is wrong is said."""

from __future__ import annotations

import json
import subprocess
import sys

import mlx.core as mx
import pytest
from mlx._selftest_rows import Row, all_rows
from simulated import DEVICES, environment

from mlx import selftest


def test_everything_passes(tmp_path, capsys):
    report = tmp_path / "report.json"
    assert selftest.main(["--small", "--repeats", "1", "--json", str(report)]) == 0
    text = capsys.readouterr().out
    results = json.loads(report.read_text())["results"]
    assert f"{len(results)} of {len(results)} passed" in text
    assert {r["name"] for r in results} == {row.name for row in all_rows()}
    assert all(r["passed"] and r["milliseconds"] > 0 for r in results)


def slightly_wrong(x: mx.array) -> mx.array:
    on_cpu = x.dtype == mx.float64  # the reference is right
    return mx.exp(x) if on_cpu else mx.exp(x) * 1.001


def refuses(x: mx.array) -> mx.array:
    raise ValueError("[refuses] never")


def makes_nan(x: mx.array) -> mx.array:
    return mx.exp(x) if x.dtype == mx.float64 else x * float("nan")


@pytest.mark.parametrize("function", [slightly_wrong, refuses, makes_nan])
def test_what_is_wrong_is_said(function, monkeypatch, capsys):
    row = Row("planted", "element-wise", function, [(3, 4)], [(3, 4)], dtypes=("float32",))
    monkeypatch.setattr(selftest, "all_rows", lambda: [row])
    assert selftest.main(["--repeats", "1"]) == 1
    text = capsys.readouterr().out
    assert "0 of 1 passed" in text
    assert ("FAILED ValueError: [refuses] never" in text) == (function is refuses)
    assert ("WRONG" in text) == (function is not refuses)


def test_only(capsys):
    assert selftest.main(["--only", "softmax", "--small", "--repeats", "1"]) == 0
    assert "3 of 3 passed" in capsys.readouterr().out
    assert selftest.main(["--only", "no such thing"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_everything_passes_on_the_simulated_gpu(device):
    command = [sys.executable, "-m", "mlx.selftest"]
    done = subprocess.run(command, env=environment(device), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Device(gpu, 0)" in done.stdout and "WRONG" not in done.stdout
