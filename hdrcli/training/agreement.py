"""Does a photo show an HDR picture, and which way up? Whatever the photo's exposure and response curve.

Both are compared as brightness. The HDR's is seen through the one rising curve that gives it the photo's histogram, so neither
exposure nor response nor clipping count, only what is where. What SSIM (Wang et al. 2004) says of the two at about 160 pixels
is the *likeness*: differences of a pixel or two don't matter there. Where it is low, seven other orientations are tried.

What is how alike was measured on views of 48 scenes, photographed by random virtual cameras: see :data:`ENOUGH`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.camera import exposure_alignment
from hdrcli.color import Transfer, decoding_table, encode, luminance
from hdrcli.metrics.ssim import ssim

Plane = NDArray[np.float32]

ENOUGH = 0.6
"""From here on a photo counts as one of the HDR. Measured on 144 views of 48 scenes: pairs 0.90 and more, photos of other
scenes under 0.57 in 95 % of cases, in the best of eight orientations."""
REMEDY = "hdrcli data align writes copies that fit"
PLAIN = 0.85  # from here on no other orientation is tried
_SIDE = 160
_WINDOW = 11  # pixels, of SSIM
_SAMPLES = 1 << 16
_STEPS = 6  # of Gauss-Newton
_DETAIL = 8.0  # pixels; what is larger has no say in offsets
_FLAT = 0.03  # code values this near to black and white count as clipped
# Rec.709 weights on codes: Y' of a photo
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Orientation:
    """One of the eight: first rows and columns are exchanged or not, then rows and columns reversed or not."""

    name: str
    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """``(H, W)`` or ``(H, W, 3)`` so turned, a view."""
        out = pixels.swapaxes(0, 1) if self.transposed else pixels
        return out[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


AS_IT_IS = Orientation("as it is")
ORIENTATIONS = (
    AS_IT_IS,
    Orientation("mirrored", False, False, True),
    Orientation("turned by 180 degrees", False, True, True),
    Orientation("upside down", False, True, False),
    Orientation("transposed", True, False, False),
    Orientation("turned by 90 degrees clockwise", True, False, True),
    Orientation("turned by 90 degrees counterclockwise", True, True, False),
    Orientation("transposed along the other diagonal", True, True, True),
)
"""What may have to be done to one picture of a pair so that it lies like the other."""


BETTER = 0.05  # by which another orientation must be more alike before a picture counts as turned


@dataclass(frozen=True)
class Likeness:
    """``ssim``: -1..1 in the ``orientation`` of the HDR that fits best; ``as_it_is``: in the one it has (None: other shape)."""

    orientation: Orientation
    ssim: float
    as_it_is: float | None

    def fault(self, photo: tuple[int, ...], light: tuple[int, ...]) -> str | None:
        """Why pictures of these shapes are no pair, and what to do about it; None if they are one."""
        if self.ssim < ENOUGH:
            return f"show different things (likeness {self.ssim:.2f}, from {ENOUGH:g} on they are a pair)"
        if self.as_it_is is None or (self.orientation is not AS_IT_IS and self.ssim - self.as_it_is > BETTER):
            return f"fit if the HDR is {self.orientation.name} ({REMEDY})"
        if photo[:2] != light[:2]:
            return f"have {photo[1]} x {photo[0]} and {light[1]} x {light[0]} pixels ({REMEDY})"
        return None


def brightness_of_photo(codes: NDArray[Any]) -> Plane:
    """Y' of ``(H, W, 3)`` codes, uint8 or uint16: ``(H, W) float32`` in 0..1."""
    return np.asarray(codes.astype(np.float32) @ (_LUMA / np.float32(np.iinfo(codes.dtype).max)))


def brightness_of_light(light: NDArray[np.float32]) -> Plane:
    """log2 of luminance, ``(H, W) float32``, of ``(H, W, 3)`` linear Rec.709, with a floor 12 stops below the median."""
    y = np.asarray(luminance(light), np.float32)
    positive = y[y > 0]
    floor = float(np.median(positive)) * 2.0**-12 if positive.size else 1.0
    return np.log2(np.maximum(y, np.float32(max(floor, 1e-30))))


def brightness_of_shot(light: NDArray[np.float32], codes: NDArray[Any]) -> Plane:
    """Y' of the 8-bit sRGB photo that would be taken of this light, ``(H, W, 3)``, at the exposure of the photo ``codes``.

    As :func:`brightness_of_light` for most pictures, but coloured light is as bright as in photos. If nothing tells the
    exposure, it is that.
    """
    eight = codes if codes.dtype == np.uint8 else (codes >> 8).astype(np.uint8)
    factor = exposure_alignment(decoding_table(Transfer.SRGB, 256)[eight], light, eight)
    if factor == 1.0:
        return brightness_of_light(light)
    shot = encode(np.clip(light / np.float32(factor), 0, 1), Transfer.SRGB)
    return np.asarray(shot.astype(np.float32) @ _LUMA)


def as_photographed(light: Plane, photo: Plane) -> Plane:
    """The light's brightness through the rising curve that gives it the photo's histogram: ``(H, W) float32`` in 0..1."""
    ranks = np.linspace(0, 1, 257)
    levels, codes = (np.quantile(_some(plane), ranks).astype(np.float32) for plane in (light, photo))
    return np.asarray(np.interp(light, *_rising(levels, codes)), dtype=np.float32)


def _some(plane: Plane) -> Plane:
    flat = plane.ravel()
    return flat[:: max(1, flat.size // _SAMPLES)]


def _rising(x: Plane, y: Plane) -> tuple[Plane, Plane]:
    """Knots of which no two have one x: those get the mean of their y."""
    unique, first, counts = np.unique(x, return_index=True, return_counts=True)
    return unique, np.asarray(np.add.reduceat(y, first) / counts, np.float32)


def likeness(photo: Plane, light: Plane, *, all_ways: bool = False) -> Likeness:
    """How alike a photo and an HDR are, both ``(h, w)`` as the two functions above give them, of any size.

    ``all_ways``: try every orientation even where the first fits. Shapes that differ by more than 1 % in their ratio count as
    unlike, -1, and so do pictures of one brightness.
    """
    matched = as_photographed(light, photo)
    own = _ssim(photo, matched)
    if own is not None and own >= PLAIN and not all_ways:
        return Likeness(AS_IT_IS, own, own)
    tried = [(own, AS_IT_IS), *((_ssim(photo, way.of(matched)), way) for way in ORIENTATIONS[1:])]
    best = max(((found, -n, way) for n, (found, way) in enumerate(tried) if found is not None), default=(-1.0, 0, AS_IT_IS))
    return Likeness(best[2], best[0], own)


def same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Within 1 %, or a pixel: could one be the other at another size?"""
    expected = b[0] * a[1] / a[0]
    return abs(b[1] - expected) <= max(1.0, 0.01 * expected)


def _ssim(photo: Plane, light: Plane) -> float | None:
    small = _reduced(photo, light)
    if small is None:
        return None
    if any(float(np.ptp(plane)) < 1e-3 for plane in small):
        return -1.0
    return ssim(small[1], small[0], peak=1.0, variant="wang")


def offset(photo: Plane, light: Plane) -> tuple[float, float]:
    """How far down and right an HDR must be moved to lie on its photo, in pixels: both ``(h, w)``, of one shape.

    Phase correlation (Kuglin and Hines 1975) finds it to about a pixel, Gauss-Newton steps on the difference (Lucas and Kanade
    1981) the rest; they also start from 0, since noise in smooth scenes may win the first. What the photo clipped, and so shows
    flat, has no say.
    """
    import cv2

    matched = as_photographed(light, photo)
    # for the photo's detail, not its lights, to decide; and for the borders, which shows different things, not to
    window = np.asarray(cv2.createHanningWindow((photo.shape[1], photo.shape[0]), cv2.CV_32F), np.float32)
    # copies: where a side needs no padding for its transform, OpenCV applies the window to what it was given
    (x, y), _ = cv2.phaseCorrelate(matched.copy(), photo.copy(), window)
    starts = [(0.0, 0.0)]
    if abs(y) <= photo.shape[0] / 4 and abs(x) <= photo.shape[1] / 4:
        starts.append((float(y), float(x)))
    found = [_refined(photo, matched, window, *start) for start in starts]
    return max(found, key=lambda place: alike(photo, matched, *place))


def _refined(photo: Plane, matched: Plane, window: Plane, y: float, x: float) -> tuple[float, float]:
    import cv2

    weight = window * (photo > _FLAT) * (photo < 1 - _FLAT)
    # detail alone: no curve makes large coloured areas of both equally bright
    photo, matched = (plane - cv2.GaussianBlur(plane, (0, 0), _DETAIL) for plane in (photo, matched))
    for _ in range(_STEPS):
        found = moved(matched, y, x)
        down, right = (cv2.Sobel(found, cv2.CV_32F, *order, scale=1 / 8) for order in ((0, 1), (1, 0)))
        slopes = np.stack([(weight * slope).ravel() for slope in (down, right)]).astype(np.float64)
        matrix = slopes @ np.stack([down.ravel(), right.ravel()], 1)
        step = np.linalg.lstsq(matrix, slopes @ (found - photo).ravel(), rcond=1e-6)[0]
        y, x = y + float(np.clip(step[0], -1, 1)), x + float(np.clip(step[1], -1, 1))
    return y, x


def alike(photo: Plane, light: Plane, down: float, right: float, where: tuple[float, float] | None = None) -> float:
    """Correlation of a photo and an HDR moved so far, where both are (or would be, moved as far as ``where`` says)."""
    rows, columns = overlap(photo.shape, *(where or (down, right)))
    there, other = photo[rows, columns].ravel(), moved(light, down, right)[rows, columns].ravel()
    if there.size < 2 or min(np.ptp(there), np.ptp(other)) == 0:
        return -1.0
    return float(np.corrcoef(there, other)[0, 1])


def moved(pixels: NDArray[np.float32], down: float, right: float) -> NDArray[np.float32]:
    """``(H, W)`` or ``(H, W, 3)`` moved by parts of pixels, bilinear (nothing rings below 0); borders repeat."""
    import cv2

    matrix = np.array([[1, 0, -right], [0, 1, -down]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.warpAffine(np.ascontiguousarray(pixels), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def register(photo: Plane, light: Plane) -> tuple[Orientation, float]:
    """The orientation of an HDR, of any size, in which it is likest to the photo once it is moved over it; and how like then.

    As :func:`likeness`, but blind to an offset too, of up to a quarter of the picture.
    """
    best = (AS_IT_IS, -1.0)
    for way in ORIENTATIONS:
        planes = _reduced(photo, way.of(light))
        if planes is None:
            continue
        small, other = planes
        found = overlap_ssim(small, other, *offset(small, other))
        if found is not None and found > best[1]:
            best = (way, found)
        if best[0] is AS_IT_IS and best[1] >= PLAIN:
            break
    return best


def overlap_ssim(photo: Plane, light: Plane, down: float, right: float) -> float | None:
    """SSIM of a photo and an HDR moved so far, where both are; None if that is hardly anywhere."""
    rows, columns = overlap(photo.shape, down, right)
    if min(rows.stop - rows.start, columns.stop - columns.start) < _WINDOW:
        return None
    there = photo[rows, columns]
    return _ssim(there, as_photographed(moved(light, down, right)[rows, columns], there))


def overlap(shape: tuple[int, ...], down: float, right: float) -> tuple[slice, slice]:
    """Rows and columns where a picture moved so far has pixels of its own."""
    sides = ((shape[0], down), (shape[1], right))
    first, last = ([math.ceil(max(sign * by, 0)) for _, by in sides] for sign in (1, -1))
    rows, columns = (slice(f, side - n) for f, n, (side, _) in zip(first, last, sides, strict=True))
    return rows, columns


def _reduced(photo: Plane, light: Plane) -> tuple[Plane, Plane] | None:
    """Both at one small size, the photo's; None if they can't be one picture."""
    import cv2

    if not same_shape(photo.shape, light.shape):
        return None
    scale = min(1.0, _SIDE / min(photo.shape))
    height, width = (max(_WINDOW, round(side * scale)) for side in photo.shape)
    small = (cv2.resize(np.ascontiguousarray(p), (width, height), interpolation=cv2.INTER_AREA) for p in (photo, light))
    first, second = (np.asarray(plane, np.float32) for plane in small)
    return first, second
