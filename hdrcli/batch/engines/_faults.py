"""Errors on their way between processes: not all of them can be sent as they are."""

from __future__ import annotations

from dataclasses import dataclass

from hdrcli import errors
from hdrcli.errors import HdrcliError


@dataclass(frozen=True)
class Fault:
    """An HdrcliError by its parts."""

    kind: str
    what: str
    where: str | None
    remedy: str | None

    @classmethod
    def of(cls, error: HdrcliError) -> Fault:
        """The parts of an error."""
        return cls(type(error).__name__, error.what, error.where, error.remedy)

    def revived(self) -> HdrcliError:
        """An error of the same class that says the same; some classes make their words from other arguments."""
        kind: type[HdrcliError] = getattr(errors, self.kind)
        error = kind.__new__(kind)
        HdrcliError.__init__(error, self.what, where=self.where, remedy=self.remedy)
        return error
