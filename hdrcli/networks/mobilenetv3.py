"""MobileNetV3-Large up to its last convolution, with torchvision's parameter names (``features.0.0.weight`` ...).

Howard et al. 2019, "Searching for MobileNetV3", table 1. As in torchvision's network: squeeze-and-excitation before the
projection, with widths that are multiples of 8; batch norm with an epsilon of 0.001 and a momentum of 0.01.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdrcli.networks._backbone import Backbone, with_weights

PUBLISHED = "mobilenet_v3_large-8738ca79.pth"  # torchvision's MobileNet_V3_Large_Weights.IMAGENET1K_V1
# the last layer of each size, by its index among torchvision's
TAPS = {"stride2": 1, "stride4": 3, "stride8": 6, "stride16": 12, "stride32": 16}
WIDTHS = (16, 24, 40, 112, 960)  # features of the taps
SMALLEST = 32  # five strides halve


class _Row(NamedTuple):
    """A row of table 1."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hard: bool  # hard swish, else ReLU
    stride: int


_ROWS = (
    _Row(3, 16, 16, False, False, 1),
    _Row(3, 64, 24, False, False, 2),
    _Row(3, 72, 24, False, False, 1),
    _Row(5, 72, 40, True, False, 2),
    _Row(5, 120, 40, True, False, 1),
    _Row(5, 120, 40, True, False, 1),
    _Row(3, 240, 80, False, True, 2),
    _Row(3, 200, 80, False, True, 1),
    _Row(3, 184, 80, False, True, 1),
    _Row(3, 184, 80, False, True, 1),
    _Row(3, 480, 112, True, True, 1),
    _Row(3, 672, 112, True, True, 1),
    _Row(5, 672, 160, True, True, 2),
    _Row(5, 960, 160, True, True, 1),
    _Row(5, 960, 160, True, True, 1),
)


def _multiple_of_8(value: float) -> int:
    """The nearest multiple of 8 that is at least 8 and not below nine tenths of it, as the authors round widths."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = None
) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([] if act is None else [act(inplace=True)]))


class SqueezeExcitation(nn.Module):
    """Channels weighted by what they hold on average over the picture (Hu et al. 2018, with a hard sigmoid)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        squeezed = _multiple_of_8(features / 4)
        self.fc1 = nn.Conv2d(features, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * functional.hardsigmoid(scale)


class InvertedResidual(nn.Module):
    """Expand, convolve each feature by itself, squeeze and excite, project; added to the input where it has its form."""

    def __init__(self, inputs: int, row: _Row) -> None:
        super().__init__()
        act: type[nn.Module] = nn.Hardswish if row.hard else nn.ReLU
        layers: list[nn.Module] = []
        if row.expanded != inputs:
            layers.append(_conv(inputs, row.expanded, 1, act=act))
        layers.append(_conv(row.expanded, row.expanded, row.kernel, row.stride, row.expanded, act))
        if row.squeeze:
            layers.append(SqueezeExcitation(row.expanded))
        layers.append(_conv(row.expanded, row.out, 1))
        self.block = nn.Sequential(*layers)
        self.adds = row.stride == 1 and inputs == row.out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.adds else self.block(x)


class MobileNetV3Large(Backbone):
    """Taps ``stride2`` (16 features), ``stride4`` (24), ``stride8`` (40), ``stride16`` (112), ``stride32`` (960).

    Made with random weights; :func:`load` reads published ones. 2.97 million parameters.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = [_conv(3, 16, 3, 2, act=nn.Hardswish)]
        inputs = 16
        for row in _ROWS:
            layers.append(InvertedResidual(inputs, row))
            inputs = row.out
        layers.append(_conv(inputs, 6 * inputs, 1, act=nn.Hardswish))
        super().__init__(layers, TAPS, smallest=SMALLEST, published=PUBLISHED)
        # He et al. 2015, by what enters a convolution. By what leaves it, as torchvision has it, signals fade in depthwise
        # convolutions as long as batch norm has seen nothing
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many features each tap has."""
        return WIDTHS


def load(weights: Path | None = None) -> MobileNetV3Large:
    """MobileNetV3-Large with weights from a file, a folder or torch's cache, frozen. Raises MissingModel, ModelError."""
    with torch.device("cpu"):
        return with_weights(MobileNetV3Large(), weights)
