"""Files that numpy and safetensors wrote, and ours read by them: every dtype, shape and layout that hypothesis
finds.
"""

from __future__ import annotations

import io
import struct
import zipfile

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from op_row import ALL, to_np
from safetensors import deserialize
from safetensors import numpy as other

SETTINGS = settings(max_examples=150, deadline=None)
NAMES = [n for n in ALL if n != "bfloat16"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)
CODES = {"bool_": "BOOL", "bfloat16": "BF16", "complex64": "C64"}
CODES |= {n: n[0].upper() + n.strip("uintfloa") for n in ALL if n not in CODES}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else "bool" if name == "bool_" else name)


def filled(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any bits: nan with payloads and denormals included."""
    dtype = numpy_dtype(name)
    raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, np.uint8)
    if name.startswith("bool"):
        raw &= 1
    return raw.view(dtype).reshape(shape)


def to_mlx(x: np.ndarray, name: str) -> mx.array:
    """With the bits of x."""
    wanted = getattr(mx, name)
    words = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[x.dtype.itemsize]
    if name == "complex64":
        return mx.array(x)
    flat = mx.array(np.ascontiguousarray(x).reshape(-1).view(words))
    return (flat.astype(wanted) if name.startswith("bool") else flat.view(wanted)).reshape(x.shape)


def bits(a: mx.array | np.ndarray) -> bytes:
    if isinstance(a, np.ndarray):
        return a.tobytes()
    if a.dtype == mx.bfloat16:
        a = a.view(mx.uint16)
    return np.array(a).tobytes()


class TestNumpy:
    @given(st.sampled_from(NAMES), SHAPES, st.sampled_from("CF"), st.sampled_from("<>"), st.integers(0, 99))
    @SETTINGS
    def test_reading(self, name, shape, order, byte_order, seed):
        x = filled(name, shape, seed)
        f = io.BytesIO()
        np.save(f, np.asarray(x.astype(x.dtype.newbyteorder(byte_order)), order=order))
        f.seek(0)
        got = mx.load(f, format="npy")
        assert got.dtype == getattr(mx, name) and got.shape == shape
        assert bits(got) == bits(x)

    @given(st.sampled_from(NAMES), SHAPES, st.integers(0, 99), st.randoms(use_true_random=False))
    @SETTINGS
    def test_writing(self, name, shape, seed, random):
        x = filled(name, shape, seed)
        a = to_mlx(x, name)
        axes = list(range(len(shape)))
        random.shuffle(axes)
        cut = tuple(slice(None, None, random.choice([1, 2, -1])) for _ in shape)
        f = io.BytesIO()
        mx.save(f, a.transpose(axes)[cut] if shape else a)
        f.seek(0)
        got = np.load(f)
        want = x.transpose(axes)[cut]
        assert got.dtype == x.dtype and got.shape == want.shape and bits(got) == bits(want)

    def test_columns_are_kept(self):
        f = io.BytesIO()
        mx.save(f, mx.array(np.asfortranarray(np.ones((3, 4)))).T)
        f.seek(0)
        assert np.load(f).shape == (4, 3)
        assert f.getvalue()[:128].count(b"\n") == 1 and len(f.getvalue()) % 64 == 4 * 12 % 64

    def test_bfloat16(self):
        """Raw data of two bytes, which is what ml_dtypes makes numpy write."""
        x = np.array([1.5, -2, np.inf], ml_dtypes.bfloat16)
        f = io.BytesIO()
        np.save(f, x)
        f.seek(0)
        got = mx.load(f, format="npy")
        assert got.dtype == mx.bfloat16 and bits(got) == bits(x)
        f = io.BytesIO()
        mx.save(f, got)
        f.seek(0)
        assert np.array_equal(np.load(f).view(ml_dtypes.bfloat16), x)

    @pytest.mark.parametrize("dtype", ["complex128", "longdouble", "S3", "U3", "M8[s]", "m8[s]", "V3", "O", "i4,f4"])
    def test_other_dtypes_are_refused(self, dtype, tmp_path):
        path = str(tmp_path / "a.npy")
        np.save(path, np.zeros(2, dtype))
        with pytest.raises(RuntimeError, match="element"):
            mx.load(path)

    def test_bools_that_are_neither(self, tmp_path):
        path = str(tmp_path / "a.npy")
        np.save(path, np.arange(4, dtype=np.uint8).view(np.bool_))
        assert np.array(mx.load(path)).view(np.uint8).tolist() == [0, 1, 1, 1]

    def test_many_dimensions(self, tmp_path):
        path = str(tmp_path / "a.npy")
        mx.save(path, mx.ones((1,) * 30 + (2,)))
        assert np.load(path).shape == (1,) * 30 + (2,)
        assert mx.load(path).shape == (1,) * 30 + (2,)

    @pytest.mark.parametrize(
        "dict_text",
        [
            "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
            '{"shape": (2L,), "fortran_order": False, "descr": "f4"}  \n',
            "{'descr': '=f4', 'fortran_order': False, 'shape': (2, ), }\n",
        ],
    )
    def test_headers_of_other_programs(self, dict_text):
        raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(dict_text)) + dict_text.encode()
        got = mx.load(io.BytesIO(raw + np.array([1, 2], "<f4").tobytes()), format="npy")
        assert got.tolist() == [1, 2]

    @pytest.mark.parametrize("compressed", [False, True])
    @given(names=st.lists(st.sampled_from(NAMES), max_size=4), shape=SHAPES)
    @settings(max_examples=30, deadline=None)
    def test_archives(self, compressed, names, shape):
        arrays = {f"{n}/{i}": filled(n, shape, i) for i, n in enumerate(names)}
        f, g = io.BytesIO(), io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(f, **arrays)
        f.seek(0)
        got = mx.load(f, format="npz")
        assert {k: bits(v) for k, v in got.items()} == {k: bits(v) for k, v in arrays.items()}
        (mx.savez_compressed if compressed else mx.savez)(g, **got)
        g.seek(0)
        with np.load(g) as back:
            assert {k: bits(v) for k, v in back.items()} == {k: bits(v) for k, v in arrays.items()}
        kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        assert all(i.compress_type == kind for i in zipfile.ZipFile(g).infolist())

    def test_archives_of_other_kinds(self, tmp_path):
        f = io.BytesIO()
        mx.save(f, mx.arange(3))
        for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            with zipfile.ZipFile(tmp_path / "a.npz", "w", kind) as z:
                z.writestr("x.npy", f.getvalue())
            assert mx.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


class TestSafetensors:
    @given(st.dictionaries(TEXT, st.tuples(st.sampled_from(ALL), SHAPES), max_size=4), st.dictionaries(TEXT, TEXT))
    @SETTINGS
    def test_both_ways(self, tensors, metadata):
        tensors.pop("__metadata__", None)
        arrays = {k: filled(n, s, len(k)) for k, (n, s) in tensors.items()}
        got, meta = mx.load(io.BytesIO(other.save(arrays, metadata or None)), "safetensors", True)
        assert meta == metadata
        for k, x in arrays.items():
            assert got[k].dtype == getattr(mx, tensors[k][0]) and got[k].shape == x.shape
            assert bits(got[k]) == bits(x)
        f = io.BytesIO()
        mx.save_safetensors(f, {k: to_mlx(x, tensors[k][0]) for k, x in arrays.items()}, metadata)
        back = dict(deserialize(f.getvalue()))
        assert set(back) == set(arrays)
        for k, x in arrays.items():
            assert tuple(back[k]["shape"]) == x.shape and bytes(back[k]["data"]) == bits(x)
            assert back[k]["dtype"] == CODES[tensors[k][0]]
        assert mx.load(io.BytesIO(f.getvalue()), "safetensors", True)[1] == metadata

    def test_the_file_depends_on_its_contents_only(self):
        def write(names):
            f = io.BytesIO()
            mx.save_safetensors(f, {n: mx.full((2,), ord(n), mx.int32) for n in names}, {n: n for n in names})
            return f.getvalue()

        assert write("abcdef") == write("fedcba")

    def test_tensors_are_aligned(self):
        f = io.BytesIO()
        mx.save_safetensors(f, {"a": mx.ones((3,), mx.uint8), "b": mx.ones((1,)), "c": mx.ones((1,), mx.float16)})
        raw = f.getvalue()
        (n,) = struct.unpack("<Q", raw[:8])
        header = __import__("json").loads(raw[8 : 8 + n])
        assert n % 8 == 0
        assert [header[k]["data_offsets"] for k in "bca"] == [[0, 4], [4, 6], [6, 9]]

    def test_eight_bit_floats_are_their_bits(self):
        text = b'{"x":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}'
        raw = struct.pack("<Q", len(text)) + text + b"\x00\x38\xff"
        got = mx.load(io.BytesIO(raw), format="safetensors")["x"]
        assert got.dtype == mx.uint8 and got.tolist() == [0, 0x38, 0xFF]

    def test_loaded_parameters_have_no_gradient_of_their_own(self, tmp_path):
        path = str(tmp_path / "a.safetensors")
        mx.save_safetensors(path, {"w": mx.arange(4.0)})
        w = mx.load(path)["w"]
        x = mx.ones((4,))
        assert mx.grad(lambda x: (x * w).sum())(x).tolist() == [0, 1, 2, 3]
        assert to_np(mx.vmap(lambda x: x * mx.load(path)["w"])(mx.ones((2, 4)))).shape == (2, 4)
        f = mx.compile(lambda x: x + mx.load(path)["w"])
        assert f(x).tolist() == f(x).tolist() == [1, 2, 3, 4]
