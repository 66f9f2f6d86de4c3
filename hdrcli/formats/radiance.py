"""Radiance RGBE (.hdr): scene-linear, 8-bit mantissas with a shared exponent.

Header, orientation and both run-length codings as in Ward, "Real Pixels" (Graphics Gems II, 1991) and Radiance's
"File Formats" manual. A pixel is ``mantissa * 2 ** (exponent - 136)``, as OpenCV, OpenImageIO and stb read it; rounding the
mantissa to nearest keeps the error of the largest channel within 0.4 %.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import HdrcliError, MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats import _display
from hdrcli.formats._values import Odd, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.formats import WriteOptions
    from hdrcli.formats._exif import Shot
    from hdrcli.image import Image

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]

EXTENSIONS = (".hdr", ".pic", ".rgbe")
HOLDS = ("hdr",)

LARGEST = 255 / 256 * 2.0**127
_DARKEST = 1e-32  # Radiance writes black below
_STRIP_PIXELS = 1 << 18
_MAX_PIXELS_PER_BYTE = 100_000
_COPY_AGAIN = "copy it again from where it came"
_MEANINGFUL = frozenset(("FORMAT", "EXPOSURE", "COLORCORR", "PRIMARIES", "PIXASPECT", "WHITE_LUMINANCE"))
_RESOLUTION = re.compile(rb"([+-])([XY]) (\d{1,9}) ([+-])([XY]) (\d{1,9})[ \r]*$")


def matches(head: bytes) -> bool:
    """Does the file start with ``#?``?"""
    return head[:2] == b"#?"


@dataclass(frozen=True)
class _Header:
    xyz: bool
    texts: Mapping[str, str]
    multiplier: tuple[float, float, float]  # what the stored values have been multiplied by
    primaries: AnyPrimaries
    white_luminance: float | None
    scanlines: int
    length: int  # pixels in a scanline
    by_columns: bool  # scanlines run along Y
    flips: tuple[bool, bool]  # scanlines from last to first; pixels of a scanline from last to first
    notes: tuple[str, ...]
    end: int  # where the pixels start


def read(path: str | Path) -> Image:
    """A Radiance file as a linear Image with float32 pixels.

    EXPOSURE and COLORCORR are divided out, all eight orientations turned upright, XYZE converted to BT.709. Raises
    UnreadableInput for a damaged file, UnsupportedInput for another FORMAT or more than 400 megapixels.
    """
    import numpy as np

    from hdrcli.color import Transfer
    from hdrcli.formats import _exif
    from hdrcli.image import Image, Metadata

    data = _bytes(path)
    try:
        header = _parse_header(data)
        pixels = _decode_pixels(data, header)
    except HdrcliError as error:
        error.where = str(path)
        raise
    notes = list(header.notes)
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large then is counted below
        if header.multiplier != (1, 1, 1):
            pixels /= _float32(header.multiplier)
        if header.xyz:
            pixels = pixels @ _xyz_to_bt709().T
            notes.append("holds XYZ; converted to Rec.709")
    if header.flips[0]:
        pixels = pixels[::-1]
    if header.flips[1]:
        pixels = pixels[:, ::-1]
    if header.by_columns:
        pixels = pixels.transpose(1, 0, 2)
    pixels, odd = bounded(_contiguous(pixels), _FLOAT_MAX, -_FLOAT_MAX)
    notes += odd.remarks("read", largest=_FLOAT_MAX)
    shot, texts = _shot(header.texts)
    metadata = Metadata(exif=_exif.from_shot(shot) or None, header=texts, notes=tuple(notes))
    return Image(pixels, Transfer.LINEAR, header.primaries, header.white_luminance, metadata)


_FLOAT_MAX = 3.4028234663852886e38


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None


def _float32(numbers: object) -> Floats:
    import numpy as np

    return np.asarray(numbers, dtype=np.float32)


def _contiguous(pixels: Floats) -> Floats:
    import numpy as np

    return np.ascontiguousarray(pixels)


def _xyz_to_bt709() -> Floats:
    import numpy as np

    from hdrcli.color import Primaries, rgb_to_xyz

    return _float32(np.linalg.inv(rgb_to_xyz(Primaries.BT709)))


# --- header ---------------------------------------------------------------------------------------------------------------


def _parse_header(data: bytes) -> _Header:
    lines, end = _header_lines(data)
    values: dict[str, list[str]] = {}
    for line in lines:
        name, equals, text = line.decode("utf-8", "replace").partition("=")
        if equals and not line.startswith((b"#", b" ", b"\t")):
            values.setdefault(name.strip(), []).append(text.strip())

    notes: list[str] = []
    kind = (values.get("FORMAT") or ["32-bit_rle_rgbe"])[-1]
    if kind not in ("32-bit_rle_rgbe", "32-bit_rle_xyze"):
        raise UnsupportedInput(
            f"is a Radiance file of the format {kind[:40]!r}", remedy="hdrcli reads 32-bit_rle_rgbe and _xyze"
        )
    multiplier = [1.0, 1.0, 1.0]
    for name, count in (("EXPOSURE", 1), ("COLORCORR", 3)):
        for text in values.get(name, []):
            numbers = _numbers(text, count)
            if numbers is None or min(numbers) <= 0:
                notes.append(f"{name}={text[:40]} is not understood and ignored")
            else:
                multiplier = [m * n for m, n in zip(multiplier, numbers * (3 // count), strict=True)]
    aspect = _numbers((values.get("PIXASPECT") or ["1"])[-1], 1)
    if aspect is None or abs(aspect[0] - 1) > 1e-3:
        notes.append(f"pixel aspect ratio {values['PIXASPECT'][-1][:40]} is ignored")
    white = _numbers((values.get("WHITE_LUMINANCE") or [""])[-1], 1)
    primaries, remarks = _primaries(values.get("PRIMARIES") if kind.endswith("rgbe") else None)

    newline = data.find(b"\n", end, end + 100)
    match = _RESOLUTION.match(data[end:newline]) if newline > 0 else None
    if match is None or match[2] == match[5]:
        raise UnreadableInput("is damaged: the line with the picture's size is missing", remedy=_COPY_AGAIN)
    scanlines, length = int(match[3]), int(match[6])
    _check_size(scanlines, length, len(data) - newline)
    by_columns = match[2] == b"X"
    # rows count up and columns to the right in an Image: that is -Y and +X
    flip_lines, flip_pixels = (match[1] == b"-", match[4] == b"+") if by_columns else (match[1] == b"+", match[4] == b"-")
    return _Header(
        xyz=kind.endswith("xyze"),
        texts={name: texts[-1] for name, texts in values.items() if name not in _MEANINGFUL},
        multiplier=(multiplier[0], multiplier[1], multiplier[2]),
        primaries=primaries,
        white_luminance=white[0] if white and white[0] > 0 else None,
        scanlines=scanlines,
        length=length,
        by_columns=by_columns,
        flips=(flip_lines, flip_pixels),
        notes=(*notes, *remarks),
        end=newline + 1,
    )


def _header_lines(data: bytes) -> tuple[list[bytes], int]:
    """Lines after the first up to the empty one, and where the line after that starts."""
    lines: list[bytes] = []
    start = 0
    while (newline := data.find(b"\n", start)) >= 0 and len(lines) < 10_000:
        line, start = data[start:newline].rstrip(b"\r"), newline + 1
        if not line:
            return lines[1:], start
        lines.append(line)
    raise UnreadableInput("is damaged: its header does not end", remedy=_COPY_AGAIN)


def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(abs(n) < 1e30 for n in numbers) else None


def _primaries(texts: list[str] | None) -> tuple[AnyPrimaries, tuple[str, ...]]:
    from hdrcli.color import Chromaticities, Primaries, named_primaries

    if not texts:
        return Primaries.BT709, ()
    numbers = _numbers(texts[-1], 8)
    if numbers is not None:
        rx, ry, gx, gy, bx, by, wx, wy = numbers
        found = named_primaries(Chromaticities((rx, ry), (gx, gy), (bx, by), (wx, wy)))
        if found is not None:
            return found, ()
    return Primaries.BT709, (f"PRIMARIES that make no sense ({texts[-1][:80]}); taken as Rec.709",)


# How the photo was taken. CAPDATE (local time), GMT, OWNER and CAMERA are Radiance's own (common/header.c, ra_tiff, hdrgen);
# the others are in the same manner, and none begins like EXPOSURE, so that readers that look for beginnings pass them by.
_SHOT_TEXTS = {"CAMERA": "model", "LENS": "lens_model", "OWNER": "copyright"}
_SHOT_NUMBERS = {"SHUTTER": "exposure_time", "APERTURE": "aperture", "ISO": "iso", "FOCALLENGTH": "focal_length"}
_SHOT_PLACE = {"LATITUDE": ("latitude", 90.0), "LONGITUDE": ("longitude", 180.0), "ALTITUDE": ("altitude", 1e6)}
_DATE = "%Y:%m:%d %H:%M:%S"


def _shot_lines(shot: Shot) -> dict[str, str]:
    from datetime import datetime, timedelta

    make, model = shot.make or "", shot.model or ""
    # many makers begin the model with their name
    camera = model if model.lower().startswith(make.lower()) else f"{make} {model}"
    texts = {
        "CAMERA": camera.strip(),
        "LENS": shot.lens_model,
        "OWNER": shot.copyright or shot.artist,
        "CAPDATE": shot.captured,
    }
    if shot.captured is not None and shot.utc_offset is not None:
        greenwich = datetime.strptime(shot.captured, _DATE) - timedelta(seconds=shot.utc_offset)
        texts["GMT"] = greenwich.strftime(_DATE)
    fields = _SHOT_NUMBERS | {name: field for name, (field, _) in _SHOT_PLACE.items()}
    numbers = {name: getattr(shot, field) for name, field in fields.items()}
    return {
        **{name: text for name, text in texts.items() if text},
        **{name: f"{number:.9g}" for name, number in numbers.items() if number is not None},
    }


def _shot(texts: Mapping[str, str]) -> tuple[Shot, dict[str, str]]:
    """What header lines say of the shot, and all other lines."""
    from hdrcli.formats._exif import Shot

    found: dict[str, str | float] = {field: texts[name] for name, field in _SHOT_TEXTS.items() if texts.get(name)}
    used = {name for name in _SHOT_TEXTS if texts.get(name)}
    ranges = {name: (field, 0.0, 1e9) for name, field in _SHOT_NUMBERS.items()}
    ranges |= {name: (field, -largest, largest) for name, (field, largest) in _SHOT_PLACE.items()}
    for name, (field, smallest, largest) in ranges.items():
        numbers = _numbers(texts.get(name, ""), 1)
        if numbers is not None and smallest <= numbers[0] <= largest and (numbers[0] > 0 or name in _SHOT_PLACE):
            found[field] = numbers[0]
            used.add(name)
    captured = _date(texts.get("CAPDATE"))
    if captured is not None:
        found["captured"] = texts["CAPDATE"]
        used.add("CAPDATE")
        greenwich = _date(texts.get("GMT"))
        ahead = None if greenwich is None else captured - greenwich
        if ahead is not None and abs(ahead) <= _DAY and ahead % 60 == 0:
            found["utc_offset"] = ahead
            used.add("GMT")
    return Shot(**found), {name: text for name, text in texts.items() if name not in used}  # type: ignore[arg-type]


_DAY = 24 * 3600


def _date(text: str | None) -> int | None:
    """A date in seconds since any."""
    from datetime import datetime

    try:
        return int((datetime.strptime(text or "", _DATE) - datetime(1970, 1, 1)).total_seconds())
    except ValueError:
        return None


def _check_size(scanlines: int, length: int, available: int) -> None:
    _display.check_size(length, scanlines)
    if scanlines * length > available * _MAX_PIXELS_PER_BYTE:
        raise _truncated()


def _truncated() -> UnreadableInput:
    return UnreadableInput("is damaged: the file ends early", remedy=_COPY_AGAIN)


# --- pixels ---------------------------------------------------------------------------------------------------------------


def _decode_pixels(data: bytes, header: _Header) -> Floats:
    """``(scanlines, length, 3) float32``, as stored."""
    coded = memoryview(data)[header.end :]
    if _is_run_length(coded, header.length):
        if len(coded) < header.scanlines * (4 + 8 * -(-header.length // 127)):  # the shortest that runs of 127 allow
            raise _truncated()
        pixels = _decode_with_library(coded, header)
        if pixels is not None:
            return pixels
    # flat or old runs, which the library reads without a word as something else; or damaged, which this names
    return _to_float(_decode_scanlines(coded, header.scanlines, header.length))


def _is_run_length(coded: memoryview, length: int) -> bool:
    return 8 <= length <= 0x7FFF and bytes(coded[:4]) == bytes((2, 2, length >> 8, length & 255))


def _decode_with_library(coded: memoryview, header: _Header) -> Floats | None:
    """None for what the library does not understand, or has bytes behind it. Not OpenCV: that one copies the file first."""
    import imagecodecs
    import numpy as np

    pixels = np.empty((header.scanlines, header.length, 3), np.float32)
    try:
        imagecodecs.rgbe_decode(coded, header=False, rle=True, out=pixels)  # type: ignore[arg-type]  # takes any buffer
    except (imagecodecs.RgbeError, ValueError):
        return None
    return pixels


def _to_float(rgbe: Bytes) -> Floats:
    import numpy as np

    # 2 ** (exponent - 136), 0 for exponent 0
    scale = np.ldexp(np.float32(1), rgbe[..., 3:].astype(np.int32) - 136)
    scale[rgbe[..., 3:] == 0] = 0
    return np.multiply(rgbe[..., :3], scale, dtype=np.float32)


def _decode_scanlines(coded: memoryview, scanlines: int, length: int) -> Bytes:
    import numpy as np

    stream = np.frombuffer(coded, np.uint8)
    out = np.empty((scanlines, length, 4), np.uint8)
    position = row = 0
    block = 1
    while row < scanlines:
        if _is_run_length(coded[position : position + 4], length):
            position = _decode_runs(stream, position, out[row])
            row, block = row + 1, 1
        else:
            done, position = _decode_old(stream, position, out[row : row + block])
            # more at a time as long as no line of the new coding comes between
            row, block = row + done, min(2 * block, max(1, _STRIP_PIXELS // length))
    return out


def _decode_runs(stream: Bytes, position: int, row: Bytes) -> int:
    """New coding: four components one after the other, each in runs (a count above 128) and literals."""
    length = len(row)
    position += 4
    for component in range(4):
        filled = 0
        while filled < length:
            if position + 2 > stream.size:
                raise _truncated()
            count = int(stream[position])
            run = count > 128
            count = count - 128 if run else count
            taken = stream[position + 1 : position + (2 if run else 1 + count)]
            if count == 0 or filled + count > length or taken.size != (1 if run else count):
                raise UnreadableInput("is damaged: a run-length code makes no sense", remedy=_COPY_AGAIN)
            row[filled : filled + count, component] = taken
            filled += count
            position += 1 + taken.size
    return position


def _decode_old(stream: Bytes, position: int, rows: Bytes) -> tuple[int, int]:
    """Flat pixels; one of (1, 1, 1, n) repeats the pixel before n times, following ones count in higher bytes.

    Ends with the last of ``rows``, or before the first scanline in the new coding. Returns how many rows that is, and where the
    next one starts.
    """
    import numpy as np

    length = rows.shape[1]
    wanted = size = rows.shape[0] * length
    while True:
        coded = stream[position : position + 4 * size]
        quads = np.frombuffer(coded[: coded.size // 4 * 4].tobytes(), "<u4")
        repeats = quads & 0xFFFFFF == 0x010101
        index = np.arange(len(quads))
        pixel = np.maximum.accumulate(np.where(repeats, -1, index))  # where the pixel stands that is there, or is repeated
        byte = index - pixel - 1  # of the count; -1 for pixels
        counts = np.where(repeats, (quads >> 24).astype(np.int64) << (8 * np.clip(byte, 0, 3)), 1)
        ends = np.cumsum(counts)
        column = (ends - counts) % length
        wrong = repeats & ((column == 0) | (column + counts > length) | (byte > 3))
        new = (column == 0) & (quads == int.from_bytes((2, 2, length >> 8 & 255, length & 255), "little"))
        if not 8 <= length <= 0x7FFF:
            new[:] = False
        # the first of: nonsense, a scanline in the new coding, the last pixel
        events = np.flatnonzero(wrong | new | (ends >= wanted))
        if events.size:
            break
        if coded.size < 4 * size:
            raise _truncated()
        size *= 2  # counts of 0 take room and fill none
    first = int(events[0])
    if wrong[first]:
        raise UnreadableInput("is damaged: a run-length code makes no sense", remedy=_COPY_AGAIN)
    used = first if new[first] else first + 1
    filled = int(ends[used - 1])
    rows.reshape(-1, 4)[:filled] = np.repeat(quads[pixel[:used]], counts[:used]).view(np.uint8).reshape(-1, 4)
    return filled // length, position + 4 * used


# --- writing --------------------------------------------------------------------------------------------------------------


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A linear Image as a Radiance file; returns remarks.

    The header gets what EXIF says of the shot, ``options.header``, PRIMARIES, and WHITE_LUMINANCE where it is known.
    Mantissas are rounded to nearest. Odd values: NaN, -inf and negative numbers become 0, +inf and what is beyond 1.695e38
    become that, each with a remark; the format has no room for alpha, layers, a depth or a compression: remarks too. Raises
    MismatchError for display-encoded pixels.
    """
    from hdrcli.color import Transfer
    from hdrcli.image import as_unit_float

    if image.transfer is not Transfer.LINEAR:
        raise MismatchError(
            "Radiance holds linear light, these pixels are display-encoded", where=path, remedy="expand them first"
        )
    rows = max(1, _STRIP_PIXELS // image.width)
    odd = Odd()
    with Path(path).open("wb") as file:
        file.write(_header_bytes(image, options))
        for start in range(0, image.height, rows):
            strip, found = bounded(as_unit_float(image.pixels[start : start + rows]), LARGEST, 0.0)
            odd += found
            file.write(_run_length(_quantized(strip)))
    return (*_cant_hold(image, options), *odd.remarks("written", largest=LARGEST))


def _cant_hold(image: Image, options: WriteOptions) -> tuple[str, ...]:
    lines = (
        (options.depth, f"Radiance has one depth, rgbe; {options.depth} is ignored"),
        (options.compression, f"Radiance has one compression; {options.compression} is ignored"),
        (options.layers, f"Radiance has no layers; {', '.join(options.layers)} left out"),
        (image.metadata.alpha is not None, "Radiance has no alpha; it is left out"),
    )
    return tuple(text for given, text in lines if given)


def _header_bytes(image: Image, options: WriteOptions) -> bytes:
    from hdrcli.color import chromaticities_of
    from hdrcli.formats import _exif

    lines = ["#?RADIANCE"]
    texts = _shot_lines(_exif.shot(image.metadata.exif or b""))
    texts |= {_name(k): v for k, v in (*image.metadata.header.items(), *options.header.items())}
    for name, text in texts.items():
        # an entry such as "exposure" must not be taken for Radiance's own EXPOSURE
        lines.append(f"{'# ' if name in _MEANINGFUL else ''}{name}={' '.join(text.split())}")
    if image.white_luminance is not None:
        lines.append(f"WHITE_LUMINANCE={image.white_luminance:g}")
    lines.append("PRIMARIES=" + " ".join(f"{v:.8g}" for v in chromaticities_of(image.primaries).numbers))
    lines.append("FORMAT=32-bit_rle_rgbe")  # last: some readers want the empty line right after it
    return "\n".join([*lines, "", f"-Y {image.height} +X {image.width}", ""]).encode("utf-8", "replace")


def _name(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper()) or "_"


def _quantized(values: Floats) -> Floats:
    """Each pixel as the nearest one that RGBE can hold: ``(H, W, 3) float32`` of 0..LARGEST, to the same."""
    import numpy as np

    largest = np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])
    dark = largest < _DARKEST
    # exponent of the largest channel once it is rounded to 8 bits: the carry of the rounding runs into the exponent's bits
    exponent = (largest.view(np.int32) + 0x8000) >> 23
    exponent[dark] = 127
    scale = ((261 - exponent) << 23).view(np.float32)[..., None]  # brings the largest channel to 128..255
    step = ((exponent - 7) << 23).view(np.float32)[..., None]
    out = values * scale
    np.rint(out, out=out)
    out *= step
    out[dark] = 0
    return out


def _run_length(values: Floats) -> bytes:
    """Scanlines in Radiance's run-length coding. It truncates mantissas, which leaves values from _quantized alone.

    Not OpenCV's: that one writes a file of its own somewhere and reads it back.
    """
    from imagecodecs import rgbe_encode

    height, width = values.shape[:2]
    # all in literals of 127, a count before each; the library itself reckons with less
    longest = 4 * (width + width // 127 + 8) + 4
    return bytes(rgbe_encode(values, header=False, rle=True, out=height * longest + 64))
