"""Losses, one file each: pure functions of tensors that give scalars. Import them from their modules.

The equations are those of LLM-HDR unless another source is named. Weights of the terms belong to the objective that adds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def mean_l1(images: Tensor | Sequence[Tensor], target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference: the L1 norm of Eq. 10 and 11, per value, so that it doesn't depend on the image's size.

    ``images``: one image or those of all feedback iterations, whose losses are averaged; each ``(N, C, H, W)`` like ``target``.
    ``weight``: what each value counts, of the same shape, in [0, 1]; the mean is over what counts, 0 if nothing does.
    """
    several = list(images) if isinstance(images, Sequence) else [images]
    if not several:
        raise ValueError("there is no image to compare")
    total = target.new_zeros(())
    for image in several:
        difference = (image - target).abs()
        total = total + (difference.mean() if weight is None else (difference * weight).sum() / weight.sum().clamp(min=1e-6))
    return total / len(several)


__all__ = ["mean_l1"]
