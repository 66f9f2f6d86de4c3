"""Render our own sample photo, a sunlit room, at any size: a JPEG as a camera would write it and its HDR truth.

The picture is ray cast from formulas only, so nobody else holds rights in it and the light of every clipped pixel is known.
All textures are functions of the position in the scene: a 600 px and a 6000 px render show the same room, the larger one in
finer detail. Light is scene-linear Rec.709 with 1.0 = LDR white (the clip point). Lengths are metres; x right, y up, z forward.

    python tests/tools/render_sample.py --width 6000 --ldr out.jpg [--hdr truth.exr] [--quality 92]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Vec = tuple[float, float, float]

TAN_HALF = 0.75  # tangent of half the horizontal field of view: about a 24 mm lens on a 36 mm sensor
SHIFT = -0.045  # lens shift in tangents: keeps verticals vertical and shows more floor than ceiling
EYE = 1.2
ROOM_LO, ROOM_HI = (-2.1, 0.0), (2.2, 2.75)  # x, y
WALL_Z, GLASS_Z, OUTER_Z = 4.0, 4.1, 4.22
WIN_LO, WIN_HI = (-0.55, 0.16), (1.55, 2.5)  # x, y of the opening
MULLIONS, TRANSOM = (0.15, 0.85), 1.93
CURTAIN_IN = (-0.36, 1.36)  # x of the inner edges of the curtains
SUN = (0.2205, 0.272)  # direction x/z, y/z: its edge is cut by a mullion, and a cloud drifts by
SUN_RADIUS = 0.0072
SUN_LIGHT: Vec = (22.0, 18.2, 13.2)  # irradiance / pi of a surface that faces the sun
BULB: Vec = (-1.32, 1.78, 3.0)
LAMP: Vec = (1.84, 1.2, 3.15)
RUG = (-1.85, 0.0, 2.42, 3.5)  # x0, x1, z0, z1
FAR = 1.0e4
MAX_HALF = 60000.0
TILE = 256
JITTER = (
    (0.06, -0.44),
    (0.44, 0.06),
    (-0.06, 0.44),
    (-0.44, -0.06),
    (-0.19, -0.31),
    (0.31, -0.19),
    (0.19, 0.31),
    (-0.31, 0.19),
)

OUTSIDE, FLOOR, CEILING, LEFT, RIGHT, WALL, REVEAL, FIRST = range(8)


# ---------------------------------------------------------------------------------------------------------------- noise


@lru_cache(maxsize=1)
def _noise_tile() -> Floats:
    """Tileable noise, 1025 x 1025 float32 (last row and column repeat the first), wavelengths 16 to 64 texels, sigma 1."""
    size = 1024
    rng = np.random.default_rng(20240607)
    freq = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    octave = np.log2(np.maximum(freq, 1e-9) * 32.0)
    shape = np.exp(-0.5 * (octave / 0.75) ** 2) / np.maximum(freq, 1e-9)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * shape, s=(size, size))
    field = (field / field.std()).astype(np.float32)
    return np.pad(field, ((0, 1), (0, 1)), mode="wrap")


@lru_cache(maxsize=1)
def _table() -> Floats:
    """4096 fixed uniform numbers, float32."""
    return np.random.default_rng(77).random(4096).astype(np.float32)


def _hash(i: Floats, j: Floats | float, seed: int) -> Floats:
    """Uniform number in 0..1 for each pair of whole numbers; (n,)."""
    key = i.astype(np.int64) * 7919 + np.asarray(j).astype(np.int64) * 104729 + seed * 611
    value: Floats = _table()[(key ^ (key >> 7)) & 4095]
    return value


def _band(u: Floats, v: Floats, wavelength: float, seed: int) -> Floats:
    """Two octaves of noise about one wavelength (in the unit of u and v); (n,), sigma 1."""
    tile, scale = _noise_tile(), 1.0 / (32.0 * wavelength)
    n, cols = u.size, 1024
    rows = -(-n // cols)
    maps = np.zeros((2, rows * cols), np.float32)
    for out, coord, offset in ((maps[0], u, 0.137 * seed), (maps[1], v, 0.731 * seed)):
        cell = out[:n]
        np.multiply(coord, scale, out=cell)
        cell += offset % 1.0
        cell -= np.floor(cell)
        cell *= 1024.0
        np.minimum(cell, 1023.999, out=cell)
    grid = maps.reshape(2, rows, cols)
    return cv2.remap(tile, grid[0], grid[1], cv2.INTER_LINEAR).reshape(-1)[:n]


def _fbm(u: Floats, v: Floats, foot: Floats, coarse: float, fine: float, gain: float = 0.5, seed: int = 1) -> Floats:
    """Fractal noise from wavelength ``coarse`` down to ``fine``; bands finer than the pixel footprint fade out; (n,)."""
    total = np.zeros_like(u)
    amp, wavelength, closest = 1.0, coarse, float(foot.min()) if foot.size else 1.0
    while wavelength >= fine and wavelength > 2.0 * closest:
        fade = np.clip((wavelength / foot - 2.0) * 0.4, 0.0, 1.0)
        total += _band(u, v, wavelength, seed) * fade * amp
        amp, wavelength, seed = amp * gain, wavelength / 4.0, seed + 3
    return total


def _smooth(lo: float, hi: float, x: Floats) -> Floats:
    """Smoothstep from 0 at ``lo`` to 1 at ``hi``."""
    t = np.clip((x - lo) / (hi - lo), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _soft_box(x: Floats, lo: float, hi: float, soft: Floats | float) -> Floats:
    """1 between ``lo`` and ``hi``, 0 outside, edges ``soft`` wide."""
    inv = 1.0 / soft
    return np.clip((x - lo) * inv + 0.5, 0.0, 1.0) * np.clip((hi - x) * inv + 0.5, 0.0, 1.0)


def _rgb(colour: Sequence[float]) -> Floats:
    """A colour as (3, 1) float32."""
    return np.array(colour, np.float32)[:, None]


def _mix(a: Floats, b: Floats, t: Floats) -> Floats:
    """Blend of (3, n) or (3, 1) colours by t (n,)."""
    blend: Floats = a + (b - a) * t
    return blend


# ------------------------------------------------------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Prim:
    """One solid: a box (lo, hi), a ball, a vertical cone stump or a flat leaf, with its bounds."""

    kind: str
    lo: Vec
    hi: Vec
    material: str
    args: tuple[float, ...] = ()
    tint: Vec = (1.0, 1.0, 1.0)
    shadow: bool = False  # whether it stands in the beam of the sun


def _box(lo: Vec, hi: Vec, material: str, tint: Vec = (1.0, 1.0, 1.0), shadow: bool = False) -> Prim:
    return Prim("box", lo, hi, material, (), tint, shadow)


def _ball(c: Vec, r: float, material: str, tint: Vec = (1.0, 1.0, 1.0), shadow: bool = False) -> Prim:
    return Prim("ball", (c[0] - r, c[1] - r, c[2] - r), (c[0] + r, c[1] + r, c[2] + r), material, (*c, r), tint, shadow)


def _cone(c: Vec, top: float, r0: float, r1: float, material: str, tint: Vec = (1.0, 1.0, 1.0), shadow: bool = False) -> Prim:
    """Upright stump from height c.y (radius r0) to ``top`` (radius r1)."""
    r = max(r0, r1)
    return Prim("cone", (c[0] - r, c[1], c[2] - r), (c[0] + r, top, c[2] + r), material, (*c, top, r0, r1), tint, shadow)


def _leaf(base: Vec, angle: float, length: float, width: float, bend: float, tint: Vec) -> Prim:
    """Leaf in the plane z = base.z: grows from ``base`` at ``angle`` (radians from +x), bent sideways by ``bend``."""
    r = length * (1.0 + abs(bend))
    lo, hi = (base[0] - r, base[1] - r, base[2] - 0.001), (base[0] + r, base[1] + r, base[2] + 0.001)
    return Prim("leaf", lo, hi, "leaf", (*base, float(np.cos(angle)), float(np.sin(angle)), length, width, bend), tint, True)


def _legs(lo: Vec, hi: Vec, size: float, material: str) -> list[Prim]:
    """Four square legs at the corners of a box."""
    xs, zs = (lo[0], hi[0] - size), (lo[2], hi[2] - size)
    return [_box((x, lo[1], z), (x + size, hi[1], z + size), material, shadow=True) for x in xs for z in zs]


def _window_frame() -> list[Prim]:
    (x0, y0), (x1, y1), z0, z1 = WIN_LO, WIN_HI, GLASS_Z - 0.03, GLASS_Z + 0.03
    bars = [(x0, y0, x0 + 0.06, y1), (x1 - 0.06, y0, x1, y1), (x0, y0, x1, y0 + 0.08), (x0, y1 - 0.06, x1, y1)]
    bars += [(x - 0.024, y0, x + 0.024, y1) for x in MULLIONS] + [(x0, TRANSOM - 0.03, x1, TRANSOM + 0.03)]
    frame = [_box((a, b, z0), (c, d, z1), "paint") for a, b, c, d in bars]
    frame.append(_box((x0 - 0.06, y0 - 0.035, WALL_Z - 0.09), (x1 + 0.06, y0, WALL_Z + 0.2), "paint"))
    frame.append(_box((MULLIONS[1] - 0.012, 1.12, z0 - 0.035), (MULLIONS[1] + 0.012, 1.24, z0), "brass"))
    return frame


def _plant() -> list[Prim]:
    rng = np.random.default_rng(12)
    x, z = 1.2, 3.5
    out = [
        _cone((x, 0.0, z), 0.33, 0.13, 0.18, "ceramic", (0.62, 0.3, 0.19), True),
        _cone((x, 0.3, z), 0.345, 0.19, 0.19, "ceramic", (0.62, 0.3, 0.19)),
        _cone((x, 0.34, z), 0.349, 0.17, 0.17, "ceramic", (0.075, 0.05, 0.035)),  # soil
    ]
    for k in range(9):
        out.append(
            _leaf(
                (x + 0.015 * (k - 4), 0.32, z + 0.012 * (k - 4)),
                1.57 + 0.09 * (4 - k),
                0.6 + 0.3 * float(rng.random()),
                0.009,
                0.12 * (k - 4) / 4,
                (0.5, 0.42, 0.3),
            )
        )
    for _ in range(46):
        up, side = float(rng.random()), float(rng.standard_normal())
        base = (x + 0.13 * side, 0.52 + 0.75 * up, z + 0.16 * float(rng.standard_normal()))
        angle = 1.57 - 0.75 * np.sign(side) * (0.5 + float(rng.random())) + 0.3 * float(rng.standard_normal())
        tone = (0.45 + 0.75 * float(rng.random())) * (0.7 + 0.45 * up)
        out.append(
            _leaf(
                base,
                angle,
                0.15 + 0.13 * float(rng.random()),
                0.042 + 0.028 * float(rng.random()),
                -0.35 * float(np.sign(side)) * float(rng.random()),
                (tone, tone * 0.94, tone * 1.1),
            )
        )
    return out


def _table_group() -> list[Prim]:
    lo, hi = (-1.42, 0.0, 2.55), (-0.34, 0.74, 3.25)
    out = [
        _box((lo[0], 0.705, lo[2]), hi, "walnut", shadow=True),
        *_legs((lo[0] + 0.05, 0.0, lo[2] + 0.05), (hi[0] - 0.05, 0.705, hi[2] - 0.05), 0.055, "walnut"),
    ]
    out.append(_box((lo[0] + 0.06, 0.62, lo[2] + 0.06), (hi[0] - 0.06, 0.705, hi[2] - 0.06), "walnut", shadow=True))
    x, z = -0.62, 2.92  # bowl of oranges, half of it in the sun
    out.append(_cone((x, 0.74, z), 0.83, 0.07, 0.165, "ceramic", (0.42, 0.5, 0.56), True))
    spots = (
        (-0.07, 0.855, -0.05),
        (0.06, 0.86, -0.06),
        (0.0, 0.86, 0.07),
        (0.005, 0.925, 0.0),
        (-0.09, 0.85, 0.05),
        (0.1, 0.85, 0.03),
    )
    out += [_ball((x + a, b, z + c), 0.047, "orange", shadow=True) for a, b, c in spots]
    out += [
        _box((-1.3, 0.74, 2.72), (-1.02, 0.775, 2.93), "book", (0.45, 0.13, 0.1)),
        _box((-1.28, 0.775, 2.74), (-1.05, 0.805, 2.92), "book", (0.2, 0.28, 0.36)),
    ]
    out += [_cone((-0.93, 0.74, 2.78), 0.83, 0.033, 0.042, "ceramic", (0.75, 0.72, 0.66))]
    return out


def _chair() -> list[Prim]:
    x0, x1, z0, z1 = 0.02, 0.45, 2.75, 3.18
    out = [
        _box((x0, 0.43, z0), (x1, 0.465, z1), "oak", shadow=True),
        *_legs((x0 + 0.01, 0.0, z0 + 0.01), (x1 - 0.01, 0.43, z1 - 0.01), 0.036, "oak"),
    ]
    out += [_box((x, 0.465, z1 - 0.046), (x + 0.036, 0.9, z1 - 0.01), "oak", shadow=True) for x in (x0 + 0.01, x1 - 0.046)]
    out += [
        _box((x0 + 0.01, y, z1 - 0.04), (x1 - 0.01, y + h, z1 - 0.016), "oak", shadow=True)
        for y, h in ((0.58, 0.05), (0.7, 0.05), (0.81, 0.09))
    ]
    out += [_box((x0 + 0.02, 0.2, z), (x1 - 0.02, 0.225, z + 0.02), "oak", shadow=True) for z in (z0 + 0.02, z1 - 0.04)]
    return out


def _console() -> list[Prim]:
    x, _, z = LAMP
    out = [
        _box((1.58, 0.7, 2.7), (2.2, 0.735, 3.62), "walnut"),
        _box((1.62, 0.56, 2.74), (2.2, 0.7, 3.58), "walnut"),
        *_legs((1.6, 0.0, 2.72), (2.18, 0.7, 3.6), 0.05, "walnut"),
    ]
    out += [
        _cone((x, 0.735, z), 0.755, 0.075, 0.07, "ceramic", (0.3, 0.42, 0.45)),
        _ball((x, 0.845, z), 0.095, "ceramic", (0.3, 0.42, 0.45)),
        _cone((x, 0.92, z), 1.1, 0.014, 0.012, "brass"),
    ]
    out += [_cone((x, 1.05, z), 1.34, 0.205, 0.135, "shade")]
    out += [
        _box((1.68, 0.735, 2.82), (1.9, 0.765, 2.98), "book", (0.22, 0.3, 0.2)),
        _box((1.7, 0.765, 2.83), (1.89, 0.79, 2.97), "book", (0.5, 0.38, 0.2)),
    ]
    return out


@lru_cache(maxsize=1)
def _scene() -> tuple[Prim, ...]:
    """Every solid of the room."""
    out = [*_window_frame(), *_plant(), *_table_group(), *_chair(), *_console()]
    x0, x1 = WIN_LO[0], WIN_HI[0]
    curtain_lo = ((-0.95, 0.02, 3.87), (CURTAIN_IN[1], 0.02, 3.87))
    curtain_hi = ((CURTAIN_IN[0], 2.6, 3.872), (1.95, 2.6, 3.872))
    out += [_box(lo, hi, "curtain") for lo, hi in zip(curtain_lo, curtain_hi, strict=True)]
    out += [
        _box((x0 - 0.5, 2.595, 3.86), (x1 + 0.5, 2.62, 3.885), "brass"),
        _ball((x0 - 0.52, 2.607, 3.872), 0.03, "brass"),
        _ball((x1 + 0.52, 2.607, 3.872), 0.03, "brass"),
    ]
    out += [_box((-2.08, 0.0, 3.66), (-1.06, 1.5, 4.0), "shelf"), _box((-2.09, 1.5, 3.64), (-1.04, 1.535, 4.0), "walnut")]
    out += [
        _ball((-1.9, 1.61, 3.8), 0.075, "ceramic", (0.3, 0.34, 0.3)),
        _cone((-1.25, 1.535, 3.8), 1.74, 0.03, 0.06, "ceramic", (0.42, 0.24, 0.16)),
    ]
    out += [_box((-1.8, 1.82, 3.965), (-1.16, 2.34, 4.0), "picture")]
    bx, by, bz = BULB
    out += [
        _ball(BULB, 0.042, "bulb"),
        _cone((bx, by + 0.035, bz), by + 0.1, 0.024, 0.02, "brass"),
        _cone((bx, by + 0.1, bz), 2.75, 0.0035, 0.0035, "cord"),
    ]
    (rx0, ry0), (rx1, _) = ROOM_LO, ROOM_HI
    out += [
        _box((rx0, ry0, 3.985), (x0 - 0.08, 0.11, 4.0), "paint"),
        _box((x1 + 0.08, ry0, 3.985), (rx1, 0.11, 4.0), "paint"),
        _box((rx1 - 0.015, 0.0, 0.0), (rx1, 0.11, 4.0), "paint"),
        _box((rx0, 0.0, 0.0), (rx0 + 0.015, 0.11, 4.0), "paint"),
    ]
    return tuple(out)


def _hit_box(p: Prim, o: Floats, d: Floats) -> Floats:
    """Distance along the rays to a box, or FAR; o, d (3, n)."""
    near: Floats | None = None
    far: Floats | None = None
    for k in range(3):
        inv = 1.0 / d[k]
        a, b = (p.lo[k] - o[k]) * inv, (p.hi[k] - o[k]) * inv
        lo, hi = np.minimum(a, b), np.maximum(a, b)
        near = lo if near is None else np.maximum(near, lo)
        far = hi if far is None else np.minimum(far, hi)
    assert near is not None
    assert far is not None
    return np.where((near < far) & (near > 1e-3), near, np.float32(FAR))


def _hit_ball(p: Prim, o: Floats, d: Floats) -> Floats:
    """Distance along the rays to a ball, or FAR."""
    cx, cy, cz, r = p.args
    x, y, z = o[0] - cx, o[1] - cy, o[2] - cz
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = x * d[0] + y * d[1] + z * d[2]
    disc = b * b - a * (x * x + y * y + z * z - r * r)
    t = (-b - np.sqrt(np.maximum(disc, 0.0))) / a
    return np.where((disc > 0.0) & (t > 1e-3), t, np.float32(FAR))


def _hit_cone(p: Prim, o: Floats, d: Floats) -> Floats:
    """Distance along the rays to an upright cone stump with a lid, or FAR."""
    cx, y0, cz, y1, r0, r1 = p.args
    slope = (r1 - r0) / (y1 - y0)
    x, z, w = o[0] - cx, o[2] - cz, r0 + slope * (o[1] - y0)
    m = slope * d[1]
    a = d[0] * d[0] + d[2] * d[2] - m * m
    b = x * d[0] + z * d[2] - w * m
    disc = b * b - a * (x * x + z * z - w * w)
    t = (-b - np.sqrt(np.maximum(disc, 0.0))) / a
    y = o[1] + t * d[1]
    side = np.where((disc > 0.0) & (t > 1e-3) & (y > y0) & (y < y1), t, np.float32(FAR))
    lid = (y1 - o[1]) / d[1]
    lx, lz = x + lid * d[0], z + lid * d[2]
    return np.minimum(side, np.where((lid > 1e-3) & (lx * lx + lz * lz < r1 * r1), lid, np.float32(FAR)))


def _leaf_coords(p: Prim, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Along the leaf 0..1, signed distance from its midrib, half width there (metres)."""
    bx, by, _, c, s, length, width, bend = p.args
    x, y = x - bx, y - by
    along = (x * c + y * s) / length
    across = y * c - x * s - bend * length * along * along
    u = np.clip(along, 0.0, 1.0)
    return along, across, width * 2.6 * np.sqrt(u + 1e-4) * (1.0 - u)


def _hit_leaf(p: Prim, o: Floats, d: Floats) -> Floats:
    """Distance along the rays to a leaf, or FAR."""
    t = (p.args[2] - o[2]) / d[2]
    along, across, half = _leaf_coords(p, o[0] + t * d[0], o[1] + t * d[1])
    return np.where((t > 1e-3) & (along > 0.0) & (along < 1.0) & (np.abs(across) < half), t, np.float32(FAR))


_HIT: dict[str, Callable[[Prim, Floats, Floats], Floats]] = {
    "box": _hit_box,
    "ball": _hit_ball,
    "cone": _hit_cone,
    "leaf": _hit_leaf,
}


def _visible(origin: Vec, d: Floats, margin: float = 0.0) -> list[tuple[int, Prim]]:
    """Solids, numbered, whose bounds can meet rays from about one origin in the directions d (3, n)."""
    slopes = [d[k] / d[2] for k in (0, 1)]
    limits = [(float(s.min()) - margin, float(s.max()) + margin) for s in slopes]
    out = []
    for number, p in enumerate(_scene()):
        depth = [max(float(z - origin[2]), 0.05) for z in (p.lo[2], p.hi[2])]
        for k, (lo, hi) in enumerate(limits):
            ends = [float(v - origin[k]) / z for v in (p.lo[k], p.hi[k]) for z in depth]
            if max(ends) < lo or min(ends) > hi:
                break
        else:
            out.append((number, p))
    return out


def _trace(o: Floats, d: Floats, scene: Sequence[tuple[int, Prim]]) -> tuple[Floats, Floats]:
    """First surface along each ray: distance t (n,) and surface number (n,); o, d (3, n), d z > 0."""
    limits = [np.where(d[k] > 0.0, np.float32(ROOM_HI[k]), np.float32(ROOM_LO[k])) for k in (0, 1)]
    tx, ty, tz = (limits[0] - o[0]) / d[0], (limits[1] - o[1]) / d[1], (WALL_Z - o[2]) / d[2]
    t = np.minimum(np.minimum(tx, ty), tz)
    side = np.where(tx < ty, np.where(d[0] > 0.0, RIGHT, LEFT), np.where(d[1] > 0.0, CEILING, FLOOR))
    ident = np.where(tz <= t, WALL, side).astype(np.int16)
    x, y = o[0] + tz * d[0], o[1] + tz * d[1]
    hole = (ident == WALL) & (x > WIN_LO[0]) & (x < WIN_HI[0]) & (y > WIN_LO[1]) & (y < WIN_HI[1])
    idx = np.flatnonzero(hole)
    if idx.size:
        oi, di = o[:, idx], d[:, idx]
        edge = [(np.where(di[k] > 0.0, np.float32(WIN_HI[k]), np.float32(WIN_LO[k])) - oi[k]) / di[k] for k in (0, 1)]
        tr = np.minimum(edge[0], edge[1])
        out = tr > (OUTER_Z - oi[2]) / di[2]
        t[idx] = np.where(out, np.float32(FAR), tr)
        ident[idx] = np.where(out, OUTSIDE, REVEAL)
    for number, prim in scene:
        hit = _HIT[prim.kind](prim, o, d)
        closer = hit < t
        np.copyto(t, hit, where=closer)
        np.copyto(ident, np.int16(FIRST + number), where=closer)
    return t, ident


def _normal(p: Prim, pos: Floats) -> Floats:
    """Outward normals (3, n) of a solid at points on it."""
    n = np.zeros_like(pos)
    if p.kind == "box":
        mid = [(a + b) / 2 for a, b in zip(p.lo, p.hi, strict=True)]
        gap = np.stack([(b - a) / 2 - np.abs(pos[k] - mid[k]) for k, (a, b) in enumerate(zip(p.lo, p.hi, strict=True))])
        axis = np.argmin(gap, axis=0)
        for k in range(3):
            n[k] = np.where(axis == k, np.sign(pos[k] - mid[k]), 0.0)
    elif p.kind == "ball":
        n = (pos - _rgb(p.args[:3])) / np.float32(p.args[3])
    elif p.kind == "cone":
        cx, y0, cz, y1, r0, r1 = p.args
        slope = (r1 - r0) / (y1 - y0)
        radius = np.maximum(np.hypot(pos[0] - cx, pos[2] - cz), 1e-5)
        scale = 1.0 / np.sqrt(1.0 + slope * slope)
        lid = pos[1] > y1 - 5e-6  # all of it: a rim point with the side's normal would face the sun
        n[0], n[2] = np.where(lid, 0.0, (pos[0] - cx) / radius * scale), np.where(lid, 0.0, (pos[2] - cz) / radius * scale)
        n[1] = np.where(lid, 1.0, -slope * scale)
    else:
        _, across, half = _leaf_coords(p, pos[0], pos[1])
        tilt = np.clip(across / np.maximum(half, 1e-4), -1.0, 1.0) * 0.6 + 0.15
        c, s = p.args[3], p.args[4]
        n[0], n[1], n[2] = -s * tilt, c * tilt + 0.25, -0.85
        n /= np.sqrt((n * n).sum(axis=0))
    return n


# ------------------------------------------------------------------------------------------------------------- outdoors


def _clouds(a: Floats, e: Floats, foot: Floats) -> tuple[Floats, Floats]:
    """Cover 0..1 and brightness 0..1 of the clouds at slopes a = x/z, e = y/z."""
    q = 1.0 / (np.maximum(e, 0.0) + 0.16)
    u, v, f = a * q * 1.1, q * 0.5, foot * q * 1.6
    shape = _fbm(u, v, f, 1.1, 0.002, 0.42, 5)
    toward = _fbm(u + 0.10 * (SUN[0] - a), v - 0.05, f, 1.1, 0.02, 0.42, 5)
    cover = _smooth(-0.05, 0.85, shape)
    light = np.clip(0.62 + 0.55 * (shape - toward) - 0.16 * np.maximum(shape - 0.6, 0.0), 0.12, 1.0)
    return cover, light


def _sky(a: Floats, e: Floats, foot: Floats) -> Floats:
    """Radiance (3, n) of sky, clouds and sun."""
    high = np.exp(-np.maximum(e, 0.0) / 0.13)
    colour = _mix(_rgb((0.28, 0.62, 1.6)), _rgb((0.66, 0.95, 1.55)), high)
    theta = np.hypot(a - SUN[0], e - SUN[1])
    cover, light = _clouds(a, e, foot)
    near = np.exp(-theta / 0.08)
    colour = colour + _rgb((2.2, 1.8, 1.3)) * near + _rgb((30.0, 26.0, 20.0)) * np.exp(-theta / 0.009)
    bright = (0.42 + 3.6 * light * light) * (1.0 + 0.7 * near)
    colour = _mix(colour, _rgb((1.0, 0.975, 0.94)) * bright, cover * 0.94)
    disc = np.clip((SUN_RADIUS - theta) / np.maximum(foot, 3e-4) + 0.5, 0.0, 1.0)
    return colour + _rgb((46000.0, 40000.0, 30000.0)) * (disc * np.exp(-1.1 * cover))


def _ridge(a: Floats, foot: Floats, base: float, height: float, coarse: float, seed: int) -> Floats:
    """Height y/z of a skyline at slope a."""
    return base + height * _fbm(a, np.full_like(a, 0.37 * seed), foot, coarse, 0.003, 0.38, seed)


def _trees(a: Floats, e: Floats, foot: Floats, seed: int) -> Floats:
    """Backlit foliage (3, n): leaf clumps with light through the rims."""
    clump = _fbm(a, e, foot, 0.028, 0.0005, 0.62, seed)
    tone = np.clip(0.42 + 0.28 * clump, 0.06, 1.4)
    return _mix(_rgb((0.05, 0.085, 0.035)), _rgb((0.5, 0.64, 0.18)), tone)


def _meadow(a: Floats, e: Floats, foot: Floats) -> Floats:
    """Grass (3, n) in perspective, e < 0."""
    dist = 1.0 / np.maximum(-e, 0.01)
    u, v = a * dist, dist
    f = foot * dist * 2.5
    patch = _fbm(u, v * 0.6, f, 1.4, 0.01, 0.55, 31)
    blade = _fbm(a * 2.2, e, foot, 0.009, 0.0008, 0.7, 35)
    colour = _mix(_rgb((0.34, 0.5, 0.13)), _rgb((0.74, 0.74, 0.27)), np.clip(0.5 + 0.24 * patch + 0.1 * blade, 0.0, 1.0))
    shadow = np.exp(-(((a + 0.095 + 0.3 * (e + 0.21)) / 0.075) ** 2) - ((e + 0.212) / 0.016) ** 2)  # of the near tree
    return colour * (0.88 * (1.0 + 0.14 * blade) * (1.0 - 0.6 * shadow))


def _house(a: Floats, e: Floats, foot: Floats, colour: Floats) -> Floats:
    """A farmhouse and its lit roof painted over ``colour`` (3, n)."""
    x, y = (a + 0.022) / 0.03, (e + 0.018) / 0.03
    soft = foot / 0.03 + 0.01
    wall = _soft_box(x, -1.0, 1.0, soft) * _soft_box(y, -1.2, 0.25, soft)
    roof = (
        np.clip((0.95 - y) / soft + 0.5, 0, 1)
        * np.clip((y - 0.22) / soft + 0.5, 0, 1)
        * np.clip((1.15 - np.abs(x) - 0.35 * (y - 0.22)) / soft + 0.5, 0, 1)
    )
    chimney = _soft_box(x, 0.45, 0.62, soft) * _soft_box(y, 0.6, 1.25, soft)
    pane = sum(
        (_soft_box(x, c - 0.11, c + 0.11, soft) * _soft_box(y, -0.55, -0.1, soft) for c in (-0.6, 0.0, 0.6)), np.zeros_like(x)
    )
    tile = 1.0 + 0.2 * np.sin(y * 40.0) * np.clip(0.0012 / foot - 0.5, 0, 1) + 0.12 * _fbm(a, e, foot, 0.01, 0.001, 0.6, 51)
    colour = _mix(
        colour, _rgb((0.66, 0.57, 0.45)) * (1.0 + 0.06 * _fbm(a, e, foot, 0.008, 0.0008, 0.7, 53)), np.maximum(wall, chimney)
    )
    colour = _mix(colour, _rgb((0.14, 0.15, 0.17)), pane)
    return _mix(colour, _rgb((1.15, 0.58, 0.36)) * tile, roof)


def _near_tree(a: Floats, e: Floats, foot: Floats, colour: Floats) -> Floats:
    """A tree in the garden, its leaves against the sky, painted over ``colour`` (3, n)."""
    inside = np.flatnonzero((a < 0.16) & (e > -0.2))
    if inside.size == 0:
        return colour
    x, y, f = a[inside], e[inside], foot[inside]
    leaves = _fbm(x, y, f, 0.05, 0.0012, 0.8, 41)
    blob = 1.0 - np.hypot((x + 0.075) / 0.105, (y - 0.1) / 0.125) ** 2
    mask = _smooth(-0.12, 0.12, blob * 1.5 + 0.5 * leaves - 0.25)
    trunk_x = x + 0.07 - 0.04 * (y + 0.1) + 0.0012 * _fbm(y, y * 0.2, f, 0.11, 0.004, 0.5, 43)
    trunk = _soft_box(trunk_x, -0.0065, 0.0065, f + 1e-4) * (y < 0.1)
    out = _mix(colour[:, inside], _rgb((0.16, 0.12, 0.085)) * (1.0 + 0.25 * leaves), trunk)
    tone = np.clip(0.3 + 0.2 * leaves - 0.3 * blob + 1.8 * (x + 0.09), 0.03, 1.4)
    out = _mix(out, _mix(_rgb((0.05, 0.08, 0.025)), _rgb((0.66, 0.76, 0.15)), tone), mask)
    colour[:, inside] = out
    return colour


def _outside(a: Floats, e: Floats, foot: Floats) -> Floats:
    """Radiance (3, n) of all that is seen through the window, at slopes a, e."""
    colour = _sky(a, e, foot)
    soft = np.maximum(foot, 2e-4)
    layers: list[tuple[Floats, Callable[[], Floats]]] = [
        (
            _ridge(a, foot, 0.07, 0.018, 0.5, 11),
            lambda: _rgb((1.0, 1.32, 1.72)) * (1.0 + 0.05 * _fbm(a, e * 2, foot, 0.06, 0.002, 0.6, 13)),
        ),
        (
            _ridge(a, foot, 0.032, 0.012, 0.3, 15),
            lambda: _mix(_rgb((0.6, 0.82, 0.74)), _trees(a, e * 1.5, foot, 17), np.full_like(a, 0.3)),
        ),
        (_ridge(a, foot, 0.0, 0.011, 0.06, 19), lambda: _trees(a, e, foot, 21)),
        (_ridge(a, foot, -0.042, 0.003, 0.4, 27), lambda: _meadow(a, e, foot)),
    ]
    for top, paint in layers:
        cover = np.clip((top - e) / soft + 0.5, 0.0, 1.0)
        if cover.max() > 0.0:
            colour = _mix(colour, paint(), cover)
    return _near_tree(a, e, foot, _house(a, e, foot, colour))


# ------------------------------------------------------------------------------------------------------------ materials


def _wood(along: Floats, across: Floats, foot: Floats, seed: int) -> Floats:
    """Grain of wood about 0, sigma about 1; fibres run along the first coordinate; (n,)."""
    rings = _fbm(along * 0.09, across, foot, 0.09, 0.02, 0.5, seed)
    lines = 0.5 * np.sin(across * 260.0 + 5.0 * rings) * np.clip(0.012 / foot - 0.5, 0.0, 1.0)
    return 0.55 * rings + lines + 0.75 * _fbm(along * 0.05, across, foot, 0.012, 0.0006, 0.7, seed + 2)


def _floor(pos: Floats, foot: Floats) -> tuple[Floats, Floats]:
    """Albedo (3, n) of the oak planks and their height (n,) for the gloss."""
    x, z = pos[0], pos[2]
    width, length = 0.135, 1.35
    row = np.floor(x / width)
    along = z / length + _hash(row, 0.0, 3)
    col = np.floor(along)
    tone = _hash(row, col, 5)
    grain = _wood(z + 7.3 * tone, x + 3.1 * tone, foot, 61)
    fx, fz = (x / width - row) * width, (along - col) * length
    seam = 1.0 - _soft_box(fx, 0.0012, width - 0.0012, foot + 0.001) * _soft_box(fz, 0.001, length - 0.001, foot + 0.001)
    colour = _mix(_rgb((0.36, 0.21, 0.105)), _rgb((0.52, 0.335, 0.18)), tone)
    return colour * np.clip(1.0 + 0.13 * grain, 0.4, 1.7) * (1.0 - 0.7 * seam), 0.35 * grain + 2.0 * (tone - 0.5)


def _rug(pos: Floats, foot: Floats) -> tuple[Floats, Floats]:
    """Albedo (3, n) of the kilim under the table and how much of it covers the floor (n,)."""
    x0, x1, z0, z1 = RUG
    x, z = pos[0], pos[2]
    wave = 0.004 * np.sin(z * 23.0) + 0.003 * np.sin(z * 9.0 + 1.0)
    cover = _soft_box(x + wave, x0, x1, foot + 0.003) * _soft_box(z, z0, z1, foot + 0.003)
    u, v = (x - x0) / (x1 - x0), (z - z0) / (z1 - z0)
    soft = foot * 3.0 + 0.01
    zig = np.abs(u * 14.0 - np.round(u * 14.0)) * 0.06
    bands = 0.5 + np.clip(np.sin((v + zig) * 62.0) / (soft * 18.0), -0.5, 0.5)
    rows = np.floor((v + zig) * 62.0 / (2.0 * np.pi))
    tone = _hash(rows, 3.0, 21)[None, :]
    dark = np.where(
        tone < 0.4, _rgb((0.17, 0.045, 0.035)), np.where(tone < 0.7, _rgb((0.06, 0.075, 0.1)), _rgb((0.19, 0.105, 0.04)))
    )
    colour = _mix(_rgb((0.29, 0.225, 0.155)), dark, bands)
    border = 1.0 - _soft_box(u, 0.045, 0.955, soft) * _soft_box(v, 0.05, 0.95, soft)
    colour = _mix(colour, _rgb((0.15, 0.042, 0.033)), border)
    return colour * np.clip(
        1.0 + 0.22 * _weave(x, z, foot, 0.006) + 0.06 * _fbm(x, z, foot, 0.3, 0.02, 0.6, 97), 0.3, 1.8
    ), cover


def _plaster(u: Floats, v: Floats, foot: Floats, seed: int) -> Floats:
    """Relief of painted plaster as a factor near 1; (n,)."""
    return 1.0 + 0.03 * _fbm(u, v, foot, 0.9, 0.2, 0.5, seed) + 0.045 * _fbm(u, v, foot, 0.018, 0.0006, 0.85, seed + 4)


def _wallpaper(pos: Floats, foot: Floats) -> Floats:
    """Albedo (3, n) of the far wall: soft sage wallpaper with a trellis of small leaves, worn plaster under it."""
    u, v = pos[0] * 7.0, pos[1] * 7.0
    s, t = u + v, u - v
    lines = np.minimum(np.abs(s - np.round(s)), np.abs(t - np.round(t)))
    fade = np.clip(0.05 / foot - 1.0, 0.0, 1.0)
    soft = foot * 10.0 + 0.02
    trellis = np.clip((0.045 - lines) / soft + 0.5, 0.0, 1.0) * fade
    motif = np.hypot(s - np.floor(s) - 0.5, t - np.floor(t) - 0.5)
    petals = 0.17 + 0.09 * np.cos(6.0 * np.arctan2(s - np.floor(s) - 0.5, t - np.floor(t) - 0.5))
    flower = np.clip((petals - motif) / soft + 0.5, 0.0, 1.0) * fade
    colour = _mix(_rgb((0.53, 0.5, 0.4)), _rgb((0.40, 0.42, 0.33)), 0.55 * trellis)
    colour = _mix(colour, _rgb((0.62, 0.52, 0.38)), 0.6 * flower)
    return colour * _plaster(pos[0], pos[1], foot, 71)


def _shelf(pos: Floats, d: Floats, foot: Floats) -> Floats:
    """Albedo (3, n) of the front of the bookcase: boards, and rows of books set back behind it."""
    back = 0.05
    x, y = pos[0] + d[0] / d[2] * back, pos[1] + d[1] / d[2] * back
    pitch = 0.36
    row = np.floor((y - 0.06) / pitch)
    h = (y - 0.06) - row * pitch
    slot = np.floor((x + 3.0) / 0.036 + 0.35 * np.sin((x + 3.0) * 9.0 + row))
    edge = (x + 3.0) / 0.036 + 0.35 * np.sin((x + 3.0) * 9.0 + row) - slot
    tone, tone2 = _hash(slot, row, 9), _hash(slot, row, 10)
    tall = 0.2 + 0.11 * _hash(slot, row, 11)
    palette = np.array(
        [
            (0.34, 0.1, 0.07),
            (0.1, 0.16, 0.24),
            (0.38, 0.29, 0.16),
            (0.12, 0.19, 0.12),
            (0.5, 0.46, 0.38),
            (0.2, 0.12, 0.08),
            (0.42, 0.22, 0.1),
            (0.14, 0.14, 0.16),
        ],
        np.float32,
    )
    books = palette[(tone * 7.99).astype(np.int64)].T * (0.7 + 0.6 * tone2)
    title = _soft_box(h / tall, 0.62, 0.72, foot / tall) + 0.7 * _soft_box(h / tall, 0.2, 0.23, foot / tall)
    books = _mix(books, _rgb((0.6, 0.48, 0.24)), np.clip(title, 0, 1) * (tone2 > 0.4))
    books = (
        books
        * (1.0 + 0.15 * _fbm(x, y * 0.4, foot, 0.01, 0.0008, 0.7, 83))
        * np.clip(edge * (1.0 - edge) * 7.0 + 0.15, 0.2, 1.0)
    )
    inner = np.where((h < tall) & (tone2 > 0.06), 1.0, 0.0)
    colour = _mix(_rgb((0.025, 0.018, 0.012)) * np.ones_like(x), books, inner) * np.clip(0.75 - 1.2 * (h - 0.1), 0.25, 1.0)
    fx, fy = pos[0], pos[1] - 0.06
    fh = fy - np.floor(fy / pitch) * pitch
    board = 1.0 - _soft_box(fh, 0.0, pitch - 0.028, foot + 0.001) * np.maximum(
        _soft_box(fx, -2.05, -1.585, foot + 0.001), _soft_box(fx, -1.555, -1.09, foot + 0.001)
    ) * (fy > 0)
    wood = _rgb((0.2, 0.115, 0.065)) * np.clip(1.0 + 0.16 * _wood(pos[0], pos[1], foot, 85), 0.4, 1.7)
    return _mix(colour, wood, board)


def _picture(pos: Floats, p: Prim, foot: Floats) -> Floats:
    """Albedo (3, n) of a framed landscape painting with a mount."""
    u, v = (pos[0] - p.lo[0]) / (p.hi[0] - p.lo[0]), (pos[1] - p.lo[1]) / (p.hi[1] - p.lo[1])
    stroke = _fbm(pos[0], pos[1] * 2.0, foot, 0.05, 0.001, 0.7, 91)
    hill = 0.42 + 0.07 * np.sin(u * 7.0) + 0.02 * stroke
    sky = _mix(_rgb((0.62, 0.5, 0.36)), _rgb((0.22, 0.34, 0.44)), np.clip((v - 0.4) * 2.2 + 0.1 * stroke, 0, 1))
    land = _mix(_rgb((0.12, 0.16, 0.08)), _rgb((0.45, 0.34, 0.12)), np.clip(v * 2.0 + 0.22 * stroke, 0, 1))
    colour = np.where(v > hill, sky, land) * (1.0 + 0.08 * stroke)
    fx, fy = foot / 0.64, foot / 0.52
    colour = _mix(
        _rgb((0.66, 0.63, 0.56)) * np.ones_like(u), colour, _soft_box(u, 0.15, 0.85, fx) * _soft_box(v, 0.18, 0.82, fy)
    )
    rim = _soft_box(u, 0.06, 0.94, fx) * _soft_box(v, 0.075, 0.925, fy)
    return _mix(_rgb((0.26, 0.17, 0.07)) * (1.0 + 0.2 * stroke), colour, rim)


def _weave(u: Floats, v: Floats, foot: Floats, pitch: float) -> Floats:
    """Threads of cloth about 0; fades where they are finer than a pixel; (n,)."""
    fade = np.clip(pitch / foot * 0.4 - 1.0, 0.0, 1.0)
    k = 2.0 * np.pi / pitch
    return fade * np.sin(u * k) * np.sin(v * k) + 0.6 * _fbm(u, v * 0.3, foot, 0.012, 0.0008, 0.7, 95)


def _folds(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Depth (about -1..1) of the curtain folds and their slope, by sideways position."""
    w = x * 1.0 + 0.012 * np.sin(y * 1.7 + x * 5.0)
    depth = np.sin(w * 62.0) * 0.7 + np.sin(w * 29.0 + 1.3) * 0.3
    return depth, np.cos(w * 62.0) * 0.7 + np.cos(w * 29.0 + 1.3) * 0.15


def _material(p: Prim, pos: Floats, n: Floats, d: Floats, foot: Floats) -> tuple[Floats, Floats | None]:
    """Albedo and own light (or None), both (3, k), of a solid at points pos with normals n."""
    x, y, z = pos
    if p.material in ("walnut", "oak"):
        size = [b - a for a, b in zip(p.lo, p.hi, strict=True)]
        long = int(np.argmax(size))
        base = _rgb((0.23, 0.125, 0.065) if p.material == "walnut" else (0.46, 0.3, 0.16))
        other = pos[(long + 1) % 3] + pos[(long + 2) % 3] + 0.37 * p.lo[0]
        return base * np.clip(1.0 + 0.17 * _wood(pos[long] + p.lo[2], other, foot, 63), 0.35, 1.8), None
    if p.material == "paint":
        return _rgb((0.66, 0.63, 0.57)) * _plaster(x + y * 0.7, y * 0.7 + z, foot, 73), None
    if p.material == "brass":
        return _rgb((0.36, 0.25, 0.1)) * (1.0 + 0.2 * _fbm(x + z, y, foot, 0.02, 0.001, 0.6, 75)), None
    if p.material == "cord":
        return _rgb((0.05, 0.045, 0.04)) * np.ones_like(x), None
    if p.material == "ceramic":
        ring = _fbm(np.arctan2(x - p.args[0], z - p.args[2]) * 0.02, y, foot, 0.02, 0.001, 0.6, 77)
        speck = np.maximum(_fbm(x + z, y, foot, 0.006, 0.0008, 0.7, 79) - 1.2, 0.0)
        return _rgb(p.tint) * np.clip(1.0 + 0.08 * ring - 0.5 * speck, 0.3, 1.5), None
    if p.material == "orange":
        return _rgb((0.78, 0.3, 0.035)) * (1.0 + 0.1 * _fbm(x + z, y + 0.5 * z, foot, 0.008, 0.0008, 0.9, 81)), None
    if p.material == "book":
        pages = (n[1] < 0.5) & (y > p.lo[1] + 0.004) & (y < p.hi[1] - 0.004) & (np.abs(n[0]) > 0.5)
        cloth = _rgb(p.tint) * (1.0 + 0.12 * _weave(x, y + z, foot, 0.002))
        return np.where(pages, _rgb((0.6, 0.56, 0.46)), cloth), None
    if p.material == "shelf":
        return _shelf(pos, d, foot), None
    if p.material == "picture":
        return _picture(pos, p, foot), None
    if p.material == "leaf":
        along, across, half = _leaf_coords(p, x, y)
        vein = np.clip(1.0 - np.abs(across) / (0.0015 + foot), 0, 1) + 0.35 * np.clip(
            np.sin((along * 40.0 + np.abs(across) / half * 4.0) * 2.2) * 3.0 - 2.2, 0, 1
        )
        tone = 1.0 + 0.075 * _fbm(x, y, foot, 0.02, 0.0008, 0.8, 87)
        half_lit = np.where(across > 0.0, 1.0, 0.62) * (0.65 + 0.5 * along)  # the blade is folded along its midrib
        through = (
            _rgb((0.17, 0.3, 0.03)) * _rgb(p.tint) * (tone * half_lit * (1.0 - 0.35 * vein) * (0.2 + 0.8 * _behind_window(pos)))
        )
        return _rgb((0.1, 0.19, 0.05)) * _rgb(p.tint) * (tone * (1.0 + 0.5 * vein)), through
    if p.material == "curtain":
        depth, slope = _folds(x, y)
        thread = 1.0 + 0.1 * _weave(x, y, foot, 0.0042) + 0.05 * _fbm(x, y * 0.1, foot, 0.05, 0.003, 0.6, 89)
        lit = _soft_box(x, WIN_LO[0], WIN_HI[0], 0.07) * _soft_box(y, WIN_LO[1], WIN_HI[1], 0.07)
        bars = 1.0 - 0.3 * (1.0 - _soft_box(y, TRANSOM - 5.0, TRANSOM - 0.05, 0.06)) * _soft_box(
            y, TRANSOM - 0.05, TRANSOM + 0.05, 0.06
        )
        upper = 0.4 + 0.6 * _smooth(0.9, 1.7, y)
        through = _rgb((0.62, 0.56, 0.45)) * (lit * bars * upper * (1.0 + 0.5 * depth) * thread + 0.035)
        return _rgb((0.6, 0.55, 0.46)) * (thread * (0.72 + 0.36 * depth) * (1.0 + 0.3 * slope)), through
    if p.material == "shade":
        thread = 1.0 + 0.08 * _weave(np.arctan2(x - p.args[0], p.args[2] - z) * 0.17, y, foot, 0.005)
        spot = np.exp(-(((y - 1.17) / 0.1) ** 2)) * np.clip(-n[2] * 0.8 + 0.35, 0.15, 1.2)
        rim = 1.0 - 0.55 * np.clip(1.0 - np.minimum(y - p.lo[1], p.hi[1] - y) / 0.012, 0, 1)
        hole = ((n[1] > 0.9) & (d[1] < 0.0))[None, :]
        glow = _rgb((2.9, 1.75, 0.78)) * ((0.24 + 0.95 * spot) * thread * rim)
        return _rgb((0.5, 0.45, 0.36)) * thread, np.where(hole, _rgb((9.0, 6.0, 3.0)), glow)
    face = np.clip(-n[2], 0.0, 1.0)
    return _rgb((0.1, 0.1, 0.1)) * np.ones_like(x), _rgb((34.0, 22.0, 11.0)) * (0.45 + 0.55 * face * face)


def _behind_window(pos: Floats) -> Floats:
    """How much window a point sees straight behind it, 0..1."""
    return _soft_box(pos[0], WIN_LO[0], WIN_HI[0], 0.5) * _soft_box(pos[1], 0.5, WIN_HI[1], 0.8)


# ---------------------------------------------------------------------------------------------------------------- light


def _sun_open(pos: Floats, foot: Floats) -> Floats:
    """Share of the sun that panes and curtains let through to each point, soft at the edges; (n,)."""
    run = GLASS_Z - pos[2]
    x, y = pos[0] + SUN[0] * run, pos[1] + SUN[1] * run
    soft = 2.0 * SUN_RADIUS * np.abs(run) + foot
    stops = (CURTAIN_IN[0], MULLIONS[0], MULLIONS[1], CURTAIN_IN[1])
    across: Floats = sum((_soft_box(x, a + 0.024, b - 0.024, soft) for a, b in pairwise(stops)), np.zeros_like(x))
    low, high = (WIN_LO[1] + 0.08, TRANSOM - 0.03), (TRANSOM + 0.03, WIN_HI[1] - 0.06)
    share: Floats = across * (_soft_box(y, *low, soft) + _soft_box(y, *high, soft))
    return share


def _sunlight(pos: Floats, n: Floats, foot: Floats, ident: Floats) -> Floats:
    """Direct sun as irradiance / pi (3, n), with the shadows of window and furniture."""
    length = float(np.sqrt(SUN[0] ** 2 + SUN[1] ** 2 + 1.0))
    facing = np.maximum((n[0] * SUN[0] + n[1] * SUN[1] + n[2]) / length, 0.0)
    share = np.where(facing > 0.0, _sun_open(pos, foot), 0.0) * facing
    lit = np.flatnonzero((share > 1e-3) & (pos[2] < WALL_Z))
    if lit.size:
        start = pos[:, lit] + 2e-3 * n[:, lit]
        lo, hi = pos[:, lit].min(axis=1), pos[:, lit].max(axis=1)
        for number, p in enumerate(_scene()):
            # a caster's shadow is its bounds slid along the beam to the heights and depths of these points
            if not p.shadow or p.hi[2] < lo[2] or p.hi[1] < lo[1] or np.all(ident[lit] == FIRST + number):
                continue
            reach = max(p.hi[2] - float(lo[2]), 0.0)
            if p.hi[0] < lo[0] or p.lo[0] - SUN[0] * reach > hi[0]:
                continue
            live = share[lit] > 0.0
            blocked = np.zeros(lit.size, np.float32)
            for jx, jy in ((0.003, 0.005), (-0.005, 0.003), (-0.003, -0.005), (0.005, -0.003)):
                d = np.ones_like(start)
                d[0], d[1] = SUN[0] + jx, SUN[1] + jy
                blocked += np.where(_HIT[p.kind](p, start, d) < FAR, 0.25, 0.0)
            share[lit] = np.where(live, share[lit] * (1.0 - blocked), 0.0)
    light: Floats = _rgb(SUN_LIGHT) * share
    return light


def _point_light(pos: Floats, n: Floats, at: Vec, colour: Vec, soft: float) -> Floats:
    """Irradiance / pi (3, n) of a small lamp; ``soft`` (m) bounds the light near it."""
    v = [at[k] - pos[k] for k in range(3)]
    d2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + soft * soft
    cos = np.maximum((v[0] * n[0] + v[1] * n[1] + v[2] * n[2]) / np.sqrt(d2), 0.0) * 0.85 + 0.06
    light: Floats = _rgb(colour) * (cos / d2)
    return light


def _skylight(pos: Floats, n: Floats) -> Floats:
    """Irradiance / pi (3, n) from the window, as four small panes; no shadows (see ``_openness``)."""
    total: Floats = np.zeros_like(pos)
    panes = (
        (0.0, 1.9, (3.4, 3.9, 4.7)),
        (1.0, 1.9, (4.4, 4.5, 4.6)),
        (0.0, 0.9, (1.5, 1.7, 1.5)),
        (1.0, 0.9, (1.6, 1.75, 1.5)),
    )
    for x, y, colour in panes:
        vx, vy, vz = x - pos[0], y - pos[1], WALL_Z + 0.03 - pos[2]
        d2 = vx * vx + vy * vy + vz * vz + 0.12
        cos = np.maximum(vx * n[0] + vy * n[1] + vz * n[2], 0.0)
        total += _rgb(colour) * (cos * np.maximum(vz, 0.0) / (d2 * d2) * (1.0 / np.pi))
    return total


def _bounce(pos: Floats, n: Floats) -> Floats:
    """Irradiance / pi (3, n) from the sun patch on the floor and from the room itself."""
    total: Floats = _rgb((0.05, 0.044, 0.037)) * (1.0 + 0.35 * n[1] + 0.1 * n[0]) + _rgb((0.012, 0.015, 0.019)) * np.maximum(
        -n[2], 0.0
    )
    for x, z, area in ((0.2, 2.9, 1.5), (-0.2, 1.3, 3.0)):
        vx, vy, vz = x - pos[0], 0.0 - pos[1], z - pos[2]
        d2 = vx * vx + vy * vy + vz * vz + 0.25
        cos = np.maximum(vx * n[0] + vy * n[1] + vz * n[2], 0.0) * np.maximum(-vy, 0.0)
        total = total + _rgb((2.5, 1.55, 0.85)) * (cos / (d2 * d2) * (area / np.pi))
    return total


def _openness(pos: Floats, n: Floats) -> Floats:
    """Ambient occlusion 0..1 (n,): darker toward the room's edges and under and behind the furniture."""
    x, y, z = pos
    total: Floats = np.ones_like(x)
    gaps = ((x - ROOM_LO[0], 0), (ROOM_HI[0] - x, 0), (y, 1), (ROOM_HI[1] - y, 1), (WALL_Z - z, 2))
    for gap, axis in gaps:
        total *= 1.0 - (0.5 * np.exp(np.maximum(gap, 0.0) * -4.5) + 0.0) * (1.0 - np.abs(n[axis]))
    # x0, x1, z0, z1, top, strength: light that furniture keeps from the floor and the wall close to it
    for x0, x1, z0, z1, top, strength in (
        (-1.42, -0.34, 2.5, 3.3, 0.7, 0.55),
        (0.0, 0.47, 2.72, 3.2, 0.43, 0.45),
        (1.55, 2.3, 2.7, 3.7, 0.7, 0.7),
        (-2.2, -1.03, 3.6, 4.1, 1.55, 0.75),
        (1.03, 1.37, 3.33, 3.67, 0.3, 0.8),
    ):
        spread = 0.22 if top > 0.5 else 0.12
        total *= 1.0 - strength * _soft_box(x, x0, x1, spread) * _soft_box(z, z0, z1, spread) * np.clip(
            (top - y) * 8.0, 0.0, 1.0
        )
    return total


def _room_light(pos: Floats, n: Floats, foot: Floats, ident: Floats) -> Floats:
    """All light that falls on points of the room as irradiance / pi (3, n)."""
    soft = _skylight(pos, n) + _bounce(pos, n)
    lamps = _point_light(pos, n, LAMP, (0.135, 0.078, 0.033), 0.16) + _point_light(pos, n, BULB, (0.105, 0.062, 0.028), 0.1)
    light: Floats = (soft + lamps) * _openness(pos, n) + _sunlight(pos, n, foot, ident)
    return light


def _surface(ident: Floats, pos: Floats, d: Floats, foot: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Normal, albedo, own light (3, n each), gloss and relief (n each) of points in the room."""
    n, albedo, own = np.zeros_like(pos), np.zeros_like(pos), np.zeros_like(pos)
    gloss, relief = np.zeros_like(foot), np.zeros_like(foot)
    planes = {FLOOR: (1, 1.0), CEILING: (1, -1.0), LEFT: (0, 1.0), RIGHT: (0, -1.0), WALL: (2, -1.0)}
    for number in np.unique(ident).tolist():
        k = np.flatnonzero(ident == number)
        p, f = pos[:, k], foot[k]
        if number in planes:
            axis, sign = planes[number]
            n[axis, k] = sign
        if number == FLOOR:
            wood, relief[k] = _floor(p, f)
            cloth, cover = _rug(p, f)
            albedo[:, k] = _mix(wood, cloth, cover)
            gloss[k] = np.where(cover > 0.5, 0.0, 0.045)
        elif number == CEILING:
            albedo[:, k] = _rgb((0.7, 0.68, 0.63)) * _plaster(p[0], p[2], f, 65)
        elif number in (LEFT, RIGHT):
            albedo[:, k] = _rgb((0.56, 0.51, 0.42)) * _plaster(p[2], p[1], f, 67)
        elif number == WALL:
            albedo[:, k] = _wallpaper(p, f)
        elif number == REVEAL:
            albedo[:, k] = _rgb((0.64, 0.62, 0.57)) * _plaster(p[0] + p[2], p[1] + p[2], f, 69)
            edge = np.stack([p[0] - WIN_LO[0], WIN_HI[0] - p[0], p[1] - WIN_LO[1], WIN_HI[1] - p[1]])
            face = np.argmin(edge, axis=0)
            n[0, k], n[1, k] = np.choose(face, (1.0, -1.0, 0.0, 0.0)), np.choose(face, (0.0, 0.0, 1.0, -1.0))
            own[:, k] = albedo[:, k] * (_rgb((1.1, 1.2, 1.35)) * np.clip((p[2] - WALL_Z) / 0.2, 0.15, 1.0))
        else:
            prim = _scene()[number - FIRST]
            n[:, k] = _normal(prim, p)
            albedo[:, k], light = _material(prim, p, n[:, k], d[:, k], f)
            if light is not None:
                own[:, k] = light
            if prim.material == "walnut":
                gloss[k] = np.where(n[1, k] > 0.9, 0.03, 0.0)
            elif prim.material in ("ceramic", "brass", "leaf", "orange"):
                gloss[k] = (
                    -0.02 if prim.material == "orange" else -0.05
                )  # below 0 marks a curved gloss: only the window's glint is worked out
    return n, albedo, own, gloss, relief


def _glint(pos: Floats, n: Floats, d: Floats) -> Floats:
    """Mirror image (3, n) of window and lamps in a curved glossy thing."""
    unit = d / np.sqrt((d * d).sum(axis=0))
    dot = (unit * n).sum(axis=0)
    r = unit - 2.0 * dot * n
    run = (WALL_Z - pos[2]) / np.maximum(r[2], 1e-3)
    x, y = pos[0] + run * r[0], pos[1] + run * r[1]
    seen = _soft_box(x, WIN_LO[0], WIN_HI[0], 0.15) * _soft_box(y, 0.9, WIN_HI[1], 0.3) * (r[2] > 0.02)
    fresnel = 0.04 + 0.96 * np.clip(1.0 + dot, 0.0, 1.0) ** 5
    total: Floats = _rgb((5.0, 5.4, 6.0)) * seen
    for at, colour in ((LAMP, (3.0, 1.8, 0.8)), (BULB, (30.0, 20.0, 10.0))):
        v = np.stack([at[k] - pos[k] for k in range(3)])
        total = total + _rgb(colour) * np.maximum((v * r).sum(axis=0) / np.sqrt((v * v).sum(axis=0)), 0.0) ** (
            60 if at is LAMP else 900
        )
    glint: Floats = total * fresnel
    return glint


def _radiance(o: Floats, d: Floats, foot: float, scene: Sequence[tuple[int, Prim]], bounce: bool) -> tuple[Floats, Floats]:
    """Radiance (3, n) along rays and the surface number (n,); ``foot`` is the angle of a pixel (tangent)."""
    t, ident = _trace(o, d, scene)
    out = np.empty_like(d)
    sky = np.flatnonzero(ident == OUTSIDE)
    if sky.size:
        a, e = d[0, sky] / d[2, sky], d[1, sky] / d[2, sky]
        out[:, sky] = _outside(a, e, np.full_like(a, foot))
    room = np.flatnonzero(ident != OUTSIDE)
    if room.size == 0:
        return out, ident
    di, ti, ids = d[:, room], t[room], ident[room]
    pos = o[:, room] + di * ti
    flat = np.where(ids == FLOOR, np.float32(0.45), np.float32(0.8))
    size = foot * pos[2] / flat  # texture footprint, widened where the surface is seen at a low angle
    n, albedo, own, gloss, relief = _surface(ids, pos, di, size)
    colour = albedo * _room_light(pos, n, size, ids) + own
    curved = np.flatnonzero(gloss < 0.0)
    if curved.size:
        colour[:, curved] += _glint(pos[:, curved], n[:, curved], di[:, curved]) * (gloss[curved] * -20.0)
    level = np.rint(pos[1] * 100.0)
    for step in np.unique(level[gloss > 0.0]).tolist() if bounce else ():
        k = np.flatnonzero((gloss > 0.0) & (level == step))
        colour[:, k] += _mirror(pos[:, k], di[:, k], gloss[k], relief[k], foot, step / 100.0)
    out[:, room] = colour
    return out, ident


def _mirror(pos: Floats, d: Floats, base: Floats, relief: Floats, foot: float, height: float) -> Floats:
    """Fresnel reflection (3, n) of the room in varnished wood at one height, smeared a little and tilted by its relief."""
    r = d.copy()
    r[0] += 0.003 * relief
    start = pos.copy()
    start[1] += 1e-3
    source = (0.0, 2.0 * height - EYE, 0.0)
    light: Floats = np.zeros_like(d)
    for tilt in (-0.025, -0.015, -0.005, 0.005, 0.015, 0.025):  # varnish smears a mirror image mostly up and down
        r[1] = -d[1] + 0.008 * relief + tilt
        scene = [(k, p) for k, p in _visible(source, r, 0.04) if p.material != "shelf" and p.hi[1] > height + 0.02]
        light += np.minimum(_radiance(start, r, max(3.0 * foot, 0.004), scene, False)[0], 60.0)
    cos = -d[1] / np.sqrt((d * d).sum(axis=0))
    light *= (1.0 / 6.0) * (base + (0.5 - base) * np.clip(1.0 - cos, 0.0, 1.0) ** 5)
    return light


def _lens(a: Floats, e: Floats) -> Floats:
    """Glare (3, n) that the lens adds about the sun and the bulb."""
    theta = np.hypot(a - SUN[0], e - SUN[1])
    total = _rgb((1.0, 0.9, 0.72)) * (
        0.9 * np.exp(-theta / 0.022) + 0.075 * np.exp(-theta / 0.11) + 0.008 * np.exp(-theta / 0.5)
    )
    theta = np.hypot(a - BULB[0] / BULB[2], e - (BULB[1] - EYE) / BULB[2])
    return total + _rgb((1.0, 0.62, 0.3)) * (0.35 * np.exp(-theta / 0.012) + 0.02 * np.exp(-theta / 0.06))


# ---------------------------------------------------------------------------------------------------------------- image


def _cast(x: Floats, y: Floats, width: int, height: int) -> tuple[Floats, Floats]:
    """Radiance (3, n) and surface (n,) at pixel positions x, y (pixels, centres at whole numbers)."""
    step = 2.0 * TAN_HALF / width
    d = np.ones((3, x.size), np.float32)
    d[0] = (x - (width - 1) / 2.0) * step + 1e-6
    d[1] = ((height - 1) / 2.0 - y) * step + SHIFT + 1e-6
    o = np.zeros_like(d)
    o[1] = EYE
    colour, ident = _radiance(o, d, step, _visible((0.0, EYE, 0.0), d), True)
    return colour + _lens(d[0], d[1]), ident


def _edges(colour: Floats, ident: Floats) -> Floats:
    """Which inner pixels of a tile (rows, cols) touch another surface or a step in brightness; (rows - 2, cols - 2) bool."""
    light = np.log2(np.maximum(colour.max(axis=0), 1e-3))
    mid, mid_id = light[1:-1, 1:-1], ident[1:-1, 1:-1]
    out = np.zeros(mid.shape, np.bool_)
    for rows, cols in (
        (slice(0, -2), slice(1, -1)),
        (slice(2, None), slice(1, -1)),
        (slice(1, -1), slice(0, -2)),
        (slice(1, -1), slice(2, None)),
    ):
        other = light[rows, cols]
        out |= (np.abs(other - mid) > 0.6) | ((ident[rows, cols] != mid_id) & (np.abs(other - mid) > 0.12))
    return out


def _tile(x0: int, y0: int, x1: int, y1: int, width: int, height: int, spread: int) -> Floats:
    """One tile of the truth (rows, cols, 3) float32: one ray a pixel (or four), eight where there is an edge."""
    xs, ys = np.arange(x0 - 1, x1 + 1, dtype=np.float32), np.arange(y0 - 1, y1 + 1, dtype=np.float32)
    x, y = (g.ravel() for g in np.meshgrid(xs, ys))
    shape = (ys.size, xs.size)
    colour, ident = _cast(x, y, width, height)
    for jx, jy in JITTER[4 : 4 + spread]:
        colour += _cast(x + jx, y + jy, width, height)[0]
    colour = (colour / (1.0 + spread)).reshape(3, *shape)
    edge = np.flatnonzero(_edges(colour, ident.reshape(shape)))
    out = np.ascontiguousarray(colour[:, 1:-1, 1:-1]).reshape(3, -1)
    if edge.size:
        rows, cols = edge // (x1 - x0), edge % (x1 - x0)
        ex, ey = (cols + x0).astype(np.float32), (rows + y0).astype(np.float32)
        total = np.zeros((3, edge.size), np.float32)
        for jx, jy in JITTER:
            total += _cast(ex + jx, ey + jy, width, height)[0]
        out[:, edge] = total / len(JITTER)
    return out.reshape(3, y1 - y0, x1 - x0).transpose(1, 2, 0)


def render(width: int, height: int) -> Floats:
    """The HDR truth: (height, width, 3) float16, scene-linear Rec.709, 1.0 = LDR white."""
    truth = np.empty((height, width, 3), np.float16)
    spread = 3 if width * height <= 2_500_000 else 0
    for y0 in range(0, height, TILE):
        for x0 in range(0, width, TILE):
            x1, y1 = min(x0 + TILE, width), min(y0 + TILE, height)
            truth[y0:y1, x0:x1] = np.clip(_tile(x0, y0, x1, y1, width, height, spread), 0.0, MAX_HALF)
    return truth


def _encode(light: Floats) -> Floats:
    """sRGB code values 0..1 of linear light 0..1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1.0 / 2.4) - 0.055)


def photograph(truth: Floats, seed: int = 1, rows: int = 128) -> Floats:
    """What the camera writes of the truth: clip, shot and read noise, sRGB curve, 8 bits; (h, w, 3) uint8 RGB."""
    out = np.empty(truth.shape, np.uint8)
    for y in range(0, truth.shape[0], rows):
        rng = np.random.default_rng((seed, y))
        light = np.minimum(truth[y : y + rows].astype(np.float32), 1.2)
        light += rng.standard_normal(light.shape, np.float32) * np.sqrt(1e-4 * light + 1e-6)
        out[y : y + rows] = np.rint(255.0 * _encode(np.clip(light, 0.0, 1.0)))
    return out


def write_jpeg(path: Path, image: Floats, quality: int) -> None:
    """Write (h, w, 3) uint8 RGB as a 4:2:0 JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options):
        raise OSError(f"cannot write {path}")


def write_exr(path: Path, truth: Floats) -> None:
    """Write the truth (h, w, 3) float16 as a half float EXR, zip compressed."""
    openexr: Any = import_module("OpenEXR")  # only here: a JPEG alone needs no OpenEXR, and it carries no types
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, {"RGB": truth}) as file:
        file.write(str(path))


def clipped_share(truth: Floats) -> float:
    """Share of pixels with a channel at or above LDR white."""
    return float(np.mean([np.mean((row >= 1.0).any(axis=-1)) for row in truth]))


def main(argv: Sequence[str] | None = None) -> None:
    """Render from the command line."""
    parser = argparse.ArgumentParser(description="Render our own sample photo, a sunlit room, with its HDR truth.")
    parser.add_argument("--width", type=int, default=6000, help="pixels (default 6000)")
    parser.add_argument("--height", type=int, help="pixels (default two thirds of the width)")
    parser.add_argument("--ldr", type=Path, required=True, help="JPEG to write")
    parser.add_argument("--hdr", type=Path, help="EXR of the truth to write")
    parser.add_argument("--quality", type=int, default=92, help="of the JPEG (default 92)")
    args = parser.parse_args(argv)
    began = time.perf_counter()
    height = args.height or round(args.width * 2 / 3)
    truth = render(args.width, height)
    write_jpeg(args.ldr, photograph(truth), args.quality)
    if args.hdr:
        write_exr(args.hdr, truth)
    print(f"{args.width}x{height}, {100 * clipped_share(truth):.1f} % clipped, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
