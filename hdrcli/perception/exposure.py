"""Perception maps from the pixels alone: offline, deterministic, on any device, differentiable almost everywhere.

Overexposed and underexposed are soft masks of clipped and crushed codes. The artifact map joins four detectors, each of local
statistics of the codes, in [0, 1]; a fault counts once however many of them see it:

* :func:`banding`: many equal small steps in one direction with nothing in between (after the idea of CAMBI, Tandon et al. 2021:
  banding is steps of a few codes between flat areas);
* :func:`blocking`: steps eight pixels apart in both directions that the pixels inside don't show (Wang, Sheikh and Bovik 2002,
  "No-reference perceptual quality assessment of JPEG compressed images", Eq. 1 and 2, made local and free of the grid's phase);
* :func:`ringing`: weak ripples beside and along a strong edge (Marziliano et al. 2004, "Perceptual blur and ringing metrics":
  activity next to an edge; told from texture by the structure tensor, from a soft edge by its sign);
* :func:`outliers`: specks of a colour that nothing around them has (rank-ordered differences of Garnett et al. 2005, "A
  universal noise removal algorithm with an impulse detector", on chroma).

They are heuristics: a fine weave may look like ringing, a distant berry like a speck.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.perception import Maps

KIND = "maps"
SUMMARY = "clipped and crushed codes, banding, blocking, ringing and colour specks; offline, differentiable"

_CODE = 1 / 255
_EPS = 1e-6
_BAND_WINDOW = 65  # sees bands up to 40 pixels wide
_BLOCK = 8  # JPEG
_RING_REACH = 8  # ripples of a block's DCT end at its border
_SPECK = 3  # pixels to what a speck is compared with: it may be as wide


@dataclass(frozen=True)
class Config:
    """Options of the guide "exposure".

    ``over_from``: code above which a channel counts as clipped, fully at 1; ``under_to``: code below which a pixel counts as
    crushed, fully at 0. ``banding``, ``blocking``, ``ringing``, ``outliers``: which artifacts are looked for. ``flat_window``
    (pixels), ``flat_deviation`` (T): see :func:`flat_ceiling`. Raises UsageError for values that make no sense.
    """

    over_from: float = 0.94
    under_to: float = 0.06
    banding: bool = True
    blocking: bool = True
    ringing: bool = True
    outliers: bool = True
    flat_window: int = 15
    flat_deviation: float = 0.02

    def __post_init__(self) -> None:
        for name, right, remedy in (
            ("over_from", 0 < self.over_from < 1, "use a code between 0 and 1"),
            ("under_to", 0 < self.under_to < 1, "use a code between 0 and 1"),
            ("flat_window", self.flat_window >= 3 and self.flat_window % 2 == 1, "use an odd number of 3 or more"),
            ("flat_deviation", self.flat_deviation > 0, "use more than 0"),
        ):
            if not right:
                raise UsageError(f"{name} can't be {getattr(self, name):g}", where=name, remedy=remedy)


def _smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    s = ((x - low) / (high - low)).clamp(0, 1)
    return s * s * (3 - 2 * s)


def _visible(x: Tensor, half: float) -> Tensor:
    """How much a fault of strength x >= 0 shows: x^4 / (x^4 + half^4). Never quite 1: the worst faults have a gradient too."""
    power = (x / half) ** 4
    return power / (1 + power)


def _box(x: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over a window; beyond the border the image goes on as it ends."""
    padded = functional.pad(x, (columns // 2, columns // 2, rows // 2, rows // 2), mode="replicate")
    return _window_sums(_window_sums(padded, rows, -2), columns, -1) / (rows * columns)


def _window_sums(x: Tensor, size: int, dim: int) -> Tensor:
    """Sums of ``size`` neighbours along an axis, from those of 1, 2, 4 ... of them.

    A few times quicker than pooling, forwards and backwards; and unlike differences of running sums never below 0 for values
    that are not.
    """

    def part(values: Tensor, start: int, left_out: int) -> Tensor:
        stop = -left_out or None
        return values[..., start:stop] if dim == -1 else values[..., start:stop, :]

    total: Tensor | None = None
    sums, width, start = x, 1, 0
    while True:
        if size & width:
            piece = part(sums, start, size - width - start)
            total = piece if total is None else total + piece
            start += width
        if 2 * width > size:
            assert total is not None  # the highest bit of the size is set
            return total
        sums, width = part(sums, 0, width) + part(sums, width, 0), 2 * width


def _largest(x: Tensor, rows: int, columns: int) -> Tensor:
    down = functional.max_pool2d(x, (rows, 1), stride=1, padding=(rows // 2, 0))
    return functional.max_pool2d(down, (1, columns), stride=1, padding=(0, columns // 2))


def _shifted(x: Tensor, dy: int, dx: int) -> Tensor:
    """``out[y, x] = in[y + dy, x + dx]``; beyond the border the image goes on as it ends."""
    height, width = x.shape[-2:]
    padded = functional.pad(x, (max(-dx, 0), max(dx, 0), max(-dy, 0), max(dy, 0)), mode="replicate")
    top, left = max(dy, 0), max(dx, 0)
    return padded[..., top : top + height, left : left + width]


def _luma(codes: Tensor) -> Tensor:
    """Y of ITU-R BT.601, as JPEG has it: ``(N, 1, H, W)``."""
    return 0.299 * codes[:, 0:1] + 0.587 * codes[:, 1:2] + 0.114 * codes[:, 2:3]


def _chroma(codes: Tensor) -> Tensor:
    """Cb and Cr of ITU-R BT.601, ``(N, 2, H, W)`` in [-0.5, 0.5]."""
    y = _luma(codes)
    return torch.cat([(codes[:, 2:] - y) / 1.772, (codes[:, :1] - y) / 1.402], 1)


def _per_axis(luma: Tensor) -> tuple[Tensor, Tensor]:
    """The image and its transpose, so that every detector is written for steps along x once."""
    return luma, luma.transpose(2, 3)


def banding(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where a gradient goes in visible steps instead of smoothly.

    A step is a difference d between neighbours (of two pixels, since scaled pictures have no sharper ones) that has flat ground
    on both sides: what a smooth ramp, a soft edge or texture don't have. In a window, (sum |d|)^2 / sum d^2 is how many equal
    steps would look the same, sum d^2 / sum |d| their height. Banding is two steps or more, 2 to 15 codes high,
    all up or all down, with little else between. Steps of one code are what 8 bits can't avoid.
    """
    found = []
    for axis, luma in enumerate(_per_axis(_luma(codes))):
        d = _shifted(luma, 0, 1) - _shifted(luma, 0, -1)
        beside = _shifted(d, 0, -2).abs() + _shifted(d, 0, 2).abs()
        small = 1 - _smoothstep(d.abs(), 15 * _CODE, 25 * _CODE)
        size = (d.abs() - beside).clamp(min=0) * small
        total, square, signed, all_there_is = (
            _box(v, 5, _BAND_WINDOW) for v in (size, size.square(), size * d.sign(), d.abs() * small)
        )
        height = square / (total + _EPS)
        steps = _BAND_WINDOW / 2 * total.square() / (square + _EPS**2)  # each is found at two pixels
        one_way = _smoothstep(signed.abs() / (total + _EPS), 0.5, 0.9)
        nothing_else = _smoothstep(total / (all_there_is + _EPS), 0.5, 0.8)
        value = _smoothstep(steps, 1.3, 2.0) * one_way * nothing_else * _visible(height, 3 * _CODE)
        found.append(value if axis == 0 else value.transpose(2, 3))
    return torch.maximum(*found)


def blocking(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where 8x8 blocks show.

    A border is a step that returns eight pixels on or before, and is more than twice what happens between; there must be
    borders across both axes. Wherever the grid begins: crops and scaled pictures are welcome.
    """
    found = []
    for axis, luma in enumerate(_per_axis(_luma(codes))):
        step = _box((_shifted(luma, 0, 1) - luma).abs(), 7, 1)
        before, after = _shifted(step, 0, -_BLOCK), _shifted(step, 0, _BLOCK)
        returning = torch.maximum(torch.minimum(before, step), torch.minimum(step, after))
        inside = torch.stack([_shifted(step, 0, k) for k in (-3, -2, -1, 1, 2, 3)]).mean(0)
        border = _visible((returning - 2 * inside).clamp(min=0), 2.5 * _CODE)
        value = _largest(border, 1, _BLOCK + 1)  # the whole block, not its border alone
        found.append(value if axis == 0 else value.transpose(2, 3))
    return found[0] * found[1]


def ringing(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where ripples follow a strong edge.

    Within eight pixels of an edge, and of what is much weaker than it: the gradient lies along one direction (the structure
    tensor's coherence), goes up as much as down, is visible, and fades away from edges: stripes and grain go on.
    """
    luma = _luma(codes)
    gx, gy = _shifted(luma, 0, 1) - luma, _shifted(luma, 1, 0) - luma
    size = (gx.square() + gy.square() + _EPS**2).sqrt()
    edge = _largest(size, 2 * _RING_REACH + 1, 2 * _RING_REACH + 1)
    weak = 1 - _smoothstep(size / (edge + _EPS), 0.3, 0.6)
    gx, gy = gx * weak, gy * weak
    xx, yy, xy = (_box(v, 9, 9) for v in (gx.square(), gy.square(), gx * gy))
    energy = xx + yy
    coherence = ((xx - yy).square() + 4 * xy.square()) / (energy.square() + _EPS**2)
    one_way = _box(gx, 9, 9).abs() + _box(gy, 9, 9).abs()
    both_ways = 1 - one_way / (_box(gx.abs(), 9, 9) + _box(gy.abs(), 9, 9) + _EPS)
    visible = _visible((energy + _EPS**2).sqrt(), 3 * _CODE)
    near = _largest(_smoothstep(size, 0.08, 0.2), 9, 9)
    ripple = gx.square() + gy.square()
    around, beyond = (_box(ripple * zone, 25, 25) / (_box(zone, 25, 25) + _EPS) for zone in (near, 1 - near))
    fading = _smoothstep(around / (beyond + _CODE**2 / 4), 2, 4) * _smoothstep(_box(1 - near, 25, 25), 0.1, 0.3)
    value = _smoothstep(edge, 0.08, 0.2) * _smoothstep(coherence, 0.3, 0.7) * _smoothstep(both_ways, 0.4, 0.8)
    return value * visible * fading


def outliers(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where a speck of up to 3 pixels has a colour that nothing around it has.

    The distance in chroma to the second most alike of the eight pixels at distance 3: edges, corners and lines have two of
    their own.
    """
    chroma = _chroma(codes)
    ring = [(dy, dx) for dy in (-_SPECK, 0, _SPECK) for dx in (-_SPECK, 0, _SPECK) if (dy, dx) != (0, 0)]
    square = torch.cat([(_shifted(chroma, dy, dx) - chroma).square().sum(1, keepdim=True) for dy, dx in ring], 1)
    second = square.topk(2, dim=1, largest=False).values[:, 1:]
    return _visible((second + _EPS**2).sqrt(), 0.1)


def clipped(codes: Tensor, over_from: float = Config.over_from) -> Tensor:
    """Per channel: 0 up to code ``over_from``, rising to 1 at code 1. A ramp, so that even code 1 has a gradient."""
    return (1 - (1 - codes) / (1 - over_from)).clamp(0, 1)


def crushed(codes: Tensor, under_to: float = Config.under_to) -> Tensor:
    """``(N, 1, H, W)``: 1 where all three channels are 0, falling to 0 where one reaches code ``under_to``."""
    return (1 - codes.amax(1, keepdim=True) / under_to).clamp(0, 1)


def flat_ceiling(
    t_image: Tensor,
    source_codes: Tensor,
    *,
    over_from: float = Config.over_from,
    window: int = Config.flat_window,
    deviation: float = Config.flat_deviation,
) -> Tensor:
    """What "overexposed" means on an output of G_Y: flat where the source had clipped. ``(N, 1, H, W)`` in [0, 1].

    ``t_image``: the output in the T domain, ``source_codes``: the LDR's codes, both ``(N, 3, H, W)``. Per channel exp(-s /
    ``deviation``), with s the standard deviation in a window, over what clipped in the source alone: the border to what did not
    clip is no variation. Of the channels the flattest clipped one counts. Brightness plays no part. With a deviation and not a
    variance, the smallest ripple has a gradient that raises it.
    """
    lost = clipped(source_codes, over_from).to(t_image)
    share = _box(lost, window, window).clamp(min=_EPS)
    # from the mean of what clipped, so that no difference of large numbers is taken
    origin = (lost * t_image.detach()).sum((2, 3), keepdim=True) / lost.sum((2, 3), keepdim=True).clamp(min=_EPS)
    first = _box(lost * (t_image - origin), window, window) / share
    second = _box(lost * (t_image - origin).square(), window, window) / share
    spread = ((second - first.square()).clamp(min=0) + 1e-8).sqrt() - 1e-4
    return (lost * torch.exp(-spread / deviation)).amax(1, keepdim=True)


class ExposureMaps:
    """See the module's docstring."""

    def __init__(self, config: Config) -> None:
        self.config = config
        chosen = {banding: config.banding, blocking: config.blocking, ringing: config.ringing, outliers: config.outliers}
        self._detectors = [detector for detector, on in chosen.items() if on]

    def artifact(self, codes: Tensor) -> Tensor:
        """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 - product of (1 - each detector)."""
        clean = torch.ones_like(codes[:, :1])
        for detector in self._detectors:
            clean = clean * (1 - detector(codes))
        return 1 - clean

    def maps(self, codes: Tensor, *, source: Tensor | None = None) -> Maps:
        """See :class:`hdrcli.perception.MapsProvider`."""
        config = self.config
        codes = (codes if codes.dtype == torch.float64 else codes.float()).clamp(0, 1)
        if source is None:
            over = clipped(codes, config.over_from).amax(1, keepdim=True)
        else:
            over = flat_ceiling(
                codes, source, over_from=config.over_from, window=config.flat_window, deviation=config.flat_deviation
            )
        return Maps(self.artifact(codes), over, crushed(codes, config.under_to))


def build(config: Config) -> ExposureMaps:
    """A provider of maps; needs nothing."""
    return ExposureMaps(config)
