"""Make hdrcli/tonemapping/_blue_noise.bin: a 64 x 64 tile of thresholds for dithering, by void-and-cluster.

Source: R. Ulichney, "The void-and-cluster method for dither array generation", Proc. SPIE 1913 (1993): sections 3 and 4. Every
level set of the tile is spread as evenly as can be, on a torus, so that the tile repeats without a seam. The tile holds each of
the numbers 0..255 sixteen times, rows from the top, one byte each.

    python tests/tools/blue_noise.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 64
SIGMA = 1.5  # of the Gaussian that measures clusters and voids, in pixels: the paper's
SHARE = 0.1  # of ones in the pattern to start from
SEED = 1993
TILE = Path(__file__).parents[2] / "hdrcli" / "tonemapping" / "_blue_noise.bin"


class Pattern:
    """A binary pattern on the torus, and how crowded each place is: the pattern's convolution with a Gaussian."""

    def __init__(self, ones: NDArray[np.bool_]) -> None:
        distance = np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE))
        line = np.exp(-(distance**2) / (2 * SIGMA**2))
        self._kernel = np.outer(line, line)
        self.ones = np.zeros_like(ones)
        self.crowd = np.zeros(ones.shape)
        for place in np.flatnonzero(ones):
            self.flip(int(place))

    def flip(self, place: int) -> None:
        """A one becomes a zero, or the other way."""
        row, column = divmod(place, SIDE)
        sign = -1 if self.ones[row, column] else 1
        self.ones[row, column] = sign > 0
        self.crowd += sign * np.roll(self._kernel, (row, column), (0, 1))

    def cluster(self) -> int:
        """Where ones are most crowded."""
        return int(np.argmax(np.where(self.ones, self.crowd, -np.inf)))

    def void(self) -> int:
        """Where zeros are loneliest among ones."""
        return int(np.argmin(np.where(self.ones, np.inf, self.crowd)))


def relaxed() -> Pattern:
    """A pattern of few ones that can't be spread better: the tightest cluster goes to the largest void until they are one."""
    pattern = Pattern(np.random.default_rng(SEED).random((SIDE, SIDE)) < SHARE)
    while True:
        cluster = pattern.cluster()
        pattern.flip(cluster)
        void = pattern.void()
        pattern.flip(void)
        if void == cluster:
            return pattern


def ranks() -> NDArray[Any]:
    """``(64, 64)``: at which number of ones each place becomes one, 0..4095."""
    start = relaxed().ones
    rank = np.empty(SIDE * SIDE, int)
    count = int(start.sum())
    falling = Pattern(start)
    for number in range(count - 1, -1, -1):
        place = falling.cluster()
        falling.flip(place)
        rank[place] = number
    rising = Pattern(start)
    # the paper's third phase, from one half on, looks for clusters of zeros: with a Gaussian they are the same as voids of ones
    for number in range(count, SIDE * SIDE):
        place = rising.void()
        rising.flip(place)
        rank[place] = number
    return rank.reshape(SIDE, SIDE)


def tile() -> NDArray[np.uint8]:
    """The thresholds, ``(64, 64)``."""
    return (ranks() // (SIDE * SIDE // 256)).astype(np.uint8)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else TILE
    path.write_bytes(tile().tobytes())
    print(f"{path}: {SIDE} x {SIDE} thresholds")
