"""Attention R2U-Net: the subnetwork of HDR-cGAN (3.2.1, Fig. 4), with recurrence and attention optional (Table 2).

U-Net of 5 levels, 64 features to 1024. Blocks are recurrent and residual (Alom et al. 2018, "Recurrent residual convolutional
neural network based on U-Net (R2U-Net)"), skips pass attention gates (Oktay et al. 2018, "Attention U-Net"). Where HDR-cGAN is
silent (marked D in the project's specification) this is the usual public form: a 1x1 conv, then two recurrent units, each a
shared [3x3 conv, norm, ReLU] that is applied to its input and then ``steps`` times to input plus last result; upsampling is
nearest, then [3x3 conv, norm, ReLU].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.errors import UsageError

LEVELS = 5
MULTIPLE = 2 ** (LEVELS - 1)  # sides of the input are multiples of this

Norm = Literal["batch", "none"]


@dataclass(frozen=True)
class Config:
    """Form and size; the defaults are the paper's.

    ``inputs``, ``outputs``: channels. ``width``: features of the first level, doubled from level to level. ``attention``: gates
    on the skips. ``recurrence``: recurrent residual blocks; without, two [3x3 conv, norm, ReLU] as in a U-Net. ``steps``: how
    often a recurrent unit sees its own result. ``norm``: "batch", or "none" (convs have biases then). Raises UsageError for
    sizes that no network can have.
    """

    inputs: int = 3
    outputs: int = 3
    width: int = 64
    attention: bool = True
    recurrence: bool = True
    steps: int = 2
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        for name, least in (("inputs", 1), ("outputs", 1), ("width", 2), ("steps", 1)):
            value = getattr(self, name)
            if value < least:
                remedy = f"use {least} or more"
                raise UsageError(f"an Attention R2U-Net can't have {name} {value}", where=f"network.{name}", remedy=remedy)

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each level, the bottleneck last."""
        return tuple(self.width * 2**level for level in range(LEVELS))


def _conv(inputs: int, outputs: int, norm: Norm, size: int = 3) -> list[nn.Module]:
    # batch norm has a bias of its own
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=norm == "none")
    return [conv, nn.BatchNorm2d(outputs)] if norm == "batch" else [conv]


class RecurrentUnit(nn.Module):
    """One [3x3 conv, norm, ReLU] f, applied 1 + ``steps`` times: y = f(x), then y = f(x + y). ``(N, C, H, W)`` in and out."""

    def __init__(self, features: int, steps: int, norm: Norm) -> None:
        super().__init__()
        self.steps = steps
        self.conv = nn.Sequential(*_conv(features, features, norm), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        for _ in range(self.steps):
            y = self.conv(x + y)
        return y


class RecurrentResidualBlock(nn.Module):
    """1x1 conv, then two recurrent units whose result is added to it."""

    def __init__(self, inputs: int, outputs: int, config: Config) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, outputs, 1)
        self.units = nn.Sequential(*(RecurrentUnit(outputs, config.steps, config.norm) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        result: Tensor = x + self.units(x)
        return result


class AttentionGate(nn.Module):
    """Scales a skip by sigmoid(norm(conv(ReLU(norm(conv(gate)) + norm(conv(skip)))))), 1x1 convs, one number a place.

    ``forward(gate, skip)``: both ``(N, features, H, W)``; gives the scaled skip.
    """

    def __init__(self, features: int, norm: Norm) -> None:
        super().__init__()
        inner = max(1, features // 2)
        self.of_gate = nn.Sequential(*_conv(features, inner, norm, 1))
        self.of_skip = nn.Sequential(*_conv(features, inner, norm, 1))
        self.choose = nn.Sequential(nn.ReLU(), *_conv(inner, 1, norm, 1), nn.Sigmoid())

    def forward(self, gate: Tensor, skip: Tensor) -> Tensor:
        scaled: Tensor = skip * self.choose(self.of_gate(gate) + self.of_skip(skip))
        return scaled


class AttentionR2UNet(nn.Module):
    """See the module's docstring. ``forward(image)``: ``(N, inputs, H, W)`` to ``(N, outputs, H, W)``, any real numbers.

    H and W are multiples of 16.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.encoder = nn.ModuleList(_block(i, o, config) for i, o in zip((config.inputs, *widths), widths, strict=False))
        upward = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.up = nn.ModuleList(nn.Sequential(*_conv(i, o, config.norm), nn.ReLU()) for i, o in upward)
        self.gates = nn.ModuleList(AttentionGate(o, config.norm) for _, o in upward) if config.attention else None
        self.decoder = nn.ModuleList(_block(i, o, config) for i, o in upward)
        self.last = nn.Conv2d(widths[0], config.outputs, 1)
        initialise(self, config.norm)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for number, (up, block) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = up(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
            skip = skips.pop()
            if self.gates is not None:
                skip = self.gates[number](x, skip)
            x = block(torch.cat([skip, x], 1))
        result: Tensor = self.last(x)
        return result


def _block(inputs: int, outputs: int, config: Config) -> nn.Module:
    if config.recurrence:
        return RecurrentResidualBlock(inputs, outputs, config)
    first, second = _conv(inputs, outputs, config.norm), _conv(outputs, outputs, config.norm)
    return nn.Sequential(*first, nn.ReLU(), *second, nn.ReLU())


def initialise(network: nn.Module, norm: Norm) -> None:
    """Weights from normal distributions (4.2), biases 0. D: deviation 0.02 as pix2pix has it; without norm, which would undo
    any scale, sqrt(1 / inputs), so that the signal neither dies nor grows through recurrent and residual sums."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            inputs = module.in_channels * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, 0, 0.02 if norm == "batch" else inputs**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)


def build(config: Config) -> AttentionR2UNet:
    """An Attention R2U-Net with fresh weights."""
    return AttentionR2UNet(config)
