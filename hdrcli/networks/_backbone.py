"""What image classifiers have in common that losses and metrics look into: layers, taps, and weights that others published.

The modules have torchvision's parameter names, so its published files load as they are; torchvision itself isn't needed.
Nothing is downloaded: weights lie where they were put.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hdrcli.errors import MissingModel, ModelError

# of ImageNet's sRGB codes in 0..1, in the order red, green, blue: torchvision's ImageClassification transform
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(codes: Tensor) -> Tensor:
    """sRGB codes in 0..1, ``(N, 3, H, W)``, as the published weights expect them: less the mean, over the deviation."""
    mean, std = (codes.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (codes - mean) / std


class Backbone(nn.Module):
    """The convolutional part of an image classifier, ``features``, up to the last layer that can be tapped.

    ``taps``: names of layers and their index in ``features``, first layers first. ``smallest``: the least height and width that
    leave a pixel at every tap. ``published``: the name of torchvision's file of weights.
    """

    def __init__(self, layers: list[nn.Module], taps: Mapping[str, int], *, smallest: int, published: str) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.taps = dict(taps)
        self.smallest = smallest
        self.published = published

    @property
    def widths(self) -> tuple[int, ...]:
        """How many features each tap has."""
        outputs = [getattr(layer, "out_channels", None) for layer in self.features]
        return tuple(next(c for c in outputs[index::-1] if c is not None) for index in self.taps.values())

    def stages(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Taps one after another as they are computed: ``(name, (N, C, h, w))``. What isn't asked for is never computed.

        ``image``: :func:`normalised` codes, ``(N, 3, H, W)``; H and W are ``smallest`` or more, else ValueError.
        """
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest:
            least = f"{self.smallest} x {self.smallest}"
            raise ValueError(f"{type(self).__name__} needs images of {least} pixels or more, not {width} x {height}")
        names = {index: name for name, index in self.taps.items()}
        for index, layer in enumerate(self.features):
            image = layer(image)
            if index in names:
                yield names[index], image

    def forward(self, image: Tensor, taps: Collection[str] | None = None) -> dict[str, Tensor]:
        """The taps of these names, or all of them, by name; layers after the last of them aren't computed."""
        wanted = set(self.taps if taps is None else taps)
        if unknown := wanted - set(self.taps):
            raise ValueError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        found: dict[str, Tensor] = {}
        for name, features in self.stages(image):
            if name in wanted:
                found[name] = features
            if len(found) == len(wanted):
                break
        return found


AnyBackbone = TypeVar("AnyBackbone", bound=Backbone)


def with_weights(network: AnyBackbone, weights: Path | None) -> AnyBackbone:
    """The network with the weights that :func:`find` finds for it, in evaluation mode, without gradients for its weights.

    Raises MissingModel, or ModelError for files that are damaged or hold another network.
    """
    path = find(network.published, weights)
    if path.name == network.published:
        _check_digest(path)
    own = network.state_dict()
    # what stands after the taps, the classifier, is of no use here
    state = {key: value for key, value in read_tensors(path).items() if key.startswith("features.")}
    wrong = [k for k in own.keys() | state.keys() if k not in own or k not in state or own[k].shape != state[k].shape]
    if wrong:
        fault = f"is no {type(network).__name__}: {len(wrong)} tensors are missing, too many or of another size"
        raise ModelError(fault, where=path, remedy=f"name torchvision's {network.published}")
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def find(published: str, weights: Path | None) -> Path:
    """Where weights lie: the file ``weights``; or the published file in that folder or torch's cache. Raises MissingModel.

    In folders a .safetensors of the published file's name will do as well.
    """
    if weights is not None and weights.is_file():
        return weights
    if weights is not None and not weights.is_dir():
        raise MissingModel("there is no such file or folder", where=weights, remedy=f"name torchvision's {published}")
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    folders = [cache] if weights is None else [weights, cache]
    for folder in folders:
        for name in (published, f"{Path(published).stem}.safetensors"):
            if (folder / name).is_file():
                return folder / name
    looked = " and ".join(map(str, folders))
    remedy = f"hdrcli downloads no weights: put torchvision's {published} there"
    raise MissingModel(f"there are no weights of the name {published}; looked in {looked}", remedy=remedy)


def _check_digest(path: Path) -> None:
    """The first digits of a published file's SHA-256 are in its name."""
    told = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(told):
        fault = f"is damaged, or not what its name says: its SHA-256 begins with {digest[: len(told)]}"
        raise ModelError(fault, where=path, remedy="get it anew, or give another file another name")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors file or one of torch, without running code from it. Raises ModelError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    # what torch and safetensors raise for damaged and foreign files, or for what is more than tensors, is of many kinds
    except Exception as error:
        raise ModelError("can't be read as weights", where=path, remedy="name a state dict: .pth or .safetensors") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError("holds no state dict", where=path, remedy="name a state dict: .pth or .safetensors")
    return {str(key): value for key, value in state.items()}
