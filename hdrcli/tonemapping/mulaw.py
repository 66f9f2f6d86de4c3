"""The mu-law curve that HDR papers show and measure on: Kalantari & Ramamoorthi 2017, eq. 5.

T(y) = log(1 + mu y / peak) / log(1 + mu).

T is taken as the displayed *code*, as the papers do, so the result is shown without a further sRGB curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Normalise, average_of, brightest_of, check_choice, check_range, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "logarithmic curve of the HDR papers, mu = 5000 (Kalantari & Ramamoorthi 2017)"
LOCAL = False
WHITE = "peak"

_HIGHEST = 2.0**8


@dataclass(frozen=True)
class Parameters:
    """``mu``: compression. ``peak``: LDR whites that are shown as white; 0: the picture's brightest channel value.

    ``normalise``: whether that is, as in the papers, the maximum, or the 99.9th percentile, at most 8 stops above the
    log-average of luminance: a stage light would leave the hall in the dark.
    """

    mu: float = 5000.0
    peak: float = 0.0
    normalise: Normalise = "robust"

    def __post_init__(self) -> None:
        check_range("mu", self.mu, 1e-9, 1e9, "5000")
        check_range("peak", self.peak, 0, 1e12, "0, the picture's brightest,")
        check_choice("normalise", self.normalise, Normalise)


def prepare(scene: Scene, parameters: Parameters) -> Table:
    """The curve from light to display-linear light, which depends on the scene's peak alone."""
    import numpy as np

    from hdrcli.color import Transfer, decode
    from hdrcli.tonemapping._curves import tabulated

    peak = scene.white or parameters.peak
    if not peak:
        peak = brightest_of(scene, parameters.normalise) or 1.0
        if parameters.normalise == "robust":
            peak = min(peak, _HIGHEST * (average_of(scene, luminance_of(scene)) or 1.0))

    def curve(x: NDArray[Any]) -> NDArray[Any]:
        code = np.log1p(x * (parameters.mu / peak)) / np.log1p(parameters.mu)
        return decode(np.clip(code, 0, 1), Transfer.SRGB)

    return tabulated(curve)


def apply(light: NDArray[Any], state: Table, first: int = 0) -> NDArray[Any]:
    """Each channel through the curve, as the papers do."""
    return state(light)
