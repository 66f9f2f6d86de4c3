"""Bundles from elsewhere into the user's model folder: checked before they are there, and nothing in them is ever unpickled.

What is taken out of a folder or archive are the card and the files that the card names, each by its plain name, up to a stated
size. So no path in an archive, link or other file in it matters, and none is written anywhere.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from hdrcli.errors import HdrcliError, MissingInput, ModelError, OutputExists, UnwritableOutput, UsageError
from hdrcli.inference import bundles, onnx_backend
from hdrcli.inference.bundles import CARD, Bundle

MOST_CARD = 4 << 20  # bytes
MOST_FILE = 2 << 30  # bytes of one file: ONNX itself ends there
MOST_ENTRIES = 100_000  # of an archive that are looked at
KINDS = (".onnx", ".safetensors")  # of files that a card may name: neither can hold code
_CHUNK = 1 << 20

Opener = Callable[[], IO[bytes]]


def install(source: Path, name: str | None = None, *, overwrite: bool = False) -> Bundle:
    """Put a bundle (folder, or .zip or .tar[.gz|.bz2|.xz] archive with one in it) where ``--model NAME`` finds it.

    ``name``: the model's; by default that of the folder or archive. Returns the bundle as installed.

    Raises MissingInput, ModelError for what holds no bundle, is damaged, too large, differs from its card or doesn't run,
    OutputExists, UnwritableOutput, UsageError for a name that is none.
    """
    name = _checked_name(source, name)
    target = bundles.user_folder() / name
    if target.exists() and not overwrite:
        raise OutputExists("there is a model of this name already", where=target, remedy="use --overwrite, or another --name")
    if target.exists() and not (target / CARD).is_file():
        raise OutputExists("is there and no bundle; it would be lost", where=target, remedy="use another --name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".import-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        with _opened(source) as files:
            _take(files, temporary, source)
        check(bundles.read(temporary), source)
        try:
            temporary.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            temporary.replace(target)
        except OSError as error:
            raise _unwritable(target, error) from error
    except HdrcliError as error:
        # what is wrong is told of the source, not of the folder that is gone when it is read
        if error.where is not None and error.where.startswith(str(temporary)):
            raise type(error)(error.what, where=source, remedy=_REMEDY) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return bundles.read(target)


_REMEDY = "get the bundle anew from where it came from"


def check(bundle: Bundle, source: Path) -> None:
    """Run every generator of a bundle on nothing, in two sizes, on the CPU.

    Raises ModelError for what differs from its card, has no generator, can't be loaded or answers with another shape.
    """
    bundles.verify(bundle)
    if not bundle.roles:
        raise ModelError("holds no generator: neither g_y.onnx nor g_x.onnx", where=source, remedy=_REMEDY)
    for role in bundle.roles:
        generator = onnx_backend.load(bundle, "cpu", role)
        step = generator.spec.multiple
        for height, width in ((step, step), (2 * step, 3 * step)):
            # checks shape and values itself
            generator({name: np.zeros((1, 3, height, width), np.float32) for name in generator.spec.inputs})


def _unwritable(target: Path, error: OSError) -> UnwritableOutput:
    return UnwritableOutput(f"can't be written: {error.strerror}", where=target, remedy="check rights and free space")


def _checked_name(source: Path, name: str | None) -> str:
    if name is None:
        name = source.resolve().name if source.is_dir() else re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", source.name)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        remedy = "use letters, digits, dots, dashes and underscores"
        raise UsageError(f"{name!r} can't be a model's name", where="--name", remedy=remedy)
    return name


@contextmanager
def _opened(source: Path) -> Iterator[dict[str, tuple[int, Opener]]]:
    """Plain files of the one bundle in a folder or archive: size and content by name."""
    if source.is_dir():
        here = {p.name: p for p in source.iterdir() if p.is_file()}
        yield {name: (path.stat().st_size, _of_path(path)) for name, path in here.items()}
        return
    if not source.is_file():
        raise MissingInput("no such file or folder", where=source, remedy="name a bundle's folder, .zip or .tar archive")
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                entries = [i for i in archive.infolist() if not i.is_dir()]
                yield _bundle_in(source, [(i.filename, i.file_size, _of_zip(archive, i)) for i in entries])
            return
        with tarfile.open(source) as tar:
            members: list[tuple[str, int, Opener]] = []
            for member in tar:
                if len(members) > MOST_ENTRIES:
                    break
                if member.isreg():  # no links, devices, folders
                    members.append((member.name, member.size, _of_tar(tar, member)))
            yield _bundle_in(source, members)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # RuntimeError: encrypted; NotImplementedError: a compression that Python lacks; OSError: damaged gzip
        fault = "is no bundle: neither a folder nor a readable .zip or .tar archive"
        raise ModelError(fault, where=source, remedy=_REMEDY) from error


def _of_path(path: Path) -> Opener:
    return lambda: path.open("rb")


def _of_zip(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Opener:
    return lambda: archive.open(entry)


def _of_tar(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Opener:
    def opened() -> IO[bytes]:
        file = archive.extractfile(entry)
        if file is None:
            raise tarfile.TarError("no file")
        return file

    return opened


def _bundle_in(source: Path, members: list[tuple[str, int, Opener]]) -> dict[str, tuple[int, Opener]]:
    """The files beside the only card there is, at the top or in one folder."""
    if len(members) > MOST_ENTRIES:
        raise ModelError(f"holds more than {MOST_ENTRIES} files", where=source, remedy="pack the bundle alone")
    paths = [(PurePosixPath(name.replace("\\", "/")), size, opener) for name, size, opener in members]
    cards = [path for path, _, _ in paths if path.name == CARD]
    if len(cards) != 1:
        fault = f"holds {len(cards)} files {CARD}, not one"
        raise ModelError(fault, where=source, remedy="name the folder or archive of a single bundle")
    return {path.name: (size, opener) for path, size, opener in paths if path.parent == cards[0].parent}


def _take(files: dict[str, tuple[int, Opener]], target: Path, source: Path) -> None:
    """Copy the card and what it names. Raises ModelError for what is missing, too large or of a kind that may hold code."""
    if CARD not in files:
        raise ModelError(f"holds no {CARD}", where=source, remedy="name a bundle: what hdrcli models export made")
    _copy(files[CARD], target / CARD, MOST_CARD, source)
    for name in bundles.read(target).card["files"]:
        if Path(name).suffix.lower() not in KINDS:
            fault = f"its card names {name}; only {' and '.join(KINDS)} files are taken, which can't hold code"
            raise ModelError(fault, where=source, remedy=_REMEDY)
        if name not in files:
            raise ModelError(f"lacks {name}, which its card names", where=source, remedy=_REMEDY)
        _copy(files[name], target / name, MOST_FILE, source)


def _copy(file: tuple[int, Opener], target: Path, most: int, source: Path) -> None:
    """At most ``most`` bytes, whatever the archive says it holds."""
    size, opener = file
    done = 0
    with opener() as reader, target.open("wb") as writer:
        while size <= most and (chunk := reader.read(_CHUNK)):
            done += len(chunk)
            if done > most:
                break
            writer.write(chunk)
    if max(size, done) > most:
        raise ModelError(f"{target.name} is larger than {most >> 20} MiB", where=source, remedy=_REMEDY)


__all__ = ["check", "install"]
