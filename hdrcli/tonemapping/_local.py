"""What operators share that see a pixel's surroundings: they work on the logarithm of luminance, reduced where it is large.

A picture of more than a few megapixels is averaged over cells of n x n pixels, n a power of two, and solved there. At full
resolution the result is, in each place, a straight line from a pixel's log luminance to its tone: the guided filter of He, Sun
and Tang 2013 (Eq. 5 and 6), found on the small picture and applied on the large one (He and Sun 2015, "Fast guided filter").
So edges stay where they are and texture finer than a cell keeps the contrast that its surroundings were given. Smaller pictures
are solved as they are.

Logarithms are natural ones. "Tone" is the log of display-linear luminance, 0 for white.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene

    Floats = NDArray[np.float32]

LIGHTEST = 2.0**40  # luminance that ``apply`` gets at most
_BELOW_DARKEST = 0.25  # of the smallest luminance that counts: what is darker is solved as if it were that bright
_VARIANCE = 0.01  # of log luminance: a line's slope is the prior's rather than the window's where that varies less
_KNEE = 0.7  # display luminance from which on more than the display's white is bent down to it
_HIGHEST = 20.0  # tone that is told from white
_STEEPEST = 4.0  # slope of a line
_NOTHING = 1e-5  # of contrast
MIDDLE = math.log(0.18)  # tone of a picture without contrast


@dataclass(frozen=True, eq=False)
class Logs:
    """A picture's log luminance. ``values``: ``(h, w) float32``, means over cells of ``cell`` x ``cell`` pixels.

    ``floor``: the luminance that stands for all that are darker.
    """

    values: Floats = field(repr=False)
    cell: int
    floor: float


@dataclass(frozen=True, eq=False)
class Tones:
    """State of local operators: ``slope`` and ``offset`` of the tone over log luminance, ``(h, w) float32`` a cell.

    ``slope`` None: cells are pixels, and ``offset`` is their tone. ``gain``: factor from a scene's luminance to what
    ``apply`` gets. ``saturation``: exponent of colour ratios. ``peak``: display luminance before the shoulder that becomes
    white, at least 1. ``primaries``: of the light; None: Rec.709.
    """

    slope: Floats | None = field(repr=False)
    offset: Floats = field(repr=False)
    cell: int
    floor: float
    gain: float
    saturation: float
    peak: float = 1.0
    primaries: AnyPrimaries | None = None


def logs(scene: Scene, megapixels: float, normalise: str = "robust", of: str = "logs") -> Logs:
    """Log luminance of a scene over cells, as few as make it at most ``megapixels``; read in strips by all threads.

    ``normalise`` "max": the smallest luminance above 0 counts, instead of the 0.1st percentile. ``of``: a cell's value is
    the mean of "logs", the logarithm of the mean "light", or the "middle" pixel's, where a mean would be a luminance that no
    pixel has.
    """
    import cv2
    import numpy as np

    from hdrcli.parallel import each
    from hdrcli.tonemapping._color import luminance
    from hdrcli.tonemapping._exposure import extent, luminance_of, steadied

    brought = partial(np.minimum, np.float32(LIGHTEST / scene.exposure))
    darkest = steadied(scene, "floor", extent(brought(luminance_of(scene, normalise)), normalise)[0])
    floor = darkest * (1.0 if normalise == "max" else _BELOW_DARKEST) or 1.0
    cell = cell_for(scene, megapixels)
    if of == "logs":
        return Logs(_means(scene, cell, lambda rows: logarithm(brought(luminance(rows, scene.primaries)), floor)), cell, floor)
    if of == "light":
        return Logs(logarithm(_means(scene, cell, lambda rows: brought(luminance(rows, scene.primaries))), floor), cell, floor)
    out = np.empty((-(-scene.height // cell), -(-scene.width // cell)), np.float32)

    def work(part: slice) -> None:
        first, last = part.start // cell, -(-part.stop // cell)
        rows = slice(min(part.start + (cell - 1) // 2, part.stop - 1), part.stop, cell)
        light = scene.rows(rows)[:, min((cell - 1) // 2, scene.width - 1) :: cell]
        values = logarithm(brought(luminance(light, scene.primaries)), floor)
        missing = (last - first - values.shape[0], out.shape[1] - values.shape[1])  # the last cell may lack its middle
        out[first:last] = cv2.copyMakeBorder(values, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)

    each(work, _whole_cells(scene, cell))
    return Logs(out, cell, floor)


def colours(scene: Scene, cell: int) -> Floats:
    """Mean light of cells, ``(h, w, 3) float32``."""
    return _means(scene, cell, lambda rows: rows)


def _means(scene: Scene, cell: int, look: Callable[[Floats], Floats]) -> Floats:
    """Means over cells of what ``look`` makes of rows, a value or three a pixel; by all threads."""
    import cv2
    import numpy as np

    from hdrcli.parallel import each

    height, width = -(-scene.height // cell), -(-scene.width // cell)
    channels = look(scene.rows(slice(0, 1))).shape[2:]
    out = np.empty((height, width, *channels), np.float32)

    def work(part: slice) -> None:
        values = look(scene.rows(part))
        first, last = part.start // cell, -(-part.stop // cell)
        if cell > 1:
            missing = ((last - first) * cell - values.shape[0], width * cell - values.shape[1])
            whole = cv2.copyMakeBorder(values, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
            small = cv2.resize(whole, (width, last - first), interpolation=cv2.INTER_AREA)
            values = np.asarray(small, dtype=np.float32).reshape(last - first, width, *channels)
        out[first:last] = values

    each(work, _whole_cells(scene, cell))
    return out


def _whole_cells(scene: Scene, cell: int) -> list[slice]:
    """Strips of rows that end where cells do."""
    from hdrcli.tonemapping import STRIP_PIXELS

    return scene.strips(max(1, STRIP_PIXELS // (scene.width * cell)) * cell)


def logarithm(y: NDArray[Any], floor: float) -> Floats:
    """log(max(y, floor)), of ``(h, w)``."""
    import cv2
    import numpy as np

    return np.asarray(cv2.log(np.maximum(y, np.float32(floor))), dtype=np.float32).reshape(y.shape)


def cell_for(scene: Scene, megapixels: float) -> int:
    """The side of cells, a power of two, that leave at most ``megapixels`` of them."""
    cell = 1
    while -(-scene.height // cell) * -(-scene.width // cell) > megapixels * 1e6:
        cell *= 2
    return cell


def toned(scene: Scene, light: Logs, tone: Floats, saturation: float = 1.0, prior: float = 1.0) -> Tones:
    """State for :func:`apply` from the tone of each cell.

    ``prior``: slope of the tone over log luminance where a picture varies too little to tell.
    """
    slope = None
    if light.cell > 1:
        slope, tone = _lines(light.values, tone, prior)
    floor = light.floor * scene.exposure
    return Tones(slope, tone, light.cell, floor, scene.exposure, saturation, primaries=scene.primaries)


def placed(tones: Tones, scene: Scene, contrast: float, white: float, black: float, normalise: str = "robust") -> Tones:
    """Tones, known up to a factor and an offset, stretched over the display's contrast.

    ``contrast``: of the display, brightest to darkest. ``white``, ``black``: percentages of pixels that become brighter or
    darker than that, the brighter ones through a shoulder; none with ``normalise`` "max". A scene of less contrast keeps its
    own, around middle grey. An exposure that the user asks for moves tones as much as the whole scene is compressed.
    """
    import numpy as np

    from hdrcli.tonemapping._exposure import BRIGHTEST

    sample = sampled(scene, tones.floor / tones.gain, normalise)
    ends = (0.0, 100.0) if normalise == "max" else (black, 100.0 - white)
    darkest, brightest = sample.extent(sample.light, *ends)
    tone = _tones_of(sample, tones)
    low, high = sample.extent(tone, *ends)
    display = math.log(contrast)
    wanted = min(display, brightest - darkest)
    factor = wanted / (high - low) if high - low > _NOTHING else 1.0
    if scene.steady is not None:
        factor = math.exp(scene.steady("contrast", math.log(factor)))
    top = MIDDLE * (1 - wanted / display) + exposed(scene, wanted, brightest - darkest, display)
    above = factor * (sample.extent(tone, 0, max(BRIGHTEST, ends[1]))[1] - high)
    if scene.steady is not None:
        # solutions are known up to an offset, so no percentile of theirs is steady in itself: the usual gain is, in logarithms
        gain = float(np.median(((tone - np.float32(high)) * np.float32(factor) + np.float32(top) - sample.light)[sample.lit]))
        top += scene.steady("gain", gain) - gain
        above = scene.steady("above", above)
    return replace(
        tones,
        slope=None if tones.slope is None else tones.slope * np.float32(factor),
        offset=(tones.offset - np.float32(high)) * np.float32(factor) + np.float32(top),
        peak=math.exp(min(above, _HIGHEST)),
    )


def exposed(scene: Scene, shown: float, contrast: float, display: float) -> float:
    """What an exposure adds to tones, where a scene's ``contrast`` is ``shown`` with less; at most all of the display's."""
    added = math.log(scene.exposure) * (shown / contrast if contrast > _NOTHING else 1.0)
    return min(max(added, -display), display)


@dataclass(frozen=True, eq=False)
class Sample:
    """Every n-th pixel of every n-th row. ``light``: log luminance, ``(h, w)``. ``lit``: which of them are no black border."""

    rows: NDArray[np.intp] = field(repr=False)
    columns: NDArray[np.intp] = field(repr=False)
    light: Floats = field(repr=False)
    lit: NDArray[np.bool_] = field(repr=False)

    def extent(self, values: Floats, low: float, high: float) -> tuple[float, float]:
        """Two percentiles of values ``(h, w)``, borders left out."""
        import numpy as np

        ends = np.percentile(values[self.lit], (low, high))
        return float(ends[0]), float(ends[1])


def sampled(scene: Scene, floor: float = 2.0**-100, normalise: str = "robust") -> Sample:
    """Some 512 rows of the scene, all of them for ``normalise`` "max"; for percentiles. ``floor`` as in :class:`Logs`."""
    import numpy as np

    from hdrcli.tonemapping import SAMPLE_PIXELS
    from hdrcli.tonemapping._color import luminance
    from hdrcli.tonemapping._exposure import border

    step = 1 if normalise == "max" else max(1, math.isqrt(scene.height * scene.width // SAMPLE_PIXELS))
    top, left = min(step, scene.height) // 2, min(step, scene.width) // 2
    y = scene.luminance() if step == 1 else luminance(scene.rows(slice(top, None, step))[:, left::step], scene.primaries)
    y = np.minimum(y, np.float32(LIGHTEST / scene.exposure))
    rows, columns = np.arange(top, scene.height, step), np.arange(left, scene.width, step)
    lit = y > (0 if normalise == "max" else border(y))
    return Sample(rows, columns, logarithm(y, floor), lit if lit.any() else ~lit)


def _tones_of(sample: Sample, tones: Tones) -> Floats:
    if tones.slope is None:
        return tones.offset[sample.rows[:, None], sample.columns]
    slope, offset = (_between(grid, tones.cell, sample.rows, sample.columns) for grid in (tones.slope, tones.offset))
    return slope * sample.light + offset


def _lines(light: Floats, tone: Floats, prior: float) -> tuple[Floats, Floats]:
    """Slope and offset of the tone over log luminance, fitted over 3 x 3 cells and averaged over as many."""
    import numpy as np

    rest = tone - np.float32(prior) * light
    mean, mean_rest = box(light), box(rest)
    variance = np.maximum(box(light * light) - mean * mean, np.float32(0))
    slope = np.asarray(box(light * rest) - mean * mean_rest, dtype=np.float32)
    slope /= variance + np.float32(_VARIANCE)
    slope += np.float32(prior)
    np.clip(slope, 0, _STEEPEST, out=slope)  # below 0 texture would be shown as its negative
    offset = mean_rest + (np.float32(prior) - slope) * mean
    return box(slope), box(offset)


def box(values: NDArray[Any]) -> Floats:
    """Means of 3 x 3 cells, ``(h, w)``."""
    import cv2
    import numpy as np

    smooth = cv2.blur(values, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.float32).reshape(values.shape)


def apply(light: NDArray[Any], state: Tones, first: int = 0) -> Floats:
    """``apply`` of local operators: each pixel's luminance to its tone, colour kept; black stays black."""
    import numpy as np

    from hdrcli.tonemapping._color import luminance

    y = luminance(light, state.primaries)
    last = first + light.shape[0]
    if state.slope is None:
        return displayed(light, y, state.offset[first:last], state.floor, state.saturation, state.peak, state.primaries)
    tone = logarithm(y, state.floor)
    tone -= np.float32(math.log(state.gain))
    tone *= enlarged(state.slope, state.cell, first, last, light.shape[1])
    tone += enlarged(state.offset, state.cell, first, last, light.shape[1])
    return displayed(light, y, tone, state.floor, state.saturation, state.peak, state.primaries)


def displayed(
    light: NDArray[Any],
    y: Floats,
    tone: Floats,
    floor: float,
    saturation: float,
    peak: float = 1.0,
    primaries: AnyPrimaries | None = None,
) -> Floats:
    """Display light of rows ``(n, W, 3)`` with luminance ``y`` and its tone, ``(n, W)``; what is below ``floor`` goes to black.

    Luminance below the floor was solved as if it were that bright, and is shown darker by what it lacks. ``peak``: what becomes
    white; above 1, display luminance from the knee on is bent as in Reinhard et al. 2002, eq. 4.
    """
    import cv2
    import numpy as np

    from hdrcli.tonemapping._color import recoloured

    display = np.asarray(cv2.exp(np.minimum(tone, np.float32(math.log(peak)))), dtype=np.float32).reshape(y.shape)
    if peak > 1:
        above = np.maximum(display - np.float32(_KNEE), 0)
        above *= np.float32(1 / (1 - _KNEE))
        bent = above * np.float32(((1 - _KNEE) / (peak - _KNEE)) ** 2)
        bent += 1
        bent /= above + 1
        bent *= above
        bent *= np.float32(1 - _KNEE)
        np.minimum(display, np.float32(_KNEE), out=display)
        display += bent
    display *= np.minimum(y * np.float32(1 / floor), 1)
    return recoloured(light, y, display, saturation, primaries)


def enlarged(grid: Floats, cell: int, first: int, last: int, width: int) -> Floats:
    """Rows ``first`` to ``last`` of a grid of cells, ``(h, w)`` or ``(h, w, 3)``, enlarged bilinearly to rows of ``width``."""
    import cv2
    import numpy as np

    above, below, way = _neighbours(grid.shape[0], cell, np.arange(first, last))
    upper = grid[above]
    upper += way.reshape(-1, *[1] * (grid.ndim - 1)) * (grid[below] - upper)
    wide = cv2.resize(upper, (grid.shape[1] * cell, last - first), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide, dtype=np.float32).reshape(last - first, -1, *grid.shape[2:])[:, :width]


def _between(grid: Floats, cell: int, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
    """As :func:`enlarged`, some pixels of some rows."""
    above, below, way = _neighbours(grid.shape[0], cell, rows)
    grid = grid[above] + way[:, None] * (grid[below] - grid[above])
    left, right, way = _neighbours(grid.shape[1], cell, columns)
    return grid[:, left] + way * (grid[:, right] - grid[:, left])


def _neighbours(cells: int, cell: int, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """Between the middles of which cells pixels lie, and how far from the lower one."""
    import numpy as np

    at = np.clip((pixels + 0.5) / cell - 0.5, 0, cells - 1)
    low = at.astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), (at - low).astype(np.float32)
