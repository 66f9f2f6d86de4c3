"""Shifts, means and maxima over windows of images, with gradients that cost about what they cost themselves.

Autograd alone would keep every partial sum, and give each slice of an image a gradient as large as the whole. What is linear
here has its transpose for a gradient instead. Where no gradient is asked for, plain operations are left, which can be exported.
Images are ``(N, C, H, W)``, float32 or float64; beyond its border an image goes on as it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]


class _WithTranspose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forth: Linear, back: Linear) -> Tensor:
        ctx.back = back
        return forth(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradients[0]), None, None


def linear(x: Tensor, forth: Linear, back: Linear) -> Tensor:
    """``forth(x)``; ``back`` is its transpose."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return forth(x)
    made: Tensor = _WithTranspose.apply(x, forth, back)  # type: ignore[no-untyped-call]
    return made


def _padded(x: Tensor, dim: int, before: int, after: int, mode: str = "replicate") -> Tensor:
    if before == after == 0:
        return x
    return functional.pad(x, (before, after, 0, 0) if dim == -1 else (0, 0, before, after), mode=mode)


def _folded(gradient: Tensor, dim: int, before: int, after: int) -> Tensor:
    """The transpose of :func:`_padded`: what came of the border's copies goes back to the border. Changes its argument."""
    size = gradient.shape[dim] - before - after
    if before:
        gradient.narrow(dim, before, 1).add_(gradient.narrow(dim, 0, before).sum(dim, keepdim=True))
    if after:
        last = gradient.narrow(dim, before + size - 1, 1)
        last.add_(gradient.narrow(dim, before + size, after).sum(dim, keepdim=True))
    return gradient.narrow(dim, before, size)


def _part(x: Tensor, dim: int, start: int, left_out: int) -> Tensor:
    """All but ``start`` values at the beginning and ``left_out`` at the end; sizes need not be known (exports)."""
    stop = -left_out or None
    return x[..., start:stop] if dim == -1 else x[..., start:stop, :]


def shifted(x: Tensor, offset: int, dim: int) -> Tensor:
    """``out[i] = x[i + offset]`` along an axis, -1 or -2."""
    return _combined(x, ((offset, 1),), dim)


def difference(x: Tensor, minus: int, plus: int, dim: int) -> Tensor:
    """``out[i] = x[i + plus] - x[i + minus]`` along an axis, -1 or -2."""
    return _combined(x, ((plus, 1), (minus, -1)), dim)


def both_sides(x: Tensor, offset: int, dim: int) -> Tensor:
    """``out[i] = x[i - offset] + x[i + offset]`` along an axis, -1 or -2."""
    return _combined(x, ((-offset, 1), (offset, 1)), dim)


def mean_of(x: Tensor, offsets: Sequence[int], dim: int) -> Tensor:
    """Mean of ``x[i + offset]`` along an axis, -1 or -2."""
    return _combined(x, tuple((offset, 1) for offset in offsets), dim) / len(offsets)


def _combined(x: Tensor, terms: tuple[tuple[int, int], ...], dim: int) -> Tensor:
    """Sum of shifted copies, each added (1) or subtracted (-1)."""
    before, after = (max(0, *(sign * offset for offset, _ in terms)) for sign in (-1, 1))

    def forth(x: Tensor) -> Tensor:
        padded = _padded(x, dim, before, after)
        out: Tensor | None = None
        for offset, sign in terms:
            part = _part(padded, dim, before + offset, after - offset)
            out = part if out is None else (out + part if sign > 0 else out - part)
        assert out is not None
        return out

    def back(gradient: Tensor) -> Tensor:
        size = gradient.shape[dim]
        shape = list(gradient.shape)
        shape[dim] = size + before + after
        total = gradient.new_zeros(shape)
        for offset, sign in terms:
            total.narrow(dim, before + offset, size).add_(gradient, alpha=sign)
        return _folded(total, dim, before, after)

    return linear(x, forth, back)


def box(x: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over a window of odd sides."""
    sides = ((-2, rows), (-1, columns))

    def forth(x: Tensor) -> Tensor:
        for dim, size in sides:
            x = doubled(_padded(x, dim, size // 2, size // 2), size, dim, torch.add)
        return x / (rows * columns)

    def back(gradient: Tensor) -> Tensor:
        for dim, size in reversed(sides):
            gradient = _window_transposed(gradient, size, dim)
        return gradient / (rows * columns)

    return linear(x, forth, back)


def _window_transposed(gradient: Tensor, size: int, dim: int) -> Tensor:
    """The transpose of sums over windows of an image that goes on as it ends.

    With zeros beyond the border they are their own transpose; the border's pixels count in as many more sums as copies of them.
    """
    half = size // 2
    if not half:
        return gradient
    out = doubled(_padded(gradient, dim, half, half, "constant"), size, dim, torch.add)
    length = gradient.shape[dim]
    near = min(half, length)
    copies = torch.arange(half, half - near, -1, device=out.device, dtype=out.dtype)
    for end, start, count in ((0, 0, copies), (length - 1, length - near, copies.flip(0))):
        part = gradient.narrow(dim, start, near) * (count if dim == -1 else count[:, None])
        out.select(dim, end).add_(part.sum(dim))
    return out


def doubled(x: Tensor, size: int, dim: int, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``size`` neighbours along an axis joined, ``size - 1`` fewer than there were: from those of 1, 2, 4 ... of them.

    Sums are a few times quicker so than by pooling, and unlike differences of running sums never below 0 for values that are
    not.
    """
    if size == 1:
        return x
    total: Tensor | None = None
    joined, width, start = x, 1, 0
    while True:
        if size & width:
            piece = _part(joined, dim, start, size - width - start)
            total = piece if total is None else join(total, piece)
            start += width
        if 2 * width > size:
            assert total is not None  # the highest bit of the size is set
            return total
        joined, width = join(_part(joined, dim, 0, width), _part(joined, dim, width, 0)), 2 * width


class _Extreme(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, sign: int) -> Tensor:
        ctx.save_for_backward(a >= b if sign > 0 else a <= b)
        return torch.maximum(a, b) if sign > 0 else torch.minimum(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (first,) = ctx.saved_tensors
        mine = gradients[0] * first
        return mine, gradients[0] - mine, None


def larger(a: Tensor, b: Tensor) -> Tensor:
    """Maximum of two images, of which at least one asks for a gradient. Of equal values the first one's has it."""
    return _extreme(a, b, 1)


def smaller(a: Tensor, b: Tensor) -> Tensor:
    """Minimum of two images; else as :func:`larger`."""
    return _extreme(a, b, -1)


def _extreme(a: Tensor, b: Tensor, sign: int) -> Tensor:
    if torch.is_grad_enabled() and a.requires_grad:
        found: Tensor = _Extreme.apply(a, b, sign)  # type: ignore[no-untyped-call]
        return found
    return torch.maximum(a, b) if sign > 0 else torch.minimum(a, b)


def largest(x: Tensor, rows: int, columns: int) -> Tensor:
    """Maximum over a window of odd sides, of values that are not negative. Of equal ones the first has the gradient."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _over_window(x, rows, columns)
    if x.dtype != torch.float32:
        down = functional.max_pool2d(x, (rows, 1), stride=1, padding=(rows // 2, 0))
        return functional.max_pool2d(down, (1, columns), stride=1, padding=(0, columns // 2))
    count = x.shape[-2] * x.shape[-1]
    with torch.no_grad():
        # as integers, floats that are not negative are in the same order; in the bits below stands each one's place
        place = torch.arange(count - 1, -1, -1, device=x.device).view(x.shape[-2:])
        keys = (x.detach().contiguous().view(torch.int32).to(torch.int64) << 32) + place
        index = count - 1 - (_over_window(keys, rows, columns) & 0xFFFFFFFF)
    return x.flatten(2).gather(2, index.flatten(2)).view(x.shape)


def _over_window(x: Tensor, rows: int, columns: int) -> Tensor:
    for dim, size in ((-2, rows), (-1, columns)):
        x = doubled(_replicated(x, dim, size // 2), size, dim, torch.maximum)
    return x


def _replicated(x: Tensor, dim: int, count: int) -> Tensor:
    """The same for integers, which torch does not pad like that."""
    if x.is_floating_point():
        return _padded(x, dim, count, count)
    size = x.shape[dim]
    sizes = [-1] * x.ndim
    sizes[dim] = count
    return torch.cat([x.narrow(dim, 0, 1).expand(sizes), x, x.narrow(dim, size - 1, 1).expand(sizes)], dim)


def second_nearest(x: Tensor, reach: int) -> Tensor:
    """Squared distance of a pixel's channels to those of the second most alike of eight, ``(N, 1, H, W)``.

    The eight are ``reach`` away along rows, columns or both.
    """
    padded = functional.pad(x.detach(), (reach,) * 4, mode="replicate")
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _second(distance for _, distance in _distances(padded, reach))
    height, width = x.shape[-2:]
    whole = {torch.float32: torch.int32, torch.float64: torch.int64}[x.dtype]
    with torch.no_grad():
        # as integers, floats that are not negative are in the same order; the lowest three bits tell which pixel it was
        offsets, distances = zip(*_distances(padded, reach), strict=True)
        chosen = _second((d.contiguous().view(whole) & ~7) | i for i, d in enumerate(distances)) & 7
        row, column = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)
        places = [(row + dy).clamp(0, height - 1) * width + (column + dx).clamp(0, width - 1) for dy, dx in offsets]
        index = torch.stack(places).flatten(1).gather(0, chosen.flatten(1).long())
    theirs = x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1)).view(x.shape)
    return (theirs - x).square().sum(1, keepdim=True)


def _distances(padded: Tensor, reach: int) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Offsets of the eight pixels, and the squared distances to them; those to opposite ones are the same, elsewhere."""
    for dy, dx in ((0, reach), (reach, -reach), (reach, 0), (reach, reach)):
        here = _part(_part(padded, -2, reach - dy, reach), -1, reach - max(dx, 0), reach - max(-dx, 0))
        there = _part(_part(padded, -2, reach, reach - dy), -1, reach - max(-dx, 0), reach - max(dx, 0))
        square = (there - here).square()
        distance = square[:, :1]
        for channel in range(1, square.shape[1]):
            distance = distance + square[:, channel : channel + 1]
        right, left = (max(dx, 0), 0), (0, max(dx, 0))
        if dx < 0:
            right, left = (0, -dx), (-dx, 0)
        yield (dy, dx), _part(_part(distance, -2, dy, 0), -1, *right)
        yield (-dy, -dx), _part(_part(distance, -2, 0, dy), -1, *left)


def _second(values: Iterator[Tensor]) -> Tensor:
    """The second smallest."""
    first = next(values)
    other = next(values)
    least, second = torch.minimum(first, other), torch.maximum(first, other)
    for value in values:
        second = torch.minimum(second, torch.maximum(least, value))
        least = torch.minimum(least, value)
    return second
