"""Peak signal-to-noise ratio, on linear light and on the tone curves that HDR papers measure on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.metrics import Score
from hdrcli.metrics._encodings import Encoding, Floats, light, reference_peak, refmax_mu_law, tanh_mu_law
from hdrcli.metrics._pairs import same_shape, strips, whatever_viewing
from hdrcli.parallel import in_turn


def mean_squared_error(test: NDArray[Any], reference: NDArray[Any], encode: Encoding | None = None) -> float:
    """One mean over all samples, any shape, in float64; of ``encode(picture)`` if it is given. In strips, by all threads.

    Raises MismatchError for different shapes.
    """
    same_shape(test, reference)
    test, reference = np.atleast_1d(test), np.atleast_1d(reference)
    values = encode or _as_they_are

    def summed(rows: slice) -> tuple[float, int]:
        difference = (values(test[rows]) - values(reference[rows])).ravel()
        return float(difference @ difference), difference.size

    strip_sums = list(in_turn(summed, strips(test.shape)))
    return math.fsum(total for total, _ in strip_sums) / sum(count for _, count in strip_sums)


def decibels(error: float, peak: float) -> float:
    """10 log10(peak^2 / error) of a mean squared error; inf for 0, -inf for one that overflowed."""
    if error in (0, math.inf):
        return math.inf if error == 0 else -math.inf
    return 10 * math.log10(peak**2 / error)


def psnr(test: NDArray[Any], reference: NDArray[Any], peak: float) -> float:
    """dB: 10 log10(peak^2 / mean((test - reference)^2)), one mean over all samples of any shape. Equal: inf.

    Raises MismatchError for different shapes.
    """
    return decibels(mean_squared_error(test, reference), peak)


def psnr_linear(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """dB of linear light, negative values as 0; the peak is the reference's maximum. Raises Unavailable if that is black."""
    return decibels(mean_squared_error(test, reference, light), reference_peak(reference))


def psnr_mu(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """dB, peak 1, of the mu-law (5000) of x / max(reference), clamped to 0..1. Raises Unavailable for a black reference."""
    return decibels(mean_squared_error(test, reference, refmax_mu_law(reference)), 1)


def psnr_tanh_mu(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """dB, peak 1, of the mu-law (5000) of tanh(x / n), n the 99th percentile of the reference's samples.

    The ranking measure of the NTIRE 2021 HDR challenge. Raises Unavailable for a reference whose n is 0.
    """
    return decibels(mean_squared_error(test, reference, tanh_mu_law(reference)), 1)


def _as_they_are(x: NDArray[Any]) -> Floats:
    return np.asarray(x, np.float64)


SCORES = (
    Score(
        "psnr_linear",
        "PSNR of linear light, peak = the reference's maximum",
        "dB",
        "higher",
        "10 log10(max(R)^2 / MSE)",
        whatever_viewing(psnr_linear),
    ),
    Score(
        "psnr_mu",
        "PSNR of the mu-law (5000) of light / the reference's maximum, peak 1",
        "dB",
        "higher",
        "Kalantari and Ramamoorthi 2017, eq. 5",
        whatever_viewing(psnr_mu),
    ),
    Score(
        "psnr_tanh_mu",
        "PSNR of the mu-law (5000) of tanh(light / the reference's 99th percentile), peak 1",
        "dB",
        "higher",
        "Perez-Pellitero et al. 2021, NTIRE challenge on HDR imaging",
        whatever_viewing(psnr_tanh_mu),
    ),
)
