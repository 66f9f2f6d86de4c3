"""PU2, the perceptually uniform encoding that "PU" meant before 2021, and PSNR and SSIM on it.

Aydin, Mantiuk and Seidel 2008, "Extending quality metrics to full luminance range images", as revised with the contrast
sensitivity of HDR-VDP-2: one unit is one just noticeable difference, stretched so that 0.8..80 cd/m2 go to 0..255.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.metrics import Score
from hdrcli.metrics._encodings import luminance709
from hdrcli.metrics._pairs import encoded, same_shape, whatever_viewing
from hdrcli.metrics.psnr import decibels, mean_squared_error
from hdrcli.metrics.ssim import ssim

PEAK = 255.0
_LOG_RANGE = (-5.0, 10.0)
_ENTRIES = 4096
_AT_0, _AT_255 = 31.9270, 149.9244  # just noticeable differences from 10^-5 to 0.8 and to 80 cd/m2


@lru_cache(maxsize=1)
def _differences() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """log10 luminance, and just noticeable differences up to there: the sensitivity integrated over ln luminance."""
    log_luminance = np.linspace(*_LOG_RANGE, _ENTRIES)
    sensitivity = 30.162 * ((4.0627 / 10**log_luminance) ** 1.6596 + 1) ** -0.2712
    steps = (sensitivity[1:] + sensitivity[:-1]) / 2 * np.diff(log_luminance) * np.log(10)
    return log_luminance, np.concatenate([[0.0], np.cumsum(steps)])


def pu2_encode(luminance: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute cd/m2 (clamped to 1e-5..1e10) to PU2 units, any shape, float64: 0.8 to 0, 80 to 255, not clamped there."""
    clamped = np.clip(np.asarray(luminance, np.float64), 10 ** _LOG_RANGE[0], 10 ** _LOG_RANGE[1])
    return np.asarray(PEAK * (np.interp(np.log10(clamped), *_differences()) - _AT_0) / (_AT_255 - _AT_0))


def pu2_psnr_lum(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """PSNR in dB of PU2-encoded luminance, peak 255: both ``(H, W, 3)``, linear BT.709 in cd/m2. Equal images: inf."""
    return decibels(mean_squared_error(test, reference, _of_luminance), PEAK)


def pu2_ssim_lum_wang(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """SSIM ``wang``, L = 255, of PU2-encoded luminance: both ``(H, W, 3)``, linear BT.709 in cd/m2.

    Raises Unavailable for pictures smaller than 11 x 11.
    """
    same_shape(test, reference)
    return ssim(encoded(test, _of_luminance), encoded(reference, _of_luminance), peak=PEAK, variant="wang")


def _of_luminance(rgb: NDArray[Any]) -> NDArray[np.float64]:
    return pu2_encode(luminance709(rgb))


_SOURCE = "Aydin, Mantiuk and Seidel 2008"
SCORES = (
    Score(
        "pu2_psnr_lum",
        "PSNR of PU2-encoded luminance, peak 255",
        "dB",
        "higher",
        _SOURCE,
        whatever_viewing(pu2_psnr_lum),
        slow=True,
    ),
    Score(
        "pu2_ssim_lum_wang",
        "SSIM (wang, L = 255) of PU2-encoded luminance",
        "",
        "higher",
        f"{_SOURCE}; Wang et al. 2004",
        whatever_viewing(pu2_ssim_lum_wang),
        slow=True,
    ),
)
