"""PU21 encoding, and PSNR and SSIM on it.

Mantiuk and Azimi 2021, "PU21: A novel perceptually uniform encoding for adapting existing quality metrics for HDR", variant
banding_glare, the one the authors recommend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.metrics import Score
from hdrcli.metrics._encodings import luminance709
from hdrcli.metrics._pairs import encoded, same_shape, whatever_viewing
from hdrcli.metrics.psnr import decibels, mean_squared_error
from hdrcli.metrics.ssim import ssim

_P = (0.353487901, 0.3734658629, 8.277049286e-5, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
L_MIN, L_MAX = 0.005, 10000.0
PEAK = 256.0  # V(100 cd/m2) is 256.38


def pu21_encode(luminance: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute cd/m2 (clamped to 0.005..10000) to PU21 units (0..595.4), any shape, float64."""
    y = np.clip(np.asarray(luminance, dtype=np.float64), L_MIN, L_MAX) ** _P[3]
    return np.maximum(_P[6] * (((_P[0] + _P[1] * y) / (1 + _P[2] * y)) ** _P[4] - _P[5]), 0)


def pu21_psnr_rgb(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """PSNR in dB of PU21-encoded RGB, peak 256, one mean over all samples: both ``(H, W, 3)`` in cd/m2. Equal images: inf."""
    return decibels(mean_squared_error(test, reference, pu21_encode), PEAK)


def pu21_psnr_lum(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """PSNR in dB of PU21-encoded luminance, peak 256: both ``(H, W, 3)``, linear BT.709 in cd/m2. Equal images: inf."""
    return decibels(mean_squared_error(test, reference, _of_luminance), PEAK)


def pu21_ssim_lum_matlab(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """SSIM ``matlab``, L = 256, of PU21-encoded luminance: both ``(H, W, 3)``, linear BT.709 in cd/m2.

    Raises Unavailable for pictures smaller than 11 x 11.
    """
    same_shape(test, reference)
    return ssim(encoded(test, _of_luminance), encoded(reference, _of_luminance), peak=PEAK, variant="matlab")


def _of_luminance(rgb: NDArray[Any]) -> NDArray[np.float64]:
    return pu21_encode(luminance709(rgb))


_SOURCE = "Mantiuk and Azimi 2021, PU21, banding_glare"
SCORES = (
    Score(
        "pu21_psnr_rgb",
        "PSNR of PU21-encoded R, G and B, peak 256",
        "dB",
        "higher",
        _SOURCE,
        whatever_viewing(pu21_psnr_rgb),
    ),
    Score(
        "pu21_psnr_lum",
        "PSNR of PU21-encoded luminance, peak 256",
        "dB",
        "higher",
        _SOURCE,
        whatever_viewing(pu21_psnr_lum),
    ),
    Score(
        "pu21_ssim_lum_matlab",
        "SSIM (matlab, L = 256) of PU21-encoded luminance",
        "",
        "higher",
        f"{_SOURCE}; Wang et al. 2004",
        whatever_viewing(pu21_ssim_lum_matlab),
    ),
)
