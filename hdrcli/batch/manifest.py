"""What was made from what: a file of JSON lines that only grows, and the locks that keep two runs from one output.

A line is written when an output is whole under a temporary name, just before it gets its own: whoever is killed in between
leaves a line whose output is missing, which is made again. So no output is without its line, and one line a file is enough.

Lines and locks are safe between processes and, where the file system passes POSIX locks on (NFS does), between machines.
Windows has no such locks: there runs that share a folder need ``--shard``.
"""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH116
from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hdrcli.errors import UnreadableInput, UnwritableOutput

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "hdrcli-batch.jsonl"
DONE, FAILED = "done", "failed"
_APPENDING = 0  # the byte that is locked while a line is appended; claims lock bytes above it, far beyond the file's end
_PART = 1 << 20
_SYSTEM_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

Stamp = tuple[int, int]  # of a file: its size, and when it was written, in nanoseconds


def stamp(path: str) -> Stamp | None:
    """A file's stamp; None where there is none that can be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest says last of an output.

    ``outcome``: DONE or FAILED. ``input``, ``stamp``, ``sha256``: what it came from. ``recipe``: the digest. ``files``: stamps
    of all that was ever made under these names, the latest first. Not only the latest: who was killed between a line and its
    rename has left the file of the line before.
    """

    outcome: str
    input: str
    stamp: Stamp | None
    sha256: str | None
    recipe: str
    files: Mapping[str, tuple[Stamp, ...]]


class Manifest:
    """The manifest at a path, open for this process. One object a process and file: its locks are the process's."""

    def __init__(self, path: Path) -> None:
        """Raises UnwritableOutput where it can't be opened or made."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _SYSTEM_FLAGS, 0o666)
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None

    def close(self) -> None:
        """Let go of the file, and of all locks on it."""
        os.close(self._file)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line, whole or not at all. Raises UnwritableOutput, for a full disk too."""
        # ASCII: file names that are no UTF-8 stay what they are, as escaped surrogates
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        with self.locked():
            try:
                size = os.fstat(self._file).st_size
                if size and self._read(1, size - 1) != b"\n":
                    line = b"\n" + line  # whoever wrote the line before was killed in the midst of it
                if os.write(self._file, line) != len(line):
                    os.ftruncate(self._file, size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise _unwritable(self.path, error) from error

    def entries(self) -> dict[str, Entry]:
        """What it says last of each output, by name. Raises UnreadableInput for a file that is no manifest.

        Lines that a kill cut off are passed over: what they would have told is made again.
        """
        found: dict[str, Entry] = {}
        strange = 0
        for line in self._lines():
            try:
                record = json.loads(line)
                name = record["output"]
                found[name] = _entry(record, found.get(name))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                strange += 1
        if strange and not found:
            fault = "is no manifest of hdrcli batch"
            raise UnreadableInput(fault, where=self.path, remedy="name another with --manifest, or remove it")
        return found

    def _lines(self) -> Iterator[bytes]:
        place, rest = 0, b""
        while part := self._read(_PART, place):
            place += len(part)
            *lines, rest = (rest + part).split(b"\n")
            yield from (line for line in lines if line)
        if rest:
            yield rest

    def _read(self, count: int, place: int) -> bytes:
        os.lseek(self._file, place, os.SEEK_SET)  # what is written goes to the end all the same
        return os.read(self._file, count)

    @contextmanager
    def claimed(self, output: str) -> Iterator[bool]:
        """Gives True if nobody else has claimed this output; while the block lasts nobody else can, not even after kill -9."""
        place = 1 + int.from_bytes(hashlib.blake2b(os.fsencode(output), digest_size=7).digest())
        mine = self._lock(place, wait=False)
        try:
            yield mine
        finally:
            if mine:
                self._unlock(place)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time is in such a block of this manifest."""
        self._lock(_APPENDING, wait=True)
        try:
            yield
        finally:
            self._unlock(_APPENDING)

    def _lock(self, place: int, *, wait: bool) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            fault = f"can't be locked: {error.strerror}"
            raise UnwritableOutput(fault, where=self.path, remedy="put it on another file system with --manifest") from error
        return True

    def _unlock(self, place: int) -> None:
        if fcntl is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)


def _entry(record: Mapping[str, Any], before: Entry | None) -> Entry:
    outcome = record["outcome"]
    if outcome not in (DONE, FAILED):
        raise ValueError(outcome)
    size, written = record.get("input_size"), record.get("input_mtime_ns")
    source = None if size is None or written is None else (int(size), int(written))
    files = {} if before is None else dict(before.files)
    if outcome == DONE:
        for name, (size, written) in record["files"].items():
            made = (int(size), int(written))
            files[str(name)] = (made, *(older for older in files.get(str(name), ()) if older != made))
    return Entry(outcome, str(record["input"]), source, record.get("input_sha256"), str(record["recipe"]), files)


def _unwritable(path: Path, error: Exception) -> UnwritableOutput:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return UnwritableOutput(f"can't be written: {text}", where=path, remedy="check rights and free space")


__all__ = ["DONE", "FAILED", "NAME", "Entry", "Manifest", "Stamp", "stamp"]
