"""JPEG: display-encoded, 8 bit. Markers are read here, without decoding or a further library; OpenCV decodes.

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
from hdrcli.formats._native import quiet_stderr

if TYPE_CHECKING:
    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif")
HDR = False

_SOI, _EOI, _SOS, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended, progressive; with arithmetic coding
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXIF, _ICC = b"Exif\0", b"ICC_PROFILE\0"
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
    icc: bytes | None  # empty for one with a piece missing
    end: int  # behind the end-of-image marker


def read(path: str | Path) -> Image:
    """A JPEG as a display-encoded uint8 Image, EXIF orientation applied, code values as stored.

    Grey becomes three equal channels. CMYK is converted to sRGB through its ICC profile. Raises UnreadableInput for a
    damaged or truncated file, UnsupportedInput for CMYK without a profile, lossless and 12-bit JPEG.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    from hdrcli.color import Primaries, Transfer
    from hdrcli.image import Image, Metadata

    scan = _scan(data)
    transfer, primaries = Transfer.SRGB, Primaries.BT709
    notes: tuple[str, ...]
    if scan.components == 4:
        pixels, notes = _decode_cmyk(data, scan)
    else:
        pixels, notes = _decode(data, scan)
        if scan.icc is not None:
            pixels, transfer, primaries, remarks = _icc.interpret(scan.icc, pixels, grey=scan.components == 1)
            notes += remarks
    exif = scan.exif
    if exif is not None and scan.icc is None and scan.components == 3 and _exif.says_adobe_rgb(exif):
        transfer, primaries = Transfer.GAMMA22, Primaries.ADOBE_RGB
    if exif is not None:
        pixels, exif = _exif.turned(pixels, _exif.orientation(exif)), _exif.upright(exif)
    return Image(pixels, transfer, primaries, None, Metadata(exif=exif, icc=scan.icc or None, notes=notes))


def _scan(data: bytes) -> _Scan:
    """Walk the markers from start to end of image; what follows (gain maps, previews, trailers) is not looked at."""
    frame: tuple[int, ...] | None = None
    exif: bytes | None = None
    profile: dict[int, bytes] = {}
    pieces = 0
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
        if size < 2 or position + size > len(data):
            raise _display.damaged("the file ends early")
        position += size
        if marker == _SOS:
            match = _AFTER_SCAN.search(data, position)
            if match is None:
                raise _display.damaged("the file ends early")
            position = match.start()
        elif marker in _FRAMES and frame is None:
            if len(body) < 6:
                raise _display.damaged("its frame header is too short")
            frame = (marker, *struct.unpack_from(">BHHB", body))
        elif marker == _APP1 and exif is None and body.startswith(_EXIF):
            exif = _exif.without_prefix(body)
        elif marker == _APP2 and body.startswith(_ICC) and len(body) > 14:
            profile[body[12]] = body[14:]
            pieces = body[13]
    if frame is None:
        raise _display.damaged("it holds no picture")
    kind, bits, height, width, components = frame
    _check_frame(kind, bits, components)
    _display.check_size(width, height)
    whole = sorted(profile) == list(range(1, pieces + 1))
    icc = None if not profile else b"".join(profile[i] for i in sorted(profile)) if whole else b""
    return _Scan(width, height, components, exif, icc, position)


def _check_frame(kind: int, bits: int, components: int) -> None:
    if kind not in _DECODABLE:
        raise UnsupportedInput(f"is a lossless or hierarchical JPEG (frame type {kind:#x})", remedy="save it as a usual one")
    if bits != 8:
        raise UnsupportedInput(f"is a JPEG of {bits} bits", remedy="save it with 8 bits, or as a 16-bit PNG")
    if components not in (1, 3, 4):
        raise UnsupportedInput(f"is a JPEG of {components} components", remedy="save it as RGB")


def _decode(data: bytes, scan: _Scan) -> tuple[Pixels, tuple[str, ...]]:
    import cv2
    import numpy as np

    coded = np.frombuffer(data, np.uint8, scan.end)
    try:
        with quiet_stderr() as said:
            pixels = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _display.damaged(error.err or "its pixels can't be decoded") from None
    complaints = [line for line in "".join(said).splitlines() if line.startswith(("Corrupt JPEG", "Premature end"))]
    # bytes too many are what sloppy writers leave; all else has cost pixels
    if pixels is None or any("extraneous bytes" not in line for line in complaints):
        raise _display.damaged(complaints[0] if complaints else "its pixels can't be decoded")
    if pixels.shape != (scan.height, scan.width, 3):
        raise _display.damaged("its size is not what its header says")
    notes = (f"may be damaged: {complaints[0].partition(': ')[2]}",) if complaints else ()
    return np.asarray(pixels), notes


def _decode_cmyk(data: bytes, scan: _Scan) -> tuple[Pixels, tuple[str, ...]]:
    import io

    import PIL.Image

    if not scan.icc:
        raise UnsupportedInput("is CMYK without an ICC profile", remedy="convert it to sRGB first")
    try:
        profile = _icc.parse(scan.icc)
    except ValueError:
        raise UnsupportedInput("is CMYK with a damaged ICC profile", remedy="convert it to sRGB first") from None
    # the size has been checked; Pillow's own limit would raise at 179 megapixels
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        picture = PIL.Image.open(io.BytesIO(data[: scan.end]), formats=["JPEG"])
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _display.damaged(str(error) or "its pixels can't be decoded") from None
    converted = _icc.to_srgb(picture, scan.icc, "CMYK") if profile.space == "CMYK" else None
    if converted is None:
        raise UnsupportedInput(
            f"is CMYK with the ICC profile {profile.name!r}, which does not fit", remedy="convert it to sRGB first"
        )
    return converted, (f"converted from CMYK by its ICC profile {profile.name!r} to sRGB",)


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A display-encoded Image as a baseline JPEG; returns remarks.

    ``options.quality`` 1..100; colour is subsampled below 90. EXIF goes along, colour spaces other than sRGB as an ICC
    profile. Floats are clipped to 0..1 and rounded; NaN becomes 0 with a remark; alpha, layers, another depth and a
    compression are left out with a remark. Raises MismatchError for linear light, PQ and HLG, UnwritableOutput above 65535
    pixels a side.
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
    if profile is not None:
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
