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
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.perception import Maps
from hdrcli.perception._windows import (
    both_sides,
    box,
    difference,
    larger,
    largest,
    linear,
    mean_of,
    second_nearest,
    shifted,
    smaller,
)

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


class _SmoothStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        s = (x - low).div_(high - low).clamp_(0, 1)
        ctx.save_for_backward(s)
        ctx.width = high - low
        return (3 - 2 * s).mul_(s).mul_(s)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (s,) = ctx.saved_tensors
        return (1 - s).mul_(s).mul_(6 / ctx.width).mul_(gradients[0]), None, None


def _smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on; the other way round if ``low`` is the larger one."""
    if torch.is_grad_enabled() and x.requires_grad:
        step: Tensor = _SmoothStep.apply(x, low, high)  # type: ignore[no-untyped-call]
        return step
    s = ((x - low) / (high - low)).clamp(0, 1)
    return s * s * (3 - 2 * s)


def _visible(square: Tensor, half: float) -> Tensor:
    """How much a fault of strength x >= 0 shows: x^4 / (x^4 + half^4), of x^2. Never quite 1: the worst have a gradient too."""
    power = (square / half**2).square()
    return power / (1 + power)


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inside: Tensor = (x == x.clamp(0, 1)).to(x.dtype)
        return gradients[0] * inside


def _cut(x: Tensor) -> Tensor:
    """``x.clamp(0, 1)``."""
    if torch.is_grad_enabled() and x.requires_grad:
        cut: Tensor = _Cut.apply(x)  # type: ignore[no-untyped-call]
        return cut
    return x.clamp(0, 1)


class _LargestChannel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest = _largest_channel(x)
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, largest = ctx.saved_tensors
        there: Tensor = (x == largest).to(x.dtype)
        return there * (gradients[0] / (there[:, 0:1] + there[:, 1:2] + there[:, 2:3]))


def _largest_channel(x: Tensor) -> Tensor:
    """``x.amax(1, keepdim=True)``, ``(N, 3, H, W)``; likewise equal channels share the gradient."""
    if torch.is_grad_enabled() and x.requires_grad:
        largest: Tensor = _LargestChannel.apply(x)  # type: ignore[no-untyped-call]
        return largest
    return torch.maximum(torch.maximum(x[:, 0:1], x[:, 1:2]), x[:, 2:3])


def _luma_chroma(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Y of ITU-R BT.601, as JPEG has it, ``(N, 1, H, W)``, and Cb and Cr, ``(N, 2, H, W)`` in [-0.5, 0.5]."""

    def forth(codes: Tensor) -> Tensor:
        r, g, b = torch.split(codes.contiguous(), 1, 1)
        y = 0.299 * r + 0.587 * g + 0.114 * b
        return torch.cat([y, (b - y) / 1.772, (r - y) / 1.402], 1)

    def back(gradient: Tensor) -> Tensor:
        y, cb, cr = torch.split(gradient, 1, 1)
        b, r = cb / 1.772, cr / 1.402
        y = y - b - r
        return torch.cat([0.299 * y + r, 0.587 * y, 0.114 * y + b], 1)

    luma, chroma = linear(codes, forth, back).split_with_sizes([1, 2], 1)
    return luma, chroma


def _per_axis(luma: Tensor) -> tuple[Tensor, Tensor]:
    """The image and its transpose, so that every detector is written for steps along x once."""
    return luma, luma.transpose(2, 3).contiguous()


def banding(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where a gradient goes in visible steps instead of smoothly.

    A step is a difference d between neighbours (of two pixels, since scaled pictures have no sharper ones) that has flat ground
    on both sides: what a smooth ramp, a soft edge or texture don't have. In a window, (sum |d|)^2 / sum d^2 is how many equal
    steps would look the same, sum d^2 / sum |d| their height. Banding is two steps or more, 2 to 15 codes high,
    all up or all down, with little else between. Steps of one code are what 8 bits can't avoid.
    """
    return _banding(_luma_chroma(codes)[0])


def _banding(luma: Tensor) -> Tensor:
    found = []
    for axis, plane in enumerate(_per_axis(luma)):
        d = difference(plane, -1, 1, -1)
        height = d.abs()
        small = _smoothstep(height, 25 * _CODE, 15 * _CODE)
        size = functional.relu(height - both_sides(height, 2, -1)) * small
        maps = (size, size.square(), size * d.detach().sign(), height * small)
        total, square, signed, all_there_is = (box(v, 5, _BAND_WINDOW) for v in maps)
        height = square / (total + _EPS)
        steps = _BAND_WINDOW / 2 * total.square() / (square + _EPS**2)  # each is found at two pixels
        one_way = _smoothstep(signed.abs() / (total + _EPS), 0.5, 0.9)
        nothing_else = _smoothstep(total / (all_there_is + _EPS), 0.5, 0.8)
        value = _smoothstep(steps, 1.3, 2.0) * one_way * nothing_else * _visible(height.square(), 3 * _CODE)
        found.append(value if axis == 0 else value.transpose(2, 3))
    return larger(*found)


def blocking(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where 8x8 blocks show.

    A border is a step that returns eight pixels on or before, and is more than twice what happens between; there must be
    borders across both axes. Wherever the grid begins: crops and scaled pictures are welcome.
    """
    return _blocking(_luma_chroma(codes)[0])


def _blocking(luma: Tensor) -> Tensor:
    found = []
    for axis, plane in enumerate(_per_axis(luma)):
        step = box(difference(plane, 0, 1, -1).abs(), 7, 1)
        before, after = shifted(step, -_BLOCK, -1), shifted(step, _BLOCK, -1)
        returning = smaller(step, larger(before, after))
        inside = mean_of(step, (-3, -2, -1, 1, 2, 3), -1)
        border = _visible(functional.relu(returning - 2 * inside).square(), 2.5 * _CODE)
        value = largest(border, 1, _BLOCK + 1)  # the whole block, not its border alone
        found.append(value if axis == 0 else value.transpose(2, 3))
    return found[0] * found[1]


def ringing(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where ripples follow a strong edge.

    Within eight pixels of an edge, and of what is much weaker than it: the gradient lies along one direction (the structure
    tensor's coherence), goes up as much as down, is visible, and fades away from edges: stripes and grain go on.
    """
    return _ringing(_luma_chroma(codes)[0])


def _ringing(luma: Tensor) -> Tensor:
    gx, gy = difference(luma, 0, 1, -1), difference(luma, 0, 1, -2)
    size = (gx.square() + gy.square() + _EPS**2).sqrt()
    edge = largest(size, 2 * _RING_REACH + 1, 2 * _RING_REACH + 1)
    weak = _smoothstep(size / (edge + _EPS), 0.6, 0.3)
    gx, gy = gx * weak, gy * weak
    xx, yy = gx.square(), gy.square()
    ripple = xx + yy
    maps = (ripple, xx - yy, gx * gy, gx, gy, gx.abs() + gy.abs())
    energy, unlike, xy, mean_x, mean_y, mean_size = (box(v, 9, 9) for v in maps)
    coherence = (unlike.square() + 4 * xy.square()) / (energy.square() + _EPS**2)
    both_ways = 1 - (mean_x.abs() + mean_y.abs()) / (mean_size + _EPS)
    visible = _visible(energy + _EPS**2, 3 * _CODE)
    near = largest(_smoothstep(size, 0.08, 0.2), 9, 9)
    far = 1 - near
    near_ripple, share_near, far_ripple, share_far = (box(v, 25, 25) for v in (ripple * near, near, ripple * far, far))
    around, beyond = near_ripple / (share_near + _EPS), far_ripple / (share_far + _EPS)
    fading = _smoothstep(around / (beyond + _CODE**2 / 4), 2, 4) * _smoothstep(share_far, 0.1, 0.3)
    value = _smoothstep(edge, 0.08, 0.2) * _smoothstep(coherence, 0.3, 0.7) * _smoothstep(both_ways, 0.4, 0.8)
    return value * visible * fading


def outliers(codes: Tensor) -> Tensor:
    """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 where a speck of up to 3 pixels has a colour that nothing around it has.

    The distance in chroma to the second most alike of the eight pixels at distance 3: edges, corners and lines have two of
    their own.
    """
    return _outliers(_luma_chroma(codes)[1])


def _outliers(chroma: Tensor) -> Tensor:
    return _visible(second_nearest(chroma, _SPECK) + _EPS**2, 0.1)


def clipped(codes: Tensor, over_from: float = Config.over_from) -> Tensor:
    """Per channel: 0 up to code ``over_from``, rising to 1 at code 1. A ramp, so that even code 1 has a gradient."""
    return (1 - (1 - codes) / (1 - over_from)).clamp(0, 1)


def crushed(codes: Tensor, under_to: float = Config.under_to) -> Tensor:
    """``(N, 1, H, W)``: 1 where all three channels are 0, falling to 0 where one reaches code ``under_to``."""
    return (1 - _largest_channel(codes) / under_to).clamp(0, 1)


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
    t_image = t_image.contiguous()
    lost = clipped(source_codes, over_from).to(t_image).contiguous()
    share = box(lost, window, window).clamp(min=_EPS)
    # from the mean of what clipped, so that no difference of large numbers is taken
    origin = (lost * t_image.detach()).sum((2, 3), keepdim=True) / lost.sum((2, 3), keepdim=True).clamp(min=_EPS)
    first = box(lost * (t_image - origin), window, window) / share
    second = box(lost * (t_image - origin).square(), window, window) / share
    spread = ((second - first.square()).clamp(min=0) + 1e-8).sqrt() - 1e-4
    return _largest_channel(lost * torch.exp(-spread / deviation))


class ExposureMaps:
    """See the module's docstring."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def artifact(self, codes: Tensor) -> Tensor:
        """``(N, 3, H, W)`` codes to ``(N, 1, H, W)``: 1 - product of (1 - each detector)."""
        config = self.config
        codes = _cut(codes if codes.dtype == torch.float64 else codes.float())
        luma, chroma = _luma_chroma(codes)
        of_luma = ((_banding, config.banding), (_blocking, config.blocking), (_ringing, config.ringing))
        found = [detector(luma) for detector, on in of_luma if on] + ([_outliers(chroma)] if config.outliers else [])
        clean = torch.ones_like(luma)
        for value in found:
            clean = clean * (1 - value)
        return 1 - clean

    def maps(
        self,
        codes: Tensor,
        *,
        source: Tensor | None = None,
        artifact: Tensor | None = None,
        under: Tensor | None = None,
    ) -> Maps:
        """See :class:`hdrcli.perception.MapsProvider`. ``artifact``, ``under``: maps that are known already."""
        config = self.config
        codes = _cut(codes if codes.dtype == torch.float64 else codes.float())
        if source is None:
            over = clipped(_largest_channel(codes), config.over_from)
        else:
            over = flat_ceiling(
                codes, source, over_from=config.over_from, window=config.flat_window, deviation=config.flat_deviation
            )
        artifact = self.artifact(codes) if artifact is None else artifact
        return Maps(artifact, over, crushed(codes, config.under_to) if under is None else under)


def build(config: Config) -> ExposureMaps:
    """A provider of maps; needs nothing."""
    return ExposureMaps(config)
