"""The yardstick: a patch-wise full-resolution network of ExpandNet's size, with fresh weights.

Three branches as in Marnerides et al. 2018, "ExpandNet" (local 3x3, dilated, global by strided convs), written anew and about
450 000 parameters; 256-pixel patches, each seen with its own global branch. Prints JSON: seconds for the whole photo, scaled
from the patches measured.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

PATCH, MEASURED = 256, 12


class PatchNetwork(nn.Module):
    """Local (3x3), dilated and global branches, merged by 1x1 convs at full resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.SELU(), nn.Conv2d(64, 128, 3, padding=1), nn.SELU())
        dilated: list[nn.Module] = []
        for inputs in (3, 64, 64, 64):
            dilated += [nn.Conv2d(inputs, 64, 3, padding=2, dilation=2), nn.SELU()]
        self.dilated = nn.Sequential(*dilated)
        strided: list[nn.Module] = []
        for inputs in (3, 64, 64, 64, 64, 64):
            strided += [nn.Conv2d(inputs, 64, 3, stride=2, padding=1), nn.SELU()]
        self.whole = nn.Sequential(*strided, nn.Conv2d(64, 64, 4))
        self.merge = nn.Sequential(nn.Conv2d(256, 64, 1), nn.SELU(), nn.Conv2d(64, 3, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(x).expand(-1, -1, *x.shape[-2:])
        merged: Tensor = self.merge(torch.cat([self.local(x), self.dilated(x), whole], 1))
        return merged


def main() -> None:
    photo = cv2.imdecode(np.fromfile(Path(sys.argv[1]), np.uint8), cv2.IMREAD_COLOR_RGB)
    network = PatchNetwork().eval()
    height, width = photo.shape[:2]
    total = math.ceil(height / PATCH) * math.ceil(width / PATCH)
    patches = [
        torch.from_numpy(photo[:PATCH, x : x + PATCH].astype(np.float32) / 255).permute(2, 0, 1)[None]
        for x in range(0, min(MEASURED + 1, width // PATCH) * PATCH, PATCH)
    ]
    with torch.inference_mode():
        network(patches[0])  # warm-up
        start = time.perf_counter()
        for patch in patches[1:]:
            network(patch)
        seconds = (time.perf_counter() - start) / (len(patches) - 1) * total
    report = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "patches": len(patches) - 1,
        "seconds": seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
