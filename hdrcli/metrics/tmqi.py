"""TMQI, the Tone Mapped image Quality Index: how well an LDR picture shows an HDR one.

Yeganeh and Wang 2013, "Objective Quality Assessment of Tone-Mapped Images", IEEE TIP 22(2), doi:10.1109/TIP.2012.2221725.
Constants and steps are those of the authors' release 1.0. The arithmetic is centred, see ``_windows``: the release's
E[x^2] - E[x]^2 gives rounding noise, far above the thresholds, where an HDR picture is constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics._pairs import encoded, same_shape
from hdrcli.metrics._windows import gaussian_taps, moments, over_tiles

Floats = NDArray[np.float64]

LEAST_SIDE = 161  # then the window fits once into the coarsest scale

_SCALES = ((16, 0.0448), (8, 0.2856), (4, 0.3001), (2, 0.2363), (1, 0.1333))  # cycles per degree, weight in S
_C1, _C2 = 0.01, 10.0
_HDR_RANGE = 2.0**32 - 1
_BLOCK = 11
_BRIGHTNESS, _BRIGHTNESS_SPREAD = 115.94, 27.99  # of natural pictures: normal density
_CONTRAST, _BETA = 64.29, (4.4, 10.1)  # of natural pictures: Beta density of deviation / 64.29


@dataclass(frozen=True)
class TMQI:
    """The index and what it is made of, all 0..1 and 1 best.

    ``q``: overall. ``s``: structural fidelity. ``n``: statistical naturalness. ``s_local``: fidelity at each scale, finest
    first. ``inverted``: contrast is inverted at some scale, whose fidelity is 0 or below; the release's S is a complex number
    then, here ``s`` is 0 and ``q`` comes from ``n`` alone. ``looks_normalised``: no LDR value is above 1, so the picture was
    probably given as 0..1 instead of 0..255, and the numbers mean nothing.
    """

    q: float
    s: float
    n: float
    s_local: tuple[float, ...]
    inverted: bool
    looks_normalised: bool


def tmqi(hdr: NDArray[Any], ldr_codes_0_255: NDArray[Any]) -> TMQI:
    """TMQI of an LDR picture, display-encoded codes 0..255, against the HDR picture it shows, linear in any scale.

    Both ``(H, W, 3)`` with BT.709 primaries, or both luminance, ``(H, W)``; any real type, finite.

    Raises MismatchError for shapes that differ or are others, Unavailable for a side below 161, for an HDR picture that is
    constant and for one whose values span more than 2^33.
    """
    s_local = _fidelities(hdr, ldr_codes_0_255)
    s, n = _structural(s_local), naturalness(ldr_codes_0_255)
    q = 0.8012 * s**0.3046 + 0.1988 * n**0.7088
    return TMQI(q, s, n, s_local, min(s_local) <= 0, float(np.max(ldr_codes_0_255)) <= 1)


def structural_fidelity(hdr: NDArray[Any], ldr_codes_0_255: NDArray[Any]) -> float:
    """S of TMQI, 0..1, without the rest: same arguments and errors as :func:`tmqi`."""
    return _structural(_fidelities(hdr, ldr_codes_0_255))


def naturalness(ldr_codes_0_255: NDArray[Any]) -> float:
    """N of TMQI, 0..1, of the LDR picture alone, of any size: ``(H, W, 3)`` or ``(H, W)`` codes 0..255.

    The contrast is the mean of standard deviations in blocks of 11 x 11. Blocks that stick out at the bottom and on the right
    are filled up with zeros, and count by their real pixels: what MATLAB's blkproc, cropped, gave the authors.
    """
    plane = _luminance(ldr_codes_0_255)
    height, width = plane.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    filled = np.pad(plane, ((0, rows * _BLOCK - height), (0, columns * _BLOCK - width)))
    blocks = filled.reshape(rows, _BLOCK, columns, _BLOCK)
    deviations = blocks.std(axis=(1, 3), ddof=1)
    real_rows = np.minimum(_BLOCK, height - _BLOCK * np.arange(rows))
    real_columns = np.minimum(_BLOCK, width - _BLOCK * np.arange(columns))
    contrast = float(real_rows @ deviations @ real_columns) / plane.size
    brightness = float(plane.mean())
    natural_brightness = math.exp(-((brightness - _BRIGHTNESS) ** 2) / (2 * _BRIGHTNESS_SPREAD**2))
    return natural_brightness * _beta_density(contrast / _CONTRAST)


def _beta_density(t: float) -> float:
    """Density of the Beta distribution over its maximum."""
    if not 0 < t < 1:
        return 0.0
    a, b = _BETA[0] - 1, _BETA[1] - 1
    mode = a / (a + b)
    return float((t / mode) ** a * ((1 - t) / (1 - mode)) ** b)


def _structural(s_local: tuple[float, ...]) -> float:
    if min(s_local) <= 0:
        return 0.0
    return math.exp(sum(weight * math.log(fidelity) for fidelity, (_, weight) in zip(s_local, _SCALES, strict=True)))


def _fidelities(hdr: NDArray[Any], ldr: NDArray[Any]) -> tuple[float, ...]:
    same_shape(ldr, hdr)
    x, y = _luminance(hdr), _luminance(ldr)
    if min(x.shape) < LEAST_SIDE:
        raise Unavailable(f"smaller than {LEAST_SIDE} x {LEAST_SIDE}")
    darkest = float(x.min())
    span = float(x.max()) - darkest
    if span == 0:
        raise Unavailable("the HDR picture is constant")
    # to the nearest integer: so does the release
    gain = round(_HDR_RANGE / span)
    if gain == 0:
        raise Unavailable("the HDR picture's values span more than 2^33, which TMQI multiplies by 0; scale them down")
    x -= darkest
    x *= gain
    found = []
    for frequency, _ in _SCALES:
        found.append(_fidelity(x, y, frequency))
        x, y = _halved(x), _halved(y)
    return tuple(found)


def _fidelity(x: Floats, y: Floats, frequency: float) -> float:
    """Mean of the local structural fidelity at one scale: eq. 5 there, which is SSIM's on visibilities instead of means."""
    taps = gaussian_taps()
    threshold = _threshold(frequency)

    def summed(rows: slice, columns: slice) -> float:
        found = moments(x[rows, columns], y[rows, columns], taps)
        deviation_x, deviation_y = np.sqrt(found.variance_x), np.sqrt(found.variance_y)
        p, q = _visible(deviation_x, threshold), _visible(deviation_y, threshold)
        visibility = (2 * p * q + _C1) / (p * p + q * q + _C1)
        structure = (found.covariance + _C2) / (deviation_x * deviation_y + _C2)
        return float((visibility * structure).sum())

    height, width = x.shape
    total = math.fsum(over_tiles(summed, height, width, taps.size))
    return float(total / ((height - taps.size + 1) * (width - taps.size + 1)))


def _threshold(frequency: float) -> float:
    """Standard deviation that is seen half of the time: contrast sensitivity of Mannos and Sakrison 1974."""
    sensitivity = 100 * 2.6 * (0.0192 + 0.114 * frequency) * math.exp(-((0.114 * frequency) ** 1.1))
    return 128 / (1.4 * sensitivity)


def _visible(deviation: Floats, threshold: float) -> Floats:
    """Probability that a deviation is seen: normal distribution about the threshold, of a third of it."""
    return _normal_distribution(deviation * (3 / threshold) - 3)


_STEPS = 256  # table entries per unit


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Floats, Floats]:
    """Distribution function and density of the normal distribution in -3..9."""
    z = np.arange(-3 * _STEPS, 9 * _STEPS + 1) / _STEPS
    distribution = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in z])
    return distribution, np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _normal_distribution(z: Floats) -> Floats:
    """Of z >= -3, to 1e-12: third-order Taylor series at the nearest table entry. NumPy has no erf."""
    distribution, density = _normal_table()
    z = np.minimum(z, 9)  # 1 - 1e-19 there
    nearest = np.rint(z * _STEPS)
    index = nearest.astype(np.intp) + 3 * _STEPS
    centre = nearest / _STEPS
    d = z - centre
    return np.asarray(distribution[index] + density[index] * d * (1 - d * (centre / 2 - d * ((centre * centre - 1) / 6))))


def _halved(plane: Floats) -> Floats:
    """Means of 2 x 2 samples; an odd side repeats its last row or column."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _luminance(picture: NDArray[Any]) -> Floats:
    """``(H, W)``, a new array. Of codes too, as they are: the release's."""
    if picture.ndim == 2:
        return np.array(picture, np.float64)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise MismatchError(f"TMQI takes H x W x 3 or H x W values, not {' x '.join(map(str, picture.shape))}")
    return encoded(picture, _weighted_channels)


def _weighted_channels(rgb: NDArray[Any]) -> Floats:
    red, green, blue = (rgb[..., k].astype(np.float64) for k in range(3))
    return np.asarray(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def _q(ldr: NDArray[Any], hdr: NDArray[Any], viewing: Viewing) -> float:
    return tmqi(hdr, ldr).q


def _s(ldr: NDArray[Any], hdr: NDArray[Any], viewing: Viewing) -> float:
    return structural_fidelity(hdr, ldr)


def _n(ldr: NDArray[Any], hdr: NDArray[Any], viewing: Viewing) -> float:
    return naturalness(ldr)


SCORES: tuple[Score, ...] = ()  # it compares pictures of two kinds

_SOURCE = "Yeganeh and Wang 2013, release 1.0"
# compute(ldr, hdr, viewing): LDR codes 0..255 and linear HDR, both (H, W, 3)
TONEMAP_SCORES = (
    Score("tmqi", "Tone Mapped image Quality Index", "", "higher", _SOURCE, _q),
    Score("tmqi_s", "structural fidelity of TMQI", "", "higher", _SOURCE, _s),
    Score("tmqi_n", "statistical naturalness of TMQI", "", "higher", _SOURCE, _n),
)
