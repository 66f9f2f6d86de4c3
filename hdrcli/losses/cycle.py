"""Cycle consistency: LLM-HDR Eq. 10 (Zhu et al. 2017), one of its two terms a call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hdrcli.losses import mean_l1

LAMBDA = 10.0  # weight of Eq. 12


def cycle_loss(again: Tensor | Sequence[Tensor], original: Tensor) -> Tensor:
    """Mean absolute difference of G_X(G_Y(x)) and x, or of G_Y(G_X(y)) and y.

    ``original``: ``(N, 3, H, W)``, display-encoded or in the T domain; ``again``: the same once around, or a list of them, one
    of each feedback iteration, whose losses are averaged.
    """
    return mean_l1(again, original)
