"""Exit codes, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum

from hdrcli.errors import HdrcliError, MissingRequirement, UsageError


class ExitCode(IntEnum):
    """What the process says about itself when it ends."""

    OK = 0
    """Everything was done."""

    FAILURE = 1
    """It was not done: input, output, model or data at fault, or a bug."""

    USAGE = 2
    """Nothing was tried: the options or arguments make no sense."""

    PARTLY = 3
    """Of several inputs some were done and some failed."""

    MISSING = 4
    """A runtime, a package of an extra, or weights have to be installed first."""

    INTERRUPTED = 130
    """Ctrl-C or SIGTERM; what was begun has been cleaned up."""


def code_of(error: BaseException) -> ExitCode:
    """The exit code that an error stands for."""
    match error:
        case UsageError():
            return ExitCode.USAGE
        case MissingRequirement():
            return ExitCode.MISSING
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case HdrcliError() | _:
            return ExitCode.FAILURE


def code_of_all(faults: list[ExitCode], total: int) -> ExitCode:
    """The exit code of a run over ``total`` inputs of which these failed."""
    if not faults:
        return ExitCode.OK
    if len(faults) < total:
        return ExitCode.PARTLY
    return faults[0] if len(set(faults)) == 1 else ExitCode.FAILURE
