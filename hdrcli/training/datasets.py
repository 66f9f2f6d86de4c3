"""Random views of training pictures, and the stream of batches the loop reads.

Every view is determined by (seed, index) alone, whatever the number of worker processes; see :class:`BatchStream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from hdrcli.camera import View, perspective
from hdrcli.color import luminance
from hdrcli.errors import DataError, HdrcliError
from hdrcli.training.cache import Floats, Photo, Picture, Scene, load_scenes
from hdrcli.training.sources import MANIFEST, SceneFile, SceneList, find_scenes

Pictures = Mapping[str, Sequence[Picture]]
Samples = Callable[[Mapping[str, NDArray[Any]], np.random.Generator], list[dict[str, NDArray[Any]]]]
FAULT = "fault"  # key of what a worker gives instead of a batch when a file has gone bad


def random_view(scene: Picture, size: int, rng: np.random.Generator) -> Floats:
    """A random square view: ``(size, size, 3) float32`` radiance.

    Panoramas: any heading, pitch ~ N(2, 14) within +-55 degrees, roll ~ N(0, 3), field of view 35..105 degrees. Photos: a
    square crop of 60..100 % of the short side. Saturation times exp(N(0, 0.2)), mirrored half of the time.
    """
    out = _square(scene, size, rng)
    out = saturated(out, float(np.exp(rng.normal(0, 0.2))))
    return np.ascontiguousarray(out[:, ::-1]) if rng.random() < 0.5 else out


def random_crop(photo: Picture, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square view of an LDR picture in its own colours, ``(size, size, 3) uint8``; else as :func:`random_view`."""
    out = _square(photo, size, rng).astype(np.uint8)
    return np.ascontiguousarray(out[:, ::-1]) if rng.random() < 0.5 else out


def _square(picture: Picture, size: int, rng: np.random.Generator) -> NDArray[Any]:
    """A perspective view of a panorama, a crop of a photo; smaller ones are enlarged."""
    import cv2

    pixels = picture.pixels()
    if picture.panorama:
        pitch = float(np.clip(rng.normal(2, 14), -55, 55))
        view = View(rng.uniform(0, 360), pitch, rng.normal(0, 3), rng.uniform(35, 105))
        return perspective(pixels, view, size, size)
    height, width = pixels.shape[:2]
    side = int(min(height, width) * rng.uniform(0.6, 1.0)) or 1
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = pixels[y : y + side, x : x + side]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=interpolation))


def saturated(radiance: Floats, factor: float) -> Floats:
    """Distance to grey of the same luminance times ``factor``, negatives cut: scenes are few, colours shall not name them."""
    grey = luminance(radiance)[..., None]
    return np.asarray(np.maximum(grey + np.float32(factor) * (radiance - grey), 0), dtype=np.float32)


def enlarged_note(domain: str, pictures: Sequence[Picture], size: int) -> str | None:
    """One line if photos are smaller than the crop. Panoramas are sampled, not cropped."""
    small = sum(1 for p in pictures if not p.panorama and p.short_side < size)
    return f"{small} of {len(pictures)} {domain.upper()} images are smaller than {size} pixels: enlarged" if small else None


_VIEWS: Mapping[str, Callable[[Picture, int, np.random.Generator], NDArray[Any]]] = {"hdr": random_view, "ldr": random_crop}


@dataclass(frozen=True)
class Position:
    """Where a process reads the stream: its batches are ``start + rank``, ``start + rank + world``, ..."""

    start: int = 0
    rank: int = 0
    world: int = 1


class BatchStream(IterableDataset[dict[str, torch.Tensor]]):
    """An endless stream of whole batches. Batch n is made of the views n v, n v + 1, ... (v: ``views_per_batch``).

    So any number of workers and processes, and a run that is resumed, see the same batches in the same order. Scenes of a
    single domain are drawn at random for each view; of two domains each goes through its pictures in an order of its own, a new
    one each time around, so that an epoch shows every picture.
    """

    def __init__(
        self,
        pictures: Pictures,
        view_size: int,
        samples: Samples,
        *,
        seed: int,
        views_per_batch: int,
        position: Position | None = None,
    ) -> None:
        self.pictures, self.view_size, self.samples, self.seed = pictures, view_size, samples, seed
        self.views_per_batch, self.position = views_per_batch, position or Position()

    def draw(self, index: int) -> list[dict[str, NDArray[Any]]]:
        """The samples of one view of each domain."""
        rng = np.random.default_rng([self.seed, index])
        if len(self.pictures) == 1:
            (domain,) = self.pictures
            chosen = self.pictures[domain]
            views = {domain: _VIEWS[domain](chosen[int(rng.integers(len(chosen)))], self.view_size, rng)}
        else:
            views = {}
            for number, (domain, chosen) in enumerate(self.pictures.items()):
                around, place = divmod(index, len(chosen))
                picture = chosen[_order(self.seed, number, around, len(chosen))[place]]
                views[domain] = _VIEWS[domain](picture, self.view_size, rng)
        return self.samples(views, rng)

    def batch(self, number: int) -> dict[str, torch.Tensor]:
        """A batch by its number in the whole stream."""
        first = number * self.views_per_batch
        return collate([sample for i in range(self.views_per_batch) for sample in self.draw(first + i)])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        offset, step = (0, 1) if info is None else (info.id, info.num_workers)
        number = self.position.start + self.position.rank + offset * self.position.world
        while True:
            try:
                yield self.batch(number)
            except HdrcliError as error:  # exceptions lose their form on the way out of a worker
                yield {FAULT: str(error)}
                return
            number += step * self.position.world


@lru_cache(maxsize=8)
def _order(seed: int, number: int, around: int, count: int) -> list[int]:
    """A random order of so many pictures; views use the seeds [seed, index], this one more number."""
    order: list[int] = np.random.default_rng([seed, around, number, 1]).permutation(count).tolist()
    return order


def collate(samples: Sequence[dict[str, NDArray[Any]]]) -> dict[str, torch.Tensor]:
    """Samples ``(h, w, c)`` to a batch of ``(n, c, h, w)`` float32, channels last in memory."""
    batch = {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in samples[0]}
    return {key: value.float().permute(0, 3, 1, 2) for key, value in batch.items()}


def checked_fault(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The batch. Raises DataError if a worker gave a fault instead."""
    if FAULT in batch:
        raise DataError(str(batch[FAULT]))
    return batch


__all__ = [
    "FAULT",
    "MANIFEST",
    "BatchStream",
    "Photo",
    "Picture",
    "Pictures",
    "Position",
    "Scene",
    "SceneFile",
    "SceneList",
    "checked_fault",
    "collate",
    "enlarged_note",
    "find_scenes",
    "load_scenes",
    "random_crop",
    "random_view",
    "saturated",
]
