"""Small TIFFs of every kind: by tifffile, Pillow and OpenImageIO, and a builder for what they don't write."""

import io
import struct
import tempfile
from pathlib import Path

import imagecodecs
import numpy as np
import OpenImageIO
import PIL.Image
import tifffile

from hdrcli.color import Primaries, Transfer
from hdrcli.formats import _icc

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8, 16: 8}
LETTERS = {3: "H", 4: "I", 5: "I", 12: "d", 16: "Q"}


def codes(dtype=np.uint8, channels=3, height=20, width=24, seed=0):
    """Smooth colour with some noise, over the whole range of the type."""
    y, x = np.mgrid[:height, :width] / (height + width)
    base = np.stack([x + y, 1 - x, y, 0.3 + x], axis=-1)[..., :channels] * 0.9
    noise = np.random.default_rng(seed).random(base.shape) * 0.1
    return ((base + noise) * np.iinfo(dtype).max).astype(dtype)


def floats(dtype=np.float32, channels=3, height=20, width=24, seed=0):
    return (codes(np.uint16, channels, height, width, seed) / 6000.0 - 0.5).astype(dtype)


def made(image, photometric="rgb", **options):
    """A file of tifffile's."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, photometric=photometric, **({"metadata": None, "software": False} | options))
    return stream.getvalue()


def by_pillow(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, "TIFF", **options)
    return stream.getvalue()


def by_openimageio(image, **attributes):
    """A file of OpenImageIO's, that is libtiff's."""
    spec = OpenImageIO.ImageSpec(image.shape[1], image.shape[0], image.shape[2], str(image.dtype).replace("float32", "float"))
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        out = OpenImageIO.ImageOutput.create(str(path))
        if "tile" in attributes:
            spec.tile_width, spec.tile_height = attributes["tile"], attributes["tile"]
        assert out.open(str(path), spec), out.geterror()
        assert out.write_image(image), out.geterror()
        out.close()
        return path.read_bytes()


def built(tags, segments, order="<", big=False, tiled=False, below=None):
    """A file from its tags, ``{tag: (type, values or bytes)}``, and its strips or tiles; ``below``: directories by tag."""
    head = 16 if big else 8
    offsets = [head + sum(len(s) + len(s) % 2 for s in segments[:i]) for i in range(len(segments))]
    body = b"".join(s + bytes(len(s) % 2) for s in segments)
    tags = dict(tags)
    tags.setdefault(324 if tiled else 273, (16 if big else 4, offsets))
    tags.setdefault(325 if tiled else 279, (16 if big else 4, [len(s) for s in segments]))
    for tag, directory in (below or {}).items():
        tags[tag] = (4, [head + len(body)])
        body += directory_bytes(directory, head + len(body), order, big)
    start = head + len(body)
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return mark + version + body + directory_bytes(tags, start, order, big)


def directory_bytes(tags, start, order, big):
    place, room = ("Q", 8) if big else ("I", 4)
    table = struct.pack(order + ("Q" if big else "H"), len(tags))
    behind = start + len(table) + len(tags) * (12 + 8 * big) + room
    values = b""
    for tag, (kind, numbers) in sorted(tags.items()):
        data = numbers if isinstance(numbers, bytes) else struct.pack(f"{order}{len(numbers)}{LETTERS[kind]}", *numbers)
        table += struct.pack(order + "HH" + place, tag, kind, len(data) // SIZES[kind])
        if len(data) <= room:
            table += data.ljust(room, b"\0")
        else:
            table += struct.pack(order + place, behind + len(values))
            values += data + bytes(len(data) % 2)
    return table + bytes(room) + values


def plain(height=4, width=6, samples=3, bits=8, kind=1, photometric=2, **more):
    """Tags of a picture of one uncompressed strip; ``more`` as ``t123=(type, values)``."""
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric])}
    tags |= {277: (3, [samples]), 278: (4, [height]), 339: (3, [kind] * samples)}
    return tags | {int(name[1:]): value for name, value in more.items()}


def described(order="<", big=False):
    """A picture with EXIF, GPS, a text, a profile and an orientation."""
    below = {
        0x8769: {0x829A: (5, [1, 250]), 0x8827: (3, [400]), 0x9003: (2, b"2026:11:20 12:00:00\0"), 0x927C: (7, b"Nikon\0" * 9)},
        0x8825: {1: (2, b"N\0"), 2: (5, [48, 1, 51, 1, 2996, 100])},
    }
    texts = {"t271": (2, b"Canon\0"), "t272": (2, b"EOS 5D\0"), "t270": (2, b"A view\0"), "t315": (2, "Zoë\0".encode())}
    profile = _icc.build(Transfer.SRGB, Primaries.DISPLAY_P3)
    tags = plain(t274=(3, [6]), t34675=(7, profile), t700=(1, b"<x:xmpmeta/>"), **texts)
    return built(tags, [codes(height=4, width=6).tobytes()], order, big, below=below)


def pages(*images, **options):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for image, kind in images:
            writer.write(image, photometric="rgb", subfiletype=kind, metadata=None, software=False, **options)
    return stream.getvalue()


def fax(compression):
    black = PIL.Image.fromarray(codes(channels=1, height=40, width=70)[..., 0]).convert("1")
    return by_pillow(black, compression=compression)


def packed_bits(bits, width=7, height=5, samples=1, seed=0, **more):
    """Values of any size and the file that holds them; ``more`` tags as :func:`plain` takes them."""
    values = np.random.default_rng(seed).integers(0, 1 << bits, (height, width, samples)).astype(np.uint16)
    digits = values.reshape(height, -1, 1) >> np.arange(bits, dtype=np.uint16)[::-1] & 1
    rows = np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    return values, built(plain(height, width, samples, bits, **({"photometric": 2 if samples == 3 else 1} | more)), [rows])


def samples():
    rgb, deep, light = codes(), codes(np.uint16), floats()
    alpha = np.linspace(0, 255, rgb.shape[0] * rgb.shape[1]).astype(np.uint8).reshape(*rgb.shape[:2], 1)
    rgba = np.concatenate([rgb, alpha], axis=2)
    palette = PIL.Image.fromarray(rgb).convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=200)
    return {
        "8 bit": made(rgb),
        "8 bit, strips, LZW": made(rgb, compression="lzw", predictor=2, rowsperstrip=6),
        "16 bit, tiles, deflate": made(deep, compression=8, predictor=2, tile=(16, 16)),
        "16 bit, big-endian": made(deep, byteorder=">", rowsperstrip=3),
        "16 bit, BigTIFF, planes": made(np.moveaxis(deep, -1, 0), planarconfig="separate", bigtiff=True, rowsperstrip=7),
        "planes, tiles, PackBits": made(np.moveaxis(rgb, -1, 0), planarconfig="separate", tile=(16, 16), compression=32773),
        "32 bit": made(codes(np.uint32), compression=8),
        "grey": made(rgb[..., 0], "minisblack"),
        "white is zero": made(deep[..., 0], "miniswhite", compression="lzw"),
        "float": made(light, rowsperstrip=5),
        "float, predictor": made(light, compression=8, predictor=3, rowsperstrip=5),
        "half": made(light.astype(np.float16), compression=8, predictor=3),
        "double, tiles": made(light.astype(np.float64), tile=(16, 16), compression="zstd"),
        "float, LZMA": made(light, compression="lzma", predictor=3),
        "grey float": made(light[..., 0], "minisblack"),
        "float, OpenImageIO": by_openimageio(light, compression="zip"),
        "8 bit, OpenImageIO": by_openimageio(rgb, compression="lzw", tile=16),
        "associated alpha": made(rgba, extrasamples=["assocalpha"], compression=8),
        "unassociated alpha": made(rgba, extrasamples=["unassalpha"]),
        "alpha in a plane": made(np.moveaxis(rgba, -1, 0), planarconfig="separate", extrasamples=["assocalpha"]),
        "further channel": made(rgba, extrasamples=["unspecified"]),
        "JPEG": made(rgb, compression="jpeg", compressionargs={"level": 90}),
        "JPEG, YCbCr, Pillow": by_pillow(PIL.Image.fromarray(rgb), compression="jpeg", quality=90),
        "JPEG, tables, tiles": by_openimageio(codes(height=32, width=32), compression="jpeg", tile=16),
        "WebP": built(plain(20, 24, t259=(3, [50001])), [imagecodecs.webp_encode(rgb, lossless=True)]),
        "WebP, alpha": built(
            plain(20, 24, 4, t259=(3, [50001]), t338=(3, [2])), [imagecodecs.webp_encode(rgba, lossless=True)]
        ),
        "palette": by_pillow(palette),
        "palette, 4 bit": packed_bits(4, photometric=3, t320=(3, palette_of(16).reshape(-1).tolist()))[1],
        "fax, group 3": fax("group3"),
        "fax, group 4": fax("group4"),
        "fax, run lengths": fax("tiff_ccitt"),
        "1 bit": packed_bits(1)[1],
        "12 bit": packed_bits(12, samples=3)[1],
        "described": described(),
        "described, big-endian": described(">"),
        "described, BigTIFF": described(big=True),
        "preview first": pages((rgb[::2, ::2], 1), (rgb, 0), (rgb[::-1], 0)),
        "CMYK without a profile": made(codes(channels=4), "separated"),
        "L*a*b*": made(rgb, "cielab"),
        "signed": made(deep.view(np.int16)),
        "LERC": made(light, compression="lerc"),
        "JPEG XL": made(rgb, compression="jpegxl"),
    }


def palette_of(entries, seed=0):
    """``(3, entries) uint16``, as TIFF stores it."""
    return np.random.default_rng(seed).integers(0, 65536, (3, entries)).astype(np.uint16)
