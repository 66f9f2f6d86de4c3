"""Structural similarity, Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13, in the three variants that HDR papers used.

==========  =============================  ====================  ==================  =======================
variant     window                         variances             border              where it comes from
==========  =============================  ====================  ==================  =======================
wang        Gaussian 11 x 11, sigma 1.5    weighted, population  only full windows   the paper
matlab      the same                       the same              edge is replicated  MATLAB's default
uniform7    flat 7 x 7                     unbiased: 49/48       only full windows   scikit-image's default
==========  =============================  ====================  ==================  =======================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Score
from hdrcli.metrics._encodings import Encoding, Floats, light, reference_peak, refmax_mu_law, tanh_mu_law
from hdrcli.metrics._pairs import encoded, same_shape, whatever_viewing
from hdrcli.metrics._windows import flat_taps, gaussian_taps, moments, over_tiles

Variant = Literal["wang", "matlab", "uniform7"]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Recipe:
    taps: Floats  # one side of the separable window
    variance_factor: float = 1.0
    replicated_edge: bool = False


_RECIPES: dict[Variant, _Recipe] = {
    "wang": _Recipe(gaussian_taps()),
    "matlab": _Recipe(gaussian_taps(), replicated_edge=True),
    "uniform7": _Recipe(flat_taps(7), variance_factor=49 / 48),
}


def ssim(test: NDArray[Any], reference: NDArray[Any], *, peak: float, variant: Variant) -> float:
    """Mean of :func:`ssim_map` over positions and channels; 1 for equal pictures. Same arguments and errors."""
    sums = _over_parts(test, reference, peak, variant, lambda part, where: (float(part.sum()), part.size))
    return math.fsum(total for total, _ in sums) / sum(size for _, size in sums)


def ssim_map(test: NDArray[Any], reference: NDArray[Any], *, peak: float, variant: Variant) -> Floats:
    """SSIM at every position of the window, each channel on its own: ``(h, w)`` or ``(h, w, 3)``, float64.

    ``test``, ``reference``: ``(H, W)`` or ``(H, W, 3)``, any real type. ``peak``: L of C1 = (0.01 L)^2 and C2 = (0.03 L)^2.
    h x w is H x W for ``matlab``, (H - 10) x (W - 10) for ``wang``, (H - 6) x (W - 6) for ``uniform7``.

    Raises MismatchError for shapes that differ or are others, Unavailable for pictures smaller than the window.
    """
    recipe = _RECIPES[variant]
    lost = 0 if recipe.replicated_edge else recipe.taps.size - 1
    _check(test, reference, recipe)
    out = np.empty((test.shape[0] - lost, test.shape[1] - lost, *test.shape[2:]))

    def keep(part: Floats, where: tuple[slice, slice]) -> None:
        out[where] = part

    _over_parts(test, reference, peak, variant, keep)
    return out


def ssim_linear_wang(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """SSIM ``wang`` of linear light, negative values as 0, L the reference's maximum. Raises Unavailable if that is black."""
    return _wang_of(test, reference, light, peak=reference_peak(reference))


def ssim_mu_wang(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """SSIM ``wang``, L = 1, of the mu-law (5000) of x / max(reference), clamped to 0..1. Raises Unavailable, as above."""
    return _wang_of(test, reference, refmax_mu_law(reference), peak=1)


def ssim_tanh_mu_wang(test: NDArray[Any], reference: NDArray[Any]) -> float:
    """SSIM ``wang``, L = 1, of the mu-law (5000) of tanh(x / P99 of the reference). Raises Unavailable, as above."""
    return _wang_of(test, reference, tanh_mu_law(reference), peak=1)


def _wang_of(test: NDArray[Any], reference: NDArray[Any], encode: Encoding, *, peak: float) -> float:
    same_shape(test, reference)
    return ssim(encoded(test, encode), encoded(reference, encode), peak=peak, variant="wang")


def _check(test: NDArray[Any], reference: NDArray[Any], recipe: _Recipe) -> None:
    same_shape(test, reference)
    if test.ndim not in (2, 3) or (test.ndim == 3 and test.shape[2] != 3):
        raise MismatchError(f"SSIM takes H x W or H x W x 3 values, not {' x '.join(map(str, test.shape))}")
    if min(test.shape[:2]) < recipe.taps.size:
        raise Unavailable(f"smaller than the window, {recipe.taps.size} x {recipe.taps.size}")


def _over_parts(
    test: NDArray[Any],
    reference: NDArray[Any],
    peak: float,
    variant: Variant,
    take: Callable[[Floats, tuple[slice, slice]], T],
) -> list[T]:
    """``take(map, where)`` of all parts of the map, ``where`` their rows and columns."""
    recipe = _RECIPES[variant]
    _check(test, reference, recipe)
    size = recipe.taps.size
    if recipe.replicated_edge:
        border = [(size // 2, size // 2)] * 2 + [(0, 0)] * (test.ndim - 2)
        test, reference = np.pad(test, border, mode="edge"), np.pad(reference, border, mode="edge")

    def part(rows: slice, columns: slice) -> T:
        a, b = test[rows, columns], reference[rows, columns]
        if test.ndim == 2:
            similarity = _similarity(a, b, peak, recipe)
        else:
            similarity = np.stack([_similarity(a[..., k], b[..., k], peak, recipe) for k in range(3)], axis=-1)
        return take(similarity, (slice(rows.start, rows.stop - size + 1), slice(columns.start, columns.stop - size + 1)))

    return over_tiles(part, test.shape[0], test.shape[1], size)


def _similarity(x: NDArray[Any], y: NDArray[Any], peak: float, recipe: _Recipe) -> Floats:
    x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
    found = moments(x, y, recipe.taps)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    factor = recipe.variance_factor
    luminance = (2 * found.mean_x * found.mean_y + c1) / (found.mean_x**2 + found.mean_y**2 + c1)
    structure = (2 * factor * found.covariance + c2) / (factor * (found.variance_x + found.variance_y) + c2)
    return np.asarray(luminance * structure)


_WANG = "Wang et al. 2004"
SCORES = (
    Score(
        "ssim_linear_wang",
        "SSIM of linear light, L = the reference's maximum",
        "",
        "higher",
        _WANG,
        whatever_viewing(ssim_linear_wang),
    ),
    Score(
        "ssim_mu_wang",
        "SSIM of the mu-law (5000) of light / the reference's maximum, L = 1",
        "",
        "higher",
        f"{_WANG}; Kalantari and Ramamoorthi 2017, eq. 5",
        whatever_viewing(ssim_mu_wang),
    ),
    Score(
        "ssim_tanh_mu_wang",
        "SSIM of the mu-law (5000) of tanh(light / the reference's 99th percentile), L = 1",
        "",
        "higher",
        f"{_WANG}; Perez-Pellitero et al. 2021, NTIRE challenge on HDR imaging",
        whatever_viewing(ssim_tanh_mu_wang),
    ),
)
