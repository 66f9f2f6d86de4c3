"""Stand-ins: generators that say what a test wants, scenes and photos made of formulas."""

import csv
from pathlib import Path

import numpy as np

from hdrcli.color import Transfer
from hdrcli.inference.generator import MU, GeneratorSpec
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct


def to_t(y, peak=256.0):
    """T(y) = log(1 + mu y / peak) / log(1 + mu): Eq. 1 of LLM-HDR."""
    return (np.log1p(np.asarray(y) * MU / peak) / np.log1p(MU)).astype(np.float32)


class FakeGenerator:
    """A generator that says what ``answer(ldr, clip)`` gives: both ``(3, h, w)``, and so the radiance in LDR whites."""

    ran_on = "test"

    def __init__(self, answer, *, working_size=64, multiple=8, peak=256.0):
        self.answer = answer if callable(answer) else lambda ldr, clip: np.full_like(ldr, answer)
        self.spec = GeneratorSpec("fake", "1", ("ldr", "clip"), working_size, multiple, peak, Path("fake"))
        self.seen = None

    def __call__(self, inputs):
        self.seen = inputs
        return np.stack([to_t(self.answer(ldr, clip), self.spec.peak) for ldr, clip in zip(inputs["ldr"], inputs["clip"])])


def expanded(codes, answer, transfer=Transfer.SRGB, dtype=np.float32, *, working_size=64, **settings):
    """A photo's codes with the light back that the generator ``answer`` gives."""
    codes = np.ascontiguousarray(codes)
    coarse = ask(FakeGenerator(answer, working_size=working_size), codes, transfer)
    return reconstruct(codes, transfer, coarse, Reconstruction(**settings), dtype)


def smooth_scene(height, width, seed=0):
    """Scene radiance with dark corners, gradients, and a lamp a thousand times as bright as the rest."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height, x / width
    phase = rng.uniform(0, 6, 3)
    waves = np.stack([np.sin(9 * x + 5 * y + p) + np.sin(4 * x - 11 * y + 2 * p) for p in phase], axis=-1)
    cy, cx = rng.uniform(0.2, 0.8, 2)
    lamp = 9 / (1 + np.exp((np.hypot(y - cy, x - cx) - 0.08) * 80))
    return (0.2 * np.exp2(1.5 * waves + lamp[..., None])).astype(np.float32)


def write_scenes(folder):
    """Three EXR scenes (a panorama and two photos) and their manifest."""
    from hdrcli import formats
    from hdrcli.image import Image

    rows = [
        ("pano", 64, 128, "train", "equirect"),
        ("photo", 80, 96, "train", "photo"),
        ("held_out", 64, 128, "val", "equirect"),
    ]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "kind", "licence"])
        for seed, (name, height, width, split, kind) in enumerate(rows):
            formats.write(Image(smooth_scene(height, width, seed), Transfer.LINEAR), folder / f"{name}.exr")
            writer.writerow([f"{name}.exr", split, kind, "CC0-1.0"])
    return folder
