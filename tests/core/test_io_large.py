"""Files that are larger than the memory for them, and files that change between load() and the evaluation."""

from __future__ import annotations

import os
import struct
import sys
import threading

import mlx.core as mx
import pytest
from scripts import needs_address_limit, run_python

GB = 1 << 30
NAMED = {"safetensors": mx.save_safetensors, "gguf": mx.save_gguf}


def sparse_file(path, kind: str) -> str:
    """`big`, 3 GB that take no room on the disk, then `small`, the numbers 0 to 999."""
    if kind == "safetensors":
        entries = '{"big":{"dtype":"I8","shape":[3,%d],"data_offsets":[0,%d]},'
        entries += '"small":{"dtype":"I32","shape":[1000],"data_offsets":[%d,%d]}}'
        text = entries % (GB, 3 * GB, 3 * GB, 3 * GB + 4000)
        header = struct.pack("<Q", len(text)) + text.encode()
    elif kind == "gguf":
        header = b"GGUF" + struct.pack("<IQQ", 3, 2, 0)
        header += struct.pack("<Q", 3) + b"big" + struct.pack("<I2QIQ", 2, GB, 3, 24, 0)
        header += struct.pack("<Q", 5) + b"small" + struct.pack("<IQIQ", 1, 1000, 26, 3 * GB)
        header += bytes(-len(header) % 32)
    else:
        text = b"{'descr': '|i1', 'fortran_order': False, 'shape': (3, %d), }\n" % GB
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    with open(path, "wb") as f:
        f.write(header)
        try:
            f.truncate(len(header) + 3 * GB)
        except OSError:
            pytest.skip("no sparse files here")
        f.seek(0, os.SEEK_END)
        f.write(b"" if kind == "npy" else struct.pack("<1000i", *range(1000)))
    return str(path)


RESIDENT = """
    import resource
    import mlx.core as mx

    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def allow_one_more_gb():
        with open("/proc/self/statm") as f:
            now = int(f.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), now + (1 << 30)))

    def does_not_fit(a):
        try:
            mx.eval(a)
        except MemoryError:
            return
        raise SystemExit("3 GB fit into 1")

    mx.eval(mx.ones((1000,)).sum())
    before = resident()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("kind", NAMED)
class TestLarge:
    def test_only_what_is_used_is_read(self, kind, tmp_path):
        path = sparse_file(tmp_path / f"a.{kind}", kind)
        out = run_python(
            RESIDENT
            + f"""
    got = mx.load({path!r})
    assert got["big"].shape == (3, 1 << 30) and got["big"].dtype == mx.int8
    assert got["small"].sum().item() == 499500
    print(resident() - before)
"""
        )
        assert int(out) < 20 << 20

    @needs_address_limit
    def test_larger_than_memory(self, kind, tmp_path):
        path = sparse_file(tmp_path / f"a.{kind}", kind)
        run_python(
            RESIDENT
            + f"""
    allow_one_more_gb()
    got = mx.load({path!r})
    assert got["small"].sum().item() == 499500
    does_not_fit(got["big"])
    assert (got["small"] + 1).sum().item() == 500500
"""
        )


@needs_address_limit
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_an_npy_file_larger_than_memory(tmp_path):
    path = sparse_file(tmp_path / "a.npy", "npy")
    run_python(
        RESIDENT
        + f"""
    allow_one_more_gb()
    a = mx.load({path!r})
    assert a.shape == (3, 1 << 30) and resident() - before < 20 << 20
    does_not_fit(a)
    assert mx.ones((3,)).sum().item() == 3
"""
    )


@pytest.mark.parametrize("kind", ["npy", *NAMED])
class TestChanges:
    """Between load() and the evaluation."""

    def load(self, path):
        loaded = mx.load(str(path))
        return loaded["x"] if isinstance(loaded, dict) else loaded

    def save(self, path, a):
        if path.suffix == ".npy":
            mx.save(path, a)
        else:
            NAMED[path.suffix[1:]](path, {"x": a})

    def test_replaced(self, kind, tmp_path):
        path = tmp_path / f"a.{kind}"
        self.save(path, mx.ones((1_000_000,)))
        old = self.load(path)
        self.save(path, mx.zeros((10,)))
        assert old.sum().item() == 1_000_000 and self.load(path).shape == (10,)

    @pytest.mark.skipif(os.name == "nt", reason="open files cannot be deleted there")
    def test_deleted(self, kind, tmp_path):
        path = tmp_path / f"a.{kind}"
        self.save(path, mx.ones((1_000_000,)))
        old = self.load(path)
        path.unlink()
        assert old.sum().item() == 1_000_000

    def test_shortened_in_place(self, kind, tmp_path):
        """An error, each time, and no signal; the array can be read once the file is whole again."""
        path = tmp_path / f"a.{kind}"
        self.save(path, mx.ones((3_000_000,)))
        whole, old = path.read_bytes(), self.load(path)
        total = old.sum()
        for size in (11_000_000, 5000, 0):
            os.truncate(path, size)
            with pytest.raises(RuntimeError, match=f"ends at byte {size}, expected"):
                total.item()
        path.write_bytes(whole)
        assert total.item() == 3_000_000

    def test_shortened_while_threads_read(self, kind, tmp_path):
        """Each evaluation is right or raises."""
        path = tmp_path / f"a.{kind}"
        self.save(path, mx.ones((1_000_000,)))
        size, stop, results = path.stat().st_size, threading.Event(), []

        def read():
            for _ in range(20):
                try:
                    results.append(self.load(path).sum().item())
                except RuntimeError as e:
                    results.append(str(e))

        def cut():
            while not stop.is_set():
                os.truncate(path, size // 2)
                os.truncate(path, size)

        threads = [threading.Thread(target=read) for _ in range(3)]
        cutter = threading.Thread(target=cut)
        for t in (*threads, cutter):
            t.start()
        for t in threads:
            t.join(120)
        stop.set()
        cutter.join(60)
        assert len(results) == 60
        # What was cut off comes back as zeros: sums from one half to the whole.
        assert all(400_000 < r <= 1_000_000 if isinstance(r, float) else r.startswith("[load") for r in results), (
            results
        )

    def test_no_descriptor_stays_open(self, kind, tmp_path):
        path = tmp_path / f"a.{kind}"
        self.save(path, mx.ones((1_000_000,)))
        folder = "/proc/self/fd"
        if not os.path.isdir(folder):
            pytest.skip("needs /proc")
        before = len(os.listdir(folder))
        kept = [self.load(path) for _ in range(20)]
        mx.eval(kept)
        unused = self.load(path)
        del unused
        assert len(os.listdir(folder)) == before


@pytest.mark.parametrize("kind", NAMED)
def test_threads_share_what_one_loaded(kind, tmp_path):
    path = str(tmp_path / f"a.{kind}")
    NAMED[kind](path, {str(k): mx.full((300_000,), k, mx.int32) for k in range(8)})
    got = mx.load(path)
    sums: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: sums.append([got[str(k)].sum().item() for k in range(8)])) for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert sums == [[k * 300_000 for k in range(8)]] * 4
