"""Equirectangular panoramas (360 x 180 degrees) have a seam: their left and right border are neighbours.

Whatever looks at surroundings, a network or a filter, is shown a panorama continued at both sides by what stands on the other
one (:func:`continued`); its answer is cut back so that the two sides meet (:func:`closed`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, encode, luminance
from hdrcli.errors import MismatchError, UsageError
from hdrcli.image import Image, as_unit_float

Floats = NDArray[np.float32]

PROJECTIONS = ("auto", "flat", "equirect")
_PART = 8  # of the width, to continue by at each side
_GREY = 0.18


class Panorama(NamedTuple):
    """Is a picture equirectangular, is that ``sure`` (said by the user or the file), and remarks."""

    is_one: bool
    sure: bool
    notes: tuple[str, ...] = ()


def check_projection(projection: str) -> None:
    """Raises UsageError for a projection that there is none of."""
    if projection not in PROJECTIONS:
        remedy = f"there are: {', '.join(PROJECTIONS)}"
        raise UsageError(f"no projection {projection!r}", where="--projection", remedy=remedy)


def panorama(image: Image, projection: str, remedy: str) -> Panorama:
    """Is the picture a panorama? ``projection``: one of PROJECTIONS. ``remedy``: what to do about one that only looks like it.

    What looks like one is continued across the border, which harms nothing; it is not called one in the output. Raises
    MismatchError where the user says so of a picture that is not 2:1.
    """
    size, fits = f"{image.width} x {image.height}", abs(image.width - 2 * image.height) <= 0.01 * image.width
    if projection == "flat":
        return Panorama(False, False)
    if projection == "equirect":
        if not fits:
            raise MismatchError(f"is {size}, an equirectangular panorama is 2:1", remedy="leave out --projection equirect")
        return Panorama(True, True)
    if image.metadata.panorama:
        if fits:
            return Panorama(True, True)
        return Panorama(False, False, (f"says it is a 360 x 180 degree panorama, but {size} is not 2:1; taken as flat",))
    if not looks_like_panorama(image):
        return Panorama(False, False)
    return Panorama(True, False, (f"looks like a 360 x 180 degree panorama, so its seam is closed; {remedy}",))


def looks_like_panorama(image: Image) -> bool:
    """Does the picture look equirectangular: 2:1, its poles even, left and right border alike?

    At a pole all directions of a row are one, and column 0 follows on the last as any column on the one before. A border of
    one colour, as around a product or a slide, proves nothing. The limits find the 43 panoramas of the training scenes, as
    photos and as light, and of cuts of 2:1 out of them none of 288 photos and one of 301 scenes; a calm sea at 2:1 passes too,
    so nothing is done on this evidence that could harm.
    """
    height, width = image.height, image.width
    if width != 2 * height or height < 64:
        return False
    # whole rows: the poles and the seam must be among them
    rows = _shown(image, image.pixels[:: max(1, height // 256)], exposure := _exposure(image))
    step = np.abs(np.diff(rows, axis=1)).mean()
    seam = np.abs(rows[:, 0] - rows[:, -1]).mean()
    spread = rows.std() + 1e-6
    poles = [_shown(image, image.pixels[row : row + 1], exposure).std(axis=1).max() / spread for row in (0, height - 1)]
    border = rows[:, 0].std(axis=0).max() / spread
    return bool(spread > 0.01 and border >= 0.2 and seam <= 2.2 * step and min(poles) <= 0.3 and max(poles) <= 0.9)


def _exposure(image: Image) -> float:
    """Brings the median of scene-linear light to middle grey; 1 for codes."""
    if image.transfer is not Transfer.LINEAR:
        return 1.0
    step = max(1, image.height // 256)
    median = float(np.median(luminance(np.fmax(as_unit_float(image.pixels[::step, ::step]), 0))))
    return _GREY / median if median > 0 and math.isfinite(median) else 1.0


def _shown(image: Image, pixels: NDArray[Any], exposure: float) -> Floats:
    """Codes as a screen would show them, in [0, 1]."""
    if image.transfer is not Transfer.LINEAR:
        return as_unit_float(pixels)
    light = np.fmin(np.fmax(as_unit_float(pixels), 0) * np.float32(exposure), 1)
    return np.asarray(encode(light, Transfer.SRGB), dtype=np.float32)


def margin_of(width: int, multiple: int = 1) -> int:
    """By how many columns to continue a panorama of this width at each side: about an eighth, in steps of ``multiple``."""
    return math.ceil(width / (_PART * multiple)) * multiple


def continued(grid: Floats, columns: int) -> Floats:
    """With so many more columns at each side, taken from the other one: ``(h, w, c)`` -> ``(h, w + 2 columns, c)``."""
    return np.pad(grid, ((0, 0), (columns, columns), (0, 0)), mode="wrap") if columns else grid


def closed(answer: Floats, margin: int) -> Floats:
    """An answer to a picture that was continued by ``margin`` columns, without them: ``(h, w + 2 margin, c)`` -> ``(h, w, c)``.

    Near the seam it was given twice, in two surroundings. From half a margin away on each side the one fades into the other, so
    that the two sides meet; the outer half of the margin, where the surroundings end, has no say.
    """
    if margin == 0:
        return answer
    end = answer.shape[1] - margin
    out = answer[:, margin:end].copy()
    reach = margin // 2
    fade = (0.5 - (np.arange(reach, dtype=np.float32) + 0.5) / (2 * max(reach, 1)))[:, None]  # 1/2 at the seam, 0 at its end
    out[:, :reach] += fade * (answer[:, end : end + reach] - out[:, :reach])
    out[:, out.shape[1] - reach :] += fade[::-1] * (answer[:, margin - reach : margin] - out[:, out.shape[1] - reach :])
    return out
