"""How public sets of LDR-HDR pairs are laid out: one table. None was at hand: see :data:`UNTRIED`.

A file belongs to a set by its path below the root; what the named groups of its pattern hold says which files are partners.
Scale needs no entry: the HDR of a pair is brought to the exposure of its photo in any case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hdrcli.color import Primaries, Transfer
from hdrcli.errors import DataError, UsageError
from hdrcli.training.pairs import PairFile, PairList
from hdrcli.training.sources import Encoding, SceneFile

UNTRIED = "layout from its documentation, not tried"


@dataclass(frozen=True)
class Layout:
    """A set: its ``title``, patterns of the paths of ``ldr`` and ``hdr`` files, and where they are ``documented``.

    ``several``: of several photos of one HDR each makes a pair, or the middle one by name. ``ldr_encoding``, ``hdr_encoding``:
    of numbers whose files don't say; that of photos is a Transfer. Without patterns the set has no pairs that could be read:
    ``remedy`` says what to do instead.
    """

    title: str
    documented: str
    ldr: str = ""
    hdr: str = ""
    several: Literal["each", "middle"] = "each"
    ldr_encoding: Encoding | None = None
    hdr_encoding: Encoding | None = None
    remedy: str = ""

    @property
    def status(self) -> str:
        """What is known of the layout."""
        return UNTRIED if self.ldr else "no pairs"


_BELOW = r"(?P<where>(?:.*/)?)"
_LDR_IN, _HDR_GT = _BELOW + r"LDR_in/(?P<name>[^/]+)\.(?:jpe?g|png)", _BELOW + r"HDR_gt/(?P<name>[^/]+)\.(?:hdr|exr)"

LAYOUTS = {
    "hdr-real": Layout(
        "HDR-Real (Liu et al. 2020)",
        "convert_to_tf_record.py of github.com/alex04072000/SingleHDR: LDR_in/*.jpg and HDR_gt/*.hdr in one order; "
        "scripts of others: of one name",
        ldr=_LDR_IN,
        hdr=_HDR_GT,
    ),
    "hdr-synth": Layout(
        "HDR-Synth (Liu et al. 2020)",
        "training_code of github.com/alex04072000/SingleHDR takes HDR pictures alone and makes the photos while it trains",
        remedy="hdrcli data synth --hdr ROOT --eq11 --out LDR, then --pairs LDR ROOT",
    ),
    "hdr-eye": Layout(
        "HDR-Eye (Nemoto et al. 2015)",
        "scripts that read the copy SingleHDR's authors publish; of EPFL's own download no description was found",
        ldr=_LDR_IN,
        hdr=_HDR_GT,
    ),
    "hdrtv1k": Layout(
        "HDRTV1K (Chen et al. 2021)",
        "github.com/chxy95/HDRTVNet: README (PQ, Rec.2020) and options/*.yml (train_sdr, train_hdr, test_sdr, test_hdr)",
        ldr=_BELOW + r"(?P<part>train|test)_sdr(?P<cut>_sub)?/(?P<name>[^/]+)\.png",
        hdr=_BELOW + r"(?P<part>train|test)_hdr(?P<cut>_sub)?/(?P<name>[^/]+)\.png",
        hdr_encoding=Encoding(Transfer.PQ, Primaries.BT2020),
    ),
    "ntire2021": Layout(
        "NTIRE 2021 HDR challenge (Perez-Pellitero et al. 2021)",
        "the challenge's data_io.py and metrics.py as participants publish them: NNNN_medium.png, NNNN_gt.png (16 bits, "
        "linear light is the 2.24th power; NNNN_alignratio.npy holds a scale)",
        ldr=_BELOW + r"(?P<name>\d{4,})_medium\.png",
        hdr=_BELOW + r"(?P<name>\d{4,})_gt\.png",
        hdr_encoding=Encoding(2.24),
    ),
    "drtmo": Layout(
        "DrTMO (Endo et al. 2017)",
        "no description of its files was found, neither at the authors' page nor in shleecs/DrTMO_unofficial_pytorch",
        remedy="put photos and HDR into two folders, under one name each, and give them to --pairs",
    ),
    "kalantari17": Layout(
        "Kalantari and Ramamoorthi 2017",
        "scripts that read it: a folder a scene with three .tif (16 bits, power 2.2), exposure.txt and HDRImg.hdr, which shows "
        "the scene as the middle exposure does",
        ldr=_BELOW + r"[^/]+\.tiff?",
        hdr=_BELOW + r"HDRImg\.hdr",
        several="middle",
        ldr_encoding=Encoding(Transfer.GAMMA22),
    ),
    "ldr-hdr-pair": Layout(
        "LDR-HDR pair (Jang et al. 2020)",
        "files of github.com/HanbyolJang/LDR-HDR-pair_Dataset: HDR/HDR_NNN.hdr, LDR_exposure_0/LDR_NNN.jpg and others",
        ldr=_BELOW + r"LDR(?:_exposure_[^/]+)?/LDR_(?P<name>\d+)\.(?:jpe?g|png)",
        hdr=_BELOW + r"HDR/HDR_(?P<name>\d+)\.hdr",
    ),
    "gta-hdr": Layout(
        "GTA-HDR (Barua et al. 2025)",
        "github.com/HrishavBakulBarua/GTA-HDR describes the pictures, not the files",
        remedy="put photos and HDR into two folders, under one name each, and give them to --pairs",
    ),
}


def find(name: str, root: Path) -> PairList:
    """The pairs of a set below this folder, which may be a part of it (its training set).

    Raises UsageError for a set that is not in the table or has no pairs, DataError if the folder holds none.
    """
    layout = LAYOUTS.get(name.lower())
    if layout is None:
        raise UsageError(f"no layout {name!r}", where="--pairs-layout", remedy=f"there are: {', '.join(LAYOUTS)}")
    if not layout.ldr:
        raise UsageError(f"{layout.title} has no pairs to read: {layout.documented}", where=name, remedy=layout.remedy)
    if not root.is_dir():
        raise DataError("no such folder", where=root, remedy="check --pairs-layout")
    photos, scenes = (_grouped(root, pattern) for pattern in (layout.ldr, layout.hdr))
    pairs, lines = [], []
    for key, files in scenes.items():
        found = photos.get(key, [])
        if not found:
            lines += [f"{path}: has no LDR partner" for path in files]
        elif len(files) > 1:
            lines.append(f"{len(files)} HDR files are partners of {found[0]}")
        else:
            chosen = [found[(len(found) - 1) // 2]] if layout.several == "middle" else found
            scene = SceneFile(files[0], encoding=layout.hdr_encoding)
            pairs += [PairFile(SceneFile(path, encoding=layout.ldr_encoding), scene) for path in chosen]
    lines += [f"{path}: has no HDR partner" for key, files in photos.items() if key not in scenes for path in files]
    if not pairs:
        there = f"{sum(map(len, photos.values()))} LDR and {sum(map(len, scenes.values()))} HDR files are named as in {name}"
        raise DataError(f"no pairs: {there}", where=root, remedy=f"it expects: {layout.documented}")
    note = f"{len(pairs)} of {root}, laid out as {name} ({layout.status})"
    return PairList(tuple(pairs), note, tuple(lines))


def _grouped(root: Path, pattern: str) -> dict[tuple[tuple[str, str], ...], list[Path]]:
    """Paths by what the pattern's groups hold, sorted."""
    out: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        found = re.fullmatch(pattern, path.relative_to(root).as_posix(), re.IGNORECASE)
        if found is not None and path.is_file():
            key = tuple((group, (value or "").lower()) for group, value in sorted(found.groupdict().items()))
            out.setdefault(key, []).append(path)
    return out


__all__ = ["LAYOUTS", "UNTRIED", "Layout", "find"]
