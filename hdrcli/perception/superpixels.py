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

    def _values(self, codes: Tensor) -> Tensor:
        """What a pixel is chosen by, at reduced size: ``(N, 6, h, w)``: colours, places, ones.

        Distances of places of 1 are as far as two seeds.
        """
        height, width = codes.shape[-2:]
        scale = min(1.0, self.config.side / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        small = functional.interpolate(codes, size=size, mode="area")
        y, x = (
            (torch.arange(n, device=codes.device, dtype=small.dtype) + 0.5) / n * self.config.seeds - self.config.seeds / 2
            for n in size
        )
        fixed = torch.stack([*torch.meshgrid(y, x, indexing="ij"), small.new_ones(size)])
        return torch.cat([standardized(small), fixed.expand(len(codes), -1, -1, -1)], 1)

    def _scores(self, means: Tensor, colour: float, sharpness: float) -> Tensor:
        """``(N, K, 6)``: what of :meth:`_values` makes a pixel choose an area with these means, ``(N, K, 5)``.

        Its product with the values is - sharpness (colour (c - means' c)^2 + (p - means' p)^2), but for what is the same for
        all areas, which a softmax does not see.
        """
        weight = means.new_tensor([colour] * 3 + [1.0] * 2) * sharpness
        return torch.cat([2 * weight * means, -(weight * means.square()).sum(2, keepdim=True)], 2)

    def _chosen(self, scores: Tensor, values: Tensor) -> Tensor:
        """Masks ``(N, K, h w)``: each pixel's softmax over K areas."""
        return torch.softmax(scores @ values.flatten(2), 1)

    @staticmethod
    def _means(masks: Tensor, values: Tensor) -> Tensor:
        """Mean colour and place of each mask: ``(N, K, 5)``."""
        sums = masks @ values.flatten(2).transpose(1, 2)
        return sums[..., :5] / sums[..., 5:].clamp(min=1e-6)

    def areas(self, ldr_codes: Tensor) -> Tensor:
        """What :meth:`soft_iou` wants to know of LDR images: ``(N, 2, K, 6)``, without gradient. See :meth:`_scores`.

        The scores of the areas that the seeds have found, and those of the reference: of the areas' own means.
        """
        config = self.config
        with torch.no_grad():
            values = self._values(ldr_codes.detach())
            # the first areas: what is nearest to each seed of the grid
            seeds = torch.arange(config.seeds, device=values.device, dtype=values.dtype) + 0.5 - config.seeds / 2
            grid = torch.stack(torch.meshgrid(seeds, seeds, indexing="ij"), -1).view(-1, 2)
            nothing = grid.new_zeros(len(grid), 3)
            scores = self._scores(torch.cat([nothing, grid], 1).expand(len(values), -1, -1), 0.0, 4.0)
            found = [scores]
            for _ in range(config.rounds + 1):
                means = self._means(self._chosen(found[-1], values), values)
                found.append(self._scores(means, config.colour, config.sharpness))
            return torch.stack(found[-2:], 1)

    def masks(self, codes: Tensor) -> Tensor:
        """Masks of LDR images, ``(N, K, h, w)``, at reduced size."""
        values = self._values(codes)
        return self._chosen(self.areas(codes)[:, 0], values).view(len(codes), -1, *values.shape[-2:])

    def soft_iou(self, ldr_codes: Tensor, output_codes: Tensor, areas: Tensor | None = None) -> Tensor:
        """See :class:`hdrcli.perception.MasksProvider`. Equal images give 1. ``areas``: of :meth:`areas`, if known already."""
        config = self.config
        with torch.no_grad():
            areas = self.areas(ldr_codes) if areas is None else areas
            values = self._values(ldr_codes.detach())
            found, reference = (self._chosen(scores, values) for scores in areas.unbind(1))
        values = self._values(output_codes)
        masks = self._chosen(self._scores(self._means(found, values), config.colour, config.sharpness), values)
        shape = (*masks.shape[:2], *values.shape[-2:])
        # an area that lost all its pixels to others says nothing
        return mean_soft_iou(reference.view(shape), masks.view(shape), reference.sum(2).clamp(max=1))


def build(config: Config) -> Superpixels:
    """A provider of masks; needs nothing."""
    return Superpixels(config)
