"""Virtual photos of the held-out scenes, with their truth, as folders that ``hdrcli expand`` and ``hdrcli evaluate`` take.

The photos are those of ``make score`` (tests/tools/score.py: cameras, seed, views), the first ``--views`` of each scene:
OUT/ldr/NAME.png, OUT/truth/NAME.exr in LDR whites of the photo's own exposure, and OUT/constant/NAME.exr: the photo with a
constant gain in what clipped, fitted on the train split. The rest is hdrcli's:

    python tests/tools/evaluation_pairs.py DATA OUT
    hdrcli expand OUT/ldr/*.png --out-dir OUT/default
    hdrcli evaluate OUT/truth --pred default=OUT/default --pred constant=OUT/constant --ldr OUT/ldr --html OUT/report.html
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import score

from hdrcli import formats
from hdrcli.color import Transfer
from hdrcli.image import Image
from hdrcli.training.datasets import find_scenes, load_scenes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with HDR scenes and manifest.csv")
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, default=2, help="photos of each scene")
    parser.add_argument("--constant", type=float, default=1.83, help="gain of the folder 'constant', in LDR whites")
    options = parser.parse_args(arguments)
    for folder in ("ldr", "truth", "constant"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    scenes = load_scenes(find_scenes([options.data], "val").files, print)
    seen: dict[str, int] = {}
    for photo in score.photos(scenes, views=options.views):
        number = seen[photo.scene] = seen.get(photo.scene, -1) + 1
        name = f"{photo.scene}_{number}"
        image = Image(photo.codes, Transfer.SRGB)
        formats.write(image, options.out / "ldr" / f"{name}.png", overwrite=True)
        gained = score.constant_gain(options.constant)(image)
        for folder, light in (("truth", photo.truth), ("constant", gained)):
            formats.write(Image(light, Transfer.LINEAR), options.out / folder / f"{name}.exr", overwrite=True)
    print(f"{sum(seen.values()) + len(seen)} photos of {len(seen)} scenes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
