"""VGG16 up to its last convolution, with torchvision's parameter names (``features.0.weight`` ...).

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", configuration D.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hdrcli.networks._backbone import Backbone, with_weights

PUBLISHED = "vgg16-397923af.pth"  # torchvision's VGG16_Weights.IMAGENET1K_V1
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # features of the 3x3 convolutions
# the last activation of each block, by its index among torchvision's layers
TAPS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29}
SMALLEST = 16  # four poolings halve


class VGG16(Backbone):
    """Taps ``relu1_2`` (64 features, full size), ``relu2_2`` (128, half), ``relu3_3`` (256), ``relu4_3``, ``relu5_3`` (512).

    Made with random weights; :func:`load` reads published ones. 14.7 million parameters.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for block in _BLOCKS:
            if layers:
                layers.append(nn.MaxPool2d(2, 2))
            for width in block:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
        super().__init__(layers, TAPS, smallest=SMALLEST, published=PUBLISHED)


def load(weights: Path | None = None) -> VGG16:
    """VGG16 with weights from a file, a folder or torch's cache, frozen, on the CPU. Raises MissingModel, ModelError."""
    return with_weights(VGG16(), weights)
