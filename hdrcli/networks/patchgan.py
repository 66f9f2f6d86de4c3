"""The discriminators D_X and D_Y of LLM-HDR (supplement S2.2): a 70x70 PatchGAN.

Five 4x4 convolutions of strides 2, 2, 2, 1, 1, as in Isola et al. 2017 ("Image-to-image translation with conditional
adversarial networks", appendix 6.1.2). Where the paper is silent (marked D in the project's specification): LeakyReLU of slope
0.2, no batch norm on the last convolution either, logits instead of a sigmoid, weights drawn from N(0, 0.02) as CycleGAN does.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hdrcli.errors import UsageError

RECEPTIVE_FIELD = 70
SMALLEST = 24  # of height and width: below, there is no value to give
_STRIDES = (2, 2, 2, 1, 1)


@dataclass(frozen=True)
class Config:
    """Size of a PatchGAN; the defaults are the paper's.

    ``width``: features of the first convolution (64, 128, 256, 512, then one logit). ``inputs``: channels of the image.
    ``norm``: batch norm on the three convolutions in the middle, or none. Raises UsageError for sizes that no network can have.
    """

    width: int = 64
    inputs: int = 3
    norm: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "inputs"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"a PatchGAN can't have {name} {value}", where=f"discriminator.{name}", remedy="use 1 or more")


class PatchGAN(nn.Module):
    """``forward(image)``: ``(N, inputs, H, W)`` to logits ``(N, 1, H // 8 - 2, W // 8 - 2)``, above 0 where a patch looks real.

    Each logit sees 70 x 70 pixels (in evaluation mode; batch norm in training sees the batch). H and W are 24 or more, else
    ValueError.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        features = (config.inputs, *(config.width * 2**i for i in range(4)), 1)
        layers: list[nn.Module] = []
        for i, stride in enumerate(_STRIDES):
            last = i == len(_STRIDES) - 1
            normed = config.norm and i > 0 and not last
            # batch norm has a bias of its own
            layers.append(nn.Conv2d(features[i], features[i + 1], 4, stride, padding=1, bias=not normed))
            if normed:
                layers.append(nn.BatchNorm2d(features[i + 1]))
            if not last:
                layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < SMALLEST:
            height, width = image.shape[-2:]
            raise ValueError(f"a PatchGAN needs images of {SMALLEST} x {SMALLEST} pixels or more, not {width} x {height}")
        return self.layers(image)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, 0.02)


def build(config: Config) -> PatchGAN:
    """A PatchGAN with fresh weights."""
    return PatchGAN(config)
