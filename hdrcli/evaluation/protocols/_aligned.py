"""What ``raw`` and ``sihdr`` are but for their defaults: an alignment, PU21 scores, and whatever else was asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from hdrcli.errors import Unavailable, UsageError
from hdrcli.evaluation.alignment import ALIGNMENTS, CITED, crf, in_type
from hdrcli.evaluation.protocols import Outcome, Pair
from hdrcli.evaluation.protocols._lines import line, number
from hdrcli.evaluation.protocols._scores import check, compute_scores, unaligned
from hdrcli.metrics._encodings import reference_peak

Align = Literal["none", "max", "percentile", "exposure", "crf"]

ALWAYS = ("pu21_psnr_rgb", "pu21_psnr_lum", "pu21_ssim_lum_matlab")


def run_aligned(pair: Pair, protocol: str, align: Align, *, normalised: bool, peak_nits: float) -> Outcome:
    """:data:`ALWAYS` and ``pair.metrics`` of the aligned pictures.

    ``peak_nits``: before that both are scaled by one factor that brings the reference's maximum here; 0: they are not.
    """
    check(pair)
    if normalised and align != "crf":
        raise UsageError(
            "only the CRF correction can be normalised", where="normalised", remedy="say align=crf or leave it out"
        )
    if peak_nits < 0:
        raise UsageError(f"{peak_nits:g} cd/m2 is no luminance", where="peak_nits", remedy="say 0 or more")
    names = tuple(dict.fromkeys((*ALWAYS, *pair.metrics)))
    cited = line(
        protocol,
        CITED[align] + (", medians normalised to 500" if normalised else ""),
        f"reference's maximum at {number(peak_nits)} cd/m2" if peak_nits else "",
        "clamp 0.005..10000",
        "PU21 banding_glare",
        "PSNR peak 256",
        "SSIM matlab L 256",
        f"{number(pair.viewing.ppd)} ppd",
    )
    facts: dict[str, Any] = {"align": align, "white_nits": pair.white_nits}
    try:
        if peak_nits:
            scale = peak_nits / reference_peak(pair.reference)
            facts["scale"] = scale
            pair = replace(pair, test=_times(pair.test, scale), reference=_times(pair.reference, scale))
        alignment = partial(crf, normalised=True) if normalised else ALIGNMENTS[align]
        test, reference, fitted = alignment(pair.test, pair.reference)
    except Unavailable as error:
        return unaligned(pair, names, error, cited, facts)
    return Outcome(compute_scores(names, test, reference, pair.viewing), facts | fitted, cited, test, reference)


def _times(picture: Any, scale: float) -> Any:
    return in_type(np.asarray(picture, np.float64) * scale, picture.dtype)
