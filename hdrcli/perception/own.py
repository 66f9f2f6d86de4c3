"""Patch contrast on the generator's own features: the offline stand-in for embeddings.

Park, Efros, Zhang and Zhu 2020, "Contrastive learning for unpaired image-to-image translation" (CUT), 3.2: PatchNCE. A patch of
the output shall be nearer to the input's patch at its place than to the input's patches at other places, in features of the
generator's own encoder. So it needs no weights, no network and no second image: it works with a batch of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError

KIND = "embeddings"
SUMMARY = "patch contrast on the generator's own features, as in CUT; offline"


@dataclass(frozen=True)
class Config:
    """Options of the guide "own"; the defaults are CUT's.

    ``patches``: places compared in each image and level, fewer where there are not so many. ``dimensions``: of the projected
    features. ``tau``: temperature. Raises UsageError for values that make no sense.
    """

    patches: int = 256
    dimensions: int = 256
    tau: float = 0.07

    def __post_init__(self) -> None:
        for name, least in (("patches", 2), ("dimensions", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        if not self.tau > 0:
            raise UsageError(f"{self.tau:g} is not above 0", where="tau", remedy="use more")


class PatchProjection(nn.Module):
    """One MLP of two layers for each level: ``(N, P, channels[level])`` to unit vectors ``(N, P, dimensions)`` (CUT, 3.2)."""

    def __init__(self, channels: Sequence[int], dimensions: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Linear(count, dimensions), nn.ReLU(), nn.Linear(dimensions, dimensions)) for count in channels
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.02)  # as CUT does
                nn.init.zeros_(layer.bias)

    def forward(self, patches: Sequence[Tensor]) -> list[Tensor]:
        """Each level's patches, projected."""
        return [functional.normalize(level(p), dim=-1) for level, p in zip(self.levels, patches, strict=True)]


def patch_nce(queries: Tensor, keys: Tensor, tau: float) -> Tensor:
    """PatchNCE, CUT Eq. 3 and 4: unit vectors ``(N, P, D)`` of output and input at the same P places; a scalar.

    Cross-entropy of finding each query's own place among the P of its image. The keys are constants. log P if all are alike.
    """
    logits = queries @ keys.detach().transpose(1, 2) / tau
    places = torch.arange(queries.shape[1], device=queries.device).expand(queries.shape[:2])
    return functional.cross_entropy(logits.flatten(0, 1), places.flatten())


class PatchContrast:
    """See :class:`hdrcli.perception.PatchContrastProvider`."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def projection(self, channels: Sequence[int]) -> PatchProjection:
        """A fresh head for features of so many channels, one count a level."""
        return PatchProjection(channels, self.config.dimensions)

    def patch_contrast(
        self,
        features_input: Sequence[Tensor],
        features_output: Sequence[Tensor],
        *,
        projection: nn.Module,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean PatchNCE over levels; scalar.

        ``features_input``, ``features_output``: what the generator's encoder makes of the input and of the output, one
        ``(N, C, h, w)`` a level, the same sizes in both. ``projection``: from :meth:`projection`. ``generator``: draws the
        places, on the CPU, the same for all images of a batch. Raises ValueError for levels that don't match or have a single
        place.
        """
        queries, keys = [], []
        for ours, theirs in zip(features_output, features_input, strict=True):
            if ours.shape != theirs.shape:
                raise ValueError(f"features of input and output differ: {tuple(theirs.shape)} and {tuple(ours.shape)}")
            count = ours.shape[2] * ours.shape[3]
            if count < 2:
                raise ValueError("patch contrast needs features of more than one place")
            places = torch.randperm(count, generator=generator)[: self.config.patches].to(ours.device)
            queries.append(ours.flatten(2)[..., places].transpose(1, 2))
            keys.append(theirs.flatten(2)[..., places].transpose(1, 2))
        pairs = zip(projection(queries), projection(keys), strict=True)
        return torch.stack([patch_nce(query, key, self.config.tau) for query, key in pairs]).mean()


def build(config: Config) -> PatchContrast:
    """A provider of patch contrast; needs nothing."""
    return PatchContrast(config)
