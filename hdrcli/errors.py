"""Every error that hdrcli raises on purpose.

::

    HdrcliError                  one line: what, where, what to do
    ├── UsageError               the caller asked for something that makes no sense together
    ├── InputError               a file that can't be used
    │   ├── MissingInput         there is no such file
    │   ├── UnreadableInput      empty, truncated, corrupt, or not what its name says
    │   └── UnsupportedInput     whole and valid, but of a kind that hdrcli does not read
    ├── OutputError              a file that can't be written
    │   ├── OutputExists         it is there already, and nobody said to overwrite it
    │   └── UnwritableOutput     folder missing, read-only, disk full ...
    ├── MismatchError            pixel values in a state (transfer, primaries, range) an operation does not take
    ├── MissingRequirement       something to install or fetch
    │   ├── MissingExtra         a Python package of an optional extra
    │   └── MissingModel         no bundle or weights of that name
    ├── Unavailable              a score that a pair of pictures, or this installation, can't have
    ├── ModelError               a bundle or weights file that is damaged, tampered with or foreign
    └── TrainingError            a run that can't start or go on
        └── DataError            the training or validation data can't be used
"""

from __future__ import annotations


class HdrcliError(Exception):
    """Base of all errors that hdrcli raises on purpose.

    ``what`` states the fault, ``where`` names the file or option it concerns, ``remedy`` says what to do about it.
    ``str(error)`` is always a single line.
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = " ".join(what.split())
        self.where = None if where is None else str(where)
        self.remedy = None if remedy is None else " ".join(remedy.split())
        super().__init__(self.what)

    def __str__(self) -> str:
        # File names, and names inside of files, may hold line breaks and control characters; the message stays one
        # printable line.
        where = "" if self.where is None else f"{self.where}: "
        text = f"{where}{self.what}" + (f" ({self.remedy})" if self.remedy else "")
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class UsageError(HdrcliError):
    """Options or arguments that make no sense, alone or together."""


class InputError(HdrcliError):
    """An input file that can't be used."""


class MissingInput(InputError):
    """The input does not exist."""


class UnreadableInput(InputError):
    """The input is empty, truncated, corrupt, a directory, or not what its name says."""


class UnsupportedInput(InputError):
    """The input is whole and valid, but of a kind that hdrcli does not read."""


class OutputError(HdrcliError):
    """An output file that can't be written."""


class OutputExists(OutputError):
    """The output exists and ``overwrite`` was not given."""


class UnwritableOutput(OutputError):
    """The output's folder is missing or read-only, the disk is full, or the format can't hold the image."""


class MismatchError(HdrcliError):
    """Pixel values in a state (transfer, primaries, shape, range) that an operation does not take."""


class Unavailable(HdrcliError):
    """A score that this pair of pictures, or this installation, can't have; ``str(error)`` is what its column says."""


class MissingRequirement(HdrcliError):
    """Something has to be installed or fetched first."""


class MissingExtra(MissingRequirement):
    """A Python package is missing that belongs to one of hdrcli's extras."""

    def __init__(self, package: str, extra: str, *, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}", remedy=f"install it with: pip install 'hdrcli[{extra}]'")
        self.package = package
        self.extra = extra


class MissingModel(MissingRequirement):
    """There is no bundle, run folder or weights file of that name."""


class ModelError(HdrcliError):
    """A bundle or weights file is damaged, tampered with, or not one of ours."""


class TrainingError(HdrcliError):
    """A training run can't start or go on."""


class DataError(TrainingError):
    """The training or validation data can't be used."""
