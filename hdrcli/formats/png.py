"""PNG: display-encoded, 8 or 16 bit. Chunks are read and written here, pixels decoded by imagecodecs (libpng), coded by OpenCV.

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)"; its section 4.3 orders the colour chunks:
cICP, iCCP, sRGB, gAMA and cHRM. What cICP says of the curve: ITU-T H.273, table 3. Its television curves (1, 6, 14, 15) are
those of cameras, and PNG does not say how to undo them. Pictures are graded on a display that follows ITU-R BT.1886, a power of
2.4 (BT.2020-2, table 4, note 4): they are decoded as it shows them, as CSS Color 4 has resolved for rec2020.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import MismatchError, UnsupportedInput
from hdrcli.formats import _display, _icc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries, Chromaticities, Transfer
    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".png",)
HOLDS = ("ldr",)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = (0, 4)
_XMP = b"XML:com.adobe.xmp\0"
_MAX_UNPACKED = 1 << 24  # of profiles and texts
_CHANNELS = {2: 3, 4: 2, 6: 4}  # of colour types with more than one
_DEFLATE = 1032  # a match of 258 bytes in two bits: RFC 1951, 3.2.5
_KEPT = (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf", b"acTL")
# H.273 code points of what cICP can say and an ICC matrix profile can't
_CICP_PRIMARIES = {"BT709": 1, "BT2020": 9, "DISPLAY_P3": 12}
_CICP_TRANSFER = {"PQ": 16, "HLG": 18}
# H.273, table 3, the powers that light on a display is of codes: television (BT.1886, its black at 0) and, of old, 625 lines
_CICP_POWERS = {**dict.fromkeys((1, 6, 14, 15), 2.4), 5: 2.8}


def matches(head: bytes) -> bool:
    """Does the file start with PNG's signature?"""
    return head[:8] == _SIGNATURE


@dataclass(frozen=True)
class _Scan:
    width: int
    height: int
    bits: int
    color_type: int
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    xmp: bytes | None = None
    coded: int = 0  # bytes of pixels


def read(path: str | Path) -> Image:
    """A PNG as a display-encoded Image, uint8 or uint16, EXIF orientation applied.

    Grey becomes three equal channels; palettes are looked up; alpha and colour keys go to ``metadata.alpha`` unless all is
    opaque. Colour is as cICP, iCCP, sRGB, or gAMA and cHRM say, in this order; codes of a gamma that has no name become uint16
    with the sRGB curve. Raises UnreadableInput for a damaged file (checksums are verified), UnsupportedInput for colour spaces
    that can't be expressed.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    scan = _scan(data)
    _display.check_size(scan.width, scan.height)
    # the least that rows can come to: without filter bytes, packed, and deflated to the utmost
    row_bytes = scan.width * scan.height * scan.bits * _CHANNELS.get(scan.color_type, 1) / 8
    _display.check_room(scan.width, scan.height, row_bytes / _DEFLATE, scan.coded)
    pixels, alpha = _decode(_first_picture(data) if b"acTL" in scan.chunks else data, scan)
    meaning, notes = _meaning(scan)
    if b"acTL" in scan.chunks:
        notes += ("is an animation; its first picture is read",)
    return _display.assembled(
        _display.Decoded(
            pixels,
            grey=scan.color_type in _GREY,
            alpha=alpha,
            exif=scan.chunks.get(b"eXIf"),
            xmp=scan.xmp,
            icc=_profile(scan.chunks.get(b"iCCP")),
            meaning=meaning,
            notes=notes,
        )
    )


def _scan(data: bytes) -> _Scan:
    chunks: dict[bytes, bytes] = {}
    header: tuple[int, ...] | None = None
    xmp: bytes | None = None
    coded = 0
    for kind, body in _chunks(data):
        if kind == b"IHDR" and header is None and len(body) == 13:
            header = struct.unpack(">IIBB", body[:10])
        elif kind in _KEPT and kind not in chunks:
            chunks[kind] = bytes(body)
        elif kind == b"IDAT":
            coded += len(body)
        elif kind == b"iTXt" and xmp is None and body[: len(_XMP)] == _XMP:
            xmp = _text(bytes(body[len(_XMP) :]))
    if header is None:
        raise _display.damaged("its header is missing")
    if coded == 0:
        raise _display.damaged("it holds no picture")
    width, height, bits, color_type = header
    return _Scan(width, height, bits, color_type, chunks, xmp, coded)


def _text(body: bytes) -> bytes | None:
    """The text of an iTXt chunk from behind its keyword; None if it can't be unpacked. PNG, 11.3.3.4."""
    places = body[2:].split(b"\0", 2)  # behind two flags: language, translated keyword, text
    if len(places) != 3:
        return None
    return (_unpacked(places[2]) if body[1] == 0 else None) if body[0] else places[2]


def _unpacked(packed: bytes) -> bytes | None:
    """A whole zlib stream of a size that makes sense, or None."""
    unpack = zlib.decompressobj()
    try:
        unpacked = unpack.decompress(packed, _MAX_UNPACKED)
    except zlib.error:
        return None
    return unpacked if unpack.eof else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    position = 8
    while position + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + size
        if end + 4 > len(data):
            break
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise _display.damaged(f"the checksum of its {kind.decode('latin-1')!r} chunk is wrong")
        yield kind, view[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4
    raise _display.damaged("the file ends early")


def _first_picture(data: bytes) -> bytes:
    """The file without its animation: what a reader of still pictures shall show. PNG, 4.9."""
    still = [_chunk(kind, bytes(body)) for kind, body in _chunks(data) if kind not in (b"acTL", b"fcTL", b"fdAT")]
    return _SIGNATURE + b"".join(still)


def _decode(data: bytes, scan: _Scan) -> tuple[Pixels, NDArray[np.float32] | None]:
    """``(H, W, 3)`` RGB as stored, and alpha if there is any that is not opaque."""
    import cv2
    import numpy as np

    stored = _display.decoded("png", data)
    if stored.shape[:2] != (scan.height, scan.width):
        raise _display.damaged("its size is not what its header says")
    channels = 1 if stored.ndim == 2 else stored.shape[2]
    if channels == 3:
        return stored, None
    if channels == 4:
        return np.asarray(cv2.cvtColor(stored, cv2.COLOR_RGBA2RGB)), _display.straight_alpha(stored[..., 3])
    grey = stored if channels == 1 else np.ascontiguousarray(stored[..., 0])
    alpha = None if channels == 1 else _display.straight_alpha(stored[..., 1])
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)), alpha


def _profile(chunk: bytes | None) -> bytes | None:
    """The profile of an iCCP chunk; empty bytes for one that can't be unpacked."""
    if chunk is None:
        return None
    name_end = chunk.find(b"\0")
    return (_unpacked(chunk[name_end + 2 :]) or b"") if name_end > 0 else b""


def _meaning(scan: _Scan) -> tuple[tuple[Transfer | float, AnyPrimaries] | None, tuple[str, ...]]:
    """What the chunks say in numbers, None where a profile says it or nothing does, and notes."""
    from hdrcli.color import Primaries, Transfer

    chunks = scan.chunks
    if b"cICP" in chunks:
        numbers = tuple(chunks[b"cICP"][:4])
        transfer, primaries = _icc.cicp(numbers[0], numbers[1]) if len(numbers) == 4 else (None, None)
        curve = transfer or _CICP_POWERS.get(numbers[1] if len(numbers) == 4 else 0)
        if curve is None or primaries is None or numbers[2:] != (0, 1):
            fault = f"is in a colour space that hdrcli does not know: cICP {' '.join(map(str, numbers))}"
            raise UnsupportedInput(fault, remedy="convert it to sRGB, Display P3 or BT.2100 PQ or HLG first")
        return (curve, primaries), ()
    if b"iCCP" in chunks:
        return None, ()
    if b"sRGB" in chunks:
        return (Transfer.SRGB, Primaries.BT709), ()
    gamma, numbers_given = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if not gamma and not numbers_given:
        return None, ()
    exponent = 1e5 / int.from_bytes(gamma, "big") if len(gamma) == 4 and any(gamma) else None
    return _display.calibrated(exponent, None if scan.color_type in _GREY else _chromaticities(numbers_given))


def _chromaticities(chunk: bytes) -> Chromaticities | None:
    from hdrcli.color import Chromaticities

    if len(chunk) != 32:
        return None
    white_x, white_y, *rgb = (v / 100000 for v in struct.unpack(">8I", chunk))
    return Chromaticities((rgb[0], rgb[1]), (rgb[2], rgb[3]), (rgb[4], rgb[5]), (white_x, white_y))


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A display-encoded Image as a PNG; returns remarks.

    Depth "8" or "16" (usual: 16 for uint16 pixels, else 8). Alpha and EXIF go along; sRGB is named by an sRGB chunk, PQ and
    HLG by cICP, other colour spaces by an ICC profile. Floats are clipped to 0..1 and rounded; NaN becomes 0 with a remark.
    Raises MismatchError for linear light.
    """
    import cv2
    import numpy as np

    _display.check_encoded(image, "PNG")
    colour = _colour_chunk(image)
    remarks = _cant_hold(options)
    usual = 16 if image.pixels.dtype == np.uint16 else 8
    depth = int(options.depth) if options.depth in ("8", "16") else usual
    if options.depth not in (None, "8", "16"):
        remarks += (f"PNG has no depth {options.depth}; {depth} bit is written",)
    pixels, odd = _display.codes(image.pixels, depth)
    if image.metadata.alpha is None:
        stored = cv2.cvtColor(np.asarray(pixels), cv2.COLOR_RGB2BGR)
    else:
        alpha, _ = _display.codes(image.metadata.alpha[..., None], depth)
        stored = np.concatenate([pixels[..., ::-1], alpha], axis=2)
        del pixels, alpha
    done, coded = cv2.imencode(".png", stored)
    if not done:
        raise OSError("OpenCV could not encode the picture")

    exif = b"" if image.metadata.exif is None else _chunk(b"eXIf", image.metadata.exif)
    data = coded.data.cast("B")  # no copy
    after_header = 8 + 12 + 13
    with Path(path).open("wb") as file:
        file.write(bytes(data[:after_header]) + colour + exif)
        file.write(data[after_header:])
    return remarks + odd


def _colour_chunk(image: Image) -> bytes:
    from hdrcli.color import Primaries, Transfer

    if (image.transfer, image.primaries) == (Transfer.SRGB, Primaries.BT709):
        return _chunk(b"sRGB", b"\0")
    name = image.primaries.name if isinstance(image.primaries, Primaries) else ""
    if image.transfer.name not in _CICP_TRANSFER:
        return _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(_display.profile_to_embed(image)))
    if name not in _CICP_PRIMARIES:
        raise MismatchError(f"PNG has no name for {image.transfer.name} with {image.primaries.label}", remedy="use Rec.2020")
    code = (_CICP_PRIMARIES[name], _CICP_TRANSFER[image.transfer.name], 0, 1)
    return _chunk(b"cICP", bytes(code))


def _cant_hold(options: WriteOptions) -> tuple[str, ...]:
    lines = (
        (options.compression, f"PNG has one compression; {options.compression} is ignored"),
        (options.layers, f"PNG has no layers; {', '.join(options.layers)} left out"),
    )
    return tuple(text for given, text in lines if given)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
