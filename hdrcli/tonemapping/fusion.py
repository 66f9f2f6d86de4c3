"""Mertens, Kautz, Van Reeth 2007, "Exposure fusion", of virtual brackets: LDR pictures of the scene at several exposures.

Each pixel of each bracket is weighted by contrast, saturation and how well it is exposed (eq. 1); brackets are blended on the
levels of Laplacian pyramids, weights on those of Gaussian ones (eq. 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, check_choice, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

    Floats = NDArray[np.float32]

SUMMARY = "fuses virtual brackets (Mertens, Kautz, Van Reeth 2007)"
LOCAL = True

_SPREAD = 0.2  # sigma of how well a code is exposed
_DARK, _BRIGHT = 0.18, 0.5  # display light that the longest bracket gives the shadows, and the shortest the highlights
_MOST = 9  # brackets
_CONTRAST = math.log(64)  # of fused pictures
_UNTOLD = 1e-3  # of codes: less contrast or colour is told from none by noise alone, and weighs as this much
_NOTHING = 1e-12
_LN2 = math.log(2)


@dataclass(frozen=True)
class Parameters:
    """``spacing``: stops from bracket to bracket. ``white``, ``black``: percentages of pixels that no bracket need expose well.

    ``normalise`` "max": none. ``contrast``, ``colour``, ``exposure``: the paper's exponents w_C, w_S and w_E. ``detail``:
    megapixels; of larger pictures weights and coarse levels are found on cells of 2, 4 ... pixels.
    """

    spacing: float = 2.0
    white: float = 0.5
    black: float = 2.0
    normalise: Normalise = "robust"
    contrast: float = 1.0
    colour: float = 1.0
    exposure: float = 1.0
    detail: float = 2.0

    def __post_init__(self) -> None:
        check_range("spacing", self.spacing, 0.25, 8, "2")
        check_range("white", self.white, 0, 40, "0.5")
        check_range("black", self.black, 0, 40, "2")
        check_choice("normalise", self.normalise, Normalise)
        check_range("contrast", self.contrast, 0, 10, "1")
        check_range("colour", self.colour, 0, 10, "1")
        check_range("exposure", self.exposure, 0, 10, "1")
        check_range("detail", self.detail, 1e-3, 400, "2")


@dataclass(frozen=True, eq=False)
class Fused:
    """State: codes = ``rest`` + sum of ``weights`` times the brackets' codes, each channel.

    ``rest``: ``(h, w, 3) float32`` a cell of ``cell`` x ``cell`` pixels. ``weights``: ``(h, w)`` for each bracket; none where
    cells are pixels, and ``rest`` is the result. ``brackets``: a bracket's codes over light. ``gain``: of display light, for
    the exposure that the user asks for.
    """

    rest: Floats = field(repr=False)
    weights: tuple[Floats, ...] = field(repr=False)
    brackets: tuple[Table, ...] = field(repr=False)
    cell: int
    gain: float


def prepare(scene: Scene, parameters: Parameters) -> Fused:
    """The fused brackets; of a large picture reduced to cells, and the weight of each bracket there."""
    import numpy as np

    from hdrcli.color import Transfer, encode
    from hdrcli.tonemapping import _local
    from hdrcli.tonemapping._curves import tabulated

    cell = _local.cell_for(scene, parameters.detail)
    light = _local.colours(scene, cell)
    factors = exposures(scene, parameters)
    weights: list[Floats] = []

    def bracket(index: int) -> Floats:
        return encode(np.minimum(light * np.float32(factors[index]), 1), Transfer.SRGB)

    exponents = (parameters.contrast, parameters.colour, parameters.exposure)
    fused = blended(bracket, len(factors), *exponents, weights)
    # one more stop of light is as much less on the display as the scene has more contrast than that
    contrast = math.log(factors[-1] / factors[0]) + math.log(_BRIGHT / _DARK)
    gain = math.exp(_local.exposed(scene, min(_CONTRAST, contrast), contrast, _CONTRAST))
    if cell == 1:
        return Fused(fused, (), (), cell, gain)
    for index, weight in enumerate(weights):
        weights[index] = weight = _local.box(weight)
        fused -= weight[..., None] * bracket(index)
    curves = (tabulated(partial(_codes, factor / scene.exposure)) for factor in factors)
    return Fused(fused, tuple(weights), tuple(curves), cell, gain)


def _codes(factor: float, light: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    from hdrcli.color import Transfer, encode

    return encode(np.minimum(light * factor, 1), Transfer.SRGB)


def apply(light: NDArray[Any], state: Fused, first: int = 0) -> Floats:
    """Each channel's codes in the brackets, blended as the surroundings are."""
    import numpy as np

    from hdrcli.color import Transfer, decode
    from hdrcli.tonemapping import _local
    from hdrcli.tonemapping._color import multiplied

    last = first + light.shape[0]
    if state.cell == 1:
        codes = state.rest[first:last]
    else:
        codes = _local.enlarged(state.rest, state.cell, first, last, light.shape[1])
        for grid, curve in zip(state.weights, state.brackets, strict=True):
            weight = _local.enlarged(grid, state.cell, first, last, light.shape[1])
            codes += multiplied(curve(light), weight)
    return np.clip(decode(np.clip(codes, 0, 1), Transfer.SRGB) * np.float32(state.gain), 0, 1)


def exposures(scene: Scene, parameters: Parameters) -> list[float]:
    """Factors from a scene's light to display light, from the shortest bracket to the longest, evenly spaced in stops."""
    import numpy as np

    from hdrcli.tonemapping import _local

    sample = _local.sampled(scene, normalise=parameters.normalise)
    ends = (0.0, 100.0) if parameters.normalise == "max" else (parameters.black, 100.0 - parameters.white)
    darkest, brightest = sample.extent(sample.light, *ends)
    shortest, longest = (math.log2(_BRIGHT) - brightest / _LN2, math.log2(_DARK) - darkest / _LN2)
    if longest <= shortest:
        return [2 ** ((longest + shortest) / 2)]
    count = min(_MOST, math.ceil((longest - shortest) / parameters.spacing) + 1)
    return [float(factor) for factor in 2 ** np.linspace(shortest, longest, count)]


def blended(
    bracket: Callable[[int], Floats],
    count: int,
    contrast: float,
    colour: float,
    exposure: float,
    used: list[Floats] | None = None,
    least: float = _UNTOLD,
) -> Floats:
    """The fused picture, ``(h, w, 3)``, of brackets 0 to ``count`` - 1, codes ``(h, w, 3)`` in [0, 1]; it may leave [0, 1].

    ``contrast``, ``colour``, ``exposure``: exponents of the weights; 1, 1, 0 is what OpenCV's MergeMertens does by default.
    ``used``: gets the brackets' weights, of sum 1 in each pixel. ``least``: contrast and colour that weigh at least; 0 is the
    paper.
    """
    import cv2
    import numpy as np

    weights = [_weight(bracket(index), contrast, colour, exposure, least) for index in range(count)]
    total = np.sum(weights, axis=0)
    height, width = total.shape
    depth = int(math.log2(min(height, width)))
    result: list[Floats] = []
    for index, weight in enumerate(weights):
        weight /= total
        if used is not None:
            used.append(weight)
        fine = bracket(index)
        for level in range(depth + 1):
            rest = fine
            if level < depth:
                coarse = np.asarray(cv2.pyrDown(fine), dtype=np.float32)
                rest = fine - cv2.pyrUp(coarse, dstsize=(fine.shape[1], fine.shape[0]))
                fine = coarse
            part = rest * weight[..., None]
            if index == 0:
                result.append(part)
            else:
                result[level] += part
            if level < depth:
                weight = np.asarray(cv2.pyrDown(weight), dtype=np.float32).reshape(fine.shape[:2])
    fused = result.pop()
    while result:
        finer = result.pop()
        fused = finer + cv2.pyrUp(fused, dstsize=(finer.shape[1], finer.shape[0]))
    return np.asarray(fused, dtype=np.float32)


def _weight(codes: Floats, contrast: float, colour: float, exposure: float, least: float) -> Floats:
    """eq. 1, ``(h, w)``: |Laplacian| of grey, spread of the channels, a Gaussian of each channel around 0.5."""
    import cv2
    import numpy as np

    shape = codes.shape[:2]
    weight = np.ones(shape, np.float32)
    if contrast > 0:
        grey = cv2.cvtColor(codes, cv2.COLOR_RGB2GRAY).reshape(shape)
        edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F)).reshape(shape)
        weight *= np.maximum(edges, np.float32(least)) ** contrast
    if colour > 0:
        away = codes - codes.mean(axis=2, keepdims=True)
        weight *= np.maximum(np.sqrt(np.sum(away * away, axis=2)), np.float32(least)) ** colour
    if exposure > 0:
        away = codes - np.float32(0.5)
        weight *= np.exp(np.sum(away * away, axis=2) * np.float32(-0.5 * exposure / _SPREAD**2))
    weight += np.float32(_NOTHING)
    return weight
