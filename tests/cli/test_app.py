from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Cli, save, spawn

import hdrcli
from hdrcli.cli.app import main, program
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.errors import HdrcliError

HEAVY = ("torch", "onnxruntime", "cv2", "numpy", "rich.console", "PIL", "OpenEXR", "imageio")


def modules_after(*arguments: str) -> set[str]:
    """Modules in memory when the program has run, in a process of its own."""
    script = (
        "import sys, json; from hdrcli.cli.app import main; main(sys.argv[1:]); "
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["expand", "--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & set(HEAVY)


def test_expand_imports_no_torch(tiny_bundle: Path, photo: Path) -> None:
    loaded = modules_after("expand", str(photo), "--model", str(tiny_bundle))
    assert Path("photo.exr").is_file()
    assert "onnxruntime" in loaded
    assert not {"torch", "rich.console", "PIL", "imageio"} & loaded


def test_help(cli: Cli) -> None:
    ran = cli("--help")
    assert (ran.code, ran.err) == (0, "")
    for command in ("expand", "tonemap", "info", "doctor", "train", "models", "evaluate", "view"):
        assert command in ran.out
    assert "\x1b" not in ran.out


def test_help_of_commands_is_in_sections(cli: Cli) -> None:
    out = cli("expand", "-h").out
    assert out.index("Arguments:") < out.index("Files:") < out.index("Model:") < out.index("Light:") < out.index("General:")
    assert "{" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_no_command_shows_help_as_usage_error(cli: Cli, arguments: list[str]) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_version_and_module() -> None:
    done = spawn("--version")
    assert done.stdout.decode() == f"hdrcli {hdrcli.__version__}\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["expnd"], "'expand'"),
        (["expand"], "Missing argument 'IN...'"),
        (["expand", "a.jpg", "--overwrit"], "did you mean --overwrite?"),
        (["expand", "a.jpg", "--ev", "bright"], "'--ev': 'bright'"),
        (["expand", "a.jpg", "--depth", "double"], "'half', 'float'"),
        (["expand", "a.jpg", "--reconstruct", "some"], "'highlights', 'all'"),
        (["expand", "a.jpg", "--ev"], "requires an argument"),
        (["expand", "a.jpg", "-v", "-q"], "exclude each other"),
        (["tonemap"], "Missing argument 'IN...'"),
        (["models", "shwo"], "'show'"),
        (["train", "--out", "run", "--max-steps", "1"], "give --hdr with a folder"),
    ],
)
def test_usage_errors_are_one_line(cli: Cli, arguments: list[str], words: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out, len(ran.lines)) == (2, "", 1)
    assert ran.err.startswith("hdrcli: ")
    assert words in ran.err


def test_program_lets_errors_through() -> None:
    with pytest.raises(HdrcliError):
        program(["expand", "missing.jpg", "-o", "x.png"])


@pytest.mark.parametrize("arguments", [["--debug", "expand", "{}"], ["expand", "{}", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(cli: Cli, arguments: list[str]) -> None:
    ran = cli(*(a.format("missing.jpg") for a in arguments))
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert ran.lines[-1].startswith("hdrcli: missing.jpg: ")


def raiser(error: BaseException) -> object:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 1, "photo.png: not enough memory"),
        (ZeroDivisionError("by\nzero"), 1, "photo.png: internal error: ZeroDivisionError: by zero (run again with --debug"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_unforeseen_errors_are_one_line(
    cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.setattr("hdrcli.conversion.expand", raiser(error))
    ran = cli("expand", photo, "-m", "linear")
    assert (ran.code, len(ran.lines)) == (code, 1)
    assert ran.err.startswith(f"hdrcli: {words}")


def test_unforeseen_error_outside_of_any_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdrcli.inference.bundles.installed", raiser(OSError(5, "Input/output error", "disk")))
    ran = cli("models", "list")
    assert (ran.code, ran.err) == (1, "hdrcli: disk: Input/output error (check the name, its rights and the free space)\n")


def test_interrupt_while_writing_leaves_nothing(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdrcli.formats.exr.write", raiser(KeyboardInterrupt()))
    assert cli("expand", photo, "-m", "linear").code == 130
    assert not Path("photo.exr").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(number: int) -> None:
    # waits for standard input that never ends
    process = subprocess.Popen(
        [sys.executable, "-m", "hdrcli", "expand", "-", "-o", "x.exr", "-m", "linear"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    temporary = Path(os.environ["TMPDIR"])
    started = time.monotonic()
    # not just any file: Python tries its temporary folder with one of its own first
    while not list(temporary.glob("hdrcli-*")) and time.monotonic() - started < 30:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.decode()) == (130, "hdrcli: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_closed_stdout_is_no_drama(photo: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "hdrcli", "expand", str(photo), "-m", "linear", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_closed_streams_change_nothing(photo: Path, tiny_bundle: Path) -> None:
    line = f"exec {sys.executable} -m hdrcli expand photo.png -m {tiny_bundle} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], timeout=60, check=False).returncode == 0
    assert hdrcli.read("photo.exr").width == 64
    line = f"exec {sys.executable} -m hdrcli expand - -o x.exr -m linear <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard input: is empty" in done.stderr


def test_what_stdout_cannot_say_is_escaped(tiny_bundle: Path) -> None:
    shutil.copytree(tiny_bundle, "models/süß")
    done = spawn("models", "list", HDRCLI_MODELS="models", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert rb"s\xfc\xdf" in done.stdout


def test_exit_code_of_many() -> None:
    assert code_of_all([], 3) is ExitCode.OK
    assert code_of_all([ExitCode.USAGE], 3) is ExitCode.PARTLY
    assert code_of_all([ExitCode.USAGE], 1) is ExitCode.USAGE
    assert code_of_all([ExitCode.USAGE, ExitCode.FAILURE], 2) is ExitCode.FAILURE


def test_arguments_come_from_the_process_by_default(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["hdrcli", "--version"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main() == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfd.readouterr().out == f"hdrcli {hdrcli.__version__}\n"


def test_odd_file_names_stay_one_printable_line(cli: Cli) -> None:
    save("a.png").rename("line\nbreak \udcff.png")
    ran = cli("expand", "line\nbreak \udcff.png", "-m", "linear")
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert r"line\nbreak \udcff.png -> line\nbreak \udcff.exr" in ran.err
    assert "line\nbreak \udcff.exr" in {p.name for p in Path().iterdir()}
