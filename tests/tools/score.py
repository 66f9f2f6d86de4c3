"""Scores of generators and baselines on held-out scenes under virtual cameras: ``make score DATA=DIR``.

Eight 384-pixel views of every scene of split "val", one virtual photo each (fixed seeds; clipped share 1..20 %, responses
between the 10th and 90th percentile of measured cameras, JPEG quality 75..97). Written to models/scores.json.

Definitions: v = code / 255 per channel; clipped: v >= 0.97, unclipped: v < 0.90. The prediction is scaled by one factor,
exp(median log ratio of luminance) over pixels whose channels all lie in 0.05..0.90. The truth is capped at 256 LDR whites.
log2-RMSE is of log2(x + 2^-10), pooled per image; PU21-PSNR takes white as 100 cd/m2. Means over images; 95 % intervals by
bootstrap over scenes. Regions under 50 samples are skipped and counted. The panoramas are 1024 pixels wide, so a view of 50 to
90 degrees is enlarged from 142 to 256 source pixels: fine texture is not tested.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import __version__, registry
from hdrcli.camera import SCORING, Camera, View, clipped_share, exposure_alignment, perspective
from hdrcli.color import Transfer, decoding_table
from hdrcli.conversion import ExpandOptions, expand, load_generator
from hdrcli.image import Image
from hdrcli.inference.bundles import packaged_folder
from hdrcli.inference.working import blend_table
from hdrcli.training.datasets import MANIFEST, Scene, find_scenes, load_scenes
from hdrcli.training.export import add_scores
from hdrcli.training.validation import CAP, Pair, score

SEED, VIEWS, SIZE = 20261120, 8, 384
SHARES = (0.01, 0.20)
METRICS = ("clipped_log2_rmse", "unclipped_log2_rmse", "pu21_psnr_rgb")
Predict = Callable[[Image], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Photo:
    """A virtual photo: ``codes (H, W, 3) uint8``, its ``truth (H, W, 3) float32`` (1 = LDR white, capped), scene and camera."""

    scene: str
    camera: Camera
    codes: NDArray[np.uint8]
    truth: NDArray[np.float32]


def photos(scenes: tuple[Scene, ...], views: int = VIEWS, seed: int = SEED) -> Iterator[Photo]:
    """The photos of the protocol. Each depends on its scene's name and number alone."""
    for scene in scenes:
        for number in range(views):
            yield _photo(scene, number, seed)


def _photo(scene: Scene, number: int, seed: int) -> Photo:
    rng = np.random.default_rng([seed, number, *scene.name.encode()])
    for _ in range(50):
        radiance = _view(scene, number, rng)
        camera = SCORING.draw(radiance, rng)
        codes = camera.shoot(radiance, rng)
        if SHARES[0] <= clipped_share(codes) <= SHARES[1]:
            return Photo(scene.name, camera, codes, np.minimum(camera.exposed(radiance), np.float32(CAP)))
    raise RuntimeError(f"{scene.name}: no view with a clipped share of 1..20 % in 50 tries")


def _view(scene: Scene, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
    import cv2

    if scene.panorama:
        heading = 45 * number + rng.uniform(-15, 15)
        return perspective(scene.radiance, View(heading, float(rng.normal(2, 10)), 0.0, rng.uniform(50, 90)), SIZE, SIZE)
    height, width = scene.radiance.shape[:2]
    side = int(min(height, width) * rng.uniform(0.6, 1.0))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = scene.radiance[y : y + side, x : x + side]
    return np.asarray(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR))


def measure(prediction: NDArray[Any], photo: Photo) -> dict[str, float]:
    """The metrics of one prediction; NaN for a region under 50 samples. The same as training's validation measures."""
    return score(prediction, Pair(photo.scene, photo.codes, photo.truth))


def constant_gain(gain: float) -> Predict:
    """Clipped channels become this many LDR whites, through the blend of promise 1."""

    def predict(image: Image) -> NDArray[Any]:
        linear = decoding_table(Transfer.SRGB, 256)[image.pixels]
        a = blend_table(256)[image.pixels]
        return (1 - a) * linear + a * np.maximum(linear, np.float32(gain))

    return predict


def fit_constant(scenes: tuple[Scene, ...]) -> float:
    """The gain with the lowest mean clipped log2-RMSE on training scenes, same protocol, in steps of 1/8 stop."""
    taken = list(photos(scenes, views=4))
    gains = 2.0 ** np.arange(0, 4.01, 0.125)
    errors = [np.nanmean([measure(constant_gain(float(g))(_image(p)), p)["clipped_log2_rmse"] for p in taken]) for g in gains]
    return float(gains[int(np.argmin(errors))])


def _image(photo: Photo) -> Image:
    return Image(photo.codes, Transfer.SRGB)


def digest(path: Path) -> str:
    """First 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def model_rows(models: list[str]) -> dict[str, Predict]:
    """A row for each model in highlights mode and, for generators, one in mode "all"."""

    def run(model: str, whole: bool) -> Predict:
        return lambda image: expand(image, ExpandOptions(model=model, whole=whole)).image.pixels

    rows: dict[str, Predict] = {}
    for model in models:
        name = Path(model).name
        rows[name] = run(model, whole=False)
        rows[f"{name} (all)"] = run(model, whole=True)
    return rows


def summarise(values: list[dict[str, float]], scenes: list[str]) -> dict[str, Any]:
    """Means, counts and bootstrap intervals (2000 resamples of scenes, seeded) of one row."""
    row: dict[str, Any] = {}
    rng = np.random.default_rng(SEED)
    names = np.array(scenes)
    unique = np.unique(names)
    draws = [rng.choice(unique, len(unique)) for _ in range(2000)]
    for metric in METRICS:
        column = np.array([v[metric] for v in values])
        sums = {s: (np.nansum(column[names == s]), np.count_nonzero(~np.isnan(column[names == s]))) for s in unique}
        means = [sum(sums[s][0] for s in draw) / max(1, sum(sums[s][1] for s in draw)) for draw in draws]
        row[metric] = round(float(np.nanmean(column)), 4)
        row.setdefault("n", {})[metric] = int(np.count_nonzero(~np.isnan(column)))
        row.setdefault("skipped", {})[metric] = int(np.count_nonzero(np.isnan(column)))
        row.setdefault("ci", {})[metric] = [round(float(q), 4) for q in np.percentile(means, (2.5, 97.5))]
    return row


def contact_sheet(taken: list[Photo], predict: Predict, path: Path, count: int = 20) -> None:
    """Photo | photo, linearised, 3 stops darker | prediction, 3 stops darker | truth, 3 stops darker: ``count`` of them."""
    import cv2

    def shown(light: NDArray[Any]) -> NDArray[Any]:
        from hdrcli.color import encode

        return np.rint(np.clip(encode(light / 8, Transfer.SRGB), 0, 1) * 255).astype(np.uint8)

    rows = []
    for photo in taken[:: max(1, len(taken) // count)][:count]:
        prediction = predict(_image(photo))
        factor = exposure_alignment(prediction, photo.truth, photo.codes)
        linear = decoding_table(Transfer.SRGB, 256)[photo.codes]
        rows.append(np.hstack([photo.codes, shown(linear), shown(prediction), shown(photo.truth / factor)]))
    left, right = np.vstack(rows[::2]), np.vstack(rows[1::2])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.hstack([left[: len(right)], right])[..., ::-1]):
        raise RuntimeError(f"{path}: can't be written")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with HDR scenes and manifest.csv")
    parser.add_argument("--model", action="append", default=[], help="bundle or run folder, repeatable [all in models/]")
    parser.add_argument("--out", type=Path, help="where to write the JSON (default: print only)")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of 20 views of the first model")
    parser.add_argument("--constant", type=float, help="gain of the row 'constant'; fitted on the train split if not given")
    options = parser.parse_args(arguments)
    options.model = options.model or sorted(f.name for f in packaged_folder().iterdir() if (f / "g_y.onnx").is_file())
    taken = list(photos(load_scenes(find_scenes([options.data], "val").files, print)))
    gain = options.constant or fit_constant(load_scenes(find_scenes([options.data], "train").files, print))
    operators = ["linear", "akyuz07", "landis02"]
    rows: dict[str, Predict] = {"linear": lambda image: expand(image, ExpandOptions(model="linear")).image.pixels}
    rows["constant"] = constant_gain(gain)
    for operator in operators[1:]:
        rows[operator] = lambda image, name=operator: expand(image, ExpandOptions(model=name)).image.pixels  # type: ignore[misc]
    rows |= model_rows(options.model)
    results = {}
    for name, predict in rows.items():
        values = [measure(predict(_image(p)), p) for p in taken]
        results[name] = summarise(values, [p.scene for p in taken])
        row = results[name]
        print(
            f"{name:24}",
            "  ".join(f"{m} {row[m]:.3f} [{row['ci'][m][0]:.3f}, {row['ci'][m][1]:.3f}]" for m in METRICS),
            flush=True,
        )
    if options.sheet:
        contact_sheet(taken, list(rows.values())[4], options.sheet)
    if options.out:
        data = f"split val of {options.data.name}, manifest sha256 {digest(options.data / MANIFEST)}"
        scenes = f"{len({p.scene for p in taken})} scenes, {VIEWS} views each, {SIZE} x {SIZE}"
        models = {m: load_generator(m) for m in options.model}
        protocol = {
            "definition": " ".join((__doc__ or "").split()),
            "data": f"{data}: {scenes}",
            "seed": SEED,
            "constant_gain": gain,
            "operators": {name: str(registry.load("hdrcli.expansion", name).Parameters()) for name in operators},
            "models": {Path(m).name: f"sha256 {g.spec.digest}, {g.ran_on}" for m, g in models.items()},
            "versions": {"hdrcli": __version__, "numpy": np.__version__, "opencv": version("opencv-python-headless")},
        }
        options.out.write_text(json.dumps({"protocol": protocol, "rows": results}, indent=1) + "\n", encoding="utf-8")
        note = f"make score, {data}, {scenes}, seed {SEED}; intervals in models/scores.json"
        for model, generator in models.items():
            if (generator.spec.origin / "model.toml").is_file():
                row = results[Path(model).name]
                add_scores(generator.spec.origin, {**{m: row[m] for m in METRICS}, "protocol": note})
    return 0


if __name__ == "__main__":
    sys.exit(main())
