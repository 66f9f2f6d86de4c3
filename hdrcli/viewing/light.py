"""An image of any kind as scene-linear light at the size of a screen, and what there is to say of it in a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdrcli import conversion, inspection
from hdrcli.color import Primaries, Transfer, converted, decode, decoding_table, luminance
from hdrcli.conversion import BRIGHTEST, WHITE_NITS, TonemapOptions
from hdrcli.image import CLIP_CODE, Image, as_unit_float, look_up
from hdrcli.parallel import each, in_turn
from hdrcli.tonemapping import STRIP_PIXELS, Scene
from hdrcli.tonemapping._curves import srgb_codes

Floats = NDArray[np.float32]
Rows = Callable[[slice], Floats]

PER_STOP = 4  # bars of a histogram
DARKEST, BRIGHTEST_BAR = -24, 40  # stops about 1.0 that a histogram spans
_TONED = 1024  # largest side at which a picture is tone-mapped for a smaller screen
_PQ_PEAK = 10000.0  # SMPTE ST 2084: cd/m2 of code 1
_HLG_WHITE = 0.75  # ITU-R BT.2408-7, table 1: the signal of HDR reference white


def is_hdr(image: Image) -> bool:
    """Does it hold light beyond white, which a screen shows only tone-mapped?"""
    return image.is_hdr or image.transfer in (Transfer.PQ, Transfer.HLG)


def nits_of_white(image: Image) -> float | None:
    """cd/m2 that 1.0 of :func:`rows_of` stands for, or None where nobody knows."""
    return WHITE_NITS if image.transfer is Transfer.PQ else image.white_luminance


def rows_of(image: Image) -> Rows:
    """A reader of rows: a slice to ``(n, W, 3) float32``, linear Rec.709, 1 = LDR white, in the worst case not finite.

    LDR white of PQ is 203 cd/m2, that of HLG what the signal 0.75 stands for: HDR reference white (ITU-R BT.2408). What alpha
    hides is as dark as that: pictures stand on black.
    """
    alpha = image.metadata.alpha

    def rows(part: slice) -> Floats:
        light = _linear(image, part)
        if alpha is not None:
            light = light * np.clip(alpha[part, :, None], 0, 1)
        if image.primaries is not Primaries.BT709:
            light = converted(light, image.primaries, Primaries.BT709)
        return light

    return rows


def _linear(image: Image, part: slice) -> Floats:
    pixels = np.ascontiguousarray(image.pixels[part])
    with np.errstate(over="ignore", invalid="ignore"):
        if pixels.dtype.kind == "u":
            light = look_up(decoding_table(image.transfer, int(np.iinfo(pixels.dtype).max) + 1), pixels)
        else:
            light = decode(as_unit_float(pixels), image.transfer)
        if image.transfer is Transfer.PQ:
            light = light * np.float32(_PQ_PEAK / WHITE_NITS)
        elif image.transfer is Transfer.HLG:
            light = light / decode(np.array(_HLG_WHITE, np.float32), Transfer.HLG)
    return np.asarray(light, np.float32)


def cleaned(rows: Rows) -> Rows:
    """A reader whose light is within 0 and BRIGHTEST, as operators need it; NaN becomes 0."""
    return lambda part: np.fmin(np.fmax(rows(part), 0), np.float32(BRIGHTEST))


def scene_of(image: Image) -> Scene:
    """The whole picture, as tone-mapping operators prepare for it."""
    return Scene.of(cleaned(rows_of(image)), image.height, image.width)


def reduced(rows: Rows, size: tuple[int, int], smaller: tuple[int, int]) -> Floats:
    """A picture of ``size`` (H, W), read by ``rows``, averaged to a size that is ``smaller`` (h, w) or the same.

    Returns ``(h, w, 3) float32``. Each pixel is the mean of the light on its area, shares of pixels counted as such; what is
    not finite spreads to the pixels that it falls in. Read in strips, by all threads.
    """
    (height, width), (h, w) = size, smaller
    if h > height or w > width:
        raise ValueError(f"{smaller} is larger than {size}")
    out = np.empty((h, w, 3), np.float32)
    step = height / h
    count = max(1, int(STRIP_PIXELS / (width * step)))

    def work(first: int) -> None:
        last = min(first + count, h)
        top, bottom = math.floor(first * step), min(math.ceil(last * step), height)
        light = _narrowed(rows(slice(top, bottom)), w)
        for row in range(first, last):
            start, end = row * step - top, (row + 1) * step - top
            part = np.arange(math.floor(start), min(math.ceil(end), bottom - top))
            shares = np.minimum(part + 1, end) - np.maximum(part, start)
            # where a border falls on a row but for rounding, it is not in this pixel: NaN would be
            part, shares = part[shares > 1e-6], shares[shares > 1e-6]
            with np.errstate(invalid="ignore", over="ignore"):
                out[row] = np.tensordot((shares / shares.sum()).astype(np.float32), light[part], 1)

    each(work, range(0, h, count))
    return out


def _narrowed(light: Floats, width: int) -> Floats:
    import cv2

    if light.shape[1] == width:
        return light
    small = cv2.resize(light, (width, light.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(light.shape[0], width, 3)


def light_of(image: Image, size: tuple[int, int]) -> Floats:
    """An image at another size, ``(h, w, 3) float32`` as of :func:`rows_of`."""
    return reduced(rows_of(image), (image.height, image.width), size)


def display(image: Image, size: tuple[int, int], options: TonemapOptions) -> NDArray[np.uint8]:
    """The picture as a screen shows it at a size, ``(h, w, 3) uint8``, sRGB: HDR tone-mapped, LDR as it is.

    ``options.ev`` holds for both. HDR is tone-mapped at no less than that size and about 1024 pixels, then averaged in light.
    Raises what :func:`hdrcli.conversion.tonemap` raises.
    """
    whole, rows = (image.height, image.width), cleaned(rows_of(image))
    if not is_hdr(image):
        return np.asarray(srgb_codes(reduced(rows, whole, size) * np.float32(2.0**options.ev)))
    scale = min(1.0, max(_TONED / max(whole), size[0] / whole[0], size[1] / whole[1]))
    middle = max(size[0], round(whole[0] * scale)), max(size[1], round(whole[1] * scale))
    toned = conversion.tonemap(Image(reduced(rows, whole, middle), Transfer.LINEAR), options).pixels
    if middle == size:
        return np.asarray(toned)
    return np.asarray(srgb_codes(reduced(lambda part: look_up(decoding_table(Transfer.SRGB, 256), toned[part]), middle, size)))


@dataclass(frozen=True)
class Histogram:
    """How many pixels are how bright.

    ``counts[i]``: pixels whose luminance is from ``first + i / PER_STOP`` stops about 1.0 to the next; beyond the ends they are
    counted there. ``black``: those without light; ``not_finite``: NaN and infinity.
    """

    first: int
    counts: tuple[int, ...] = field(repr=False)
    black: int
    not_finite: int


def histogram(rows: Rows, height: int, width: int) -> Histogram:
    """Of all pixels that ``rows`` reads."""
    bars = (BRIGHTEST_BAR - DARKEST) * PER_STOP
    count = max(1, STRIP_PIXELS // width)

    def look(part: slice) -> NDArray[np.int64]:
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            y = luminance(rows(part)).ravel()
            finite = np.isfinite(y)
            stops = np.log2(y[finite & (y > 0)])
        # rounding must not put white, 1.0, below 0 stops
        places = np.clip(np.floor((stops - DARKEST) * PER_STOP + 1e-4), 0, bars - 1).astype(np.int64)
        found = np.bincount(places, minlength=bars + 2)
        found[bars] = np.count_nonzero(finite) - stops.size
        found[bars + 1] = y.size - np.count_nonzero(finite)
        return np.asarray(found)

    parts = [slice(first, min(first + count, height)) for first in range(0, height, count)]
    *counts, black, not_finite = np.sum(list(in_turn(look, parts)), axis=0).tolist()
    return Histogram(DARKEST, tuple(counts), black, not_finite)


def summary(image: Image) -> str:
    """Size, kind, range, and what clipped or is beyond white: "6000 x 4000, HDR, 12.3 stops, 3.1 % above 1.0, peak +6.1".

    The range is that between the 0.1st and the 99.9th percentile: a single pixel says nothing of a picture.
    """
    size = f"{image.width} x {image.height}"
    if not inspection.holds_light(image):
        found = inspection.code_statistics(image.codes, CLIP_CODE)
        return f"{size}, LDR, {_percent(sum(found.lost))} clipped"
    light = inspection.light_statistics(image)
    kind = "HDR" if image.is_hdr else f"HDR in {image.transfer.name}" if is_hdr(image) else "LDR in floats"
    stops = "black" if light.usual is None else f"{math.log2(light.usual[1] / light.usual[0]):.1f} stops"
    words = [size, kind, stops]
    if image.transfer is Transfer.PQ:
        words.append(f"peak {(light.most or 0) * _PQ_PEAK:.3g} cd/m2")
    elif image.transfer is not Transfer.HLG:
        peak = "" if light.most is None else f", peak {math.log2(light.most):+.1f}"
        words.append(f"{_percent(light.above_white)} above 1.0{peak}")
    if light.not_finite:
        words.append(f"{light.not_finite} values not finite")
    return ", ".join(words)


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.3g} %" if percent < 99.95 or percent == 100 else "> 99.9 %"
