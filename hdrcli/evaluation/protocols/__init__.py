"""Evaluation protocols of the field, one file each: how a pair is aligned and scaled, and which numbers are taken.

A protocol's file has

* ``SUMMARY``: a line for listings; ``SOURCE``: the paper, code or thread that it was read in;
* ``Options``: a frozen dataclass, its fields are the protocol's options (registry.build reads ``key=value`` into them);
* ``run(pair, options) -> Outcome``;
* ``TAKES_METRICS = True``, if it gives ``pair.metrics`` besides its own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from hdrcli.metrics import Viewing


@dataclass(frozen=True)
class Missing:
    """In place of a number: why there is none."""

    why: str


Value = float | Missing


@dataclass(frozen=True, eq=False)
class Pair:
    """What is compared: ``test`` and ``reference``, ``(H, W, 3)`` float32 or float64, linear RGB, BT.709 primaries, in cd/m2.

    Files in relative units were multiplied by ``white_nits`` before. ``metrics``: names of scores, which protocols without
    a fixed list of numbers take (``raw``, ``sihdr``); protocols of papers ignore it.
    """

    test: NDArray[Any]
    reference: NDArray[Any]
    white_nits: float
    viewing: Viewing = field(default_factory=Viewing)
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Outcome:
    """A protocol's answer.

    ``scores``: the specification's names -> numbers, or why there is none. ``facts``: what a report line must tell about
    this pair (scale factor, fitted coefficients, percentiles): numbers, texts and lists. ``protocol``: the one line to cite,
    the same for every pair: name, variant, alignment, clamp, encoding, peak, SSIM variant and L, pixels per degree.
    ``test``, ``reference``: the aligned pictures that were scored, linear, for maps and reports.
    """

    scores: Mapping[str, Value]
    facts: Mapping[str, Any]
    protocol: str
    test: NDArray[Any]
    reference: NDArray[Any]
