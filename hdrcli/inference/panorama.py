"""The sun of an equirectangular panorama, for image-based lighting.

A photo shows the sun as a white spot with a glow around it; generators make it some stops brighter than white. The real disc is
some 13 to 17 stops brighter, and lights more than the whole sky does: without it a panorama casts no shadows. This module
finds the sun of a clear day and gives its disc the irradiance that such suns have, measured against the photo's own sky.

What is taken for a sun is a clipped area that is compact and above the horizon, that fades out softly into what is around it,
and of which there is no second one; and it must be a clear day: the sky is blue, and the ground is brighter than the sky
alone would make it. Lamps and windows have no blue sky around them, overcast skies don't light the ground so.
A sun in haze, behind leaves or at the horizon is left as the generator made it: how bright it is can't be told from one photo.

Directions: rows cover 180 degrees, columns 360. Elevation is up from the horizon, azimuth to the right from the middle column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import luminance
from hdrcli.image import FLOAT_MAX, HALF_MAX
from hdrcli.inference.working import area_mean, blend_table, lost_share

Floats = NDArray[np.float32]

# Irradiance of the sun on a plane that faces it over that of the sky on level ground, as reconstructed. Fitted to the clear
# skies among the training panoramas (tests/tools/score_panoramas.py): 2.1, 2.2, 2.4 and 3.3 stops.
SUN_OVER_SKY = 2.0**2.5
SUN_RADIUS = math.radians(0.533 / 2)

_WIDTH = 1024  # of the grid that is searched: cells of 0.35 degrees
_SOLID_ANGLES = (1e-3, 0.6)  # sr, discs of 1 and 25 degrees radius: smaller are lamps and clouds, larger tell no direction
_COMPACT = 0.55  # share of the area within the disc of the same size about its middle
_BELOW_HORIZON = 0.05  # share of the area that may lie more than 3 degrees below the horizon
_RIM = (math.radians(1), math.radians(4))  # just outside
_SOFT = 0.5  # median light there, of white
_ALONE = 2.0  # times as large as the next
_BLUE = 1.25  # blue over red of the sky
_SUNLIT = 0.25  # flux from below over flux from above: 0.04 to 0.2 under clouds and haze, 0.27 to 0.99 in the sun


@dataclass(frozen=True)
class Sun:
    """A sun that was found.

    ``elevation``, ``azimuth``: degrees. ``solid_angle``: of the clipped area, sr. ``irradiance``: what its disc shall add on a
    plane that faces it, in units of the light times sr. ``colour``: RGB of luminance 1. ``why``: what it was recognised by.
    """

    elevation: float
    azimuth: float
    solid_angle: float
    irradiance: float
    colour: tuple[float, float, float]
    why: str


def find_sun(codes: NDArray[Any], light: NDArray[Any], white: float = 1.0) -> Sun | None:
    """The sun of an equirectangular photo, or None where there is none that shines from a clear sky.

    ``codes``: ``(H, W, 3)`` uint8|uint16 as stored; they say what clipped. ``light``: the reconstruction, ``(H, W, 3)``
    float16|float32, scene-linear. ``white``: what LDR white is in it.
    """
    shape = (min(codes.shape[0], _WIDTH // 2), min(codes.shape[1], _WIDTH))
    lost = lost_share(codes, shape)
    step = max(1, codes.shape[1] // (2 * _WIDTH))
    small = area_mean(light[::step, ::step].astype(np.float32) * np.float32(1 / white), shape)
    sphere = _Sphere.of(shape)
    whole, none = lost.min(axis=2) > 0.5, lost.max(axis=2) < 0.01
    above, below = sphere.irradiance(small, sphere.up), sphere.irradiance(small, -sphere.up)
    sky_light, ground_light = float(luminance(above)), float(luminance(below))
    blue = _blueness(small, sphere.cell * (none & (sphere.up > math.sin(math.radians(10)))))
    if ground_light < _SUNLIT * sky_light or blue < _BLUE:
        return None
    level = luminance(small)
    spot = _largest_spot(whole, level, sphere)
    if spot is None or not _looks_like_a_sun(spot, whole, level, sphere):
        return None
    x, y, z = (float(v) for v in spot.middle)
    elevation, width = math.degrees(math.asin(y)), 2 * math.degrees(_disc_radius(spot.solid_angle))
    why = (
        f"found {elevation:.0f} degrees up, {width:.0f} degrees wide with its glow (sky blue/red {blue:.1f}, "
        f"ground/sky {ground_light / sky_light:.2f})"
    )
    irradiance = SUN_OVER_SKY * sky_light * white
    return Sun(elevation, math.degrees(math.atan2(x, z)), spot.solid_angle, irradiance, _colour(above / sky_light, y), why)


def raise_sun(light: NDArray[Any], codes: NDArray[Any], sun: Sun) -> None:
    """Give a sun its light: in place, since a copy of a large panorama would double the memory.

    ``light``, ``codes`` as in :func:`find_sun`. A disc with a soft rim, of the sun's size (or a pixel's, if larger), gets the
    irradiance of ``sun`` on top of what was there; pixels of which a channel survived take no part. Halves end at 65504:
    where that is too little for so small a disc, it is made larger.
    """
    top, pixel = (HALF_MAX if light.dtype == np.float16 else FLOAT_MAX), math.pi / light.shape[0]
    blend = blend_table(int(np.iinfo(codes.dtype).max) + 1)
    radius, largest = max(SUN_RADIUS, 0.75 * pixel), max(2 * _disc_radius(sun.solid_angle), 4 * pixel)
    while True:
        rows, columns = _window(light.shape, sun, 1.2 * radius + pixel)
        place = np.ix_(rows, columns)
        elevation, azimuth = _angles(rows, columns, light.shape)
        weight = _disc(elevation, azimuth, sun, radius, pixel) * blend[codes[place]].min(axis=2)
        held = float((weight * np.cos(elevation)).sum()) * pixel * (2 * math.pi / light.shape[1])
        if held * 0.5 * top > sun.irradiance * max(sun.colour) or radius > largest:
            break
        radius *= 1.25
    if held > 0:
        added = weight[..., None] * np.asarray(sun.colour) * (sun.irradiance / held)
        light[place] = np.minimum(light[place] + added, top)


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Where a grid's cells look: ``direction (h, w, 3)`` (x right, y up, z ahead), ``up`` its y, ``cell`` its solid angle."""

    direction: Floats
    up: Floats
    cell: Floats

    @classmethod
    def of(cls, shape: tuple[int, int]) -> _Sphere:
        elevation, azimuth = _angles(np.arange(shape[0]), np.arange(shape[1]), (*shape, 3))
        direction = np.stack(_xyz(elevation, azimuth), axis=-1).astype(np.float32)
        cell = np.broadcast_to(np.cos(elevation) * (math.pi / shape[0]) * (2 * math.pi / shape[1]), shape)
        return cls(direction, direction[..., 1], cell.astype(np.float32))

    def irradiance(self, light: Floats, up: Floats) -> NDArray[np.float64]:
        """On a level plane, from above (or with ``up`` negated from below): ``(3,)``."""
        return np.asarray(np.einsum("hwc,hw->c", light, np.maximum(up, 0) * self.cell, dtype=np.float64))


def _angles(rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Elevation ``(n, 1)`` and azimuth ``(1, m)`` of pixel centres, radians."""
    elevation = (0.5 - (rows + 0.5) / shape[0]) * math.pi
    azimuth = ((columns + 0.5) / shape[1] - 0.5) * (2 * math.pi)
    return elevation[:, None], azimuth[None]


def _xyz(elevation: NDArray[Any], azimuth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    across = np.cos(elevation)
    return across * np.sin(azimuth), np.sin(elevation) + 0 * azimuth, across * np.cos(azimuth)


def _blueness(light: Floats, weight: Floats) -> float:
    """Mean blue over mean red."""
    red, _, blue = np.einsum("hwc,hw->c", light, weight, dtype=np.float64)
    return float(blue / red) if red > 0 else 0.0


def _colour(sky: NDArray[np.float64], up: float) -> tuple[float, float, float]:
    """What the sun's colour must be so that sun and sky together light level ground white, as cameras are balanced to.

    ``sky``: its irradiance, RGB of luminance 1; ``up``: the sine of the sun's elevation.
    """
    share = SUN_OVER_SKY * max(up, 0.2)
    red, green, blue = np.clip(1 + (1 - sky) / share, 0.6, 1.4)
    level = float(luminance(np.array([red, green, blue])))
    return float(red / level), float(green / level), float(blue / level)


@dataclass(frozen=True, eq=False)
class _Spot:
    """A clipped area: its ``cells``, ``solid_angle``, and the direction of its ``middle``."""

    cells: NDArray[np.bool_]
    solid_angle: float
    middle: NDArray[np.float64]


def _largest_spot(whole: NDArray[np.bool_], level: Floats, sphere: _Sphere) -> _Spot | None:
    """The clipped area that is by far the largest above the horizon; connected across the border too."""
    import cv2

    count, labels = cv2.connectedComponents(whole.astype(np.uint8), connectivity=8)
    for row in np.flatnonzero(whole[:, 0] & whole[:, -1]):
        if labels[row, 0] != labels[row, -1]:
            labels[labels == labels[row, -1]] = labels[row, 0]
    sizes = np.bincount(labels.ravel(), (sphere.cell * (sphere.up > 0)).ravel(), minlength=max(count, 3))
    sizes[0] = 0  # what did not clip
    second, first = np.argsort(sizes)[-2:]
    if sizes[first] == 0 or sizes[first] < _ALONE * sizes[second]:
        return None
    cells = labels == first
    inside = sphere.direction[cells]
    # what the generator makes brighter is likely nearer to the sun
    middle = (sphere.cell * level)[cells] @ inside
    nearest = inside[np.argmax(inside @ middle)].astype(np.float64)
    return _Spot(cells, float(sphere.cell[cells].sum()), nearest / np.linalg.norm(nearest))


def _looks_like_a_sun(spot: _Spot, whole: NDArray[np.bool_], level: Floats, sphere: _Sphere) -> bool:
    """Of a sun's size, compact, above the horizon, and not much darker just outside."""
    mine = sphere.cell * spot.cells
    within = mine[sphere.direction @ spot.middle.astype(np.float32) > math.cos(_disc_radius(spot.solid_angle))].sum()
    beneath = mine[sphere.up < math.sin(math.radians(-3))].sum()
    sized = _SOLID_ANGLES[0] < spot.solid_angle < _SOLID_ANGLES[1]
    if not sized or spot.middle[1] < 0 or within < _COMPACT * spot.solid_angle or beneath > _BELOW_HORIZON * spot.solid_angle:
        return False
    rim = _rim(spot, whole, level, sphere)
    return rim.size > 0 and float(np.median(rim)) > _SOFT


def _rim(spot: _Spot, whole: NDArray[np.bool_], level: Floats, sphere: _Sphere) -> Floats:
    """Luminance of what did not clip just outside a spot and above the horizon: ``(n,)``.

    Looked up on a map around the middle of the spot (azimuthal, equidistant), on which a degree is a degree everywhere.
    """
    import cv2

    height, width = whole.shape
    cell = math.pi / height
    near, far = max(_RIM[0], cell), max(_RIM[1], 2.5 * cell)
    extent = math.acos(max(-1.0, float((sphere.direction[spot.cells] @ spot.middle).min()))) + far
    across = np.arange(-math.ceil(extent / cell) - 1, math.ceil(extent / cell) + 2) * cell
    right, above = np.meshgrid(across, across)
    away = np.hypot(right, above)
    turn = math.atan2(spot.middle[0], spot.middle[2])
    sideways = np.array([math.cos(turn), 0.0, -math.sin(turn)])
    upwards = np.cross(spot.middle, sideways)
    look = np.sinc(away / math.pi)[..., None] * (right[..., None] * sideways + above[..., None] * upwards)
    look += np.cos(away)[..., None] * spot.middle
    elevation = np.arcsin(np.clip(look[..., 1], -1, 1))
    row = np.clip(((0.5 - elevation / math.pi) * height).astype(np.intp), 0, height - 1)
    column = ((np.arctan2(look[..., 0], look[..., 2]) / (2 * math.pi) + 0.5) * width).astype(np.intp) % width
    distance = cv2.distanceTransform((~spot.cells[row, column]).astype(np.uint8), cv2.DIST_L2, 5) * cell
    outside = (distance > near) & (distance < far) & ~whole[row, column] & (elevation > math.radians(3))
    return np.asarray(level[row, column][outside])


def _disc_radius(solid_angle: float) -> float:
    return math.acos(max(-1.0, 1 - solid_angle / (2 * math.pi)))


def _window(shape: tuple[int, ...], sun: Sun, reach: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of pixels within ``reach`` radians of the sun, and some more."""
    elevation = math.radians(sun.elevation)
    first, last = ((0.5 - (elevation + side * reach) / math.pi) * shape[0] for side in (1, -1))
    rows = np.arange(max(0, math.floor(first)), min(shape[0], math.ceil(last) + 1))
    across = math.cos(elevation)
    turn = math.asin(math.sin(reach) / across) if reach < math.pi / 2 - abs(elevation) else math.pi
    middle, wide = (math.radians(sun.azimuth) / (2 * math.pi) + 0.5) * shape[1], turn / (2 * math.pi) * shape[1]
    if 2 * wide + 2 >= shape[1]:
        return rows, np.arange(shape[1])
    return rows, np.arange(math.floor(middle - wide), math.ceil(middle + wide) + 1) % shape[1]


def _disc(elevation: NDArray[Any], azimuth: NDArray[Any], sun: Sun, radius: float, pixel: float) -> NDArray[Any]:
    """1 within ``radius`` of the sun, 0 beyond, smooth between."""
    up, turn = math.radians(sun.elevation), math.radians(sun.azimuth)
    # haversines: exact for small angles too
    across = np.sin((elevation - up) / 2) ** 2 + np.cos(elevation) * math.cos(up) * np.sin((azimuth - turn) / 2) ** 2
    distance = 2 * np.arcsin(np.sqrt(np.clip(across, 0, 1)))
    soft = max(0.2 * radius, pixel / 2)
    s = np.clip((radius + soft - distance) / (2 * soft), 0, 1)
    return np.asarray(s * s * (3 - 2 * s))
