"""Files to Images and back. One module a format; files are recognised by their first bytes, outputs by their name.

A format module has

* ``EXTENSIONS``: lower case, the first one is the usual one;
* ``matches(head: bytes) -> bool``: does a file that starts with these (at most 64) bytes look like this format?
* ``read(path) -> Image``: raises UnreadableInput or UnsupportedInput, never anything else for bad data;
* ``write(image, path, options) -> tuple[str, ...]``: writes the whole file under exactly this path (a temporary one),
  returns remarks for the user;
* ``HDR``: True if it holds scene-linear floats, False if it holds display-encoded codes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from hdrcli import registry
from hdrcli.errors import (
    HdrcliError,
    MissingInput,
    OutputExists,
    UnreadableInput,
    UnsupportedInput,
    UnwritableOutput,
    UsageError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.image import Image

HEAD_BYTES = 64
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may be told; each format takes what it knows and remarks on what it can't honour.

    ``depth``: None (the format's usual), "8", "16", "half" or "float". ``compression``: EXR only: none, zip, piz, dwaa,
    dwab. ``quality``: JPEG only, 1..100. ``header``: text entries for formats with a header. ``layers``: EXR only: extra
    channels by name, each ``(H, W) float32``.
    """

    depth: str | None = None
    compression: str | None = None
    quality: int = 95
    header: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    layers: Mapping[str, NDArray[np.float32]] = field(default_factory=lambda: MappingProxyType({}))


def names() -> tuple[str, ...]:
    """Names of the formats."""
    return registry.names(__name__)


def module_for_name(name: str) -> ModuleType:
    """The format module of that name. Raises UsageError for another."""
    return registry.load(__name__, name)


def module_for_output(path: Path, *, hdr: bool | None = None) -> ModuleType:
    """The format that a file name asks for by its extension. Raises UsageError if none does.

    With ``hdr`` the error advises only formats that hold HDR (True) or LDR (False).
    """
    suffix = path.suffix.lower()
    by_extension = {e: module for module in map(module_for_name, names()) for e in module.EXTENSIONS}
    if suffix not in by_extension:
        fault = f"unknown output type {suffix!r}" if suffix else "the output name has no extension"
        raise UsageError(
            fault,
            where=path,
            remedy=f"use one of {', '.join(sorted(e for e, m in by_extension.items() if hdr in (None, m.HDR)))}",
        )
    return by_extension[suffix]


def module_for_content(path: Path) -> ModuleType:
    """The format of an existing file by its first bytes. Raises InputErrors for what can't be opened or recognised."""
    try:
        if path.is_dir():
            raise UnreadableInput("is a directory, not an image", where=path, remedy="name the files in it")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise MissingInput("no such file", where=path, remedy="check the name") from None
    except OSError as error:
        raise UnreadableInput(
            f"can't be opened: {error.strerror or error}", where=path, remedy="check its permissions"
        ) from None
    if not head:
        raise UnreadableInput("is empty", where=path, remedy="copy it again from where it came")
    for name in names():
        module = module_for_name(name)
        if module.matches(head):
            return module
    remedy = f"hdrcli reads {', '.join(names())}"
    raise UnsupportedInput("is not an image of a known type", where=path, remedy=remedy)


def read(path: str | Path) -> Image:
    """An image file as an Image, recognised by content, EXIF orientation applied.

    Raises MissingInput, UnreadableInput or UnsupportedInput.
    """
    path = Path(path)
    module = module_for_content(path)
    image: Image = module.read(path)
    if path.suffix and path.suffix.lower() not in module.EXTENSIONS:
        name = module.__name__.rpartition(".")[2]
        image = image.with_notes(f"is named {path.suffix} but holds {name}; read as {name}")
    return image


def check_target(path: Path, *, overwrite: bool) -> None:
    """Find before any work what would keep a file from being written: raises OutputExists or UnwritableOutput."""
    # os.path instead of Path's methods: those raise for names that the file system can't hold
    if os.path.isdir(path):  # noqa: PTH112
        raise UnwritableOutput("is a directory", where=path, remedy="name a file, or use --out-dir")
    if not overwrite and os.path.lexists(path):
        raise OutputExists("exists already", where=path, remedy="use --overwrite to replace it")
    if not os.path.isdir(path.parent):  # noqa: PTH112
        if os.path.lexists(path.parent):
            raise UnwritableOutput("can't be written: its folder is a file", where=path, remedy="name another folder")
        raise UnwritableOutput("can't be written: its folder does not exist", where=path, remedy="make the folder first")
    if not os.access(path.parent, os.W_OK):
        raise UnwritableOutput("can't be written: no rights to its folder", where=path, remedy="name another folder")


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends without an error, or vanishes.

    Raises OutputExists, or UnwritableOutput for a missing folder, missing rights or a full disk.
    """
    check_target(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".hdrcli-", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        # mkstemp makes the file private; give it the rights that a plain open() would have
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if overwrite:
            temporary.replace(path)
        else:
            _rename_new(temporary, path)
        temporary = None
    except OSError as error:
        remedy = "make the folder first" if isinstance(error, FileNotFoundError) else "check rights and free space"
        raise UnwritableOutput(f"can't be written: {error.strerror or error}", where=path, remedy=remedy) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _rename_new(source: Path, target: Path) -> None:
    """Rename, but never over a file that has appeared meanwhile (a hard link fails where rename would replace)."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise OutputExists("has appeared meanwhile", where=target, remedy="use --overwrite to replace it") from None
    except OSError:  # a file system without hard links: accept the small window
        if os.path.lexists(target):
            raise OutputExists("has appeared meanwhile", where=target, remedy="use --overwrite to replace it") from None
        source.replace(target)
    else:
        source.unlink()


def write(
    image: Image, path: str | Path, options: WriteOptions | None = None, *, overwrite: bool = False, format: str | None = None
) -> tuple[str, ...]:
    """An Image to a file that appears under its name only when it is whole. Returns remarks for the user.

    The format is ``format``, or what the name's extension asks for. Raises UsageError, OutputError or MismatchError
    (display-encoded pixels into an HDR format, or the other way).
    """
    path = Path(path)
    module = module_for_name(format) if format else module_for_output(path)
    with whole_file(path, overwrite=overwrite) as temporary:
        try:
            remarks: tuple[str, ...] = module.write(image, temporary, options or WriteOptions())
        except HdrcliError as error:
            error.where = str(path)  # the user knows the file by its final name
            raise
    return remarks
