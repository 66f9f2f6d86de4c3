"""XMP: whether a picture is a full equirectangular panorama. Source: Google, "Photo Sphere XMP Metadata" (namespace GPano)."""

from __future__ import annotations

import re

_NUMBER = rb"""GPano:%s\s*(?:=\s*["']|>)\s*(\d{1,9})"""
_EQUIRECTANGULAR = re.compile(rb"""GPano:ProjectionType\s*(?:=\s*["']|>)\s*equirectangular""")


def is_panorama(xmp: bytes) -> bool:
    """Does the packet say equirectangular, and the whole sphere of it (no cropped area)?"""
    if not _EQUIRECTANGULAR.search(xmp):
        return False
    for side in (b"Width", b"Height"):
        cropped, full = (_value(xmp, name + side + b"Pixels") for name in (b"CroppedAreaImage", b"FullPano"))
        if cropped is not None and full is not None and cropped != full:
            return False
    return True


def _value(xmp: bytes, name: bytes) -> int | None:
    match = re.search(_NUMBER % name, xmp)
    return int(match[1]) if match else None
