"""Directories of TIFF files and EXIF payloads, read and written entry by entry.

Source: TIFF 6.0 (Adobe 1992), section 2; Exif 2.32 (CIPA DC-008), 4.6.2; BigTIFF (libtiff, "BigTIFF Design"). Own code because
tifffile can't write the Exif and GPS directories, and takes segments that a file lacks for zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE, LONG8 = 1, 2, 3, 4, 5, 7, 12, 16
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C

# type: bytes of a value, and struct's letter for each number of it
_TYPES = {
    **{1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 5: (8, "II"), 6: (1, "b"), 7: (1, "s"), 8: (2, "h"), 9: (4, "i")},
    **{10: (8, "ii"), 11: (4, "f"), 12: (8, "d"), 13: (4, "I"), 16: (8, "Q"), 17: (8, "q"), 18: (8, "Q")},
}
_MAX_ENTRIES = 4096
_POINTERS = (EXIF, GPS, INTEROPERABILITY)

Order = Literal["<", ">"]
Read = Callable[[int, int], bytes]  # offset, size: the bytes there, fewer at the end of the file


@dataclass(frozen=True)
class Entry:
    """``kind``: TIFF's number of the type; ``data``: the values, in the file's byte order ``order`` ("<" or ">")."""

    kind: int
    data: bytes = field(repr=False)
    order: Order = "<"

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.data) // _TYPES[self.kind][0]

    @property
    def numbers(self) -> tuple[int | float, ...]:
        """The values; a rational is one number (0 / 0 is left out); none for texts and bytes of no meaning."""
        letters = _TYPES[self.kind][1]
        if letters == "s":
            return ()
        values = struct.unpack(f"{self.order}{len(letters) * self.count}{letters[0]}", self.data)
        if len(letters) == 1:
            return values
        return tuple(top / bottom for top, bottom in zip(values[::2], values[1::2], strict=True) if bottom)

    @property
    def text(self) -> str:
        """A text up to its end; what is no UTF-8 is taken for Latin-1, which everything is."""
        data = self.data.split(b"\0")[0]
        try:
            return data.decode().strip()
        except UnicodeDecodeError:
            return data.decode("latin-1").strip()

    def little_endian(self) -> Entry:
        """The same in the byte order in which everything is written."""
        size, letters = _TYPES[self.kind]
        width = size // len(letters)
        if self.order == "<" or width == 1:
            return replace(self, order="<")
        words = struct.unpack(f">{len(self.data) // width}{'HIQ'[width.bit_length() - 2]}", self.data)
        return Entry(self.kind, struct.pack(f"<{len(words)}{'HIQ'[width.bit_length() - 2]}", *words))


@dataclass(frozen=True)
class Directory:
    """Entries by tag, and the directories that some tags point to."""

    entries: Mapping[int, Entry]
    children: Mapping[int, Directory] = field(default_factory=dict)

    def number(self, tag: int, default: int = 0) -> int:
        """The entry's first value if it is a whole number, else the default."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers and isinstance(numbers[0], int) else default

    def numbers(self, tag: int) -> tuple[int | float, ...]:
        """The entry's values; none if it is not there."""
        return self.entries[tag].numbers if tag in self.entries else ()

    def integers(self, tag: int) -> tuple[int, ...]:
        """The entry's values if they are whole numbers, else none."""
        numbers = self.numbers(tag)
        return tuple(n for n in numbers if isinstance(n, int)) if numbers and isinstance(numbers[0], int) else ()

    def data(self, tag: int) -> bytes | None:
        """The entry's bytes; empty if it is not whole, None if it is not there."""
        return self.entries[tag].data if tag in self.entries else None

    def text(self, tag: int) -> str:
        """The entry's text; empty if it is not there."""
        return self.entries[tag].text if tag in self.entries and self.entries[tag].kind in (ASCII, BYTE, UNDEFINED) else ""


@dataclass(frozen=True)
class Header:
    """Byte order, classic or BigTIFF, and where the first directory stands."""

    order: Order
    big: bool
    first: int


def header(data: bytes) -> Header | None:
    """What the first 16 bytes of a TIFF say; None if they are none."""
    orders: dict[bytes, Order] = {b"II": "<", b"MM": ">"}
    order = orders.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 42:
        return Header(order, False, struct.unpack_from(order + "I", data, 4)[0])
    if version == 43 and len(data) >= 16 and struct.unpack_from(order + "HH", data, 4) == (8, 0):
        return Header(order, True, struct.unpack_from(order + "Q", data, 8)[0])
    return None


def read_directory(
    read: Read,
    offset: int,
    head: Header,
    *,
    wanted: Container[int] | None = None,
    largest: int = 1 << 16,
    depth: int = 2,
) -> tuple[Directory, int]:
    """The directory at an offset, and the offset of the next one (0: none).

    Entries of unknown types and not ``wanted`` are left out, those longer than ``largest`` bytes or beyond the end of the
    file are empty. The Exif, GPS and interoperability directories are followed ``depth`` deep. Raises ValueError where no
    directory can stand.
    """
    count_format, entry_format, next_format = ("Q", "HHQ8s", "Q") if head.big else ("H", "HHI4s", "I")
    count_size, entry_size, next_size = (8, 20, 8) if head.big else (2, 12, 4)
    start = read(offset, count_size) if offset else b""
    if len(start) < count_size:
        raise ValueError("its directory is missing")
    (count,) = struct.unpack(head.order + count_format, start)
    if not 0 < count <= _MAX_ENTRIES:
        raise ValueError("its directory makes no sense")
    body = read(offset + count_size, count * entry_size + next_size)
    if len(body) < count * entry_size:
        raise ValueError("its directory is cut short")
    entries: dict[int, Entry] = {}
    below: dict[int, Directory] = {}
    for tag, kind, values, place in struct.iter_unpack(head.order + entry_format, body[: count * entry_size]):
        size = values * _TYPES.get(kind, (0, ""))[0]
        if size == 0 or tag in entries or (wanted is not None and tag not in wanted):
            continue
        (at,) = struct.unpack(head.order + next_format, place)
        data = place[:size] if size <= next_size else read(at, size) if size <= largest else b""
        entries[tag] = Entry(kind, data if len(data) == size else b"", head.order)
        if tag in _POINTERS and depth:
            target = Directory(entries).number(tag)
            try:
                below[tag], _ = read_directory(read, target, head, largest=min(largest, 1 << 16), depth=depth - 1)
            except ValueError:  # a damaged directory of metadata is no reason to refuse the picture
                continue
    after = body[count * entry_size :]
    following = struct.unpack(head.order + next_format, after)[0] if len(after) == next_size else 0
    return Directory({tag: entry for tag, entry in entries.items() if tag not in _POINTERS}, below), following


def read_payload(payload: bytes) -> Directory:
    """The first directory of an EXIF payload (a TIFF structure); empty for one that is damaged. Maker notes are left out.

    Maker notes point into the structure they were taken from, in ways of their own: they do not survive being moved.
    """
    head = header(payload[:16])
    if head is None:
        return Directory({})
    try:
        found, _ = read_directory(lambda offset, size: payload[offset : offset + size], head.first, head)
    except ValueError:
        return Directory({})
    return without_maker_note(found)


def without_maker_note(directory: Directory) -> Directory:
    """The directory without the one entry that can't be moved."""
    exif = directory.children.get(EXIF)
    if exif is None or MAKER_NOTE not in exif.entries:
        return directory
    kept = replace(exif, entries={tag: entry for tag, entry in exif.entries.items() if tag != MAKER_NOTE})
    return replace(directory, children={**directory.children, EXIF: kept})


def payload_of(directory: Directory) -> bytes:
    """A directory as a TIFF structure of its own: what Metadata.exif holds."""
    return b"II*\0" + struct.pack("<I", 8) + packed(directory, 8, big=False)


def packed(directory: Directory, offset: int, *, big: bool) -> bytes:
    """A directory, its values and those below it, little-endian, to stand at this even offset. Entries sorted by tag."""
    pointer = LONG8 if big else LONG
    entries = {**directory.entries, **{tag: pointing(0, pointer) for tag in directory.children}}
    position = offset + len(_block(entries, offset, big))
    parts = []
    for tag, child in directory.children.items():
        entries[tag] = pointing(position, pointer)
        parts.append(packed(child, position, big=big))
        position += len(parts[-1])
    return _block(entries, offset, big) + b"".join(parts)


def pointing(offset: int, kind: int = LONG) -> Entry:
    """An entry that holds an offset."""
    return Entry(kind, struct.pack("<Q" if kind == LONG8 else "<I", offset))


def of_numbers(kind: int, *values: float) -> Entry:
    """An entry of numbers; rationals get a denominator of 1000000."""
    if kind == RATIONAL:
        return Entry(kind, struct.pack(f"<{2 * len(values)}I", *(n for v in values for n in (round(v * 1000000), 1000000))))
    return Entry(kind, struct.pack(f"<{len(values)}{_TYPES[kind][1]}", *values))


def of_text(text: str) -> Entry:
    """An entry of text: ASCII in TIFF 6.0, UTF-8 in practice."""
    return Entry(ASCII, text.replace("\0", " ").encode("utf-8", "replace") + b"\0")


def _block(entries: Mapping[int, Entry], offset: int, big: bool) -> bytes:
    entries = {tag: entry for tag, entry in entries.items() if entry.data}
    count_format, entry_format, place_format, room = ("<Q", "<HHQ", "<Q", 8) if big else ("<H", "<HHI", "<I", 4)
    table = struct.pack(count_format, len(entries))
    position = offset + len(table) + len(entries) * (struct.calcsize(entry_format) + room) + room
    values = b""
    position += position % 2
    for tag, entry in sorted(entries.items()):
        stored = entry.little_endian()
        table += struct.pack(entry_format, tag, stored.kind, stored.count)
        if len(stored.data) <= room:
            table += stored.data.ljust(room, b"\0")
        else:
            table += struct.pack(place_format, position + len(values))
            values += stored.data + bytes(len(stored.data) % 2)  # offsets are even
    table += bytes(room)
    return table + bytes((offset + len(table)) % 2) + values + bytes(len(values) % 2)
