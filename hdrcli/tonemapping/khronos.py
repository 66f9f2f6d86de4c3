"""Khronos PBR Neutral 2024 (github.com/KhronosGroup/ToneMapping): true colours up to 0.8, highlights compressed and bleached.

It undoes the Fresnel reflection of 0.04 that rendered materials have, so that base colours come out as they were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "PBR Neutral, true colours below 0.8 (Khronos 2024)"
LOCAL = False

_FRESNEL = 0.04


@dataclass(frozen=True)
class Parameters:
    """``start``: display light from which highlights are compressed, K_s plus 0.04. ``desaturation``: K_d, their bleaching.

    ``exposure``: "auto" brings the log-average of luminance to ``key`` (0.22: the curve shows it as 0.18), "keep" takes 1.0
    as it is.
    """

    start: float = 0.8
    desaturation: float = 0.15
    exposure: Exposure = "auto"
    key: float = 0.22

    def __post_init__(self) -> None:
        check_range("start", self.start, 0.05, 0.99, "0.8")
        check_range("desaturation", self.desaturation, 0, 10, "0.15")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, "0.22")


@dataclass(frozen=True, eq=False)
class State:
    """``scale``: the exposure. ``offset``: taken off, over the smallest channel. ``gain``, ``grey``: over the largest."""

    scale: float
    offset: Table
    gain: Table
    grey: Table


def prepare(scene: Scene, parameters: Parameters) -> State:
    """The exposure, and three curves."""
    import numpy as np

    from hdrcli.tonemapping._curves import tabulated

    start = parameters.start - _FRESNEL

    def compressed(peak: NDArray[Any]) -> NDArray[Any]:
        room = 1 - start
        return np.asarray(np.where(peak < start, peak, 1 - room**2 / np.maximum(peak + room - start, room)))

    def bleach(peak: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(1 - 1 / (parameters.desaturation * (peak - compressed(peak)) + 1))

    return State(
        exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure),
        tabulated(lambda x: np.where(x < 2 * _FRESNEL, x - x**2 / (4 * _FRESNEL), _FRESNEL)),
        tabulated(lambda peak: compressed(peak) / peak * (1 - bleach(peak))),
        tabulated(lambda peak: compressed(peak) * bleach(peak)),
    )


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """As published; the result is inside the gamut."""
    import numpy as np

    from hdrcli.tonemapping._color import extremes, tripled

    exposed: NDArray[Any] = light * np.float32(state.scale)
    low, peak = extremes(exposed)
    offset = state.offset(low)
    peak -= offset
    np.maximum(peak, 0, out=peak)
    gain, grey = state.gain(peak), state.grey(peak)
    grey -= offset * gain  # (C - offset) gain + grey
    exposed *= tripled(gain)
    exposed += tripled(grey)
    return np.asarray(np.clip(exposed, 0, 1, out=exposed))
