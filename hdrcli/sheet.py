"""A contact sheet: small pictures in rows, each above its name."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer
from hdrcli.errors import UsageError
from hdrcli.image import Image
from hdrcli.resizing import resized

Codes = NDArray[np.uint8]

_GAP = 12
_LABEL = 26  # rows of a label
_GROUND, _EMPTY, _TEXT, _FAULT = 32, 72, 224, 200  # codes of grey: neutral and dark, so that it changes no picture's looks
_SIZE, _SMALL = 0.5, 0.42  # of OpenCV's Hershey letters, which are 22 rows high at 1
_LINE = 18
_NARROWEST = 120  # a tile's width, below which labels can't be read
_LARGEST = 16384  # the sheet's width
_TALLEST = 3  # a cell's height by its width
_SHAPE = 1.5  # the sheet's width by its height
_SPELLED = {
    ord("μ"): "mu",
    ord("µ"): "mu",
    ord("×"): "x",
    ord("ß"): "ss",
    ord("–"): "-",
    ord("—"): "-",
    ord("ø"): "o",
    ord("æ"): "ae",
}


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture of a sheet: its ``label``, its sRGB ``codes`` ``(h, w, 3) uint8``, or what went wrong instead (``fault``)."""

    label: str
    codes: Codes | None = field(default=None, repr=False)
    fault: str | None = None


def cell_size(count: int, aspect: float, *, columns: int | None = None, width: int = 1920) -> tuple[int, int]:
    """Width and height of the room for a picture on a sheet of ``count``; ``aspect``: their width by their height.

    For callers that reduce pictures to it before they keep them. Raises UsageError as :func:`contact_sheet` does.
    """
    if columns is not None and columns < 1:
        raise UsageError(f"{columns} columns are too few", remedy="say 1 or more")
    if not _NARROWEST + 2 * _GAP <= width <= _LARGEST:
        remedy = f"say {_NARROWEST + 2 * _GAP}..{_LARGEST}"
        raise UsageError(f"a contact sheet can't be {width} pixels wide", remedy=remedy)
    most = (width - _GAP) // (_NARROWEST + _GAP)
    if columns is None:
        columns = min(range(1, min(count, most) + 1), key=lambda n: _distance(n, count, aspect, width))
    elif columns > most:
        fault = f"{columns} columns leave too little of a width of {width} for each"
        raise UsageError(fault, remedy=f"say at most {most}, or a larger width")
    return _cell(columns, aspect, width)


def _cell(columns: int, aspect: float, width: int) -> tuple[int, int]:
    across = (width - _GAP) // columns - _GAP
    return across, max(1, min(round(across / aspect), _TALLEST * across))


def _distance(columns: int, count: int, aspect: float, width: int) -> float:
    """How far a sheet of that many columns is from a good shape, empty cells counted, too."""
    across, down = _cell(columns, aspect, width)
    rows = math.ceil(count / columns)
    shape = (columns * (across + _GAP)) / (rows * (down + _LABEL + _GAP))
    return abs(math.log(shape / _SHAPE)) + (rows * columns - count) / (rows * columns)


def contact_sheet(tiles: Sequence[Tile], *, columns: int | None = None, width: int = 1920) -> Codes:
    """The tiles in rows from the top left, ``(H, W, 3) uint8`` sRGB codes, at most ``width`` wide.

    ``columns``: None chooses them such that the sheet is about 3:2. Pictures larger than their cell are reduced, as light,
    smaller ones stay as they are; all are centred above their labels. A fault stands as text in a grey tile. Raises UsageError
    for no tiles, for columns below 1 or so many that labels can't be read, and for a width beyond 144..16384.
    """
    if not tiles:
        raise UsageError("a contact sheet needs a picture", remedy="name at least one")
    shown = [tile.codes for tile in tiles if tile.fault is None and tile.codes is not None]
    aspect = float(np.median([codes.shape[1] / codes.shape[0] for codes in shown])) if shown else _SHAPE
    across, down = cell_size(len(tiles), aspect, columns=columns, width=width)
    columns = min((width - _GAP) // (across + _GAP), len(tiles))
    pictures = [_picture(tile, across, down) for tile in tiles]
    # no wider than the pictures, if these are small
    across = max(min(across, _NARROWEST), *(picture.shape[1] for picture in pictures if picture is not None), 1)
    rows = [_row(tiles[i : i + columns], pictures[i : i + columns], across, down) for i in range(0, len(tiles), columns)]
    sheet = np.full((_GAP + sum(len(row) for row in rows), _GAP + columns * (across + _GAP), 3), _GROUND, np.uint8)
    top = _GAP
    for row in rows:
        sheet[top : top + len(row), : row.shape[1]] = row
        top += len(row)
    return sheet


def _row(tiles: Sequence[Tile], pictures: Sequence[Codes | None], across: int, down: int) -> Codes:
    """Some tiles side by side, with the gaps to their left and below."""
    tall = max((len(picture) for picture in pictures if picture is not None), default=min(down, across))
    row = np.full((tall + _LABEL + _GAP, len(tiles) * (across + _GAP), 3), _GROUND, np.uint8)
    for i, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        cell = row[:, _GAP + i * (across + _GAP) :][:, :across]
        if picture is None:
            cell[:tall] = _EMPTY
            _write_fault(cell[:tall], tile.fault or "no picture")
        else:
            top, left = (tall - picture.shape[0]) // 2, (across - picture.shape[1]) // 2
            cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        _write(cell[tall : tall + _LABEL], _cut(ascii_text(tile.label), across, _SIZE), _LABEL - 8, _SIZE, _TEXT)
    return row


def _picture(tile: Tile, across: int, down: int) -> Codes | None:
    """A tile's picture, no larger than a cell; None for a fault."""
    codes = tile.codes
    if tile.fault is not None or codes is None:
        return None
    height, width = codes.shape[:2]
    scale = min(1.0, across / width, down / height)
    if scale == 1:
        return codes
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return resized(Image(codes, Transfer.SRGB), *size).pixels


def ascii_text(text: str) -> str:
    """The text in letters that OpenCV draws: accents dropped, common signs spelled, others as question marks."""
    spelled = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    plain = "".join(c for c in spelled if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in " ".join(plain.split()))


def _width_of(text: str, size: float) -> int:
    import cv2

    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0])


def _cut(text: str, room: int, size: float) -> str:
    """As much of the text as there is room for, dots at its end where that is not all."""
    if _width_of(text, size) <= room:
        return text
    while text and _width_of(text + "...", size) > room:
        text = text[:-1]
    return text.rstrip() + "..."


def _write(area: Codes, text: str, base: int, size: float, grey: int) -> None:
    """A line of text in the middle of an area; ``base``: the row it stands on."""
    import cv2

    drawn = np.ascontiguousarray(area)  # OpenCV does not draw into a part of an array
    left = max(0, (area.shape[1] - _width_of(text, size)) // 2)
    cv2.putText(drawn, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, size, (grey,) * 3, 1, cv2.LINE_AA)
    area[:] = drawn


def _write_fault(area: Codes, fault: str) -> None:
    room, tall = area.shape[1] - 2 * _GAP, len(area) - 2 * _GAP
    letters = max(1, room * 10 // max(1, _width_of("n" * 10, _SMALL)))
    lines = textwrap.wrap(ascii_text(fault), letters)[: max(1, tall // _LINE)]
    top = (len(area) - _LINE * len(lines)) // 2
    for i, line in enumerate(lines):
        part = area[max(0, top + i * _LINE) :][:_LINE]
        _write(part, _cut(line, room, _SMALL), min(_LINE - 5, len(part)), _SMALL, _FAULT)
