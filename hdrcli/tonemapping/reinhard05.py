"""Reinhard, Devlin 2005, "Dynamic range reduction inspired by photoreceptor physiology".

V = C / (C + (f I_a)^m) (eq. 1 and 2), where what a receptor is adapted to is I_a = a I_l + (1 - a) I_g (eq. 9), locally
I_l = c C + (1 - c) L and globally the same of the averages (eq. 7 and 8); f = exp(-f'), m = 0.3 + 0.7 k^1.4 (eq. 5) with
k = (log L_max - mean log L) / (log L_max - log L_min) (eq. 4). V is stretched to [0, 1], and taken as the displayed *code*, as
pfstools and OpenCV do: it is half of the largest where a receptor sees what it is adapted to, washed out were it light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import (
    BRIGHTEST,
    DARKEST,
    Normalise,
    average_of,
    border,
    check_choice,
    check_range,
    exposure_of,
    extent_of,
    luminance_of,
    steadied,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "photoreceptor response (Reinhard & Devlin 2005)"
LOCAL = False

_FLAT = 0.01


@dataclass(frozen=True)
class Parameters:
    """``intensity``: the paper's f', -8..8, more is brighter. ``contrast``: m, 0.3..1; 0 finds it from the key (eq. 5).

    ``light``: a, 1 adapts to each pixel, 0 to the picture's average. ``chromatic``: c, 1 treats each channel by itself (which
    takes away a cast), 0 all three alike. ``normalise``: "max" takes light as it is and stretches from the smallest to the
    largest response, as the paper; "robust" brings the log-average to 0.18 before it (an I^m depends on the unit of I), and
    stretches from the 0.1st to the 99.9th percentile.
    """

    intensity: float = 0.0
    contrast: float = 0.0
    light: float = 1.0
    chromatic: float = 0.0
    normalise: Normalise = "robust"

    def __post_init__(self) -> None:
        check_range("intensity", self.intensity, -8, 8, "0")
        check_range("contrast", self.contrast, 0, 1, "0, from the picture's key,")
        check_range("light", self.light, 0, 1, "1")
        check_range("chromatic", self.chromatic, 0, 1, "0")
        check_choice("normalise", self.normalise, Normalise)


@dataclass(frozen=True, eq=False)
class State:
    """``power``: (f I)^m. ``local``, ``pixel``: weights of luminance and of the channel in I_a; ``world``: the rest, a channel
    each. ``low``, ``stretch``: of the response. ``light``: from codes. ``primaries``: None: Rec.709.
    """

    power: Table
    local: float
    pixel: float
    world: tuple[float, float, float]
    light: Table
    low: float = 0.0
    stretch: float = 1.0
    primaries: AnyPrimaries | None = None


def prepare(scene: Scene, parameters: Parameters) -> State:
    """Key, averages and the range of the response."""
    import numpy as np

    from hdrcli.color import Transfer, decode
    from hdrcli.tonemapping._curves import tabulated

    y = luminance_of(scene, parameters.normalise)
    low, high = extent_of(scene, y, parameters.normalise)
    key = (np.log(high) - np.log(average_of(scene, y, parameters.normalise))) / np.log(high / low) if high > low else 0.5
    m = parameters.contrast or 0.3 + 0.7 * float(np.clip(key, 0, 1)) ** 1.4
    f = np.exp(-parameters.intensity)
    a, c = parameters.light, parameters.chromatic
    means, mean = _means(scene, y, high, parameters.normalise)
    red, green, blue = ((1 - a) * (c * float(channel) + (1 - c) * mean) for channel in means)
    scale = exposure_of(scene, y) if parameters.normalise == "robust" else 1.0
    power = tabulated(lambda x: (f * scale * x) ** m / scale)  # sC / (sC + (f s I)^m), divided by s
    light = tabulated(lambda v: decode(np.minimum(v, 1), Transfer.SRGB))
    state = State(power, local=a * (1 - c), pixel=a * c, world=(red, green, blue), light=light, primaries=scene.primaries)
    least, most = (steadied(scene, f"response {i}", end) for i, end in enumerate(_range(scene, state, parameters.normalise)))
    return replace(state, low=least, stretch=1 / max(most - least, 1e-6))


def _means(scene: Scene, y: NDArray[Any], high: float, normalise: str) -> tuple[NDArray[Any], float]:
    """Arithmetic means of the channels and of luminance; "robust": of what is not above the 99.9th percentile."""
    import numpy as np

    if normalise == "max":
        totals = np.sum(scene.over(lambda light: light.sum(axis=(0, 1), dtype=np.float64)), axis=0)
        return totals / (scene.height * scene.width), float(y.mean(dtype=np.float64))
    kept = (y > border(y)) & (y <= high)
    if not kept.any():
        return np.zeros(3), 0.0
    return scene.sample[kept].mean(axis=0, dtype=np.float64), float(y[kept].mean(dtype=np.float64))


def _range(scene: Scene, state: State, normalise: str) -> tuple[float, float]:
    """The smallest and the largest response of a channel, or their percentiles in what is no border."""
    import numpy as np

    if normalise == "max":
        ends = scene.over(lambda light: (lambda v: (float(v.min()), float(v.max())))(_response(light, state)))
        return min(end[0] for end in ends), max(end[1] for end in ends)
    response = _response(scene.sample, state)
    response = response[response > 0]
    least, most = np.percentile(response, (DARKEST, BRIGHTEST)) if response.size else (0.0, 0.0)
    # a picture without contrast has nothing to stretch
    return (float(least), float(most)) if most - least > _FLAT else (0.0, 1.0)


def _response(light: NDArray[Any], state: State) -> NDArray[Any]:
    """V of eq. 1, in [0, 1): ``(n, W, 3)``; 0 for black."""
    import numpy as np

    from hdrcli.tonemapping._color import luminance, tripled

    adapted: NDArray[Any] = luminance(light, state.primaries)
    adapted *= np.float32(state.local)
    if state.pixel == 0 and len(set(state.world)) == 1:
        adapted += np.float32(state.world[0])
        semi: NDArray[Any] = tripled(state.power(adapted))
    else:
        semi = light * np.float32(state.pixel)
        semi += np.array(state.world, np.float32)
        semi += adapted[..., None]
        semi = state.power(semi)
    semi += light
    np.maximum(semi, np.float32(1e-30), out=semi)
    response: NDArray[Any] = np.divide(light, semi, out=semi)
    return response


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """The response, stretched, as codes."""
    import numpy as np

    codes = _response(light, state)
    codes -= np.float32(state.low)
    codes *= np.float32(state.stretch)
    return state.light(np.maximum(codes, 0, out=codes))
