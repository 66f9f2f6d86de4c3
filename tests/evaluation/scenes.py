"""Small folders of references, predictions and photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import hdrcli
from hdrcli.color import Transfer, encode
from hdrcli.evaluation.engine import Request
from hdrcli.evaluation.pairs import Source, match
from hdrcli.evaluation.results import Settings
from hdrcli.image import Image

SIZE = (24, 32)
QUICK = ("log2_rmse",)  # metrics that need no torch


def light(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A scene from deep shadow to five stops above white, with a gradient and noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    x = np.linspace(-9, 5, width, dtype=np.float32)[None, :, None] + np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return (2.0 ** (x + rng.normal(0, 0.3, (height, width, 3)))).astype(np.float32)


def photo(scene: np.ndarray) -> np.ndarray:
    return np.rint(encode(np.clip(scene, 0, 1), Transfer.SRGB) * 255).astype(np.uint8)


def save_light(path: Path, pixels: np.ndarray, white: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = hdrcli.WriteOptions(depth="float")
    hdrcli.write(Image(pixels.astype(np.float32), Transfer.LINEAR, white_luminance=white), path, depth, overwrite=True)
    return path


def save_codes(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    hdrcli.write(Image(pixels, Transfer.SRGB), path, overwrite=True)
    return path


def write_folders(root: Path, names: Sequence[str] = ("one", "two", "three")) -> Path:
    """``truth``, ``good``, ``poor`` and ``photos`` below ``root``."""
    for seed, name in enumerate(names):
        scene = light(seed)
        rng = np.random.default_rng(100 + seed)
        save_light(root / f"truth/{name}.exr", scene)
        save_light(root / f"good/{name}.exr", scene * 2 ** rng.normal(0, 0.1, scene.shape))
        save_light(root / f"poor/{name}.exr", np.minimum(scene, 1.2) * 2 ** rng.normal(0, 0.5, scene.shape))
        save_codes(root / f"photos/{name}.png", photo(scene))
    return root


def request(root: Path, *methods: str, ldr: bool = False, processes: int = 1, **settings: object) -> Request:
    sources = [Source(name, root / name) for name in methods]
    matching = match(sources, root / "truth", root / "photos" if ldr else None)
    return Request(matching, Settings(**{"metrics": QUICK, **settings}), processes)
