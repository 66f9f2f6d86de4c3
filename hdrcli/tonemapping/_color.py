"""Luminance, and colour put back onto luminance that was mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries

    Floats = NDArray[np.float32]

DARK = 1e-9  # luminance, in LDR whites, below which there is no colour to keep
_MANY = 0.05  # of pixels; from here on all of them are worked on, which is faster than to pick some out


def luminance(light: NDArray[Any], primaries: AnyPrimaries | None = None) -> Floats:
    """Luminance, of Rec.709 light unless said otherwise: ``(..., 3) -> (...) float32``, the same wherever a pixel stands.

    OpenCV's sum of three products: a matrix product of NumPy's rounds otherwise for other sizes.
    """
    import cv2
    import numpy as np

    from hdrcli.color import Primaries, rgb_to_xyz

    weights = rgb_to_xyz(primaries or Primaries.BT709)[1:2].astype(np.float32)
    flat = np.ascontiguousarray(light, dtype=np.float32).reshape(1, -1, 3)
    y: Floats = np.asarray(cv2.transform(flat, weights), dtype=np.float32)
    return y.reshape(light.shape[:-1])


def recoloured(
    light: NDArray[Any],
    y: NDArray[Any],
    display: NDArray[Any],
    saturation: float = 1.0,
    primaries: AnyPrimaries | None = None,
) -> Floats:
    """Mapped luminance with the light's colour: ``C_d = L_d (C / L)^s`` (Schlick 1994; Tumblin and Turk 1999, Eq. 11).

    ``light``: ``(n, W, 3)``. ``y``: its luminance, ``display``: what becomes of it, in [0, 1], both ``(n, W)``.
    ``saturation``: s; 1 keeps the ratios of the channels and the luminance, 0 is grey. What then leaves the gamut is drawn
    towards grey of equal luminance, see :func:`into_gamut`. Returns ``(n, W, 3)`` in [0, 1].
    """
    import numpy as np

    if saturation == 1:
        return into_gamut(multiplied(light, display / np.maximum(y, np.float32(DARK))), display)
    rgb = multiplied(light, 1 / np.maximum(y, np.float32(DARK)))
    np.power(rgb, np.float32(saturation), out=rgb)
    rgb = multiplied(rgb, display)
    return into_gamut(rgb, np.minimum(luminance(rgb, primaries), 1))  # a power changes the luminance of a colour


def multiplied(light: NDArray[Any], gain: NDArray[Any]) -> Floats:
    """``light * gain[..., None]``, ``(n, W, 3)`` by ``(n, W)``, three times faster than NumPy's loop over triples."""
    gains = tripled(gain)
    gains *= light
    return gains


def tripled(plane: NDArray[Any]) -> Floats:
    """A plane as three equal channels, ``(n, W)`` to ``(n, W, 3)``."""
    import cv2
    import numpy as np

    out: Floats = np.asarray(cv2.merge([plane, plane, plane]), dtype=np.float32)
    return out.reshape(*plane.shape, 3)


def mixed(light: NDArray[Any], matrix: NDArray[Any]) -> Floats:
    """``matrix @ C`` for each pixel of ``(n, W, 3)``, the same wherever it stands: OpenCV's own 3 x 3 rounds ends otherwise."""
    import cv2
    import numpy as np

    flat = np.ascontiguousarray(light, dtype=np.float32).reshape(1, -1, 3)
    rows = [cv2.transform(flat, row[None]) for row in np.asarray(matrix, dtype=np.float32)]
    out: Floats = np.asarray(cv2.merge(rows), dtype=np.float32)
    return out.reshape(light.shape)


def extremes(rgb: NDArray[Any]) -> tuple[Floats, Floats]:
    """The smallest and the largest of each pixel's channels: ``(n, W, 3)`` to twice ``(n, W)``."""
    import numpy as np

    red, green, blue = _planes(rgb)
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green, out=red), blue, out=red)


def _planes(rgb: NDArray[Any]) -> list[Floats]:
    """Three channels, ``(n, W)`` each."""
    import cv2
    import numpy as np

    flat = np.ascontiguousarray(rgb, dtype=np.float32).reshape(1, -1, 3)
    return [np.asarray(plane, dtype=np.float32).reshape(rgb.shape[:-1]) for plane in cv2.split(flat)]


def into_gamut(rgb: NDArray[Any], y: NDArray[Any]) -> Floats:
    """Display-linear ``(n, W, 3)`` of luminance ``y`` ``(n, W)`` in [0, 1], drawn towards grey where outside [0, 1]; in place.

    ``mix rgb + (1 - mix) y`` keeps luminance and hue, as clipping channels would not; ``mix`` is the largest that ends inside,
    exactly 1 for what is inside already, so that it does not matter to a pixel whether its neighbours are.
    """
    import numpy as np

    below = bool(rgb.min() < 0)
    if not (below or rgb.max() > 1):
        return np.asarray(rgb, dtype=np.float32)
    red, green, blue = _planes(rgb)
    low = np.minimum(np.minimum(red, green), blue) if below else None
    high = np.maximum(np.maximum(red, green, out=red), blue, out=red)
    outside = high > 1 if low is None else (high > 1) | (low < 0)
    few = np.flatnonzero(outside)
    if few.size > _MANY * y.size:
        rgb[:] = _drawn_in(rgb, y, low, high)
    else:
        pixels = rgb.reshape(-1, 3)
        lowest = None if low is None else low.ravel()[few][None]
        pixels[few] = _drawn_in(pixels[few][None], y.ravel()[few][None], lowest, high.ravel()[few][None])[0]
    return np.asarray(rgb, dtype=np.float32)


def above_black(rgb: NDArray[Any], primaries: AnyPrimaries | None = None) -> Floats:
    """Light ``(n, W, 3) float32`` with channels below 0, drawn towards grey until none is: luminance and hue stay; in place.

    Colours beyond primaries have such channels. Cut, they change hue and luminance, with edges where they begin to. What has no
    luminance becomes black.
    """
    import numpy as np

    few = np.flatnonzero(extremes(rgb)[0] < 0)
    if few.size:
        pixels = rgb.reshape(-1, 3)
        chosen = pixels[few]
        y = np.maximum(luminance(chosen, primaries), 0)
        mix = (y / (y - chosen.min(axis=1)))[:, None]
        pixels[few] = np.maximum(chosen * mix + y[:, None] * (1 - mix), 0)
    return np.asarray(rgb, dtype=np.float32)


def _drawn_in(rgb: NDArray[Any], y: NDArray[Any], low: NDArray[Any] | None, high: NDArray[Any]) -> Floats:
    import numpy as np

    tiny = np.float32(1e-6)
    mix = np.maximum(1 - y, tiny)
    mix /= np.maximum(np.maximum(high, 1) - y, tiny)
    if low is not None:
        mix = np.minimum(mix, np.maximum(y, tiny) / np.maximum(y - np.minimum(low, 0), tiny))
    out = multiplied(rgb, mix)
    np.subtract(1, mix, out=mix)
    mix *= y
    out += tripled(mix)
    return np.clip(out, 0, 1, out=out)  # rounding alone leaves it
