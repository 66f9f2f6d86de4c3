"""Reinhard, Stark, Shirley, Ferwerda 2002, "Photographic tone reproduction for digital images".

L = key / L_avg * L_w (eq. 2, L_avg the log-average of eq. 1), L_d = L (1 + L / L_white^2) / (1 + L) (eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.errors import UsageError
from hdrcli.tonemapping._exposure import Exposure, Normalise, check_choice, check_range, exposure_of, extent_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene

SUMMARY = "photographic operator (Reinhard et al. 2002); local=true dodges and burns"
LOCAL = False
WHITE = "white"

_WHITE_KEPT = 16.0


@dataclass(frozen=True)
class Parameters:
    """``key``: what the log-average becomes, the paper's a. ``white``: smallest scaled luminance shown as white, L_white.

    ``white`` 0: the picture's largest (the paper's default). ``exposure``: "auto" scales by the log-average (the paper);
    "keep" takes 1.0 as it is and, for ``white`` 0, 16 for white, so that pictures can be compared. ``normalise``: "max" takes
    all pixels for log-average and largest, as the paper, "robust" leaves out borders and the brightest 0.1 %.
    ``saturation``: exponent of colour ratios. ``local``: dodging and burning (eq. 9), with ``phi``, the sharpening of eq. 7,
    ``epsilon``, the threshold of eq. 8, and ``scales``, how many of them, each 1.6 times the one before.
    """

    key: float = 0.18
    white: float = 0.0
    exposure: Exposure = "auto"
    normalise: Normalise = "robust"
    saturation: float = 1.0
    local: bool = False
    phi: float = 8.0
    epsilon: float = 0.05
    scales: int = 8

    def __post_init__(self) -> None:
        check_range("key", self.key, 1e-6, 100, "0.18")
        check_range("white", self.white, 0, 1e12, "0, the picture's largest,")
        check_choice("exposure", self.exposure, Exposure)
        check_choice("normalise", self.normalise, Normalise)
        check_range("saturation", self.saturation, 0, 4, "1")
        check_range("phi", self.phi, 0, 100, "8")
        check_range("epsilon", self.epsilon, 1e-6, 1, "0.05")
        check_range("scales", self.scales, 1, 16, "8")


def scale_and_white(scene: Scene, parameters: Parameters) -> tuple[float, float]:
    """The factor to scaled luminance (eq. 2), and the scaled luminance that becomes white, L_white of eq. 4."""
    y = luminance_of(scene, parameters.normalise)
    scale = exposure_of(scene, y, parameters.key, parameters.exposure, parameters.normalise)
    if scene.white is not None:
        return scale, scale * scene.white
    if parameters.white:
        return scale, parameters.white
    if parameters.exposure == "keep":
        return scale, _WHITE_KEPT
    # at least 1: in a flat picture nothing need be white, and eq. 4 would stretch its contrast
    return scale, max(scale * extent_of(scene, y, parameters.normalise)[1], 1.0)


def prepare(scene: Scene, parameters: Parameters) -> Any:
    """Log-average and largest luminance of the scene, made into a curve; for ``local`` the surroundings of each pixel."""
    if parameters.local:
        if scene.white is not None:
            raise UsageError("dodging and burning (local=true) has no white", where="--white", remedy="leave one of them out")
        from hdrcli.tonemapping._reinhard_local import prepare as look_around

        return look_around(scene, parameters)
    from hdrcli.tonemapping._curves import luminance_curve

    scale, white = scale_and_white(scene, parameters)

    def curve(y: NDArray[Any]) -> NDArray[Any]:
        scaled = scale * y
        return scaled * (1 + scaled / white**2) / (1 + scaled)

    return luminance_curve(curve, parameters.saturation, scene.primaries)


def apply(light: NDArray[Any], state: Any, first: int = 0) -> NDArray[Any]:
    """Luminance through eq. 4, or eq. 9 where ``local``; colour kept, what leaves the gamut drawn towards white."""
    from hdrcli.tonemapping._curves import LuminanceCurve, apply_luminance

    if isinstance(state, LuminanceCurve):
        return apply_luminance(light, state, first)
    from hdrcli.tonemapping._reinhard_local import apply as dodge_and_burn

    return dodge_and_burn(light, state, first)
