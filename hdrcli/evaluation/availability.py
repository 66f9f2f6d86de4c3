"""Which protocols and metrics there are, and whether each can run on this computer: they are tried on a small picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import registry
from hdrcli.errors import HdrcliError
from hdrcli.evaluation.protocols import Missing, Outcome, Pair
from hdrcli.evaluation.protocols._scores import known_scores, value
from hdrcli.evaluation.scoring import PROTOCOLS
from hdrcli.metrics import Score, Viewing

_SIDE = 176  # what every metric takes


@dataclass(frozen=True)
class Offered:
    """A metric or protocol. ``options``: of a protocol, with their defaults. ``lacking``: score -> why it can't be had here."""

    name: str
    title: str
    unit: str
    better: str
    options: dict[str, Any]
    lacking: dict[str, str]


@cache
def _pair() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A test and a reference in cd/m2, with detail and a range of eight stops."""
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) / _SIDE
    pattern = 1 + 0.5 * np.sin(40 * x) * np.cos(25 * y)
    reference = np.stack([100 * pattern * 2 ** (8 * x - 6 + c / 4) for c in range(3)], axis=2)
    return np.asarray(reference * (1 + 0.1 * np.sin(60 * y))[..., np.newaxis], np.float32), np.asarray(reference, np.float32)


def metrics(viewing: Viewing) -> list[Offered]:
    """All of them by name."""
    return [_metric(score, viewing) for score in known_scores().values()]


def _metric(score: Score, viewing: Viewing) -> Offered:
    test, reference = _pair()
    try:
        found = value(lambda: score.compute(test, reference, viewing))
        why = found.why if isinstance(found, Missing) else None
    except HdrcliError as error:
        why = str(error)
    return Offered(score.name, score.title, score.unit, score.better, {}, {} if why is None else {score.name: why})


def protocols(viewing: Viewing) -> list[Offered]:
    """All of them by name."""
    return [_protocol(name, viewing) for name in registry.names(PROTOCOLS)]


def _protocol(name: str, viewing: Viewing) -> Offered:
    module = registry.load(PROTOCOLS, name)
    options = module.Options()
    test, reference = _pair()
    try:
        outcome: Outcome = module.run(Pair(test, reference, 100.0, viewing), options)
        lacking = {score: found.why for score, found in outcome.scores.items() if isinstance(found, Missing)}
    except HdrcliError as error:
        lacking = {"all": str(error)}
    return Offered(name, module.SUMMARY, "", "", asdict(options), lacking)
