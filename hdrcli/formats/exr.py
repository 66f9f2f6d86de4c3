"""OpenEXR: scene-linear half or float, through the OpenEXR package.

Source of the attribute names: openexr.com, "Standard Attributes"; chromaticities default to BT.709 there.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput, UsageError
from hdrcli.formats._native import quiet_stderr
from hdrcli.formats._values import MAX_PIXELS, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import Primaries
    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".exr",)
HDR = True

LARGEST = {"half": 65504.0, "float": 3.4028234663852886e38}
COMPRESSIONS = ("none", "zip", "piz", "dwaa", "dwab")
# What a constant picture of one half channel comes to is half of this at most.
_MAX_PIXELS_PER_BYTE = {"DWAA": 15_000, "DWAB": 15_000, "HTJ2K32": 60_000, "HTJ2K256": 60_000, "ZSTD": 15_000}
_MAX_PIXELS_PER_BYTE_OF_OTHERS = 1000
_COPY_AGAIN = "copy it again from where it came"

# Attributes with a meaning and type of their own: text entries may not take their names.
_RESERVED_NAMES = """
channels compression dataWindow displayWindow lineOrder pixelAspectRatio screenWindowCenter screenWindowWidth type tiles name
view version chunkCount maxSamplesPerPixel chromaticities whiteLuminance adoptedNeutral preview envmap multiView timeCode
keyCode framesPerSecond xDensity longitude latitude altitude utcOffset expTime aperture isoSpeed
"""
_RESERVED = frozenset(_RESERVED_NAMES.split())


def _library() -> Any:
    """The OpenEXR package, with a thread pool: it starts with none and compresses on one core."""
    import os

    import OpenEXR

    if OpenEXR.global_thread_count() == 0:
        OpenEXR.set_global_thread_count(os.cpu_count() or 1)
    return OpenEXR


def matches(head: bytes) -> bool:
    """Does the file start with OpenEXR's magic number 20000630?"""
    return head[:4] == b"\x76\x2f\x31\x01"


def read(path: str | Path) -> Image:
    """An OpenEXR file as a linear Image.

    Pixels are float16 where R, G and B are half and opaque, else float32. A sole Y becomes three equal channels. RGB is
    divided by A, which goes to ``metadata.alpha`` unless all is opaque. NaN becomes 0, infinity the largest number of the
    type, both with a note. Raises UnreadableInput for a damaged file, UnsupportedInput for deep data, luminance-chroma and
    channels of other names.
    """
    import numpy as np

    from hdrcli.color import Transfer
    from hdrcli.image import Image, Metadata

    part, parts, notes = _choose_part(path)
    file = _open(path, header_only=False)
    if len(file.parts) != parts:  # OpenEXR drops the parts whose pixels it can't read
        raise UnreadableInput("is damaged: the file ends early or its pixels can't be decoded", where=path, remedy=_COPY_AGAIN)
    header = file.header(part)
    planes = {name: channel.pixels for name, channel in file.channels(part).items()}

    rgb = _colour(set(planes))
    floats = [planes[name] for name in rgb]
    dtype = np.float16 if all(p.dtype == np.float16 for p in floats) else np.float32
    if any(p.dtype.kind == "u" for p in floats):
        notes.append("holds whole numbers (uint); taken as linear light")
    pixels: Pixels = np.empty((*floats[0].shape, 3), dtype)
    for i, plane in enumerate(floats):
        pixels[..., i] = plane
    largest = LARGEST["half" if dtype == np.float16 else "float"]
    pixels, odd = bounded(pixels, largest, -largest)
    notes += odd.remarks("read", largest=largest)

    alpha: NDArray[np.float32] | None = None
    if "A" in planes:
        alpha, _ = bounded(planes["A"].astype(np.float32), 1.0, 0.0)
        if alpha.min() == 1:
            alpha = None
        else:
            pixels = _unpremultiplied(pixels, alpha)
            notes.append("has transparency; its colours were divided by alpha")
    left_out = sorted(set(planes) - {*rgb, "A"})
    if left_out:
        notes.append(f"channels left out: {', '.join(left_out)}")

    primaries, remark = _primaries(header.get("chromaticities"))
    white = header.get("whiteLuminance")
    return Image(
        pixels,
        Transfer.LINEAR,
        primaries,
        float(white) if isinstance(white, float) and 0 < white < float("inf") else None,
        Metadata(
            alpha=alpha,
            header={k: v for k, v in header.items() if isinstance(v, str) and k not in _RESERVED},
            notes=(*notes, *remark),
        ),
    )


def _open(path: str | Path, *, header_only: bool) -> Any:
    OpenEXR = _library()

    try:
        with Path(path).open("rb") as stream, quiet_stderr(), _without_warning_prints():
            return OpenEXR.File(stream, separate_channels=True, header_only=header_only)
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    except UnicodeDecodeError:
        raise UnsupportedInput(
            "has a text attribute that is not UTF-8", where=path, remedy="remove it with exrstdattr"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the C++ side throws
        raise UnreadableInput(f"is damaged: {_reason(error)}", where=path, remedy=_COPY_AGAIN) from None


@contextmanager
def _without_warning_prints() -> Iterator[None]:
    """OpenEXR prints what it could not read to sys.stdout, where results may be going; all else is passed on."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        others = [line for line in printed.getvalue().splitlines(keepends=True) if not line.startswith("Warning: Exception")]
        if others:
            sys.stdout.write("".join(others))


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    if not text:
        return type(error).__name__
    return "its header can't be read" if text[0].startswith("Unable to open") else text[0][:200]


def _choose_part(path: str | Path) -> tuple[int, int, list[str]]:
    """Index of the first part with colour, number of parts, and notes. Refuses before any pixel is read."""
    OpenEXR = _library()

    file = _open(path, header_only=True)
    count = len(file.parts)
    found: list[str] = []
    for part in range(count):
        header = file.header(part)
        try:
            channels = {c.name: c for c in header["channels"]}
        except UnicodeDecodeError:
            raise UnreadableInput("is damaged: a channel's name is no text", where=path, remedy=_COPY_AGAIN) from None
        found += [name for name in channels if name not in found]
        used = _colour(set(channels))
        if not used:
            continue
        if header.get("type") in (OpenEXR.deepscanline, OpenEXR.deeptile):
            raise UnsupportedInput("holds deep data", where=path, remedy="flatten it first")
        if any((channels[name].xSampling, channels[name].ySampling) != (1, 1) for name in used):
            raise UnsupportedInput("has subsampled channels", where=path, remedy="write it again as plain RGB")
        _check_size(path, [file.header(i) for i in range(count)])
        return part, count, _window_notes(header) + ([f"has {count} parts; part {part + 1} is read"] if count > 1 else [])
    remedy = "write it again with channels R, G, B or Y"
    raise UnsupportedInput(f"has no R, G, B or sole Y, but the channels {', '.join(found)}", where=path, remedy=remedy)


def _colour(channels: set[str]) -> tuple[str, ...]:
    """The channels that make R, G and B; none if there is no colour or only luminance-chroma."""
    if {"R", "G", "B"} <= channels:
        return ("R", "G", "B")
    return ("Y", "Y", "Y") if "Y" in channels and not {"RY", "BY"} & channels else ()


def _size(window: Any) -> tuple[int, int]:
    (left, top), (right, bottom) = window
    return int(right) - int(left) + 1, int(bottom) - int(top) + 1


def _check_size(path: str | Path, headers: list[Mapping[str, Any]]) -> None:
    # all parts count: OpenEXR reads them all
    sizes = [_size(header["dataWindow"]) for header in headers]
    pixels = sum(width * height for width, height in sizes)
    if pixels > MAX_PIXELS:
        listed = ", ".join(f"{width} x {height}" for width, height in sizes[:4])
        remedy = f"the limit is {MAX_PIXELS // 10**6} megapixels"
        raise UnsupportedInput(f"is too large: {listed} pixels", where=path, remedy=remedy)
    names = [header["compression"].name.removesuffix("_COMPRESSION") for header in headers]
    per_byte = max(_MAX_PIXELS_PER_BYTE.get(name, _MAX_PIXELS_PER_BYTE_OF_OTHERS) for name in names)
    if pixels > per_byte * Path(path).stat().st_size:
        raise UnreadableInput(f"is damaged: {pixels} pixels can't stand in so short a file", where=path, remedy=_COPY_AGAIN)


def _window_notes(header: Mapping[str, Any]) -> list[str]:
    notes = []
    data, display = header["dataWindow"], header["displayWindow"]
    if [int(v) for xy in data for v in xy] != [int(v) for xy in display for v in xy]:
        (w, h), (dw, dh) = _size(data), _size(display)
        notes.append(f"data window ({w} x {h}) is not the display window ({dw} x {dh}); the data window is read")
    aspect = header.get("pixelAspectRatio", 1.0)
    if not isinstance(aspect, float) or not abs(aspect - 1) <= 1e-3:
        notes.append(f"pixel aspect ratio {aspect} is ignored")
    return notes


def _primaries(numbers: Any) -> tuple[Primaries, tuple[str, ...]]:
    from hdrcli.color import Chromaticities, Primaries, find_primaries

    if numbers is None:
        return Primaries.BT709, ()
    if not isinstance(numbers, tuple) or len(numbers) != 8:
        return Primaries.BT709, ("chromaticities of an unknown kind; taken as Rec.709",)
    rx, ry, gx, gy, bx, by, wx, wy = (float(v) for v in numbers)
    found = find_primaries(Chromaticities((rx, ry), (gx, gy), (bx, by), (wx, wy)))
    if found is not None:
        return found, ()
    listed = " ".join(f"{float(v):.4g}" for v in numbers)
    return Primaries.BT709, (f"unknown chromaticities ({listed}); taken as Rec.709",)


def _unpremultiplied(pixels: Pixels, alpha: NDArray[np.float32]) -> Pixels:
    import numpy as np

    # where nothing covers the pixel, RGB is light that was added on top: it stays as it is
    divisor = np.where(alpha > 0, alpha, np.float32(1))[..., None]
    with np.errstate(over="ignore"):
        straight = np.divide(pixels, divisor, dtype=np.float32)
    return bounded(straight, LARGEST["float"], -LARGEST["float"])[0]


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A linear Image as an OpenEXR file; returns remarks.

    Depth "half" (usual) or "float"; compression none, zip (usual), piz, dwaa or dwab. Alpha goes out as A with RGB
    multiplied by it, ``options.layers`` as further channels. Odd values: NaN becomes 0, +inf and -inf the largest and the
    lowest number of the depth, finite values beyond half's 65504 become 65504, each with a remark; negative values (colours
    outside the primaries' gamut) are kept. Raises MismatchError for display-encoded pixels, UsageError for an unknown
    compression.
    """
    import numpy as np

    OpenEXR = _library()

    from hdrcli.color import Transfer
    from hdrcli.image import as_unit_float

    if image.transfer is not Transfer.LINEAR:
        raise MismatchError(
            "OpenEXR holds linear light, these pixels are display-encoded", where=path, remedy="expand them first"
        )
    depth, remarks = _depth(options.depth)
    dtype = np.float16 if depth == "half" else np.float32
    largest = LARGEST[depth]
    remedy = "; --depth float keeps them" if depth == "half" else ""

    def stored(values: Pixels) -> Pixels:
        tame, odd = bounded(values, largest, -largest)
        remarks.extend(odd.remarks("written", largest=largest, remedy=remedy))
        return np.ascontiguousarray(tame, dtype)

    pixels, alpha = image.pixels, image.metadata.alpha
    if pixels.dtype.kind == "u":
        pixels = as_unit_float(pixels)
    channels: dict[str, Pixels] = {}
    if alpha is not None:
        cover = np.clip(np.nan_to_num(alpha), 0, 1).astype(np.float32)
        with np.errstate(invalid="ignore"):
            pixels = np.multiply(pixels, cover[..., None], dtype=np.float32)
        channels["A"] = cover.astype(dtype)
    channels["RGB"] = stored(pixels)
    for name, layer in options.layers.items():
        if name in ("R", "G", "B", "A", "RGB", "RGBA") or layer.shape != pixels.shape[:2]:
            raise MismatchError(f"layer {name!r} of shape {layer.shape} does not fit the image", where=path)
        channels[name] = stored(layer)

    texts, left_out = _text_attributes({**image.metadata.header, **options.header})
    remarks += left_out
    header: dict[str, Any] = {
        **texts,
        "compression": _compression(options.compression),
        "type": OpenEXR.scanlineimage,
        "chromaticities": _numbers(image.primaries),
    }
    if image.white_luminance is not None:
        header["whiteLuminance"] = float(image.white_luminance)
    # a file of Python's: its OSErrors say what is wrong, and names need not be UTF-8
    with Path(path).open("wb") as stream, OpenEXR.File(header, channels) as file:
        file.write(stream)
    return tuple(remarks)


def _depth(asked: str | None) -> tuple[str, list[str]]:
    if asked in (None, "half", "float"):
        return asked or "half", []
    return "half", [f"OpenEXR has no depth {asked}; half is written"]


def _compression(name: str | None) -> Any:
    OpenEXR = _library()

    name = name or "zip"
    if name not in COMPRESSIONS:
        raise UsageError(f"OpenEXR files have no compression {name!r}", remedy=f"there are: {', '.join(COMPRESSIONS)}")
    return getattr(OpenEXR, f"{'NO' if name == 'none' else name.upper()}_COMPRESSION")


def _numbers(primaries: Primaries) -> tuple[float, ...]:
    c = primaries.value
    return (*c.red, *c.green, *c.blue, *c.white)


def _text_attributes(entries: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Entries that can stand in the header, and remarks on those that can't."""
    texts, remarks = {}, []
    for name, text in entries.items():
        if not name or name in _RESERVED or len(name.encode("utf-8", "replace")) > 255 or "\0" in name:
            remarks.append(f"header entry {name[:40]!r} left out: OpenEXR has no room for a text of that name")
        else:
            texts[name] = text.encode("utf-8", "replace").decode()
    return texts, remarks
