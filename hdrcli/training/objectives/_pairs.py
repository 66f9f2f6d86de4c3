"""Photos and their truth, for supervised objectives: pairs that were given, or virtual photos of HDR scenes.

The truth of a virtual photo is brought to the exposure of the linearised photo (:func:`hdrcli.camera.exposure_alignment`),
since no network can know a scene's absolute exposure. That of a given pair was, of the whole picture, when it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.camera import CameraDistribution, Codes, Floats, exposure_alignment
from hdrcli.color import Transfer, decoding_table


def photo_and_truth(
    views: Mapping[str, NDArray[Any]], camera: CameraDistribution, rng: np.random.Generator, peak: float
) -> tuple[Codes, Floats]:
    """The photo of a draw, ``(S, S, 3) uint8`` sRGB codes, and its light, ``(S, S, 3) float32``: 1 is LDR white, 0..``peak``.

    ``views["ldr"]`` and ``views["hdr"]`` where there is a photo; else one that a camera of this distribution takes of
    ``views["hdr"]``, ``(S, S, 3) float32`` scene radiance. Given pairs draw nothing from ``rng``.
    """
    if "ldr" in views:
        return given(views, peak)
    view = views["hdr"]
    shot = camera.draw(view, rng)
    codes = shot.shoot(view, rng)
    return codes, at_exposure_of(codes, shot.exposed(view), peak)


def given(views: Mapping[str, NDArray[Any]], peak: float) -> tuple[Codes, Floats]:
    """Of a pair of views: photo and light, 0..``peak``."""
    return views["ldr"], np.clip(views["hdr"], 0, np.float32(peak))


def window(codes: Codes, light: Floats, least: int, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """A random square part of a pair of views, 60..100 % of its side but not below ``least`` pixels: another view of it."""
    size = codes.shape[0]
    side = max(min(least, size), round(size * rng.uniform(0.6, 1.0)))
    y, x = (int(v) for v in rng.integers(size - side + 1, size=2))
    return codes[y : y + side, x : x + side], light[y : y + side, x : x + side]


def at_exposure_of(codes: Codes, exposed: Floats, peak: float) -> Floats:
    """What the camera was exposed to, in the linearised photo's whites: ``(H, W, 3) float32``, 0..``peak``.

    The camera's exposure is capped at ``peak`` too, before: light beyond would not be learned at any exposure.
    """
    linear = decoding_table(Transfer.SRGB, 256)[codes]
    step = slice(None, None, 3)
    factor = exposure_alignment(linear[step, step], exposed[step, step], codes[step, step])
    return np.clip(np.minimum(exposed, np.float32(peak)) / np.float32(factor), 0, np.float32(peak))


__all__ = ["at_exposure_of", "given", "photo_and_truth", "window"]
