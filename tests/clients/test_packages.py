"""Packages that know MLX by name, unchanged: each test skips where its package is missing."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest


@pytest.fixture
def einops():
    return pytest.importorskip("einops", reason="einops is not installed: pip install '.[clients]'")


def test_einops_rearranges(einops):
    x = np.arange(24).reshape(2, 3, 4)
    for pattern, sizes in [
        ("a b c -> c (a b)", {}),
        ("a b (c d) -> a d (b c)", {"d": 2}),
        ("a b c -> a 1 b c", {}),
        ("a ... -> ... a", {}),
    ]:
        got = einops.rearrange(mx.array(x), pattern, **sizes)
        assert isinstance(got, mx.array) and np.array_equal(np.array(got), einops.rearrange(x, pattern, **sizes))
    assert einops.rearrange([mx.ones(3), mx.zeros(3)], "n c -> c n").shape == (3, 2)


@pytest.mark.parametrize("kind", ["sum", "mean", "min", "max", "prod"])
def test_einops_reduces(einops, kind):
    x = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)
    got = einops.reduce(mx.array(x), "a b (c d) -> b d", kind, d=2)
    assert np.allclose(np.array(got), einops.reduce(x, "a b (c d) -> b d", kind, d=2))


def test_einops_packs_and_multiplies(einops):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    a = mx.array(x)
    assert np.allclose(np.array(einops.einsum(a, a, "a b, c b -> a c")), x @ x.T)
    packed, shapes = einops.pack([a, mx.zeros((2, 2, 2))], "a *")
    back = einops.unpack(packed, shapes, "a *")
    assert packed.shape == (2, 7) and mx.array_equal(back[0], a) and back[1].shape == (2, 2, 2)


def test_einops_under_transforms(einops):
    def f(x):
        return einops.reduce(x**2, "(a b) -> a", "sum", b=2).max()

    x = mx.array([1.0, 2.0, 3.0, 4.0])
    assert mx.grad(f)(x).tolist() == [0, 0, 6, 8]
    assert mx.compile(f)(x).item() == 25


def test_array_api_compat_finds_the_namespace():
    compat = pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")
    x = mx.zeros((2, 3))
    assert compat.is_array_api_obj(x)
    assert compat.array_namespace(x, mx.ones(3)) is mx
    assert compat.size(x) == 6


ARRAYS = {
    "matrix": lambda: mx.arange(6).reshape(2, 3),
    "half": lambda: mx.array([1.5, -2.0], mx.float16),
    "flags": lambda: mx.array([True, False]),
    "scalar": lambda: mx.array(1.5),
    "empty": lambda: mx.zeros((0, 3)),
    "bytes": lambda: mx.arange(3).astype(mx.uint8),
    "long": lambda: mx.array([2**40], mx.int64),
    "complex": lambda: mx.array([1 + 2j]),
}


def same(a: mx.array, b: mx.array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and mx.array_equal(a, b).item()


def test_safetensors_reads_and_writes(tmp_path):
    files = pytest.importorskip("safetensors.mlx", reason="safetensors is not installed: pip install safetensors")
    arrays = {name: make() for name, make in ARRAYS.items()}
    theirs, ours = str(tmp_path / "theirs.safetensors"), str(tmp_path / "ours.safetensors")
    files.save_file(arrays, theirs, metadata={"format": "mlx"})
    mx.save_safetensors(ours, arrays, {"format": "mlx"})
    for got in (mx.load(theirs), files.load_file(ours), files.load_file(theirs), files.load(files.save(arrays))):
        assert got.keys() == arrays.keys()
        assert all(same(got[name], value) for name, value in arrays.items())


def test_safetensors_opens_lazily(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed: pip install safetensors")
    path = str(tmp_path / "a.safetensors")
    matrix, half = mx.arange(12).reshape(3, 4), mx.array([1.5, -2.0], mx.float16)
    mx.save_safetensors(path, {"matrix": matrix, "half": half}, {"format": "mlx"})
    with safetensors.safe_open(path, framework="mlx") as file:
        assert set(file.keys()) == {"matrix", "half"} and file.metadata() == {"format": "mlx"}
        assert same(file.get_tensor("matrix"), matrix) and same(file.get_tensor("half"), half)
        assert same(file.get_slice("matrix")[1:, :2], matrix[1:, :2])
