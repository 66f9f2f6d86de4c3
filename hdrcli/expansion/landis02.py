"""Landis 2002, "Production-ready global illumination" (SIGGRAPH course 16, part 3): above a threshold light grows to a peak.

For luminance L above the threshold R: k = ((L - R) / (1 - R))^alpha, L' = (1 - k) L + k L_peak L; below R nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries

SUMMARY = "power expansion above a threshold (Landis 2002)"


@dataclass(frozen=True)
class Parameters:
    """``threshold``: linear luminance where growth begins. ``alpha``: falloff. ``peak``: LDR whites that white becomes."""

    threshold: float = 0.5
    alpha: float = 2.0
    peak: float = 8.0


def apply(linear: NDArray[Any], parameters: Parameters, primaries: AnyPrimaries) -> NDArray[Any]:
    """Luminance through the curve, RGB ratios kept."""
    import numpy as np

    from hdrcli.color import luminance

    y = luminance(linear, primaries)
    k = np.clip((y - parameters.threshold) / (1 - parameters.threshold), 0, 1) ** parameters.alpha
    return np.asarray(linear * (1 - k + k * parameters.peak)[..., None], dtype=np.float32)
