"""The examples as modules, and what they need beside the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
os.environ.setdefault("TQDM_DISABLE", "1")

for needed in ("sklearn", "scipy", "tqdm", "matplotlib"):
    pytest.importorskip(needed)
