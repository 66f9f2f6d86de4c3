"""Mantiuk, Myszkowski, Seidel 2006, "A perceptual framework for contrast processing of high dynamic range images".

Contrasts between neighbours at all levels of a pyramid are turned into responses of the eye by a transducer T, scaled (contrast
mapping) or equalised (contrast equalisation), and turned back; the tone is the picture whose contrasts come closest to all of
them in least squares, each weighted by the inverse of the contrast's discrimination threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, check_choice, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._local import Tones

    Floats = NDArray[np.float32]

SUMMARY = "scales perceived contrasts at all scales (Mantiuk, Myszkowski, Seidel 2006)"
LOCAL = True

_COARSEST = 3  # pixels, the shorter side of the pyramid's top
_THRESHOLD = (0.038737, 0.537756)  # a G^b: what can be told from a contrast G in log10 units
_STEP = (0.0392, 0.604)  # the same, and its least, from which follows what the authors tabulate as T, within 4 %
_SEEN = 0.00451
_WEIGHED = 0.001  # contrasts below weigh as much as this one
_STRONGEST = 8.0  # log10
_RANKED = 1 << 18  # responses that ranks are taken from, at least
_LN10 = 2.302585092994046


@dataclass(frozen=True)
class Parameters:
    """``factor``: of responses, 0..1; less makes small contrasts stand out more. ``equalise``: contrast equalisation instead.

    ``contrast``: of the display, brightest to darkest; 10^2.3 in the authors' code. ``white``, ``black``: percentages of pixels
    beyond that; ``normalise`` "max": none. ``saturation``: exponent of colour ratios. ``detail``: megapixels; larger
    pictures are solved on cells of 2, 4 ... pixels, see ``_local``. ``steps``: of the solver at most, ``tolerance``: of its
    residual, relative.
    """

    factor: float = 0.3
    equalise: bool = False
    contrast: float = 100.0
    white: float = 1.5
    black: float = 0.3
    normalise: Normalise = "robust"
    saturation: float = 0.8
    detail: float = 2.0
    steps: int = 100
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_range("factor", self.factor, 0.01, 1, "0.3")
        check_range("contrast", self.contrast, 1.1, 1e6, "100")
        check_range("white", self.white, 0, 40, "1.5")
        check_range("black", self.black, 0, 40, "0.3")
        check_choice("normalise", self.normalise, Normalise)
        check_range("saturation", self.saturation, 0, 4, "0.8")
        check_range("detail", self.detail, 1e-3, 400, "2")
        check_range("steps", self.steps, 1, 10000, "100")
        check_range("tolerance", self.tolerance, 1e-9, 1, "1e-3")


def prepare(scene: Scene, parameters: Parameters) -> Tones:
    """The tone of every cell, from contrasts at all scales."""
    from hdrcli.tonemapping import _local

    light = _local.logs(scene, parameters.detail, parameters.normalise)
    tone = mapped(light.values, parameters)
    tones = _local.toned(scene, light, tone, parameters.saturation, parameters.factor)
    return _local.placed(tones, scene, parameters.contrast, parameters.white, parameters.black, parameters.normalise)


def apply(light: NDArray[Any], state: Tones, first: int = 0) -> Floats:
    """Each pixel's luminance to its tone; colour kept to the power of ``saturation``."""
    from hdrcli.tonemapping import _local

    return _local.apply(light, state, first)


def mapped(light: Floats, parameters: Parameters) -> Floats:
    """The tone, up to an offset, of log luminance ``(h, w)``: natural logarithms."""
    import numpy as np

    levels = [light]
    while min(levels[-1].shape) // 2 >= _COARSEST:
        levels.append(_halved(levels[-1]))
    contrasts = [_contrasts(level) for level in levels]
    wanted = _equalised(contrasts, parameters.factor) if parameters.equalise else _scaled(contrasts, parameters.factor)
    weights = [(_weight(along), _weight(down)) for along, down in wanted]
    return solved(wanted, weights, np.asarray(light * np.float32(parameters.factor)), parameters.steps, parameters.tolerance)


def response(contrast: NDArray[Any]) -> NDArray[Any]:
    """T: just noticeable differences from no contrast to ``contrast``, log10 of a ratio of luminances >= 1.

    dT/dG = 1 / threshold, which is a power of the contrast above what is seen at all.
    """
    import numpy as np

    a, b = _STEP
    knee = (_SEEN / a) ** (1 / b)
    above = np.maximum(contrast, knee) ** (1 - b) - knee ** (1 - b)
    return np.asarray(np.minimum(contrast, knee) / _SEEN + above / (a * (1 - b)))


def contrast_of(seen: NDArray[Any]) -> NDArray[Any]:
    """The inverse of :func:`response`."""
    import numpy as np

    a, b = _STEP
    knee = (_SEEN / a) ** (1 / b)
    above = np.maximum(seen - knee / _SEEN, 0) * (a * (1 - b)) + knee ** (1 - b)
    return np.asarray(np.where(seen * _SEEN < knee, seen * _SEEN, above ** (1 / (1 - b))))


def _scaled(contrasts: list[tuple[Floats, Floats]], factor: float) -> list[tuple[Floats, Floats]]:
    """Contrast mapping: responses multiplied by ``factor``."""
    import numpy as np

    from hdrcli.tonemapping._curves import tabulated

    def gain(size: NDArray[Any]) -> NDArray[Any]:
        size = np.minimum(size / _LN10, _STRONGEST)
        return np.asarray(contrast_of(factor * response(size)) / size)

    table = tabulated(gain)
    return [(along * table(np.abs(along)), down * table(np.abs(down))) for along, down in contrasts]


def _equalised(contrasts: list[tuple[Floats, Floats]], factor: float) -> list[tuple[Floats, Floats]]:
    """Contrast equalisation: the size of a response becomes its rank among all, 0..1, times ``factor`` of the strongest."""
    import numpy as np

    strongest = factor * float(response(np.array(4.0)))
    responses, sizes = [], []
    for along, down in contrasts:
        # both contrasts of a pixel, 0 where it has no neighbour
        pair = (np.pad(along, ((0, 0), (0, 1))), np.pad(down, ((0, 1), (0, 0))))
        responses.append(tuple(np.sign(part) * response(np.abs(part) / _LN10) for part in pair))
        sizes.append(np.hypot(*responses[-1]))
    every = max(1, sum(size.size for size in sizes) // _RANKED)
    ranked = np.sort(np.concatenate([size.ravel() for size in sizes])[::every])
    shares = np.linspace(0, 1, ranked.size)
    result = []
    for (along, down), size in zip(responses, sizes, strict=True):
        scale = np.interp(size, ranked, shares) * strongest / np.maximum(size, 1e-9)
        parts = ((along * scale)[:, :-1], (down * scale)[:-1])
        across, below = (np.sign(part) * contrast_of(np.abs(part)) * _LN10 for part in parts)
        result.append((across.astype(np.float32), below.astype(np.float32)))
    return result


def _weight(contrast: Floats) -> Floats:
    """The inverse of the threshold at a contrast, in natural logarithms, up to a factor."""
    import numpy as np

    size = np.maximum(np.abs(contrast), np.float32(_WEIGHED * _LN10))
    return np.asarray(np.power(size, np.float32(-_THRESHOLD[1])), dtype=np.float32)


def _contrasts(level: Floats) -> tuple[Floats, Floats]:
    """To the right neighbour ``(h, w - 1)`` and to the one below ``(h - 1, w)``."""
    return level[:, 1:] - level[:, :-1], level[1:] - level[:-1]


def _halved(values: Floats) -> Floats:
    """Means of 2 x 2; odd sides are continued."""
    import cv2
    import numpy as np

    height, width = values.shape
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, dtype=np.float32).reshape(even.shape[0] // 2, -1)


def _doubled(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Four times the adjoint of :func:`_halved`: each value to 2 x 2, what continued odd sides added to their last ones."""
    import cv2
    import numpy as np

    wide = cv2.resize(values, (2 * values.shape[1], 2 * values.shape[0]), interpolation=cv2.INTER_NEAREST)
    twice = np.asarray(wide, dtype=np.float32).reshape(2 * values.shape[0], -1)
    if shape[0] % 2:
        twice[-2] += twice[-1]
    if shape[1] % 2:
        twice[:, -2] += twice[:, -1]
    return twice[: shape[0], : shape[1]]


def _gathered(flows: list[tuple[Floats, Floats]], shapes: list[tuple[int, ...]]) -> Floats:
    """Minus the divergence of contrasts on all levels, brought to the finest: the gradient of the sum of squares.

    A level has a quarter of the contrasts of the one below it, each of which counts four times as much.
    """
    import numpy as np

    total = np.zeros(shapes[-1], np.float32)
    for (along, down), shape in zip(reversed(flows), reversed(shapes), strict=True):
        if total.shape != shape:
            total = _doubled(total, shape)
        total[:, 1:] += along
        total[:, :-1] -= along
        total[1:] += down
        total[:-1] -= down
    return total


def solved(
    wanted: list[tuple[Floats, Floats]], weights: list[tuple[Floats, Floats]], start: Floats, steps: int, tolerance: float
) -> Floats:
    """The picture ``(h, w)`` whose contrasts on all levels come closest to ``wanted``, in least squares with ``weights``.

    By conjugate gradients from ``start`` on, preconditioned by the diagonal, until the residual is below ``tolerance`` times
    the right side, or after ``steps``. Its mean is that of ``start``.
    """
    import numpy as np

    shapes: list[tuple[int, ...]] = [(down.shape[0] + 1, along.shape[1] + 1) for along, down in wanted]

    def normal(x: Floats) -> Floats:
        flows = []
        level = x
        for index, (along, down) in enumerate(weights):
            if index:
                level = _halved(level)
            horizontal, vertical = _contrasts(level)
            horizontal *= along
            vertical *= down
            flows.append((horizontal, vertical))
        return _gathered(flows, shapes)

    right = _gathered([(a * p, d * q) for (a, d), (p, q) in zip(wanted, weights, strict=True)], shapes)
    inverse = 1 / np.maximum(_diagonal(weights, shapes), np.float32(1e-6))
    x = start.copy()
    residual = right - normal(x)
    enough = tolerance**2 * float(np.vdot(right, right))
    scaled = residual * inverse
    direction = scaled.copy()
    energy = float(np.vdot(residual, scaled))
    for _ in range(steps):
        if float(np.vdot(residual, residual)) <= enough:
            break
        image = normal(np.asarray(direction, dtype=np.float32))
        step = energy / float(np.vdot(direction, image))
        x += np.float32(step) * direction
        residual -= np.float32(step) * image
        np.multiply(residual, inverse, out=scaled)
        energy, before = float(np.vdot(residual, scaled)), energy
        direction *= np.float32(energy / before)
        direction += scaled
    return x


def _diagonal(weights: list[tuple[Floats, Floats]], shapes: list[tuple[int, ...]]) -> Floats:
    """The diagonal of the normal equations; on coarser levels that of means is a sixteenth, four times as much."""
    import numpy as np

    total = np.zeros(shapes[-1], np.float32)
    for (along, down), shape in zip(reversed(weights), reversed(shapes), strict=True):
        if total.shape != shape:
            total = _doubled(total, shape) * np.float32(0.25)
        total[:, 1:] += along
        total[:, :-1] += along
        total[1:] += down
        total[:-1] += down
    return total
