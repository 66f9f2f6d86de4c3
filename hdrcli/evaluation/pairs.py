"""Which file is compared with which: two files, or files of one name in two folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from hdrcli import formats
from hdrcli.errors import MissingInput, UnreadableInput, UsageError

LINEAR = "linear"  # the method made from the LDR inputs: what was measured, linearised
_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """A method: its ``name``, and the file or folder with its predictions; of a ``baseline``, with what they are made of."""

    name: str
    path: Path
    baseline: bool = False


@dataclass(frozen=True)
class Unit:
    """A piece of work: one picture by one method. ``prediction`` None: it is made from ``ldr``."""

    method: str
    image: str
    reference: Path
    prediction: Path | None
    ldr: Path | None


@dataclass(frozen=True)
class Unmatched:
    """A name that has no partner, and why."""

    method: str
    image: str
    why: str


@dataclass(frozen=True)
class Matching:
    """``units`` in the order of images, then methods; ``unmatched`` likewise. ``methods``: in the order they were given."""

    methods: tuple[Source, ...]
    units: tuple[Unit, ...]
    unmatched: tuple[Unmatched, ...]


def match(predictions: Sequence[Source], reference: Path, ldr: Path | None = None, *, kind: str = "hdr") -> Matching:
    """Two files, or the files of two folders (and those below) that have one relative name without extension.

    ``kind``: "hdr" or "ldr", what predictions are: where a name is there with several extensions, those that hold it count.
    With ``ldr`` (a file, a folder) a method LINEAR is added. Raises UsageError for methods of one name or files and folders
    mixed, InputErrors for what is not there and for folders without a picture or without a common name.
    """
    if not predictions and ldr is None:
        raise UsageError("there is nothing to compare with the reference", remedy="give PRED, --pred NAME=DIR or --ldr")
    _check_names([*(source.name for source in predictions), *([LINEAR] if ldr is not None else [])])
    for path in (reference, *(source.path for source in predictions), *([ldr] if ldr is not None else [])):
        _check_kind(path, like=reference)
    if not reference.is_dir():
        image = reference.stem
        units = [Unit(source.name, image, reference, source.path, ldr) for source in predictions]
        units += [Unit(LINEAR, image, reference, None, ldr)] if ldr is not None else []
        return Matching(_methods(predictions, ldr), tuple(units), ())
    return _by_name(predictions, reference, ldr, kind)


def _by_name(predictions: Sequence[Source], reference: Path, ldr: Path | None, kind: str) -> Matching:
    wanted = _Folder.of(reference, None if kind == "ldr" else kind)
    photos = None if ldr is None else _Folder.of(ldr, "ldr")
    folders = {source.name: _Folder.of(source.path, kind) for source in predictions}
    units: list[Unit] = []
    unmatched: list[Unmatched] = []
    for image, references in wanted.files.items():
        photo = None if photos is None else photos.only(image)
        for name, folder in (*folders.items(), *([(LINEAR, photos)] if photos is not None else [])):
            fault = wanted.fault(image) or folder.fault(image)
            if fault:
                unmatched.append(Unmatched(name, image, fault))
            else:
                units.append(Unit(name, image, references[0], None if folder is photos else folder.only(image), photo))
    for name, folder in (*folders.items(), *([(LINEAR, photos)] if photos is not None else [])):
        strange = [image for image in folder.files if image not in wanted.files]
        unmatched += [Unmatched(name, image, f"no file of this name in {reference}") for image in strange]
    if not units:
        first = next(iter((*folders.values(), *([photos] if photos is not None else []))))
        raise MissingInput(
            f"no file has the name of one in {reference}",
            where=first.path,
            remedy=f"names without extension must agree; here {_some(first.files)}, there {_some(wanted.files)}",
        )
    return Matching(_methods(predictions, ldr), tuple(units), tuple(unmatched))


@dataclass(frozen=True)
class _Folder:
    """Pictures by relative name without extension, sorted."""

    path: Path
    files: Mapping[str, tuple[Path, ...]]

    @classmethod
    def of(cls, path: Path, kind: str | None) -> _Folder:
        holders = _holders(kind)
        found: dict[str, list[Path]] = {}
        for file in _pictures(path):
            found.setdefault(PurePath(file.relative_to(path)).with_suffix("").as_posix(), []).append(file)
        if not found:
            remedy = f"hdrcli reads {', '.join(formats.names())}"
            raise UnreadableInput("no picture is in this folder", where=path, remedy=remedy)
        # x.exr beside its preview x.png: of one name, those count that can hold what is wanted
        chosen = {
            name: tuple(f for f in files if f.suffix.lower() in holders) or tuple(files)
            for name, files in sorted(found.items())
        }
        return cls(path, chosen)

    def only(self, image: str) -> Path | None:
        files = self.files.get(image, ())
        return files[0] if len(files) == 1 else None

    def fault(self, image: str) -> str | None:
        files = self.files.get(image, ())
        if len(files) == 1:
            return None
        return (
            f"{len(files)} files have this name: {', '.join(map(str, files))}"
            if files
            else (f"no file of this name in {self.path}")
        )


def _pictures(folder: Path) -> Iterator[Path]:
    readable = _holders(None)
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in readable and path.is_file():
            yield path


def _holders(kind: str | None) -> frozenset[str]:
    """Extensions of formats that hold "hdr", "ldr", or either (None)."""
    modules = map(formats.module_for_name, formats.names())
    return frozenset(e for m in modules if kind is None or kind in m.HOLDS for e in m.EXTENSIONS)


def _methods(predictions: Sequence[Source], ldr: Path | None) -> tuple[Source, ...]:
    return (*predictions, *([Source(LINEAR, ldr, baseline=True)] if ldr is not None else []))


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not name or name != name.strip() or not name.isprintable() or any(c in name for c in "/\\"):
            raise UsageError(f"{name!r} can't be the name of a method", where="--pred", remedy="use letters and digits")
        if names.count(name) > 1:
            reserved = "; the row of the LDR inputs has that name" if name == LINEAR else ""
            raise UsageError(f"two methods have the name {name!r}{reserved}", where="--pred", remedy="name them NAME=DIR")


def _check_kind(path: Path, *, like: Path) -> None:
    try:
        there, folder, wanted = path.exists(), path.is_dir(), like.is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        raise MissingInput("no such file or folder", where=path, remedy="check the name")
    if folder != wanted:
        fault = f"is a {'folder' if folder else 'file'}, {like} is a {'folder' if wanted else 'file'}"
        raise UsageError(fault, where=path, remedy="give files or folders, not both")


def _some(names: Mapping[str, object]) -> str:
    shown = list(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")
