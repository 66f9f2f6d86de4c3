"""What guides say of photos and scenes as they are, before a network has touched them.

That depends on data alone. On the CPU the workers that make samples find it out, beside the networks' work; on other devices it
is left to the device. A guide that looks at pictures one by one and is slow or costs money (``llm``) is asked for each whole
picture once instead of for every view of it, and views get their part of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrcli.color import MU
from hdrcli.training.datasets import Frame

if TYPE_CHECKING:
    from hdrcli.perception import MasksProvider, PictureMapsProvider
    from hdrcli.training.cache import Picture
    from hdrcli.training.datasets import Pictures
    from hdrcli.training.sources import Domain


def packed_maps(maps: Sequence[Tensor]) -> NDArray[np.float32]:
    """Perception maps, ``(1, 3, S, S)`` each, as a sample's entry ``(S, S, 3 n)``."""
    return np.ascontiguousarray(torch.cat(tuple(maps), 1)[0].permute(1, 2, 0).numpy())


def packed_areas(areas: Sequence[Tensor]) -> NDArray[np.float32]:
    """What a guide for masks knows of LDR images, ``(1, a, K, c)`` each, as a sample's entry ``(n a, K, c)``."""
    return torch.cat(tuple(areas), 1)[0].numpy()


def unpacked_areas(entry: Tensor, count: int) -> list[Tensor]:
    """The reverse, of a batch ``(N, c, n a, K)``: ``(N, a, K, c)`` for each of ``count`` images."""
    return list(entry.permute(0, 2, 3, 1).contiguous().chunk(count, 1))


def finds_areas(masks: MasksProvider | None) -> bool:
    """Can the guide for masks say beforehand what it wants to know of the LDR?"""
    return hasattr(masks, "areas")


def is_for_pictures(maps: Any) -> bool:
    """Is a guide for maps to be asked about whole pictures?"""
    return hasattr(maps, "regions")


class WholePictures:
    """Asks a guide once about each picture that views are drawn from.

    What it answered is kept for the run (regions take little), beside the guide's own cache; what it did not answer is asked
    again, as the guide sees fit. Scenes are shown to it in T, at the exposure at which they are loaded: median 0.18.
    """

    def __init__(self, guide: PictureMapsProvider, pictures: Pictures, peak: float) -> None:
        self._guide, self._pictures, self._peak = guide, pictures, peak
        self._answers: dict[tuple[str, int], tuple[Any, int, int]] = {}

    @property
    def count(self) -> int:
        """Number of pictures."""
        return sum(len(chosen) for chosen in self._pictures.values())

    def maps(self, domain: Domain, frames: Tensor, size: int) -> list[Tensor | None]:
        """Maps ``(1, 3, size, size)`` of the views of a batch; None for those whose picture has no answer.

        ``frames``: ``(N, 7, 1, 1)``, see :meth:`hdrcli.training.datasets.Frame.packed`.
        """
        found: list[Tensor | None] = []
        for values in frames.flatten(1).tolist():
            number, frame = Frame.unpacked(values)
            planes = self._planes(domain, number)
            part = None if planes is None else torch.from_numpy(frame.cut(planes, size)).permute(2, 0, 1)[None]
            found.append(None if part is None else part.clamp(0, 1).to(frames.device))
        return found

    def _planes(self, domain: Domain, number: int) -> NDArray[np.float32] | None:
        key = (domain, number)
        if key not in self._answers:
            pixels = self._shown(self._pictures[domain][number], domain)
            regions = self._guide.regions(pixels)
            if regions is None:
                return None
            self._answers[key] = (regions, *pixels.shape[:2])
        return np.ascontiguousarray(np.moveaxis(self._guide.planes(*self._answers[key]), 0, -1))

    def _shown(self, picture: Picture, domain: Domain) -> NDArray[np.uint8]:
        """A picture as it is shown to the guide, as small as the guide takes it: ``(h, w, 3) uint8``."""
        import cv2

        pixels = picture.pixels()
        scale = min(1.0, self._guide.longest_side / max(pixels.shape[:2]))
        if scale < 1:
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        if domain == "ldr":
            return np.ascontiguousarray(pixels, dtype=np.uint8)
        t = np.log1p(np.clip(pixels, 0, self._peak) * np.float32(MU / self._peak)) / np.float32(np.log1p(MU))
        return np.asarray(np.rint(t * 255), dtype=np.uint8)
