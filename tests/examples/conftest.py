"""The examples can be imported; without what they need beside the package there is nothing to test."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
os.environ.setdefault("TQDM_DISABLE", "1")

if any(importlib.util.find_spec(needed) is None for needed in ("sklearn", "scipy", "tqdm", "matplotlib")):
    collect_ignore_glob = ["test_*.py"]
