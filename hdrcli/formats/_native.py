"""Calls into C libraries that talk to the terminal on their own."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_lock = threading.Lock()


@contextmanager
def quiet_stderr() -> Iterator[list[str]]:
    """Keep what C libraries write to stderr off the terminal; the list holds it, as one text, once the block has ended.

    One thread at a time: the redirection is the whole process's. Python's own ``sys.stderr`` keeps its way to the
    terminal where it writes to descriptor 2, so that progress shown from other threads goes on.
    """
    said: list[str] = []
    with _lock:
        try:
            saved = os.dup(_STDERR)
        except OSError:  # no stderr at all: nothing to keep quiet
            yield said
            return
        shown = sys.stderr
        with tempfile.TemporaryFile() as catcher, os.fdopen(saved, "wb", buffering=0, closefd=True) as terminal:
            _flush(shown)
            bypass = _writes_to_stderr(shown)
            if bypass:
                sys.stderr = os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
            os.dup2(catcher.fileno(), _STDERR)
            try:
                yield said
            finally:
                os.dup2(terminal.fileno(), _STDERR)
                if bypass:
                    sys.stderr.close()
                    sys.stderr = shown
                catcher.seek(0)
                said.append(catcher.read().decode("utf-8", "replace"))


def _flush(stream: object) -> None:
    flush = getattr(stream, "flush", None)
    if flush is not None:
        flush()


def _writes_to_stderr(stream: object) -> bool:
    try:
        return bool(stream.fileno() == _STDERR)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
