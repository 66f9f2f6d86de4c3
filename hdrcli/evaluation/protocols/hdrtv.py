"""HDRTVNet (Chen et al. 2021): scores of PQ-coded BT.2020 in 16 bits, as the authors' test and Delta E scripts compute them.

They start from 16-bit PNGs; linear light is brought there by BT.2087's matrix, a clamp to 0..10000 cd/m2 and PQ, so pictures
have to be in cd/m2. Their repository has no SSIM code; KUNet's script for the same data uses ``uniform7`` with L = 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli.evaluation.protocols import Missing, Outcome, Pair, Value
from hdrcli.evaluation.protocols._lines import line
from hdrcli.evaluation.protocols._scores import check, value
from hdrcli.metrics._encodings import BT709_TO_BT2020, PQ_PEAK, pq_encode
from hdrcli.metrics._pairs import encoded, strips
from hdrcli.metrics.delta_e_itp import from_codes_map
from hdrcli.metrics.psnr import psnr
from hdrcli.metrics.ssim import Variant, ssim
from hdrcli.parallel import in_turn

SUMMARY = "PSNR, SSIM and Delta E ITP of 16-bit PQ BT.2020 (HDRTVNet)"
SOURCE = "Chen et al. 2021, A new journey from SDRTV to HDRTV; chxy95/HDRTVNet 26c3452; SSIM: wanghu178/KUNet"

_SSIM: dict[str, tuple[Variant, float]] = {
    "wang": ("wang", 1.0),
    "uniform7_L2": ("uniform7", 2.0),
    "uniform7_L1": ("uniform7", 1.0),
}


@dataclass(frozen=True)
class Options:
    """What the source leaves open.

    ``ssim``: "wang" with L = 1, "uniform7_L2" as KUNet's script, "uniform7_L1". ``quantise``: round codes to 16 bits; without,
    names of scores end with ``_unquantised``.
    """

    ssim: Literal["wang", "uniform7_L2", "uniform7_L1"] = "wang"
    quantise: bool = True


def run(pair: Pair, options: Options) -> Outcome:
    """``psnr``, ``delta_e_itp``, ``ssim_*`` by variant; HDR-VDP-3's Q, which hdrcli can't compute, is missing.

    Facts: ``delta_e_itp_max``. Raises MismatchError for pictures of different sizes, Unavailable for samples that are not
    finite.
    """
    check(pair)
    test, reference = (_codes(p, options.quantise) for p in (pair.test, pair.reference))
    mean, largest = _delta_e_itp(test, reference)
    variant, peak = _SSIM[options.ssim]
    end = "" if options.quantise else "_unquantised"
    scores: dict[str, Value] = {
        f"psnr{end}": value(lambda: psnr(test, reference, 1.0)),
        f"delta_e_itp{end}": mean,
        f"ssim_{options.ssim}{end}": value(lambda: ssim(test, reference, peak=peak, variant=variant)),
        "hdrvdp3_side_by_side_Q": Missing("hdrcli has no implementation of HDR-VDP-3, which exists as MATLAB code"),
    }
    cited = line(
        "hdrtv",
        "cd/m2, not aligned",
        "BT.709 to BT.2020 (BT.2087)",
        "clamp 0..10000",
        "PQ",
        "16 bits" if options.quantise else "not quantised",
        "PSNR peak 1, pooled RGB",
        f"SSIM {variant} L {peak:g}, mean of RGB",
        "Delta E ITP (BT.2124) of decoded cd/m2, mean over pixels",
    )
    facts = {"delta_e_itp_max": largest, "white_nits": pair.white_nits}
    return Outcome(scores, facts, cited, pair.test, pair.reference)


def _codes(picture: NDArray[Any], quantise: bool) -> NDArray[np.float64]:
    def encode(rgb: NDArray[Any]) -> NDArray[np.float64]:
        codes = pq_encode(np.clip(np.asarray(rgb, np.float64) @ BT709_TO_BT2020.T, 0, PQ_PEAK))
        return np.rint(codes * 65535) / 65535 if quantise else codes  # rint: halves to even, as the original

    return encoded(picture, encode)


def _delta_e_itp(test: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and maximum over pixels."""

    def measured(rows: slice) -> tuple[float, float]:
        difference = from_codes_map(test[rows], reference[rows])
        return float(difference.sum()), float(difference.max())

    sums, largest = zip(*in_turn(measured, strips(test.shape)), strict=True)
    return math.fsum(sums) / (test.shape[0] * test.shape[1]), max(largest)
