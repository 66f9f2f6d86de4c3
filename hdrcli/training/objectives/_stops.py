"""The losses of :mod:`hdrcli.training.objectives.paired` on an error in stops, with gradients by hand.

Autograd would go over the batch some seventy times, each time through all its megabytes. Here a photo stays in the processor's
cache for all that is done with it, and its differences to its neighbours serve two losses. All images are ``(N, 3, H, W)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hdrcli.color import MU, STOPS_FLOOR

_LN_MU = math.log1p(MU)
_BELOW = 8.0  # stops an image in T is punished with for each unit below 0, where it has no logarithm
_LEAST = 50.0  # cells: below this a region is not scored either


class Terms(NamedTuple):
    """Scalars, each a mean over photos or values, see :func:`terms_of`."""

    highlight: Tensor
    measured: Tensor
    gradient: Tensor
    border: Tensor


def error_of(t: Tensor, stops: Tensor, peak: float) -> Tensor:
    """log2(y + 2^-10) of an image in the T domain, less ``stops``: the truth in the same form.

    Below 0, where T has no logarithm, 8 stops a unit are taken off besides: a cell that is black by mistake keeps a gradient.
    """
    error: Tensor = _Error.apply(t, stops, peak)  # type: ignore[no-untyped-call]
    return error


def terms_of(error: Tensor, lost: Tensor, measured: Tensor) -> Terms:
    """The losses of an error in stops. ``lost``: how far each value was lost, in [0, 1]; ``measured``: 1 for values that were.

    ``highlight``: root mean square by ``lost``, a root per photo; photos that lost next to nothing count less, in proportion,
    instead of dividing by nothing. ``measured``: mean absolute error of what was. ``gradient``: mean absolute difference of
    neighbours, across plus down. ``border``: the same of neighbours of which at least one lost something, each pair counting by
    the larger of its two lost shares; a mean per photo.
    """
    return Terms(*_Terms.apply(error, lost, measured))  # type: ignore[no-untyped-call]


def _last(image: Tensor) -> Tensor:
    """``(N, H, W, 3)``, contiguous: rows of whole pixels."""
    return image.permute(0, 2, 3, 1).contiguous()


def _photos(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Parts that fit into a cache: one photo each on the CPU; other devices want it all at once."""
    size = 1 if images[0].device.type == "cpu" else len(images[0])
    return zip(*(image.split(size) for image in images), strict=True)  # type: ignore[no-untyped-call]


class _Error(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, stops: Tensor, peak: float) -> Tensor:
        t, stops = _last(t), _last(stops)
        out, light = torch.empty_like(t), torch.empty_like(t)
        for t1, stops1, out1, light1 in _photos(t, stops, out, light):
            torch.mul(t1, _LN_MU, out=light1)
            light1.expm1_().mul_(peak / MU).clamp_(min=0).add_(STOPS_FLOOR)
            torch.log2(light1, out=out1)
            out1.sub_(stops1).add_(t1.clamp(max=0), alpha=_BELOW)
        ctx.save_for_backward(t, light)
        ctx.peak = peak
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        t, light = ctx.saved_tensors
        given = _last(gradients[0])
        out = torch.empty_like(t)
        # d log2(y + f) / dT = ln(1 + mu) / ln 2 (y + peak / mu) / (y + f)
        scale, more = _LN_MU / math.log(2), ctx.peak / MU - STOPS_FLOOR
        for given1, t1, light1, out1 in _photos(given, t, light, out):
            torch.div(scale * more, light1, out=out1)
            out1.add_(scale).mul_((t1 > 0).to(t1.dtype)).add_((t1 < 0).to(t1.dtype), alpha=_BELOW).mul_(given1)
        return out.permute(0, 3, 1, 2), None, None


def _pair_weight(lost: Tensor, dim: int) -> Tensor:
    size = lost.shape[dim] - 1
    return torch.maximum(lost.narrow(dim, 0, size), lost.narrow(dim, 1, size))


class _Terms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, error: Tensor, lost: Tensor, measured: Tensor) -> tuple[Tensor, ...]:
        error, lost, measured = _last(error), _last(lost), _last(measured)
        rows: list[tuple[Tensor, ...]] = []
        for error1, lost1, measured1 in _photos(error, lost, measured):
            size = error1.abs()
            sums = [lost1, error1.square().mul_(lost1), size.mul_(measured1)]
            for dim in (1, 2):
                step, weight = error1.diff(dim=dim).abs_(), _pair_weight(lost1, dim)
                sums += [step, weight, step * weight]
            rows.append(tuple(values.flatten(1).sum(1) for values in sums))
        weight, square, absolute, step_y, weight_y, border_y, step_x, weight_x, border_x = (torch.cat(v) for v in zip(*rows))
        root = (square / weight.clamp(min=1.0) + 1e-4).sqrt()
        presence = (weight / _LEAST).clamp(max=1.0)
        count = measured.sum().clamp(min=1)
        pairs_y, pairs_x = (max(1, error[:, 1:].numel()), max(1, error[:, :, 1:].numel()))
        weight_y, weight_x = weight_y.clamp(min=_LEAST), weight_x.clamp(min=_LEAST)
        ctx.save_for_backward(error, lost, measured, presence / (root * weight.clamp(min=1.0)), count, weight_y, weight_x)
        ctx.pairs = (pairs_y, pairs_x)
        return (
            (root * presence).mean(),
            absolute.sum() / count,
            step_y.sum() / pairs_y + step_x.sum() / pairs_x,
            (border_y / weight_y + border_x / weight_x).mean(),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        error, lost, measured, root, count, weight_y, weight_x = ctx.saved_tensors
        of_highlight, of_measured, of_gradient, of_border = gradients
        out = torch.empty_like(error)
        each = [(of_highlight * root / len(error)), *((of_border / len(error)) / weight for weight in (weight_y, weight_x))]
        parts = _photos(error, lost, measured, out, *(values.view(-1, 1, 1, 1) for values in each))
        for error1, lost1, measured1, out1, highlight1, border_y1, border_x1 in parts:
            torch.mul(error1, lost1, out=out1)
            out1.mul_(highlight1).add_(error1.sign().mul_(measured1).mul_(of_measured / count))
            for dim, border, pairs in ((1, border_y1, ctx.pairs[0]), (2, border_x1, ctx.pairs[1])):
                size = error1.shape[dim] - 1
                pull = _pair_weight(lost1, dim).mul_(border).add_(of_gradient / pairs).mul_(error1.diff(dim=dim).sign_())
                out1.narrow(dim, 1, size).add_(pull)
                out1.narrow(dim, 0, size).sub_(pull)
        return out.permute(0, 3, 1, 2), None, None
