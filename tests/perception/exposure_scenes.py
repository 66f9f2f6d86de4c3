"""Rendered photos of which it is known what clipped, where a threshold of codes fails: white that is not lost, lost that is not
white. Drawn otherwise than the training's surfaces, so that knowing those is not enough."""

import numpy as np

from hdrcli.camera import Camera, jpeg_round_trip, monotone_response, srgb_response

SIZE = 192


def _waves(rng, count, low, high, size):
    """A smooth random field of about -1..1: waves of so many periods across."""
    y, x = np.mgrid[0:size, 0:size] / size
    field = np.zeros((size, size))
    for _ in range(count):
        angle, period, phase = rng.uniform(0, 2 * np.pi), rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
        field += np.sin(2 * np.pi * period * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return field / np.sqrt(count / 2) / 2


def _window(rng, size):
    """Where there is a window, a lamp or a sun: a disk or an upright rectangle."""
    y, x = np.mgrid[0:size, 0:size] / size
    cy, cx, r = rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.8), rng.uniform(0.06, 0.16)
    return np.hypot(y - cy, x - cx) < r if rng.random() < 0.5 else (np.abs(y - cy) < 1.4 * r) & (np.abs(x - cx) < r)


def _room(rng, size):
    """A grey scene with things in it, exposure 0.02..0.5."""
    base = 0.15 * 2 ** (1.2 * _waves(rng, 6, 0.5, 3, size) + 0.3 * _waves(rng, 8, 8, 30, size))
    return np.clip(base, 0.02, 0.5)


def wall(rng, size):
    """A plastered wall just below white, and a window that clipped or none."""
    exposed = _room(rng, size)
    edge = int(size * rng.uniform(0.4, 0.8))
    plaster = rng.uniform(0.9, 0.97) * (1 + 0.02 * _waves(rng, 3, 0.2, 1, size) + 0.008 * _waves(rng, 20, 20, 60, size))
    exposed[:edge] = plaster[:edge]
    if rng.random() < 0.7:
        exposed = np.where(_window(rng, size), rng.uniform(1.5, 8), exposed)
    return exposed


def snow(rng, size):
    """Dunes of snow with grains, under a sky that clipped in part."""
    horizon = int(size * rng.uniform(0.3, 0.5))
    y = np.linspace(0, 1, size)[:, None]
    sky = rng.uniform(0.5, 0.9) * 2 ** (1.6 * _waves(rng, 4, 0.3, 1.2, size) * (y < 0.5))
    ground = rng.uniform(0.82, 0.93) * (1 + 0.05 * _waves(rng, 6, 1, 5, size) + 0.015 * rng.standard_normal((size, size)))
    exposed = np.where(np.arange(size)[:, None] < horizon, sky, np.minimum(ground, 0.995))
    tree = _window(rng, size)
    return np.where(tree, 0.05, exposed)


def paper(rng, size):
    """Printed pages on a desk, just below white, and a lamp that clipped or none."""
    exposed = _room(rng, size)
    y, x = np.mgrid[0:size, 0:size] / size
    for _ in range(rng.integers(1, 3)):
        cy, cx, h, w, skew = rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.7), 0.22, 0.16, rng.uniform(-0.5, 0.5)
        page = (np.abs(y - cy) < h) & (np.abs(x - cx - skew * (y - cy)) < w)
        level = rng.uniform(0.88, 0.97) * (1 - 0.06 * (y - cy + h) / h)
        ink = (
            (np.sin(2 * np.pi * (y - cy) * 22) > 0.5)
            & (np.abs(x - cx - skew * (y - cy)) < 0.8 * w)
            & (rng.random((size, size)) < 0.7)
        )
        exposed = np.where(page, np.where(ink, 0.1, level), exposed)
    if rng.random() < 0.7:
        exposed = np.where(_window(rng, size), rng.uniform(1.5, 20), exposed)
    return exposed


def sky(rng, size):
    """An ordinary photo with a bright sky that clipped in part."""
    horizon = size * (rng.uniform(0.4, 0.7) + 0.05 * _waves(rng, 3, 1, 4, size)[0])
    bright = 2 ** (rng.uniform(-0.5, 0.5) + 1.0 * _waves(rng, 5, 0.3, 2, size))
    return np.where(np.arange(size)[:, None] < horizon[None], bright, _room(rng, size))


KINDS = {"wall": wall, "snow": snow, "paper": paper, "sky": sky}


def photo(kind, seed, *, washed_out=False, size=SIZE):
    """``(H, W, 3) uint8`` codes and where a channel clipped, ``(H, W) bool``.

    ``washed_out``: white lowered to code 0.84..0.93 and black raised after it was taken, as in faded prints and film looks.
    """
    rng = np.random.default_rng([seed, list(KINDS).index(kind), washed_out])
    tint = 1 + 0.04 * rng.standard_normal(3)
    exposed = (np.asarray(KINDS[kind](rng, size))[..., None] * tint / tint.max()).astype(np.float32)
    response = monotone_response(rng, 0.15) if rng.random() < 0.5 else srgb_response()
    camera = Camera(response, read_noise=10 ** rng.uniform(-3.3, -2.5), shot_noise=10 ** rng.uniform(-5, -4))
    codes = camera.shoot(exposed, rng).astype(np.float64)
    if washed_out:
        white, black = rng.uniform(0.84, 0.93), rng.uniform(0.02, 0.1)
        codes = (black + (white - black) * codes / 255) * 255
    codes = jpeg_round_trip(np.rint(codes).astype(np.uint8), int(rng.integers(85, 98)))
    return codes, (exposed >= 1).any(axis=2)


def photos(count=6):
    """All kinds, each taken plain and washed out: ``(kind, washed_out, codes, clipped)``."""
    for kind in KINDS:
        for washed_out in (False, True):
            for seed in range(count):
                yield kind, washed_out, *photo(kind, seed, washed_out=washed_out)


def iou(said, right):
    """Of areas summed over photos: lists of ``(H, W) bool``; 1 if there is nothing in both."""
    both = sum(int((s & r).sum()) for s, r in zip(said, right))
    either = sum(int((s | r).sum()) for s, r in zip(said, right))
    return both / either if either else 1.0
