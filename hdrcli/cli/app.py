"""The program: its commands, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hdrcli import __version__
from hdrcli.cli import batch, data, doctor, evaluate, expand, info, models, tonemap, train, view
from hdrcli.cli.exits import ExitCode, code_of
from hdrcli.cli.options import Debug, Invocation
from hdrcli.cli.presentation import GENERAL, PROGRAM, Command, Group, complaint, printable
from hdrcli.errors import UsageError

# typer brings its own copy of click since 0.26, so the class is reached through the part of it that typer exports
_ArgumentFault: type[Any] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name=PROGRAM,
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("expand", cls=Command, short_help="Photos to HDR (LDR -> HDR).", epilog=expand.EXAMPLES)(expand.expand)
app.command("tonemap", cls=Command, short_help="HDR files to pictures for any screen (HDR -> LDR).", epilog=tonemap.EXAMPLES)(
    tonemap.tonemap
)
app.command("batch", cls=Command, short_help="Many files, resumable.", epilog=batch.EXAMPLES)(batch.batch)
app.command("info", cls=Command, short_help="What is in a picture, and what clipped.", epilog=info.EXAMPLES)(info.info)
app.command("view", cls=Command, short_help="Show pictures in the terminal, or on a page.", epilog=view.EXAMPLES)(view.view)
app.command("train", cls=Command, short_help="Train generators on photos and HDR scenes.", epilog=train.EXAMPLES)(train.train)
app.command("evaluate", cls=Command, short_help="Scores of predictions against references.", epilog=evaluate.EXAMPLES)(
    evaluate.evaluate
)
app.command("doctor", cls=Command, short_help="Try everything that hdrcli needs.", epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(data.app, name="data", cls=Group, short_help="Check, align and make training data.")
app.add_typer(models.app, name="models", cls=Group, short_help="List, show, verify and export models.")


def _show_version(value: bool) -> None:
    if value:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True, rich_help_panel=GENERAL),
    ] = False,
    debug: Debug = False,
) -> int:
    """Gives photographs their light back: LDR to HDR, and the way back."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.OK


def program(arguments: Sequence[str], invocation: Invocation | None = None) -> int:
    """Run the command that the arguments (without the program's name) ask for. Errors come out as exceptions."""
    command = typer.main.get_command(app)
    try:
        with command.make_context(PROGRAM, list(arguments), obj=invocation or Invocation()) as context:
            return int(command.invoke(context) or ExitCode.OK)
    except typer.Exit as stop:
        return stop.exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and turn every error into one line on stderr and an exit code, which is returned."""
    invocation = Invocation()
    if arguments is None:
        arguments = sys.argv[1:]
        _prepare_streams()
        _let_terminate_interrupt()
    try:
        code = program(arguments, invocation)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _abandon_stdout()
        return ExitCode.FAILURE
    except _ArgumentFault as fault:
        print(complaint(_as_usage_error(fault)), file=sys.stderr)
        return ExitCode.USAGE
    except (Exception, KeyboardInterrupt) as error:
        print(complaint(error, debug=invocation.debug), file=sys.stderr)
        return code_of(error)


def _as_usage_error(fault: Any) -> UsageError:
    """typer's words about an argument as one of our own errors."""
    likely = getattr(fault, "possibilities", None)
    words = fault.message if likely else fault.format_message()
    path = fault.ctx.command_path if fault.ctx is not None else PROGRAM
    question = f"did you mean {' or '.join(likely)}? " if likely else ""
    return UsageError(printable(" ".join(words.split())).rstrip("."), remedy=f"{question}see {path} --help")


def _prepare_streams() -> None:
    """Streams that the shell has closed go to nowhere; what stdout's encoding lacks is escaped, as on stderr."""
    # in this order: opening takes the lowest free descriptor, so no file of ours becomes the C libraries' stderr
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_terminate_interrupt() -> None:
    """SIGTERM and a closed terminal end the program as Ctrl-C does: temporary files go, a run writes its checkpoint."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(hangup, interrupt)


def _abandon_stdout() -> None:
    """Whoever read our stdout has gone; without this, Python would complain of it once more when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
