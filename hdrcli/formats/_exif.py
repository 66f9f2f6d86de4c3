"""EXIF: orientation, what a photo's own record says of the shot, and how to take the place out of it.

Source: Exif 2.32 (CIPA DC-008-2019), TIFF 6.0. Read and written here, not by Pillow: erasing coordinates in place needs to
know where each value stands, and damaged payloads, which are common, shall neither warn nor raise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY_IFD, _SUB_IFDS, _XMP = 0x8769, 0x8825, 0xA005, 0x014A, 0x02BC
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _IFD = 1, 2, 3, 4, 5, 7, 13
# TIFF 6.0, section 2: bytes a value of each type takes; 13 (IFD) is of the TIFF supplement 1
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WHOLE = {_BYTE: "B", _SHORT: "H", _LONG: "I", _IFD: "I"}  # whole numbers, and struct's letters for them
_COPYRIGHT = 0x8298
_MAX_FOLDERS = 32  # a photo has five
_MAX_LONG = 2**32 - 1
_MAX_TEXT = 1 << 16  # bytes; all of a JPEG's EXIF


@dataclass(frozen=True)
class Shot:
    """How a photo was taken, in plain values; None: not known.

    ``exposure_time`` in s, ``aperture`` the f-number, ``focal_length`` in mm. ``captured`` is local time as
    ``YYYY:MM:DD HH:MM:SS``, ``utc_offset`` the seconds by which it is ahead of UTC (``+09:00`` is 32400). ``latitude`` and
    ``longitude`` are degrees, north and east positive, ``altitude`` m above sea level.
    """

    make: str | None = None
    model: str | None = None
    lens_make: str | None = None
    lens_model: str | None = None
    serial: str | None = None
    exposure_time: float | None = None
    aperture: float | None = None
    iso: float | None = None
    focal_length: float | None = None
    captured: str | None = None
    utc_offset: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    artist: str | None = None
    copyright: str | None = None
    software: str | None = None
    description: str | None = None


def without_prefix(payload: bytes) -> bytes:
    """The TIFF structure alone: what Metadata.exif holds."""
    return payload[6:] if payload[:4] == b"Exif" else payload


def orientation(exif: bytes) -> int:
    """The orientation, 1..8, of a TIFF structure; 1 if there is none or it makes no sense."""
    tiff = _Tiff.of(exif)
    value = None if tiff is None or _orientation_entry(tiff) is None else tiff.integer(tiff.main, _ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def upright(exif: bytes) -> bytes:
    """The same payload with orientation 1, so that nobody turns the pixels a second time."""
    tiff = _Tiff.of(exif)
    entry = None if tiff is None else _orientation_entry(tiff)
    if tiff is None or entry is None:
        return exif
    one = struct.pack(tiff.order + _WHOLE[entry.kind], 1)
    return exif[: entry.start] + one + exif[entry.start + entry.size :]


def _orientation_entry(tiff: _Tiff) -> _Entry | None:
    """The standard wants a SHORT; some writers take another type, and viewers follow them."""
    entry = tiff.main.get(_ORIENTATION)
    return entry if entry is not None and entry.kind in _WHOLE and entry.count == 1 else None


def says_adobe_rgb(exif: bytes) -> bool:
    """Does it mark Adobe RGB as cameras do without a profile? (DCF 2.0: ColorSpace uncalibrated, InteroperabilityIndex R03.)"""
    if b"R03\0" not in exif:  # almost always: spare the work
        return False
    tiff = _Tiff.of(exif)
    return (
        tiff is not None
        and tiff.integer(tiff.exif, 0xA001) == 65535
        and tiff.text(tiff.folder_in(tiff.exif, 0xA005), 1) == "R03"
    )


@dataclass(frozen=True)
class _Entry:
    """One entry of a folder: ``start`` and ``size`` say where its values stand."""

    tag: int
    kind: int
    count: int
    start: int
    size: int


_Folder = dict[int, _Entry]


@dataclass(frozen=True)
class _Tiff:
    """A TIFF structure and how to get at its values; what is damaged or not there is None."""

    data: bytes
    order: str

    @staticmethod
    def of(data: bytes) -> _Tiff | None:
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
        return None if order is None or len(data) < 8 else _Tiff(data, order)

    def short(self, at: int) -> int:
        return int(struct.unpack_from(self.order + "H", self.data, at)[0])

    def long(self, at: int) -> int:
        return int(struct.unpack_from(self.order + "I", self.data, at)[0])

    def places(self, start: int) -> range:
        """Where the entries of an image file directory stand, as far as they are in the data."""
        if start + 2 > len(self.data):
            return range(0)
        return range(start + 2, min(start + 2 + 12 * self.short(start), len(self.data) - 11), 12)

    def entry(self, at: int) -> _Entry | None:
        """None if its values are of no known type or not in the data."""
        tag, kind, count = struct.unpack_from(self.order + "HHI", self.data, at)
        size = _SIZES.get(kind, 0) * count
        start = at + 8 if size <= 4 else self.long(at + 8)
        return _Entry(tag, kind, count, start, size) if size and start + size <= len(self.data) else None

    def folder(self, start: int) -> _Folder:
        """The entries of a directory by tag, the first of each."""
        found: _Folder = {}
        for at in self.places(start):
            if (entry := self.entry(at)) is not None:
                found.setdefault(entry.tag, entry)
        return found

    def folder_in(self, folder: _Folder, tag: int) -> _Folder:
        start = self.integer(folder, tag)
        return {} if start is None else self.folder(start)

    @property
    def main(self) -> _Folder:
        return self.folder(self.long(4))

    @property
    def exif(self) -> _Folder:
        return self.folder_in(self.main, _EXIF_IFD)

    def integer(self, folder: _Folder, tag: int) -> int | None:
        entry = folder.get(tag)
        code = None if entry is None else _WHOLE.get(entry.kind)
        return None if entry is None or code is None else int(struct.unpack_from(self.order + code, self.data, entry.start)[0])

    def numbers(self, folder: _Folder, tag: int) -> list[Fraction] | None:
        """At most three; None if one has no value (0 below the line is how cameras say "unknown").

        The standard wants rationals; programs write what they please.
        """
        entry = folder.get(tag)
        code = None if entry is None else {_SHORT: "H", _LONG: "I", 5: "II", 10: "ii", 11: "f", 12: "d"}.get(entry.kind)
        if entry is None or code is None:
            return None
        step = struct.calcsize("<" + code)
        found = []
        for place in range(entry.start, entry.start + min(entry.count, 3) * step, step):
            above, below = (*struct.unpack_from(self.order + code, self.data, place), 1)[:2]
            if below == 0 or not isfinite(above):
                return None
            found.append(Fraction(above) / below)
        return found

    def number(self, folder: _Folder, tag: int) -> float | None:
        values = self.numbers(folder, tag)
        return None if values is None else float(values[0])

    def text(self, folder: _Folder, tag: int) -> str | None:
        entry = folder.get(tag)
        if entry is None or entry.kind not in (_ASCII, _BYTE, _UNDEFINED):
            return None
        raw = self.data[entry.start : entry.start + min(entry.size, _MAX_TEXT)]
        # copyright: photographer NUL editor (Exif 2.32, 4.6.4 D); behind the first NUL of others stands padding
        parts = raw.split(b"\0")[: 2 if tag == _COPYRIGHT else 1]
        return "; ".join(filter(None, (_clean(part) for part in parts))) or None


def _clean(raw: bytes) -> str:
    """Text says ASCII; what cameras and programs write is UTF-8 or Latin-1. Control characters become spaces."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()


_TEXTS = {"make": 0x010F, "model": 0x0110, "artist": 0x013B, "copyright": _COPYRIGHT, "software": 0x0131, "description": 0x010E}
_EXIF_TEXTS = {"lens_make": 0xA433, "lens_model": 0xA434, "serial": 0xA431}
_DATES = ((0x9003, 0x9011), (0x9004, 0x9012))  # original, digitized: date, offset


def shot(exif: bytes) -> Shot:
    """What a TIFF structure says of the shot. Never raises: what is damaged or makes no sense is None."""
    tiff = _Tiff.of(exif)
    if tiff is None:
        return Shot()
    main, sub = tiff.main, tiff.exif
    gps = tiff.folder_in(main, _GPS_IFD)
    texts = {name: tiff.text(main, tag) for name, tag in _TEXTS.items()}
    texts |= {name: tiff.text(sub, tag) for name, tag in _EXIF_TEXTS.items()}
    captured, offset = _captured(tiff, main, sub)
    return Shot(
        **texts,
        exposure_time=_positive(tiff.number(sub, 0x829A)) or _from_apex(tiff.number(sub, 0x9201), -1),
        aperture=_positive(tiff.number(sub, 0x829D)) or _from_apex(tiff.number(sub, 0x9202), 0.5),
        iso=_sensitivity(tiff, sub),
        focal_length=_positive(tiff.number(sub, 0x920A)),
        captured=captured,
        utc_offset=offset,
        latitude=_degrees(tiff, gps, 1, "NS", 90),
        longitude=_degrees(tiff, gps, 3, "EW", 180),
        altitude=_altitude(tiff, gps),
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _from_apex(value: float | None, per_stop: float) -> float | None:
    """Exif 2.32, annex C: time value Tv = -log2 s, aperture value Av = 2 log2 F."""
    return None if value is None or abs(value) > 40 else 2.0 ** (value * per_stop)


def _sensitivity(tiff: _Tiff, sub: _Folder) -> float | None:
    value = tiff.integer(sub, 0x8827)
    if value == 65535:  # "see the others": ISO speed, recommended exposure index, standard output sensitivity
        value = next((v for tag in (0x8833, 0x8832, 0x8831) if (v := tiff.integer(sub, tag))), value)
    return None if not value else float(value)


def _captured(tiff: _Tiff, main: _Folder, sub: _Folder) -> tuple[str | None, int | None]:
    for date, offset in _DATES:
        if (text := _date(tiff.text(sub, date))) is not None:
            return text, _offset(tiff.text(sub, offset))
    text = _date(tiff.text(main, 0x0132))
    return text, None if text is None else _offset(tiff.text(sub, 0x9010))


def _date(text: str | None) -> str | None:
    from datetime import datetime

    try:
        found = datetime.strptime(text or "", "%Y:%m:%d %H:%M:%S")
    except ValueError:  # cameras whose clock was never set write zeros or spaces
        return None
    return found.isoformat(sep=" ").replace("-", ":")


def _offset(text: str | None) -> int | None:
    import re

    match = re.fullmatch(r"([+-])(\d\d):([0-5]\d)", text or "", re.ASCII)
    return None if match is None else int(f"{match[1]}1") * (int(match[2]) * 3600 + int(match[3]) * 60)


def _degrees(tiff: _Tiff, gps: _Folder, tag: int, signs: str, largest: int) -> float | None:
    values, sign = tiff.numbers(gps, tag + 1), tiff.text(gps, tag)
    if values is None or sign is None or sign.upper() not in tuple(signs):  # without a hemisphere it is no place
        return None
    degrees = sum((value / 60**i for i, value in enumerate(values)), Fraction(0))
    return float(degrees if sign.upper() == signs[0] else -degrees) if 0 <= degrees <= largest else None


def _altitude(tiff: _Tiff, gps: _Folder) -> float | None:
    value = tiff.number(gps, 6)
    below = tiff.integer(gps, 5) in (1, 3)  # 2 and 3 of Exif 3.0: above and below the ellipsoid
    return None if value is None else -value if below else value


_Value = tuple[int, int, bytes]  # type, count, values


def from_shot(shot: Shot) -> bytes:
    """A TIFF structure (little-endian) that says the same; empty if there is nothing to say.

    Left out is what EXIF can't hold: empty texts, numbers that are not finite or out of range.
    """
    main, sub, gps = _texts_of(shot, _TEXTS), _exif_values(shot), _gps_values(shot)
    if not (main or sub or gps):
        return b""
    # the folders one after another, IFD0 first, which points to those behind it
    pointers = [tag for tag, folder in ((_EXIF_IFD, sub), (_GPS_IFD, gps)) if folder]
    main |= dict.fromkeys(pointers, (_LONG, 1, bytes(4)))
    start = 8 + _size(main)
    for tag, folder in ((_EXIF_IFD, sub), (_GPS_IFD, gps)):
        if folder:
            main[tag] = (_LONG, 1, struct.pack("<I", start))
            start += _size(folder)
    data = b"II*\0" + struct.pack("<I", 8)
    for folder in filter(None, (main, sub, gps)):
        data += _folder_bytes(folder, len(data))
    return data


def _size(folder: dict[int, _Value]) -> int:
    return 2 + 12 * len(folder) + 4 + sum(len(v) + len(v) % 2 for _, _, v in folder.values() if len(v) > 4)


def _folder_bytes(folder: dict[int, _Value], start: int) -> bytes:
    table, body = struct.pack("<H", len(folder)), b""
    behind = start + 2 + 12 * len(folder) + 4
    for tag, (kind, count, values) in sorted(folder.items()):
        table += struct.pack("<HHI", tag, kind, count)
        if len(values) <= 4:
            table += values.ljust(4, b"\0")
        else:
            table += struct.pack("<I", behind + len(body))
            body += values + bytes(len(values) % 2)
    return table + bytes(4) + body


def _texts_of(shot: Shot, names: dict[str, int]) -> dict[int, _Value]:
    return {tag: _text_value(text) for name, tag in names.items() if (text := getattr(shot, name))}


def _exif_values(shot: Shot) -> dict[int, _Value]:
    values = _texts_of(shot, _EXIF_TEXTS)
    for tag, number in ((0x829A, shot.exposure_time), (0x829D, shot.aperture), (0x920A, shot.focal_length)):
        if number is not None and 0 < number < inf:
            values[tag] = _rational_value(number)
    if shot.iso is not None and 0.5 < shot.iso < 2**32:
        speed = min(round(shot.iso), 2**32 - 1)
        values[0x8827] = (_SHORT, 1, struct.pack("<H", min(speed, 65535)))
        if speed >= 65535:  # Exif 2.32, 4.6.5 G: the rest goes into ISOSpeed, SensitivityType 3
            values[0x8830], values[0x8833] = (_SHORT, 1, struct.pack("<H", 3)), (_LONG, 1, struct.pack("<I", speed))
    if (captured := _date(shot.captured)) is not None:
        values[0x9003] = _text_value(captured)
        if shot.utc_offset is not None and abs(shot.utc_offset) < 100 * 3600:
            minutes = abs(shot.utc_offset) // 60
            values[0x9011] = _text_value(f"{'-' if shot.utc_offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}")
    return values | {0x9000: (_UNDEFINED, 4, b"0232")} if values else values


def _gps_values(shot: Shot) -> dict[int, _Value]:
    values: dict[int, _Value] = {}
    for tag, degrees, signs, largest in ((1, shot.latitude, "NS", 90), (3, shot.longitude, "EW", 180)):
        if degrees is not None and abs(degrees) <= largest:
            values[tag] = _text_value(signs[degrees < 0])
            # millionths of a second of arc (0.03 mm) take up to eight decimals of a degree without loss
            minutes, seconds = divmod(round(abs(Fraction(degrees)) * 3600 * 10**6), 60 * 10**6)
            values[tag + 1] = (_RATIONAL, 3, struct.pack("<6I", minutes // 60, 1, minutes % 60, 1, seconds, 10**6))
    if shot.altitude is not None and isfinite(shot.altitude):
        values[5] = (_BYTE, 1, bytes([shot.altitude < 0]))
        values[6] = _rational_value(abs(shot.altitude))
    return values | {0: (_BYTE, 4, bytes((2, 3, 0, 0)))} if values else values


def _text_value(text: str) -> _Value:
    raw = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
    return _ASCII, len(raw), raw


def _rational_value(number: float) -> _Value:
    """A fraction that is this number, or the simplest that agrees in single precision: 1/125 for 0.008 and for its float32."""
    exact = Fraction(number)
    simple = [f for f in (exact.limit_denominator(10**power) for power in range(10)) if f.numerator <= _MAX_LONG]
    found = next((f for f in simple if f.denominator <= 10**4 and float(f) == number), None)
    found = found or next((f for f in simple if abs(f - exact) <= exact / 2**24), (simple or [Fraction(_MAX_LONG)])[-1])
    return _RATIONAL, 1, struct.pack("<II", found.numerator, found.denominator)


def without_gps(exif: bytes) -> bytes:
    """The same payload without the place it was taken at; nothing else moves, so that offsets in maker notes stay right.

    The GPS folder and its values become zeros, the entry that points to it goes; so does XMP inside that speaks of GPS.
    A payload that can't be followed is written anew from what :func:`shot` finds, empty if that is nothing.
    """
    cleaned = _erased(exif)
    if cleaned is not None:
        return cleaned
    return from_shot(replace(shot(exif), latitude=None, longitude=None, altitude=None))


def _erased(exif: bytes) -> bytes | None:
    """None if it can't be done in place."""
    tiff = _Tiff.of(exif)
    if tiff is None:
        return None
    data, coordinates = bytearray(exif), list[bytes]()
    gone: dict[int, list[int]] = {}  # where folders stand, and their entries that have to go
    try:
        for start in _folders(tiff):
            for at in tiff.places(start):
                entry = tiff.entry(at)
                if tiff.short(at) == _GPS_IFD:
                    coordinates += _erase_gps(tiff, data, entry)
                    gone.setdefault(start, []).append(at)
                elif entry is not None and entry.tag == _XMP and b"GPS" in exif[entry.start : entry.start + entry.size]:
                    _erase(data, entry)
                    gone.setdefault(start, []).append(at)
        for start, entries in gone.items():
            _take_out(tiff, data, start, entries)
    except _Lost:
        return None
    cleaned = bytes(data)
    # a program that edited it may have left a copy somewhere
    return None if any(value in cleaned for value in coordinates) else cleaned


class _Lost(Exception):
    """A structure that can't be followed, or that overlaps itself."""


def _folders(tiff: _Tiff) -> Iterator[int]:
    """Where all folders stand but GPS: the chain of IFD0, and what hangs on them. Raises _Lost."""
    waiting, seen = [(tiff.long(4), True)], set[int]()
    while waiting:
        start, chained = waiting.pop()
        # a link to beyond the end, common behind the thumbnail's folder, leads nobody anywhere
        if start in seen or start + 2 > len(tiff.data):
            continue
        end = start + 2 + 12 * tiff.short(start)
        if end > len(tiff.data) or len(seen) == _MAX_FOLDERS:
            raise _Lost
        seen.add(start)
        yield start
        for at in tiff.places(start):
            if tiff.short(at) in (_EXIF_IFD, _INTEROPERABILITY_IFD, _SUB_IFDS):
                waiting.extend((link, False) for link in _links(tiff, tiff.entry(at)))
        if chained and end + 4 <= len(tiff.data) and tiff.long(end):
            waiting.append((tiff.long(end), True))


def _links(tiff: _Tiff, entry: _Entry | None) -> list[int]:
    if entry is None or entry.kind not in (_LONG, _IFD) or entry.count > _MAX_FOLDERS:
        raise _Lost
    return [tiff.long(entry.start + 4 * i) for i in range(entry.count)]


def _erase_gps(tiff: _Tiff, data: bytearray, pointer: _Entry | None) -> list[bytes]:
    """A GPS folder and its values become zeros. Returns the bytes of latitude and longitude."""
    (start,) = _links(tiff, pointer)
    places = tiff.places(start)
    entries = [tiff.entry(at) for at in places]
    if places and len(places) < tiff.short(start):
        raise _Lost
    coordinates, total = [], 0
    for entry in entries:
        # values that stand elsewhere, or over one another without end
        if entry is None or (total := total + entry.size) > len(data):
            raise _Lost
        _erase(data, entry)
        if entry.tag in (2, 4) and (raw := tiff.data[entry.start : entry.start + entry.size]).strip(b"\0"):
            coordinates.append(raw)
    if places:
        data[start : places[-1] + 12] = bytes(places[-1] + 12 - start)
    return coordinates


def _erase(data: bytearray, entry: _Entry) -> None:
    data[entry.start : entry.start + entry.size] = bytes(entry.size)


def _take_out(tiff: _Tiff, data: bytearray, start: int, entries: list[int]) -> None:
    """Entries out of a folder: those behind move up, their values stay where they are. Raises _Lost."""
    count = tiff.short(start)
    end = start + 2 + 12 * count + 4  # with the offset of the next folder
    table = bytes(data[start + 2 : end])
    if data[start:end] != tiff.data[start:end]:
        raise _Lost  # values that were erased stood in it
    kept = b"".join(table[i : i + 12] for i in range(0, 12 * count, 12) if start + 2 + i not in entries) + table[12 * count :]
    data[start:end] = struct.pack(tiff.order + "H", count - len(entries)) + kept + bytes(12 * len(entries))
