"""Files to Images and back. One module a format; files are recognised by their first bytes, outputs by their name.

A format module has

* ``EXTENSIONS``: lower case, the first one is the usual one;
* ``matches(head: bytes) -> bool``: does a file that starts with these (at most 64) bytes look like this format?
* ``read(path) -> Image``: raises UnreadableInput or UnsupportedInput, never anything else for bad data;
* ``write(image, path, options) -> tuple[str, ...]``: writes the whole file under exactly this path (a temporary one),
  returns remarks for the user; a format that is only read has none;
* ``HOLDS``: what it holds, of "hdr" (scene-linear floats) and "ldr" (display-encoded codes).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
_MAX_LINKS = 40  # as many as Linux follows
_MAX_SUFFIX = 16
# What photographers have besides, by their first bytes, so that the error can name it
_FOREIGN = {
    "HEIC": rb"....ftyp(?:heic|heix|heim|heis|hevc|mif1|msf1)",
    "AVIF": rb"....ftyp(?:avif|avis)",
    "a raw photo (CR3)": rb"....ftypcrx ",
    "a raw photo (RAF)": rb"FUJIFILMCCD-RAW",
    "a raw photo (ORF)": rb"II(?:RO|RS)|MMOR",
    "a raw photo (RW2)": rb"IIU\0",
    "a video": rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XR": rb"II\xbc",
    "a Photoshop document": rb"8BPS",
    "a PDF": rb"%PDF",
}
_PLACE = re.compile("gps|latitude|longitude|altitude|location|position", re.IGNORECASE)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may be told; each format takes what it knows and remarks on what it can't honour.

    ``depth``: None (the format's usual), "8", "16", "half" or "float". ``compression``: EXR: none, zip, piz, dwaa, dwab;
    TIFF: none, zip. ``quality``: JPEG only, 1..100. ``header``: text entries for formats with a header. ``layers``: EXR
    only: extra channels by name, each ``(H, W) float32``.
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


def written(kind: str | None = None) -> dict[str, ModuleType]:
    """The formats that are written, by extension; with ``kind`` only those that hold "hdr" or "ldr"."""
    modules = [m for m in map(module_for_name, names()) if hasattr(m, "write") and (kind is None or kind in m.HOLDS)]
    return {extension: module for module in modules for extension in module.EXTENSIONS}


def module_for_output(path: Path, *, kind: str | None = None) -> ModuleType:
    """The format that a file name asks for by its extension. Raises UsageError if none does.

    With ``kind`` ("hdr" or "ldr") only formats that hold such pixels will do.
    """
    suffix = path.suffix.lower()
    by_extension = written(kind)
    if suffix in by_extension:
        return by_extension[suffix]
    if not suffix:
        fault = "the output name has no extension"
    elif suffix in written():
        fault = f"{suffix} can't hold {'HDR' if kind == 'hdr' else 'LDR'}"
    else:
        fault = f"unknown output type {suffix!r}"
    other = {"hdr": "; hdrcli tonemap makes LDR files", "ldr": "; hdrcli expand makes HDR files"} if suffix in written() else {}
    raise UsageError(fault, where=path, remedy=f"use one of {', '.join(sorted(by_extension))}{other.get(kind or '', '')}")


def module_for_content(path: Path) -> ModuleType:
    """The format of an existing file by its first bytes. Raises InputErrors for what can't be opened or recognised."""
    try:
        if path.is_dir():
            raise UnreadableInput("is a directory, not an image", where=path, remedy="name the files in it")
        if kind := _special_kind(path):  # could be read once only, or without end
            raise UnreadableInput(f"is a {kind}, not a file", where=path, remedy="copy what it gives into a file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (FileNotFoundError, ValueError):  # ValueError: a name with a null character, which no file can have
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
    foreign = next((name for name, mark in _FOREIGN.items() if re.match(mark, head, re.DOTALL)), None)
    if foreign is not None:
        raise UnsupportedInput(
            f"is {foreign}, which hdrcli does not read", where=path, remedy="export it as JPEG or 16-bit TIFF"
        )
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


def strip(image: Image, what: str) -> Image:
    """The image without where it was taken ("gps"), or without all that came with it ("all": EXIF, XMP, header entries).

    What the numbers mean (transfer, primaries, white luminance) stays. Raises UsageError for another word.
    """
    from dataclasses import replace

    from hdrcli.formats import _exif

    kept = image.metadata
    if what == "all":
        return replace(image, metadata=replace(kept, exif=None, xmp=None, header=_NOTHING))
    if what != "gps":
        raise UsageError(f"no part {what!r} to strip", where="--strip", remedy="there are: gps, all")
    # XMP may repeat the place under names of anybody's making
    exif = None if kept.exif is None else _exif.without_gps(kept.exif) or None
    header = {k: v for k, v in kept.header.items() if not _PLACE.search(k)}
    return replace(image, metadata=replace(kept, exif=exif, xmp=None, header=MappingProxyType(header)))


def check_target(path: Path, *, overwrite: bool) -> None:
    """Find before any work what would keep a file from being written: raises OutputExists or UnwritableOutput."""
    if "\0" in str(path):
        raise UnwritableOutput("no file can have such a name", where=path, remedy="name another file")
    target = _behind_links(path)
    # os.path instead of Path's methods: those raise for names that the file system can't hold
    if os.path.isdir(target):  # noqa: PTH112
        raise UnwritableOutput("is a directory", where=path, remedy="name a file, or use --out-dir")
    if kind := _special_kind(target):
        # a rename would put a plain file in its place, /dev/null's even
        raise UnwritableOutput(f"is a {kind}, not a file", where=path, remedy="name a file")
    if not overwrite and os.path.lexists(target):
        raise OutputExists("exists already", where=path, remedy="use --overwrite to replace it")
    folder = target.parent
    if not os.path.isdir(folder):  # noqa: PTH112
        if os.path.exists(folder):  # noqa: PTH110
            raise UnwritableOutput("can't be written: its folder is a file", where=path, remedy="name another folder")
        what = "the link leads to a folder that" if target != path else "its folder"
        raise UnwritableOutput(f"can't be written: {what} does not exist", where=path, remedy="make the folder first")
    if not os.access(folder, os.W_OK):
        raise UnwritableOutput("can't be written: no rights to its folder", where=path, remedy="name another folder")


def _behind_links(path: Path) -> Path:
    """What a symbolic link leads to in the end, there or not; any other path as it is. Raises UnwritableOutput for a circle."""
    target = path
    for _ in range(_MAX_LINKS):
        if not os.path.islink(target):  # noqa: PTH114
            return target
        target = target.parent / target.readlink()
    raise UnwritableOutput("is a symbolic link that leads in a circle", where=path, remedy="remove the link")


def _special_kind(path: Path) -> str | None:
    """What a path is that has no beginning, end and size as files have; None for files, folders and what is not there."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    kinds = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
    return next((kind for test, kind in kinds if test(mode)), None)


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` when the block ends without an error, or vanishes.

    A symbolic link stays: what it leads to is written. A replaced file hands down its permissions. Raises OutputExists, or
    UnwritableOutput for a missing folder, missing rights, a full disk, or what is no file (a pipe, a device).
    """
    check_target(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        target = _behind_links(path)
        try:
            mode: int | None = target.stat().st_mode & 0o777
        except FileNotFoundError:
            mode = None
        # Not tempfile.mkstemp: its files are for the user alone, and the umask can't be asked for without changing it.
        while temporary is None:
            # short, whatever the length of the final name: that may be as long as the file system allows
            temporary = target.with_name(f".hdrcli-{os.urandom(6).hex()}{target.suffix[:_MAX_SUFFIX]}")
            try:
                os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else 0o600))
            except FileExistsError:
                temporary = None
        yield temporary
        if mode is not None and temporary.stat().st_mode & 0o777 != mode:  # where all files have one mode, chmod may fail
            temporary.chmod(mode)
        if overwrite:
            temporary.replace(target)
        else:
            _rename_new(temporary, target)
        temporary = None
    except OSError as error:
        remedy = "make the folder first" if isinstance(error, FileNotFoundError) else "check rights and free space"
        raise UnwritableOutput(f"can't be written: {error.strerror or error}", where=path, remedy=remedy) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # what went wrong before is what the user must hear
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
