"""Reinhard, Stark, Shirley, Ferwerda 2002, "Photographic tone reproduction for digital images": the global operator.

L = key / L_avg * L_w (eq. 2, L_avg the log-average of eq. 1), L_d = L (1 + L / white^2) / (1 + L) (eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUMMARY = "photographic operator, global (Reinhard et al. 2002)"


@dataclass(frozen=True)
class Parameters:
    """``key``: what the log-average becomes. ``white``: smallest scaled luminance shown as white, in stops above the key.

    ``exposure``: "auto" scales by the log-average (the paper); "keep" takes 1.0 as it is, so that pictures can be compared.
    """

    key: float = 0.18
    white: float = 6.5
    exposure: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.key <= 100:
            raise UsageError(f"{self.key:g} is not above 0 and at most 100", where="-p key", remedy="0.18 is usual")
        if not -10 <= self.white <= 60:
            raise UsageError(f"{self.white:g} is not within -10..60 stops", where="-p white", remedy="6.5 is usual")
        if self.exposure not in ("auto", "keep"):
            fault = f"exposure is auto or keep, not {self.exposure!r}"
            raise UsageError(fault, where="-p exposure", remedy="leave it out for auto")


@dataclass(frozen=True)
class State:
    """Factor to scaled luminance, and the scaled luminance that becomes white."""

    scale: float
    white: float


def prepare(sample: NDArray[Any], parameters: Parameters) -> State:
    """Log-average luminance of the image (eq. 1), black left out: a border or a cut-out shall not brighten the rest."""
    import numpy as np

    from hdrcli.color import luminance

    scale = 1.0
    if parameters.exposure == "auto":
        y = luminance(sample).astype(np.float64)
        lit = y[y > 1e-4]
        average = float(np.exp(np.mean(np.log(lit)))) if lit.size else parameters.key
        scale = parameters.key / average
    return State(scale, parameters.key * 2.0**parameters.white)


def apply(light: NDArray[Any], state: State) -> NDArray[Any]:
    """Luminance through eq. 4, RGB ratios kept; what leaves the gamut is drawn towards white of equal luminance."""
    import numpy as np

    from hdrcli.color import luminance

    scaled = light * np.float32(state.scale)
    y = luminance(scaled)[..., None]
    display = np.minimum(y * (1 + y / np.float32(state.white**2)) / (1 + y), 1)
    rgb = scaled * (display / np.maximum(y, np.float32(1e-9)))
    # desaturate instead of clipping channels, which would shift the hue
    top = np.maximum(np.maximum(rgb[..., :1], rgb[..., 1:2]), rgb[..., 2:])
    mix = np.clip((1 - display) / np.maximum(top - display, np.float32(1e-6)), 0, 1)
    return np.asarray(np.where(top > 1, display + mix * (rgb - display), rgb))
