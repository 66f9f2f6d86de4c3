"""The pixels of a TIFF: what its tags say of them, and strips and tiles decoded by imagecodecs.

Source: TIFF 6.0 (Adobe 1992); "TIFF Technical Note 2" (JPEG) and "TIFF Technical Note 3" (floating-point predictor), Adobe;
the newer compressions as libtiff 4.7 has them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hdrcli import parallel
from hdrcli.errors import HdrcliError, UnsupportedInput
from hdrcli.formats import _display, _ifd
from hdrcli.formats._ifd import Directory, Order

if TYPE_CHECKING:
    import numpy as np

    from hdrcli.image import Pixels

STRIP_OFFSETS, STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_JPEG_TABLES, _COLOUR_MAP, EXTRA, ICC = 347, 320, 338, 34675
PIXEL_TAGS = frozenset((*range(254, 280), 284, 292, 317, *range(320, 326), 332, EXTRA, 339, _JPEG_TABLES, 32997, 32998))

GREYS, RGB, _PALETTE, CMYK, _YCBCR = (0, 1), 2, 3, 5, 6
_WHITE_IS_ZERO = 0
_COLOURS = {0: 1, 1: 1, RGB: 3, _PALETTE: 1, CMYK: 4, _YCBCR: 3}
_OTHER_PHOTOMETRICS = {
    **{4: "a transparency mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a camera's colour filter array"},
    **{32844: "SGI LogL", 32845: "SGI LogLuv", 34892: "linear raw", 51177: "a depth map"},
}
UINT, _INT, FLOAT, _VOID = 1, 2, 3, 4
NONE, _LZW, _JPEG, DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD, _WEBP = 1, 5, 7, 8, 32773, 32946, 34925, 50000, 50001
_FAX = {2: "ccittrle", 3: "ccittfax3", 4: "ccittfax4"}
# The most bytes of picture that a byte can stand for. LZW: a code of 12 bits for 4 KB; deflate: 1032, zlib's documentation;
# the others: measured on constant pictures, and some more.
_MOST = {NONE: 1, _LZW: 4096, _JPEG: 3000, _PACKBITS: 64, _LZMA: 20_000, _ZSTD: 60_000, _WEBP: 1 << 18}
_MOST |= dict.fromkeys((DEFLATE, _OLD_DEFLATE), 1100)
_OTHER_COMPRESSIONS = {
    **{6: "old-style JPEG", 34712: "JPEG 2000", 34676: "SGI LogLuv", 34677: "SGI LogLuv 24", 34887: "LERC"},
    **{32809: "ThunderScan", 32766: "NeXT", 34661: "JBIG", 50002: "JPEG XL", 52546: "JPEG XL", 34892: "lossy JPEG of DNG"},
}
BATCH = 1 << 22  # bytes of picture that are decoded at a time
_MAX_TILE = 1 << 26


class Segment(NamedTuple):
    """A strip, a part of one, or a tile: where it stands in the file and in the picture."""

    offset: int
    size: int
    plane: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Layout:
    """What the tags say of the pixels."""

    width: int
    height: int
    samples: int
    bits: int
    kind: int
    order: Order
    compression: int
    predictor: int
    photometric: int
    planar: bool
    reversed_bits: bool
    tile: tuple[int, int] | None  # height, width
    rows: int  # of a strip
    extras: tuple[int, ...]
    fax_options: int
    tables: bytes | None

    @property
    def colours(self) -> int:
        return _COLOURS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """Which sample is alpha."""
        if self.photometric == CMYK:
            return None
        return next((self.colours + i for i, meaning in enumerate(self.extras) if meaning in (1, 2)), None)

    @property
    def premultiplied(self) -> bool:
        return self.alpha is not None and self.extras[self.alpha - self.colours] == 1

    @property
    def together(self) -> int:
        """Samples of a pixel that stand side by side."""
        return 1 if self.planar else self.samples

    def bytes_of(self, height: int, width: int) -> int:
        """Of that much of the picture, unpacked; rows start at whole bytes."""
        return height * (-(-width * self.together * self.bits // 8))


def layout_of(directory: Directory, order: Order) -> Layout:
    """The tags, checked. Raises UnreadableInput for what makes no sense, UnsupportedInput for what hdrcli does not read."""
    number = directory.number
    _display.check_size(number(256), number(257))
    samples = number(277, 1)
    if not 1 <= samples <= 256:
        raise _display.damaged(f"it says that a pixel has {samples} samples")
    photometric = number(262, RGB if samples >= 3 else 1)
    compression, predictor = number(259, NONE), number(317, 1)
    if photometric not in _COLOURS or (photometric == _YCBCR and compression not in (6, _JPEG)):
        name = _OTHER_PHOTOMETRICS.get(photometric, "YCbCr" if photometric == _YCBCR else f"photometric {photometric}")
        raise UnsupportedInput(f"holds {name}, which hdrcli does not read", remedy="convert it to RGB first")
    if compression not in _MOST and compression not in _FAX:
        name = _OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise UnsupportedInput(f"has a compression that hdrcli does not read: {name}", remedy="save it with LZW or ZIP first")
    if samples < _COLOURS[photometric]:
        raise _display.damaged(f"{samples} samples are too few for its colours")
    bits, kind = _sample_type(directory, samples)
    extras = directory.integers(EXTRA)[: samples - _COLOURS[photometric]]
    tile = (number(323), number(322)) if _TILE_OFFSETS in directory.entries else None
    layout = Layout(
        width=number(256),
        height=number(257),
        samples=samples,
        bits=bits,
        kind=kind,
        order=order,
        compression=compression,
        predictor=predictor,
        photometric=photometric,
        planar=number(284, 1) == 2 and samples > 1,
        reversed_bits=number(266, 1) == 2,
        tile=tile,
        rows=min(number(278, number(257)), number(257)),
        extras=extras,
        fax_options=number(292),
        tables=directory.data(_JPEG_TABLES) or None,
    )
    _check(layout, directory)
    return layout


def _sample_type(directory: Directory, samples: int) -> tuple[int, int]:
    kinds = set(directory.integers(339)[:samples]) or {UINT}
    sizes = set(directory.integers(258)[:samples]) or {1}
    kind, bits = kinds.pop(), sizes.pop()
    if kinds or sizes:
        raise UnsupportedInput("has channels of different types", remedy="save it with one type for all")
    kind = UINT if kind == _VOID else kind
    known = (*range(1, 17), 32) if kind == UINT else (16, 24, 32, 64) if kind == FLOAT else ()
    if bits not in known:
        name = {UINT: "whole numbers", _INT: "signed numbers", FLOAT: "floats"}.get(kind, "numbers of an unknown kind")
        raise UnsupportedInput(f"holds {name} of {bits} bit", remedy="save it with 8 or 16 bit, or as float")
    return bits, kind


def _check(layout: Layout, directory: Directory) -> None:
    """What must hold together before anything is decoded."""
    tile, compression = layout.tile, layout.compression
    if tile is not None:
        area = tile[0] * tile[1]
        if min(tile) < 1 or area * layout.together > max(_MAX_TILE, 4 * layout.width * layout.height):
            raise _display.damaged(f"its tiles of {tile[1]} x {tile[0]} pixels make no sense")
    elif layout.rows < 1:
        raise _display.damaged("its strips have no rows")
    if max(directory.number(32997, 1), directory.number(32998, 1)) > 1:
        raise UnsupportedInput("is a volume, not a picture", remedy="save its slices as pictures")
    if layout.predictor not in (1, 2, 3) or (layout.predictor == 3 and layout.kind != FLOAT):
        raise _display.damaged(f"its predictor {layout.predictor} makes no sense")
    whole = layout.bits in (8, 16, 32, 64)
    if layout.predictor > 1 and not whole and compression not in (_JPEG, _WEBP, *_FAX):
        raise UnsupportedInput(f"has a predictor for {layout.bits}-bit samples", remedy="save it without a predictor")
    fits = {_JPEG: layout.kind == UINT and layout.bits in (8, 12), _WEBP: layout.bits == 8 and layout.samples in (3, 4)}
    fits |= dict.fromkeys(_FAX, layout.bits == 1 and layout.together == 1)
    if not fits.get(compression, True) or (compression == _WEBP and layout.planar):
        raise _display.damaged("its compression does not go with its pixels")
    if layout.photometric in (_PALETTE, CMYK, _WHITE_IS_ZERO, _YCBCR) and layout.kind == FLOAT:
        raise UnsupportedInput("holds floats of an unusual colour space", remedy="convert it to RGB first")
    if layout.photometric == _PALETTE and len(directory.integers(_COLOUR_MAP)) != 3 << layout.bits:
        raise _display.damaged("its palette is missing or not whole")
    if layout.photometric == CMYK and directory.number(332, 1) != 1:
        raise UnsupportedInput("is separated into inks other than CMYK", remedy="convert it to RGB first")
    if layout.photometric == CMYK and (ICC not in directory.entries or layout.bits not in (8, 16)):
        fault = "is CMYK without a profile" if layout.bits in (8, 16) else f"is CMYK of {layout.bits} bit"
        raise UnsupportedInput(fault, remedy="convert it to RGB first")


def segments_of(layout: Layout, directory: Directory, file_size: int) -> list[Segment]:
    """All strips or tiles. Raises UnreadableInput unless each lies in the file and is long enough for what it stands for."""
    tiled, planes = layout.tile is not None, layout.samples if layout.planar else 1
    height, width = layout.tile or (layout.rows, layout.width)
    down, across = -(-layout.height // height), -(-layout.width // width)
    offsets = directory.integers(_TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = directory.integers(_TILE_COUNTS if tiled else STRIP_COUNTS)
    wanted = down * across * planes
    if layout.compression == NONE and not tiled and not sizes:  # as old writers leave them out
        sizes = tuple(layout.bytes_of(min(height, layout.height - i % down * height), width) for i in range(wanted))
    if min(len(offsets), len(sizes)) < wanted:
        raise _display.damaged(f"{wanted - min(len(offsets), len(sizes))} of its {wanted} strips or tiles are missing")
    segments = []
    for i in range(wanted):
        plane, rest = divmod(i, down * across)
        top, left = rest // across * height, rest % across * width
        rows = height if tiled else min(height, layout.height - top)
        segment = Segment(offsets[i], sizes[i], plane, top, left, rows, width)
        if segment.offset <= 0 or segment.size <= 0:
            raise _display.damaged("some of its strips or tiles are missing")
        if segment.offset + segment.size > file_size:
            raise _display.damaged("the file ends early")
        # a blank line of a fax is one bit
        if layout.bytes_of(rows, width) > segment.size * _MOST.get(layout.compression, 8 * layout.bytes_of(1, width)):
            raise _display.damaged(f"{rows * width} pixels can't stand in {segment.size} bytes")
        segments.append(segment)
    return segments if tiled or layout.compression != NONE else [part for s in segments for part in _in_parts(s, layout)]


def _in_parts(strip: Segment, layout: Layout) -> Iterator[Segment]:
    """An uncompressed strip, which may be the whole picture, in parts of some rows."""
    row = layout.bytes_of(1, strip.width)
    rows = max(1, BATCH // row)
    for start in range(0, strip.height, rows):
        height = min(rows, strip.height - start)
        offset, top = strip.offset + start * row, strip.top + start
        yield strip._replace(offset=offset, size=height * row, top=top, height=height)


def decoded(layout: Layout, segments: list[Segment], read_at: _ifd.Read, directory: Directory) -> tuple[Pixels, Pixels | None]:
    """``(H, W, 3)`` colour, ``(H, W, 4)`` inks for CMYK, and ``(H, W)`` alpha, if any, as stored.

    Raises UnreadableInput for damaged strips or tiles.
    """
    import numpy as np

    convert, dtype = _conversion(layout, directory)
    channels = 4 if layout.photometric == CMYK else 3
    pixels: Pixels = np.empty((layout.height, layout.width, channels), dtype)
    alpha: Pixels | None = None if layout.alpha is None else np.empty((layout.height, layout.width), dtype)
    decode = _decoder(layout)

    def place(batch: list[Segment]) -> None:
        for segment in batch:
            part = decode(read_at(segment.offset, segment.size), segment.height, segment.width)
            part = part[: layout.height - segment.top, : layout.width - segment.left]
            if part.shape[0] < min(segment.height, layout.height - segment.top):
                raise ValueError("a strip or tile is cut short")
            there = slice(segment.top, segment.top + part.shape[0]), slice(segment.left, segment.left + part.shape[1])
            first = segment.plane if layout.planar else 0
            if first < layout.colours:
                colour = convert(part[..., : layout.colours])
                if layout.planar and layout.colours > 1:
                    pixels[(*there, first)] = colour[..., 0]
                else:
                    pixels[there] = colour
            if alpha is not None and layout.alpha is not None and first <= layout.alpha < first + part.shape[2]:
                alpha[there] = _scaled(part[..., layout.alpha - first], layout)

    try:
        parallel.each(place, _batches(segments, layout))
    except (HdrcliError, MemoryError, OSError):
        raise
    except Exception as error:  # every codec has exceptions of its own
        if "new thread" in str(error):  # what Python says where no memory is left for a thread's stack
            raise MemoryError(str(error)) from None
        raise _display.damaged(f"its pixels can't be decoded: {_reason(error)}") from None
    return pixels, alpha


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _batches(segments: list[Segment], layout: Layout) -> list[list[Segment]]:
    """In the order in which they stand in the file, some megabytes of picture together."""
    batches: list[list[Segment]] = [[]]
    size = 0
    for segment in sorted(segments):
        if size > BATCH:
            batches.append([])
            size = 0
        batches[-1].append(segment)
        size += layout.bytes_of(segment.height, segment.width)
    return batches


def _decoder(layout: Layout) -> Callable[[bytes, int, int], Pixels]:
    """From a segment's bytes, height and width to ``(height, width, samples)`` as stored, in the machine's byte order."""
    import imagecodecs
    import numpy as np

    order, bits, samples = layout.order, layout.bits, layout.together
    unpacked = {1: imagecodecs.none_decode, _LZW: imagecodecs.lzw_decode, _PACKBITS: imagecodecs.packbits_decode}
    unpacked |= dict.fromkeys((DEFLATE, _OLD_DEFLATE), imagecodecs.deflate_decode)
    unpacked |= {_ZSTD: imagecodecs.zstd_decode, _LZMA: imagecodecs.lzma_decode}

    def numbers(data: bytes | bytearray, height: int, width: int) -> Pixels:
        size = layout.bytes_of(height, width)
        if layout.reversed_bits:
            data = imagecodecs.bitorder_decode(data)
        if layout.compression != NONE:  # with room for a last strip that was filled up with rows
            room = size if layout.tile else layout.bytes_of(max(height, layout.rows), width)
            data = unpacked[layout.compression](data, out=bytearray(room))
        if len(data) < size:
            raise ValueError("a strip or tile is cut short")
        if len(data) > size:
            data = data[:size]
        shape = height, width, samples
        if bits == 24:
            return np.asarray(imagecodecs.float24_decode(data, byteorder=order)).reshape(shape)
        if bits not in (8, 16, 32, 64):
            kind = "?" if bits == 1 else "B" if bits < 8 else "H"
            return np.asarray(imagecodecs.packints_decode(data, kind, bits, runlen=width * samples)).reshape(shape)
        letter = "f" if layout.kind == FLOAT else "u"
        native = np.dtype(f"={letter}{bits // 8}")
        if layout.predictor == 3:  # its bytes stand in an order of their own
            return np.asarray(imagecodecs.floatpred_decode(np.frombuffer(data, native).reshape(shape), axis=-2))
        values = np.frombuffer(data, native.newbyteorder(order)).reshape(shape)
        # in place where it may be: the strip of a file that has but one is the whole picture
        if not values.dtype.isnative:
            values = values.byteswap(inplace=values.flags.writeable).view(native)
        if layout.predictor == 1:
            return values
        whole = values.view(f"=u{bits // 8}")  # floats too are differences of their bits, says libtiff
        return np.asarray(imagecodecs.delta_decode(whole, axis=-2, out=whole if whole.flags.writeable else None)).view(native)

    def fax(data: bytes | bytearray, height: int, width: int) -> Pixels:
        if layout.reversed_bits:
            data = imagecodecs.bitorder_decode(data)
        if layout.compression == 3:
            lines = imagecodecs.ccittfax3_decode(data, height, width, t4options=layout.fax_options)
        else:
            lines = getattr(imagecodecs, f"{_FAX[layout.compression]}_decode")(data, height, width)
        return np.asarray(lines).reshape(height, width, 1)

    def jpeg(data: bytes, height: int, width: int) -> Pixels:
        check_picture(_jpeg_size(data), height, width)
        if data.rfind(b"\xff\xd9") < 0:  # libjpeg makes up what is missing
            raise ValueError("a strip or tile is cut short")
        # TIFF Technical Note 2: the tag says what the components are, not a marker in the stream
        stored = RGB if layout.photometric == RGB and b"JFIF" not in data[:32] else None
        wanted = {RGB: 2, _YCBCR: 2, CMYK: 4}.get(layout.photometric)
        if samples != layout.colours:
            stored = wanted = None
        out = imagecodecs.jpeg_decode(
            data, bitspersample=bits, tables=layout.tables, colorspace=stored, outcolorspace=wanted, shape=(height, width)
        )
        return np.asarray(out).reshape(*np.shape(out)[:2], -1)

    def webp(data: bytes, height: int, width: int) -> Pixels:
        check_picture(_webp_size(data), height, width)
        return np.asarray(imagecodecs.webp_decode(data, hasalpha=samples == 4))

    def check_picture(size: tuple[int, int], height: int, width: int) -> None:
        if size[1] != width or size[0] > max(height, layout.rows):  # the last strip may be coded at full height
            raise ValueError("a strip or tile is of another size than the file says")

    def whole(decode: Callable[[bytes, int, int], Pixels]) -> Callable[[bytes, int, int], Pixels]:
        def decoded(data: bytes, height: int, width: int) -> Pixels:
            part = decode(data, height, width)[:height]
            if part.shape[1:] != (width, samples):
                raise ValueError("a strip or tile is of another size than the file says")
            return part

        return decoded

    if layout.compression in _FAX:
        return whole(fax)
    return whole({_JPEG: jpeg, _WEBP: webp}.get(layout.compression, numbers))


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width that a JPEG stream promises. Source: ITU-T T.81, B.2.2."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in (0xC0, 0xC1, 0xC2, 0xC3):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise ValueError("a strip or tile is no JPEG")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Height and width that a WebP stream promises. Source: Google, "WebP Container Specification"; RFC 6386, 9.1."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L" and len(data) >= 25:
        packed = int.from_bytes(data[21:25], "little")
        return 1 + (packed >> 14 & 0x3FFF), 1 + (packed & 0x3FFF)
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    raise ValueError("a strip or tile is no WebP")


def _conversion(layout: Layout, directory: Directory) -> tuple[Callable[[Pixels], Pixels], Any]:
    """From samples as stored to codes or light, ``(h, w, n)`` to ``(h, w, n)`` (palette: n = 3), and the type of these."""
    import numpy as np

    if layout.photometric == _PALETTE:
        entries = np.array(directory.integers(_COLOUR_MAP)).astype(np.uint16).reshape(3, -1).T
        palette: Pixels
        if entries.max() < 256:  # TIFF 6.0 wants 0..65535, old writers did not know
            palette = entries.astype(np.uint8)
        elif (entries == (entries >> 8) * 257).all() or not (entries & 255).any():
            palette = (entries >> 8).astype(np.uint8)
        else:
            palette = entries
        return (lambda part: palette[part[..., 0].astype(np.intp)]), palette.dtype
    if layout.photometric == _WHITE_IS_ZERO:
        return (lambda part: ~_scaled(part, layout)), _dtype(layout)
    return (lambda part: _scaled(part, layout)), _dtype(layout)


def _dtype(layout: Layout) -> np.dtype[Any]:
    import numpy as np

    if layout.kind == FLOAT:
        return np.dtype(np.float16 if layout.bits == 16 else np.float32)
    return np.dtype(np.uint8 if layout.bits <= 8 else np.uint16)


def _scaled(values: Pixels, layout: Layout) -> Pixels:
    """Numbers of any size as the next larger type that an Image holds, the largest one as its largest."""
    import numpy as np

    if layout.kind == FLOAT:
        with np.errstate(over="ignore"):
            return values.astype(_dtype(layout), copy=False)
    if layout.bits in (8, 16):
        return values
    if layout.bits == 32:
        return ((values.astype(np.uint64) + 32768) // 65537).astype(np.uint16)  # 65535 * 65537 is the largest
    largest = np.iinfo(_dtype(layout)).max
    table = np.rint(np.arange(1 << layout.bits) * (largest / ((1 << layout.bits) - 1))).astype(_dtype(layout))
    return np.asarray(table[values.astype(np.intp)])
