"""HDR pictures brought to lie as their photos do: turned, reduced, moved by parts of pixels, both cropped. Always in copies.

The HDR is what is turned and moved: a photo's codes stay what the sensor gave, so that what clipped can still be told. Of two
sizes the larger is averaged down to the smaller.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, converted
from hdrcli.errors import HdrcliError, MismatchError, UsageError
from hdrcli.image import Image
from hdrcli.training.agreement import (
    AS_IT_IS,
    ENOUGH,
    Orientation,
    Plane,
    alike,
    as_photographed,
    brightness_of_light,
    brightness_of_photo,
    brightness_of_shot,
    moved,
    offset,
    overlap,
    overlap_ssim,
    register,
)
from hdrcli.training.pairs import PairFile
from hdrcli.training.reading import read

LEAST = 0.1  # pixels, below which nothing is moved: interpolation would cost more than it mends
WORTH = 0.7  # of what correlation lacks to 1 may be left after a move; else it was noise
_LARGEST = 1536  # pixels of the middle part that the offset is found in


@dataclass(frozen=True)
class Aligned:
    """What was found of a pair, and done. ``name``: of the copies, without extension.

    ``orientation``: what had to be done to the HDR; ``down``, ``right``: how far it was then moved, in pixels of the smaller
    picture; ``likeness``: SSIM at about 160 pixels after all that. ``size``: of the copies. ``fault``: why there are none.
    """

    pair: PairFile
    name: str
    orientation: Orientation = AS_IT_IS
    resized: bool = False
    down: float = 0.0
    right: float = 0.0
    likeness: float | None = None
    size: tuple[int, int] | None = None
    fault: str | None = None

    @property
    def changed(self) -> bool:
        """Is anything different in the copies?"""
        return self.orientation is not AS_IT_IS or self.resized or self.moved

    @property
    def moved(self) -> bool:
        """Was the HDR moved?"""
        return self.down != 0 or self.right != 0

    @property
    def done(self) -> str:
        """What was done, in words."""
        if self.fault is not None:
            return self.fault
        words = [f"HDR {self.orientation.name}"] if self.orientation is not AS_IT_IS else []
        words += ["brought to one size"] if self.resized else []
        words += [f"HDR moved by {self.down:+.2f}, {self.right:+.2f} pixels (down, right)"] if self.moved else []
        return ", ".join(words) or "fits as it is"


def names(pairs: Sequence[PairFile], root: Path | None) -> list[str]:
    """Names of the copies: those of the photos below ``root``, without extension. Raises UsageError where two are one."""
    found = [_name(pair.ldr.path, root) for pair in pairs]
    twice = next((name for name in found if found.count(name) > 1), None) if len(set(found)) < len(found) else None
    if twice is not None:
        raise UsageError(f"two photos have the name {twice}", where="--pairs", remedy="align one folder at a time")
    return found


def _name(path: Path, root: Path | None) -> str:
    inside = path.relative_to(root) if root is not None and path.is_relative_to(root) else Path(path.name)
    return inside.with_suffix("").as_posix()


def align(pair: PairFile, name: str, out: Path | None, *, overwrite: bool = False) -> Aligned:
    """Find how the HDR must lie, and write ``out/ldr/NAME`` and ``out/hdr/NAME`` so; ``out`` None: find only.

    A pair that fits is copied byte for byte, unless its layout says what its files don't. Faults of the pair's files come back
    in the result. Raises OutputError.
    """
    try:
        photo, scene = read(pair.ldr, "ldr"), read(pair.hdr, "hdr")
        _check(photo, scene, pair)
    except HdrcliError as error:
        return Aligned(pair, name, fault=str(error))
    codes, light = photo.pixels, _floats(scene)
    gray = brightness_of_photo(photo.codes)
    way, found = register(gray, brightness_of_light(_rec709(light, scene)))
    if found < ENOUGH:
        return Aligned(pair, name, likeness=found, fault=f"show different things (likeness {found:.2f})")
    light = np.ascontiguousarray(way.of(light))
    resized = codes.shape[:2] != light.shape[:2]
    if resized:
        shape = min(codes.shape[:2], light.shape[:2])
        codes, light, gray = (_to(values, shape) for values in (codes, light, gray))
    bright = brightness_of_shot(_rec709(light, scene), codes)
    down, right = _offset(gray, bright)
    rows, columns = overlap(codes.shape, down, right)
    found = overlap_ssim(gray, bright, down, right) or found
    size = (columns.stop - columns.start, rows.stop - rows.start)
    result = Aligned(pair, name, way, resized, down, right, found, size)
    if out is not None:
        if result.moved:
            codes, light = codes[rows, columns], moved(light, down, right)[rows, columns]
        _write(result, photo, scene, codes, light, out, overwrite=overwrite)
    return result


def _check(photo: Image, scene: Image, pair: PairFile) -> None:
    if not scene.is_hdr:
        raise MismatchError("is display-encoded, not HDR", where=pair.hdr.path, remedy="give the LDR folder first")
    if photo.pixels.dtype.kind != "u" or photo.transfer in (Transfer.PQ, Transfer.HLG):
        raise MismatchError("is HDR, not a photo", where=pair.ldr.path, remedy="give the LDR folder first")


def _floats(scene: Image) -> NDArray[np.float32]:
    return np.nan_to_num(scene.pixels.astype(np.float32), nan=0.0)


def _rec709(light: NDArray[np.float32], scene: Image) -> NDArray[np.float32]:
    return np.maximum(np.asarray(converted(light, scene.primaries, Primaries.BT709), np.float32), 0)


def _to(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Area means at that size; codes are rounded."""
    import cv2

    if values.shape[:2] == shape[:2]:
        return values
    made = cv2.resize(np.ascontiguousarray(values, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(made) if values.dtype.kind == "u" else made, values.dtype)


def _offset(photo: Plane, light: Plane) -> tuple[float, float]:
    """In pixels; 0 where it is tiny, or where moving makes the two hardly more alike."""
    middle = tuple(slice(max(0, (side - _LARGEST) // 2), max(0, (side - _LARGEST) // 2) + _LARGEST) for side in photo.shape)
    a, b = photo[middle], light[middle]
    down, right = offset(a, b)
    if max(abs(down), abs(right)) < LEAST:
        return 0.0, 0.0
    matched = as_photographed(b, a)
    lacking = [1 - alike(a, matched, *move, (down, right)) for move in ((0.0, 0.0), (down, right))]
    return (down, right) if lacking[1] < WORTH * lacking[0] else (0.0, 0.0)


def _write(
    result: Aligned,
    photo: Image,
    scene: Image,
    codes: NDArray[Any],
    light: NDArray[np.float32],
    out: Path,
    *,
    overwrite: bool,
) -> None:
    pair = result.pair
    same_photo = not (result.resized or result.moved) and pair.ldr.encoding is None
    target = out / "ldr" / f"{result.name}{pair.ldr.path.suffix if same_photo else '.png'}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if same_photo:
        _copy(pair.ldr.path, target, overwrite=overwrite)
    else:
        formats.write(Image(np.ascontiguousarray(codes), photo.transfer, photo.primaries), target, overwrite=overwrite)
    same_scene = not result.changed and pair.hdr.encoding is None
    target = out / "hdr" / f"{result.name}{pair.hdr.path.suffix if same_scene else '.exr'}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if same_scene:
        _copy(pair.hdr.path, target, overwrite=overwrite)
        return
    image = Image(np.ascontiguousarray(light), Transfer.LINEAR, scene.primaries, scene.white_luminance)
    formats.write(image, target, formats.WriteOptions(depth="float"), overwrite=overwrite)


def _copy(source: Path, target: Path, *, overwrite: bool) -> None:
    with formats.whole_file(target, overwrite=overwrite) as temporary:
        shutil.copyfile(source, temporary)


__all__ = ["LEAST", "Aligned", "align", "names"]
