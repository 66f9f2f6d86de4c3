"""Small PFM files of every kind."""

import numpy as np


def pixels(height=5, width=7, channels=3, seed=0):
    return (np.random.default_rng(seed).random((height, width, channels)) * 9 - 1).astype(np.float32)


def pfm(image, header=None, order="<"):
    """``(H, W, 3 or 1)`` float32 as a file; the header is made to fit unless it is given."""
    height, width, channels = image.shape
    kind = b"PF" if channels == 3 else b"Pf"
    header = header or b"%s\n%d %d\n%s\n" % (kind, width, height, b"-1.0" if order == "<" else b"1.0")
    return header + image[::-1].astype(order + "f4").tobytes()


def samples():
    colour, grey = pixels(), pixels(channels=1)
    odd = colour.copy()
    odd[0, 0], odd[1, 1, 1], odd[2, 2, 2] = np.nan, np.inf, -np.inf
    return {
        "little-endian": pfm(colour),
        "big-endian": pfm(colour, order=">"),
        "grey": pfm(grey),
        "grey big-endian": pfm(grey, order=">"),
        "one pixel": pfm(pixels(1, 1)),
        "scaled": pfm(colour, b"PF\n7 5\n-2.5\n"),
        "odd white space": pfm(colour, b"PF 7\t5\r\n-1e0 "),
        "carriage returns": pfm(colour, b"PF\r\n7 5\r\n-1.0\r\n"),
        "something behind": pfm(colour) + b"more",
        "nan and inf": pfm(odd),
    }
