"""Structure and naturalness of tone-mapped pictures, as losses: TMQI (Yeganeh and Wang 2013), differentiable in the picture.

What each part is, and where its constants are from: :mod:`hdrcli.metrics.tmqi`. Here the index is not put together: each part
keeps a gradient where the index is flat, however far off a picture is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of scales, finest first
FREQUENCIES = (16, 8, 4, 2, 1)  # cycles per degree
_C1, _C2 = 0.01, 10.0
_TAPS, _SIGMA = 11, 1.5
_HDR_RANGE = 2.0**32 - 1
_FLAT = 1e-2  # added to variances of codes 0..255: the root's own derivative at 0 is infinite
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_BLOCK = 11
_BRIGHTNESS, _BRIGHTNESS_SPREAD = 115.94, 27.99
_CONTRAST, _BETA = 64.29, (4.4, 10.1)


def luminance(image: Tensor) -> Tensor:
    """``(N, 1, H, W)`` of ``(N, 3, H, W)``: Rec. 709 weights, of codes as of light (the release's)."""
    weights = image.new_tensor(_LUMINANCE).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def fidelities(light: Tensor, codes: Tensor, halvings: int = 0, *, to_the_border: bool = False) -> Tensor:
    """Structural fidelity of each scale, ``(N, 5)``, finest first, of codes 0..1 against scene light in any scale.

    Both ``(N, 3, H, W)``, sides of 161 or more; the gradient goes to ``codes``. In float64, as differences of squares need.
    ``halvings``: the pictures are reduced ones, of 2^-n the size that they will be looked at: the n finest scales are missing,
    and sides may be 2^-n of 161. ``to_the_border``: pixels at the border count like others, by reflection; few windows of the
    metric see them, and there a network that is trained by it may do what it likes.
    """
    x, y = luminance(light.double()), luminance(codes.double()) * 255
    darkest, brightest = (getattr(x.flatten(1), f"a{end}")(1).view(-1, 1, 1, 1) for end in ("min", "max"))
    x = (x - darkest) * (_HDR_RANGE / (brightest - darkest).clamp(min=1e-30))
    found = []
    for frequency in FREQUENCIES[halvings:]:
        seen = [functional.pad(plane, [_TAPS // 2] * 4, mode="reflect") if to_the_border else plane for plane in (x, y)]
        found.append(_fidelity(seen[0], seen[1], frequency))
        x, y = (functional.avg_pool2d(plane, 2, ceil_mode=True, count_include_pad=False) for plane in (x, y))
    return torch.stack(found, 1)


def structure_loss(light: Tensor, codes: Tensor, halvings: int = 0) -> Tensor:
    """1 less the weighted mean of :func:`fidelities`, mean over images: 0..2.

    TMQI takes the geometric mean; its logarithm has no bound, and a network that lost one scale of a picture would forget all.
    """
    weights = codes.new_tensor(WEIGHTS[halvings:], dtype=torch.float64)
    found = fidelities(light, codes, halvings, to_the_border=True)
    return (1 - (weights * found).sum(1) / weights.sum()).mean().float()


def naturalness_loss(codes: Tensor, brightness: Tensor | float = 1.0, halvings: int = 0) -> Tensor:
    """-log N, mean over images, of codes 0..1, ``(N, 3, H, W)``: mean brightness and contrast like those of photos.

    ``brightness``: factor ``(N,)`` on the mean code that is natural: pictures that shall be darker or brighter than usual.
    ``halvings``: see :func:`fidelities`; contrast is that of blocks of 11 x 11 pixels, or of as much of the reduced picture.
    Blocks that stick out at the border are left out, unlike in the metric.
    """
    side = round(_BLOCK / 2**halvings)
    y = luminance(codes) * 255
    mean = y.mean((1, 2, 3))
    bright = (mean - _BRIGHTNESS * brightness).square() / (2 * _BRIGHTNESS_SPREAD**2)
    height, width = (length // side * side for length in y.shape[-2:])
    blocks = functional.unfold(y[..., :height, :width], side, stride=side)  # (N, side^2, blocks)
    t = ((blocks.var(1, correction=1) + _FLAT).sqrt().mean(1) / _CONTRAST).clamp(1e-3, 0.999)
    a, b = _BETA[0] - 1, _BETA[1] - 1
    mode = a / (a + b)
    contrast = -(a * (t / mode).log() + b * ((1 - t) / (1 - mode)).log())
    return (bright + contrast).mean()


def _fidelity(x: Tensor, y: Tensor, frequency: int) -> Tensor:
    """Eq. 5 there, ``(N,)``: SSIM's structure with visibilities in place of means."""
    positions = torch.arange(_TAPS, dtype=x.dtype, device=x.device) - (_TAPS - 1) / 2
    taps = torch.exp(-positions.square() / (2 * _SIGMA**2))
    taps = taps / taps.sum()

    def blurred(plane: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(plane, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x = (blurred(x * x) - mean_x.square()).clamp(min=0)
    variance_y = (blurred(y * y) - mean_y.square()).clamp(min=0)
    covariance = blurred(x * y) - mean_x * mean_y
    deviation_x, deviation_y = variance_x.sqrt(), (variance_y + _FLAT).sqrt()
    sensitivity = 100 * 2.6 * (0.0192 + 0.114 * frequency) * math.exp(-((0.114 * frequency) ** 1.1))
    threshold = 128 / (1.4 * sensitivity)
    p, q = (torch.special.ndtr(deviation * (3 / threshold) - 3) for deviation in (deviation_x, deviation_y))
    visibility = (2 * p * q + _C1) / (p * p + q * q + _C1)
    structure = (covariance + _C2) / (deviation_x * deviation_y + _C2)
    fidelity: Tensor = (visibility * structure).mean((1, 2, 3))
    return fidelity


__all__ = ["FREQUENCIES", "WEIGHTS", "fidelities", "luminance", "naturalness_loss", "structure_loss"]
