"""How many threads a conversion may use: one number for row strips, OpenCV, OpenEXR and ONNX Runtime."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from hdrcli.errors import UsageError

T = TypeVar("T")
P = TypeVar("P")

_limit: int | None = None


def available() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no such call on macOS and Windows
        return os.cpu_count() or 1


def threads() -> int:
    """The number in force: all available cores, unless :func:`limit_threads` said otherwise."""
    return _limit or available()


def limit_threads(count: int | None) -> None:
    """Use at most this many threads from here on; None: all cores. Raises UsageError below 1.

    To be called before the first image is read: libraries take their number when they are first used.
    """
    global _limit
    if count is not None and count < 1:
        raise UsageError(f"{count} is below 1", where="--threads", remedy="say 1 or more")
    _limit = count
    if count is not None:
        import cv2

        cv2.setNumThreads(count)


def in_turn(work: Callable[[P], T], parts: Iterable[P]) -> Iterator[T]:
    """Results in the parts' order, made by all threads, never many waiting to be taken; the first error ends it.

    For parts that do not touch each other, so that threads change nothing but the time.
    """
    parts = list(parts)
    count = threads()
    if count == 1 or len(parts) == 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[T]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def each(work: Callable[[P], None], parts: Iterable[P]) -> None:
    """Every part through ``work``, as :func:`in_turn`."""
    for _ in in_turn(work, parts):
        pass
