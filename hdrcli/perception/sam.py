"""Masks of Segment Anything (Kirillov et al. 2023), frozen: what LLM-HDR's semantic loss uses (3.2).

Hard masks have no gradient. So (D in the project's specification) the LDR's masks, found without gradient from a grid of
points, say which points stand for an area; the output's mask logits for these points give a soft intersection over union with
them, whose gradient goes through the frozen network to the output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.perception import _pretrained, mean_soft_iou

KIND = "masks"
SUMMARY = "soft IoU of Segment Anything's masks through transformers, from a local folder or the hub"

# ImageNet's, as SAM's own preprocessing has them
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Config:
    """Options of the guide "sam".

    ``model``: a local folder, or a hub repository. ``points``: rows and columns of the points that ask for masks. ``overlap``:
    IoU above which two masks of the LDR are the same area; the surer one stays. Raises UsageError for values out of range.
    """

    model: str = "facebook/sam-vit-base"
    points: int = 4
    overlap: float = 0.7

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UsageError(f"{self.points} is below 1", where="points", remedy="use 1 or more")
        if not 0 < self.overlap <= 1:
            raise UsageError(f"{self.overlap:g} is no share", where="overlap", remedy="use more than 0, at most 1")


def prepared(codes: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """``(N, 3, H, W)`` codes as SAM takes them: longer side ``side``, standardised, padded below and right; its h, w inside.

    Bilinear with antialiasing, as SAM's own preprocessing is.
    """
    height, width = codes.shape[-2:]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    resized = functional.interpolate(codes, size=size, mode="bilinear", antialias=True, align_corners=False)
    mean, deviation = (codes.new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
    return functional.pad((resized - mean) / deviation, (0, side - size[1], 0, side - size[0])), size


def distinct(masks: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Which masks stand for an area of their own, ``(N, K)`` of 0 and 1: the surest of each group that overlap.

    ``masks``: ``(N, K, h, w)`` bool; ``scores``: ``(N, K)``. Empty masks stand for nothing, unless all of an image are: then
    each counts, so that there is something to compare.
    """
    flat = masks.flatten(2).float()
    area = flat.sum(2)
    common = flat @ flat.transpose(1, 2)
    iou = common / (area[:, :, None] + area[:, None, :] - common).clamp(min=1)
    chosen = torch.zeros_like(scores)
    for image in range(len(scores)):
        for k in scores[image].argsort(descending=True).tolist():
            if area[image, k] > 0 and not (iou[image, k] * chosen[image] > overlap).any():
                chosen[image, k] = 1
        if not chosen[image].any():
            chosen[image] = 1
    return chosen


class SamMasks:
    """See :class:`hdrcli.perception.MasksProvider`. ``network``: a SamModel."""

    def __init__(self, network: Any, config: Config) -> None:
        self.config = config
        self._network = network
        self._side = int(network.config.vision_config.image_size)

    def _masks(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(N, K, h, w)`` of the mask of each point, and how sure the network is of it, ``(N, K)``."""
        network = self._network.to(codes.device)
        pixels, (height, width) = prepared(codes.float(), self._side)
        steps = (torch.arange(self.config.points, device=codes.device) + 0.5) / self.config.points
        y, x = torch.meshgrid(steps * height, steps * width, indexing="ij")
        points = torch.stack([x, y], -1).view(1, -1, 1, 2).expand(len(codes), -1, -1, -1)
        with torch.autocast(codes.device.type, enabled=False):
            found = network(pixel_values=pixels, input_points=points, multimask_output=False)
        logits = found.pred_masks[:, :, 0]
        scale = logits.shape[-1] / self._side
        return logits[..., : math.ceil(height * scale), : math.ceil(width * scale)], found.iou_scores[:, :, 0]

    def soft_iou(self, ldr_codes: Tensor, output_codes: Tensor) -> Tensor:
        """See :class:`hdrcli.perception.MasksProvider`."""
        with torch.no_grad():
            reference, scores = self._masks(ldr_codes.detach())
            weight = distinct(reference > 0, scores, self.config.overlap)
        masks, _ = self._masks(output_codes)
        return mean_soft_iou(reference.sigmoid(), masks.sigmoid(), weight)


def build(config: Config) -> SamMasks:
    """The provider. Raises MissingExtra without transformers, MissingModel or ModelError if the weights can't be had."""
    return SamMasks(_pretrained.load("SamModel", config.model, guide="sam"), config)
