"""A small U-Net that says of each pixel of a photo whether it is overexposed, underexposed or neither.

For HDR-cGAN's mask (3.2), which must not be a threshold: a code of 1 may be true white, and a photo whose tones were changed
after it was taken has its clipped areas at any code. What tells them apart: clipped areas are flat, and nothing in the photo is
brighter. So beside the codes the network sees how far they lie below the photo's largest and above its smallest code, in
steps that are large enough for half precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError

CLASSES = ("over", "under", "normal")
_STEP = 1 / 16  # codes: what the distances to the photo's extremes are measured in, cut at 4
_AREA = 5  # pixels


@dataclass(frozen=True)
class Config:
    """Form and size. ``width``: features of the first of three levels. Raises UsageError for sizes that no network can have."""

    width: int = 12

    def __post_init__(self) -> None:
        if self.width < 2:
            raise UsageError(f"a segmenter can't have width {self.width}", where="network.width", remedy="use 2 or more")


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


def _distances(codes: Tensor) -> Tensor:
    """Steps below the photo's largest code and above its smallest, ``(N, 6, H, W)`` in [-1, 4].

    The largest that an area of 5 x 5 pixels has throughout: JPEG overshoots at edges, by many codes where white is not the
    largest code there is. What lies beyond has a negative distance.
    """
    top = -functional.max_pool2d(-codes, _AREA, 1).amin((1, 2, 3), keepdim=True)
    bottom = functional.max_pool2d(codes, _AREA, 1).amin((1, 2, 3), keepdim=True)
    return torch.cat([top - codes, codes - bottom], 1).div(_STEP).clamp(-1.0, 4.0)


def _ripple(codes: Tensor) -> Tensor:
    """How much each channel varies among 3 x 3 pixels, ``(N, 3, H, W)``: the largest less the smallest, in steps, cut at 4."""
    top = functional.max_pool2d(codes, 3, 1, 1)
    bottom = -functional.max_pool2d(-codes, 3, 1, 1)
    return (top - bottom).div(_STEP).clamp(max=4.0)


class ExposureSegmenter(nn.Module):
    """See the module's docstring.

    ``forward(codes)``: photos ``(N, 3, H, W)``, display-encoded in [0, 1], to logits of :data:`CLASSES`, ``(N, 3, H, W)``.
    H and W are 5 or more.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = (config.width, 2 * config.width, 4 * config.width)
        self.encoder = nn.ModuleList(_block(i, o) for i, o in zip((12, *widths), widths, strict=False))
        self.context = nn.Conv2d(widths[2], widths[2], 1)
        self.decoder = nn.ModuleList(_block(i + o, o) for i, o in ((widths[2], widths[1]), (widths[1], widths[0])))
        self.last = nn.Conv2d(widths[0], len(CLASSES), 1)

    def forward(self, codes: Tensor) -> Tensor:
        codes = codes.float()
        x = torch.cat([codes, _distances(codes), _ripple(codes)], 1)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        # what the whole photo holds: whether there is an area at its largest code at all
        x = x + self.context(x.mean((2, 3), keepdim=True))
        for block in self.decoder:
            skip = skips.pop()
            x = block(torch.cat([functional.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], 1))
        result: Tensor = self.last(x).float()
        return result


def build(config: Config) -> ExposureSegmenter:
    """A segmenter with fresh weights."""
    return ExposureSegmenter(config)
