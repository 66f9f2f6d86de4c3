"""Reads spoiled files, one after the other, in a process of its own that may crash, hang or run out of memory.

    python tests/fuzz/worker.py png 1234             that one file
    python tests/fuzz/worker.py png 0 10000          all of them; what is wrong is said in lines of JSON
    python tests/fuzz/worker.py readers 0 300        all formats in turn
    python tests/fuzz/worker.py command 0 300        the same through whole commands of the program
    ... --folder DIR                                 lines and spoiled files go into DIR, and the number in work

Sound outcomes of a reader are an Image of finite numbers and an InputError that is one line; nothing may reach stdout or
stderr. Sound outcomes of a command are those that the README documents: exit code, one line per fault, nothing left over.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from corpus import all_formats, corpus
from mutations import mutated

from hdrcli import formats
from hdrcli.errors import InputError
from hdrcli.image import Image

MEMORY = 1536 << 20  # bytes of addresses beyond what the process has when it begins
# A lossless WebP of one colour takes no bits, a GIF's canvas no bytes: small files that are large pictures rightly.
MAY_BE_HUGE = ("webp", "gif")
SECONDS = 30.0  # for one file of a few KB; far more than one needs, as the machine may be busy


class Fault(Exception):
    """What went wrong with a file, in words."""


def reader_case(format: str, data: bytes) -> Callable[[Path], None]:
    """Read the file, judge the outcome."""

    def run(folder: Path) -> None:
        path = folder / "case"
        path.write_bytes(data)
        try:
            image = formats.module_for_name(format).read(path)
        except InputError as error:
            line = str(error)
            if not line.startswith(f"{path}: ") or not line.isprintable() or len(line) > 600:
                raise Fault(f"not one line that names the file: {line!r}") from None
        except MemoryError:
            if format not in MAY_BE_HUGE:
                raise
        else:
            judge(image, huge=format in MAY_BE_HUGE)

    return run


def judge(image: Image, *, huge: bool = False) -> None:
    """Raises Fault for what no reader may return."""
    if image.pixels.dtype.kind == "f" and not np.isfinite(image.pixels).all():
        raise Fault("pixels are not finite")
    if image.pixels.size > 3e8 and not huge:
        raise Fault(f"{image.pixels.shape} from a small file")
    alpha = image.metadata.alpha
    if alpha is not None and not (alpha.dtype == np.float32 and alpha.min() >= 0 and alpha.max() <= 1):
        raise Fault("alpha is not float32 in 0..1")
    white = image.white_luminance
    if white is not None and not 0 < white < np.inf:
        raise Fault(f"white luminance {white}")
    for text in image.metadata.notes:
        if "\n" in text or not text.strip():
            raise Fault(f"a note is not one line: {text!r}")


def command_case(number: int, data: bytes) -> Callable[[Path], None]:
    """The same through ``hdrcli expand``, ``tonemap`` or ``info``."""
    source = f"in{formats.module_for_name(format_of('command', number)).EXTENSIONS[0]}"

    def run(folder: Path) -> None:
        from hdrcli.cli import app

        Path(source).write_bytes(data)
        verb, output = COMMANDS[number // len(all_formats()) % len(COMMANDS)]
        arguments = [verb, source, *(["-m", "linear"] if verb == "expand" else []), *(["-o", output] if output else [])]
        code = app.main(arguments)
        sys.stderr.flush()
        said = drained(2).splitlines()
        printed = drained(1)
        found = {p.name for p in Path().iterdir()} - {source}
        faults = [line for line in said if not line.startswith(("hdrcli: warning: ", f"{source} -> "))]
        if code not in (0, 1) or any("internal error" in line or "Traceback" in line for line in said):
            raise Fault(f"{arguments} ended with {code}: {said}")
        if code == 1 and (len(said) != 1 or not said[0].startswith("hdrcli: ") or printed or found):
            raise Fault(f"{arguments} failed with {said}, stdout {printed!r}, left {found}")
        if code == 0 and (faults or found != ({output} if output else set()) or bool(printed) != (verb == "info")):
            raise Fault(f"{arguments} succeeded with {said}, stdout {printed!r}, left {found}")
        if output and code == 0:
            judge(formats.read(output))

    return run


MIXED = ("readers", "command")
COMMANDS = (("expand", "out.exr"), ("tonemap", "out.png"), ("info", ""))


def drained(descriptor: int) -> str:
    """What has been written to stdout or stderr, which are files here, since it was last asked for."""
    text = os.pread(descriptor, 1 << 20, 0).decode("utf-8", "replace")
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return text


@contextmanager
def streams_into_files() -> Iterator[None]:
    """Descriptors 1 and 2 are files while the block runs, so that C libraries' words are found too."""
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield
        finally:
            for descriptor in (1, 2):
                os.dup2(saved[descriptor - 1], descriptor)


def outcome(case: Callable[[Path], None]) -> str | None:
    """What is wrong with how a case ended; None where all is well."""
    problem = None
    with tempfile.TemporaryDirectory() as name:
        before = Path.cwd()
        os.chdir(name)
        try:
            case(Path(name))
        except Fault as fault:
            problem = str(fault)
        except BaseException as error:  # a reader may raise anything: that is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            problem = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
        finally:
            os.chdir(before)
    sys.stdout.flush()
    sys.stderr.flush()
    said = drained(1) + drained(2)
    return problem or (f"said to the terminal: {said[:500]!r}" if said else None)


def limit_memory(room: int = MEMORY) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", help="a format, 'readers' or 'command'")
    parser.add_argument("first", type=int)
    parser.add_argument("end", type=int, nargs="?")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    what, folder = arguments.what, arguments.folder
    end = arguments.first + 1 if arguments.end is None else arguments.end
    terminal = os.fdopen(os.dup(2), "w")
    report = (folder / f"{what}.report").open("a", encoding="utf-8", buffering=1) if folder else terminal
    with streams_into_files():
        for problem in warm_up(all_formats() if what in MIXED else (what,)):
            report.write(json.dumps({"what": what, "number": -1, "problem": problem}) + "\n")
        limit_memory()
        for number in range(arguments.first, end):
            format = format_of(what, number)
            data = mutated(format, corpus(format), number)
            if folder:
                # here before it is read, as reading it may be the end
                (folder / f"{what}.in-work").write_bytes(data)
                (folder / f"{what}.progress").write_text(str(number), encoding="ascii")
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=terminal)
            problem = outcome(command_case(number, data) if what == "command" else reader_case(format, data))
            if problem:
                report.write(json.dumps({"what": what, "number": number, "problem": problem}) + "\n")
                if folder:
                    (folder / f"{what}-{number}.bin").write_bytes(data)
        faulthandler.cancel_dump_traceback_later()
    return 0


def format_of(what: str, number: int) -> str:
    names = all_formats()
    return names[number % len(names)] if what in MIXED else what


def warm_up(names: tuple[str, ...]) -> list[str]:
    """Read all samples, so that everything that readers load is loaded, and the limit of memory counts what files cost.

    Returns what is wrong: each sample must be read, or be of a kind that is refused by name, without a word to the terminal.
    """
    found = ((format, name, outcome(reader_case(format, data))) for format in names for name, data in corpus(format).items())
    return [f"sample {name!r} of {format}: {problem}" for format, name, problem in found if problem]


if __name__ == "__main__":
    sys.exit(main())
