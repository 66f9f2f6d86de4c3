"""Hable 2010, "Uncharted 2: HDR lighting" (GDC): the filmic curve of that game, each channel by itself.

f(x) = (x (A x + C B) + D E) / (x (A x + B) + D F) - E / F, shown f(exposure bias * x) / f(W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "filmic curve of Uncharted 2 (Hable 2010)"
LOCAL = False
WHITE = "white"

# shoulder strength, linear strength, linear angle, toe strength, toe numerator, toe denominator
_A, _B, _C, _D, _E, _F = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30


@dataclass(frozen=True)
class Parameters:
    """``white``: W, the exposed light shown as white. ``bias``: the talk's exposure bias, a factor.

    ``exposure``: "auto" brings the log-average of luminance to ``key`` (0.26: the curve shows it as 0.18), "keep" takes 1.0
    as it is.
    """

    white: float = 11.2
    bias: float = 2.0
    exposure: Exposure = "auto"
    key: float = 0.26

    def __post_init__(self) -> None:
        check_range("white", self.white, 0.1, 1e6, "11.2")
        check_range("bias", self.bias, 0.01, 100, "2")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, "0.26")


def prepare(scene: Scene, parameters: Parameters) -> Table:
    """The exposure, made into a curve."""
    import numpy as np

    from hdrcli.tonemapping._curves import tabulated

    scale = parameters.bias * exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure)
    white = parameters.white if scene.white is None else scale * scene.white
    return tabulated(lambda x: np.clip(_filmic(scale * x) / _filmic(white), 0, 1))


def _filmic(x: Any) -> Any:
    # - E / F would leave what rounding makes of 0 at x = 0; over one denominator it is exact
    return x * (_A * x * (1 - _E / _F) + _B * (_C - _E / _F)) / (x * (_A * x + _B) + _D * _F)


def apply(light: NDArray[Any], state: Table, first: int = 0) -> NDArray[Any]:
    """Each channel through the curve, as published: bright colours bleach as on film."""
    return state(light)
