"""Root mean square error in stops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import STOPS_FLOOR


def log2_rmse(test: NDArray[Any], reference: NDArray[Any], where: NDArray[np.bool_] | None = None) -> float:
    """RMSE of log2(x + 2^-10) over all samples, or those in ``where`` (same shape): scene-linear, 1 = LDR white.

    NaN if there is no sample.
    """
    difference = np.log2(np.asarray(test, np.float64) + STOPS_FLOOR) - np.log2(np.asarray(reference, np.float64) + STOPS_FLOOR)
    if where is not None:
        difference = difference[where]
    return float(np.sqrt(np.mean(difference**2))) if difference.size else float("nan")
