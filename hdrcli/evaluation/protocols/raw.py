"""Scores of the pictures as they are, in absolute units: ``sihdr`` without its correction.

What differs from one method to the next in exposure or response counts as error here.
"""

from __future__ import annotations

from dataclasses import dataclass

from hdrcli.evaluation.protocols import Outcome, Pair
from hdrcli.evaluation.protocols._aligned import run_aligned

SUMMARY = "PU21 scores in cd/m2, nothing aligned"
SOURCE = "Mantiuk and Azimi 2021 (PU21), toolbox pu21, pu21_metric"
TAKES_METRICS = True


@dataclass(frozen=True)
class Options:
    """``peak_nits``: cd/m2 that the reference's maximum is brought to, both pictures by one factor; 0: they stay."""

    peak_nits: float = 0.0


def run(pair: Pair, options: Options) -> Outcome:
    """``pu21_psnr_rgb``, ``pu21_psnr_lum``, ``pu21_ssim_lum_matlab`` and ``pair.metrics``. Raises as ``sihdr`` does."""
    return run_aligned(pair, "raw", "none", normalised=False, peak_nits=options.peak_nits)
