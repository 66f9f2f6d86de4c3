"""The one value that every part of hdrcli takes and gives: an image with the meaning of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import AnyPrimaries, Primaries, Transfer
from hdrcli.errors import MismatchError

Pixels = NDArray[Any]

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float16), np.dtype(np.float32))
CLIP_CODE = 0.97  # from here on a channel counts as clipped wherever shares of clipped pixels are told
HALF_MAX = 65504.0  # the largest finite half float
FLOAT_MAX = 3.4028234663852886e38  # the largest finite float32
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Metadata:
    """What came with the pixels, or shall go with them.

    ``exif`` and ``icc`` are raw payloads, None where there was none; ``xmp`` is a packet as read. The orientation has already
    been applied to the pixels; ``turned`` tells which it was: 1 as stored, 2..8 as EXIF counts them. ``alpha`` is ``(H, W)
    float32`` in 0..1, straight (not premultiplied). ``header`` holds text entries for formats with a text header (EXR,
    Radiance). ``panorama``: the picture is an equirectangular 360 x 180 degree panorama, says the file. ``notes`` are remarks
    of the reader or of a conversion that the user should see, one line each.
    """

    exif: bytes | None = None
    turned: int = 1
    icc: bytes | None = None
    xmp: bytes | None = None
    panorama: bool = False
    alpha: NDArray[np.float32] | None = None
    header: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels, and what their numbers mean.

    * ``pixels``: ``(H, W, 3)`` uint8, uint16, float16 or float32 as stored; made read-only. Integers span the code
      range (255 or 65535 is code value 1).
    * ``transfer``: how the numbers encode light; ``Transfer.LINEAR`` is scene-linear.
    * ``primaries``: the colours that RGB stand for: a known set, or chromaticities of the file's own.
    * ``white_luminance``: cd/m2 that RGB (1, 1, 1) stands for; None: unknown.
    * ``stored``: the codes in the file, ``(H, W, 3)`` uint8 or uint16, where ``pixels`` were converted from them by a
      profile; None: ``pixels`` are they. Clip masks come from these, never from converted values.

    Raises MismatchError for any other shape or type.
    """

    pixels: Pixels = field(repr=False)
    transfer: Transfer
    primaries: AnyPrimaries = Primaries.BT709
    white_luminance: float | None = None
    metadata: Metadata = field(default_factory=Metadata)
    stored: Pixels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise MismatchError(f"an image has shape (H, W, 3) with at least one pixel, not {pixels.shape}")
        if pixels.dtype not in _DTYPES:
            raise MismatchError(f"pixels are uint8, uint16, float16 or float32, not {pixels.dtype}")
        alpha = self.metadata.alpha
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            raise MismatchError(f"alpha has shape {alpha.shape}, the pixels {pixels.shape[:2]}")
        if self.stored is not None and (self.stored.shape != pixels.shape or self.stored.dtype not in _DTYPES[:2]):
            raise MismatchError(f"stored codes are {self.stored.dtype} of shape {self.stored.shape}, the pixels {pixels.shape}")
        for name, values in (("pixels", pixels), ("stored", self.stored)):
            if values is not None:
                view = values.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def is_hdr(self) -> bool:
        """True for scene-linear floats; False for codes, even those of a linear profile, which end at their largest."""
        return self.transfer is Transfer.LINEAR and self.pixels.dtype.kind == "f"

    @property
    def codes(self) -> Pixels:
        """What clip masks come from: the codes as they stand in the file."""
        return self.pixels if self.stored is None else self.stored

    def with_notes(self, *notes: str) -> Image:
        """The same image with remarks added to ``metadata.notes``."""
        return replace(self, metadata=replace(self.metadata, notes=self.metadata.notes + notes))


def as_unit_float(pixels: Pixels) -> NDArray[np.float32]:
    """Pixels as float32 in code units.

    ``(H, W, 3)`` of any stored type -> ``(H, W, 3) float32``: integers divided by their largest code, floats as they
    are.
    """
    if pixels.dtype.kind == "u":
        return np.multiply(pixels, np.float32(1.0 / np.iinfo(pixels.dtype).max), dtype=np.float32)
    return pixels.astype(np.float32)


def brightest_channel(pixels: NDArray[Any]) -> NDArray[Any]:
    """``(H, W, 3)`` -> ``(H, W)``: the largest of three channels, many times faster than ``max(axis=2)``."""
    return np.asarray(np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]))


def look_up(table: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    """``table[codes]``, contiguous; 8-bit codes into 16- or 32-bit entries through OpenCV, several times faster."""
    if codes.dtype != np.uint8:
        return np.asarray(table[codes])
    import cv2

    carrier = {2: np.uint16, 4: np.float32}[table.dtype.itemsize]
    return np.asarray(cv2.LUT(np.ascontiguousarray(codes), table.view(carrier))).view(table.dtype).reshape(codes.shape)
