"""What metrics share that run the packages of others: are those there, in which version, and what may be passed to them."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError, MissingExtra, MissingRequirement, ModelError, Unavailable, UsageError
from hdrcli.metrics._pairs import same_shape

EXTRA = "metrics"
MOST_PPD = 1000.0  # a hundred times what the eye resolves; packages fail in ways of their own far above

Singles = NDArray[np.float32]


def version_of(distribution: str) -> str | None:
    """Name and version of an installed distribution, "lpips 0.1.4"; None if it is not installed."""
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return None


def without(package: str, purpose: str) -> Unavailable:
    """The error that says which package is missing for what, and which extra has it."""
    return unavailable(MissingExtra(package, EXTRA, purpose=purpose))


def unavailable(error: MissingRequirement | ModelError) -> Unavailable:
    """The same fault as the reason why a score can't be had: what is missing for one score doesn't stop the others."""
    return Unavailable(error.what, where=error.where, remedy=error.remedy)


def rgb_pair(metric: str, test: NDArray[Any], reference: NDArray[Any]) -> tuple[Singles, Singles]:
    """Both in float32 and C order. Raises MismatchError unless they are two ``(H, W, 3)`` arrays of one shape and finite."""
    same_shape(test, reference)
    if test.ndim != 3 or test.shape[2] != 3:
        raise MismatchError(f"{metric} takes (H, W, 3) arrays", remedy="give RGB pictures")
    with np.errstate(over="ignore"):  # told below
        first, second = (np.ascontiguousarray(picture, dtype=np.float32) for picture in (test, reference))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise MismatchError(f"{metric} takes finite values in the range of float32", remedy="replace those that are not")
    return first, second


def sensible_ppd(ppd: float) -> float:
    """Pixels per visual degree, above 0 and at most 1000. Raises UsageError for any other."""
    if not 0 < ppd <= MOST_PPD:
        raise UsageError(f"{ppd:g} pixels per degree make no sense", where="ppd", remedy="use 30 or 60, for example")
    return float(ppd)
