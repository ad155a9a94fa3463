"""A program in the making: what its steps may refer to, and whether one more of them works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from program_values import FLOATS, Json, make_input, run_step

INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
INPUTS = ("float32",) * 6 + ("float16", "bfloat16", "int32", "int32", "bool_", "uint8", "int64", "complex64")


@dataclass
class Draw:
    """One program in the making: its values for every set of sizes, and what is known of them."""

    mx: Any
    rng: np.random.Generator
    worlds: list[dict[str, int]]  # sizes of the letters, per set
    inputs: list[list[Json]] = field(default_factory=list)
    values: list[list[Any]] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)  # the same bits in every correct implementation
    steps: list[Json] = field(default_factory=list)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def shape(self, n: int) -> tuple[int, ...]:
        return tuple(self.values[0][n].shape)

    def ndim(self, n: int) -> int:
        return len(self.shape(n))

    def dtype(self, n: int) -> str:
        return str(self.values[0][n].dtype).rsplit(".", 1)[-1].replace("bool_", "bool").replace("bool", "bool_")

    def smallest(self, n: int, axis: int) -> int:
        return min(values[n].shape[axis] for values in self.values)

    def any(self, *dtypes: str, ndim: int = 0, exact: bool = False, most: int = 9) -> int:
        """A value of one of the dtypes, later ones more often."""
        known = self.values[0]
        fits = [
            n
            for n in range(len(known))
            if most >= self.ndim(n) >= ndim
            and (not dtypes or self.dtype(n) in dtypes)
            and (not exact or self.exact[n])
            and known[n].size < 3000
        ]
        if not fits:
            raise LookupError
        return fits[-1 - min(int(self.rng.geometric(0.25)) - 1, len(fits) - 1)]

    def float(self, ndim: int = 0, **kw: Any) -> int:
        return self.any(*FLOATS, ndim=ndim, **kw)

    def axis(self, n: int) -> int:
        d = self.ndim(n)
        return self.int(-d, d)

    def input(self, shape: str, dtype: str) -> None:
        """A new input whose dimensions are letters."""
        specs = []
        for world in self.worlds:
            sizes = [world[c] for c in shape]
            count = int(np.prod(sizes))
            if dtype == "bool_":
                numbers = self.rng.integers(0, 2, count)
            elif dtype in INTS:
                numbers = self.rng.integers(0 if dtype.startswith("u") else -4, 6, count)
            else:
                numbers = np.round(self.rng.normal(size=count) * 16) / 16
            specs.append({"shape": sizes, "dtype": dtype, "values": numbers.tolist()})
        for i, spec in enumerate(specs):
            self.inputs[i].append(spec)
            self.values[i].append(make_input(self.mx, spec))
        self.exact.append(True)

    def add(self, name: str, *args: Json, exact: bool | None = None, **kwargs: Json) -> bool:
        """The step, if it works for all sizes. `exact`: the function rounds its result correctly."""
        step = [name, list(args), kwargs]
        try:
            new = [run_step(self.mx, step, values) for values in self.values]
        except (ValueError, IndexError, TypeError):
            return False
        kinds = {tuple((len(a.shape), str(a.dtype)) for a in out) for out in new}
        if len(kinds) > 1 or any(a.size > 20000 for out in new for a in out):
            return False
        keeps = bool(exact) and all(self.exact[n] for n in used([*args, *kwargs.values()]))
        self.steps.append(step)
        for values, out in zip(self.values, new, strict=True):
            values.extend(out)
        self.exact.extend([keeps] * len(new[0]))
        return True


def used(x: Json) -> list[int]:
    """The values among arguments."""
    if isinstance(x, list):
        return [n for y in x for n in used(y)]
    if not isinstance(x, dict):
        return []
    return [x["v"]] if "v" in x else used(x.get("t", []))


def ref(n: int) -> Json:
    return {"v": n}
