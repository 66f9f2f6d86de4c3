"""Training data: HDR scenes, random views of them, and the stream of samples the loop reads.

Every view is determined by (seed, index) alone; see :class:`SampleStream` for what a resumed run sees.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from hdrcli import formats
from hdrcli.camera import View, perspective
from hdrcli.color import Primaries, conversion_matrix, luminance
from hdrcli.errors import DataError, InputError

Floats = NDArray[np.float32]
MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class SceneFile:
    """An HDR file to train on; ``panorama``: whether its manifest says it is equirectangular (None: its 2:1 form decides)."""

    path: Path
    panorama: bool | None = None
    licence: str = "not stated"


@dataclass(frozen=True)
class SceneList:
    """The scenes of a run, and one line on how they were chosen."""

    files: tuple[SceneFile, ...]
    note: str


def find_scenes(sources: Sequence[Path], split: str = "train") -> SceneList:
    """HDR files in folders (recursively), in lists (``.txt``: a path a line) or named one by one.

    A folder with a ``manifest.csv`` that has the columns ``file`` and ``split`` gives only the files of that split
    (``split="all"``: all of them). Raises DataError if there is none.
    """
    files: list[SceneFile] = []
    notes: list[str] = []
    for source in sources:
        if source.is_dir() and (source / MANIFEST).is_file():
            chosen, note = _from_manifest(source, split)
            files += chosen
            notes.append(note)
        elif source.is_dir():
            found = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".exr", ".hdr"))
            files += [SceneFile(p) for p in found]
            notes.append(f"{source}: {len(found)} HDR files, no {MANIFEST}, all used")
        elif source.suffix.lower() == ".txt":
            lines = [line.strip() for line in _text(source).splitlines()]
            listed = [source.parent / line for line in lines if line and not line.startswith("#")]
            files += [SceneFile(p) for p in listed]
            notes.append(f"{source}: {len(listed)} listed files")
        elif source.exists():
            files.append(SceneFile(source))
        else:
            raise DataError("no such file or folder", where=source, remedy="check --hdr")
    if not files:
        where = ", ".join(str(s) for s in sources)
        raise DataError(f"no HDR files (.exr, .hdr) of split {split!r}", where=where, remedy="check --hdr and --split")
    return SceneList(tuple(files), "; ".join(notes))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't be read as UTF-8 text: {error}", where=path, remedy="save it as UTF-8") from None


def _from_manifest(folder: Path, split: str) -> tuple[list[SceneFile], str]:
    rows = list(csv.DictReader(_text(folder / MANIFEST).splitlines()))
    if not rows or not {"file", "split"} <= set(rows[0]):
        raise DataError("has no columns file and split", where=folder / MANIFEST, remedy="add them or remove the manifest")
    chosen = [r for r in rows if split in ("all", r["split"])]
    if not chosen:
        there = ", ".join(sorted({r["split"] for r in rows}))
        raise DataError(f"has no files of split {split!r}", where=folder / MANIFEST, remedy=f"there are: {there}")
    files = [
        SceneFile(folder / r["file"], r["kind"] == "equirect" if r.get("kind") else None, r.get("licence") or "not stated")
        for r in chosen
    ]
    return files, f"{folder}: {len(files)} of {len(rows)} files (split {split} of {MANIFEST})"


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene in memory: ``(H, W, 3) float32`` scene-linear Rec.709, median luminance about 0.18."""

    name: str
    radiance: Floats
    panorama: bool
    licence: str = "not stated"


def load_scenes(files: Sequence[SceneFile], report: Callable[[str], None] = lambda line: None) -> tuple[Scene, ...]:
    """All scenes, read. Unreadable files are reported and left out; more than half unreadable raises DataError."""
    scenes: list[Scene] = []
    for file in files:
        try:
            image = formats.read(file.path)
        except InputError as error:
            report(f"left out: {error}")
            continue
        if not image.is_hdr:
            report(f"left out: {file.path}: is display-encoded, not HDR")
            continue
        matrix = conversion_matrix(image.primaries, Primaries.BT709).T.astype(np.float32)
        radiance = np.maximum(image.pixels.astype(np.float32) @ matrix, 0)
        median = float(np.median(luminance(radiance)))
        if not median > 0:
            report(f"left out: {file.path}: is black")
            continue
        panorama = image.width == 2 * image.height if file.panorama is None else file.panorama
        scenes.append(Scene(file.path.stem, radiance * np.float32(0.18 / median), panorama, file.licence))
    if len(scenes) * 2 < len(files) or not scenes:
        raise DataError(f"only {len(scenes)} of {len(files)} HDR files can be used", remedy="see the lines above")
    return tuple(scenes)


def random_view(scene: Scene, size: int, rng: np.random.Generator) -> Floats:
    """A random square view: ``(size, size, 3) float32`` radiance.

    Panoramas: any heading, pitch ~ N(2, 14) within +-55 degrees, roll ~ N(0, 3), field of view 35..105 degrees. Photos: a
    square crop of 60..100 % of the short side. Saturation times exp(N(0, 0.2)), mirrored half of the time.
    """
    import cv2

    if scene.panorama:
        pitch = float(np.clip(rng.normal(2, 14), -55, 55))
        view = View(rng.uniform(0, 360), pitch, rng.normal(0, 3), rng.uniform(35, 105))
        out = perspective(scene.radiance, view, size, size)
    else:
        height, width = scene.radiance.shape[:2]
        side = int(min(height, width) * rng.uniform(0.6, 1.0))
        y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
        crop = scene.radiance[y : y + side, x : x + side]
        interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        out = np.asarray(cv2.resize(crop, (size, size), interpolation=interpolation))
    out = saturated(out, float(np.exp(rng.normal(0, 0.2))))
    return np.ascontiguousarray(out[:, ::-1]) if rng.random() < 0.5 else out


def saturated(radiance: Floats, factor: float) -> Floats:
    """Distance to grey of the same luminance times ``factor``, negatives cut: scenes are few, colours shall not name them."""
    grey = luminance(radiance)[..., None]
    return np.asarray(np.maximum(grey + np.float32(factor) * (radiance - grey), 0), dtype=np.float32)


class SampleStream(IterableDataset[dict[str, NDArray[Any]]]):
    """An endless stream of samples from random views. Worker k of n makes the views k, k + n, ... after ``start``.

    Batches come whole from one worker, in turn. So with no or one worker, and batches of whole views, a run that is resumed at
    ``start`` sees exactly the views that it would have seen. With several, some views around there may repeat or be skipped.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        view_size: int,
        samples: Callable[[Floats, np.random.Generator], list[dict[str, NDArray[Any]]]],
        *,
        seed: int,
        start: int = 0,
    ) -> None:
        self.scenes, self.view_size, self.samples, self.seed, self.start = scenes, view_size, samples, seed, start

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        import cv2

        cv2.setNumThreads(1)
        info = get_worker_info()
        offset, step = (0, 1) if info is None else (info.id, info.num_workers)
        index = self.start + offset
        while True:
            rng = np.random.default_rng([self.seed, index])
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            yield from self.samples(random_view(scene, self.view_size, rng), rng)
            index += step


def collate(samples: Sequence[dict[str, NDArray[Any]]]) -> dict[str, torch.Tensor]:
    """Samples ``(h, w, c)`` to a batch of ``(n, c, h, w)`` float32, channels last in memory."""
    batch = {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in samples[0]}
    return {key: value.float().permute(0, 3, 1, 2) for key, value in batch.items()}
