"""Root mean square error in stops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import STOPS_FLOOR
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics._encodings import Floats, light
from hdrcli.metrics.psnr import mean_squared_error

_WHITE = 100.0  # cd/m2 of LDR white, to which the floor is relative


def log2_rmse(test: NDArray[Any], reference: NDArray[Any], where: NDArray[np.bool_] | None = None) -> float:
    """RMSE of log2(x + 2^-10) over all samples, or those in ``where`` (same shape): scene-linear, 1 = LDR white.

    Negative values count as 0. NaN if there is no sample. Raises MismatchError for different shapes.
    """
    if where is not None:
        test, reference = np.asarray(test)[where], np.asarray(reference)[where]
    if np.size(test) == 0:
        return math.nan
    return math.sqrt(mean_squared_error(test, reference, _stops))


def _stops(x: NDArray[Any]) -> Floats:
    return np.asarray(np.log2(light(x) + STOPS_FLOOR))


def _of_nits(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
    return math.sqrt(mean_squared_error(test, reference, lambda nits: _stops(light(nits) / _WHITE)))


SCORES = (
    Score(
        "log2_rmse",
        f"RMSE of log2(light + floor) over R, G and B; floor: 2^-10 of {_WHITE:g} cd/m2",
        "stops",
        "lower",
        "root mean square error of log2 light, as hdrcli train has it",
        _of_nits,
    ),
)
