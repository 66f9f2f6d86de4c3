"""Hanji et al. 2022, "Comparison of single image HDR reconstruction methods": PU21 scores after a correction of the response.

A method is not to be punished for a camera response curve that nobody can know: the test is brought to the reference by the
toolbox's correction (:func:`hdrcli.evaluation.alignment.crf`) before it is scored. What ``raw`` gives is to be reported beside.
"""

from __future__ import annotations

from dataclasses import dataclass

from hdrcli.evaluation.protocols import Outcome, Pair
from hdrcli.evaluation.protocols._aligned import Align, run_aligned

SUMMARY = "PU21 scores after correcting the test's camera response (Hanji et al. 2022)"
SOURCE = "Hanji et al. 2022, doi:10.1145/3528233.3530729; toolbox pu21: pu21_metric, crf_correction"
TAKES_METRICS = True


@dataclass(frozen=True)
class Options:
    """What the source leaves open.

    ``align``: another alignment in place of the correction; "none" gives the numbers of ``raw``. ``normalised``: the
    toolbox's option of bringing both medians to 500 for the correction, for predictions in relative units. ``peak_nits``:
    cd/m2 that the reference's maximum is brought to first, both pictures by one factor (the toolbox's example says 4000);
    0: they stay.
    """

    align: Align = "crf"
    normalised: bool = False
    peak_nits: float = 0.0


def run(pair: Pair, options: Options) -> Outcome:
    """``pu21_psnr_rgb``, ``pu21_psnr_lum``, ``pu21_ssim_lum_matlab`` and ``pair.metrics`` of the aligned pictures.

    All scores are missing where the alignment is not defined. Raises MismatchError for pictures of different sizes,
    Unavailable for samples that are not finite, UsageError for options that contradict each other or unknown metrics.
    """
    return run_aligned(pair, "sihdr", options.align, normalised=options.normalised, peak_nits=options.peak_nits)
