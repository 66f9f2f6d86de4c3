"""Numbers that describe the test picture alone, and don't judge it: stops, clipped share, entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import luminance
from hdrcli.errors import Unavailable
from hdrcli.metrics import Compute, Score, Viewing

RANGE = (0.1, 99.9)  # percentiles between which the usual range of a picture lies
HANDFUL = 16  # pixels: fewer that share the largest value are a coincidence
PLATEAU = 1e-6  # relative: values that close to the largest are the same
ENTROPY_BINS = 256
ENTROPY_STOPS = (-14.0, 18.0)  # log2 of cd/m2: 0.00006 to 262144, eight bins a stop


def stops(picture: NDArray[Any]) -> float:
    """Usual range of ``(H, W, 3)`` linear BT.709 in any unit: log2 of the 99.9 over the 0.1 percentile of luminance above 0.

    As ``hdrcli info`` has it: percentiles are NumPy's "inverted_cdf". Raises Unavailable if no pixel is above 0.
    """
    lit = luminance(np.asarray(picture, np.float64)).ravel()
    lit = lit[lit > 0]
    if lit.size == 0:
        raise Unavailable("no pixel is above 0")
    low, high = np.percentile(lit, RANGE, method="inverted_cdf")
    return math.log2(high / low)


def clipped_share(picture: NDArray[Any]) -> float:
    """Share of pixels, 0..1, that have a channel at the picture's own ceiling, ``(H, W, 3)`` linear in any unit.

    The ceiling is the picture's largest value, to 1e-6 of it, if at least 16 pixels (all, if there are fewer) share it: light
    has one brightest spot, only clipping has plateaus. 0 if no such ceiling is there, and for a black picture.
    """
    brightest = np.max(picture, axis=-1)
    largest = float(np.max(brightest))
    if largest <= 0:
        return 0.0
    reached = int(np.count_nonzero(brightest >= largest * (1 - PLATEAU)))
    return reached / brightest.size if reached >= min(HANDFUL, brightest.size) else 0.0


def entropy(picture: NDArray[Any]) -> float:
    """Bits, 0..8: entropy of the histogram of log2 luminance, ``(H, W, 3)`` linear BT.709 in cd/m2.

    256 bins of an eighth of a stop over 2^-14..2^18 cd/m2. What is darker, 0 and below, counts into the first bin, what is
    brighter into the last. Shannon 1948.
    """
    light = luminance(np.asarray(picture, np.float64)).ravel()
    first, last = ENTROPY_STOPS
    log_light = np.log2(np.clip(light, 2.0**first, 2.0**last))
    bins = ((log_light - first) * (ENTROPY_BINS / (last - first))).astype(np.intp)
    counts = np.bincount(np.minimum(bins, ENTROPY_BINS - 1))
    shares = counts[counts > 0] / light.size
    # + 0.0: a single bin gives -0.0
    return float(-(shares @ np.log2(shares)) + 0.0)


def _of_test(describe: Callable[[NDArray[Any]], float]) -> Compute:
    def compute(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
        return describe(test)

    return compute


SCORES = (
    Score(
        "stops",
        "range of the test picture: 0.1 to 99.9 percentile of luminance",
        "stops",
        "neither",
        "as hdrcli info",
        _of_test(stops),
    ),
    Score(
        "clipped_share",
        "share of the test picture's pixels at its own ceiling",
        "",
        "neither",
        "pixels within 1e-6 of the maximum, if 16 or more share it",
        _of_test(clipped_share),
    ),
    Score(
        "entropy",
        "entropy of the test picture's log luminance, 256 bins over 2^-14..2^18 cd/m2",
        "bits",
        "neither",
        "Shannon 1948",
        _of_test(entropy),
    ),
)
