"""The feedback U-Net of LLM-HDR (paper 3.1, supplement S2.2, Fig. S2), with every part optional.

U-Net of 3 encoder levels, bottleneck and 3 decoder levels. At the bottleneck a feedback block of dilated dense blocks is run
``iterations`` times; the decoder gives an image in every iteration. ``iterations = 1`` without gates is a plain U-Net.

Where the paper is silent (marked D in the project's specification): upsampling is resize + conv (transposed convs give
checkerboards), the hidden state starts at zero for every image, gates are ``1 + conv(map)`` with zero-initialised conv.
G_Y gives the linearised input, in T, plus what the network says; G_X gives the codes of a photo of its input, clipped at LDR
white (:func:`photograph`), plus what the network says. So an untrained pair gives photos back unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hdrcli.color import MU
from hdrcli.errors import UsageError

_MOST = 3.0


@dataclass(frozen=True)
class Config:
    """Form and size of a feedback U-Net; the defaults are the paper's G_Y.

    ``direction``: "expand" (G_Y: T-domain output, all gates) or "tonemap" (G_X: display-encoded output, artifact gate only).
    ``width``: features of the first level (64, 128, 256, then 512). ``iterations``: of the feedback; 1 leaves the block out.
    ``cell``: what is fed back: "dense", what goes to the decoder, as S2.2 describes it; or "convlstm", as 3.1 calls it: the
    block says what a memory forgets and takes in, and what of it is shown (Shi et al. 2015, Eq. 3, without peepholes).
    ``gates``: multiply features by perception maps. ``embedding``: two 512-vectors at the bottleneck. ``peak``: the radiance,
    in LDR whites, that T maps to 1. ``norm``: "batch" as in the paper, or "none". ``stem``: pixel-unshuffle factor before the
    first conv (1: the paper). ``clip_map``: a second 3-channel input that says where channels clipped.
    ``context``: adds the average over the whole bottleneck to every position of it. ``toned``: what G_X adds to: "photo", the
    codes of a photo clipped at LDR white; or "log", the codes of a tone-mapped picture, sqrt(T), in logits and by at most
    ``_MOST`` of them, so that no part of the picture can go flat. ``padding``: what convs see beyond the border: "zeros", or
    "replicate", the nearest pixel, which does not tell a network where the border is. Raises UsageError for sizes that no
    network can have.
    """

    direction: Literal["expand", "tonemap"] = "expand"
    width: int = 64
    iterations: int = 4
    cell: Literal["dense", "convlstm"] = "dense"
    gates: bool = True
    embedding: bool = False
    peak: float = 256.0
    norm: Literal["batch", "none"] = "batch"
    stem: int = 1
    clip_map: bool = False
    context: bool = False
    toned: Literal["photo", "log"] = "photo"
    padding: Literal["zeros", "replicate"] = "zeros"

    def __post_init__(self) -> None:
        for name, value, right, remedy in (
            ("stem", self.stem, self.stem in (1, 2, 4, 8), "use 1, 2, 4 or 8"),
            ("width", self.width, self.width >= 4 and self.width % 4 == 0, "use a multiple of 4"),
            ("iterations", self.iterations, self.iterations >= 1, "use 1 or more"),
            ("cell", self.cell, self.cell in ("dense", "convlstm"), "use dense or convlstm"),
            ("toned", self.toned, self.toned in ("photo", "log"), "use photo or log"),
            ("padding", self.padding, self.padding in ("zeros", "replicate"), "use zeros or replicate"),
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


def t_of_white(peak: float) -> float:
    """T of LDR white, 1 scene-linear."""
    return math.log1p(MU / peak) / math.log1p(MU)


def srgb_to_linear(v: Tensor) -> Tensor:
    """sRGB codes in [0, 1] to linear light (IEC 61966-2-1); differentiable everywhere."""
    return torch.where(v <= 0.04045, v / 12.92, ((v.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(y: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB codes (IEC 61966-2-1); differentiable everywhere."""
    return torch.where(y <= 0.0031308, y * 12.92, 1.055 * y.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def photograph(t: Tensor, peak: float) -> Tensor:
    """T domain to the sRGB codes of an ideal photo: clipped at LDR white. In [0, 1]; gradients are finite for any finite t."""
    # cut in T: the exponential of a T far above 1 is infinite, and so would be its gradient
    return linear_to_srgb(from_t(t.clamp(0.0, t_of_white(peak)), peak)).clamp(0.0, 1.0)


def _toned(t: Tensor, change: Tensor) -> Tensor:
    """sqrt(T) with its logit changed by at most ``_MOST``: in [0, 1], with a gradient wherever it is neither 0 nor 1."""
    start = t.clamp(1e-4, 0.9999).sqrt()
    return torch.sigmoid(torch.logit(start) + _MOST * torch.tanh(change / _MOST))


def within(x: Tensor) -> Tensor:
    """``x`` cut to [0, 1]. Outside, a tenth of the gradient still passes, so that what has left the range can come back."""
    inside = x.clamp(0, 1)
    beyond = x - inside
    return inside + 0.1 * (beyond - beyond.detach())


def clip_map_of(codes: Tensor) -> Tensor:
    """The clip map of an image at its own size: see :func:`hdrcli.inference.working.clip_map`; with finite gradients."""
    low, high = 0.94, 0.99  # hdrcli.inference.working.BLEND_LOW, BLEND_HIGH
    s = ((codes - low) / (high - low)).clamp(0, 1)
    return s * (3 - 2 * s).sqrt()  # sqrt(smoothstep), whose own derivative is infinite at 0


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
    """cat(features, hidden) -> 1x1 -> three dilated dense blocks -> 3x3; the result is decoded, and the next hidden state.

    The state is ``(N, features, h, w)``, at first zeros; its first ``features`` channels are what is decoded.
    """

    states = 1  # times features

    def __init__(self, features: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * features, features, 1)
        self.blocks = nn.Sequential(*(DilatedDenseBlock(features) for _ in range(3)))
        self.out = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        result: Tensor = self.out(self.blocks(self.merge(torch.cat([x, hidden], 1))))
        return result


class LstmFeedbackBlock(FeedbackBlock):
    """The same layers before the gates of a ConvLSTM; the state is ``(N, 2 features, h, w)``: what is decoded, and a memory."""

    states = 2

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.out = nn.Conv2d(features, 4 * features, 3, padding=1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        shown, memory = hidden.chunk(2, 1)
        takes, forgets, shows, news = super().forward(x, shown).chunk(4, 1)
        # a memory starts by forgetting little (Jozefowicz et al. 2015)
        memory = torch.sigmoid(forgets + 1) * memory + torch.sigmoid(takes) * torch.tanh(news)
        return torch.cat([torch.sigmoid(shows) * torch.tanh(memory), memory], 1)


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
    artifact, overexposed, underexposed in [0, 1], ``embeddings`` ``(N, 2, 512)``: of the input, and of the output as far as
    there is one, zeros if not. Gives the last iteration's image, ``(N, 3, H, W)``; :meth:`iterate` gives all of them. H and W
    are multiples of ``config.multiple``.

    ``saves_memory``: set it, and activations are computed again for gradients instead of kept (running statistics then see
    each batch twice).
    """

    saves_memory = False

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
            self.feedback = _CELLS[config.cell](8 * w)
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
        self._last = (last,)  # in a tuple: it has its name in the state already
        for parameter in last.parameters():
            nn.init.zeros_(parameter)  # starts as the linearised input
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = config.padding

    def wake_up(self) -> None:
        """Give the last layer usual random weights instead of zeros.

        Under an L1 loss zeros are a trap: nearly all values are right already, any change costs there more than it gains where
        light is lost, and the layers below get no gradient to tell the two apart.
        """
        for layer in self._last:
            layer.reset_parameters()

    def features(self, ldr: Tensor, clip: Tensor | None = None) -> list[Tensor]:
        """What the encoder makes of an image: one ``(N, C, h, w)`` a level, sides halved from level to level.

        Any image: running statistics, which are those of inputs, don't change.
        """
        return self._encode(ldr, clip, lambda level, x: self._run(_without_trace, level, x))

    def _encode(self, ldr: Tensor, clip: Tensor | None, run: Callable[[nn.Module, Tensor], Tensor]) -> list[Tensor]:
        if self.config.clip_map:
            if clip is None:
                raise ValueError("this feedback U-Net needs a clip map")
            ldr = torch.cat([ldr, clip], 1)
        x = self.head(self.unshuffle(ldr))
        levels: list[Tensor] = []
        for level in self.encoder:
            x = run(level, functional.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        return levels

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """C of each level of :meth:`features`."""
        return (self.config.width, 2 * self.config.width, 4 * self.config.width)

    def iterate(
        self,
        ldr: Tensor,
        clip: Tensor | None = None,
        maps: Tensor | None = None,
        embeddings: Tensor | None = None,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> list[Tensor]:
        """The image of every iteration, first to last.

        ``embed``: gives the ``(N, 512)`` embeddings of an image. With it each iteration but the first takes the embedding of
        the image of the one before as that of the output.
        """
        config = self.config
        if config.gates and maps is None:
            raise ValueError("a gated feedback U-Net needs perception maps")
        if config.embedding and embeddings is None:
            raise ValueError("this feedback U-Net needs embeddings")
        skips = self._encode(ldr, clip, self._run)
        deepest = skips[2]
        if config.gates and config.direction == "expand":
            assert maps is not None
            deepest = self.gate_over(deepest, maps[:, 1:2])
            skips = [gate(s, maps[:, 2:3]) for gate, s in zip(self.gate_under, skips, strict=True)]
        deepest = functional.max_pool2d(deepest, 2)
        x = self._bottleneck(deepest, maps, embeddings)
        if config.iterations == 1:
            return [self._run(self._decode, x, skips, ldr, clip)]
        hidden = torch.zeros_like(x).repeat(1, self.feedback.states, 1, 1)
        images: list[Tensor] = []
        for iteration in range(config.iterations):
            if iteration and config.embedding and embed is not None:
                assert embeddings is not None
                x = self._bottleneck(deepest, maps, torch.stack([embeddings[:, 0], embed(images[-1])], 1))
            hidden = self._run(self.feedback, x, hidden)
            shown = hidden if self.feedback.states == 1 else hidden[:, : 8 * config.width]
            images.append(self._run(self._decode, shown, skips, ldr, clip))
        return images

    def _run(self, part: Callable[..., Tensor], *args: Any) -> Tensor:
        if self.saves_memory and torch.is_grad_enabled():
            result: Tensor = checkpoint(part, *args, use_reentrant=False)
            return result
        return part(*args)

    def _bottleneck(self, x: Tensor, maps: Tensor | None, embeddings: Tensor | None) -> Tensor:
        if self.config.embedding:
            assert embeddings is not None
            e = self.embed_input(embeddings[:, 0, :, None, None]) + self.embed_output(embeddings[:, 1, :, None, None])
            x = torch.cat([x, e.expand(-1, -1, *x.shape[-2:])], 1)
        x = self.bottleneck(x)
        if self.config.context:
            x = x + self.context(x.mean((2, 3), keepdim=True))
        if self.config.gates:
            assert maps is not None
            x = self.gate_artifact(x, maps[:, 0:1])
        return x

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
            if self.config.toned == "log":
                return _toned(ldr.float(), change.float())
            codes = photograph(ldr.float(), self.config.peak) + change.float()
            return within(codes) if self.training else codes.clamp(0, 1)
        return to_t(srgb_to_linear(ldr.float()), self.config.peak) + change.float()

    def forward(
        self, ldr: Tensor, clip: Tensor | None = None, maps: Tensor | None = None, embeddings: Tensor | None = None
    ) -> Tensor:
        return self.iterate(ldr, clip, maps, embeddings)[-1]


def _without_trace(level: nn.Module, x: Tensor) -> Tensor:
    """``level(x)``, running statistics left as they are."""
    norms = [m for m in level.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        result: Tensor = level(x)
    finally:  # a checkpoint that has what it needs leaves by an exception
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return result


class SelfContained(nn.Module):
    """A generator as a bundle holds it: ``forward(ldr)``, or ``forward(ldr, clip)``, nothing else needed.

    ``maps``: makes the perception maps ``(N, 3, H, W)`` of an input inside; None for a network without gates. Embeddings need a
    large network of their own: they are left at zero, as in a part of the training. ``inner`` is the network.
    """

    def __init__(self, inner: FeedbackUNet, maps: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.inner, self._maps = inner, maps

    def forward(self, ldr: Tensor, clip: Tensor | None = None) -> Tensor:
        maps = None if self._maps is None else self._maps(ldr)
        embeddings = ldr.new_zeros(ldr.shape[0], 2, 512) if self.inner.config.embedding else None
        image: Tensor = self.inner(ldr, clip, maps, embeddings)
        return image


_CELLS: dict[str, type[FeedbackBlock]] = {"dense": FeedbackBlock, "convlstm": LstmFeedbackBlock}


def build(config: Config) -> FeedbackUNet:
    """A feedback U-Net with fresh weights."""
    return FeedbackUNet(config)
