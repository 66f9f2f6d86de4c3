"""Bands of two achromatic responses, their masked differences, and what is pooled from them, for HDR-VDP-2.

All planes of band b are divided by 2^(b-1), the amplitude of its filters: then
neighbouring bands can be compared as they are, and numbers stay within float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import torch
from torch import Tensor

from hdrcli.metrics._hdrvdp2_constants import LOG_L_MAX, LOG_L_MIN, band_weight, constants, levels, ncsf, ncsf_table
from hdrcli.metrics._hdrvdp2_eye import Table, position_in_range
from hdrcli.metrics._hdrvdp2_parts import Parts
from hdrcli.metrics._hdrvdp2_pyramid import correlate, filtered, resized


@dataclass(frozen=True, eq=False)
class Band:
    """A band of both pictures: ``difference`` test - reference, and ``mutual`` masking signal, both (K, h, w), K orientations.

    ``number`` from 1, fine to coarse. ``frequency``: of its peak, cycles per degree. ``is_base``: it is the low-pass rest, and
    was filtered by the contrast sensitivity already.
    """

    number: int
    frequency: float
    difference: Tensor
    mutual: Tensor
    is_base: bool = False

    @property
    def amplitude(self) -> float:
        """What the planes were divided by."""
        return 2.0 ** (self.number - 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.difference.shape[1:]
        return height, width


def frequencies(height: int, width: int, ppd: float) -> list[float]:
    """Peak frequencies of all bands in cycles per degree, fine to coarse: high-pass, levels, base."""
    return [ppd / 2 * 2.0**-b for b in range(levels(height, width) + 2)]


def weights(height: int, width: int, ppd: float) -> list[float]:
    """Weights in Q of all bands, fine to coarse."""
    return [band_weight(frequency) for frequency in frequencies(height, width, ppd)]


def decompose(responses: Tensor, ppd: float, adapting_means: tuple[float, float], parts: Parts) -> Iterator[Band]:
    """Bands of two responses ``(2, H, W)``, test first, fine to coarse. ``adapting_means``: mean L + M of each, cd/m2."""
    _, height, width = responses.shape
    peaks = frequencies(height, width, ppd)
    yield _band(1, peaks[0], responses, "hi0", parts)
    low = filtered(responses, "lo0", parts)
    for number, frequency in enumerate(peaks[1:-1], 2):
        yield _band(number, frequency, low, "bands", parts)
        low = filtered(low, "lo", parts, stride=2)
    base = filter_base(low, peaks[-1], adapting_means) / 2.0 ** (len(peaks) - 1)
    mutual = _box(torch.minimum(base[:1].abs(), base[1:].abs()), slice(0, base.shape[1]))
    yield Band(len(peaks), peaks[-1], base[:1] - base[1:], mutual, is_base=True)


def _band(number: int, frequency: float, planes: Tensor, kernels: str, parts: Parts) -> Band:
    orientations = 4 if kernels == "bands" else 1
    difference, mutual = (planes.new_empty((orientations, *planes.shape[1:])) for _ in range(2))
    amplitude = 2.0 ** (number - 1)

    def take(rows: slice, wide: slice, found: Tensor) -> None:
        inside = slice(rows.start - wide.start, rows.stop - wide.start)
        test, reference = found
        difference[:, rows] = (test[:, inside] - reference[:, inside]).div_(amplitude)
        mutual[:, rows] = _box(torch.minimum(test.abs(), reference.abs()), inside).div_(amplitude)

    correlate(planes, kernels, take, parts, margin=1)  # of which the mean of 3 x 3 takes one
    return Band(number, frequency, difference, mutual)


def _box(planes: Tensor, rows: slice) -> Tensor:
    """Some rows of means of 3 x 3, zeros beyond the borders."""
    down = planes[:, rows].clone()
    above = planes[:, max(rows.start - 1, 0) : rows.stop - 1]
    down[:, down.shape[1] - above.shape[1] :] += above
    below = planes[:, rows.start + 1 : rows.stop + 1]
    down[:, : below.shape[1]] += below
    both = down.clone()
    both[:, :, 1:] += down[:, :, :-1]
    both[:, :, :-1] += down[:, :, 1:]
    return both.div_(9)


def filter_base(planes: Tensor, frequency: float, adapting_means: tuple[float, float]) -> Tensor:
    """The base planes of both pictures, filtered by the contrast sensitivity at each one's mean adapting luminance.

    Outside of both lies the mean of the reference's.
    """
    _, h, w = planes.shape
    surround = planes[1].mean(dtype=torch.float64)
    rate = frequency * constants()["base_band_grid_factor"]  # 2 sqrt 2, not 2: as released
    rho = np.hypot(np.fft.fftfreq(2 * h, 1 / rate)[:, None], np.fft.rfftfreq(2 * w, 1 / rate))
    gain = torch.as_tensor(ncsf(rho, np.array(adapting_means)[:, None, None]), device=planes.device)
    # with the surround taken off it is zeros; the filter is 0 at 0, and takes it off anyway
    spectrum = torch.fft.rfft2(planes.double() - surround, s=(2 * h, 2 * w))
    filtered_planes: Tensor = torch.fft.irfft2(spectrum * gain, s=(2 * h, 2 * w))
    return filtered_planes[:, :h, :w].to(planes.dtype)


def log_adaptation(adapting: Tensor) -> Tensor:
    """log10 of the mean of both pictures' adapting luminances, ``(2, H, W)`` in cd/m2, clamped: ``(1, H, W)``."""
    return (adapting[:1] + adapting[1:]).mul_(0.5).clamp_(10**LOG_L_MIN, 10**LOG_L_MAX).log10_()


def sensitivity(adaptation: Tensor, frequency: float, size: tuple[int, int], rows: slice) -> Tensor:
    """Neural contrast sensitivity at a frequency, for some rows of a band: ``adaptation`` of :func:`log_adaptation`."""
    table = _sensitivity_table(frequency, adaptation.dtype, adaptation.device)
    log = resized(adaptation, *size, rows)[0].clamp(LOG_L_MIN, LOG_L_MAX)
    return table(position_in_range(log, len(table.values)))


@lru_cache(maxsize=64)
def _sensitivity_table(frequency: float, dtype: torch.dtype, device: torch.device) -> Table:
    return Table(ncsf_table(frequency), dtype, device)


def masking(band: Band, finer: Band | None, coarser: Band | None, rows: slice) -> Iterator[Tensor]:
    """The masking signal in some rows of each orientation, from itself, other orientations and neighbouring bands.

    ``finer``, ``coarser``: the neighbours that mask it, or None. It is M over amplitude and S^q, with the sensitivity S.
    """
    k = constants()["masking"]
    q = k["q"]
    own = band.mutual[:, rows]
    total = own.sum(0) if len(own) > 1 else None
    others = [resized(other.mutual, *band.size, rows).clamp(min=0) for other in (finer, coarser) if other is not None]
    for number, mutual in enumerate(own):
        signal = _power(mutual, q).mul_(k["k_self"])
        if total is not None:
            signal.add_(_power((total - mutual).clamp_(min=0), q), alpha=k["k_xo"])
        # a single plane stands for every orientation
        neighbours = [other[min(number, len(other) - 1)] for other in others]
        if neighbours:
            signal.add_(_power(reduce(torch.add, neighbours), q), alpha=k["k_xn"])
        yield signal


def masked(band: Band, finer: Band | None, coarser: Band | None, sensitive: Tensor | None, rows: slice) -> Iterator[Tensor]:
    """The difference in some rows over threshold and masking, |D| / amplitude, for each orientation.

    ``sensitive``: the contrast sensitivity S in these rows, None for 1. With noise N = 1 / S, D = e / sqrt(N^2p + M^2) is
    e S^p / sqrt(1 + (M S^p)^2), which stays in float32's range for large N.
    """
    p, q = constants()["masking"]["p"], constants()["masking"]["q"]
    gain = factor = None
    if sensitive is not None:
        log = sensitive.log2()
        gain = torch.exp2(log * p)
        factor = torch.exp2(log.mul_(p + q)).mul_(band.amplitude)
    for difference, mask in zip(band.difference[:, rows], masking(band, finer, coarser, rows), strict=True):
        mask.mul_(band.amplitude if factor is None else factor)
        size = _power(difference.abs(), p).mul_(mask.square_().add_(1).rsqrt_())
        yield size if gain is None else size.mul_(gain)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Of values that are not negative. In half of pow()'s time, which spends it on the last digit."""
    return base.log2().mul_(exponent).exp2_()


def visible(size: Tensor, sign: Tensor, amplitude: float) -> Tensor:
    """A plane of :func:`masked` as the psychometric function sees it, with its sign and amplitude back."""
    return torch.copysign(size.pow(constants()["psychometric_exponent"]), sign).mul_(amplitude)


def quality(errors: list[tuple[float, float]]) -> float:
    """Q from the weight and the pooled error of each plane (weights of 2.2): 100 for equal pictures."""
    epsilon = constants()["quality"]["epsilon"]
    return 100.0 - math.fsum(weight * (math.log(error + epsilon) - math.log(epsilon)) for weight, error in errors)
