"""Properties of every function of the Python array API standard, held against its own implementation.

`python tests/array_api/test_properties.py` prints the score.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("array_api_strict")
sys.path.insert(0, str(Path(__file__).parent))

import elementwise  # noqa: F401
import linear  # noqa: F401
import objects  # noqa: F401
import shaping  # noqa: F401
from support import PROPERTIES, Property, Search, strict

# Why it is not as the standard says, the aspect, the functions. docs/compatibility.md has the reasons.
ROWS = (
    ("the sign of nan is 0", "special values, float32", "sign"),
    ("the sign of nan is 0", "special values, float64", "sign"),
    ("a remainder of zero has the sign of the dividend", "special values, float32", "remainder"),
    ("a remainder of zero has the sign of the dividend", "special values, float64", "remainder"),
    ("complex infinities are not recovered", "special values, complex64", "expm1"),
    ("quotients are those of C's Annex G", "special values, complex64", "reciprocal"),
    (
        "products of matrices of integers are refused",
        "integers",
        "matmul linalg.matmul array.__matmul__ tensordot linalg.tensordot",
    ),
    ("sums of integers have at least 32 bits", "integers", "vecdot linalg.vecdot"),
    ("numbers of other packages become float32", "float64", "from_dlpack"),
)
DEVIATIONS = {(name, aspect): why for why, aspect, names in ROWS for name in names.split()}
NAMED = [f"{p.name}: {p.aspect}" for p in PROPERTIES]


def failure(p: Property) -> str:
    """What is wrong; nothing where the property holds."""
    Search.shrinks = False
    try:
        p.run()
    except Exception as e:
        return " ".join(f"{type(e).__name__} {e}".split())[:300]
    finally:
        Search.shrinks = True
    return ""


@pytest.mark.parametrize("p", PROPERTIES, ids=NAMED)
def test_property(p: Property) -> None:
    if (p.name, p.aspect) in DEVIATIONS:
        assert failure(p), f"take {p.name}: {p.aspect} out of DEVIATIONS and docs/compatibility.md"
    else:
        p.run()


def names() -> set[str]:
    own = {"Device", "__version__", "fft", "linalg"} | {n for n in strict.__all__ if "strict" in n.lower()}
    found = set(strict.__all__) - own
    return found | {f"linalg.{n}" for n in strict.linalg.__all__} | {f"fft.{n}" for n in strict.fft.__all__}


def test_every_name_has_properties() -> None:
    assert names() - {"complex128"} <= {p.name for p in PROPERTIES}
    assert len(NAMED) == len(set(NAMED))


def standing() -> str:
    """The score, if DEVIATIONS is true, which test_property sees to."""
    every, deviating = {p.name for p in PROPERTIES}, {name for name, _ in DEVIATIONS}
    properties = f"{len(PROPERTIES) - len(DEVIATIONS)} of {len(PROPERTIES)} properties"
    return f"{properties}, all of {len(every - deviating)} of {len(every)} names"


def test_deviations_and_the_score_are_documented() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "compatibility.md").read_text().split())
    assert set(DEVIATIONS) <= {(p.name, p.aspect) for p in PROPERTIES}
    assert standing() in text, standing()
    for why, _, names in ROWS:
        assert why in text, why
        for name in names.split():
            assert f"`{name.removeprefix('linalg.').removeprefix('array.')}`" in text, name


def score() -> None:
    for p in PROPERTIES:
        why, known = failure(p), DEVIATIONS.get((p.name, p.aspect))
        if why and known:
            print(f"deviates: {p.name}, {p.aspect}: {known}")
        elif why or known:
            print(f"WRONG: {p.name}, {p.aspect}: {why or 'is as the standard says'}")
    print(standing())


if __name__ == "__main__":
    score()
