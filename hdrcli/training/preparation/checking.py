"""What is in training files, and what is wrong with them: one by one, and as pairs."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hdrcli.camera import exposure_alignment
from hdrcli.color import Primaries, Transfer, converted, decode
from hdrcli.errors import InputError, UnreadableInput
from hdrcli.image import CLIP_CODE, Image, as_unit_float
from hdrcli.inspection import code_statistics, light_statistics
from hdrcli.training.agreement import brightness_of_light, brightness_of_photo, likeness
from hdrcli.training.pairs import PairFile
from hdrcli.training.reading import read
from hdrcli.training.sources import Domain, SceneFile

TOO_BRIGHT = 2.0**12  # the hybrid autoencoder's training leaves HDR with brighter values out
NEGATIVE = 0.01  # share of pixels: colours outside of the file's primaries leave some below 0, which harm nothing
MIDDLE = 0.18  # where the median luminance lies when a scene is seen without a photo
_LEAST = 50  # well-exposed pixels
_DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float16": "half", "float32": "float"}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileFacts:
    """A file. What could not be found out is None; ``faults``: a line each, what training would stumble over.

    ``digest``: SHA-256 of the file. HDR: ``median`` luminance, ``brightest`` channel value, ``stops`` between the 0.1 and 99.9
    percentiles of luminance above 0. LDR: ``median`` of the green codes of 1, ``clipped``: share of pixels that lost a channel.
    """

    path: Path
    domain: Domain
    width: int | None = None
    height: int | None = None
    depth: str | None = None
    digest: str | None = None
    median: float | None = None
    brightest: float | None = None
    stops: float | None = None
    clipped: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairFacts:
    """A pair: its files, how alike they are (-1..1), by how many stops the HDR's scale is the larger, and faults of its own."""

    ldr: FileFacts
    hdr: FileFacts
    likeness: float | None = None
    stops_above: float | None = None
    faults: tuple[str, ...] = ()


def check_file(file: SceneFile, domain: Domain) -> FileFacts:
    """All that is known of one file; what can't be read has one fault, that."""
    return _facts(file, domain)[0]


def check_pair(pair: PairFile) -> PairFacts:
    """Both files and how they go together: content, orientation, size, light above the photo's white."""
    (ldr, photo), (hdr, scene) = _facts(pair.ldr, "ldr"), _facts(pair.hdr, "hdr")
    if photo is None or scene is None or not _is(photo, "ldr") or not _is(scene, "hdr"):
        return PairFacts(ldr, hdr)
    light = np.maximum(converted(as_unit_float(scene.pixels), scene.primaries, Primaries.BT709), 0)
    found = likeness(brightness_of_photo(photo.codes), brightness_of_light(light))
    fault = found.fault(photo.pixels.shape, scene.pixels.shape)
    if fault is not None:
        return PairFacts(ldr, hdr, found.ssim, None, (fault,))
    unit = as_unit_float(photo.codes)
    usable = (unit.min(axis=2) >= 0.05) & (unit.max(axis=2) <= 0.90)
    if np.count_nonzero(usable) < _LEAST:
        return PairFacts(
            ldr, hdr, found.ssim, None, (f"the photo has no {_LEAST} well-exposed pixels to tell its exposure by",)
        )
    codes = np.rint(unit * 255).astype(np.uint8)
    factor = exposure_alignment(np.asarray(decode(unit, photo.transfer), np.float32), light, codes)
    faults: tuple[str, ...] = ()
    if ldr.clipped and float(light.max()) / factor <= 1:
        faults = ("the photo clips, but the HDR holds no light above its white",)
    return PairFacts(ldr, hdr, found.ssim, math.log2(factor), faults)


def duplicates(facts: Iterable[FileFacts]) -> tuple[tuple[Path, ...], ...]:
    """Files of one content, of each domain, in the order in which they were given."""
    found: dict[tuple[str, str], dict[Path, None]] = {}
    for fact in facts:
        if fact.digest is not None:
            found.setdefault((fact.domain, fact.digest), {})[fact.path] = None
    return tuple(tuple(paths) for paths in found.values() if len(paths) > 1)


def counted(values: Iterable[str | None]) -> str:
    """ "3 512 x 512, 1 640 x 480": the commonest first, five at most."""
    counts = Counter(value for value in values if value is not None).most_common()
    more = f" and {len(counts) - 5} more kinds" if len(counts) > 5 else ""
    return ", ".join(f"{number} of {value}" for value, number in counts[:5]) + more


def spread(values: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Least, median and most of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return (min(known), float(np.median(known)), max(known)) if known else None


def _facts(file: SceneFile, domain: Domain) -> tuple[FileFacts, Image | None]:
    try:
        digest = _digest(file.path)
        image = read(file, domain)
    except InputError as error:
        return FileFacts(file.path, domain, faults=(f"{error.what} ({error.remedy})" if error.remedy else error.what,)), None
    depth = _DEPTHS[str(image.codes.dtype)]
    known = FileFacts(file.path, domain, image.width, image.height, depth, digest)
    if not _is(image, domain):
        other = "HDR" if domain == "ldr" else f"display-encoded ({image.transfer.name}), not HDR"
        return replace(known, faults=(f"is {other}",)), image
    return (_photo if domain == "ldr" else _light)(known, image), image


def _is(image: Image, domain: Domain) -> bool:
    if domain == "hdr":
        return image.is_hdr
    return not image.is_hdr and image.pixels.dtype.kind == "u" and image.transfer not in (Transfer.PQ, Transfer.HLG)


def _photo(known: FileFacts, image: Image) -> FileFacts:
    found = code_statistics(image.codes, CLIP_CODE)
    low, high = (found.percentiles[q] for q in (0.1, 99.9))
    faults = ("is of one colour throughout",) if low == high and image.codes.min() == image.codes.max() else ()
    median = found.percentiles[50.0][1] / found.largest
    return replace(known, median=median, clipped=sum(found.lost), faults=faults)


def _light(known: FileFacts, image: Image) -> FileFacts:
    found = light_statistics(image)
    median, brightest = found.percentiles[50.0], found.largest
    faults = [note for note in image.metadata.notes if "NaN" in note or "infin" in note.lower()]
    if found.not_finite and not faults:
        faults.append(f"{found.not_finite} values are not finite")
    stops = math.log2(found.usual[1] / found.usual[0]) if found.usual else None
    if not median > 0:
        faults.append("is black, at least half of it")
    elif found.smallest == found.largest:
        faults.append("is of one colour throughout")
    elif brightest * MIDDLE / median <= 1:
        faults.append("holds no light above white (with its median luminance at 0.18)")
    if brightest > TOO_BRIGHT:
        faults.append(f"its brightest value, {brightest:.4g}, is above 2^12")
    if found.negative > NEGATIVE:
        faults.append(f"{100 * found.negative:.2g} % of its pixels have negative values, which count as 0")
    return replace(known, median=median, brightest=brightest, stops=stops, faults=tuple(faults))


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        remedy = "check its name and rights"
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy=remedy) from None
    return found.hexdigest()


__all__ = ["TOO_BRIGHT", "FileFacts", "PairFacts", "check_file", "check_pair", "counted", "duplicates", "spread"]
