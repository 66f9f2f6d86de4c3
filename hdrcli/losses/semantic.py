"""Semantic segmentation loss: LLM-HDR Eq. 5 to 7.

The intersection over union itself, Eq. 5 and 6, comes from a guide of kind "masks" (:mod:`hdrcli.perception`), soft so that it
has a gradient.
"""

from __future__ import annotations

from torch import Tensor

BETA = 2.0  # weight of Eq. 12


def semantic_loss(mean_iou: Tensor) -> Tensor:
    """1 - mIoU (Eq. 7), mean over images. ``mean_iou``: ``(N,)`` in [0, 1], each the mean over an image's masks (Eq. 6)."""
    return 1 - mean_iou.mean()
