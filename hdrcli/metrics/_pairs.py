"""What metrics on pairs of arrays share: the check of their shapes, row strips, how a function becomes a score's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError
from hdrcli.metrics import Compute, Viewing
from hdrcli.metrics._encodings import Encoding, Floats
from hdrcli.parallel import in_turn

_STRIP_SAMPLES = 1 << 18  # 2 MiB of float64: what a thread works on stays near its core


def same_shape(test: NDArray[Any], reference: NDArray[Any]) -> None:
    """Raises MismatchError for arrays of different shapes, which NumPy might stretch to each other, and for empty ones."""
    if test.shape != reference.shape:
        raise MismatchError(
            f"the pictures' shapes differ: {_size(test)} and {_size(reference)}", remedy="bring them to one size first"
        )
    if test.size == 0:
        raise MismatchError("the pictures are empty", remedy="give pictures with at least one pixel")


def strips(shape: tuple[int, ...], samples: int = _STRIP_SAMPLES) -> list[slice]:
    """Slices of the first axis, each of about so many samples, that cover an array of this shape."""
    rows = max(1, samples // max(1, math.prod(shape[1:])))
    return [slice(first, min(first + rows, shape[0])) for first in range(0, shape[0], rows)]


def encoded(picture: NDArray[Any], encode: Encoding) -> Floats:
    """``encode`` of the whole picture, ``(H, ...)``, by all threads."""
    return np.concatenate(list(in_turn(lambda rows: encode(picture[rows]), strips(picture.shape))))


def whatever_viewing(measure: Callable[[NDArray[Any], NDArray[Any]], float]) -> Compute:
    """A :class:`Score`'s ``compute`` of a function that depends on the two pictures alone."""

    def compute(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
        return measure(test, reference)

    return compute


def _size(picture: NDArray[Any]) -> str:
    return " x ".join(map(str, picture.shape)) or "a number"
