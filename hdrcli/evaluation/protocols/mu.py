"""PSNR-mu and SSIM-mu as LLM-HDR and HDR-cGAN name them: scores of M(x) = ln(1 + 5000 x) / ln 5001.

Neither paper states the scale of x, clamping, or the settings of SSIM, and neither has public evaluation code: so these are
options here, and the choice of scale is worth many decibels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import Unavailable
from hdrcli.evaluation.protocols import Outcome, Pair, Value
from hdrcli.evaluation.protocols._lines import line
from hdrcli.evaluation.protocols._scores import check, unaligned, value
from hdrcli.metrics._encodings import mu_law, reference_peak
from hdrcli.metrics.psnr import psnr
from hdrcli.metrics.ssim import ssim

SUMMARY = "PSNR and SSIM of mu-law 5000 values, scaled by the reference's maximum or each by its own (LLM-HDR, HDR-cGAN)"
SOURCE = "LLM-HDR and HDR-cGAN: the tone curve (mu = 5000); scale, clamp and SSIM settings are not stated there"

_NAMES = ("psnr_mu", "ssim_mu_wang", "ssim_mu_uniform7_L1")


@dataclass(frozen=True)
class Options:
    """``scale``: "refmax" divides both by the reference's maximum and clamps to 0..1, "ownmax" each by its own, clamp at 0."""

    scale: Literal["refmax", "ownmax"] = "refmax"


def run(pair: Pair, options: Options) -> Outcome:
    """``psnr_mu``, ``ssim_mu_wang``, ``ssim_mu_uniform7_L1``.

    Missing for pictures without a positive sample. Facts: ``test_scale``, ``reference_scale``: what samples were divided by.
    Raises MismatchError for pictures of different sizes, Unavailable for samples that are not finite.
    """
    check(pair)
    cited = line(
        f"mu {options.scale}",
        "both by the reference's maximum, clamp 0..1" if options.scale == "refmax" else "each by its own maximum, clamp 0",
        "mu-law 5000",
        "PSNR peak 1, pooled RGB",
        "SSIM wang L 1 and uniform7 L 1, mean of RGB",
    )
    facts: dict[str, Any] = {"white_nits": pair.white_nits}
    try:
        peak = reference_peak(pair.reference)
        facts |= {"reference_scale": peak, "test_scale": peak if options.scale == "refmax" else _own_peak(pair.test)}
    except Unavailable as error:
        return unaligned(pair, _NAMES, error, cited, facts)
    most = 1.0 if options.scale == "refmax" else None
    test, reference = _mu_of(pair.test, facts["test_scale"], most), _mu_of(pair.reference, peak, most)
    scores: dict[str, Value] = {
        "psnr_mu": value(lambda: psnr(test, reference, 1.0)),
        "ssim_mu_wang": value(lambda: ssim(test, reference, peak=1.0, variant="wang")),
        "ssim_mu_uniform7_L1": value(lambda: ssim(test, reference, peak=1.0, variant="uniform7")),
    }
    return Outcome(scores, facts, cited, pair.test, pair.reference)


def _mu_of(picture: NDArray[Any], scale: float, most: float | None) -> NDArray[np.float64]:
    return mu_law(np.clip(np.asarray(picture, np.float64) / scale, 0, most))


def _own_peak(test: NDArray[Any]) -> float:
    peak = float(test.max())
    if not peak > 0:
        raise Unavailable("the test has no positive sample: there is no maximum to scale by")
    return peak
