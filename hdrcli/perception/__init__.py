"""Guides: what looks at images during training and says where they are wrong, or what is in them. One file a guide.

A guide module has

* ``KIND``: ``"maps"``, ``"embeddings"`` or ``"masks"``;
* ``SUMMARY``: a line for listings;
* ``Config``: a frozen dataclass, its fields are the guide's options;
* ``build(config)``: a provider, which is one of the protocols below. What it needs (package, weights, key, endpoint) is looked
  for here, so that a guide that can't be had is an error before training starts: MissingExtra, MissingModel, UsageError.

============  =========================================  ==================================
kind          offline, the default                       others
============  =========================================  ==================================
maps          ``exposure`` (differentiable)              ``llm``, ``segmentation``
embeddings    ``own`` (patch contrast, see its module)   ``clip``
masks         ``superpixels``                            ``sam``
============  =========================================  ==================================

``none`` is no module: :func:`create` answers it with None, and whoever asked leaves the term out and says so.

All images are ``(N, 3, H, W)`` float tensors of display-encoded codes in [0, 1] (tone-mapped HDR stands for its codes).
Providers work on the device of the images that they are given. Nothing in this file imports torch until it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hdrcli import registry
from hdrcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

Kind = Literal["maps", "embeddings", "masks"]


@dataclass(frozen=True, eq=False)
class Maps:
    """Where images are wrong, each ``(N, 1, H, W)`` in [0, 1]."""

    artifact: Tensor
    over: Tensor
    under: Tensor

    def stacked(self) -> Tensor:
        """``(N, 3, H, W)``: artifact, overexposed, underexposed, as generators and the perception loss take them."""
        import torch

        return torch.cat([self.artifact, self.over, self.under], 1)


class MapsProvider(Protocol):
    """What a guide of kind "maps" builds."""

    def maps(self, codes: Tensor, *, source: Tensor | None = None) -> Maps:
        """The maps of images.

        ``source``: for *outputs* of G_Y, the codes of the LDR images that they were made from. "Overexposed" then means flat
        where the source had clipped, never bright: a loss on brightness would train highlights away.
        """
        ...


class PictureMapsProvider(MapsProvider, Protocol):
    """What a guide of kind "maps" builds that is slow or costs money: it can be asked about a whole picture once.

    ``longest_side``: larger pictures may be reduced to it; more is not looked at.
    """

    longest_side: int

    def regions(self, pixels: NDArray[np.uint8]) -> Any | None:
        """What is wrong with a picture, ``(H, W, 3) uint8``, in a form of its own; None if there is no answer."""
        ...

    def planes(self, regions: Any, height: int, width: int) -> NDArray[np.float32]:
        """``(3, height, width)`` in [0, 1]: artifact, overexposed, underexposed."""
        ...


class EmbeddingsProvider(Protocol):
    """What a guide of kind "embeddings" builds, unless it is a :class:`PatchContrastProvider`."""

    dimensions: int

    def embed(self, codes: Tensor) -> Tensor:
        """Unit vectors ``(N, dimensions)``, differentiable in ``codes``."""
        ...


class PatchContrastProvider(Protocol):
    """What the guide ``own`` builds: it compares patches of the generator's own features instead of whole images."""

    def projection(self, channels: Sequence[int]) -> nn.Module:
        """The head for features of so many channels; it is trained with the generator, and kept in its checkpoints."""
        ...

    def patch_contrast(
        self,
        features_input: Sequence[Tensor],
        features_output: Sequence[Tensor],
        *,
        projection: nn.Module,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Scalar loss: patches of the output against those of the input at the same and at other places."""
        ...


class MasksProvider(Protocol):
    """What a guide of kind "masks" builds. It may say in ``areas(ldr_codes)`` what it wants to know of the LDR, ``(N, a, K,
    c)``, and take it as a third argument."""

    def soft_iou(self, ldr_codes: Tensor, output_codes: Tensor) -> Tensor:
        """``(N,)`` in [0, 1]: mean intersection over union of the two images' masks; the gradient goes to ``output_codes``."""
        ...


def create(kind: Kind, name: str, options: Mapping[str, str] | None = None) -> Any | None:
    """The provider of a guide by name; None for ``none``. ``options``: texts by name, as on the command line.

    Raises UsageError for a guide or option that there is not, and whatever the guide's ``build`` raises when it can't be had.
    """
    given = dict(options or {})
    if name == "none":
        if given:
            raise UsageError("the guide none has no options", where=next(iter(given)), remedy="leave them out")
        return None
    module = registry.load(__name__, name)
    if kind != module.KIND:
        fitting = [guide for guide in registry.names(__name__) if kind == registry.load(__name__, guide).KIND]
        remedy = f"there are: {', '.join(fitting)}, none"
        raise UsageError(f"the guide {name} gives {module.KIND}, not {kind}", remedy=remedy)
    return module.build(registry.build(module.Config, given))


def mean_soft_iou(reference: Tensor, masks: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over masks of sum(min) / sum(max), ``(N,)``: LLM-HDR Eq. 5 and 6 for masks in [0, 1], ``(N, K, H, W)`` both.

    Equal to intersection over union for masks of 0 and 1, and 1 for equal masks of any values (the Ruzicka similarity), which
    the usual product form is not. ``weight``: ``(N, K)``, what each mask counts.
    """
    # min(a, b) = (a + b - |a - b|) / 2, max(a, b) likewise: one pass for both
    both, apart = reference.sum((2, 3)) + masks.sum((2, 3)), (reference - masks).abs().sum((2, 3))
    iou = (both - apart + 2e-6) / (both + apart + 2e-6)  # two empty masks are equal
    return iou.mean(1) if weight is None else (iou * weight).sum(1) / weight.sum(1).clamp(min=1e-6)


def equalized(codes: Tensor) -> Tensor:
    """Images with their luma's histogram equalised, without gradient: what embeddings and masks of the LDR are made from.

    OpenCV's ``equalizeHist`` on Y of YCrCb at 8 bits, as LLM-HDR does (3.2); on luma because channel by channel it would change
    hues (D in the project's specification). ``(N, 3, H, W)`` in and out.
    """
    import cv2
    import numpy as np
    import torch

    out = torch.empty_like(codes)
    for i, pixels in enumerate(to_uint8(codes)):
        ycc = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)
        ycc[..., 0] = cv2.equalizeHist(np.ascontiguousarray(ycc[..., 0]))
        rgb = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)
        out[i] = torch.from_numpy(rgb).permute(2, 0, 1).to(codes) / 255
    return out


def to_uint8(codes: Tensor) -> Any:
    """``(N, 3, H, W)`` codes as ``(N, H, W, 3) uint8``, in numpy, without gradient."""
    import torch

    rounded = (codes.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()


__all__ = [
    "EmbeddingsProvider",
    "Kind",
    "Maps",
    "MapsProvider",
    "MasksProvider",
    "PatchContrastProvider",
    "PictureMapsProvider",
    "create",
    "equalized",
    "mean_soft_iou",
    "to_uint8",
]
