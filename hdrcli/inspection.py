"""What an Image's numbers say: clipping and percentiles of codes, or the range of light. In row strips, whatever the size.

Percentiles come from histograms and are those of NumPy's method "inverted_cdf": the smallest value that at least this share of
the values does not exceed. Those of codes are exact. Those of light are the middles of bins that hold all floats which agree in
their first 12 significant bits: off by at most 2^-12 of the value, 0.00036 stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, decode, decoding_table, rgb_to_xyz
from hdrcli.image import FLOAT_MAX, Image, as_unit_float, brightest_channel, look_up

Triple = tuple[float, float, float]

PERCENTILES = (0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9)
RANGE = (0.1, 99.9)  # percentiles between which the usual range of a picture lies
_STRIP_PIXELS = 1 << 20
_DROPPED_BITS = 12  # of a float32's 24 significant bits


@dataclass(frozen=True)
class CodeStatistics:
    """Codes of a display-encoded picture.

    ``largest``: the largest code (255, 65535). ``clipped``: share of clipped codes per channel. ``lost``: share of pixels that
    lost exactly one, two, all three channels. ``black``: share of pixels with code 0 in all channels. ``percentiles``: codes of
    R, G and B by percentage.
    """

    largest: int
    clipped: Triple
    lost: Triple
    black: float
    percentiles: Mapping[float, tuple[int, int, int]]


@dataclass(frozen=True)
class LightStatistics:
    """Linear light.

    ``smallest``, ``largest``: of all channel values. ``negative``: share of pixels with a channel below 0; ``above_white``:
    with one above 1. ``not_finite``: number of values that are NaN (counted as 0) or infinite. ``black``: share of pixels whose
    luminance is 0 or below. ``percentiles`` of luminance by percentage, over all pixels. Over those above 0, None if there are
    none: ``least`` and ``most`` luminance, ``log_mean`` (2 to the mean of log2), ``usual`` (the 0.1 and 99.9 percentiles).
    """

    smallest: float
    largest: float
    negative: float
    above_white: float
    not_finite: int
    black: float
    percentiles: Mapping[float, float]
    least: float | None
    most: float | None
    log_mean: float | None
    usual: tuple[float, float] | None


def holds_light(image: Image) -> bool:
    """Are light's statistics the ones to ask for: HDR, floats, PQ and HLG? Else those of codes."""
    return image.codes.dtype.kind == "f" or image.transfer in (Transfer.PQ, Transfer.HLG)


def code_statistics(codes: NDArray[Any], clip_code: float) -> CodeStatistics:
    """Of ``(H, W, 3)`` uint8 or uint16. ``clip_code``, of 1: codes from it on count as clipped."""
    import cv2

    largest = int(np.iinfo(codes.dtype).max)
    first_clipped = int(np.ceil(clip_code * largest))
    counts = np.zeros((3, largest + 1), np.int64)
    lost = np.zeros(3, np.int64)
    black = 0
    for strip in _strips(codes):
        for channel in range(3):
            counts[channel] += _histogram(strip, channel, largest + 1)
        over = (strip >= first_clipped).view(np.uint8)
        channels_lost = over[..., 0] + over[..., 1] + over[..., 2]
        lost += [cv2.countNonZero((channels_lost == number).view(np.uint8)) for number in (1, 2, 3)]
        black += strip.shape[0] * strip.shape[1] - cv2.countNonZero(brightest_channel(strip))
    total = codes.shape[0] * codes.shape[1]
    below = counts.cumsum(axis=1)
    return CodeStatistics(
        largest=largest,
        clipped=_triple(counts[:, first_clipped:].sum(axis=1) / total),
        lost=_triple(lost / total),
        black=black / total,
        percentiles={q: (_bin(below[0], q), _bin(below[1], q), _bin(below[2], q)) for q in PERCENTILES},
    )


def _histogram(strip: NDArray[Any], channel: int, size: int) -> NDArray[np.int64]:
    if strip.dtype != np.uint8:
        return np.bincount(strip[..., channel].ravel(), minlength=size)
    import cv2

    # five times as fast as bincount; its float32 counts are exact up to 2^24, which no strip reaches
    return np.asarray(cv2.calcHist([strip], [channel], None, [size], [0, size])).ravel().astype(np.int64)


def light_statistics(image: Image) -> LightStatistics:
    """Of the linear light that an image's pixels stand for, 1 = its white (PQ: 10000 cd/m2)."""
    import cv2

    weights = rgb_to_xyz(image.primaries)[1:2].astype(np.float32)
    counts = np.zeros(1 << (31 - _DROPPED_BITS), np.int64)
    smallest, largest = np.inf, -np.inf
    negative = above = not_finite = 0
    for strip in _strips(image.pixels):
        light, odd = _finite(_linear(strip, image.transfer))
        not_finite += odd
        low = float(light.min())
        smallest, largest = min(smallest, low), max(largest, float(light.max()))
        if low < 0:
            negative += cv2.countNonZero((-brightest_channel(-light) < 0).view(np.uint8))
        above += cv2.countNonZero((brightest_channel(light) > 1).view(np.uint8))
        luminance = np.clip(np.asarray(cv2.transform(light, weights)), 0, np.float32(FLOAT_MAX))
        # the bits of floats >= 0 order like the floats; without the sign, as -0 is 0
        bins = (luminance.view(np.uint32) & np.uint32(0x7FFFFFFF)) >> np.uint32(_DROPPED_BITS)
        counts += np.bincount(bins.ravel(), minlength=counts.size)
    total = image.height * image.width
    black = int(counts[0])
    below = counts.cumsum()
    found = {"least": None, "most": None, "log_mean": None, "usual": None} if black == total else _of_lit(counts)
    return LightStatistics(
        smallest=smallest,
        largest=largest,
        negative=negative / total,
        above_white=above / total,
        not_finite=not_finite,
        black=black / total,
        percentiles={q: float(_middles(_bin(below, q))) for q in PERCENTILES},
        **found,
    )


def _of_lit(counts: NDArray[np.int64]) -> dict[str, Any]:
    """What is known of the pixels whose luminance is above 0: of the histogram without its first bin."""
    used = np.flatnonzero(counts[1:]) + 1
    values, numbers = _middles(used), counts[used]
    below = numbers.cumsum()
    return {
        "least": float(values[0]),
        "most": float(values[-1]),
        "log_mean": float(2.0 ** np.average(np.log2(values), weights=numbers)),
        "usual": (float(values[_bin(below, RANGE[0])]), float(values[_bin(below, RANGE[1])])),
    }


def _middles(bins: Any) -> NDArray[np.float64]:
    """The middle of bins of light; 0 for the first, where black is."""
    edges = np.asarray(bins).astype(np.uint32) << np.uint32(_DROPPED_BITS)
    middles = (edges | np.uint32(1 << (_DROPPED_BITS - 1))).view(np.float32)
    return np.where(edges == 0, 0.0, middles.astype(np.float64))


def _linear(strip: NDArray[Any], transfer: Transfer) -> NDArray[np.float32]:
    if strip.dtype.kind == "u":
        return look_up(decoding_table(transfer, int(np.iinfo(strip.dtype).max) + 1), strip)
    return np.asarray(decode(as_unit_float(strip), transfer), np.float32)


def _finite(light: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """NaN as 0, infinities as the largest float, and how many there were."""
    with np.errstate(over="ignore", invalid="ignore"):  # a sum is finite only if all of it is; it may overflow, then we count
        if np.isfinite(light.sum()):
            return light, 0
    odd = light.size - int(np.count_nonzero(np.isfinite(light)))
    return np.nan_to_num(light, nan=0.0, posinf=FLOAT_MAX, neginf=-FLOAT_MAX), odd


def _strips(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for first in range(0, len(pixels), rows):
        yield np.ascontiguousarray(pixels[first : first + rows])


def _bin(below: NDArray[np.int64], percentage: float) -> int:
    """The first bin up to which there are at least so many percent of all: of cumulated counts."""
    # NumPy's own rounding, so that both agree where a share falls exactly between two values
    rank = max(1, int(np.ceil(percentage / 100 * below[-1])))
    return int(np.searchsorted(below, rank))


def _triple(values: NDArray[Any]) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
