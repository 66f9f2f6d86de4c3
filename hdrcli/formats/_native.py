"""Calls into C libraries that talk to the terminal on their own."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, BinaryIO, cast

_KEPT_BYTES = 1 << 16  # of what a library says; some say a line for every pixel
_NO_MEMORY = -4  # cv::Error::StsNoMem
_lock = threading.Lock()


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep what C libraries write to stderr and stdout off both; the list holds it, as one text, once the block has ended.

    stdout too: OpenJPH, which OpenEXR uses, talks there, where our results may be going. One thread at a time: the
    redirection is the whole process's, and what was said must belong to the one picture that is being read. Python's own
    ``sys.stdout`` and ``sys.stderr`` keep their ways where they write to descriptors 1 and 2, so that other threads' results
    and progress go on. OpenCV's error for a lack of memory comes out as a MemoryError: the file is not at fault.
    """
    said: list[str] = []
    with _lock, _catcher() as catcher:
        try:
            with _redirected("stdout", 1, catcher), _redirected("stderr", 2, catcher), _memory_errors():
                yield said
        finally:
            catcher.seek(0)
            said.append(catcher.read(_KEPT_BYTES).decode("utf-8", "replace"))


def check_memory(count: int) -> None:
    """For libraries that report a lack of memory as damage: raises MemoryError if that many bytes can't be had just now."""
    import numpy as np

    np.empty(count, np.uint8)


@contextmanager
def _redirected(name: str, descriptor: int, catcher: BinaryIO) -> Iterator[None]:
    try:
        saved = os.dup(descriptor)
    except OSError:  # no such stream: nothing to keep quiet
        yield
        return
    shown = getattr(sys, name)
    bypass = _own_way(shown, descriptor, saved)
    try:
        _flush_c()
        if bypass is not None:
            setattr(sys, name, bypass)
        os.dup2(catcher.fileno(), descriptor)
        yield
    finally:
        _flush_c()
        os.dup2(saved, descriptor)
        os.close(saved)
        if bypass is not None:
            setattr(sys, name, shown)
            bypass.close()


def _own_way(stream: Any, descriptor: int, saved: int) -> Any:
    """Another text stream to where ``stream`` writes, if that is the descriptor; else None: redirecting it won't matter."""
    try:
        if stream.fileno() != descriptor:
            return None
    except (AttributeError, OSError, ValueError):  # no stream at all, or none with a descriptor
        return None
    with suppress(OSError):  # a reader that has gone: found when the stream itself is written to
        stream.flush()
    return os.fdopen(os.dup(saved), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)


def _flush_c() -> None:
    """Bring out what C's stdout holds back where that is a file or a pipe."""
    _c_library().fflush(None)


@cache
def _c_library() -> Any:
    import ctypes

    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if getattr(error, "code", None) == _NO_MEMORY and type(error).__module__.startswith("cv2"):
            raise MemoryError(" ".join(str(getattr(error, "err", "")).split())) from None
        raise


def _catcher() -> BinaryIO:
    """A file in memory where the system has such, so that reading a picture does not need a place for temporary files."""
    try:
        descriptor = os.memfd_create("hdrcli")
    except (AttributeError, OSError):  # not Linux
        return cast("BinaryIO", tempfile.TemporaryFile())
    return os.fdopen(descriptor, "w+b")
