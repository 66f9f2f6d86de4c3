"""The generator of HDR-cGAN: H = R(a C(L(x)) + (1 - a) L(x)) (Eq. 1 to 4), three Attention R2U-Nets trained end to end.

L linearises the photo, C corrects what is overexposed, R refines; a is the overexposure mask, made inside, so that a bundle
needs the photo alone. ``residual``: each of the three adds to the T of what it is given instead of giving radiance of its own;
the untrained generator then is the linearised photo, and what two cores can train in minutes goes into highlights.

D, where the paper is silent: radiance is softplus of the network's output, in units of ``peak``, so that it is close to an
exponential below; L starts at middle grey; C and R see radiance through T, as the losses do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.networks import attention_r2unet, exposure_segmenter
from hdrcli.networks.feedback_unet import srgb_to_linear, to_t

Mask = Literal["exposure", "segmentation", "threshold", "clip"]
_GREY = 0.18  # LDR whites


@dataclass(frozen=True)
class Config:
    """Form and size; the defaults are the paper's with the mask that needs no weights.

    ``width``, ``attention``, ``recurrence``, ``steps``, ``norm``: of the three subnetworks, see
    :class:`hdrcli.networks.attention_r2unet.Config`. ``refinement``: is there an R (Fig. 7)? ``residual``: see the module's
    docstring. ``stem``: the subnetworks work at a size this much smaller (1: the paper). ``clip_map``: a second 3-channel input
    that says where channels clipped, for all three. ``peak``: the radiance, in LDR whites, that T maps to 1.

    ``mask``: "exposure", rising from 0 at code ``mask_from`` of the brightest channel to 1 at code 1 (as the guide ``exposure``
    has it); "threshold", 1 from ``mask_from`` on; "segmentation", what the guide of that name says, its network (of
    ``segmenter_width``) inside; "clip", the clip map of the channel that lost most. Raises UsageError for what no network can
    be.
    """

    width: int = 64
    attention: bool = True
    recurrence: bool = True
    steps: int = 2
    norm: attention_r2unet.Norm = "batch"
    refinement: bool = True
    residual: bool = False
    stem: int = 1
    clip_map: bool = False
    peak: float = 256.0
    mask: Mask = "exposure"
    mask_from: float = 0.94
    segmenter_width: int = 12

    def __post_init__(self) -> None:
        for name, right, remedy in (
            ("stem", self.stem in (1, 2, 4, 8), "use 1, 2, 4 or 8"),
            ("peak", 1 < self.peak <= 2**20, "use more than 1, at most 2^20"),
            ("mask_from", 0 < self.mask_from < 1, "use a code between 0 and 1"),
        ):
            if not right:
                fault = f"HDR-cGAN's generator can't have {name} {getattr(self, name)}"
                raise UsageError(fault, where=f"network.{name}", remedy=remedy)
        # they refuse what they can't be
        _ = self.subnetwork, self.segmenter

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return attention_r2unet.MULTIPLE * self.stem

    @property
    def subnetwork(self) -> attention_r2unet.Config:
        """Of L, C and R."""
        return attention_r2unet.Config(
            inputs=(6 if self.clip_map else 3) * self.stem**2,
            width=self.width,
            attention=self.attention,
            recurrence=self.recurrence,
            steps=self.steps,
            norm=self.norm,
        )

    @property
    def segmenter(self) -> exposure_segmenter.Config:
        """Of the network that makes the mask "segmentation"."""
        return exposure_segmenter.Config(width=self.segmenter_width)


class HdrCgan(nn.Module):
    """See the module's docstring.

    ``forward(ldr, clip=None)``: ``(N, 3, H, W)`` sRGB codes in [0, 1], and the clip map (see
    :func:`hdrcli.inference.working.clip_map`) if the network has one, to T(H), ``(N, 3, H, W)`` float32, 0 or more unless
    ``residual``. H and W are multiples of ``config.multiple``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.unshuffle = nn.PixelUnshuffle(config.stem) if config.stem > 1 else nn.Identity()
        parts = ("linearize", "correct", "refine") if config.refinement else ("linearize", "correct")
        self.parts = nn.ModuleDict({name: attention_r2unet.build(config.subnetwork) for name in parts})
        for part in self.parts.values():
            last: nn.Conv2d = part.last  # type: ignore[assignment]
            if config.residual:
                last.weight.data.mul_(0.02)  # nearly the linearised photo, and yet a gradient for all
            else:
                assert last.bias is not None
                nn.init.constant_(last.bias, math.log(math.expm1(_GREY / config.peak)))  # softplus gives middle grey
        self.segmenter = _frozen(exposure_segmenter.build(config.segmenter)) if config.mask == "segmentation" else None

    def train(self, mode: bool = True) -> HdrCgan:
        """As of any module; the segmenter is never trained here."""
        super().train(mode)
        if self.segmenter is not None:
            self.segmenter.eval()
        return self

    def mask(self, ldr: Tensor, clip: Tensor | None = None) -> Tensor:
        """a of Eq. 2: ``(N, 1, H, W)`` in [0, 1], without gradient."""
        config = self.config
        with torch.no_grad():
            if config.mask == "segmentation":
                assert self.segmenter is not None
                return self.segmenter(ldr).softmax(1)[:, :1]
            if config.mask == "clip":
                return _given(clip).amax(1, keepdim=True)
            brightest = ldr.float().amax(1, keepdim=True)
            if config.mask == "threshold":
                return (brightest >= config.mask_from).to(brightest.dtype)
            return (1 - (1 - brightest) / (1 - config.mask_from)).clamp(0, 1)

    def stages(self, ldr: Tensor, clip: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """T of E (Eq. 1), of M (Eq. 2) and of H (Eq. 3), each ``(N, 3, H, W)``. Without R, H is M."""
        config = self.config
        mask = self.mask(ldr, clip)
        if config.residual:
            linear = to_t(srgb_to_linear(ldr.float()), config.peak)
            linear = linear + self._run("linearize", ldr, clip)
            corrected = linear + mask * self._run("correct", linear, clip)
            if not config.refinement:
                return linear, corrected, corrected
            return linear, corrected, corrected + self._run("refine", corrected, clip)
        linear = functional.softplus(self._run("linearize", ldr, clip))
        correction = functional.softplus(self._run("correct", to_t(linear, 1.0), clip))
        corrected = mask * correction + (1 - mask) * linear
        refined = corrected
        if config.refinement:
            refined = functional.softplus(self._run("refine", to_t(corrected, 1.0), clip))
        return to_t(linear, 1.0), to_t(corrected, 1.0), to_t(refined, 1.0)

    def forward(self, ldr: Tensor, clip: Tensor | None = None) -> Tensor:
        return self.stages(ldr, clip)[2]

    def _run(self, part: str, image: Tensor, clip: Tensor | None) -> Tensor:
        """What one of the subnetworks says of an image, at the image's size."""
        if self.config.clip_map:
            image = torch.cat([image, _given(clip)], 1)
        answer: Tensor = self.parts[part](self.unshuffle(image)).float()
        if self.config.stem > 1:
            answer = functional.interpolate(answer, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return answer


def _given(clip: Tensor | None) -> Tensor:
    if clip is None:
        raise ValueError("this generator needs a clip map")
    return clip


def _frozen(network: nn.Module) -> nn.Module:
    """The network with buffers in place of its parameters: kept and exported with the generator, seen by no optimiser."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return network.eval()


def build(config: Config) -> HdrCgan:
    """HDR-cGAN's generator with fresh weights; those of a segmenter inside are to be loaded."""
    return HdrCgan(config)
