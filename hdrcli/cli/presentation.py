"""All that a user sees: data on stdout; results, warnings, errors and progress on stderr.

rich is imported when a bar is drawn, not before: it costs as much as all the rest of a start.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from typer.core import TyperCommand, TyperGroup

from hdrcli.cli.exits import ExitCode, code_of
from hdrcli.errors import HdrcliError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

PROGRAM = "hdrcli"
GENERAL = "General"  # the panel of --help and of what all commands share


def printable(text: object) -> str:
    """One line, whatever a file name holds: line breaks, control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def coloured(stream: TextIO) -> bool:
    """May colours go to this stream? A terminal, and neither NO_COLOR nor a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def style(text: str, code: str, stream: TextIO) -> str:
    """Text in an ANSI style (SGR code) where the stream takes colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured(stream) else text


def explain(error: BaseException, subject: object = None) -> str:
    """An error as one line. ``subject`` is named where the error itself names nothing."""
    place = "" if subject is None else f"{printable(subject)}: "
    match error:
        case HdrcliError():
            return str(error) if error.where is not None else place + str(error)
        case KeyboardInterrupt():
            return "interrupted"
        case MemoryError() | RuntimeError(args=("can't start new thread",)):  # no memory for a thread's stack
            return f"{place}not enough memory (close other programs, or use a smaller picture)"
        case OSError():
            place = place if error.filename is None else f"{printable(error.filename)}: "
            return f"{place}{printable(error.strerror or error)} (check the name, its rights and the free space)"
    detail = printable(" ".join(f"{type(error).__name__}: {error}".split()))
    return f"{place}internal error: {detail} (run again with --debug for the traceback, and report it)"


def complaint(error: BaseException, subject: object = None, *, debug: bool = False) -> str:
    """What stderr shows of an error: one line; with ``debug`` the traceback above it."""
    above = "".join(traceback.format_exception(error)) if debug else ""
    return f"{above}{style(f'{PROGRAM}:', '1;31', sys.stderr)} {explain(error, subject)}"


class Presenter:
    """Speaks for one run of a command. ``verbosity``: -1 errors only, 0 usual, 1 details."""

    def __init__(self, *, verbose: bool = False, quiet: bool = False, as_json: bool = False, debug: bool = False) -> None:
        if verbose and quiet:
            raise UsageError("--verbose and --quiet exclude each other", remedy="give one of them")
        self.verbosity = 1 if verbose else -1 if quiet else 0
        self.as_json = as_json
        self.debug = debug
        self._bar: Progress | None = None

    @property
    def has_bar(self) -> bool:
        """Is a progress bar on the screen?"""
        return self._bar is not None

    def result(self, text: str) -> None:
        """What was done, one line; left out where JSON says it."""
        if self.verbosity > 0 or (self.verbosity == 0 and not self.as_json):
            self._say(text)

    def note(self, text: str) -> None:
        """Something worth knowing on the way."""
        if self.verbosity >= 0:
            self._say(text)

    def detail(self, text: str) -> None:
        """For -v."""
        if self.verbosity > 0:
            self._say(f"  {text}")

    def warning(self, subject: object, remark: str) -> None:
        """A remark about a file that the user should see."""
        if self.verbosity >= 0:
            self._say(f"{style(f'{PROGRAM}: warning:', '33', sys.stderr)} {printable(subject)}: {printable(remark)}")

    def fault(self, error: BaseException, subject: object = None) -> ExitCode:
        """One of several inputs failed. Returns the exit code its error stands for."""
        self._say(complaint(error, subject, debug=self.debug))
        return code_of(error)

    def record(self, values: Mapping[str, Any]) -> None:
        """One JSON object, one line, on stdout, if JSON is asked for."""
        if self.as_json:
            print(json.dumps(values, allow_nan=False), flush=True)

    @contextmanager
    def progress(
        self, total: float, *, unit: str = "", wanted: bool = True, estimates: bool = True
    ) -> Iterator[Callable[[float, str], None]]:
        """A bar on stderr while the block runs, if that is a terminal. Gives a function that takes what is done and a text.

        The bar and its numbers come first; the text gets the room that is left, in whole terms (two blanks part them).
        ``estimates``: the bar says how much time is left; False: the text does.
        """
        if not wanted or self.verbosity < 0 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield lambda done, text: None
            return
        from rich.console import Console

        from hdrcli.cli.bar import make

        bar = make(total, Console(stderr=True), unit=unit, estimates=estimates)
        with bar:
            self._bar = bar
            task = bar.task_ids[0]
            try:
                yield lambda done, text: bar.update(task, completed=done, description=printable(text))
            finally:
                self._bar = None

    def _say(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
            return
        from rich.text import Text

        self._bar.console.print(Text.from_ansi(text), soft_wrap=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns on stdout, the same for eyes and pipes."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        print(style(line, "1", sys.stdout) if row is header else line)


class Command(TyperCommand):
    """A command whose help shows its options in sections, as plain text: rich's panels would cost 60 ms."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments without the braces that newer typers put around them."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Sections in the order in which their first option is declared."""
        _format_sections(self, ctx, formatter)


class Group(TyperGroup):
    """A command of commands, with help in the same form."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Commands first, they are what one looks for."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section(style("Commands", "1", sys.stdout)):
            formatter.write_dl([(name, c.get_short_help_str(limit=100)) for name, c in commands if c is not None])
        _format_sections(self, ctx, formatter)


def _format_sections(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            panel = "Arguments" if parameter.param_type_name == "argument" else parameter.__dict__.get("rich_help_panel")
            sections.setdefault(panel or GENERAL, []).append(record)
    for heading, rows in sections.items():
        with formatter.section(style(heading, "1", sys.stdout)):
            formatter.write_dl(rows)


def uses(roles: Iterable[str], model: str) -> str:
    """The commands that generators are for ("g_y", "g_x"), with the model's name or path."""
    calls = {"g_y": "expand photo.jpg", "g_x": "tonemap scene.exr -t learned"}
    return " or ".join(f"hdrcli {calls[role]} --model {printable(model)}" for role in roles)
