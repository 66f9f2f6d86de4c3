"""Paired: G_Y learns from HDR scenes and the photos that the virtual camera takes of them, or from given pairs of both.

The loss is on stops, log2(y + 2^-10), at working resolution:

* what clipped: per photo the root mean square error over lost channel values (each cell counts by its lost share, and its
  target is the mean of what was lost in it, so small lamps count and keep their light). A root per photo because that is
  what is scored; the square inside because an L1 loss in stops predicts medians, and highlights come out too timid;
* what was measured: L1. It teaches the photo's response curve, which tells where the highlights go on;
* gradients of the error, L1, over the whole and once more over what clipped and its border: a highlight may not end in an edge
  that the scene has not (a sky that grows brighter towards the sun must not get an island).

The truth is brought to the exposure of the linearised photo (:func:`hdrcli.camera.exposure_alignment`), since no network can
know a scene's absolute exposure, and capped at ``peak``. Given pairs come so; they are neither steepened nor lit by lamps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrcli.camera import CameraDistribution, Floats
from hdrcli.color import STOPS_FLOOR
from hdrcli.errors import UsageError
from hdrcli.networks import feedback_unet
from hdrcli.networks.feedback_unet import linear_to_srgb
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.objectives import _pairs, _stops
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain


@dataclass(frozen=True)
class Config:
    """Options of the recipe "paired"; the defaults made models/default.

    ``working_size``: side of the working image. ``view_size``: side of the photos before they are reduced to it.
    ``photos_per_view``: virtual photos taken of each view. ``steepened``: share of photos whose radiance above white is
    raised to a power of 0.85..1.5, ``lamps``: share with rendered lamps (the scenes hold few). ``measured_weight``,
    ``gradient_weight``, ``border_weight``: of these losses against that of what clipped.

    Raises UsageError for an option that is wrong whatever the others are; what must fit together is checked by :func:`build`,
    since options are set one by one.
    """

    network: feedback_unet.Config = field(
        default_factory=lambda: feedback_unet.Config(
            width=32, iterations=1, gates=False, norm="none", stem=4, clip_map=True, context=True
        )
    )
    working_size: int = 256
    view_size: int = 384
    photos_per_view: int = 2
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    steepened: float = 0.4
    lamps: float = 0.15
    measured_weight: float = 0.5
    gradient_weight: float = 0.25
    border_weight: float = 0.3
    camera: CameraDistribution = field(default_factory=CameraDistribution)

    def __post_init__(self) -> None:
        network = self.network
        if network.gates or network.embedding:
            where = "network.gates" if network.gates else "network.embedding"
            raise UsageError("gates and embedding need guides, which this recipe has not", where=where, remedy="leave it false")
        if network.direction != "expand":
            remedy = "leave it at expand"
            raise UsageError("this recipe trains the way from LDR to HDR only", where="network.direction", remedy=remedy)
        for name in ("photos_per_view", "batch_size", "working_size", "view_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{getattr(self, name)} is below 1", where=name, remedy="use 1 or more")
        if self.working_size > 4096:
            raise UsageError(f"{self.working_size} is above 4096", where="working_size", remedy="use less")
        if not self.learning_rate > 0:
            raise UsageError(f"{self.learning_rate:g} is not above 0", where="learning_rate", remedy="use more")
        for name in ("weight_decay", "measured_weight", "gradient_weight", "border_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{getattr(self, name):g} is negative", where=name, remedy="use 0 or more")
        for name in ("steepened", "lamps"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{getattr(self, name):g} is no share", where=name, remedy="use 0 to 1")


def _check_together(config: Config) -> None:
    """Raises UsageError for options that don't fit each other."""
    size, multiple = config.working_size, config.network.multiple
    _pairs.check_sizes(size, config.view_size, multiple, ", or another network.stem")
    _pairs.check_batch(config.batch_size, config.photos_per_view)
    if config.network.norm == "batch" and config.batch_size == 1 and size == multiple:
        raise UsageError("batch norm needs more than one value", where="network.norm", remedy="use a larger batch_size")


def steepen(exposed: Floats, power: float) -> Floats:
    """Radiance above white raised to a power: brighter or duller lights than the scenes hold, nothing else changed."""
    return np.where(exposed > 1, np.maximum(exposed, 1) ** np.float32(power), exposed)


def add_lamps(radiance: Floats, rng: np.random.Generator) -> Floats:
    """One to six small soft disks, 4 to 11 stops above the median, warm to neutral: ``(H, W, 3) float32``."""
    height, width = radiance.shape[:2]
    median = float(np.median(radiance)) + 1e-6
    out = radiance.copy()
    for _ in range(rng.integers(1, 7)):
        radius = float(np.exp(rng.uniform(np.log(1.0), np.log(0.04 * width))))
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        reach = int(np.ceil(radius * 3))
        y0, y1 = max(0, int(cy) - reach), min(height, int(cy) + reach + 1)
        x0, x1 = max(0, int(cx) - reach), min(width, int(cx) + reach + 1)
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        distance = np.hypot(y - cy, (x - cx) * rng.uniform(0.7, 1.4)) / radius
        profile = 1 / (1 + np.exp((distance - 1) * rng.uniform(4, 14))) + 0.002 * np.exp(-distance)
        warm = rng.uniform(0, 1)
        color = np.array([1, 1 - 0.35 * warm, 1 - 0.75 * warm], np.float32)
        light = median * 2 ** rng.uniform(4, 11) * profile[..., None] * color
        out[y0:y1, x0:x1] = np.maximum(out[y0:y1, x0:x1], light.astype(np.float32))
    return out


def photograph(view: Floats, config: Config, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """One virtual photo of a view and its truth, as :func:`_pairs.reduced` gives them."""
    if rng.random() < config.lamps:
        view = add_lamps(view, rng)
    camera = config.camera.draw(view, rng)
    exposed = camera.exposed(view)
    if rng.random() < config.steepened:
        power = rng.uniform(0.85, 1.5)
        exposed = steepen(exposed, power)
        factors = np.maximum(camera.exposed(np.ones_like(view[:1, :1])), 1e-12)
        view = np.asarray(exposed / factors, dtype=np.float32)
    codes = camera.shoot(view, rng)
    return _pairs.reduced(codes, _pairs.at_exposure_of(codes, exposed, config.network.peak), config.working_size)


def _darker(light: Tensor) -> Tensor:
    """Radiance three stops darker, as sRGB codes: what a screen shows of highlights."""
    return linear_to_srgb((light / 8).clamp(0, 1))


class Paired:
    """G_Y alone, supervised. See the module's docstring."""

    name = "paired"
    averaged = ("g_y",)
    domains: tuple[Domain, ...] = ("hdr",)
    phases = ("g",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.batch_size = config.batch_size
        self.views_per_batch = config.batch_size // config.photos_per_view
        self.networks = nn.ModuleDict({"g_y": feedback_unet.build(config.network)})

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.view_size

    def guides(self) -> dict[str, str]:
        """None."""
        return {}

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """``photos_per_view`` virtual photos of this view; of a pair, which has one photo, the view and parts of it."""
        if "ldr" in views:
            pair = _pairs.given(views, self.config.network.peak)
            more = range(self.config.photos_per_view - 1)
            size = self.config.working_size
            return [_pairs.reduced(*p, size) for p in (pair, *(_pairs.window(*pair, size, rng) for _ in more))]
        return [photograph(views["hdr"], self.config, rng) for _ in range(self.config.photos_per_view)]

    def see(self, pictures: Pictures) -> None:
        """Looks at views alone."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW on everything."""
        parameters, config = list(self.networks.parameters()), self.config
        decay = config.weight_decay
        adam = torch.optim.AdamW(parameters, config.learning_rate, (0.9, 0.99), weight_decay=decay, fused=fused(parameters))
        return {"g": adam}

    def trained(self, phase: str) -> tuple[str, ...]:
        """G_Y."""
        return ("g_y",)

    def losses(self, images: list[Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss terms, averaged over the feedback iterations' images (T domain)."""
        lost, peak = batch["lost"], self.config.network.peak
        measured = ((lost <= 0) & (batch["ldr"] > 0.02)).to(lost.dtype)
        each = [_stops.terms_of(_stops.error_of(i.float(), batch["stops"], peak), lost, measured) for i in images]
        return {name: torch.stack([getattr(terms, name) for terms in each]).mean() for name in _stops.Terms._fields}

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """The weighted sum of :meth:`losses`, and its terms."""
        images = self.networks["g_y"].iterate(batch["ldr"], batch["clip"])  # type: ignore[operator]
        terms = self.losses(images, batch)
        config = self.config
        total = terms["highlight"] + config.measured_weight * terms["measured"]
        total = total + config.gradient_weight * terms["gradient"] + config.border_weight * terms["border"]
        return {"loss": total, **terms}

    def state(self) -> dict[str, Any]:
        """Nothing beside networks and optimiser."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to take."""

    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """Photo | the photo linearised | G_Y's answer | truth, these three 3 stops darker: four of the batch."""
        peak = self.config.network.peak
        ldr, clip, stops = (batch[name][:4].float() for name in ("ldr", "clip", "stops"))
        answer = feedback_unet.from_t(networks["g_y"](ldr, clip).float(), peak)
        truth = torch.exp2(stops) - STOPS_FLOOR
        shown = [ldr, *(_darker(light) for light in (feedback_unet.srgb_to_linear(ldr), answer, truth))]
        rows = torch.cat(shown, 3).permute(0, 2, 3, 1)
        return np.asarray((rows.flatten(0, 1).clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture and options as plain values."""
        return {"architecture": "feedback_unet", "recipe": self.name, "options": asdict(self.config)}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """G_Y as it goes into a bundle."""
        config = self.config
        export = Export(
            network=networks["g_y"],
            architecture="feedback_unet",
            network_config=asdict(config.network),
            file="g_y.onnx",
            inputs=("ldr", "clip"),
            working_size=config.working_size,
            multiple=config.network.multiple,
            peak=config.network.peak,
        )
        return (export,)


def build(config: Config) -> Paired:
    """The objective with fresh networks. Raises UsageError for options that don't fit each other."""
    _check_together(config)
    return Paired(config)
