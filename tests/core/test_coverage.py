"""docs/coverage.md says what happens, and what does not work has a reason."""

from __future__ import annotations

import coverage_table as coverage
import numpy as np
import pytest
from coverage_reasons import REASONS, reason


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, str]]:
    with np.errstate(all="ignore"):
        return {op.name: coverage.cells(op) for op in coverage.table()}


def test_every_hole_has_a_reason(found) -> None:
    missing = [hole for hole in coverage.holes(found) if not reason(*hole)]
    assert not missing, f"no reason in tests/coverage_reasons.py for {missing}"


def test_every_reason_has_a_hole(found) -> None:
    stale = set(REASONS) - set(coverage.holes(found))
    assert not stale, f"works by now, but has a reason in tests/coverage_reasons.py: {sorted(stale)}"


def test_page_is_up_to_date(found) -> None:
    with np.errstate(all="ignore"):
        page = coverage.page(found)
    assert coverage.PAGE.read_text() == page, "run python tests/coverage_table.py"


def test_derivatives_and_batches_have_no_holes(found) -> None:
    for column in ("vjp", "jvp", "vmap", "compile", "export", "strides"):
        assert not [name for name, row in found.items() if row[column] == coverage.HOLE], column
