"""Delta E ITP: colour differences in ICtCp, ITU-R BT.2124-0. 1 is about what a critical viewer just notices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.metrics import Score
from hdrcli.metrics._encodings import BT709_TO_BT2020, PQ_PEAK, Floats, ictcp, pq_decode
from hdrcli.metrics._pairs import same_shape, strips, whatever_viewing
from hdrcli.parallel import in_turn

_WEIGHTS = np.array([1.0, 0.5, 1.0])  # BT.2124: T is half of Ct


def delta_e_itp(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean of :func:`delta_e_itp_map` over pixels. Same arguments and errors."""
    return _mean(test, reference, codes=False)


def delta_e_itp_map(test: NDArray[Any], reference: NDArray[Any]) -> Floats:
    """Delta E ITP of every pixel: ``(H, W, 3)`` linear BT.709 in cd/m2 to ``(H, W)``.

    Both go to BT.2020 by BT.2087's matrix and are clamped to 0..10000 cd/m2. Raises MismatchError for different shapes.
    """
    same_shape(test, reference)
    return _difference(_from_709(test), _from_709(reference))


def from_codes(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean Delta E ITP of PQ-coded BT.2020, ``(H, W, 3)``, codes 0..1, rounded to 16 bits or not. Errors as above."""
    return _mean(test, reference, codes=True)


def from_codes_map(test: NDArray[Any], reference: NDArray[Any]) -> Floats:
    """Delta E ITP of every pixel of PQ-coded BT.2020, as in :func:`from_codes`: ``(H, W)``."""
    same_shape(test, reference)
    return _difference(pq_decode(test), pq_decode(reference))


def _from_709(rgb: NDArray[Any]) -> Floats:
    return np.clip(np.asarray(rgb, np.float64) @ BT709_TO_BT2020.T, 0, PQ_PEAK)


def _difference(test: Floats, reference: Floats) -> Floats:
    difference = (ictcp(test) - ictcp(reference)) * _WEIGHTS
    return np.asarray(720 * np.sqrt(np.einsum("...k,...k", difference, difference)))


def _mean(test: NDArray[Any], reference: NDArray[Any], *, codes: bool) -> float:
    same_shape(test, reference)
    difference = from_codes_map if codes else delta_e_itp_map

    def summed(rows: slice) -> float:
        return float(difference(test[rows], reference[rows]).sum())

    return math.fsum(in_turn(summed, strips(test.shape))) / math.prod(test.shape[:-1])


SCORES = (
    Score(
        "delta_e_itp",
        "Delta E ITP, mean over pixels",
        "",
        "lower",
        "ITU-R BT.2124-0; ITU-R BT.2100-2",
        whatever_viewing(delta_e_itp),
    ),
)
