"""Where outputs are until they are whole: a folder of each run inside the output folder, so that a rename is enough.

A run that is killed leaves its folder; the next one sees that nobody holds its lock, and removes it.
"""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH116
from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from hdrcli.batch.manifest import Manifest
from hdrcli.errors import HdrcliError, OutputExists, UnwritableOutput

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FOLDER = ".hdrcli-batch"
_ALIVE = "alive"  # the file that its run holds a lock on


@contextmanager
def staging(outputs: Path, manifest: Manifest) -> Iterator[Path]:
    """A folder for what is not whole yet, gone when the block ends. Removes those of runs that were killed.

    Raises UnwritableOutput where none can be made.
    """
    parent = outputs / FOLDER
    try:
        with manifest.locked():  # else another run might take a folder that is just being made for a dead one's
            _remove_dead(parent)
            mine = parent / f"{os.getpid()}-{os.urandom(4).hex()}"
            mine.mkdir(parents=True)
            alive = os.open(mine / _ALIVE, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0))
            if fcntl is not None:
                fcntl.flock(alive, fcntl.LOCK_EX)
    except OSError as error:
        fault = f"can't be written: {error.strerror or error}"
        raise UnwritableOutput(fault, where=outputs, remedy="check rights and free space") from error
    try:
        yield mine
    finally:
        os.close(alive)
        with manifest.locked(), suppress(OSError):
            shutil.rmtree(mine, ignore_errors=True)
            parent.rmdir()  # fails while other runs work here


def _remove_dead(parent: Path) -> None:
    if fcntl is None or not parent.is_dir():
        return
    for folder in parent.iterdir():
        try:
            alive = os.open(folder / _ALIVE, os.O_WRONLY)
        except (FileNotFoundError, NotADirectoryError):  # killed while it was made, or removed
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(alive)
        shutil.rmtree(folder, ignore_errors=True)


def commit(staged: Path, output: str, *, replace: bool) -> None:
    """Give a whole file its name. ``replace``: also where there is one, whose permissions and links it takes over.

    Raises OutputExists, or UnwritableOutput for a folder that has vanished or that is on another disk.
    """
    try:
        target = os.path.realpath(output)
        if replace:
            with suppress(FileNotFoundError):
                staged.chmod(os.stat(target).st_mode & 0o777)
            staged.replace(target)
            return
        try:
            os.link(staged, target)
        except FileExistsError:
            raise OutputExists("has appeared meanwhile", where=output, remedy="use --overwrite to replace it") from None
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EXDEV, errno.ENOSPC, errno.EROFS):
                raise
            if os.path.lexists(target):  # a file system without hard links: accept the small window
                raise OutputExists("has appeared meanwhile", where=output, remedy="use --overwrite to replace it") from None
            staged.replace(target)
        else:
            staged.unlink()
    except OSError as error:
        fault = f"can't be written: {error.strerror or error}"
        remedy = "check rights and free space"
        if error.errno == errno.EXDEV:
            remedy = "folders below --out-dir must be on its disk"
        raise UnwritableOutput(fault, where=output, remedy=remedy) from error


def make_folder(outputs: Path, output: str) -> None:
    """The folder of an output, with those above it, but never the output folder itself: a disk that has gone stays gone.

    Raises UnwritableOutput.
    """
    folder = Path(output).parent
    try:
        if not outputs.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the output folder has vanished")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"can't be written: {error.strerror or error}"
        raise UnwritableOutput(fault, where=output, remedy="check rights and free space") from error


@contextmanager
def named_as(output: str, staged: Path) -> Iterator[None]:
    """What is said of the temporary file is said of the output: the user knows nothing of the other."""
    try:
        yield
    except HdrcliError as error:
        if error.where == str(staged):
            error.where = output
        raise


__all__ = ["FOLDER", "commit", "make_folder", "named_as", "staging"]
