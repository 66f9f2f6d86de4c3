"""Perception loss: LLM-HDR Eq. 2: the shares of pixels that are artifacts, overexposed and underexposed.

Counts of pixels have no gradient. A share is mean(map * severity) instead (D in the project's specification): with severity 1
and maps of 0 and 1 it is the count of Eq. 2. The gradient comes from maps that are differentiable (guide ``exposure``), or for
those that are not (guide ``llm``) from a differentiable severity.
"""

from __future__ import annotations

from torch import Tensor

WEIGHTS = (3.0, 2.0, 1.5)  # artifact, overexposed, underexposed: Eq. 2
ARTIFACT_ONLY = (3.0, 0.0, 0.0)  # the backward cycle: a generated LDR may be over- or underexposed


def shares(maps: Tensor, severity: Tensor | None = None) -> Tensor:
    """Mean of each map over pixels and images, ``(3,)``. Both ``(N, 3, H, W)`` in [0, 1]: artifact, over-, underexposed."""
    return (maps if severity is None else maps * severity).mean((0, 2, 3))


def perception_loss(maps: Tensor, severity: Tensor | None = None, weights: tuple[float, float, float] = WEIGHTS) -> Tensor:
    """3 af + 2 ox + 1.5 ux of the shares (see :func:`shares`): 0 for a picture without fault, at most the weights' sum."""
    parts = shares(maps, severity)
    return sum((weight * part for weight, part in zip(weights, parts, strict=True)), parts.new_zeros(()))
