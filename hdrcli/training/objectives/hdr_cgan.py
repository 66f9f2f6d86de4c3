"""HDR-cGAN: a conditional GAN on photos and their light. G_Y is the pipeline of :mod:`hdrcli.networks.hdr_cgan`.

Sections and equations are those of the paper; where it is silent, decisions (D) are those of the project's specification. All
losses are on T(H), mu = 5000, T(peak) = 1 (Eq. 5). G's loss is Eq. 6:

==========  =====================================================================  =======================================
term        what                                                                   weight
==========  =====================================================================  =======================================
gan         D on the photo and T of what G made of it (Eq. 7), not saturating      gan_weight (0: no D)
l1          mean absolute difference of T (Eq. 9)                                  l1_weight, lambda 1
perceptual  distance of what VGG16's poolings give of T (Eq. 10)                   l1_weight * perceptual_weight, lambda 2
highlights  root mean square error in stops over what clipped (not in the paper)   highlights_weight
==========  =====================================================================  =======================================

D, a 70 x 70 PatchGAN on photo and T side by side, minimises the mean of its losses on real and on made light (3.1). Photos and
light are pairs that are given, or HDR scenes seen through the virtual camera, or through Eq. 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.camera import CameraDistribution, Codes, Floats
from hdrcli.color import STOPS_FLOOR
from hdrcli.errors import MissingModel, UsageError
from hdrcli.losses import mean_l1
from hdrcli.losses.adversarial import discriminator_side, generator_side
from hdrcli.networks import hdr_cgan, patchgan, vgg
from hdrcli.networks._backbone import normalised
from hdrcli.networks.feedback_unet import from_t, linear_to_srgb, srgb_to_linear, to_t
from hdrcli.networks.vgg import VGG16
from hdrcli.perception import segmentation
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.objectives import _pairs, _stops
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain

EXPOSURES = (2**0.5, 2.0, 4.0, 16.0)  # t of Eq. 11
_GAMMA = 2.2
_POOLINGS = tuple(vgg.TAPS)  # each is followed by a pooling
_SMALLEST = 32  # pixels: five poolings halve


@dataclass(frozen=True)
class Config:
    """Options of HDR-cGAN; the defaults are the paper's numbers.

    ``network``: G_Y; ``discriminator``: D. ``working_size``: side of the images, ``view_size``: of the photos before they are
    reduced to it. ``gan_weight`` ... ``highlights_weight``: see the module's docstring. ``data``: what takes photos of HDR
    scenes where no pairs are given, "camera" (the virtual camera, its distribution in ``camera``) or "eq11". ``vgg_weights``:
    torchvision's file of VGG16's weights, or its folder; "" for torch's cache, "none" for none. Without weights in the cache
    the perceptual term is left out. ``segmenter_weights``: for ``network.mask=segmentation``, what the guide ``segmentation``
    takes as weights.

    Raises UsageError for an option that is wrong whatever the others are; what must fit together is checked by :func:`build`.
    """

    network: hdr_cgan.Config = field(default_factory=hdr_cgan.Config)
    discriminator: patchgan.Config = field(default_factory=lambda: patchgan.Config(inputs=6))
    working_size: int = 256
    view_size: int = 512
    batch_size: int = 1
    learning_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    gan_weight: float = 1.0
    l1_weight: float = 100.0
    perceptual_weight: float = 0.005
    highlights_weight: float = 0.0
    data: Literal["camera", "eq11"] = "camera"
    vgg_weights: str = ""
    camera: CameraDistribution = field(default_factory=CameraDistribution)
    segmenter_weights: str = ""

    def __post_init__(self) -> None:
        if self.discriminator.inputs != 6:
            remedy = "leave it at 6"
            raise UsageError("D sees the photo and its light, 3 channels each", where="discriminator.inputs", remedy=remedy)
        for name, least in (("working_size", _SMALLEST), ("view_size", _SMALLEST), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        if self.working_size > 4096:
            raise UsageError(f"{self.working_size} is above 4096", where="working_size", remedy="use less")
        for name in ("learning_rate", "discriminator_rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{getattr(self, name):g} is not above 0", where=name, remedy="use more")
        for name in ("gan_weight", "l1_weight", "perceptual_weight", "highlights_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{getattr(self, name):g} is negative", where=name, remedy="use 0 or more; 0 leaves it out")


def _check_together(config: Config) -> None:
    """Raises UsageError for options that don't fit each other."""
    size, multiple, network = config.working_size, config.network.multiple, config.network
    _pairs.check_sizes(size, config.view_size, multiple, ", or another network.stem")
    if not any((config.gan_weight, config.l1_weight, config.highlights_weight)):
        raise UsageError("all losses are left out", where="l1_weight", remedy="give one of them a weight above 0")
    if network.mask == "clip" and not network.clip_map:
        raise UsageError("the mask clip is made from the clip map", where="network.mask", remedy="use network.clip_map=true")
    if network.stem > 1 and not network.residual:
        remedy = "use network.residual=true, or network.stem=1"
        raise UsageError("whole images that small would come out blurred", where="network.stem", remedy=remedy)
    if network.norm == "batch" and config.batch_size == 1 and size == multiple:
        raise UsageError("batch norm needs more than one value", where="network.norm", remedy="use a larger batch_size")


def gamma_photo(radiance: Floats, time: float, peak: float) -> tuple[Codes, Floats]:
    """Eq. 11 at 8 bits: Z = clip((H t)^(1/2.2)); and H t at the photo's exposure, 0..``peak``. ``(S, S, 3)`` each."""
    exposed = np.maximum(radiance, 0) * np.float32(time)
    codes = np.rint(np.clip(exposed, 0, 1) ** np.float32(1 / _GAMMA) * 255).astype(np.uint8)
    return codes, _pairs.at_exposure_of(codes, exposed, peak)


def feature_distance(network: VGG16, made: Tensor, truth: Tensor) -> Tensor:
    """Eq. 10: the L2 distance of what VGG16's five poolings give of T, summed over them.

    D: per value (root mean square), so that it depends neither on the image's size nor on the layer's; T is normalised as the
    codes that VGG16 was trained on. Mean over images. The gradient goes to ``made``.
    """
    with torch.no_grad():
        expected = network(normalised(truth), _POOLINGS)
    found = network(normalised(made), _POOLINGS)
    total = made.new_zeros(())
    for name in _POOLINGS:
        difference = functional.max_pool2d(found[name], 2) - functional.max_pool2d(expected[name], 2)
        total = total + (difference.square().mean((1, 2, 3)) + 1e-8).sqrt().mean()
    return total


class HdrCgan:
    """The system. See the module's docstring."""

    name = "hdr_cgan"
    averaged = ("g_y",)
    domains: tuple[Domain, ...] = ("hdr",)

    def __init__(self, config: Config) -> None:
        segmenter = None
        if config.network.mask == "segmentation":
            segmenter = segmentation.load(Path(config.segmenter_weights) if config.segmenter_weights else None)
            config = replace(config, network=replace(config.network, segmenter_width=segmenter.config.width))
        self.config = config
        self.batch_size = self.views_per_batch = config.batch_size
        generator = hdr_cgan.build(config.network)
        if segmenter is not None:
            assert generator.segmenter is not None
            generator.segmenter.load_state_dict(segmenter.state_dict())
        networks: dict[str, nn.Module] = {"g_y": generator}
        self.phases: tuple[str, ...] = ("g", "d") if config.gan_weight else ("g",)
        if config.gan_weight:
            networks["d_y"] = patchgan.build(config.discriminator)
        self.networks = nn.ModuleDict(networks)
        self._features, self._about_features = _perceptual_network(config)
        self._made: dict[int, Tensor] = {}

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.view_size

    def guides(self) -> dict[str, str]:
        """Where the mask comes from, and whether there is a perceptual term."""
        return {"mask": f"{self.config.network.mask}, inside the network", "perceptual loss": self._about_features}

    # data -----------------------------------------------------------------------------------------------------------------

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """One photo and its light: see :func:`_pairs.reduced`."""
        config, peak = self.config, self.config.network.peak
        if config.data == "eq11" and "ldr" not in views:
            codes, light = gamma_photo(views["hdr"], EXPOSURES[rng.integers(len(EXPOSURES))], peak)
        else:
            codes, light = _pairs.photo_and_truth(views, config.camera, rng, peak)
        return [_pairs.reduced(codes, light, config.working_size)]

    def see(self, pictures: Pictures) -> None:
        """Looks at views alone."""

    # losses ---------------------------------------------------------------------------------------------------------------

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """The weighted total of the phase, and its terms as they are."""
        return self._discriminator(batch, part) if phase == "d" else self._generator(batch, part)

    def _generate(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> Tensor:
        inputs = (batch["ldr"], batch["clip"]) if self.config.network.clip_map else (batch["ldr"],)
        made: Tensor = networks["g_y"](*inputs)
        return made.float()

    def _truth(self, batch: Mapping[str, Tensor]) -> Tensor:
        return to_t((torch.exp2(batch["stops"]) - STOPS_FLOOR).clamp(min=0), self.config.network.peak)

    def _generator(self, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        config = self.config
        made, truth = self._generate(self.networks, batch), self._truth(batch)
        terms = {"l1": mean_l1(made, truth)}
        total = config.l1_weight * terms["l1"]
        if config.gan_weight:
            self._made[part] = made.detach()
            terms["gan"] = generator_side(self._judged(batch["ldr"], made))
            total = total + config.gan_weight * terms["gan"]
        if self._features is not None:
            self._features.to(made.device)
            terms["perceptual"] = feature_distance(self._features, made, truth)
            total = total + config.l1_weight * config.perceptual_weight * terms["perceptual"]
        if config.highlights_weight:
            error = _stops.error_of(made, batch["stops"], config.network.peak)
            terms["highlights"] = _stops.terms_of(error, batch["lost"], torch.zeros_like(error)).highlight
            total = total + config.highlights_weight * terms["highlights"]
        return {"loss": total, **terms}

    def _discriminator(self, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        real = self._judged(batch["ldr"], self._truth(batch))
        fake = self._judged(batch["ldr"], self._made.pop(part))
        return {"loss": discriminator_side(real, fake) / 2}

    def _judged(self, photo: Tensor, light: Tensor) -> Tensor:
        logits: Tensor = self.networks["d_y"](2 * torch.cat([photo, light], 1) - 1)
        return logits.float()

    # optimisers, state ----------------------------------------------------------------------------------------------------

    def trained(self, phase: str) -> tuple[str, ...]:
        """G or D."""
        return ("d_y",) if phase == "d" else ("g_y",)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam, betas 0.5 and 0.999 (4.2)."""
        rates = {"g": self.config.learning_rate, "d": self.config.discriminator_rate}
        made: dict[str, torch.optim.Optimizer] = {}
        for phase in self.phases:
            parameters = [p for name in self.trained(phase) for p in self.networks[name].parameters()]
            made[phase] = torch.optim.Adam(parameters, rates[phase], betas=(0.5, 0.999), fused=fused(parameters))
        return made

    def state(self) -> dict[str, Any]:
        """Nothing beside networks and optimisers."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""

    # what comes out -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """Photo | mask | the photo linearised | E | M | H | truth, light three stops darker: four of the batch."""
        peak = self.config.network.peak
        few = {name: value[:4].float() for name, value in batch.items()}
        inputs = (few["ldr"], few["clip"]) if self.config.network.clip_map else (few["ldr"],)
        mask = networks["g_y"].mask(*inputs).expand_as(few["ldr"])  # type: ignore[operator]
        stages = [from_t(t.float().clamp(0, 1), peak) for t in networks["g_y"].stages(*inputs)]  # type: ignore[operator]
        truth = torch.exp2(few["stops"]) - STOPS_FLOOR
        lights = [linear_to_srgb((light / 8).clamp(0, 1)) for light in (srgb_to_linear(few["ldr"]), *stages, truth)]
        rows = torch.cat([few["ldr"], mask, *lights], 3).permute(0, 2, 3, 1).flatten(0, 1)
        return np.asarray((rows.clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture and options as plain values; of paths the last part alone."""
        paths = {name: Path(getattr(self.config, name)).name for name in ("vgg_weights", "segmenter_weights")}
        options = asdict(self.config) | paths | {"perceptual": self._about_features}
        return {"architecture": "hdr_cgan", "recipe": self.name, "options": options}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """G_Y, its mask inside."""
        config = self.config
        inputs = ("ldr", "clip") if config.network.clip_map else ("ldr",)
        made = Export.of(
            networks["g_y"], architecture="hdr_cgan", file="g_y.onnx", inputs=inputs, working_size=config.working_size
        )
        return (made,)


def _perceptual_network(config: Config) -> tuple[VGG16 | None, str]:
    """VGG16, or None, and a line about it. Raises MissingModel, ModelError where a file is asked for that can't be had."""
    if not config.perceptual_weight or not config.l1_weight or config.vgg_weights == "none":
        return None, "left out, as asked for"
    if config.vgg_weights:
        return vgg.load(Path(config.vgg_weights)), "VGG16"
    try:
        return vgg.load(None), "VGG16"
    except MissingModel:
        return None, f"left out: VGG16's weights are not in torch's cache; name the file {vgg.PUBLISHED} with vgg_weights"


def build(config: Config) -> HdrCgan:
    """The objective with fresh networks.

    Raises UsageError for options that don't fit each other; MissingModel or ModelError for weights of VGG16 or of the guide
    ``segmentation`` that are asked for and can't be had.
    """
    _check_together(config)
    return HdrCgan(config)


__all__ = ["EXPOSURES", "Config", "HdrCgan", "build", "feature_distance", "gamma_photo"]
