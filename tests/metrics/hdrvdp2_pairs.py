"""Ten pairs and eleven edge cases for HDR-VDP-2.2, made again from frozen random streams (numpy.random.RandomState).

Reference values for them: tests/data/hdrvdp22. The arithmetic is that of the recipes they were made with, to the last digit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PAIRS: dict[str, Callable[[], "Pair"]] = {}
EDGE_CASES: dict[str, Callable[[], "Pair"]] = {}


@dataclass(frozen=True, eq=False)
class Pair:
    """``(H, W)`` or ``(H, W, 3)`` float64 each, in the encoding's unit."""

    reference: np.ndarray
    test: np.ndarray
    encoding: str
    ppd: float


def pair(where):
    """Decorator: the function makes the pair of its own name."""

    def keep(make):
        where[make.__name__] = make
        return make

    return keep


def box(a, n):
    """Circular box blur of odd size."""
    for axis in (0, 1):
        a = sum(np.roll(a, k, axis=axis) for k in range(-(n // 2), n // 2 + 1)) / n
    return a


def scene(h, w, seed, channels=1):
    """Gradients, waves, filtered noise and four bright discs, about 0.05..4000 cd/m2."""
    rs = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    u, v = x / w, y / h
    t = 0.35 * box(rs.rand(h, w) - 0.5, 3) + 0.8 * box(rs.rand(h, w) - 0.5, 9)
    logl = 0.2 + 1.6 * v + 0.45 * np.sin(2 * np.pi * (5 * u + 2 * v)) + 0.2 * np.sin(2 * np.pi * (17 * u - 11 * v)) + t
    for cx, cy, r, g in ((0.2, 0.25, 0.05, 1.9), (0.75, 0.2, 0.03, 2.1), (0.55, 0.7, 0.08, 0.9), (0.85, 0.8, 0.02, 1.5)):
        d = np.hypot((u - cx), (v - cy) * h / w)
        logl = logl + g / (1 + np.exp((d - r) * 120))
    light = 10.0**logl
    if channels == 1:
        return light
    tint = [1 + 0.25 * np.sin(2 * np.pi * (2 * u + v + k / 3.0)) for k in range(3)]
    return np.stack([light * c for c in tint], axis=-1)


def noisy(reference, amplitude, seed):
    return reference * (1 + amplitude * np.random.RandomState(seed).uniform(-1, 1, reference.shape))


def encode_srgb(x):
    x = np.clip(x, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def decode_srgb(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def singlehdr_range(a):
    """The 0.1 % order statistics go to 1 and 999."""
    ordered = np.sort(a.ravel())
    k = int(np.floor(a.size * 1e-3 + 0.5))
    low, high = ordered[k - 1], ordered[-k]
    return np.maximum((a - low) * (999.0 - 1.0) / (high - low + 1e-8) + 1.0, 0.0)


@pair(PAIRS)
def identical():
    r = scene(128, 128, 1)
    return Pair(r, r.copy(), "luminance", 30)


@pair(PAIRS)
def noise5():
    r = scene(128, 128, 1)
    return Pair(r, noisy(r, 0.05, 101), "luminance", 30)


@pair(PAIRS)
def noise30_ppd60():
    r = scene(256, 192, 2)
    return Pair(r, noisy(r, 0.30, 102), "luminance", 60)


@pair(PAIRS)
def box5():
    r = scene(192, 256, 3)
    return Pair(r, box(r, 5), "luminance", 30)


@pair(PAIRS)
def clip95():
    r = scene(256, 256, 4)
    return Pair(r, np.minimum(r, np.percentile(r, 95)), "luminance", 30)


@pair(PAIRS)
def gamma_odd():
    r = scene(173, 201, 5)
    t = r**0.8
    return Pair(r, t * r.mean() / t.mean(), "luminance", 30)


@pair(PAIRS)
def rgb_noise10():
    r = scene(160, 192, 6, 3)
    return Pair(r, noisy(r, 0.10, 106), "rgb-bt.709", 30)


@pair(PAIRS)
def rgb_clip97_8bit():
    r = scene(256, 256, 7, 3)
    p = np.percentile(r, 97)
    q = np.round(encode_srgb(r / p) * 255) / 255
    return Pair(r, np.maximum(decode_srgb(q) * p, 1e-3), "rgb-bt.709", 30)


@pair(PAIRS)
def srgb_display():
    r = scene(128, 160, 8, 3)
    v = encode_srgb(r / np.percentile(r, 97))
    n = np.random.RandomState(108).uniform(-1, 1, r.shape)
    return Pair(v, np.clip(np.round((v + 0.03 * n) * 255) / 255, 0, 1), "sRGB-display", 30)


@pair(PAIRS)
def rgb_singlehdr_protocol():
    r = scene(512, 512, 9, 3)
    c = np.minimum(r, np.percentile(r, 96))
    t = 0.5 * (c + c.mean() * (c / c.mean()) ** 1.15)
    return Pair(singlehdr_range(r), singlehdr_range(t), "rgb-bt.709", 30)


def smooth(rs, h, w, n=7):
    a = rs.rand(h, w)
    for axis in (0, 1):
        a = sum(np.roll(a, j, axis=axis) for j in np.arange(-(n // 2), n // 2 + 1)) / n
    a = a - a.min()
    return a / a.max()


def smooth_pair(seed, h, w, low, high, amplitude, encoding, ppd, channels=1):
    """10^low to 10^high cd/m2, with multiplied noise."""
    rs = np.random.RandomState(seed)
    light = 10.0 ** (low + (high - low) * smooth(rs, h, w))
    if channels > 1:
        light = np.stack([light * (0.6 + 0.8 * smooth(rs, h, w)) for _ in range(channels)], axis=-1)
    return Pair(light, light * (1 + amplitude * rs.uniform(-1, 1, light.shape)), encoding, ppd)


@pair(EDGE_CASES)
def one_level_17x40():
    return smooth_pair(201, 17, 40, 0, 2.5, 0.2, "luminance", 30)


@pair(EDGE_CASES)
def ppd100_33x70():
    return smooth_pair(202, 33, 70, -1, 3, 0.2, "luminance", 100)


@pair(EDGE_CASES)
def zero_negative_nan_97x131():
    made = smooth_pair(203, 97, 131, 0, 3, 0.1, "rgb-bt.709", 45, 3)
    a, b = made.reference, made.test
    a[:5, :5] = 0
    b[2:8, 2:8] = 3.0
    a[40:44, 60:64] *= -0.05
    b[70, 80] = np.nan
    a[71, 20, 1] = np.nan
    return made


@pair(EDGE_CASES)
def luma_display_ppd12():
    rs = np.random.RandomState(204)
    v = smooth(rs, 64, 64)
    return Pair(v, np.clip(v + 0.05 * rs.uniform(-1, 1, v.shape), 0, 1), "luma-display", 12)


@pair(EDGE_CASES)
def xyz_65x80():
    return smooth_pair(205, 65, 80, 0, 2.5, 0.1, "XYZ", 30, 3)


@pair(EDGE_CASES)
def srgb_49x51():
    rs = np.random.RandomState(206)
    v = np.stack([smooth(rs, 49, 51) for _ in range(3)], -1)
    return Pair(v, v + 0.04 * rs.uniform(-1, 1, v.shape), "sRGB-display", 30)


@pair(EDGE_CASES)
def range_1e8_noise1pc():
    return smooth_pair(207, 200, 300, -3, 5, 0.01, "luminance", 30)


@pair(EDGE_CASES)
def range_1e6_noise03pc():
    return smooth_pair(208, 200, 300, -2, 4, 0.003, "luminance", 30)


@pair(EDGE_CASES)
def narrow_256x19():
    return smooth_pair(209, 256, 19, 0, 3, 0.1, "luminance", 30)


@pair(EDGE_CASES)
def ppd3():
    return smooth_pair(210, 128, 128, 0, 3, 0.1, "luminance", 3)


@pair(EDGE_CASES)
def gain12_101x203():
    made = smooth_pair(211, 101, 203, 0, 3, 0.0, "luminance", 30)
    return Pair(made.reference, made.reference * 1.2, "luminance", 30)
