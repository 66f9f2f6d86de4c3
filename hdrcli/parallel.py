"""How many threads a conversion may use: one number for row strips, OpenCV, OpenEXR and ONNX Runtime."""

from __future__ import annotations

import os

from hdrcli.errors import UsageError

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
