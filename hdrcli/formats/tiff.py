"""TIFF: scene-linear floats and display-encoded codes, 8 to 64 bit, strips or tiles.

Source: TIFF 6.0 (Adobe 1992); BigTIFF as libtiff 4.7 has it; ICC.1:2022, annex B.4 (the profile's tag); libtiff's tag StoNits.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from hdrcli import parallel
from hdrcli.errors import MismatchError, UnsupportedInput, UsageError
from hdrcli.formats import _display, _ifd
from hdrcli.formats._ifd import ASCII, DOUBLE, LONG, LONG8, RATIONAL, SHORT, UNDEFINED, Directory, Entry, Order
from hdrcli.formats._tiff_pixels import (
    BATCH,
    CMYK,
    DEFLATE,
    EXTRA,
    FLOAT,
    GREYS,
    ICC,
    NONE,
    PIXEL_TAGS,
    RGB,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    UINT,
    Layout,
    decoded,
    layout_of,
    segments_of,
)
from hdrcli.formats._values import Odd, bounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.formats import WriteOptions
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".tif", ".tiff")
HOLDS = ("hdr", "ldr")

_DESCRIPTION, _SOFTWARE, _WHITE_POINT, _CHROMATICITIES, _XMP, _NITS, _DNG = 270, 305, 318, 319, 700, 37439, 50706
# what the directory says about the picture as EXIF does: description, make, model, resolution, software, date, artist ...
_EXIF_TAGS = (_DESCRIPTION, 271, 272, 282, 283, 296, _SOFTWARE, 306, 315, 33432)
_TELLING = frozenset((_DESCRIPTION, 271, 272, 306, 315, 33432))  # those for which a payload is worth making
_OWN_TAGS = (ICC, _XMP, _NITS, _WHITE_POINT, _CHROMATICITIES, _DNG, _ifd.EXIF, _ifd.GPS)
_WANTED = frozenset((254, 255, 274, *_EXIF_TAGS, *_OWN_TAGS)) | PIXEL_TAGS
_LARGEST_ENTRY = 1 << 26  # offsets of eight million strips
_MAX_DIRECTORIES = 1000
_FLOAT_MAX, _HALF_MAX = 3.4028234663852886e38, 65504.0
_CLASSIC_LIMIT = (1 << 32) - (1 << 25)
_DEFLATE_LEVEL = 3  # libdeflate's: three times zlib's speed at its usual level, and 2 % more bytes


def matches(head: bytes) -> bool:
    """Does the file start with a byte order and 42 (TIFF) or 43 (BigTIFF)?"""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


# --- reading --------------------------------------------------------------------------------------------------------------


def read(path: str | Path) -> Image:
    """A TIFF as an Image: floats as scene-linear light, whatever curve a profile gives them, integers as display-encoded codes.

    Pixels are uint8 (up to 8 bit), uint16 (up to 16; 32-bit integers are rounded to it), float16 or float32 (24 to 64 bit). The
    first full-size picture of several is read. Grey becomes three equal channels, palettes are looked up, CMYK is converted by
    its profile, associated alpha divided out. Maker notes are left out of the EXIF payload. NaN becomes 0, infinity the largest
    number of the type, both with a note. Raises UnreadableInput for a damaged file, UnsupportedInput for colour spaces,
    compressions and sample types of other kinds.
    """
    return _display.read_open(path, _read)


def _read(file: BinaryIO) -> Image:
    read_at = _reader(file)
    directory, order, notes = _choose(read_at)
    layout = layout_of(directory, order)
    segments = segments_of(layout, directory, file.seek(0, os.SEEK_END))
    pixels, alpha = decoded(layout, segments, read_at, directory)
    if layout.kind == FLOAT:
        largest = _HALF_MAX if pixels.dtype.itemsize == 2 else _FLOAT_MAX
        pixels, odd = bounded(pixels, largest, -largest)
        notes += odd.remarks("read", largest=largest)
    elif layout.bits > 16:
        notes += (f"has {layout.bits}-bit integers; read as 16 bit",)
    straight: NDArray[np.float32] | None = None
    has_alpha = alpha is not None
    if alpha is not None:
        straight = _unit_alpha(alpha)
        alpha = None  # a large picture's is 800 MB
        if layout.premultiplied and float(straight.min()) < 1:
            pixels = _unpremultiplied(pixels, straight)
            notes += ("its colours were divided by alpha",)
    left_out = layout.samples - layout.colours - has_alpha
    if left_out:
        notes += (f"{left_out} further {'channel' if left_out == 1 else 'channels'} left out",)

    texts = _texts(directory)
    found = _display.Decoded(
        pixels,
        grey=layout.photometric in GREYS,
        alpha=straight,
        exif=_exif_payload(directory, described=texts is None),
        xmp=directory.data(_XMP) or None,
        icc=directory.data(ICC),
        orientation=_one_of(range(1, 9), directory.number(274), 1),
        notes=notes,
    )
    image = _display.assembled(_with_meaning(found, layout, directory))
    white = directory.numbers(_NITS)
    if image.is_hdr and white and 0 < white[0] < 1e9:
        image = replace(image, white_luminance=float(white[0]))
    if texts is not None:
        image = replace(image, metadata=replace(image.metadata, header=MappingProxyType(texts)))
    return image


def _reader(file: BinaryIO) -> _ifd.Read:
    lock = threading.Lock()
    size = file.seek(0, os.SEEK_END)

    def read_at(offset: int, count: int) -> bytes:
        if offset >= size:
            return b""
        with lock:
            file.seek(offset)
            return file.read(min(count, size - offset))

    return read_at


def _one_of(values: range, value: int, default: int) -> int:
    return value if value in values else default


def _choose(read_at: _ifd.Read) -> tuple[Directory, Order, tuple[str, ...]]:
    """The directory of the first full-size picture, the file's byte order, and a note if there are several."""
    head = _ifd.header(read_at(0, 16))
    if head is None:
        raise _display.damaged("its header makes no sense")
    seen: dict[int, bool] = {}  # offset: is it a full-size picture?
    offset, chosen = head.first, 0
    while (offset or not seen) and offset not in seen and len(seen) < _MAX_DIRECTORIES:
        try:
            kind, following = _ifd.read_directory(read_at, offset, head, wanted=(254, 255), depth=0)
        except ValueError as error:
            if chosen:  # what comes after the picture is not needed
                break
            raise _display.damaged(str(error)) from None
        # NewSubfileType: 1 reduced, 4 mask; SubfileType, its predecessor: 2 reduced
        seen[offset] = not kind.number(254) & 5 and kind.number(255) != 2
        chosen = chosen or (offset if seen[offset] else 0)
        offset = following
    if not chosen:
        raise UnsupportedInput("holds only previews (a camera raw file?)", remedy="develop it to a plain TIFF first")
    try:
        directory, _ = _ifd.read_directory(read_at, chosen, head, wanted=_WANTED, largest=_LARGEST_ENTRY)
    except ValueError as error:
        raise _display.damaged(str(error)) from None
    if _DNG in directory.entries:
        raise UnsupportedInput("is a camera raw file (DNG)", remedy="develop it to a plain TIFF first")
    pictures = sum(seen.values())
    note = f"has {'many' if len(seen) == _MAX_DIRECTORIES else pictures} pictures; the first full-size one is read"
    return directory, head.order, (note,) if pictures > 1 else ()


def _unit_alpha(alpha: Pixels) -> NDArray[np.float32]:
    import numpy as np

    if alpha.dtype.kind == "f":
        return np.asarray(bounded(alpha.astype(np.float32), 1.0, 0.0)[0])
    return np.divide(alpha, np.float32(255 if alpha.dtype == np.uint8 else 65535), dtype=np.float32)


def _unpremultiplied(pixels: Pixels, alpha: NDArray[np.float32]) -> Pixels:
    """Colours divided by alpha, but where it is 0 (nothing is known) or 1; codes in place, half floats as float32."""
    import numpy as np

    out = pixels if pixels.dtype.kind == "u" else pixels.astype(np.float32, copy=False)
    largest = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(out.dtype, _FLOAT_MAX)
    rows = max(1, BATCH // (16 * out.shape[1]))
    for start in range(0, len(out), rows):
        cover = alpha[start : start + rows]
        strip = out[start : start + rows]
        partly = (cover > 0) & (cover < 1)
        with np.errstate(over="ignore"):
            straight = strip[partly] / cover[partly][:, None]
        np.clip(straight, -largest if out.dtype.kind == "f" else 0, largest, out=straight)
        strip[partly] = np.rint(straight) if out.dtype.kind == "u" else straight
    return out


def _with_meaning(found: _display.Decoded, layout: Layout, directory: Directory) -> _display.Decoded:
    """What the numbers mean where TIFF's own tags say it: CMYK under its profile, floats of stated chromaticities."""
    from hdrcli.color import Chromaticities, Primaries, Transfer, named_primaries
    from hdrcli.formats import _icc

    if layout.photometric == CMYK:
        meaning = _icc.from_cmyk(found.pixels, found.icc or b"")
        return replace(
            found,
            pixels=meaning.pixels,
            icc=None,
            meaning=(meaning.transfer, meaning.primaries),
            notes=found.notes + meaning.notes,
        )
    numbers = (*directory.numbers(_CHROMATICITIES), *directory.numbers(_WHITE_POINT))
    if found.icc is not None or len(numbers) != 8:
        return found
    rx, ry, gx, gy, bx, by, wx, wy = (float(v) for v in numbers)
    primaries = named_primaries(Chromaticities((rx, ry), (gx, gy), (bx, by), (wx, wy)))
    if layout.kind == FLOAT and primaries is not None:
        return replace(found, meaning=(Transfer.LINEAR, primaries))
    if primaries is Primaries.BT709:
        return found
    taken = "linear Rec.709" if layout.kind == FLOAT else "sRGB"
    return replace(found, notes=(*found.notes, f"its chromaticities without a profile are ignored; taken as {taken}"))


def _exif_payload(directory: Directory, *, described: bool) -> bytes | None:
    """The EXIF that the directory holds, as a structure of its own, without an orientation; None if it tells nothing."""
    kept = {tag: entry for tag, entry in directory.entries.items() if tag in _EXIF_TAGS and (described or tag != _DESCRIPTION)}
    if not directory.children and not _TELLING & kept.keys():
        return None
    return _ifd.payload_of(_ifd.without_maker_note(Directory(kept, directory.children)))


def _texts(directory: Directory) -> dict[str, str] | None:
    """The header entries that hdrcli has written as a JSON object into the description; None for another description."""
    text = directory.text(_DESCRIPTION)
    if not text.startswith("{"):
        return None
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        return None
    return entries


# --- writing --------------------------------------------------------------------------------------------------------------


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """An Image as a TIFF; returns remarks.

    Scene-linear floats become floats, depth "float" (usual) or "half"; codes become codes, depth "8" or "16" (usual: 16 for
    uint16 pixels, else 8). Compression "zip" (usual) or "none". The colour space goes along as an ICC profile,
    alpha as unassociated alpha, EXIF without maker notes, ``options.header`` and the image's own as a JSON object in
    ImageDescription. Odd values in floats: NaN becomes 0, infinity and what is beyond the depth its largest number, each with a
    remark; negative values are kept. A file that may pass 4 GB is a BigTIFF. Raises UsageError for an unknown compression,
    MismatchError for PQ and HLG codes.
    """
    import numpy as np

    if options.compression not in (None, "zip", "none"):
        raise UsageError(f"TIFF files have no compression {options.compression!r} here", remedy="there are: none, zip")
    packed = options.compression != "none"
    dtype, remarks = _written_type(image, options)
    alpha = image.metadata.alpha
    samples = 3 if alpha is None else 4
    row = image.width * samples * dtype.itemsize
    rows = min(image.height, max(1, BATCH // (4 * row)))
    big = image.height * row > _CLASSIC_LIMIT
    entries, children = _entries(image, options, dtype, rows, packed=packed)
    odd = Odd()
    nans = 0
    offsets, sizes = [], []

    def coded(start: int) -> tuple[bytes | memoryview, Odd, int]:
        strip, found, missing = _strip(image, start, rows, dtype)
        return _encoded(strip, packed), found, missing

    with Path(path).open("wb") as file:
        file.write(bytes(16 if big else 8))
        for data, found, missing in parallel.in_turn(coded, range(0, image.height, rows)):
            offsets.append(file.tell())
            sizes.append(len(data))
            file.write(data)
            file.write(bytes(len(data) % 2))
            odd, nans = odd + found, nans + missing
        place = LONG8 if big else LONG
        entries[STRIP_OFFSETS], entries[STRIP_COUNTS] = _ifd.of_numbers(place, *offsets), _ifd.of_numbers(place, *sizes)
        start = file.tell()
        file.write(_ifd.packed(Directory(entries, children), start, big=big))
        file.seek(0)
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) if big else struct.pack("<2sHI", b"II", 42, start))
    if dtype.kind == "f":
        half = dtype == np.float16
        remedy = "; --depth float keeps them" if half else ""
        remarks += odd.remarks("written", largest=_HALF_MAX if half else _FLOAT_MAX, remedy=remedy)
    elif nans:
        remarks += (f"{nans} NaN {'value' if nans == 1 else 'values'} written as 0",)
    return remarks


def _written_type(image: Image, options: WriteOptions) -> tuple[np.dtype[Any], tuple[str, ...]]:
    import numpy as np

    known: dict[str, np.dtype[Any]]
    if image.is_hdr:
        known, usual = {"half": np.dtype(np.float16), "float": np.dtype(np.float32)}, "float"
    else:
        known = {"8": np.dtype(np.uint8), "16": np.dtype(np.uint16)}
        usual = "16" if image.pixels.dtype == np.uint16 else "8"
    remarks: tuple[str, ...] = ()
    if options.depth is not None and options.depth not in known:
        what = "linear light" if image.is_hdr else "codes"
        remarks += (f"TIFF has no depth {options.depth} for {what}; {usual} is written",)
    if image.metadata.exif and not _ifd.read_payload(image.metadata.exif).entries:
        remarks += ("its EXIF is damaged; left out",)
    if options.layers:
        remarks += (f"layers are for EXR only; {', '.join(options.layers)} left out",)
    return known.get(options.depth or usual, known[usual]), remarks


def _strip(image: Image, start: int, rows: int, dtype: np.dtype[Any]) -> tuple[Pixels, Odd, int]:
    """Some rows as they are written, ``(rows, W, 3 or 4)``, what was odd about floats, and how many codes were NaN."""
    import numpy as np

    part = image.pixels[start : start + rows]
    alpha = None if image.metadata.alpha is None else image.metadata.alpha[start : start + rows, :, None]
    odd, nans = Odd(), 0
    if dtype.kind == "f":
        largest = _HALF_MAX if dtype == np.float16 else _FLOAT_MAX
        part, odd = bounded(part, largest, -largest)
        part = part.astype(dtype, copy=False)
        alpha = None if alpha is None else bounded(alpha, 1.0, 0.0)[0].astype(dtype)
    else:
        nans = int(np.count_nonzero(np.isnan(part))) if part.dtype.kind == "f" else 0
        part, _ = _display.codes(part, 8 * dtype.itemsize)
        alpha = None if alpha is None else _display.codes(alpha, 8 * dtype.itemsize)[0]
    return (part if alpha is None else np.concatenate([part, alpha], axis=2)), odd, nans


def _encoded(strip: Pixels, packed: bool) -> bytes:
    import imagecodecs
    import numpy as np

    strip = np.ascontiguousarray(strip, strip.dtype.newbyteorder("<"))
    if not packed:
        return strip.tobytes()
    predict = imagecodecs.floatpred_encode if strip.dtype.kind == "f" else imagecodecs.delta_encode
    return bytes(imagecodecs.deflate_encode(np.asarray(predict(strip, axis=-2)).tobytes(), level=_DEFLATE_LEVEL))


def _entries(
    image: Image, options: WriteOptions, dtype: np.dtype[Any], rows: int, *, packed: bool
) -> tuple[dict[int, Entry], Mapping[int, Directory]]:
    """Everything that the directory says but where the strips are, and the directories below."""
    from hdrcli.color import chromaticities_of

    alpha, floats = image.metadata.alpha is not None, dtype.kind == "f"
    samples = 4 if alpha else 3
    exif = _ifd.read_payload(image.metadata.exif or b"")
    entries = {tag: entry for tag, entry in exif.entries.items() if tag in _EXIF_TAGS}
    entries |= {
        256: _ifd.of_numbers(LONG, image.width),
        257: _ifd.of_numbers(LONG, image.height),
        258: _ifd.of_numbers(SHORT, *[8 * dtype.itemsize] * samples),
        259: _ifd.of_numbers(SHORT, DEFLATE if packed else NONE),
        262: _ifd.of_numbers(SHORT, RGB),
        274: _ifd.of_numbers(SHORT, 1),
        277: _ifd.of_numbers(SHORT, samples),
        278: _ifd.of_numbers(LONG, rows),
        284: _ifd.of_numbers(SHORT, 1),
        339: _ifd.of_numbers(SHORT, *[FLOAT if floats else UINT] * samples),
    }
    if packed:
        entries[317] = _ifd.of_numbers(SHORT, 3 if floats else 2)
    if alpha:
        entries[EXTRA] = _ifd.of_numbers(SHORT, 2)
    texts = {**image.metadata.header, **options.header}
    if texts:
        if exif.text(_DESCRIPTION):  # the photo's own, whose place is taken
            texts.setdefault("description", exif.text(_DESCRIPTION))
        entries[_DESCRIPTION] = Entry(ASCII, json.dumps(texts).encode() + b"\0")
        software = next((text for name, text in texts.items() if name.lower() == "software"), None)
        if software is not None:
            entries[_SOFTWARE] = _ifd.of_text(software)
    entries[ICC] = Entry(UNDEFINED, _profile(image))
    numbers = chromaticities_of(image.primaries).numbers
    if floats and min(numbers) >= 0:  # what TIFF's rationals can say
        entries[_CHROMATICITIES] = _ifd.of_numbers(RATIONAL, *numbers[:6])
        entries[_WHITE_POINT] = _ifd.of_numbers(RATIONAL, *numbers[6:])
    if floats and image.white_luminance is not None:
        entries[_NITS] = _ifd.of_numbers(DOUBLE, image.white_luminance)
    return entries, exif.children


def _profile(image: Image) -> bytes:
    try:
        return _display.profile_to_embed(image)
    except ValueError:
        name = f"{image.transfer.name} with {image.primaries.label}"
        raise MismatchError(f"TIFF has no name for {name}", remedy="write a PNG, or tone-map it to sRGB") from None
