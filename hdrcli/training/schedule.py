"""Learning rates over a run: a factor of the position (0 at the start, 1 at the end) for each schedule."""

from __future__ import annotations

import math
from typing import Literal, get_args

Schedule = Literal["cosine", "constant-linear"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)
CONSTANT_SHARE = 100 / 170  # LLM-HDR (S2.4): constant for 100 epochs, then falling to 0 over 70


def learning_rate_factor(
    step: int, fraction: float, warmup_steps: int, schedule: str = "cosine", constant_share: float = CONSTANT_SHARE
) -> float:
    """Linear warm-up, then the schedule.

    "cosine": half a cosine to 1 % at ``fraction`` 1. "constant-linear": constant up to ``constant_share``, then linear to 0.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    at = min(1.0, fraction)
    if schedule == "cosine":
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * at)))
    return warm * min(1.0, (1 - at) / max(1 - constant_share, 1e-9))
