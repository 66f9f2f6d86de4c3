"""AlexNet up to its last convolution, with torchvision's parameter names (``features.0.weight`` ...).

Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks": one column of the network of 2012.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hdrcli.networks._backbone import Backbone, with_weights

PUBLISHED = "alexnet-owt-7be5be79.pth"  # torchvision's AlexNet_Weights.IMAGENET1K_V1
# the activations, by their index among torchvision's layers
TAPS = {"relu1": 1, "relu2": 4, "relu3": 7, "relu4": 9, "relu5": 11}
SMALLEST = 31  # leaves 7 pixels after the first convolution, 3 after the first pooling, 1 after the second


class AlexNet(Backbone):
    """Taps ``relu1`` (64 features, a quarter of the size), ``relu2`` (192), ``relu3`` (384), ``relu4`` and ``relu5`` (256).

    Made with random weights; :func:`load` reads published ones. 2.5 million parameters.
    """

    def __init__(self) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        ]
        for inputs, width in ((192, 384), (384, 256), (256, 256)):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(layers, TAPS, smallest=SMALLEST, published=PUBLISHED)


def load(weights: Path | None = None) -> AlexNet:
    """AlexNet with weights from a file, a folder or torch's cache, frozen, on the CPU. Raises MissingModel, ModelError."""
    return with_weights(AlexNet(), weights)
