"""TMQI of the tone-mapping operators on held-out HDR scenes: which one should be the default, and is the learned one as good?

Each scene of split "val" is seen in 4 views: panoramas through perspective views of 90 degrees all around, photos whole. Views
are 512 pixels high, in the scene's own light (no exposure is set, so operators have to find one), and tone-mapped with each
operator's defaults. TMQI (Yeganeh and Wang 2013, release 1.0; see hdrcli/metrics/tmqi.py) compares the 8-bit sRGB codes with
the scene. Mean over scenes of the mean over views; intervals: 2000 bootstrap resamples of scenes.

    python tests/tools/score_tonemap.py DATA [--model default] [--operator NAME ...] [--out FILE] [--sheet FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import __version__, registry
from hdrcli.camera import View, perspective
from hdrcli.color import Transfer
from hdrcli.conversion import LEARNED, TonemapOptions, tonemap
from hdrcli.image import Image
from hdrcli.metrics.tmqi import tmqi
from hdrcli.training.datasets import MANIFEST, Scene, find_scenes, load_scenes

SEED, HEIGHT, WIDTH, VIEWS = 20261120, 512, 640, 4
CELL, ACROSS = (152, 122), 9


@dataclass(frozen=True, eq=False)
class Seen:
    """A view: ``light (H, W, 3) float32`` scene-linear."""

    scene: str
    light: NDArray[np.float32]


def views(scenes: tuple[Scene, ...]) -> Iterator[Seen]:
    """Panoramas in four directions, photos once."""
    import cv2

    for scene in scenes:
        if scene.panorama:
            for number in range(VIEWS):
                yield Seen(scene.name, perspective(scene.radiance, View(90.0 * number, 0.0, 0.0, 90.0), HEIGHT, WIDTH))
        else:
            height, width = scene.radiance.shape[:2]
            size = (round(width * HEIGHT / height), HEIGHT)
            yield Seen(scene.name, np.asarray(cv2.resize(scene.radiance, size, interpolation=cv2.INTER_AREA)))


def mapped(view: Seen, operator: str, model: str) -> NDArray[np.uint8]:
    """The view's 8-bit codes."""
    image = Image(np.ascontiguousarray(view.light), Transfer.LINEAR)
    return np.asarray(tonemap(image, TonemapOptions(operator=operator, model=model)).pixels)


def interval(values: dict[str, list[float]]) -> tuple[float, list[float]]:
    """Mean over scenes of their means, and its 95 % bootstrap interval over scenes."""
    means = np.array([np.mean(v) for v in values.values()])
    rng = np.random.default_rng(SEED)
    drawn = means[rng.integers(len(means), size=(2000, len(means)))].mean(axis=1)
    return float(means.mean()), [round(float(q), 4) for q in np.percentile(drawn, (2.5, 97.5))]


def sheet(taken: list[Seen], rows: dict[str, list[NDArray[np.uint8]]], path: Path, count: int = 10) -> None:
    """One view of each of ``count`` scenes (rows) by every operator (columns, labelled), nine operators side by side."""
    import cv2

    first = list({view.scene: number for number, view in reversed(list(enumerate(taken)))}.items())[::-1]
    chosen = [number for _, number in first[:count]]
    columns = []
    for name, pictures in rows.items():
        cells = [cv2.resize(pictures[i], CELL, interpolation=cv2.INTER_AREA) for i in chosen]
        head = np.full((18, CELL[0], 3), 255, np.uint8)
        cv2.putText(head, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.vstack([head, *cells]))
    blank = np.full_like(columns[0], 255)
    blocks = [columns[n : n + ACROSS] for n in range(0, len(columns), ACROSS)]
    blocks = [block + [blank] * (min(ACROSS, len(columns)) - len(block)) for block in blocks]
    picture = np.vstack([np.hstack(block) for block in blocks])[..., ::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 82]):
        raise RuntimeError(f"{path}: can't be written")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with HDR scenes and manifest.csv")
    parser.add_argument("--model", default="default", help="bundle or run folder whose G_X is 'learned'")
    parser.add_argument("--operator", action="append", default=[], help="only these; may be repeated")
    parser.add_argument("--out", type=Path, help="where to write the JSON (default: print only)")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of 10 scenes")
    options = parser.parse_args(arguments)
    taken = list(views(load_scenes(find_scenes([options.data], "val").files, print)))
    operators = options.operator or [*registry.names("hdrcli.tonemapping"), LEARNED]
    rows: dict[str, Any] = {}
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    for operator in operators:
        pictures[operator] = [mapped(view, operator, options.model) for view in taken]
        found: dict[str, dict[str, list[float]]] = {"q": {}, "s": {}, "n": {}}
        for view, codes in zip(taken, pictures[operator], strict=True):
            result = tmqi(view.light.astype(np.float64), codes.astype(np.float64))
            for part, values in found.items():
                values.setdefault(view.scene, []).append(getattr(result, part))
        row = {part: interval(values) for part, values in found.items()}
        rows[operator] = {part: {"mean": round(mean, 4), "ci": ci} for part, (mean, ci) in row.items()}
        print(f"{operator:14}", "  ".join(f"{p} {m:.4f} [{c[0]:.3f}, {c[1]:.3f}]" for p, (m, c) in row.items()), flush=True)
    if options.sheet:
        sheet(taken, pictures, options.sheet)
    if options.out:
        manifest = hashlib.sha256((options.data / MANIFEST).read_bytes()).hexdigest()[:16]
        protocol = {
            "definition": " ".join((__doc__ or "").split()),
            "data": f"split val of {options.data.name}, manifest sha256 {manifest}, {len(taken)} views",
            "versions": {"hdrcli": __version__, "numpy": np.__version__, "opencv": version("opencv-python-headless")},
        }
        options.out.write_text(json.dumps({"protocol": protocol, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
