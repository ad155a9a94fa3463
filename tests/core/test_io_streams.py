"""Where files come from and go to: replaced in one step, file objects of all kinds, files that change meanwhile."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

SAVERS = {
    "a.npy": mx.save,
    "a.npz": mx.savez,
    "b.npz": mx.savez_compressed,
    "a.safetensors": lambda path, a: mx.save_safetensors(path, {"arr_0": a}),
    "a.gguf": lambda path, a: mx.save_gguf(path, {"arr_0": a}),
}


def first(loaded):
    return loaded["arr_0"] if isinstance(loaded, dict) else loaded


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder whose modes hold: root, who may write anywhere, is somebody else in the block."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, -1)
            os.setresuid(65534, 65534, 0)
        try:
            yield Path(folder)
        finally:
            if root:
                os.setresuid(0, 0, 0)


@pytest.mark.parametrize("name", SAVERS)
class TestReplacing:
    def test_links_and_modes_are_kept(self, name, tmp_path):
        (tmp_path / "there").mkdir()
        target, link = tmp_path / "there" / name, tmp_path / name
        link.symlink_to(target)
        SAVERS[name](str(link), mx.ones((2,)))
        assert link.is_symlink() and target.exists()
        target.chmod(0o640)
        SAVERS[name](str(link), mx.zeros((2,)))
        assert link.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o640
        assert first(mx.load(str(target))).tolist() == [0, 0]
        assert os.listdir(tmp_path / "there") == [name]

    def test_in_the_current_folder(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        SAVERS[name](name, mx.ones((2,)))
        assert first(mx.load(name)).tolist() == [1, 1] and os.listdir() == [name]

    def test_saving_what_was_not_read_yet(self, name, tmp_path):
        path = str(tmp_path / name)
        SAVERS[name](path, mx.arange(1_000_000))
        SAVERS[name](path, first(mx.load(path)) + 1)
        assert first(mx.load(path))[-1].item() == 1_000_000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs resource limits")
    def test_no_room(self, name, tmp_path):
        """The old file survives, and nothing else stays."""
        path = tmp_path / name
        SAVERS[name](str(path), mx.ones((2,)))
        before = path.read_bytes()
        code = f"""if True:
            import resource, sys
            import mlx.core as mx
            sys.path.insert(0, {os.path.dirname(__file__)!r})
            from test_io_streams import SAVERS
            noise = mx.random.uniform(shape=(400_000,))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            try:
                SAVERS[{name!r}]({str(path)!r}, noise)
            except RuntimeError as e:
                assert "cannot write" in str(e), e
                sys.exit(3)
        """
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 3 and done.stderr == "", done.stderr
        assert path.read_bytes() == before and os.listdir(tmp_path) == [name]

    @pytest.mark.skipif(os.name == "nt", reason="modes of files")
    def test_no_permission(self, name):
        with folder_of_nobody() as folder:
            path = folder / name
            SAVERS[name](str(path), mx.ones((2,)))
            path.chmod(0o400)
            with pytest.raises(RuntimeError, match="cannot write"):
                SAVERS[name](str(path), mx.zeros((2,)))
            path.chmod(0o600)
            folder.chmod(0o500)
            with pytest.raises(RuntimeError, match="cannot write"):
                SAVERS[name](str(path), mx.zeros((2,)))
            folder.chmod(0o700)
            assert first(mx.load(str(path))).tolist() == [1, 1] and os.listdir(folder) == [name]

    def test_an_evaluation_that_fails_leaves_no_file(self, name, tmp_path):
        broken = tmp_path / "broken.npy"
        mx.save(str(broken), mx.ones((1_000_000,)))
        a = mx.load(str(broken))
        os.truncate(broken, 1000)
        with pytest.raises(RuntimeError, match="ends at byte"):
            SAVERS[name](str(tmp_path / name), a)
        assert os.listdir(tmp_path) == ["broken.npy"]

    def test_devices_are_written_to(self, name, tmp_path):
        link = tmp_path / name
        link.symlink_to(os.devnull)
        SAVERS[name](str(link), mx.ones((2,)))
        assert link.is_symlink() and stat.S_ISCHR(os.stat(os.devnull).st_mode)

    def test_names_that_are_no_text(self, name, tmp_path):
        path = os.path.join(str(tmp_path), b"\xff\xfe".decode("utf-8", "surrogateescape") + name)
        try:
            SAVERS[name](path, mx.ones((2,)))
        except RuntimeError:
            pytest.skip("the file system takes text only")
        assert first(mx.load(path)).tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="No such file"):
            mx.load(path.replace("a.", "c.").replace("b.", "c."))


class TestFileObjects:
    def test_several_arrays_in_one(self):
        f = io.BytesIO(b"####")
        f.seek(4)
        for k in range(3):
            mx.save(f, mx.full((k,), k))
        assert f.tell() == len(f.getvalue())
        f.seek(4)
        assert [mx.load(f, format="npy").tolist() for _ in range(3)] == [[], [1], [2, 2]]
        assert f.tell() == len(f.getvalue())
        f.seek(4)
        assert [np.load(f).tolist() for _ in range(3)] == [[], [1], [2, 2]]

    def test_closing_after_loading(self, tmp_path):
        path = str(tmp_path / "a.npy")
        mx.save(path, mx.arange(1_000_000))
        with open(path, "rb") as f:
            a = mx.load(f)
        with open(path, "rb", buffering=0) as f:
            b = mx.load(f)
        assert a[-1].item() == b[-1].item() == 999_999

    def test_pipes(self):
        r, w = os.pipe()
        with os.fdopen(w, "wb") as f:
            mx.save(f, mx.arange(5))
        with os.fdopen(r, "rb") as f:
            assert mx.load(f, format="npy").tolist() == [0, 1, 2, 3, 4]

    def test_objects_that_do_things_in_parts(self):
        class Parts(io.RawIOBase):
            def __init__(self):
                self.data = b""

            def writable(self):
                return True

            def write(self, data):
                self.data += bytes(data[:7])
                return len(data[:7])

        class Short(io.BytesIO):
            def read(self, n=-1):
                return super().read(min(n, 3))

        f = Parts()
        mx.save_safetensors(f, {"x": mx.arange(9)})
        assert mx.load(Short(f.data), format="safetensors")["x"].tolist() == list(range(9))

    @pytest.mark.parametrize("cut", [0, 5, 100, 130])
    def test_objects_that_end_early(self, cut):
        f = io.BytesIO()
        mx.save(f, mx.arange(9))
        with pytest.raises(RuntimeError):
            mx.load(io.BytesIO(f.getvalue()[:cut]), format="npy")

    def test_objects_that_lie(self):
        class Lies(io.BytesIO):
            def read(self, n=-1):
                return b"x" * (n + 1)

        class Negative(io.BytesIO):
            def tell(self):
                return -1

        class Raises(io.BytesIO):
            def read(self, n=-1):
                raise KeyError("mine")

        for kind, error in ((Lies, RuntimeError), (Negative, RuntimeError), (Raises, KeyError)):
            with pytest.raises(error):
                mx.load(kind(b"x" * 100), format="npy")
        with pytest.raises(TypeError, match="binary"):
            mx.load(io.StringIO("x" * 100), format="npy")
        with pytest.raises(TypeError):
            mx.save(io.StringIO(), mx.ones((2,)))
        with pytest.raises(TypeError, match="file"):
            mx.load(3)
        with pytest.raises(TypeError, match="file"):
            mx.save(3, mx.ones((2,)))
        with pytest.raises(ValueError, match="format"):
            mx.load(io.BytesIO(), format="xyz")
        with pytest.raises(ValueError, match="format="):
            mx.load(io.BytesIO())

    def test_python_runs_meanwhile(self):
        """Threads of Python work while files are written and read through file objects of Python."""
        a = mx.arange(2_000_000)
        results, errors = [], []

        def work(k):
            try:
                f = io.BytesIO()
                mx.save(f, a + k)
                f.seek(0)
                results.append(mx.load(f, format="npy")[-1].item() - k)
            except Exception as e:
                errors.append(e)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert not errors and results == [1_999_999] * 6


class ReadsOnly:
    """What a socket's file or a response offers at least."""

    def __init__(self, data: bytes, name: object = None):
        self.data, self.name = data, name

    def read(self, n):
        piece, self.data = self.data[: min(n, 1000)], self.data[min(n, 1000) :]
        return piece


class WritesOnly:
    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


@pytest.mark.parametrize("name", SAVERS)
class TestAnyFormat:
    def saved(self, name) -> bytes:
        f = io.BytesIO()
        SAVERS[name](f, mx.arange(5000))
        return f.getvalue()

    def test_file_objects(self, name, tmp_path):
        whole, path = self.saved(name), tmp_path / name
        SAVERS[name](path, mx.arange(5000))
        if not name.endswith("npz"):  # zipfile writes the sizes where they belong if it can go back
            assert path.read_bytes() == whole
        with open(path, "rb") as f:
            got = mx.load(f)
        assert first(got).tolist() == list(range(5000))
        kind = name.split(".")[1]
        assert first(mx.load(io.BytesIO(whole), format=kind)).tolist() == list(range(5000))
        f = WritesOnly()
        SAVERS[name](f, mx.arange(5000))
        assert first(mx.load(io.BytesIO(f.data), format=kind))[-1].item() == 4999

    def test_objects_that_only_read(self, name):
        whole, kind = self.saved(name), name.split(".")[1]
        for file, format in ((ReadsOnly(whole), kind), (ReadsOnly(whole, name), None), (ReadsOnly(whole), None)):
            assert first(mx.load(file, format=format)).tolist() == list(range(5000))

    def test_pipes(self, name):
        whole = self.saved(name)
        r, w = os.pipe()
        with os.fdopen(r, "rb") as source:
            with os.fdopen(w, "wb") as sink:
                sink.write(whole)
            assert first(mx.load(source))[-1].item() == 4999

    def test_from_the_middle(self, name):
        f = io.BytesIO(b"#" * 100)
        f.seek(64)
        SAVERS[name](f, mx.arange(5000))
        f.seek(64)
        assert first(mx.load(f, format=name.split(".")[1]))[-1].item() == 4999

    def test_formats_by_contents(self, name, tmp_path):
        """Where the name has no extension, or one that says nothing."""
        whole = self.saved(name)
        for other in ("plain", "plain.bin", "v1.2/plain"):
            (tmp_path / "v1.2").mkdir(exist_ok=True)
            (tmp_path / other).write_bytes(whole)
            assert first(mx.load(tmp_path / other))[-1].item() == 4999
        f = io.BytesIO(b"##" + whole)
        f.seek(2)
        if not name.endswith("npz"):  # zipfile looks for the beginning itself
            assert first(mx.load(f))[-1].item() == 4999
        assert first(mx.load(io.BytesIO(whole)))[-1].item() == 4999

    def test_a_format_is_believed(self, name, tmp_path):
        kind = name.split(".")[1]
        for other in {"npy", "npz", "safetensors", "gguf"} - {kind}:
            (tmp_path / f"a.{other}").write_bytes(self.saved(name))
            assert first(mx.load(tmp_path / f"a.{other}", format=kind))[-1].item() == 4999
            with pytest.raises(RuntimeError):
                mx.load(tmp_path / f"a.{other}")

    def test_files_that_are_none(self, name, tmp_path):
        for raw in (b"", b"x", b"x" * 100):
            (tmp_path / "a.bin").write_bytes(raw)
            with pytest.raises(ValueError, match="known extension or beginning"):
                mx.load(tmp_path / "a.bin")
            with pytest.raises(ValueError, match="known extension or beginning"):
                mx.load(io.BytesIO(raw))
            (tmp_path / name).write_bytes(raw)
            with pytest.raises(RuntimeError, match=name):
                mx.load(tmp_path / name)


def test_names_are_in_order(tmp_path):
    """Sorted, but for archives, which have an order of their own."""
    arrays = {n: mx.array(1) for n in ("b", "a", "c.10", "c.9", "B")}
    mx.save_safetensors(tmp_path / "a.safetensors", arrays, {"z": "", "y": ""})
    mx.save_gguf(tmp_path / "a.gguf", arrays, {"z": "", "y": ""})
    mx.savez(tmp_path / "a.npz", **arrays)
    for kind in ("safetensors", "gguf"):
        got, metadata = mx.load(tmp_path / f"a.{kind}", return_metadata=True)
        assert list(got) == sorted(arrays) and list(metadata) == ["y", "z"]
    assert list(mx.load(tmp_path / "a.npz")) == list(arrays)


def test_metadata_that_is_not_there(tmp_path):
    for kind, save in (("safetensors", mx.save_safetensors), ("gguf", mx.save_gguf)):
        for more in ((), (None,), ({},)):
            save(tmp_path / f"a.{kind}", {"x": mx.array(1)}, *more)
            arrays, metadata = mx.load(tmp_path / f"a.{kind}", return_metadata=True)
            assert list(arrays) == ["x"] and metadata == {}


class TestLazily:
    def test_thousands_of_small_files(self, tmp_path):
        """They are not kept open."""
        mx.save(str(tmp_path / "a.npy"), mx.ones((10,)))
        arrays = [mx.load(str(tmp_path / "a.npy")) for _ in range(3000)]
        assert mx.stack(arrays).sum().item() == 30_000

    def test_more_than_there_is_memory(self, tmp_path):
        """A sparse file of a tebibyte is well-formed; reading it is a MemoryError."""
        text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1048576, 1048576), }\n"
        path = tmp_path / "a.npy"
        with open(path, "wb") as f:
            f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
            try:
                f.truncate(10 + len(text) + 2**40)
            except OSError:
                pytest.skip("no sparse files here")
        a = mx.load(str(path))
        assert a.shape == (2**20, 2**20)
        with pytest.raises(MemoryError):
            mx.eval(a)


def safetensors(header: bytes, data: bytes) -> io.BytesIO:
    return io.BytesIO(struct.pack("<Q", len(header)) + header + data)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


class TestMessages:
    """What is wrong, where, and what was expected."""

    @pytest.mark.parametrize(
        ("header", "data", "match"),
        [
            ({"w": {**F32, "data_offsets": [0, 100]}}, 50, r"tensor 'w': offsets \[0, 100\) lie outside the 50 bytes"),
            ({"w": {**F32, "dtype": "F77"}}, 8, "tensor 'w': the dtype 'F77' is not supported"),
            ({"w": {**F32, "shape": [3]}}, 8, "tensor 'w'.*hold 8 bytes, expected 12"),
            ({"w": {**F32, "shape": [2**31]}}, 8, "tensor 'w': got a dimension of size 2147483648"),
            ({"w": F32, "v": F32}, 8, "overlaps"),
            ({"w": F32}, 9, "9 bytes of data, expected 8"),
            ({"w": {**F32, "data_offsets": [8, 16]}}, 16, "begins at byte 8, expected 0"),
            ({"w": {"dtype": "F32"}}, 8, "expected dtype, shape and data_offsets"),
            ({"w": {**F32, "data_offsets": [0, 4, 8]}}, 8, "3 data_offsets, expected 2"),
            ({"w": {**F32, "shape": [2.0]}}, 8, "malformed at byte .*integer"),
            ({"__metadata__": {"a": 1}}, 0, "malformed at byte .*string"),
            ({"__metadata__": [1]}, 0, "malformed at byte .*object"),
            (b'{"w":' + json.dumps(F32).encode() + b',"w":' + json.dumps(F32).encode() + b"}", 8, "'w' twice"),
            (b'{"w\xff":1}', 0, "not UTF-8"),
            (b"{} x", 0, "expected the end"),
            (b'{"w":{"more":' + b"[" * 200, 0, "64 levels"),
        ],
    )
    def test_safetensors(self, header, data, match):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        with pytest.raises(RuntimeError, match=match) as e:
            mx.load(safetensors(text, bytes(data)), format="safetensors")
        assert str(e.value).startswith("[load_safetensors] ")

    def test_what_is_allowed(self):
        for header, n in [(b"{}", 0), (b"{}   ", 0), (b'{"__metadata__":null}', 0)]:
            assert mx.load(safetensors(header, bytes(n)), format="safetensors") == {}
        more = json.dumps({"w": {**F32, "more": {"a": [1, None]}}}).encode()
        assert mx.load(safetensors(more, bytes(8)), format="safetensors")["w"].tolist() == [0, 0]

    def test_a_header_that_is_too_long(self, tmp_path):
        path = tmp_path / "a.safetensors"
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", 200_000_000))
            f.truncate(300_000_000)
        with pytest.raises(RuntimeError, match="at most 100000000"):
            mx.load(str(path))

    def test_arguments(self, tmp_path):
        path = str(tmp_path / "a")
        x = mx.ones((2,))
        with pytest.raises(RuntimeError, match="No such file"):
            mx.load(path + ".gguf")
        with pytest.raises(ValueError, match="__metadata__"):
            mx.save_safetensors(path, {"__metadata__": x})
        with pytest.raises(ValueError, match="surrogates"):
            mx.save_safetensors(path, {"\ud800": x})
        with pytest.raises(ValueError, match="only str"):
            mx.save_safetensors(path, {"x": x}, {"a": 1})
        with pytest.raises(TypeError, match="'x' must be array"):
            mx.save_safetensors(path, {"x": np.ones(2)})
        with pytest.raises(TypeError, match="must be str"):
            mx.save_safetensors(path, {1: x})
        with pytest.raises(ValueError, match="arr_0"):
            mx.savez(path, x, arr_0=x)
        with pytest.raises(TypeError, match="'y' must be array"):
            mx.savez(path, y=3)
        with pytest.raises(ValueError, match="null"):
            mx.save("a\0b", x)
        assert os.listdir(tmp_path) == []
        for kind, saver in (("npy", mx.save), ("npz", mx.savez)):
            saver(path, x)
            with pytest.raises(ValueError, match="return_metadata"):
                mx.load(f"{path}.{kind}", return_metadata=True)


class TestArchives:
    def archive(self, tmp_path, **members: bytes):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as z:
            for name, data in members.items():
                z.writestr(name, data)
        return str(tmp_path / "a.npz")

    def test_members_that_are_no_arrays(self, tmp_path):
        f = io.BytesIO()
        mx.save(f, mx.ones((2,)))
        with pytest.raises(RuntimeError, match="readme"):
            mx.load(self.archive(tmp_path, readme=b"text"))
        with pytest.raises(RuntimeError, match="expected 136"):
            mx.load(self.archive(tmp_path, x=f.getvalue() + b"more"))
        with pytest.raises(RuntimeError, match="twice"):
            mx.load(self.archive(tmp_path, **{"x": f.getvalue(), "x.npy": f.getvalue()}))

    @pytest.mark.parametrize("saver", [mx.savez, mx.savez_compressed])
    def test_flipped_bytes_are_noticed(self, saver, tmp_path):
        path = tmp_path / "a.npz"
        saver(str(path), x=mx.arange(500))
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(300):
            broken = bytearray(whole)
            for k in rng.integers(0, len(whole), 2):
                broken[k] ^= 1 << rng.integers(0, 8)
            path.write_bytes(bytes(broken))
            try:
                got = mx.load(str(path))
            except (RuntimeError, ValueError, MemoryError):
                continue
            assert all(v.tolist() == list(range(500)) for v in got.values())
