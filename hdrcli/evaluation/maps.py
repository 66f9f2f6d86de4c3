"""Pictures of where an error is: heat maps with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import STOPS_FLOOR, Primaries, Transfer, luminance
from hdrcli.image import Image
from hdrcli.parallel import each

Floats = NDArray[np.float32]
Scale = tuple[tuple[float, tuple[int, int, int]], ...]  # values in order, with their colours

LIMIT = 4.0  # stops at which the colours end
# dark blue, blue, light blue, near white, yellow, orange red, dark red: too dark .. right .. too bright
_SIGNED: Scale = (
    (-1.0, (9, 20, 92)),
    (-0.6, (37, 97, 196)),
    (-0.2, (158, 202, 240)),
    (0.0, (247, 247, 247)),
    (0.2, (253, 219, 132)),
    (0.6, (227, 82, 38)),
    (1.0, (96, 0, 22)),
)
# near black, violet, red, yellow, near white: nobody sees it .. everybody does
_SHARE: Scale = (
    (0.0, (8, 8, 24)),
    (0.25, (72, 20, 110)),
    (0.5, (190, 44, 80)),
    (0.75, (250, 148, 40)),
    (1.0, (252, 253, 210)),
)
_LEGEND, _BAR, _LEAST_WIDTH, _GREY = 54, 16, 360, 32
_STRIP_ROWS = 128


def error_in_stops(test: NDArray[Any], reference: NDArray[Any], white: float) -> Floats:
    """log2 of the test's luminance over the reference's: two ``(H, W, 3)``, linear BT.709 -> ``(H, W) float32``, signed.

    ``white``: what LDR white is in their unit. To both luminances, negative ones as 0, 2^-10 of it is added, as in log2-RMSE,
    so that black is finite.
    """
    out = np.empty(test.shape[:2], np.float32)
    floor = white * STOPS_FLOOR

    def work(rows: slice) -> None:
        above, below = (np.maximum(_luminance(a[rows]), 0) + floor for a in (test, reference))
        out[rows] = np.log2(above / below)

    each(work, (slice(first, first + _STRIP_ROWS) for first in range(0, len(out), _STRIP_ROWS)))
    return out


def _luminance(rgb: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(luminance(np.asarray(rgb, np.float64), Primaries.BT709), np.float64)


def stops_map(stops: NDArray[Any], title: str) -> Image:
    """``(H, W)`` in stops as an sRGB picture: blue where the test is too dark, red where too bright; ends at 4 stops."""
    ticks = [(value, f"{value:+.0f}" if value else "0") for value in np.arange(-LIMIT, LIMIT + 1, 2)]
    return _drawn(np.asarray(stops) / LIMIT, _SIGNED, [(value / LIMIT, text) for value, text in ticks], title)


def probability_map(probability: NDArray[Any], title: str) -> Image:
    """``(H, W)`` in 0..1, the share of observers who see a difference there, as an sRGB picture."""
    ticks = [(value, f"{value:g}") for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _drawn(np.asarray(probability), _SHARE, ticks, title)


def _drawn(values: NDArray[Any], colours: Scale, ticks: Sequence[tuple[float, str]], title: str) -> Image:
    import cv2

    height, width = values.shape
    wide = max(width, _LEAST_WIDTH)
    picture = np.full((height + _LEGEND, wide, 3), _GREY, np.uint8)
    left = (wide - width) // 2
    picture[:height, left : left + width] = _coloured(values, colours)
    first, last = colours[0][0], colours[-1][0]
    margin = 16
    bar = np.linspace(first, last, wide - 2 * margin)[np.newaxis].repeat(_BAR, axis=0)
    top = height + _LEGEND - _BAR - 18
    picture[top : top + _BAR, margin : wide - margin] = _coloured(bar, colours)
    pale = (225, 225, 225)
    cv2.putText(picture, _ascii(title), (margin, top - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, pale, 1, cv2.LINE_AA)
    for value, text in ticks:
        (span, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        centre = margin + round((value - first) / (last - first) * (wide - 2 * margin))
        place = (min(max(centre - span // 2, 2), wide - span - 2), top + _BAR + 13)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, pale, 1, cv2.LINE_AA)
    return Image(picture, Transfer.SRGB)


def _ascii(text: str) -> str:
    """What OpenCV's fonts have."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _coloured(values: NDArray[Any], colours: Scale) -> NDArray[np.uint8]:
    """Through a table of 1024 colours: ``(h, w)`` -> ``(h, w, 3) uint8``; beyond the ends, the colours there."""
    stops = [place for place, _ in colours]
    table = np.stack(
        [np.interp(np.linspace(stops[0], stops[-1], 1024), stops, [c[i] for _, c in colours]) for i in range(3)], axis=1
    )
    index = np.clip((values - stops[0]) / (stops[-1] - stops[0]), 0, 1) * 1023
    return np.asarray(np.rint(table).astype(np.uint8)[np.rint(index).astype(np.int16)])
