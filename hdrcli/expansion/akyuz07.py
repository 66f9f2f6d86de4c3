"""Akyuz, Fleming, Riecke, Reinhard, Bulthoff 2007, "Do HDR displays support LDR content? A psychophysical evaluation", eq. 1.

L' = k ((L - L_min) / (L_max - L_min))^gamma, the same for all pixels. Their viewers preferred gamma = 1, which is the linear
input but for exposure; the default here stretches highlights, as the paper's other conditions do. L is relative to LDR white,
so L_min = 0 and L_max = 1 (never the image's own extremes), and k = ``peak``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries

SUMMARY = "one power curve for all pixels (Akyuz et al. 2007)"


@dataclass(frozen=True)
class Parameters:
    """``gamma``: exponent on luminance; 1 only scales, more stretches highlights. ``peak``: LDR whites that white becomes."""

    gamma: float = 1.4
    peak: float = 4.0


def apply(linear: NDArray[Any], parameters: Parameters, primaries: AnyPrimaries) -> NDArray[Any]:
    """Luminance through the curve, RGB ratios kept."""
    import numpy as np

    from hdrcli.color import luminance

    y = np.maximum(luminance(linear, primaries), 1e-6)[..., None]
    return np.asarray(linear * (parameters.peak * y ** (parameters.gamma - 1)), dtype=np.float32)
