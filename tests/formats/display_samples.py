"""Small valid PNG, JPEG, WebP, BMP and GIF files of every kind that the readers take, made from formulas or by Pillow."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
from format_samples import odd_profile, oriented, tiff_with_orientation
from PIL import ImageCms

from hdrcli.color import Primaries, Transfer
from hdrcli.formats import _icc

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF GPano:ProjectionType="equirectangular"/></x:xmpmeta>'
P3 = (Transfer.SRGB, Primaries.DISPLAY_P3)


def samples():
    """Format -> name -> a whole file."""
    return {"png": png_samples(), "jpeg": jpeg_samples(), "webp": webp_samples(), "bmp": bmp_samples(), "gif": gif_samples()}


def gif_samples():
    """By Pillow: plain, with a transparent colour, an animation, a grey one."""
    codes = noise(channels=1, largest=30)[..., 0]
    palette = noise((1, 256), seed=3)[0]

    def saved(pixels, **options):
        picture = PIL.Image.fromarray(pixels)
        if options.pop("coloured", True):
            picture = picture.convert("P")
            picture.putdata(pixels.ravel().tolist())
            picture.putpalette(palette.tobytes())
        stream = io.BytesIO()
        picture.save(stream, "GIF", **options)
        return stream.getvalue()

    second = PIL.Image.fromarray(noise(seed=9))
    return {
        "plain": saved(codes),
        "transparent": saved(codes, transparency=int(codes[0, 0])),
        "grey": saved(codes, coloured=False),
        "animation": saved(codes, save_all=True, append_images=[second], duration=50),
        "interlaced": saved(codes, interlace=1, comment=b"made by a test"),
    }


def noise(shape=(11, 13), dtype=np.uint8, channels=3, seed=0, largest=None):
    largest = np.iinfo(dtype).max if largest is None else largest
    return np.random.default_rng(seed).integers(0, largest, (*shape, channels), dtype, endpoint=True)


def smooth(shape=(24, 40)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([x * 4 % 256, y * 5 % 256, (x + y) * 2 % 256], -1).astype(np.uint8)


def saved(picture, kind, **options):
    stream = io.BytesIO()
    (PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(stream, kind, **options)
    return stream.getvalue()


# PNG


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed_rows(values, bits):
    """``(H, N)`` samples to rows of whole bytes, most significant sample first."""
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in values]
    if bits == 8:
        return [row.astype(np.uint8).tobytes() for row in values]
    spread = (values[..., None].astype(np.uint8) >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in spread]


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_file(values, bits, color_type, *chunks, interlaced=False, behind=b""):
    """``values``: ``(H, W, C)`` samples. ``chunks`` stand before the pixels, ``behind`` after them."""
    height, width = values.shape[:2]
    passes = [values[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [values]
    rows = [row for part in passes if part.size for row in packed_rows(part.reshape(len(part), -1), bits)]
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, int(interlaced))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return head + b"".join(chunks) + data + behind + chunk(b"IEND", b"")


def xmp_chunk(packet, compressed=False):
    text = b"\1\0\0\0" + zlib.compress(packet) if compressed else bytes(4) + packet
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + text)


def icc_chunk(profile):
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def gamma_chunk(gamma):
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100000)))


def chrm_chunk(numbers):
    """``numbers`` as in Chromaticities: red, green, blue, white. The chunk has white first."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100000) for v in (*numbers[6:], *numbers[:6]))))


def png_samples():
    rgb, deep, rgba = noise(), noise(dtype=np.uint16), noise(channels=4)
    palette = chunk(b"PLTE", noise((1, 16)).tobytes())
    found = {f"grey{bits}": png_file(noise(channels=1, largest=2**bits - 1), bits, 0) for bits in (1, 2, 4, 8)}
    found |= {f"palette{bits}": png_file(noise(channels=1, largest=2**bits - 1), bits, 3, palette) for bits in (1, 2, 4)}
    found |= {
        "palette8": png_file(noise(channels=1, largest=15), 8, 3, palette),
        "palette-transparent": png_file(noise(channels=1, largest=15), 4, 3, palette, chunk(b"tRNS", bytes(range(0, 160, 16)))),
        "grey16": png_file(deep[..., :1], 16, 0),
        "grey-key": png_file(noise(channels=1, largest=3), 2, 0, chunk(b"tRNS", b"\0\2")),
        "grey-alpha": png_file(noise(channels=2), 8, 4),
        "grey-alpha16": png_file(noise(dtype=np.uint16, channels=2), 16, 4),
        "rgb": png_file(rgb, 8, 2),
        "rgb16": png_file(deep, 16, 2),
        "rgb-key": png_file(rgb, 8, 2, chunk(b"tRNS", rgb[2, 3].astype(">u2").tobytes())),
        "rgba": png_file(rgba, 8, 6),
        "rgba16": png_file(noise(dtype=np.uint16, channels=4), 16, 6),
        "interlaced": png_file(deep, 16, 2, interlaced=True),
        "interlaced-grey1": png_file(noise(channels=1, largest=1), 1, 0, interlaced=True),
        "profile": png_file(rgb, 8, 2, icc_chunk(_icc.build(*P3))),
        "odd-profile": png_file(rgb, 8, 2, icc_chunk(odd_profile())),
        "pq": png_file(deep, 16, 2, chunk(b"cICP", bytes((9, 16, 0, 1)))),
        "gamma": png_file(rgb, 8, 2, gamma_chunk(1.0), chrm_chunk(Primaries.BT2020.value.numbers)),
        "srgb": png_file(rgb, 8, 2, chunk(b"sRGB", b"\0")),
        "exif": png_file(rgba, 8, 6, chunk(b"eXIf", tiff_with_orientation(6))),
        "exif-behind": png_file(rgb, 8, 2, behind=chunk(b"eXIf", tiff_with_orientation(3, ">"))),
        "xmp": png_file(rgb, 8, 2, xmp_chunk(XMP)),
        "xmp-compressed": png_file(rgb, 8, 2, xmp_chunk(XMP, compressed=True)),
        "filtered": saved(smooth((40, 60)), "PNG"),
        "animated": saved(PIL.Image.fromarray(rgb), "PNG", save_all=True, append_images=[PIL.Image.fromarray(noise(seed=1))]),
    }
    return found


# JPEG


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(data, *segments):
    """A JPEG with further segments right behind its start."""
    return data[:2] + b"".join(segments) + data[2:]


XMP_SEGMENT = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)


def inks(shape=(16, 24)):
    """``(H, W, 4) uint8`` smooth amounts of ink, 0: none."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([x * 10, y * 15, (x + y) * 6, np.full(shape, 40)], -1).clip(0, 255).astype(np.uint8)


def cmyk_picture(amounts):
    return PIL.Image.frombytes("CMYK", amounts.shape[1::-1], amounts.tobytes())


def cmyk_profile():
    """A minimal CMYK printer profile: a 2-point table of 4 inputs to Lab, R = (1 - C)(1 - K) and so on, as in naive CMYK."""
    corners = np.indices((2, 2, 2, 2)).reshape(4, -1).T
    rgb = ((1 - corners[:, :3]) * (1 - corners[:, 3:]) * 255).astype(np.uint8)
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = np.asarray(ImageCms.applyTransform(PIL.Image.fromarray(rgb[None]), transform))[0]
    table = lab.astype(np.uint8)
    table[:, 1:] += 128  # Pillow keeps a and b signed, the table wants an offset
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    lut += bytes(range(256)) * 4 + table.tobytes() + bytes(range(256)) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78),
        b"A2B0": lut,
        b"A2B1": lut,
        b"wtpt": white,
    }
    index, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        index += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = bytearray(_icc.build(Transfer.SRGB, Primaries.BT709)[:128])
    head[:4], head[12:16], head[16:20], head[20:24] = struct.pack(">I", start + len(body)), b"prtr", b"CMYK", b"Lab "
    return bytes(head) + index + body


def jpeg_samples():
    picture = smooth()
    grey = PIL.Image.fromarray(picture[..., 0])
    exif = b"Exif\0\0" + tiff_with_orientation(8)
    plain = saved(picture, "JPEG")
    return {
        "plain": plain,
        "small": saved(picture[:1, :1], "JPEG"),
        "444": saved(picture, "JPEG", subsampling=0, quality=95),
        "422": saved(picture, "JPEG", subsampling=1),
        "progressive": saved(picture, "JPEG", progressive=True),
        "progressive-grey": saved(grey, "JPEG", progressive=True),
        "optimised": saved(picture, "JPEG", optimize=True),
        "restart": saved(picture, "JPEG", restart_marker_blocks=2),
        "rgb": saved(picture, "JPEG", keep_rgb=True),
        "grey": saved(grey, "JPEG"),
        "exif": saved(oriented(picture, 8), "JPEG", exif=exif),
        "profile": saved(picture, "JPEG", icc_profile=_icc.build(*P3)),
        "odd-profile": saved(picture, "JPEG", icc_profile=odd_profile()),
        "xmp": with_segments(plain, XMP_SEGMENT),
        "cmyk": saved(cmyk_picture(inks()), "JPEG", icc_profile=cmyk_profile()),
        "trailer": plain + saved(grey, "JPEG", exif=exif),
        "padded": plain[:-2] + bytes(7) + plain[-2:],
    }


# WebP


def webp_chunks(data):
    position, found = 12, []
    while position < len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        found.append((kind, data[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    return found


def webp_file(*chunks):
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_animation(pictures, **options):
    frames = [PIL.Image.fromarray(picture) for picture in pictures]
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, **options)


def webp_samples():
    rgb, rgba, picture = noise(), noise(channels=4), smooth()
    cover = np.dstack([picture, picture[..., 0]])
    everything = {"icc_profile": _icc.build(*P3), "exif": tiff_with_orientation(6), "xmp": XMP}
    return {
        "lossy": saved(picture, "WEBP", quality=80),
        "lossless": saved(rgb, "WEBP", lossless=True),
        "lossless-flat": saved(np.full_like(picture, 77), "WEBP", lossless=True),
        "lossy-alpha": saved(cover, "WEBP", quality=80),
        "lossless-alpha": saved(rgba, "WEBP", lossless=True, exact=True),
        "metadata": saved(picture, "WEBP", lossless=True, **everything),
        "metadata-lossy": saved(cover, "WEBP", **everything),
        "odd-profile": saved(picture, "WEBP", icc_profile=odd_profile()),
        "animated": webp_animation([rgb, noise(seed=1), noise(seed=2)]),
        "animated-alpha": webp_animation([rgba, noise(channels=4, seed=1)], exact=True),
    }


# BMP


def bmp_file(
    rows,
    bits,
    width,
    height,
    *,
    header=40,
    compression=0,
    masks=(),
    palette=b"",
    colors=0,
    extra=b"",
    gap=0,
    behind=b"",
):
    """``rows``: the bytes of the pixels as they stand in the file. ``extra``: what follows the masks in the header."""
    if header == 12:
        info = struct.pack("<HHHH", width, height, 1, bits)
    else:
        info = struct.pack("<iiHHIIiiII", width, height, 1, bits, compression, len(rows), 2835, 2835, colors, 0)
        info = info[: header - 4]
    if header in (52, 56, 108, 124):
        info += struct.pack("<4I", *masks, *(0,) * (4 - len(masks))) if masks else bytes(16)
    info = (info + extra)[: header - 4].ljust(header - 4, b"\0")
    outside = b"".join(struct.pack("<I", m) for m in masks) if header == 40 else b""
    start = 14 + header + len(outside) + len(palette) + gap
    size = start + len(rows) + len(behind)
    head = b"BM" + struct.pack("<IHHI", size, 0, 0, start) + struct.pack("<I", header)
    return head + info + outside + palette + bytes(gap) + rows + behind


def bmp_rows(values, bits, top_down=False):
    """``(H, W)`` samples of 1 to 32 bits, or ``(H, W, 3)`` bytes in file order, as padded rows, bottom row first."""
    values = values if top_down else values[::-1]
    if bits <= 8:
        rows = packed_rows(values, bits)
    elif bits == 24:
        rows = [row.astype(np.uint8).tobytes() for row in values]
    else:
        rows = [row.astype(f"<u{bits // 8}").tobytes() for row in values]
    return b"".join(row + bytes(-len(row) % 4) for row in rows)


def bmp_palette(colours, padding=4):
    return b"".join(bytes(colour[::-1].tolist()) + bytes(padding - 3) for colour in colours)


def bmp_v4_extra(space, endpoints=None, gamma=0.0):
    """From the colour space on. ``endpoints``: XYZ of red, green and blue."""
    numbers = [0] * 9 if endpoints is None else [round(v * 2**30) for v in np.ravel(endpoints)]
    return struct.pack("<I", space) + struct.pack("<9i", *numbers) + struct.pack("<3I", *(round(gamma * 65536),) * 3)


def bmp_with_profile(rgb, profile, kind=b"DEBM", behind_pixels=True):
    """A V5 file of 24 bits; the profile's place counts from the start of its header (MBED reads DEBM in the file)."""
    rows, (height, width) = bmp_rows(rgb[..., ::-1], 24), rgb.shape[:2]
    place = 124 + len(rows)
    extra = bmp_v4_extra(int.from_bytes(kind, "little")) + struct.pack("<IIII", 4, place, len(profile), 0)
    return bmp_file(rows, 24, width, height, header=124, extra=extra, behind=profile)


def packed_pixels(rgba, masks):
    """``(H, W, 4)`` samples, each already in the range of its mask, to whole pixels."""
    out = np.zeros(rgba.shape[:2], np.uint64)
    for channel, mask in enumerate(masks):
        if mask:
            out |= rgba[..., channel].astype(np.uint64) << np.uint64((mask & -mask).bit_length() - 1)
    return out.astype(np.uint32)


RLE8_STREAM = bytes.fromhex(
    "0501 0207 0000"  # a run of five 1, one of two 7, end of row
    "0003 0405 0600 0409 0000"  # three single ones and their padding, a run of four 9, end of row
    "0002 0201 0308 0001"  # two to the right and one up, three 8, end of bitmap
)
RLE8_INDICES = np.array([[0, 0, 8, 8, 8, 0, 0], [0] * 7, [4, 5, 6, 9, 9, 9, 9], [1, 1, 1, 1, 1, 7, 7]])
RLE4_STREAM = bytes.fromhex(
    "0512 0277 0000"  # 1 2 1 2 1, 7 7
    "0003 4560 0490 0000"  # 4 5 6, 9 0 9 0
    "0002 0200 0388 0001"  # two to the right, 8 8 8
)
RLE4_INDICES = np.array([[0, 0, 8, 8, 8, 0, 0], [4, 5, 6, 9, 0, 9, 0], [1, 2, 1, 2, 1, 7, 7]])


def bmp_samples():
    rgb = noise()
    height, width = rgb.shape[:2]
    size = (width, height)
    colours = noise((1, 256))[0]
    found = {}
    for bits in (1, 2, 4, 8):
        indices = noise(channels=1, largest=2**bits - 1)[..., 0]
        table = bmp_palette(colours[: 2**bits])
        found[f"palette{bits}"] = bmp_file(bmp_rows(indices, bits), bits, *size, palette=table)
    indices = noise(channels=1, largest=99)[..., 0]
    rows24 = bmp_rows(rgb[..., ::-1], 24)
    five = packed_pixels(noise(channels=4, largest=31), (0x7C00, 0x3E0, 0x1F, 0x8000)) & 0x7FFF
    rgba = noise(channels=4)
    usual = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    found |= {
        "palette8-short": bmp_file(bmp_rows(indices, 8), 8, *size, palette=bmp_palette(colours[:100]), colors=100),
        "os2": bmp_file(bmp_rows(indices, 8), 8, *size, header=12, palette=bmp_palette(colours, 3)),
        "os2-24": bmp_file(rows24, 24, *size, header=12),
        "os2-long": bmp_file(rows24, 24, *size, header=64),
        "os2-middle": bmp_file(rows24, 24, *size, header=16),
        "rgb": bmp_file(rows24, 24, *size),
        "top-down": bmp_file(bmp_rows(rgb[..., ::-1], 24, top_down=True), 24, width, -height),
        "gap": bmp_file(rows24, 24, *size, gap=6),
        "rgb32": bmp_file(bmp_rows(packed_pixels(rgba, usual), 32), 32, *size),
        "555": bmp_file(bmp_rows(five, 16), 16, *size),
        "565": bmp_file(
            bmp_rows(noise(dtype=np.uint16, channels=1)[..., 0], 16), 16, *size, compression=3, masks=(0xF800, 0x7E0, 0x1F)
        ),
        "1555": bmp_file(
            bmp_rows(noise(dtype=np.uint16, channels=1)[..., 0], 16),
            16,
            *size,
            header=56,
            compression=3,
            masks=(0x7C00, 0x3E0, 0x1F, 0x8000),
        ),
        "rgba": bmp_file(bmp_rows(packed_pixels(rgba, usual), 32), 32, *size, header=108, compression=3, masks=usual),
        "bitfields10": bmp_file(
            bmp_rows(noise(dtype=np.uint32, channels=1)[..., 0], 32),
            32,
            *size,
            compression=3,
            masks=(0x3FF00000, 0xFFC00, 0x3FF),
        ),
        "rle8": bmp_file(RLE8_STREAM, 8, 7, 4, compression=1, palette=bmp_palette(colours)),
        "rle4": bmp_file(RLE4_STREAM, 4, 7, 3, compression=2, palette=bmp_palette(colours[:16])),
        "v4": bmp_file(rows24, 24, *size, header=108, extra=bmp_v4_extra(0x73524742)),
        "v4-calibrated": bmp_file(
            rows24,
            24,
            *size,
            header=108,
            extra=bmp_v4_extra(0, [(0.61, 0.31, 0.02), (0.1, 0.6, 0.05), (0.24, 0.09, 1.02)], 2.2),
        ),
        "v5-profile": bmp_with_profile(rgb, _icc.build(*P3)),
    }
    return found
