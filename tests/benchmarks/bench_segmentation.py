"""What clipped, by the guide ``segmentation`` and by thresholds: IoU on rendered photos where thresholds fail.

python tests/benchmarks/bench_segmentation.py [RUN or segmentation.safetensors] [photos of each kind]
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "perception"))
from exposure_scenes import KINDS, iou, photos

from hdrcli.perception import segmentation

THRESHOLDS = (0.9, 0.94, 0.97, 0.99)


def main() -> None:
    weights = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    guide = segmentation.SegmentationMaps(segmentation.load(weights))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    shown = list(photos(count))
    answers = {f"code >= {t}": [c.max(axis=2) >= t * 255 for _, _, c, _ in shown] for t in THRESHOLDS}
    answers["largest - 3"] = [c.max(axis=2) >= int(c.max()) - 3 for _, _, c, _ in shown]  # of each photo's own codes
    found = []
    for _, _, codes, _ in shown:
        image = torch.from_numpy(codes.astype(np.float32) / 255).permute(2, 0, 1)[None]
        found.append(guide.classes(image).argmax(1)[0].numpy() == 0)
    answers["segmentation"] = found
    groups = {f"{kind}{', washed out' if w else ''}": (kind, w) for kind in KINDS for w in (False, True)}
    print(f"{'IoU of what clipped':24}" + "".join(f"{name:>14}" for name in answers))
    for label, group in [*groups.items(), ("all", None)]:
        chosen = [i for i, (kind, w, _, _) in enumerate(shown) if group in (None, (kind, w))]
        right = [shown[i][3] for i in chosen]
        print(f"{label:24}" + "".join(f"{iou([said[i] for i in chosen], right):14.3f}" for said in answers.values()))


if __name__ == "__main__":
    main()
