"""From light to the achromatic response, for HDR-VDP-2: scatter in the eye and photoreceptors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from hdrcli.metrics._hdrvdp2_constants import LOG_L_MAX, LOG_L_MIN, Floats, constants, photoreceptor_tables
from hdrcli.metrics._hdrvdp2_light import Light
from hdrcli.metrics._hdrvdp2_parts import Parts

_SPECTRUM_SAMPLES, _FEWEST_COLUMNS = 1 << 16, 8  # of a spectrum at a time: 1 MiB, and whole cache lines
_FAST_FACTORS = (2, 3, 5, 7)


class Scatter:
    """The eye's optics for pictures of H x W: a filter with the MTF.

    What surrounds the picture is practically black, on a grid of exactly 2 H x 2 W; so brightness falls off towards the
    borders, as in the release.

    Where a side has large prime factors, a transform of that grid would take several times as long. Of the circular filter on
    it only shifts below H and W ever bring light into the picture, so the same filter is laid on a longer grid.
    """

    def __init__(self, height: int, width: int, ppd: float, parts: Parts, device: torch.device) -> None:
        self._parts = parts
        self._size = height, width
        self._long, self._wide = _fast_length(height), _fast_length(width)
        self._offset = constants()["surround"] * mtf(torch.zeros((), dtype=torch.float64)).item()
        # the filter's spectrum is real, and the same for both signs of a frequency: a quarter says all
        self._gain = _grid(height, width, ppd, parts, device)
        if (self._long, self._wide) != (2 * height, 2 * width):
            self._gain = _on_longer_grid(self._gain, self._long, self._wide)
        self._spectrum = torch.empty((height, self._wide // 2 + 1), dtype=torch.complex128, device=device)

    def __call__(self, light: Callable[[slice], Tensor], retina: Tensor) -> None:
        """Fills ``retina``, (H, W) of any type, one channel, clamped to 1e-5..1e10. ``light`` gives rows, (rows, W) float64."""
        surround, (least, most) = constants()["surround"], constants()["optics"]["clamp"]
        height, width = self._size
        spectrum = self._spectrum

        # Only the picture's rows and columns are ever transformed or kept: the surround's, once it is subtracted, are zeros.
        def forward(rows: slice) -> None:
            spectrum[rows] = torch.fft.rfft(light(rows) - surround, n=self._wide)

        def along_columns(columns: slice) -> None:
            half = self._gain[columns]
            part = torch.fft.fft(spectrum[:, columns].T, n=self._long)
            part *= torch.cat([half, half[:, 1:-1].flip(1)], dim=1)
            spectrum[:, columns] = torch.fft.ifft(part)[:, :height].T

        def backward(rows: slice) -> None:
            retina[rows] = torch.fft.irfft(spectrum[rows], n=self._wide)[:, :width].add_(self._offset).clamp_(least, most)

        rows = self._parts.rows(height, width)
        self._parts.each(forward, rows)
        self._parts.each(along_columns, _columns(self._parts, self._wide // 2 + 1, self._long))
        self._parts.each(backward, rows)


def _columns(parts: Parts, count: int, length: int) -> list[slice]:
    return parts.of(count, max(_FEWEST_COLUMNS, _SPECTRUM_SAMPLES // length))


def mtf(rho: Tensor) -> Tensor:
    """Modulation transfer function of the eye's optics at cycles per degree, 1 at 0: a sum of exponentials."""
    a, b = constants()["optics"]["mtf_a"], constants()["optics"]["mtf_b"]
    total = torch.zeros_like(rho)
    for weight, width in zip(a, b, strict=True):
        total += torch.exp(rho * -width).mul_(weight)
    return total


def _grid(height: int, width: int, ppd: float, parts: Parts, device: torch.device) -> Tensor:
    """The MTF at frequencies of a grid of 2 H x 2 W that are not negative, transposed: (W + 1, H + 1)."""
    down = torch.arange(height + 1, dtype=torch.float64, device=device) * (ppd / (2 * height))
    across = torch.arange(width + 1, dtype=torch.float64, device=device) * (ppd / (2 * width))
    gain = down.new_empty((width + 1, height + 1))

    def fill(columns: slice) -> None:
        gain[columns] = mtf(torch.hypot(across[columns, None], down))

    parts.each(fill, _columns(parts, width + 1, height + 1))
    return gain


def _on_longer_grid(gain: Tensor, long: int, wide: int) -> Tensor:
    """The same filter for transforms of ``long`` x ``wide``, at least 2 H - 1 and 2 W - 1."""
    for length in (long, wide):
        # an even sequence, so its transform is real; each turn swaps the axes
        shifts = gain.shape[1] - 1
        kernel = torch.fft.irfft(gain.to(torch.complex128), n=2 * shifts)[:, :shifts]
        spread = kernel.new_zeros((len(kernel), length))
        spread[:, :shifts] = kernel
        spread[:, length - shifts + 1 :] = kernel[:, 1:].flip(1)
        gain = torch.fft.rfft(spread).real.T.contiguous()
    return gain


def _fast_length(side: int) -> int:
    """The length of a transform for a side: twice as long, or the next above without a prime factor over 7."""
    length = 2 * side
    while not _is_fast(length):
        length += 2
    return length


def _is_fast(length: int) -> bool:
    for factor in _FAST_FACTORS:
        while length % factor == 0:
            length //= factor
    return length == 1


def receptors(light: Tensor, to_receptors: Floats) -> Tensor:
    """Light on the retina, ``(C, ...)``, to what L cones, M cones and rods catch: ``(3, ...)``."""
    matrix = torch.as_tensor(to_receptors, dtype=light.dtype, device=light.device)
    return (matrix @ light.reshape(len(light), -1)).view(3, *light.shape[1:])


def responses(caught: Tensor) -> Tensor:
    """What L cones, M cones and rods catch, ``(3, ...)``, to their responses in just noticeable differences."""
    cone, rod = _tables(caught.dtype, caught.device)
    position = position_in_range(caught.clamp(10**LOG_L_MIN, 10**LOG_L_MAX).log10_(), len(cone.values))
    return torch.cat([cone(position[:2]), rod(position[2:])])


class Table:
    """A function given at points uniform in log10 over the tables' range; linear between them."""

    def __init__(self, values: Floats, dtype: torch.dtype, device: torch.device) -> None:
        self.values = torch.as_tensor(values, dtype=dtype, device=device)
        slopes = torch.as_tensor(values[1:] - values[:-1], dtype=dtype, device=device)
        self._slopes = torch.cat([slopes, slopes.new_zeros(1)])

    def __call__(self, position: Tensor) -> Tensor:
        """At positions, in points from the first: any shape."""
        point = position.to(torch.int32)  # they are not negative, so this rounds down
        flat = point.view(-1)
        value = self.values.index_select(0, flat)
        value.addcmul_(self._slopes.index_select(0, flat), (position - point).view(-1))
        return value.view(position.shape)


def position_in_range(log_l: Tensor, points: int) -> Tensor:
    """log10 of luminances within the tables' range to positions in a table of so many points; overwrites its input."""
    return log_l.sub_(LOG_L_MIN).mul_((points - 1) / (LOG_L_MAX - LOG_L_MIN)).clamp_(0, points - 1)


@cache
def _tables(dtype: torch.dtype, device: torch.device) -> tuple[Table, Table]:
    cone, rod = photoreceptor_tables()
    return Table(cone, dtype, device), Table(rod, dtype, device)


def see(
    light: Light, to_receptors: Floats, ppd: float, dtype: torch.dtype, device: torch.device, parts: Parts
) -> tuple[Tensor, Tensor]:
    """Pictures to achromatic responses and adapting luminances, (N, H, W) each.

    Responses are of zero mean, luminances are L + M in cd/m2. Fourier transforms are done in float64, the rest in
    ``dtype``: a float32 transform errs by 1e-7 of the brightest light, which is much in the shadows.
    """
    count, channels, height, width = light.shape
    response, adapting = (torch.empty((count, height, width), dtype=dtype, device=device) for _ in range(2))
    retina = torch.empty((channels, height, width), dtype=dtype, device=device)
    scatter = Scatter(height, width, ppd, parts, device)
    for number in range(count):
        for channel in range(channels):
            scatter(partial(light.seen, number, channel), retina[channel])

        def respond(rows: slice, number: int = number) -> None:
            caught = receptors(retina[:, rows], to_receptors)
            torch.add(caught[0], caught[1], out=adapting[number, rows])
            torch.sum(responses(caught), 0, out=response[number, rows])

        parts.each(respond, parts.rows(height, width))
    response -= response.mean((1, 2), keepdim=True, dtype=torch.float64).to(dtype)
    return response, adapting
