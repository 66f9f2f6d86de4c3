"""Toning: G_X learns to tone-map from HDR scenes alone, by what makes tone-mapped pictures good (TMQI, differentiable).

LLM-HDR's G_X learns to take photos of scenes, clipped highlights included, since that is what LDR photos look like. Who
tone-maps wants to see what is in the highlights. So here no photo is a model: structure must be that of the scene, brightness
and contrast those of natural pictures (Yeganeh and Wang 2013).

What is judged is not the network's picture but what :mod:`hdrcli.inference.learned` makes of it: the scene in its own colours,
with a gain of luminance that follows the scene's edges. So a network can't learn what is lost on the way.

The scene is shown to the network at the exposure that it is shown at there, give or take some stops, and pictures of scenes
that were exposed darker or brighter shall be so: else ``--ev`` would do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.inference.generator import to_t
from hdrcli.inference.learned import FLAT, FLOOR, RADIUS, automatic_exposure
from hdrcli.losses.tmqi import luminance, naturalness_loss, structure_loss
from hdrcli.networks import feedback_unet
from hdrcli.networks.feedback_unet import from_t, linear_to_srgb, photograph, srgb_to_linear
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain

_LEAST_SIDE = 176  # TMQI's window must fit into the coarsest of its five scales
_GAMMA = 2.4  # a stop of light is a factor of 2^(1/2.4) in codes


@dataclass(frozen=True)
class Config:
    """Options of toning.

    ``network``: G_X. ``working_size``: side of the images. ``structure_weight``, ``naturalness_weight``: of 1 - S and -log N.
    ``smooth_weight``: of :func:`unevenness`. ``exposures``: stops either way that scenes are shown at. ``halvings``: pictures
    are judged as if they had 2^n times the working size, which is what they are looked at, at least.

    Raises UsageError for options out of range.
    """

    network: feedback_unet.Config = field(
        default_factory=lambda: feedback_unet.Config(
            direction="tonemap",
            width=16,
            iterations=1,
            gates=False,
            norm="none",
            stem=4,
            context=True,
            toned="log",
            padding="replicate",
        )
    )
    working_size: int = 256
    batch_size: int = 4
    learning_rate: float = 1e-3
    structure_weight: float = 1.0
    naturalness_weight: float = 0.1
    smooth_weight: float = 2.0
    exposures: float = 2.0
    halvings: int = 1

    def __post_init__(self) -> None:
        network = self.network
        if network.direction != "tonemap" or network.gates or network.embedding or network.clip_map:
            remedy = "use direction=tonemap without gates, embedding and clip_map"
            raise UsageError("toning makes LDR from HDR, without guides", where="network", remedy=remedy)
        for name, least in (("working_size", _LEAST_SIDE), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        if not 0 <= self.halvings <= 3:
            raise UsageError(f"{self.halvings} is not within 0..3", where="halvings", remedy="1 is usual")
        if not self.learning_rate > 0:
            raise UsageError(f"{self.learning_rate:g} is not above 0", where="learning_rate", remedy="use more")
        for name in ("structure_weight", "naturalness_weight", "smooth_weight", "exposures"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{getattr(self, name):g} is negative", where=name, remedy="use 0 or more")


def applied(codes: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
    """What :class:`hdrcli.inference.learned.Toning` makes of a network's picture of a scene, at the size of both.

    ``codes`` in [0, 1], ``light`` in LDR whites, ``(N, 3, H, W)`` both. Gives luminance in [0, 1], ``(N, 1, H, W)``, and the
    gain that led to it, in stops. Colours are the scene's.
    """
    scene = luminance(light)
    guide = torch.log2(scene + FLOOR)
    gain = torch.log2(luminance(srgb_to_linear(codes)) + FLOOR) - guide
    mean, mean_gain = _box(guide), _box(gain)
    variance = (_box(guide * guide) - mean * mean).clamp(min=0)
    slope = (_box(guide * gain) - mean * mean_gain) / (variance + FLAT)
    stops = _box(slope) * guide + _box(mean_gain - slope * mean)
    return (scene * torch.exp2(stops)).clamp(max=1), stops


def _box(plane: Tensor) -> Tensor:
    padded = functional.pad(plane, [RADIUS] * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * RADIUS + 1, stride=1)


def unevenness(gain: Tensor, light: Tensor) -> Tensor:
    """How much a gain, in stops, differs from pixel to pixel where the scene does not: halos, and shadows from nowhere.

    Mean over pairs of neighbours of the gain's absolute difference times exp(-2 d), d: the scene's difference in stops. Without
    it TMQI is glad of every gradient of a sky that is steeper than the sky's. (A term about nothing but contrast beyond the
    scene's leaves skies darker still, at the same TMQI.)
    """
    scene = torch.log2(luminance(light) + 2.0**-10)
    parts = [(gain.diff(dim=d).abs() * torch.exp(-2 * scene.diff(dim=d).abs())).mean() for d in (2, 3)]
    return torch.stack(parts).sum()


class Toning:
    """The system. See the module's docstring."""

    name = "toning"
    averaged = ("g_x",)
    domains: tuple[Domain, ...] = ("hdr",)
    phases = ("g",)
    takes_pairs = False

    def __init__(self, config: Config) -> None:
        self.config = config
        self.batch_size = self.views_per_batch = config.batch_size
        self.networks = nn.ModuleDict({"g_x": feedback_unet.build(config.network)})

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.working_size

    def guides(self) -> dict[str, str]:
        """None."""
        return {}

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """``t``: the scene in T, ``(S, S, 3)``; ``ev``: stops that it is exposed more than usual, ``(1, 1, 1)``."""
        peak, most = self.config.network.peak, self.config.exposures
        light = np.maximum(views["hdr"], 0)
        ev = rng.uniform(-most, most) if rng.random() < 0.5 else 0.0
        exposed = light * np.float32(automatic_exposure(light) * 2.0**ev)
        t = to_t(np.minimum(exposed, np.float32(peak)), peak)
        return [{"t": t.astype(np.float32), "ev": np.full((1, 1, 1), ev, np.float32)}]

    def see(self, pictures: Pictures) -> None:
        """Looks at views alone."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        parameters = list(self.networks.parameters())
        return {"g": torch.optim.Adam(parameters, self.config.learning_rate, (0.9, 0.99), fused=fused(parameters))}

    def trained(self, phase: str) -> tuple[str, ...]:
        """G_X."""
        return ("g_x",)

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """The weighted sum of all iterations' terms, and the terms."""
        config = self.config
        light = from_t(batch["t"], config.network.peak)
        brighter = torch.exp2(batch["ev"].flatten() / _GAMMA).clamp(max=1.8)
        terms: dict[str, list[Tensor]] = {"structure": [], "naturalness": [], "smooth": []}
        for image in self.networks["g_x"].iterate(batch["t"]):  # type: ignore[operator]
            shown, gain = applied(image.float().clamp(0, 1), light)
            codes = linear_to_srgb(shown).expand(-1, 3, -1, -1)
            terms["structure"].append(structure_loss(light, codes, config.halvings))
            terms["naturalness"].append(naturalness_loss(codes, brighter, config.halvings))
            terms["smooth"].append(unevenness(gain, light))
        means = {name: torch.stack(values).mean() for name, values in terms.items()}
        total = torch.stack([getattr(config, f"{name}_weight") * value for name, value in means.items()]).sum()
        return {"loss": total, **means}

    def state(self) -> dict[str, Any]:
        """Nothing beside networks and optimiser."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""

    @torch.no_grad()
    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """The scene as a photo, the same 3 stops darker, what G_X makes of it: four of the batch."""
        t, peak = batch["t"][:4].float(), self.config.network.peak
        darker = linear_to_srgb((from_t(t, peak) / 8).clamp(0, 1))
        light = from_t(t, peak)
        shown, _ = applied(networks["g_x"](t).float(), light)
        toned = linear_to_srgb((light * (shown / luminance(light).clamp(min=1e-6))).clamp(0, 1))
        rows = torch.cat([photograph(t, peak), darker, toned], 3).permute(0, 2, 3, 1)
        return np.asarray((rows.flatten(0, 1).clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture and options as plain values."""
        return {"architecture": "feedback_unet", "recipe": self.name, "options": asdict(self.config)}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """G_X."""
        size = self.config.working_size
        architecture = self.describe()["architecture"]
        return (Export.of(networks["g_x"], architecture=architecture, file="g_x.onnx", inputs=("t",), working_size=size),)


def build(config: Config) -> Toning:
    """The objective with fresh networks. Raises UsageError for options that don't fit each other."""
    if config.working_size % config.network.multiple:
        fault = f"{config.working_size} is no multiple of {config.network.multiple}, as the network needs"
        raise UsageError(fault, where="working_size", remedy="use a multiple, or another network.stem")
    return Toning(config)
