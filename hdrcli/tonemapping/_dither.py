"""From display-linear light to codes of 8 bits without bands: ordered dithering against a tile of blue noise.

A code is rounded up where its fraction exceeds the threshold of its pixel: the mean of many pixels is what they should show, a
value that is a code is left alone, so that white, black and the colours of a user interface stay flat. What a pixel becomes
depends on its value, row and column alone. The three channels share a threshold, so that grey stays grey.

Thresholds: void-and-cluster (Ulichney 1993), made by tests/tools/blue_noise.py. Their noise is of high frequencies only, where
eyes are weak; it is one code from peak to peak, and triangular noise, twice that, would speckle exact codes as well. JPEG at
quality 95 takes such noise away, and shows its own bands; PNG, TIFF and lossless WebP keep it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 64
_BLOCK = 128 * SIDE  # columns whose thresholds are kept
_TILE = Path(__file__).with_name("_blue_noise.bin")


def dithered_codes(display: NDArray[Any], first: int = 0, column: int = 0) -> NDArray[np.uint8]:
    """Display-linear light to sRGB codes of 8 bits, dithered; the mean of a flat area is its value to 0.06 codes.

    ``display``: ``(n, W, 3)`` float, clipped to [0, 1]: rows of the picture from ``first`` on, columns from ``column`` on;
    strips equal the whole. Light in the same 1/65535 as that of a code (0.05 codes at most) becomes that code. The curve is
    that of sRGB and Display P3.
    """
    import numpy as np

    from hdrcli.tonemapping._curves import looked_up

    light = np.clip(display, 0, 1)
    light *= np.float32(65535)
    codes = looked_up(_fine_codes(), light.astype(np.uint16))
    height, width = codes.shape[:2]
    thresholds = _thresholds(min(width, _BLOCK), column % SIDE)
    for top in range(-(first % SIDE), height, SIDE):
        for left in range(0, width, _BLOCK):
            part = codes[max(top, 0) : top + SIDE, left : left + _BLOCK]
            part += thresholds[max(-top, 0) :, : part.shape[1]][: len(part)]
    codes >>= 8
    return codes.astype(np.uint8)


@lru_cache(maxsize=8)
def _thresholds(width: int, column: int) -> NDArray[np.uint16]:
    """The tile's rows over some columns, three equal channels: ``(64, W, 3)``, each of 0..255."""
    import numpy as np

    tile = np.frombuffer(_TILE.read_bytes(), np.uint8).reshape(SIDE, SIDE)
    row = np.take(tile, np.arange(column, column + width) % SIDE, axis=1)
    return np.repeat(row[..., None], 3, axis=2).astype(np.uint16)


@lru_cache(maxsize=1)
def _fine_codes() -> NDArray[np.uint16]:
    """Codes in 1/256, of light from i / 65535 to the next: 0..65280; exact where that span holds the light of a code."""
    import numpy as np

    from hdrcli.color import Transfer, decode, encode

    light = np.minimum((np.arange(65536) + 0.5) / 65535, 1)
    fine: NDArray[np.uint16] = np.rint(encode(light, Transfer.SRGB) * (255 * 256)).astype(np.uint16)
    codes = np.arange(256)
    exact = decode(codes / 255, Transfer.SRGB) * 65535
    # float32 and what operators do to it may put the light of a code on the other side of a border close by
    for beside in (-0.05, 0.05):
        fine[np.clip(exact + beside, 0, 65535).astype(int)] = codes * 256
    return fine
