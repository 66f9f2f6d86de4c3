"""ITU-R BT.2446-1, method A (section 4.2): HDR to SDR for broadcast, a curve of luma in a perceptual domain.

Y' of gamma-encoded BT.2020 goes to a logarithmic scale, through a knee, and back; colour differences are scaled with it, and
luma is lowered where red is strong. What then lies outside of Rec.709 is drawn towards grey of equal luminance. The codes, of
gamma 2.4, are shown as sRGB's, which players do with broadcast pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hdrcli.tonemapping._exposure import Exposure, brightest_of, check_choice, check_range, exposure_of, luminance_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene
    from hdrcli.tonemapping._curves import Table

SUMMARY = "broadcast HDR to SDR, method A of ITU-R BT.2446"
LOCAL = False
WHITE = "peak"

_LUMA = (0.2627, 0.6780, 0.0593)  # ITU-R BT.2020, table 4
_CB, _CR = 1.8814, 1.4746
_GAMMA = 2.4


@dataclass(frozen=True)
class Parameters:
    """``peak``: L_HDR, cd/m2; 0: the picture's 99.9th percentile, at least L_SDR. ``display``: L_SDR, cd/m2.

    ``white``: cd/m2 of 1.0 (BT.2408: 203). ``exposure``: "auto" brings the log-average of luminance to ``key`` (0.32:
    the curve shows it as 0.18), "keep" takes 1.0 as it is.
    """

    peak: float = 1000.0
    display: float = 100.0
    white: float = 203.0
    exposure: Exposure = "auto"
    key: float = 0.32

    def __post_init__(self) -> None:
        check_range("peak", self.peak, 0, 10000, "1000")
        check_range("display", self.display, 1, 10000, "100")
        check_range("white", self.white, 1, 10000, "203")
        check_choice("exposure", self.exposure, Exposure)
        check_range("key", self.key, 1e-6, 100, "0.32")


@dataclass(frozen=True, eq=False)
class State:
    """``scale``: factor to parts of L_HDR. ``encoded``: light to codes. ``luma``: Y'_HDR to Y'_SDR.

    ``decoded``: codes to light. ``shown``: that light to what sRGB shows of its codes. ``primaries``: None: Rec.709.
    """

    scale: float
    encoded: Table
    luma: Table
    decoded: Table
    shown: Table
    primaries: AnyPrimaries | None = None


def luma_curve(y: Any, peak: float, display: float) -> Any:
    """Y'_HDR to Y'_SDR: steps 1 to 3 of the report's table 2."""
    import numpy as np

    rho_hdr, rho_sdr = (1 + 32 * (nits / 10000) ** (1 / 2.4) for nits in (peak, display))
    p = np.log1p((rho_hdr - 1) * y) / np.log(rho_hdr)
    knee = np.where(p < 0.9909, -1.1510 * p**2 + 2.7811 * p - 0.6302, 0.5 * p + 0.5)
    c = np.where(p <= 0.7399, 1.0770 * p, knee)
    return (rho_sdr**c - 1) / (rho_sdr - 1)


def prepare(scene: Scene, parameters: Parameters) -> State:
    """The exposure, made into curves."""
    import numpy as np

    from hdrcli.color import Transfer, decode
    from hdrcli.tonemapping._curves import tabulated

    scale = parameters.white * exposure_of(scene, luminance_of(scene), parameters.key, parameters.exposure)
    peak = parameters.peak if scene.white is None else scale * scene.white
    if not peak:
        peak = min(max(scale * brightest_of(scene), parameters.display), 10000)
    return State(
        scale / peak,
        tabulated(lambda x: np.minimum(x, 1) ** (1 / _GAMMA)),
        tabulated(lambda y: luma_curve(np.minimum(y, 1), peak, parameters.display)),
        tabulated(lambda v: np.minimum(v, 1) ** _GAMMA),
        tabulated(lambda x: decode(np.minimum(x, 1) ** (1 / _GAMMA), Transfer.SRGB)),
        scene.primaries,
    )


@lru_cache(maxsize=4)
def _matrices(primaries: AnyPrimaries | None) -> tuple[NDArray[Any], NDArray[Any]]:
    from hdrcli.color import Primaries, conversion_matrix

    known = primaries or Primaries.BT709
    return conversion_matrix(known, Primaries.BT2020), conversion_matrix(Primaries.BT2020, known)


def apply(light: NDArray[Any], state: State, first: int = 0) -> NDArray[Any]:
    """Table 2 of the report, then Rec.709."""
    import cv2
    import numpy as np

    from hdrcli.color import Primaries
    from hdrcli.tonemapping._color import into_gamut, luminance, mixed

    there, back = _matrices(state.primaries)
    wide = mixed(light, state.scale * there)
    wide = into_gamut(wide, np.minimum(luminance(wide, Primaries.BT2020), 1))  # what is above L_HDR becomes white, hues kept
    red, green, blue = cv2.split(state.encoded(wide))
    luma = red * np.float32(_LUMA[0])
    luma += green * np.float32(_LUMA[1])
    luma += blue * np.float32(_LUMA[2])
    shown = state.luma(luma)
    scale = shown / np.maximum(np.float32(1.1) * luma, np.float32(1e-9))
    cb = scale * (blue - luma) / np.float32(_CB)
    cr = scale * (red - luma) / np.float32(_CR)
    shown -= np.maximum(np.float32(0.1) * cr, 0)
    red, blue = shown + np.float32(_CR) * cr, shown + np.float32(_CB) * cb
    green = (shown - np.float32(_LUMA[0]) * red - np.float32(_LUMA[2]) * blue) / np.float32(_LUMA[1])
    codes = np.asarray(cv2.merge([red, green, blue])).reshape(light.shape)
    display = mixed(state.decoded(np.maximum(codes, 0, out=codes)), back)
    return state.shown(into_gamut(display, np.clip(luminance(display, state.primaries), 0, 1)))
