"""Durand and Dorsey 2002, "Fast bilateral filtering for the display of high-dynamic-range images".

Log luminance is split by a bilateral filter (eq. 5, Gaussians for f and g) into a base, whose contrast is reduced, and detail,
which is kept. The filter is the paper's fast one (Section 5): it is a linear filter for a pixel of given luminance, so it is
computed for a few luminances, on a reduced picture, and interpolated between them for each pixel of the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import BRIGHTEST, Normalise, check_choice, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._local import Logs

    Floats = NDArray[np.float32]

SUMMARY = "reduces the contrast of a bilateral base, keeps detail (Durand and Dorsey 2002)"
LOCAL = True

_CELLS = 3.0  # cells of the grid that the spatial sigma measures
_STEPS = 2.0  # luminances for each sigma of range
_MOST = 64  # luminances
_WEIGHTLESS = 1e-6  # share of a neighbourhood that is so unlike a luminance that this stands for itself
_WIDEST = 16384  # columns that OpenCV looks up at once


@dataclass(frozen=True)
class Parameters:
    """``space``: the paper's sigma_s, a share of the picture's longer side. ``range``: sigma_r, log10 of luminance.

    ``contrast``: brightest to darkest of the displayed base; 5 in the authors' code, which leaves pictures flat. ``white``,
    ``black``: percentages of pixels beyond it; ``normalise`` "max": none, as in the paper. ``saturation``: exponent of colour
    ratios. ``detail``: megapixels that the filter is computed on at most; what it gives is looked up for every pixel.
    """

    space: float = 0.02
    range: float = 0.4
    contrast: float = 40.0
    white: float = 2.0
    black: float = 0.5
    normalise: Normalise = "robust"
    saturation: float = 1.0
    detail: float = 2.0

    def __post_init__(self) -> None:
        check_range("space", self.space, 1e-4, 1, "0.02")
        check_range("range", self.range, 0.01, 10, "0.4")
        check_range("contrast", self.contrast, 1.1, 1e6, "40")
        check_range("white", self.white, 0, 40, "2")
        check_range("black", self.black, 0, 40, "0.5")
        check_choice("normalise", self.normalise, Normalise)
        check_range("saturation", self.saturation, 0, 4, "1")
        check_range("detail", self.detail, 1e-3, 400, "2")


@dataclass(frozen=True, eq=False)
class Bilateral:
    """A bilateral filter's result for every place and luminance.

    ``levels``: ``(n h, w) float32``, n grids of cells one below the other, one for each log luminance ``lowest`` + k ``step``.
    ``cell``: pixels of the picture that one of the grid stands for, each way.
    """

    levels: Floats = field(repr=False)
    count: int
    lowest: float
    step: float
    cell: int

    def __call__(self, light: Floats, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
        """The base of pixels: their log luminance ``(h, w)``, at some rows and columns of the picture."""
        import cv2
        import numpy as np

        height, width = self.levels.shape[0] // self.count, self.levels.shape[1]
        down = np.clip((rows + 0.5) / self.cell - 0.5, 0, height - 1).astype(np.float32)[:, None]
        across = np.clip((columns + 0.5) / self.cell - 0.5, 0, width - 1).astype(np.float32)
        way = (light - np.float32(self.lowest)) * np.float32(1 / self.step)
        np.clip(way, 0, self.count - 1, out=way)
        level = np.minimum(np.floor(way), np.float32(max(self.count - 2, 0)))
        way -= level
        level *= np.float32(height)
        level += down
        base = np.empty_like(light)
        for left in range(0, light.shape[1], _WIDEST):
            part = slice(left, left + _WIDEST)
            here = np.broadcast_to(across[part], level[:, part].shape)
            here, there = np.ascontiguousarray(here), np.ascontiguousarray(level[:, part])
            lower = cv2.remap(self.levels, here, there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            there += np.float32(height)
            upper = cv2.remap(self.levels, here, there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            base[:, part] = lower + way[:, part] * (upper - lower)
        return base


@dataclass(frozen=True, eq=False)
class Layers:
    """State: tone = log luminance - ``reduced`` * base + ``offset``. ``gain``: factor from the scene to what ``apply`` gets.

    ``primaries``: of the light; None: Rec.709.
    """

    bilateral: Bilateral
    reduced: float
    offset: float
    floor: float
    gain: float
    saturation: float
    peak: float
    primaries: AnyPrimaries | None = None


def prepare(scene: Scene, parameters: Parameters) -> Layers:
    """The bilateral filter of the scene, and the percentiles that its base's contrast comes from."""
    from hdrcli.tonemapping import _local

    light = _local.logs(scene, parameters.detail, parameters.normalise, of="middle")
    space = parameters.space * max(scene.height, scene.width)
    bilateral = filtered(light, space, parameters.range * math.log(10))
    sample = _local.sampled(scene, light.floor, parameters.normalise)
    ends = (0.0, 100.0) if parameters.normalise == "max" else (parameters.black, 100.0 - parameters.white)
    base = bilateral(sample.light, sample.rows, sample.columns)
    steady = scene.steady or (lambda name, value: value)
    low, high = sample.extent(base, *ends)
    low, high = steady("low", low), steady("high", high)
    display = math.log(parameters.contrast)
    kept = min(1.0, display / max(high - low, 1e-6))
    tone = sample.light - (1 - kept) * base
    # a scene of less contrast than the display keeps its own, around middle grey
    top = _local.MIDDLE * (1 - min(1.0, (high - low) / display)) + _local.exposed(scene, kept, 1.0, display)
    white = steady("white", sample.extent(tone, *ends)[1])
    above = max(steady("above", sample.extent(tone, 0, max(BRIGHTEST, ends[1]))[1]) - white, 0.0)
    floor, gain = light.floor * scene.exposure, scene.exposure
    saturation, peak = parameters.saturation, math.exp(above)
    return Layers(bilateral, 1 - kept, top - white, floor, gain, saturation, peak, scene.primaries)


def apply(light: NDArray[Any], state: Layers, first: int = 0) -> Floats:
    """Base reduced, detail kept, colour kept to the power of ``saturation``."""
    import numpy as np

    from hdrcli.tonemapping import _local
    from hdrcli.tonemapping._color import luminance

    y = luminance(light, state.primaries)
    logs = _local.logarithm(y, state.floor)
    logs -= np.float32(math.log(state.gain))
    base = state.bilateral(logs, np.arange(first, first + light.shape[0]), np.arange(light.shape[1]))
    base *= np.float32(-state.reduced)
    base += logs
    base += np.float32(state.offset)
    return _local.displayed(light, y, base, state.floor, state.saturation, state.peak, state.primaries)


def filtered(light: Logs, space: float, spread: float) -> Bilateral:
    """The bilateral filter of log luminance: ``space`` pixels and ``spread`` nepers are the standard deviations of f and g.

    Pixels beyond the borders have no weight.
    """
    import cv2
    import numpy as np

    from hdrcli.parallel import each

    values = light.values
    low, high = float(values.min()), float(values.max())
    count = min(_MOST, max(2, math.ceil((high - low) / spread * _STEPS) + 1))
    step = max(high - low, 1e-6) / (count - 1)
    block = max(1, int(space / light.cell / _CELLS))
    height, width = -(-values.shape[0] // block), -(-values.shape[1] // block)
    missing = (height * block - values.shape[0], width * block - values.shape[1])
    # averaging over blocks and interpolating between them blur as well: variances 1/12 and 1/6 of a block
    sigma = space / (light.cell * block)
    sigma = math.sqrt(max(sigma**2 - (0.25 if block > 1 else 0.0), 0.01))
    levels = np.empty((count * height, width), np.float32)

    def work(k: int) -> None:
        level = low + k * step
        away = values - np.float32(level)
        weight = np.asarray(cv2.exp(away * away * np.float32(-0.5 / spread**2)), dtype=np.float32).reshape(values.shape)
        away *= weight
        sums = []
        for part in (weight, away):
            whole = cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT, value=0)
            means = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width)
            sums.append(cv2.GaussianBlur(means, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT).reshape(height, width))
        levels[k * height : (k + 1) * height] = np.float32(level) + sums[1] / (sums[0] + np.float32(_WEIGHTLESS))

    each(work, range(count))
    return Bilateral(levels, count, low, step, light.cell * block)
