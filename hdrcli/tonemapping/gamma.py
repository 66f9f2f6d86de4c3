"""A power: code = (C / white)^(1 / gamma), the oldest curve of all, which broadcast and early HDR viewers apply.

The power is taken as the displayed *code*, so 2.2 is what a display shows of linear light, and more lifts the shadows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import KEY, Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import LuminanceCurve

SUMMARY = "power law, codes = light ^ (1 / gamma)"
LOCAL = False
WHITE = "exposure"


@dataclass(frozen=True)
class Parameters:
    """``gamma``: codes are light to the power 1 / gamma. ``exposure``: "auto" brings the log-average of luminance to the code
    that ``key`` has for a gamma of 2.2, "keep" takes 1.0 as it is. ``saturation``: exponent of colour ratios.
    """

    gamma: float = 3.0
    exposure: Exposure = "auto"
    key: float = KEY
    saturation: float = 1.0

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.1, 10, "3")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, f"{KEY}")
        check_range("saturation", self.saturation, 0, 4, "1")


def prepare(scene: Scene, parameters: Parameters) -> LuminanceCurve:
    """The exposure, made into a curve."""
    import numpy as np

    from hdrcli.color import Transfer, decode
    from hdrcli.tonemapping._curves import luminance_curve

    # (scale y)^(1 / gamma) = key^(1 / 2.2) at the log-average
    key = parameters.key ** (parameters.gamma / 2.2)
    scale = exposure_of(scene, luminance_of(scene), key, parameters.exposure, shown_white=1.0)

    def curve(y: NDArray[Any]) -> NDArray[Any]:
        return decode(np.minimum(scale * y, 1) ** (1 / parameters.gamma), Transfer.SRGB)

    return luminance_curve(curve, parameters.saturation, scene.primaries)


def apply(light: NDArray[Any], state: LuminanceCurve, first: int = 0) -> NDArray[Any]:
    """Luminance through the curve, colour kept."""
    from hdrcli.tonemapping._curves import apply_luminance

    return apply_luminance(light, state, first)
