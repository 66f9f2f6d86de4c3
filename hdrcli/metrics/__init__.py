"""Metrics, one file each: functions on arrays. Import them from their modules.

Besides its functions a metric's file has ``SCORES``, a tuple of :class:`Score`: the names under which ``hdrcli evaluate``
offers them, what they mean, and how to call them on a pair. A metric is added by adding a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from hdrcli.errors import Unavailable


@dataclass(frozen=True)
class Viewing:
    """What a score may depend on besides the two pictures: the eye, the display, and what this computer has.

    ``ppd``: pixels per visual degree. ``device``: where torch runs, "cpu" or "cuda[:N]". ``threads``: how many a score may use.
    ``weights``: a folder with files of weights that hdrcli may not bring along, or None: only the usual caches are looked at.
    """

    ppd: float = 30.0
    device: str = "cpu"
    threads: int = 1
    weights: Path | None = None


Compute = Callable[[NDArray[Any], NDArray[Any], Viewing], float]


@dataclass(frozen=True)
class Score:
    """A number for a pair of pictures.

    ``compute(test, reference, viewing)``: two ``(H, W, 3)`` float arrays of one shape, scene- or display-linear RGB with BT.709
    primaries in cd/m2, finite; a float, inf where it is so by definition. Raises :class:`Unavailable` with the reason,
    never NaN.
    ``better``: "higher", "lower", or "neither" for numbers that describe and don't judge. ``source``: the paper or standard.
    ``slow``: it is computed only when it is asked for by name, or with ``--metrics all``.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    source: str
    compute: Compute
    slow: bool = False


__all__ = ["Compute", "Score", "Unavailable", "Viewing"]
