"""What the display-encoded formats share: codes from any pixels, the profile to embed, limits, odd values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import HdrcliError, InputError, MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats._values import MAX_PIXELS

if TYPE_CHECKING:
    from hdrcli.image import Image, Pixels

COPY_AGAIN = "copy it again from where it came"
_MAX_SIDE = 1 << 20  # OpenCV's own limit


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


def profile_to_embed(image: Image) -> bytes | None:
    """None for sRGB; the source's own profile if it says what the pixels are; else one of ours."""
    from hdrcli.color import Primaries, Transfer
    from hdrcli.formats import _icc

    if (image.transfer, image.primaries) == (Transfer.SRGB, Primaries.BT709):
        return None
    if image.metadata.icc is not None:
        try:
            profile = _icc.parse(image.metadata.icc)
        except ValueError:
            profile = None
        if profile and profile.space == "RGB" and (profile.transfer, profile.primaries) == (image.transfer, image.primaries):
            return image.metadata.icc
    return _icc.build(image.transfer, image.primaries)
