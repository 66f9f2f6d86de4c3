"""PNG: display-encoded, 8 or 16 bit. Chunks are read and written here, pixels coded by OpenCV.

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)"; its section 4.3 orders the colour chunks:
cICP, iCCP, sRGB, gAMA and cHRM.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import MismatchError, UnsupportedInput
from hdrcli.formats import _display, _exif, _icc
from hdrcli.formats._native import quiet_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import Primaries, Transfer
    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".png",)
HDR = False

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = (0, 4), 3
_MAX_PROFILE = 1 << 24
_KEPT = (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf", b"tRNS", b"acTL")
_SRGB_GAMMA = 45455
_SRGB_CHRM = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
# H.273 code points of what cICP can say and an ICC matrix profile can't
_CICP_PRIMARIES = {"BT709": 1, "BT2020": 9, "DISPLAY_P3": 12}
_CICP_TRANSFER = {"PQ": 16, "HLG": 18}


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


def read(path: str | Path) -> Image:
    """A PNG as a display-encoded Image, uint8 or uint16, EXIF orientation applied.

    Grey becomes three equal channels; palettes are looked up; alpha and colour keys go to ``metadata.alpha`` unless
    all is opaque. Raises
    UnreadableInput for a damaged file (checksums are verified), UnsupportedInput for colour spaces that can't be expressed.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    from hdrcli.color import Transfer
    from hdrcli.image import Image, Metadata

    scan = _scan(data)
    _display.check_size(scan.width, scan.height)
    pixels, alpha = _decode(data, scan)
    icc = _profile(scan.chunks.get(b"iCCP"))
    pixels, transfer, primaries, notes = _meaning(scan, icc, pixels)
    if alpha is not None and alpha.min() == 1:
        alpha = None
    if alpha is not None:
        notes += ("has transparency; it goes along as alpha",)
    if b"acTL" in scan.chunks:
        notes += ("is an animation; its first picture is read",)
    exif = scan.chunks.get(b"eXIf")
    if exif is not None:
        exif = _exif.without_prefix(exif)
        turn = _exif.orientation(exif)
        pixels, exif = _exif.turned(pixels, turn), _exif.upright(exif)
        alpha = None if alpha is None else _exif.turned(alpha, turn)
    # SMPTE ST 2084: code 1 is 10000 cd/m2
    white = 10000.0 if transfer is Transfer.PQ else None
    return Image(pixels, transfer, primaries, white, Metadata(exif=exif, icc=icc or None, alpha=alpha, notes=notes))


def _scan(data: bytes) -> _Scan:
    chunks: dict[bytes, bytes] = {}
    header: tuple[int, ...] | None = None
    for kind, body in _chunks(data):
        if kind == b"IHDR" and header is None and len(body) == 13:
            header = struct.unpack(">IIBB", body[:10])
        elif kind in _KEPT and kind not in chunks:
            chunks[kind] = bytes(body)
    if header is None:
        raise _display.damaged("its header is missing")
    width, height, bits, color_type = header
    return _Scan(width, height, bits, color_type, chunks)


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


def _decode(data: bytes, scan: _Scan) -> tuple[Pixels, NDArray[np.float32] | None]:
    """``(H, W, 3)`` RGB as stored, and alpha if there is any."""
    import cv2
    import numpy as np

    has_alpha = scan.color_type in (4, 6) or b"tRNS" in scan.chunks
    rgb = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with quiet_stderr() as said:
            stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED if has_alpha else rgb)
    except cv2.error as error:
        raise _display.damaged(error.err or "its pixels can't be decoded") from None
    if stored is None or stored.shape[:2] != (scan.height, scan.width):
        raise _display.damaged(_reason(said))
    pixels: Pixels = np.asarray(stored)
    if not has_alpha:
        return pixels, None
    largest = np.iinfo(pixels.dtype).max
    if pixels.ndim == 2:  # grey with a colour key, which OpenCV leaves out
        alpha = (pixels != _grey_key(scan)).astype(np.float32)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)), alpha
    if pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), None
    alpha = np.multiply(pixels[..., 3], np.float32(1 / largest), dtype=np.float32)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)), alpha


def _reason(said: list[str]) -> str:
    lines = "".join(said).strip().splitlines()
    return lines[0].removeprefix("libpng error: ")[:120] if lines else "its pixels can't be decoded"


def _grey_key(scan: _Scan) -> int:
    key = int.from_bytes(scan.chunks[b"tRNS"][:2], "big") & ((1 << scan.bits) - 1)
    return key * (255 // ((1 << scan.bits) - 1)) if scan.bits < 8 else key


def _profile(chunk: bytes | None) -> bytes | None:
    """The profile of an iCCP chunk; empty bytes for one that can't be unpacked."""
    if chunk is None:
        return None
    name_end = chunk.find(b"\0")
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(chunk[name_end + 2 :], _MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if name_end > 0 and unpack.eof else b""


def _meaning(scan: _Scan, icc: bytes | None, pixels: Pixels) -> tuple[Pixels, Transfer, Primaries, tuple[str, ...]]:
    from hdrcli.color import Primaries, Transfer

    chunks = scan.chunks
    if b"cICP" in chunks:
        numbers = tuple(chunks[b"cICP"][:4])
        transfer, primaries = _icc.cicp(numbers[0], numbers[1]) if len(numbers) == 4 else (None, None)
        if transfer is None or primaries is None or numbers[2:] != (0, 1):
            fault = f"is in a colour space that hdrcli does not know: cICP {' '.join(map(str, numbers))}"
            raise UnsupportedInput(fault, remedy="convert it to sRGB, Display P3 or BT.2100 PQ or HLG first")
        return pixels, transfer, primaries, ()
    if icc is not None:
        return _icc.interpret(icc, pixels, grey=scan.color_type in _GREY)
    if b"sRGB" in chunks:
        return pixels, Transfer.SRGB, Primaries.BT709, ()
    return pixels, Transfer.SRGB, Primaries.BT709, _gamma_notes(chunks)


def _gamma_notes(chunks: dict[bytes, bytes]) -> tuple[str, ...]:
    notes = []
    gamma, chromaticities = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if len(gamma) == 4 and abs((value := int.from_bytes(gamma, "big")) - _SRGB_GAMMA) > 500:
        notes.append(f"its gAMA chunk ({value / 100000:g}) is not sRGB's; ignored, taken as sRGB")
    if len(chromaticities) == 32:
        values = struct.unpack(">8I", chromaticities)
        if any(abs(v - w) > 100 for v, w in zip(values, _SRGB_CHRM, strict=True)):
            notes.append("its cHRM chunk is not sRGB's; ignored, taken as sRGB")
    return tuple(notes)


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
    done, coded = cv2.imencode(".png", stored)
    if not done:
        raise OSError("OpenCV could not encode the picture")

    exif = b"" if image.metadata.exif is None else _chunk(b"eXIf", image.metadata.exif)
    data = coded.tobytes()
    after_header = 8 + 12 + 13
    with Path(path).open("wb") as file:
        file.write(data[:after_header] + colour + exif)
        file.write(memoryview(data)[after_header:])
    return remarks + odd


def _colour_chunk(image: Image) -> bytes:
    from hdrcli.color import Primaries, Transfer

    if (image.transfer, image.primaries) == (Transfer.SRGB, Primaries.BT709):
        return _chunk(b"sRGB", b"\0")
    if image.transfer.name not in _CICP_TRANSFER:
        return _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(_display.profile_to_embed(image) or b""))
    if image.primaries.name not in _CICP_PRIMARIES:
        raise MismatchError(f"PNG has no name for {image.transfer.name} with {image.primaries.label}", remedy="use Rec.2020")
    code = (_CICP_PRIMARIES[image.primaries.name], _CICP_TRANSFER[image.transfer.name], 0, 1)
    return _chunk(b"cICP", bytes(code))


def _cant_hold(options: WriteOptions) -> tuple[str, ...]:
    lines = (
        (options.compression, f"PNG has one compression; {options.compression} is ignored"),
        (options.layers, f"PNG has no layers; {', '.join(options.layers)} left out"),
    )
    return tuple(text for given, text in lines if given)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
