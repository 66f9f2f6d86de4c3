"""No curve at all: what a sensor of this exposure would record, clipped where LDR ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import KEY, Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene

SUMMARY = "linear up to white, clipped there"
LOCAL = False
WHITE = "exposure"


@dataclass(frozen=True)
class Parameters:
    """``exposure``: "auto" brings the log-average of luminance to ``key``, "keep" takes 1.0 as it is.

    ``channels``: clip each channel by itself, as sensors do, which shifts hues; otherwise luminance is clipped, and colours
    beyond the gamut are drawn towards white.
    """

    exposure: Exposure = "auto"
    key: float = KEY
    channels: bool = False

    def __post_init__(self) -> None:
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, f"{KEY}")


@dataclass(frozen=True)
class State:
    """``scale``: factor to display-linear light. ``channels``: as in Parameters. ``primaries``: None: Rec.709."""

    scale: float
    channels: bool
    primaries: AnyPrimaries | None = None


def prepare(scene: Scene, parameters: Parameters) -> State:
    """The exposure."""
    scale = exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure, shown_white=1.0)
    return State(scale, parameters.channels, scene.primaries)


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """Light times the exposure, at most 1."""
    import numpy as np

    from hdrcli.tonemapping._color import into_gamut, luminance

    exposed = light * np.float32(state.scale)
    if state.channels:
        return np.minimum(exposed, 1)
    return into_gamut(exposed, np.minimum(luminance(exposed, state.primaries), 1))
