"""LLM-HDR: G_Y and G_X learn from unpaired LDR photos and HDR scenes. CycleGAN's two directions, with perception in the loop.

Sections and equations are those of the paper; where it is silent, decisions (D) are those of the project's specification.

A photo x goes X -> Y -> X, a scene y goes Y -> X -> Y: y^ = G_Y(x), x~ = G_X(y^); x^ = G_X(y), y~ = G_Y(x^). Y is in the T
domain throughout (Eq. 1), X is sRGB codes, both in [0, 1]. The generators' loss, Eq. 12, and what each term is switched by:

=================  ==========================================================================  ===========================
term               what                                                                        switch (0 or none: left out)
=================  ==========================================================================  ===========================
gan                D_Y(y^), D_X(x^) of the last iteration's images (Eq. 8, 9)                  gan_weight
cycle_x, cycle_y   L1 of x~ and x, y~ and y (Eq. 10), mean over iterations                     cycle_weight (lambda)
highlights         as cycle_y, where y is above LDR white alone (not in the paper)             highlights_weight
brightness         mean light that photos lost, less that of scenes (not in the paper)         brightness_weight
identity_x, _y     L1 of a target-domain image and what is made of it (Eq. 11), likewise       identity, identity_weight
contrastive        output against input, by embeddings or patches (Eq. 3, 4), both directions  embeddings, contrastive_weight
semantic           1 - mIoU of masks of input and output (Eq. 5-7), both directions            masks, semantic_weight
perception         artifact, flat and crushed areas of y^, artifacts of x^ (Eq. 2)             maps, perception_weight
=================  ==========================================================================  ===========================

The first of two generators in a cycle passes its last image on; the second one's images of all iterations count. So every
iteration of both is trained by pixels, at the price of one pass each.

Scenes are exposed as photos are, see :func:`exposed`. What an ablation of the paper leaves out or changes is one option:
docs/ablations.md has the command lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdrcli import perception, registry
from hdrcli.camera import Floats, exposure_for_share
from hdrcli.color import MU, luminance
from hdrcli.errors import UsageError
from hdrcli.image import CLIP_CODE
from hdrcli.losses import mean_l1
from hdrcli.losses.adversarial import discriminator_side, generator_side
from hdrcli.losses.contrastive import ALPHA, TAU, contrastive_loss
from hdrcli.losses.cycle import LAMBDA, cycle_loss
from hdrcli.losses.identity import WEIGHT, Identity, for_g_x, for_g_y
from hdrcli.losses.perception import ARTIFACT_ONLY, WEIGHTS, perception_loss
from hdrcli.losses.semantic import BETA, semantic_loss
from hdrcli.networks import feedback_unet, patchgan
from hdrcli.networks.feedback_unet import clip_map_of, from_t, linear_to_srgb, photograph, t_of_white, within
from hdrcli.perception import exposure
from hdrcli.perception._remote import Asking, RemoteGuide
from hdrcli.training.datasets import Pictures
from hdrcli.training.export import Export
from hdrcli.training.objectives import Surroundings, _knowledge
from hdrcli.training.placement import fused
from hdrcli.training.sources import Domain

_GUIDES = registry.names(perception.__name__)
Guides: Any = make_dataclass(
    "Guides",
    [
        (name, config, field(default_factory=config))
        for name, config in ((name, registry.load(perception.__name__, name).Config) for name in _GUIDES)
    ],
    frozen=True,
)
Guides.__doc__ = "Options of every guide there is, by the guide's name."

_BRIGHTEST = np.float32(2**60)  # beyond all light there is; sums of such still are finite
_LEAST = 50.0  # values above white that make a photo's highlights count in full: below this a region is not scored either
_WEIGHTS = ("gan", "cycle", "identity", "contrastive", "semantic", "perception", "highlights", "brightness")


@dataclass(frozen=True)
class Config:
    """Options of LLM-HDR; the defaults are the paper's numbers with the guides that work offline.

    ``network``: G_Y; G_X is alike but has no clip map. ``discriminator``: D_X and D_Y. ``working_size``: side of the images.
    ``gan_weight`` ... ``perception_weight``: of the terms, see the module's docstring; ``identity_weight`` is 0.5 lambda.
    ``highlights_weight``: of what the cycle of scenes loses above LDR white alone, however little of the scene that is; the
    paper has no such term. Where a cycle is closed already, L1 pulls no less than where light is still lost, and everywhere.
    ``highlights``: their error: "l1", or "rms", a root per photo: L1 predicts medians, and highlights come out too dark.
    ``brightness_weight``: of how far what G_Y puts where photos clipped is from what scenes have above white: running means of
    T, a mean per image first (:class:`Brightness`). Photos and scenes are exposed alike, so these should be one; a
    discriminator that sees patches hardly tells.
    ``cycle_noise``: photos made by G_X are rounded to 8 bits, with noise of this standard deviation in codes of 0 to 1, before
    G_Y sees them; else the pair learns to hide lost light in codes too fine to see (Chu et al. 2017). 0: neither, as Eq. 10.
    ``cycle_clip``: codes of those photos from here up become 1, as a sensor saturates, or lost light hides there. 1: none do.
    ``identity``: in which encoding (see :mod:`hdrcli.losses.identity`), or none. ``equalised``: embeddings and masks of photos
    are those of the photo with its histogram equalised (3.2). ``tau``: temperature of the contrastive loss. ``pool``: images
    each discriminator's history holds (CycleGAN's 50; 0: none). ``maps``, ``embeddings``, ``masks``: guides by name;
    ``guides``: their options. ``maps_every``: generated images are shown to the guide ``maps`` every so many steps, and to
    ``exposure`` in between (for guides that cost time or money). ``perception_every``: the perception loss is added every so
    many steps, and counts so many times as much then (lazy regularisation, Karras et al. 2020, 3.1): its gradient is slow to
    compute and changes slowly. ``embedding_dropout``: share of steps in which the network gets no embeddings, so that it works
    without (bundles have none). ``mean_share``, ``shares``, ``medians``: see :func:`exposed`. ``saves_memory``: activations are
    computed again for gradients.

    Raises UsageError for an option that is wrong whatever the others are; what must fit together is checked by :func:`build`.
    """

    network: feedback_unet.Config = field(default_factory=feedback_unet.Config)
    discriminator: patchgan.Config = field(default_factory=patchgan.Config)
    working_size: int = 512
    batch_size: int = 4
    learning_rate: float = 4e-4
    discriminator_rate: float = 2e-4
    gan_weight: float = 1.0
    cycle_weight: float = LAMBDA
    highlights_weight: float = 0.0
    highlights: Literal["l1", "rms"] = "l1"
    brightness_weight: float = 0.0
    cycle_noise: float = 0.0
    cycle_clip: float = 1.0
    identity: Literal["encoded", "paper", "none"] = "encoded"
    identity_weight: float = WEIGHT * LAMBDA
    contrastive_weight: float = ALPHA
    tau: float = TAU
    semantic_weight: float = BETA
    perception_weight: float = 1.0
    equalised: bool = True
    pool: int = 50
    maps: str = "exposure"
    embeddings: str = "own"
    masks: str = "superpixels"
    maps_every: int = 1
    perception_every: int = 1
    embedding_dropout: float = 0.1
    mean_share: float = 0.08
    shares: tuple[float, float] = (0.002, 0.4)
    medians: tuple[float, float] = (0.02, 0.8)
    saves_memory: bool = False
    guides: Any = field(default_factory=Guides)

    def __post_init__(self) -> None:
        if self.network.direction != "expand":
            remedy = "leave it at expand"
            raise UsageError("G_X is made beside G_Y, from the same options", where="network.direction", remedy=remedy)
        for name, least in (("working_size", 24), ("batch_size", 1), ("pool", 0), ("maps_every", 1), ("perception_every", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{getattr(self, name)} is below {least}", where=name, remedy=f"use {least} or more")
        if self.working_size > 4096:
            raise UsageError(f"{self.working_size} is above 4096", where="working_size", remedy="use less")
        for name in ("learning_rate", "discriminator_rate", "tau", "mean_share"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{getattr(self, name):g} is not above 0", where=name, remedy="use more")
        for name in (f"{term}_weight" for term in _WEIGHTS):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{getattr(self, name):g} is negative", where=name, remedy="use 0 or more; 0 leaves it out")
        for name in ("embedding_dropout", "cycle_noise", "cycle_clip"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{getattr(self, name):g} is no share", where=name, remedy="use 0 to 1")
        for name, most in (("shares", 1.0), ("medians", 100.0)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                remedy = f"use two numbers above 0, at most {most:g}, the lower first"
                raise UsageError(f"{low:g},{high:g} is no range", where=name, remedy=remedy)
        if self.identity not in ("encoded", "paper", "none"):
            raise UsageError(f"no identity {self.identity!r}", where="identity", remedy="there are: encoded, paper, none")

    def weight(self, term: str) -> float:
        """What the term counts in the total; 0 if it is left out."""
        absent = {
            "identity": self.identity == "none",
            "contrastive": self.embeddings == "none",
            "semantic": self.masks == "none",
            "perception": self.maps == "none",
        }
        value: float = getattr(self, f"{term}_weight")
        return 0.0 if absent.get(term) else value

    @property
    def uses_maps(self) -> bool:
        """Is a guide for perception maps asked at all?"""
        return self.network.gates or self.weight("perception") > 0


def _uses(config: Config) -> dict[str, list[tuple[str, bool]]]:
    """What each kind of guide is for, and whether that is on."""
    return {
        "maps": [("gates", config.network.gates), ("perception loss", config.weight("perception") > 0)],
        "embeddings": [("embedding", config.network.embedding), ("contrastive loss", config.weight("contrastive") > 0)],
        "masks": [("semantic loss", config.weight("semantic") > 0)],
    }


def _check_together(config: Config) -> None:
    """Raises UsageError for options that don't fit each other."""
    size, multiple = config.working_size, config.network.multiple
    if size % multiple:
        remedy = f"use a multiple of {multiple}, or another network.stem"
        raise UsageError(f"{size} is no multiple of {multiple}, as the network needs", where="working_size", remedy=remedy)
    if not any(config.weight(term) for term in _WEIGHTS):
        raise UsageError("all losses are left out", where="cycle_weight", remedy="give one of them a weight above 0")
    if config.perception_every > 1 and not any(config.weight(term) for term in _WEIGHTS if term != "perception"):
        remedy = "use 1, or give another loss a weight"
        raise UsageError(
            "the perception loss is the only one, and steps would be without", where="perception_every", remedy=remedy
        )
    for kind, used in _uses(config).items():
        name = getattr(config, kind)
        if name not in ("none", getattr(Config, kind)) and not any(on for _, on in used):
            parts = " and ".join(part for part, _ in used)
            raise UsageError(f"the guide {name} has nothing to do without {parts}", where=kind, remedy=f"use {kind}=none")
    if config.network.gates and config.maps == "none":
        remedy = "use maps=exposure, or network.gates=false"
        raise UsageError("gates need a guide for perception maps", where="maps", remedy=remedy)
    if config.network.norm == "batch" and config.batch_size == 1 and size == multiple:
        raise UsageError("batch norm needs more than one value", where="network.norm", remedy="use a larger batch_size")


def exposed(radiance: Floats, config: Config, rng: np.random.Generator) -> Floats:
    """A scene at the exposure of a photo, in LDR whites: ``(H, W, 3) float32`` radiance in and out, 0 to ``peak``.

    The exposure is drawn so that the scene, seen as a photo, clips as photos do: a share of pixels, exponential with
    ``mean_share`` within ``shares``, as the virtual camera draws it, lies above white. What is dark is dark in photos too, but
    not black for a lamp's sake: the median luminance stays within ``medians`` (as loaded it is 0.18), and this comes first.
    """
    light = np.fmin(np.fmax(radiance, 0), _BRIGHTEST)  # fmax takes NaN away too
    share = float(np.clip(rng.exponential(config.mean_share), *config.shares))
    median = max(float(np.median(luminance(light))), 1e-6)
    low, high = (value / median for value in config.medians)
    factor = min(max(exposure_for_share(light, share), low), high)
    return np.asarray(np.minimum(light, config.network.peak / factor) * factor, dtype=np.float32)


class Pool:
    """Images that a discriminator has seen: CycleGAN's history (Shrivastava et al. 2017, 2.3). Kept as half floats.

    ``size`` 0: no history.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._images: list[Tensor] = []

    def exchanged(self, images: Tensor) -> Tensor:
        """Of each image ``(N, 3, H, W)`` itself or, half of the time once the pool is full, an older one in its place."""
        if not self.size:
            return images
        out = []
        for image in images.to(torch.float16):
            if len(self._images) < self.size:
                self._images.append(image.clone())
                out.append(image)
            elif torch.rand((), generator=self._generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=self._generator))
                out.append(self._images[place].to(image.device))
                self._images[place] = image.clone()
            else:
                out.append(image)
        return torch.stack(out).to(images.dtype)

    def state(self) -> dict[str, Any]:
        """Images (of one size all) and the random state."""
        return {"images": [image.cpu() for image in self._images], "random": self._generator.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state`."""
        self._images = [image.clone() for image in state["images"][: self.size]]
        self._generator.set_state(state["random"])


class Brightness:
    """Running means of what lies above white, in T: of generated images and of real ones."""

    KEPT = 0.98  # of the mean at each step
    NEAR = 0.02  # of T, a quarter of a stop: gaps below pull in proportion

    def __init__(self) -> None:
        self.made: float | None = None
        self.real: float | None = None

    def gap(self, made: Tensor, lost: Tensor, real: Tensor, above: Tensor) -> Tensor:
        """How far apart the means are, after this batch; its gradient moves ``made`` towards each other's, all of it alike.

        ``made``, ``real``: T, ``(N, 3, H, W)``; ``lost``, ``above``: 1 for values that count. Images in which next to nothing
        counts are left out; 0 if all are, or were so far.
        """
        current = _mean_where(made, lost)
        self.made = self._moved(self.made, current)
        self.real = self._moved(self.real, _mean_where(real, above))
        if current is None or self.made is None or self.real is None:
            return made.sum() * 0
        gap = self.made - self.real
        pull = max(-1.0, min(1.0, gap / self.NEAR))
        return abs(gap) + pull * (current - current.detach())

    def _moved(self, old: float | None, new: Tensor | None) -> float | None:
        if new is None:
            return old
        value = float(new.detach())
        if not math.isfinite(value):  # the loop leaves such a step out; it must not stay here
            return old
        return value if old is None else self.KEPT * old + (1 - self.KEPT) * value


@dataclass(frozen=True, eq=False)
class _Seen:
    """An image on its way into a generator: its ``maps`` (of all kinds, without gradient) and its ``embedding``, if used."""

    image: Tensor
    maps: Tensor | None = None
    embedding: Tensor | None = None


class LlmHdr:
    """The system. See the module's docstring."""

    name = "llm_hdr"
    averaged = ("g_y", "g_x")
    domains: tuple[Domain, ...] = ("ldr", "hdr")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.batch_size = self.views_per_batch = config.batch_size
        back = replace(config.network, direction="tonemap", clip_map=False)
        generators = {"g_y": feedback_unet.build(config.network), "g_x": feedback_unet.build(back)}
        networks: dict[str, nn.Module] = dict(generators)
        self.phases: tuple[str, ...] = ("g", "d") if config.weight("gan") else ("g",)
        if config.weight("gan"):
            networks |= {name: patchgan.build(config.discriminator) for name in ("d_y", "d_x")}
        self._maps = _guide("maps", config.maps, config) if config.uses_maps else None
        self._exposure = exposure.build(config.guides.exposure)
        wanted = config.weight("contrastive") > 0 or config.network.embedding
        self._embeddings = _guide("embeddings", config.embeddings, config) if wanted else None
        self._masks = _guide("masks", config.masks, config) if config.weight("semantic") else None
        self._patchwise = hasattr(self._embeddings, "patch_contrast")
        self._check_embeddings()
        if config.weight("contrastive") and self._patchwise:
            assert self._embeddings is not None
            for name, generator in generators.items():
                networks[f"contrast_{name[-1]}"] = self._embeddings.projection(generator.feature_channels)
        for generator in generators.values():
            generator.wake_up()
            generator.saves_memory = config.saves_memory
        self.networks = nn.ModuleDict(networks)
        self._whole: _knowledge.WholePictures | None = None
        self._brightness = Brightness()
        self._pools = {name: Pool(config.pool, seed) for seed, name in enumerate(("y", "x"))}
        self._places = torch.Generator().manual_seed(2)
        self._steps = 0
        self._made: dict[int, tuple[Tensor, Tensor]] = {}

    def _check_embeddings(self) -> None:
        config = self.config
        if config.network.embedding and (self._embeddings is None or self._patchwise):
            remedy = "use embeddings=clip, or network.embedding=false"
            raise UsageError("it needs a guide that embeds whole images", where="network.embedding", remedy=remedy)
        if config.network.embedding and self._embeddings is not None and self._embeddings.dimensions != 512:
            fault = f"it takes 512 numbers, the guide {config.embeddings} gives {self._embeddings.dimensions}"
            raise UsageError(fault, where="network.embedding", remedy="use another CLIP, or network.embedding=false")
        if config.weight("contrastive") and not self._patchwise and config.batch_size == 1:
            fault = f"the contrastive loss with the guide {config.embeddings} has nothing to compare with in a batch of 1"
            raise UsageError(fault, where="batch_size", remedy="use 2 or more, embeddings=own, or contrastive_weight=0")

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        return self.config.working_size

    def guides(self) -> dict[str, str]:
        """What looks at images in this run, by kind, and what is left out: a line each, to be told at the start."""
        lines = {}
        for kind, parts in _uses(self.config).items():
            used = " and ".join(part for part, on in parts if on)
            unused = " and ".join(part for part, on in parts if not on)
            said = f"{getattr(self.config, kind)}, for {used}" if used else "none"
            lines[kind] = said + (f"; left out: {unused}" if unused else "")
        return lines

    @property
    def may_change(self) -> tuple[str, ...]:
        """Options that need not be those of the run that is resumed."""
        modules = ((name, registry.load(perception.__name__, name)) for name in _GUIDES)
        return tuple(f"guides.{name}.{option}" for name, module in modules for option in getattr(module, "MAY_CHANGE", ()))

    # data -----------------------------------------------------------------------------------------------------------------

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """``x``: codes in [0, 1]; ``y``: a scene at a photo's exposure, in T. Both ``(S, S, 3) float32``."""
        peak = self.config.network.peak
        light = exposed(views["hdr"], self.config, rng)
        t = np.log1p(light * np.float32(MU / peak)) / np.float32(math.log1p(MU))
        sample = {"x": views["ldr"].astype(np.float32) / np.float32(255), "y": np.clip(t, 0, 1).astype(np.float32)}
        frames = {f"frame_{short}": views[f"{name}_frame"] for short, name in (("x", "ldr"), ("y", "hdr")) if self._whole}
        return [sample | frames | (self._known(sample) if self._on_cpu else {})]

    @property
    def _on_cpu(self) -> bool:
        return all(parameter.device.type == "cpu" for parameter in self.networks.parameters())

    @torch.no_grad()
    def _known(self, sample: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the embedded guides say of a sample: ``maps`` of all that generators are given, ``areas`` of photo and scene."""
        x, y = (torch.from_numpy(sample[name]).permute(2, 0, 1)[None] for name in ("x", "y"))
        known = {}
        if self.config.network.gates and self.config.maps == "exposure":
            shown = [x, y, *(identity.given for identity in self._identities(x, y, self.config.network.peak))]
            known["maps"] = _knowledge.packed_maps([self._look(image, made=False) for image in shown])
        if _knowledge.finds_areas(self._masks):
            assert self._masks is not None
            known["areas"] = _knowledge.packed_areas([self._masks.areas(image) for image in (self._shown(x), y)])
        return known

    def see(self, pictures: Pictures) -> None:
        """A guide that is asked about whole pictures gets them."""
        if self.config.network.gates and _knowledge.is_for_pictures(self._maps):
            guide: Any = self._maps
            self._whole = _knowledge.WholePictures(guide, pictures, self.config.network.peak)

    def _shown(self, x: Tensor) -> Tensor:
        """Photos as embeddings and masks see them."""
        return perception.equalized(x) if self.config.equalised else x

    # guides ---------------------------------------------------------------------------------------------------------------

    @property
    def _remote(self) -> RemoteGuide | None:
        """The guide for maps, if it is one that asks others."""
        return self._maps if isinstance(self._maps, RemoteGuide) else None

    def listen(self, run: Surroundings) -> None:
        """Has the guide tell what it may ask of whom, and ask for the first time. Raises UsageError if that is refused."""
        if self._remote is not None:
            once = self._whole.count if self._whole is not None else 0
            each = self._asked_each_step() * run.parts
            self._remote.begin(Asking(run.say, run.process, run.processes, once, each, "maps_every, perception_every"))

    def _asked_each_step(self) -> float:
        """Generated images of a micro-batch that the guide for maps is asked about, on average: y^ and x^."""
        config = self.config
        perceived = config.weight("perception") > 0
        again = config.weight("cycle") > 0, config.weight("cycle") > 0 or config.weight("highlights") > 0
        gated = sum(again) if config.network.gates else 0  # those that a generator sees again
        both = 1 / math.lcm(config.maps_every, config.perception_every)
        return config.batch_size * ((2 * both if perceived else 0) + gated * (1 / config.maps_every - both * perceived))

    def summary(self) -> str | None:
        """What the guide that asks others has been through, a line."""
        return None if self._remote is None else self._remote.summary()

    def hurry(self) -> None:
        """Ends the guide's waiting; see :class:`hdrcli.training.objectives.AsksOthers`."""
        if self._remote is not None:
            self._remote.hurry()

    def _embeds_maps(self, *, made: bool) -> bool:
        """Is it the guide ``exposure`` that is asked? ``made``: about an image that a generator made."""
        return self.config.maps == "exposure" or (made and self._steps % self.config.maps_every > 0)

    def _look(self, image: Tensor, *, source: Tensor | None = None, made: bool, artifact: Tensor | None = None) -> Tensor:
        """Perception maps ``(N, 3, H, W)``. ``made``: by a generator; asks the guide only every so many steps then.

        ``source``: the photo that an image of G_Y was made from. ``artifact``: the first of ``exposure``'s maps, if known.
        """
        if self._embeds_maps(made=made):
            return self._embedded_maps(image, source, artifact)
        assert self._maps is not None
        maps: Tensor = self._maps.maps(image, source=source).stacked()
        return maps

    def _embedded_maps(self, image: Tensor, source: Tensor | None, artifact: Tensor | None = None) -> Tensor:
        """Those of the guide ``exposure``, with a meaning of "underexposed" for scenes.

        T of a dark scene is near 0 by right, as T of a bright one is near 1: a loss on it would train shadows away. What counts
        is black, seen as a photo, where the photo that it was made from is not.
        """

        def look(image: Tensor) -> Tensor:
            if source is None:
                return self._exposure.maps(image, artifact=artifact).stacked()
            limit = self.config.guides.exposure.under_to
            black = exposure.crushed(photograph(image, self.config.network.peak), limit)
            under = black * (1 - exposure.crushed(source, limit))
            return self._exposure.maps(image, source=source, artifact=artifact, under=under).stacked()

        return self._lean(look, image)

    def _lean(self, part: Callable[..., Tensor], *args: Tensor) -> Tensor:
        """``part(*args)``; to save memory it is computed again for gradients. It may draw no random numbers of its own."""
        if self.config.saves_memory and torch.is_grad_enabled():
            result: Tensor = checkpoint(part, *args, use_reentrant=False)
            return result
        return part(*args)

    def _seen(self, image: Tensor, maps: Tensor | None = None, *, made: bool = False) -> _Seen:
        """What a generator needs beside the image; ``maps``: where they are known already."""
        network = self.config.network
        with torch.no_grad():
            if network.gates:
                maps = self._look(image.detach(), made=made) if maps is None else maps.detach()
            embedding = self._embed(image.detach()) if network.embedding else None
        return _Seen(image, maps if network.gates else None, embedding)

    def _inputs(self, batch: Mapping[str, Tensor], identities: tuple[Identity, ...]) -> tuple[list[_Seen], list[_Seen]]:
        """What G_Y and what G_X are given of a batch: the images themselves, and those of the identities."""
        images = [batch["x"], batch["y"], *(identity.given for identity in identities)]
        maps: Sequence[Tensor | None] = [None] * len(images)
        if "maps" in batch:
            maps = torch.split(batch["maps"], 3, 1)[: len(images)]
        elif self._whole is not None and "frame_x" in batch:
            maps = self._looked_up(batch, images)
        seen = [self._seen(image, known) for image, known in zip(images, maps, strict=True)]
        return seen[0::2], seen[1::2]

    def _looked_up(self, batch: Mapping[str, Tensor], images: list[Tensor]) -> list[Tensor | None]:
        """Maps of :meth:`_inputs` by a guide that knows the whole pictures; ``exposure`` where it does not answer.

        Where light is lost in the photo of a scene (G_Y's identity), ``exposure`` knows better: the exposure decides that.
        """
        assert self._whole is not None
        instead = [self._exposure.maps(image).stacked() for image in images]
        size = images[0].shape[-1]
        whole = [self._whole.maps("ldr", batch["frame_x"], size), self._whole.maps("hdr", batch["frame_y"], size)]
        found: list[Tensor | None] = []
        for number, (own, answers) in enumerate(zip(instead, (*whole, *reversed(whole)), strict=False)):
            rows = [mine if answer is None else answer for mine, answer in zip(torch.split(own, 1), answers, strict=True)]
            maps = torch.cat(rows)
            found.append(torch.cat([maps[:, :1], own[:, 1:]], 1) if number == 2 else maps)
        return found

    def _embed(self, image: Tensor) -> Tensor:
        assert self._embeddings is not None
        embedding: Tensor = self._embeddings.embed(image)
        return embedding

    # networks -------------------------------------------------------------------------------------------------------------

    def _iterate(self, networks: nn.ModuleDict, name: str, *seen: _Seen, blind: bool = False) -> list[list[Tensor]]:
        """Images of all iterations of the generator, for each of the inputs; those of G_Y cut to [0, 1].

        One pass for all inputs. ``blind``: as if there were no embeddings.
        """
        network = self.config.network
        image = torch.cat([s.image for s in seen])
        clip = clip_map_of(image) if name == "g_y" and network.clip_map else None
        maps = torch.cat([s.maps for s in seen if s.maps is not None]) if network.gates else None
        embeddings: Tensor | None = None
        embed: Callable[[Tensor], Tensor] | None = None
        if network.embedding:
            ours = torch.cat([s.embedding for s in seen if s.embedding is not None])
            embeddings = torch.stack([torch.zeros_like(ours) if blind else ours, torch.zeros_like(ours)], 1)
            embed = None if blind else self._embed_made
        images = networks[name].iterate(image, clip, maps, embeddings, embed)  # type: ignore[operator]
        images = [i.float() for i in images]
        if name == "g_y":
            images = [within(i) for i in images]
        sizes = [s.image.shape[0] for s in seen]
        return [list(parts) for parts in zip(*(i.split(sizes) for i in images), strict=True)]

    def _embed_made(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            return self._embed(image.detach().float().clamp(0, 1))

    # losses ---------------------------------------------------------------------------------------------------------------

    def loss(self, phase: str, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        """The weighted total of the phase, and its terms as they are."""
        return self._discriminators(batch, part) if phase == "d" else self._generators(batch, part)

    def _generators(self, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        config, peak = self.config, self.config.network.peak
        x, y = batch["x"], batch["y"]
        if part == 0:
            self._steps += 1
        blind = False
        if config.network.embedding:
            blind = float(torch.rand((), generator=self._places)) < config.embedding_dropout
        identities = self._identities(x, y, peak)
        into_y, into_x = self._inputs(batch, identities)
        made_y, *same_y = self._iterate(self.networks, "g_y", *into_y, blind=blind)
        made_x, *same_x = self._iterate(self.networks, "g_x", *into_x, blind=blind)
        y_hat, x_hat = made_y[-1], made_x[-1]
        if config.weight("gan"):
            self._made[part] = (y_hat.detach(), x_hat.detach())
        terms: dict[str, Tensor] = {}
        maps_y = maps_x = None
        if config.weight("perception") and self._steps % config.perception_every == 0:
            artifact: tuple[Tensor | None, ...] = (None, None)
            if self._embeds_maps(made=True) and not config.saves_memory:  # both at once: it is many small operations
                artifact = self._exposure.artifact(torch.cat([y_hat, x_hat])).chunk(2)
            maps_y = self._look(y_hat, source=x, made=True, artifact=artifact[0])
            maps_x = self._look(x_hat, made=True, artifact=artifact[1])
            forward, backward = (
                self._perceived(maps_y, y_hat, x, WEIGHTS),
                self._perceived(maps_x, x_hat, None, ARTIFACT_ONLY),
            )
            terms["perception"] = config.perception_every * (forward + backward)
        above = (y > t_of_white(peak)).to(y.dtype) if config.weight("brightness") or config.weight("highlights") else y
        if config.weight("brightness"):
            lost = (x >= CLIP_CODE).to(y.dtype)
            terms["brightness"] = self._brightness.gap(y_hat, lost, y, above)
        if config.weight("cycle"):
            (again_x,) = self._iterate(self.networks, "g_x", self._seen(y_hat, maps_y, made=True), blind=blind)
            terms["cycle_x"] = cycle_loss(again_x, x)
        if config.weight("cycle") or config.weight("highlights"):
            stored = self._stored(x_hat) if config.cycle_noise or config.cycle_clip < 1 else x_hat
            (again_y,) = self._iterate(self.networks, "g_y", self._seen(stored, maps_x, made=True), blind=blind)
            if config.weight("cycle"):
                terms["cycle_y"] = cycle_loss(again_y, y)
            if config.weight("highlights"):
                error = _root_mean_square if config.highlights == "rms" else _weighted
                terms["highlights"] = error(again_y, y, above)
        for name, same, identity in zip(("identity_y", "identity_x"), (*same_y, *same_x), identities, strict=False):
            terms[name] = _weighted(same, identity.expected, identity.weight)
        if config.weight("gan"):
            terms["gan"] = self._judged("d_y", y_hat, generator_side) + self._judged("d_x", x_hat, generator_side)
        if config.weight("contrastive") or config.weight("semantic"):
            shown = self._shown(x)
            if config.weight("contrastive"):
                terms["contrastive"] = self._contrast("y", shown, y_hat) + self._contrast("x", y, x_hat)
            if config.weight("semantic"):
                assert self._masks is not None
                areas = [(a,) for a in _knowledge.unpacked_areas(batch["areas"], 2)] if "areas" in batch else [(), ()]
                forward = self._lean(self._masks.soft_iou, shown, y_hat, *areas[0])
                backward = self._lean(self._masks.soft_iou, y, x_hat, *areas[1])
                terms["semantic"] = semantic_loss(forward) + semantic_loss(backward)
        weighted = [config.weight(name.removesuffix("_x").removesuffix("_y")) * value for name, value in terms.items()]
        return {"loss": torch.stack(weighted).sum(), **terms}

    def _identities(self, x: Tensor, y: Tensor, peak: float) -> tuple[Identity, ...]:
        """Of G_Y and of G_X, or none."""
        identity = self.config.identity
        if identity == "none" or not self.config.weight("identity"):
            return ()
        return for_g_y(y, peak, identity), for_g_x(x, peak, identity)

    def _stored(self, codes: Tensor) -> Tensor:
        """Codes as a camera's file holds them: with noise, of 8 bits, with the gradient of ``codes``; none where saturated."""
        noise = torch.randn(codes.shape, generator=self._places).to(codes.device)
        rounded = ((codes.detach() + self.config.cycle_noise * noise).clamp(0, 1) * 255).round() / 255
        stored = codes + (rounded - codes.detach())
        return torch.where(rounded < self.config.cycle_clip, stored, torch.ones_like(stored))

    def _judged(self, name: str, image: Tensor, side: Callable[[Tensor], Tensor]) -> Tensor:
        return side(self.networks[name](2 * image - 1).float())

    def _perceived(self, maps: Tensor, image: Tensor, source: Tensor | None, weights: tuple[float, float, float]) -> Tensor:
        """Eq. 2. Maps without gradient say where; what can be done about it there, the embedded maps must say.

        Severity is 1 at most and a half at least, so the loss is still about the share of pixels that the guide has marked.
        """
        if maps.requires_grad:
            return perception_loss(maps, None, weights)
        severity = (1 + self._embedded_maps(image, source)) / 2
        return perception_loss(maps, severity, weights)

    def _contrast(self, target: str, given: Tensor, made: Tensor) -> Tensor:
        """Eq. 4 of one direction; with the guide ``own``, PatchNCE on the encoder of the generator that made the image."""
        assert self._embeddings is not None
        if not self._patchwise:
            with torch.no_grad():
                anchors = self._embed(given)
            return gathered_loss(
                anchors, self._embed(made), lambda inputs, outputs: contrastive_loss(inputs, outputs, self.config.tau)
            )
        generator = self.networks[f"g_{target}"]
        clip = target == "y" and self.config.network.clip_map
        with torch.no_grad():
            before = generator.features(given, clip_map_of(given) if clip else None)  # type: ignore[operator]
        after = generator.features(made, clip_map_of(made) if clip else None)  # type: ignore[operator]
        loss: Tensor = self._embeddings.patch_contrast(
            [f.float() for f in before],
            [f.float() for f in after],
            projection=self.networks[f"contrast_{target}"],
            generator=self._places,
        )
        return loss

    def _discriminators(self, batch: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
        terms = {}
        for name, real, fake in zip(("y", "x"), (batch["y"], batch["x"]), self._made.pop(part), strict=True):
            shown = self._pools[name].exchanged(fake)
            judge = self.networks[f"d_{name}"]
            terms[f"d_{name}"] = discriminator_side(judge(2 * real - 1).float(), judge(2 * shown - 1).float())
        return {"loss": terms["d_y"] + terms["d_x"], **terms}

    # optimisers, state ----------------------------------------------------------------------------------------------------

    def trained(self, phase: str) -> tuple[str, ...]:
        """Generators and the heads of patch contrast; or the discriminators."""
        judges = tuple(name for name in self.networks if name.startswith("d_"))
        return judges if phase == "d" else tuple(name for name in self.networks if name not in judges)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam, betas 0.5 and 0.999 (D: CycleGAN's)."""
        rates = {"g": self.config.learning_rate, "d": self.config.discriminator_rate}
        made: dict[str, torch.optim.Optimizer] = {}
        for phase in self.phases:
            parameters = [p for name in self.trained(phase) for p in self.networks[name].parameters()]
            made[phase] = torch.optim.Adam(parameters, rates[phase], betas=(0.5, 0.999), fused=fused(parameters))
        return made

    def state(self) -> dict[str, Any]:
        """Pools, the places of patch contrast, how many steps the guides have seen and what they spent, and running means."""
        pools = {name: pool.state() for name, pool in self._pools.items()} if self.config.weight("gan") else {}
        brightness = [self._brightness.made, self._brightness.real]
        kept = {"pools": pools, "places": self._places.get_state(), "steps": self._steps, "brightness": brightness}
        return kept if self._remote is None else kept | {"maps": self._remote.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state`."""
        for name, kept in state["pools"].items():
            self._pools[name].load_state(kept)
        self._places.set_state(state["places"])
        self._steps = int(state["steps"])
        self._brightness.made, self._brightness.real = state.get("brightness", (None, None))
        if self._remote is not None and "maps" in state:  # older checkpoints don't know what was spent
            self._remote.load_state(state["maps"])

    # what comes out -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sheet(self, networks: nn.ModuleDict, batch: Mapping[str, Tensor]) -> NDArray[Any]:
        """Four rows of the batch: x, y^ as a photo and 3 stops darker, x~; y as a photo and 3 stops darker, x^, y~ darker."""
        peak = self.config.network.peak
        few = {name: value[:4].float() for name, value in batch.items()}
        x, y = few["x"], few["y"]
        (into_y,), (into_x,) = self._inputs(few, ())
        ((*_, y_hat),), ((*_, x_hat),) = (self._iterate(networks, g, i) for g, i in (("g_y", into_y), ("g_x", into_x)))
        ((*_, x_again),) = self._iterate(networks, "g_x", self._seen(y_hat, made=True))
        ((*_, y_again),) = self._iterate(networks, "g_y", self._seen(x_hat, made=True))
        light = {name: from_t(t, peak) for name, t in (("y", y), ("y_hat", y_hat), ("y_again", y_again))}
        shown = [x, _photo(light["y_hat"]), _photo(light["y_hat"] / 8), x_again]
        shown += [_photo(light["y"]), _photo(light["y"] / 8), x_hat, _photo(light["y_again"] / 8)]
        rows = torch.cat(shown, 3).permute(0, 2, 3, 1).flatten(0, 1)
        return np.asarray((rows.clamp(0, 1) * 255).round().byte().cpu())

    def describe(self) -> dict[str, Any]:
        """Architecture, options and guides as plain values; guides that have nothing to do are none."""
        options = asdict(self.config)
        options |= {kind: "none" for kind, parts in _uses(self.config).items() if not any(on for _, on in parts)}
        used = {options[kind] for kind in ("maps", "embeddings", "masks")}
        options["guides"] = {name: value for name, value in options["guides"].items() if name in used}
        return {"architecture": "feedback_unet", "recipe": self.name, "options": options}

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """G_Y and G_X; gated ones with the maps of the guide ``exposure`` inside, whatever guide they were trained with."""
        config = self.config
        maps = asdict(config.guides.exposure) if config.network.gates else None
        inputs = {"g_y": ("ldr", "clip") if config.network.clip_map else ("ldr",), "g_x": ("t",)}
        return tuple(
            Export.of(
                networks[name],
                architecture="feedback_unet",
                file=f"{name}.onnx",
                inputs=inputs[name],
                working_size=config.working_size,
                maps=maps,
            )
            for name in self.averaged
        )


def _weighted(images: list[Tensor], target: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted L1 of all iterations. Each image of a batch counts the same, so a batch may be spread over processes."""
    if weight is None:
        return mean_l1(images, target)
    single = [mean_l1([i[n : n + 1] for i in images], target[n : n + 1], weight[n : n + 1]) for n in range(len(target))]
    return torch.stack(single).mean()


def _mean_where(images: Tensor, counts: Tensor) -> Tensor | None:
    """Mean over images of their means where ``counts`` is 1; of those alone in which it is in at least 50 places."""
    number = counts.sum((1, 2, 3))
    enough = number >= _LEAST
    if not bool(enough.any()):
        return None
    means = (images * counts).sum((1, 2, 3)) / number.clamp(min=1)
    return means[enough].mean()


def _root_mean_square(images: list[Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """Weighted root mean square error, a root per photo, mean over photos and iterations.

    Photos in which next to nothing counts count less, in proportion, instead of dividing by nothing.
    """
    count = weight.sum((1, 2, 3))
    roots = [(((i - target).square() * weight).sum((1, 2, 3)) / count.clamp(min=1) + 1e-6).sqrt() for i in images]
    return (torch.stack(roots) * (count / _LEAST).clamp(max=1)).mean()


def gathered_loss(ours: Tensor, made: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A loss of a whole batch of embeddings, ``(N, D)``, that is spread over processes: the same value in all of them.

    Each process knows the gradient of its own part only, and DDP takes the mean over processes: hence the factor.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return loss(ours, made)
    world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    everyone = [[torch.zeros_like(mine) for _ in range(world)] for mine in (ours, made)]
    for parts, mine in zip(everyone, (ours, made), strict=True):
        torch.distributed.all_gather(parts, mine.detach().contiguous())
        parts[rank] = mine
    value = loss(torch.cat(everyone[0]), torch.cat(everyone[1]))
    return value + (world - 1) * (value - value.detach())


def _photo(light: Tensor) -> Tensor:
    return linear_to_srgb(light.clamp(0, 1))


def _guide(kind: perception.Kind, name: str, config: Config) -> Any:
    """A guide with its options. What ``perception`` raises when it can't be had."""
    if name == "none":
        return None
    if name not in _GUIDES:
        perception.create(kind, name)  # says which there are
    chosen = getattr(config.guides, name)
    default = type(chosen)()
    changed = {f.name: getattr(chosen, f.name) for f in fields(chosen)}
    return perception.create(kind, name, {k: str(v) for k, v in changed.items() if v != getattr(default, k)})


def build(config: Config) -> LlmHdr:
    """The objective with fresh networks and all guides at hand.

    Raises UsageError for options that don't fit each other, and what a guide raises that can't be had.
    """
    _check_together(config)
    return LlmHdr(config)


__all__ = ["Config", "Guides", "LlmHdr", "Pool", "build", "exposed", "gathered_loss"]
