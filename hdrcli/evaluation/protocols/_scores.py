"""What the protocols share: which pairs are refused, and a number or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli import registry
from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.evaluation.protocols import Missing, Outcome, Pair, Value
from hdrcli.metrics import Score, Viewing

Precision = Literal["float32", "float64"]


def check(pair: Pair) -> None:
    """Raises MismatchError for what are no two RGB pictures of one size, Unavailable for samples that are not finite."""
    for name, picture in (("test", pair.test), ("reference", pair.reference)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise MismatchError(f"an array of shape {picture.shape} is no RGB picture", where=name)
        if picture.dtype.kind != "f":
            raise MismatchError(f"samples are {picture.dtype}, not linear light in floating point", where=name)
    if pair.test.shape != pair.reference.shape:
        sizes = " and ".join(f"{p.shape[1]} x {p.shape[0]}" for p in (pair.test, pair.reference))
        raise MismatchError(f"the pictures' sizes differ: {sizes}", remedy="bring them to one size first")
    for name, picture in (("test", pair.test), ("reference", pair.reference)):
        bad = picture.size - int(np.count_nonzero(np.isfinite(picture)))
        if bad:
            raise Unavailable(f"the {name} has {bad} samples that are not finite")


def value(compute: Callable[[], float]) -> Value:
    """The number, or :class:`Missing` with the reason if it is :class:`Unavailable`; other errors are faults and pass."""
    try:
        result = float(compute())
    except Unavailable as error:
        return Missing(str(error))
    return Missing("it is not defined for this pair (NaN)") if math.isnan(result) else result


def missing(names: Iterable[str], error: Unavailable) -> dict[str, Value]:
    """The same reason for all these scores: where a pair can't even be aligned."""
    return {name: Missing(str(error)) for name in names}


def unaligned(pair: Pair, names: Iterable[str], error: Unavailable, protocol: str, facts: Mapping[str, Any]) -> Outcome:
    """The outcome for a pair that the protocol can't align: all scores missing for this reason, the pictures as they were."""
    return Outcome(missing(names, error), {**facts, "unavailable": str(error)}, protocol, pair.test, pair.reference)


@cache
def known_scores() -> Mapping[str, Score]:
    """Every score of every module in hdrcli.metrics by its name, sorted."""
    found: dict[str, Score] = {}
    for module in registry.names("hdrcli.metrics"):
        for score in getattr(registry.load("hdrcli.metrics", module), "SCORES", ()):
            if score.name in found:
                raise ValueError(f"two metrics offer a score of the name {score.name}")
            found[score.name] = score
    return MappingProxyType(dict(sorted(found.items())))


def compute_scores(names: Iterable[str], test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> dict[str, Value]:
    """These scores of a pair (``(H, W, 3)``, cd/m2) in this order, each once. Raises UsageError for a name there is not."""
    known = known_scores()
    scores = {}
    for name in dict.fromkeys(names):
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
            raise UsageError(f"no score of the name {name!r}", remedy=hint)
        scores[name] = known[name]
    return {name: value(partial(score.compute, test, reference, viewing)) for name, score in scores.items()}


def hdrvdp22_q(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing, precision: Precision) -> float:
    """HDR-VDP-2.2's Q of RGB pictures in cd/m2. Raises Unavailable for pictures that it does not take, as small ones."""
    from hdrcli.metrics.hdrvdp2 import hdrvdp2

    try:
        result = hdrvdp2(test, reference, "rgb-bt.709", viewing.ppd, precision, viewing.device, maps=False)
    except MismatchError as error:  # of pictures that are RGB and of one size
        raise Unavailable(error.what, remedy=error.remedy) from error
    return result.q
