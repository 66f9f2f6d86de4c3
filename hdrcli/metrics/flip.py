"""LDR-FLIP and HDR-FLIP, through NVIDIA's package flip-evaluator (BSD 3-clause).

LDR-FLIP: Andersson et al. 2020, "FLIP: a difference evaluator for alternating images". HDR-FLIP: Andersson et al. 2021,
"Visualizing errors in rendered high dynamic range images": at each pixel the largest LDR-FLIP of the pair tone-mapped (ACES) at
exposures from where the reference's maximum to where its median luminance comes out at 0.85, one a stop.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics._packages import Singles, rgb_pair, sensible_ppd, version_of, without

# Below 2^-23, which it takes as the least median, the package's exposures end before they start: then it ends the process.
_DARKEST = 1e-6
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def hdr_flip(test: NDArray[Any], reference: NDArray[Any], ppd: float) -> tuple[float, Singles]:
    """Mean, 0 (equal) .. 1, and map, ``(H, W)`` float32, of HDR-FLIP: ``(H, W, 3)`` linear RGB, BT.709 primaries, any unit.

    ``ppd``: pixels per visual degree, at most 1000. The exposures come from the reference, so a factor on both pictures changes
    nothing as long as the reference's median luminance stays above 1.2e-7; where it is 0, exposures go on until 1.2e-7 comes
    out at 0.85. Negative values count as 0. Raises Unavailable without the package and for a reference whose maximum luminance
    is below 1e-6, MismatchError for other shapes and values that are not finite, UsageError for another ``ppd``.
    """
    test, reference = (np.maximum(picture, 0) for picture in rgb_pair("HDR-FLIP", test, reference))
    if float((reference @ np.array(_LUMINANCE, np.float32)).max()) < _DARKEST:
        raise Unavailable("the reference is black: HDR-FLIP finds no exposures")
    return _evaluate(test, reference, "HDR", ppd)


def ldr_flip(test: NDArray[Any], reference: NDArray[Any], ppd: float) -> tuple[float, Singles]:
    """Mean, 0 (equal) .. 1, and map, ``(H, W)`` float32, of LDR-FLIP: ``(H, W, 3)`` sRGB codes in 0..1.

    Raises Unavailable without the package, MismatchError for other shapes and values outside 0..1, UsageError for a ``ppd``
    that is not above 0 and at most 1000.
    """
    pair = rgb_pair("LDR-FLIP", test, reference)
    if any(picture.min() < 0 or picture.max() > 1 for picture in pair):
        raise MismatchError("LDR-FLIP takes sRGB codes in 0..1", remedy="encode the picture for display and clip it")
    return _evaluate(*pair, "LDR", ppd)


def _evaluate(test: Singles, reference: Singles, kind: str, ppd: float) -> tuple[float, Singles]:
    ppd = sensible_ppd(ppd)
    try:
        flip_evaluator: Any = importlib.import_module("flip_evaluator")
    except ModuleNotFoundError:
        raise without("flip-evaluator", f"{kind}-FLIP") from None
    found, mean, _ = flip_evaluator.evaluate(reference, test, kind, applyMagma=False, parameters={"ppd": ppd})
    return float(mean), np.asarray(found, np.float32)[..., 0]


def version() -> str | None:
    """The package and its version, "flip-evaluator 1.7"; None if it is not installed."""
    return version_of("flip-evaluator")


def _score(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
    return hdr_flip(test, reference, viewing.ppd)[0]


SCORES = (
    Score(
        "hdr_flip",
        "HDR-FLIP, mean, exposures from the reference",
        "",
        "lower",
        "Andersson et al. 2021; package flip-evaluator",
        _score,
        slow=True,
    ),
)
