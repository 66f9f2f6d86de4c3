"""NTIRE 2021's challenge on HDR imaging (Perez-Pellitero et al. 2021): mu-law PSNR of tanh-compressed light, and plain PSNR.

As the challenge's scoring functions do it that ADNet's repository holds. The challenge stores gamma-coded values; linear light
H stands for stored x = H^(1/2.24). The scale is the reference's own, the same for both pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.evaluation.protocols import Outcome, Pair, Value
from hdrcli.evaluation.protocols._lines import line
from hdrcli.evaluation.protocols._scores import check, value
from hdrcli.metrics._encodings import mu_law, percentile, reference_peak
from hdrcli.metrics.psnr import psnr, psnr_tanh_mu

SUMMARY = "PSNR of mu-law tanh-compressed and of stored values (NTIRE 2021 HDR challenge)"
SOURCE = "Perez-Pellitero et al. 2021, NTIRE challenge on HDR imaging; liuzhen03/ADNet e2a68cb, utils/metrics.py, evaluation.py"

GAMMA = 2.24


@dataclass(frozen=True)
class Options:
    """None: the source leaves nothing open."""


def run(pair: Pair, options: Options) -> Outcome:
    """``mu_psnr`` (the challenge's measure), ``psnr_stored``, ``psnr_linear``, ``mu_psnr_no_tanh_refmax``.

    ``psnr_stored`` is of gamma-coded values; papers call it, and ``psnr_linear``, "PSNR-L". Negative light counts as 0.
    Missing for a reference that is black (or 99 % so: ``mu_psnr``). Raises MismatchError for pictures of different sizes,
    Unavailable for samples that are not finite.
    """
    check(pair)
    test, reference = _light(pair.test), _light(pair.reference)
    scores: dict[str, Value] = {
        "mu_psnr": value(lambda: psnr_tanh_mu(test, reference)),
        "psnr_stored": value(lambda: _of_peak(test ** (1 / GAMMA), reference ** (1 / GAMMA))),
        "psnr_linear": value(lambda: _of_peak(test, reference)),
        "mu_psnr_no_tanh_refmax": value(lambda: _mu_of_peak(test, reference)),
    }
    facts = {"p99_ref": percentile(reference, 99), "max_ref": float(reference.max()), "white_nits": pair.white_nits}
    cited = line(
        "ntire21",
        "linear light, below 0 to 0",
        "mu_psnr: M(tanh(H / P99(reference))), pooled RGB percentile, linear interpolation, mu 5000",
        "psnr_stored: H^(1/2.24) / its reference's maximum",
        "psnr_linear and mu_psnr_no_tanh_refmax: H / the reference's maximum",
        "no clamp above",
        "PSNR peak 1",
    )
    return Outcome(scores, facts, cited, pair.test, pair.reference)


def _light(picture: NDArray[Any]) -> NDArray[np.float64]:
    return np.maximum(np.asarray(picture, np.float64), 0)


def _of_peak(test: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    return psnr(test, reference, reference_peak(reference))


def _mu_of_peak(test: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    peak = reference_peak(reference)
    return psnr(mu_law(test / peak), mu_law(reference / peak), 1.0)
