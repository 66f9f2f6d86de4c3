"""Photos and the HDR pictures of the same places: which file goes with which. Nothing is decoded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdrcli.errors import DataError
from hdrcli.training.sources import OtherDomain, SceneFile, find_files

_SHOWN = 3
ORDER = "--pairs takes the LDR folder first, then the HDR folder"


@dataclass(frozen=True)
class PairFile:
    """A photo and the HDR picture that it shows."""

    ldr: SceneFile
    hdr: SceneFile


@dataclass(frozen=True)
class PairList:
    """The pairs of a run, a line on how they were found, and a line for each file that is in none."""

    files: tuple[PairFile, ...]
    note: str
    left_out: tuple[str, ...] = ()


def find_pairs(ldr: Path, hdr: Path, split: str = "train") -> PairList:
    """Files of one name without extension, in two folders (recursively, with their manifests) or lists.

    Names are relative to the folders; if none agrees so, bare names count. A manifest of the LDR folder may name each photo's
    HDR file in a column ``hdr``: then that counts, and several photos may share one. One folder may be given twice.
    Raises DataError if no two files belong together.
    """
    try:
        photos, scenes = find_files([ldr], "ldr", split), find_files([hdr], "hdr", split)
    except OtherDomain as error:
        raise DataError(error.what, where=error.where, remedy=ORDER) from None
    both = {f.path.resolve() for f in photos.files} & {f.path.resolve() for f in scenes.files}
    if both and ldr.resolve() != hdr.resolve():
        raise DataError("holds the same files as the HDR folder", where=ldr, remedy=ORDER)
    # of one folder for both, what could be either (TIFF) has no partner but itself
    chosen = [f for f in photos.files if f.path.resolve() not in both]
    named = [f for f in chosen if f.partner is not None]
    pairs, lines = _by_manifest(named, scenes.files, hdr)
    rest = [f for f in chosen if f.partner is None]
    if rest:
        used = {pair.hdr.path for pair in pairs}
        free = [f for f in scenes.files if f.path not in used and f.path.resolve() not in both]
        more, alone = _by_name(rest, free, ldr, hdr)
        pairs, lines = pairs + more, lines + alone
    if not pairs:
        names = " and ".join(_some(f.path.stem for f in files) for files in (photos.files, scenes.files))
        fault = f"no LDR file has the name of an HDR file; there are {names}"
        raise DataError(fault, where=f"{ldr}, {hdr}", remedy="partners have one name, with any extension")
    note = f"{len(pairs)} of {ldr} ({len(photos.files)} LDR files) and {hdr} ({len(scenes.files)} HDR files)"
    return PairList(tuple(pairs), note, tuple(lines))


def _by_manifest(photos: Sequence[SceneFile], scenes: Sequence[SceneFile], folder: Path) -> tuple[list[PairFile], list[str]]:
    there = {_relative(scene.path, folder): scene for scene in scenes}
    pairs, lines = [], []
    for photo in photos:
        scene = there.get(Path(str(photo.partner)).as_posix())
        if scene is None:
            lines.append(f"{photo.path}: its manifest names {photo.partner}, which is not among the HDR files")
        else:
            pairs.append(PairFile(photo, scene))
    return pairs, lines


def _by_name(
    photos: Sequence[SceneFile], scenes: Sequence[SceneFile], ldr: Path, hdr: Path
) -> tuple[list[PairFile], list[str]]:
    ours, theirs = _named(photos, ldr), _named(scenes, hdr)
    if not set(ours) & set(theirs):
        ours, theirs = _named(photos, None), _named(scenes, None)
    return match(ours, theirs)


def match(
    ours: Mapping[str, Sequence[SceneFile]], theirs: Mapping[str, Sequence[SceneFile]]
) -> tuple[list[PairFile], list[str]]:
    """Photos and HDR files by name; those alone, or of which several have one name, give a line."""
    pairs, lines = [], []
    for name, files in ours.items():
        others = theirs.get(name, ())
        several = next((fs for fs in (files, others) if len(fs) > 1), None)
        if several is not None and others:
            lines.append(f"{len(several)} files have the name {name}: {', '.join(f.path.name for f in several)}")
        elif not others:
            lines += [f"{f.path}: has no HDR partner" for f in files]
        else:
            pairs.append(PairFile(files[0], others[0]))
    lines += [f"{f.path}: has no LDR partner" for name, files in theirs.items() if name not in ours for f in files]
    return pairs, lines


def _named(files: Sequence[SceneFile], folder: Path | None) -> dict[str, list[SceneFile]]:
    out: dict[str, list[SceneFile]] = {}
    for file in files:
        name = file.path.stem if folder is None else str(Path(_relative(file.path, folder)).with_suffix("").as_posix())
        out.setdefault(name, []).append(file)
    return out


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (", ..." if len(every) > _SHOWN else "")


__all__ = ["ORDER", "PairFile", "PairList", "find_pairs", "match"]
