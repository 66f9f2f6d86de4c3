"""Mantiuk, Daly, Kerofsky 2008, "Display adaptive tone mapping".

One tone curve for the whole picture: piecewise linear in log luminance, it makes the contrasts that the picture has, as the eye
responds to them on the display, come closest to what it responds to in the scene (eq. 1). Which contrasts there are, at which
luminance and frequency, is counted (Section 4.1); the least squares that follow, with a rising curve and the display's range as
bounds, are quadratic programs, solved again until the eye's sensitivity at the luminances shown no longer changes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, check_choice, check_range, extent_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

SUMMARY = "keeps visible contrast on a given display (Mantiuk, Daly, Kerofsky 2008)"
LOCAL = False

_STEP = 0.1  # log10 of luminance from node to node
_NODES = 161  # at most: 16 decades
_REACH = 7  # nodes, the largest contrast that is counted
_VISIBLE = 0.0043  # log10: contrasts below are not
_LOWEST = 3.0  # cycles per degree; the first band at or below it is the last
_BANDS = 8
_TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)
_ADAPTED = 1000.0  # cd/m2 that the eye is adapted to in the scene
_ROUNDS = 200
_EXCHANGES = 10  # of held and free unknowns, for each of them, at most
_RIDGE = 1e-9  # of the largest coefficient: steps that no contrast on the display depends on become 0
_ANCHORED = 0.1  # weight, of all contrasts, of gaps between luminances and of the reference white


@dataclass(frozen=True)
class Parameters:
    """The display: ``peak`` and ``black`` in cd/m2, ``reflectivity``, ``ambient`` lux on it, ``density``: pixels a degree.

    ``enhancement``: factor of contrasts. ``white``: luminance, in LDR whites, that the display's white is kept for; 0: none.
    ``saturation``: of colours, factor of what Mantiuk et al. 2009 ("Color correction for tone mapping") derive from the curve's
    slope. ``normalise``: contrasts of the brightest 0.1 % are not counted, with "max" they are, as in the paper. ``detail``:
    megapixels of the screen; larger pictures are seen reduced to that.
    """

    peak: float = 200.0
    black: float = 0.8
    reflectivity: float = 0.01
    ambient: float = 60.0
    density: float = 30.0
    enhancement: float = 1.0
    white: float = 0.0
    saturation: float = 1.0
    normalise: Normalise = "robust"
    detail: float = 2.0

    def __post_init__(self) -> None:
        check_range("peak", self.peak, 1, 20000, "200")
        check_range("black", self.black, 1e-6, self.peak / 2, "0.8")
        check_range("reflectivity", self.reflectivity, 0, 1, "0.01")
        check_range("ambient", self.ambient, 0, 2e5, "60")
        check_range("density", self.density, 1, 200, "30")
        check_range("enhancement", self.enhancement, 0.01, 100, "1")
        check_range("white", self.white, 0, 1e12, "0")
        check_range("saturation", self.saturation, 0, 4, "1")
        check_choice("normalise", self.normalise, Normalise)
        check_range("detail", self.detail, 1e-3, 400, "2")

    @property
    def reflected(self) -> float:
        """cd/m2 that the display shows where it is black."""
        return self.black + self.reflectivity / math.pi * self.ambient


@dataclass(frozen=True, eq=False)
class Curve:
    """State: display luminance and the exponent of colour ratios, both over luminance as tables.

    ``primaries``: None: Rec.709.
    """

    display: Table = field(repr=False)
    saturation: Table = field(repr=False)
    primaries: AnyPrimaries | None = None


@dataclass(frozen=True, eq=False)
class Density:
    """Contrasts of a picture: ``counts`` ``(bands, nodes, 2 _REACH + 1)``, of node i to node i + j - _REACH.

    ``nodes``: log10 of luminance. ``frequencies``: of the bands, cycles per degree.
    """

    counts: Doubles = field(repr=False)
    nodes: Doubles = field(repr=False)
    frequencies: Doubles = field(repr=False)


def prepare(scene: Scene, parameters: Parameters) -> Curve:
    """The tone curve for a scene and a display."""
    import numpy as np

    from hdrcli.tonemapping import _local
    from hdrcli.tonemapping._color import luminance
    from hdrcli.tonemapping._curves import steadied_table, tabulated

    light = _local.logs(scene, parameters.detail, parameters.normalise, of="light")
    values = light.values
    if parameters.normalise == "robust":
        # what the sun's disk is above the rest would count as a contrast to be kept
        brightest = extent_of(scene, luminance(scene.sample, scene.primaries))[1] or 1.0
        values = np.minimum(values, np.float32(math.log(brightest)))
    # a picture larger than the screen fills it, whatever the power of two that it is reduced by
    reduced = math.sqrt(values.size / (parameters.detail * 1e6)) if light.cell > 1 else 1.0
    density = counted(values / np.float32(math.log(10)), parameters.density * reduced)
    shown = curve(density, parameters)
    slope = np.append(np.maximum(np.diff(shown) / _STEP, 0), 0.0)
    corrected = parameters.saturation * saturation_for(slope)
    corrected[-1] = parameters.saturation
    lightest = parameters.peak - parameters.black

    def at(y: NDArray[Any], values: Doubles) -> NDArray[Any]:
        return np.asarray(np.interp(np.log10(y), density.nodes, values))

    def display(y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.clip((10 ** at(y, shown) - parameters.reflected) / lightest, 0, 1))

    # a curve has as many nodes as its frame has contrast: what a sequence smooths is the table
    tables = {"display": tabulated(display), "saturation": tabulated(lambda y: at(y, corrected))}
    shown_with, saturation = (steadied_table(scene, name, table) for name, table in tables.items())
    return Curve(shown_with, saturation, scene.primaries)


def apply(light: NDArray[Any], state: Curve, first: int = 0) -> Floats:
    """Luminance through the curve, colour ratios to the power that suits its slope."""
    import cv2
    import numpy as np

    from hdrcli.tonemapping._color import DARK, into_gamut, luminance

    y = luminance(light, state.primaries)
    display, saturation = state.display(y), state.saturation(y)
    lit = np.maximum(y, np.float32(DARK))
    channels = []
    for channel in cv2.split(light):
        ratio = np.asarray(cv2.log(np.maximum(channel.reshape(y.shape) / lit, np.float32(1e-9))), dtype=np.float32)
        ratio = ratio.reshape(y.shape)
        ratio *= saturation
        channels.append(np.asarray(cv2.exp(ratio), dtype=np.float32).reshape(y.shape) * display)
    rgb = np.asarray(cv2.merge(channels), dtype=np.float32).reshape(light.shape)
    rgb *= (y > 0)[..., None]
    return into_gamut(rgb, np.minimum(luminance(rgb, state.primaries), 1))


def saturation_for(slope: NDArray[Any]) -> NDArray[Any]:
    """The exponent that keeps colourfulness where contrast is multiplied by ``slope``: Mantiuk et al. 2009, eq. 5."""
    import numpy as np

    k1, k2 = 1.48, 0.82
    power = slope**k2
    return np.asarray((1 + k1) * power / (1 + k1 * power))


def counted(light: Floats, density: float) -> Density:
    """Contrasts of log10 luminance ``(h, w)``, seen at ``density`` pixels a degree, in octaves down to 3 cycles a degree."""
    import cv2
    import numpy as np

    top = float(light.max())
    count = min(_NODES, max(2, math.ceil((top - float(light.min())) / _STEP - 1e-3) + 1))
    nodes = top + _STEP * np.arange(1 - count, 1)
    frequencies = [0.5 * density / 2**band for band in range(_BANDS)]
    frequencies = frequencies[: next((i for i, f in enumerate(frequencies) if f <= _LOWEST), _BANDS - 1) + 1]
    width = 2 * _REACH + 1
    counts = np.zeros((len(frequencies), count, width))
    fine = light
    for band in range(len(frequencies)):
        taps = np.zeros(4 * 2**band + 1, np.float32)
        taps[:: 2**band] = _TAPS
        coarse = np.asarray(cv2.sepFilter2D(fine, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)
        coarse = coarse.reshape(light.shape)
        contrast = fine - coarse
        away = np.rint(contrast * np.float32(1 / _STEP))
        # what is visible, yet less than half a node, counts as one
        away += np.sign(contrast) * ((np.abs(contrast) > _VISIBLE) & (away == 0))
        node = np.rint((coarse - np.float32(nodes[0])) * np.float32(1 / _STEP))
        inside = (np.abs(away) <= _REACH) & (node >= 0) & (node < count)
        index = (node * width + away + _REACH)[inside].astype(np.intp)
        counts[band] = np.bincount(index, minlength=count * width).reshape(count, width)
        # luminances without contrast keep their order
        flat = counts[band][:, _REACH] > 0
        counts[band][flat, _REACH - 1] += 1
        counts[band][flat, _REACH + 1] += 1
        fine = coarse
    # pixels so unlike their surroundings that nothing was counted up to them are not part of the curve
    node, away = np.nonzero(counts.sum(axis=0))
    other = np.clip(node + away - _REACH, 0, count - 1)
    kept = slice(int(min(node.min(), other.min())), int(max(node.max(), other.max())) + 1)
    return Density(counts[:, kept], np.asarray(nodes[kept], dtype=np.float64), np.asarray(frequencies))


@dataclass(frozen=True, eq=False)
class _Contrasts:
    """Equations: each the contrast from node ``low`` to ``high``, ``weight`` times, seen at ``node`` in ``band``.

    ``gap``: nothing was counted from ``low`` to ``high``. ``none``: no contrast is wanted.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weight: Doubles
    node: NDArray[np.intp]
    band: NDArray[np.intp]
    gap: NDArray[np.bool_]
    none: NDArray[np.bool_]


def _equations(density: Density, white: float) -> _Contrasts:
    import numpy as np

    count = density.nodes.size
    band, node, away = np.nonzero(density.counts)
    other = node + away - _REACH
    used = (away != _REACH) & (other >= 0) & (other < count)
    band, node, away, other = band[used], node[used], away[used], other[used]
    weight = density.counts[band, node, away]
    low, high = np.minimum(node, other), np.maximum(node, other)
    anchored = _ANCHORED * max(float(weight.sum()), 1.0)
    covered = np.zeros(count, np.intp)  # by how many contrasts each interval is
    np.add.at(covered, low, 1)
    np.add.at(covered, high, -1)
    empty = np.concatenate([[False], np.cumsum(covered)[:-1] == 0, [False]])
    first, after = np.flatnonzero(empty[1:] & ~empty[:-1]), np.flatnonzero(~empty[1:] & empty[:-1])
    last = density.frequencies.size - 1
    gaps = zip(first.tolist(), after.tolist(), strict=True)
    extra = [(start, end, anchored, end, last, True, False) for start, end in gaps]
    if white > 0:
        start = int(np.clip(np.searchsorted(density.nodes, math.log10(white), side="right") - 1, 0, count - 2))
        extra.append((start, count - 1, anchored, start, 0, False, True))
    plain = np.zeros(low.size, bool)
    columns = zip((low, high, weight, node, band, plain, plain), range(7), strict=True)
    return _Contrasts(*(np.concatenate([part, np.array([row[i] for row in extra], part.dtype)]) for part, i in columns))


def curve(density: Density, parameters: Parameters) -> Doubles:
    """log10 of the luminance, cd/m2, that the display shows each node with, ``(nodes,)``, rising."""
    import numpy as np

    rows = _equations(density, parameters.white)
    darkest = math.log10(parameters.reflected)
    span = math.log10(parameters.reflected + parameters.peak - parameters.black) - darkest
    count = density.nodes.size - 1
    weight = rows.weight / rows.weight.sum()
    distance = density.nodes[rows.high] - density.nodes[rows.low]
    in_scene = sensitivity(density.frequencies, np.array(_ADAPTED))[rows.band]
    wanted = np.where(rows.none, 0.0, response(distance * parameters.enhancement, in_scene))
    # unknowns are the curve's rises from node to node; a gap has one, which its intervals share
    shares = np.zeros((count, count))
    index = 0
    while index < count:
        last = max([index + 1, *rows.high[(rows.low == index) & rows.gap]])
        shares[index:last, index] = 1 / (last - index)
        index = last
    shares = shares[:, shares.any(axis=0)]
    spans = (np.arange(count) >= rows.low[:, None]) & (np.arange(count) < rows.high[:, None])
    matrix = spans @ shares
    steps = np.full(matrix.shape[1], span / matrix.shape[1])
    for _ in range(_ROUNDS):
        shown = _heights(shares @ steps, darkest, span)
        contrast = matrix @ steps
        seen = sensitivity(density.frequencies[rows.band], 10 ** shown[rows.node])
        gain = response(contrast, seen) / np.where(contrast < 1e-4, 1.0, contrast)
        scaled = matrix * gain[:, None]
        weighted = scaled * weight[:, None]
        before, steps = steps, bounded_least_squares(scaled.T @ weighted, weighted.T @ wanted, span, steps)
        if np.abs(steps - before).max() < _STEP / 10:
            break
    return _heights(shares @ steps, darkest, span)


def _heights(steps: Doubles, darkest: float, span: float) -> Doubles:
    """Nodes from intervals; what of the display's range they leave is dark."""
    import numpy as np

    return np.asarray(darkest + span - steps.sum() + np.concatenate([[0.0], np.cumsum(steps)]))


def response(contrast: NDArray[Any], sensitivity: NDArray[Any]) -> NDArray[Any]:
    """The eye's to a contrast, log10 of a ratio >= 1, at a sensitivity: Wilson's transducer (1980), constants of the paper."""
    import numpy as np

    seen = sensitivity * (10**contrast - 1)
    return np.asarray(3.291 * ((1 + seen**3) ** (1 / 3) - 1) / (0.2599 * (3.433 + seen) ** 0.8))


def sensitivity(frequency: NDArray[Any], adapted: NDArray[Any]) -> NDArray[Any]:
    """Contrast sensitivity at cycles per degree, of an eye adapted to cd/m2: Daly 1993, "The visible differences predictor".

    For a picture of one square degree at half a metre.
    """
    import numpy as np

    a = 0.801 * (1 + 0.7 / adapted) ** -0.2
    b = 0.3 * (1 + 100 / adapted) ** 0.15

    def part(rho: NDArray[Any]) -> NDArray[Any]:
        steep = 0.9 * b * rho
        size = ((3.23 * rho**-0.6) ** 5 + 1) ** -0.2
        return np.asarray(size * a * 0.9 * rho * np.exp(-steep) * np.sqrt(1 + 0.06 * np.exp(steep)))

    return np.asarray(250 * np.minimum(part(frequency), part(frequency / (0.856 * 0.5**0.14))))


def bounded_least_squares(quadratic: Doubles, linear: Doubles, most: float, start: Doubles | None = None) -> Doubles:
    """The x >= 0 of sum <= ``most`` that makes x' Q x / 2 - q' x smallest, by the active set method.

    Nocedal and Wright 2006, Algorithm 16.3: solve with some x held at 0, and the sum at ``most`` or not; hold what would leave
    the bounds first, let go what pulls away from them most. ``start``: within the bounds.
    """
    import numpy as np

    count = linear.size
    scale = max(float(np.abs(quadratic).max()), 1e-300)
    quadratic, linear = quadratic / scale + _RIDGE * np.eye(count), linear / scale
    tolerance = 1e-12 * max(1.0, float(np.abs(linear).max()))
    x = np.full(count, most / (2 * count)) if start is None else start.copy()
    free, full = x > 0, False
    for _ in range(_EXCHANGES * count):
        size = int(free.sum())
        system = np.zeros((size + 1, size + 1))
        system[:size, :size] = quadratic[np.ix_(free, free)]
        system[size, :size] = system[:size, size] = full
        system[size, size] = not full
        solution = np.linalg.solve(system, np.append(linear[free], most * full))
        change = np.zeros(count)
        change[free] = solution[:size] - x[free]
        falling = free & (change < 0)
        reach = -x[falling] / change[falling]
        blocked = float(reach.min()) if reach.size else 1.0
        grown = float(change.sum())
        filled = (most - float(x.sum())) / grown if grown > 0 and not full else 1.0
        x += max(0.0, min(1.0, blocked, filled)) * change
        if blocked < 1 and blocked <= filled:
            held = np.flatnonzero(falling)[int(reach.argmin())]
            x[held], free[held] = 0.0, False
            continue
        if filled < 1:
            full = True
            continue
        pull = quadratic @ x - linear + solution[size] * full
        if full and solution[size] < -tolerance:
            full = False
        elif (~free).any() and float(pull[~free].min()) < -tolerance:
            free[np.flatnonzero(~free)[int(pull[~free].argmin())]] = True
        else:
            break
    return x
