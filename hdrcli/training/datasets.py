"""Random views of training pictures, and the stream of batches the loop reads.

Every view is determined by (seed, index) alone, whatever the number of worker processes; see :class:`BatchStream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from hdrcli.camera import View, perspective
from hdrcli.color import luminance
from hdrcli.errors import DataError, HdrcliError
from hdrcli.training.cache import Floats, Pair, Photo, Picture, Scene, load_scenes
from hdrcli.training.sources import MANIFEST, SceneFile, SceneList, find_scenes

Pictures = Mapping[str, Sequence[Picture]]
Samples = Callable[[Mapping[str, NDArray[Any]], np.random.Generator], list[dict[str, NDArray[Any]]]]
FAULT = "fault"  # key of what a worker gives instead of a batch when a file has gone bad


@dataclass(frozen=True)
class Frame:
    """What part of a picture a view shows: so that what is known of the whole picture can be cut alike.

    ``view``: of a panorama; else ``crop``: top, left, height and width, as shares of the picture's. Then ``mirrored`` or not.
    """

    view: View | None
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    mirrored: bool = False

    def packed(self, number: int) -> Floats:
        """As a sample's entry, ``(1, 1, 7)``, with the number of the picture among those of its domain."""
        view = self.view
        values = self.crop if view is None else (view.heading, view.pitch, view.roll, view.fov)
        return np.array([number, self.mirrored, view is not None, *values], np.float32).reshape(1, 1, -1)

    @classmethod
    def unpacked(cls, values: Sequence[float]) -> tuple[int, Frame]:
        """The reverse of :meth:`packed`, of its seven numbers."""
        number, mirrored, panorama, *where = (float(v) for v in values)
        a, b, c, d = where
        return int(number), cls(View(a, b, c, d) if panorama else None, (a, b, c, d), bool(mirrored))

    def cut(self, planes: Floats, size: int) -> Floats:
        """``(size, size, 3)`` of ``(h, w, 3) float32`` that stand for the whole picture, at any size; bilinear."""
        import cv2

        if self.view is not None:
            out = perspective(planes, self.view, size, size)
        else:
            top, left, height, width = self.crop
            steps = np.array([width * planes.shape[1], height * planes.shape[0]]) / size
            begin = np.array([left * planes.shape[1], top * planes.shape[0]]) + steps / 2 - 0.5
            matrix = np.concatenate([np.diag(steps), begin[:, None]], 1)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            out = np.asarray(cv2.warpAffine(planes, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))
        return np.ascontiguousarray(out[:, ::-1]) if self.mirrored else out


def random_view(scene: Picture, size: int, rng: np.random.Generator) -> Floats:
    """A random square view: ``(size, size, 3) float32`` radiance.

    Panoramas: any heading, pitch ~ N(2, 14) within +-55 degrees, roll ~ N(0, 3), field of view 35..105 degrees. Photos: a
    square crop of 60..100 % of the short side. Saturation times exp(N(0, 0.2)), mirrored half of the time.
    """
    return _framed_view(scene, size, rng)[0]


def _framed_view(scene: Picture, size: int, rng: np.random.Generator) -> tuple[Floats, Frame]:
    out, frame = _square(scene, size, rng)
    out = saturated(out, float(np.exp(rng.normal(0, 0.2))))
    return _perhaps_mirrored(out, frame, rng)


def random_crop(photo: Picture, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square view of an LDR picture in its own colours, ``(size, size, 3) uint8``; else as :func:`random_view`."""
    return _framed_crop(photo, size, rng)[0]


def _framed_crop(photo: Picture, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Frame]:
    out, frame = _square(photo, size, rng)
    return _perhaps_mirrored(out.astype(np.uint8), frame, rng)


def _framed_pair(pair: Pair, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Floats, Frame]:
    """The same random square of both, mirrored alike, in their own colours: what was measured must stay what was measured."""
    codes, light = pair.photo.pixels(), pair.scene.pixels()
    place = _somewhere(light.shape, pair.panorama, rng)
    frame = _frame(place, light.shape)
    codes, frame = _perhaps_mirrored(_cut(codes, place, size), frame, rng)
    light = _cut(light, place, size)
    return codes.astype(np.uint8), np.ascontiguousarray(light[:, ::-1]) if frame.mirrored else light, frame


def _perhaps_mirrored(out: NDArray[Any], frame: Frame, rng: np.random.Generator) -> tuple[NDArray[Any], Frame]:
    if rng.random() < 0.5:
        return np.ascontiguousarray(out[:, ::-1]), replace(frame, mirrored=True)
    return out, frame


_Place = View | tuple[int, int, int]  # of a photo: top, left, side


def _square(picture: Picture, size: int, rng: np.random.Generator) -> tuple[NDArray[Any], Frame]:
    """A perspective view of a panorama, a crop of a photo; smaller ones are enlarged."""
    pixels = picture.pixels()
    place = _somewhere(pixels.shape, picture.panorama, rng)
    return _cut(pixels, place, size), _frame(place, pixels.shape)


def _somewhere(shape: tuple[int, ...], panorama: bool, rng: np.random.Generator) -> _Place:
    if panorama:
        pitch = float(np.clip(rng.normal(2, 14), -55, 55))
        return View(rng.uniform(0, 360), pitch, rng.normal(0, 3), rng.uniform(35, 105))
    height, width = shape[:2]
    side = int(min(height, width) * rng.uniform(0.6, 1.0)) or 1
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side


def _cut(pixels: NDArray[Any], place: _Place, size: int) -> NDArray[Any]:
    import cv2

    if isinstance(place, View):
        return perspective(pixels, place, size, size)
    y, x, side = place
    crop = pixels[y : y + side, x : x + side]
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), (size, size), interpolation=interpolation))


def _frame(place: _Place, shape: tuple[int, ...]) -> Frame:
    if isinstance(place, View):
        return Frame(place)
    (y, x, side), (height, width) = place, shape[:2]
    return Frame(None, (y / height, x / width, side / height, side / width))


def saturated(radiance: Floats, factor: float) -> Floats:
    """Distance to grey of the same luminance times ``factor``, negatives cut: scenes are few, colours shall not name them."""
    grey = luminance(radiance)[..., None]
    return np.asarray(np.maximum(grey + np.float32(factor) * (radiance - grey), 0), dtype=np.float32)


def enlarged_note(domain: str, pictures: Sequence[Picture], size: int) -> str | None:
    """One line if photos are smaller than the crop. Panoramas are sampled, not cropped."""
    small = sum(1 for p in pictures if not p.panorama and p.short_side < size)
    return f"{small} of {len(pictures)} {domain.upper()} images are smaller than {size} pixels: enlarged" if small else None


_Framed = tuple[NDArray[Any], Frame]
_VIEWS: Mapping[str, Callable[[Picture, int, np.random.Generator], _Framed]] = {"hdr": _framed_view, "ldr": _framed_crop}


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
    one each time around, so that an epoch shows every picture. A scene with a photo of its own (a :class:`Pair`) gives
    views of both; of pairs and scenes without a photo each is as likely to be drawn as any other.
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
        views: dict[str, NDArray[Any]] = {}
        for number, (domain, chosen) in enumerate(self.pictures.items()):
            if len(self.pictures) == 1:
                place = int(rng.integers(len(chosen)))
            else:
                around, place = divmod(index, len(chosen))
                place = _order(self.seed, number, around, len(chosen))[place]
            picture = chosen[place]
            if isinstance(picture, Pair):
                views["ldr"], views["hdr"], frame = _framed_pair(picture, self.view_size, rng)
            else:
                views[domain], frame = _VIEWS[domain](picture, self.view_size, rng)
            views[f"{domain}_frame"] = frame.packed(place)
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
    "Frame",
    "Pair",
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
