"""Chromaticity error: distance in the CIE 1976 u'v' diagram, whatever the luminance. CIE 015:2018, 8.2.

BT.709's red and green are 0.33 apart.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Primaries, rgb_to_xyz
from hdrcli.errors import Unavailable
from hdrcli.metrics import Score
from hdrcli.metrics._pairs import same_shape, strips, whatever_viewing
from hdrcli.parallel import in_turn

Floats = NDArray[np.float64]

FLOOR = 0.1  # cd/m2: an LDR display's white over 2^10. Darker pixels have no colour to speak of, only quantisation


def chroma_uv(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean of :func:`chroma_uv_map` over pixels that count. Same arguments and errors; Unavailable if no pixel counts."""
    same_shape(test, reference)

    def summed(rows: slice) -> tuple[float, int]:
        distance = chroma_uv_map(test[rows], reference[rows])
        counts = ~np.isnan(distance)
        return float(distance[counts].sum()), int(np.count_nonzero(counts))

    strip_sums = list(in_turn(summed, strips(test.shape)))
    count = sum(number for _, number in strip_sums)
    if count == 0:
        raise Unavailable(f"no pixel is brighter than {FLOOR:g} cd/m2 in both pictures")
    return math.fsum(total for total, _ in strip_sums) / count


def chroma_uv_map(test: NDArray[Any], reference: NDArray[Any]) -> Floats:
    """Euclidean distance in u'v' of every pixel: ``(H, W, 3)`` linear BT.709 in cd/m2 to ``(H, W)``.

    NaN where a pixel does not count: its luminance is not above 0.1 cd/m2 in both pictures. Negative X and Z, which no light
    has, count as 0. Raises MismatchError for different shapes.
    """
    same_shape(test, reference)
    (test_u, test_v, test_counts), (u, v, counts) = _uv(test), _uv(reference)
    return np.where(test_counts & counts, np.hypot(test_u - u, test_v - v), np.nan)


def _uv(rgb: NDArray[Any]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    xyz = np.asarray(rgb, np.float64) @ rgb_to_xyz(Primaries.BT709).T
    counts = np.asarray(xyz[..., 1] > FLOOR)
    x, y, z = np.maximum(xyz[..., 0], 0), np.where(counts, xyz[..., 1], 1), np.maximum(xyz[..., 2], 0)
    sum_of_weighted = x + 15 * y + 3 * z
    return 4 * x / sum_of_weighted, 9 * y / sum_of_weighted, counts


SCORES = (
    Score(
        "chroma_uv",
        f"chromaticity error: mean distance in u'v' of pixels above {FLOOR:g} cd/m2",
        "",
        "lower",
        "CIE 015:2018, 8.2",
        whatever_viewing(chroma_uv),
    ),
)
