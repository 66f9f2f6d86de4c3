"""GIF, read only: display-encoded, 8 bit. imageio (through Pillow) decodes; the sizes are checked here first.

Source: CompuServe, "Graphics Interchange Format, Version 89a", sections 18 (logical screen) and 20 (image descriptor).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.formats import _display
from hdrcli.formats._native import quiet

if TYPE_CHECKING:
    from hdrcli.image import Image

EXTENSIONS = (".gif",)
HOLDS = ("ldr",)

_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, 0x3B
# A code of 12 bits stands for at most 4096 pixels (appendix F)
_BYTES_PER_PIXEL = 12 / 8 / 4096


def matches(head: bytes) -> bool:
    """Does the file start as GIF87a or GIF89a?"""
    return head[:6] in (b"GIF87a", b"GIF89a")


def read(path: str | Path) -> Image:
    """A GIF as a display-encoded uint8 Image: its first picture, on the canvas; transparency goes to ``metadata.alpha``.

    Raises UnreadableInput for a damaged or truncated file, UnsupportedInput for one that is too large.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    import imageio.v3
    import numpy as np
    import PIL.Image

    frames = _check(data)
    # the size has been checked; Pillow's own limit would raise at 179 megapixels
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        with quiet():
            stored = np.asarray(imageio.v3.imread(data, plugin="pillow", index=0, mode="RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error) as error:
        raise _display.damaged(str(error).splitlines()[0] if str(error) else "its pixels can't be decoded") from None
    notes = ("is an animation; its first picture is read",) if frames > 1 else ()
    pixels, alpha = np.ascontiguousarray(stored[..., :3]), stored[..., 3].astype(np.float32) / np.float32(255)
    return _display.assembled(_display.Decoded(pixels, alpha=alpha, notes=notes))


def _check(data: bytes) -> int:
    """Walk the blocks: sizes allowed, all of the first picture there. Returns how many pictures there are (at most 2)."""
    if len(data) < 13:
        raise _display.damaged("the file ends early")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    _display.check_size(width, height)
    position = 13 + _table(flags)
    frames = 0
    while position < len(data) and frames < 2:
        kind = data[position]
        if kind == _TRAILER:
            break
        if kind == _PICTURE and position + 11 <= len(data):
            left, top, w, h, flags = struct.unpack_from("<HHHHB", data, position + 1)
            if left + w > width or top + h > height:
                raise _display.damaged("a picture lies outside of its canvas")
            start = position + 11 + _table(flags)
            position = _after_blocks(data, start)
            _display.check_room(w, h, w * h * _BYTES_PER_PIXEL, position - start)
            frames += 1
        elif kind == _EXTENSION:
            position = _after_blocks(data, position + 2)
        else:
            raise _display.damaged("a block of no known kind")
    if frames == 0:
        raise _display.damaged("it holds no picture")
    return frames


def _table(flags: int) -> int:
    """Bytes of the colour table that the flags promise."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    """Where data sub-blocks that start here end."""
    while position < len(data):
        size = data[position]
        position += 1 + size
        if size == 0:
            return position
    raise _display.damaged("the file ends early")
