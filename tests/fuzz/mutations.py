"""Files spoiled on purpose: the same number gives the same bytes, on any machine.

``mutated(format, samples, number)`` takes one of the samples, changes it a few times, and mends what would keep the change
from being seen: a PNG's checksums, a JPEG segment's length, a RIFF chunk's size.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

BYTES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 20_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (
    b"",
    b"0",
    b"-1",
    b"1",
    b"7",
    b"20000",
    b"65536",
    b"2147483648",
    b"999999999",
    b"1e39",
    b"nan",
    b"inf",
    b"0x10",
    b"1.5",
)
LARGEST_FILE = 1 << 16

Mutator = Callable[[bytearray, Sequence[bytes], random.Random], bytearray]


def mutated(format: str, samples: Mapping[str, bytes], number: int) -> bytes:
    """The spoiled file of that number."""
    rng = random.Random(f"{format} {number}")
    all_samples = [samples[name] for name in sorted(samples)]
    data = rng.choice(all_samples)
    structured = STRUCTURED.get(format)
    if structured is not None and rng.random() < 0.7:
        return structured(data, all_samples, rng)[:LARGEST_FILE]
    return bytes(changed(data, all_samples, rng))[:LARGEST_FILE]


def changed(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytearray:
    """One to eight changes, mostly one."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 8))):
        out = rng.choice(MUTATORS)(out, others, rng) if out else bytearray(rng.randbytes(rng.randrange(1, 40)))
    return out


# --- changes to any bytes -------------------------------------------------------------------------------------------------


def _place(data: bytearray, rng: random.Random) -> int:
    """Headers are short and decide most: half of all changes happen there."""
    return rng.randrange(min(len(data), 300) if rng.random() < 0.5 else len(data))


def _span(data: bytearray, rng: random.Random) -> slice:
    start = _place(data, rng)
    return slice(start, start + min(rng.choice((1, 2, 4, 8, 16, 64, 400)), len(data) - start))


def flip_bits(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return data


def overwrite(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    span = _span(data, rng)
    data[span] = bytes([rng.choice(BYTES)]) * (span.stop - span.start)
    return data


def randomise(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    span = _span(data, rng)
    data[span] = rng.randbytes(span.stop - span.start)
    return data


def truncate(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    return data[: _place(data, rng)]


def delete(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    del data[_span(data, rng)]
    return data


def repeat(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    span = _span(data, rng)
    data[span] = data[span] * rng.choice((2, 2, 3, 30))
    return data


def move(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    span, target = _span(data, rng), _place(data, rng)
    data[target:target] = data[span]
    return data


def append(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    return data + rng.randbytes(rng.choice((1, 5, 300)))


def splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    other = rng.choice(others) or data
    here = _place(data, rng)
    return data[:here] + other[here if rng.random() < 0.5 else rng.randrange(len(other)) :]


def set_number(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    kind = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "B"))
    size = struct.calcsize(kind)
    if len(data) < size:
        return data
    place = min(_place(data, rng), len(data) - size)
    (before,) = struct.unpack_from(kind, data, place)
    value = rng.choice((*NUMBERS, before + 1, before - 1, 2 * before, len(data), len(data) + 1, len(data) - place))
    struct.pack_into(kind, data, place, value & ((1 << 8 * size) - 1))
    return data


def set_word(data: bytearray, others: Sequence[bytes], rng: random.Random) -> bytearray:
    """A number in a text header becomes another, or none."""
    numbers = list(re.finditer(rb"[0-9]+", data[:400]))
    if not numbers:
        return set_number(data, others, rng)
    span = rng.choice(numbers).span()
    data[slice(*span)] = rng.choice(WORDS)
    return data


MUTATORS: tuple[Mutator, ...] = (
    *(flip_bits, flip_bits, overwrite, randomise, truncate, delete, repeat, move, append, splice, set_word),
    *(set_number,) * 4,
)


# --- changes to the parts of a file ---------------------------------------------------------------------------------------


def png(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Chunks changed, left out, doubled, moved; pixels changed under the compression; lengths and checksums made right."""
    chunks = _png_chunks(data)
    foreign = [chunk for other in others for chunk in _png_chunks(other)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        i = rng.randrange(len(chunks))
        kind, body = chunks[i]
        match rng.randrange(10):
            case 0 if len(chunks) > 1:
                del chunks[i]
            case 1:
                chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
            case 2:
                chunks.insert(rng.randrange(1, len(chunks) + 1), rng.choice(foreign))
            case 3 | 4 if kind == b"IDAT":
                chunks[i] = (kind, _recompressed(body, others, rng))
            case _:
                chunks[i] = (kind, bytes(changed(body, [b for _, b in foreign], rng)))
    out = data[:8]
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body) ^ (rng.random() < 0.02)
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
    return out


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        chunks.append((kind, data[place + 8 : place + 8 + size]))
        place += 12 + size
    return chunks


def _recompressed(body: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    try:
        plain = zlib.decompress(body)
    except zlib.error:  # changed before, or one of several that only make sense together
        return bytes(changed(body, others, rng))
    return zlib.compress(bytes(changed(plain, others, rng)))


def jpeg(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Segments changed, left out, doubled, moved, with right lengths; or the coded pixels changed."""
    segments, scans = _jpeg_segments(data)
    foreign = [segment for other in others for segment in _jpeg_segments(other)[0]]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        i = rng.randrange(len(segments)) if segments else -1
        match rng.randrange(9):
            case 0 if i >= 0:
                del segments[i]
            case 1 if i >= 0:
                segments.insert(rng.randrange(len(segments) + 1), segments[i])
            case 2:
                segments.insert(rng.randrange(len(segments) + 1), rng.choice(foreign))
            case 3 | 4:
                scans = bytes(changed(scans, others, rng))
            case _ if i >= 0:
                marker, body = segments[i]
                segments[i] = (marker, bytes(changed(body, [b for _, b in foreign], rng))[:65533])
    parts = [struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments]
    return data[:2] + b"".join(parts) + scans


def _jpeg_segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments up to the first scan, and all from there on."""
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append((data[place + 1], data[place + 4 : place + 2 + size]))
        place += 2 + size
    return segments, data[place:]


def webp(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """RIFF chunks changed, left out, doubled, moved, with right sizes."""
    chunks = _riff_chunks(data)
    foreign = [chunk for other in others for chunk in _riff_chunks(other)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        i = rng.randrange(len(chunks))
        kind, body = chunks[i]
        match rng.randrange(8):
            case 0 if len(chunks) > 1:
                del chunks[i]
            case 1:
                chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
            case 2:
                chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(foreign))
            case _:
                chunks[i] = (kind, bytes(changed(body, [b for _, b in foreign], rng)))
    parts = [kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in chunks]
    inside = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


def _riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 12
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        chunks.append((kind, data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return chunks


STRUCTURED: Mapping[str, Callable[[bytes, Sequence[bytes], random.Random], bytes]] = {"png": png, "jpeg": jpeg, "webp": webp}
