"""BMP, read only: Windows bitmaps of every header from OS/2's to V5, as they stand and run-length encoded. Decoded here.

No library reads them all right: OpenCV takes the 31 of five bits for 248 and loses most alpha, Pillow knows a few masks
only and no alpha in 16 bits, imagecodecs has neither run lengths nor OS/2, none reads 2 bits a pixel.

Source: Microsoft, "Bitmap Storage", "BITMAPV5HEADER" and "Bitmap Compression"; IBM, "OS/2 2.1 Presentation Manager
Reference" (BITMAPINFOHEADER2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hdrcli.errors import UnsupportedInput
from hdrcli.formats import _display

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries, Transfer
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".bmp", ".dib")
HOLDS = ("ldr",)

_FILE_HEADER = 14
_CORE, _OS2_SHORT, _INFO, _OS2, _V4, _V5 = 12, 16, 40, 64, 108, 124
_HEADERS = frozenset((_CORE, _OS2_SHORT, _INFO, 52, 56, _OS2, _V4, _V5))  # 52 and 56: with masks, as Adobe writes them
_PLAIN, _RLE8, _RLE4, _BITFIELDS, _JPEG, _PNG, _ALPHA_BITFIELDS = range(7)
_DEPTHS = (1, 2, 4, 8, 16, 24, 32)
_MASKS_OF_DEPTH = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_CALIBRATED, _LINKED, _EMBEDDED = 0, 0x4C494E4B, 0x4D424544
_STRIP = 1 << 20  # pixels decoded at a time
# Two bytes are 255 pixels of a run; rows may end early and be blank, though, so that small pictures may promise anything.
_RUN_PIXELS_PER_BYTE, _RUN_FREE_PIXELS = 1000, 16_000_000
_MANY_RUNS = 32  # bytes of runs in a row from which on NumPy is faster
_OF_HEX = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


def matches(head: bytes) -> bool:
    """Does the file start with BM and a header of a known length?"""
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADERS


@dataclass(frozen=True)
class _Scan:
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    header: int  # its length
    start: int  # of the pixels
    masks: tuple[int, ...]  # of red, green, blue and alpha; none for palettes and 24 bits
    palette: bytes  # four or three bytes a colour
    palette_entry: int


def read(path: str | Path) -> Image:
    """A BMP as a display-encoded Image, uint8, or uint16 where a mask has more than 8 bits; top row first.

    Palettes are looked up; fields of other than 8 bits are stretched to the whole range, rounded to nearest. Alpha, where
    there is a mask for it, goes to ``metadata.alpha`` unless all is opaque, or all zero. A V5 header's profile and a V4
    header's calibration are honoured. Raises UnreadableInput for a damaged or truncated file, UnsupportedInput for JPEG or
    PNG inside, Huffman coding, CMYK, and 64 bits.
    """
    return _display.read_whole(path, _read)


def _read(data: bytes) -> Image:
    scan = _scan(data)
    icc, meaning, notes = _colour(data, scan)
    pixels, alpha_codes = _decode(data, scan)
    alpha: NDArray[np.float32] | None = None
    if alpha_codes is not None and not alpha_codes.any():
        notes += ("is transparent everywhere, as files are whose writers left alpha out; taken as opaque",)
    elif alpha_codes is not None:
        alpha = _display.straight_alpha(alpha_codes)
    grey = bool(scan.palette) and bool((_colours(scan) == _colours(scan)[:, :1]).all())
    found = _display.Decoded(pixels, grey=grey, alpha=alpha, icc=icc, meaning=meaning, notes=notes)
    return _display.assembled(found)


def _scan(data: bytes) -> _Scan:
    if len(data) < _FILE_HEADER + _CORE:
        raise _display.damaged("the file ends early")
    start, header = struct.unpack_from("<II", data, 10)
    end = _FILE_HEADER + header
    if len(data) < end:
        raise _display.damaged("the file ends early")
    if header not in _HEADERS:
        raise UnsupportedInput(f"is a BMP with a header of {header} bytes, which no kind has", remedy="save it as PNG")
    compression = colors = 0
    if header == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif header == _OS2_SHORT:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    else:
        width, height, _, bits, compression, colors = struct.unpack_from("<iiHHI12xI", data, 18)
    _check_kind(header, bits, compression)
    if width < 0:
        raise _display.damaged("its width is negative")
    _display.check_size(width, abs(height))

    masks: tuple[int, ...] = _MASKS_OF_DEPTH.get(bits, ())
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS):
        # behind a header of 40 bytes, or in a longer one: at the same place
        count = 4 if header >= 56 or compression == _ALPHA_BITFIELDS else 3
        if header == _INFO:
            end += 4 * count
        if len(data) < 54 + 4 * count:
            raise _display.damaged("the file ends early")
        given = (*struct.unpack_from(f"<{count}I", data, 54), 0)[:4]
        masks = given if any(given[:3]) else masks
        _check_masks(masks, bits)
    if start < end:
        raise _display.damaged("its pixels start inside of its header")
    palette, entry = b"", 3 if header == _CORE else 4
    if bits <= 8:
        count = min(colors or 1 << bits, 1 << bits, (start - end) // entry)
        palette = data[end : end + count * entry]
        if not palette or len(palette) < count * entry:
            raise _display.damaged("its palette is missing")
    scan = _Scan(width, abs(height), height < 0, bits, compression, header, start, masks, palette, entry)
    if compression in (_RLE8, _RLE4):
        needed = (scan.width * scan.height - _RUN_FREE_PIXELS) / _RUN_PIXELS_PER_BYTE
        _display.check_room(scan.width, scan.height, needed, len(data) - start)
    elif start + _stride(scan) * (scan.height - 1) + -(-width * bits // 8) > len(data):  # the last row may lack its padding
        raise _display.damaged("the file ends early")
    return scan


def _check_kind(header: int, bits: int, compression: int) -> None:
    remedy = "save it as a PNG"
    if bits not in _DEPTHS and not (bits == 0 and compression in (_JPEG, _PNG)):
        raise UnsupportedInput(f"is a BMP of {bits} bits a pixel", remedy=remedy)
    if header == _OS2 and compression > _RLE4:
        raise UnsupportedInput(f"is an OS/2 bitmap of compression {compression}", remedy=remedy)
    if compression in (_JPEG, _PNG):
        raise UnsupportedInput(f"is a BMP around a {'JPEG' if compression == _JPEG else 'PNG'}", remedy="take that out of it")
    if compression > _ALPHA_BITFIELDS:
        raise UnsupportedInput(f"is a BMP of compression {compression}", remedy=remedy)
    fitting = {_RLE8: (8,), _RLE4: (4,), _BITFIELDS: (16, 32), _ALPHA_BITFIELDS: (16, 32)}.get(compression, _DEPTHS)
    if bits not in fitting:
        raise _display.damaged(f"compression {compression} does not go with {bits} bits a pixel")


def _check_masks(masks: tuple[int, ...], bits: int) -> None:
    seen = 0
    for mask in masks:
        field = _field(mask)[1]
        if field & (field + 1) or mask & seen or mask >> bits:
            raise _display.damaged("its masks make no sense")
        seen |= mask


def _field(mask: int) -> tuple[int, int]:
    """How far a mask is shifted, and the largest number in it."""
    shift = (mask & -mask).bit_length() - 1 if mask else 0
    return shift, mask >> shift


def _stride(scan: _Scan) -> int:
    return (scan.width * scan.bits + 31) // 32 * 4


def _decode(data: bytes, scan: _Scan) -> tuple[Pixels, Pixels | None]:
    """``(H, W, 3)`` RGB, and ``(H, W)`` codes of alpha if there is a mask for it."""
    import numpy as np

    deep = any(_field(mask)[1] > 255 for mask in scan.masks)
    dtype = np.uint16 if deep else np.uint8
    pixels: Pixels = np.empty((scan.height, scan.width, 3), dtype)
    alpha: Pixels | None = np.empty(pixels.shape[:2], dtype) if scan.masks and scan.masks[3] else None
    for place, rows in _strips(data, scan):
        if scan.bits == 24:
            pixels[place] = rows[:, : 3 * scan.width].reshape(len(rows), scan.width, 3)[..., ::-1]
        elif scan.masks:
            values = rows[:, : scan.width * scan.bits // 8].copy().view(f"<u{scan.bits // 8}")
            for channel, mask in enumerate(scan.masks[:3]):
                pixels[place][..., channel] = _stretched(values, mask, dtype)
            if alpha is not None:
                alpha[place] = _stretched(values, scan.masks[3], dtype)
        else:
            pixels[place] = _table(scan)[_indices(rows, scan)]
    return pixels, alpha


def _strips(data: bytes, scan: _Scan) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Some rows at a time as bytes, and where they go; each strip top row first."""
    import numpy as np

    if scan.compression in (_RLE8, _RLE4):
        indices = np.frombuffer(_runs(data, scan), np.uint8).reshape(scan.height, scan.width)
        yield slice(None), indices if scan.top_down else indices[::-1]
        return
    stride = _stride(scan)
    step = max(1, _STRIP // scan.width)
    for first in range(0, scan.height, step):
        last = min(first + step, scan.height)
        start, end = scan.start + first * stride, scan.start + last * stride
        buffer = data if end <= len(data) else data[start:].ljust(end - start, b"\0")
        rows = np.frombuffer(buffer, np.uint8, end - start, start if buffer is data else 0).reshape(-1, stride)
        if scan.top_down:
            yield slice(first, last), rows
        else:
            yield slice(scan.height - last, scan.height - first), rows[::-1]


def _stretched(values: NDArray[np.unsignedinteger], mask: int, dtype: type[np.uint8 | np.uint16]) -> Pixels:
    """A field of the values, its largest number made the largest code, rounded to nearest."""
    import numpy as np

    shift, largest = _field(mask)
    codes = int(np.iinfo(dtype).max)
    field = (values >> np.asarray(shift, values.dtype)) & np.asarray(largest, values.dtype)
    if largest in (0, codes):
        return field.astype(dtype)
    return ((field.astype(np.uint64) * np.uint64(2 * codes) + np.uint64(largest)) // np.uint64(2 * largest)).astype(dtype)


def _indices(rows: NDArray[np.uint8], scan: _Scan) -> NDArray[np.uint8]:
    import numpy as np

    if scan.bits == 8 or scan.compression == _RLE4:
        return rows[:, : scan.width]
    shifts = np.arange(8 - scan.bits, -1, -scan.bits, dtype=np.uint8)  # the first pixel stands highest
    spread = rows[..., None] >> shifts & np.uint8((1 << scan.bits) - 1)
    return spread.reshape(len(rows), -1)[:, : scan.width]


def _colours(scan: _Scan) -> NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(scan.palette, np.uint8).reshape(-1, scan.palette_entry)[:, 2::-1]


def _table(scan: _Scan) -> NDArray[np.uint8]:
    """``(256, 3)`` RGB; what the palette does not have is black, as everywhere."""
    import numpy as np

    table = np.zeros((256, 3), np.uint8)
    table[: len(_colours(scan))] = _colours(scan)
    return table


def _runs(data: bytes, scan: _Scan) -> bytearray:
    """Indices of a run-length encoded picture, first row of the file first; 0 where it says nothing.

    Runs past the end of a row are cut, as everywhere. Raises UnreadableInput for data that end before the picture does.
    """
    import numpy as np

    width, height, position = scan.width, scan.height, scan.start
    four = scan.compression == _RLE4
    out = bytearray(width * height)
    stream = np.frombuffer(data, np.uint8)
    # pairs that are no run, at even and odd places; between two of them runs are many at a time
    escapes = [np.flatnonzero(stream[odd : len(data) - 1 : 2] == 0) * 2 + odd for odd in (0, 1)]
    following = [-1, -1]  # the first of these from here on
    x = y = 0
    while y < height and position + 2 <= len(data):
        if data[position]:
            odd = position % 2
            if following[odd] < position:
                places = escapes[odd]
                at = int(places.searchsorted(position))
                following[odd] = int(places[at]) if at < len(places) else position + (len(data) - position) // 2 * 2
            end = following[odd]
            if end - position >= _MANY_RUNS:
                pairs = stream[position:end].reshape(-1, 2)
                ends = np.cumsum(pairs[:, 0], dtype=np.int64)
                room = max(0, min(int(ends[-1]), width - x))
                seen = pairs[: int(ends.searchsorted(room)) + 1]  # what is cut may be many times what is not
                out[y * width + x : y * width + x + room] = _repeated(seen, four)[:room].tobytes()
                x, position = x + int(ends[-1]), end
                continue
        count, value = data[position], data[position + 1]
        position += 2
        if count:
            run = (bytes((value >> 4, value & 15)) * 128)[:count] if four else data[position - 1 : position] * count
        elif value == 0:  # end of row
            x, y = 0, y + 1
            continue
        elif value == 1:  # end of picture
            return out
        elif value == 2:  # so far to the right, so many rows on
            if position + 2 > len(data):
                break
            x, y = x + data[position], y + data[position + 1]
            position += 2
            continue
        else:  # as they stand, filled up to an even number of bytes
            size = (value + 1) // 2 if four else value
            run = data[position : position + size]
            if len(run) < size:
                break
            position += size + size % 2
            count = value
            if four:
                run = run.hex().encode().translate(_OF_HEX)[:count]
        room = max(0, min(count, width - x))
        out[y * width + x : y * width + x + room] = run[:room]
        x += count
    if y < height - 1 or (y == height - 1 and x < width):
        raise _display.damaged("the file ends early")
    return out


def _repeated(pairs: NDArray[np.uint8], four: bool) -> NDArray[np.uint8]:
    """Runs of ``(N, 2)`` counts and values; values of four bits are two indices that take turns."""
    import numpy as np

    counts = pairs[:, 0].astype(np.intp)
    values = np.repeat(pairs[:, 1], counts)
    if not four:
        return values
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.where((np.arange(len(values)) - starts) % 2 == 0, values >> 4, values & 15), dtype=np.uint8)


def _colour(data: bytes, scan: _Scan) -> tuple[bytes | None, tuple[Transfer | float, AnyPrimaries] | None, tuple[str, ...]]:
    """Profile, or transfer and primaries, and notes; what a file does not say is sRGB."""
    if scan.header not in (_V4, _V5):
        return None, None, ()
    (space,) = struct.unpack_from("<I", data, 70)
    if space == _CALIBRATED:
        meaning, notes = _calibration(data)
        return None, meaning, notes
    if scan.header == _V5 and space == _EMBEDDED:
        place, size = struct.unpack_from("<II", data, 126)
        profile = data[_FILE_HEADER + place : _FILE_HEADER + place + size]
        return (profile if len(profile) == size else b""), None, ()
    notes = ("its colour profile is another file; taken as sRGB",) if space == _LINKED else ()
    return None, None, notes


def _calibration(data: bytes) -> tuple[tuple[Transfer | float, AnyPrimaries], tuple[str, ...]]:
    """Of XYZ of the primaries (fixed point of 30 bits) and an exponent a channel (of 16 bits); zeros say nothing."""
    from hdrcli.color import Chromaticities, Primaries

    numbers = struct.unpack_from("<9i", data, 74)
    ends = [tuple(v / 2**30 for v in numbers[i : i + 3]) for i in (0, 3, 6)]
    chromaticities = None
    if all(sum(end) > 0 for end in ends):
        red, green, blue = ((x / (x + y + z), y / (x + y + z)) for x, y, z in ends)
        # where all sum up to 1 they are chromaticities already, and nothing is said of white
        scaled = any(abs(sum(end) - 1) > 0.005 for end in ends)
        total = [sum(end[i] for end in ends) for i in range(3)]
        white = (total[0] / sum(total), total[1] / sum(total)) if scaled else Primaries.BT709.value.white
        chromaticities = Chromaticities(red, green, blue, white)
    gammas = [v / 65536 for v in struct.unpack_from("<3I", data, 110)]
    if min(gammas) <= 0:
        return _display.calibrated(None, chromaticities)
    if max(gammas) > 1.01 * min(gammas):
        meaning, notes = _display.calibrated(None, chromaticities)
        return meaning, (*notes, "its channels are of different gammas; taken as sRGB's")
    return _display.calibrated(gammas[0] if gammas[0] >= 1 else 1 / gammas[0], chromaticities)
