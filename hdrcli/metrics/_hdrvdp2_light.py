"""Pixel values as absolute light, for HDR-VDP-2: converted in parts, where they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrcli.errors import MismatchError
from hdrcli.metrics._hdrvdp2_constants import Encoding, constants
from hdrcli.metrics._hdrvdp2_parts import Parts

_LARGEST = 1e30  # sums of larger values might leave the range of float64


class Light:
    """Pictures ``(H, W, C)`` of one shape, as linear channels in cd/m2. ``shape``: pictures, channels, height, width."""

    def __init__(self, pictures: Sequence[NDArray[Any]], encoding: Encoding, device: torch.device) -> None:
        self._given = [torch.from_numpy(_readable(picture)).to(device) for picture in pictures]
        self._encoding = encoding
        height, width, channels = pictures[0].shape
        self.shape = len(pictures), channels, height, width

    def channel(self, picture: int, channel: int, rows: slice) -> Tensor:
        """Some rows of a channel, ``(rows, W)`` float64, as they are converted."""
        pixels, encoding = self._given[picture][rows], self._encoding
        if encoding.to_rgb is not None:
            values = torch.zeros(pixels.shape[:2], dtype=torch.float64, device=pixels.device)
            for source, weight in enumerate(encoding.to_rgb[channel]):
                values.add_(pixels[..., source], alpha=weight)
            return values
        values = pixels[..., channel].double()
        if (display := encoding.display) is None:
            return values
        if "threshold" in display:
            curve = ((values + display["a"]) / (1 + display["a"])).pow_(display["gamma"])
            values = torch.where(values <= display["threshold"], values / display["linear_divisor"], curve)
        else:
            values = values.pow(display["gamma"])
        return values.mul_(display["gain"]).add_(display["offset"])

    def seen(self, picture: int, channel: int, rows: slice) -> Tensor:
        """The same with black in place of NaN: what goes into the eye."""
        # a copy: the values may be the caller's array
        return self.channel(picture, channel, rows).nan_to_num(constants()["nan_replacement"], math.inf, -math.inf)

    def differs(self, dtype: torch.dtype, parts: Parts) -> Tensor:
        """1 where a channel of the first picture differs by more than a thousandth of the second's, else 0: (1, H, W).

        The second keeps its sign as divisor, as released: where it is negative or either is NaN, nothing differs. Raises
        MismatchError for infinite values and negative luma.
        """
        _, channels, height, width = self.shape
        limit = constants()["difference_mask_threshold"]
        result = torch.empty((1, height, width), dtype=dtype, device=self._given[0].device)

        def compare(rows: slice) -> None:
            found = torch.zeros((rows.stop - rows.start, width), dtype=torch.bool, device=result.device)
            for channel in range(channels):
                test, reference = (self.channel(picture, channel, rows) for picture in (0, 1))
                found |= (test - reference).abs_().div_(reference) > limit
                if bool(torch.stack([test, reference]).abs_().gt_(_LARGEST).any()):
                    raise MismatchError("a picture has infinite values", remedy="clip them to what a display shows")
            result[0, rows] = found

        self._refuse_negative_luma()
        parts.each(compare, parts.rows(height, width))
        return result

    def _refuse_negative_luma(self) -> None:
        display = self._encoding.display
        if display is not None and "threshold" not in display and any(bool((given < 0).any()) for given in self._given):
            raise MismatchError("a picture has negative luma", remedy="clip it to 0..1")


def _readable(picture: NDArray[Any]) -> NDArray[Any]:
    """The picture as torch takes it: of two types, in this machine's byte order, without negative strides, writeable."""
    if picture.dtype not in (np.float32, np.float64):
        return picture.astype(np.float64)
    if picture.flags.writeable and min(picture.strides) >= 0:
        return picture
    return picture.copy()
