"""Pictures that reference values were computed on, made anew: the same everywhere, from NumPy's frozen random stream.

``protocol_pair(name)``: reference and test, ``(H, W, 3)`` linear BT.709. ``tmqi_pair(name)``: HDR, and LDR codes 0..255.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
PROTOCOL_PAIRS = ("07_rgb_noise10", "08_rgb_clip97_8bit", "10_rgb_singlehdr_protocol", "11_rgb_relative_odd", "12_rgb_wide")
TMQI_PAIRS = ("t1_rgb_reinhard", "t2_rgb_clip90", "t3_lum_log_noise", "t4_rgb_dark_blur", "t5_rgb_flat_patch")


@cache
def reference_values(name):
    """Of ``tests/data/NAME``: its checks, or by pair."""
    values = json.loads((DATA / name / "reference.json").read_text(encoding="utf-8"))
    return values | {"pairs": {pair["name"]: pair for pair in values["pairs"]}}


def box(a, n):
    """Circular box blur."""
    for axis in (0, 1):
        a = sum(np.roll(a, k, axis=axis) for k in range(-(n // 2), n // 2 + 1)) / n
    return a


def scene(h, w, seed, channels=3):
    """Gradients, waves, filtered noise and four bright discs, 0.05..4000 cd/m2."""
    rs = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    u, v = x / w, y / h
    t = 0.35 * box(rs.rand(h, w) - 0.5, 3) + 0.8 * box(rs.rand(h, w) - 0.5, 9)
    logl = 0.2 + 1.6 * v + 0.45 * np.sin(2 * np.pi * (5 * u + 2 * v)) + 0.2 * np.sin(2 * np.pi * (17 * u - 11 * v)) + t
    for cx, cy, r, g in ((0.2, 0.25, 0.05, 1.9), (0.75, 0.2, 0.03, 2.1), (0.55, 0.7, 0.08, 0.9), (0.85, 0.8, 0.02, 1.5)):
        d = np.hypot((u - cx), (v - cy) * h / w)
        logl = logl + g / (1 + np.exp((d - r) * 120))
    if channels == 1:
        return 10.0**logl
    tint = [1 + 0.25 * np.sin(2 * np.pi * (2 * u + v + k / 3.0)) for k in range(3)]
    return np.stack([10.0**logl * c for c in tint], axis=-1)


def noise(shape, seed):
    return np.random.RandomState(seed).uniform(-1, 1, shape)


def srgb(x):
    x = np.clip(x, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def from_srgb(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def to_999(a):
    """Order statistics at a thousandth from both ends to 1 and 999: SingleHDR's issue 4."""
    ordered = np.sort(a.ravel())
    k = int(np.floor(a.size * 1e-3 + 0.5))
    low, high = ordered[k - 1], ordered[-k]
    return np.maximum((a - low) * (999.0 - 1.0) / (high - low + 1e-8) + 1.0, 0.0)


def percentiles_to_999(a):
    """0.1 and 99.9 percentiles to 1 and 999, negative values to 0: ExpandNet's display mode."""
    low, high = np.percentile(a, (0.1, 99.9))
    return np.maximum((a - low) * (999.0 - 1.0) / (high - low) + 1.0, 0.0)


def _noise10():
    r = scene(160, 192, 6)
    return r, r * (1 + 0.10 * noise(r.shape, 106))


def _clip97_8bit():
    r = scene(256, 256, 7)
    p = np.percentile(r, 97)
    return r, np.maximum(from_srgb(np.round(srgb(r / p) * 255) / 255) * p, 1e-3)


def _singlehdr():
    r = scene(512, 512, 9)
    c = np.minimum(r, np.percentile(r, 96))
    return to_999(r), to_999(0.5 * (c + c.mean() * (c / c.mean()) ** 1.15))


def _relative_odd():
    r = scene(61, 83, 21) / 400.0
    t = 0.37 * np.minimum(r, np.percentile(r, 92)) ** 0.9 * np.array([1.05, 1.0, 0.93]) - 0.0015
    t[:4, :5, :] = 0.0
    return r, t


def _wide():
    r = 2.0 * scene(48, 64, 22) ** 1.35
    r[40:, :16, :] *= 1e-4
    return r, 1.3 * box(r, 3) * (1 + 0.2 * noise(r.shape, 122))


def _codes(x):
    return np.round(255.0 * np.clip(x, 0, 1))


def _luminance(rgb):
    return rgb[..., 0] * 0.2126 + rgb[..., 1] * 0.7152 + rgb[..., 2] * 0.0722


def _reinhard(h):
    lum = _luminance(h)
    s = lum * 0.18 / np.exp(np.log(lum).mean())
    return h, _codes((h / lum[..., None] * (s / (1 + s))[..., None]) ** (1 / 2.2))


def _clip90():
    h = scene(209, 198, 32)  # both sides multiples of 11
    return h, _codes(srgb(h / np.percentile(h, 90)))


def _log_noise():
    h = scene(301, 233, 33, channels=1)  # odd sides, luminance only
    g = np.log(h)
    return h, _codes((g - g.min()) / (g.max() - g.min()) + 0.04 * noise(h.shape, 133))


def _dark_blur():
    h = scene(256, 256, 34)
    return h, _codes(0.35 * srgb(box(h, 5) / np.percentile(h, 95)))


def _flat_patch():
    h = scene(192, 192, 35)
    h[40:120, 30:150, :] = 3.0
    return _reinhard(h)


_PROTOCOL = dict(zip(PROTOCOL_PAIRS, (_noise10, _clip97_8bit, _singlehdr, _relative_odd, _wide), strict=True))
_TMQI = dict(
    zip(TMQI_PAIRS, (lambda: _reinhard(scene(192, 256, 31)), _clip90, _log_noise, _dark_blur, _flat_patch), strict=True)
)


@cache
def protocol_pair(name):
    pair = _PROTOCOL[name]()
    for a in pair:
        a.flags.writeable = False
    return pair


@cache
def tmqi_pair(name):
    pair = _TMQI[name]()
    for a in pair:
        a.flags.writeable = False
    return pair
