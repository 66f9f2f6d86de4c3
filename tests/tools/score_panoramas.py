"""Irradiance of panoramas expanded with and without their sun: ``python tests/tools/score_panoramas.py DIR --split val``.

Eight virtual photos of every whole panorama of a split (cameras and seeds as in score.py: 1..20 % of the pixels are meant to
clip, responses between the 10th and 90th percentile of measured cameras, JPEG 75..97), expanded as equirectangular.
Irradiance: luminance times solid angle times cosine, on a plane that faces the brightest direction of the truth, and on level
ground. Error: log2 of (aligned prediction / truth); one factor from well-exposed pixels aligns exposure, as in score.py; the
truth is not capped. Suns are named below, since nothing but looking tells them from studio lamps; "in haze" holds those behind
clouds, leaves or haze, near the horizon, or clipped in capture (KernerEnv: of its sun's light the disc holds about a fifth, to
judge by the ground).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from score import SEED

from hdrcli.camera import SCORING, exposure_alignment
from hdrcli.color import Transfer, luminance
from hdrcli.conversion import load_generator
from hdrcli.inference.generator import Generator
from hdrcli.inference.panorama import find_sun, raise_sun
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct
from hdrcli.training.datasets import Scene, find_scenes, load_scenes

PHOTOS = 8
CLEAR = {
    "chinese_garden",
    "hilly_terrain_01",
    "kloppenheim_05",
    "modern_buildings_2",
    "narrow_moonlit_road",
    "noon_grass",
    "rooitou_park",
}
IN_HAZE = {"immenstadter_horn", "KernerEnv", "ninomaru_teien", "portland_landing_pad", "venice_sunset"}


@dataclass(frozen=True)
class Result:
    """One photo: errors in stops (facing the brightest direction, level) before and after; how far off the sun is (degrees)."""

    scene: str
    before: tuple[float, float]
    after: tuple[float, float]
    off: float | None
    why: str


def directions(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors ``(h, w, 3)`` (x right, y up, z ahead) and solid angles ``(h, w)`` of an equirectangular grid."""
    elevation = np.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, None]
    azimuth = 2 * np.pi * ((np.arange(width) + 0.5) / width - 0.5)[None]
    vectors = (np.cos(elevation) * np.sin(azimuth), np.sin(elevation) + 0 * azimuth, np.cos(elevation) * np.cos(azimuth))
    return np.stack(vectors, axis=-1), np.cos(elevation) * np.ones_like(azimuth) * (np.pi / height) * (2 * np.pi / width)


def measure(scene: Scene, number: int, generator: Generator, dtype: Any) -> Result:
    rng = np.random.default_rng([SEED, number, *scene.name.encode()])
    camera = SCORING.draw(scene.radiance, rng)
    codes = camera.shoot(scene.radiance, rng)
    truth = camera.exposed(scene.radiance)
    coarse = ask(generator, codes, Transfer.SRGB, equirect=True)
    light = reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(), dtype)
    factor = exposure_alignment(light.astype(np.float32), np.minimum(truth, 256), codes)
    vectors, cells = directions(*codes.shape[:2])
    level = luminance(scene.radiance)
    brightest = vectors[np.unravel_index(int(level.argmax()), level.shape)]
    planes = [np.maximum(vectors @ n, 0) * cells for n in (brightest, np.array([0.0, 1.0, 0.0]))]

    def errors(x: NDArray[Any]) -> tuple[float, float]:
        x = luminance(x.astype(np.float64)) * factor
        facing, flat = (float(np.log2((x * p).sum() / (luminance(truth.astype(np.float64)) * p).sum())) for p in planes)
        return facing, flat

    before = errors(light)
    sun = find_sun(codes, light)
    if sun is None:
        return Result(scene.name, before, before, None, "")
    raise_sun(light, codes, sun)
    up, turn = np.radians([sun.elevation, sun.azimuth])
    found = np.array([np.cos(up) * np.sin(turn), np.sin(up), np.cos(up) * np.cos(turn)])
    off = float(np.degrees(np.arccos(np.clip(found @ brightest, -1, 1))))
    return Result(scene.name, before, errors(light), off, sun.why)


def lines(results: list[Result]) -> Iterator[str]:
    """One line a scene with a sun, then one on all the others."""

    def rms(values: NDArray[Any]) -> str:
        return f"{np.sqrt(np.mean(values**2)):5.2f}"

    for title, group in (("clear", CLEAR), ("in haze", IN_HAZE)):
        chosen = [r for r in results if r.scene in group]
        for name in [*sorted({r.scene for r in chosen}), f"all, {title}"]:
            some = [r for r in chosen if name in (r.scene, f"all, {title}")]
            if not some:
                continue
            before, after = (np.array([getattr(r, k) for r in some]) for k in ("before", "after"))
            off = [r.off for r in some if r.off is not None]
            where = f"off {np.median(off):4.1f} (at most {max(off):.1f}) degrees" if off else ""
            yield (
                f"{name:22} found {len(off):2d} of {len(some):2d}  facing: median {np.median(before[:, 0]):5.2f} -> "
                f"{np.median(after[:, 0]):5.2f}, rms {rms(before[:, 0])} -> {rms(after[:, 0])}  "
                f"level: rms {rms(before[:, 1])} -> {rms(after[:, 1])}  {where}"
            )
    others = [r for r in results if r.scene not in CLEAR | IN_HAZE]
    wrong = [r for r in others if r.off is not None]
    yield f"without a sun          found {len(wrong)} of {len(others)} photos of {len({r.scene for r in others})} scenes"
    for r in wrong:
        yield f"  {r.scene}: facing {r.before[0]:.2f} -> {r.after[0]:.2f}; {r.why}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with HDR scenes and manifest.csv")
    parser.add_argument("--split", default="val", help="train is what the constants were fitted on")
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--model", default="default")
    parser.add_argument("--half", action="store_true", help="reconstruct in half floats")
    options = parser.parse_args(arguments)
    scenes = [s for s in load_scenes(find_scenes([options.data], options.split).files, print) if s.panorama]
    generator = load_generator(options.model)
    dtype = np.float16 if options.half else np.float32
    print(*lines([measure(s, k, generator, dtype) for s in scenes for k in range(options.photos)]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
