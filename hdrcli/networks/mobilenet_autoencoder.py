"""The hybrid autoencoder: MobileNetV3-Large sees, a U-Net-like bottleneck and decoder draw (Demirci and Dere, "Single LDR image
to HDR translation").

What they say: a pretrained, frozen encoder; pixel shuffles upsample, instance norm in each block of the decoder, ReLU, tanh at
the end. They suspect the pixel shuffle of a mosaic in their pictures. Decisions (D) where they are silent, and what is offered
beside theirs:

* D: skips at strides 2, 4, 8 and 16 (16, 24, 40 and 112 features), 960 features at stride 32; blocks are two times 3x3
  convolution, norm, ReLU, of 8, 4, 2, 1 and 1 times ``width`` features from stride 16 to 1, the bottleneck's of 16 times.
* ``upsampling``: a 3x3 convolution to four times the features and a pixel shuffle (Shi et al. 2016, section 3), or nearest
  resize and a 3x3 convolution (Odena et al. 2016). ``icnr``: the four sub-kernels of a shuffle start equal, so that it starts
  as nearest resize after a convolution (Aitken et al. 2017, section 3).
* ``norm``, ``residual``, ``clip_map``: instance norm takes the picture's level and contrast out of every feature, so the
  authors' network can't know how bright a picture is: see docs/hybrid.md. A residual brings the level back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.networks._backbone import normalised
from hdrcli.networks.feedback_unet import srgb_to_linear, to_t
from hdrcli.networks.mobilenetv3 import WIDTHS, MobileNetV3Large

EPSILON = 1e-6  # of the authors' min-max norms
_STRIDES = (16, 8, 4, 2, 1)  # of the decoder's levels
_FACTORS = (8, 4, 2, 1, 1)  # of the width, there


@dataclass(frozen=True)
class Config:
    """Form and size of a hybrid autoencoder; ``mobilenet_autoencoder.Config()`` is the authors' but for the target.

    ``width``: features of the finest level. ``upsampling``, ``icnr``, ``norm``: see the module's docstring. ``input``: codes by
    ImageNet's statistics, or "minmax": by their own range first, as the authors' equations have it. ``target``: what tanh
    stands for, "mu_law": T; "minmax_log": the authors' log(1 + y) by its own range, which forgets the scale: the darkest value
    is given back as 0 and the brightest as ``brightest`` LDR whites, whatever they were. ``residual``: tanh is what is added to
    T of the linearised input ("mu_law" only). ``clip_map``: a second input that says where channels clipped. ``peak``: the
    radiance, in LDR whites, that T maps to 1.

    Raises UsageError for sizes that no network can have and for options that exclude each other.
    """

    width: int = 32
    upsampling: Literal["pixelshuffle", "resize"] = "pixelshuffle"
    icnr: bool = True
    norm: Literal["instance", "none"] = "instance"
    input: Literal["imagenet", "minmax"] = "imagenet"
    target: Literal["mu_law", "minmax_log"] = "mu_law"
    residual: bool = False
    clip_map: bool = False
    peak: float = 256.0
    brightest: float = 16.0

    def __post_init__(self) -> None:
        for name, value, right, remedy in (
            ("width", self.width, self.width >= 4, "use 4 or more"),
            ("peak", self.peak, 1 < self.peak <= 2**20, "use more than 1, at most 2^20"),
            ("brightest", self.brightest, 0 < self.brightest <= 2**20, "use more than 0, at most 2^20"),
        ):
            if not right:
                raise UsageError(f"a hybrid autoencoder can't have {name} {value}", where=f"network.{name}", remedy=remedy)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return 32


class InstanceNorm(nn.Module):
    """Each feature of each picture to mean 0 and deviation 1 over the picture, then a learned scale and offset.

    Ulyanov et al. 2016. torch's own refuses a picture of one cell in training and reorders memory; this doesn't.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        scale = self.weight.view(1, -1, 1, 1) * torch.rsqrt(variance + 1e-5)
        # the mean first: of features that hardly vary little else would be left of what rounding leaves
        return ((x.float() - mean) * scale + self.bias.view(1, -1, 1, 1)).to(x.dtype)


class Upsampling(nn.Module):
    """Twice the size: ``(N, inputs, h, w)`` to ``(N, outputs, 2 h, 2 w)``."""

    def __init__(self, inputs: int, outputs: int, config: Config) -> None:
        super().__init__()
        self.shuffles = config.upsampling == "pixelshuffle"
        self.conv = nn.Conv2d(inputs, outputs * (4 if self.shuffles else 1), 3, padding=1)
        if self.shuffles and config.icnr:
            with torch.no_grad():
                self.conv.weight.copy_(self.conv.weight[::4].repeat_interleave(4, 0))
                assert self.conv.bias is not None
                self.conv.bias.copy_(self.conv.bias[::4].repeat_interleave(4, 0))

    def forward(self, x: Tensor) -> Tensor:
        if self.shuffles:
            return functional.pixel_shuffle(self.conv(x), 2)
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


def _block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in (inputs, outputs):
        layers.append(nn.Conv2d(i, outputs, 3, padding=1))
        if norm == "instance":
            layers.append(InstanceNorm(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class MobileNetAutoencoder(nn.Module):
    """``forward(ldr, clip=None)``: sRGB codes in [0, 1], ``(N, 3, H, W)``, to T of the light they stand for, of the same size.

    ``clip`` ``(N, 3, H, W)``: see :func:`hdrcli.inference.working.clip_map`; needed if ``config.clip_map``, else left alone. H
    and W are multiples of 32. Made with a random encoder that is trained; :meth:`freeze` ends that.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.frozen = False
        self.encoder = MobileNetV3Large()
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # torch's own; at 0.01 a run of a few hundred steps would be over too soon
        w, more = config.width, 3 if config.clip_map else 0
        widths = [w * factor for factor in _FACTORS]
        skips = [*reversed(WIDTHS[:-1]), 0]  # at full size there is no skip: the encoder's first layer has stride 2
        self.bottleneck = _block(WIDTHS[-1] + more, 16 * w, config.norm)
        self.up = nn.ModuleList(Upsampling(i, o, config) for i, o in zip([16 * w, *widths[:-1]], widths, strict=True))
        self.decoder = nn.ModuleList(_block(o + s + more, o, config.norm) for o, s in zip(widths, skips, strict=True))
        self.out = nn.Conv2d(w, 3, 3, padding=1)
        if config.residual:
            for parameter in self.out.parameters():
                nn.init.zeros_(parameter)  # starts as the linearised input

    def freeze(self) -> None:
        """The encoder stays as it is from here on: its weights get no gradients, its running statistics don't change."""
        self.frozen = True
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MobileNetAutoencoder:
        """As any module; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def learned(self) -> list[nn.Parameter]:
        """Parameters that are trained: all, or those of bottleneck and decoder."""
        held = {id(p) for p in self.encoder.parameters()} if self.frozen else set()
        return [p for p in self.parameters() if id(p) not in held]

    def features(self, ldr: Tensor) -> list[Tensor]:
        """The encoder's taps, finest first: ``(N, C, H / s, W / s)`` for strides s of 2, 4, 8, 16, 32."""
        if self.config.input == "minmax":
            # (x - min + eps) / max, then ImageNet's statistics: the equations of the "Final Training Pipeline"
            ldr = (ldr - ldr.amin((1, 2, 3), keepdim=True) + EPSILON) / ldr.amax((1, 2, 3), keepdim=True).clamp(min=EPSILON)
        image = normalised(ldr)
        if self.frozen:
            # whatever requires_grad says: a loop may set it for all of a network's parameters
            with torch.no_grad():
                return [tap for _, tap in self.encoder.stages(image)]
        return [tap for _, tap in self.encoder.stages(image)]

    def upsampled(self, ldr: Tensor, clip: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """What each upsampling gives, coarsest first, strides 16, 8, 4, 2, 1; and what tanh gives, in [-1, 1]."""
        if self.config.clip_map and clip is None:
            raise ValueError("this hybrid autoencoder needs a clip map")
        if not self.config.clip_map:
            clip = None
        *skips, x = self.features(ldr)
        x = self.bottleneck(_together([x], clip, 32))
        found: list[Tensor] = []
        for up, block, skip, stride in zip(self.up, self.decoder, [*reversed(skips), None], _STRIDES, strict=True):
            x = up(x)
            found.append(x)
            x = block(_together([x] if skip is None else [x, skip], clip, stride))
        return found, torch.tanh(self.out(x).float())

    def signal(self, ldr: Tensor, clip: Tensor | None = None) -> Tensor:
        """What the network learns to say, 0..1 in range: T of the light, or its log(1 + y) between the picture's extremes."""
        said = self.upsampled(ldr, clip)[1]
        if self.config.residual:
            return to_t(srgb_to_linear(ldr.float()), self.config.peak) + said
        return (said + 1) / 2

    def forward(self, ldr: Tensor, clip: Tensor | None = None) -> Tensor:
        return signal_as_t(self.signal(ldr, clip), self.config)


def signal_of(light: Tensor, config: Config) -> Tensor:
    """What the network shall say of light in LDR whites, ``(N, 3, H, W)``, 0 to ``peak``: T, or the authors' min-max log.

    Theirs: v = log(1 + y), then (v - min + eps) / max, minimum and maximum over the picture.
    """
    if config.target == "mu_law":
        return to_t(light, config.peak)
    v = torch.log1p(light)
    return (v - v.amin((1, 2, 3), keepdim=True) + EPSILON) / v.amax((1, 2, 3), keepdim=True).clamp(min=EPSILON)


def signal_as_t(signal: Tensor, config: Config) -> Tensor:
    """T of what the network says: itself; or with the scale that ``brightest`` states, since a min-max log has none."""
    if config.target == "mu_law":
        return signal
    return to_t(torch.expm1(signal * math.log1p(config.brightest)), config.peak)


def _together(parts: list[Tensor], clip: Tensor | None, stride: int) -> Tensor:
    """Features side by side, with the mean of the clip map in their cells if there is one."""
    if clip is not None:
        parts = [*parts, functional.avg_pool2d(clip, stride)]
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def build(config: Config) -> MobileNetAutoencoder:
    """A hybrid autoencoder with fresh weights. Raises UsageError for options that exclude each other."""
    if config.residual and config.target != "mu_law":
        remedy = "use target mu_law, or leave the residual out"
        raise UsageError("a residual has no place in a target without scale", where="network.residual", remedy=remedy)
    return MobileNetAutoencoder(config)
