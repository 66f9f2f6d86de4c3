"""Statistics of a scene that operators take their exposure from: none of them depends on one pixel unless asked to.

Left out are black borders and cut-outs (nothing, or less than 1e-4 of the median), which would brighten the rest, and what lies
beyond percentiles: the sun's disk, a hot pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from hdrcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.tonemapping import Scene

BORDER = 1e-4  # of the median luminance; what is darker is taken for a border
DARKEST, BRIGHTEST = 0.1, 99.9  # percentiles that stand for the smallest and the largest luminance
_TRIMMED = (1.0, 99.0)  # percentiles between which the log-average is taken
Normalise = Literal["robust", "max"]
Exposure = Literal["auto", "keep"]
KEY = 0.18  # middle grey: Reinhard et al. 2002


def check_choice(name: str, value: str, kind: Any) -> None:
    """Raises UsageError for a parameter that is none of the choices of ``kind``, a Literal, whose first is the default."""
    choices = get_args(kind)
    if value not in choices:
        words = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise UsageError(f"{name} is {words}, not {value!r}", where=f"-p {name}", remedy=f"leave it out for {choices[0]}")


def check_range(name: str, value: float, low: float, high: float, usual: str) -> None:
    """Raises UsageError for a parameter outside of ``low..high``, NaN included."""
    if not low <= value <= high:
        raise UsageError(f"{value:g} is not within {low:g}..{high:g}", where=f"-p {name}", remedy=f"{usual} is usual")


def luminance_of(scene: Scene, normalise: str = "robust") -> NDArray[Any]:
    """Luminance to take statistics of, some ``(h, w)``: the sample's; of all pixels for "max"."""
    from hdrcli.tonemapping._color import luminance

    return scene.luminance() if normalise == "max" else luminance(scene.sample, scene.primaries)


def brightest_of(scene: Scene, normalise: str = "robust") -> float:
    """The largest channel value: the 99.9th percentile of the pixels' largest ones, or of all pixels for "max"; 0 if black."""
    from hdrcli.tonemapping._color import extremes

    if normalise == "max":
        brightest = max(float(value) for value in scene.over(lambda light: light.max()))
    else:
        brightest = extent(extremes(scene.sample)[1])[1]
    return steadied(scene, "brightest", brightest)


def steadied(scene: Scene, name: str, value: float) -> float:
    """A statistic above 0 as a sequence smooths it, in its logarithm; 0 (a black frame), and of a single picture: as it is."""
    import math

    return value if scene.steady is None or value <= 0 else math.exp(scene.steady(name, math.log(value)))


def average_of(scene: Scene, y: NDArray[Any], normalise: str = "robust") -> float:
    """:func:`log_average` of a scene's luminance ``y``, as a sequence smooths it."""
    return steadied(scene, "average", log_average(y, normalise))


def extent_of(scene: Scene, y: NDArray[Any], normalise: str = "robust") -> tuple[float, float]:
    """:func:`extent` of a scene's luminance ``y``, as a sequence smooths it."""
    low, high = extent(y, normalise)
    return steadied(scene, "darkest", low), steadied(scene, "largest", high)


def exposure_of(
    scene: Scene,
    y: NDArray[Any],
    key: float = KEY,
    exposure: str = "auto",
    normalise: str = "robust",
    shown_white: float | None = None,
) -> float:
    """The factor before an operator's curve: :func:`automatic` of a scene's luminance ``y``, as a sequence smooths it.

    ``shown_white``: exposed light that the curve shows as white, where an exposure is all that decides this: what the scene is
    told to show as white, if it is, becomes that.
    """
    if shown_white is not None and scene.white is not None:
        return shown_white / scene.white
    average = average_of(scene, y, normalise) if exposure == "auto" else 0.0
    return key / average if average > 0 else 1.0


def border(y: NDArray[Any]) -> float:
    """The luminance up to which pixels are taken for a border: BORDER of the median of those above 0; 0 for a black picture."""
    import numpy as np

    bright = y[y > 0]
    return BORDER * float(np.median(bright)) if bright.size else 0.0


def lit(y: NDArray[Any]) -> NDArray[Any]:
    """Luminance without borders, as ``(n,) float64``; empty for a black picture."""
    import numpy as np

    return y[y > border(y)].astype(np.float64)


def log_average(y: NDArray[Any], normalise: str = "robust") -> float:
    """exp(mean(log y)), Reinhard et al. 2002, Eq. 1, between the 1st and 99th percentile; 0 for a black picture.

    ``normalise`` "max": of all that is above 0, as in the papers.
    """
    import numpy as np

    if normalise == "max":
        bright = y[y > 0]
    else:
        bright = lit(y)
        if bright.size:
            low, high = np.percentile(bright, _TRIMMED)
            bright = bright[(bright >= low) & (bright <= high)]
    return float(np.exp(np.mean(np.log(bright), dtype=np.float64))) if bright.size else 0.0


def extent(y: NDArray[Any], normalise: str = "robust") -> tuple[float, float]:
    """The smallest and the largest luminance: the 0.1st and 99.9th percentile, or with "max" the very ones above 0.

    (0, 0) for a black picture.
    """
    import numpy as np

    bright = y[y > 0] if normalise == "max" else lit(y)
    if bright.size == 0:
        return 0.0, 0.0
    if normalise == "max":
        return float(bright.min()), float(bright.max())
    low, high = np.percentile(bright, (DARKEST, BRIGHTEST))
    return float(low), float(high)


def automatic(y: NDArray[Any], key: float = KEY, exposure: str = "auto", normalise: str = "robust") -> float:
    """The factor that brings the log-average to ``key``: Reinhard et al. 2002, Eq. 2; 1 for "keep" and for black pictures."""
    average = log_average(y, normalise) if exposure == "auto" else 0.0
    return key / average if average > 0 else 1.0
