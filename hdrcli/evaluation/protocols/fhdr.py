"""FHDR (Khan, Khanna, Raman 2019): PSNR of mu-law values, SSIM of linear ones.

As the authors' test script, data loader and pinned library do it: pictures in [0, 1], and SSIM with L = 2, which
scikit-image 0.15 takes from a float array's type. The output of the network is a tanh; for other files a clamp stands for it.
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

SUMMARY = "PSNR of mu-law 5000 values, SSIM of linear ones with L = 2 (FHDR)"
SOURCE = "Khan, Khanna, Raman 2019, arXiv 1912.11463; mukulkhanna/FHDR 1a6cfb6, test.py, util.py, data_loader.py"


@dataclass(frozen=True)
class Options:
    """What depends on the files.

    ``unscaled``: the files' own values (before white_nits) are in [0, 1], as the authors'; names of scores end with it then.
    ``ssim``: "uniform7_L2" is the authors' range, "uniform7_L1" that of the data.
    """

    unscaled: bool = False
    ssim: Literal["uniform7_L2", "uniform7_L1"] = "uniform7_L2"


def run(pair: Pair, options: Options) -> Outcome:
    """``psnr_mu`` and ``ssim_linear_uniform7_L2`` (or ``_L1``); with ``unscaled`` both names end with ``_unscaled``.

    Without ``unscaled`` both pictures are divided by the reference's maximum and clamped to [0, 1] (missing if that is black);
    with it by ``white_nits``, and the test alone is clamped, at 0. Facts: ``scale``, what samples were divided by. Raises
    MismatchError for pictures of different sizes, Unavailable for samples that are not finite.
    """
    check(pair)
    end = "_unscaled" if options.unscaled else ""
    psnr_name, ssim_name = f"psnr_mu{end}", f"ssim_linear_{options.ssim}{end}"
    peak = 2.0 if options.ssim == "uniform7_L2" else 1.0
    cited = line(
        "fhdr",
        "unscaled (the files' own values), test clamped at 0"
        if options.unscaled
        else "both by the reference's maximum, clamp 0..1",
        "mu-law 5000 PSNR peak 1, pooled RGB",
        f"SSIM of linear values uniform7 L {peak:g}, mean of RGB",
    )
    facts: dict[str, Any] = {"white_nits": pair.white_nits}
    try:
        facts["scale"] = pair.white_nits if options.unscaled else reference_peak(pair.reference)
    except Unavailable as error:
        return unaligned(pair, (psnr_name, ssim_name), error, cited, facts)
    test, reference = (np.asarray(p, np.float64) / facts["scale"] for p in (pair.test, pair.reference))
    if options.unscaled:
        test = np.maximum(test, 0)
    else:
        test, reference = np.clip(test, 0, 1), np.clip(reference, 0, 1)
    scores: dict[str, Value] = {
        psnr_name: value(lambda: _psnr_mu(test, reference)),
        ssim_name: value(lambda: ssim(test, reference, peak=peak, variant="uniform7")),
    }
    return Outcome(scores, facts, cited, pair.test, pair.reference)


def _psnr_mu(test: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    if reference.min() < 0:
        raise Unavailable("the reference has negative samples, which the mu-law does not take")
    return psnr(mu_law(test), mu_law(reference), 1.0)
