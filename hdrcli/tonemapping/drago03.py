"""Drago, Myszkowski, Annen, Chiba 2003, "Adaptive logarithmic mapping for displaying high contrast scenes".

L_d = L_dmax / 100 / log10(L_wmax + 1) * ln(L_w + 1) / ln(2 + 8 (L_w / L_wmax)^(ln b / ln 0.5))   (eq. 4)

with L_w and L_wmax in units of the world adaptation luminance, the log-average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, average_of, check_choice, check_range, extent_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import LuminanceCurve

SUMMARY = "adaptive logarithm (Drago et al. 2003)"
LOCAL = False
WHITE = ""


@dataclass(frozen=True)
class Parameters:
    """``bias``: the paper's b, 0.7..0.9; less is brighter. ``display``: L_dmax, cd/m2, of which 100 are white.

    ``normalise``: "max" takes all pixels for log-average and L_wmax, as the paper; "robust" leaves out borders and the
    brightest 0.1 %. ``saturation``: exponent of colour ratios.
    """

    bias: float = 0.85
    display: float = 100.0
    normalise: Normalise = "robust"
    saturation: float = 1.0

    def __post_init__(self) -> None:
        check_range("bias", self.bias, 0.01, 1, "0.85")
        check_range("display", self.display, 1, 10000, "100")
        check_choice("normalise", self.normalise, Normalise)
        check_range("saturation", self.saturation, 0, 4, "1")


def prepare(scene: Scene, parameters: Parameters) -> LuminanceCurve:
    """Log-average and largest luminance of the scene, made into a curve."""
    import numpy as np

    from hdrcli.tonemapping._curves import luminance_curve

    y = luminance_of(scene, parameters.normalise)
    bias = parameters.bias
    world = average_of(scene, y, parameters.normalise) or 1.0
    largest = (scene.white or extent_of(scene, y, parameters.normalise)[1] or 1.0) / world
    exponent = np.log(bias) / np.log(0.5)
    scale = parameters.display / 100 / np.log10(largest + 1)

    def curve(y: NDArray[Any]) -> NDArray[Any]:
        relative = y / world
        return np.asarray(scale * np.log1p(relative) / np.log(2 + 8 * (relative / largest) ** exponent))

    return luminance_curve(curve, parameters.saturation, scene.primaries)


def apply(light: NDArray[Any], state: LuminanceCurve, first: int = 0) -> NDArray[Any]:
    """Luminance through eq. 4, colour kept."""
    from hdrcli.tonemapping._curves import apply_luminance

    return apply_luminance(light, state, first)
