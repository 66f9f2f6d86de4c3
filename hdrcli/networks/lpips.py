"""LPIPS 0.1, the learned distance of pictures: Zhang et al. 2018, "The unreasonable effectiveness of deep features as a
perceptual metric", eq. 1, with the linear heads "lin" that the authors publish.

d = sum over taps of mean over pixels of w . (u(test) - u(reference))^2, u(x) = x / (|x| + 1e-10) over a pixel's features.

The heads are files in the wheel ``lpips``, read from there without importing it: its import needs torchvision. Checked against
that package and against a formula in NumPy with backbones of seeded random weights; not verified on published weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hdrcli import registry
from hdrcli.errors import MissingExtra, MissingModel, ModelError, UsageError
from hdrcli.networks._backbone import Backbone, normalised, read_tensors

# the authors' names of the backbones -> our modules
BACKBONES = {"alex": "alexnet", "vgg": "vgg"}
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """``forward(test, reference)``: display-encoded codes in 0..1, ``(N, 3, H, W)`` each, to distances ``(N,)``, 0 if equal.

    Can be differentiated in both. H and W are ``backbone.smallest`` or more, else ValueError. ``heads``: for each tap of the
    backbone, in order, a weight for each of its features: ``(C,)``.
    """

    def __init__(self, backbone: Backbone, heads: Sequence[Tensor]) -> None:
        super().__init__()
        self.backbone = backbone
        for number, head in enumerate(heads):
            self.register_buffer(f"head{number}", head)

    def forward(self, test: Tensor, reference: Tensor) -> Tensor:
        # the authors shift and scale 2 x - 1 by 2 m - 1 and 2 s, with the mean m and deviation s of ImageNet's codes
        both = normalised(torch.cat([test, reference]))
        distance = both.new_zeros(len(test))
        # one tap at a time: those of a large picture don't fit into memory together
        for number, (_, features) in enumerate(self.backbone.stages(both)):
            units = features / (features.square().sum(1, keepdim=True).sqrt() + _EPSILON)
            first, second = units[: len(test)], units[len(test) :]
            head = self.get_buffer(f"head{number}").view(1, -1, 1, 1)
            distance = distance + ((first - second).square() * head).sum(1).mean((1, 2))
        return distance


def load(net: str, weights: Path | None = None, heads: Path | None = None) -> LPIPS:
    """LPIPS on the backbone "alex" or "vgg", frozen, on the CPU.

    ``weights``: the backbone's, a file, a folder or None for torch's cache. ``heads``: a file as the authors publish them; by
    default that in the installed wheel ``lpips``. Raises MissingExtra without the wheel, MissingModel, ModelError, UsageError.
    """
    if net not in BACKBONES:
        raise UsageError(f"LPIPS has no backbone {net!r}", remedy=f"there are: {', '.join(BACKBONES)}")
    path = heads or heads_in_wheel(net)
    if not path.is_file():
        raise MissingModel("there are no heads of LPIPS", where=path, remedy="install the package lpips anew")
    backbone: Backbone = registry.load("hdrcli.networks", BACKBONES[net]).load(weights)
    return LPIPS(backbone, _read_heads(path, backbone)).requires_grad_(False).eval()


def heads_in_wheel(net: str) -> Path:
    """Where the installed package ``lpips`` has its heads of version 0.1. Raises MissingExtra without the package."""
    found = importlib.util.find_spec("lpips")  # looks for a package of the top level, runs nothing
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("lpips", "metrics", purpose="LPIPS")
    return Path(found.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth"


def _read_heads(path: Path, backbone: Backbone) -> list[Tensor]:
    """``lin0.model.1.weight`` ..., ``(1, C, 1, 1)`` each, as ``(C,)``."""
    state = read_tensors(path)
    heads = [state.get(f"lin{number}.model.1.weight") for number in range(len(backbone.taps))]
    fits = [head is not None and head.shape == (1, width, 1, 1) for head, width in zip(heads, backbone.widths, strict=True)]
    if len(state) != len(heads) or not all(fits):
        fault = f"holds no heads of LPIPS for {type(backbone).__name__}"
        raise ModelError(fault, where=path, remedy="name a file of the package lpips, weights/v0.1")
    return [head.float().flatten() for head in heads if head is not None]
