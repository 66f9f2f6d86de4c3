"""JPEG: display-encoded, 8 bit. Markers are read here, imagecodecs (libjpeg-turbo) decodes, OpenCV looks for damage and codes.

Source: ITU-T T.81 (markers, annex B), T.871 (JFIF), Adobe TN 5116 (APP14), ICC.1:2022 annex B.4 (profile in APP2).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import MismatchError, UnsupportedInput, UnwritableOutput, UsageError
from hdrcli.formats import _display, _exif, _icc
from hdrcli.formats._native import quiet

if TYPE_CHECKING:
    from hdrcli.color import AnyPrimaries, Transfer
    from hdrcli.formats import WriteOptions
    from hdrcli.formats._icc import Meaning
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif")
HOLDS = ("ldr",)

_EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended, progressive; with arithmetic coding
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SEQUENTIAL, _ARITHMETIC = frozenset((0xC0, 0xC1, 0xC9)), frozenset((0xC9, 0xCA))
_WHOLE_SPECTRUM = bytes((0, 63, 0))  # what the scans of a sequential JPEG are to say
_MAX_SCANS = 500  # encoders make some ten; each costs a pass over all blocks, however few its bytes
_EXIF, _XMP, _ICC, _JFIF = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"JFIF\0"
_WARNINGS = ("Corrupt JPEG", "Premature end", "Inconsistent progression")
_BEFORE_RESTART = re.compile(r"before marker 0xd[0-7]")
_MAX_SIDE = 65535
_MAX_SEGMENT = 65533
_FINE_QUALITY = 90  # from here on colour is not subsampled


def matches(head: bytes) -> bool:
    """Does the file start with JPEG's start-of-image marker?"""
    return head[:3] == b"\xff\xd8\xff"


@dataclass(frozen=True)
class _Scan:
    width: int
    height: int
    components: int
    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None  # empty for one with a piece missing
    end: int  # behind the end-of-image marker
    mends: tuple[tuple[int, bytes], ...]  # places, and what shall stand there


def read(path: str | Path) -> Image:
    """A JPEG as a display-encoded uint8 Image, EXIF orientation applied, code values as stored.

    Grey becomes three equal channels. CMYK is converted through its ICC profile, to uint16. Raises UnreadableInput for a
    damaged or truncated file, UnsupportedInput for CMYK without a profile, lossless and 12-bit JPEG.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    scan = _scan(data)
    meaning: tuple[Transfer, AnyPrimaries] | None = None
    if scan.components == 4:
        converted, notes = _decode_cmyk(data, scan)
        pixels, meaning = converted.pixels, (converted.transfer, converted.primaries)
    else:
        pixels, notes = _decode(data, scan)
    found = _display.Decoded(
        pixels, grey=scan.components == 1, exif=scan.exif, xmp=scan.xmp, icc=scan.icc, meaning=meaning, notes=notes
    )
    return _display.assembled(found)


def _scan(data: bytes) -> _Scan:
    """Walk the markers from start to end of image; what follows (gain maps, previews, trailers) is not looked at."""
    frame: tuple[int, ...] | None = None
    parts: dict[int, int] = {}  # sampling factors of the components
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: dict[int, bytes] = {}
    pieces = 0
    drawn: set[int] = set()
    scans, coded = 0, 0
    mends: list[tuple[int, bytes]] = []
    position = 2
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 2 > len(data):
            raise _display.damaged("the file ends early")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2
        if marker == _EOI:
            break
        if marker == 0 or marker in _STANDALONE:
            continue
        size = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + size]
        start = position + 2
        if size < 2 or position + size > len(data):
            raise _display.damaged("the file ends early")
        position += size
        if marker == _SOS:
            scans += 1
            if frame is None or len(body) < 6 or len(body) != 4 + 2 * body[0]:
                raise _display.damaged("its scan header makes no sense")
            spectrum = start + len(body) - 3
            if frame[0] in _SEQUENTIAL and data[spectrum : spectrum + 3] != _WHOLE_SPECTRUM:
                mends.append((spectrum, _WHOLE_SPECTRUM))
            if frame[0] in _SEQUENTIAL or (body[-3] == 0 and body[-1] >> 4 == 0):  # the first of its lowest frequency
                drawn.update(body[1:-3:2])
            match = _AFTER_SCAN.search(data, position)
            if match is None:
                raise _display.damaged("the file ends early")
            coded += match.start() - position
            position = match.start()
        elif marker in _FRAMES and frame is None:
            if len(body) < 6 or len(body) != 6 + 3 * body[5]:
                raise _display.damaged("its frame header makes no sense")
            frame = (marker, *struct.unpack_from(">BHHB", body))
            parts = dict(zip(body[6::3], body[7::3], strict=True))
        elif marker == _APP1 and exif is None and body.startswith(_EXIF):
            exif = _exif.without_prefix(body)
        elif marker == _APP1 and xmp is None and body.startswith(_XMP):
            xmp = body[len(_XMP) :]
        elif marker == _APP2 and body.startswith(_ICC) and len(body) > 14:
            profile[body[12]] = body[14:]
            pieces = body[13]
        elif marker == _APP0 and body.startswith(_JFIF) and len(body) >= 12 and body[5] != 1:
            mends.append((start + 5, b"\1"))
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12 and body[11] > 2:
            mends.append((start + 11, b"\1" if frame is None or frame[4] != 4 else b"\2"))
    if frame is None:
        raise _display.damaged("it holds no picture")
    kind, bits, height, width, components = frame
    _check_frame(kind, bits, components)
    _display.check_size(width, height)
    if not drawn >= parts.keys():
        raise _display.damaged("some of its colours are missing")
    if scans > _MAX_SCANS:
        raise UnsupportedInput(f"is a JPEG of {scans} scans", remedy=f"save it again; the limit is {_MAX_SCANS}")
    if kind not in _ARITHMETIC:
        _display.check_room(width, height, _blocks(width, height, parts) / 8, coded)
    whole = sorted(profile) == list(range(1, pieces + 1))
    icc = None if not profile else b"".join(profile[i] for i in sorted(profile)) if whole else b""
    return _Scan(width, height, components, exif, xmp, icc, position, tuple(mends))


def _blocks(width: int, height: int, parts: dict[int, int]) -> float:
    """About how many blocks of 8 x 8 there are. Huffman coding takes a bit at least for the mean of each: T.81, F.1.2.1."""
    factors = [(part >> 4, part & 15) for part in parts.values()]
    largest = max(h for h, _ in factors) * max(v for _, v in factors)
    return width * height / 64 * sum(h * v for h, v in factors) / max(largest, 1)


def _check_frame(kind: int, bits: int, components: int) -> None:
    if kind not in _DECODABLE:
        raise UnsupportedInput(f"is a lossless or hierarchical JPEG (frame type {kind:#x})", remedy="save it as a usual one")
    if bits != 8:
        raise UnsupportedInput(f"is a JPEG of {bits} bits", remedy="save it with 8 bits, or as a 16-bit PNG")
    if components not in (1, 3, 4):
        raise UnsupportedInput(f"is a JPEG of {components} components", remedy="save it as RGB")


def _decode(data: bytes, scan: _Scan, space: str = "RGB") -> tuple[Pixels, tuple[str, ...]]:
    """Codes in ``space``, "RGB" or "CMYK", as stored, and notes."""
    import cv2
    import numpy as np

    coded = _mended(data, scan)
    # OpenCV needs twice the memory and knows no inks, imagecodecs says nothing of damage: the former goes through all bytes
    # for a picture of an eighth, to hear libjpeg's warnings, in a third of the time that decoding takes
    try:
        with quiet() as said:
            found = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _display.damaged(error.err or "its pixels can't be decoded") from None
    notes = _complaints("".join(said).splitlines())
    if found is None:
        raise _display.damaged("its pixels can't be decoded")
    pixels = _display.decoded("jpeg8", coded, outcolorspace=space)
    if pixels.shape != (scan.height, scan.width, len(space)) or pixels.dtype != np.uint8:
        raise _display.damaged("its size is not what its header says")
    return pixels, notes


def _mended(data: bytes, scan: _Scan) -> bytes:
    """The bytes of the picture, without what libjpeg warns of though it costs nothing: of all warnings it utters the first."""
    coded = data if scan.end == len(data) else data[: scan.end]
    if not scan.mends:
        return coded
    mended = bytearray(coded)
    for place, wanted in scan.mends:
        mended[place : place + len(wanted)] = wanted
    return bytes(mended)


def _complaints(said: list[str]) -> tuple[str, ...]:
    """Notes from what libjpeg said. Raises UnreadableInput for what has cost pixels."""
    lines = [line for line in said if line.startswith(_WARNINGS)]
    for line in lines:
        # bytes too many are what sloppy writers leave; before a restart marker they show that blocks went wrong
        if "extraneous bytes" not in line or _BEFORE_RESTART.search(line):
            raise _display.damaged(line)
    return (f"may be damaged: {lines[0].partition(': ')[2]}",) if lines else ()


def _decode_cmyk(data: bytes, scan: _Scan) -> tuple[Meaning, tuple[str, ...]]:
    import numpy as np

    if not scan.icc:
        how = "without an" if scan.icc is None else "with a damaged"
        raise UnsupportedInput(f"is CMYK {how} ICC profile", remedy="convert it to sRGB first")
    inks, notes = _decode(data, scan, "CMYK")
    # Adobe writes inks as light, 255 for none, and everybody else does as Adobe, with its marker or without
    converted = _icc.from_cmyk(np.invert(inks, out=inks), scan.icc)
    return converted, notes + converted.notes


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A display-encoded Image as a baseline JPEG; returns remarks.

    ``options.quality`` 1..100; colour is subsampled below 90. EXIF goes along, the colour space as an ICC profile. Floats
    are clipped to 0..1 and rounded; NaN becomes 0 with a remark; alpha, layers, another depth and a compression are left out
    with a remark. Raises MismatchError for linear light, PQ and HLG, UnwritableOutput above 65535 pixels a side.
    """
    import cv2
    import numpy as np

    from hdrcli.color import Transfer

    _display.check_encoded(image, "JPEG")
    if image.transfer in (Transfer.PQ, Transfer.HLG):
        raise MismatchError(f"JPEG can't hold {image.transfer.name}", remedy="write a 16-bit PNG, or tone-map first")
    if not 1 <= options.quality <= 100:
        raise UsageError(f"quality {options.quality} is not in 1..100")
    if max(image.width, image.height) > _MAX_SIDE:
        remedy = f"JPEG holds {_MAX_SIDE} a side; write a PNG"
        raise UnwritableOutput(f"{image.width} x {image.height} pixels are too many", where=path, remedy=remedy)
    pixels, odd = _display.codes(image.pixels, 8)
    sampling = "444" if options.quality >= _FINE_QUALITY else "420"
    parameters = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
    parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")]
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(pixels), cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise OSError("OpenCV could not encode the picture")

    segments, too_large = _metadata_segments(image)
    data = coded.tobytes()
    after_jfif = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
    with Path(path).open("wb") as file:
        file.write(data[:after_jfif] + segments)
        file.write(memoryview(data)[after_jfif:])
    return (*_cant_hold(image, options), *too_large, *odd)


def _metadata_segments(image: Image) -> tuple[bytes, tuple[str, ...]]:
    segments = b""
    remarks: tuple[str, ...] = ()
    if image.metadata.exif is not None:
        payload = b"Exif\0\0" + image.metadata.exif
        if len(payload) <= _MAX_SEGMENT:
            segments += _segment(_APP1, payload)
        else:
            remarks = ("EXIF is too large for a JPEG; left out",)
    profile = _display.profile_to_embed(image)
    room = _MAX_SEGMENT - len(_ICC) - 2
    pieces = [profile[i : i + room] for i in range(0, len(profile), room)]
    for i, piece in enumerate(pieces, 1):
        segments += _segment(_APP2, _ICC + bytes((i, len(pieces))) + piece)
    return segments, remarks


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _cant_hold(image: Image, options: WriteOptions) -> tuple[str, ...]:
    lines = (
        (options.depth not in (None, "8"), f"JPEG has one depth, 8 bit; {options.depth} is ignored"),
        (options.compression, f"JPEG has one compression; {options.compression} is ignored"),
        (options.layers, f"JPEG has no layers; {', '.join(options.layers)} left out"),
        (image.metadata.alpha is not None, "JPEG has no alpha; it is left out"),
    )
    return tuple(text for given, text in lines if given)
