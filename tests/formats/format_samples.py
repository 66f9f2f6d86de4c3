"""Samples that the tests of several formats need: EXIF payloads, turned pictures, ICC profiles."""

import struct

import numpy as np

from hdrcli.color import Primaries, Transfer
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
    start = icc.index(b"curv")
    size = struct.unpack_from(">I", icc, 128 + 4 + 12 * 6 + 8)[0]
    return icc[:start] + tag.ljust(size, b"\0") + icc[start + size :]


def odd_profile():
    return with_curve(_icc.build(Transfer.SRGB, Primaries.ADOBE_RGB), b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0300))


def grey_profile(curve):
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78), b"kTRC": curve}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = bytearray(_icc.build(Transfer.SRGB, Primaries.BT709)[:128])
    head[:4] = struct.pack(">I", start + len(body))
    head[16:20] = b"GRAY"
    return bytes(head) + table + body
