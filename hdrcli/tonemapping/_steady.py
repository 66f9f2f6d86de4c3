"""Statistics that change smoothly from frame to frame of a sequence, so that what moves does not make the rest flicker.

Each scalar statistic is an exponential average of its logarithm, s_n = s_(n-1) + (1 - exp(-d / frames)) (v_n - s_(n-1)), with d
frames from the last one to this one: it looks back only, needs no second reading, and what has passed by fades as eyes adapt.
A shot begins, and nothing of before counts, where the log-average of luminance jumps by more than ``cut`` stops between
neighbouring frames. A cut between shots of the same brightness needs none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

FRAMES = 12.0  # half a second of film
CUT = 1.0  # stops
_SLACK = 0.02  # stops: exposures a whole stop apart are no cut, however they round


@dataclass
class Steady:
    """Memory of one sequence, shown by one operator: what ``Scene.steady`` asks. Frames come in their order.

    ``frames``: how many it takes to follow a change by 63 %. ``cut``: stops.
    """

    frames: float = FRAMES
    cut: float = CUT
    _before: dict[str, Any] = field(default_factory=dict, repr=False)
    _now: dict[str, Any] = field(default_factory=dict, repr=False)
    _number: int | None = None
    _average: float = 0.0
    _share: float = 1.0
    _begins: bool = False

    def begin(self, number: int, average: float) -> bool:
        """The next frame, and its log-average of luminance as it is; does a shot begin with it?

        Black frames, of average 0, neither begin nor end one.
        """
        self._before |= self._now
        self._now = {}
        jump = abs(math.log2(average / self._average)) if average > 0 and self._average > 0 else 0.0
        self._begins = self._number is None or jump > self.cut + _SLACK
        if self._begins:
            self._before = {}
        elapsed = 1 if self._number is None else max(1, number - self._number)
        self._share = 1 - math.exp(-elapsed / self.frames)
        self._number, self._average = number, average or self._average
        return self._begins

    @property
    def idle(self) -> bool:
        """Has a shot begun with this frame, of which no statistic was asked for?"""
        return self._begins and not self._now

    def __call__(self, name: str, value: Any) -> Any:
        """The smoothed value of a statistic's logarithm, or of a curve's values; the same however often this frame asks."""
        if name not in self._now:
            before = self._before.get(name, value)
            self._now[name] = before + self._share * (value - before)
        return self._now[name]
