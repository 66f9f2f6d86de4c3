"""A picture that shows what an expansion brought back: the photo, the photo darkened, the result darkened as much."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Primaries, Transfer, converted, decode, encode
from hdrcli.image import Image, as_unit_float

Floats = NDArray[np.float32]

PANEL = (900, 1200)  # largest height and width of a panel
_LABEL_HEIGHT, _LABEL_WIDTH, _GAP, _GREY = 36, 340, 8, 40
_STRIP_ROWS = 512


def compare(photo: Image, result: Image, *, ev: float = 0.0, stops: float = 3.0) -> Image:
    """Three panels side by side, labelled, as an sRGB Image (uint8).

    The photo as it is; the photo darkened by ``stops``, where clipped lights turn grey; the result darkened as much, where
    reconstructed ones stay bright. ``ev``: exposure that the result has beyond the photo's; it is taken back.
    """
    before, after = _reduced(photo), _reduced(result) * np.float32(2.0**-ev)
    darkening = np.float32(2.0**-stops)
    panels = {
        "photo": before,
        f"photo, {stops:g} stops darker": before * darkening,
        f"result, {stops:g} stops darker": after * darkening,
    }
    return Image(np.concatenate([_panel(label, light) for label, light in panels.items()], axis=1), Transfer.SRGB)


def _reduced(image: Image) -> Floats:
    """Linear Rec.709 light at a panel's size: ``(H, W, 3)`` -> ``(h, w, 3) float32``, averaged in light, in row strips."""
    import cv2

    factor = max(1, image.height // PANEL[0], image.width // PANEL[1])
    # whole cells only; the few rows and columns left over do not show
    height, width = image.height // factor, image.width // factor
    if min(height, width) == 0:  # a line of pixels: too thin for cells
        factor, height, width = 1, image.height, image.width
    small = np.empty((height, width, 3), np.float32)
    step = max(1, _STRIP_ROWS // factor)
    for first in range(0, height, step):
        last = min(first + step, height)
        light = decode(as_unit_float(image.pixels[first * factor : last * factor, : width * factor]), image.transfer)
        small[first:last] = cv2.resize(light, (width, last - first), interpolation=cv2.INTER_AREA) if factor > 1 else light
    np.maximum(converted(small, image.primaries, Primaries.BT709), 0, out=small)
    scale = min(1.0, PANEL[0] / height, PANEL[1] / width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.float32).reshape(size[1], size[0], 3)
    return small


def _panel(label: str, light: Floats) -> NDArray[np.uint8]:
    """Light shown in sRGB under its label, centred where it is narrower than that."""
    import cv2

    height, width = light.shape[:2]
    left = max(0, _LABEL_WIDTH - width) // 2
    panel = np.full((_LABEL_HEIGHT + height + _GAP, max(width, _LABEL_WIDTH) + 2 * _GAP, 3), _GREY, np.uint8)
    shown = np.rint(np.clip(encode(np.clip(light, 0, 1), Transfer.SRGB), 0, 1) * 255).astype(np.uint8)
    panel[_LABEL_HEIGHT : _LABEL_HEIGHT + height, _GAP + left : _GAP + left + width] = shown
    white = (230, 230, 230)
    cv2.putText(panel, label, (_GAP, _LABEL_HEIGHT - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.7, white, 1, cv2.LINE_AA)
    return panel
