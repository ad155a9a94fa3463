"""The kernel with a race in docs/metal.md: it prints what is written there, and with the barrier the sums."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from simulated import environment

TEXT = (Path(__file__).parents[2] / "docs/metal.md").read_text()
FORGOTTEN = "      if (t < n) part[t] += part[t + n];\n"
BARRIER = "      threadgroup_barrier(mem_flags::mem_threadgroup);\n"


def printed(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment("simulator"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_race_is_found_as_documented():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    found, right = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert printed(code) == found
    assert found.startswith("[sums] race: write of 4 bytes")
    mended = code.replace(FORGOTTEN, FORGOTTEN + BARRIER)
    assert mended != code and printed(mended) == right
