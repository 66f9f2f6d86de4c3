"""Where a photo lost light, where it measured it, and where there was little: scores of each part on its own.

With the LDR photo the parts come from its codes v (code / largest code): ``clipped``: a channel has v >= 0.97; ``shadow``: all
channels have v < 0.1; ``mid``: the rest. Without it they come from the reference, relative to the luminance of white:
``clipped``: a channel is at 1 or above; ``shadow``: all are below 0.01, the light that sRGB code 0.1 stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, decode
from hdrcli.evaluation.protocols import Missing, Value
from hdrcli.evaluation.protocols._scores import compute_scores
from hdrcli.evaluation.results import REGION_SCORES
from hdrcli.image import CLIP_CODE, brightest_channel
from hdrcli.metrics import Viewing

Masks = Mapping[str, NDArray[np.bool_]]

SHADOW_CODE = 0.1
SHADOW_LIGHT = float(decode(np.array(SHADOW_CODE), Transfer.SRGB))
LEAST_PIXELS = 16  # a number from fewer says nothing
FROM_CODES = "codes of the LDR photo: clipped >= 0.97 in a channel, shadow < 0.1 in all"
FROM_REFERENCE = "reference: clipped >= white in a channel, shadow < 0.01 of white in all"


def from_codes(codes: NDArray[Any]) -> Masks:
    """Parts by the codes in the photo's file, ``(H, W, 3)`` uint8 or uint16: ``(H, W)`` masks, one is true at each pixel."""
    largest = float(np.iinfo(codes.dtype).max)
    brightest = brightest_channel(codes)
    return _parts(brightest >= np.ceil(CLIP_CODE * largest), brightest < np.ceil(SHADOW_CODE * largest))


def from_reference(reference: NDArray[Any], white: float) -> Masks:
    """Parts by the reference's light, ``(H, W, 3)``, in the unit of ``white``."""
    brightest = brightest_channel(reference)
    return _parts(brightest >= white, brightest < white * SHADOW_LIGHT)


def _parts(clipped: NDArray[np.bool_], shadow: NDArray[np.bool_]) -> Masks:
    return {"clipped": clipped, "mid": ~(clipped | shadow), "shadow": shadow}


def scores(test: NDArray[Any], reference: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, Value]:
    """The scores REGION_SCORES of the pixels in ``mask`` alone: pictures in cd/m2. Missing where they are fewer than 16."""
    count = int(np.count_nonzero(mask))
    if count < LEAST_PIXELS:
        why = Missing(f"{count} pixels of this kind, fewer than {LEAST_PIXELS}" if count else "no pixel of this kind")
        return dict.fromkeys(REGION_SCORES, why)
    # pictures one pixel wide: these scores are means over pixels, wherever they lie
    a, b = test[mask][:, np.newaxis], reference[mask][:, np.newaxis]
    return compute_scores(REGION_SCORES, a, b, Viewing())
