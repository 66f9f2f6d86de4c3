"""Pictures in parts, for HDR-VDP-2: what a thread works on fits into its core's cache, and threads seldom wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from hdrcli import parallel

T = TypeVar("T")

_SAMPLES = 1 << 15  # 128 KiB of float32
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class Parts:
    """How the work is divided. ``pool``: its threads, or None for the caller's. ``whole``: not at all, as is best on a card."""

    pool: ThreadPoolExecutor | None = None
    whole: bool = False

    def of(self, count: int, size: int) -> list[slice]:
        """Slices of ``range(count)``, each ``size`` long."""
        size = count if self.whole else size
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

    def rows(self, height: int, width: int) -> list[slice]:
        """Slices of a plane's rows."""
        return self.of(height, max(_FEWEST_ROWS, _SAMPLES // width))

    def each(self, work: Callable[[slice], T], slices: list[slice]) -> list[T]:
        """``work`` of every slice, in any order, by all threads; the results in the slices' order."""
        if self.pool is None or len(slices) == 1:
            return [work(part) for part in slices]
        return [done.result() for done in [self.pool.submit(_inferred, work, part) for part in slices]]


def _inferred(work: Callable[[slice], T], part: slice) -> T:
    with torch.inference_mode():  # a thread's own
        return work(part)


@contextmanager
def parts(device: torch.device, most: int | None = None) -> Iterator[Parts]:
    """Work divided among as many threads as torch uses here, or as hdrcli.parallel or ``most`` allow if that is fewer.

    Each runs torch's operations alone: torch's own threads meet after every operation and, where the machine has other work,
    spend their time waiting for each other. Numbers don't depend on how many there are.
    """
    if device.type != "cpu":
        yield Parts(whole=True)
        return
    before = torch.get_num_threads()
    threads = min(before, parallel.threads(), most or before)
    try:
        torch.set_num_threads(1)
        if threads == 1:
            yield Parts()
        else:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield Parts(pool)
    finally:
        # each thread has its own number, but new ones start with the last that was set anywhere
        torch.set_num_threads(before)
