"""One file, from reading to the record of it. Nothing here knows of other files, processes or machines."""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH100, PTH118
from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrcli import __version__, conversion, formats
from hdrcli.batch.manifest import DONE, FAILED, Manifest, Stamp, stamp
from hdrcli.batch.planning import Task
from hdrcli.batch.recipe import EXPAND, PREVIEW, Recipe
from hdrcli.batch.sizes import pixels_in
from hdrcli.batch.staging import commit, make_folder, named_as
from hdrcli.errors import HdrcliError, MissingInput, MissingRequirement, OutputError, OutputExists, UnreadableInput
from hdrcli.resizing import parse_size, resized

if TYPE_CHECKING:
    from hdrcli.image import Image

CURRENT, ELSEWHERE = "current", "elsewhere"
BYTES_PER_PIXEL = 40
"""What a conversion holds at once. Measured between 3 and 9 megapixels: 30 at most (16 bits to float, preview, confidence)."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Room = Callable[[int], None]  # waits until so many bytes may be used


@dataclass(frozen=True)
class Setup:
    """What holds for all files of a run.

    ``folder``: of outputs; ``staging``: of what is not whole yet; ``manifest``: its path; ``overwrite``: replace what is there.
    """

    folder: str
    staging: str
    manifest: str
    recipe: Recipe
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a file ended.

    ``what``: DONE, FAILED, CURRENT (it was done before, only its date had changed) or ELSEWHERE (another run is at it).
    ``record``: what the manifest says of it. ``trace``: the traceback of a bug. ``stop``: there is no use in going
    on: the disk is full or gone, or something has to be installed.
    """

    what: str
    source: str
    output: str
    record: Mapping[str, Any]
    trace: str | None = None
    stop: bool = False


def perform(task: Task, setup: Setup, manifest: Manifest, room: Room) -> Outcome:
    """Do a file, and put it on record. Its faults are in the Outcome; raises only for a manifest that can't be kept."""
    output = task.outputs[0]
    with manifest.claimed(output) as mine:
        if not mine:
            return Outcome(ELSEWHERE, task.source, output, {})
        started = time.perf_counter()
        record: dict[str, Any] = {"output": output, "input": os.path.abspath(task.source)}
        trace, stop = None, False
        try:
            source = _identified(task, record)
            if task.known is not None and record["input_sha256"] == task.known:
                record |= {"outcome": DONE, "recipe": setup.recipe.digest}
                record["files"] = dict(zip(task.outputs, task.seen, strict=True))
                manifest.append(_finished(record, started))
                return Outcome(CURRENT, task.source, output, record)
            if _already(task, setup, manifest, record):
                return Outcome(CURRENT, task.source, output, record)
            _convert(task, setup, manifest, record, room, started, source)
            return Outcome(DONE, task.source, output, record)
        except HdrcliError as error:
            if error.where is None:
                error.where = task.source
            fault, stop = str(error), _hopeless(error, setup)
        except (MemoryError, OSError) as error:
            fault = _system_fault(error, task.source)
        except Exception as error:
            fault = f"{task.source}: internal error: {type(error).__name__}: {error} (report it)"
            trace = "".join(traceback.format_exception(error))
        record = failure(task, setup, " ".join(fault.split()), record, started)
        if not stop:  # a disk that takes no pictures takes no lines
            manifest.append(record)
        return Outcome(FAILED, task.source, output, record, trace, stop)


def failure(
    task: Task, setup: Setup, fault: str, record: Mapping[str, Any] | None = None, started: float | None = None
) -> dict[str, Any]:
    """The record of a file that failed."""
    known = {k: v for k, v in (record or {}).items() if k.startswith("input")}
    named = {"output": task.outputs[0], "input": os.path.abspath(task.source), **known}
    return _finished({**named, "outcome": FAILED, "error": fault, "recipe": setup.recipe.digest}, started)


def _finished(record: dict[str, Any], started: float | None) -> dict[str, Any]:
    if started is not None:
        record["seconds"] = round(time.perf_counter() - started, 3)
    record |= {"time": datetime.now(UTC).isoformat(timespec="seconds"), "hdrcli": __version__, "host": socket.gethostname()}
    return record


def _identified(task: Task, record: dict[str, Any]) -> Stamp:
    """Puts the source's stamp and hash on record. Raises InputErrors."""
    formats.module_for_content(Path(task.source))  # what can't be read, or is none of ours, is named before a hash is made
    found = stamp(task.source)
    if found is None:
        raise MissingInput("no such file", where=task.source, remedy="check the name")
    with open(task.source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    record |= {"input_size": found[0], "input_mtime_ns": found[1], "input_sha256": digest}
    return found


def _already(task: Task, setup: Setup, manifest: Manifest, record: Mapping[str, Any]) -> bool:
    """Has it been made since it was planned, by another run or a process that died before it could tell?"""
    now = _stamps(task, setup)
    if now == task.seen:
        return False
    entry = manifest.entries().get(task.outputs[0])
    made = {} if entry is None else entry.files
    return (
        entry is not None
        and (entry.outcome, entry.recipe, entry.sha256) == (DONE, setup.recipe.digest, record["input_sha256"])
        and all(there is not None and there == made[output][0] for output, there in zip(task.outputs, now, strict=True))
    )


def _stamps(task: Task, setup: Setup) -> tuple[Stamp | None, ...]:
    return tuple(stamp(os.path.join(setup.folder, output)) for output in task.outputs)


def _convert(
    task: Task, setup: Setup, manifest: Manifest, record: dict[str, Any], room: Room, started: float, source: Stamp
) -> None:
    outputs = [os.path.join(setup.folder, output) for output in task.outputs]
    # what has come since this was planned is not ours to replace, unless the user said so
    now = _stamps(task, setup)
    allowed = [may and (setup.overwrite or n == s) for may, n, s in zip(task.replace, now, task.seen, strict=True)]
    for output, may_replace in zip(outputs, allowed, strict=True):
        make_folder(Path(setup.folder), output)
        formats.check_target(Path(output), overwrite=may_replace)
    room(BYTES_PER_PIXEL * pixels_in(task.source))
    image = formats.read(task.source)
    if stamp(task.source) != source:
        raise UnreadableInput("was written to while it was read", where=task.source, remedy="run again when it is complete")
    if setup.recipe.strip is not None:
        image = formats.strip(image, setup.recipe.strip)
    staged: list[Path] = []
    try:
        remarks = _made(image, setup, outputs, staged, record)
        stamps = [(found.stat().st_size, found.stat().st_mtime_ns) for found in staged]
        record |= {"notes": [*record.get("notes", ()), *remarks], "outcome": DONE, "recipe": setup.recipe.digest}
        record["files"] = dict(zip(task.outputs, stamps, strict=True))
        manifest.append(_finished(record, started))
        # the picture last: where it is, all is
        for whole, output, may_replace in reversed(list(zip(staged, outputs, allowed, strict=True))):
            commit(whole, output, replace=may_replace)
    finally:
        for path in staged:
            path.unlink(missing_ok=True)


def _made(image: Image, setup: Setup, outputs: list[str], staged: list[Path], record: dict[str, Any]) -> tuple[str, ...]:
    """Convert, and write every output under a temporary name, which is added to ``staged``. Returns remarks."""
    recipe = setup.recipe
    verb = recipe.direction(image)
    record |= {"done": verb, "width": image.width, "height": image.height}
    name = Path(setup.staging) / os.urandom(8).hex()
    if verb == EXPAND:
        conversion.check_photo(image)
        expansion = conversion.expand(image, recipe.expand)
        result, options = expansion.image, recipe.write_hdr
        if recipe.confidence:
            options = replace(options, layers={"confidence": expansion.confidence})
        record |= {"model": expansion.model, "ran_on": expansion.ran_on, "clipped": expansion.clipped}
        record["peak_stops"] = expansion.peak_stops
    else:
        if recipe.resize is not None:
            image = resized(image, *parse_size(recipe.resize, image.width, image.height))
        result, options = conversion.tonemap(image, recipe.tonemap), recipe.write_ldr
        record["operator"] = recipe.tonemap.operator
    record["notes"] = list(result.metadata.notes)
    remarks = _write(result, name.with_suffix(recipe.extension), outputs[0], options, staged)
    if len(outputs) > 1:
        if verb != EXPAND:
            raise OutputError("a preview is of a photo that is expanded", remedy="leave out --preview")
        from hdrcli.preview import compare

        picture = compare(expansion.source, expansion.image, ev=recipe.expand.ev)
        _write(picture, name.with_suffix(PREVIEW), outputs[1], formats.WriteOptions(), staged)
    return remarks


def _write(image: Image, path: Path, output: str, options: formats.WriteOptions, staged: list[Path]) -> tuple[str, ...]:
    staged.append(path)
    with named_as(output, path):
        return formats.write(image, path, options)


def _hopeless(error: HdrcliError, setup: Setup) -> bool:
    """Will all other files fail as this one did?"""
    if isinstance(error, MissingRequirement):
        return True
    if not isinstance(error, OutputError) or isinstance(error, OutputExists):
        return False
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in _FULL
    return full or not Path(setup.folder).is_dir() or not Path(setup.staging).is_dir()


def _system_fault(error: BaseException, source: str) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or source}: {error.strerror or error} (check the name, its rights and the free space)"
    return f"{source}: not enough memory (use a smaller --memory or -j, or a smaller picture)"
