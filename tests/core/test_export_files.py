"""Files of functions that are damaged, or made to do harm: errors, or functions that run, and nothing else."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest


def normal(*shape: int, key: int = 0) -> mx.array:
    return mx.random.normal(shape, key=mx.random.key(key))


REFUSED = (RuntimeError, ValueError)


def fnv(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def sealed(data: bytearray) -> bytes:
    """With the checksum that belongs to the graph as it is."""
    graph = int.from_bytes(data[16:24], "little")
    data[32:40] = fnv(bytes(data[40 : 40 + graph])).to_bytes(8, "little")
    return bytes(data)


@pytest.fixture(scope="module")
def victim(tmp_path_factory) -> tuple[str, bytes, tuple]:
    """A file with many kinds of operations, its bytes, and arguments for it."""
    path = str(tmp_path_factory.mktemp("victim") / "f")
    w = normal(4, 4)

    def fn(x, i):
        y = mx.softmax(x @ w, axis=-1).reshape(2, 2, 4).transpose(1, 0, 2)[:, ::-1]
        z = mx.fast.layer_norm(y, None, None, 1e-5) + mx.take(x, i, axis=0).sum(axis=1)[0]
        p = mx.pad(z, 1)[1:3, 1:3, :4]
        q = mx.as_strided(x, (2, 3), (4, 1), 1)
        c = mx.conv1d(y, w[:2].reshape(2, 1, 4))
        r = mx.random.randint(0, 9, (2,), key=i.astype(mx.uint32))
        s = mx.cumsum(mx.sort(q, axis=0), axis=1)
        return z, mx.split(p, [1, 3], axis=2)[1], s, mx.fft.rfft(x).real, c, x.at[i].add(1), r

    args = (normal(4, 4, key=5), mx.array([1, 3]))
    mx.export_function(path, fn, *args)
    return path, Path(path).read_bytes(), args


def attack(path: str, data: bytes, args) -> bool:
    """Whether the file was refused. If not, it must be a function that runs."""
    Path(path).write_bytes(data)
    try:
        mx.eval(mx.import_function(path)(*args))
    except (*REFUSED, IndexError, MemoryError):
        return True
    return False


def test_truncated(victim, tmp_path):
    _, data, _ = victim
    path = str(tmp_path / "f")
    for n in (*range(0, 200), *range(200, len(data), 37)):
        Path(path).write_bytes(data[:n])
        with pytest.raises(RuntimeError, match="import_function"):
            mx.import_function(path)
    for more in (b"\0", b"x" * 1000):
        Path(path).write_bytes(data + more)
        with pytest.raises(RuntimeError, match="damaged"):
            mx.import_function(path)


def test_mutated(victim, tmp_path):
    """Whatever is changed outside the data is noticed."""
    _, data, args = victim
    graph = int.from_bytes(data[16:24], "little")
    rng = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(data)
        at = int(rng.integers(40 + graph))
        changed[at] ^= int(rng.integers(1, 256))
        assert attack(str(tmp_path / "f"), bytes(changed), args), at


def test_mutated_by_somebody_who_knows_the_checksum(victim, tmp_path):
    _, data, args = victim
    graph = int.from_bytes(data[16:24], "little")
    rng = np.random.default_rng(1)
    values = [0, 1, 2, 5, 127, 128, 255]
    refused = 0
    for trial in range(2000):
        changed = bytearray(data)
        for _ in range(1 + trial % 3):
            at = 40 + int(rng.integers(graph))
            if trial % 4 == 0:
                changed[at] ^= 1 << int(rng.integers(8))
            elif trial % 4 == 1:
                n = min(4, 40 + graph - at)
                changed[at : at + n] = int(rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 3])).to_bytes(4, "little")[
                    :n
                ]
            else:
                changed[at] = int(rng.choice(values))
        refused += attack(str(tmp_path / "f"), sealed(changed), args)
    assert refused > 1000


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1 and len(old) == len(new)
    return sealed(bytearray(data.replace(old, new)))


def test_lies(tmp_path):
    path = str(tmp_path / "f")
    w = mx.array([1.5, 2.5, 3.5])
    mx.export_function(path, lambda x: mx.sum(x * w, axis=0, keepdims=True), mx.ones(3))
    data = Path(path).read_bytes()
    u32 = lambda n: n.to_bytes(4, "little")  # noqa: E731
    text = lambda s: u32(len(s)) + s.encode()  # noqa: E731
    reduce = text("Reduce") + b"\0" + u32(3)  # kind, axes, keepdims follow
    kind, axes = b"\1" + u32(0), b"\x08" + u32(1) + u32(0)
    of_value = lambda n: b"\1" + u32(n) + one_output  # noqa: E731
    one_to_three = b"\x0a" + u32(1) + u32(3)
    one_output = u32(1) + b"\x0a" + u32(1) + u32(1)
    lies = {
        "no operation": (text("Multiply"), text("Mulziply")),
        "names value 1 of 1": (of_value(0), of_value(1)),
        "known kinds": (reduce + kind, reduce + b"\1" + u32(99)),
        "types": (reduce + kind, reduce + b"\3" + u32(0)),
        "axis 7": (reduce + kind + axes, reduce + kind + b"\x08" + u32(1) + u32(7)),
        "version": (b"MLXfunc\0" + u32(1), b"MLXfunc\0" + u32(2)),
        "Multiply gives": (text("Multiply") + b"\0" + u32(0), None),
        "entries does not fit": (u32(2) + text("Multiply"), u32(0x7FFFFFFF) + text("Multiply")),
    }
    for message, (old, new) in lies.items():
        if new is None:  # the output of the product, (3) float32, becomes int32
            at = data.index(old)
            where = data.index(one_to_three, at)
            changed = bytearray(data)
            changed[where] = 7
            changed = sealed(changed)
        else:
            changed = edited(data, old, new)
        Path(path).write_bytes(changed)
        with pytest.raises(RuntimeError, match=message):
            mx.import_function(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "f"
    for content in (b"", b"abc" * 10, b"MLXfunc\0", b"\0" * 1000, b"MLXfunc\0" + b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match="import_function"):
            mx.import_function(path)
