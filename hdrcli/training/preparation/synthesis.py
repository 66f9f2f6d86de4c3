"""LDR photos of HDR scenes, by the virtual camera or by Eq. 11 of HDR-cGAN, as a folder that ``--pairs`` takes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hdrcli import formats
from hdrcli.camera import Camera, CameraDistribution, Codes, clipped_share, gamma_exposures, gamma_response
from hdrcli.color import Transfer
from hdrcli.errors import DataError, UsageError
from hdrcli.image import Image
from hdrcli.training.cache import Picture, load
from hdrcli.training.sources import MANIFEST, SceneFile

EQ11 = (2**0.5, 2.0, 4.0, 16.0)
_COLUMNS = ("file", "split", "hdr", "kind", "licence", "response", "exposure", "read_noise", "shot_noise", "jpeg", "clipped")


@dataclass(frozen=True)
class Plan:
    """What is made of each scene: ``count`` photos by cameras of ``distribution``; or, ``eq11``, the four of Eq. 11.

    Scenes are brought to a median luminance of 0.18 first, as training does; Eq. 11 says nothing of their scale.
    """

    count: int = 1
    seed: int = 1
    eq11: bool = False
    distribution: CameraDistribution = field(default_factory=CameraDistribution)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"{self.count} is below 1", where="--count", remedy="make one photo at least")

    @property
    def photos(self) -> int:
        """Of each scene."""
        return len(EQ11) if self.eq11 else self.count


@dataclass(frozen=True)
class Shot:
    """A photo that was made: its ``path``, the scene's file relative to its folder, and the camera's settings.

    ``exposure``: factor from the scene, its median luminance at 0.18, to the sensor. ``clipped``: share of pixels.
    """

    path: Path
    hdr: str
    kind: str
    licence: str
    response: str
    exposure: float
    read_noise: float
    shot_noise: float
    jpeg: int | None
    clipped: float


def names(files: Sequence[SceneFile], root: Path, plan: Plan) -> list[list[str]]:
    """Of the photos of each scene, without extension, relative to the folder: the scene's own, numbered if there are several.

    Raises UsageError where two would be one.
    """
    stems = [Path(_relative(file.path, root)).with_suffix("").as_posix() for file in files]
    found = [[stem if plan.photos == 1 else f"{stem}_{n + 1}" for n in range(plan.photos)] for stem in stems]
    flat = [name for photos in found for name in photos]
    if len(set(flat)) < len(flat):
        twice = next(name for name in flat if flat.count(name) > 1)
        raise UsageError(f"two photos would have the name {twice}", where="--hdr", remedy="give one folder at a time")
    return found


def photograph(
    file: SceneFile,
    names: Sequence[str],
    root: Path,
    out: Path,
    plan: Plan,
    report: Callable[[str], None],
    *,
    overwrite: bool = False,
) -> Iterator[Shot]:
    """Make and write the photos of a scene, PNG of its own size: ``out/NAME.png``. What is left out is reported, and why.

    Each depends on the seed, the scene's path in its folder and the photo's number alone. Raises OutputError.
    """
    try:
        (scene,) = load([file], "hdr", report=report)
    except DataError:
        return  # reported
    relative = _relative(file.path, root)
    made = _by_eq11(scene) if plan.eq11 else _by_cameras(scene, relative, plan)
    for name, (codes, camera) in zip(names, made, strict=True):
        target = out / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        formats.write(Image(codes, Transfer.SRGB), target, overwrite=overwrite)
        yield Shot(
            target,
            relative,
            "equirect" if scene.panorama else "photo",
            file.licence,
            camera.response.name,
            camera.exposure,
            camera.read_noise,
            camera.shot_noise,
            camera.jpeg_quality,
            clipped_share(codes),
        )


def _by_cameras(scene: Picture, relative: str, plan: Plan) -> Iterator[tuple[Codes, Camera]]:
    radiance = scene.pixels()
    for number in range(plan.count):
        rng = np.random.default_rng([plan.seed, number, *relative.encode(errors="surrogateescape")])
        camera = plan.distribution.draw(radiance, rng)
        yield camera.shoot(radiance, rng), camera


def _by_eq11(scene: Picture) -> Iterator[tuple[Codes, Camera]]:
    for time, image in zip(EQ11, gamma_exposures(scene.pixels()), strict=True):
        yield np.rint(image * 255).astype(np.uint8), Camera(gamma_response(2.2), time)


def manifest(shots: Sequence[Shot], out: Path, split: str = "train", *, overwrite: bool = False) -> Path:
    """``out/manifest.csv``: which HDR file each photo shows, and how it was taken. Raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for shot in shots:
        numbers = (f"{value:.6g}" for value in (shot.exposure, shot.read_noise, shot.shot_noise))
        where = shot.path.relative_to(out).as_posix()
        jpeg, clipped = "" if shot.jpeg is None else shot.jpeg, f"{shot.clipped:.4f}"
        writer.writerow((where, split, shot.hdr, shot.kind, shot.licence, shot.response, *numbers, jpeg, clipped))
    target = out / MANIFEST
    with formats.whole_file(target, overwrite=overwrite) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return target


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


__all__ = ["EQ11", "Plan", "Shot", "manifest", "names", "photograph"]
