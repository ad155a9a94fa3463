"""bfloat16 to NumPy and back: the dtype of ml_dtypes where that is installed, float32 where it is not."""

from __future__ import annotations

import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest

ml_dtypes = pytest.importorskip("ml_dtypes")
VALUES = [1.5, -0.0, float("inf"), 3.3895313892515355e38, 1e-40]


def test_the_dtype_of_ml_dtypes():
    a = mx.array(VALUES).astype(mx.bfloat16)
    b = np.asarray(a)
    assert b.dtype == ml_dtypes.bfloat16 and b.shape == a.shape
    np.testing.assert_array_equal(b.view(np.uint16), np.asarray(a.view(mx.uint16)))
    assert mx.array(b).dtype == mx.bfloat16
    assert mx.array_equal(mx.array(b), a).item()


def test_other_dtypes_and_copies():
    a = mx.array([[1.5, 2.0], [3.0, -4.0]]).astype(mx.bfloat16)
    assert np.asarray(a, dtype=np.float64).tolist() == a.tolist()
    assert np.asarray(a.T).tolist() == a.T.tolist()
    shared, copied = np.array(a, copy=False), np.array(a, copy=True)
    assert shared.dtype == copied.dtype == ml_dtypes.bfloat16
    assert np.shares_memory(shared, np.array(a, copy=False))
    assert not np.shares_memory(copied, shared)
    with pytest.raises(ValueError):
        np.array(a, dtype=np.float32, copy=False)


def test_without_the_package_it_is_float32():
    program = """
import sys
sys.modules["ml_dtypes"] = None
import mlx.core as mx, numpy as np
a = mx.array([1.5, -2.0]).astype(mx.bfloat16)
assert np.asarray(a).dtype == np.float32 and np.asarray(a).tolist() == [1.5, -2.0]
try:
    np.array(a, copy=False)
except ValueError as e:
    assert "ml_dtypes" in str(e)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
