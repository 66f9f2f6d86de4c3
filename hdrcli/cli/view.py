"""``hdrcli view``: pictures in the terminal, or on a page that exposes them anew."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrcli.cli import targets
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import LIGHT, MODEL, Debug, Overwrite, Quiet, Threads, Verbose, parse_pairs
from hdrcli.cli.presentation import Presenter, printable, style
from hdrcli.cli.targets import DASH, Job
from hdrcli.errors import UsageError

if TYPE_CHECKING:
    from hdrcli.conversion import TonemapOptions
    from hdrcli.image import Image
    from hdrcli.terminal import Colours, Protocol, Screen
    from hdrcli.viewing.page import Exhibit, Shown

EXAMPLES = """
\b
Examples:
  hdrcli view photo.exr                         in the terminal
  hdrcli view *.hdr -t hable --ev -1
  hdrcli view photo.jpg photo.exr --html        photo.html, both side by side
  hdrcli view a.exr b.exr --beside -o both.html
"""
TERMINAL, PAGE = "Terminal", "Page"
_PATIENCE = 0.5  # seconds that a terminal has for its answer; a local one needs a hundredth
_CAPTION_ROWS = 3  # a caption that may need two lines, and the prompt


class Protocols(StrEnum):
    """How pictures are drawn in a terminal."""

    AUTO = "auto"
    BLOCKS = "blocks"
    SIXEL = "sixel"
    KITTY = "kitty"


def view(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", show_default=False, readable=False, help="Pictures; - reads standard input."),
    ],
    html: Annotated[bool, typer.Option("--html", help="Write a page instead.", rich_help_panel=PAGE)] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="The page [default: FILE.html].", rich_help_panel=PAGE),
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="All FILEs side by side, one pixel inspector.", rich_help_panel=PAGE)
    ] = False,
    side: Annotated[
        int | None,
        typer.Option("--side", metavar="PIXELS", help="Largest side of its pictures [default: 1024].", rich_help_panel=PAGE),
    ] = None,
    overwrite: Overwrite = False,
    protocol: Annotated[
        Protocols,
        typer.Option("--protocol", metavar="NAME", help="auto, blocks, sixel or kitty.", rich_help_panel=TERMINAL),
    ] = Protocols.AUTO,
    columns: Annotated[
        int | None,
        typer.Option("--columns", metavar="N", help="Cells a picture is wide [default: all].", rich_help_panel=TERMINAL),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            "--operator", "-t", metavar="NAME", help="Tone mapping of HDR [default: as tonemap].", rich_help_panel=LIGHT
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of it; repeatable.", rich_help_panel=LIGHT),
    ] = None,
    ev: Annotated[float, typer.Option("--ev", metavar="STOPS", help="Exposure.", rich_help_panel=LIGHT)] = 0.0,
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME|PATH", help="For -t learned: bundle or run folder.", rich_help_panel=MODEL),
    ] = "default",
    threads: Threads = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Show pictures: HDR tone-mapped, LDR as it is.

    A page (--html, -o) holds all it needs in one file: exposure, tone mapping, false colour and a pixel inspector. FILEs of one
    name and size, such as a photo and its expansion, stand side by side.
    """
    say = Presenter(verbose=verbose, quiet=quiet, debug=ctx.obj.debug)
    on_page = html or output is not None
    _check(on_page, given={"--beside": beside, "--side": side is not None, "--overwrite": overwrite}, for_page=True)
    _check(on_page, given={"--protocol": protocol is not Protocols.AUTO, "--columns": columns is not None}, for_page=False)
    if not -32 <= ev <= 32:
        raise UsageError(f"{ev} is not within -32..32", where="--ev", remedy="say a number in that range")
    parameters = parse_pairs(parameter, "-p")
    if on_page:
        size = _within(side, "--side", 16, 8192)
        return _page(inputs, output, say, operator, parameters, ev, size, beside=beside, overwrite=overwrite)
    from hdrcli.conversion import TonemapOptions
    from hdrcli.viewing import USUAL

    options = TonemapOptions(operator or USUAL, parameters, ev, model=model)
    _check_operator(options)
    return _terminal(inputs, say, options, protocol, _within(columns, "--columns", 1, 10000))


def _check(on_page: bool, *, given: dict[str, bool], for_page: bool) -> None:
    """Options for the other way of viewing are a mistake, not to be passed over."""
    for name, is_given in given.items():
        if is_given and on_page != for_page:
            if for_page:
                raise UsageError("is for a page", where=name, remedy="add --html")
            raise UsageError("is for the terminal", where=name, remedy="leave it out, or leave out --html and -o")


def _within(value: int | None, name: str, low: int, high: int) -> int | None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{value} is not within {low}..{high}", where=name, remedy="say a number in that range")
    return value


def _check_operator(options: TonemapOptions) -> None:
    """A wrong name or parameter is told before any picture is read."""
    from hdrcli import registry
    from hdrcli.conversion import LEARNED

    if options.operator != LEARNED:
        registry.build(registry.load("hdrcli.tonemapping", options.operator).Parameters, dict(options.parameters))


def _read(job: Job) -> Image:
    from hdrcli import formats

    with targets.readable(job) as path:
        return formats.read(path)


def _terminal(
    inputs: Sequence[Path], say: Presenter, options: TonemapOptions, wish: Protocols, columns: int | None
) -> ExitCode:
    from hdrcli import terminal

    if wish is Protocols.AUTO and not sys.stdout.isatty():
        remedy = "--html or -o makes a page, --protocol blocks gives text all the same"
        raise UsageError("standard output is no terminal", remedy=remedy)
    colours = terminal.colours_of(os.environ)
    protocol = None if wish is Protocols.AUTO else _PROTOCOLS[wish]
    if protocol is None:
        protocol = terminal.protocol_of(os.environ)
    # a cell's size is needed for graphics alone, but for blocks too it makes the shape right
    answer = "" if protocol == "blocks" or not sys.stdout.isatty() else _ask()
    protocol = protocol or terminal.protocol_in(answer)
    screen = _screen(columns, terminal.cell_in(answer))
    say.detail(f"{protocol}, {screen.columns} x {screen.rows} cells of {screen.cell or 'unknown'} pixels, colours: {colours}")
    if protocol == "blocks" and not _can_print(terminal.BLOCK):
        colours = "none"
    faults = []
    for source in inputs:
        job = Job(source, DASH)
        started = time.perf_counter()
        try:
            image = _read(job)
            drawn, caption = _drawn(image, options, screen, protocol, colours)
        except Exception as error:
            faults.append(say.fault(error, job.source_name))
            continue
        for note in image.metadata.notes:
            say.warning(job.source_name, note)
        # one write, so that nothing comes between a picture's parts
        print(f"{style(printable(job.source_name), '1', sys.stdout)}  {caption}\n{drawn}", end="", flush=True)
        say.detail(f"{time.perf_counter() - started:.2f} s")
    return code_of_all(faults, len(inputs))


_PROTOCOLS: dict[Protocols, Protocol] = {Protocols.BLOCKS: "blocks", Protocols.SIXEL: "sixel", Protocols.KITTY: "kitty"}


def _drawn(image: Image, options: TonemapOptions, screen: Screen, protocol: Protocol, colours: Colours) -> tuple[str, str]:
    """A picture as a terminal takes it, and the line above it."""
    from hdrcli import terminal
    from hdrcli.viewing import light

    height, width = terminal.fitted(image.height, image.width, screen, protocol)
    picture = light.display(image, (height, width), options)
    match protocol:
        case "blocks":
            drawn = terminal.blocks(picture, colours)
        case "sixel":
            drawn = terminal.sixel(picture) + "\n"
        case _:
            scaled = None if screen.cell else max(1, round(width / terminal.CELL[1]))
            drawn = terminal.kitty(picture, scaled) + "\n"
    shown = f", {options.operator}" if light.is_hdr(image) else ""
    exposed = f", {options.ev:+g} EV" if options.ev else ""
    return drawn, f"{light.summary(image)}{shown}{exposed}"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _screen(columns: int | None, told: tuple[int, int] | None) -> Screen:
    """Room for a picture: the terminal's, without the lines of caption and prompt."""
    from shutil import get_terminal_size

    from hdrcli.terminal import Screen

    size = get_terminal_size()  # COLUMNS and LINES, then the terminal, then 80 x 24
    rows = max(1, size.lines - _CAPTION_ROWS)
    if columns is not None and not sys.stdout.isatty():
        rows = 10 * columns  # a file has no end
    return Screen(columns or size.columns, rows, told or _cell_of_window())


def _cell_of_window() -> tuple[int, int] | None:
    """Height and width of a cell in pixels, where the system knows."""
    try:
        import fcntl
        import struct
        import termios

        data = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError, ValueError):  # not on Windows, not for files
        return None
    rows, columns, width, height = struct.unpack("HHHH", data)
    return (height // rows, width // columns) if rows and columns and height >= rows and width >= columns else None


def _ask() -> str:
    """What the terminal answers to the question of what it can do; "" where there is none that answers in time."""
    try:
        import termios
    except ImportError:  # Windows
        return ""
    import contextlib

    from hdrcli import terminal

    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        if os.tcgetpgrp(tty) != os.getpgrp():  # in the background: asking would stop us
            return ""
        before = termios.tcgetattr(tty)
        quiet = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
        try:
            termios.tcsetattr(tty, termios.TCSANOW, quiet)
            os.write(tty, terminal.QUESTION.encode("ascii"))
            answer = _answer(tty)
        finally:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(tty, termios.TCSANOW, before)
        if not terminal.answered(answer):
            termios.tcflush(tty, termios.TCIFLUSH)  # what is left of it would be typed into the shell
        return answer
    except (OSError, termios.error):
        return ""
    finally:
        os.close(tty)


def _answer(tty: int) -> str:
    import select

    from hdrcli import terminal

    text, end = "", time.monotonic() + _PATIENCE
    while not terminal.answered(text) and (left := end - time.monotonic()) > 0:
        if not select.select([tty], [], [], left)[0]:
            break
        text += os.read(tty, 1024).decode("ascii", "replace")
    return text


def _page(
    inputs: Sequence[Path],
    output: Path | None,
    say: Presenter,
    operator: str | None,
    parameters: dict[str, str],
    ev: float,
    side: int | None,
    *,
    beside: bool,
    overwrite: bool,
) -> ExitCode:
    from hdrcli.viewing import USUAL, operators, page

    started = time.perf_counter()
    target = _target(inputs, output, overwrite=overwrite)
    groups = _groups(inputs, beside=beside)
    # side by side one compares, which needs all exposed alike
    usual = "" if all(len(group) > 1 for group in groups) else USUAL
    if parameters and operator is None and not usual:
        raise UsageError("belongs to an operator, pictures side by side have none", where="-p", remedy="name it with -t")
    shown = page.Shown(usual if operator is None else operator, parameters, ev, side or page.SIDE)
    if shown.operator:
        operators.check(shown.operator, parameters)
    faults: list[ExitCode] = []
    rows = _rows(groups, shown, say, faults, beside=beside)
    first = next(rows, None)  # without one there is nothing to write a page of
    if first is None:
        return code_of_all(faults, len(inputs))
    name = printable(targets.Job(inputs[0], DASH).source_name)
    title = name if len(inputs) == 1 else f"{name} and {len(inputs) - 1} more"
    job = Job(inputs[0], target)
    with targets.writable(job, ".html") as path:
        page.write_page(path, title, chain([first], rows), shown, overwrite=overwrite)
        size = path.stat().st_size
    count = len(inputs) - len(faults)
    say.result(f"{title} -> {printable(job.output_name)}  {count} picture{'s' * (count != 1)}, {size / 1e6:.1f} MB")
    say.detail(f"{time.perf_counter() - started:.2f} s")
    return code_of_all(faults, len(inputs))


def _target(inputs: Sequence[Path], output: Path | None, *, overwrite: bool) -> Path:
    """Where the page goes; its name and place are checked."""
    from hdrcli import formats

    (job,) = targets.plan(inputs[:1], output, None, ".html")
    for source in inputs[1:]:  # nor may it be one of the others
        targets.plan([source], job.output, None, ".html")
    if job.output == DASH:
        return DASH
    if job.output.suffix.lower() not in (".html", ".htm"):
        raise UsageError("view writes pages", where=job.output, remedy="name it .html, or make a picture with hdrcli tonemap")
    formats.check_target(job.output, overwrite=overwrite)
    return job.output


def _groups(inputs: Sequence[Path], *, beside: bool) -> list[list[Path]]:
    """Inputs that stand side by side: those of one name but for the extension, in the order in which they come."""
    if beside:
        return [list(inputs)]
    groups: dict[str, list[Path]] = {}
    for source in inputs:
        groups.setdefault(source.stem, []).append(source)
    return list(groups.values())


def _rows(
    groups: Sequence[Sequence[Path]], shown: Shown, say: Presenter, faults: list[ExitCode], *, beside: bool
) -> Iterator[list[Exhibit]]:
    """What can be read, row by row; faults are told and kept."""
    for group in groups:
        row: list[Exhibit] = []
        for source in group:
            job = Job(source, DASH)
            try:
                exhibit = _exhibit(job, shown, row[0] if row else None, say, beside=beside)
            except Exception as error:
                faults.append(say.fault(error, job.source_name))
                continue
            if row and exhibit.size != row[0].size:
                yield [exhibit]  # one name, but another picture
            else:
                row.append(exhibit)
        if row:
            yield row


def _exhibit(job: Job, shown: Shown, first: Exhibit | None, say: Presenter, *, beside: bool) -> Exhibit:
    from hdrcli.viewing import page

    image = _read(job)
    for note in image.metadata.notes:
        say.warning(job.source_name, note)
    fits = first is not None and (beside or page.alike((image.height, image.width), first.whole))
    return page.exhibit(image, job.source_name, shown, beside=first if fits else None)
