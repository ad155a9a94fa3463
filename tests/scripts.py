"""Run a script in a fresh interpreter: for what must not bring down, or depend on, the test's
own process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import mlx.core as mx
import pytest

# tests/sanitize preloads the runtime. It maps terabytes of address space, so no process can limit that.
needs_address_limit = pytest.mark.skipif(
    "san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers need the address space"
)

# Under ThreadSanitizer building a graph takes about ten times as long; graphs of millions of nodes are built smaller.
thread_sanitizer = "libtsan" in os.environ.get("LD_PRELOAD", "")

# So do kernels where the GPU is simulated: what only has to take a while is made smaller.
simulated_gpu = mx.metal.is_available() and mx.metal.device_info()["architecture"] == "simulator"


def run_python(code: str, timeout: float = 120, **env: str) -> str:
    """Standard output of the script; an assertion with everything it printed where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
