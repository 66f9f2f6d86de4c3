"""Embeddings of CLIP's image encoder (Radford et al. 2021), frozen: what LLM-HDR's contrastive loss and embeddings use (3.1).

The preprocessing is done on tensors, so that the gradient reaches the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.perception import _pretrained

KIND = "embeddings"
SUMMARY = "CLIP image embeddings through transformers, from a local folder or the hub"

# of CLIP's training images, display-encoded RGB (Radford et al. 2021, released preprocessing)
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Config:
    """Options of the guide "clip". ``model``: a local folder, or a hub repository; the default gives 512 numbers."""

    model: str = "openai/clip-vit-base-patch32"


def prepared(codes: Tensor, side: int) -> Tensor:
    """``(N, 3, H, W)`` codes as CLIP takes them: ``side`` squared, bicubic, standardised.

    The whole image is squeezed into the square; CLIP's own preprocessing cuts the longer side off, and with it what is there.
    """
    mean, deviation = (codes.new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
    resized = functional.interpolate(codes, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return (resized.clamp(0, 1) - mean) / deviation


class ClipEmbeddings:
    """See :class:`hdrcli.perception.EmbeddingsProvider`. ``network``: a CLIPVisionModelWithProjection."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._side = int(network.config.image_size)
        self.dimensions = int(network.config.projection_dim)

    def embed(self, codes: Tensor) -> Tensor:
        """Unit vectors ``(N, dimensions)``."""
        network = self._network.to(codes.device)
        with torch.autocast(codes.device.type, enabled=False):
            embeddings: Tensor = network(pixel_values=prepared(codes.float(), self._side)).image_embeds
        return functional.normalize(embeddings, dim=1)


def build(config: Config) -> ClipEmbeddings:
    """The provider. Raises MissingExtra without transformers, MissingModel or ModelError if the weights can't be had."""
    return ClipEmbeddings(_pretrained.load("CLIPVisionModelWithProjection", config.model, guide="clip"))
