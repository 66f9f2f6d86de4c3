"""Scores while training: the averaged G_Y on photos with known truth that no training step sees.

Definitions as in ``make score`` (tests/tools/score.py): v = code / 255 per channel; clipped: v >= 0.97, unclipped: v < 0.90;
the prediction is brought to the truth's exposure from well-exposed pixels alone; the truth is capped at 256 LDR whites;
regions under 50 values are left out. Smaller photos and fewer of them, so numbers are not those of ``make score``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.camera import SCORING, clipped_share, exposure_alignment
from hdrcli.color import Transfer, decoding_table
from hdrcli.errors import DataError
from hdrcli.inference.generator import Generator
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct
from hdrcli.metrics.log2_rmse import log2_rmse
from hdrcli.metrics.pu21 import pu21_psnr_rgb
from hdrcli.training.cache import Floats, Picture, load
from hdrcli.training.datasets import random_view
from hdrcli.training.sources import SceneFile, find_files

SEED, VIEWS, MOST, SIZE, CAP, LEAST, WHITE_NITS = 20261120, 2, 32, 256, 256.0, 50, 100.0
LARGEST = 1024  # pixels of the longer side of a pair's photo
SHARES = (0.01, 0.20)
Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Pair:
    """A photo, ``codes (H, W, 3) uint8`` sRGB, and its ``truth (H, W, 3) float32``, 1 = LDR white, capped."""

    name: str
    codes: NDArray[np.uint8]
    truth: Floats


@dataclass(frozen=True, eq=False)
class Validation:
    """What is scored, where it comes from, and how plain linearisation does on it."""

    pairs: tuple[Pair, ...]
    note: str
    linear: dict[str, float]

    @cached_property
    def digest(self) -> str:
        """Of names, photos and truth: scores of equal ones can be compared."""
        found = hashlib.sha256()
        for pair in self.pairs:
            found.update(f"{pair.name}\0{pair.codes.shape}\0".encode())
            found.update(np.ascontiguousarray(pair.codes).tobytes())
            found.update(np.ascontiguousarray(pair.truth, dtype="<f4").tobytes())
        return found.hexdigest()[:16]


def find(folder: Path, report: Report = lambda line: None) -> Validation:
    """Pairs in ``folder/ldr`` and ``folder/hdr`` by stem; else the HDR scenes in it, photographed by cameras of a fixed seed.

    Of a folder with a manifest its split "val". Raises DataError if there is nothing to score.
    """
    if (folder / "ldr").is_dir() and (folder / "hdr").is_dir():
        pairs = _by_stem(folder, report)
        note = f"{len(pairs)} pairs of {folder}"
    else:
        scenes = load(find_files([folder], "hdr", "val").files, "hdr", report=report)
        pairs = tuple(photographs(scenes))
        note = f"{len(pairs)} virtual photos of {len(scenes)} scenes of {folder}"
    if not pairs:
        raise DataError("holds no photo that can be scored", where=folder, remedy="check --val")
    return Validation(pairs, note, mean_scores([score(_linear(p.codes), p) for p in pairs]))


def photographs(scenes: Sequence[Picture]) -> list[Pair]:
    """Two virtual photos of each scene, at most 32 in all; each depends on its scene's name and number alone."""
    step = max(1, len(scenes) * VIEWS // MOST)
    made = [_photograph(scene, number) for scene in scenes[::step] for number in range(VIEWS)]
    return [pair for pair in made if pair is not None][:MOST]


def _photograph(scene: Picture, number: int) -> Pair | None:
    rng = np.random.default_rng([SEED, number, *scene.name.encode()])
    for _ in range(50):
        radiance = random_view(scene, SIZE, rng)
        camera = SCORING.draw(radiance, rng)
        codes = camera.shoot(radiance, rng)
        if SHARES[0] <= clipped_share(codes) <= SHARES[1]:
            return Pair(f"{scene.name} {number}", codes, np.minimum(camera.exposed(radiance), np.float32(CAP)))
    return None


def _by_stem(folder: Path, report: Report) -> tuple[Pair, ...]:
    hdr = {f.path.stem: f for f in find_files([folder / "hdr"], "hdr", "all").files}
    ldr = {f.path.stem: f for f in find_files([folder / "ldr"], "ldr", "all").files}
    common = sorted(set(hdr) & set(ldr))
    alone = len(hdr) + len(ldr) - 2 * len(common)
    if alone:
        report(f"{folder}: {alone} files have no partner of the same name")
    pairs = []
    for stem in common[:MOST]:
        pair = _pair(stem, ldr[stem], hdr[stem], report)
        pairs += [pair] if pair is not None else []
    return tuple(pairs)


def _pair(stem: str, ldr: SceneFile, hdr: SceneFile, report: Report) -> Pair | None:
    import cv2

    try:
        (photo,), (scene,) = load([ldr], "ldr", report=report), load([hdr], "hdr", report=report)
    except DataError:
        return None  # reported
    codes, radiance = photo.pixels(), scene.pixels()
    if codes.shape != radiance.shape:
        report(f"left out: {stem}: {codes.shape[1]} x {codes.shape[0]} and {radiance.shape[1]} x {radiance.shape[0]} pixels")
        return None
    scale = LARGEST / max(codes.shape[:2])
    if scale < 1:
        size = (max(1, round(codes.shape[1] * scale)), max(1, round(codes.shape[0] * scale)))
        codes, radiance = (cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (codes, radiance))
    codes = np.ascontiguousarray(codes, dtype=np.uint8)
    truth = radiance / np.float32(exposure_alignment(_linear(codes), radiance, codes))
    return Pair(stem, codes, np.minimum(truth, np.float32(CAP)))


def _linear(codes: NDArray[np.uint8]) -> Floats:
    return np.asarray(decoding_table(Transfer.SRGB, 256)[codes])


def score(prediction: Floats, pair: Pair) -> dict[str, float]:
    """Of one prediction, ``(H, W, 3)`` in LDR whites; NaN for a region under 50 values."""
    aligned = prediction * np.float32(exposure_alignment(prediction, pair.truth, pair.codes))
    v = pair.codes / np.float32(255)
    regions = {"clipped_log2_rmse": v >= 0.97, "unclipped_log2_rmse": v < 0.90}
    values = {
        name: log2_rmse(aligned, pair.truth, where) if np.count_nonzero(where) >= LEAST else float("nan")
        for name, where in regions.items()
    }
    values["pu21_psnr_rgb"] = pu21_psnr_rgb(aligned * WHITE_NITS, pair.truth * WHITE_NITS)
    return values


def mean_scores(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over photos; a metric that none has is left out."""
    columns = {name: [v[name] for v in values if np.isfinite(v[name])] for name in values[0]}
    return {name: float(np.mean(column)) for name, column in columns.items() if column}


def scores(generator: Generator, validation: Validation) -> dict[str, float]:
    """Mean scores of a generator in highlights mode (what ``expand`` does), and of its whole output as ``all_...``."""
    found = []
    for pair in validation.pairs:
        coarse = ask(generator, pair.codes, Transfer.SRGB)
        modes = {
            prefix: reconstruct(pair.codes, Transfer.SRGB, coarse, Reconstruction(whole=whole), np.dtype(np.float32))
            for prefix, whole in (("", False), ("all_", True))
        }
        found.append({prefix + name: v for prefix, image in modes.items() for name, v in score(_pixels(image), pair).items()})
    return mean_scores(found)


def _pixels(image: Any) -> Floats:
    return np.asarray(image, dtype=np.float32)
