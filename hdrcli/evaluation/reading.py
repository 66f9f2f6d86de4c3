"""Files as evaluation takes them: hashed, in one unit, at one size; and what is odd about them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, converted, decode
from hdrcli.errors import HdrcliError, MismatchError, MissingInput, Unavailable, UnreadableInput
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.results import File, Settings
from hdrcli.image import Image, Metadata, as_unit_float

PQ_WHITE = 10000.0  # cd/m2 that PQ's 1.0 stands for
PQ_DIFFUSE_WHITE = 203.0  # cd/m2 of what is white in a PQ picture: ITU-R BT.2408
_ODD = re.compile(r"\d+ (?:NaN|infinite) values? read as")  # formats._values says so of what it replaced
_BLOCK = 1 << 20


def hashed(path: Path) -> File:
    """A file with its SHA-256. Raises MissingInput or UnreadableInput."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (FileNotFoundError, ValueError):
        raise MissingInput("no such file", where=path, remedy="check the name") from None
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    return File(str(path), digest.hexdigest())


def light(image: Image, path: Path, settings: Settings) -> tuple[NDArray[np.float32], float]:
    """An HDR file's light, ``(H, W, 3) float32``, linear BT.709 in cd/m2, and the cd/m2 of white.

    White is what 1.0 stands for, but in PQ, whose codes are cd/m2 themselves. Raises MismatchError for LDR and HLG, and where
    the file does not say its white luminance but should; Unavailable for values that are not finite.
    """
    absolute = image.transfer is Transfer.PQ
    if not (image.is_hdr or absolute):
        remedy = "give HDR here: photos belong to --ldr, hdrcli expand makes HDR of them; or say --task tonemap"
        raise MismatchError(_refusal(image), where=path, remedy=remedy)
    odd = next((note for note in image.metadata.notes if _ODD.match(note)), None)
    if odd is not None:
        raise Unavailable(f"not all values are finite: {odd}", where=path, remedy="repair the file; such pairs are not scored")
    white = _white(image, path, settings)
    scale = PQ_WHITE if absolute else white
    linear = converted(decode(as_unit_float(image.pixels), image.transfer), image.primaries, Primaries.BT709)
    with np.errstate(over="ignore"):
        scaled = np.asarray(linear * np.float32(scale), np.float32)
    if not np.isfinite(scaled).all():
        fault = f"not all values are finite in cd/m2, with {scale:g} cd/m2 for 1.0"
        raise Unavailable(fault, where=path, remedy="give a smaller --white-nits")
    return scaled, white


def _white(image: Image, path: Path, settings: Settings) -> float:
    if settings.white_nits != "header":
        return settings.white_nits
    if image.white_luminance is not None:
        return image.white_luminance
    if image.transfer is Transfer.PQ:
        return PQ_DIFFUSE_WHITE
    fault = "its header does not say which luminance 1.0 stands for"
    raise MismatchError(fault, where=path, remedy="give --white-nits N")


def _refusal(image: Image) -> str:
    if image.transfer is Transfer.HLG:
        return "is HLG, which has no absolute luminance without a display"
    return f"is LDR ({image.codes.dtype.itemsize * 8}-bit codes)" if image.codes.dtype.kind == "u" else "has encoded floats"


def photo(unit: Unit, shape: tuple[int, ...], settings: Settings) -> tuple[Image | None, tuple[str, ...]]:
    """The LDR photo at the reference's size, and remarks. A useless one is a remark, or an error if the unit is made of it."""
    if unit.ldr is None:
        return None, ()
    try:
        image = formats.read(unit.ldr)
        if image.is_hdr or image.codes.dtype.kind != "u" or image.transfer in (Transfer.PQ, Transfer.HLG):
            raise MismatchError("is HDR, --ldr takes the LDR photos", where=unit.ldr, remedy="give the photos")
        if image.pixels.shape == shape:
            return image, ()
        if not settings.resize:
            raise _sizes_differ(image.pixels.shape, shape, unit.ldr)
        note = f"{unit.ldr}: resized from {_size(image.pixels.shape)}"
        stored = None if image.stored is None else _resized(image.stored, shape)
        return replace(image, pixels=_resized(image.pixels, shape), stored=stored, metadata=Metadata()), (note,)
    except HdrcliError as error:
        if unit.prediction is None:
            raise
        return None, (f"{error}; regions come from the reference",)


def linear(photo: Image, white: float) -> NDArray[np.float32]:
    """What the photo measured: its codes linearised, as ``expand -m linear`` does it."""
    from hdrcli.conversion import ExpandOptions, expand

    expanded = expand(photo, ExpandOptions(model="linear", primaries="srgb", projection="flat"))
    return np.asarray(expanded.image.pixels * np.float32(white), np.float32)


def to_size(
    test: NDArray[np.float32], shape: tuple[int, ...], path: Path, settings: Settings
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """A prediction at the reference's size, and a remark if it was resized. Raises MismatchError if it must not be."""
    if test.shape == shape:
        return test, ()
    if not settings.resize:
        raise _sizes_differ(test.shape, shape, path)
    return _resized(test, shape), (f"{path}: resized from {_size(test.shape)} to {_size(shape)}",)


def _sizes_differ(mine: tuple[int, ...], reference: tuple[int, ...], path: Path) -> MismatchError:
    fault = f"is {_size(mine)} pixels, the reference {_size(reference)}"
    return MismatchError(fault, where=path, remedy="bring them to one size, or say --resize")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _resized(pixels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Averaged where it shrinks, bilinear where it grows: nothing rings below 0."""
    import cv2

    shrinks = shape[0] * shape[1] < pixels.shape[0] * pixels.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    made = cv2.resize(np.ascontiguousarray(pixels), (shape[1], shape[0]), interpolation=way)
    return np.asarray(made, pixels.dtype).reshape(shape)


def oddities(picture: NDArray[Any], name: str, unit: str = "cd/m2") -> tuple[str, ...]:
    """What a user should know of a picture that can be scored all the same: negative, black or constant."""
    low, high = float(picture.min()), float(picture.max())
    remarks = []
    if low < 0:
        share = np.count_nonzero(picture < 0) / picture.size
        remarks.append(f"{name} has negative values ({100 * share:.3g} % of samples, down to {low:.3g} {unit})")
    if low == high:
        remarks.append(f"{name} is all black" if high == 0 else f"{name} is constant ({high:.3g} {unit})")
    elif high <= 0:
        remarks.append(f"{name} has no positive value")
    return tuple(remarks)
