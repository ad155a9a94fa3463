"""A reader of 64-bit Mach-O files, as much as the checks of the macOS wheel want: what dyld would look at."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

ARM64 = 0x0100000C
DYLIB = 6
PLATFORM_MACOS = 1
PAGE = 0x4000

LC_SYMTAB, LC_ID_DYLIB, LC_SEGMENT_64, LC_CODE_SIGNATURE = 0x2, 0xD, 0x19, 0x1D
LC_RPATH, LC_DYLD_INFO_ONLY, LC_BUILD_VERSION = 0x8000001C, 0x80000022, 0x32
LOADS = {0xC, 0x80000018, 0x8000001F, 0x20, 0x80000023}  # LC_LOAD_DYLIB, weak, re-exported, lazy, upward

FLAT_LOOKUP, WEAK_LOOKUP = -2, -3  # special ordinals of libraries


@dataclass(frozen=True)
class Segment:
    name: str
    address: int
    size: int
    offset: int
    file_size: int
    sections: tuple[tuple[str, int, int, int, int], ...]  # name, address, size, file offset, flags


@dataclass(frozen=True)
class Bind:
    """A pointer that dyld fills in: with `symbol` of the library `ordinal` (from 1 on; 0 is this file)."""

    symbol: str
    ordinal: int
    address: int


@dataclass
class MachO:
    data: bytes
    cpu: int = 0
    file_type: int = 0
    install_name: str = ""
    libraries: list[str] = field(default_factory=list)
    rpaths: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    platform: int = 0
    minimum: tuple[int, int] = (0, 0)
    signature: tuple[int, int] | None = None
    info: tuple[int, ...] = (0,) * 10  # rebase, bind, weak bind, lazy bind, exports: offset and size of each
    symbol_table: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        magic, self.cpu, _, self.file_type, commands, size = struct.unpack_from("<6I", self.data)
        assert magic == 0xFEEDFACF, "a 64-bit Mach-O file"
        at = 32
        for _ in range(commands):
            command, length = struct.unpack_from("<2I", self.data, at)
            self._command(command, at, length)
            at += length
        assert at == 32 + size

    def _text(self, at: int, limit: int) -> str:
        return self.data[at : at + limit].split(b"\0", 1)[0].decode()

    def _command(self, command: int, at: int, length: int) -> None:
        def name(field_offset: int = 8) -> str:
            (start,) = struct.unpack_from("<I", self.data, at + field_offset)
            return self._text(at + start, length - start)

        if command == LC_SEGMENT_64:
            self.segments.append(self._segment(at))
        elif command == LC_ID_DYLIB:
            self.install_name = name()
        elif command in LOADS:
            self.libraries.append(name())
        elif command == LC_RPATH:
            self.rpaths.append(name())
        elif command == LC_BUILD_VERSION:
            self.platform, version = struct.unpack_from("<2I", self.data, at + 8)
            self.minimum = (version >> 16, version >> 8 & 0xFF)
        elif command == LC_CODE_SIGNATURE:
            self.signature = struct.unpack_from("<2I", self.data, at + 8)
        elif command == LC_DYLD_INFO_ONLY:
            self.info = struct.unpack_from("<10I", self.data, at + 8)
        elif command == LC_SYMTAB:
            self.symbol_table = struct.unpack_from("<4I", self.data, at + 8)

    def _segment(self, at: int) -> Segment:
        address, size, offset, file_size, _, _, count, _ = struct.unpack_from("<4Q4I", self.data, at + 24)
        sections = []
        for i in range(count):
            section = at + 72 + 80 * i
            where = struct.unpack_from("<2QI", self.data, section + 32)
            (flags,) = struct.unpack_from("<I", self.data, section + 64)
            sections.append((self._text(section, 16), *where, flags))
        return Segment(self._text(at + 8, 16), address, size, offset, file_size, tuple(sections))

    def symbols(self) -> Iterator[tuple[str, int, int]]:
        """Name, type and description of each entry of the symbol table."""
        offset, count, strings, size = self.symbol_table
        for i in range(count):
            name, kind, _, description, _ = struct.unpack_from("<IBBHQ", self.data, offset + 16 * i)
            assert name < size
            yield self._text(strings + name, size - name), kind, description

    def binds(self) -> dict[str, list[Bind]]:
        """What dyld binds at load, to whichever image defines it first (weak), and at first use."""
        return {
            kind: list(self._bind(*self.info[2 * i : 2 * i + 2], weak=kind == "weak"))
            for i, kind in ((1, "bind"), (2, "weak"), (3, "lazy"))
        }

    def _bind(self, start: int, size: int, *, weak: bool) -> Iterator[Bind]:
        at, end = start, start + size
        ordinal, symbol, address = WEAK_LOOKUP if weak else 0, "", 0

        def uleb() -> int:
            nonlocal at
            value = shift = 0
            while True:
                byte = self.data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < end:
            opcode, immediate = self.data[at] & 0xF0, self.data[at] & 0xF
            at += 1
            if opcode == 0x10:  # ordinal
                ordinal = immediate
            elif opcode == 0x20:
                ordinal = uleb()
            elif opcode == 0x30:  # special ordinal, negative
                ordinal = immediate - 16 if immediate else 0
            elif opcode == 0x40:
                symbol = self._text(at, end - at)
                at += len(symbol.encode()) + 1
            elif opcode == 0x50:
                assert immediate == 1, "a pointer"
            elif opcode == 0x60:
                at_least = at
                while self.data[at] & 0x80:
                    at += 1
                at += 1
                assert at > at_least
            elif opcode == 0x70:
                address = self.segments[immediate].address + uleb()
            elif opcode == 0x80:
                address = (address + uleb()) % 2**64
            elif opcode in (0x90, 0xA0, 0xB0):
                yield Bind(symbol, ordinal, address)
                address += 8 + (uleb() if opcode == 0xA0 else 8 * immediate if opcode == 0xB0 else 0)
                address %= 2**64
            elif opcode == 0xC0:
                count, skip = uleb(), uleb()
                for _ in range(count):
                    yield Bind(symbol, ordinal, address)
                    address = (address + 8 + skip) % 2**64
            else:
                assert opcode == 0, f"an opcode of bindings, not {opcode:#x}"  # the end of one lazy binding

    def exports(self) -> dict[str, int]:
        """Name and address of what others may bind to, from the export trie."""
        start, size = self.info[8:10]
        trie = self.data[start : start + size]
        found = {}

        def uleb(at: int) -> tuple[int, int]:
            value = shift = 0
            while True:
                value |= (trie[at] & 0x7F) << shift
                shift += 7
                at += 1
                if trie[at - 1] < 0x80:
                    return value, at

        nodes = [(0, "")] if size else []
        while nodes:
            at, name = nodes.pop()
            terminal, at = uleb(at)
            if terminal:
                _, after = uleb(at)  # flags
                found[name] = uleb(after)[0]
            at += terminal
            children = trie[at]
            at += 1
            for _ in range(children):
                end = trie.index(b"\0", at)
                edge = trie[at:end].decode()
                child, at = uleb(end + 1)
                nodes.append((child, name + edge))
        return found

    def signed_pages(self) -> int:
        """Checks an ad-hoc signature's hash of every page of the file; the number of pages."""
        assert self.signature, "a code signature, without which arm64 does not run"
        offset, size = self.signature
        blob = self.data[offset : offset + size]
        magic, length, count = struct.unpack_from(">3I", blob)
        assert magic == 0xFADE0CC0
        assert length <= size
        places = dict(struct.unpack_from(">2I", blob, 12 + 8 * i) for i in range(count))
        directory = blob[places[0] :]
        magic, _, _, flags, hashes, _, _, slots, limit = struct.unpack_from(">9I", directory)
        hash_size, hash_type, _, page_bits = struct.unpack_from("4B", directory, 36)
        assert magic == 0xFADE0C02
        assert flags & 0x2, "ad hoc"
        assert (hash_size, hash_type) == (32, 2), "SHA-256"
        assert limit == offset, "signed up to the signature itself"
        page = 1 << page_bits
        assert slots == -(-limit // page)
        for i in range(slots):
            part = self.data[i * page : min((i + 1) * page, limit)]
            expected = directory[hashes + 32 * i : hashes + 32 * (i + 1)]
            assert hashlib.sha256(part).digest() == expected, f"page {i} is not what was signed"
        return slots
