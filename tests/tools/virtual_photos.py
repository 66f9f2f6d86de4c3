"""Unpaired training data from HDR scenes: LDR photos of one half of them, the names of the other half.

Every second scene of split "train" (by name) is photographed by the virtual camera: views of 512 pixels, kept as PNG, since
the camera has its own JPEG. The others are listed in ``hdr.txt``. So no photo shows a scene that is also there as HDR, and
``hdrcli train`` gets what the paper has: two folders that do not belong together.

    python tests/tools/virtual_photos.py DATA OUT [--views 24] [--seed 1]
    hdrcli train --ldr OUT/ldr --hdr OUT/hdr.txt --out run --minutes 60
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from hdrcli import formats
from hdrcli.camera import CameraDistribution
from hdrcli.color import Transfer
from hdrcli.image import Image
from hdrcli.training.cache import load_scenes
from hdrcli.training.datasets import random_view
from hdrcli.training.sources import find_scenes

SIZE = 512


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with HDR scenes and manifest.csv")
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, default=24, help="photos of each scene")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = sorted(find_scenes([options.data], "train").files, key=lambda file: file.path.name)
    photographed, kept = files[::2], files[1::2]
    (options.out / "ldr").mkdir(parents=True, exist_ok=True)
    cameras = CameraDistribution()
    for scene in load_scenes(photographed, print):
        rng = np.random.default_rng([options.seed, *scene.name.encode()])
        for number in range(options.views):
            view = random_view(scene, SIZE, rng)
            codes = cameras.draw(view, rng).shoot(view, rng)
            path = options.out / "ldr" / f"{scene.name}_{number:02}.png"
            formats.write(Image(codes, Transfer.SRGB), path, overwrite=True)
    lines = [str(file.path.resolve()) for file in kept]
    (options.out / "hdr.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(photographed)} scenes photographed, {options.views} views each; {len(kept)} scenes listed in hdr.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
