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
from hdrcli.color import STOPS_FLOOR, Transfer, decoding_table
from hdrcli.errors import UsageError
from hdrcli.inference.working import area_mean, blend_table, clip_map, lost_share, working_codes


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


def reduced(codes: Codes, light: Floats, size: int) -> dict[str, NDArray[Any]]:
    """A photo, ``(S, S, 3) uint8``, and its light, ``(S, S, 3) float32`` in LDR whites, at working resolution.

    ``ldr``, ``clip``: what a generator may see. ``stops``: log2(y + 2^-10) of the truth; where ``lost`` (share of the cell that
    clipped, per channel) is above 0, of what was lost, so that small lamps keep their light. All ``(size, size, 3) float32``.
    """
    shape = (size, size)
    stops = np.log2(light + np.float32(STOPS_FLOOR))
    lost = lost_share(codes, shape)
    mean_lost = area_mean(stops * blend_table(256)[codes], shape) / np.maximum(lost, 1e-6)
    return {
        "ldr": working_codes(codes, Transfer.SRGB, shape),
        "clip": clip_map(lost),
        "stops": np.where(lost > 1e-4, mean_lost, area_mean(stops, shape)).astype(np.float32),
        "lost": lost,
    }


def check_sizes(size: int, view_size: int, multiple: int, otherwise: str = "") -> None:
    """Raises UsageError for a working size that the network can't have, or that views would have to be enlarged to."""
    if size % multiple:
        remedy = f"use a multiple of {multiple}{otherwise}"
        raise UsageError(f"{size} is no multiple of {multiple}, as the network needs", where="working_size", remedy=remedy)
    if size > view_size:
        remedy = f"use {view_size} or less, or a larger view_size"
        raise UsageError(f"{size} is more than view_size {view_size}", where="working_size", remedy=remedy)


def check_batch(batch_size: int, photos_per_view: int) -> None:
    """Raises UsageError for a batch that does not hold whole views."""
    if batch_size % photos_per_view:
        fault = f"{batch_size} is no multiple of photos_per_view {photos_per_view}"
        raise UsageError(fault, where="batch_size", remedy="use a multiple: a batch holds whole views")


__all__ = ["at_exposure_of", "check_batch", "check_sizes", "given", "photo_and_truth", "reduced", "window"]
