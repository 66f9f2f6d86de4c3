"""The feedback U-Net of LLM-HDR (paper 3.1, supplement S2.2, Fig. S2), with every part optional.

U-Net of 3 encoder levels, bottleneck and 3 decoder levels. At the bottleneck a feedback block of dilated dense blocks is run
``iterations`` times; the decoder gives an image in every iteration. ``iterations = 1`` without gates is a plain U-Net.

Where the paper is silent (marked D in the project's specification): upsampling is resize + conv (transposed convs give
checkerboards), the hidden state starts at zero for every image, gates are ``1 + conv(map)`` with zero-initialised conv.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.color import MU
from hdrcli.errors import UsageError


@dataclass(frozen=True)
class Config:
    """Form and size of a feedback U-Net; the defaults are the paper's G_Y.

    ``direction``: "expand" (G_Y: T-domain output, all gates) or "tonemap" (G_X: display-encoded output, artifact gate only).
    ``width``: features of the first level (64, 128, 256, then 512). ``iterations``: of the feedback; 1 leaves the block out.
    ``gates``: multiply features by perception maps. ``embedding``: two 512-vectors at the bottleneck. ``peak``: the radiance,
    in LDR whites, that T maps to 1. ``norm``: "batch" as in the paper, or "none". ``stem``: pixel-unshuffle factor before the
    first conv (1: the paper). ``clip_map``: a second 3-channel input that says where channels clipped.
    ``context``: adds the average over the whole bottleneck to every position of it. Raises UsageError for sizes that no
    network can have.
    """

    direction: Literal["expand", "tonemap"] = "expand"
    width: int = 64
    iterations: int = 4
    gates: bool = True
    embedding: bool = False
    peak: float = 256.0
    norm: Literal["batch", "none"] = "batch"
    stem: int = 1
    clip_map: bool = False
    context: bool = False

    def __post_init__(self) -> None:
        for name, value, right, remedy in (
            ("stem", self.stem, self.stem in (1, 2, 4, 8), "use 1, 2, 4 or 8"),
            ("width", self.width, self.width >= 4 and self.width % 4 == 0, "use a multiple of 4"),
            ("iterations", self.iterations, self.iterations >= 1, "use 1 or more"),
            ("peak", self.peak, 1 < self.peak <= 2**20, "use more than 1, at most 2^20"),
        ):
            if not right:
                raise UsageError(f"a feedback U-Net can't have {name} {value}", where=f"network.{name}", remedy=remedy)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return 8 * self.stem


def to_t(y: Tensor, peak: float) -> Tensor:
    """Scene-linear (1 = LDR white) to the T domain: log(1 + mu y / peak) / log(1 + mu), Eq. 1."""
    return torch.log1p(y * (MU / peak)) / float(torch.log1p(torch.tensor(MU)))


def from_t(t: Tensor, peak: float) -> Tensor:
    """T domain to scene-linear: the inverse of :func:`to_t`."""
    return torch.expm1(t * float(torch.log1p(torch.tensor(MU)))) * (peak / MU)


def srgb_to_linear(v: Tensor) -> Tensor:
    """sRGB codes in [0, 1] to linear light (IEC 61966-2-1); differentiable everywhere."""
    return torch.where(v <= 0.04045, v / 12.92, ((v.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in (inputs, outputs):
        layers += [nn.Conv2d(i, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        if norm == "batch":
            layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers)


class DilatedDenseBlock(nn.Module):
    """1x1 compression, four 3x3 convs of dilation 3, densely concatenated, 1x1 compression, residual (S2.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        growth = features // 4
        self.compress = nn.Conv2d(features, growth, 1)
        self.convs = nn.ModuleList(nn.Conv2d(growth * (i + 1), growth, 3, padding=3, dilation=3) for i in range(4))
        self.merge = nn.Conv2d(growth * 5, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.compress(x)]
        for conv in self.convs:
            parts.append(functional.relu(conv(torch.cat(parts, 1))))
        merged: Tensor = self.merge(torch.cat(parts, 1))
        return x + merged


class FeedbackBlock(nn.Module):
    """cat(features, hidden) -> 1x1 -> three dilated dense blocks -> 3x3; the result is decoded, and the next hidden state."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * features, features, 1)
        self.blocks = nn.Sequential(*(DilatedDenseBlock(features) for _ in range(3)))
        self.out = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        result: Tensor = self.out(self.blocks(self.merge(torch.cat([x, hidden], 1))))
        return result


class Gate(nn.Module):
    """features * (1 + conv(map)); the 1x1 conv starts at zero, so an untrained gate does nothing."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, features, 1)
        nn.init.zeros_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, perception_map: Tensor) -> Tensor:
        resized = functional.interpolate(perception_map, size=x.shape[-2:], mode="bilinear", align_corners=False)
        gated: Tensor = x * (1 + self.conv(resized))
        return gated


class FeedbackUNet(nn.Module):
    """See the module's docstring.

    ``forward(ldr, clip=None, maps=None, embeddings=None)`` with ``ldr`` ``(N, 3, H, W)`` display-encoded in [0, 1] (G_X:
    T-domain), ``clip`` ``(N, 3, H, W)`` in [0, 1] (see :func:`hdrcli.inference.working.clip_map`), ``maps`` ``(N, 3, H, W)``:
    artifact, overexposed, underexposed in [0, 1], ``embeddings`` ``(N, 2, 512)``. Gives the last iteration's image,
    ``(N, 3, H, W)``; :meth:`iterate` gives all of them. H and W are multiples of ``config.multiple``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        w, stem = config.width, config.stem
        inputs = (6 if config.clip_map else 3) * stem**2
        self.unshuffle = nn.PixelUnshuffle(stem) if stem > 1 else nn.Identity()
        self.head = nn.Conv2d(inputs, w // 2, 3, padding=1) if stem == 1 else nn.Conv2d(inputs, w, 3, padding=1)
        first = w // 2 if stem == 1 else w
        widths = (w, 2 * w, 4 * w)
        self.encoder = nn.ModuleList(_block(i, o, config.norm) for i, o in zip((first, w, 2 * w), widths, strict=True))
        if config.embedding:
            self.embed_input, self.embed_output = nn.Conv2d(512, 4 * w, 1), nn.Conv2d(512, 4 * w, 1)
        self.bottleneck = _block(8 * w if config.embedding else 4 * w, 8 * w, config.norm)
        if config.context:
            self.context = nn.Sequential(nn.Conv2d(8 * w, 8 * w, 1), nn.ReLU(), nn.Conv2d(8 * w, 8 * w, 1))
        if config.iterations > 1:
            self.feedback = FeedbackBlock(8 * w)
        self.up = nn.ModuleList(nn.Conv2d(2 * o, o, 3, padding=1) for o in reversed(widths))
        self.decoder = nn.ModuleList(_block(2 * o, o, config.norm) for o in reversed(widths))
        if config.gates:
            self.gate_artifact = Gate(8 * w)
            if config.direction == "expand":
                self.gate_over = Gate(4 * w)
                self.gate_under = nn.ModuleList(Gate(o) for o in widths)
        # The stem's inverse is resize + conv, not a pixel shuffle: no mosaic
        if stem == 1:
            self.tail: nn.Module = (last := nn.Conv2d(w, 3, 3, padding=1))
        else:
            self.tail = nn.Sequential(nn.Conv2d(w + 6, w // 2, 3, padding=1), nn.ReLU())
            self.out = last = nn.Conv2d(w // 2, 3, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # starts as the linearised input

    def iterate(
        self, ldr: Tensor, clip: Tensor | None = None, maps: Tensor | None = None, embeddings: Tensor | None = None
    ) -> list[Tensor]:
        """The image of every iteration, first to last."""
        config = self.config
        if config.gates and maps is None:
            raise ValueError("a gated feedback U-Net needs perception maps")
        if config.clip_map:
            if clip is None:
                raise ValueError("this feedback U-Net needs a clip map")
            x = torch.cat([ldr, clip], 1)
        else:
            x = ldr
        x = self.head(self.unshuffle(x))
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        if config.gates and config.direction == "expand":
            assert maps is not None
            x = functional.max_pool2d(self.gate_over(skips[2], maps[:, 1:2]), 2)
            skips = [gate(s, maps[:, 2:3]) for gate, s in zip(self.gate_under, skips, strict=True)]
        if config.embedding:
            if embeddings is None:
                raise ValueError("this feedback U-Net needs embeddings")
            e = self.embed_input(embeddings[:, 0, :, None, None]) + self.embed_output(embeddings[:, 1, :, None, None])
            x = torch.cat([x, e.expand(-1, -1, *x.shape[-2:])], 1)
        x = self.bottleneck(x)
        if config.context:
            x = x + self.context(x.mean((2, 3), keepdim=True))
        if config.gates:
            assert maps is not None
            x = self.gate_artifact(x, maps[:, 0:1])
        if config.iterations == 1:
            return [self._decode(x, skips, ldr, clip)]
        hidden, images = torch.zeros_like(x), []
        for _ in range(config.iterations):
            hidden = self.feedback(x, hidden)
            images.append(self._decode(hidden, skips, ldr, clip))
        return images

    def _decode(self, x: Tensor, skips: list[Tensor], ldr: Tensor, clip: Tensor | None) -> Tensor:
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = up(functional.interpolate(x, size=skip.shape[-2:], mode="nearest"))
            x = level(torch.cat([x, skip], 1))
        if self.config.stem > 1:
            # second-to-last features at half the input's size, beside the input at that size
            half = (ldr.shape[-2] // 2, ldr.shape[-1] // 2)
            x = functional.interpolate(x, size=half, mode="bilinear", align_corners=False)
            near = torch.cat([ldr, ldr if clip is None else clip], 1)
            x = self.tail(torch.cat([x, functional.avg_pool2d(near, 2)], 1))
            change = functional.interpolate(self.out(x), size=ldr.shape[-2:], mode="bilinear", align_corners=False)
        else:
            change = self.tail(x)
        if self.config.direction == "tonemap":
            return (ldr + change).clamp(0, 1)
        return to_t(srgb_to_linear(ldr.float()), self.config.peak) + change.float()

    def forward(
        self, ldr: Tensor, clip: Tensor | None = None, maps: Tensor | None = None, embeddings: Tensor | None = None
    ) -> Tensor:
        return self.iterate(ldr, clip, maps, embeddings)[-1]


def build(config: Config) -> FeedbackUNet:
    """A feedback U-Net with fresh weights."""
    return FeedbackUNet(config)
