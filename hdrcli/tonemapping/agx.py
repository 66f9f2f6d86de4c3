"""AgX: Sobotka 2022 (github.com/sobotka/AgX), in Rec.709, with the way back from the inset as in Wrensch 2023, "Minimal AgX".

Light is mixed as if primaries lay further out ("inset"), so that bright saturated colours bleach; log2 of it, from 10 stops
below to 6.5 above middle grey, goes through a sigmoid of slope 2 whose pivot, middle grey, becomes code 0.5; the mixing is
undone on codes, which a display of gamma 2.2 shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import KEY, Exposure, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "AgX, film-like bleaching of bright colours (Sobotka 2022)"
LOCAL = False
WHITE = "exposure"

_GREY, _BELOW, _ABOVE = 0.18, 10.0, 6.5  # middle grey, and stops around it
_PIVOT, _SLOPE, _TOE, _SHOULDER = 0.5, 2.0, 3.0, 3.25  # code of middle grey; contrast there; how sharply the ends bend
_INSET = 0.2
_GAMMA = 2.2
_WEIGHTS = (0.2126, 0.7152, 0.0722)  # of codes, in the look's saturation: ASC CDL 1.2


@dataclass(frozen=True)
class Parameters:
    """``power``, ``saturation``: the look, an ASC CDL on codes; 1.35 and 1.4 are "punchy".

    ``exposure``: "auto" brings the log-average of luminance to ``key`` before it, "keep" takes 1.0 as it is.
    """

    power: float = 1.0
    saturation: float = 1.0
    exposure: Exposure = "auto"
    key: float = KEY

    def __post_init__(self) -> None:
        check_range("power", self.power, 0.1, 10, "1")
        check_range("saturation", self.saturation, 0, 4, "1")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, f"{KEY}")


@dataclass(frozen=True, eq=False)
class State:
    """``table``: from mixed light to codes, exposure and power included. ``back``: matrix of codes. ``display``: to light.

    ``primaries``: None: Rec.709.
    """

    table: Table
    back: NDArray[Any]
    display: Table
    primaries: AnyPrimaries | None = None


def sigmoid(x: Any) -> Any:
    """From log2 of light, 0..1 over the 16.5 stops, to codes: through (0, 0), the pivot with its slope, and (1, 1)."""
    import numpy as np

    pivot = _BELOW / (_BELOW + _ABOVE)

    def limb(x: Any, width: float, height: float, power: float) -> Any:
        """From the pivot outwards: s t / (1 + t^p)^(1/p) of t = slope x / s, with s such that (width, height) is met."""
        s = ((_SLOPE * width) ** -power * ((_SLOPE * width / height) ** power - 1)) ** (-1 / power)
        t = _SLOPE * np.maximum(x, 0) / s
        return s * t / (1 + t**power) ** (1 / power)

    return _PIVOT + limb(x - pivot, 1 - pivot, 1 - _PIVOT, _SHOULDER) - limb(pivot - x, pivot, _PIVOT, _TOE)


@lru_cache(maxsize=4)
def inset(primaries: AnyPrimaries | None = None) -> NDArray[Any]:
    """``(3, 3)``: from Rec.709, or other primaries, to ones 1 / (1 - 0.2) times as far from white as Rec.709's."""
    from hdrcli.color import Chromaticities, Primaries, conversion_matrix

    known = Primaries.BT709.value

    def outwards(xy: tuple[float, float]) -> tuple[float, float]:
        (x, y), (wx, wy) = xy, known.white
        return wx + (x - wx) / (1 - _INSET), wy + (y - wy) / (1 - _INSET)

    wide = Chromaticities(outwards(known.red), outwards(known.green), outwards(known.blue), known.white)
    return conversion_matrix(primaries or Primaries.BT709, wide)


def prepare(scene: Scene, parameters: Parameters) -> State:
    """The exposure and the look, made into a curve and a matrix."""
    import numpy as np

    from hdrcli.tonemapping._curves import tabulated

    white = _GREY * 2**_ABOVE
    scale = exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure, shown_white=white)

    def curve(x: NDArray[Any]) -> NDArray[Any]:
        stops = np.log2(scale * x / _GREY)
        codes = sigmoid(np.clip((stops + _BELOW) / (_BELOW + _ABOVE), 0, 1))
        return np.asarray(np.clip(codes, 0, 1) ** parameters.power)

    s = parameters.saturation
    look = s * np.eye(3) + (1 - s) * np.ones((3, 1)) * np.array(_WEIGHTS)
    back = np.linalg.inv(inset(scene.primaries)) @ look
    return State(tabulated(curve), back, tabulated(lambda v: np.minimum(v, 1) ** _GAMMA), scene.primaries)


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """Each mixed channel through the curve, and back; what the way back puts outside of the gamut is clipped, as published."""
    import numpy as np

    from hdrcli.tonemapping._color import mixed

    codes = mixed(state.table(mixed(light, inset(state.primaries))), state.back)
    return state.display(np.maximum(codes, 0, out=codes))
