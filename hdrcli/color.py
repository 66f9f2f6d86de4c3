"""Transfer functions, primaries and luminance: formula and source with each.

All transfer functions are float functions of arrays: code values in, scene- or display-linear light out (``decode``), or
the other way (``encode``). 1.0 is code value 1 and LDR white, except for PQ, where 1.0 stands for 10000 cd/m2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]

MU = 5000.0  # T(y) = log(1 + mu y) / log(1 + mu), the domain of generators and of the HDR papers' losses: LLM-HDR (Eq. 1)
STOPS_FLOOR = 2.0**-10  # errors and radiance in stops are those of log2(x + this), so that black is finite


class Transfer(Enum):
    """How numbers encode light."""

    LINEAR = "linear"
    SRGB = "srgb"
    GAMMA22 = "gamma22"
    GAMMA18 = "gamma18"
    PQ = "pq"
    HLG = "hlg"


@dataclass(frozen=True)
class Chromaticities:
    """CIE 1931 xy of red, green, blue and white."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]

    @property
    def numbers(self) -> tuple[float, ...]:
        """All eight numbers, in the order in which file headers have them."""
        return (*self.red, *self.green, *self.blue, *self.white)

    @property
    def label(self) -> str:
        """Name for people and headers."""
        return "primaries " + " ".join(f"{v:.4g}" for v in self.numbers)

    @property
    def makes_sense(self) -> bool:
        """Can RGB of these be converted to and from XYZ? Three colours that are not on one line, around a white."""
        if not all(abs(v) < 10 for v in self.numbers):
            return False
        (rx, ry), (gx, gy), (bx, by) = self.red, self.green, self.blue
        area = abs((gx - rx) * (by - ry) - (bx - rx) * (gy - ry)) / 2
        if area < 1e-3 or min(abs(y) for _, y in (self.red, self.green, self.blue)) < 1e-6 or self.white[1] < 1e-3:
            return False
        columns = np.array([[x, y, 1 - x - y] for x, y in (self.red, self.green, self.blue)]).T
        return bool((np.linalg.solve(columns, _white_xyz(self)) > 1e-3).all())

    def rounded(self, digits: int = 3) -> tuple[float, ...]:
        """:attr:`numbers` rounded: what two headers that mean the same have in common."""
        return tuple(round(v, digits) for v in self.numbers)


_D65 = (0.3127, 0.3290)


class Primaries(Enum):
    """Sets of primaries; the value holds their chromaticities (source in the comment)."""

    BT709 = Chromaticities((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)  # ITU-R BT.709-6, also sRGB
    DISPLAY_P3 = Chromaticities((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)  # SMPTE EG 432-1 with D65
    BT2020 = Chromaticities((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)  # ITU-R BT.2020-2
    ADOBE_RGB = Chromaticities((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), _D65)  # Adobe RGB (1998), 2005-05
    PROPHOTO = Chromaticities(
        (0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), (0.345704, 0.358540)
    )  # ISO 22028-2
    ACESCG = Chromaticities((0.713, 0.293), (0.165, 0.830), (0.128, 0.044), (0.32168, 0.33767))  # ACES S-2014-004, AP1
    ACES2065 = Chromaticities((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.077), (0.32168, 0.33767))  # SMPTE ST 2065-1, AP0

    @property
    def label(self) -> str:
        """Name for people and headers."""
        return _LABELS[self]


AnyPrimaries = Primaries | Chromaticities  # one of the known sets, or what a file says of its own


_LABELS = {
    Primaries.BT709: "Rec.709",
    Primaries.DISPLAY_P3: "Display P3",
    Primaries.BT2020: "Rec.2020",
    Primaries.ADOBE_RGB: "Adobe RGB",
    Primaries.PROPHOTO: "ProPhoto RGB",
    Primaries.ACESCG: "ACEScg",
    Primaries.ACES2065: "ACES2065-1",
}


def chromaticities_of(primaries: AnyPrimaries) -> Chromaticities:
    """The numbers behind a set of primaries."""
    return primaries.value if isinstance(primaries, Primaries) else primaries


def find_primaries(chromaticities: Chromaticities, digits: int = 3) -> Primaries | None:
    """The known set with these chromaticities (equal when rounded to ``digits``), or None."""
    wanted = chromaticities.rounded(digits)
    return next((p for p in Primaries if p.value.rounded(digits) == wanted), None)


def named_primaries(chromaticities: Chromaticities) -> AnyPrimaries | None:
    """The known set with these chromaticities, else they themselves; None if they make no sense."""
    return find_primaries(chromaticities) or (chromaticities if chromaticities.makes_sense else None)


def _srgb_decode(v: Floats) -> Floats:
    # IEC 61966-2-1:1999, eq. 5 and 6; odd extension below 0, so that out-of-gamut values survive a round trip
    a = np.abs(v)
    return np.copysign(np.where(a <= 0.04045, a / 12.92, ((a + 0.055) / 1.055) ** 2.4), v)


def _srgb_encode(x: Floats) -> Floats:
    a = np.abs(x)
    return np.copysign(np.where(a <= 0.0031308, a * 12.92, 1.055 * a ** (1 / 2.4) - 0.055), x)


# SMPTE ST 2084:2014, section 4
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 32
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_decode(v: Floats) -> Floats:
    p = np.maximum(v, 0) ** (1 / _PQ_M2)
    return (np.maximum(p - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * p)) ** (1 / _PQ_M1)


def _pq_encode(x: Floats) -> Floats:
    y = np.maximum(x, 0) ** _PQ_M1
    return ((_PQ_C1 + _PQ_C2 * y) / (1 + _PQ_C3 * y)) ** _PQ_M2


# ITU-R BT.2100-2, table 5: HLG OETF (scene-referred, 1.0 = nominal peak)
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073


def _hlg_decode(v: Floats) -> Floats:
    v = np.maximum(v, 0)
    return np.where(v <= 0.5, v * v / 3, (np.exp((v - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def _hlg_encode(x: Floats) -> Floats:
    x = np.maximum(x, 0)
    return np.where(x <= 1 / 12, np.sqrt(3 * x), _HLG_A * np.log(np.maximum(12 * x - _HLG_B, 1e-12)) + _HLG_C)


def _power_decode(v: Floats, gamma: float) -> Floats:
    return np.copysign(np.abs(v) ** gamma, v)


def decode(v: Floats, transfer: Transfer) -> Floats:
    """Code values (float, 1 = largest code) to linear light, in the type that came in."""
    v = np.asarray(v)
    match transfer:
        case Transfer.LINEAR:
            return v
        case Transfer.SRGB:
            out = _srgb_decode(v)
        case Transfer.GAMMA22:
            out = _power_decode(v, 563 / 256)  # Adobe RGB (1998) states 2.19921875
        case Transfer.GAMMA18:
            out = _power_decode(v, 461 / 256)  # what ProPhoto profiles state for 1.8
        case Transfer.PQ:
            out = _pq_decode(v)
        case Transfer.HLG:
            out = _hlg_decode(v)
    return np.asarray(out, dtype=v.dtype)


def encode(x: Floats, transfer: Transfer) -> Floats:
    """Linear light to code values (float), in the type that came in: the inverse of :func:`decode`."""
    x = np.asarray(x)
    match transfer:
        case Transfer.LINEAR:
            return x
        case Transfer.SRGB:
            out = _srgb_encode(x)
        case Transfer.GAMMA22:
            out = _power_decode(x, 256 / 563)
        case Transfer.GAMMA18:
            out = _power_decode(x, 256 / 461)
        case Transfer.PQ:
            out = _pq_encode(x)
        case Transfer.HLG:
            out = _hlg_encode(x)
    return np.asarray(out, dtype=x.dtype)


@lru_cache(maxsize=16)
def decoding_table(transfer: Transfer, codes: int) -> NDArray[np.float32]:
    """``decode(i / (codes - 1))`` for i in 0..codes-1: ``(codes,) float32``, read-only, computed in float64."""
    table = decode(np.arange(codes, dtype=np.float64) / (codes - 1), transfer).astype(np.float32)
    table.flags.writeable = False
    return table


# Bradford cone responses: Lam 1985, as in ICC.1:2022 annex E
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _white_xyz(chromaticities: Chromaticities) -> Floats:
    x, y = chromaticities.white
    return np.array([x / y, 1.0, (1 - x - y) / y])


@lru_cache(maxsize=32)
def rgb_to_xyz(primaries: AnyPrimaries) -> Floats:
    """``(3, 3) float64``: linear RGB to XYZ with Y = 1 for white, relative to the set's own white (SMPTE RP 177)."""
    c = chromaticities_of(primaries)
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in (c.red, c.green, c.blue)]).T
    matrix = columns * np.linalg.solve(columns, _white_xyz(c))
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=64)
def conversion_matrix(source: AnyPrimaries, target: AnyPrimaries) -> Floats:
    """``(3, 3) float64``: linear RGB of one set to another, whites adapted by Bradford."""
    if source == target:
        return np.eye(3)
    whites = _white_xyz(chromaticities_of(source)), _white_xyz(chromaticities_of(target))
    cones_source, cones_target = _BRADFORD @ whites[0], _BRADFORD @ whites[1]
    adaptation = np.linalg.solve(_BRADFORD, np.diag(cones_target / cones_source) @ _BRADFORD)
    matrix = np.linalg.solve(rgb_to_xyz(target), adaptation @ rgb_to_xyz(source))
    matrix.flags.writeable = False
    return np.asarray(matrix)


def converted(rgb: Floats, source: AnyPrimaries, target: AnyPrimaries) -> Floats:
    """*Linear* RGB, ``(..., 3)`` float, in other primaries; the type that came in. Colours beyond them become negative.

    Grey stays grey to the last bit: the matrix acts on differences of channels, which are 0 for it.
    """
    if source == target:
        return rgb
    change = (conversion_matrix(source, target) - np.eye(3)).astype(rgb.dtype)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    warm, cold = red - green, blue - green
    out = np.empty_like(rgb)
    for channel in range(3):
        # rows of the matrix sum to 1, those of its difference from the identity to 0
        np.multiply(warm, change[channel, 0], out=out[..., channel])
        out[..., channel] += cold * change[channel, 2]
        out[..., channel] += rgb[..., channel]
    return out


def luminance(rgb: Floats, primaries: AnyPrimaries = Primaries.BT709) -> Floats:
    """Luminance of *linear* RGB: ``(..., 3)`` -> ``(...)``, RGB (1, 1, 1) gives 1. For BT.709: 0.2126, 0.7152, 0.0722."""
    return np.asarray(rgb @ rgb_to_xyz(primaries)[1].astype(rgb.dtype))
