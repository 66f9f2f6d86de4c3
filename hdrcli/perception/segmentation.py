"""Over- and underexposed areas as a trained network sees them: no threshold of codes (HDR-cGAN 3.2).

A threshold can't tell true white from light that was lost, nor find the clipped sky of a washed-out photo whose white is code
230. The network (:mod:`hdrcli.networks.exposure_segmenter`) was taught by the virtual camera, which knows what clipped
(:mod:`hdrcli.training.objectives.segmentation`). Artifacts, and outputs of G_Y, are left to the guide ``exposure``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hdrcli.errors import MissingModel, ModelError, UsageError
from hdrcli.networks import exposure_segmenter
from hdrcli.networks.exposure_segmenter import ExposureSegmenter
from hdrcli.perception import Maps, exposure

KIND = "maps"
SUMMARY = "over- and underexposed areas by a network that was trained on virtual photos; the rest as exposure; offline"
FILE = "segmentation.safetensors"
METADATA_KEY = "hdrcli"  # hdrcli.inference.torch_backend.METADATA_KEY, which lies above


@dataclass(frozen=True)
class Config:
    """Options of the guide "segmentation".

    ``weights``: a run folder of the recipe "segmentation", or its segmentation.safetensors; "" for those that came with hdrcli.
    """

    weights: str = ""


def load(weights: Path | None = None) -> ExposureSegmenter:
    """The network with trained weights, frozen, in evaluation mode, on the CPU. ``weights``: a file or run folder, or None.

    Raises MissingModel, ModelError for a file that is damaged or holds something else.
    """
    file = Path(__file__).with_name(FILE) if weights is None else weights
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        remedy = "train them: hdrcli train --recipe segmentation --hdr DIR --out RUN, and give RUN as weights"
        raise MissingModel("there are no weights of the segmenter", where=weights, remedy=remedy)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as content:
            description = json.loads((content.metadata() or {})[METADATA_KEY])
            state = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (no mapping)
        network = exposure_segmenter.build(exposure_segmenter.Config(**description["network"]))
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError, OSError, UsageError) as error:
        raise ModelError("holds no segmenter", where=file, remedy="name a run of the recipe segmentation") from error
    return network.requires_grad_(False).eval()


class SegmentationMaps:
    """See :class:`hdrcli.perception.MapsProvider`. ``network``: the segmenter."""

    def __init__(self, network: ExposureSegmenter) -> None:
        self.network = network
        self._exposure = exposure.build(exposure.Config())

    def classes(self, codes: Tensor) -> Tensor:
        """How sure it is of over, under and normal: ``(N, 3, H, W)``, 1 together. No gradient."""
        with torch.no_grad():
            logits: Tensor = self.network.to(codes.device)(codes.detach().float().clamp(0, 1))
            return logits.softmax(1).to(codes)

    def maps(self, codes: Tensor, *, source: Tensor | None = None) -> Maps:
        """See the module's docstring. Maps of photos have a gradient in their artifacts only."""
        if source is not None:
            return self._exposure.maps(codes, source=source)
        classes = self.classes(codes)
        return Maps(self._exposure.artifact(codes), over=classes[:, :1], under=classes[:, 1:2])


def build(config: Config) -> SegmentationMaps:
    """A provider of maps. Raises MissingModel, ModelError for weights that can't be had."""
    return SegmentationMaps(load(Path(config.weights) if config.weights else None))
