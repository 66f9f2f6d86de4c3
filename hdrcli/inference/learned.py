"""Learned tone mapping: what G_X says at working resolution, applied at full resolution as a local gain.

The generator sees the whole picture, reduced, and gives display-encoded codes. From the luminances of the two small pictures
comes a gain, in stops; what is applied is not the gain itself but, in each place, a straight line from the scene's luminance
to it (the guided filter: He, Sun and Tang 2013, Eq. 5 and 6; found on the small picture and applied on the large one: He and
Sun 2015, "Fast guided filter"). So edges in the gain lie where they lie in the scene at full resolution, and texture keeps its
contrast: where the scene varies little the line is flat, and a flat gain changes no ratio. Colours are the scene's; those that
a screen has not are drawn towards grey.

Everything at full resolution depends on the pixel and on small grids alone, so strips equal the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrcli.camera import exposure_for_share
from hdrcli.color import Primaries, Transfer, decode, luminance, rgb_to_xyz
from hdrcli.inference.generator import Floats, Generator, to_t
from hdrcli.inference.seam import closed, continued, margin_of
from hdrcli.inference.working import area_mean, working_shape
from hdrcli.tonemapping._color import into_gamut, multiplied

Rows = Callable[[slice], Floats]

CLIPPED_SHARE = 0.05  # of pixels that the exposure puts above white: about the median that G_X was trained with
MEDIANS = (0.02, 0.8)  # of luminance, that the exposure keeps to, as in training
FLOOR = 2.0**-14  # of light, in LDR whites: logarithms of less say nothing
RADIUS = 3  # cells
FLAT = 0.1  # squared stops: variance of the guide below which the gain is flat
_STRIP = 256


@dataclass(frozen=True, eq=False)
class Toning:
    """How to tone-map one picture, strip by strip.

    ``exposure``: factor from the picture's light to LDR whites. ``lines``: ``(h, w, 2)``: slope and offset of the gain, in
    stops, over log2 luminance. ``height``, ``width``: of the picture. ``around``: its first column is the neighbour of the last
    (a panorama).
    """

    exposure: float
    lines: Floats
    height: int
    width: int
    around: bool = False

    def apply(self, light: Floats, first: int, shown: Floats | None = None) -> Floats:
        """Rows of the picture from ``first`` on, scene-linear Rec.709 ``(n, W, 3)``, to display-linear light in [0, 1].

        ``shown``: the same rows in the primaries of the result, where these are others.
        """
        exposed = light * np.float32(self.exposure)
        y = _luminance(exposed)
        slope, offset = self._enlarged(first, first + light.shape[0])
        gain = np.exp2(slope * _stops(y) + offset)
        colors = exposed if shown is None else shown * np.float32(self.exposure)
        return into_gamut(multiplied(colors, gain), np.minimum(y * gain, 1))

    def _enlarged(self, first: int, last: int) -> list[Floats]:
        """Slopes and offsets of rows ``first`` to ``last``, enlarged bilinearly.

        By hand, so that a pixel's value does not depend on how many rows are asked for: OpenCV rounds a single row otherwise.
        """
        grid = self.lines
        above, below, way = _between(grid.shape[0], self.height, first, last)
        rows = grid[above] + way[:, None, None] * (grid[below] - grid[above])
        left, right, way = _between(grid.shape[1], self.width, 0, self.width, around=self.around)
        parts = (np.ascontiguousarray(rows[..., c]) for c in (0, 1))
        return [part[:, left] + way * (part[:, right] - part[:, left]) for part in parts]


def prepare(
    generator: Generator,
    rows: Rows,
    height: int,
    width: int,
    exposure: float | None = None,
    ev: float = 0.0,
    *,
    around: bool = False,
) -> Toning:
    """Show the whole picture to a G_X.

    ``rows``: scene-linear Rec.709 light of some rows, ``(n, W, 3) float32``, finite and not negative; it is asked for in
    strips. ``exposure``: factor from it to LDR whites; None: so that 5 % of the pixels come to lie above white, as long as the
    median luminance then lies in 0.02..0.8. ``ev``: stops more than that. ``around``: the picture is a panorama, shown with its
    borders continued. Raises ModelError for a network that fails.
    """
    spec = generator.spec
    shape = working_shape(height, width, spec.working_size, spec.multiple)
    small = _reduced(rows, height, width, shape)
    if exposure is None:
        exposure = automatic_exposure(small)
    exposure *= 2.0**ev
    margin = margin_of(shape[1], spec.multiple) if around else 0
    exposed = continued(small * np.float32(exposure), margin)
    t = to_t(np.minimum(exposed, np.float32(spec.peak)), spec.peak)
    codes = generator({"t": np.ascontiguousarray(t.transpose(2, 0, 1)[None])})[0].transpose(1, 2, 0)
    display = decode(np.clip(codes, 0, 1), Transfer.SRGB)
    guide = _stops(_luminance(exposed))
    lines = closed(_guided(guide, _stops(_luminance(display)) - guide), margin)
    return Toning(exposure, lines, height, width, around)


def automatic_exposure(light: Floats) -> float:
    """The factor that exposes a picture, ``(h, w, 3)``, as G_X's training did on average; 1 for black ones."""
    median = max(float(np.median(luminance(light))), 1e-6)
    return float(np.clip(exposure_for_share(light, CLIPPED_SHARE), MEDIANS[0] / median, MEDIANS[1] / median))


def _luminance(light: Floats) -> Floats:
    """Of Rec.709 light, pixel by pixel: a matrix product rounds otherwise for other numbers of rows."""
    red, green, blue = (np.float32(weight) for weight in rgb_to_xyz(Primaries.BT709)[1])
    return np.asarray(light[..., 0] * red + light[..., 1] * green + light[..., 2] * blue, dtype=np.float32)


def _stops(light: Floats) -> Floats:
    return np.asarray(np.log2(light + np.float32(FLOOR)), dtype=np.float32)


def _reduced(rows: Rows, height: int, width: int, shape: tuple[int, int]) -> Floats:
    """Cell means: columns in strips, then rows, so that no large picture is held."""
    narrow = np.empty((height, shape[1], 3), np.float32)
    for first in range(0, height, _STRIP):
        last = min(first + _STRIP, height)
        narrow[first:last] = area_mean(rows(slice(first, last)), (last - first, shape[1]))
    return np.asarray(area_mean(narrow, shape), dtype=np.float32)


def _guided(guide: Floats, gain: Floats) -> Floats:
    """Slope and offset of the gain over the guide: twice ``(h, w)`` -> ``(h, w, 2)``."""
    mean, mean_gain = _box(guide), _box(gain)
    variance = _box(guide * guide) - mean * mean
    slope: Floats = np.asarray(
        (_box(guide * gain) - mean * mean_gain) / (np.maximum(variance, 0) + np.float32(FLAT)), np.float32
    )
    return np.stack([_box(slope), _box(np.asarray(mean_gain - slope * mean, np.float32))], axis=2)


def _box(values: Floats) -> Floats:
    import cv2

    side = (2 * RADIUS + 1, 2 * RADIUS + 1)
    smooth: Floats = np.asarray(cv2.blur(values, side, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)
    return smooth.reshape(values.shape)


def _between(
    cells: int, size: int, first: int, last: int, *, around: bool = False
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Between which cells pixels ``first`` to ``last`` of an axis of ``size`` lie, and how far from the lower one.

    ``around``: the last cell is followed by the first.
    """
    at = (np.arange(first, last) + 0.5) * cells / size - 0.5
    if not around:
        at = np.clip(at, 0, cells - 1)
    low = np.floor(at).astype(np.intp)
    high = (low + 1) % cells if around else np.minimum(low + 1, cells - 1)
    return low % cells, high, (at - low).astype(np.float32)
