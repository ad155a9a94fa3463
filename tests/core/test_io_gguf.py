"""GGUF: files that the `gguf` package wrote read by us, ours read by it, and files put together by hand."""

from __future__ import annotations

import io
import struct

import mlx.core as mx
import numpy as np
import pytest
from op_row import to_np

gguf = pytest.importorskip("gguf")
from gguf import GGMLQuantizationType as Kind  # noqa: E402
from gguf import GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter, quants  # noqa: E402

BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
EXPANDED = ["Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0"]
EXPANDED += ["MXFP4", "NVFP4"]
REFUSED = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "Q8_1", "Q8_K", "Q1_0"]
PLAIN = ["float16", "float32", "float64", "int8", "int16", "int32", "int64"]


def written(path, fill, **options) -> str:
    """The file that the package writes after `fill` has added to it."""
    writer = GGUFWriter(path, "test", **options)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def blocks_of(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random bits as blocks of a kind, with scales that are numbers of ordinary size."""
    elements, size = gguf.GGML_QUANT_SIZES[Kind[name]]
    rng = np.random.default_rng(seed)
    rows = int(np.prod(shape)) // elements
    raw = rng.integers(0, 256, (rows, size), np.uint8)
    halves = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2]}
    halves |= {"Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": []}
    for at in halves.get(name, [0]):
        raw[:, at : at + 2] = rng.normal(0, 0.1, rows).astype(np.float16).view(np.uint8).reshape(rows, 2)
    if name == "MXFP4":
        raw[:, 0] = rng.integers(115, 135, rows)
    return raw.reshape(*shape[:-1], -1)


class TestTensors:
    @pytest.mark.parametrize("name", PLAIN)
    @pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 1, 3, 4), (0, 3)])
    def test_read(self, name, shape, tmp_path):
        x = (np.random.default_rng(0).normal(size=shape) * 100).astype(name)
        got = mx.load(written(tmp_path / "a.gguf", lambda w: w.add_tensor("x", x)))
        assert list(got) == ["x"] and got["x"].dtype == getattr(mx, name) and got["x"].shape == shape
        assert np.array_equal(np.array(got["x"]), x)

    @pytest.mark.parametrize("name", PLAIN)
    @pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 1, 3, 4)])
    def test_written(self, name, shape, tmp_path):
        x = (np.random.default_rng(0).normal(size=shape) * 100).astype(name)
        path = tmp_path / "a.gguf"
        a = mx.array(x, dtype=getattr(mx, name))
        mx.save_gguf(path, {"x": a, "t.weight": a.T})
        tensors = {t.name: t for t in GGUFReader(path).tensors}
        assert tensors["x"].data.dtype == x.dtype and np.array_equal(tensors["x"].data, x)
        assert np.array_equal(tensors["t.weight"].data, x.T)
        again = mx.load(path)
        assert again["x"].dtype == a.dtype and np.array_equal(np.array(again["t.weight"]), x.T)

    def test_bfloat16(self, tmp_path):
        path = tmp_path / "a.gguf"
        a = mx.array([1.5, -2.25, 3e38, float("inf")]).astype(mx.bfloat16)
        mx.save_gguf(path, {"x": a})
        (t,) = GGUFReader(path).tensors
        assert t.tensor_type == Kind.BF16
        assert np.array_equal(quants.dequantize(t.data, Kind.BF16), to_np(a))
        got = mx.load(path)["x"]
        assert got.dtype == mx.bfloat16 and mx.array_equal(got, a).item()

    @pytest.mark.parametrize("shape", [(), (0,), (1,) * 8])
    def test_odd_shapes(self, shape, tmp_path):
        mx.save_gguf(tmp_path / "a.gguf", {"x": mx.ones(shape)})
        assert mx.load(tmp_path / "a.gguf")["x"].shape == shape

    @pytest.mark.parametrize("name", BITS)
    @pytest.mark.parametrize("shape", [(64,), (6, 96), (2, 3, 32), (513, 1024)])
    def test_quantized_without_loss(self, name, shape, tmp_path):
        raw = blocks_of(name, shape)
        path = written(tmp_path / "a.gguf", lambda w: w.add_tensor("a.weight", raw, raw_dtype=Kind[name]))
        got = mx.load(path)
        assert sorted(got) == ["a.biases", "a.scales", "a.weight"]
        w, s, b = got["a.weight"], got["a.scales"], got["a.biases"]
        bits = BITS[name]
        assert (w.dtype, s.dtype, b.dtype) == (mx.uint32, mx.float16, mx.float16)
        assert w.shape == (*shape[:-1], shape[-1] * bits // 32) and s.shape == b.shape == (*shape[:-1], shape[-1] // 32)
        codes = np.array(w).view(np.uint8)
        if bits == 4:
            codes = np.stack([codes & 15, codes >> 4], -1).reshape(shape)
        per_group = [np.repeat(np.array(v).astype(np.float64), 32, -1).reshape(shape) for v in (s, b)]
        assert np.array_equal(
            (codes * per_group[0] + per_group[1]).astype(np.float32), quants.dequantize(raw, Kind[name])
        )

    def test_quantized_weights_multiply(self, tmp_path):
        raw = blocks_of("Q4_0", (8, 64))
        got = mx.load(written(tmp_path / "a.gguf", lambda w: w.add_tensor("a.weight", raw, raw_dtype=Kind.Q4_0)))
        x = mx.random.normal((3, 64))
        y = mx.quantized_matmul(x, *(got[f"a.{n}"] for n in ("weight", "scales", "biases")), group_size=32, bits=4)
        assert np.allclose(np.array(y), np.array(x) @ quants.dequantize(raw, Kind.Q4_0).T, atol=1e-4)

    @pytest.mark.parametrize("name", ["Q4_0", "Q8_0"])
    def test_names(self, name, tmp_path):
        def fill(w):
            for key in ("weight", "x.weight.weight", "bias", ".weight"):
                w.add_tensor(key, blocks_of(name, (2, 32)), raw_dtype=Kind[name])

        want = ["weight", "weight.scales", "weight.biases", "x.weight.weight", "x.weight.scales", "x.weight.biases"]
        want += ["bias", "bias.scales", "bias.biases", ".weight", ".scales", ".biases"]
        assert sorted(mx.load(written(tmp_path / "a.gguf", fill))) == sorted(want)

    @pytest.mark.parametrize("name", EXPANDED)
    @pytest.mark.parametrize("shape", [(256,), (3, 2, 512), (400, 768)])
    def test_expanded(self, name, shape, tmp_path):
        raw = blocks_of(name, shape, 1)
        got = mx.load(written(tmp_path / "a.gguf", lambda w: w.add_tensor("x.weight", raw, raw_dtype=Kind[name])))
        assert list(got) == ["x.weight"] and got["x.weight"].dtype == mx.float16 and got["x.weight"].shape == shape
        want = quants.dequantize(raw, Kind[name])
        assert np.array_equal(np.array(got["x.weight"]), want.astype(np.float16))
        assert np.ptp(want) > 0

    @pytest.mark.parametrize("name", EXPANDED)
    def test_any_bits_expand(self, name, tmp_path):
        """Scales that are infinite, subnormal or no number."""
        size = gguf.GGML_QUANT_SIZES[Kind[name]][1]
        raw = np.random.default_rng(2).integers(0, 256, (500, size), np.uint8)
        got = mx.load(written(tmp_path / "a.gguf", lambda w: w.add_tensor("x", raw, raw_dtype=Kind[name])))["x"]
        with np.errstate(all="ignore"):
            want = quants.dequantize(raw, Kind[name]).astype(np.float16)
        assert np.array_equal(np.array(got), want, equal_nan=True)

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused(self, name, tmp_path):
        raw = np.zeros((2, gguf.GGML_QUANT_SIZES[Kind[name]][1]), np.uint8)
        path = written(tmp_path / "a.gguf", lambda w: w.add_tensor("x.weight", raw, raw_dtype=Kind[name]))
        with pytest.raises(RuntimeError, match=rf"\[load_gguf\] tensor 'x.weight': the kind {name} is not supported"):
            mx.load(path)

    def test_alignment(self, tmp_path):
        def fill(w):
            w.add_custom_alignment(256)
            w.add_tensor("x", np.ones(3, np.float32))
            w.add_tensor("y", np.full(3, 2, np.float32))

        got = mx.load(written(tmp_path / "a.gguf", fill))
        assert got["x"].tolist() == [1, 1, 1] and got["y"].tolist() == [2, 2, 2]
        path = tmp_path / "b.gguf"
        mx.save_gguf(path, got, {"general.alignment": mx.array(128, mx.uint32)})
        reader = GGUFReader(path)
        assert reader.alignment == 128 and [t.data_offset % 128 for t in reader.tensors] == [0, 0]
        assert mx.load(path)["y"].tolist() == [2, 2, 2]

    def test_big_endian(self, tmp_path):
        x = np.arange(6, dtype=np.float32).reshape(2, 3)

        def fill(w):
            w.add_tensor("x", x)
            w.add_tensor("i", np.arange(3, dtype=np.int16))
            w.add_uint32("n", 7)
            w.add_array("list", [1, 2, 3])
            w.add_string("s", "text")

        got, meta = mx.load(written(tmp_path / "a.gguf", fill, endianess=GGUFEndian.BIG), return_metadata=True)
        assert np.array_equal(np.array(got["x"]), x) and got["i"].tolist() == [0, 1, 2]
        assert meta["n"].item() == 7 and meta["list"].tolist() == [1, 2, 3] and meta["s"] == "text"
        raw = blocks_of("Q4_0", (1, 32))
        path = written(
            tmp_path / "b.gguf", lambda w: w.add_tensor("x", raw, raw_dtype=Kind.Q4_0), endianess=GGUFEndian.BIG
        )
        with pytest.raises(RuntimeError, match="tensor 'x': the kind Q4_0 is not supported in big-endian"):
            mx.load(path)


NUMBERS = {
    "uint8": [0, 200],
    "int8": [-128, 3],
    "uint16": [60000, 1],
    "int16": [-32768, 1],
    "uint32": [4_000_000_000, 1],
    "int32": [-(2**31), 1],
    "uint64": [2**63 + 5, 1],
    "int64": [-(2**62), 1],
    "float32": [1.5, -0.1],
    "float64": [0.1, 1e300],
    "bool": [True, False],
}


class TestMetadata:
    @pytest.mark.parametrize("name", NUMBERS)
    def test_numbers_read(self, name, tmp_path):
        values, kind = NUMBERS[name], GGUFValueType[name.upper()]

        def fill(w):
            w.add_key_value("one", values[0], kind)
            w.add_key_value("list", values, GGUFValueType.ARRAY, sub_type=kind)

        _, meta = mx.load(written(tmp_path / "a.gguf", fill), return_metadata=True)
        dtype = mx.bool_ if name == "bool" else getattr(mx, name)
        want = np.array(values, name)
        assert meta["one"].shape == () and meta["one"].dtype == dtype and meta["one"].item() == want[0]
        assert meta["list"].dtype == dtype and np.array_equal(np.array(meta["list"]), want)
        assert meta["general.architecture"] == "test"

    @pytest.mark.parametrize("name", NUMBERS)
    def test_numbers_written(self, name, tmp_path):
        dtype = mx.bool_ if name == "bool" else getattr(mx, name)
        a = mx.array(np.array(NUMBERS[name], name), dtype=dtype)
        path = tmp_path / "a.gguf"
        mx.save_gguf(path, {"x": mx.ones((2,))}, {"one": a[0], "list": a, "back": a[::-1], "none": a[:0]})
        fields = GGUFReader(path).fields
        assert fields["one"].types == [GGUFValueType[name.upper()]]
        assert fields["list"].types == [GGUFValueType.ARRAY, GGUFValueType[name.upper()]]
        assert fields["one"].contents() == a[0].item() and fields["list"].contents() == a.tolist()
        assert fields["back"].contents() == a.tolist()[::-1]
        _, meta = mx.load(path, return_metadata=True)
        assert meta["none"].shape == (0,) and meta["none"].dtype == dtype
        assert meta["one"].shape == () and mx.array_equal(meta["list"], a).item()

    def test_texts(self, tmp_path):
        texts = {"s": "ü€ text", "empty": "", "words": ["a", "", "ü" * 1000], "nothing": [], "long": "x" * 1_000_000}
        path = tmp_path / "a.gguf"
        mx.save_gguf(path, {"x": mx.ones((2,))}, texts)
        fields = GGUFReader(path).fields
        for key in ("s", "empty", "words", "long"):
            assert fields[key].contents() == texts[key]
        arrays, meta = mx.load(path, return_metadata=True)
        assert meta == texts and arrays["x"].tolist() == [1, 1] and list(meta) == sorted(texts)

        def fill(w):
            w.add_string("s", texts["s"])
            w.add_array("words", texts["words"])

        _, meta = mx.load(written(tmp_path / "b.gguf", fill), return_metadata=True)
        assert meta["s"] == texts["s"] and meta["words"] == texts["words"]

    def test_vocabularies(self, tmp_path):
        words = [f"word{i}" * (i % 7) for i in range(100_000)]
        mx.save_gguf(tmp_path / "a.gguf", {}, {"words": words, "scores": mx.arange(100_000, dtype=mx.float32)})
        got, meta = mx.load(tmp_path / "a.gguf", return_metadata=True)
        assert got == {} and meta["words"] == words and meta["scores"][-1].item() == 99_999

    def test_texts_that_are_not_utf8(self, tmp_path):
        raw = by_hand(metadata={"s": (8, struct.pack("<Q", 2) + b"\xff\xfe")})
        _, meta = mx.load(io.BytesIO(raw), "gguf", True)
        assert meta["s"] == b"\xff\xfe".decode("utf-8", "surrogateescape")
        f = io.BytesIO()
        mx.save_gguf(f, {}, meta)
        assert b"\xff\xfe" in f.getvalue()

    def test_what_cannot_be_saved(self, tmp_path):
        path, x = tmp_path / "a.gguf", mx.ones((2,))
        for value, error in [
            (1, TypeError),
            (1.5, TypeError),
            (True, TypeError),
            (None, TypeError),
            (b"x", TypeError),
            (("a", "b"), TypeError),
            (["a", 1], TypeError),
            ({"a": 1}, TypeError),
            (x.astype(mx.float16), ValueError),
            (mx.array(1j), ValueError),
            (mx.ones((2, 2)), ValueError),
            ("\ud800", ValueError),
        ]:
            with pytest.raises(error, match=r"'k'|k.*array, str or list|surrogates"):
                mx.save_gguf(path, {"x": x}, {"k": value})
        for dtype in (mx.bool_, mx.uint8, mx.uint16, mx.uint32, mx.uint64, mx.complex64):
            with pytest.raises(ValueError, match=r"\[save_gguf\] got the array 'x' of dtype \w+, expected float16"):
                mx.save_gguf(path, {"x": x.astype(dtype)})
        with pytest.raises(ValueError, match="9 dimensions"):
            mx.save_gguf(path, {"x": mx.ones((1,) * 9)})
        for alignment in (mx.array(24, mx.uint32), mx.array(0, mx.uint32), mx.array(32), "32"):
            with pytest.raises(ValueError, match=r"general\.alignment"):
                mx.save_gguf(path, {"x": x}, {"general.alignment": alignment})
        with pytest.raises(TypeError, match="dict"):
            mx.save_gguf(path, [x])
        with pytest.raises(TypeError, match="dict"):
            mx.save_gguf(path, {"x": x}, "text")
        with pytest.raises(TypeError, match="str"):
            mx.save_gguf(path, {1: x})
        with pytest.raises(TypeError, match="'x' must be array"):
            mx.save_gguf(path, {"x": 1})
        assert not path.exists()

    def test_the_file_depends_on_its_contents_only(self):
        def write(names):
            f = io.BytesIO()
            mx.save_gguf(f, {n: mx.full((2,), ord(n)) for n in names}, {n: n for n in names})
            return f.getvalue()

        assert write("abcdef") == write("fedcba")


def text_of(s: bytes | str) -> bytes:
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(raw)) + raw


def tensor(name="x", dims=(2,), kind=0, offset=0) -> bytes:
    return text_of(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def by_hand(tensors=(), metadata=None, data=b"", version=3, counts=None) -> bytes:
    metadata = metadata or {}
    counts = counts or (len(tensors), len(metadata))
    out = b"GGUF" + struct.pack("<IQQ", version, *counts)
    for key, (kind, value) in metadata.items():
        out += text_of(key) + struct.pack("<I", kind) + value
    out += b"".join(tensors)
    return out + bytes(-len(out) % 32) + data


class TestMessages:
    @pytest.mark.parametrize("version", [2, 3])
    def test_well_formed(self, version):
        data = np.arange(2, dtype=np.float32).tobytes() + bytes(24)
        raw = by_hand([tensor(), tensor("y", (), offset=32)], {"n": (4, b"\7\0\0\0")}, data + b"\0\0\x80\x3f", version)
        got, meta = mx.load(io.BytesIO(raw), "gguf", True)
        assert got["x"].tolist() == [0, 1] and got["y"].item() == 1 and meta["n"].item() == 7
        assert mx.load(io.BytesIO(by_hand()), "gguf") == {}

    @pytest.mark.parametrize(
        ("raw", "match"),
        [
            (b"", "end of the file at byte 0"),
            (b"GGML" + bytes(40), "does not begin with GGUF"),
            (by_hand(version=1), "version 1"),
            (by_hand(version=77), "version 77"),
            (by_hand(counts=(2**60, 0)), "got 1152921504606846976 tensors"),
            (by_hand(counts=(0, 2**63)), "metadata values"),
            (by_hand([tensor()], data=bytes(7)), "tensor 'x': 8 bytes from byte 0 on lie outside the 7"),
            (by_hand([tensor(offset=2**63)], data=bytes(8)), "outside the 8 bytes"),
            (by_hand([tensor(offset=4)], data=bytes(32)), "byte 4 of the data, expected a multiple of 32"),
            (by_hand([tensor(), tensor()], data=bytes(8)), "overlaps the tensor 'x'"),
            (by_hand([tensor(), tensor("y", (1,))], data=bytes(40)), "'(x|y)': overlaps the tensor"),
            (by_hand([tensor(), tensor(offset=32)], data=bytes(40)), "'x' occurs twice"),
            (by_hand([tensor(dims=(2**31,))], data=bytes(8)), "dimension of size 2147483648"),
            (by_hand([tensor(dims=(2**30,) * 4)], data=bytes(8)), "64-bit"),
            (by_hand([tensor(dims=(1,) * 9)], data=bytes(8)), "9 dimensions"),
            (by_hand([tensor(kind=99)], data=bytes(8)), "kind 99 is not known"),
            (by_hand([tensor(kind=2)], data=bytes(8)), "got 2 elements in a row, expected a multiple of 32.*Q4_0"),
            (by_hand([tensor(kind=12, dims=())], data=bytes(8)), "multiple of 256.*Q4_K"),
            (by_hand([tensor(name=b"\xff")], data=bytes(8)), "UTF-8"),
            (by_hand(metadata={"k": (13, b"")}), "metadata 'k': got the type 13"),
            (by_hand(metadata={"k": (9, struct.pack("<IQ", 9, 1))}), "metadata 'k': got an array of arrays"),
            (by_hand(metadata={"k": (9, struct.pack("<IQ", 4, 2**61))}), "metadata 'k': got 2305843009213693952 numb"),
            (by_hand(metadata={"k": (9, struct.pack("<IQ", 8, 2**61))}), "metadata 'k': got 2305843009213693952 texts"),
            (by_hand(metadata={"k": (8, struct.pack("<Q", 2**61))}), "metadata 'k': got 2305843009213693952 char"),
            (by_hand(metadata={b"\xff": (4, bytes(4))}), "key.*UTF-8"),
            (by_hand(metadata={"general.alignment": (4, bytes(4))}), "alignment: got 0"),
            (by_hand(metadata={"general.alignment": (4, b"\3\0\0\0")}), "alignment: got 3"),
            (by_hand(metadata={"general.alignment": (5, b"\x20\0\0\0")}), "alignment: expected a number"),
        ],
    )
    def test_malformed(self, raw, match, tmp_path):
        (tmp_path / "a.gguf").write_bytes(raw)
        for file in (io.BytesIO(raw), str(tmp_path / "a.gguf")):
            with pytest.raises(RuntimeError, match=match) as e:
                mx.load(file, format="gguf")
            assert str(e.value).startswith("[load_gguf] ")

    def test_companions_that_are_there_already(self):
        raw = by_hand([tensor("a.weight", (32,), 2), tensor("a.scales", offset=32)], data=bytes(40))
        with pytest.raises(RuntimeError, match=r"'a\.scales' occurs twice"):
            mx.load(io.BytesIO(raw), "gguf")

    def test_keys_that_occur_twice(self):
        raw = by_hand(metadata={"k": (4, bytes(4)), b"k": (4, bytes(4))})
        with pytest.raises(RuntimeError, match="metadata 'k': it occurs twice"):
            mx.load(io.BytesIO(raw), "gguf")


class TestLazily:
    def test_only_what_is_used_is_read(self, tmp_path):
        path = tmp_path / "a.gguf"
        mx.save_gguf(path, {"a": mx.ones((1000,)), "b": mx.zeros((1000,))})
        got = mx.load(path)
        with open(path, "r+b") as f:
            f.truncate(path.stat().st_size - 3000)
        assert got["a"].sum().item() == 1000
        for _ in range(2):
            with pytest.raises(RuntimeError, match="ends at byte"):
                mx.eval(got["b"])

    def test_quantized_tensors_read_once_and_again(self, tmp_path):
        raw = blocks_of("Q8_0", (64, 64))
        path = tmp_path / "a.gguf"
        written(path, lambda w: w.add_tensor("a.weight", raw, raw_dtype=Kind.Q8_0))
        got, whole = mx.load(path), path.read_bytes()
        path.write_bytes(whole[:500])
        with pytest.raises(RuntimeError, match="ends at byte 500"):
            mx.eval(got["a.scales"])
        path.write_bytes(whole)
        mx.eval(got["a.scales"])
        path.write_bytes(b"")
        assert got["a.weight"].shape == (64, 16)
        mx.eval(got)

    def test_inside_transforms(self, tmp_path):
        raw = blocks_of("Q4_0", (8, 32))
        path = written(tmp_path / "a.gguf", lambda w: w.add_tensor("w", raw, raw_dtype=Kind.Q4_0))

        def f(x):
            got = mx.load(path)
            return mx.quantized_matmul(x, got["w"], got["w.scales"], got["w.biases"], group_size=32, bits=4).sum()

        x = mx.ones((2, 32))
        want = quants.dequantize(raw, Kind.Q4_0).sum(0)
        assert np.allclose(np.array(mx.grad(f)(x)), np.stack([want, want]), atol=1e-4)
        g = mx.compile(f)
        assert np.allclose([g(x).item(), g(x).item()], want.sum() * 2, atol=1e-3)
