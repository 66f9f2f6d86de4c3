"""WebP: display-encoded, 8 bit. Chunks are read and written here, imagecodecs (libwebp) decodes and codes.

imagecodecs decodes right into the array; Pillow, and imageio with it, goes through an animation's canvases: six times
the memory and twice the time for the same codes.

Source: RFC 9649 (container, section 2; lossless, section 3); RFC 6386 (VP8: frame header, section 9.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import MismatchError, UnwritableOutput, UsageError
from hdrcli.formats import _display
from hdrcli.formats._native import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".webp",)
HOLDS = ("ldr",)

_LOSSY, _LOSSLESS = b"VP8 ", b"VP8L"
_LOSSY_MARK, _LOSSLESS_MARK = b"\x9d\x01\x2a", 0x2F
# The cheapest a macroblock of 16 x 16 can be: kf_ymode_prob gives its luma mode 0.82 bits, kf_uv_mode_prob its chroma mode
# 0.85 (RFC 6386, 11.2). Lossless has no such bound: a picture of one colour takes no bits at all.
_MACROBLOCK_BITS = 1.67
_MAX_SIDE = 16382  # 14 bits a side (RFC 6386, 9.1) are 16383, of which imagecodecs leaves out the last
_HAS_PROFILE, _HAS_ALPHA, _HAS_EXIF = 0x20, 0x10, 0x08  # flags of the extended format: RFC 9649, 2.7
_ALPHA_IS_USED = 1 << 28  # in the header of a lossless picture: RFC 9649, 3.4
_METHOD = 4  # libwebp's effort, 0..6: its usual one; 6 takes twice as long for 3 % of the size
_LOSSLESS_EFFORT = 50  # 0..100; 100 takes 2.5 times as long for 0.2 % of the size


def matches(head: bytes) -> bool:
    """Does the file start as RIFF of the kind WEBP?"""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


@dataclass(frozen=True)
class _Scan:
    chunks: dict[bytes, bytes]  # the first of each kind
    canvas: tuple[int, int] | None  # of the extended format


def read(path: str | Path) -> Image:
    """A WebP as a display-encoded uint8 Image, EXIF orientation applied, code values as decoded.

    Alpha goes to ``metadata.alpha`` unless all is opaque. Of an animation the first picture is read, with a note. Raises
    UnreadableInput for a damaged or truncated file, UnsupportedInput for one that is too large.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    scan = _scan(data)
    notes: tuple[str, ...] = ()
    if b"ANMF" in scan.chunks:
        stored = _first_frame(scan)
        notes = ("is an animation; its first picture is read",)
    else:
        size = _picture_size(scan.chunks)
        if scan.canvas not in (None, size):
            raise _display.damaged("its canvas and its picture are of different sizes")
        stored = _decode(data, size)
    pixels, alpha = _separated(stored)
    chunks = scan.chunks
    found = _display.Decoded(
        pixels,
        alpha=alpha,
        exif=chunks.get(b"EXIF"),
        xmp=chunks.get(b"XMP "),
        icc=chunks.get(b"ICCP"),
        notes=notes,
    )
    return _display.assembled(found)


def _scan(data: bytes) -> _Scan:
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data) or size < 20:
        raise _display.damaged("the file ends early")
    chunks: dict[bytes, bytes] = {}
    for kind, body in _chunks(memoryview(data)[12:size]):
        if kind not in chunks:
            chunks[kind] = bytes(body)
    extended = chunks.get(b"VP8X")
    if extended is None:
        return _Scan(chunks, None)
    if len(extended) < 10:
        raise _display.damaged("its header is too short")
    canvas = _one_more(extended[4:7]), _one_more(extended[7:10])
    _display.check_size(*canvas)
    return _Scan(chunks, canvas)


def _chunks(body: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    while position + 8 <= len(body):
        kind, size = struct.unpack_from("<4sI", body, position)
        if position + 8 + size > len(body):
            raise _display.damaged("the file ends early")
        yield kind, body[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _one_more(number: bytes) -> int:
    return int.from_bytes(number, "little") + 1


def _picture_size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    """Width and height of the picture in its own header, checked."""
    lossy, lossless = chunks.get(_LOSSY), chunks.get(_LOSSLESS)
    if lossy is not None:
        if len(lossy) < 10 or lossy[3:6] != _LOSSY_MARK or lossy[0] & 1:
            raise _display.damaged("its picture does not start as one")
        if int.from_bytes(lossy[:3], "little") >> 5 > len(lossy) - 10:  # the first partition
            raise _display.damaged("the file ends early")
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", lossy, 6))
        _display.check_size(width, height)
        macroblocks = -(-width // 16) * -(-height // 16)
        _display.check_room(width, height, macroblocks * _MACROBLOCK_BITS / 8, len(lossy))
    elif lossless is not None:
        if len(lossless) < 5 or lossless[0] != _LOSSLESS_MARK:
            raise _display.damaged("its picture does not start as one")
        bits = int.from_bytes(lossless[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        _display.check_size(width, height)
    else:
        raise _display.damaged("it holds no picture")
    return width, height


def _decode(data: bytes, size: tuple[int, int]) -> Pixels:
    """A whole file of one picture: ``(H, W, 3)`` or ``(H, W, 4) uint8``."""
    stored = _display.decoded("webp", data, 4 * size[0] * size[1])
    if stored.dtype != "uint8" or stored.shape[1::-1] != size or stored.shape[2:] not in ((3,), (4,)):
        raise _display.damaged("its size is not what its header says")
    return stored


def _first_frame(scan: _Scan) -> Pixels:
    """The first frame of an animation on its canvas, what it leaves bare transparent: ``(H, W, 3 or 4) uint8``."""
    import numpy as np

    frame = scan.chunks[b"ANMF"]
    if scan.canvas is None or len(frame) < 16:
        raise _display.damaged("its animation makes no sense")
    chunks = {kind: bytes(body) for kind, body in _chunks(memoryview(frame)[16:])}
    size = _picture_size(chunks)
    left, top = (2 * int.from_bytes(frame[i : i + 3], "little") for i in (0, 3))
    (width, height), (canvas_width, canvas_height) = size, scan.canvas
    if size != (_one_more(frame[6:9]), _one_more(frame[9:12])) or left + width > canvas_width or top + height > canvas_height:
        raise _display.damaged("a picture of its animation does not fit")
    stored = _decode(_still(chunks, size), size)
    if size == scan.canvas:
        return stored
    canvas = np.zeros((canvas_height, canvas_width, 4), np.uint8)
    place = canvas[top : top + height, left : left + width]
    place[..., : stored.shape[2]] = stored
    if stored.shape[2] == 3:
        place[..., 3] = 255
    return canvas


def _still(chunks: dict[bytes, bytes], size: tuple[int, int]) -> bytes:
    """A file of one picture, made of the chunks of an animation's frame."""
    kind = _LOSSY if _LOSSY in chunks else _LOSSLESS
    parts = [(kind, chunks[kind])]
    if kind == _LOSSY and b"ALPH" in chunks:
        parts = [_extended(size, _HAS_ALPHA), (b"ALPH", chunks[b"ALPH"]), *parts]
    return _packed(parts)


def _extended(size: tuple[int, int], flags: int) -> tuple[bytes, bytes]:
    """The chunk that says what a file holds besides its picture: RFC 9649, 2.7.1."""
    return b"VP8X", bytes((flags, 0, 0, 0)) + b"".join((side - 1).to_bytes(3, "little") for side in size)


def _packed(parts: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2) for name, data in parts)
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body


def _separated(stored: Pixels) -> tuple[Pixels, Pixels | None]:
    import cv2
    import numpy as np

    if stored.shape[2] == 3:
        return stored, None
    with quiet():
        pixels = np.asarray(cv2.cvtColor(stored, cv2.COLOR_RGBA2RGB))
    return pixels, _display.straight_alpha(stored[..., 3])


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A display-encoded Image as a WebP of 8 bits; returns remarks.

    ``options.quality`` 1..99 is lossy, its colour subsampled whatever the quality; 100 is lossless. Alpha, EXIF and the
    colour space, as an ICC profile, go along. Floats are clipped to 0..1 and rounded; NaN becomes 0 with a remark; layers,
    another depth and a compression are left out with a remark. Raises MismatchError for linear light, PQ and HLG,
    UnwritableOutput above 16382 pixels a side.
    """
    import imagecodecs
    import numpy as np

    from hdrcli.color import Transfer

    _display.check_encoded(image, "WebP")
    if image.transfer in (Transfer.PQ, Transfer.HLG):
        raise MismatchError(f"WebP can't hold {image.transfer.name}", remedy="write a 16-bit PNG, or tone-map first")
    if not 1 <= options.quality <= 100:
        raise UsageError(f"quality {options.quality} is not in 1..100")
    if max(image.width, image.height) > _MAX_SIDE:
        remedy = f"WebP holds {_MAX_SIDE} a side; write a PNG or JPEG"
        raise UnwritableOutput(f"{image.width} x {image.height} pixels are too many", where=path, remedy=remedy)
    stored, odd = _display.codes(image.pixels, 8)
    if image.metadata.alpha is not None:
        alpha, _ = _display.codes(image.metadata.alpha[..., None], 8)
        stored = np.concatenate([stored, alpha], axis=2)
    lossless = options.quality == 100
    try:
        coded = imagecodecs.webp_encode(
            np.ascontiguousarray(stored),
            level=_LOSSLESS_EFFORT if lossless else options.quality,
            lossless=lossless,
            method=_METHOD,
        )
    except imagecodecs.WebpError as error:
        raise OSError(f"libwebp could not encode the picture: {error}") from None
    Path(path).write_bytes(_with_metadata(bytes(coded), image))
    return (*_cant_hold(options), *odd)


def _with_metadata(data: bytes, image: Image) -> bytes:
    """A file of one picture, in the extended format with what goes along."""
    profile, exif = _display.profile_to_embed(image), image.metadata.exif
    chunks = {kind: bytes(body) for kind, body in _chunks(memoryview(data)[12:])}
    lossless = _LOSSLESS in chunks
    transparent = b"ALPH" in chunks or (lossless and int.from_bytes(chunks[_LOSSLESS][1:5], "little") & _ALPHA_IS_USED)
    flags = (_HAS_PROFILE if profile else 0) | (_HAS_EXIF if exif else 0) | (_HAS_ALPHA if transparent else 0)
    # the order is the format's
    extra = ((b"ICCP", profile), *((kind, chunks.get(kind)) for kind in (b"ALPH", _LOSSY, _LOSSLESS)), (b"EXIF", exif))
    return _packed([_extended((image.width, image.height), flags), *((kind, body) for kind, body in extra if body)])


def _cant_hold(options: WriteOptions) -> tuple[str, ...]:
    lines = (
        (options.depth not in (None, "8"), f"WebP has one depth, 8 bit; {options.depth} is ignored"),
        (options.compression, f"WebP has one compression; {options.compression} is ignored"),
        (options.layers, f"WebP has no layers; {', '.join(options.layers)} left out"),
    )
    return tuple(text for given, text in lines if given)
