"""The segmenter of the guide ``segmentation``: over-, underexposed and normal pixels, taught by the virtual camera.

What a sensor lost is known there: a channel whose exposure is 1 or more clipped, a pixel whose brightest channel is below noise
or the first code is crushed, whatever codes they have in the end. Thresholds of codes fail in two ways, and both are shown:
white surfaces that did not clip (paper, snow, walls; rendered into views, since scenes hold few) and photos that were washed
out afterwards, so that what clipped lies at any code from 0.8 up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.camera import Camera, CameraDistribution, Codes, Floats, jpeg_round_trip
from hdrcli.errors import UsageError
from hdrcli.image import brightest_channel
from hdrcli.inference.working import area_mean
from hdrcli.networks import exposure_segmenter
from hdrcli.perception import mean_soft_iou
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain

_FIRST_CODE = 1.5 / 255  # darker codes are written as 0 or 1


@dataclass(frozen=True)
class Config:
    """Options of the recipe "segmentation".

    ``network``: the segmenter. ``working_size``: side of the photos it sees; half of them are parts of views, the others whole
    views, of ``view_size``, reduced. ``whites``: share of photos with rendered white surfaces. ``washed_out``: share whose
    white was lowered to 0.8..1 and black raised to 0..0.12 after they were taken. ``iou_weight``: of 1 - soft IoU against
    cross-entropy. Raises UsageError for values that make no sense.
    """

    network: exposure_segmenter.Config = field(default_factory=exposure_segmenter.Config)
    working_size: int = 160
    view_size: int = 320
    batch_size: int = 8
    learning_rate: float = 2e-3
    whites: float = 0.5
    washed_out: float = 0.5
    iou_weight: float = 1.0
    camera: CameraDistribution = field(default_factory=lambda: CameraDistribution(p_unclipped=0.15))

    def __post_init__(self) -> None:
        for name, least in (("working_size", 16), ("view_size", 16), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        if not self.learning_rate > 0:
            raise UsageError(f"{self.learning_rate:g} is not above 0", where="learning_rate", remedy="use more")
        for name in ("whites", "washed_out"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{getattr(self, name):g} is no share", where=name, remedy="use 0 to 1")
        if not self.iou_weight >= 0:
            raise UsageError(f"{self.iou_weight:g} is negative", where="iou_weight", remedy="use 0 or more")


def white_surfaces(exposed: Floats, rng: np.random.Generator) -> Floats:
    """One to four white surfaces in an exposed scene, ``(H, W, 3) float32`` in LDR whites: most just below 1, some clipped.

    Tilted rectangles of exposure 0.75..0.995, or 1.1..4, with shading across them and a fine texture, warm to cool white.
    """
    height, width = exposed.shape[:2]
    out = exposed.copy()
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(rng.integers(1, 5)):
        angle = rng.uniform(0, np.pi)
        u = (x - rng.uniform(0, width)) * np.cos(angle) + (y - rng.uniform(0, height)) * np.sin(angle)
        v = (y - rng.uniform(0, height)) * np.cos(angle) - (x - rng.uniform(0, width)) * np.sin(angle)
        long, short = (rng.uniform(0.06, 0.5) * width for _ in range(2))
        inside = (np.abs(u) < long) & (np.abs(v) < short)
        level = rng.uniform(1.1, 4) if rng.random() < 0.3 else rng.uniform(0.75, 0.995)
        shading = 1 - rng.uniform(0, 0.25) * np.clip(0.5 + 0.5 * u / long, 0, 1)
        texture = 1 - rng.uniform(0, 0.04) * np.abs(rng.standard_normal((height, width), dtype=np.float32)).clip(0, 1)
        tint = 1 - rng.uniform(0, 0.06, 3) * (rng.random() < 0.5)
        surface = (level * shading * texture)[..., None] * tint
        out = np.where(inside[..., None], surface, out).astype(np.float32)
    return out


def truth_of(exposed: Floats, camera: Camera) -> Floats:
    """What the sensor lost: ``(H, W, 3) float32``, 1 in the plane of over, under or normal. ``exposed``: without noise."""
    brightest = brightest_channel(exposed)
    floor = max(camera.read_noise, float(camera.response.invert(np.array(_FIRST_CODE))))
    over, under = brightest >= 1, brightest < floor
    return np.stack([over, under, ~(over | under)], -1).astype(np.float32)


def washed(codes: Codes, black: float, white: float) -> Codes:
    """Codes with black raised and white lowered to these, ``uint8``."""
    table = np.rint((black + (white - black) * np.arange(256) / 255) * 255).astype(np.uint8)
    return np.asarray(table[codes])


def photograph(view: Floats, config: Config, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """A virtual photo of a view and its truth, both at the view's size: ``uint8`` codes and :func:`truth_of`."""
    camera = config.camera.draw(view, rng)
    if rng.random() < config.whites:
        exposed = white_surfaces(camera.exposed(view), rng)
        factors = np.maximum(camera.exposed(np.ones_like(view[:1, :1])), 1e-12)
        view = np.asarray(exposed / factors, dtype=np.float32)
    codes = replace(camera, jpeg_quality=None).shoot(view, rng)
    if rng.random() < config.washed_out:
        codes = washed(codes, rng.uniform(0, 0.12), rng.uniform(0.8, 1.0))
    if camera.jpeg_quality is not None:
        codes = jpeg_round_trip(codes, camera.jpeg_quality)
    return codes, truth_of(camera.exposed(view), camera)


class Segmentation:
    """See the module's docstring."""

    name = "segmentation"
    averaged = ("segmentation",)
    domains: tuple[Domain, ...] = ("hdr",)
    takes_pairs = False  # of a given pair it is not known what the sensor lost
    phases = ("g",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.batch_size = self.views_per_batch = config.batch_size
        self.networks = nn.ModuleDict({"segmentation": exposure_segmenter.build(config.network)})

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.view_size

    def guides(self) -> dict[str, str]:
        """None."""
        return {}

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """``ldr``: codes in [0, 1]; ``truth``: shares of each pixel that are over, under, normal. ``(S, S, 3) float32``."""
        codes, truth = photograph(views["hdr"], self.config, rng)
        size, side = self.config.working_size, codes.shape[0]
        if rng.random() < 0.5 and side > size:
            top, left = (int(v) for v in rng.integers(side - size + 1, size=2))
            part = (slice(top, top + size), slice(left, left + size))
            codes, truth = codes[part], truth[part]
        shape = (size, size)
        ldr = area_mean(np.ascontiguousarray(codes), shape).astype(np.float32) / np.float32(255)
        return [{"ldr": ldr, "truth": area_mean(np.ascontiguousarray(truth), shape)}]

    def see(self, pictures: Pictures) -> None:
        """Looks at views alone."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        parameters = list(self.networks.parameters())
        return {"g": torch.optim.Adam(parameters, self.config.learning_rate, fused=fused(parameters))}

    def trained(self, phase: str) -> tuple[str, ...]:
        """The segmenter."""
        return ("segmentation",)

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """Cross-entropy and 1 - soft IoU, of a whole batch, since many photos have nothing of a class; IoU of over to log."""
        logits = self.networks["segmentation"](batch["ldr"]).float()
        truth = batch["truth"]
        entropy = -(truth * functional.log_softmax(logits, 1)).sum(1).mean()
        chances = logits.softmax(1)
        whole = (plane.transpose(0, 1).flatten(1)[None, :, :, None] for plane in (truth, chances))
        overlap = 1 - mean_soft_iou(*whole).mean()
        with torch.no_grad():
            said, right = logits.argmax(1) == 0, truth[:, 0] > 0.5
            iou = (said & right).sum() / (said | right).sum().clamp(min=1)
        return {
            "loss": entropy + self.config.iou_weight * overlap,
            "entropy": entropy,
            "overlap": overlap,
            "iou_over": iou.float(),
        }

    def state(self) -> dict[str, Any]:
        """Nothing beside network and optimiser."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""

    @torch.no_grad()
    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """Photo | over: truth, answer | under: truth, answer: four of the batch."""
        ldr, truth = (batch[name][:4].float() for name in ("ldr", "truth"))
        answer = networks["segmentation"](ldr).float().softmax(1)
        planes = [p[:, i : i + 1].expand(-1, 3, -1, -1) for i in (0, 1) for p in (truth, answer)]
        rows = torch.cat([ldr, *planes], 3).permute(0, 2, 3, 1).flatten(0, 1)
        return np.asarray((rows.clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture and options as plain values."""
        return {"architecture": "exposure_segmenter", "recipe": self.name, "options": asdict(self.config)}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """The segmenter: no generator, so there is no bundle; its weights go to segmentation.safetensors."""
        made = Export(
            network=networks["segmentation"],
            architecture="exposure_segmenter",
            network_config=asdict(self.config.network),
            file="segmentation.onnx",
            inputs=("ldr",),
            working_size=self.config.working_size,
            multiple=4,
            peak=1.0,
        )
        return (made,)


def _check_together(config: Config) -> None:
    """Raises UsageError for options that don't fit each other."""
    if config.working_size > config.view_size:
        remedy = f"use {config.view_size} or less, or a larger view_size"
        fault = f"{config.working_size} is more than view_size {config.view_size}"
        raise UsageError(fault, where="working_size", remedy=remedy)


def build(config: Config) -> Segmentation:
    """The objective with a fresh network. Raises UsageError for options that don't fit each other."""
    _check_together(config)
    return Segmentation(config)
