"""OpenEXR files some rows at a time: the OpenEXR package takes and gives whole pictures only.

Scanlines stand in chunks of some rows, each with its place in a table behind the header and coded without a look at the others.
So a file of some rows is the header with another data window, a part of the table, and the same chunks; and files of some rows
each join to the file of all. Source: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from hdrcli.formats import _exr_header
from hdrcli.formats._exr_header import Spliced, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hdrcli.formats._exr_header import Part
    from hdrcli.image import Pixels

# Rows of a chunk: "OpenEXR File Layout", "Scan Line"; compressions of later years are read as a whole
_CHUNK_ROWS = {
    "none": 1,
    "rle": 1,
    "zips": 1,
    "zip": 16,
    "pxr24": 16,
    "piz": 32,
    "b44": 32,
    "b44a": 32,
    "dwaa": 32,
    "dwab": 256,
}
STRIP_PIXELS = 1 << 21  # enough to keep threads busy


def strip_rows(width: int, compression: str) -> int:
    """Rows of a strip: about STRIP_PIXELS pixels, in whole chunks."""
    chunk = _CHUNK_ROWS[compression]
    return max(1, STRIP_PIXELS // (width * chunk)) * chunk


def rows_at_once(part: Part) -> int:
    """Rows of the strips in which :func:`read_strips` gives a part that is sound: all of them where it can't be cut."""
    plain = part.kind == "scanlineimage" and all(c.sampling == (1, 1) for c in part.channels.values())
    if part.compression not in _CHUNK_ROWS or not plain:
        return part.data_window.height
    return strip_rows(part.data_window.width, part.compression)


def read_strips(source: Any, part: Part) -> Iterator[tuple[Any, Window]]:
    """Files of some rows each, and their data windows; ``source`` is a file of this part alone, to read, tell and seek in.

    The whole file at once where it is small, in tiles, subsampled, or where its table of offsets has gaps (which the package
    may be able to fill).
    """
    window = part.data_window
    rows = rows_at_once(part)
    if window.height <= rows:
        yield source, window
        return
    chunk = _CHUNK_ROWS[part.compression]
    source.seek(0)
    head = _exr_header.read_header(source).raw
    count = -(-window.height // chunk)
    table = source.read(8 * count)
    pixels, end = len(head) + 8 * count, source.seek(0, 2)
    offsets = struct.unpack(f"<{count}Q", table) if len(table) == 8 * count else ()
    if not offsets or min(offsets) < pixels or max(offsets) >= end:
        yield source, window
        return
    for first in range(0, count, rows // chunk):
        some = offsets[first : first + rows // chunk]
        top = window.top + first * chunk
        bottom = min(top + rows - 1, window.bottom)
        moved = 8 * (len(some) - count)
        places = struct.pack(f"<{len(some)}Q", *(offset + moved for offset in some))
        yield (
            Spliced(_with_rows(head, top, bottom) + places, source, pixels),
            Window(window.left, top, window.right, bottom),
        )


def write_strips(
    stream: BinaryIO,
    header: Mapping[str, Any],
    size: tuple[int, int],
    compression: str,
    strips: Iterator[dict[str, Pixels]],
    workers: int,
) -> None:
    """A file of one part from its strips, top to bottom, each of :func:`strip_rows` rows but the last; ``size``: width, height.

    ``stream`` is empty, to write and seek in. Byte for byte what the package makes of the whole.
    """
    import numpy as np
    import OpenEXR

    def box(top: int, bottom: int) -> tuple[Any, Any]:
        return np.array([0, top], np.int32), np.array([width - 1, bottom], np.int32)

    width, height = size
    chunk, rows = _CHUNK_ROWS[compression], strip_rows(width, compression)
    offsets: list[int] = []
    position = start = 0
    for top, channels in zip(range(0, height, rows), strips, strict=True):
        bottom = min(top + rows, height) - 1
        buffer = io.BytesIO()
        windows = {"dataWindow": box(top, bottom), "displayWindow": box(0, height - 1)}
        with OpenEXR.File({**header, **windows}, channels, num_threads=workers) as file:
            file.write(buffer)
        data = buffer.getbuffer()
        if top == 0:
            buffer.seek(0)
            head = _exr_header.read_header(buffer).raw
            start = len(head)
            position = start + 8 * -(-height // chunk)
            stream.write(_with_rows(head, 0, height - 1))
            stream.write(bytes(position - start))  # the table's place
        count = -(-(bottom + 1 - top) // chunk)
        pixels = start + 8 * count
        offsets += (offset - pixels + position for offset in struct.unpack_from(f"<{count}Q", data, start))
        stream.write(data[pixels:])
        position += len(data) - pixels
    stream.seek(start)
    stream.write(struct.pack(f"<{len(offsets)}Q", *offsets))


def _with_rows(head: bytes, top: int, bottom: int) -> bytes:
    """The header of one part with other rows in its data window."""
    name = b"dataWindow\0box2i\0" + struct.pack("<i", 16)
    at = 8
    while not head.startswith(name, at):  # not find: a text could hold the same bytes
        kind = head.index(b"\0", at) + 1
        size = head.index(b"\0", kind) + 1
        at = size + 4 + struct.unpack_from("<i", head, size)[0]
    left, _, right, _ = struct.unpack_from("<4i", head, at + len(name))
    return head[: at + len(name)] + struct.pack("<4i", left, top, right, bottom) + head[at + len(name) + 16 :]
