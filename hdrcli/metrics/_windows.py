"""Means, variances and covariance in a sliding window, without cancellation: what SSIM and TMQI are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdrcli.parallel import in_turn

Floats = NDArray[np.float64]
T = TypeVar("T")

TILE = 128  # positions a side that are computed at once: the dozen arrays of that size stay in a core's cache


class Moments(NamedTuple):
    """Of two planes, at every position where the window fits: five arrays ``(h, w) float64``; population variances."""

    mean_x: Floats
    mean_y: Floats
    variance_x: Floats
    variance_y: Floats
    covariance: Floats


def gaussian_taps(size: int = 11, sigma: float = 1.5) -> Floats:
    """``(size,)``: one side of the separable Gaussian window, sum 1."""
    taps = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * sigma**2))
    return np.asarray(taps / taps.sum())


def flat_taps(size: int) -> Floats:
    """``(size,)``: one side of the flat window, sum 1."""
    return np.full(size, 1 / size)


def moments(x: Floats, y: Floats, taps: Floats) -> Moments:
    """Of planes ``(H, W) float64``, both sides at least the window's n: ``(H - n + 1, W - n + 1)``. n is odd.

    The variance in a window is the mean of its rows' variances plus the variance of its rows' means (the law of total
    variance), the covariance alike, and each is taken about its own mean. So 2 n taps do what n^2 centred ones would, and
    nothing is subtracted from something of its size: E[x^2] - E[x]^2 loses all digits on flat areas of bright pictures.
    """
    rows = _centred(x, y, taps, axis=1)
    columns = _centred(rows.mean_x, rows.mean_y, taps, axis=0)
    for within, between in zip(rows[2:], columns[2:], strict=True):
        between += _weighted(within, taps, axis=0)
    return columns


def over_tiles(work: Callable[[slice, slice], T], height: int, width: int, size: int) -> list[T]:
    """``work(rows, columns)`` of all tiles of a plane, row by row, by all threads; ``rows`` and ``columns``: what a tile needs.

    A tile has up to TILE x TILE positions of a window with ``size`` samples a side, so neighbours overlap by ``size - 1``.
    """
    parts = [
        (slice(top, min(top + TILE + size - 1, height)), slice(left, min(left + TILE + size - 1, width)))
        for top in range(0, height - size + 1, TILE)
        for left in range(0, width - size + 1, TILE)
    ]
    return list(in_turn(lambda part: work(*part), parts))


def _centred(x: Floats, y: Floats, taps: Floats, axis: int) -> Moments:
    """Moments in one row or column of the window."""
    mean_x, mean_y = _weighted(x, taps, axis), _weighted(y, taps, axis)
    variance_x, variance_y, covariance = (np.zeros(mean_x.shape) for _ in range(3))
    dx, dy, weighted, product = (np.empty(mean_x.shape) for _ in range(4))
    length = mean_x.shape[axis]
    for first, tap in enumerate(taps):
        part = (slice(None),) * axis + (slice(first, first + length),)
        np.subtract(x[part], mean_x, out=dx)
        np.subtract(y[part], mean_y, out=dy)
        np.multiply(dx, tap, out=weighted)
        variance_x += np.multiply(weighted, dx, out=product)
        covariance += np.multiply(weighted, dy, out=product)
        np.multiply(dy, tap, out=weighted)
        variance_y += np.multiply(weighted, dy, out=product)
    return Moments(mean_x, mean_y, variance_x, variance_y, covariance)


def _weighted(plane: Floats, taps: Floats, axis: int) -> Floats:
    """Weighted sums along an axis where all taps fit."""
    import cv2

    border = taps.size // 2
    inside = slice(border, plane.shape[axis] - border)
    if axis == 1:
        return np.asarray(cv2.sepFilter2D(plane, cv2.CV_64F, taps, _ONE), np.float64)[:, inside]
    return np.asarray(cv2.sepFilter2D(plane, cv2.CV_64F, _ONE, taps), np.float64)[inside]


_ONE = np.ones(1)
