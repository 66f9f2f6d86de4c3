"""The hybrid autoencoder in training: a pretrained encoder that stays as it is, and a decoder that learns from pairs.

Demirci and Dere, "Single LDR image to HDR translation". Their loss is 2 L1 + 3 LPIPS of what tanh gives, in [-1, 1]; the L1 may
be weighted by an alpha map. Decisions (D) where they are silent or nothing can be had:

* D: alpha is Eilertsen et al. 2017, "HDR image reconstruction from a single exposure using deep CNNs", Eq. 2, whose work they
  follow: max(0, max over channels of the codes - 0.95) / 0.05.
* They say LPIPS on VGG19; the published one is on VGG16. Without its weights the term is off, and the run says so.
* Without weights for the encoder it learns with the rest, from random ones: a random encoder that stays as it is sees nothing.
* D: ``highlight_weight``, ``gradient_weight`` and ``border_weight`` are those of :mod:`hdrcli.training.objectives.paired`, 0 as
  theirs: L1 in T or in logarithms says little of how many stops a highlight lies off, least of all where few values are lost.

The truth is that of :mod:`hdrcli.training.objectives._pairs`. Where a cell of the working image lost something, it is the mean
of what was lost, as in "paired".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrcli.camera import CameraDistribution
from hdrcli.color import STOPS_FLOOR
from hdrcli.errors import MissingRequirement, UsageError
from hdrcli.networks import _backbone, lpips, mobilenet_autoencoder, mobilenetv3, vgg
from hdrcli.networks.feedback_unet import from_t, linear_to_srgb, srgb_to_linear, within
from hdrcli.networks.mobilenet_autoencoder import signal_as_t, signal_of
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.objectives import _pairs, _stops
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain

ALPHA_FROM = 0.95  # code: tau of Eilertsen et al. 2017, Eq. 2
_STOPS_TERMS = ("highlight", "gradient", "border")


@dataclass(frozen=True)
class Config:
    """Options of the recipe "hybrid"; the defaults are the authors' numbers.

    ``encoder_weights``: torchvision's file of MobileNetV3-Large, or a folder with it. ``frozen``: the encoder stays as it is;
    "auto": if it has weights. ``lpips_weights``: torchvision's file of VGG16, or a folder; else torch's cache.
    ``working_size``: side of the working image. ``view_size``: of the photos before they are reduced to it.
    ``photos_per_view``: virtual photos taken of each view. ``alpha_map``, ``l1_weight`` ... ``border_weight``: see the
    module's docstring. ``upside_down``: views are flipped half of the time.

    Raises UsageError for an option that is wrong whatever the others are; what must fit together is checked by :func:`build`.
    """

    network: mobilenet_autoencoder.Config = field(default_factory=mobilenet_autoencoder.Config)
    encoder_weights: str = ""
    frozen: Literal["auto", "yes", "no"] = "auto"
    lpips_weights: str = ""
    working_size: int = 512
    view_size: int = 512
    photos_per_view: int = 1
    batch_size: int = 16
    learning_rate: float = 9e-4
    l1_weight: float = 2.0
    alpha_map: bool = False
    lpips_weight: float = 3.0
    highlight_weight: float = 0.0
    gradient_weight: float = 0.0
    border_weight: float = 0.0
    upside_down: bool = True
    camera: CameraDistribution = field(default_factory=CameraDistribution)

    def __post_init__(self) -> None:
        for name in ("photos_per_view", "batch_size", "working_size", "view_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{getattr(self, name)} is below 1", where=name, remedy="use 1 or more")
        if self.working_size > 4096:
            raise UsageError(f"{self.working_size} is above 4096", where="working_size", remedy="use less")
        if not self.learning_rate > 0:
            raise UsageError(f"{self.learning_rate:g} is not above 0", where="learning_rate", remedy="use more")
        for name in ("l1_weight", "lpips_weight", *(f"{term}_weight" for term in _STOPS_TERMS)):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{getattr(self, name):g} is negative", where=name, remedy="use 0 or more; 0 leaves it out")


def _check_together(config: Config) -> None:
    """Raises UsageError for options that don't fit each other."""
    size, multiple = config.working_size, config.network.multiple
    _pairs.check_sizes(size, config.view_size, multiple)
    _pairs.check_batch(config.batch_size, config.photos_per_view)
    if config.frozen == "yes" and not config.encoder_weights:
        remedy = f"name torchvision's {mobilenetv3.PUBLISHED} with encoder_weights, or let it learn: frozen=auto"
        raise UsageError("an encoder of random weights that never learns sees nothing", where="frozen", remedy=remedy)
    if config.batch_size == 1 and size == multiple and not _stays(config):
        raise UsageError(
            "batch norm needs more than one value", where="batch_size", remedy="use more, or a larger working_size"
        )
    if not config.l1_weight and not any(getattr(config, f"{term}_weight") for term in _STOPS_TERMS):
        remedy = "give l1_weight or highlight_weight a value above 0"
        raise UsageError("nothing says which values are right", where="l1_weight", remedy=remedy)


def _stays(config: Config) -> bool:
    """Does the encoder stay as it is?"""
    return bool(config.encoder_weights) if config.frozen == "auto" else config.frozen == "yes"


def alpha_map(codes: Tensor) -> Tensor:
    """0 up to a code of 0.95 of the brightest channel, 1 at 1, linear between: ``(N, 3, H, W)`` -> ``(N, 1, H, W)``."""
    return ((codes.amax(1, keepdim=True) - ALPHA_FROM) / (1 - ALPHA_FROM)).clamp(min=0)


def _darker(light: Tensor) -> Tensor:
    """Radiance three stops darker, as sRGB codes: what a screen shows of highlights."""
    return linear_to_srgb((light / 8).clamp(0, 1))


def _named(path: Path) -> str:
    """A file on a card: its name and what is in it, not where it lies."""
    with path.open("rb") as file:
        return f"{path.name}, SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


class Hybrid:
    """G_Y alone, supervised. See the module's docstring."""

    name = "hybrid"
    averaged = ("g_y",)
    domains: tuple[Domain, ...] = ("hdr",)
    phases = ("g",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.batch_size = config.batch_size
        self.views_per_batch = config.batch_size // config.photos_per_view
        network = mobilenet_autoencoder.build(config.network)
        self._encoder = "random at the start, trained with the rest"
        if config.encoder_weights:
            path = _backbone.find(mobilenetv3.PUBLISHED, Path(config.encoder_weights))
            network.encoder.load_state_dict(mobilenetv3.load(path).state_dict())
            self._encoder = f"{'frozen' if _stays(config) else 'trained with the rest'}, from {_named(path)}"
        if _stays(config):
            network.freeze()
        self.networks = nn.ModuleDict({"g_y": network})
        self._lpips, self._lpips_told, self._lpips_why = _perceptual(config)

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.view_size

    def guides(self) -> dict[str, str]:
        """Where the encoder comes from, and whether there is an LPIPS."""
        return {"encoder": self._encoder, "LPIPS": self._lpips_told + self._lpips_why}

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """``photos_per_view`` photos of this view, or the given one, at working resolution: see :func:`reduced`."""
        return [self._sample(views, rng) for _ in range(self.config.photos_per_view)]

    def _sample(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        config = self.config
        # views are mirrored already
        if config.upside_down and rng.random() < 0.5:
            views = {name: np.ascontiguousarray(view[::-1]) for name, view in views.items() if name in ("ldr", "hdr")}
        return _pairs.reduced(*_pairs.photo_and_truth(views, config.camera, rng, config.network.peak), config.working_size)

    def see(self, pictures: Pictures) -> None:
        """Looks at views alone."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam, betas 0.5 and 0.999, on what learns."""
        parameters = self._network.learned()
        return {"g": torch.optim.Adam(parameters, self.config.learning_rate, betas=(0.5, 0.999), fused=fused(parameters))}

    @property
    def _network(self) -> mobilenet_autoencoder.MobileNetAutoencoder:
        return self.networks["g_y"]  # type: ignore[return-value]

    def trained(self, phase: str) -> tuple[str, ...]:
        """G_Y; its encoder, if frozen, gets no gradients for all that."""
        return ("g_y",)

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """The weighted sum, and its terms as they are: ``l1`` and ``lpips`` (in [-1, 1]), those in stops."""
        signal = self._network.signal(batch["ldr"], batch["clip"]).float()
        terms = self.losses(signal, batch)
        total = torch.stack([getattr(self.config, f"{name}_weight") * value for name, value in terms.items()]).sum()
        return {"loss": total, **terms}

    def losses(self, signal: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms that have a weight. ``signal``: see :meth:`MobileNetAutoencoder.signal`."""
        config, stops = self.config, batch["stops"]
        target = signal_of((torch.exp2(stops) - STOPS_FLOOR).clamp(min=0), config.network)
        terms: dict[str, Tensor] = {}
        if config.l1_weight:
            difference = 2 * (signal - target).abs()  # tanh reaches from -1 to 1
            terms["l1"] = (alpha_map(batch["ldr"]) * difference if config.alpha_map else difference).mean()
        if self._lpips is not None:
            self._lpips = self._lpips.to(signal.device)
            terms["lpips"] = self._lpips(within(signal), within(target)).mean()
        if wanted := [name for name in _STOPS_TERMS if getattr(config, f"{name}_weight")]:
            error = _stops.error_of(signal_as_t(signal, config.network), stops, config.network.peak)
            found = _stops.terms_of(error, batch["lost"], (batch["lost"] <= 0).to(error.dtype))
            terms |= {name: getattr(found, name) for name in wanted}
        return terms

    def state(self) -> dict[str, Any]:
        """Nothing beside networks and optimiser."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""

    @torch.no_grad()
    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """Photo | the photo linearised | G_Y's answer | truth, these three 3 stops darker: four of the batch."""
        ldr, clip, stops = (batch[name][:4].float() for name in ("ldr", "clip", "stops"))
        answer = from_t(networks["g_y"](ldr, clip).float(), self.config.network.peak)
        truth = torch.exp2(stops) - STOPS_FLOOR
        rows = torch.cat([ldr, *(_darker(light) for light in (srgb_to_linear(ldr), answer, truth))], 3).permute(0, 2, 3, 1)
        return np.asarray((rows.flatten(0, 1).clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture and options as plain values; files by name and content; what a card must say in words."""
        options = asdict(self.config)
        for name in ("encoder_weights", "lpips_weights"):
            del options[name]
        options |= {"encoder": self._encoder, "lpips": self._lpips_told}
        if self.config.network.target == "minmax_log":
            brightest = self.config.network.brightest
            options["scale"] = (
                f"the target, log(1 + y) between the picture's extremes, has none: 0 is given back as y = 0, 1 as {brightest:g}"
            )
        return {"architecture": "mobilenet_autoencoder", "recipe": self.name, "options": options}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """G_Y as it goes into a bundle."""
        inputs = ("ldr", "clip") if self.config.network.clip_map else ("ldr",)
        return (
            Export.of(
                networks["g_y"],
                architecture="mobilenet_autoencoder",
                file="g_y.onnx",
                inputs=inputs,
                working_size=self.config.working_size,
            ),
        )


def _perceptual(config: Config) -> tuple[lpips.LPIPS | None, str, str]:
    """LPIPS if it is wanted and can be had; what a card says of it; and more on that for those who are there.

    Raises what :func:`hdrcli.networks.lpips.load` does, if weights are asked for by path.
    """
    if not config.lpips_weight:
        return None, "left out", ""
    given = Path(config.lpips_weights) if config.lpips_weights else None
    try:
        found = lpips.load("vgg", given)
    except MissingRequirement as error:
        if given is not None:
            raise
        return None, "off: its weights were not at hand", f" ({error})"
    return found, f"VGG16, {_named(_backbone.find(vgg.PUBLISHED, given))}", ""


def build(config: Config) -> Hybrid:
    """The objective with fresh networks, or the encoder's weights.

    Raises UsageError for options that don't fit each other; MissingModel, ModelError for files of weights that aren't there or
    aren't what they should be.
    """
    _check_together(config)
    return Hybrid(config)
