"""Soft masks of areas of like colour: the offline stand-in for segmentation.

Superpixels as in SLIC (Achanta et al. 2012, "SLIC superpixels compared to state-of-the-art superpixel methods"), with the soft
assignment of Jampani et al. 2018 ("Superpixel sampling networks", Eq. 2 and 3) so that they are differentiable. The seeds find
their areas in the LDR. The output gets the same areas' mean colours and places, and its pixels choose among them anew: where
its edges lie as the LDR's do, its masks are the LDR's, whatever its tones are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.perception import mean_soft_iou

KIND = "masks"
SUMMARY = "soft IoU of areas of like colour; offline"


@dataclass(frozen=True)
class Config:
    """Options of the guide "superpixels".

    ``seeds``: rows and columns of seeds; ``side``: pixels to which the longer side is reduced before; ``rounds``: times that
    areas and seeds settle in the LDR. ``colour``: what a standard deviation of colour counts against the distance of two seeds;
    ``sharpness``: how decidedly a pixel chooses. Raises UsageError for values that make no sense.
    """

    seeds: int = 6
    side: int = 128
    rounds: int = 5
    colour: float = 4.0
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("seeds", 2), ("side", 16), ("rounds", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        for name in ("colour", "sharpness"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{getattr(self, name):g} is not above 0", where=name, remedy="use more")


def standardized(codes: Tensor) -> Tensor:
    """Colours with mean 0 and joint standard deviation 1 in each image: a gain or offset of all channels changes nothing.

    Features for comparing structure, never pixels: an image of one colour becomes 0.
    """
    centred = codes - codes.mean((2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-4).sqrt()


class Superpixels:
    """See :class:`hdrcli.perception.MasksProvider`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def _features(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Colours ``(N, 3, h, w)`` and places ``(1, 2, h, w)``; distances of 1 are as far as two seeds."""
        height, width = codes.shape[-2:]
        scale = min(1.0, self.config.side / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        small = functional.interpolate(codes, size=size, mode="area")
        y = (torch.arange(size[0], device=codes.device, dtype=small.dtype) + 0.5) / size[0] * self.config.seeds
        x = (torch.arange(size[1], device=codes.device, dtype=small.dtype) + 0.5) / size[1] * self.config.seeds
        return standardized(small), torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]

    def _choose(self, colours: Tensor, places: Tensor, centres: tuple[Tensor, Tensor]) -> Tensor:
        """Masks ``(N, K, h, w)``: each pixel's softmax over K centres: colours ``(N, K, 3)`` and places ``(N, K, 2)``."""
        near = [self._square_distance(value, centre) for value, centre in zip((colours, places), centres, strict=True)]
        return torch.softmax(-self.config.sharpness * (self.config.colour * near[0] + near[1]), 1)

    @staticmethod
    def _square_distance(values: Tensor, centres: Tensor) -> Tensor:
        cross = torch.einsum("nkc,nchw->nkhw", centres, values.expand(centres.shape[0], -1, -1, -1))
        return values.square().sum(1, keepdim=True) - 2 * cross + centres.square().sum(2)[..., None, None]

    @staticmethod
    def _mean(masks: Tensor, values: Tensor) -> Tensor:
        """Mean of ``values`` in each mask: ``(N, K, C)``."""
        total = torch.einsum("nkhw,nchw->nkc", masks, values.expand(masks.shape[0], -1, -1, -1))
        return total / masks.sum((2, 3))[..., None].clamp(min=1e-6)

    def masks(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Masks ``(N, K, h, w)`` of LDR images and their centres' places ``(N, K, 2)``, at reduced size."""
        colours, places = self._features(codes)
        count = self.config.seeds
        # the first areas: what is nearest to each seed of the grid
        seeds = torch.arange(count, device=codes.device, dtype=places.dtype) + 0.5
        grid = torch.stack(torch.meshgrid(seeds, seeds, indexing="ij"), -1).view(1, -1, 2).expand(codes.shape[0], -1, -1)
        masks = torch.softmax(-4 * self._square_distance(places, grid), 1)
        for _ in range(self.config.rounds):
            masks = self._choose(colours, places, (self._mean(masks, colours), self._mean(masks, places)))
        return masks, self._mean(masks, places)

    def soft_iou(self, ldr_codes: Tensor, output_codes: Tensor) -> Tensor:
        """See :class:`hdrcli.perception.MasksProvider`. Equal images give 1."""
        with torch.no_grad():
            areas, at = self.masks(ldr_codes.detach())
            colours, places = self._features(ldr_codes.detach())
            reference = self._choose(colours, places, (self._mean(areas, colours), at))
        colours, places = self._features(output_codes)
        masks = self._choose(colours, places, (self._mean(areas, colours), at))
        # an area that lost all its pixels to others says nothing
        return mean_soft_iou(reference, masks, reference.sum((2, 3)).clamp(max=1))


def build(config: Config) -> Superpixels:
    """A provider of masks; needs nothing."""
    return Superpixels(config)
