"""Files: round trips through npy, npz and safetensors, interchange with numpy, and files that
lie.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile

import mlx.core as mx
import numpy as np
import pytest
from op_row import ALL, to_np

REFUSED = (RuntimeError, ValueError, OSError)


def sample(name: str) -> mx.array:
    return mx.array([[0, 1, 2], [3, 4, 5]]).astype(getattr(mx, name))


def same(a: mx.array, b: mx.array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(to_np(a), to_np(b))


class TestNpy:
    @pytest.mark.parametrize("name", [n for n in ALL if n != "bfloat16"])
    def test_round_trip(self, name, tmp_path):
        path = tmp_path / "a.npy"
        mx.save(path, sample(name))
        assert same(mx.load(path), sample(name))
        assert np.array_equal(np.load(path), np.array(sample(name)))

    @pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (2, 3, 4)])
    def test_shapes_and_layouts(self, shape, tmp_path):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        path = str(tmp_path / "a.npy")
        mx.save(path, mx.array(x).T)
        assert np.array_equal(np.load(path), x.T)
        for order in "CF":
            np.save(path, np.asarray(x, order=order))
            assert np.array_equal(np.array(mx.load(path)), x)

    def test_numpy_versions_and_byte_order(self, tmp_path):
        path = str(tmp_path / "a.npy")
        for version in ((1, 0), (2, 0), (3, 0)):
            with open(path, "wb") as f:
                np.lib.format.write_array(f, np.arange(5, dtype=np.int16), version)
            assert mx.load(path).tolist() == [0, 1, 2, 3, 4]
        for dtype in (">i2", ">i4", ">u8", ">f2", ">f4", ">f8", ">c8"):
            np.save(path, np.arange(6, dtype=dtype).reshape(2, 3).T)
            assert np.array_equal(np.array(mx.load(path)), np.arange(6).reshape(2, 3).T)

    def test_file_objects(self):
        f = io.BytesIO()
        mx.save(f, sample("float32"))
        f.seek(0)
        assert same(mx.load(f, format="npy"), sample("float32"))

    def test_extension_is_added(self, tmp_path):
        mx.save(str(tmp_path / "plain"), sample("int8"))
        assert (tmp_path / "plain.npy").exists()

    def test_loading_is_lazy_and_sliceable(self, tmp_path):
        path = str(tmp_path / "big.npy")
        np.save(path, np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000))
        assert mx.load(path)[999, 998:].tolist() == [999998.0, 999999.0]


class TestNpz:
    def test_round_trip(self, tmp_path):
        path = str(tmp_path / "a.npz")
        for save in (mx.savez, mx.savez_compressed):
            save(path, sample("float32"), w=sample("int8"), b=mx.array(2.0))
            got = mx.load(path)
            assert set(got) == {"arr_0", "w", "b"} and same(got["w"], sample("int8"))
            assert np.array_equal(np.load(path)["arr_0"], np.array(sample("float32")))
        np.savez(path, x=np.arange(3.0, dtype=np.float32))
        assert mx.load(path)["x"].tolist() == [0, 1, 2]
        np.savez_compressed(path, x=np.arange(3.0, dtype=np.float32))
        assert mx.load(path)["x"].tolist() == [0, 1, 2]

    def test_hostile(self, tmp_path):
        path = tmp_path / "a.npz"
        mx.savez(str(path), x=sample("float32"))
        whole = path.read_bytes()
        for cut in (0, 1, 4, len(whole) // 2, len(whole) - 10):
            path.write_bytes(whole[:cut])
            with pytest.raises((*REFUSED, zipfile.BadZipFile)):
                mx.eval(mx.load(str(path)))


class TestSafetensors:
    @pytest.mark.parametrize("name", [n for n in ALL if n != "complex64"])
    def test_round_trip(self, name, tmp_path):
        path = str(tmp_path / "a.safetensors")
        mx.save_safetensors(
            path,
            {
                "x": sample(name),
                "y.z": sample(name).T,
                "s": sample(name)[0, 1],
                "e": sample(name)[:0],
            },
        )
        got = mx.load(path)
        assert same(got["x"], sample(name)) and same(got["y.z"], sample(name).T)
        assert got["s"].shape == () and got["e"].shape == (0, 3)

    def test_metadata(self, tmp_path):
        path = str(tmp_path / "a.safetensors")
        mx.save_safetensors(
            path, {"x": mx.array([1.0])}, metadata={"format": "mlx", "note": 'ü "quoted" \n'}
        )
        arrays, metadata = mx.load(path, return_metadata=True)
        assert arrays["x"].item() == 1.0 and metadata["note"] == 'ü "quoted" \n'

    def test_layout_of_the_file(self, tmp_path):
        """As the format describes it: length, JSON, data without holes."""
        path = tmp_path / "a.safetensors"
        mx.save_safetensors(str(path), {"x": sample("float16"), "y": sample("int32")})
        raw = path.read_bytes()
        (n,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + n])
        header.pop("__metadata__", None)
        spans = sorted(h["data_offsets"] for h in header.values())
        assert spans[0][0] == 0 and spans[0][1] == spans[1][0] and spans[1][1] == len(raw) - 8 - n
        assert header["x"]["dtype"] == "F16" and header["y"]["shape"] == [2, 3]

    def test_file_objects(self):
        f = io.BytesIO()
        mx.save_safetensors(f, {"x": sample("float32")})
        f.seek(0)
        assert same(mx.load(f, format="safetensors")["x"], sample("float32"))


def tensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE_TENSORS = {
    "empty": b"",
    "short": b"\x10\0",
    "no header": struct.pack("<Q", 100),
    "header too long": tensors({}, length=2**40),
    "header length overflows": tensors({}, length=2**64 - 1),
    "not JSON": tensors(b"{nonsense"),
    "not an object": tensors([1, 2]),
    "nested": tensors(b"[" * 100_000),
    "unknown dtype": tensors({"x": entry("F77")}, bytes(8)),
    "truncated data": tensors({"x": entry()}, bytes(7)),
    "beyond the end": tensors({"x": entry(offsets=(8, 16))}, bytes(8)),
    "reversed": tensors({"x": entry(offsets=(8, 0))}, bytes(8)),
    "size and shape differ": tensors({"x": entry(shape=(3,))}, bytes(8)),
    "huge shape": tensors({"x": entry(shape=(2**31 - 1, 2**31 - 1, 2**10))}, bytes(8)),
    "shape wraps to the right size": tensors({"x": entry(shape=(2**32, 2**32, 2))}, bytes(8)),
    "shape wraps to zero bytes": tensors({"x": entry(shape=(2**62, 4), offsets=(0, 0))}, b""),
    "negative shape": tensors({"x": entry(shape=(-2,))}, bytes(8)),
    "negative offset": tensors({"x": entry(offsets=(-8, 0))}, bytes(8)),
    "text for shape": tensors(
        {"x": {"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]}}, bytes(8)
    ),
    "no offsets": tensors({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "overlap": tensors({"x": entry(), "y": entry(offsets=(4, 12))}, bytes(12)),
    "hole": tensors({"x": entry(), "y": entry(offsets=(16, 24))}, bytes(24)),
}


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_hostile_safetensors(name, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(HOSTILE_TENSORS[name])
    with pytest.raises(REFUSED):
        mx.eval(mx.load(str(path)))
    assert mx.ones((2,)).sum().item() == 2.0


def npy(
    header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00", length: int | None = None
) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return (
        b"\x93NUMPY"
        + version
        + struct.pack("<H", len(text) if length is None else length)
        + text
        + data
    )


def described(descr="'<f4'", order="False", shape="(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


HOSTILE_NPY = {
    "empty": b"",
    "wrong magic": b"\x93NUMPX\x01\x00" + bytes(100),
    "magic only": b"\x93NUMPY",
    "header cut": npy(described())[:30],
    "header longer than the file": npy(described(), length=60000),
    "unknown version": npy(described(), bytes(8), version=b"\x09\x00"),
    "data cut": npy(described(), bytes(7)),
    "huge count": npy(described(shape="(4611686018427387904, 4)"), bytes(8)),
    "large count": npy(described(shape="(2147483647, 1000)"), bytes(8)),
    "negative shape": npy(described(shape="(-2,)"), bytes(8)),
    "unknown dtype": npy(described(descr="'<f3'"), bytes(8)),
    "object dtype": npy(described(descr="'|O'"), bytes(16)),
    "record dtype": npy(described(descr="[('a', '<f4')]"), bytes(8)),
    "no shape": npy("{'descr': '<f4', 'fortran_order': False}\n", bytes(8)),
    "not a dictionary": npy("nonsense" * 10, bytes(8)),
    "shape of words": npy(described(shape="('a', 2)"), bytes(8)),
    "unclosed": npy(described(shape="(2"), bytes(8)),
}


@pytest.mark.parametrize("name", HOSTILE_NPY)
def test_hostile_npy(name, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(HOSTILE_NPY[name])
    with pytest.raises((*REFUSED, MemoryError)):
        mx.eval(mx.load(str(path)))
    assert mx.ones((2,)).sum().item() == 2.0


def test_every_truncation(tmp_path):
    """Cut anywhere: an exception or, where only trailing padding is missing, the same array;
    never a crash.
    """
    path = tmp_path / "a.safetensors"
    mx.save_safetensors(str(path), {"x": sample("float32"), "y": sample("int8")})
    whole = path.read_bytes()
    for cut in range(0, len(whole), 3):
        path.write_bytes(whole[:cut])
        with pytest.raises(REFUSED):
            mx.eval(mx.load(str(path)))


def test_flipped_bytes_never_crash(tmp_path):
    path = tmp_path / "a.npy"
    mx.save(str(path), mx.arange(100.0))
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole)
        for k in rng.integers(0, 130, 3):
            broken[k] = rng.integers(0, 256)
        path.write_bytes(bytes(broken))
        try:
            mx.eval(mx.load(str(path)))
        except (*REFUSED, MemoryError, OverflowError):
            pass


def test_misuse(tmp_path):
    with pytest.raises(REFUSED, match="absent"):
        mx.load(str(tmp_path / "absent.npy"))
    with pytest.raises(REFUSED):
        mx.load(str(tmp_path / "absent.safetensors"))
    with pytest.raises(REFUSED):
        mx.load(str(tmp_path))
    (tmp_path / "a.xyz").write_bytes(b"x")
    with pytest.raises(REFUSED):
        mx.load(str(tmp_path / "a.xyz"))
    with pytest.raises(REFUSED):
        mx.save(str(tmp_path / "no" / "such" / "folder.npy"), mx.array(1))
    with pytest.raises(TypeError):
        mx.save_safetensors(str(tmp_path / "a.safetensors"), [mx.array(1)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk(tmp_path):
    """Writing to a full disk is an error, also where the last bytes leave the buffer at close."""
    for n in (10, 3_000_000):
        link = tmp_path / f"{n}.npy"
        link.symlink_to("/dev/full")
        with pytest.raises(REFUSED):
            mx.save(str(link), mx.ones((n,)))
        link = tmp_path / f"{n}.safetensors"
        link.symlink_to("/dev/full")
        with pytest.raises(REFUSED):
            mx.save_safetensors(str(link), {"x": mx.ones((n,))})
        link = tmp_path / f"{n}.gguf"
        link.symlink_to("/dev/full")
        with pytest.raises(REFUSED):
            mx.save_gguf(str(link), {"x": mx.ones((n,))})
        link = tmp_path / f"{n}.npz"
        link.symlink_to("/dev/full")
        with pytest.raises(REFUSED):
            mx.savez(str(link), mx.ones((n,)))


def test_failing_file_object():
    class Full(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(28, "No space left on device")

        def seekable(self):
            return True

        def tell(self):
            return 0

        def seek(self, *a):
            return 0

    with pytest.raises((OSError, RuntimeError)):
        mx.save(Full(), mx.ones((1000,)))


def test_saving_over_the_loaded_file(tmp_path):
    path = str(tmp_path / "a.safetensors")
    mx.save_safetensors(path, {"x": sample("float32")})
    again = mx.load(path)
    mx.eval(again)
    mx.save_safetensors(path, {k: v + 1 for k, v in again.items()})
    assert same(mx.load(path)["x"], sample("float32") + 1)
