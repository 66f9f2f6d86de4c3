"""What the display-encoded formats share: from decoded codes to an Image, codes from any pixels, limits, odd values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hdrcli.errors import HdrcliError, InputError, MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats._native import check_memory, quiet
from hdrcli.formats._values import MAX_PIXELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries, Chromaticities, Transfer
    from hdrcli.image import Image, Pixels

COPY_AGAIN = "copy it again from where it came"
_MAX_SIDE = 1 << 20  # OpenCV's own limit
_CHROMATICITY_TOLERANCE = 0.001  # files round to three digits
_GAMMA_TOLERANCE = 0.011  # 0.45, 0.4545 and 0.45455 are all meant for 1 / 2.2
_MAX_GAMMA = 10.0


def read_whole(path: str | Path, decode: Callable[[bytes], Image]) -> Image:
    """The whole file through ``decode``, whose errors get the file's name. Raises UnreadableInput, and what ``decode`` does."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    try:
        return decode(data)
    except HdrcliError as error:
        error.where = str(path)
        raise


def read_open(path: str | Path, decode: Callable[[BinaryIO], Image]) -> Image:
    """As :func:`read_whole`, for formats that read here and there: ``decode`` gets the open file."""
    try:
        with Path(path).open("rb") as file:
            return decode(file)
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    except HdrcliError as error:
        error.where = str(path)
        raise


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a decoder found in a file, before anything is made of it.

    ``pixels``: ``(H, W, 3)`` RGB codes, uint8 or uint16, or floats, in file order; ``grey``: three equal channels of one.
    ``alpha``: ``(H, W) float32``, straight. ``exif``, ``xmp``, ``icc``: raw payloads; ``icc`` is empty where a profile is there
    but not whole. ``orientation``: 1..8 where the format says it outside of EXIF. ``meaning``: transfer, or the power of codes
    that light is, and primaries where the format names them itself (they go before ``icc``). Float pixels may be overwritten.
    """

    pixels: Pixels
    grey: bool = False
    alpha: NDArray[np.float32] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    orientation: int | None = None
    meaning: tuple[Transfer | float, AnyPrimaries] | None = None
    notes: tuple[str, ...] = ()


def assembled(found: Decoded) -> Image:
    """The Image that a decoder's findings make: profile honoured, orientation applied once, opaque alpha dropped.

    Without a profile codes are sRGB, or Adobe RGB where EXIF says so as cameras do. Floats are linear light, and become it
    where a profile gives them a curve. Raises what :func:`hdrcli.formats._icc.interpret` raises.
    """
    from hdrcli.color import Primaries, Transfer
    from hdrcli.formats import _exif, _icc, _xmp
    from hdrcli.image import Image, Metadata

    notes, exif = found.notes, None if found.exif is None else _exif.without_prefix(found.exif)
    if found.meaning is not None:
        meaning = _icc.as_stated(found.pixels, *found.meaning)
    elif found.icc is not None:
        meaning = _icc.interpret(found.icc, found.pixels, grey=found.grey)
    elif found.pixels.dtype.kind == "f":
        meaning = _icc.Meaning(found.pixels, Transfer.LINEAR, Primaries.BT709)
    elif exif is not None and not found.grey and _exif.says_adobe_rgb(exif):
        meaning = _icc.Meaning(found.pixels, Transfer.GAMMA22, Primaries.ADOBE_RGB)
    else:
        meaning = _icc.Meaning(found.pixels, Transfer.SRGB, Primaries.BT709)
    pixels, stored, alpha = meaning.pixels, meaning.stored, found.alpha
    if alpha is not None:
        if alpha.min() == 1:
            alpha = None
        else:
            notes += ("has transparency; it goes along as alpha",)
    turn = found.orientation
    if turn is None:
        turn = 1 if exif is None else _exif.orientation(exif)
    if turn != 1:
        pixels = _turned(pixels, turn)
        stored = None if stored is None else _turned(stored, turn)
        alpha = None if alpha is None else _turned(alpha, turn)
    metadata = Metadata(
        exif=None if exif is None else _exif.upright(exif),
        turned=turn,
        icc=found.icc or None,
        xmp=found.xmp,
        panorama=found.xmp is not None and _xmp.is_panorama(found.xmp),
        alpha=alpha,
        notes=notes + meaning.notes,
    )
    # SMPTE ST 2084: code 1 is 10000 cd/m2
    white = 10000.0 if meaning.transfer is Transfer.PQ else meaning.white_luminance
    return Image(pixels, meaning.transfer, meaning.primaries, white, metadata, stored)


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """``(H, W)`` or ``(H, W, C)`` as they shall be seen, transposed for orientations 5 to 8: Exif 2.32, section 4.6.4 A."""
    import cv2
    import numpy as np

    if orientation in (5, 7):  # mirrored at a diagonal
        pixels = np.asarray(cv2.transpose(pixels))
    if orientation in (2, 4):
        return np.asarray(cv2.flip(pixels, 1 if orientation == 2 else 0))
    turn = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 7: cv2.ROTATE_180, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}.get(
        orientation
    )
    return pixels if turn is None else np.asarray(cv2.rotate(pixels, turn))


def decoded(codec: str, data: bytes, room: int = 0, **options: str) -> Pixels:
    """A whole file through ``imagecodecs.CODEC_decode``, which asks for no more memory than the codes take.

    ``room``: bytes that the codes take, for codecs that report a lack of memory as damage. Raises UnreadableInput where it
    gives up, MemoryError where that is for lack of memory.
    """
    import logging

    import imagecodecs
    import numpy as np

    log = logging.getLogger("imagecodecs")  # where libpng's warnings go, and on to stderr where nobody listens
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    decode: Callable[..., Pixels] = getattr(imagecodecs, f"{codec}_decode")
    try:
        with quiet():
            return np.asarray(decode(data, **options))
    except (RuntimeError, ValueError) as error:
        # its codecs' errors are RuntimeErrors; libpng's texts may be gone by the time they are read
        text = " ".join(str(error).split())
        if "memory" in text.lower():
            raise MemoryError(text) from None
        check_memory(room)
        plain = isinstance(error, RuntimeError) and text.isascii() and text.isprintable() and 0 < len(text) < 100
        raise damaged(text if plain else "its pixels can't be decoded") from None


def straight_alpha(codes: Pixels) -> NDArray[np.float32] | None:
    """``(H, W)`` codes as float32 in 0..1; None where all are the largest."""
    import numpy as np

    largest = np.iinfo(codes.dtype).max
    return None if codes.min() == largest else np.multiply(codes, np.float32(1 / largest), dtype=np.float32)


def calibrated(
    exponent: float | None, chromaticities: Chromaticities | None
) -> tuple[tuple[Transfer | float, AnyPrimaries], tuple[str, ...]]:
    """Transfer and primaries of a file that says them in numbers, and notes: codes are light to the power 1/exponent.

    What is not given is sRGB's. An exponent of 2.2 with sRGB's primaries, or with none, is how files say sRGB that can't
    name it (PNG, Third Edition, 11.3.2.5: to go beside an sRGB chunk); with others it is a power of 2.2, as in browsers.
    The exponent itself comes back where no transfer has it; one that leaves of a picture but black and white makes no sense.
    """
    from hdrcli.color import Primaries, Transfer, chromaticities_of, named_primaries

    notes: tuple[str, ...] = ()
    primaries: AnyPrimaries = Primaries.BT709
    if chromaticities is not None:
        numbers = chromaticities.numbers

        def distance(known: Primaries) -> float:
            return max(abs(a - b) for a, b in zip(numbers, chromaticities_of(known).numbers, strict=True))

        nearest = min(Primaries, key=distance)
        found = nearest if distance(nearest) <= _CHROMATICITY_TOLERANCE else named_primaries(chromaticities)
        if found is None:
            notes += ("its chromaticities make no sense; taken as sRGB's",)
        primaries = found or primaries
    usual = Transfer.SRGB if primaries is Primaries.BT709 else Transfer.GAMMA22
    known = {1.0: Transfer.LINEAR, 1.8: Transfer.GAMMA18, 2.2: usual}
    if exponent is None:
        return (Transfer.SRGB, primaries), notes
    if not 1 / _MAX_GAMMA <= exponent <= _MAX_GAMMA:
        return (Transfer.SRGB, primaries), (*notes, f"its gamma of {exponent:.4g} makes no sense; taken as sRGB's")
    transfer = next((t for value, t in known.items() if abs(exponent / value - 1) <= _GAMMA_TOLERANCE), None)
    return (exponent if transfer is None else transfer, primaries), notes


def damaged(how: str) -> InputError:
    """The error for a file that is not whole."""
    return UnreadableInput(f"is damaged: {how}", remedy=COPY_AGAIN)


def check_size(width: int, height: int) -> None:
    """Raises UnreadableInput for no pixels, UnsupportedInput for too many."""
    if width == 0 or height == 0:
        raise damaged("its size is zero")
    if width * height > MAX_PIXELS or max(width, height) > _MAX_SIDE:
        limit = f"the limit is {MAX_PIXELS // 10**6} megapixels and {_MAX_SIDE} pixels a side"
        raise UnsupportedInput(f"is too large: {width} x {height} pixels", remedy=limit)


def check_room(width: int, height: int, needed: float, there: int) -> None:
    """Raises UnreadableInput where a file of that size needs more coded bytes than are there."""
    if needed > there:
        raise damaged(f"{width} x {height} pixels can't stand in so short a file")


def codes(pixels: Pixels, depth: int) -> tuple[Pixels, tuple[str, ...]]:
    """Code values of 8 or 16 bit, rounded to nearest, and remarks.

    Floats are code units: clipped to 0..1; NaN becomes 0 with a remark, +inf the largest code, -inf 0.
    """
    import numpy as np

    dtype: type[np.uint8 | np.uint16] = np.uint8 if depth == 8 else np.uint16
    if pixels.dtype == dtype:
        return pixels, ()
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(257), ()
    out = np.empty(pixels.shape, dtype)
    nans = 0
    rows = max(1, (1 << 20) // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        strip = pixels[start : start + rows].astype(np.float32)
        if pixels.dtype.kind == "f":
            if np.isnan(strip.min()):
                nans += int(np.count_nonzero(np.isnan(strip)))
                np.copyto(strip, 0, where=np.isnan(strip))
            np.clip(strip, 0, 1, out=strip)
            strip *= np.float32(np.iinfo(dtype).max)
        else:
            strip /= np.float32(257)
        out[start : start + rows] = np.rint(strip, out=strip)
    return out, (f"{nans} NaN {'value' if nans == 1 else 'values'} written as 0",) if nans else ()


def check_encoded(image: Image, name: str) -> None:
    """Raises MismatchError for scene-linear pixels."""
    from hdrcli.color import Transfer

    if image.transfer is Transfer.LINEAR:
        raise MismatchError(f"{name} holds display-encoded codes, these pixels are linear light", remedy="tone-map them first")


def profile_to_embed(image: Image) -> bytes:
    """The source's own profile if it says what the pixels are; else one of ours.

    sRGB has one, too: without it programs may show codes in the screen's own colours, and EXIF of a camera set to Adobe RGB
    would say what the pixels no longer are. Raises ValueError for PQ and HLG.
    """
    from hdrcli.formats import _icc

    if image.metadata.icc is not None:
        try:
            profile = _icc.parse(image.metadata.icc)
        except ValueError:
            profile = None
        if profile and profile.space == "RGB" and (profile.transfer, profile.primaries) == (image.transfer, image.primaries):
            return image.metadata.icc
    return _icc.build(image.transfer, image.primaries)
