"""Fattal, Lischinski, Werman 2002, "Gradient domain high dynamic range compression".

Gradients of log luminance are attenuated by Phi, a product over the levels of a pyramid (Section 4); the tone is the surface
whose gradient comes closest to them, the solution of a Poisson equation (eq. 3), found here by the cosine transform, which its
Neumann conditions make diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, check_choice, check_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._local import Tones

    Floats = NDArray[np.float32]

SUMMARY = "attenuates gradients at all scales (Fattal, Lischinski, Werman 2002)"
LOCAL = True

_COARSEST = 32  # pixels, the shorter side of the pyramid's top
_ALPHA = 0.1  # of a level's mean gradient; gradients of this size stay as they are


@dataclass(frozen=True)
class Parameters:
    """``beta``: how much large gradients are attenuated and small ones magnified; 1: not at all, the paper says 0.8..0.9.

    ``noise``: gradients, log luminance a pixel, that are not magnified more than others. ``finest``: the level from which on
    gradients count, structures of 2^finest pixels; 0 is the paper. ``contrast``: of the display, brightest to darkest.
    ``white``, ``black``: percentages of pixels beyond that; ``normalise`` "max": none, as in the paper. ``saturation``: the
    paper's s. ``detail``: megapixels; larger pictures are solved on cells of 2, 4 ... pixels, see ``_local``, whose structures
    are then the finest to count.
    """

    beta: float = 0.87
    noise: float = 0.02
    finest: int = 2
    contrast: float = 90.0
    white: float = 2.0
    black: float = 0.5
    normalise: Normalise = "robust"
    saturation: float = 0.8
    detail: float = 6.5

    def __post_init__(self) -> None:
        check_range("beta", self.beta, 0.3, 1, "0.87")
        check_range("noise", self.noise, 0, 1, "0.02")
        check_range("finest", self.finest, 0, 16, "2")
        check_range("contrast", self.contrast, 1.1, 1e6, "90")
        check_range("white", self.white, 0, 40, "2")
        check_range("black", self.black, 0, 40, "0.5")
        check_choice("normalise", self.normalise, Normalise)
        check_range("saturation", self.saturation, 0, 4, "0.8")
        check_range("detail", self.detail, 1e-3, 400, "6.5")


def prepare(scene: Scene, parameters: Parameters) -> Tones:
    """The tone of every cell, from all gradients of the scene."""
    from hdrcli.tonemapping import _local

    light = _local.logs(scene, parameters.detail, parameters.normalise)
    tone = compressed(light.values, parameters.beta, parameters.noise, parameters.finest, light.cell)
    tones = _local.toned(scene, light, tone, parameters.saturation)
    return _local.placed(tones, scene, parameters.contrast, parameters.white, parameters.black, parameters.normalise)


def apply(light: NDArray[Any], state: Tones, first: int = 0) -> Floats:
    """Each pixel's luminance to its tone; colour kept to the power of ``saturation``."""
    from hdrcli.tonemapping import _local

    return _local.apply(light, state, first)


def compressed(light: Floats, beta: float, noise: float, finest: int, cell: int = 1) -> Floats:
    """The surface whose gradients are closest to the attenuated ones of ``light``, log luminance ``(h, w)``; its mean is 0."""
    import numpy as np

    height, width = light.shape
    # OpenCV transforms even sides only; a row that repeats the last one has no gradient
    light = _evened(light)
    phi = attenuation(light, beta, noise, finest, cell)
    divergence = np.zeros_like(light)
    for axis in (0, 1):
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        lower, upper = tuple(low), tuple(high)
        flow = light[upper] - light[lower]
        flow *= phi[lower] + phi[upper]
        flow *= np.float32(0.5)
        divergence[lower] += flow
        divergence[upper] -= flow
    return solved(divergence)[:height, :width]


def attenuation(light: Floats, beta: float, noise: float, finest: int, cell: int = 1) -> Floats:
    """Phi of every pixel, ``(h, w)``: on each level of a pyramid (|gradient| / alpha)^(beta - 1), multiplied from the top down.

    ``cell``: pixels of the picture that one of ``light`` stands for.
    """
    import cv2
    import numpy as np

    pyramid = [light]
    while min(pyramid[-1].shape) >= 2 * _COARSEST:
        pyramid.append(_halved(_blurred(pyramid[-1])))
    done = round(math.log2(cell))
    phi = np.ones_like(pyramid[-1])
    for level in range(len(pyramid) - 1, -1, -1):
        values = pyramid[level]
        if phi.shape != values.shape:
            twice = cv2.resize(phi, (2 * phi.shape[1], 2 * phi.shape[0]), interpolation=cv2.INTER_NEAREST)
            phi = _blurred(np.asarray(twice, dtype=np.float32)[: values.shape[0], : values.shape[1]])
        if level + done >= finest or level == len(pyramid) - 1:
            gradient = _gradient(values, cell * 2.0**level)
            usual = _ALPHA * float(gradient.mean()) + noise
            if usual > 0:
                gradient += np.float32(max(noise, 1e-6))
                gradient *= np.float32(1 / usual)
                phi = phi * np.asarray(cv2.pow(gradient, beta - 1), dtype=np.float32).reshape(phi.shape)
    return phi


def _gradient(values: Floats, spacing: float) -> Floats:
    """Size of the gradient by central differences, a pixel of the picture; 0 across borders."""
    import cv2
    import numpy as np

    wide = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    along, down = wide[1:-1, 2:] - wide[1:-1, :-2], wide[2:, 1:-1] - wide[:-2, 1:-1]
    size: Floats = np.asarray(cv2.magnitude(along, down), dtype=np.float32).reshape(values.shape)
    size *= np.float32(0.5 / spacing)
    return size


def _blurred(values: Floats) -> Floats:
    import cv2
    import numpy as np

    taps = np.array([0.25, 0.5, 0.25], np.float32)
    smooth = cv2.sepFilter2D(values, -1, taps, taps, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.float32).reshape(values.shape)


def _evened(values: Floats) -> Floats:
    import cv2
    import numpy as np

    height, width = values.shape
    even = cv2.copyMakeBorder(values, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(even, dtype=np.float32)


def _halved(values: Floats) -> Floats:
    """Means of 2 x 2; odd sides are continued."""
    import cv2
    import numpy as np

    even = _evened(values)
    half = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, dtype=np.float32).reshape(even.shape[0] // 2, -1)


def solved(divergence: Floats) -> Floats:
    """The surface ``(h, w)`` of mean 0 with that divergence, nothing flowing across its borders; both sides are even.

    The cosine transform makes the Laplacian diagonal: 2 cos(pi i / h) - 2 + 2 cos(pi j / w) - 2.
    """
    import cv2
    import numpy as np

    height, width = divergence.shape
    rows = 2 * np.cos(np.pi * np.arange(height) / height) - 2
    columns = 2 * np.cos(np.pi * np.arange(width) / width) - 2
    waves = np.asarray(cv2.dct(divergence), dtype=np.float32)
    diagonal = np.add.outer(rows, columns).astype(np.float32)
    diagonal[0, 0] = 1
    waves /= diagonal
    waves[0, 0] = 0
    return np.asarray(cv2.idct(waves), dtype=np.float32)
