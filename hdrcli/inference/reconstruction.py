"""What a generator says at working resolution, blended into the photo at full resolution.

Promise 1, per channel with code value v: out = (1 - a) lin(v) + a max(lin(v), reconstruction), a = smoothstep(0.94, 0.99, v).
Only pixels with a > 0 in some channel ("lost" pixels) are touched at all; the rest is one table look-up.

How the reconstruction of a lost pixel comes from the coarse grid, all in log2:

1. The grid holds what the generator says about *lost* light. It is smoothed with weights proportional to the lost share of
   each cell, so that cells in which nothing was lost (the wall beside the lamp) have no say: no dark rims, no halos.
2. Of most lost pixels a channel survived. Its departure from the (equally weighted) local mean of lost pixels, in stops, is
   added to the channels that clipped: texture and edges of the sky or the wall come from the survivors at full resolution.

Everything is computed row by row from global coarse grids, so strips equal the whole.

The left and right border of an equirectangular panorama are neighbours: the generator sees the photo continued at both sides,
and every filter on the coarse grids reaches across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import STOPS_FLOOR, AnyPrimaries, Primaries, Transfer, conversion_matrix, decode, decoding_table, encode
from hdrcli.errors import MismatchError
from hdrcli.image import FLOAT_MAX, HALF_MAX, brightest_channel, look_up
from hdrcli.inference.generator import Floats, Generator, from_t
from hdrcli.inference.seam import closed, continued, margin_of
from hdrcli.inference.working import (
    BLEND_LOW,
    blend_table,
    clip_map,
    lost_share,
    working_codes,
    working_shape,
)
from hdrcli.parallel import each, in_turn

STRIP_ROWS = 128
DETAIL_LIMIT = 1.5  # stops of texture that survivors may lend to clipped channels
_TRACE = 1e-5
_CALM_LEVEL, _CALM_COLOUR = 4, 8  # radii in cells
_CALM_CONTRAST = 0.5  # of codes, within the smaller radius; from half of it on the answer is less and less calmed
_CALM_REACH = 2 * _CALM_COLOUR + 5  # cells: as far as something reaches in _calm, and after it in _smooth

T = TypeVar("T")


@dataclass(frozen=True)
class Reconstruction:
    """How to reconstruct.

    ``whole``: False ("highlights") keeps measured channels as they are; True ("all") takes the generator's output for them too.
    ``peak_stops``: nothing is reconstructed brighter than this many stops above LDR white; None: the generator's peak.
    ``strength``: 0 (linearised input) .. 1 (all of it), in stops. ``gain``: factor on everything at the end (2^ev).
    """

    whole: bool = False
    peak_stops: float | None = None
    strength: float = 1.0
    gain: float = 1.0


@dataclass(frozen=True, eq=False)
class Coarse:
    """A generator's answer to one photo, ``(h, w, 3)`` each: ``stops`` (log2 radiance), ``codes`` (sRGB), ``share`` (lost).

    ``peak_stops``: log2 of the brightest it can say. ``around``: the first column is the neighbour of the last (a panorama).
    """

    stops: Floats
    codes: Floats
    share: Floats
    peak_stops: float
    around: bool = False

    def continued(self, cells: int) -> Coarse:
        """With this many more columns at each side, taken from the other side; a photo that is no panorama stays as it is."""
        if not self.around:
            return self
        stops, codes, share = (continued(grid, cells) for grid in (self.stops, self.codes, self.share))
        return replace(self, stops=stops, codes=codes, share=share)


def ask(
    generator: Generator,
    codes: NDArray[Any],
    transfer: Transfer,
    primaries: AnyPrimaries = Primaries.BT709,
    *,
    stored: NDArray[Any] | None = None,
    equirect: bool = False,
) -> Coarse:
    """Show the whole photo, ``(H, W, 3)`` uint8|uint16, to the generator at its working resolution.

    Generators speak Rec.709: a photo of other primaries is converted for it, and its answer converted back. ``stored``: the
    codes as they stand in the file, where ``codes`` were converted from them (same shape; uint8 or uint16): they say what
    clipped. ``equirect``: the photo is an equirectangular panorama, shown with its borders continued.
    """
    spec = generator.spec
    shape = working_shape(codes.shape[0], codes.shape[1], spec.working_size, spec.multiple)
    share = lost_share(codes if stored is None else stored, shape)
    ldr = working_codes(codes, transfer, shape)
    grids = {"ldr": _in_primaries(ldr, primaries, Primaries.BT709), "clip": clip_map(share)}
    margin = margin_of(shape[1], spec.multiple) if equirect else 0
    if margin:
        grids = {name: continued(grid, margin) for name, grid in grids.items()}
    t = generator({name: np.ascontiguousarray(grids[name].transpose(2, 0, 1)[None]) for name in spec.inputs})
    y = np.maximum(from_t(t[0].transpose(1, 2, 0), spec.peak) @ _matrix(Primaries.BT709, primaries), 0)
    stops = closed(np.log2(np.minimum(y, spec.peak) + np.float32(STOPS_FLOOR)), margin)
    if (ldr == ldr[..., :1]).all():  # a grey photo stays grey
        stops = np.repeat(stops.mean(axis=2, keepdims=True), 3, axis=2)
    return Coarse(stops, ldr, share, math.log2(spec.peak), equirect)


def _matrix(source: AnyPrimaries, target: AnyPrimaries) -> Floats:
    return conversion_matrix(source, target).T.astype(np.float32)


def _in_primaries(srgb_codes: Floats, source: AnyPrimaries, target: AnyPrimaries) -> Floats:
    """sRGB-encoded codes of other primaries, cut to [0, 1]."""
    if source == target:
        return srgb_codes
    light = decode(srgb_codes, Transfer.SRGB) @ _matrix(source, target)
    return np.clip(encode(light, Transfer.SRGB), 0, 1)


def reconstruct(
    codes: NDArray[Any],
    transfer: Transfer,
    coarse: Coarse,
    settings: Reconstruction,
    dtype: np.dtype[Any] | type = np.float32,
    *,
    stored: NDArray[Any] | None = None,
    convert: Callable[[Floats], Floats] | None = None,
) -> NDArray[Any]:
    """The photo with its light back: ``(H, W, 3)`` uint8|uint16 -> ``(H, W, 3)`` float16|float32, scene-linear, 1 = LDR white.

    ``stored`` as in :func:`ask`: which pixels are lost, and how much, it says; their light comes from ``codes``. ``convert``:
    what becomes of each strip of light, ``(h, W, 3) float32``, before it is rounded (to other primaries). Raises MismatchError
    for codes of another type. float16 is rounded once, from float32, and stays finite (at most 65504).
    """
    stored = codes if stored is None else stored
    for values in (codes, stored):
        if values.dtype not in (np.uint8, np.uint16):
            raise MismatchError(f"a photo has uint8 or uint16 codes, not {values.dtype}")
    if stored.shape != codes.shape:
        raise MismatchError(f"stored codes have shape {stored.shape}, the photo {codes.shape}")
    dtype = np.dtype(dtype)
    limit = np.float32(HALF_MAX if dtype == np.float16 else FLOAT_MAX)
    gain = np.float32(settings.gain)
    linear = decoding_table(transfer, int(np.iinfo(codes.dtype).max) + 1)
    peak_stops = np.float32(min(coarse.peak_stops, math.inf if settings.peak_stops is None else settings.peak_stops))
    # light that is converted is rounded after that; else the table holds it as it shall be stored
    table = linear * gain if convert is not None else np.minimum(linear * gain, limit).astype(dtype)
    response = _response_grids(coarse) if settings.whole and settings.strength > 0 else None
    lost = None if settings.strength == 0 else _Lost.find(stored)
    log_linear = np.log2(linear + np.float32(STOPS_FLOOR))
    grids = None if lost is None else _highlight_grids(codes, log_linear, coarse, lost)
    blend = blend_table(int(np.iinfo(stored.dtype).max) + 1)
    out = np.empty(codes.shape, dtype)

    def respond(part: NDArray[Any], first: int, last: int) -> None:
        assert response is not None
        light = look_up(linear, codes[first:last])
        measured = np.minimum(_apply_response(light, response, codes.shape, first, last), np.exp2(peak_stops))
        part[:] = np.minimum(mixed(light, measured, settings.strength) * gain, limit)

    def mend(part: NDArray[Any], first: int, last: int) -> None:
        assert lost is not None
        assert grids is not None
        index = lost.pixels(first, last)
        said_seen = grids.at(codes.shape, first, last, index).T
        v = codes[first:last].reshape(-1, 3)[index].T
        weight = blend[v if stored is codes else stored[first:last].reshape(-1, 3)[index].T]
        light = linear[v]
        # brighter survivors are less noisy; what is itself about to clip has no say
        say = (1 - weight) * light
        stops = said_seen[:3] + _lent_stops(say, say * log_linear[v], said_seen[3:])
        target = part.reshape(-1, 3)
        base = target[index].T.astype(np.float32) / gain if settings.whole else light
        reconstructed = np.maximum(np.exp2(np.minimum(stops, peak_stops)) - np.float32(STOPS_FLOOR), 0)
        said = mixed(base, reconstructed, settings.strength)
        result = base + weight * np.maximum(said - base, 0)
        target[index] = np.minimum(result * gain, limit).T

    busy = frozenset() if lost is None else frozenset(lost.strips())

    def work(strip: tuple[int, int]) -> None:
        first, last = strip
        part = look_up(table, codes[first:last])
        if response is not None:
            respond(part, first, last)
        if strip in busy:
            mend(part, first, last)
        out[first:last] = part if convert is None else np.clip(convert(part), -limit, limit)

    each(work, _strips(codes.shape[0]))
    return out


def mixed(low: Floats, high: Floats, strength: float) -> Floats:
    """From ``low`` (strength 0) to ``high`` (strength 1), even in stops; the ends come out exactly."""
    if strength in (0, 1):
        return high if strength else low
    low_stops, high_stops = (np.log2(x + np.float32(STOPS_FLOOR)) for x in (low, high))
    between = np.exp2(low_stops + np.float32(strength) * (high_stops - low_stops)) - np.float32(STOPS_FLOOR)
    return np.asarray(np.clip(between, np.minimum(low, high), np.maximum(low, high)), dtype=np.float32)


def confidence(codes: NDArray[Any]) -> Floats:
    """Per pixel the largest blend weight of its channels: ``(H, W) float32``, 0 = measured, 1 = reconstructed."""
    blend = blend_table(int(np.iinfo(codes.dtype).max) + 1)
    return np.asarray(blend[brightest_channel(codes)])


def _strips(rows: int) -> Iterator[tuple[int, int]]:
    for first in range(0, rows, STRIP_ROWS):
        yield first, min(first + STRIP_ROWS, rows)


@dataclass(frozen=True, eq=False)
class _Lost:
    """Which pixels of a photo are lost, by its stored ``codes``: from which one on, and in which strips there are any."""

    codes: NDArray[Any]
    threshold: int
    busy: tuple[bool, ...]

    @classmethod
    def find(cls, codes: NDArray[Any]) -> _Lost | None:
        # the first code with a blend weight above 0
        threshold = math.floor(BLEND_LOW * float(np.iinfo(codes.dtype).max)) + 1
        busy = tuple(bool(codes[first:last].max() >= threshold) for first, last in _strips(codes.shape[0]))
        return cls(codes, threshold, busy) if any(busy) else None

    def strips(self) -> Iterator[tuple[int, int]]:
        return (strip for strip, busy in zip(_strips(self.codes.shape[0]), self.busy, strict=True) if busy)

    def pixels(self, first: int, last: int) -> NDArray[np.intp]:
        """Positions, counted within the strip, of the pixels with a lost channel."""
        return np.flatnonzero(brightest_channel(self.codes[first:last]) >= self.threshold)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Coarse values over the whole photo, ``(h, w, c)``, to be interpolated linearly.

    ``margin``: so many columns at each side lie beyond the photo's border.
    """

    values: Floats
    margin: int = 0

    def _rows(self, rows: int, first: int, last: int) -> Floats:
        """Interpolated along the vertical only: ``(last - first, w, c)``."""
        low, t = _between(self.values.shape[0], rows, first, last)
        high = np.minimum(low + 1, self.values.shape[0] - 1)
        way = t[:, None, None]
        return np.asarray(self.values[low] * (1 - way) + self.values[high] * way)

    def strip(self, shape: tuple[int, ...], first: int, last: int) -> Floats:
        """At every pixel of rows first..last: ``(last - first, W, c)``."""
        import cv2

        rows = self._rows(shape[0], first, last)
        if self.margin:  # OpenCV knows no cells beyond the border
            low, t = _between(rows.shape[1], shape[1], 0, shape[1], self.margin)
            left = rows[:, low]
            return np.asarray(left + t[:, None] * (rows[:, low + 1] - left))
        wide = cv2.resize(rows, (shape[1], last - first), interpolation=cv2.INTER_LINEAR)
        return np.asarray(wide, dtype=np.float32).reshape(last - first, shape[1], -1)

    def at(self, shape: tuple[int, ...], first: int, last: int, index: NDArray[np.intp]) -> Floats:
        """At some pixels of the strip: ``(n, c)``."""
        rows = self._rows(shape[0], first, last)
        low, t = _between(rows.shape[1], shape[1], 0, shape[1], self.margin)
        y, x = np.divmod(index, shape[1])
        place = y * rows.shape[1] + low[x]
        flat = rows.reshape(-1, rows.shape[2])
        left = flat[place]
        right: Floats = flat[np.minimum(place + 1, len(flat) - 1)]  # on a grid one cell wide the way is 0
        right -= left
        right *= t[x][:, None]
        right += left
        return right


def _between(cells: int, size: int, first: int, last: int, margin: int = 0) -> tuple[NDArray[np.int64], Floats]:
    """Where pixels first..last of an axis of ``size`` lie among ``cells`` grid points: the lower one, the way to the next."""
    position = np.clip((np.arange(first, last) + 0.5) * (cells - 2 * margin) / size - 0.5 + margin, 0, cells - 1)
    low = np.minimum(position.astype(np.int64), max(cells - 2, 0))
    return low, (position - low).astype(np.float32)


def _highlight_grids(codes: NDArray[Any], log_linear: Floats, coarse: Coarse, lost: _Lost) -> _Grid:
    """What to interpolate at lost pixels, ``(h', w', 6)``: the generator's log2 radiance, and the mean log2 of lost pixels.

    Both are means with weights (lost share, number of lost pixels), blurred together with their weights: a cell in which
    nothing was lost takes over what its neighbours say.
    """
    height, width = coarse.stops.shape[:2]
    rows, columns = codes.shape[:2]
    column_cell = np.arange(columns) * width // columns
    totals = np.zeros((4, height * width))

    def gather(strip: tuple[int, int]) -> tuple[int, list[NDArray[Any]]]:
        first, last = strip
        index = lost.pixels(first, last)
        y, x = np.divmod(index, columns)
        start = first * height // rows * width
        cell = ((y + first) * height // rows) * width + column_cell[x] - start
        v = codes[first:last].reshape(-1, 3)[index]
        return start, [np.bincount(cell), *(np.bincount(cell, log_linear[v[:, c]]) for c in range(3))]

    for start, sums in in_turn(gather, lost.strips()):
        for total, part in zip(totals, sums, strict=True):
            total[start : start + len(part)] += part
    # a trace of weight everywhere: far from any lost pixel the value does not matter, but it must be finite
    per_cell = rows * columns / (height * width)
    weight = (totals[0] / per_cell + _TRACE).reshape(height, width, 1).astype(np.float32)
    stops = (totals[1:] / per_cell).T.reshape(height, width, 3).astype(np.float32)
    factor = max(1, min(4, rows // height, columns // width))
    if coarse.around:
        weight, stops = continued(weight, _CALM_REACH), continued(stops, _CALM_REACH)
        coarse = coarse.continued(_CALM_REACH)
    # squared: what is said of a cell that lost little is mostly about its surroundings, and would dim the rims of windows
    share = (coarse.share + np.float32(_TRACE)) ** 2
    said = _smooth(_calm(coarse) * share, factor) / _smooth(share, factor)
    seen = _smooth(stops, factor) / _smooth(weight, factor)
    grid = np.asarray(np.concatenate([said, seen], axis=2), dtype=np.float32)
    return _trimmed(grid, _CALM_REACH * factor) if coarse.around else _Grid(grid)


def _trimmed(grid: Floats, margin: int) -> _Grid:
    """A grid with ``margin`` columns beyond the border at each side, of which interpolation needs one."""
    return _Grid(np.ascontiguousarray(grid[:, margin - 1 : grid.shape[1] - margin + 1]), 1)


def _smooth(grid: Floats, factor: int) -> Floats:
    """Refine a coarse grid and round its kinks, so that linear interpolation from there shows no facets."""
    import cv2

    height, width = grid.shape[:2]
    fine = cv2.resize(grid, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(fine, (0, 0), max(factor / 2, 0.7), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32).reshape(height * factor, width * factor, -1)


def _lent_stops(say: Floats, said_by: Floats, seen: Floats) -> Floats:
    """The texture that surviving channels lend, in stops, ``(n,)``: their mean departure from what was seen around them.

    ``say``: weight of each channel, ``said_by``: weight times its log2, ``seen``: local mean log2 of lost pixels, ``(3, n)``.
    """
    departure = said_by - say * seen
    lent = (departure[0] + departure[1] + departure[2]) / (say[0] + say[1] + say[2] + np.float32(0.05))
    return np.asarray(np.float32(DETAIL_LIMIT) * np.tanh(lent / np.float32(DETAIL_LIMIT)))


def _guided(guide: Floats, values: Floats, radius: int, epsilon: float, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Local linear models values = slope * guide + offset, each cell's averaged over the windows that hold it.

    He, Sun, Tang 2010, "Guided image filtering", eq. 5, 6, 8, with weights; all ``(h, w, c)``. ``epsilon`` is in units of the
    guide squared: edges of the guide well below its root are smoothed over.
    """
    import cv2

    def mean(x: NDArray[Any]) -> Floats:
        size = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT), dtype=np.float32).reshape(x.shape)

    def weighted(x: NDArray[Any]) -> Floats:
        return mean(x) if weight is None else mean(weight * x) / total

    total = np.float32(1) if weight is None else mean(weight)
    guide_mean, value_mean = weighted(guide), weighted(values)
    covariance = weighted(guide * values) - guide_mean * value_mean
    variance = np.maximum(weighted(guide * guide) - guide_mean**2, 0)
    slope = covariance / (variance + np.float32(epsilon))
    return mean(slope), mean(value_mean - slope * guide_mean)


def _calm(coarse: Coarse) -> Floats:
    """The generator's log2 radiance without edges and spots of colour where the photo itself is smooth, ``(h, w, 3)``.

    A guided filter with the photo as guide, the colour (departure from the channels' mean) wider than the brightness, so that
    a sky that clips smoothly does not get an island with a rim. It acts only where the photo is smooth all around: lamps, and
    windows near their frames, keep what was said of them. A cell that lost anything counts as white there, since a lamp much
    smaller than a cell hardly shows in the cell's mean.
    """
    import cv2

    level = coarse.stops.mean(axis=2, keepdims=True)
    grey = coarse.codes.mean(axis=2, keepdims=True)
    slope, offset = _guided(grey, level, _CALM_LEVEL, 1e-3)
    calm_level = slope * grey + offset
    slope, offset = _guided(coarse.codes, coarse.stops - level, _CALM_COLOUR, 2e-3)
    colour = slope * coarse.codes + offset
    calm = calm_level + colour - colour.mean(axis=2, keepdims=True)
    lit = np.where(coarse.share > _TRACE, np.float32(1), coarse.codes).max(axis=2)
    window = np.ones((2 * _CALM_LEVEL + 1, 2 * _CALM_LEVEL + 1), np.uint8)
    contrast = cv2.blur(cv2.dilate(lit, window) - cv2.erode(lit, window), (3, 3))
    smooth = np.clip((_CALM_CONTRAST - contrast) / _CALM_CONTRAST * 2, 0, 1)[..., None]
    return np.asarray(coarse.stops + smooth * (calm - coarse.stops), dtype=np.float32)


def _response_grids(coarse: Coarse) -> tuple[_Grid, _Grid]:
    """Local linear models, in stops, of what the generator did to measured channels: change = slope * input + offset.

    A fast guided filter (He & Sun 2015, "Fast guided filter") whose guide is the input itself, weighted by the measured share:
    edges of the input stay edges of the output at full resolution.
    """
    radius = max(coarse.stops.shape[:2]) // 12
    margin = 2 * radius + 1
    coarse = coarse.continued(margin)
    x = np.log2(decoding_table(Transfer.SRGB, 4096)[np.rint(coarse.codes * 4095).astype(np.int64)] + np.float32(STOPS_FLOOR))
    weight: Floats = np.asarray(np.maximum(1 - coarse.share * 4, np.float32(1e-3)), dtype=np.float32)
    slope, offset = _guided(x, coarse.stops - x, radius, 0.25, weight)
    if coarse.around:
        return _trimmed(slope, margin), _trimmed(offset, margin)
    return _Grid(slope), _Grid(offset)


def _apply_response(light: Floats, response: tuple[_Grid, _Grid], shape: tuple[int, ...], first: int, last: int) -> Floats:
    slope, offset = (grid.strip(shape, first, last) for grid in response)
    x = np.log2(light + np.float32(STOPS_FLOOR))
    return np.asarray(np.maximum(np.exp2(x + slope * x + offset) - np.float32(STOPS_FLOOR), 0), dtype=np.float32)
