"""The mu-law curve that HDR papers show and measure on: Kalantari & Ramamoorthi 2017, eq. 5.

T(y) = log(1 + mu y / peak) / log(1 + mu).

T is taken as the displayed *code*, as the papers do, so the result is shown without a further sRGB curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUMMARY = "logarithmic curve of the HDR papers, mu = 5000"


@dataclass(frozen=True)
class Parameters:
    """``mu``: compression. ``peak``: LDR whites that are shown as white."""

    mu: float = 5000.0
    peak: float = 64.0

    def __post_init__(self) -> None:
        for name in ("mu", "peak"):
            if not 0 < getattr(self, name) <= 1e9:
                raise UsageError(
                    f"{getattr(self, name):g} is not above 0 and at most 1e9", where=f"-p {name}", remedy="use more"
                )


def prepare(sample: NDArray[Any], parameters: Parameters) -> Parameters:
    """The curve does not depend on the image."""
    return parameters


def apply(light: NDArray[Any], state: Parameters) -> NDArray[Any]:
    """Each channel through the curve, then decoded, since what is returned is display-linear."""
    import numpy as np

    from hdrcli.color import Transfer, decode

    code = np.log1p(light * np.float32(state.mu / state.peak)) / np.float32(np.log1p(state.mu))
    return decode(np.clip(code, 0, 1), Transfer.SRGB)
