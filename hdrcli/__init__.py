"""hdrcli gives photographs their light back: LDR to HDR and back.

::

    import hdrcli

    photo = hdrcli.read("photo.jpg")
    hdr = hdrcli.expand(photo).image
    hdrcli.write(hdr, "photo.exr")

Everything is imported when first used, so importing hdrcli costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hdrcli.conversion import ExpandOptions, Expansion, TonemapOptions, expand, tonemap
    from hdrcli.errors import HdrcliError
    from hdrcli.formats import WriteOptions, read, write
    from hdrcli.image import Image, Metadata

_HOME = {
    "Expansion": "hdrcli.conversion",
    "ExpandOptions": "hdrcli.conversion",
    "TonemapOptions": "hdrcli.conversion",
    "expand": "hdrcli.conversion",
    "tonemap": "hdrcli.conversion",
    "HdrcliError": "hdrcli.errors",
    "WriteOptions": "hdrcli.formats",
    "read": "hdrcli.formats",
    "write": "hdrcli.formats",
    "Image": "hdrcli.image",
    "Metadata": "hdrcli.image",
}

__all__ = [
    "ExpandOptions",
    "Expansion",
    "HdrcliError",
    "Image",
    "Metadata",
    "TonemapOptions",
    "WriteOptions",
    "__version__",
    "expand",
    "read",
    "tonemap",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hdrcli' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
