"""How a photo was taken, as OpenEXR's standard attributes and back.

Source: openexr.com, "Standard Attributes". Artist, copyright and software have no attribute there, or share one (``owner``);
they also go out under names of EXIF. What OpenImageIO writes under EXIF's own names is understood too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdrcli.formats._exif import Shot
    from hdrcli.formats._exr_header import Part

_NUMBERS = {
    "exposure_time": ("expTime", "ExposureTime"),
    "aperture": ("aperture", "FNumber"),
    "iso": ("isoSpeed", "Exif:PhotographicSensitivity", "Exif:ISOSpeedRatings"),
    "focal_length": ("nominalFocalLength", "Exif:FocalLength"),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "altitude": ("altitude",),
}
_TEXTS = {
    "make": ("cameraMake", "Make"),
    "model": ("cameraModel", "Model"),
    "serial": ("cameraSerialNumber", "Exif:BodySerialNumber"),
    "lens_make": ("lensMake", "Exif:LensMake"),
    "lens_model": ("lensModel", "Exif:LensModel"),
    "captured": ("capDate", "DateTime"),
    "description": ("comments", "ImageDescription"),
    "artist": ("exif:Artist", "Artist"),
    "copyright": ("exif:Copyright", "Copyright", "owner"),
    "software": ("exif:Software",),  # a plain "software" is what wrote the file
}
_POSITIVE = ("exposure_time", "aperture", "iso", "focal_length")
_LARGEST = {"latitude": 90.0, "longitude": 180.0}


def attributes_of(shot: Shot) -> dict[str, str | float]:
    """Header entries for the package: floats and texts by name."""
    found: dict[str, str | float] = {}
    for field, names in (_NUMBERS | _TEXTS).items():
        value = getattr(shot, field)
        if value is not None:
            found[names[0]] = value if isinstance(value, str) else float(value)
    owner = shot.copyright or shot.artist
    if owner is not None:
        found["owner"] = owner
    if shot.utc_offset is not None:
        # "UTC == local time + utcOffset": the other way round than in EXIF
        found["utcOffset"] = -float(shot.utc_offset)
    return found


def shot_of(part: Part) -> Shot:
    """What a part's header says of the shot; what makes no sense is left out."""
    from hdrcli.formats._exif import Shot

    texts = part.texts()
    found: dict[str, Any] = {
        field: next((texts[name] for name in names if texts.get(name)), None) for field, names in _TEXTS.items()
    }
    if found["artist"] == found["copyright"] and "exif:Copyright" not in texts:
        found["copyright"] = None  # "owner" repeats the artist
    found["captured"] = _date(found["captured"])
    for field, names in _NUMBERS.items():
        numbers = (part.number(name) for name in names)
        found[field] = next((_shortest(n) for n in numbers if n is not None and _makes_sense(field, n)), None)
    offset = part.number("utcOffset")
    if offset is not None and abs(offset) <= 24 * 3600:
        found["utc_offset"] = -round(offset)
    return Shot(**found)


def other_texts(texts: dict[str, str], shot: Shot) -> dict[str, str]:
    """The texts that ``shot`` does not hold word for word."""
    held = {name: getattr(shot, field) for field, names in _TEXTS.items() for name in names}
    held["owner"] = shot.copyright or shot.artist
    return {name: text for name, text in texts.items() if held.get(name) != text}


def _makes_sense(field: str, number: float) -> bool:
    if field in _POSITIVE:
        return 0 < number < 1e9
    return abs(number) <= _LARGEST.get(field, 1e6)


def _date(text: str | None) -> str | None:
    from datetime import datetime

    try:
        datetime.strptime(text or "", "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return text


def _shortest(number: float) -> float:
    """The shortest decimal that is this number in single precision: 0.004 for 0.00400000019."""
    for digits in range(1, 10):
        short = float(f"{number:.{digits}g}")
        if math.isclose(short, number, rel_tol=2**-25, abs_tol=0):
            return short
    return number
