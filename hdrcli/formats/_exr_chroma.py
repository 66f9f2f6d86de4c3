"""OpenEXR's luminance-chroma pictures: RGB from Y, RY and BY.

Source: openexr.com, "Technical Introduction to OpenEXR", section "Luminance/Chroma Images", and the library's ImfRgbaYca.h:
Y is luminance, RY = (R - Y) / Y, BY = (B - Y) / Y; chroma is stored for every second column and row, brought back by a windowed
sinc 27 pixels wide, and colours that its ringing made more saturated than their neighbours are toned down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Plane = NDArray[Any]

# The filter between two stored values, one half of it (ImfRgbaYca, "reconstructChromaHoriz"); at even distances it is 0.
_HALF = (0.002128, -0.007540, 0.019597, -0.043159, 0.087929, -0.186077, 0.627123)
_TAPS = len(_HALF) * 2
_BEFORE = len(_HALF) - 1  # stored values before the one on the left of the gap
_STRIP_PIXELS = 1 << 20


def rgb(y: Plane, ry: Plane, by: Plane, weights: Floats) -> Floats:
    """Linear RGB, ``(H, W, 3) float32``, from luminance and chroma.

    ``y`` is ``(H, W)``; ``ry`` and ``by`` are of the same shape, or ``(H / 2, W / 2)``, of H and W even. ``weights``:
    luminance of R, G and B of the file's primaries. Where both chroma values are 0, R, G and B are Y to the last bit.
    """
    import numpy as np

    height, width = y.shape
    halved = ry.shape != y.shape
    rows = max(2, _STRIP_PIXELS // width)
    if halved:
        ry, by = _widened(ry), _widened(by)
    out = np.empty((height, width, 3), np.float32)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        if halved:
            # With a row above and below, for the neighbours. Outside stand, as in the reference, luminance of the first row
            # and of the last but one.
            lines = np.arange(start - 1, stop + 1)
            luminance = y[np.where(lines < 0, 0, np.where(lines >= height, height - 2, lines))]
            strip = _to_rgb(luminance, _heightened(ry, start - 1, stop + 1), _heightened(by, start - 1, stop + 1), weights)
            out[start:stop] = _tamed(strip, weights)
        else:
            out[start:stop] = _to_rgb(y[start:stop], ry[start:stop], by[start:stop], weights)
    return out


def _kernel() -> Floats:
    import numpy as np

    return np.array([*_HALF, *_HALF[::-1]], np.float32)


def _widened(plane: Plane) -> Floats:
    """Twice the columns: stored values at the even ones, filtered at the odd ones; edges repeat."""
    import cv2
    import numpy as np

    values = np.asarray(plane, np.float32)
    out = np.empty((plane.shape[0], 2 * plane.shape[1]), np.float32)
    out[:, 0::2] = values
    out[:, 1::2] = cv2.filter2D(values, -1, _kernel()[None], anchor=(_BEFORE, 0), borderType=cv2.BORDER_REPLICATE)
    return out


def _heightened(plane: Floats, start: int, stop: int) -> Floats:
    """Rows ``start .. stop - 1`` of a plane with twice the rows; those outside of it are filtered from repeated edges."""
    import cv2
    import numpy as np

    first, last = start // 2, (stop - 1) // 2
    stored = plane[np.clip(np.arange(first - _BEFORE, last + _TAPS - _BEFORE), 0, len(plane) - 1)]
    between = cv2.filter2D(stored, -1, _kernel()[:, None], anchor=(0, _BEFORE), borderType=cv2.BORDER_REPLICATE)
    inside = slice(_BEFORE, _BEFORE + last - first + 1)
    out = np.empty((2 * (last - first + 1), plane.shape[1]), np.float32)
    out[0::2], out[1::2] = stored[inside], between[inside]
    return out[start - 2 * first : stop - 2 * first]


def _to_rgb(y: Plane, ry: Plane, by: Plane, weights: Floats) -> Floats:
    import numpy as np

    out = np.empty((*y.shape, 3), np.float32)
    # what overflows, or was no number before, is found by the reader's check for odd values
    with np.errstate(over="ignore", invalid="ignore"):
        y = y.astype(np.float32)
        out[..., 0] = (ry.astype(np.float32) + 1) * y
        out[..., 2] = (by.astype(np.float32) + 1) * y
        out[..., 1] = (y - out[..., 0] * weights[0] - out[..., 2] * weights[2]) / weights[1]
    np.copyto(out, y[..., None], where=((ry == 0) & (by == 0))[..., None])
    return out


def _tamed(strip: Floats, weights: Floats) -> Floats:
    """The strip without its first and last row; pixels far more saturated than their diagonal neighbours are toned down."""
    import numpy as np

    saturation = _saturation(strip)
    beside = np.pad(saturation, ((0, 0), (1, 1)), mode="edge")
    around = beside[:-2, :-2] + beside[:-2, 2:] + beside[2:, :-2] + beside[2:, 2:]
    # at most three quarters of the way from the neighbours' mean to a pure colour
    largest = np.minimum(np.float32(1), np.float32(1) - (np.float32(1) - np.minimum(np.float32(1), around / 4)) / 4)
    out = strip[1:-1].copy()
    too_pure = saturation[1:-1] > largest
    if too_pure.any():
        colours = out[too_pure]
        factor = np.divide(largest[too_pure], saturation[1:-1][too_pure], dtype=np.float32)
        out[too_pure] = _toned_down(colours, factor[:, None], weights)
    return out


def _saturation(colours: Floats) -> Floats:
    import numpy as np

    red, green, blue = (colours[..., i] for i in range(3))
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(1 - np.divide(smallest, largest, out=np.ones_like(largest), where=largest > 0))


def _toned_down(colours: Floats, factor: Floats, weights: Floats) -> Floats:
    """``(N, 3)``: each channel's distance from the largest times ``factor``, at the same luminance."""
    import numpy as np

    largest = colours.max(axis=-1, keepdims=True)
    paler = np.maximum(largest - (largest - colours) * factor, 0)
    # not a matrix product, whose order of sums, and so the last bit, goes with the number of colours
    before, after = (c[:, 0] * weights[0] + c[:, 1] * weights[1] + c[:, 2] * weights[2] for c in (colours, paler))
    return np.asarray(paler * np.divide(before, after, out=np.ones_like(after), where=after > 0)[:, None])
