"""PFM (portable float map): scene-linear float32, no compression, no metadata.

Source: Debevec, "PFM Portable FloatMap Image Format" (HDR Shop); Netpbm, "pfm(5)": rows from the bottom up, a negative scale
says little-endian. Of its magnitude Netpbm says that it is the unit of the samples: they are multiplied by it, as OpenImageIO
does (OpenCV divides; most writers say 1).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hdrcli.errors import MismatchError
from hdrcli.formats import _display
from hdrcli.formats._values import Odd, bounded

if TYPE_CHECKING:
    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image

EXTENSIONS = (".pfm",)
HOLDS = ("hdr",)

_FLOAT_MAX = 3.4028234663852886e38
_STRIP_BYTES = 1 << 23
_MAX_HEADER = 128
# identifier, width, height and scale, white space between them and exactly one character of it behind
_HEADER = re.compile(
    rb"(P[Ff])\s{1,9}(\d{1,9})\s{1,9}(\d{1,9})\s{1,9}([-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,2})?)(\r\n|\s)"
)


def matches(head: bytes) -> bool:
    """Does the file start with PF or Pf and white space?"""
    return head[:2] in (b"PF", b"Pf") and head[2:3].isspace()


def read(path: str | Path) -> Image:
    """A PFM as a linear Image of float32 pixels; Pf becomes three equal channels.

    Samples are multiplied by the magnitude of the scale, with a note where it is not 1. NaN becomes 0, infinity the largest
    number, both with a note. Primaries are not in the file: taken as BT.709. Raises UnreadableInput for a damaged file,
    UnsupportedInput for more than 400 megapixels.
    """
    return _display.read_open(path, _read)


def _read(file: BinaryIO) -> Image:
    import numpy as np

    from hdrcli.color import Transfer
    from hdrcli.image import Image, Metadata

    match = _HEADER.match(file.read(_MAX_HEADER))
    if match is None:
        raise _display.damaged("its header makes no sense")
    width, height, scale = int(match[2]), int(match[3]), float(match[4])
    _display.check_size(width, height)
    if not 0 < abs(scale) <= _FLOAT_MAX:
        raise _display.damaged(f"its scale is {match[4].decode()}")
    channels = 3 if match[1] == b"PF" else 1
    row = width * channels * 4
    start, size = match.end(), file.seek(0, os.SEEK_END)
    if match[5] == b"\r\n" and size - start < height * row:  # a single \r, and the first sample begins with a \n
        start -= 1
    if size - start < height * row:
        raise _display.damaged("the file ends early")

    notes: tuple[str, ...] = ()
    if size - start > height * row:
        notes += (f"{size - start - height * row} bytes behind the picture are ignored",)
    if abs(scale) != 1:
        notes += (f"its scale is {abs(scale):g}; values were multiplied by it",)
    pixels = np.empty((height, width, 3), np.float32)
    file.seek(start)
    for bottom, rows in _strips(height, row):
        data = np.frombuffer(file.read(rows * row), "<f4" if scale < 0 else ">f4")
        if data.size != rows * width * channels:
            raise _display.damaged("the file ends early")
        pixels[height - bottom - rows : height - bottom] = data.reshape(rows, width, channels)[::-1]
    if abs(scale) != 1:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            pixels *= np.float32(abs(scale))
    pixels, odd = bounded(pixels, _FLOAT_MAX, -_FLOAT_MAX)
    notes += odd.remarks("read", largest=_FLOAT_MAX)
    return Image(pixels, Transfer.LINEAR, metadata=Metadata(notes=notes))


def _strips(height: int, row: int) -> list[tuple[int, int]]:
    """Where strips of some rows begin, and how many rows they have."""
    rows = max(1, _STRIP_BYTES // row)
    return [(start, min(rows, height - start)) for start in range(0, height, rows)]


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A linear Image as a PFM: PF, little-endian, scale 1; returns remarks.

    NaN becomes 0, infinity the largest number, each with a remark; negative values are kept. The format has no room for
    anything but numbers: what is lost is named. Raises MismatchError for display-encoded pixels.
    """
    from hdrcli.color import Transfer
    from hdrcli.image import as_unit_float

    if image.transfer is not Transfer.LINEAR:
        raise MismatchError("PFM holds linear light, these pixels are display-encoded", where=path, remedy="expand them first")
    odd = Odd()
    with Path(path).open("wb") as file:
        file.write(b"PF\n%d %d\n-1.0\n" % (image.width, image.height))
        for bottom, rows in _strips(image.height, 12 * image.width):
            strip = as_unit_float(image.pixels[image.height - bottom - rows : image.height - bottom])
            strip, found = bounded(strip, _FLOAT_MAX, -_FLOAT_MAX)
            odd += found
            file.write(strip[::-1].astype("<f4").data)
    return (*_cant_hold(image, options), *odd.remarks("written", largest=_FLOAT_MAX))


def _cant_hold(image: Image, options: WriteOptions) -> tuple[str, ...]:
    from hdrcli.color import Primaries

    texts = {**image.metadata.header, **options.header}
    recorded = [word for word in ("model", "scale", "exposure") if f"hdrcli:{word}" in texts]
    if texts and not recorded:
        recorded = ["header entries"]
    if image.white_luminance is not None:
        recorded.append("white luminance")
    lines = (
        (options.depth not in (None, "float"), f"PFM has one depth, float; {options.depth} is ignored"),
        (options.compression not in (None, "none"), f"PFM has no compression; {options.compression} is ignored"),
        (options.layers, f"PFM has no layers; {', '.join(options.layers)} left out"),
        (image.metadata.alpha is not None, "PFM has no alpha; it is left out"),
        (image.metadata.exif is not None, "PFM has no EXIF; it is left out"),
        (image.primaries is not Primaries.BT709, f"PFM can't say that its primaries are {image.primaries.label}"),
        (recorded, f"PFM has no room for a record; {', '.join(recorded)} left out"),
    )
    return tuple(text for given, text in lines if given)
