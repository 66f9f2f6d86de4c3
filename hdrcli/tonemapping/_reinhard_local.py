"""Dodging and burning: the local operator of Reinhard et al. 2002 (eq. 5 to 9).

L_d = L / (1 + V1(s_m)), where V1 is L blurred, as far as a pixel's surroundings are like it: centre and surround, V1 at one
scale and at the next, differ by less than epsilon up to the scale s_m.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._local import Tones
    from hdrcli.tonemapping.reinhard import Parameters

    Floats = NDArray[np.float32]

DETAIL = 2.0  # megapixels: the scales are pixels of a picture that has at most as many, and grow with larger ones
_RATIO = 1.6  # of scales, and of surround to centre
_CENTRE = (
    0.25  # standard deviation of the centre at scale 1: alpha_1 = 1 / (2 sqrt 2) in eq. 5, which is exp(-r^2 / (alpha s)^2)
)


def prepare(scene: Scene, parameters: Parameters) -> Tones:
    """The tone of every pixel, or of every cell of a large picture."""
    import numpy as np

    from hdrcli.tonemapping import _local
    from hdrcli.tonemapping.reinhard import scale_and_white

    scale = scale_and_white(scene, parameters)[0] * scene.exposure
    light = _local.logs(scene, DETAIL, parameters.normalise, of="light")
    scaled = np.exp(light.values + np.float32(math.log(scale)))
    around = adapted(scaled, parameters.key, parameters.phi, parameters.epsilon, parameters.scales)
    tone = light.values + np.float32(math.log(scale)) - np.log1p(around)
    return _local.toned(scene, light, tone, parameters.saturation)


def apply(light: NDArray[Any], state: Tones, first: int = 0) -> Floats:
    """Each pixel's luminance to its tone; colour kept, what leaves the gamut drawn towards white."""
    from hdrcli.tonemapping import _local

    return _local.apply(light, state, first)


def adapted(scaled: Floats, key: float, phi: float, epsilon: float, scales: int) -> Floats:
    """V1(s_m) of every pixel, ``(h, w) float32``, from luminance scaled to ``key``: eq. 5 to 8, ``scales`` from 1 on."""
    import numpy as np

    centre = _blurred(scaled, _CENTRE)
    chosen = centre.copy()
    going = np.ones(scaled.shape, bool)
    for index in range(scales):
        scale = _RATIO**index
        surround = _blurred(scaled, _CENTRE * scale * _RATIO)
        activity = (centre - surround) / (np.float32(2**phi * key / scale**2) + centre)  # eq. 7
        going &= np.abs(activity) < epsilon  # eq. 8
        np.copyto(chosen, centre, where=going)
        centre = surround
    return chosen


def _blurred(values: Floats, sigma: float) -> Floats:
    import cv2
    import numpy as np

    smooth = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.float32).reshape(values.shape)
