"""ACES by a fit: the Academy's RRT and 100 cd/m2 sRGB ODT as one rational curve, not the Academy's own transforms.

``fit``: "hill" is Stephen Hill's (2016, in Matt Pettineo's "BakingLab"): matrices to AP1 with the RRT's and back with the ODT's
desaturation (Academy S-2014-006, "RRT" and "ODT common": factors 0.96 and 0.93), the curve between them. "narkowicz" is
Krzysztof Narkowicz's (2016, "ACES filmic tone mapping curve"): a curve alone, each channel of Rec.709 by itself.

ACES is darker than photography: it shows middle grey, 0.18, as 0.10. Automatic exposure makes up for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from hdrcli.tonemapping._exposure import Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

Fit = Literal["hill", "narkowicz"]

SUMMARY = "ACES filmic look, fitted (Hill 2016; fit=narkowicz: Narkowicz 2016)"
LOCAL = False
WHITE = "exposure"

_RRT_SATURATION, _ODT_SATURATION = 0.96, 0.93
_HILL_WHITE, _NARKOWICZ_WHITE = 25.6684, 12.0694  # light that the curves bring to 1
_NARKOWICZ_EXPOSURE = 0.6  # his curve is brighter than ACES; with this factor before it he compares the two


@dataclass(frozen=True)
class Parameters:
    """``fit``: whose.

    ``exposure``: "auto" brings the log-average of luminance to ``key`` (0.26: the curve shows it as 0.18), "keep" takes 1.0
    as it is.
    """

    fit: Fit = "hill"
    exposure: Exposure = "auto"
    key: float = 0.26

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, Fit)
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, "0.26")


@dataclass(frozen=True, eq=False)
class State:
    """``table``: the curve, exposure included. ``hill``: between matrices. ``primaries``: None: Rec.709."""

    table: Table
    hill: bool
    primaries: AnyPrimaries | None = None


def hill(x: Any) -> Any:
    """Hill's curve: of AP1 light, to display-linear, not clipped."""
    return (x * (x + 0.0245786) - 0.000090537) / (x * (0.983729 * x + 0.4329510) + 0.238081)


def narkowicz(x: Any) -> Any:
    """Narkowicz' curve, not clipped."""
    x = x * _NARKOWICZ_EXPOSURE
    return x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)


@lru_cache(maxsize=4)
def matrices(primaries: AnyPrimaries | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """``(3, 3)`` each: Rec.709, or other primaries, to desaturated AP1, and the curve's AP1 back, desaturated."""
    import numpy as np

    from hdrcli.color import Primaries, conversion_matrix, rgb_to_xyz

    known = primaries or Primaries.BT709
    weights = rgb_to_xyz(Primaries.ACESCG)[1]

    def desaturated(factor: float) -> NDArray[Any]:
        return np.asarray(factor * np.eye(3) + (1 - factor) * np.ones((3, 1)) * weights)

    there = desaturated(_RRT_SATURATION) @ conversion_matrix(known, Primaries.ACESCG)
    back = conversion_matrix(Primaries.ACESCG, known) @ desaturated(_ODT_SATURATION)
    return there, back


def prepare(scene: Scene, parameters: Parameters) -> State:
    """The exposure, made into a curve."""
    import numpy as np

    from hdrcli.tonemapping._curves import tabulated

    curve, white = (hill, _HILL_WHITE) if parameters.fit == "hill" else (narkowicz, _NARKOWICZ_WHITE)
    scale = exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure, shown_white=white)
    # Hill's is below 0 for light below 0.003, to 0 of which the ODT clips
    return State(tabulated(lambda x: np.maximum(curve(scale * x), 0)), parameters.fit == "hill", scene.primaries)


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """Each channel through the curve, of AP1 for Hill's; clipped as published."""
    import numpy as np

    from hdrcli.tonemapping._color import mixed

    if not state.hill:
        return np.asarray(np.minimum(state.table(light), 1))
    there, back = matrices(state.primaries)
    display = mixed(state.table(mixed(light, there)), back)
    return np.asarray(np.clip(display, 0, 1, out=display))
