"""Write data/mlx_lm.npz: what the scenarios give where `mlx.core` is the official package.

Run with an interpreter that has it and `mlx_lm`; the tests only read the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scenarios import SCENARIOS

DATA = Path(__file__).parent / "data" / "mlx_lm.npz"


def record() -> dict[str, np.ndarray]:
    out = {}
    for scenario, (function, cases) in SCENARIOS.items():
        for case in cases:
            print(scenario, case, file=sys.stderr)
            for key, value in function(case).items():
                out[f"{scenario}/{case}/{key}"] = value
    return out


if __name__ == "__main__":
    DATA.parent.mkdir(exist_ok=True)
    np.savez_compressed(DATA, **record())
