"""Other sizes of an image, made of its light: averages over areas where it shrinks, straight lines where it grows.

Codes are no light: the mean of a lamp and the night around it is far brighter than the mean of their codes. Cubic curves are
left out on purpose, for beside an HDR lamp they swing to below black.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, decode, decoding_table, encode
from hdrcli.errors import UsageError
from hdrcli.image import HALF_MAX, Image, Pixels, look_up
from hdrcli.parallel import each

Floats = NDArray[np.float32]

_STRIP_PIXELS = 1 << 18  # of a strip, the source's or the result's, whichever is wider
_SLIVER = 1e-9  # of a pixel: only rounding
_NO_COVER = np.float32(1e-12)  # alpha below which there is no colour
_LARGEST = 1e38  # infinity stands for it: what is averaged with it stays finite
MAX_PIXELS = 400_000_000  # of a result: what formats read
_REMEDY = "say the longer side (1920), a box to fit in (1920x1080) or a share (50%)"


def parse_size(text: str, width: int, height: int) -> tuple[int, int]:
    """The width and height that ``text`` asks for a picture of ``width`` x ``height``.

    "1920": its longer side; "1920x1080": a box that it fits in, aspect kept; neither enlarges. "50%": of both sides, above
    100% enlarges. No side gets below 1. Raises UsageError for anything else, and for more than MAX_PIXELS.
    """
    asked = "".join(text.split()).lower().replace("×", "x")
    percent = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)%", asked)
    box = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", asked)
    if percent:
        scale = float(percent[1]) / 100
    elif box:
        scale = min(1.0, int(box[1]) / width, int(box[2]) / height) if box[2] else min(1.0, int(box[1]) / max(width, height))
    else:
        raise UsageError(f"{text!r} is no size", where="--resize", remedy=_REMEDY)
    if scale == 0:
        raise UsageError(f"{text!r} leaves no pixels", where="--resize", remedy=_REMEDY)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if math.prod(size) > max(MAX_PIXELS, width * height):
        fault = f"{text!r} makes {size[0]} x {size[1]} pixels of {width} x {height}"
        raise UsageError(fault, where="--resize", remedy=f"the limit is {MAX_PIXELS // 10**6} megapixels")
    return size


def resized(image: Image, width: int, height: int) -> Image:
    """The image at another size, ``(height, width)`` pixels; itself where that is its own.

    Each side by itself: a pixel becomes the mean of the light on the length it covers, or lies between its neighbours where
    the side grows. Pixels count by their alpha. Transfer, primaries, type and metadata stay, codes are rounded, ``stored`` ones
    dropped; NaN counts as 0, infinity as 1e38 (65504 in half floats). Goes through in strips, some 20 MB a thread beside both
    images. Raises UsageError for a side below 1.
    """
    if min(width, height) < 1:
        raise UsageError(f"{width} x {height} is no size", remedy="a picture has at least one pixel")
    if (width, height) == (image.width, image.height):
        return image
    out = np.empty((height, width, 3), image.pixels.dtype)
    alpha = None if image.metadata.alpha is None else np.empty((height, width), np.float32)
    columns = _taps(image.width, width, slice(0, width))
    count = max(1, _STRIP_PIXELS // max(width, image.width))

    def work(first: int) -> None:
        part = slice(first, min(first + count, height))
        tall = _summed(partial(_light, image), _taps(image.height, height, part), 0)
        light = _summed(partial(np.take, tall, axis=1), columns, 1)
        if alpha is not None:
            alpha[part] = np.minimum(light[..., 3], 1)
            light = np.divide(light[..., :3], np.maximum(light[..., 3:], _NO_COVER), dtype=np.float32)
        out[part] = _encoded(light, image.transfer, image.pixels.dtype)

    each(work, range(0, height, count))
    return replace(image, pixels=out, metadata=replace(image.metadata, alpha=alpha), stored=None)


@dataclass(frozen=True, eq=False)
class _Taps:
    """How the pixels of one side are made of those before: ``(K, n)``, for each the K that it is a sum of, and their shares."""

    places: NDArray[np.intp]
    shares: Floats


def _taps(before: int, after: int, part: slice) -> _Taps:
    """For some of ``after`` pixels that stand where ``before`` stood."""
    scale = before / after
    begins = np.arange(part.start, part.stop) * scale
    # over a length of one pixel, parts of two neighbours are linear interpolation
    begins, ends = (begins, begins + scale) if scale >= 1 else (begins + scale / 2 - 0.5, begins + scale / 2 + 0.5)
    first = np.floor(begins + _SLIVER)
    cells = first + np.arange(int((np.ceil(ends - _SLIVER) - first).max()))[:, None]
    shares = np.maximum(np.minimum(ends, cells + 1) - np.maximum(begins, cells), 0)
    return _Taps(np.clip(cells, 0, before - 1).astype(np.intp), (shares / shares.sum(axis=0)).astype(np.float32))


def _summed(take: Callable[[NDArray[np.intp]], Floats], taps: _Taps, axis: int) -> Floats:
    """The weighted sum of what ``take`` gives for each row of places; ``axis``: 0 for rows of a picture, 1 for columns."""
    total: Floats | None = None
    for places, shares in zip(taps.places, taps.shares, strict=True):
        term = take(places)
        term = term * (shares[:, None, None] if axis == 0 else shares[:, None])
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None  # there is a tap at least
    return total


def _light(image: Image, rows: NDArray[np.intp]) -> Floats:
    """Linear light of some rows, finite, ``(n, W, 3) float32``; with alpha multiplied by it, and it as the fourth channel."""
    pixels = image.pixels[rows]
    if pixels.dtype.kind == "u":
        light = look_up(decoding_table(image.transfer, int(np.iinfo(pixels.dtype).max) + 1), pixels)
    else:
        with np.errstate(all="ignore"):
            light = decode(pixels.astype(np.float32), image.transfer)
        if not (light.min() >= -_LARGEST and light.max() <= _LARGEST):  # NaN fails every comparison
            light = np.clip(np.nan_to_num(light, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST), -_LARGEST, _LARGEST)
    if image.metadata.alpha is None:
        return light
    cover = image.metadata.alpha[rows][..., None]
    return np.concatenate([light * cover, cover], axis=2)


def _encoded(light: Floats, transfer: Transfer, dtype: np.dtype[Any]) -> Pixels:
    """Linear light as pixels of the image's kind."""
    values = encode(light, transfer)
    if dtype.kind == "u":
        largest = np.float32(np.iinfo(dtype).max)
        values = np.rint(np.clip(values * largest, 0, largest))
    elif dtype == np.float16:
        values = np.clip(values, -HALF_MAX, HALF_MAX)
    return values.astype(dtype)
