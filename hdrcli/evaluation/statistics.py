"""What can be said of many scores: averages with an interval, whether two methods differ. NumPy only, and the same twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 10000
EXACT_PAIRS = 400  # up to here the null distribution of ranks is counted out; its work grows with the cube
_DRAWN_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Summary:
    """Of the finite values among some. ``n``: how many they are; ``infinite``: left out.

    ``low``, ``high``: 95 % percentile bootstrap interval of the mean; None below two values. ``mean``, ``median``: None for 0.
    """

    n: int
    infinite: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None


def summary(values: Sequence[float], *, seed: int, resamples: int = RESAMPLES) -> Summary:
    """Mean, median and interval of the finite values. NaN is nobody's score: raises ValueError."""
    x = np.asarray(values, np.float64)
    if np.isnan(x).any():
        raise ValueError("NaN among the scores")
    finite = x[np.isfinite(x)]
    if not finite.size:
        return Summary(0, x.size, None, None, None, None)
    low, high = bootstrap_interval(finite, seed=seed, resamples=resamples) if finite.size > 1 else (None, None)
    mean = math.fsum(finite) / finite.size
    return Summary(finite.size, x.size - finite.size, mean, float(np.median(finite)), low, high)


def bootstrap_interval(
    values: Floats, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Percentile interval of the mean over images drawn with replacement: ``(n,)``, n >= 1.

    Efron and Tibshirani 1993, An introduction to the bootstrap, section 13.3. The draws depend on ``seed`` and n alone, so
    methods that have the same images are drawn alike.
    """
    x = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _DRAWN_AT_ONCE // x.size)
    for first in range(0, resamples, step):
        count = min(step, resamples - first)
        means[first : first + count] = x[rng.integers(0, x.size, (count, x.size))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    # a mean of equal numbers may differ from them in the last bit
    return float(np.clip(low, x.min(), x.max())), float(np.clip(high, x.min(), x.max()))


@dataclass(frozen=True)
class PairedTest:
    """Of values of two methods on the same images.

    ``n``: images with finite values of both. ``difference``: mean of first minus second. ``p``: two-sided; None where fewer
    than two images differ. ``exact``: p was counted out, not approximated.
    """

    n: int
    difference: float | None
    p: float | None
    exact: bool


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Wilcoxon's signed-rank test of two methods' scores of the same images, in one order; infinite ones are left out.

    Images without a difference are dropped, ties share their mean rank (Wilcoxon 1945). Up to 400 images p is exact, given the
    ties; above, the normal approximation with the correction for ties.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    difference = a[both] - b[both]
    n = int(both.sum())
    mean = math.fsum(difference) / n if n else None
    moved = difference[difference != 0]
    if moved.size < 2:
        return PairedTest(n, mean, None, False)
    doubled = _doubled_ranks(np.abs(moved))
    exact = moved.size <= EXACT_PAIRS
    p = _exact_p(doubled, moved > 0) if exact else _normal_p(doubled, moved > 0)
    return PairedTest(n, mean, p, exact)


def _doubled_ranks(sizes: Floats) -> NDArray[np.int64]:
    """Twice the mean ranks from 1: whole numbers, ties and all."""
    _, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((2 * last - counts + 1)[group], np.int64)


def _exact_p(doubled: NDArray[np.int64], positive: NDArray[np.bool_]) -> float:
    """Both signs of every difference are equally likely: the share of all 2^n sums of positive ranks as far from the middle."""
    total = int(doubled.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    reached = 0
    for rank in doubled:
        shifted = chances[: reached + 1] / 2
        chances[: reached + 1] = shifted
        chances[rank : rank + reached + 1] += shifted
        reached += int(rank)
    smaller = min(int(doubled[positive].sum()), total - int(doubled[positive].sum()))
    return min(1.0, 2 * math.fsum(chances[: smaller + 1]))


def _normal_p(doubled: NDArray[np.int64], positive: NDArray[np.bool_]) -> float:
    ranks = doubled / 2
    # the variance of a sum of independent signs; with ties it is the textbook's n(n+1)(2n+1)/24 less sum(t^3 - t)/48
    deviation = float(ranks[positive].sum()) - float(ranks.sum()) / 2
    return math.erfc(abs(deviation) / math.sqrt(float(np.sum(ranks**2)) / 4) / math.sqrt(2))


def holm(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """p values adjusted for their number (Holm 1979): compare each with 0.05. None stays None and is not counted."""
    given = list(values)
    known = sorted((p, i) for i, p in enumerate(given) if p is not None)
    adjusted: dict[int, float] = {}
    largest = 0.0
    for place, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[i] = largest
    return tuple(adjusted.get(i) for i in range(len(given)))


def worst(values: Mapping[str, float], *, better: str, count: int) -> tuple[tuple[str, float], ...]:
    """The names with the worst finite values, worst first, ties in the mapping's order; none where neither end is worse."""
    if better == "neither":
        return ()
    finite = [(name, value) for name, value in values.items() if math.isfinite(value)]
    return tuple(sorted(finite, key=lambda item: item[1], reverse=better == "lower")[:count])
