"""Which files a run is trained on: folders, lists, manifests. Nothing is decoded here."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import DataError

MANIFEST = "manifest.csv"
Domain = Literal["ldr", "hdr"]
_OTHER: dict[Domain, Domain] = {"ldr": "hdr", "hdr": "ldr"}


@dataclass(frozen=True)
class Encoding:
    """What the numbers in a file are, where it does not say so itself: ``transfer``, or the exponent of a power law."""

    transfer: Transfer | float
    primaries: Primaries = Primaries.BT709


@dataclass(frozen=True)
class SceneFile:
    """A file to train on.

    ``panorama``: whether its manifest says it is equirectangular (None: the file decides). ``encoding``: None: likewise.
    ``partner``: of a photo, the HDR file that its manifest says it shows, relative to the folder of those.
    """

    path: Path
    panorama: bool | None = None
    licence: str = "not stated"
    encoding: Encoding | None = None
    partner: str | None = None


@dataclass(frozen=True)
class SceneList:
    """The files of a run, and one line on how they were chosen."""

    files: tuple[SceneFile, ...]
    note: str


class OtherDomain(DataError):
    """A folder that holds the other domain's files."""


def find_scenes(sources: Sequence[Path], split: str = "train") -> SceneList:
    """HDR files: see :func:`find_files`."""
    return find_files(sources, "hdr", split)


def find_files(sources: Sequence[Path], domain: Domain, split: str = "train") -> SceneList:
    """Picture files in folders (recursively), in lists (``.txt``: a path a line) or named one by one.

    A folder with a ``manifest.csv`` that has the columns ``file`` and ``split`` gives only the files of that split
    (``split="all"``: all of them). Of other folders, files whose extension is that of a format that holds ``domain``.
    Raises DataError if there is none; if a folder holds the other domain's files instead, that is said.
    """
    files: list[SceneFile] = []
    notes: list[str] = []
    for source in sources:
        if source.is_dir() and (source / MANIFEST).is_file():
            chosen, note = _from_manifest(source, split)
            files += chosen
            notes.append(note)
        elif source.is_dir():
            found, others = _in_folder(source, domain)
            files += [SceneFile(p) for p in found]
            notes.append(f"{source}: {len(found)} {domain.upper()} files, no {MANIFEST}, all used" + _ignored(others, domain))
        elif source.suffix.lower() == ".txt":
            lines = [line.strip() for line in _text(source).splitlines()]
            listed = [source.parent / line for line in lines if line and not line.startswith("#")]
            files += [SceneFile(p) for p in listed]
            notes.append(f"{source}: {len(listed)} listed files")
        elif source.exists():
            files.append(SceneFile(source))
        else:
            raise DataError("no such file or folder", where=source, remedy=f"check --{domain}")
    if not files:
        where = ", ".join(str(s) for s in sources)
        lists = all(source.suffix.lower() == ".txt" and not source.is_dir() for source in sources)
        empty = "lists no files" if lists else "holds no pictures"
        raise DataError(f"{empty}, so there are no {domain.upper()} files", where=where, remedy=f"check --{domain}")
    return SceneList(tuple(files), "; ".join(notes))


def extensions(domain: Domain) -> frozenset[str]:
    """Of the formats that hold a domain, lower case."""
    modules = [formats.module_for_name(name) for name in formats.names()]
    return frozenset(extension for module in modules if domain in module.HOLDS for extension in module.EXTENSIONS)


def _in_folder(folder: Path, domain: Domain) -> tuple[list[Path], Counter[str]]:
    """The domain's files, and how many of the other one's are ignored, by extension.

    Sorted, so that a seed means the same on every machine. Raises OtherDomain where only those of the other are.
    """
    there = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    right = extensions(domain)
    found = [p for p in there if p.suffix.lower() in right]
    other = _OTHER[domain]
    others = Counter(p.suffix.lower() for p in there if p.suffix.lower() in extensions(other) - right)
    if not found and others:
        fault = f"holds no {domain.upper()} files but {other.upper()} ones: {_kinds(others)}"
        raise OtherDomain(fault, where=folder, remedy=f"{other.upper()} folders go to --{other}")
    return found, others


def _kinds(others: Counter[str]) -> str:
    return ", ".join(f"{n} {suffix}" for suffix, n in others.most_common(3))


def _ignored(others: Counter[str], domain: Domain) -> str:
    """What a note says of the other domain's files in a folder."""
    if not others:
        return ""
    other = _OTHER[domain]
    return f" ({others.total()} ignored, since they hold {other.upper()}: {_kinds(others)}; those go to --{other})"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't be read as UTF-8 text: {error}", where=path, remedy="save it as UTF-8") from None


def _from_manifest(folder: Path, split: str) -> tuple[list[SceneFile], str]:
    rows = list(csv.DictReader(_text(folder / MANIFEST).splitlines()))
    if not rows or not {"file", "split"} <= set(rows[0]):
        raise DataError("has no columns file and split", where=folder / MANIFEST, remedy="add them or remove the manifest")
    chosen = [r for r in rows if split in ("all", r["split"])]
    if not chosen:
        there = ", ".join(sorted({r["split"] for r in rows}))
        raise DataError(f"has no files of split {split!r}", where=folder / MANIFEST, remedy=f"there are: {there}")
    files = [
        SceneFile(
            folder / r["file"],
            r["kind"] == "equirect" if r.get("kind") else None,
            r.get("licence") or "not stated",
            partner=r.get("hdr") or None,
        )
        for r in chosen
    ]
    return files, f"{folder}: {len(files)} of {len(rows)} files (split {split} of {MANIFEST})"
