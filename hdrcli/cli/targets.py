"""Which file becomes which: names, clashes, standard input and output, decided before work starts."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hdrcli.cli.presentation import printable
from hdrcli.errors import HdrcliError, UnwritableOutput, UsageError

DASH = Path("-")


@dataclass(frozen=True)
class Job:
    """One input and what it becomes. ``output`` is DASH for standard output. ``preview``: a second file, beside the output.

    ``more``: outputs after the first, of an input that becomes several.
    """

    source: Path
    output: Path
    preview: Path | None = None
    more: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is written, standard output left out."""
        return tuple(path for path in (self.output, *self.more, self.preview) if path is not None and path != DASH)

    @property
    def source_name(self) -> str:
        """The input as the user knows it."""
        return "standard input" if self.source == DASH else str(self.source)

    @property
    def output_name(self) -> str:
        """The output as the user knows it."""
        return "standard output" if self.output == DASH else str(self.output)

    def __str__(self) -> str:
        made = (self.output_name, *self.more) if self.preview is None else (self.output_name, *self.more, self.preview)
        return f"{printable(self.source_name)} -> {', '.join(map(printable, made))}"

    def check(self, *, overwrite: bool) -> None:
        """Find cheaply what would fail: input missing or of no known type, output in the way or its folder unwritable."""
        from hdrcli import formats

        if not _is_stream(self.source):
            formats.module_for_content(self.source)
        for target in self.files:
            formats.check_target(target, overwrite=overwrite)


def plan(
    sources: Sequence[Path],
    output: Path | None,
    folder: Path | None,
    extension: str,
    *,
    preview: bool = False,
    parts: Sequence[str] = (),
) -> tuple[Job, ...]:
    """The jobs for these inputs: to ``output``, into ``folder``, or beside each input under ``extension``.

    ``parts``: what stands before the extension in the names of several outputs of one input: "photo.ev-2.png"; of one in the
    name that it has by default, "photo.sheet.png".
    Raises UsageError where names clash: an output that is an input, two inputs with one output.
    """
    if output is not None and folder is not None:
        raise UsageError("-o and --out-dir exclude each other", remedy="give one of them")
    if output is not None and len(sources) > 1:
        raise UsageError(f"-o takes one input, these are {len(sources)}", remedy="use --out-dir for several")
    if folder is not None and not folder.is_dir():
        fault = "is no folder" if os.path.lexists(folder) else "no such folder"
        raise UnwritableOutput(fault, where=folder, remedy="make it first, or name another with --out-dir")
    jobs = [_job(source, output, folder, extension, preview=preview, parts=parts) for source in sources]
    _refuse_clashes(jobs)
    return tuple(jobs)


def _job(source: Path, output: Path | None, folder: Path | None, extension: str, *, preview: bool, parts: Sequence[str]) -> Job:
    if output is None:
        if _is_stream(source):
            raise UsageError("has no name to make an output name from", where=source, remedy="name the output with -o")
        part = f".{parts[0]}" if len(parts) == 1 else ""
        output = (folder or source.parent) / f"{source.stem}{part}{extension}"
    if preview and output == DASH:
        raise UsageError("has no place beside standard output", where="--preview", remedy="name a file with -o")
    if output == DASH and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", where="-o -", remedy="send it into a file or a pipe")
    if len(parts) > 1:
        if output == DASH:
            raise UsageError(f"takes one picture, these are {len(parts)}", where="-o -", remedy="name a file with -o")
        first, *more = (output.with_name(f"{output.stem}.{part}{output.suffix}") for part in parts)
        return Job(source, first, more=tuple(more))
    return Job(source, output, output.with_name(f"{output.stem}.preview.png") if preview else None)


def extension_of(output: Path | None, format: str | None, *, kind: str, usual: str, types: Sequence[str]) -> str:
    """The extension that the outputs get: OUT's, or ``format``, or the ``usual`` one.

    ``kind``: "hdr" or "ldr", which OUT's type must hold. ``types``: what ``format`` may be, for remedies. Raises UsageError
    where OUT is a folder or has no extension or one that contradicts ``format``, and for standard output without a format.
    """
    from hdrcli import formats

    if output is None:
        return f".{format or usual}"
    if output == DASH:
        if format is None:
            raise UsageError("standard output has no extension", where="-o -", remedy=f"say --format {', '.join(types)}")
        return f".{format}"
    if not output.suffix and output.is_dir():
        raise UsageError("is a folder", where=output, remedy=f"say --out-dir {output}")
    wanted = formats.module_for_output(Path(f"x.{format}")) if format else None
    if wanted and not output.suffix:
        raise UsageError("the output name has no extension", where=output, remedy=f"name it {output.name}.{format}")
    module = formats.module_for_output(output, kind=kind)
    if wanted not in (None, module):
        raise UsageError(f"--format {format} says another type than the name", where=output, remedy="give one of them")
    return output.suffix.lower()


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    inputs = {_identity(job.source): job.source for job in jobs if job.source != DASH}
    makers: dict[object, Path] = {}
    sources: dict[object, Path] = {}
    for job in jobs:
        twin = sources.get(_identity(job.source))
        if twin is not None:
            fault = "is given twice" if twin == job.source else f"is the same file as {printable(twin)}"
            raise UsageError(fault, where=job.source, remedy="name it once")
        sources[_identity(job.source)] = job.source
        for target in job.files:
            identity = _identity(target)
            if identity in inputs:
                fault = "is the input itself" if inputs[identity] == job.source else "is one of the inputs"
                raise UsageError(f"{fault}, it would be lost", where=target, remedy="name another output with -o or --out-dir")
            if identity in makers:
                fault = f"would come from both {printable(makers[identity])} and {printable(job.source)}"
                raise UsageError(fault, where=target, remedy="convert one of them on its own, with -o")
            makers[identity] = job.source


def _identity(path: Path) -> object:
    """The same for two names of one file: by what is on the disk, else by the name that links lead to."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return os.path.normcase(os.path.realpath(path))
    return (found.st_dev, found.st_ino)


def _is_stream(path: Path) -> bool:
    """Standard input or a named pipe: can be read once, from beginning to end."""
    if path == DASH:
        return True
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def readable(job: Job) -> Iterator[Path]:
    """The input as a file that can be read more than once; standard input and pipes are spooled into a temporary one."""
    if not _is_stream(job.source):
        yield job.source
        return
    if job.source == DASH and sys.stdin.isatty():
        raise UsageError("standard input is a terminal", where="-", remedy="send a picture into it, or name a file")
    with tempfile.TemporaryDirectory(prefix="hdrcli-") as folder:
        spool = Path(folder) / "input"
        with spool.open("wb") as file:
            if job.source == DASH:
                shutil.copyfileobj(sys.stdin.buffer, file)
            else:
                with job.source.open("rb") as pipe:
                    shutil.copyfileobj(pipe, file)
        try:
            yield spool
        except HdrcliError as error:
            if error.where == str(spool):  # the user knows nothing of this file
                error.where = job.source_name
            raise


@contextmanager
def writable(job: Job, extension: str, index: int = 0) -> Iterator[Path]:
    """Where to write the output, or one after the first; what is meant for standard output goes there at the block's end.

    With an error nothing does.
    """
    if job.output != DASH:
        yield (job.output, *job.more)[index]
        return
    with tempfile.TemporaryDirectory(prefix="hdrcli-") as folder:
        spool = Path(folder) / f"output{extension}"
        try:
            yield spool
        except HdrcliError as error:
            if error.where == str(spool):
                error.where = job.output_name
            raise
        with spool.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


__all__ = ["DASH", "Job", "extension_of", "plan", "readable", "writable"]
