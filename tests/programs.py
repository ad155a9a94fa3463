"""Random programs as data. A program is JSON: inputs, steps that call public functions on earlier values, and a tree
of outputs. Any module with the same functions can run it (`run`), also one in another process.

    {"inputs": [{"shape": [2, 3], "dtype": "float32", "values": [...]}],
     "steps": [["add", [{"v": 0}, {"v": 1}], {}]], "outputs": {"a": {"v": 2}}}

In arguments {"v": n} is value n, {"d": name} a dtype, {"s": [...]} a slice, {"e": 0} an ellipsis, {"t": [...]} a
tuple. Programs are drawn for several sets of sizes at once: a step is kept if it works for all of them.
"""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import numpy as np
from program_draw import INPUTS, Draw, ref
from program_steps import FAMILIES, WEIGHTS
from program_values import Json, evaluate, is_float, leaves, make_input, run, tree

__all__ = ["Draw", "draw", "evaluate", "finish", "is_float", "leaves", "make_input", "run", "spoiled"]

SIZES = (1, 2, 3, 3, 4, 5, 6, 8)
LETTERS = "ABC"


def draw(mx: Any, seed: int, worlds: int = 1, least: int = 3, most: int = 30, sizes: tuple[int, ...] = SIZES,
         families: Any = None) -> Draw:  # fmt: skip
    rng = np.random.default_rng(seed)
    sets = [{c: sizes[int(rng.integers(len(sizes)))] for c in LETTERS} for _ in range(worlds)]
    d = Draw(mx, rng, sets, [[] for _ in sets], [[] for _ in sets])
    for k in range(d.int(1, 4)):
        shape = "".join(d.pick(*LETTERS) for _ in range(d.int(0 if k else 1, 5)))
        d.input(shape, "float32" if k == 0 else d.pick(*INPUTS))
    if d.chance(0.4):
        d.input("", d.pick("float32", "int32", "float16"))
    target = d.int(least, most + 1)
    for _ in range(4 * target):
        if len(d.steps) >= target:
            break
        try:
            FAMILIES[int(rng.choice(len(FAMILIES), p=WEIGHTS))][0](d)
        except LookupError:
            continue
    return d


def finish(d: Draw, world: int = 0) -> Json:
    """The program with a tree of outputs: the last value and some others."""
    count, first = len(d.exact), len(d.inputs[0])
    chosen = [count - 1] + [d.int(min(first, count - 1), count) for _ in range(d.int(0, 4))]
    refs = [ref(n) for n in chosen]
    kind = d.int(0, 4)
    outputs: Json = {"t": refs}
    if kind == 0:
        outputs = refs[0]
    elif kind == 1:
        outputs = {"a": refs[0], "b": {"t": refs[1:]}}
    elif kind == 2:
        outputs = [refs[0], {"x": refs}]
    return {"inputs": d.inputs[world], "steps": d.steps, "outputs": outputs,
            "exact": leaves(tree(outputs, d.exact))}  # fmt: skip


def spoiled(program: Json, rng: np.random.Generator) -> Json:
    """The program with one argument of its last steps exchanged, so that most are errors."""
    out = copy.deepcopy(program)
    if not out["steps"]:
        return out
    _, args, kwargs = out["steps"][-1 - int(rng.integers(min(3, len(out["steps"]))))]
    places = [(args, k) for k in range(len(args))] + [(kwargs, k) for k in kwargs]
    if not places:
        return out
    where, k = places[int(rng.integers(len(places)))]
    old = where[k]
    if isinstance(old, bool) or old is None or isinstance(old, str):
        where[k] = "nonsense" if isinstance(old, str) else old
    elif isinstance(old, (int, float)):
        where[k] = [old + 9, -old - 9, "x", None][int(rng.integers(4))]
    elif isinstance(old, list):
        where[k] = [*old, 5] if rng.random() < 0.7 else []
    elif "v" in old:
        where[k] = {"v": int(rng.integers(len(out["inputs"])))}
    return out


def main() -> None:
    """Programs on the standard input, one a line; results on the standard output."""
    import mlx.core as mx

    for line in sys.stdin:
        print(json.dumps(evaluate(mx, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
