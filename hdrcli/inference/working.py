"""A photo at the resolution a generator works at. Training and inference share these functions, so both see the same.

The generator sees the whole photo at once, reduced to about ``working_size``^2 pixels. Beside the mean code of each cell
it gets a clip map, in which a lamp of a few pixels still shows after the photo has been reduced a hundredfold.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, decode, encode
from hdrcli.image import look_up

Floats = NDArray[np.float32]

# Promise 1: below BLEND_LOW a channel is measured, above BLEND_HIGH it is reconstructed, in between blended smoothly.
BLEND_LOW, BLEND_HIGH = 0.94, 0.99
MAX_WORKING_SIDE = 2048
_STRIP_PIXELS = 1 << 21


def blend_weight(v: NDArray[Any]) -> NDArray[Any]:
    """a = smoothstep(0.94, 0.99, v): 0 where a channel of code value v in [0, 1] is measured, 1 where it is lost."""
    s = np.clip((v - BLEND_LOW) / (BLEND_HIGH - BLEND_LOW), 0, 1)
    return np.asarray(s * s * (3 - 2 * s))


@lru_cache(maxsize=4)
def blend_table(codes: int) -> Floats:
    """:func:`blend_weight` of every code: ``(codes,) float32``, read-only."""
    table = blend_weight(np.arange(codes, dtype=np.float64) / (codes - 1)).astype(np.float32)
    table.flags.writeable = False
    return table


def working_shape(height: int, width: int, working_size: int, multiple: int) -> tuple[int, int]:
    """Height, width a generator works at: the form, at most about ``working_size``^2 pixels, in steps of ``multiple``."""
    scale = min(1.0, working_size / math.sqrt(height * width))
    sides = (max(1, round(side * scale / multiple)) * multiple for side in (height, width))
    h, w = (min(side, MAX_WORKING_SIDE // multiple * multiple) for side in sides)
    return h, w


def area_mean(values: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Cell means: ``(H, W, C)`` uint8, uint16 or float32 -> ``(h, w, C)`` of the same type (enlarges bilinearly)."""
    import cv2

    height, width = shape
    # one side may shrink while the other grows: shrink first, so that no pixel is left out
    small = (min(width, values.shape[1]), min(height, values.shape[0]))
    resized = cv2.resize(values, small, interpolation=cv2.INTER_AREA).reshape(small[1], small[0], -1)
    if small != (width, height):
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized.reshape(height, width, -1))


def lost_share(codes: NDArray[Any], shape: tuple[int, int]) -> Floats:
    """Mean blend weight in each cell: ``(H, W, 3)`` uint8|uint16 -> ``(h, w, 3) float32``, per channel, 0 = all measured.

    Large photos go through in strips that end on cell borders, so no full-size float copy is made.
    """
    height, width = shape
    table = blend_table(int(np.iinfo(codes.dtype).max) + 1)
    rows, columns = codes.shape[:2]
    threshold = math.ceil(BLEND_LOW * np.iinfo(codes.dtype).max)
    if rows < height or columns < width or rows * columns <= _STRIP_PIXELS:
        return area_mean(look_up(table, codes), shape)
    # Strips of whole cells: cell i covers rows [i R/h, (i+1) R/h); fractional borders need the rows on both sides
    share = np.zeros((height, width, 3), np.float32)
    cells = max(1, _STRIP_PIXELS * height // (rows * columns))
    for first in range(0, height, cells):
        last = min(first + cells, height)
        start, stop = first * rows / height, last * rows / height
        block = codes[math.floor(start) : math.ceil(stop)]
        if int(block.max()) < threshold:
            continue
        lost = area_mean(look_up(table, block), (block.shape[0], width))  # columns first: exact, and small from here on
        share[first:last] = _reduce_rows(lost, start - math.floor(start), rows / height, last - first)
    return share


def _reduce_rows(values: Floats, offset: float, step: float, count: int) -> Floats:
    """Means over rows [offset + i step, offset + (i+1) step), fractional borders weighted, through a running sum."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
    borders = np.clip(offset + step * np.arange(count + 1), 0, values.shape[0])
    whole = np.minimum(borders.astype(np.int64), values.shape[0] - 1)
    at = total[whole] + (borders - whole)[:, None, None] * values[whole]
    return np.asarray(np.diff(at, axis=0) / step, dtype=np.float32)


def clip_map(share: Floats) -> Floats:
    """sqrt of :func:`lost_share`: what the generator is told of clipping, in [0, 1].

    The square root lifts small lamps (a lamp that fills 1 % of a cell gives 0.1) and, unlike a maximum, still tells how much
    of the cell is lost.
    """
    return np.asarray(np.sqrt(np.maximum(share, 0)))


def working_codes(codes: NDArray[Any], transfer: Transfer, shape: tuple[int, int]) -> Floats:
    """Mean sRGB codes of each cell: ``(H, W, 3)`` uint8|uint16 of any display encoding -> ``(h, w, 3) float32`` in [0, 1]."""
    mean = area_mean(codes, shape).astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    if transfer is Transfer.SRGB:
        return mean
    return np.clip(encode(decode(mean, transfer), Transfer.SRGB), 0, 1)
