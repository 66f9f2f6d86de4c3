"""Numbers, tables and curves of HDR-VDP-2.2.1, in NumPy: see hdrcli.metrics.hdrvdp2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_SIDE = 17  # pixels: that of the pyramid's largest filter, so that there is one level at least
LOG_L_MIN, LOG_L_MAX = -5.0, 5.0  # log10 cd/m2: the range of both tables

_FILE = Path(__file__).with_name("_hdrvdp22.json")


@cache
def constants() -> dict[str, Any]:
    """The released numbers, read once; not to be changed."""
    numbers: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return numbers


@dataclass(frozen=True, eq=False)
class Encoding:
    """How pixel values become light: ``channels``, a display model or None, and rows L, M, rod by channels.

    ``to_rgb``: a 3 x 3 matrix that comes first, rows giving R, G, B, or None.
    """

    name: str
    channels: int
    display: Mapping[str, float] | None
    to_rgb: Floats | None
    to_receptors: Floats


@cache
def encodings() -> Mapping[str, Encoding]:
    """All encodings by name in lower case."""
    found = {}
    for name, given in constants()["encodings"].items():
        to_rgb = np.array(given["to_rgb"]) if "to_rgb" in given else None
        # Never renormalised: L + M of grey is 0.919 (D65) or 1.004 (LCD) times the value, as released.
        receptors = np.array(constants()["matrices_to_L_M_rod"][given["matrix"]]).T
        found[name.lower()] = Encoding(name, given["channels"], given.get("display"), to_rgb, receptors)
    return MappingProxyType(found)


@cache
def filters() -> Mapping[str, Floats]:
    """Correlation kernels of the steerable pyramid, ``(K, side, side)``: hi0, lo0, lo, band0 to band3, bands (all four)."""
    taps = constants()["filters"]
    kernels = {name: np.array(taps[f"{name}filt"])[None] for name in ("hi0", "lo0", "lo")}
    # each of the four columns holds its kernel column by column
    kernels["bands"] = np.array(taps["bfilts"]).T.reshape(4, 9, 9).transpose(0, 2, 1).copy()
    kernels |= {f"band{number}": kernels["bands"][number : number + 1] for number in range(4)}
    return MappingProxyType(kernels)


@cache
def photoreceptor_tables() -> tuple[Floats, Floats]:
    """Responses of cones and rods in just noticeable differences at 2048 luminances, uniform in log10 over the range.

    Cumulative trapezoid over log10 l of sensitivity times ln 10, which stands for dl / l.
    """
    luminance, cone, rod = sensitivities()
    factor = constants()["photoreceptor"]["sensitivity_correction"] * np.log(10)

    def integrated(sensitivity: Floats) -> Floats:
        steps = 0.5 * (sensitivity[1:] + sensitivity[:-1]) * np.diff(np.log10(luminance))
        return np.concatenate([[0.0], factor * np.cumsum(steps)])

    return integrated(cone), integrated(rod)


def sensitivities() -> tuple[Floats, Floats, Floats]:
    """The table's luminances, and the sensitivity of a cone and of rods at each."""
    numbers = constants()["photoreceptor"]
    points = numbers["table_points"]
    luminance = _uniform_luminances(points)
    rod = rod_sensitivity(luminance)
    both = np.maximum(joint_sensitivity(luminance) - rod, numbers["cone_floor"])
    # L and M share what is left of the joint curve, each with half of the light; interpolated over luminance, not its logarithm
    cone = 0.5 * np.interp(np.minimum(2 * luminance, 10**LOG_L_MAX), luminance, both)
    return luminance, cone, rod


def _uniform_luminances(points: int) -> Floats:
    """Luminances in cd/m2, uniform in log10 over the range of the tables."""
    return np.asarray(10 ** (LOG_L_MIN + (LOG_L_MAX - LOG_L_MIN) * np.arange(points) / (points - 1)))


def joint_sensitivity(luminance: Floats) -> Floats:
    """Peak contrast sensitivity of cones and rods together at luminances in cd/m2."""
    s = constants()["photoreceptor"]["joint_sensitivity"]
    return np.asarray(s["s1"] * ((s["s2"] / luminance) ** s["s3"] + 1) ** -s["s4"])


def rod_sensitivity(luminance: Floats) -> Floats:
    """That of the rods alone at scotopic luminances."""
    s = constants()["photoreceptor"]["rod_sensitivity"]
    above = luminance > s["l_peak"]
    exponent = np.where(above, s["high_exp"], s["low_exp"])
    scale = np.where(above, s["high_scale"], s["low_scale"])
    return np.asarray(s["gain"] * np.exp(-(np.abs(np.log10(luminance / s["l_peak"])) ** exponent) / scale))


def ncsf_parameters(luminance: Floats) -> Floats:
    """n1 to n4 of the neural contrast sensitivity at adapting luminances (cd/m2, clamped): ``(4, ...)``."""
    given = constants()["ncsf"]
    nodes = np.log10(given["luminances"])
    at = np.clip(np.log10(luminance), nodes[0], nodes[-1])
    return np.stack([np.interp(at, nodes, n) for n in np.array(given["params_by_luminance"]).T])


def ncsf(rho: Floats, luminance: Floats) -> Floats:
    """Neural contrast sensitivity at cycles per degree and an adapting luminance in cd/m2, without optics and receptors.

    The arrays are stretched to each other. 0 at ``rho`` = 0.
    """
    given = constants()["ncsf"]
    n1, n2, n3, n4 = ncsf_parameters(luminance)
    rise = (1 - np.exp(-((rho / given["rho0"]) ** 2))) ** n3
    return np.asarray(n4 * np.sqrt(rise / (1 + (n1 * rho) ** n2)))


def ncsf_table(frequency: float) -> Floats:
    """The sensitivity at one frequency for 256 adapting luminances, uniform in log10 over the range.

    The release interpolates in this table; the curve itself gives another Q, by up to 7e-5.
    """
    points = constants()["ncsf"]["la_table_points"]
    return ncsf(np.array(frequency), _uniform_luminances(points))


def band_weight(frequency: float) -> float:
    """Weight of a band in Q by its peak frequency in cycles per degree: linear between the table's, clamped beyond."""
    table = constants()["quality"]
    frequencies, weights = np.array(table["band_freq"])[::-1], np.array(table["band_weight"])[::-1]
    return float(np.interp(frequency, frequencies, weights))


def levels(height: int, width: int) -> int:
    """How many levels the pyramid of a picture has. Counted with halves rounded down; sizes of bands are rounded up."""
    count = 0
    while min(height, width) >= LEAST_SIDE:
        count, height, width = count + 1, height // 2, width // 2
    return count
