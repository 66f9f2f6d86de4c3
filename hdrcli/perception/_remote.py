"""Waiting for somebody else's computer, so that a signal handler can end it; and what guides that do so have besides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

_PIECE = 0.05  # seconds; how long the end of waiting may go unnoticed
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Asking:
    """What a guide is told of the run that it asks for.

    ``say`` gets a line at the start and whenever something changes. A budget is shared by ``processes``, of which this is
    number ``process``. ``once``: images that will be asked about once; ``each_step``: images of one process's step, on
    average, that are new each time; ``knobs``: what that depends on, for the user.
    """

    say: Callable[[str], None]
    process: int = 0
    processes: int = 1
    once: int = 0
    each_step: float = 0.0
    knobs: str = ""


@runtime_checkable
class RemoteGuide(Protocol):
    """A guide that asks somebody else's computer, which takes time, costs money and fails."""

    def begin(self, run: Asking) -> None:
        """Tell what this run may ask of whom, and ask for the first time. Raises UsageError if that is refused."""
        ...

    def hurry(self) -> None:
        """End all waiting, and ask nothing from here to the next :meth:`begin`. Signal handlers may call it."""
        ...

    def summary(self) -> str | None:
        """A line about all that was asked in the run so far, None if there is nothing to tell."""
        ...

    def state(self) -> dict[str, Any]:
        """What was spent of the budget, plain values."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state`, before :meth:`begin`."""
        ...


class Interrupted(Exception):
    """Nobody waits any longer."""


class Overdue(Exception):
    """It took too long."""


class Patience:
    """Waits in short pieces, until :meth:`end`.

    That sets a flag and no more: it is for signal handlers, which run amid whatever the main thread does, so a lock could be
    held already. Python itself goes on waiting after a handler has returned (PEP 475).
    """

    def __init__(self) -> None:
        self.ended = False

    def end(self) -> None:
        """All waiting ends soon, and there is none from here on."""
        self.ended = True

    def renew(self) -> None:
        """The reverse of :meth:`end`."""
        self.ended = False

    def sleep(self, seconds: float) -> None:
        """As time.sleep, or shorter."""
        until = time.monotonic() + seconds
        while not self.ended and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _PIECE))

    def call(self, function: Callable[[], _Result], seconds: float) -> _Result:
        """``function()``, run in a thread that is left to itself if waiting ends (Interrupted) or takes too long (Overdue).

        Raises what it raises.
        """
        results: list[_Result] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:  # raised again below, if anybody still waits
                errors.append(error)

        thread = threading.Thread(target=run, name="hdrcli-guide", daemon=True)  # daemon: no process waits for it to end
        thread.start()
        until = time.monotonic() + seconds
        while thread.is_alive():
            if self.ended:
                raise Interrupted
            left = until - time.monotonic()
            if left <= 0:
                raise Overdue
            thread.join(min(left, _PIECE))
        if errors:
            raise errors[0]
        return results[0]


__all__ = ["Asking", "Interrupted", "Overdue", "Patience", "RemoteGuide"]
