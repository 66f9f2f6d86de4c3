"""PU21 encoding and the PSNR on it.

Mantiuk and Azimi 2021, "PU21: A novel perceptually uniform encoding for adapting existing quality metrics for HDR", variant
banding_glare, the one the authors recommend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_P = (0.353487901, 0.3734658629, 8.277049286e-5, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
L_MIN, L_MAX = 0.005, 10000.0
PEAK = 256.0  # V(100 cd/m2) is 256.38


def pu21_encode(luminance: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute cd/m2 (clamped to 0.005..10000) to PU21 units (0..595.4), any shape, float64."""
    y = np.clip(np.asarray(luminance, dtype=np.float64), L_MIN, L_MAX) ** _P[3]
    return np.maximum(_P[6] * (((_P[0] + _P[1] * y) / (1 + _P[2] * y)) ** _P[4] - _P[5]), 0)


def pu21_psnr_rgb(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """PSNR in dB of PU21-encoded RGB, peak 256, one mean over all samples: both ``(H, W, 3)`` in cd/m2. Equal images: inf."""
    error = float(np.mean((pu21_encode(test) - pu21_encode(reference)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(PEAK**2 / error))
