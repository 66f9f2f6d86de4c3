"""OpenEXR headers, read here, so that the OpenEXR package decodes one part only and meets nothing that it can't take.

The package decodes every part of a file, gives up the whole file for a text that is not UTF-8 or an attribute of a newer
kind, and asks for memory before anybody could say that it is too much. So this finds the part, and hands the package a file
that holds this part alone. Source: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

from hdrcli.errors import InputError, UnreadableInput, UnsupportedInput

_J2K = ("htj2k256", "htj2k32", "lj2k")
COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab", *_J2K, "zstd")
TYPES = ("uint", "half", "float")

_TILED, _NON_IMAGE, _MULTI_PART = 0x200, 0x800, 0x1000
_LARGEST_VALUE = 1 << 20  # bytes of an attribute that are looked at; thumbnails and manifests are not
_LARGEST_COORDINATE = 1 << 30
# what decoding the pixels takes; the package sees all else as bytes of an unknown kind
_NEEDED = (
    b"channels compression dataWindow displayWindow lineOrder pixelAspectRatio screenWindowCenter screenWindowWidth tiles"
).split()
_IDENTIFYING = (b"name", b"type", b"version", b"chunkCount", b"maxSamplesPerPixel")


@dataclass(frozen=True)
class Window:
    """Columns ``left .. right`` and rows ``top .. bottom``, both ends inside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left + 1

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top + 1


@dataclass(frozen=True)
class Channel:
    """A channel's type (one of TYPES), and of how many columns and rows one is stored."""

    type: str
    sampling: tuple[int, int]


@dataclass(frozen=True)
class Part:
    """The header of one part: type and bytes of each attribute by name."""

    attributes: Mapping[bytes, tuple[bytes, bytes]]
    kind: str  # scanlineimage, tiledimage, deepscanline or deeptile

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """Channels by name, in file order."""
        return _channels(self._value(b"channels", b"chlist"))

    @cached_property
    def data_window(self) -> Window:
        """Where there are pixels."""
        return _window(self._value(b"dataWindow", b"box2i"))

    @cached_property
    def display_window(self) -> Window:
        """What is the picture."""
        return _window(self._value(b"displayWindow", b"box2i"))

    @cached_property
    def tile(self) -> tuple[int, int] | None:
        """Columns and rows of a tile; None where the pixels stand in scanlines."""
        if self.kind not in ("tiledimage", "deeptile"):
            return None
        value = self._value(b"tiles", b"tiledesc")
        if len(value) != 9 or 0 in (size := struct.unpack_from("<II", value)):
            raise damaged("its tiles make no sense")
        return size

    @cached_property
    def compression(self) -> str:
        """One of COMPRESSIONS. Raises UnsupportedInput for a number of the future."""
        number = self._value(b"compression", b"compression")[0]
        if number >= len(COMPRESSIONS):
            raise UnsupportedInput(f"has compression {number}, which is not known", remedy="write it again with zip")
        return COMPRESSIONS[number]

    def number(self, name: str) -> float | None:
        """A float, double or int attribute that is finite, else None."""
        kind, value = self.attributes.get(name.encode(), (b"", b""))
        code = {b"float": "<f", b"double": "<d", b"int": "<i"}.get(kind)
        if code is None or len(value) != struct.calcsize(code):
            return None
        (number,) = struct.unpack(code, value)
        return float(number) if abs(number) < float("inf") else None

    def texts(self) -> dict[str, str]:
        """All text attributes: UTF-8, or Latin-1 where they are not."""
        return {_text(name): _text(value) for name, (kind, value) in self.attributes.items() if kind == b"string"}

    def numbers(self, name: str, kind: str, count: int) -> tuple[float, ...] | None:
        """A value of several floats; () if it is of another kind or size, None if there is none."""
        if name.encode() not in self.attributes:
            return None
        found, value = self.attributes[name.encode()]
        return struct.unpack(f"<{count}f", value) if found == kind.encode() and len(value) == 4 * count else ()

    def byte(self, name: str, kind: str) -> int | None:
        """A value of one byte, such as an enumeration."""
        found, value = self.attributes.get(name.encode(), (b"", b""))
        return value[0] if found == kind.encode() and len(value) == 1 else None

    def _value(self, name: bytes, kind: bytes) -> bytes:
        found, value = self.attributes.get(name, (b"", b""))
        if found != kind or not value:
            raise damaged(f"its header has no {name.decode()}")
        return value


@dataclass(frozen=True)
class Header:
    """What stands before the pixels."""

    version: int
    parts: tuple[Part, ...]
    raw: bytes  # from the first byte up to the tables of offsets


def damaged(how: str) -> InputError:
    """The error for a file that is not whole."""
    return UnreadableInput(f"is damaged: {how}", remedy="copy it again from where it came")


def read_header(stream: BinaryIO) -> Header:
    """The headers of all parts. Raises UnreadableInput, or UnsupportedInput for a version of the future."""
    _, version = struct.unpack("<4sI", _exactly(stream, 8))
    if (version & 0xFF) > 2:
        raise UnsupportedInput(f"is OpenEXR of version {version & 0xFF}", remedy="hdrcli reads version 2")
    parts = []
    while attributes := _attributes(stream):
        parts.append(Part(attributes, _kind(version, attributes)))
        if not version & _MULTI_PART:
            break
    if not parts:
        raise damaged("its header is empty")
    length = stream.tell()
    stream.seek(0)
    return Header(version, tuple(parts), _exactly(stream, length))


def _kind(version: int, attributes: Mapping[bytes, tuple[bytes, bytes]]) -> str:
    if not version & (_MULTI_PART | _NON_IMAGE) and b"type" not in attributes:
        return "tiledimage" if version & _TILED else "scanlineimage"
    kind = _text(attributes.get(b"type", (b"", b""))[1])
    if kind not in ("scanlineimage", "tiledimage", "deepscanline", "deeptile"):
        raise damaged(f"a part is of the type {kind[:40]!r}")
    return kind


def _attributes(stream: BinaryIO) -> dict[bytes, tuple[bytes, bytes]]:
    """Attributes up to the end of one header; values that are too long to matter are empty."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    while name := _name(stream):
        kind = _name(stream)
        (size,) = struct.unpack("<i", _exactly(stream, 4))
        if size < 0:
            raise damaged("its header can't be read")
        if name in found and name in _NEEDED:  # two readers could each believe another one
            raise damaged(f"its header says {_text(name)} twice")
        if size <= _LARGEST_VALUE:
            found[name] = (kind, _exactly(stream, size))
        else:
            found[name] = (kind, b"")
            stream.seek(size - 1, 1)
            _exactly(stream, 1)
    return found


def _name(stream: BinaryIO) -> bytes:
    name = bytearray()
    while (byte := _exactly(stream, 1)) != b"\0":
        name += byte
        if len(name) > 255:
            raise damaged("its header can't be read")
    return bytes(name)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    found = stream.read(count)
    if len(found) != count:
        raise damaged("the file ends early")
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _channels(value: bytes) -> dict[str, Channel]:
    found: dict[str, Channel] = {}
    start = 0
    while start < len(value) and value[start]:
        end = value.find(b"\0", start)
        if end < 0 or end + 17 > len(value):
            raise damaged("its list of channels can't be read")
        try:
            name = value[start:end].decode()
        except UnicodeDecodeError:
            raise damaged("a channel's name is no text") from None
        kind, _, x, y = struct.unpack_from("<iIii", value, end + 1)
        if not 0 <= kind < len(TYPES) or x < 1 or y < 1 or name in found:
            raise damaged("its list of channels can't be read")
        found[name] = Channel(TYPES[kind], (x, y))
        start = end + 17
    return found


def _window(value: bytes) -> Window:
    if len(value) != 16:
        raise damaged("its size can't be read")
    window = Window(*struct.unpack("<4i", value))
    if max(map(abs, struct.unpack("<4i", value))) > _LARGEST_COORDINATE or window.width < 1 or window.height < 1:
        raise damaged("its size makes no sense")
    return window


class Spliced:
    """A file to read whose head is replaced: ``head``, then all of ``stream`` from ``resume`` on."""

    def __init__(self, head: bytes, stream: BinaryIO, resume: int) -> None:
        self._head, self._stream, self._resume = head, stream, resume
        self._length = len(head) + stream.seek(0, 2) - resume
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def read(self, count: int) -> bytes:
        found = self._head[self._at : self._at + count]
        if len(found) < count:
            self._stream.seek(self._resume + max(0, self._at - len(self._head)))
            found += self._stream.read(count - len(found))
        self._at += len(found)
        return found


def only_part(stream: BinaryIO, header: Header, index: int) -> Spliced:
    """The file as if it held nothing but this part and its pixels: something to read, tell and seek in.

    Raises UnreadableInput for a table of offsets that is not there.
    """
    if not header.version & _MULTI_PART:
        return Spliced(_without_strange_kinds(header.raw), stream, len(header.raw))
    part = header.parts[index]
    head = struct.pack("<II", *struct.unpack_from("<I", header.raw), _version_of_one(header.version, part))
    for name in _NEEDED:
        if name in part.attributes:
            kind, value = part.attributes[name]
            head += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    head += b"\0"
    counts = [_chunk_count(p) for p in header.parts]
    stream.seek(len(header.raw) + 8 * sum(counts[:index]))
    if counts[index] * 8 > stream.seek(0, 2) - len(header.raw):  # before memory is asked for
        raise damaged("the file ends early")
    stream.seek(len(header.raw) + 8 * sum(counts[:index]))
    offsets = struct.unpack(f"<{counts[index]}Q", _exactly(stream, 8 * counts[index]))
    # chunks begin with the number of their part, which files of one part don't have
    moved = len(head) + 8 * len(offsets) - len(header.raw) + 4
    if not all(len(header.raw) <= offset < 1 << 62 for offset in offsets):
        raise damaged("the places of its pixels are missing")
    head += struct.pack(f"<{len(offsets)}Q", *(offset + moved for offset in offsets))
    return Spliced(head, stream, len(header.raw))


def _version_of_one(version: int, part: Part) -> int:
    version &= ~(_MULTI_PART | _NON_IMAGE | _TILED)
    return version | (_TILED if part.kind == "tiledimage" else 0)


def _chunk_count(part: Part) -> int:
    count = part.number("chunkCount")
    if count is None or count < 0:
        raise damaged("a part does not say how many chunks it has")
    return int(count)


def _without_strange_kinds(raw: bytes) -> bytes:
    """The header of one part, of the same length; what decoding does not need is of a kind that nobody knows."""
    out = bytearray(raw)
    start = 8
    while raw[start]:
        end = raw.index(b"\0", start)
        kind_end = raw.index(b"\0", end + 1)
        name = raw[start:end]
        if name not in _NEEDED and name not in _IDENTIFYING:
            out[end + 1 : kind_end] = b"?" * (kind_end - end - 1)
            out[start:end] = bytes(byte if byte < 0x80 else 0x5F for byte in name)
        (size,) = struct.unpack_from("<i", raw, kind_end + 1)
        start = kind_end + 5 + size
    return bytes(out)
