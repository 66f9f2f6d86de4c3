"""ITU-R BT.2390-11, section 5.4.1: the EETF, a Hermite spline in PQ that leaves mid tones alone and rolls highlights off.

It is applied to luminance ("YRGB": BT.2408-7, annex 5), colours that leave the gamut are drawn towards white; or to the largest
channel, which keeps all ratios, bright skies and lamps more colourful than eyes or film have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hdrcli.tonemapping._exposure import (
    KEY,
    Exposure,
    brightest_of,
    check_choice,
    check_range,
    exposure_of,
    extent_of,
    luminance_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import LuminanceCurve, Table

Of = Literal["luminance", "max"]

SUMMARY = "roll-off of highlights in PQ, the EETF of ITU-R BT.2390"
LOCAL = False
WHITE = "peak"

_PQ_PEAK = 10000.0


@dataclass(frozen=True)
class Parameters:
    """``of``: what the curve is applied to, luminance or the largest channel.

    ``peak``: L_W, cd/m2 of the brightest that is to be shown, as ``--white`` says, at most 10000; 0: the picture's 99.9th
    percentile. ``black``: its L_B.

    ``display``: L_max, cd/m2 that display white stands for; ``display_black``: L_min. ``white``: cd/m2 of 1.0 (BT.2408: 203).
    ``exposure``: "auto" brings the log-average of luminance to ``key`` before it, "keep" takes 1.0 as it is.
    """

    of: Of = "luminance"
    peak: float = 0.0
    black: float = 0.0
    display: float = 203.0
    display_black: float = 0.0
    white: float = 203.0
    exposure: Exposure = "auto"
    key: float = KEY

    def __post_init__(self) -> None:
        check_choice("of", self.of, Of)
        check_range("peak", self.peak, 0, _PQ_PEAK, "0, the picture's,")
        check_range("black", self.black, 0, 10, "0")
        check_range("display", self.display, 10, _PQ_PEAK, "203")
        check_range("display_black", self.display_black, 0, 10, "0")
        check_range("white", self.white, 1, _PQ_PEAK, "203")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, f"{KEY}")


def eetf(nits: NDArray[Any], parameters: Parameters, peak: float) -> NDArray[Any]:
    """cd/m2 of a picture that ends at ``peak`` to cd/m2 of the display, which ends at ``display``."""
    import numpy as np

    from hdrcli.color import Transfer, decode, encode

    def pq(x: Any) -> Any:
        return encode(np.asarray(x, np.float64) / _PQ_PEAK, Transfer.PQ)

    bottom, span = pq(parameters.black), pq(max(peak, parameters.display)) - pq(parameters.black)
    least, most = (pq(parameters.display_black) - bottom) / span, (pq(parameters.display) - bottom) / span
    e1 = np.clip((pq(nits) - bottom) / span, 0, 1)
    knee = 1.5 * most - 0.5
    t = (e1 - knee) / max(1 - knee, 1e-9)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    e2 = np.where(e1 < knee, e1, spline)
    e3 = e2 + least * (1 - e2) ** 4
    return decode(e3 * span + bottom, Transfer.PQ) * _PQ_PEAK


def prepare(scene: Scene, parameters: Parameters) -> LuminanceCurve | Table:
    """The exposure and the picture's peak, made into a curve of luminance, or a gain over the largest channel."""
    import numpy as np

    from hdrcli.tonemapping._curves import luminance_curve, tabulated

    y = luminance_of(scene)
    scale = parameters.white * exposure_of(scene, y, parameters.key, parameters.exposure)
    lightest = parameters.display
    if scene.white is not None:
        peak = min(scale * scene.white, _PQ_PEAK)
        lightest = min(peak, lightest)  # darker than the display's white: nothing to roll off, and that is white
    else:
        brightest = extent_of(scene, y)[1] if parameters.of == "luminance" else brightest_of(scene)
        peak = parameters.peak or min(scale * brightest, _PQ_PEAK)

    def curve(x: NDArray[Any]) -> NDArray[Any]:
        # black point compensation is the display's: its black is the picture's 0
        light = eetf(scale * x, parameters, peak) - parameters.display_black
        return np.asarray(np.clip(light / max(lightest - parameters.display_black, 1e-9), 0, 1))

    if parameters.of == "luminance":
        return luminance_curve(curve, primaries=scene.primaries)
    return tabulated(lambda x: curve(x) / x)


def apply(light: NDArray[Any], state: LuminanceCurve | Table, first: int = 0) -> NDArray[Any]:
    """Luminance through the EETF, colour kept; or the largest channel, the others by the same factor."""
    import numpy as np

    from hdrcli.tonemapping._color import extremes, multiplied
    from hdrcli.tonemapping._curves import LuminanceCurve, apply_luminance

    if isinstance(state, LuminanceCurve):
        return apply_luminance(light, state, first)
    rgb = multiplied(light, state(extremes(light)[1]))
    return np.minimum(rgb, 1, out=rgb)
