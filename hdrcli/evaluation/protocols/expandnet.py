"""ExpandNet (Marnerides et al. 2018): percentiles mapped to a display's, or to the scene's; PU-encoded scores and HDR-VDP-2.2.

The alignment is read in issues 9 and 10 of the authors' repository, which has no evaluation code. A clipped prediction has
its clip level as 99.9 percentile, so ``display`` lifts that to 999 cd/m2: that is the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import Unavailable
from hdrcli.evaluation.alignment import affine
from hdrcli.evaluation.protocols import Missing, Outcome, Pair, Value
from hdrcli.evaluation.protocols._lines import line, number
from hdrcli.evaluation.protocols._scores import Precision, check, hdrvdp22_q, unaligned, value
from hdrcli.metrics._encodings import luminance709, percentile
from hdrcli.metrics.pu2 import pu2_psnr_lum, pu2_ssim_lum_wang
from hdrcli.metrics.pu21 import pu21_psnr_lum, pu21_psnr_rgb, pu21_ssim_lum_matlab

SUMMARY = "0.1 and 99.9 percentiles mapped to 1 and 999 cd/m2, or to the reference's; PU2, PU21, HDR-VDP-2.2 (ExpandNet)"
SOURCE = "Marnerides et al. 2018, ExpandNet, arXiv 1803.02266; issues 9 and 10 of dmarnerides/hdr-expandnet"

DISPLAY = (1.0, 999.0)  # cd/m2
_SCORES = {
    "pu21_psnr_rgb": pu21_psnr_rgb,
    "pu21_psnr_lum": pu21_psnr_lum,
    "pu2_psnr_lum": pu2_psnr_lum,
    "pu2_ssim_lum_wang": pu2_ssim_lum_wang,
    "pu21_ssim_lum_matlab": pu21_ssim_lum_matlab,
}
_Q = "hdrvdp22_Q"


@dataclass(frozen=True)
class Options:
    """What the source leaves open.

    ``variant``: "display" maps to 1 and 999 cd/m2, "scene" the test to the reference's percentiles, which must be in cd/m2.
    ``mapped``: whether "display" maps the reference as well. ``samples``: what percentiles are taken of, pooled RGB or
    luminance. ``percentiles``: "linear" is NumPy's rule, "hazen" MATLAB's. ``hdrvdp``: false leaves HDR-VDP-2.2 out, which
    takes most of the time. ``precision``: of HDR-VDP-2.2.
    """

    variant: Literal["display", "scene"] = "display"
    mapped: Literal["both", "test"] = "both"
    samples: Literal["rgb", "luminance"] = "rgb"
    percentiles: Literal["linear", "hazen"] = "linear"
    hdrvdp: bool = True
    precision: Precision = "float32"


def run(pair: Pair, options: Options) -> Outcome:
    """PU21 and PU2 scores and ``hdrvdp22_Q``.

    All scores are missing for constant images. Raises MismatchError for pictures of different sizes, Unavailable for samples
    that are not finite.
    """
    check(pair)
    test_levels, reference_levels = _levels(pair.test, options), _levels(pair.reference, options)
    facts: dict[str, Any] = {
        "test_percentiles": list(test_levels),
        "reference_percentiles": list(reference_levels),
        "white_nits": pair.white_nits,
    }
    try:
        test, reference = _aligned(pair, test_levels, reference_levels, options)
    except Unavailable as error:
        return unaligned(pair, (*_SCORES, _Q), error, _cited(pair, options), facts)
    scores: dict[str, Value] = {name: value(partial(compute, test, reference)) for name, compute in _SCORES.items()}
    scores[_Q] = (
        value(lambda: hdrvdp22_q(test, reference, pair.viewing, options.precision))
        if options.hdrvdp
        else Missing("left out on request")
    )
    facts["aligned_test_mean"] = float(test.mean(dtype=np.float64))
    facts["aligned_ref_mean"] = float(reference.mean(dtype=np.float64))
    return Outcome(scores, facts, _cited(pair, options), test, reference)


def _levels(picture: NDArray[Any], options: Options) -> tuple[float, float]:
    samples = luminance709(picture) if options.samples == "luminance" else picture
    if options.percentiles == "hazen":
        low, high = np.percentile(np.asarray(samples, np.float64), (0.1, 99.9), method="hazen")
        return float(low), float(high)
    return percentile(samples, 0.1), percentile(samples, 99.9)


def _aligned(
    pair: Pair, test_levels: tuple[float, float], reference_levels: tuple[float, float], options: Options
) -> tuple[NDArray[Any], NDArray[Any]]:
    if options.variant == "scene":
        return affine(pair.test, test_levels, reference_levels), pair.reference
    test = affine(pair.test, test_levels, DISPLAY)
    return test, affine(pair.reference, reference_levels, DISPLAY) if options.mapped == "both" else pair.reference


def _cited(pair: Pair, options: Options) -> str:
    of = "pooled RGB" if options.samples == "rgb" else "luminance"
    rule = "linear interpolation" if options.percentiles == "linear" else "Hazen's rule"
    if options.variant == "scene":
        mapped = "test's P0.1/P99.9 mapped to the reference's"
    elif options.mapped == "both":
        mapped = "P0.1/P99.9 of test and reference mapped to 1/999 cd/m2"
    else:
        mapped = "test's P0.1/P99.9 mapped to 1/999 cd/m2, reference unchanged"
    return line(
        f"expandnet {options.variant}",
        f"{mapped} ({of}, {rule})",
        "below 0 to 0",
        "PU21 banding_glare peak 256, SSIM matlab L 256",
        "PU2 peak 255, SSIM wang L 255",
        f"HDR-VDP-2.2 rgb-bt.709 {number(pair.viewing.ppd)} ppd {options.precision}"
        if options.hdrvdp
        else "without HDR-VDP-2.2",
    )
