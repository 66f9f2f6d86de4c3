"""How much memory a file will take, from its first bytes, and a run may take."""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH116
from __future__ import annotations

import os
import re
import warnings

from hdrcli.errors import HdrcliError, UsageError
from hdrcli.machine import free_memory

WORKER_BYTES = 260 << 20
"""What a worker process takes beside the photos, with libraries and a network. Measured: 70 to 260 MiB."""
_USED = 0.5  # of the memory that is free when a run starts
_PIXELS_PER_BYTE = 4  # of a file whose header says nothing: more than most photos have
_HEAD = 1 << 16
_WIDTH, _HEIGHT = 256, 257  # tags of TIFF
_DIRECTORIES = 8
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def pixels_in(path: str) -> int:
    """Columns times rows, as the file's header says; where none can be read, a guess from its size; 0 if it can't be opened."""
    try:
        size = os.stat(path).st_size
        for look in (_by_exr_header, _by_text_header, _by_tiff_header, _by_pillow):
            found = look(path)
            if found is not None:
                return found
    except (OSError, ValueError):  # told when the file is read
        return 0
    return size * _PIXELS_PER_BYTE


def _by_exr_header(path: str) -> int | None:
    from hdrcli.formats import _exr_header, exr

    with open(path, "rb") as file:
        if not exr.matches(file.read(64)):
            return None
        file.seek(0)
        try:
            parts = _exr_header.read_header(file).parts
            return max(part.data_window.width * part.data_window.height for part in parts)
        except HdrcliError:
            return None


def _by_text_header(path: str) -> int | None:
    """Radiance: ``-Y 600 +X 800`` in some order; PFM: ``PF 800 600``."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"#?"):
        found = re.search(rb"\n[-+][XY] (\d{1,9}) [-+][XY] (\d{1,9})\n", head)
    else:
        found = re.match(rb"P[Ff]4?\s+(\d{1,9})\s+(\d{1,9})\s", head)
    return None if found is None else int(found[1]) * int(found[2])


def _by_tiff_header(path: str) -> int | None:
    """Pillow knows no floats of three channels."""
    from hdrcli.formats import _ifd

    with open(path, "rb") as file:
        head = _ifd.header(file.read(16))
        if head is None:
            return None

        def read(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        largest, offset = 0, head.first
        try:
            for _ in range(_DIRECTORIES):  # the first may be that of a preview
                found, offset = _ifd.read_directory(read, offset, head, wanted=(_WIDTH, _HEIGHT), depth=0)
                largest = max(largest, int(found.number(_WIDTH)) * int(found.number(_HEIGHT)))
        except (ValueError, OverflowError):  # there is none any more, or the file is damaged
            pass
        return largest or None


def _by_pillow(path: str) -> int | None:
    """Pillow reads headers of all other formats, and no pixels before it is asked for them."""
    import PIL.Image

    PIL.Image.MAX_IMAGE_PIXELS = None  # it is only asked for their number
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; told when the file is read
            with PIL.Image.open(path) as picture:
                return picture.width * picture.height
    except Exception:  # damaged headers raise all sorts
        return None


def budget(text: str | None) -> int:
    """Bytes that a run may take: "8G", "500M", "25%" of what is free; None: half of it. Raises UsageError for anything else."""
    if text is None:
        return int(_USED * free_memory())
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(?:i?B)?|(%))\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) <= 0 or (found[3] and float(found[1]) > 100):
        raise UsageError(
            f"{text!r} is no amount of memory", where="--memory", remedy="for example 8G, 500M, 25% (of what is free)"
        )
    if found[3]:
        return int(float(found[1]) / 100 * free_memory())
    return int(float(found[1]) * _UNITS[found[2].upper()])
