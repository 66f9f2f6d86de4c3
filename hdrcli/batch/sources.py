"""Files, folders, globs and lists to files, each with its place in the tree that outputs keep."""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH100, PTH112, PTH113, PTH114, PTH117, PTH118, PTH119, PTH120, PTH122, PTH207
from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hdrcli.errors import MissingInput, UnreadableInput, UsageError

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and its place below the output folder: a relative path without ``..``, its own extension included.

    Text, not Path: ten thousand of them take a third of the memory. Names that are no UTF-8 keep their bytes as surrogates.
    """

    path: str
    place: str


def find(
    arguments: Iterable[str],
    *,
    takes: Collection[str],
    recursive: bool = False,
    base: str | None = None,
    skip: str | None = None,
    empty: bool = False,
) -> Iterator[Source]:
    """The files that arguments stand for, in order, none twice.

    * a file, there or not (what is wrong with it is told when it is its turn): its name alone is its place;
    * a folder: the pictures in it, by the extensions in ``takes``, sorted; with ``recursive`` those below too, the tree kept.
      Hidden files and folders are left out; links to folders are not followed, so no circle is walked;
    * a glob (quoted, so that the shell leaves it alone; ``**`` for any depth), where no file has this very name: the tree below
      the part before the first ``*`` is kept.

    ``base``: a folder below which every path keeps its place, whatever it came from. ``skip``: a folder that is not walked into
    (the outputs, where they lie among the sources). ``empty``: folders may be. Raises MissingInput for a glob without a match,
    UnreadableInput for a folder that can't be listed, and UsageError for a folder without a picture.
    """
    seen: set[str] = set()
    for argument in arguments:
        for found in _of_argument(argument, takes, recursive, skip, empty):
            place = found.place if base is None else _below(found.path, base) or os.path.basename(found.path)
            source = Source(found.path, place)
            path = os.path.abspath(source.path)
            if path not in seen:
                seen.add(path)
                yield source


def listed(names: Iterable[str], *, base: str | None = None) -> Iterator[Source]:
    """The files of a list, none twice: those below ``base`` (the current folder) keep their place, others their name alone."""
    seen: set[str] = set()
    for name in names:
        path = os.path.abspath(name)
        if path not in seen:
            seen.add(path)
            yield Source(name, _below(name, base or os.curdir) or os.path.basename(name))


def read_list(stream: BinaryIO, *, zeros: bool) -> Iterator[str]:
    """File names from a list: one a line, or, with ``zeros``, ended by null characters, so that they may hold anything.

    Raises UsageError for null characters in lines: it is the other kind of list.
    """
    end = b"\0" if zeros else b"\n"
    rest = b""
    while part := stream.read(1 << 16):
        *names, rest = (rest + part).split(end)
        for name in names:
            yield from _name(name, zeros)
    yield from _name(rest, zeros)


def _name(raw: bytes, zeros: bool) -> Iterator[str]:
    if not zeros:
        raw = raw.removesuffix(b"\r")
        if b"\0" in raw:
            raise UsageError("holds null characters", where="--files-from", remedy="add -0, as after find -print0")
    if raw:
        yield os.fsdecode(raw)


def _of_argument(argument: str, takes: Collection[str], recursive: bool, skip: str | None, empty: bool) -> Iterator[Source]:
    if os.path.isdir(argument):
        yield from _of_folder(argument, takes, recursive, skip, empty)
    elif not _MAGIC.isdisjoint(argument) and not os.path.lexists(argument):
        yield from _of_glob(argument, takes, recursive, skip, empty)
    else:
        yield Source(argument, os.path.basename(argument))


def _of_glob(pattern: str, takes: Collection[str], recursive: bool, skip: str | None, empty: bool) -> Iterator[Source]:
    root = pattern
    while not _MAGIC.isdisjoint(root):
        root = os.path.dirname(root)
    found = False
    inside = None if skip is None else os.path.realpath(skip) + os.sep
    for path in sorted(glob.iglob(pattern, recursive=True)):
        if inside is not None and os.path.realpath(path).startswith(inside):
            continue
        if os.path.isdir(path):
            if "**" in pattern:  # gives the folders on the way as well
                continue
            for source in _of_folder(path, takes, recursive, skip, empty):
                found = True
                yield Source(source.path, _below(source.path, root or os.curdir) or source.place)
        else:
            found = True
            yield Source(path, _below(path, root or os.curdir) or os.path.basename(path))
    if not found and not empty:
        raise MissingInput("no file matches", where=pattern, remedy="check the pattern; ** reaches any depth")


def _of_folder(folder: str, takes: Collection[str], recursive: bool, skip: str | None, empty: bool) -> Iterator[Source]:
    def fail(error: OSError) -> None:
        fault = f"can't be listed: {error.strerror or error}"
        raise UnreadableInput(fault, where=error.filename, remedy="check its permissions") from None

    avoided = None if skip is None else os.path.realpath(skip)
    found = False
    for here, folders, names in os.walk(folder, onerror=fail):
        kept = sorted(f for f in folders if not f.startswith(".")) if recursive else []
        folders[:] = [f for f in kept if avoided is None or os.path.realpath(os.path.join(here, f)) != avoided]
        for name in sorted(names):
            path = os.path.join(here, name)
            # a link that leads nowhere, or in a circle, is named when its turn comes; what is no file would wait for ever
            wanted = not name.startswith(".") and os.path.splitext(name)[1].lower() in takes
            if wanted and (os.path.isfile(path) or os.path.islink(path)):
                found = True
                yield Source(path, os.path.relpath(path, folder))
    if not found and not empty:
        below = "" if recursive else "; --recursive looks in the folders below as well"
        remedy = f"looked for {', '.join(sorted(takes))}{below}"
        raise UsageError("no picture to convert is in this folder", where=folder, remedy=remedy)


def _below(path: str, base: str) -> str | None:
    """``path`` relative to ``base``; None if it is not below it."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(base))
    return None if relative == os.pardir or relative.startswith(os.pardir + os.sep) or os.path.isabs(relative) else relative


def list_of(path: Path) -> BinaryIO:
    """A list as a stream of bytes. Raises MissingInput or UnreadableInput."""
    try:
        return path.open("rb")
    except (FileNotFoundError, ValueError):
        raise MissingInput("no such file", where=path, remedy="check the name") from None
    except OSError as error:
        raise UnreadableInput(f"can't be opened: {error.strerror}", where=path, remedy="check its permissions") from None


__all__ = ["Source", "find", "list_of", "listed", "read_list"]
