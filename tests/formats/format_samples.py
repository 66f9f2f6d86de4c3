"""Samples that the tests of several formats need: EXIF payloads, turned pictures, ICC profiles with curves and with tables."""

import struct

import numpy as np

from hdrcli.color import Primaries, Transfer, conversion_matrix, rgb_to_xyz
from hdrcli.formats import _icc


def tiff_with_orientation(value, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHII", 0x0100, 4, 1, 7) + struct.pack(order + "HHIHH", 0x0112, 3, 1, value, 0)
    return head + struct.pack(order + "IH", 8, 2) + entries + bytes(4)


def oriented(pixels, value):
    """What a viewer must undo: the stored pixels of a picture that looks like ``pixels`` (EXIF 2.32, 4.6.4 A)."""
    stored = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[value](pixels)
    return np.ascontiguousarray(stored)


def with_curve(icc, tag):
    """The profile with its tone curves replaced by one of the same length or shorter."""
    start, size = struct.unpack_from(">II", icc, icc.index(b"rTRC") + 4)
    return icc[:start] + tag.ljust(size, b"\0") + icc[start + size :]


def odd_profile():
    return with_curve(_icc.build(Transfer.SRGB, Primaries.ADOBE_RGB), b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0300))


def profile_bytes(tags, space, pcs=b"XYZ ", kind=b"mntr", version=0x02400000):
    """An ICC profile of these tags (type and contents); name and white come along."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": description("sample"), b"wtpt": white} | tags
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), version, kind, space, pcs)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white[8:]
    return head.ljust(128, b"\0") + table + body


def description(text):
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text.encode() + b"\0" + bytes(78)


def gamma_curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def table_curve(values):
    codes = np.rint(np.asarray(values) * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(codes)) + codes.tobytes()


def parametric_curve(kind, *numbers):
    return b"para" + struct.pack(f">4xHH{len(numbers)}i", kind, 0, *(round(65536 * n) for n in numbers))


def fixed_numbers(kind, numbers):
    return kind + bytes(4) + struct.pack(f">{np.size(numbers)}i", *(round(65536 * float(n)) for n in np.ravel(numbers)))


def grey_profile(curve, pcs=b"XYZ "):
    return profile_bytes({b"desc": description("grey"), b"kTRC": curve}, b"GRAY", pcs)


def d50_colorants(primaries):
    """XYZ of red, green, blue as rows, adapted to D50 by Bradford."""
    return (rgb_to_xyz(Primaries.PROPHOTO) @ conversion_matrix(primaries, Primaries.PROPHOTO)).T


def matrix_profile(curves, colorants, adaptation=None):
    """``curves``: three curve tags; ``colorants``: (3, 3), rows red, green, blue."""
    channels = b"r", b"g", b"b"
    tags = {c + b"XYZ": fixed_numbers(b"XYZ ", row) for c, row in zip(channels, colorants, strict=True)}
    tags |= {c + b"TRC": curve for c, curve in zip(channels, curves, strict=True)}
    if adaptation is not None:
        tags[b"chad"] = fixed_numbers(b"sf32", adaptation)
    return profile_bytes(tags, b"RGB ", version=0x04300000)


def lab(xyz):
    """CIE L*a*b* of XYZ relative to D50 (CIE 15:2018, eq. 8.3 to 8.11)."""
    t = np.asarray(xyz) / (0.9642, 1.0, 0.8249)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def screen(light):
    """XYZ (D50) of linear device RGB: Display P3 that loses light in saturated colours, so that no matrix can say it."""
    light = light * (1 - 0.2 * (light.max(axis=-1, keepdims=True) - light.min(axis=-1, keepdims=True)))
    return light @ d50_colorants(Primaries.DISPLAY_P3)


def inks(amounts):
    """XYZ (D50) of amounts of cyan, magenta, yellow and black: filters one behind the other, in ProPhoto's light."""
    passed = np.array([[0.02, 0.45, 0.75], [0.6, 0.05, 0.3], [0.95, 0.85, 0.03], [0.03, 0.03, 0.03]])
    light = (1 - amounts[..., None] * (1 - passed)).prod(axis=-2)
    return light @ rgb_to_xyz(Primaries.PROPHOTO).T


def _nodes(colour, inputs, grid):
    device = np.stack(np.meshgrid(*[np.linspace(0, 1, grid)] * inputs, indexing="ij"), axis=-1)
    return np.add(lab(colour(device)), (0, 128, 128))


def lut16(colour, inputs, grid, curve=lambda x: x):
    """A tag 'mft2' (ICC.1:2022, 10.10), device to Lab: ``colour(curve(device))``, the curve in 256 entries."""
    encoded = np.rint(np.clip(_nodes(colour, inputs, grid) * (652.8, 256, 256), 0, 65535)).astype(">u2")
    entry = np.rint(65535 * curve(np.linspace(0, 1, 256))).astype(">u2").tobytes() * inputs
    head = b"mft2" + bytes(4) + bytes((inputs, 3, grid, 0)) + struct.pack(">9i", *(np.eye(3).ravel() * 65536).astype(int))
    return head + struct.pack(">HH", 256, 2) + entry + encoded.tobytes() + struct.pack(">2H", 0, 65535) * 3


def lut_a_to_b(colour, inputs, grid, gamma):
    """A tag 'mAB ' (ICC.1:2022, 10.12), device to Lab: ``colour(device ** gamma)``, other elements the identity."""
    encoded = np.rint(_nodes(colour, inputs, grid) * (655.35, 257, 257)).astype(">u2")
    straight = b"curv" + bytes(8)
    table = bytes([grid] * inputs).ljust(16, b"\0") + bytes((2, 0, 0, 0)) + encoded.tobytes()
    parts = [straight * 3, fixed_numbers(b"", [*np.eye(3).ravel(), 0, 0, 0])[4:], straight * 3, table + bytes(len(table) % 4)]
    parts.append((gamma_curve(gamma) + bytes(2)) * inputs)  # B curves, matrix, M curves, table, A curves
    places = np.cumsum([32, *map(len, parts[:-1])])
    return b"mAB " + bytes(4) + bytes((inputs, 3, 0, 0)) + struct.pack(">5I", *places) + b"".join(parts)


def table_profile(kind="mft2"):
    """RGB whose colours only a table can say: :func:`screen` of codes to the power of 2."""
    if kind == "mft2":
        return profile_bytes({b"A2B0": lut16(screen, 3, 17, np.square)}, b"RGB ", b"Lab ")
    return profile_bytes({b"A2B0": lut_a_to_b(screen, 3, 9, 2.0)}, b"RGB ", b"Lab ", version=0x04300000)


def ink_profile():
    """CMYK: :func:`inks`."""
    return profile_bytes({b"A2B0": lut16(inks, 4, 7)}, b"CMYK", b"Lab ", b"prtr")
