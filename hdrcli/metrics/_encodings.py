"""Encodings and small functions that metrics and evaluation protocols share. Luminance and light in cd/m2, all in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import MU, Transfer, decode, encode
from hdrcli.errors import Unavailable

Floats = NDArray[np.float64]
Encoding = Callable[[NDArray[Any]], Floats]  # acts on samples, or on pixels, each alone

PQ_PEAK = 10000.0  # cd/m2 of PQ code 1

# ITU-R BT.2087-0, 2.2: linear BT.709 to linear BT.2020, with the four digits that are printed there
BT709_TO_BT2020: Floats = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])

# ITU-R BT.2100-2, tables 6 and 7: linear BT.2020 to LMS, PQ-coded LMS to ICtCp
_LMS = np.array([[1688.0, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
_ICTCP = np.array([[2048.0, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096

_LUMINANCE = np.array([0.212656, 0.715158, 0.072186])  # BT.709's as the toolbox of PU21 has them

# PQ with rounded constants, as the CRF correction of Hanji et al. 2022 (toolbox pu21) has it
_SHORT_M1, _SHORT_M2 = 0.1593, 78.8438
_SHORT_C1, _SHORT_C2, _SHORT_C3 = 0.8359, 18.8516, 18.6875

for _matrix in (BT709_TO_BT2020, _LMS, _ICTCP, _LUMINANCE):
    _matrix.flags.writeable = False


def mu_law(x: NDArray[Any]) -> Floats:
    """ln(1 + 5000 x) / ln 5001, any shape, x >= 0: 0 to 0, 1 to 1. Not clamped. Kalantari and Ramamoorthi 2017, eq. 5."""
    return np.asarray(np.log1p(MU * np.asarray(x, np.float64)) / np.log1p(MU))


def light(x: NDArray[Any]) -> Floats:
    """Linear light as it is, negative values as 0."""
    return np.maximum(np.asarray(x, np.float64), 0)


def pq_encode(nits: NDArray[Any]) -> Floats:
    """cd/m2 to PQ codes, any shape: 10000 gives 1, below 0 counts as 0, above 10000 is not clamped. SMPTE ST 2084."""
    return np.asarray(encode(np.asarray(nits, np.float64) / PQ_PEAK, Transfer.PQ))


def pq_decode(code: NDArray[Any]) -> Floats:
    """PQ codes, 0..1, to cd/m2: the inverse of :func:`pq_encode`."""
    return np.asarray(PQ_PEAK * decode(np.asarray(code, np.float64), Transfer.PQ))


def pq_short_encode(nits: NDArray[Any]) -> Floats:
    """cd/m2, >= 0, to codes of the PQ with rounded constants; no substitute for :func:`pq_encode`."""
    y = (np.asarray(nits, np.float64) / PQ_PEAK) ** _SHORT_M1
    return np.asarray(((_SHORT_C1 + _SHORT_C2 * y) / (1 + _SHORT_C3 * y)) ** _SHORT_M2)


def pq_short_decode(code: NDArray[Any]) -> Floats:
    """Codes, >= 0, of the PQ with rounded constants to cd/m2. inf from its pole on, near code 1.9924; 0 up to the code of 0."""
    v = np.asarray(code, np.float64) ** (1 / _SHORT_M2)
    below = _SHORT_C2 - _SHORT_C3 * v
    finite = below > 0
    light = np.maximum(v - _SHORT_C1, 0) / np.where(finite, below, 1)
    return np.asarray(np.where(finite, PQ_PEAK * light ** (1 / _SHORT_M1), np.inf))


def ictcp(rgb2020_nits: NDArray[Any]) -> Floats:
    """ICtCp, ``(..., 3)``, of linear BT.2020 RGB in cd/m2, ``(..., 3)``, >= 0: ITU-R BT.2100-2, PQ."""
    return np.asarray(pq_encode(np.asarray(rgb2020_nits, np.float64) @ _LMS.T) @ _ICTCP.T)


def luminance709(rgb: NDArray[Any]) -> Floats:
    """0.212656 R + 0.715158 G + 0.072186 B, ``(..., 3)`` to ``(...)``: the weights of the toolbox of PU21."""
    return np.asarray(np.asarray(rgb, np.float64) @ _LUMINANCE)


def percentile(x: NDArray[Any], q: float) -> float:
    """Percentile ``q`` (0..100) of all samples pooled: position q/100 (n - 1), interpolated linearly (NumPy's, R's type 7)."""
    samples = np.asarray(x).ravel()
    position = q / 100 * (samples.size - 1)
    lower = int(position)
    upper = min(lower + 1, samples.size - 1)
    ordered = np.partition(samples, (lower, upper))
    # in float64 whatever the samples' type: numpy.percentile would round to it
    low, high = float(ordered[lower]), float(ordered[upper])
    return low + (high - low) * (position - lower)


def reference_peak(reference: NDArray[Any]) -> float:
    """The largest sample of the reference. Raises Unavailable if it is not above 0."""
    peak = float(np.max(reference))
    if not peak > 0:
        raise Unavailable("the reference is black: there is no maximum to scale by")
    return peak


def refmax_mu_law(reference: NDArray[Any]) -> Encoding:
    """:func:`mu_law` of x / max(reference), clamped to 0..1, for both pictures. Raises Unavailable for a black reference."""
    peak = reference_peak(reference)
    return lambda x: mu_law(np.clip(np.asarray(x, np.float64) / peak, 0, 1))


def tanh_mu_law(reference: NDArray[Any]) -> Encoding:
    """:func:`mu_law` of tanh(max(x, 0) / n), n the reference's 99th percentile, for both pictures: NTIRE 2021's HDR challenge.

    Raises Unavailable if n is 0.
    """
    n = percentile(np.maximum(reference, 0), 99)
    if not n > 0:
        raise Unavailable("the reference's 99th percentile is 0: there is nothing to scale by")
    return lambda x: mu_law(np.tanh(light(x) / n))
