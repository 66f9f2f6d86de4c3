"""Steerable pyramid with the filters sp3 of pyrtools, and the bicubic resize, for HDR-VDP-2.

Simoncelli and Freeman 1995, "The steerable pyramid: a flexible architecture for multi-scale derivative computation".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hdrcli.metrics._hdrvdp2_constants import Floats, constants, filters
from hdrcli.metrics._hdrvdp2_parts import Parts

Take = Callable[[slice, slice, Tensor], None]


def correlate(planes: Tensor, kernels: str, take: Take, parts: Parts, stride: int = 1, margin: int = 0) -> None:
    """Correlation of planes ``(N, H, W)`` with the K kernels of a name, mirrored about the edge samples.

    Every ``stride``-th sample in both directions from the first. ``take(rows, wide, found)`` gets the result in parts: rows,
    the same and ``margin`` more above and below as far as there are, and the latter's samples, ``(N, K, wide, W')``.

    The libraries' convolutions are made for many channels, and waste nine tenths of their time on one. So neighbours in a row
    are taken for channels: B x stride samples in, B of each kernel out, and a part of their taps for each.
    """
    count, height, width = planes.shape
    kernel_count, side, _ = filters()[kernels].shape
    block = 8 if kernel_count > 1 else 16
    weight = _blocked_kernels(kernels, block, stride, planes.dtype, planes.device)
    across = -(-width // (block * stride))  # blocks of the result
    inside = across + weight.shape[3] - 1  # blocks of the input
    padded = planes.new_empty((count, height + side - 1, inside * block * stride))
    parts.each(lambda some: _mirror(planes[some], side // 2, padded[some]), parts.of(count, 1))
    channels_last = padded.view(count, -1, inside, block * stride).permute(0, 3, 1, 2)
    down, right = -(-height // stride), -(-width // stride)

    def work(rows: slice) -> None:
        wide = slice(max(rows.start - margin, 0), min(rows.stop + margin, down))
        needed = slice(wide.start * stride, (wide.stop - 1) * stride + side)
        found = functional.conv2d(channels_last[:, :, needed], weight, stride=(stride, 1))
        # (N, K x B, rows, blocks) to rows of samples
        rows_of_blocks = found.view(count, kernel_count, block, -1, across).permute(0, 1, 3, 4, 2)
        take(rows, wide, rows_of_blocks.flatten(3)[..., :right])

    parts.each(work, parts.rows(down, right))


def filtered(planes: Tensor, kernel: str, parts: Parts, stride: int = 1) -> Tensor:
    """Correlation with a single kernel, as planes ``(N, H', W')``: see :func:`correlate`."""
    result = planes.new_empty((len(planes), -(-planes.shape[1] // stride), -(-planes.shape[2] // stride)))

    def take(rows: slice, _: slice, found: Tensor) -> None:
        result[:, rows] = found[:, 0]

    correlate(planes, kernel, take, parts, stride)
    return result


def _mirror(planes: Tensor, margin: int, padded: Tensor) -> None:
    """Fills ``padded`` with the planes, a margin reflected about their edge samples, and zeros further on the right."""
    _, h, w = planes.shape
    inner = padded[:, margin : margin + h]
    inner[:, :, margin : margin + w] = planes
    inner[:, :, :margin] = planes[:, :, 1 : margin + 1].flip(2)
    inner[:, :, margin + w : w + 2 * margin] = planes[:, :, w - margin - 1 : w - 1].flip(2)
    inner[:, :, w + 2 * margin :] = 0
    padded[:, :margin] = inner[:, 1 : margin + 1].flip(1)
    padded[:, margin + h :] = inner[:, h - margin - 1 : h - 1].flip(1)


@lru_cache(maxsize=64)
def _blocked_kernels(kernels: str, block: int, stride: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The kernels for blocks: ``(K * block, block * stride, side, blocks of input)``."""
    taps = filters()[kernels]
    count, side, _ = taps.shape
    lanes = block * stride
    spread = np.zeros((count, block, lanes * -(-((block - 1) * stride + side) // lanes), side))
    for sample in range(block):
        first = sample * stride
        spread[:, sample, first : first + side] = taps.transpose(0, 2, 1)
    weight = spread.reshape(count * block, -1, lanes, side).transpose(0, 2, 3, 1)
    return torch.as_tensor(weight.copy(), dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)


def synthesise(high: Tensor, oriented: list[Tensor], base: Tensor, parts: Parts) -> Tensor:
    """The picture ``(H, W)`` of a pyramid: the high-pass plane, levels of four planes ``(4, h, w)`` fine to coarse, the base.

    Convolutions, which turn the kernels by 180 degrees: those of the four planes change their sign, the others stay.
    """
    picture = base
    for level in reversed(oriented):
        spread = level.new_zeros(level.shape[1:])
        spread[::2, ::2] = picture
        picture = filtered(spread[None], "lo", parts)[0]
        for number in range(len(level)):
            picture -= filtered(level[number : number + 1], f"band{number}", parts)[0]
    return filtered(picture[None], "lo0", parts)[0] + filtered(high[None], "hi0", parts)[0]


_ROWS, _COLUMNS = 32, 128  # of a resized part at a time: the matrices of weights are bands


def resized(planes: Tensor, height: int, width: int, rows: slice) -> Tensor:
    """Some rows of planes ``(N, H, W)`` resampled to another size: ``(N, rows, width)``, to be read only.

    Bicubic (Keys, a = -1/2), antialiased when shrinking, edges mirrored. The weights are not divided by their sum: so the
    reference values were made. MATLAB's own resize divides, which changes Q by 1e-7 (3e-5 in tiny pictures) where an odd
    length is halved.
    """
    count, h, w = planes.shape
    if (h, w) == (height, width):
        return planes[:, rows]
    on_cpu = planes.device.type == "cpu"
    down = planes.new_empty((count, rows.stop - rows.start, w))
    for first, last in _steps(rows.start, rows.stop, _ROWS if on_cpu else height):
        weights, needed = _weights(h, height, first, last, planes.dtype, planes.device)
        down[:, first - rows.start : last - rows.start] = weights @ planes[:, needed]
    found = planes.new_empty((count, rows.stop - rows.start, width))
    for first, last in _steps(0, width, _COLUMNS if on_cpu else width):
        weights, needed = _weights(w, width, first, last, planes.dtype, planes.device)
        found[..., first:last] = down[..., needed] @ weights.T
    return found


def _steps(first: int, last: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, last)) for start in range(first, last, size)]


@lru_cache(maxsize=2048)
def _weights(n: int, m: int, first: int, last: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, slice]:
    """Weights of n samples in some of m: a matrix, outputs by inputs, and the inputs it takes."""
    inputs, weights = _taps(n, m)
    inputs, weights = inputs[first:last], weights[first:last]
    needed = slice(int(inputs.min()), int(inputs.max()) + 1)
    matrix = np.zeros((last - first, needed.stop - needed.start))
    np.add.at(matrix, (np.arange(last - first)[:, None], inputs - needed.start), weights)
    return torch.as_tensor(matrix, dtype=dtype, device=device), needed


@lru_cache(maxsize=64)
def _taps(n: int, m: int) -> tuple[NDArray[np.int64], Floats]:
    """For each of m outputs, the inputs of n that it takes, mirrored at the ends, and their weights: ``(m, taps)`` each."""
    scale = m / n
    slow = min(scale, 1.0)  # shrinking stretches the kernel
    centres = (np.arange(m) + 0.5) / scale - 0.5
    reach = int(np.ceil(2 / slow))
    inputs = np.floor(centres).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
    weights = slow * _keys(slow * (centres[:, None] - inputs))
    inputs %= 2 * n
    return np.minimum(inputs, 2 * n - 1 - inputs), weights


def _keys(distance: Floats) -> Floats:
    a = constants()["resize"]["kernel_a"]
    d = np.abs(distance)
    near = 1 + d * d * ((a + 2) * d - (a + 3))
    far = a * (d * (d * (d - 5) + 8) - 4)
    return np.where(d <= 1, near, np.where(d <= 2, far, 0.0))
