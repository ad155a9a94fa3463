"""Thousands of damaged files of every format: each is read right or refused, and none makes the library crash, wait or
allocate more than it is large.
"""

from __future__ import annotations

import io
import itertools
import re
import struct

import mlx.core as mx
import numpy as np
import pytest

FILES = 2000
HUGE = [0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


def npy() -> bytes:
    f = io.BytesIO()
    mx.save(f, mx.arange(60, dtype=mx.float32).reshape(3, 4, 5).transpose(2, 1, 0))
    return f.getvalue()


def npz(save) -> bytes:
    f = io.BytesIO()
    save(f, x=mx.arange(40, dtype=mx.int16), y=mx.ones((3, 4)), z=mx.array(True))
    return f.getvalue()


def safetensors() -> bytes:
    f = io.BytesIO()
    arrays = {"a": mx.ones((3, 4)), "b.weight": mx.arange(10), "c": mx.ones((0, 5)), "d": mx.array(2, mx.uint8)}
    mx.save_safetensors(f, arrays, {"format": "mlx", "note": "ü"})
    return f.getvalue()


def gguf() -> bytes:
    """With blocks of every use; put together by hand, as save_gguf writes no packed kinds."""
    metadata = {
        "s": struct.pack("<IQ", 8, 3) + b"abc",
        "n": struct.pack("<II", 4, 7),
        "list": struct.pack("<IIQ", 9, 5, 3) + bytes(12),
        "words": struct.pack("<IIQ", 9, 8, 2) + 2 * (struct.pack("<Q", 2) + b"hi"),
        "general.alignment": struct.pack("<II", 4, 32),
    }
    # dimensions, kind, bytes
    tensors = {
        "f": ((4, 3), 0, 48),
        "q4.weight": ((64, 2), 2, 72),
        "q8.weight": ((32,), 8, 34),
        "k": ((256,), 12, 144),
        "t": ((256, 2), 34, 108),
    }
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        out += struct.pack("<Q", len(key)) + key.encode() + value
    data = b""
    for name, (dims, kind, size) in tensors.items():
        out += struct.pack("<Q", len(name)) + name.encode()
        out += struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += bytes(range(size)) + bytes(-size % 32)
    return out + bytes(-len(out) % 32) + data


def damaged(whole: bytes, header: int, rng: np.random.Generator) -> bytes:
    """Of the ways in which files break, one or two; mostly within the first `header` bytes."""
    raw = bytearray(whole)
    for _ in range(rng.integers(1, 3)):
        size = len(raw)
        if size < 16:
            break
        at = int(rng.integers(0, min(size, header) if rng.random() < 0.8 else size))
        how = rng.integers(0, 8)
        if how == 0:  # cut
            del raw[at:]
        elif how == 1:  # flip bits
            for k in rng.integers(0, min(size, header), rng.integers(1, 5)):
                raw[k] ^= 1 << int(rng.integers(0, 8))
        elif how == 2:  # overwrite
            raw[at] = int(rng.integers(0, 256))
        elif how == 3:  # a number that is much too large, or 0
            raw[at : at + 8] = struct.pack("<Q", HUGE[rng.integers(0, len(HUGE))])
        elif how == 4:
            raw[at : at + 4] = struct.pack("<I", HUGE[rng.integers(0, len(HUGE))] % 2**32)
        elif how == 5:  # take some out
            del raw[at : at + int(rng.integers(1, 9))]
        elif how == 6:  # the same again: overlapping offsets, names that occur twice
            other = int(rng.integers(0, min(size, header)))
            n = int(rng.integers(1, 33))
            raw[at : at + n] = raw[other : other + n]
        else:  # a number of a header that is text
            numbers = list(re.finditer(rb"\d+", raw[:header]))
            if numbers:
                m = numbers[rng.integers(0, len(numbers))]
                raw[m.start() : m.end()] = str(HUGE[rng.integers(0, len(HUGE))]).encode()
    return bytes(raw)


# Name: the sound file, how many bytes its header takes, and how many bytes of arrays a byte of a file can stand for:
# read once and copied, as transposed arrays are; expanded to float16, with the blocks beside; deflated.
FORMATS = {
    "npy": (npy, 128, 2),
    "npz": (lambda: npz(mx.savez), 10_000, 2),
    "npz, compressed": (lambda: npz(mx.savez_compressed), 10_000, 1032),
    "safetensors": (safetensors, 400, 2),
    "gguf": (gguf, 600, 12),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(name, tmp_path):
    make, header, growth = FORMATS[name]
    whole, kind = make(), name.split(",")[0]
    want = mx.load(io.BytesIO(whole), format=kind)
    mx.eval(want)
    rng = np.random.default_rng(sum(name.encode()))
    path = tmp_path / f"a.{kind}"
    read = refused = 0
    # An array takes whole pages; members of archives that claim to have less than a mebibyte are believed.
    spare = (2 << 20) if kind == "npz" else (1 << 18)
    for i in range(FILES):
        raw = damaged(whole, header, rng)
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        try:
            if i % 2:
                path.write_bytes(raw)
                mx.eval(mx.load(path))
            else:
                mx.eval(mx.load(io.BytesIO(raw), format=kind))
            read += 1
        except (RuntimeError, ValueError) as e:
            assert str(e), repr(e)
            refused += 1
        assert mx.get_peak_memory() - before <= growth * len(raw) + spare, (i, raw)
    assert read > FILES // 100 and refused > FILES // 5, (read, refused)
    assert mx.load(io.BytesIO(whole), format=kind).__class__ is want.__class__


class Asked(io.BytesIO):
    """Notes the most that it was asked for at once: files allocate that before they find out what they have."""

    most = 0

    def read(self, n=-1):
        self.most = max(self.most, n)
        return super().read(n)


def test_huge_claims_of_archives():
    """Sizes in the directory of an archive are claims too."""
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,), }\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"x" * 50
    for method, packed in itertools.product((0, 8, 12, 14), (len(member), 1 << 30)):
        name, size = b"x.npy", len(member) - 50 + 4_000_000_000
        local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, method, 0, 0, 0, packed, size, len(name), 0) + name
        place = struct.pack("<2H3I5H2I", 0, 0, 0, packed, size, len(name), 0, 0, 0, 0, 0, 0)
        central = b"PK\1\2" + struct.pack("<4H", 45, 45, 0, method) + place + name
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(member), 0)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        file = Asked(local + member + central + end)
        with pytest.raises(RuntimeError):
            mx.load(file, format="npz")
        assert mx.get_peak_memory() - before < 1 << 20
        assert file.most <= 1 << 20
