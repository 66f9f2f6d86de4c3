"""EXIF orientation: found, applied, and reset. Source: Exif 2.32 (CIPA DC-008), section 4.6.4 A, tag 0x0112; TIFF 6.0."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hdrcli.image import Pixels

_ORIENTATION = 0x0112
_SHORT = 3


def without_prefix(payload: bytes) -> bytes:
    """The TIFF structure alone: what Metadata.exif holds."""
    return payload[6:] if payload[:4] == b"Exif" else payload


def orientation(exif: bytes) -> int:
    """The orientation, 1..8, of a TIFF structure; 1 if there is none or it makes no sense."""
    place = _place(exif)
    if place is None:
        return 1
    order, offset = place
    (value,) = struct.unpack_from(order + "H", exif, offset)
    return value if 1 <= value <= 8 else 1


def upright(exif: bytes) -> bytes:
    """The same payload with orientation 1, so that nobody turns the pixels a second time."""
    place = _place(exif)
    if place is None:
        return exif
    order, offset = place
    return exif[:offset] + struct.pack(order + "H", 1) + exif[offset + 2 :]


def _place(exif: bytes) -> tuple[str, int] | None:
    """Byte order and where the orientation's value stands."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", exif, entry)
            if tag == _ORIENTATION:
                return (order, entry + 8) if kind == _SHORT and values == 1 and entry + 10 <= len(exif) else None
    except struct.error:
        pass
    return None


def says_adobe_rgb(exif: bytes) -> bool:
    """Does it mark Adobe RGB as cameras do without a profile? (DCF 2.0: ColorSpace uncalibrated, InteroperabilityIndex R03.)"""
    if b"R03\0" not in exif:  # almost always: spare the import
        return False
    from PIL import Image

    entries = Image.Exif()
    try:
        entries.load(b"Exif\0\0" + exif)
        index = entries.get_ifd(0x8769).get(0xA005) and entries.get_ifd(0xA005).get(1)
        return entries.get_ifd(0x8769).get(0xA001) == 65535 and str(index).rstrip("\0") == "R03"
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return False


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels as they shall be seen: ``(H, W)`` or ``(H, W, C)``, transposed for orientations 5 to 8."""
    import cv2
    import numpy as np

    if orientation in (5, 6, 7, 8):
        pixels = np.asarray(cv2.transpose(pixels))
    # OpenCV's codes: 1 left-right, 0 up-down, -1 both
    code = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if code is None else np.asarray(cv2.flip(pixels, code))
